package ina219

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
	"periph.io/x/devices/v3/ina219"
	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
	"github.com/tidegate-io/tidegate/drivers/drivertest/conformance"
)

func word(v uint16) []byte { return []byte{byte(v >> 8), byte(v)} }

// fake returns an INA219 as SBOS448F describes it: the bus voltage in steps of 4 mV, that of the shunt in steps of 10 uV. A write of the
// configuration clears CNVR, and what is read from then on is new.
func fake(volts uint16, shunt int16) *drivertest.I2CPart {
	return &drivertest.I2CPart{
		Held: map[byte][]byte{0: word(0x399f), 1: word(0), 2: word(0), 3: word(0), 4: word(0), 5: word(0)},
		Wrote: func(p *drivertest.I2CPart, register byte, _ []byte) {
			if register == 0 {
				p.Held[1], p.Held[2] = word(uint16(shunt)), word(volts<<3|2)
			}
		},
	}
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
	return &drivertest.I2CBus{Parts: map[uint16]*drivertest.I2CPart{0x40: p}}
}

func config() *Config { return Driver.New().(*Config) }

// TestRead has good and bad parts. 12 V and 1.234 A over 0.1 Ohm; a charging battery; no load; the ends of the ranges.
func TestRead(t *testing.T) {
	const who = "error: read INA219 at 0x40 on drivertest: "
	const lost = ", want 0x3e63: the part was reset, is no INA219, or another program uses it"
	held := func(register byte, v uint16) *drivertest.I2CPart {
		p := fake(3000, 100)
		wrote := p.Wrote
		p.Wrote = func(p *drivertest.I2CPart, r byte, b []byte) { wrote(p, r, b); p.Held[register] = word(v) }
		return p
	}
	const most = "shunt_voltage!shunt voltage is %v V or beyond, want less than 0.32 to both sides: take a smaller shunt"
	const amps = "current is %v A or beyond, want less than 3.2 to both sides: take a smaller shunt"
	for want, p := range map[string]*drivertest.I2CPart{
		"voltage=12 V, current=1.234 A, power=14.808 W, shunt_voltage=0.1234 V":    fake(3000, 12340),
		"voltage=13.8 V, current=-0.5 A, power=-6.9 W, shunt_voltage=-0.05 V":      fake(3450, -5000),
		"voltage=0 V, current=0 A, power=0 W, shunt_voltage=0 V":                   fake(0, 0),
		"voltage=26 V, current=3.1999 A, power=83.1974 W, shunt_voltage=0.31999 V": fake(6500, 31999),
		"voltage!voltage is 26.004 V, want 0 to 26: the part may be damaged, current=0.01 A, " +
			"power!cannot be computed: voltage is 26.004 V, want 0 to 26: the part may be damaged, shunt_voltage=0.001 V": fake(6501, 100),
		"voltage=12 V, current!" + fmt.Sprintf(amps, "3.2") + ", power!cannot be computed: " + fmt.Sprintf(amps, "3.2") + ", " + fmt.Sprintf(most, 0.32):           fake(3000, 32000),
		"voltage=12 V, current!" + fmt.Sprintf(amps, "-3.277") + ", power!cannot be computed: " + fmt.Sprintf(amps, "-3.277") + ", " + fmt.Sprintf(most, -0.32768): fake(3000, -32768),
		who + "write register 0x00: drivertest: no such device or address":                                                                                         nil,
		who + "configuration reads 0xffff" + lost:                         held(0, 0xffff),
		who + "configuration reads 0x0000" + lost:                         held(0, 0),
		who + "configuration reads 0x399f" + lost:                         held(0, 0x399f),
		who + "bus voltage reads 0x5dc0: still converting after 19.752ms": held(2, 3000<<3),
	} {
		synctest.Test(t, func(t *testing.T) {
			d := open(t, config(), bus(p))
			for range 2 {
				if got := drivertest.Show(d.Read(t.Context())); got != want {
					t.Errorf("got  %s\nwant %s", got, want)
				}
			}
		})
	}
}

// TestEachTransferFails fails each transfer of three Reads in turn: that Read is an error, the others are right.
func TestEachTransferFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nak := errors.New("drivertest: remote I/O error")
		for n := 1; n <= 12; n++ {
			b := bus(fake(3000, 0))
			b.Fail = func(i int) error {
				if i == n {
					return nak
				}
				return nil
			}
			d := open(t, config(), b)
			good := 0
			for range 3 {
				rs, err := d.Read(t.Context())
				if got := drivertest.Show(rs, nil); err == nil && got == "voltage=12 V, current=0 A, power=0 W, shunt_voltage=0 V" {
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

// TestConfigurationWord: SBOS448F pages 26 and 27, tables 5 to 7.
func TestConfigurationWord(t *testing.T) {
	for average, want := range map[int]uint16{1: 0x3c43, 2: 0x3ccb, 4: 0x3d53, 16: 0x3e63, 64: 0x3f73, 128: 0x3ffb} {
		if got := (&Config{Average: average}).word(); got != want {
			t.Errorf("average %d: got %04x, want %04x", average, got, want)
		}
	}
}

func TestReadEndsWithCtx(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := open(t, config(), bus(fake(1, 1))).Read(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 7*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(start))
		}
	})
}

// TestPeriphAgrees lets periph's driver read both voltages of the same part, below the 16 V at which it stops.
func TestPeriphAgrees(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		volts, shunt := rapid.Uint16Range(0, 4000).Draw(rt, "volts"), rapid.Int16Range(-31999, 31999).Draw(rt, "shunt")
		dev, err := ina219.New(bus(fake(volts, shunt)), &ina219.DefaultOpts)
		if err != nil {
			rt.Fatal(err)
		}
		theirs, err := dev.Sense()
		if err != nil {
			rt.Fatal(err)
		}
		ours := config().readings(nil, volts<<3|2, uint16(shunt))
		for i, their := range map[int]physic.ElectricPotential{0: theirs.Voltage, 3: theirs.Shunt} {
			if v, _ := ours[i].Value.Number(); math.Abs(v-float64(their)/float64(physic.Volt)) > 1e-9 {
				rt.Errorf("%s: ours %v, periph's %v", ours[i].Channel, v, their)
			}
		}
	})
}

func TestValidate(t *testing.T) {
	for want, c := range map[string]*Config{
		"[]": config(),
		`[address: is none that the part can have (got "0x50"); one of 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f ` +
			"shunt: is out of range (got NaN); 0.00001 to 100 Ohm; R100 is 0.1 average: is none that the part knows (got 3); 1, 2, 4, 8, 16, 32, 64 or 128]": {Address: "0x50", Shunt: math.NaN(), Average: 3},
	} {
		if got := fmt.Sprint(c.Validate()); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestConformance(t *testing.T) {
	conformance.Run(t, Driver, conformance.Options{Far: func(h *drivertest.Host) {
		h.I2CBuses = map[string]i2c.Bus{drivertest.Any: bus(fake(3000, 12340))}
	}})
}

// FuzzReadings: whatever the registers read and the shunt is, what comes out are numbers, or faults.
func FuzzReadings(f *testing.F) {
	f.Add(uint16(3000<<3|2), uint16(12340), 0.1)
	f.Add(uint16(0xffff), uint16(0x8000), 100.0)
	f.Fuzz(func(t *testing.T, volts, shunt uint16, ohm float64) {
		c := config()
		if c.Shunt = ohm; len(c.Validate()) > 0 {
			return
		}
		for _, r := range c.readings(nil, volts, shunt) {
			v, ok := r.Value.Number()
			if (r.Fault == "") != ok || math.IsNaN(v) || math.IsInf(v, 0) || r.Channel == chanVoltage && ok && v > 26 {
				t.Errorf("%+v", r)
			}
		}
	})
}
