// Package direct drives outputs of devices of the configuration without the gateway: the devices are opened for the purpose, and closed
// again.
package direct

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/output"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/drivers"
)

const (
	// backMost is how long after an output was set its device may take to report it.
	backMost = 10 * time.Second
	// setMost bounds opening a device and setting one output of it.
	setMost = 10 * time.Second
	// safeMost bounds opening all devices and setting all their outputs; systemd waits for 25 s.
	safeMost = 10 * time.Second
	// turnMost bounds the first turn of a device on a port that others wait for.
	turnMost = 2 * time.Second
	// returnMost is how long the next device on a port waits for one whose turn has ended; drivers.Device says 100 ms.
	returnMost = 300 * time.Millisecond
	// grace is how long a driver may take to return once it is told to; drivers.Device says 100 ms.
	grace = 3 * time.Second
)

// Set opens d, sets its output ch to v, which is within its limits, and reads it back.
func Set(ctx context.Context, host drivers.Host, d *config.Device, ch *drivers.Channel, v tidegate.Value) (s status.Output, err error) {
	if err := ch.Accept(v); err != nil {
		return s, err
	}
	dev, setter, err := open(ctx, host, d)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	setting, cancel := context.WithTimeout(ctx, setMost)
	defer cancel()
	if err := setter.Set(setting, ch.Name, v); err != nil {
		return s, err
	}
	s = status.Output{Channel: d.Name + "." + ch.Name, Value: output.JSON(v), ReadBack: output.JSON(tidegate.Value{})}
	back, err := readBack(ctx, d, dev, ch.Name)
	if err != nil {
		s.Why = err.Error()
		return s, nil
	}
	s.ReadBack, s.Agrees = output.JSON(back), output.Agree(v, back)
	return s, nil
}

func open(ctx context.Context, host drivers.Host, d *config.Device) (drivers.Device, drivers.Setter, error) {
	dev, err := d.Settings.Open(ctx, host)
	if err != nil {
		return nil, nil, fmt.Errorf("open: %w", err)
	}
	if s, ok := dev.(drivers.Setter); ok {
		return dev, s, nil
	}
	return nil, nil, errors.Join(errors.New("the device has no outputs"), dev.Close())
}

// readBack returns what dev reports of the channel: a device that talks by itself may do so with a later line.
func readBack(ctx context.Context, d *config.Device, dev drivers.Device, channel string) (v tidegate.Value, err error) {
	ctx, cancel := context.WithTimeout(ctx, backMost)
	defer cancel()
	for {
		list, err := dev.Read(ctx)
		if err != nil {
			return v, fmt.Errorf("not read back: %w", err)
		}
		for i := range list {
			if r := &list[i]; r.Channel == channel && r.Fault != "" {
				return v, errors.New("not read back: " + r.Fault)
			} else if r.Channel == channel {
				return r.Value, nil
			}
		}
		if d.Every > 0 {
			return v, errors.New("not read back: the device does not report it")
		}
		if err := ctx.Err(); err != nil {
			return v, fmt.Errorf("not read back: %w", err)
		}
	}
}

// A Result is what became of one output that was to go to its safe state.
type Result struct {
	Output string // device.channel
	Value  tidegate.Value
	Err    error // nil = it is there
}

// round brings all outputs of devices that have a safe state there. Devices on different ports go side by side; those on one port take turns, each
// for no more than its share of the time, so that one which does not answer keeps no other from it. round returns when late is done at the latest,
// in the order of devices.
func round(ctx, late context.Context, host drivers.Host, devices []config.Device) (results []Result) {
	var ways []*way
	lines := map[string][]*way{} // by port
	for i := range devices {
		d := &devices[i]
		if len(safeOutputs(d)) == 0 {
			continue
		}
		w := &way{d: d, done: make(chan []Result, 1)}
		ways = append(ways, w)
		port := "device " + d.Name
		if u, ok := d.Settings.(drivers.PortUser); ok {
			for _, p := range u.Ports() {
				port = p.Port
			}
		}
		lines[port] = append(lines[port], w)
	}
	var all sync.WaitGroup
	for _, line := range lines {
		all.Go(func() { inTurn(ctx, host, line) })
	}
	all.Wait()
	for _, w := range ways {
		if w.results == nil && !w.isBack(late) {
			w.results = failed(w.d, fmt.Errorf("the driver has not returned for more than %v", safeMost+grace))
		}
		results = append(results, w.results...)
	}
	return results
}

// A way is a device's to its safe states.
type way struct {
	d       *config.Device
	done    chan []Result // has room for one
	results []Result      // nil = it is not there yet
}

// isBack waits until the driver has returned, at most until ctx is done, and says whether it has.
func (w *way) isBack(ctx context.Context) bool {
	select {
	case w.results = <-w.done:
		return true
	case <-ctx.Done():
	}
	select {
	case w.results = <-w.done:
		return true
	default:
		return false
	}
}

// inTurn takes the devices of one port to their safe states. Those whose turn was too short have another one in the time that is left.
func inTurn(ctx context.Context, host drivers.Host, line []*way) {
	end, _ := ctx.Deadline()
	most := turnMost
	if len(line) == 1 {
		most = safeMost
	}
	for range 2 {
		var again []*way
		for i, w := range line {
			if ctx.Err() != nil && w.results == nil {
				w.results = failed(w.d, fmt.Errorf("its turn on the port has not come within %v: %w", safeMost, ctx.Err()))
			}
			if ctx.Err() != nil {
				continue
			}
			before := w.results
			w.results = nil
			share := min(time.Until(end)/time.Duration(len(line)-i), most)
			turn, cancel := context.WithTimeoutCause(ctx, share, fmt.Errorf("%v are over, which is what it gets", share.Round(time.Millisecond)))
			back, cancelBack := context.WithTimeout(ctx, share+returnMost)
			go func() { w.done <- safe(ctx, turn, host, w.d, before) }()
			if w.isBack(back) && turn.Err() != nil {
				again = append(again, w)
			}
			cancel()
			cancelBack()
		}
		line, most = again, safeMost
	}
}

func safeOutputs(d *config.Device) (list []drivers.Channel) {
	for _, ch := range d.Channels {
		if ch.Output && ch.Limits.HasSafe() {
			list = append(list, ch)
		}
	}
	return list
}

// failed says of all outputs of d that they did not get there.
func failed(d *config.Device, err error) (results []Result) {
	for _, ch := range safeOutputs(d) {
		results = append(results, Result{d.Name + "." + ch.Name, ch.Limits.Safe, err})
	}
	return results
}

// safe brings the outputs of one device to their safe states until turn is done, but those that were there before. What it opens dies with ctx.
func safe(ctx, turn context.Context, host drivers.Host, d *config.Device, before []Result) (results []Result) {
	defer func() {
		if p := recover(); p != nil {
			results = failed(d, fmt.Errorf("driver panicked: %v", p))
		}
	}()
	dev, setter, err := open(ctx, host, d)
	if err != nil {
		return failed(d, err)
	}
	for i, ch := range safeOutputs(d) {
		if before != nil && before[i].Err == nil {
			results = append(results, before[i])
			continue
		}
		results = append(results, Result{d.Name + "." + ch.Name, ch.Limits.Safe, setter.Set(turn, ch.Name, ch.Limits.Safe)})
	}
	if err := dev.Close(); err != nil && len(results) > 0 {
		last := &results[len(results)-1]
		last.Err = errors.Join(last.Err, fmt.Errorf("close: %w", err))
	}
	return results
}
