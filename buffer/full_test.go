package buffer

import (
	"bufio"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

// smallDisk mounts an ext4 of size bytes in a file and returns where.
func smallDisk(t *testing.T, size int64) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("a small file system is mounted for this test: run it as root")
	}
	base := tmpfs.Dir(t)
	image, dir := filepath.Join(base, "image"), filepath.Join(base, "disk")
	f, err := os.Create(image)
	if err == nil {
		err = f.Truncate(size)
	}
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"mkfs.ext4", "-q", "-m", "0", "-F", image}, {"mount", "-o", "loop", image, dir}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", args[0], err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v\n%s", err, out)
		}
	})
	return dir
}

// TestFullDiskLosesNothing has another process take all of a small disk at full speed, again and again, while this one commits
// without a pause, a hundred times what a busy gateway does. Each time it goes on once space is back.
//
// Now and then the filler takes all of the reserve in the milliseconds in which Badger writes a table, and the process ends: then it
// must start on the full disk, with everything. At the rate of a busy gateway that is one fill in about a thousand (README.md).
func TestFullDiskLosesNothing(t *testing.T) {
	const rounds = 8
	dir := smallDisk(t, 160<<20)
	c := newChild(t, dir)
	ended, least := 0, int64(math.MaxInt64)
	for range rounds {
		for range 10 {
			c.await("committed")
		}
		fillDisk(t, dir, func() {
			if !c.await("refused") {
				ended++
				c = newChild(t, dir) // on the full disk
				c.await("refused")
			}
			var st unix.Statfs_t
			if err := unix.Statfs(dir, &st); err == nil {
				least = min(least, int64(st.Bavail)*int64(st.Bsize))
			}
		})
		if !c.await("committed") {
			t.Fatal("child ended after space was back")
		}
	}
	t.Logf("ended by SIGBUS %d times in %d fills; least free space seen afterwards: %d bytes", ended, rounds, least)
	if ended > rounds/2 {
		t.Errorf("ended %d times in %d fills", ended, rounds)
	}
	c.kill()
	judgeKilled(t, dir, c.committed, c.acked)
}

// TestOpensOnAFullDisk has the disk filled while no process runs: the ballast is what the store is opened with.
func TestOpensOnAFullDisk(t *testing.T) {
	dir := smallDisk(t, 160<<20)
	c := newChild(t, dir)
	for range 30 {
		c.await("committed")
	}
	c.kill()
	fillDisk(t, dir, func() {
		judgeKilled(t, dir, c.committed, c.acked)
		if _, err := os.Stat(filepath.Join(dir, "ballast")); err == nil {
			t.Error("the ballast is still there")
		}
	})
	judgeKilled(t, dir, c.committed, c.acked)
	if _, err := os.Stat(filepath.Join(dir, "ballast")); err != nil {
		t.Errorf("the ballast is not made again: %v", err)
	}
}

// TestDeliveredGivesWayOnAFullDisk has another process take all of a disk on which most is delivered and only kept: new records are
// stored again, although it gives nothing back, and the ballast is made again.
func TestDeliveredGivesWayOnAFullDisk(t *testing.T) {
	if testing.Short() {
		return // under an emulator it takes too long
	}
	o := testOptions(smallDisk(t, 512<<20))
	o.sizes.segment = 4 << 20
	q := open(t, o)
	defer q.Close()
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	next := uint64(1)
	put := func() error {
		f := childFrame(next, 10, 180<<10)
		q.Put(f)
		err := q.Commit(Commit{Frames: []Frame{f}, Position: Position{Epoch: 1, Next: f.Last + 1, Time: 1}})
		if err != nil {
			return err
		}
		next = f.Last + 1
		if err := cursor(t, q, "a").Ack("e1", tidegate.Ranges{{First: 1, Last: f.Last}}); err != nil {
			return err
		}
		return q.Retain(3 * time.Millisecond)
	}
	for range 700 { // 126 MB, all delivered
		if err := put(); err != nil {
			t.Fatal(err)
		}
	}
	quiet(t, o.Dir)
	before := len(q.Stats().Segments)
	fillDisk(t, o.Dir, func() {
		refused, stored := 0, 0
		for range 200 {
			switch err := put(); {
			case err == nil:
				stored++
			case errors.Is(err, ErrNoSpace):
				refused++
			default:
				t.Fatal(err)
			}
		}
		left := len(q.Stats().Segments)
		t.Logf("%d commits were refused, then %d went; %d segments of %d are left", refused, stored, left, before)
		if stored < 190 || left >= before {
			t.Errorf("%d of 200 commits went, %d segments of %d are left", stored, left, before)
		}
		if _, err := os.Stat(filepath.Join(o.Dir, "ballast")); err != nil {
			t.Errorf("the ballast is not made again: %v", err)
		}
	})
}

// quiet waits until Badger has no table to write, as a gateway's store has nearly always: while it writes one, nothing may take all of the
// disk (README, The full disk).
func quiet(t *testing.T, dir string) {
	t.Helper()
	tables := func() string {
		list, err := filepath.Glob(filepath.Join(dir, "buffer", "*.sst"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(list, " ")
	}
	for before, since, end := "", time.Now(), time.Now().Add(time.Minute); time.Since(since) < 500*time.Millisecond; time.Sleep(10 * time.Millisecond) {
		if now := tables(); now != before {
			before, since = now, time.Now()
		}
		if time.Now().After(end) {
			t.Fatal("Badger writes tables without an end")
		}
	}
}

// A child is a running "queue".
type child struct {
	t         *testing.T
	cmd       *exec.Cmd
	lines     chan string
	committed uint64
	acked     uint64
}

func newChild(t *testing.T, dir string) *child {
	c := &child{t: t, lines: make(chan string, 1000)}
	var out *bufio.Scanner
	c.cmd, out = startChild(t, "queue", dir)
	go func() {
		defer close(c.lines)
		for out.Scan() {
			c.lines <- out.Text()
		}
	}()
	return c
}

// await reads what the child says until it says what; false when it ended.
func (c *child) await(what string) bool {
	c.t.Helper()
	for deadline := time.After(10 * time.Second); ; {
		select {
		case line, ok := <-c.lines:
			if !ok {
				_ = c.cmd.Wait() // ended by a signal
				return false
			}
			if c.note(line) == what {
				return true
			}
		case <-deadline:
			c.t.Fatalf("child has not %s for 10 s", what)
		}
	}
}

func (c *child) note(line string) string {
	word, number, _ := strings.Cut(line, " ")
	n, _ := strconv.ParseUint(number, 10, 64) // "refused" has none
	switch word {
	case "error":
		c.t.Fatal(line)
	case "committed":
		c.committed = n
	case "acked":
		c.acked = max(c.acked, n)
	}
	return word
}

func (c *child) kill() {
	if err := c.cmd.Process.Kill(); err != nil {
		c.t.Fatal(err)
	}
	for line := range c.lines {
		c.note(line)
	}
	_ = c.cmd.Wait() // killed
}

// fillDisk runs f while a filler holds all space of the disk.
func fillDisk(t *testing.T, dir string, f func()) {
	t.Helper()
	cmd := childCommand(t, "filler", dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if out := bufio.NewScanner(stdout); !out.Scan() || out.Text() != "full" {
		t.Fatalf("filler says %q", out.Text())
	}
	f()
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("filler: %v", err)
	}
}
