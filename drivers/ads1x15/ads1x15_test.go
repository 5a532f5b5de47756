package ads1x15

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/devices/v3/ads1x15"
	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
	"github.com/tidegate-io/tidegate/drivers/drivertest/conformance"
)

// fake returns a converter as SBAS444E describes it: a write of the Config register starts a conversion of the input that stands there,
// and the result stays until the next one is done, which is after the register was asked for `busy` times.
func fake(busy int, raw map[int]uint16) *drivertest.I2CPart {
	left, next := 0, uint16(0)
	return &drivertest.I2CPart{
		Held: map[byte][]byte{0: {0, 0}, 1: {0x85, 0x83}},
		Wrote: func(p *drivertest.I2CPart, register byte, b []byte) {
			if register == 1 && len(b) == 2 && b[0]&0x80 != 0 {
				p.Held[1] = []byte{b[0] &^ 0x80, b[1]}
				left, next = busy, raw[int(b[0]>>4&7)]
			}
		},
		Asked: func(p *drivertest.I2CPart, register byte) {
			if register != 1 {
				return
			}
			if left--; left < 0 {
				p.Held[1][0] |= 0x80
				p.Held[0] = []byte{byte(next >> 8), byte(next)}
			}
		},
	}
}

func one(in Input) *Config {
	c := Driver.New().(*Config)
	in.Channel = "v"
	if in.Input == "" {
		in.Input = "0"
	}
	c.Inputs = []Input{in}
	return c
}

func open(t *testing.T, c *Config, b i2c.Bus) drivers.Device {
	t.Helper()
	d, err := c.Open(t.Context(), &drivertest.Host{I2CBuses: map[string]i2c.Bus{drivertest.Any: b}})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func bus(p *drivertest.I2CPart) *drivertest.I2CBus {
	return &drivertest.I2CBus{Parts: map[uint16]*drivertest.I2CPart{0x48: p}}
}

// TestRead converts one input after the other: each has its own value, although the converter keeps that of the one before.
func TestRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Driver.New().(*Config)
		c.Inputs = []Input{
			{Channel: "battery", Input: "0", Scale: new(5.7)},
			{Channel: "level", Input: "1", Range: 2.048, Scale: new(1.25), Offset: -0.5, Unit: "m", Min: new(-0.05), Max: new(2.05)},
			{Channel: "bridge", Input: "2-3", Range: 0.256},
			{Channel: "all", Input: "3", Range: 6.144},
		}
		d := open(t, c, bus(fake(2, map[int]uint16{4: 16000, 5: 19200, 3: 0xfff6, 7: 16000})))
		want := "battery=11.4 V, level=1 m, bridge=-7.8125e-05 V, all=3 V"
		for range 2 {
			start := time.Now()
			if got := drivertest.Show(d.Read(t.Context())); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if took := time.Since(start); took < 4*7813*time.Microsecond || took > 60*time.Millisecond {
				t.Errorf("took %v, want four conversions at 128 a second", took)
			}
		}
	})
}

// TestUnhappy has inputs and buses with something wrong: none of it is a value.
func TestUnhappy(t *testing.T) {
	const who = "error: read ADS1115 at 0x48 on drivertest: input 0: "
	const beyond = "v!input 0 is beyond its range of ±4.096 V: the result reads 0x%04x, want less; take a larger range or divide the voltage"
	asADS1015 := one(Input{})
	asADS1015.Part, asADS1015.Rate = partADS1015, 1600
	loop := one(Input{Range: 2.048, Scale: new(10.0), Unit: "mA", Min: new(3.6), Max: new(21.0)})
	least, most := one(Input{Min: new(1.0)}), one(Input{Max: new(1.0)})
	held := func(register byte, b ...byte) *drivertest.I2CPart {
		p := fake(0, nil)
		p.Wrote, p.Asked = nil, func(p *drivertest.I2CPart, r byte) {
			if r == register {
				p.Held[r] = b
			}
		}
		return p
	}
	value := func(raw uint16) *drivertest.I2CPart { return fake(0, map[int]uint16{4: raw}) }
	for want, of := range map[string]struct {
		c *Config
		p *drivertest.I2CPart
	}{
		who + "write register 0x01: drivertest: no such device or address":                                               {one(Input{}), nil},
		who + "config register reads 0x7fff, want 0x4383: the part was reset, is no ADS1115, or another program uses it": {one(Input{}), held(1, 0xff, 0xff)},
		who + "config register reads 0x0000, want 0x4383: the part was reset, is no ADS1115, or another program uses it": {one(Input{}), held(1, 0, 0)},
		who + "config register reads 0x0583, want 0x4383: the part was reset, is no ADS1115, or another program uses it": {one(Input{}), held(1, 0x85, 0x83)},
		who + "config register reads 0x43ff, want 0x4383: the part was reset, is no ADS1115, or another program uses it": {one(Input{}), held(1, 0xc3)},
		who + "config register reads 0x4383: still converting after 12.965625ms":                                         {one(Input{}), fake(4, nil)},
		who + "read register 0x00: drivertest: register 0x00: remote I/O error (I2CPart.Held has none of that number)":   {one(Input{}), func() *drivertest.I2CPart { p := value(0); p.Held[0] = nil; p.Asked = nil; p.Wrote = nil; return p }()},
		fmt.Sprintf(beyond, 0x7fff): {one(Input{}), value(0x7fff)},
		fmt.Sprintf(beyond, 0x8000): {one(Input{}), value(0x8000)},
		fmt.Sprintf(beyond, 0x7ff0): {asADS1015, value(0x7ff0)},
		"v!the result reads 0x1234, want the low four bits zero: it is no ADS1015, try part: ADS1115": {asADS1015, value(0x1234)},
		"v!v is 0 mA, want 3.6 to 21":   {loop, value(0)},
		"v!v is 0.5 V, want at least 1": {least, value(4000)},
		"v!v is 1.25 V, want at most 1": {most, value(10000)},
		"v=4.09575 V":                   {one(Input{}), value(0x7ffe)},
		"v=-0.128 V":                    {asADS1015, value(0xfc00)},
	} {
		synctest.Test(t, func(t *testing.T) {
			if got := drivertest.Show(open(t, of.c, bus(of.p)).Read(t.Context())); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// TestEachTransferFails fails each transfer of three Reads in turn: that Read is an error, the others are right.
func TestEachTransferFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nak := errors.New("drivertest: remote I/O error")
		for n := 1; n <= 9; n++ {
			b := bus(fake(0, map[int]uint16{4: 8000}))
			b.Fail = func(i int) error {
				if i == n {
					return nak
				}
				return nil
			}
			d := open(t, one(Input{}), b)
			good := 0
			for range 3 {
				rs, err := d.Read(t.Context())
				if got := drivertest.Show(rs, nil); err == nil && got == "v=1 V" {
					good++
				} else if !errors.Is(err, nak) {
					t.Errorf("transfer %d: %s, %v", n, got, err)
				}
			}
			if good != 2 {
				t.Errorf("transfer %d: %d good Reads, want 2", n, good)
			}
		}
	})
}

func TestReadEndsWithCtx(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := one(Input{})
		c.Rate = 8
		d := open(t, c, bus(fake(0, nil)))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := d.Read(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 20*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// TestPeriphAgrees lets periph's driver convert the same inputs, on a part that is as fast as it believes.
func TestPeriphAgrees(t *testing.T) {
	volts := map[float64]physic.ElectricPotential{}
	for _, v := range ranges {
		volts[v] = physic.ElectricPotential(v*1000+0.5) * physic.MilliVolt
	}
	rapid.Check(t, func(rt *rapid.T) {
		mux := rapid.IntRange(0, 7).Draw(rt, "mux")
		raw := uint16(rapid.IntRange(-0x7fff, 0x7ffe).Draw(rt, "raw"))
		in := Input{Channel: "v", Input: muxes[mux], Range: rapid.SampledFrom(ranges).Draw(rt, "range")}
		p := fake(0, map[int]uint16{mux: raw})
		p.Asked = func(p *drivertest.I2CPart, register byte) { p.Held[0] = []byte{byte(raw >> 8), byte(raw)} }
		dev, err := ads1x15.NewADS1115(bus(p), &ads1x15.Opts{I2cAddress: 0x48})
		if err != nil {
			rt.Fatal(err)
		}
		pin, err := dev.PinForChannel(ads1x15.Channel(mux), volts[in.Range], 860*physic.Hertz, ads1x15.SaveEnergy)
		if err != nil {
			rt.Fatal(err)
		}
		theirs, err := pin.Read()
		if err != nil {
			rt.Fatal(err)
		}
		ours, _ := in.reading(raw, partADS1115).Value.Number()
		if math.Abs(ours-float64(theirs.V)/float64(physic.Volt)) > 1e-8 {
			rt.Errorf("%v: ours %v V, periph's %v", in, ours, theirs.V)
		}
		if got, want := p.Held[1][0]&0x7e, byte(mux<<4|map[float64]int{6.144: 0, 4.096: 1, 2.048: 2, 1.024: 3, 0.512: 4, 0.256: 5}[in.Range]<<1); got != want {
			rt.Errorf("periph's config is %x, ours %x", got, want)
		}
	})
}

func TestValidate(t *testing.T) {
	twice := one(Input{})
	twice.Inputs = append(twice.Inputs, Input{Channel: "v", Input: "4", Range: 5, Scale: new(0.0), Min: new(2.0), Max: new(1.0), Offset: math.NaN()})
	none := one(Input{})
	none.Inputs = nil
	bad := one(Input{})
	bad.Address, bad.Part, bad.Rate = "0x4c", "ADS1256", 1
	rate := one(Input{})
	rate.Rate = 100
	for want, c := range map[string]*Config{
		"[]": one(Input{}),
		"[inputs[1].channel: is there twice (got v); give each input a name of its own " +
			`inputs[1].input: is not known (got "4"); one of 0-1, 0-3, 1-3, 2-3, 0, 1, 2, 3 ` +
			"inputs[1].offset: makes no number of a voltage (got NaN) " +
			"inputs[1].range: is none that the part knows (got 5); one of [6.144 4.096 2.048 1.024 0.512 0.256] " +
			"inputs[1].scale: makes no number of a voltage (got 0) " +
			"inputs[1].min: is not below max, which is 1 (got 2)]": twice,
		"[inputs: are too few or too many (got 0); 1 to 8 of them]":                                                                                         none,
		`[part: is not known (got "ADS1256"); one of ADS1115, ADS1015 address: is none that the part can have (got "0x4c"); one of 0x48, 0x49, 0x4a, 0x4b]`: bad,
		"[rate: is none that an ADS1115 knows (got 100); one of [8 16 32 64 128 250 475 860]]":                                                              rate,
	} {
		if got := fmt.Sprint(c.Validate()); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestConformance(t *testing.T) {
	for _, part := range []string{partADS1115, partADS1015} {
		t.Run(part, func(t *testing.T) {
			conformance.Run(t, Driver, conformance.Options{
				Config: func() drivers.Config {
					c := one(Input{})
					c.Part = part
					c.Inputs = append(c.Inputs, Input{Channel: "w", Input: "2-3", Range: 1.024})
					return c
				},
				Far: func(h *drivertest.Host) {
					h.I2CBuses = map[string]i2c.Bus{drivertest.Any: bus(fake(1, map[int]uint16{4: 0x1230, 3: 0xf450}))}
				},
			})
		})
	}
}

// FuzzReading: whatever the result register reads, what comes out is a number within the input's range, or a fault.
func FuzzReading(f *testing.F) {
	f.Add(uint16(0x7fff), 1, true)
	f.Add(uint16(0x1234), 5, false)
	f.Fuzz(func(t *testing.T, raw uint16, code int, isWide bool) {
		in := Input{Channel: "v", Input: "0", Range: ranges[uint(code)%uint(len(ranges))]}
		part := partADS1015
		if isWide {
			part = partADS1115
		}
		r := in.reading(raw, part)
		v, ok := r.Value.Number()
		if (r.Fault == "") != ok || ok && math.Abs(v) >= in.Range {
			t.Errorf("%+v", r)
		}
	})
}
