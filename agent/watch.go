package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// errHung is wrapped by the error of a driver that does not return.
var errHung = errors.New("the driver has not returned")

// A session is one run of reader.session, which is given up when its driver does not return.
type session struct {
	hung chan error         // takes the error of giving up
	end  context.CancelFunc // ends what it has opened
	left bool               // it is given up; guarded by reader.mu
}

// try runs one session in a goroutine of its own, and leaves it behind when its driver does not return.
func (r *reader) try(ctx context.Context) error {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lifeAfter, end) })()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	own := &session{hung: make(chan error, 1), end: end}
	r.mu.Lock()
	r.now = own
	r.mu.Unlock()
	done := make(chan error, 1)
	go func() {
		err := r.session(ctx, life, own)
		end()
		if !r.exit(own) {
			r.hung.Add(-1)
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case err := <-own.hung:
		cancel()
		end()
		r.out.Detach()
		return err
	}
}

// read reads dev once, within the time most; 0 = as long as it likes. Where it is limited, it has readEnds more when ctx is done.
func (r *reader) read(ctx context.Context, dev drivers.Device, most time.Duration) (list []tidegate.Reading, err error) {
	began := time.Now()
	defer func() { r.out.See(began, list) }()
	r.mu.Lock()
	r.begun++
	r.mu.Unlock()
	limited := ctx
	if most > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(context.WithoutCancel(ctx), most)
		defer cancel()
		defer context.AfterFunc(ctx, func() { time.AfterFunc(readEnds, cancel) })()
	}
	list, err = dev.Read(limited)
	if err = r.intake.Error(err); err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("no answer within %v: %w", most, err)
	}
	return list, err
}

// most returns how long a Read may take; 0 = as long as it likes, because it waits for the device.
func (r *reader) most() time.Duration {
	if r.every == 0 {
		return 0
	}
	return max(readMost, 10*r.interval())
}

// enter notes that a call of the driver begins, which may take as long as limit; 0 = as long as it likes.
func (r *reader) enter(own *session, limit time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if own.left {
		return
	}
	r.meter.Take()
	r.since, r.limit, r.took = time.Now(), limit, 0
}

// exit notes that it has returned, and reports whether the session goes on. Only within a call can it be given up.
func (r *reader) exit(own *session) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !own.left && !r.since.IsZero() {
		r.since, r.took = time.Time{}, time.Since(r.since)
	}
	return !own.left
}

// watch gives up the session whose driver does not return although it was told to: for ever, perhaps.
func (r *reader) watch() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.since.IsZero() || r.limit == 0 || time.Since(r.since) < r.limit+leaveGrace {
		return
	}
	r.now.left, r.since = true, time.Time{}
	r.hung.Add(1)
	r.now.hung <- fmt.Errorf("%w for more than %v", errHung, r.limit)
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
