// Package clock tells the time three ways at once: wall time, time since boot, and whether the wall clock is synchronised.
package clock

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate"
)

// A Stamp is one look at the clock.
type Stamp struct {
	Wall   time.Time     // to the microsecond
	Boot   time.Duration // CLOCK_BOOTTIME: runs through suspend, never steps
	Synced bool          // the kernel's clock was synchronised (adjtimex(2): neither TIME_ERROR nor STA_UNSYNC)
}

// Quality returns the time quality of a record taken at s.
func (s Stamp) Quality() tidegate.TimeQuality {
	if s.Synced {
		return tidegate.TimeSynced
	}
	return tidegate.TimeEstimated
}

// A Clock asks the kernel. It is safe for concurrent use.
type Clock struct {
	mu      sync.Mutex // guards all below
	askedAt time.Duration
	synced  bool
	asked   bool
}

// Now returns the time. Whether it is synchronised is asked once a second.
func (c *Clock) Now() Stamp {
	var ts unix.Timespec
	// CLOCK_BOOTTIME is there since Linux 2.6.39: it cannot fail with a valid pointer.
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	s := Stamp{Wall: time.Now().Truncate(time.Microsecond), Boot: time.Duration(ts.Nano()).Truncate(time.Microsecond)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.asked || s.Boot-c.askedAt >= time.Second {
		c.asked, c.askedAt = true, s.Boot
		c.synced = synced()
	}
	s.Synced = c.synced
	return s
}

// synced asks the kernel, changing nothing (adjtimex with modes 0 needs no rights).
func synced() bool {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return err == nil && state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0
}

// Offset returns the kernel's estimate of how far the clock is off, and its bound, when it is synchronised.
func Offset() (offset, bound time.Duration, err error) {
	var t unix.Timex
	if _, err := unix.Adjtimex(&t); err != nil {
		return 0, 0, fmt.Errorf("ask the kernel's clock: %w", err)
	}
	unit := time.Microsecond
	if t.Status&unix.STA_NANO != 0 {
		unit = time.Nanosecond
	}
	return time.Duration(t.Offset) * unit, time.Duration(t.Maxerror) * time.Microsecond, nil
}
