package output

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate"
)

// Ask sets the channel to v and waits, at most until ctx is done, for what becomes of it: nil when the device has taken it. It is tried
// once. A value that comes within the output's pause, or that an interlock holds back, waits; where it would wait for longer than ctx, Ask
// says so at once, and the value still goes out when its time comes, unless a newer one is there by then. While another output is on that
// excludes it, or may be, it is refused.
func (o *Output) Ask(ctx context.Context, channel string, v tidegate.Value) error {
	if err := o.check(channel, v); err != nil {
		return err
	}
	d := &demand{value: v, asked: make(chan error, 1)}
	asked := d.asked
	if err := o.ask(ctx, channel, d); err != nil {
		return err
	}
	select {
	case err := <-asked:
		return err
	case <-ctx.Done():
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.placeLocked(channel)
	d.isLeft = true
	if p.want == d {
		p.want = nil
		p.drop(d, nil)
		o.signal()
	}
	return fmt.Errorf("not set: %w", ctx.Err())
}

// ask leaves d for the channel. The error says why nobody is to wait for it.
func (o *Output) ask(ctx context.Context, channel string, d *demand) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.setter == nil {
		return errClosed
	}
	if o.stuck {
		return o.stuckLocked()
	}
	next, h := o.o.Lock.look(o.name(channel), d.value, o.isWhole(channel))
	if h.kind > timed {
		return refused(h)
	}
	o.leaveLocked(channel, d)
	o.signal()
	p, pause := o.placeLocked(channel), o.channel(channel).Limits.Pause
	if rest := time.Until(p.due(pause)); rest > h.total {
		h.total, h.why = rest, fmt.Sprintf("it was changed %v ago, and %v have to pass between two changes", shown(time.Since(p.changed)), pause)
	}
	end, isBounded := ctx.Deadline()
	if !isBounded || h.total <= time.Until(end) {
		return nil
	}
	d.asked, d.over = nil, nil
	if next != d.value {
		return fmt.Errorf("not set yet: %s; it is there in %v, unless a newer value comes", h.why, shown(h.total))
	}
	return fmt.Errorf("not set yet: %s; the value waits %v, unless a newer one comes", h.why, shown(h.total))
}

func refused(h hold) error { return fmt.Errorf("refused: %s", h.why) }

// due returns when p.want may be set: pause is the least time between two changes.
func (p *place) due(pause time.Duration) time.Time {
	if pause > 0 && p.want.value != p.stands && !p.changed.IsZero() {
		if at := p.changed.Add(pause); at.After(p.want.due) {
			return at
		}
	}
	return p.want.due
}

// drop gives up d, of which no more is tried: what stood before counts again, and what a rule demanded before is still to be set.
func (p *place) drop(d *demand, err error) {
	d.answer(err)
	if d.isBegun {
		p.stands = d.before
	}
	if p.want == nil {
		p.want = d.over
	} else if p.want.asked != nil && p.want.over == nil {
		p.want.over = d.over
	}
}

// mend has what stands set again where a late call may have changed it, unless something newer is to be set anyway.
func (p *place) mend() {
	if p.isSpoiled && !p.isBusy && p.want == nil && p.stands.Kind() != tidegate.KindNone {
		p.want, p.isSpoiled = &demand{value: p.stands}, false
	}
}

// See takes what a Read reports of outputs that began at that time: whether one is on that nobody has set, and where a number stands that is
// to be moved in steps.
func (o *Output) See(began time.Time, list []tidegate.Reading) {
	if len(o.outs) == 0 {
		return
	}
	for i := range list {
		if x := &list[i]; x.Fault == "" && o.outs[x.Channel] {
			o.o.Lock.see(o.name(x.Channel), x.Value, began)
		}
	}
}

// Waiting says in words what interlocks hold back now: for a time that is known or until another output is off, and because it is not known
// whether another one is.
func (o *Output) Waiting() (waits, unsures []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.setter == nil || o.stuck {
		return nil, nil // that is shown instead
	}
	for _, ch := range slices.Sorted(maps.Keys(o.places)) {
		p := o.places[ch]
		if p.want == nil {
			continue
		}
		_, h := o.o.Lock.look(o.name(ch), p.want.value, o.isWhole(ch))
		text := fmt.Sprintf("%s waits to be set to %s: %s", ch, p.want.value, h.why)
		switch h.kind {
		case timed:
			waits = append(waits, fmt.Sprintf("%s; %v to go", text, shown(h.total)))
		case excluded:
			waits = append(waits, text)
		case unsure:
			unsures = append(unsures, text)
		}
	}
	return waits, unsures
}
