package serialtext

import (
	"context"
	"fmt"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/talker"
)

// device is one talker.
type device struct {
	talker *talker.Talker
	lines  *lines
	out    []tidegate.Reading
	closed bool
}

// Read returns the readings of the next line, or what there is to report of lines refused or of silence. The readings are valid until
// the next Read.
func (d *device) Read(ctx context.Context) ([]tidegate.Reading, error) {
	if d.closed {
		return nil, fmt.Errorf("read line: device is closed: %w", drivers.ErrGone)
	}
	for d.out = d.out[:0]; len(d.out) == 0; d.out = d.talker.Report(d.out, chanFault) {
		h, err := d.talker.Next(ctx)
		if err != nil {
			return nil, fmt.Errorf("read line: %w", err)
		}
		switch h.What {
		case talker.Framed:
			d.line(h.Frame)
		case talker.Silent:
			for _, ch := range d.lines.channels {
				d.out = append(d.out, tidegate.Reading{Channel: ch.name, Fault: h.Text})
			}
		}
	}
	return d.out, nil
}

// Close lets further Reads fail; the port dies with the ctx of Open.
func (d *device) Close() error {
	d.closed = true
	return nil
}

// line appends the readings of one frame to d.out, or has it refused.
func (d *device) line(fr talker.Frame) {
	out, bad, skip := d.lines.read(d.out, fr.Text)
	if fr.Torn && (bad != "" || !d.lines.selfStart) {
		return
	}
	if bad == "" && !skip && len(fr.Half) > 0 {
		if _, other, skip := d.lines.read(nil, d.talker.Joined(fr)); other == "" && !skip {
			bad = talker.Refusal(fmt.Sprintf("%s: may be the rest of %s before the pause: %s",
				talker.HalfFrame, talker.Excerpt(fr.Half), talker.Excerpt(fr.Raw)))
		}
	}
	d.talker.Verdict(bad)
	if bad == "" {
		d.out = out
	}
}
