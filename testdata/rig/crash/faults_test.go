package crash

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// struck is a gateway on a disk of its own that something happens to, with its far end.
type struck struct {
	t        *testing.T
	meters   *bed.Meters
	disk     *bed.Disk
	broker   *bed.Broker
	receiver *bed.Receiver
	gateway  *bed.Gateway
	every    time.Duration
	ends     [][]uint32 // last replies of the meters at each stop
}

// newStruck starts one. A heavy one reads so much that the store writes a table every few seconds.
func newStruck(t *testing.T, heavy bool, before []string, mkfs ...string) *struck {
	s := &struck{t: t, every: 20 * time.Millisecond}
	units, values := 4, 6
	if heavy {
		units, values, s.every = 8, 58, 5*time.Millisecond
	}
	s.meters = bed.NewMeters(t, units, values)
	dir := bed.Dir(t, false)
	s.disk = bed.NewDisk(t, dir, 256<<20, mkfs...)
	s.broker = bed.NewBroker(t, dir)
	s.broker.Start()
	s.receiver = bed.NewReceiver(t, programs, dir, s.broker.URL())
	s.gateway = bed.NewGateway(t, programs, dir)
	s.gateway.State = filepath.Join(s.disk.Mount, "state")
	s.gateway.Configure(s.meters.Devices(s.every), bed.Toggle, s.broker.URL(), "receipt", "")
	s.gateway.Run(before...)
	bed.Wait(t, "first commit", 60*time.Second, func() bool { return s.lives() && s.gateway.Committed() > 0 })
	return s
}

// lives fails the test where the gateway has ended.
func (s *struck) lives() bool {
	s.t.Helper()
	if s.gateway.Ended() {
		s.t.Fatalf("the gateway has ended:\n%s", s.gateway.Tail())
	}
	return true
}

// goesOn watches the gateway for so long: it is the same process, reads, and, where the far end is there, delivers.
func (s *struck) goesOn(d time.Duration) {
	s.t.Helper()
	given, before := s.meters.Given()[0], s.delivered()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		s.lives()
	}
	if now := s.meters.Given()[0]; now == given {
		s.t.Errorf("in %v meter 1 was not read", d)
	}
	if now := s.delivered(); now <= before {
		s.t.Errorf("in %v nothing was delivered: %d records", d, now)
	}
}

func (s *struck) delivered() (n uint64) {
	bed.Wait(s.t, "an answer of the gateway", 60*time.Second, func() bool {
		x, ok := s.gateway.Status()
		n = x.Delivered.Records
		return ok
	})
	return n
}

// says waits until a condition of severity error holds, or none.
func (s *struck) says(what string, patience time.Duration, is bool) {
	s.t.Helper()
	last := ""
	begin := time.Now()
	for time.Since(begin) < patience {
		s.lives()
		x, ok := s.gateway.Status()
		last = fmt.Sprint(x.Conditions)
		if ok && hasError(x) == is {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	s.t.Errorf("%s: condition of severity error: want %v within %v, the gateway says %s", what, is, patience, last)
}

func hasError(x status.Status) bool {
	for _, c := range x.Conditions {
		if c.Severity == "error" {
			return true
		}
	}
	return false
}

// end stops the gateway, with whatever status: a sick disk is one reason to complain.
func (s *struck) end() {
	s.t.Helper()
	s.gateway.Signal(syscall.SIGTERM)
	s.gateway.WaitExit(60 * time.Second)
	s.stopped()
}

// stopped notes that the process has ended.
func (s *struck) stopped() {
	s.meters.Stopped()
	s.ends = append(s.ends, s.meters.Given())
}

// settle lets the gateway deliver what it has, on a sound disk, and settles the account: all is there or, where it mayDeclare, within a gap.
func (s *struck) settle(mayDeclare bool) *outcome {
	s.t.Helper()
	if !s.gateway.Ended() {
		s.end()
	}
	s.gateway.Configure(s.meters.Gone(), bed.Toggle, s.broker.URL(), "receipt", "")
	begin := time.Now()
	s.gateway.Run()
	bed.Wait(s.t, "a start", time.Minute, func() bool { x, ok := s.gateway.Status(); return s.lives() && ok && x.NextRecord > 0 })
	o := &outcome{cases: 1, start: time.Since(begin)}
	bed.Wait(s.t, "delivery of all that is buffered", 5*time.Minute, func() bool {
		x, ok := s.gateway.Status()
		return s.lives() && ok && x.Link.State == "up" && x.Queue.Records == 0 && x.Delivered.Records > 0 && !x.Queue.Memory
	})
	s.gateway.Terminate(60 * time.Second)
	if mayDeclare {
		judgeGone(s.t, s.meters, s.ends, s.receiver, o)
		return o
	}
	far := s.receiver.Finish()
	tally := bed.NewTally(s.meters)
	if err := bed.Stored(s.receiver.Out, tally.Add); err != nil {
		s.t.Fatal(err)
	}
	a := tally.Settle(far)
	for _, err := range tally.Said {
		s.t.Error(err)
	}
	a.Judge(s.t)
	if a.DroppedDeclared != 0 {
		s.t.Errorf("%d readings are declared, want none", a.DroppedDeclared)
	}
	fmt.Println(a.Line("| crash/fault | receipt | " + s.t.Name() + " |"))
	o.lost, o.wrong, o.twice, o.unreported = a.Lost, a.Altered+a.Extra, a.Doubled, holes(far)
	return o
}

// spent returns how much processor time the gateway has used.
func (s *struck) spent() time.Duration {
	s.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.gateway.Pid()))
	if err != nil {
		s.t.Fatal(err)
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	user, err1 := strconv.Atoi(string(f[11]))
	system, err2 := strconv.Atoi(string(f[12]))
	if err1 != nil || err2 != nil {
		s.t.Fatalf("times of the process are %q", f)
	}
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}

// anonymous returns the memory of the gateway that no file has, in bytes.
func (s *struck) anonymous() int64 {
	s.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.gateway.Pid()))
	if err != nil {
		s.t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "RssAnon:")
	var kb int64
	if _, err := fmt.Sscan(rest, &kb); err != nil {
		s.t.Fatalf("RssAnon: %v", err)
	}
	return kb << 10
}

// one is a kind that is done once.
func one(f func(t *testing.T) *outcome) func(*testing.T, *rand.Rand, int) *outcome {
	return func(t *testing.T, _ *rand.Rand, _ int) *outcome { return f(t) }
}

// TestInodesExhausted: no file can be made any more on a disk with room, while the store needs new tables. The same process goes on.
func TestInodesExhausted(t *testing.T) {
	t.Parallel()
	measure(t, faultInodes, 1, one(func(t *testing.T) *outcome {
		s := newStruck(t, true, nil, "-N", "64")
		pid := s.gateway.Pid()
		var made []string
		for i := 0; ; i++ {
			path := filepath.Join(s.disk.Mount, fmt.Sprint("filler-", i))
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				break
			}
			made = append(made, path)
		}
		if len(made) == 0 {
			t.Fatal("no file could be made: the disk had no inode to begin with")
		}
		s.goesOn(*faultFor)
		before := s.gateway.Committed()
		for _, path := range made {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		bed.Wait(t, "a commit once files can be made", 10*time.Second, func() bool { return s.lives() && s.gateway.Committed() > before })
		if s.gateway.Pid() != pid {
			t.Errorf("the gateway was process %d, now %d", pid, s.gateway.Pid())
		}
		return s.settle(true)
	}))
}

// TestStandsStill: a process that stood still for a while goes on where it was, and asks its devices no more often than it should.
func TestStandsStill(t *testing.T) {
	t.Parallel()
	measure(t, faultStopped, 1, one(func(t *testing.T) *outcome {
		s := newStruck(t, false, nil)
		s.gateway.Signal(syscall.SIGSTOP)
		time.Sleep(max(*faultFor, 15*time.Second)) // F-21: longer than TCP and MQTT take for granted
		before := s.meters.Given()[0]
		s.gateway.Signal(syscall.SIGCONT)
		time.Sleep(2 * time.Second)
		if n, most := s.meters.Given()[0]-before, uint32(2*2*time.Second/s.every); n > most {
			t.Errorf("in the 2 s behind it meter 1 was read %d times, at most %d", n, most)
		}
		s.goesOn(5 * time.Second)
		return s.settle(false)
	}))
}

// TestNoDescriptors: no file, socket or connection can be opened for a while.
func TestNoDescriptors(t *testing.T) {
	t.Parallel()
	measure(t, faultDescriptors, 1, one(func(t *testing.T) *outcome {
		s := newStruck(t, true, nil)
		pid := s.gateway.Pid()
		open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			t.Fatal(err)
		}
		limit := func(n int) {
			p := bed.Start(t, "prlimit", filepath.Join(s.gateway.Dir, "prlimit.log"), false, nil,
				bed.Need(t, "prlimit", "util-linux"), "--pid", fmt.Sprint(pid), fmt.Sprintf("--nofile=%d:4096", n))
			if code := p.WaitExit(30 * time.Second); code != 0 {
				t.Fatalf("prlimit: %s", p.Tail())
			}
		}
		limit(len(open) - 4)
		s.broker.Stop() // what connects anew needs one
		end := time.Now().Add(*faultFor)
		for time.Now().Before(end) {
			s.lives()
			time.Sleep(100 * time.Millisecond)
		}
		limit(1024)
		s.broker.Start()
		s.receiver.Restart()
		bed.Wait(t, "the uplink, once there are descriptors", 2*time.Minute, func() bool {
			x, ok := s.gateway.Status()
			return s.lives() && ok && x.Link.State == "up"
		})
		s.goesOn(3 * time.Second)
		return s.settle(true)
	}))
}
