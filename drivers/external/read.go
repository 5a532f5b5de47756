package external

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate"
)

// Read returns the next line of a talker, or the answer of a program that is asked, or of one that is started for it.
func (d *device) Read(ctx context.Context) ([]tidegate.Reading, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read program %s: %w", d.name, err)
	}
	d.out = d.out[:0]
	read := d.talk
	switch d.c.Mode {
	case modePoll:
		read = d.poll
	case modeOnce:
		read = d.once
	}
	if err := read(ctx); err != nil {
		return nil, err
	}
	return d.out, nil
}

// talk waits for a line, or for refused lines that are to be reported.
func (d *device) talk(ctx context.Context) error {
	for {
		p, err := d.program(ctx)
		if err != nil {
			return err
		}
		l, _, err := d.next(ctx, p, p.silence)
		switch {
		case err != nil:
			return err
		case l.reading.Channel != "":
			d.out = append(d.out, l.reading)
			return nil
		case l.done != 0:
			d.refused.add(fmt.Sprintf("says that the answer to %d is complete, and nothing was asked", l.done))
		case l.bad != "":
			d.refused.add(l.bad)
		}
		if now := time.Now(); d.refused.due(now) {
			d.out = append(d.out, d.refused.report(now))
			return nil
		}
	}
}

// poll asks the program and collects its answer.
func (d *device) poll(ctx context.Context) error {
	for {
		p, err := d.program(ctx)
		if err != nil {
			return err
		}
		if isOver, err := d.ask(ctx, p); err != nil || !isOver {
			return err
		}
		d.out = d.out[:0] // it was stopped in the middle of the answer, to be started anew
	}
}

// ask asks p and collects its answer. isOver says that there is none, because p was stopped as it has changed.
func (d *device) ask(ctx context.Context, p *process) (isOver bool, err error) {
	d.drop(p)
	id := d.ids.Add(1)
	if d.asked.IsZero() {
		d.asked = time.Now()
	}
	owed := func() time.Duration { return time.Since(d.asked) }
	if err := p.send(fmt.Appendf(nil, "{\"read\":%d}\n", id)); errors.Is(err, os.ErrDeadlineExceeded) {
		d.hang(p, owed())
		return false, err
	} // if it has ended, next says so
	for {
		l, isOver, err := d.next(ctx, p, owed)
		switch {
		case err != nil || isOver:
			return isOver, err
		case l.done == id:
			d.asked = time.Time{}
			return false, d.complete()
		case l.done != 0:
			d.out, d.asked = d.out[:0], time.Now() // the answer to an earlier question, which Read did not wait for any longer
		default:
			d.collect(l)
		}
	}
}

// drop drops the lines that came before a question.
func (d *device) drop(p *process) {
	for {
		select {
		case l, ok := <-p.lines:
			switch {
			case !ok:
				return
			case l.bad != "":
				d.refused.add(l.bad)
			case l.done != 0:
				d.asked = time.Time{} // an answer that Read did not wait for any longer
			case d.asked.IsZero():
				d.refused.add(fmt.Sprintf("of %q came before there was a question", l.reading.Channel))
			}
		default:
			return
		}
	}
}

// once starts the program and collects what it writes until it ends.
func (d *device) once(ctx context.Context) error {
	if d.left != nil && !d.left.finish() {
		return fmt.Errorf("read program %s: that of an earlier Read does not end although it was killed: it may hang in the kernel", d.name)
	}
	d.left = nil
	p, _, err := d.start()
	if err != nil {
		return err
	}
	_ = p.in.Close() // it is asked nothing
	start := time.Now()
	for {
		l, isOver, err := d.next(ctx, p, func() time.Duration { return time.Since(start) })
		switch {
		case err != nil && ctx.Err() != nil:
			d.abandon(p)
			return err
		case err != nil:
			return err
		case isOver:
			return d.complete()
		}
		d.collect(l)
	}
}

// abandon ends the program that nobody waits for any longer.
func (d *device) abandon(p *process) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proc == nil {
		return // it was released
	}
	if d.proc = nil; !p.finish() {
		d.left = p
	}
}

// collect takes a line of an answer.
func (d *device) collect(l line) {
	isSame := func(r tidegate.Reading) bool { return r.Channel == l.reading.Channel }
	switch {
	case l.bad != "":
		d.refused.add(l.bad)
	case l.done != 0:
		d.refused.add(fmt.Sprintf("says that the answer to %d is complete, and nothing was asked", l.done))
	case l.reading.Channel == "": // there was none
	case slices.ContainsFunc(d.out, isSame):
		d.refused.add(fmt.Sprintf("of %q came twice in one answer", l.reading.Channel))
	default:
		d.out = append(d.out, l.reading)
	}
}

// complete adds what an answer lacks, as faults, and what was refused.
func (d *device) complete() error {
	for i := range d.c.List {
		ch := &d.c.List[i]
		isThere := slices.ContainsFunc(d.out, func(r tidegate.Reading) bool { return r.Channel == ch.Name })
		if !isThere && !ch.Output {
			d.out = append(d.out, tidegate.Reading{Channel: ch.Name, Unit: ch.Unit, Fault: "it is missing in the program's answer"})
		}
	}
	if now := time.Now(); d.refused.due(now) {
		d.out = append(d.out, d.refused.report(now))
	}
	if len(d.out) == 0 {
		return fmt.Errorf("read program %s: its answer has no readings", d.name)
	}
	return nil
}
