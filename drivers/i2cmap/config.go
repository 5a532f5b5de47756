package i2cmap

import (
	"context"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// Driver describes parts that are described by a map.
var Driver = drivers.Driver{
	Name: "i2cmap",
	Doc: `Any part on an I2C bus whose values are plain registers, by a map of them: a built-in one (mcp9808, sht4x, tmp105, tmp421), a file,
or settings in the block. A map says which registers identify the part, what is written to set it up, and what each channel is:
bytes, order, bits, sign, scale, unit, texts and the range beyond which a value is a fault.
Does not serve parts that need calibration values or arithmetic (a BME280, for instance), banks, or waiting for a ready bit.`,
	Every: 10 * time.Second,
	New:   func() drivers.Config { return &Config{} },
	Sample: `name: rack
driver: i2cmap
bus: "1"
address: "0x48"
map: tmp105
`,
	Parts: []drivers.Part{
		{
			Name: "MCP9808", Addresses: []uint16{0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f},
			Register: 0x07, ID: []byte{0x04, 0x00}, Mask: []byte{0xff, 0x00}, Settings: []string{"map: mcp9808"},
		},
		{Name: "SHT4x", Addresses: []uint16{0x44, 0x45}, Settings: []string{"map: sht4x"}},
		{
			Name: "TMP421", Addresses: []uint16{0x4c, 0x4d, 0x4e, 0x4f, 0x2a},
			Register: 0xff, ID: []byte{0x21}, Settings: []string{"map: tmp421"},
		},
		{
			Name: "TMP105", Addresses: []uint16{0x48, 0x49, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x4f},
			Settings: []string{"map: tmp105"},
		},
	},
}

// Config is what the user sets for one part: a map by its name, or what a map has, here.
type Config struct {
	Bus     string `yaml:"bus" doc:"I2C bus: the kernel's number, for instance \"1\" for /dev/i2c-1; empty = the first"`
	Address string `yaml:"address" doc:"address of the part, for instance \"0x48\""`
	Map     string `yaml:"map" doc:"built-in map (mcp9808, sht4x, tmp105, tmp421) or the path of a file, with a slash in it; then leave out the settings below"`

	Identity  []Check       `yaml:"identity" doc:"registers that have to read a certain value; compared before anything is written, and in each Read"`
	Init      []Write       `yaml:"init" doc:"registers that are written to set the part up, in this order"`
	Settle    time.Duration `yaml:"settle" doc:"how long to wait after that, as the data sheet says; 0 to 10s"`
	Registers []Register    `yaml:"registers" doc:"what is read, 1 to 64"`
}

// Map is a map file.
type Map struct {
	Part      string        `yaml:"part" doc:"what it serves"`
	Source    string        `yaml:"source" doc:"the document or source it was written from, with revision and page or section"`
	Addresses []string      `yaml:"addresses" doc:"addresses that the part can have; none = any"`
	Identity  []Check       `yaml:"identity" doc:"as in the block"`
	Init      []Write       `yaml:"init" doc:"as in the block"`
	Settle    time.Duration `yaml:"settle" doc:"as in the block"`
	Registers []Register    `yaml:"registers" doc:"as in the block"`
}

// Check is a register that has to read a certain value. Registers, values and masks are hexadecimal texts in quotes: "0x0f".
type Check struct {
	Register string `yaml:"register" doc:"number of the register, 2 or 4 digits as the part wants 1 or 2 bytes"`
	Want     string `yaml:"want" doc:"what it has to read, two digits a byte"`
	Mask     string `yaml:"mask" doc:"the bits that count, as many digits; left out = all"`
}

// Write is a register that is written.
type Write struct {
	Register string `yaml:"register" doc:"number of the register, 2 or 4 digits as the part wants 1 or 2 bytes"`
	Value    string `yaml:"value" doc:"what is written, two digits a byte; 0x alone writes the number of the register only, as some commands want"`
	Mask     string `yaml:"mask" doc:"the bits that have to read back as written, as many digits; left out = all, zero = none"`
}

// Register is one channel.
type Register struct {
	Channel  string        `yaml:"channel" doc:"name of the channel"`
	Register string        `yaml:"register" doc:"number of the register or command, 2 or 4 digits as the part wants 1 or 2 bytes"`
	Pause    time.Duration `yaml:"pause" doc:"between writing that number and reading, for parts that convert then; 0 = read at once; at most 5s"`
	Length   int           `yaml:"length" doc:"bytes that are read there, at most 32; left out = as many as needed"`
	At       int           `yaml:"at" doc:"which of these bytes is the first of this channel, counted from 0"`
	Width    int           `yaml:"width" doc:"bytes of this channel, 1 to 6"`
	Order    string        `yaml:"order" doc:"of these bytes: big (default, the first is the highest) or little"`
	CRC      string        `yaml:"crc" doc:"sensirion = a checksum byte follows after each two bytes; left out = none"`
	Zero     string        `yaml:"zero" doc:"bits of the number that have to be zero, two digits a byte; else the value is a fault"`
	Means    string        `yaml:"zero_means" doc:"what it means if they are not"`
	Ones     bool          `yaml:"ones" doc:"all bits set is a value; left out = a fault, because a bus without a part reads so"`
	Shift    int           `yaml:"shift" doc:"how many low bits do not belong to the number"`
	Bits     int           `yaml:"bits" doc:"how many bits do, from there; left out = all the rest"`
	Signed   bool          `yaml:"signed" doc:"the number is in two's complement"`

	Scale   *float64         `yaml:"scale" doc:"the number is multiplied by it; left out = 1"`
	Offset  float64          `yaml:"offset" doc:"then this is added"`
	Unit    string           `yaml:"unit" doc:"unit, for instance Cel"`
	Min     *float64         `yaml:"min" doc:"a result below is a fault; has to be there unless texts are"`
	Max     *float64         `yaml:"max" doc:"a result above is a fault; has to be there unless texts are"`
	Enum    map[int64]string `yaml:"enum" doc:"texts for numbers: {0: off, 1: on}; a number that is not listed is a fault"`
	Meaning string           `yaml:"meaning" doc:"one line for the technician"`
}

// Validate returns what is wrong with c.
func (c *Config) Validate() []drivers.FieldError {
	_, out := c.compile()
	return out
}

// Channels returns those of the map.
func (c *Config) Channels() []drivers.Channel {
	p, _ := c.compile()
	out := make([]drivers.Channel, 0, len(p.values))
	for i := range p.values {
		v := &p.values[i]
		out = append(out, drivers.Channel{Name: v.channel, Kind: v.kind(), Unit: v.unit, Meaning: v.meaning})
	}
	return out
}

func (v *value) kind() tidegate.Kind {
	switch {
	case v.enum != nil:
		return tidegate.KindText
	case v.isWhole:
		return tidegate.KindInt
	}
	return tidegate.KindFloat
}

// Claims returns the part. It is part of drivers.Claimer.
func (c *Config) Claims() []drivers.Claim { return drivers.ClaimI2C(c.Bus, c.Address) }

// Open gets the bus. The part itself is spoken to by the first Read.
func (c *Config) Open(ctx context.Context, h drivers.Host) (drivers.Device, error) {
	p, bad := c.compile()
	if len(bad) > 0 {
		return nil, fmt.Errorf("open part by map: %w", bad[0])
	}
	part, err := drivers.OpenI2C(ctx, h, c.Bus, c.Address)
	if err != nil {
		return nil, fmt.Errorf("open part by map: %w", err)
	}
	return &device{part: part, plan: p}, nil
}
