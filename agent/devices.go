package agent

import (
	"context"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/status"
)

// startReaders starts reading every device of the configuration.
func (a *Agent) startReaders(ctx context.Context, l *opened) {
	for i := range a.cfg.Devices {
		a.startReader(ctx, l, &a.cfg.Devices[i])
	}
}

// startReader starts reading one device until ctx is done or stopReader.
func (a *Agent) startReader(ctx context.Context, l *opened, c *config.Device) {
	ctx, cancel := context.WithCancel(ctx)
	d := &device{cancel: cancel, out: newOutput(c.Name, a.log)}
	d.reader = &reader{
		name: c.Name, driver: c.Driver, config: c.Settings, every: c.Every, host: a.parts.Host, ring: l.rings.Read, clock: a.parts.Clock,
		out: d.out, board: a.board, log: a.log, state: status.Device{Name: c.Name, Driver: c.Driver, State: "off"},
	}
	a.mu.Lock()
	a.devices[c.Name] = d
	a.mu.Unlock()
	d.done.Go(func() { d.reader.run(ctx) })
	d.done.Go(func() { d.out.run(ctx) })
}

// stopReader stops reading the device and waits until its last Read stands in ring 1.
func (a *Agent) stopReader(name string) {
	a.mu.Lock()
	d := a.devices[name]
	delete(a.devices, name)
	a.mu.Unlock()
	if d == nil {
		return
	}
	d.cancel()
	d.done.Wait()
	a.board.set("device_fault", name, false, "")
}

// stopReaders ends all readers and waits for them. It may be called twice.
func (a *Agent) stopReaders(cancel context.CancelFunc) {
	cancel()
	a.mu.Lock()
	var list []*device
	for _, d := range a.devices {
		list = append(list, d)
	}
	a.mu.Unlock()
	for _, d := range list {
		d.done.Wait()
	}
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
