// Package direct drives outputs of devices of the configuration without the gateway: the devices are opened for the purpose, and closed
// again.
package direct

import (
	"context"
	"errors"
	"fmt"
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
	// safeMost bounds opening a device and setting all its outputs. All devices are opened side by side; systemd waits for 25 s.
	safeMost = 10 * time.Second
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

// Safe brings all outputs of devices that have a safe state there, each device by itself, so that one which does not answer holds up no
// other. It returns within a quarter of a minute, in the order of devices.
func Safe(ctx context.Context, host drivers.Host, devices []config.Device) (results []Result) {
	ctx, cancel := context.WithTimeout(ctx, safeMost)
	defer cancel()
	late := time.NewTimer(safeMost + grace)
	defer late.Stop()
	answers := make([]chan []Result, len(devices))
	for i := range devices {
		d := &devices[i]
		if len(safeOutputs(d)) == 0 {
			continue
		}
		answers[i] = make(chan []Result, 1)
		go func() { answers[i] <- safe(ctx, host, d) }()
	}
	timeout := false
	for i, answer := range answers {
		if answer == nil {
			continue
		}
		if !timeout {
			select {
			case list := <-answer:
				results = append(results, list...)
				continue
			case <-late.C:
				timeout = true
			}
		}
		select {
		case list := <-answer:
			results = append(results, list...)
		default:
			results = append(results, failed(&devices[i], fmt.Errorf("the driver has not returned for more than %v", safeMost+grace))...)
		}
	}
	return results
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

// safe brings the outputs of one device to their safe states.
func safe(ctx context.Context, host drivers.Host, d *config.Device) (results []Result) {
	defer func() {
		if p := recover(); p != nil {
			results = failed(d, fmt.Errorf("driver panicked: %v", p))
		}
	}()
	dev, setter, err := open(ctx, host, d)
	if err != nil {
		return failed(d, err)
	}
	for _, ch := range safeOutputs(d) {
		results = append(results, Result{d.Name + "." + ch.Name, ch.Limits.Safe, setter.Set(ctx, ch.Name, ch.Limits.Safe)})
	}
	if err := dev.Close(); err != nil && len(results) > 0 {
		last := &results[len(results)-1]
		last.Err = errors.Join(last.Err, fmt.Errorf("close: %w", err))
	}
	return results
}
