package clock

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate"
)

func TestNow(t *testing.T) {
	var c Clock
	first := c.Now()
	if d := time.Since(first.Wall); d < 0 || d > time.Minute {
		t.Errorf("wall time is %v off", d)
	}
	if first.Wall.Nanosecond()%1000 != 0 || first.Boot%time.Microsecond != 0 {
		t.Errorf("%v and %v are not whole microseconds", first.Wall, first.Boot)
	}
	var up unix.Sysinfo_t
	if err := unix.Sysinfo(&up); err != nil {
		t.Fatal(err)
	}
	if d := first.Boot - time.Duration(up.Uptime)*time.Second; d < -2*time.Second || d > 2*time.Second {
		t.Errorf("boot time is %v, the kernel is up for %d s", first.Boot, up.Uptime)
	}
	last := first
	for range 1000 {
		next := c.Now()
		if next.Boot < last.Boot {
			t.Fatalf("boot time went from %v to %v", last.Boot, next.Boot)
		}
		last = next
	}
	if first.Synced != synced() {
		t.Errorf("synchronised: %v, the kernel says %v", first.Synced, synced())
	}
}

// TestSyncedIsAskedOnceASecond looks at what the clock remembers.
func TestSyncedIsAskedOnceASecond(t *testing.T) {
	var c Clock
	real := c.Now().Synced
	c.synced = !real // what it would say if it did not ask
	if c.Now().Synced == real {
		t.Error("the kernel was asked twice within a second")
	}
	c.askedAt -= time.Second
	if c.Now().Synced != real {
		t.Error("the kernel was not asked after a second")
	}
}

func TestQuality(t *testing.T) {
	if q := (Stamp{Synced: true}).Quality(); q != tidegate.TimeSynced {
		t.Errorf("synchronised is %v", q)
	}
	if q := (Stamp{}).Quality(); q != tidegate.TimeEstimated {
		t.Errorf("not synchronised is %v", q)
	}
}

func TestOffset(t *testing.T) {
	offset, bound, err := Offset()
	if err != nil || bound < 0 || offset < -time.Hour || offset > time.Hour {
		t.Errorf("got %v, %v, %v", offset, bound, err)
	}
}
