package crash

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

const fullShort = 15 * time.Second

// TestDiskFull: another process fills the disk to the last byte. The gateway goes on as the same process, says so, and stores again at most
// 10 s after there is room; what the rings could not hold meanwhile is declared, to the reading.
func TestDiskFull(t *testing.T) {
	measure(t, faultFull, 1, one(diskFull))
}

func diskFull(t *testing.T) *outcome {
	overflow := *fullFor >= time.Minute
	units, values, every := 2, 6, 50*time.Millisecond
	if overflow {
		units, values, every = 8, 58, 5*time.Millisecond
	}
	meters := bed.NewMeters(t, units, values)
	dir := bed.Dir(t, false)
	disk := bed.NewDisk(t, dir, 256<<20)
	broker := bed.NewBroker(t, dir)
	broker.Start()
	receiver := bed.NewReceiver(t, programs, dir, broker.URL())
	g := bed.NewGateway(t, programs, dir)
	g.State = filepath.Join(disk.Mount, "state")
	g.Configure(meters.Devices(every), bed.Toggle, broker.URL(), "receipt", "")
	g.Run()
	bed.Wait(t, "first commit", 60*time.Second, func() bool { return g.Committed() > 0 })
	time.Sleep(3 * time.Second)

	free := disk.Fill()
	pid := g.Pid()
	t.Logf("full: %d bytes free", disk.Free())
	bed.Wait(t, "the condition disk_full", 30*time.Second, func() bool { s, ok := g.Status(); return ok && says(s, "disk_full") })
	end := time.Now().Add(*fullFor)
	for time.Now().Before(end) {
		if g.Ended() {
			t.Fatalf("the gateway ended on the full disk:\n%s", g.Tail())
		}
		time.Sleep(200 * time.Millisecond)
	}
	s, ok := g.Status()
	if !ok || !says(s, "disk_full") {
		t.Errorf("on the full disk the gateway says %v", s.Conditions)
	}
	before := g.Committed()
	free()
	start := time.Now()
	bed.Wait(t, "a commit after there is room", 60*time.Second, func() bool { return g.Committed() > before })
	resumed := time.Since(start)
	bed.Wait(t, "the end of the condition disk_full", 60*time.Second, func() bool { s, ok := g.Status(); return ok && !says(s, "disk_full") })
	if resumed > 10*time.Second {
		t.Errorf("the first commit came %v after there was room, at most 10 s", resumed)
	}
	if g.Ended() || g.Pid() != pid {
		t.Errorf("the gateway was process %d, now %d", pid, g.Pid())
	}
	time.Sleep(3 * time.Second)

	g.Drain(meters, bed.Toggle, broker.URL(), "receipt", "")
	far := receiver.Finish()
	tally := bed.NewTally(meters)
	if err := bed.Stored(receiver.Out, tally.Add); err != nil {
		t.Fatal(err)
	}
	a := tally.Settle(far)
	for _, err := range tally.Said {
		t.Error(err)
	}
	a.Judge(t)
	if overflow && a.DroppedDeclared == 0 {
		t.Error("the rings held everything: the load is too small to show a gap")
	}
	if a.DroppedDeclared == 0 {
		tally.Once(t)
	}
	fmt.Println(a.Line(fmt.Sprintf("| crash/full | receipt | full for %v, stored again after %v |", *fullFor, resumed.Round(10*time.Millisecond))))
	return &outcome{cases: 1, lost: a.Lost, wrong: a.Altered + a.Extra, twice: a.Doubled, unreported: holes(far), start: resumed}
}

// says reports whether the condition holds.
func says(s status.Status, code string) bool {
	return slices.ContainsFunc(s.Conditions, func(c status.Condition) bool { return c.Code == code })
}
