package serialtext

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// device is one talker.
type device struct {
	bus     *drivers.Bus
	frames  *framer
	lines   *lines
	silence time.Duration // 0 = never a fault

	refused refusals
	quiet   time.Duration // waited for bytes in vain, since the last ones
	heard   time.Time     // when the last frame came, silence was last reported, or the device was opened
	strange int           // bytes that came since heard
	out     []tidegate.Reading
	closed  bool
}

// Read returns the readings of the next line, or what there is to report of lines refused or of silence. The readings are valid until
// the next Read.
func (d *device) Read(ctx context.Context) ([]tidegate.Reading, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read line: %w", err)
	}
	if d.closed {
		return nil, fmt.Errorf("read line: device is closed: %w", drivers.ErrGone)
	}
	d.out = d.out[:0]
	if d.drain() {
		return d.out, nil
	}
	err := d.bus.Do(ctx, func(p drivers.Port) error {
		for {
			if err := d.fill(ctx, p); err != nil {
				return err
			}
			if d.drain() {
				return nil
			}
		}
	})
	if err == nil {
		return d.out, nil
	}
	if errors.Is(err, drivers.ErrGone) {
		d.frames.reset()
		d.quiet = 0
	}
	return nil, fmt.Errorf("read line: %w", err)
}

// Close lets further Reads fail; the port dies with the ctx of Open.
func (d *device) Close() error {
	d.closed = true
	return nil
}

// drain puts the next thing to report that needs no more bytes into d.out; false when there is none.
func (d *device) drain() bool {
	for {
		fr, bad, ok := d.frames.next()
		if !ok {
			break
		}
		d.heard, d.strange = time.Now(), 0
		if bad == "" {
			bad = d.line(fr)
		}
		if bad != "" {
			d.refused.add(bad)
		}
		if d.refused.due(d.heard) {
			d.out = d.refused.report(d.out)
		}
		if len(d.out) > 0 {
			return true
		}
	}
	if d.refused.due(time.Now()) {
		d.out = d.refused.report(d.out)
	}
	return len(d.out) > 0
}

// line appends the readings of one frame to d.out, or says why there are none.
func (d *device) line(fr frame) refusal {
	out, bad, skip := d.lines.read(d.out, fr.text)
	if fr.torn && (bad != "" || !d.lines.selfStart) {
		return ""
	}
	if bad == "" && !skip && len(fr.half) > 0 {
		if _, other, skip := d.lines.read(nil, d.frames.joined(fr)); other == "" && !skip {
			bad = refusal(fmt.Sprintf("%s: may be the rest of %s before the pause: %s", halfFrame, excerpt(fr.half), excerpt(fr.raw)))
		}
	}
	d.frames.verdict(bad == "")
	if bad == "" {
		d.out = out
	}
	return bad
}

// fill waits for bytes, and for no longer than something would be to do without any.
func (d *device) fill(ctx context.Context, p drivers.Port) error {
	start := time.Now()
	wait := d.wait(start)
	var deadline time.Time
	if wait > 0 {
		deadline = start.Add(wait)
	}
	if err := p.SetReadDeadline(deadline); err != nil {
		return fmt.Errorf("set deadline: %w (%w)", drivers.ErrGone, err)
	}
	n, err := p.Read(d.frames.room())
	if n > 0 {
		d.frames.added(n)
		d.quiet = 0
		d.strange += n
		return nil // an error will come again
	}
	switch {
	case err == nil:
		return fmt.Errorf("port returned nothing: %w", drivers.ErrGone)
	case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() == nil:
		d.passed(wait)
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, drivers.ErrGone):
		return err
	}
	return fmt.Errorf("%w: %w", drivers.ErrGone, err) // whatever it is, a port opened anew is what may help
}

// wait returns how long bytes may be waited for from now on; 0 = for ever.
func (d *device) wait(now time.Time) time.Duration {
	var wait time.Duration
	sooner := func(t time.Duration) {
		// Not less, where a late call finds the time over: bytes that are there already count.
		if t = max(t, time.Millisecond); wait == 0 || t < wait {
			wait = t
		}
	}
	if d.refused.untold > 0 {
		sooner(d.refused.filled.Add(spacing).Sub(now))
	}
	if d.frames.unfinished() {
		sooner(d.frames.patience - d.quiet)
	}
	if d.silence > 0 {
		sooner(d.heard.Add(d.silence).Sub(now))
	}
	return wait
}

// passed says that nothing came for the time waited for.
func (d *device) passed(wait time.Duration) {
	d.quiet += wait
	if d.frames.unfinished() && d.quiet >= d.frames.patience {
		d.quiet = 0
		if bad := d.frames.pause(); bad != "" {
			d.heard, d.strange = time.Now(), 0
			d.refused.add(bad)
		}
	}
	now := time.Now()
	if d.silence == 0 || now.Sub(d.heard) < d.silence {
		return
	}
	text := fmt.Sprintf("nothing came for %v: is the talker on, and the cable right?", d.silence)
	if d.strange > 0 {
		text = fmt.Sprintf("%d bytes but no end of a frame came in %v: are baud, parity and framing right?", d.strange, d.silence)
	}
	for _, ch := range d.lines.channels {
		d.out = append(d.out, tidegate.Reading{Channel: ch.name, Fault: text})
	}
	d.heard, d.strange = now, 0
}
