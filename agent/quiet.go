package agent

import (
	"context"
	"fmt"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/rules/intake"
)

// intakeOf returns what becomes of the readings of c before anything else sees them; nil = nothing.
func (a *Agent) intakeOf(c *config.Device) *intake.Chain {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cfg.IntakeOf(c)
}

// takeIn returns what becomes of list before anything else sees it. list stays as the driver has returned it: who waits for an output looks there.
func (r *reader) takeIn(list []tidegate.Reading) []tidegate.Reading {
	if r.intake == nil {
		return list
	}
	r.taken = append(r.taken[:0], list...)
	r.intake.Apply(r.taken)
	return r.taken
}

// shut closes dev.
func (r *reader) shut(own *session, dev drivers.Device) {
	r.enter(own, readMost)
	if err := dev.Close(); err != nil {
		r.log.Debug("close device", "device", r.name, "err", r.intake.Error(err))
	}
}

// quiet returns s, whose errors are hidden where the device's are.
func (r *reader) quiet(s drivers.Setter) drivers.Setter {
	if !r.intake.Hides() {
		return s
	}
	return &quietSetter{s, r.intake}
}

// A quietSetter is a Setter whose errors, panics too, nobody is to see.
type quietSetter struct {
	setter drivers.Setter
	intake *intake.Chain
}

// Set is the Setter's.
func (q *quietSetter) Set(ctx context.Context, channel string, v tidegate.Value) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("driver panicked: %v", q.intake.Said(p))
		}
	}()
	return q.intake.Error(q.setter.Set(ctx, channel, v))
}

// seen returns what may be seen of v, which the output has: it is in the unit that the output is set in, but not in clear where the channel
// is redacted or hashed.
func (r *reader) seen(channel string, v tidegate.Value) tidegate.Value {
	r.say.Lock()
	defer r.say.Unlock()
	if !r.intake.HidesOf(channel) {
		return v
	}
	list := []tidegate.Reading{{Device: r.name, Channel: channel, Value: v}}
	r.intake.Apply(list)
	return list[0].Value
}
