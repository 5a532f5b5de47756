package gpio

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// Driver describes lines of GPIO chips.
var Driver = drivers.Driver{
	Name: "gpio",
	Doc: `Lines of GPIO chips: levels, changes with their own time, pulse counters that go on over restarts, frequencies, and outputs.
Each line goes by its name as gpioinfo shows it: GPIO17 is pin 11 of every Raspberry Pi's header, whatever the chip's number. Lines
without a name are chip:line, for instance gpiochip2:5. A line has one user: what an overlay (I2C, SPI, UART, 1-Wire) has cannot be had.
Changes of a line of mode edge are reported at once, all else each "report". A counter adds up what it sees; pulses while the gateway
is down are seen by nobody. Its total is kept over restarts: start + edges / per_unit.
An output goes to its safe level when it is opened and when the gateway stops; it reports what was set, and is never read back.
Needs Linux 5.10 or newer, and the group gpio. Lines of a USB expander belong into a device of their own: it is opened anew when it was
unplugged, with all its lines.`,
	Every: 0,
	New:   func() drivers.Config { return &Config{Report: time.Second} },
	Sample: `name: cabinet
driver: gpio
report: 1s
lines:
  - {channel: door, line: GPIO17, mode: edge, pull: up, active_low: true, debounce: 20ms, meaning: door is closed}
  - {channel: energy, line: GPIO27, mode: counter, pull: up, active_low: true, debounce: 5ms, most: 30, per_unit: 1000, unit: kWh}
  - {channel: wind, line: GPIO22, mode: frequency, pull: up, debounce: 1ms, meaning: anemometer}
  - {channel: mains, line: GPIO23, mode: input, pull: down}
  - {channel: siren, line: GPIO24, mode: output, safe: "off", pause: 1s}
`,
}

// The modes of a line.
const (
	modeInput     = "input"
	modeEdge      = "edge"
	modeCounter   = "counter"
	modeFrequency = "frequency"
	modeOutput    = "output"
)

// The edges of a line.
const (
	rising  = "rising"
	falling = "falling"
	both    = "both"
)

// Config is what the user sets for one device.
type Config struct {
	Report time.Duration `yaml:"report" doc:"how often levels, totals and frequencies are reported, 10ms to 24h; changes of mode edge are reported at once"`
	Lines  []Line        `yaml:"lines" doc:"the lines, 1 to 32, in the order in which they are reported"`
}

// Line is what the user sets for one line.
type Line struct {
	Channel   string        `yaml:"channel" doc:"name of the channel"`
	Line      string        `yaml:"line" doc:"name of the line as gpioinfo shows it, for instance GPIO17; chip:line where it has none, for instance gpiochip2:5"`
	Mode      string        `yaml:"mode" doc:"input (the level), edge (each change at once), counter (total of pulses), frequency (pulses a second) or output"`
	Pull      string        `yaml:"pull" doc:"resistor of an input: up, down or none; left out = as the board has it"`
	ActiveLow bool          `yaml:"active_low" doc:"low is on: for contacts to ground, open collectors and most relay boards"`
	Edge      string        `yaml:"edge" doc:"which changes count: rising (to on), falling or both; left out = both for mode edge, rising for counter and frequency"`
	Debounce  time.Duration `yaml:"debounce" doc:"a change counts once the level has stayed for so long, 1us to 10s; left out = at once"`
	Most      int           `yaml:"most" doc:"most changes a second that can be true; more are a fault. 0 or left out = 100 for mode edge (1000 at most), 10000 for counter and frequency"`
	PerUnit   float64       `yaml:"per_unit" doc:"pulses for one unit, as the meter says (1000 imp/kWh); 0 or left out = pulses are counted"`
	Unit      string        `yaml:"unit" doc:"unit of total or frequency, for instance kWh, m3; left out = count, Hz, or none with per_unit"`
	Start     float64       `yaml:"start" doc:"what the meter showed when counting began, in its unit; when it is changed, counting begins anew from there"`
	Stop      time.Duration `yaml:"stop" doc:"no pulse for so long is a frequency of 0, 10ms to 1h; 0 or left out = 10s"`
	Safe      string        `yaml:"safe" doc:"on or off: level of an output when it is opened and when the gateway stops; left out = it stays as it is"`
	Pause     time.Duration `yaml:"pause" doc:"least time between two changes of an output, 0 to 1h"`
	Meaning   string        `yaml:"meaning" doc:"one line for the technician"`
}

// Channels returns one channel a line.
func (c *Config) Channels() []drivers.Channel {
	out := make([]drivers.Channel, 0, len(c.Lines))
	for i := range c.Lines {
		out = append(out, c.Lines[i].channel())
	}
	return out
}

func (l *Line) channel() drivers.Channel {
	ch := drivers.Channel{Name: l.Channel, Kind: tidegate.KindBool, Unit: l.unit()}
	switch l.Mode {
	case modeEdge:
		ch.Meaning = "level of " + l.Line + ", each change of it (" + l.edge() + ") at once"
	case modeCounter:
		ch.Kind, ch.Meaning = tidegate.KindUint, "pulses of "+l.Line+" so far"
		if l.PerUnit != 0 {
			ch.Kind, ch.Meaning = tidegate.KindFloat, fmt.Sprintf("total of %s at %g pulses a unit", l.Line, l.PerUnit)
		}
	case modeFrequency:
		ch.Kind, ch.Meaning = tidegate.KindFloat, "pulses a second of "+l.Line
		if l.PerUnit != 0 {
			ch.Meaning += fmt.Sprintf(" divided by %g", l.PerUnit)
		}
	case modeOutput:
		ch.Output, ch.Meaning = true, "output "+l.Line+": what it was set to last"
		ch.Limits.Pause = l.Pause
		if l.Safe != "" {
			ch.Limits.Safe = tidegate.Bool(l.Safe == "on")
		}
	default:
		ch.Meaning = "level of " + l.Line
	}
	ch.Meaning = cmp.Or(l.Meaning, ch.Meaning)
	return ch
}

// unit returns the unit of the line's channel.
func (l *Line) unit() string {
	switch {
	case l.Unit != "" || l.PerUnit != 0:
		return l.Unit
	case l.Mode == modeCounter:
		return "count"
	case l.Mode == modeFrequency:
		return "Hz"
	}
	return ""
}

// edge returns which edges count; "" = none.
func (l *Line) edge() string {
	switch l.Mode {
	case modeEdge:
		return cmp.Or(l.Edge, both)
	case modeCounter, modeFrequency:
		return cmp.Or(l.Edge, rising)
	}
	return ""
}

// most returns how many edges a second can be true.
func (l *Line) most() int {
	if l.Mode == modeEdge {
		return cmp.Or(l.Most, 100)
	}
	return cmp.Or(l.Most, 10_000)
}

// request returns how the line is to be requested.
func (l *Line) request(wake chan<- struct{}) drivers.PinConfig {
	c := drivers.PinConfig{
		Output: l.Mode == modeOutput, Pull: l.Pull, ActiveLow: l.ActiveLow, Edge: l.edge(), Debounce: l.Debounce, Wake: wake,
	}
	if c.Output {
		isOn := l.Safe == "on"
		if c.Initial, c.AsIs = isOn, l.Safe == ""; !c.AsIs {
			c.AtEnd = &isOn
		}
	}
	return c
}

// Claims returns the lines. It is part of drivers.Claimer.
func (c *Config) Claims() []drivers.Claim {
	out := make([]drivers.Claim, 0, len(c.Lines))
	for i := range c.Lines {
		out = append(out, drivers.ClaimLine(fmt.Sprintf("lines[%d].line", i), c.Lines[i].Line))
	}
	return out
}

// Open requests all lines, or none: what one of them cannot have is for a person to mend.
func (c *Config) Open(ctx context.Context, h drivers.Host) (drivers.Device, error) {
	if bad := c.Validate(); len(bad) > 0 {
		return nil, fmt.Errorf("open gpio lines: %w", bad[0])
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open gpio lines: %w", err)
	}
	d := newDevice(c.Report, h.Memory(ctx))
	for i := range c.Lines {
		pin, err := h.Pin(ctx, c.Lines[i].Line, c.Lines[i].request(d.wake))
		if err != nil {
			_ = d.Close() // what is wrong is that the line cannot be had
			return nil, fmt.Errorf("open gpio line of channel %s: %w", c.Lines[i].Channel, err)
		}
		d.add(c.Lines[i], pin)
	}
	if slices.ContainsFunc(c.Lines, func(l Line) bool { return l.Mode == modeOutput }) {
		return outputs{d}, nil
	}
	return d, nil
}
