package agent

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/agent/output"
	"github.com/tidegate-io/tidegate/agent/status"
)

// device is one running device.
type device struct {
	reader *reader
	out    *output.Output
	cancel context.CancelFunc
	done   chan struct{} // closed when reader and output have ended
}

// startReaders starts reading every device of the configuration, as it stood where the gateway was before, if it moved.
func (a *Agent) startReaders(ctx context.Context, l *opened) {
	for i := range a.cfg.Devices {
		c := &a.cfg.Devices[i]
		a.mu.Lock()
		before := a.devices[c.Name]
		a.mu.Unlock()
		a.startReader(ctx, l, c, before)
	}
}

// startReader starts reading one device until ctx is done or stopSome. The outputs are set to what stood last in before, the device as
// it was configured before; nil = it is new.
func (a *Agent) startReader(ctx context.Context, l *opened, c *config.Device, before *device) *device {
	ctx, cancel := context.WithCancel(ctx)
	d := &device{cancel: cancel, done: make(chan struct{})}
	d.out = output.New(output.Options{
		Device: c.Name, Channels: c.Channels, Stop: ctx.Done(), Log: a.log, Lock: a.lock,
		Fault: func(holds bool, detail string) { a.board.set("output_fault", c.Name, holds, detail) },
	})
	d.reader = &reader{
		name: c.Name, driver: c.Driver, config: c.Settings, every: c.Every, ring: l.rings.Read, clock: a.parts.Clock,
		out: d.out, board: a.board, log: a.log, hung: new(atomic.Int64), poke: make(chan struct{}, 1), moved: make(chan struct{}, 1),
		state: status.Device{Name: c.Name, Driver: c.Driver, State: "off"},
	}
	d.reader.intake = a.intakeOf(c)
	d.reader.host = a.memory.Host(a.parts.Host, c.Name, d.reader.forgot)
	if before != nil {
		d.out.Inherit(before.out)
		d.reader.hung = before.reader.hung
	}
	a.mu.Lock()
	a.devices[c.Name] = d
	d.reader.ask(a.paces[c.Name].Every)
	a.mu.Unlock()
	go func() {
		defer close(d.done)
		var setting sync.WaitGroup
		setting.Go(func() { d.out.Run(ctx) })
		d.reader.run(ctx)
		setting.Wait()
	}()
	return d
}

// keepOutputs says which devices of changed go on under next with the settings that they have under cfg: their outputs stay as they are meanwhile.
// Those of the others go to their safe states, as they may be others of the machine from now on, or nobody's.
func (a *Agent) keepOutputs(cfg, next *config.Config, changed []string) {
	for i := range next.Devices {
		n := &next.Devices[i]
		for j := range cfg.Devices {
			c := &cfg.Devices[j]
			if c.Name != n.Name || c.Driver != n.Driver || !strict.Same(c.Settings, n.Settings) {
				continue
			}
			a.mu.Lock()
			if d := a.devices[c.Name]; d != nil && slices.Contains(changed, c.Name) {
				d.out.Keep()
			}
			a.mu.Unlock()
		}
	}
}

// stopSome stops reading the named devices and waits until their last Reads stand in ring 1. It returns them by name.
func (a *Agent) stopSome(names []string) map[string]*device {
	out := map[string]*device{}
	a.mu.Lock()
	for _, name := range names {
		if d := a.devices[name]; d != nil {
			out[name] = d
			delete(a.devices, name)
			d.cancel()
		}
	}
	a.mu.Unlock()
	deadline := time.Now().Add(leaveGrace)
	for name, d := range out {
		a.leave(d, deadline)
		for _, c := range append([]string{"output_fault", "output_waits", "output_unsure"}, deviceConditions...) {
			a.board.set(c, name, false, "")
		}
	}
	return out
}

// stopReaders ends all readers and waits for them. It may be called twice.
func (a *Agent) stopReaders(cancel context.CancelFunc) {
	cancel()
	deadline := time.Now().Add(leaveGrace)
	for _, d := range a.readers() {
		if !d.reader.hasLeft() {
			a.leave(d, deadline)
		}
	}
}

// readers returns the devices that are read.
func (a *Agent) readers() []*device {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := make([]*device, 0, len(a.devices))
	for _, d := range a.devices {
		list = append(list, d)
	}
	return list
}

// leave waits for a device that was told to end. One whose driver does not return until then is left behind: it can do nothing any more,
// and must not hold up the others.
func (a *Agent) leave(d *device, deadline time.Time) {
	t := time.NewTimer(time.Until(deadline))
	defer t.Stop()
	select {
	case <-d.done:
	case <-t.C:
		a.log.Error("driver does not return; it is left behind", "device", d.reader.name)
	}
	d.reader.leave()
}

// uplink returns the running uplink with that name, or nil.
func (a *Agent) uplink(name string) *uplink {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, u := range a.uplinks {
		if u.cfg.Name == name {
			return u
		}
	}
	return nil
}
