package ina219

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// The channels.
const (
	chanVoltage = "voltage"
	chanCurrent = "current"
	chanPower   = "power"
	chanShunt   = "shunt_voltage"
)

// Driver describes the power monitor.
var Driver = drivers.Driver{
	Name: "ina219",
	Doc: `Voltage (0 to 26 V), current and power of a direct current supply by the INA219 on an I2C bus.
Needs to know the shunt: the value printed on it, R100 is 0.1 Ohm. Current is positive from VIN+ to VIN-.
Does not count energy, and does not serve the INA226 and INA3221, whose registers differ.`,
	Channels: []drivers.Channel{
		{Name: chanVoltage, Kind: tidegate.KindFloat, Unit: "V", Meaning: "from VIN- to ground, 0 to 26"},
		{Name: chanCurrent, Kind: tidegate.KindFloat, Unit: "A", Meaning: "through the shunt, from VIN+ to VIN-"},
		{Name: chanPower, Kind: tidegate.KindFloat, Unit: "W", Meaning: "voltage by current: what the load takes"},
		{Name: chanShunt, Kind: tidegate.KindFloat, Unit: "V", Meaning: "across the shunt, within 0.32 to both sides"},
	},
	Every: time.Second,
	New:   func() drivers.Config { return &Config{Address: "0x40", Shunt: 0.1, Average: 16} },
	Sample: `name: battery
driver: ina219
bus: "1"
address: "0x40"
shunt: 0.1
`,
	Parts: []drivers.Part{{Name: "INA219", Addresses: []uint16{
		0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f,
	}}},
}

// Config is what the user sets for one power monitor.
type Config struct {
	Bus     string  `yaml:"bus" doc:"I2C bus: the kernel's number, for instance \"1\" for /dev/i2c-1; empty = the first"`
	Address string  `yaml:"address" doc:"\"0x40\" to \"0x4f\", as its pins A0 and A1 are wired"`
	Shunt   float64 `yaml:"shunt" doc:"resistance of the shunt in Ohm, 0.00001 to 100; R100 is 0.1"`
	Average int     `yaml:"average" doc:"conversions per Read of which the mean is taken: 1, 2, 4, 8, 16, 32, 64 or 128; each takes 1.1 ms"`
}

// Validate returns what is wrong with c.
func (c *Config) Validate() []drivers.FieldError {
	out := drivers.CheckI2CAddress(c.Address, Driver.Parts[0].Addresses...)
	if !(c.Shunt >= 0.00001 && c.Shunt <= 100) {
		out = append(out, drivers.FieldError{Field: "shunt", Got: fmt.Sprint(c.Shunt), Problem: "is out of range", Hint: "0.00001 to 100 Ohm; R100 is 0.1"})
	}
	if c.Average < 1 || c.Average > 128 || c.Average&(c.Average-1) != 0 {
		out = append(out, drivers.FieldError{Field: "average", Got: strconv.Itoa(c.Average), Problem: "is none that the part knows", Hint: "1, 2, 4, 8, 16, 32, 64 or 128"})
	}
	return out
}

// Claims returns the part. It is part of drivers.Claimer.
func (c *Config) Claims() []drivers.Claim { return drivers.ClaimI2C(c.Bus, c.Address) }

// Open gets the bus. The part itself is spoken to by the first Read.
func (c *Config) Open(ctx context.Context, h drivers.Host) (drivers.Device, error) {
	if bad := c.Validate(); len(bad) > 0 {
		return nil, fmt.Errorf("open INA219: %w", bad[0])
	}
	p, err := drivers.OpenI2C(ctx, h, c.Bus, c.Address)
	if err != nil {
		return nil, fmt.Errorf("open INA219: %w", err)
	}
	return &device{part: p, c: c}, nil
}

// The registers, and what stands in the configuration (SBOS448F pages 26 and 27) and the bus voltage (page 30).
const (
	regConfig   = 0
	regShunt    = 1
	regBus      = 2
	range32V    = 1 << 13
	range320mV  = 3 << 11
	averaged    = 8 // and the exponent of their number
	busShift    = 7
	shuntShift  = 3
	triggerBoth = 3
	isReady     = 1 << 1
)

// The ends of the ranges, in steps.
const (
	shuntEnd = 32000 // 320 mV of 10 uV
	busMost  = 6500  // 26 V of 4 mV: the part bears no more (SBOS448G section 8.1)
)

// A device is an open power monitor.
type device struct {
	part *drivers.I2CPart
	c    *Config
	out  []tidegate.Reading
}

// Close ends the use of the part.
func (d *device) Close() error { return d.part.Close() }

// Read converts both voltages once and reports them, current and power.
func (d *device) Read(ctx context.Context) ([]tidegate.Reading, error) {
	none := func(context.Context) error { return nil } // the configuration goes out with each conversion
	if err := d.part.Do(ctx, none, d.convert); err != nil {
		return nil, fmt.Errorf("read INA219 at %w", err)
	}
	return d.out, nil
}

func (d *device) convert(ctx context.Context) error {
	config := d.c.word()
	if err := d.part.Put(ctx, regConfig, byte(config>>8), byte(config)); err != nil {
		return err
	}
	// SBOS448F page 27: 532 us for each of the two; and 10 % for the part's clock.
	takes := 2*time.Duration(d.c.Average)*586*time.Microsecond + time.Millisecond
	if err := d.part.Wait(ctx, takes); err != nil {
		return err
	}
	got, err := d.word(ctx, regConfig)
	switch {
	case err != nil:
		return err
	case got != config:
		return fmt.Errorf("configuration reads 0x%04x, want 0x%04x: the part was reset, is no INA219, or another program uses it", got, config)
	}
	volts, err := d.word(ctx, regBus)
	switch {
	case err != nil:
		return err
	case volts&isReady == 0:
		return fmt.Errorf("bus voltage reads 0x%04x: still converting after %v", volts, takes)
	}
	shunt, err := d.word(ctx, regShunt)
	if err != nil {
		return err
	}
	d.out = d.c.readings(d.out[:0], volts, shunt)
	return nil
}

// word returns the configuration that starts a conversion of both voltages.
func (c *Config) word() uint16 {
	mean := averaged | (bits.Len(uint(c.Average)) - 1)
	return uint16(range32V | range320mV | mean<<busShift | mean<<shuntShift | triggerBoth)
}

func (d *device) word(ctx context.Context, register byte) (uint16, error) {
	b, err := d.part.Get(ctx, register, 2)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint16(b), nil
}

// readings appends what the registers of bus voltage and shunt voltage say.
func (c *Config) readings(out []tidegate.Reading, bus, shunt uint16) []tidegate.Reading {
	voltage := tidegate.Reading{Channel: chanVoltage, Unit: "V"}
	current := tidegate.Reading{Channel: chanCurrent, Unit: "A"}
	power := tidegate.Reading{Channel: chanPower, Unit: "W"}
	across := tidegate.Reading{Channel: chanShunt, Unit: "V"}
	volts := float64(bus>>3) * 4 / 1000
	if bus>>3 > busMost {
		voltage.Fault = fmt.Sprintf("voltage is %v V, want 0 to %v: the part may be damaged", volts, busMost*4/1000)
	} else {
		voltage.Value = tidegate.Float(volts)
	}
	drop := float64(int16(shunt)) / 100_000
	amps := float64(int16(shunt)) / (c.Shunt * 100_000)
	if n := int(int16(shunt)); n <= -shuntEnd || n >= shuntEnd {
		across.Fault = fmt.Sprintf("shunt voltage is %v V or beyond, want less than %v to both sides: take a smaller shunt", drop, shuntEnd/100_000.0)
		current.Fault = fmt.Sprintf("current is %.4g A or beyond, want less than %.4g to both sides: take a smaller shunt", amps, shuntEnd/100_000.0/c.Shunt)
	} else {
		across.Value, current.Value = tidegate.Float(drop), tidegate.Float(round(amps))
	}
	switch {
	case voltage.Fault != "":
		power.Fault = "cannot be computed: " + voltage.Fault
	case current.Fault != "":
		power.Fault = "cannot be computed: " + current.Fault
	default:
		power.Value = tidegate.Float(round(amps * volts))
	}
	return append(out, voltage, current, power, across)
}

// round returns v to nine significant digits: the part has four.
func round(v float64) float64 {
	if v == 0 {
		return 0
	}
	scale := math.Pow(10, 8-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*scale) / scale
}
