package crash

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// A lab is a gateway whose state directory lies on a disk of its own, with meters, broker and receiver.
type lab struct {
	t        *testing.T
	meters   *bed.Meters
	disk     *bed.Disk
	broker   *bed.Broker
	receiver *bed.Receiver
	*bed.Gateway
}

func newLab(t *testing.T) *lab {
	dir := bed.Dir(t, false)
	x := &lab{t: t, meters: bed.NewMeters(t, 2, 6), disk: bed.NewDisk(t, dir, 256<<20), broker: bed.NewBroker(t, dir)}
	x.broker.Start()
	x.receiver = bed.NewReceiver(t, programs, dir, x.broker.URL())
	x.Gateway = bed.NewGateway(t, programs, dir)
	x.State = filepath.Join(x.disk.Mount, "state")
	x.Configure(x.meters.Devices(500*time.Millisecond), bed.Toggle, x.broker.URL(), "receipt", "")
	return x
}

// begins waits for the first commit, and a little more.
func (x *lab) begins() {
	x.t.Helper()
	bed.Wait(x.t, "first commit", 60*time.Second, func() bool { return x.Committed() > 0 })
	time.Sleep(3 * time.Second)
}

// waits until the gateway says the condition, or no more, and returns how long that took.
func (x *lab) waits(code string, there bool, patience time.Duration) time.Duration {
	x.t.Helper()
	start := time.Now()
	bed.Wait(x.t, fmt.Sprintf("%s: %v", code, there), patience, func() bool {
		if x.Ended() {
			x.t.Fatalf("the gateway ended:\n%s", x.Tail())
		}
		s, ok := x.Status()
		return ok && says(s, code) == there
	})
	return time.Since(start)
}

// goesOn fails the test unless readings arrive within the next seconds although no disk can be written.
func (x *lab) goesOn() {
	x.t.Helper()
	delivered := func() uint64 {
		var s status.Status
		bed.Wait(x.t, "status", 10*time.Second, func() (ok bool) { s, ok = x.Status(); return ok })
		return s.Delivered.Records
	}
	before := delivered()
	time.Sleep(6 * time.Second)
	if n := delivered() - before; n < 10 {
		x.t.Errorf("%d records were delivered in 6 s, want about 24", n)
	}
}

// judge drains the gateway and settles the account.
// Between two places each device may lose the Read that was in progress, as at a stop.
func (x *lab) judge(moves int64) *bed.Account {
	x.t.Helper()
	a, _ := x.settle()
	a.Lost = max(0, a.Lost-moves*x.oneRead())
	a.Judge(x.t)
	return a
}

// oneRead returns the readings in one Read of each device.
func (x *lab) oneRead() int64 { return int64(2 * x.meters.Channels()) }

// settle drains the gateway, and returns the account and how many readings are at most in gaps without a count.
func (x *lab) settle() (a *bed.Account, most int64) {
	x.t.Helper()
	x.Drain(x.meters, bed.Toggle, x.broker.URL(), "receipt", "")
	far := x.receiver.Finish()
	tally := bed.NewTally(x.meters)
	if err := bed.Stored(x.receiver.Out, tally.Add); err != nil {
		x.t.Fatal(err)
	}
	a = tally.Settle(far)
	for _, err := range tally.Said {
		x.t.Error(err)
	}
	x.t.Log(a.Line("account"))
	if a.Lost > 0 {
		x.t.Logf("missing: %v", tally.Missing())
		for _, g := range far.Gateways {
			for _, e := range g.Epochs {
				x.t.Logf("epoch %s: gaps %+v, holes %v", e.Epoch, e.Gaps, e.Holes.Ranges)
			}
		}
	}
	for _, g := range far.Gateways {
		for _, e := range g.Epochs {
			for _, gap := range e.Gaps {
				if gap.Count == 0 {
					most += int64(gap.AtMost)
				}
			}
		}
	}
	return a, most
}

// processor returns how much processor time the process has used.
func processor(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, err1 := strconv.Atoi(f[11])
	system, err2 := strconv.Atoi(f[12])
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// TestDiskRefuses (F-11): from some time on each sync fails. The gateway says so within 30 s, goes on in memory, and sends; it uses less than 5 % of a
// processor; and goes back once the disk takes something again. Nothing is lost, doubled or declared.
func TestDiskRefuses(t *testing.T) {
	t.Parallel()
	bed.Need(t, "strace", "strace")
	x := newLab(t)
	x.Run()
	x.begins()
	pid := x.Pid()
	fault := bed.Start(t, "strace", filepath.Join(x.Dir, "strace.log"), false, nil,
		"strace", "-f", "--seccomp-bpf", "-qq", "-p", strconv.Itoa(pid), "-e", "trace=msync,fsync,fdatasync", "-e", "inject=msync,fsync,fdatasync:error=EIO", "-o", "/dev/null")
	said := x.waits("store_failed", true, 30*time.Second)
	moved := x.waits("no_disk", true, 60*time.Second)
	t.Logf("store_failed after %v, no_disk after %v more", said.Round(time.Second), moved.Round(time.Second))
	x.goesOn()
	used := processor(t, pid)
	time.Sleep(20 * time.Second)
	if used = processor(t, pid) - used; used > time.Second {
		t.Errorf("it used %v of processor time in 20 s, at most 1 s", used)
	}
	t.Logf("processor time in 20 s: %v", used)
	fault.Signal(syscall.SIGINT)
	t.Logf("back on the disk after %v", x.waits("no_disk", false, 2*time.Minute).Round(time.Second))
	x.goesOn()
	if x.Pid() != pid || x.Ended() {
		t.Error("the process is another one")
	}
	if a := x.judge(2); a.DroppedDeclared != 0 {
		t.Errorf("%d readings were declared as lost, want 0", a.DroppedDeclared)
	}
}

// TestDiskReadOnly (F-13): the file system gives up and is read-only from then on. The gateway stays the same process, says so, and sends from
// memory; so does the next one.
func TestDiskReadOnly(t *testing.T) {
	t.Parallel()
	x := newLab(t)
	x.Run()
	x.begins()
	pid := x.Pid()
	run := func(argv ...string) {
		t.Helper()
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", argv, err, out)
		}
	}
	run("mount", "-o", "remount,abort", x.disk.Mount)
	x.waits("store_failed", true, 30*time.Second)
	x.waits("no_disk", true, 60*time.Second)
	x.goesOn()
	if x.Pid() != pid || x.Ended() {
		t.Error("the process is another one")
	}
	x.judge(1)
}

// TestDiskGone (F-18): the state directory is deleted. The gateway goes on within 10 s in a new epoch, and declares what is gone.
func TestDiskGone(t *testing.T) {
	t.Parallel()
	x := newLab(t)
	x.Run()
	x.begins()
	x.broker.Stop()
	time.Sleep(5 * time.Second)
	s, _ := x.Status()
	if err := os.RemoveAll(x.State); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	bed.Wait(t, "another epoch", 30*time.Second, func() bool { now, ok := x.Status(); return ok && now.Epoch != "" && now.Epoch != s.Epoch })
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("it took %v, at most 10 s", d)
	}
	x.broker.Start()
	time.Sleep(5 * time.Second)
	a, most := x.settle()
	if a.Lost == 0 || a.Lost > most+x.oneRead() || a.Doubled+a.Altered+a.Extra > 0 {
		t.Errorf("%d readings are lost, with a backlog; gaps hold at most %d", a.Lost, most)
	}
}

// TestNoDiskAtStart: the state directory cannot be made, and then it can.
func TestNoDiskAtStart(t *testing.T) {
	t.Parallel()
	x := newLab(t)
	if err := os.WriteFile(x.State, []byte("a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	x.Run()
	if d := x.waits("no_disk", true, 30*time.Second); d > 10*time.Second {
		t.Errorf("it started in %v, at most 10 s", d)
	}
	time.Sleep(3 * time.Second)
	x.goesOn()
	if err := os.Remove(x.State); err != nil {
		t.Fatal(err)
	}
	t.Logf("on the disk after %v", x.waits("no_disk", false, time.Minute).Round(time.Second))
	if a := x.judge(1); a.DroppedDeclared != 0 {
		t.Errorf("%d readings were declared as lost, want 0", a.DroppedDeclared)
	}
}
