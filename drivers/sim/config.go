package sim

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// Config is what the user sets for one simulated device.
type Config struct {
	Seed   uint64  `yaml:"seed" doc:"devices with the same seed and channels say the same"`
	Analog bool    `yaml:"analog" doc:"there is a second output, level, from 0 to 100 percent"`
	Waves  []Wave  `yaml:"channels" doc:"what the device reports beside n and its outputs, in this order; at most 900"`
	Faults []Fault `yaml:"faults" doc:"what goes wrong, and in which Reads"`
}

// maxWaves keeps a Read within one record (tidegate.MaxReadings).
const maxWaves = 900

// Wave describes one channel.
type Wave struct {
	Name   string   `yaml:"name" doc:"name of the channel"`
	Wave   string   `yaml:"wave" doc:"sine (default), triangle, square, saw, constant (min), random, counter or text"`
	Period int64    `yaml:"period" doc:"Reads for one turn, or that a text stays; 0 or left out = 60"`
	Min    float64  `yaml:"min" doc:"lowest value"`
	Max    float64  `yaml:"max" doc:"highest value; min and max both 0 or left out = 0 to 1"`
	Noise  float64  `yaml:"noise" doc:"adds a random number from -noise to noise"`
	Start  int64    `yaml:"start" doc:"first value of a counter"`
	Step   int64    `yaml:"step" doc:"what a counter grows by with each Read, wrapping round at 64 bits; 0 or left out = 1"`
	Texts  []string `yaml:"texts" doc:"of wave text: they take turns; left out = on, off"`
	Unit   string   `yaml:"unit" doc:"unit, for instance Cel"`
}

// The kinds of faults.
const (
	faultChannel = "fault"
	faultUnit    = "unit"
	faultNaN     = "nan"
	faultType    = "type"
	faultError   = "error"
	faultGone    = "gone"
	faultHang    = "hang"
	faultRefuse  = "refuse"
)

// Fault describes what goes wrong in some Reads.
type Fault struct {
	Kind string `yaml:"kind" doc:"fault (of a channel), unit (a wrong one), nan (not a number), type (text instead of a number, or the reverse), error (the Read fails), gone (until opened anew), hang, refuse (outputs are not set)"`
	// Reads are numbered from 1, as channel n shows.
	Every   int64         `yaml:"every" doc:"in every so manieth Read; 0 or left out = each"`
	From    int64         `yaml:"from" doc:"first Read concerned"`
	To      int64         `yaml:"to" doc:"last Read concerned; 0 or left out = no end"`
	Channel string        `yaml:"channel" doc:"channel concerned; left out = all but n"`
	Text    string        `yaml:"text" doc:"text of the fault; left out = simulated fault"`
	Unit    string        `yaml:"unit" doc:"the wrong unit; left out = K"`
	For     time.Duration `yaml:"for" doc:"how long a Read hangs; 0 or left out = until it is given up"`
}

// Channels returns the waves, and level when there is one.
func (c *Config) Channels() []drivers.Channel {
	var out []drivers.Channel
	for i := range c.Waves {
		w := &c.Waves[i]
		out = append(out, drivers.Channel{Name: w.Name, Kind: w.kind(), Unit: w.Unit, Meaning: "simulated: " + w.form()})
	}
	if c.Analog {
		out = append(out, drivers.Channel{
			Name: chanLevel, Kind: tidegate.KindFloat, Unit: "/100",
			Meaning: "output: what it was last set to, 0 at first", Output: true, Limits: drivers.Limits{Max: 100, Safe: tidegate.Float(0)},
		})
	}
	return out
}

// Open starts a new world at Read 1. It needs nothing of h.
func (c *Config) Open(ctx context.Context, _ drivers.Host) (drivers.Device, error) {
	if bad := c.Validate(); len(bad) > 0 {
		return nil, fmt.Errorf("open simulated device: %w", bad[0])
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open simulated device: %w", err)
	}
	return &device{c: c}, nil
}

// Validate returns what is wrong with c.
func (c *Config) Validate() []drivers.FieldError {
	var errs []drivers.FieldError
	if len(c.Waves) > maxWaves {
		errs = append(errs, drivers.FieldError{Field: "channels", Got: strconv.Itoa(len(c.Waves)), Problem: "are too many", Hint: "at most 900"})
	}
	names := []string{chanNumber, chanRelay, chanLevel}
	for i := range c.Waves {
		w, field := &c.Waves[i], fmt.Sprintf("channels[%d]", i)
		if err := tidegate.CheckName(w.Name); err != nil {
			errs = append(errs, drivers.FieldError{Field: field + ".name", Got: strconv.Quote(w.Name), Problem: err.Error()})
		} else if slices.Contains(names, w.Name) {
			errs = append(errs, drivers.FieldError{
				Field: field + ".name", Got: w.Name, Problem: "is taken already",
				Hint: "n, relay and level are the device's own",
			})
		}
		names = append(names, w.Name)
		errs = append(errs, w.check(field)...)
	}
	if !c.Analog {
		names = slices.DeleteFunc(names, func(s string) bool { return s == chanLevel })
	}
	for i := range c.Faults {
		errs = append(errs, c.Faults[i].check(fmt.Sprintf("faults[%d]", i), names)...)
	}
	return errs
}

func (w *Wave) check(field string) []drivers.FieldError {
	errs := drivers.OneOf(field+".wave", w.Wave, "", "sine", "triangle", "square", "saw", "constant", "random", "counter", "text")
	if w.Period < 0 || w.Period == 1 && w.Wave != "text" {
		errs = append(errs, drivers.FieldError{
			Field: field + ".period", Got: strconv.FormatInt(w.Period, 10),
			Problem: "is too short", Hint: "2 Reads or more; 1 is enough for texts",
		})
	}
	for _, n := range []struct {
		key string
		v   float64
	}{{"min", w.Min}, {"max", w.Max}, {"noise", w.Noise}} {
		if math.IsNaN(n.v) || math.Abs(n.v) > 1e300 {
			errs = append(errs, drivers.FieldError{
				Field: field + "." + n.key, Got: strconv.FormatFloat(n.v, 'g', -1, 64),
				Problem: "is no number from -1e300 to 1e300",
			})
		}
	}
	if w.Max < w.Min && w.Wave != "constant" {
		errs = append(errs, drivers.FieldError{
			Field: field + ".max", Got: strconv.FormatFloat(w.Max, 'g', -1, 64),
			Problem: "is below min, " + strconv.FormatFloat(w.Min, 'g', -1, 64),
		})
	}
	if w.Noise < 0 {
		errs = append(errs, drivers.FieldError{Field: field + ".noise", Got: strconv.FormatFloat(w.Noise, 'g', -1, 64), Problem: "is below 0"})
	}
	if len(w.Texts) > 0 && w.Wave != "text" {
		errs = append(errs, drivers.FieldError{Field: field + ".texts", Problem: "are for wave text only"})
	}
	return errs
}

func (f *Fault) check(field string, channels []string) []drivers.FieldError {
	errs := drivers.OneOf(field+".kind", f.Kind, faultChannel, faultUnit, faultNaN, faultType, faultError, faultGone, faultHang, faultRefuse)
	for _, n := range []struct {
		key string
		neg bool
		v   any
	}{{"every", f.Every < 0, f.Every}, {"from", f.From < 0, f.From}, {"to", f.To < 0, f.To}, {"for", f.For < 0, f.For}} {
		if n.neg {
			errs = append(errs, drivers.FieldError{Field: field + "." + n.key, Got: fmt.Sprint(n.v), Problem: "is below 0"})
		}
	}
	if f.To != 0 && f.To < f.From {
		errs = append(errs, drivers.FieldError{
			Field: field + ".to", Got: strconv.FormatInt(f.To, 10),
			Problem: fmt.Sprintf("is before from, %d", f.From),
		})
	}
	if f.Channel != "" && !slices.Contains(channels, f.Channel) {
		errs = append(errs, drivers.FieldError{
			Field: field + ".channel", Got: f.Channel, Problem: "is no channel of this device",
			Hint: "one of " + strings.Join(channels, ", "),
		})
	}
	return errs
}
