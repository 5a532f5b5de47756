package crash

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

const cgroups = "/sys/fs/cgroup"

// A group is a cgroup of one controller, of whichever version this machine has.
type group struct {
	t   *testing.T
	dir string
	v2  bool
}

// newGroup makes one; it is removed with the test, when it is empty.
func newGroup(t *testing.T, controller string) *group {
	t.Helper()
	g := &group{t: t, dir: filepath.Join(cgroups, controller, fmt.Sprintf("tgrig-%d", time.Now().UnixNano()))}
	if _, err := os.Stat(filepath.Join(cgroups, "cgroup.controllers")); err == nil {
		g.v2, g.dir = true, filepath.Join(cgroups, filepath.Base(g.dir))
		if err := os.WriteFile(filepath.Join(cgroups, "cgroup.subtree_control"), []byte("+"+controller), 0o644); err != nil {
			t.Fatalf("this rig bounds a process by the controller %s of cgroups, which this machine does not give it: %v", controller, err)
		}
	}
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		t.Fatalf("this rig bounds a process by the controller %s of cgroups: %v", controller, err)
	}
	t.Cleanup(func() {
		bed.Wait(t, "the end of what runs in the cgroup", 30*time.Second, func() bool { err := os.Remove(g.dir); return err == nil || errors.Is(err, os.ErrNotExist) })
	})
	return g
}

// set sets a limit: its name and value in version 1 and 2.
func (g *group) set(name1, value1, name2, value2 string) {
	g.t.Helper()
	if g.v2 {
		name1, value1 = name2, value2
	}
	if err := os.WriteFile(filepath.Join(g.dir, name1), []byte(value1), 0o644); err != nil {
		g.t.Fatal(err)
	}
}

// take puts a process and all its threads into the group.
func (g *group) take(pid int) {
	g.t.Helper()
	if err := os.WriteFile(filepath.Join(g.dir, "cgroup.procs"), []byte(fmt.Sprint(pid)), 0o644); err != nil {
		g.t.Fatal(err)
	}
}

// TestOutOfMemory has the kernel kill the gateway, because something beside it in its cgroup takes all memory. The next process loses nothing.
func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	measure(t, faultMemory, 1, one(func(t *testing.T) *outcome {
		s := newStruck(t, false, nil)
		g := newGroup(t, "memory")
		g.set("memory.limit_in_bytes", "200000000", "memory.max", "200000000")
		g.take(s.gateway.Pid())
		time.Sleep(2 * time.Second)
		if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", s.gateway.Pid()), []byte("1000"), 0o644); err != nil { // it is chosen first (proc(5))
			t.Fatal(err)
		}
		// It waits to be put into the group, and then has dd take more than there is.
		hog := bed.Start(t, "hog", filepath.Join(s.gateway.Dir, "hog.log"), false, nil,
			"sh", "-c", "sleep 1; exec dd if=/dev/zero of=/dev/null bs=400000000 count=1000")
		g.take(hog.Pid())
		code := s.gateway.WaitExit(60 * time.Second)
		hog.Kill()
		if code != -1 {
			t.Errorf("the gateway ended with status %d, want an end by a signal:\n%s", code, s.gateway.Tail())
		}
		s.stopped()
		begin := time.Now()
		s.gateway.Run()
		bed.Wait(t, "a reading behind it", 30*time.Second, func() bool { return s.lives() && !s.meters.After(1, begin).IsZero() })
		if took := s.meters.After(1, begin).Sub(begin); took > 5*time.Second {
			t.Errorf("it reads again after %v, at most 5 s", took)
		}
		time.Sleep(2 * time.Second)
		return s.settle(false)
	}))
}

// TestLittleProcessor leaves the gateway a hundredth of a processor. It may read less, but the watchdog of its unit, 60 s, is served, and nothing is lost.
func TestLittleProcessor(t *testing.T) {
	t.Parallel()
	measure(t, faultProcessor, 1, one(func(t *testing.T) *outcome {
		path := filepath.Join(bed.Dir(t, true), "notify")
		c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		beats := make(chan time.Time, 1000)
		go func() {
			defer close(beats)
			b := make([]byte, 4096)
			for {
				n, err := c.Read(b)
				if err != nil {
					return
				}
				if strings.Contains(string(b[:n]), "WATCHDOG=1") {
					beats <- time.Now()
				}
			}
		}()
		s := newStruck(t, false, []string{"env", "NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=60000000"})
		g := newGroup(t, "cpu")
		g.set("cpu.cfs_period_us", "100000", "cpu.max", "1000 100000")
		if !g.v2 {
			g.set("cpu.cfs_quota_us", "1000", "", "")
		}
		g.take(s.gateway.Pid())
		before, begin := s.meters.Given()[0], time.Now()
		lasts := max(*faultFor, 35*time.Second) // longer than two of its beats
		for time.Since(begin) < lasts {
			s.lives()
			time.Sleep(100 * time.Millisecond)
		}
		read := s.meters.Given()[0] - before
		g.set("cpu.cfs_quota_us", "-1", "cpu.max", "max 100000")
		time.Sleep(5 * time.Second)
		o := s.settle(true)
		_ = c.Close() // ends the goroutine
		last, longest, n := begin, time.Duration(0), 0
		for at := range beats {
			if at.After(begin) {
				longest, last = max(longest, at.Sub(last)), at
				n++
			}
		}
		t.Logf("%d reads of meter 1 in %v, %d beats, %v apart at most", read, lasts, n, longest.Round(time.Second))
		if n == 0 || longest > 60*time.Second || read == 0 {
			t.Errorf("%d beats, %v apart at most, and %d reads: want some, at most 60 s, and some", n, longest, read)
		}
		return o
	}))
}
