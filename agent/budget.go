package agent

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// How often a driver may hang or panic before its device is off, and when one time is forgiven: then the device is tried once more. A call that
// hangs holds memory and a goroutine for ever, which a panic does not.
const (
	hangsMost     = 5
	hangForgiven  = 24 * time.Hour
	panicsMost    = 5
	panicForgiven = 10 * time.Minute
	// hungMost is how many calls may hang at one time: beyond it the device stays off until some return or the gateway is restarted.
	hungMost = 10
	// lifeAfter is how long after it was told to end what a device has opened lives on, for its outputs: less than leaveGrace.
	lifeAfter = 2500 * time.Millisecond
)

// deviceConditions are those of one device, but for its outputs'.
var deviceConditions = []string{"device_fault", "device_off", "device_flood"}

// A budget counts what must not happen too often, and forgives one time after a while.
type budget struct {
	spent int
	since time.Time // when the last one was forgiven, or the first one spent
}

// spend counts one more time.
func (b *budget) spend(now time.Time, forgiven time.Duration) {
	b.forgive(now, forgiven)
	if b.spent == 0 {
		b.since = now
	}
	b.spent++
}

func (b *budget) forgive(now time.Time, forgiven time.Duration) {
	if b.spent == 0 {
		return
	}
	n := int(now.Sub(b.since) / forgiven)
	b.spent = max(0, b.spent-n)
	b.since = b.since.Add(time.Duration(n) * forgiven)
}

// blame counts a hang or panic of the driver, and returns err with what follows from it; off = the device is left alone for now.
func (r *reader) blame(err error) (said error, off bool) {
	now := time.Now()
	switch {
	case errors.Is(err, errHung):
		r.hangs.spend(now, hangForgiven)
		hung := r.hung.Load()
		if !r.isOff() {
			return fmt.Errorf("%w; it is left behind (calls that hang: %d), and the device opened anew", err, hung), false
		}
		err = fmt.Errorf("%w, for the %dth time; calls that hang, and cannot be ended: %d", err, r.hangs.spent, hung)
		if hung >= hungMost {
			return fmt.Errorf("%w; the device is off until they return or the gateway is restarted", err), true
		}
		return fmt.Errorf("%w; the device is off, and tried again in %v", err, until(now, r.hangs.since.Add(hangForgiven))), true
	case errors.Is(err, errPanic):
		r.panics.spend(now, panicForgiven)
		if r.isOff() {
			return fmt.Errorf("%w; for the %dth time: the device is off, and tried again in %v", err, r.panics.spent, until(now, r.panics.since.Add(panicForgiven))), true
		}
	}
	return err, false
}

// until returns how long it is from now to t, as people say it.
func until(now, t time.Time) time.Duration {
	d := t.Sub(now)
	if d > time.Hour {
		return d.Round(time.Minute)
	}
	return d.Round(time.Second)
}

// isOff reports whether the device's driver has hung or panicked too often to be tried now.
func (r *reader) isOff() bool {
	now := time.Now()
	r.hangs.forgive(now, hangForgiven)
	r.panics.forgive(now, panicForgiven)
	return r.hangs.spent >= hangsMost || r.panics.spent >= panicsMost || r.hung.Load() >= hungMost
}

// What a device may report in the long run, and in a burst: one that reports more, by a fault of its driver or of a program beside it, would take
// the room of the rings from the others.
const (
	floodReadings = 20_000  // a second
	floodBytes    = 1 << 20 // a second
	floodBurst    = 2 * time.Second
	// floodShown is for how long a flood is shown after it.
	floodShown = time.Minute
)

// A sluice bounds what one device puts into ring 1. Its driver waits where that helps; what is too much at once is dropped.
type sluice struct {
	until   time.Time // to when what was put is paid for, at the highest rate
	dropped int       // readings
	flooded time.Time // when it was last too much; zero = it is not shown
}

// take reports whether n readings of so many bytes may be put at now, and if so counts them.
func (s *sluice) take(now time.Time, n, bytes int) bool {
	cost := max(time.Duration(n)*time.Second/floodReadings, time.Duration(bytes)*time.Second/floodBytes)
	if s.until.Before(now) {
		s.until = now
	}
	if s.until.Sub(now)+cost > floodBurst {
		return false
	}
	s.until = s.until.Add(cost)
	return true
}

// ease waits until the device may be read again, after a Read that was put: it may have a second's worth in advance.
func (r *reader) ease(ctx context.Context) {
	r.say.Lock()
	now, s := time.Now(), &r.sluice
	d := s.until.Sub(now) - floodBurst/2
	switch {
	case d > 0:
		s.flooded = now
		r.board.set("device_flood", r.name, true, fmt.Sprintf(
			"more than %d readings or %d bytes a second; dropped and declared as a gap since the gateway was started: %d readings", floodReadings, floodBytes, s.dropped))
	case !s.flooded.IsZero() && now.Sub(s.flooded) >= floodShown:
		s.flooded = time.Time{}
		r.board.set("device_flood", r.name, false, "")
	}
	r.say.Unlock()
	wait(ctx, d)
}
