package modbus

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers/modbus/link"
	"github.com/tidegate-io/tidegate/drivers/modbus/registers"
)

// outputs is a device with channels that can be set.
type outputs struct {
	*device
	fresh func() framing // for each Set, while Read uses the device's own
}

// Set writes val to channel once, and returns nil when the unit holds it. The unit is read before, so that a unit which is silent, a
// connection that was hung up and what a line echoes are known ahead; and after, for only that tells what the unit has taken. A write
// that got no reply, or another one, is not made again: its outcome is what is read. It is part of drivers.Setter.
func (o *outputs) Set(ctx context.Context, channel string, val tidegate.Value) error {
	if err := o.refuse(ctx); err != nil {
		return err
	}
	i := slices.IndexFunc(o.values, func(v registers.Value) bool { return v.Channel == channel })
	switch {
	case i < 0:
		return fmt.Errorf("%s: set %s: there is no such channel", o.where, channel)
	case !o.values[i].IsOutput:
		return fmt.Errorf("%s: set %s: it is no output; write: true makes it one", o.where, channel)
	}
	v := &o.values[i]
	words, err := v.Encode(val)
	if err != nil {
		return fmt.Errorf("%s: set %s: %w", o.where, channel, err)
	}
	a := &asker{where: o.where, bus: o.bus, link: o.fresh(), spans: o.spans}
	a.call = a.exchange
	if err := a.write(ctx, v, words, val); err != nil {
		return fmt.Errorf("set %s: %w", channel, err)
	}
	return nil
}

// write writes words, which are val, to v and reads them back.
func (a *asker) write(ctx context.Context, v *registers.Value, words [link.MostWritten]uint16, val tidegate.Value) error {
	if _, _, err := a.ask(ctx, v.Read()); err != nil {
		return fmt.Errorf("nothing was written: %w", err)
	}
	q := v.Writing(words)
	_, _, err := a.ask(ctx, q)
	switch {
	case err != nil && !a.isOut(q):
		return fmt.Errorf("nothing was written: %w", err)
	case isRefusal(err) && !errors.Is(err, link.Acknowledge):
		return err
	}
	body, _, readErr := a.ask(ctx, v.Read())
	switch {
	case readErr != nil && err != nil:
		return fmt.Errorf("not known whether it holds %v: %w; %w", val, err, readErr)
	case readErr != nil:
		return fmt.Errorf("%v was taken, but not read back: %w", val, readErr)
	case v.Holds(body, words):
		return nil
	case err != nil:
		return fmt.Errorf("%v was not taken, it holds %s: %w", val, v.Say(body), err)
	}
	return fmt.Errorf("%s: %s: %v was taken, but it holds %s", a.where, q.Deed(), val, v.Say(body))
}
