package ads1x15

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// The registers, and what stands in the Config register (SBAS444E, Config register).
const (
	regConversion = 0
	regConfig     = 1
	isDone        = 1 << 15 // reading; writing starts a conversion
	muxShift      = 12
	rangeShift    = 9
	singleShot    = 1 << 8
	rateShift     = 5
	noComparator  = 3
)

// A device is an open converter.
type device struct {
	part *drivers.I2CPart
	c    *Config
	rate int // its code
	out  []tidegate.Reading
}

// Close ends the use of the part.
func (d *device) Close() error { return d.part.Close() }

// Read converts all inputs, one after the other.
func (d *device) Read(ctx context.Context) ([]tidegate.Reading, error) {
	none := func(context.Context) error { return nil } // all settings go out with each conversion
	if err := d.part.Do(ctx, none, d.convert); err != nil {
		return nil, fmt.Errorf("read %s at %w", d.c.Part, err)
	}
	return d.out, nil
}

func (d *device) convert(ctx context.Context) error {
	d.out = d.out[:0]
	for i := range d.c.Inputs {
		in := &d.c.Inputs[i]
		raw, err := d.one(ctx, in)
		if err != nil {
			return fmt.Errorf("input %s: %w", in.Input, err)
		}
		d.out = append(d.out, in.reading(raw, d.c.Part))
	}
	return nil
}

// one has one input converted and returns the Conversion register.
func (d *device) one(ctx context.Context, in *Input) (uint16, error) {
	config := uint16(slices.Index(muxes, in.Input)<<muxShift | slices.Index(ranges, in.volts())<<rangeShift |
		singleShot | d.rate<<rateShift | noComparator)
	if err := d.part.Put(ctx, regConfig, byte((config|isDone)>>8), byte(config)); err != nil {
		return 0, err
	}
	takes := time.Second/time.Duration(d.c.Rate)*11/10 + 50*time.Microsecond // the clock may be 10 % slow; and waking up
	if err := d.part.Wait(ctx, takes); err != nil {
		return 0, err
	}
	for tries := 3; ; tries-- {
		b, err := d.part.Get(ctx, regConfig, 2)
		if err != nil {
			return 0, err
		}
		switch got := binary.BigEndian.Uint16(b); {
		case got&^isDone != config:
			return 0, fmt.Errorf("config register reads 0x%04x, want 0x%04x: the part was reset, is no %s, or another program uses it",
				got&^isDone, config, d.c.Part)
		case got&isDone != 0:
			b, err = d.part.Get(ctx, regConversion, 2)
			return binary.BigEndian.Uint16(append(b, 0, 0)), err
		case tries == 0:
			return 0, fmt.Errorf("config register reads 0x%04x: still converting after %v", got, takes*3/2)
		}
		if err := d.part.Wait(ctx, takes/6); err != nil {
			return 0, err
		}
	}
}

// reading returns what the Conversion register of part says of the input.
func (in *Input) reading(raw uint16, part string) tidegate.Reading {
	r := tidegate.Reading{Channel: in.Channel, Unit: in.unit()}
	high := uint16(0x7fff)
	if part == partADS1015 {
		if high = 0x7ff0; raw&0x0f != 0 {
			r.Fault = fmt.Sprintf("the result reads 0x%04x, want the low four bits zero: it is no ADS1015, try part: ADS1115", raw)
			return r
		}
	}
	if raw == high || raw == 0x8000 {
		r.Fault = fmt.Sprintf("input %s is beyond its range of ±%v V: the result reads 0x%04x, want less; take a larger range or divide the voltage",
			in.Input, in.volts(), raw)
		return r
	}
	// The step is the range by 2^15: the range in mV is whole, and so the division is the only rounding.
	v := float64(int64(int16(raw))*int64(in.volts()*1000+0.5)) / (1000 << 15)
	if in.Scale != nil {
		v *= *in.Scale
	}
	v += in.Offset
	if in.Min != nil && v < *in.Min || in.Max != nil && v > *in.Max {
		r.Fault = fmt.Sprintf("%s is %v %s, want %s", in.Channel, v, in.unit(), in.wanted())
		return r
	}
	r.Value = tidegate.Float(v)
	return r
}

// wanted says what a result may be.
func (in *Input) wanted() string {
	switch {
	case in.Max == nil:
		return fmt.Sprintf("at least %v", *in.Min)
	case in.Min == nil:
		return fmt.Sprintf("at most %v", *in.Max)
	}
	return fmt.Sprintf("%v to %v", *in.Min, *in.Max)
}
