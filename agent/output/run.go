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
	defer o.o.Lock.join(o.wake)()
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

// pickLocked returns a channel that is due with a pass for its value, or for a step towards it. Where there is none, pause is how long there is
// nothing to do unless something new comes; 0 = there may be more.
func (o *Output) pickLocked() (channel string, x pass, pause time.Duration) {
	pause = mostRetry
	for ch, p := range o.places {
		if p.want == nil {
			continue
		}
		c := o.channel(ch)
		if wait := time.Until(p.due(c.Limits.Pause)); wait > 0 {
			pause = min(pause, wait)
			continue
		}
		x, h := o.o.Lock.begin(o.name(ch), p.want.value, o.isWhole(ch))
		switch {
		case h.kind == free:
			return ch, x, 0
		case h.kind == timed:
			pause = min(pause, h.rest)
		case p.want.asked != nil: // the other has come first
			d := p.want
			p.want = nil
			p.drop(d, refused(h))
			pause = 0
		}
	}
	return "", pass{}, pause
}

// one sets one channel that is due, and returns how long there is nothing to do unless something new comes; 0 = there may be more.
func (o *Output) one(ctx context.Context) (pause time.Duration) {
	o.mu.Lock()
	s := o.setter
	if s == nil || o.stuck {
		o.mu.Unlock()
		return mostRetry
	}
	channel, x, pause := o.pickLocked()
	if channel == "" {
		o.mu.Unlock()
		return pause
	}
	p := o.places[channel]
	d, before := p.want, p.stands
	if !d.isBegun {
		d.isBegun, d.before = true, before
	}
	d.isMany = d.isMany || x.value != d.value
	p.want, p.stands, p.isBusy, p.isSpoiled = nil, d.value, true, false
	setting, cancel := context.WithTimeout(ctx, setDeadline)
	defer cancel()
	idle := make(chan struct{})
	o.cancel, o.idle = cancel, idle
	o.mu.Unlock()
	err := o.drive(setting, s, channel, x)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cancel, o.idle, p.isBusy = nil, nil, false
	close(idle)
	defer p.mend()
	if d.value != before || d.isMany {
		p.changed = time.Now()
	}
	if err != nil {
		o.o.Log.Error("output not set", "device", o.o.Device, "channel", channel, "value", x.value.String(), "err", err)
	}
	away := o.setter != s || ctx.Err() != nil // then it is set anew when the device is opened again
	switch {
	case d.asked != nil && err != nil:
		p.drop(d, err) // whoever asked knows, and asks again if need be
	case err == nil && x.value != d.value:
		o.stepLocked(p, d, o.channel(channel).Limits.Pause, away)
	case err == nil || !away:
		d.answer(err)
		o.cameLocked(p, d, err)
	}
	return 0
}

// stepLocked goes on with d, of which a step was set, unless a newer value came meanwhile.
func (o *Output) stepLocked(p *place, d *demand, pause time.Duration, away bool) {
	switch {
	case d.isLeft, away && d.asked != nil:
		p.drop(d, errClosed)
	case p.want != nil:
		d.answer(errNewer)
	default:
		d.pause, d.due = 0, time.Now().Add(pause)
		p.want = d
	}
	p.failed = nil
	o.showLocked()
}

// cameLocked notes what became of a Set. A value that was not set is tried again later, unless a newer one came meanwhile.
func (o *Output) cameLocked(p *place, d *demand, err error) {
	p.failed = err
	if err != nil {
		d.pause = min(max(2*d.pause, firstRetry), mostRetry)
		d.due = time.Now().Add(d.pause)
		if p.want == nil {
			p.want = d
		} else if p.want.asked != nil && p.want.over == nil {
			p.want.over = d
		}
	}
	o.showLocked()
}

// drive sets one channel to what x lets out; a panic of the driver is an error. A call that does not return although it is told to is left behind.
func (o *Output) drive(ctx context.Context, s drivers.Setter, channel string, x pass) (err error) {
	defer func() { o.o.Lock.end(x, err, errors.Is(err, errHung)) }()
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("driver panicked: %v", p)
			}
		}()
		done <- s.Set(ctx, channel, x.value)
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
		o.o.Lock.returned(x)
		o.mu.Lock()
		o.hung--
		if o.setter != nil && o.number != x.session {
			p := o.places[channel]
			p.isSpoiled = true
			p.mend()
		}
		o.mu.Unlock()
		o.signal()
	}()
	return errHung
}

// finish brings the outputs that have a safe state there, while the device is still open.
func (o *Output) finish() {
	o.mu.Lock()
	s, leave := o.setter, o.keep || o.stuck
	o.dropLocked(errStops)
	o.mu.Unlock()
	if s == nil || leave {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), safeDeadline)
	defer cancel()
	for _, c := range safeOrder(o.o.Channels) {
		err := o.safe(ctx, s, c)
		if err != nil {
			o.o.Log.Error("output not brought to its safe state", "device", o.o.Device, "channel", c.Name, "value", c.Limits.Safe.String(), "err", err)
		}
		if errors.Is(err, errHung) {
			return // another Set must not be called beside it
		}
	}
}

// safeOrder returns the outputs that have a safe state, those first which go off: others may wait for that.
func safeOrder(list []drivers.Channel) (out []drivers.Channel) {
	for _, isLast := range []bool{false, true} {
		for _, c := range list {
			if c.Output && c.Limits.HasSafe() && (c.Limits.Safe == tidegate.Bool(true)) == isLast {
				out = append(out, c)
			}
		}
	}
	return out
}

// safe brings one output to its safe state, at once; where it is on then, as soon as all are off that exclude it.
func (o *Output) safe(ctx context.Context, s drivers.Setter, c drivers.Channel) error {
	x, h := o.o.Lock.beginSafe(o.name(c.Name), c.Limits.Safe)
	for ; h.kind != free; x, h = o.o.Lock.beginSafe(o.name(c.Name), c.Limits.Safe) {
		rest, cancel := context.WithTimeout(ctx, max(h.rest, time.Millisecond))
		if h.kind > timed {
			rest = ctx
		}
		select {
		case <-rest.Done():
		case <-o.wake:
		}
		cancel()
		if ctx.Err() != nil {
			return refused(h)
		}
	}
	err := o.drive(ctx, s, c.Name, x)
	if err == nil && c.Limits.Safe == tidegate.Bool(false) {
		o.o.Lock.park(x)
	}
	return err
}
