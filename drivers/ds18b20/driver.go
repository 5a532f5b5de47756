package ds18b20

import (
	"context"
	"fmt"
	"io/fs"
	"regexp"
	"strconv"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// Driver reads 1-Wire temperature parts.
var Driver = drivers.Driver{
	Name: "ds18b20",
	Doc: `1-Wire temperature parts on the kernel's bus: DS18B20, MAX31820, DS18S20, DS1822, DS1825, DS28EA00.
Needs the kernel's modules w1-gpio and w1-therm (on a Raspberry Pi: dtoverlay=w1-gpio in /boot/firmware/config.txt, then a part's DQ at
GPIO4) and 4.7 kOhm from DQ to 3.3 V. ls /sys/bus/w1/devices shows the ids of the parts. Each takes 0.75 s, one after another.
What is no temperature is a fault with its reason: the 85.0 of a part that has not measured, a wrong checksum, a shorted line, a part that
is gone. It never writes to parts, so their resolution stays.`,
	Every: 10 * time.Second,
	New:   func() drivers.Config { return &Config{Timeout: 5 * time.Second} },
	Sample: `name: boiler
driver: ds18b20
parts:
  - {channel: flow, id: 28-0316a2795bff}
  - {channel: back, id: 28-0417c1b3aeff}
`,
}

// maxParts is how many parts one device has at most: a minute of reading.
const maxParts = 64

// Config is what the user sets for the parts that are read together.
type Config struct {
	Parts   []Part        `yaml:"parts" doc:"the parts to read, at most 64"`
	Timeout time.Duration `yaml:"timeout" doc:"longest time for one part, 1s to 1m; the kernel tries up to five times, 0.75 s each"`
}

// A Part is one temperature part.
type Part struct {
	Channel string `yaml:"channel" doc:"name of its channel"`
	ID      string `yaml:"id" doc:"its id as under /sys/bus/w1/devices, for instance 28-0316a2795bff"`
}

// idText is an id: the family, and 48 bits of number; w1.h, w1_reg_num.
var idText = regexp.MustCompile(`^(10|22|28|3b|42)-[0-9a-f]{12}$`)

// Validate returns what is wrong with c.
func (c *Config) Validate() []drivers.FieldError {
	var errs []drivers.FieldError
	if n := len(c.Parts); n == 0 || n > maxParts {
		errs = append(errs, drivers.FieldError{
			Field: "parts", Got: strconv.Itoa(n), Problem: fmt.Sprintf("want 1 to %d", maxParts),
			Hint: "ls /sys/bus/w1/devices shows those on the bus",
		})
	}
	channels, ids := map[string]bool{}, map[string]bool{}
	for i, p := range c.Parts {
		field := fmt.Sprintf("parts[%d]", i)
		if err := tidegate.CheckName(p.Channel); err != nil {
			errs = append(errs, drivers.FieldError{Field: field + ".channel", Got: strconv.Quote(p.Channel), Problem: err.Error()})
		} else if channels[p.Channel] {
			errs = append(errs, drivers.FieldError{Field: field + ".channel", Got: p.Channel, Problem: "is that of another part, too"})
		}
		if !idText.MatchString(p.ID) {
			errs = append(errs, drivers.FieldError{
				Field: field + ".id", Got: strconv.Quote(p.ID), Problem: "is no id of a temperature part",
				Hint: "write it as ls /sys/bus/w1/devices does, for instance 28-0316a2795bff; families are 10, 22, 28, 3b and 42",
			})
		} else if ids[p.ID] {
			errs = append(errs, drivers.FieldError{Field: field + ".id", Got: p.ID, Problem: "is listed twice"})
		}
		channels[p.Channel], ids[p.ID] = true, true
	}
	if c.Timeout < time.Second || c.Timeout > time.Minute {
		errs = append(errs, drivers.FieldError{Field: "timeout", Got: c.Timeout.String(), Problem: "is out of range", Hint: "1s to 1m"})
	}
	return errs
}

// Channels returns one channel a part. It is part of drivers.Channeler.
func (c *Config) Channels() []drivers.Channel {
	out := make([]drivers.Channel, 0, len(c.Parts))
	for _, p := range c.Parts {
		out = append(out, drivers.Channel{Name: p.Channel, Kind: tidegate.KindFloat, Unit: "Cel", Meaning: "temperature of part " + strconv.Quote(p.ID)})
	}
	return out
}

// Claims returns the parts. It is part of drivers.Claimer.
func (c *Config) Claims() []drivers.Claim {
	out := make([]drivers.Claim, 0, len(c.Parts))
	for i, p := range c.Parts {
		out = append(out, drivers.Claim{
			What: "1-Wire part " + p.ID, Field: fmt.Sprintf("parts[%d].id", i), Hint: "list each id once; ls /sys/bus/w1/devices shows those on the bus",
		})
	}
	return out
}

// Open takes note of the files; the parts need not be there yet.
func (c *Config) Open(ctx context.Context, h drivers.Host) (drivers.Device, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open ds18b20: %w", err)
	}
	d := &device{files: h.Files(), timeout: c.Timeout}
	for _, p := range c.Parts {
		d.parts = append(d.parts, &part{Part: p})
	}
	return d, nil
}

// device is the parts that are read together.
type device struct {
	files    fs.FS
	timeout  time.Duration
	parts    []*part
	out      []tidegate.Reading
	isClosed bool
}

// Close lets further Reads fail.
func (d *device) Close() error {
	d.isClosed = true
	return nil
}
