package output

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// Run sets until ctx is done, and then brings the outputs to their safe states.
func (o *Output) Run(ctx context.Context) {
	defer close(o.ended)
	again := time.NewTimer(mostRetry)
	defer again.Stop()
	for ctx.Err() == nil {
		pause := time.Duration(0)
		for ctx.Err() == nil && pause == 0 {
			pause = o.one(ctx)
		}
		again.Reset(pause)
		select {
		case <-ctx.Done():
		case <-o.wake:
		case <-again.C:
		}
	}
	o.finish()
}

// one sets one channel that is due, and returns how long there is nothing to do unless something new comes; 0 = there may be more.
func (o *Output) one(ctx context.Context) (pause time.Duration) {
	o.mu.Lock()
	s, channel, pause := o.setter, "", mostRetry
	for ch, p := range o.places {
		if p.want == nil {
			continue
		}
		if wait := time.Until(p.due(o.limits(ch).Pause)); wait > 0 {
			pause = min(pause, wait)
		} else {
			channel = ch
		}
	}
	if s == nil || o.stuck || channel == "" {
		o.mu.Unlock()
		return pause
	}
	p := o.places[channel]
	d, before := p.want, p.stands
	p.want, p.stands = nil, d.value
	setting, cancel := context.WithTimeout(ctx, setDeadline)
	defer cancel()
	idle := make(chan struct{})
	o.cancel, o.idle = cancel, idle
	o.mu.Unlock()
	err := o.drive(setting, s, channel, d.value)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cancel, o.idle = nil, nil
	close(idle)
	if d.value != before {
		p.changed = time.Now()
	}
	away := o.setter != s || ctx.Err() != nil // then it is set anew when the device is opened again
	if err != nil {
		o.o.Log.Error("output not set", "device", o.o.Device, "channel", channel, "value", d.value.String(), "err", err)
	}
	switch {
	case d.asked != nil && err != nil:
		p.stands = before // whoever asked knows, and asks again if need be
		d.answer(err)
		if p.want == nil {
			p.want = d.past
		}
	case err == nil || !away:
		d.answer(err)
		o.cameLocked(p, d, err)
	}
	return 0
}

// cameLocked notes what became of a Set. A value that was not set is tried again later, unless a newer one came meanwhile.
func (o *Output) cameLocked(p *place, d *demand, err error) {
	p.failed = err
	if err != nil && p.want == nil {
		d.pause = min(max(2*d.pause, firstRetry), mostRetry)
		d.due = time.Now().Add(d.pause)
		p.want = d
	}
	o.showLocked()
}

// drive sets one channel; a panic of the driver is an error. A call that does not return although it is told to is left behind.
func (o *Output) drive(ctx context.Context, s drivers.Setter, channel string, v tidegate.Value) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("driver panicked: %v", p)
			}
		}()
		done <- s.Set(ctx, channel, v)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	t := time.NewTimer(grace)
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-t.C:
	}
	o.mu.Lock()
	o.hung++
	o.stuck = o.stuck || o.setter == s
	o.mu.Unlock()
	go func() {
		<-done
		o.mu.Lock()
		o.hung--
		o.mu.Unlock()
	}()
	return errHung
}

// finish brings the outputs that have a safe state there, while the device is still open.
func (o *Output) finish() {
	o.mu.Lock()
	s, leave := o.setter, o.keep || o.stuck
	for _, p := range o.places {
		if p.want != nil && p.want.asked != nil {
			p.want.answer(errStops)
			p.want = nil
		}
	}
	o.mu.Unlock()
	if s == nil || leave {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), safeDeadline)
	defer cancel()
	for i := range o.o.Channels {
		c := &o.o.Channels[i]
		if !c.Output || !c.Limits.HasSafe() {
			continue
		}
		err := o.drive(ctx, s, c.Name, c.Limits.Safe)
		if err != nil {
			o.o.Log.Error("output not brought to its safe state", "device", o.o.Device, "channel", c.Name, "value", c.Limits.Safe.String(), "err", err)
		}
		if errors.Is(err, errHung) {
			return // another Set must not be called beside it
		}
	}
}
