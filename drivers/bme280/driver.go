package bme280

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// Driver describes Bosch's barometers.
var Driver = drivers.Driver{
	Name: "bme280",
	Doc: `Barometers BME280 (with humidity), BMP280 and BMP180 of Bosch Sensortec on an I2C bus.
Say which of them it is: boards sold as BME280 often bear a BMP280, which has no humidity, and the wrong part is refused.
The part sleeps between two Reads. Does not compute altitudes or the pressure at sea level, and does not use SPI.`,
	Channels: []drivers.Channel{
		{Name: chanTemp, Kind: tidegate.KindFloat, Unit: "Cel", Meaning: "temperature of the part, -40 to 85; a little above that of the air"},
		{Name: chanPressure, Kind: tidegate.KindFloat, Unit: "hPa", Meaning: "absolute air pressure, 300 to 1100, not that at sea level"},
	},
	Every: 10 * time.Second,
	New:   func() drivers.Config { return &Config{Address: "0x76", Part: partBME280, Oversampling: 4} },
	Sample: `name: hall
driver: bme280
bus: "1"
address: "0x76"
part: BME280
`,
	Parts: []drivers.Part{
		{Name: partBME280, Addresses: []uint16{0x76, 0x77}, Register: regID, ID: []byte{0x60}},
		{Name: partBMP280, Addresses: []uint16{0x76, 0x77}, Register: regID, ID: []byte{0x58}, Settings: []string{"part: BMP280"}},
		{Name: partBMP180, Addresses: []uint16{0x77}, Register: regID, ID: []byte{0x55}, Settings: []string{"part: BMP180"}},
	},
}

// The channels.
const (
	chanTemp     = "temperature"
	chanPressure = "pressure"
	chanHumidity = "humidity"
)

// The words of the setting `part`.
const (
	partBME280 = "BME280"
	partBMP280 = "BMP280"
	partBMP180 = "BMP180"
)

// Config is what the user sets for one barometer.
type Config struct {
	Bus          string `yaml:"bus" doc:"I2C bus: the kernel's number, for instance \"1\" for /dev/i2c-1; empty = the first"`
	Address      string `yaml:"address" doc:"\"0x76\" or \"0x77\" as its pin SDO is wired; a BMP180 is at \"0x77\""`
	Part         string `yaml:"part" doc:"BME280, BMP280 or BMP180"`
	Oversampling int    `yaml:"oversampling" doc:"conversions of each quantity per Read: 1, 2, 4, 8 or 16 (BMP180: 1 to 8); more is less noise and more self-heating"`
}

// Validate returns what is wrong with c.
func (c *Config) Validate() []drivers.FieldError {
	out := drivers.OneOf("part", c.Part, partBME280, partBMP280, partBMP180)
	can := []uint16{0x76, 0x77}
	if c.Part == partBMP180 {
		can = can[1:]
	}
	out = append(out, drivers.CheckI2CAddress(c.Address, can...)...)
	switch {
	case code(c.Oversampling) == 0:
		out = append(out, drivers.FieldError{Field: "oversampling", Got: strconv.Itoa(c.Oversampling), Problem: "is none that the part knows", Hint: "1, 2, 4, 8 or 16"})
	case c.Part == partBMP180 && c.Oversampling > 8:
		out = append(out, drivers.FieldError{Field: "oversampling", Got: strconv.Itoa(c.Oversampling), Problem: "is more than a BMP180 knows", Hint: "1, 2, 4 or 8"})
	}
	return out
}

// Channels returns the humidity of a BME280.
func (c *Config) Channels() []drivers.Channel {
	if c.Part != partBME280 {
		return nil
	}
	return []drivers.Channel{{Name: chanHumidity, Kind: tidegate.KindFloat, Unit: "%RH", Meaning: "relative humidity at the part, 0 to 100"}}
}

// Claims returns the part. It is part of drivers.Claimer.
func (c *Config) Claims() []drivers.Claim { return drivers.ClaimI2C(c.Bus, c.Address) }

// Open gets the bus. The part itself is looked for by the first Read.
func (c *Config) Open(ctx context.Context, h drivers.Host) (drivers.Device, error) {
	if bad := c.Validate(); len(bad) > 0 {
		return nil, fmt.Errorf("open %s: %w", c.Part, bad[0])
	}
	p, err := drivers.OpenI2C(ctx, h, c.Bus, c.Address)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", c.Part, err)
	}
	d := &device{part: p, name: c.Part, times: c.Oversampling}
	if c.Part == partBMP180 {
		return &device180{device: d}, nil
	}
	return d, nil
}
