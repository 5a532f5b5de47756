package buffer

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

// Tests in which the process ends run the queue in a child: this program again, told by its environment what to do.
const (
	childDir  = "TIDEGATE_BUFFER_CHILD"
	childRole = "TIDEGATE_BUFFER_ROLE"
)

func TestMain(m *testing.M) {
	dir := os.Getenv(childDir)
	if dir == "" {
		// A history opens and closes a store; -rapid.checks says otherwise.
		if err := flag.Set("rapid.checks", "40"); err != nil {
			panic(err)
		}
		os.Exit(m.Run())
	}
	run := map[string]func(string) error{"queue": runQueue, "filler": runFiller}[os.Getenv(childRole)]
	if err := run(dir); err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
}

// emulator has what -exec says where the tests are run by it: a kernel cannot execute a program for another machine.
const emulator = "EMULATOR"

// childCommand is this program as a child.
func childCommand(t *testing.T, role, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	line := append(strings.Fields(os.Getenv(emulator)), self)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env = append(os.Environ(), childDir+"="+dir, childRole+"="+role)
	return cmd
}

// startChild starts this program as a child, and returns its standard output.
func startChild(t *testing.T, role, dir string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := childCommand(t, role, dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(out)
}

// runQueue commits frames until it is ended, and prints "committed <last number>" when one is durable, "acked <last number>" when the
// uplink's place is, and "refused" when there is no space.
func runQueue(dir string) error {
	o := testOptions(dir)
	o.SetAside = true // which it must not come to
	o.MaxBytes = MinBytes
	o.sizes.segment = 400 << 10
	q, err := Open(o)
	if err != nil {
		return err
	}
	c, err := q.Cursor("a")
	if err != nil {
		return err
	}
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	r := rand.New(rand.NewPCG(1, uint64(os.Getpid())))
	next := max(q.Position().Next, 1)
	acked, saved := uint64(0), uint64(0)
	for {
		f := childFrame(next, r.IntN(12)+1, r.IntN(60<<10))
		q.Put(f)
		p := Position{Epoch: 1, Next: f.Last + 1, Time: 1}
		for {
			err := q.Commit(Commit{Frames: []Frame{f}, Position: p})
			if err == nil {
				break
			}
			if !errors.Is(err, ErrNoSpace) {
				return err
			}
			fmt.Println("refused")
			time.Sleep(5 * time.Millisecond)
		}
		saved = acked
		fmt.Println("committed", f.Last)
		if saved > 0 {
			fmt.Println("acked", saved)
		}
		next = f.Last + 1
		if r.IntN(3) == 0 && f.Last > 50 {
			acked = f.Last - uint64(r.IntN(50))
			if err := c.Ack("e1", tidegate.Ranges{{First: 1, Last: acked}}); err != nil {
				return err
			}
		}
		if err := q.Retain(time.Duration(r.IntN(100)) * time.Hour); err != nil {
			return err
		}
		if asked := q.Requests(); len(asked) > 0 {
			return fmt.Errorf("asked to declare %+v, although all is delivered", asked)
		}
	}
}

// childFrame returns records from first on, whose readings can be told from their numbers.
func childFrame(first uint64, records, padding int) Frame {
	f := Frame{Epoch: 1, Class: tidegate.ClassReading, First: first, Last: first + uint64(records) - 1, T0: 1, T1: 2}
	for i := range records {
		n := byte((first+uint64(i))%5 + 1)
		f.Body = append(f.Body, n)
		f.Count += uint32(n)
	}
	f.Body = append(f.Body, make([]byte, padding)...)
	return f
}

// runFiller takes all the space of the file system as fast as it can, says so, and gives it back when its input ends.
func runFiller(dir string) error {
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	block := make([]byte, 256<<10)
	for len(block) > 0 {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			block = block[:len(block)/2]
		} else if err != nil {
			return err
		}
	}
	fmt.Println("full")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(path))
}

// TestKillLosesNothing ends a process that commits, at any time, and looks at what it left.
func TestKillLosesNothing(t *testing.T) {
	dir := tmpfs.Dir(t)
	committed, acked := uint64(0), uint64(0)
	r := rand.New(rand.NewPCG(3, uint64(os.Getpid())))
	lives := 400 // milliseconds
	if os.Getenv(emulator) != "" {
		lives *= 5 // it takes that much longer to begin
	}
	for life := range 12 {
		c := newChild(t, dir)
		if life%2 == 1 && !c.await("committed") { // the others may not have come so far, on a busy machine none of them
			t.Fatal("the child ended by itself")
		}
		time.Sleep(time.Duration(50+r.IntN(lives)) * time.Millisecond)
		c.kill()
		committed, acked = max(committed, c.committed), max(acked, c.acked)
		judgeKilled(t, dir, committed, acked)
	}
	if committed < 500 {
		t.Errorf("only %d records were committed in all rounds", committed)
	}
}

func judgeKilled(t *testing.T, dir string, committed, acked uint64) {
	t.Helper()
	o := testOptions(dir)
	q := open(t, o)
	defer q.Close()
	next := max(q.Position().Next, 1)
	if next <= committed {
		t.Fatalf("position is %d, %d was durable", next, committed)
	}
	shown := look(t, cursor(t, q, "a"), tidegate.ClassReading, 1)
	s := q.Stats().Cursors[0]
	if s.Confirmed < acked {
		t.Fatalf("confirmed is %d, the cursor stood at %d on disk", s.Confirmed, acked)
	}
	var left tidegate.Ranges
	left.Add(tidegate.Range{First: s.Confirmed + 1, Last: next - 1})
	wantRanges(t, "what is left", shown, left)
	if got := s.Delivered.Device().Records + s.Buffered.Device().Records; got != next-1 || s.Produced.Device().Records != next-1 {
		t.Fatalf("%d records delivered and buffered of %d, produced %d", got, next-1, s.Produced.Device().Records)
	}
	rep, err := q.Check(t.Context())
	if err != nil || len(rep.Faults) > 0 {
		t.Fatalf("check: %v, %v", rep.Faults, err)
	}
}
