package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/i2c"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
	"github.com/tidegate-io/tidegate/drivers/drivertest/conformance"
)

// What follows is the driver that `make driver NAME=name BUS=i2c` lays out; the blocks of drivers/README.md about I2C stand here word for word.

// Driver reads the hygrometers SHT30, SHT31 and SHT35.
var Driver = drivers.Driver{
	Name: "hygro",
	Doc: `Temperature and humidity of air by the SHT30, SHT31 or SHT35 of Sensirion on an I2C bus.
Does not heat it, and sets no limits for its alert pin.`,
	Channels: []drivers.Channel{
		{Name: "temperature", Kind: tidegate.KindFloat, Unit: "Cel", Meaning: "of the air, -45 to 130"},
		{Name: "humidity", Kind: tidegate.KindFloat, Unit: "%RH", Meaning: "relative humidity, 0 to 100"},
	},
	Every: 10 * time.Second,
	New:   func() drivers.Config { return &Config{Address: "0x44"} },
	Sample: `- name: hall
  driver: hygro
  bus: "1"
`,
}

// Config is what the user sets for one part.
type Config struct {
	Bus     string `yaml:"bus" doc:"I2C bus, for instance 1 for /dev/i2c-1; empty = the first one"`
	Address string `yaml:"address" doc:"address on the bus: 0x44, or 0x45 where pin ADDR is high"`
}

// Validate returns what is wrong with c.
func (c *Config) Validate() []drivers.FieldError {
	return drivers.CheckI2CAddress(c.Address, 0x44, 0x45)
}

// Open asks for the bus; the part need not be there yet.
func (c *Config) Open(ctx context.Context, h drivers.Host) (drivers.Device, error) {
	p, err := drivers.OpenI2C(ctx, h, c.Bus, c.Address)
	if err != nil {
		return nil, fmt.Errorf("open hygrometer: %w", err)
	}
	return &part{p}, nil
}

// A part has the Close of its I2CPart, and its Read after Close is an error of Do.
type part struct{ *drivers.I2CPart }

// Read measures once.
func (p *part) Read(ctx context.Context) ([]tidegate.Reading, error) {
	var words []uint16
	err := p.Do(ctx, p.setUp, func(ctx context.Context) (err error) {
		words, err = p.ask(ctx, 0x2400, 20*time.Millisecond, 2) // data sheet, table 9: high repeatability, which takes longest (section 2)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read hygrometer: %w", err)
	}
	return []tidegate.Reading{ // section 4.13
		{Channel: "temperature", Unit: "Cel", Value: tidegate.Float(-45 + 175*float64(words[0])/65535)},
		{Channel: "humidity", Unit: "%RH", Value: tidegate.Float(100 * float64(words[1]) / 65535)},
	}, nil
}

// setUp looks whether the part is there: a status register with a right checksum is what a bus without it does not have.
func (p *part) setUp(ctx context.Context) error {
	_, err := p.ask(ctx, 0xf32d, time.Millisecond, 1) // tables 17 and 9
	return err
}

// ask sends a command, waits, and returns n words of the answer.
func (p *part) ask(ctx context.Context, command uint16, wait time.Duration, n int) ([]uint16, error) {
	if err := p.Tx(ctx, []byte{byte(command >> 8), byte(command)}, nil); err != nil {
		return nil, err
	}
	if err := p.Wait(ctx, wait); err != nil {
		return nil, err
	}
	b := make([]byte, 3*n)
	if err := p.Tx(ctx, nil, b); err != nil {
		return nil, err
	}
	var words []uint16
	for ; len(b) > 0; b = b[3:] {
		if want := crc(b[:2]); b[2] != want {
			return nil, fmt.Errorf("answer to %04x: checksum of % x is %02x, want %02x", command, b[:2], b[2], want)
		}
		words = append(words, uint16(b[0])<<8|uint16(b[1]))
	}
	return words, nil
}

// crc returns the checksum of a word: polynomial 0x31, initial value 0xff (table 20).
func crc(word []byte) byte {
	sum := byte(0xff)
	for _, b := range word {
		sum ^= b
		for range 8 {
			if sum&0x80 != 0 {
				sum = sum<<1 ^ 0x31
			} else {
				sum <<= 1
			}
		}
	}
	return sum
}

func TestRead(t *testing.T) {
	for _, c := range []struct {
		what, status, measured, want string
		fail                         error
	}{
		{
			"good", "\x80\x10\xe1", "\x66\x66\x93\x80\x00\xa2",
			"temperature=25 Cel, humidity=50.000762951094835 %RH", nil,
		},
		{
			"bus without a part, all zero", "\x00\x00\x00", "",
			"error: read hygrometer: 0x44 on drivertest: answer to f32d: checksum of 00 00 is 00, want 81", nil,
		},
		{
			"humidity's checksum", "\x80\x10\xe1", "\x66\x66\x93\x80\x00\xa3",
			"error: read hygrometer: 0x44 on drivertest: answer to 2400: checksum of 80 00 is a3, want a2", nil,
		},
		{
			"bus fails", "\x80\x10\xe1", "\x66\x66\x93\x80\x00\xa2",
			"error: read hygrometer: 0x44 on drivertest: remote I/O error", errors.New("remote I/O error"),
		},
	} {
		t.Run(c.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bus := machine(c.status, c.measured)
				bus.Fail = func(int) error { return c.fail }
				h := &drivertest.Host{I2CBuses: map[string]i2c.Bus{drivertest.Any: bus}}
				d, err := Driver.New().Open(t.Context(), h)
				if err != nil {
					t.Fatal(err)
				}
				if got := drivertest.Show(d.Read(t.Context())); got != c.want {
					t.Errorf("got %s, want %s", got, c.want)
				}
			})
		})
	}
}

// machine returns a bus with a part that has that status and measures that.
func machine(status, measured string) *drivertest.I2CBus {
	return &drivertest.I2CBus{Parts: map[uint16]*drivertest.I2CPart{0x44: {
		Told: func(w []byte) (answer []byte, ok bool) {
			switch string(w) {
			case "\xf3\x2d":
				return []byte(status), true
			case "\x24\x00":
				return []byte(measured), true
			}
			return nil, false
		},
	}}}
}

func TestConformance(t *testing.T) {
	conformance.Run(t, Driver, conformance.Options{
		Far: func(h *drivertest.Host) {
			h.I2CBuses = map[string]i2c.Bus{drivertest.Any: machine("\x80\x10\xe1", "\x66\x66\x93\x80\x00\xa2")}
		},
	})
}
