package ads1x15

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// Driver describes the converters.
var Driver = drivers.Driver{
	Name: "ads1x15",
	Doc: `Voltages by the converters ADS1115 (16 bits) and ADS1015 (12 bits) on an I2C bus, of four inputs to ground or of pairs.
Each input has a range; a voltage beyond it is a fault, not the end of the range. Scale and offset make other quantities of voltages:
a 4-20 mA loop over 100 Ohm, for instance, with min and max so that a broken wire is a fault. Does not use the comparator.`,
	Every: time.Second,
	New:   func() drivers.Config { return &Config{Address: "0x48", Part: partADS1115, Rate: 128} },
	Sample: `name: tank
driver: ads1x15
bus: "1"
address: "0x48"
inputs:
  - {channel: battery, input: "0", range: 4.096, scale: 5.7, meaning: battery behind 47 and 10 kOhm}
  - {channel: level, input: "1", range: 2.048, scale: 1.25, offset: -0.5, unit: m, min: -0.05, max: 2.05, meaning: 4-20 mA over 100 Ohm is 0 to 2 m}
  - {channel: bridge, input: "2-3", range: 0.256}
`,
	Parts: []drivers.Part{{
		Name: "ADS1115 or ADS1015", Addresses: []uint16{0x48, 0x49, 0x4a, 0x4b},
		Settings: []string{`inputs: [{channel: a0, input: "0", range: 4.096}]`},
	}},
}

// The words of the setting `part`.
const (
	partADS1115 = "ADS1115"
	partADS1015 = "ADS1015"
)

// Rates in conversions a second, by their code (SBAS444E, Config register; ti-ads1015.c).
var rates = map[string][]int{
	partADS1115: {8, 16, 32, 64, 128, 250, 475, 860},
	partADS1015: {128, 250, 490, 920, 1600, 2400, 3300},
}

// Inputs, by their code.
var muxes = []string{"0-1", "0-3", "1-3", "2-3", "0", "1", "2", "3"}

// Ranges in V, by their code.
var ranges = []float64{6.144, 4.096, 2.048, 1.024, 0.512, 0.256}

// Config is what the user sets for one converter.
type Config struct {
	Bus     string  `yaml:"bus" doc:"I2C bus: the kernel's number, for instance \"1\" for /dev/i2c-1; empty = the first"`
	Address string  `yaml:"address" doc:"\"0x48\" to \"0x4b\", as its pin ADDR is wired"`
	Part    string  `yaml:"part" doc:"ADS1115 or ADS1015"`
	Rate    int     `yaml:"rate" doc:"conversions a second; slower is less noise. ADS1115: 8, 16, 32, 64, 128, 250, 475, 860; ADS1015: 128, 250, 490, 920, 1600, 2400, 3300"`
	Inputs  []Input `yaml:"inputs" doc:"what is read, 1 to 8, one after the other"`
}

// Input is one voltage that is read.
type Input struct {
	Channel string   `yaml:"channel" doc:"name of the channel"`
	Input   string   `yaml:"input" doc:"\"0\" to \"3\" against ground, or a pair: \"0-1\", \"0-3\", \"1-3\", \"2-3\""`
	Range   float64  `yaml:"range" doc:"largest voltage, to both sides: 6.144, 4.096 (0 or left out), 2.048, 1.024, 0.512 or 0.256 V"`
	Scale   *float64 `yaml:"scale" doc:"the voltage in V is multiplied by it; left out = 1"`
	Offset  float64  `yaml:"offset" doc:"then this is added"`
	Unit    string   `yaml:"unit" doc:"unit of the result; left out = V"`
	Min     *float64 `yaml:"min" doc:"a result below is a fault"`
	Max     *float64 `yaml:"max" doc:"a result above is a fault"`
	Meaning string   `yaml:"meaning" doc:"one line for the technician"`
}

// Validate returns what is wrong with c.
func (c *Config) Validate() []drivers.FieldError {
	out := drivers.OneOf("part", c.Part, partADS1115, partADS1015)
	out = append(out, drivers.CheckI2CAddress(c.Address, Driver.Parts[0].Addresses...)...)
	if can := rates[c.Part]; can != nil && !slices.Contains(can, c.Rate) {
		out = append(out, drivers.FieldError{Field: "rate", Got: strconv.Itoa(c.Rate), Problem: "is none that an " + c.Part + " knows", Hint: "one of " + fmt.Sprint(can)})
	}
	if n := len(c.Inputs); n < 1 || n > len(muxes) {
		out = append(out, drivers.FieldError{Field: "inputs", Got: strconv.Itoa(n), Problem: "are too few or too many", Hint: "1 to 8 of them"})
		return out
	}
	seen := map[string]bool{}
	for i := range c.Inputs {
		out = append(out, c.Inputs[i].check(fmt.Sprintf("inputs[%d].", i), seen)...)
	}
	return out
}

// check returns what is wrong with the input whose keys begin with prefix; seen holds the channels before it.
func (in *Input) check(prefix string, seen map[string]bool) []drivers.FieldError {
	var out []drivers.FieldError
	if err := tidegate.CheckName(in.Channel); err != nil {
		out = append(out, drivers.FieldError{Field: prefix + "channel", Got: strconv.Quote(in.Channel), Problem: err.Error()})
	} else if seen[in.Channel] {
		out = append(out, drivers.FieldError{Field: prefix + "channel", Got: in.Channel, Problem: "is there twice", Hint: "give each input a name of its own"})
	}
	seen[in.Channel] = true
	out = append(out, drivers.OneOf(prefix+"input", in.Input, muxes...)...)
	if !slices.Contains(ranges, in.volts()) {
		out = append(out, drivers.FieldError{Field: prefix + "range", Got: fmt.Sprint(in.Range), Problem: "is none that the part knows", Hint: "one of " + fmt.Sprint(ranges)})
	}
	for key, v := range map[string]*float64{"scale": in.Scale, "offset": &in.Offset, "min": in.Min, "max": in.Max} {
		if v != nil && (math.IsNaN(*v) || math.IsInf(*v, 0) || key == "scale" && *v == 0) {
			out = append(out, drivers.FieldError{Field: prefix + key, Got: fmt.Sprint(*v), Problem: "makes no number of a voltage"})
		}
	}
	slices.SortFunc(out, func(a, b drivers.FieldError) int { return cmp.Compare(a.Field, b.Field) })
	if in.Min != nil && in.Max != nil && *in.Min >= *in.Max {
		out = append(out, drivers.FieldError{Field: prefix + "min", Got: fmt.Sprint(*in.Min), Problem: fmt.Sprintf("is not below max, which is %v", *in.Max)})
	}
	return out
}

func (in *Input) volts() float64 { return cmp.Or(in.Range, 4.096) }

func (in *Input) unit() string { return cmp.Or(in.Unit, "V") }

// Channels returns the inputs.
func (c *Config) Channels() []drivers.Channel {
	out := make([]drivers.Channel, 0, len(c.Inputs))
	for i := range c.Inputs {
		in := &c.Inputs[i]
		meaning := cmp.Or(in.Meaning, "input "+in.Input)
		out = append(out, drivers.Channel{Name: in.Channel, Kind: tidegate.KindFloat, Unit: in.unit(), Meaning: meaning})
	}
	return out
}

// Claims returns the part. It is part of drivers.Claimer.
func (c *Config) Claims() []drivers.Claim { return drivers.ClaimI2C(c.Bus, c.Address) }

// Open gets the bus. The part itself is spoken to by the first Read.
func (c *Config) Open(ctx context.Context, h drivers.Host) (drivers.Device, error) {
	if bad := c.Validate(); len(bad) > 0 {
		return nil, fmt.Errorf("open %s: %w", c.Part, bad[0])
	}
	p, err := drivers.OpenI2C(ctx, h, c.Bus, c.Address)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", c.Part, err)
	}
	return &device{part: p, c: c, rate: slices.Index(rates[c.Part], c.Rate)}, nil
}
