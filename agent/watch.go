package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// read reads dev once, within the time that a Read may take.
func (r *reader) read(ctx context.Context, dev drivers.Device) ([]tidegate.Reading, error) {
	most := r.most()
	if most == 0 {
		return dev.Read(ctx)
	}
	limited, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	list, err := dev.Read(limited)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("no answer within %v: %w", most, err)
	}
	return list, err
}

// most returns how long a Read may take; 0 = as long as it likes, because it waits for the device.
func (r *reader) most() time.Duration {
	if r.every == 0 {
		return 0
	}
	return max(readMost, 10*r.every)
}

// enter notes that a call of the driver begins.
func (r *reader) enter() {
	r.meter.Take()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.since, r.took = time.Now(), 0
}

// exit notes that it has returned.
func (r *reader) exit() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.since.IsZero() {
		r.since, r.took = time.Time{}, time.Since(r.since)
	}
}

// watch reports the device as faulty while a call of its driver does not return although it was told to: for ever, perhaps.
func (r *reader) watch() {
	most := r.most()
	r.mu.Lock()
	since := r.since
	r.mu.Unlock()
	if most == 0 || since.IsZero() || time.Since(since) < most+leaveGrace {
		return
	}
	r.fault(fmt.Errorf("the driver has not returned for more than %v; only a restart of the gateway frees it", most))
}

// leave makes sure that the reader puts nothing more into the ring, whatever its driver does.
func (r *reader) leave() {
	r.say.Lock()
	defer r.say.Unlock()
	r.left = true
}

// hasLeft reports whether leave was called.
func (r *reader) hasLeft() bool {
	r.say.Lock()
	defer r.say.Unlock()
	return r.left
}
