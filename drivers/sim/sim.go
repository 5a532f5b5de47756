// Package sim is a simulated device: waves, counters and texts to look at, outputs to switch, and faults on a schedule, so that
// everything behind a device can be tried without one.
//
// It has no clock. The world moves on by one step with each Read, the first being number 1, so that a channel's value is a function of
// the configuration (its seed included) and the number of the Read, which channel `n` carries: whoever receives the readings can work
// out what each of them must have been. Opened anew, the device begins at 1 again.
package sim

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// The channels that are there however the device is configured, and `level`.
const (
	chanNumber = "n"
	chanRelay  = "relay"
	chanLevel  = "level"
)

// Driver describes the simulated device.
var Driver = drivers.Driver{
	Name: "sim",
	Doc: `A simulated device, for trying out rules, uplinks and pages without hardware.
Each Read is one step of its world: n counts them from 1, and waves, counters and texts follow n, with noise from a fixed seed, so two
devices configured alike say the same. The output "relay" (and "level", with analog: true) takes what is set and reports it; it goes off
(to 0) when the gateway stops.
Faults come on a schedule of Reads: a faulty channel, a Read that fails, hangs or finds the device gone, a wrong unit, a value that is
not a number, another kind of value, an output that refuses.`,
	Channels: []drivers.Channel{
		{Name: chanNumber, Kind: tidegate.KindInt, Unit: "count", Meaning: "number of the Read since the device was opened, from 1"},
		{
			Name: chanRelay, Kind: tidegate.KindBool, Meaning: "output: what it was last set to, off at first", Output: true,
			Limits: drivers.Limits{Safe: tidegate.Bool(false)},
		},
	},
	Every: time.Second,
	New: func() drivers.Config {
		return &Config{Seed: 1, Waves: []Wave{
			{Name: "temp", Wave: "sine", Period: 60, Min: 18, Max: 24, Noise: 0.1, Unit: "Cel"},
			{Name: "pressure", Wave: "triangle", Period: 600, Min: 990, Max: 1030, Unit: "hPa"},
			{Name: "energy", Wave: "counter", Step: 5, Unit: "Wh"},
		}}
	},
	Sample: `name: boiler
driver: sim
every: 1s
seed: 7
analog: true
channels:
  - {name: temp, wave: sine, period: 120, min: 60, max: 90, noise: 0.5, unit: Cel}
  - {name: litres, wave: counter, start: 1000, step: 3}
  - {name: state, wave: text, period: 30, texts: [heating, idle]}
faults:
  - {kind: fault, channel: temp, every: 50, text: probe broken}
  - {kind: hang, every: 200, for: 5s}
`,
}

// device is one simulated device.
type device struct {
	c    *Config
	n    int64 // number of the last Read; guarded by mu
	out  []tidegate.Reading
	gone error // set by a fault of kind gone

	mu     sync.Mutex // Set may run while Read waits
	relay  bool
	level  float64
	closed bool
}

var errClosed = fmt.Errorf("device is closed: %w", drivers.ErrGone)

// Read takes one step and returns all channels, or what the schedule of faults has for it. The readings are valid until the next Read.
func (d *device) Read(ctx context.Context) ([]tidegate.Reading, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read simulated device: %w", err)
	}
	n, relay, level, err := d.step()
	if err == nil {
		err = d.suffer(ctx, n)
	}
	if err != nil {
		return nil, fmt.Errorf("read simulated device: %w", err)
	}
	d.out = append(d.out[:0], tidegate.Reading{Channel: chanNumber, Value: tidegate.Int(n), Unit: "count"})
	for i := range d.c.Waves {
		w := &d.c.Waves[i]
		d.out = append(d.out, tidegate.Reading{Channel: w.Name, Value: w.value(d.c.Seed, i, n), Unit: w.Unit})
	}
	d.out = append(d.out, tidegate.Reading{Channel: chanRelay, Value: tidegate.Bool(relay)})
	if d.c.Analog {
		d.out = append(d.out, tidegate.Reading{Channel: chanLevel, Value: tidegate.Float(level), Unit: "/100"})
	}
	d.spoil(n)
	return d.out, nil
}

// step moves the world on and returns its new state.
func (d *device) step() (n int64, relay bool, level float64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return 0, false, 0, errClosed
	}
	d.n++
	return d.n, d.relay, d.level, d.gone
}

// suffer plays the faults of Read n that concern the device as a whole.
func (d *device) suffer(ctx context.Context, n int64) error {
	for _, f := range d.c.Faults {
		if !f.hits(n) {
			continue
		}
		switch f.Kind {
		case faultError:
			return errors.New(f.text())
		case faultGone:
			d.gone = fmt.Errorf("%s: %w", f.text(), drivers.ErrGone)
			return d.gone
		case faultHang:
			if err := hang(ctx, f.For); err != nil {
				return err
			}
		}
	}
	return nil
}

// hang waits for t, or until ctx is done when t is 0.
func hang(ctx context.Context, t time.Duration) error {
	var passed <-chan time.Time
	if t > 0 {
		timer := time.NewTimer(t)
		defer timer.Stop()
		passed = timer.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-passed:
		return nil
	}
}

// spoil plays the faults of Read n that concern single channels.
func (d *device) spoil(n int64) {
	for _, f := range d.c.Faults {
		if !f.hits(n) {
			continue
		}
		for i := range d.out {
			if r := &d.out[i]; f.Channel == r.Channel || f.Channel == "" && r.Channel != chanNumber {
				f.spoil(r)
			}
		}
	}
}

// Set sets the output relay (yes or no, or 1 or 0) or level (0 to 100).
func (d *device) Set(ctx context.Context, channel string, v tidegate.Value) error {
	if err := d.set(ctx, channel, v); err != nil {
		return fmt.Errorf("set %s: %w", channel, err)
	}
	return nil
}

func (d *device) set(ctx context.Context, channel string, v tidegate.Value) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return errClosed
	}
	for _, f := range d.c.Faults {
		if f.Kind == faultRefuse && f.hits(d.n) && (f.Channel == "" || f.Channel == channel) {
			return errors.New(f.text())
		}
	}
	number, isNumber := v.Number() // yes and no are 1 and 0
	switch {
	case channel == chanRelay && isNumber && (number == 0 || number == 1):
		d.relay = number == 1
	case channel == chanRelay:
		return fmt.Errorf("got %s %q, want yes or no", v.Kind(), v)
	case channel == chanLevel && d.c.Analog && isNumber && number >= 0 && number <= 100:
		d.level = math.Abs(number) // -0 is 0
	case channel == chanLevel && d.c.Analog:
		return fmt.Errorf("got %s %q, want a number from 0 to 100", v.Kind(), v)
	default:
		return errors.New("no such output")
	}
	return nil
}

// Close ends the device: further calls find it gone.
func (d *device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	return nil
}
