package modbus

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/modbus/doctor"
	"github.com/tidegate-io/tidegate/drivers/modbus/link"
	"github.com/tidegate-io/tidegate/drivers/modbus/sweep"
)

// Driver reads registers and bits of Modbus units, RTU and TCP. Its configuration is a *Config.
var Driver = drivers.Driver{
	Name: "modbus",
	Doc: `Reads meters, inverters, controllers and I/O blocks that speak Modbus RTU on a serial line or Modbus TCP.
Needs the unit's register map from its manual; addresses are those on the wire, from 0 ("40001" in a manual is holding 0).
Registers that lie together are read with one request. Units on one line are separate devices with the same address setting.
It does not write, and it does not speak Modbus ASCII or RTU frames over TCP.`,
	Every:   time.Second,
	Explain: link.Explain,
	Hear:    func(b []byte) (string, [][2]string) { return sweep.Hear(b), nil },
	New: func() drivers.Config {
		return &Config{Unit: 1, Timeout: time.Second, MaxQuantity: maxRegisters}
	},
	Sample: `- name: meter1
  driver: modbus
  every: 1s
  address: rtu:///dev/ttyUSB0?baud=9600&parity=even   # or tcp://192.0.2.7:502
  unit: 1
  timeout: 1s
  max_gap: 8
  registers:
    - {channel: energy, table: holding, address: 0, type: uint32, scale: 0.01, unit: kWh}
    - {channel: power, table: holding, address: 12, type: float32, order: CDAB, unit: W}
    - {channel: phase, table: input, address: 100, type: int16, count: 3, scale: 0.1, unit: V}
    - {channel: state, table: holding, address: 40, enum: {0: idle, 1: running, 2: fault}}
    - {channel: door, table: holding, address: 41, type: bool, bit: 3}
    - {channel: valve, table: coil, address: 5}
`,
}

// Config is one unit on one line or connection, and what to read of it.
type Config struct {
	Address     string        `yaml:"address" doc:"where the unit is: tcp://host:port (port 502 unless said) or rtu:///dev/ttyUSB0?baud=9600&parity=even&stop=1 (19200, even, 1 unless said; parity none means 2 stop bits unless said); rs485=kernel, rts, rts-low or a GPIO line turns the transceiver, echo=yes takes out what comes back"`
	Unit        int           `yaml:"unit" doc:"the unit's number: 1 to 247 on a serial line, 0 to 255 over TCP"`
	Timeout     time.Duration `yaml:"timeout" doc:"how long to wait for a reply to one request, 10ms to 1m"`
	MaxGap      int           `yaml:"max_gap" doc:"how many registers that no channel needs may be read in vain to save a request, 0 to 124; some devices clear registers when they are read (after a lost reply on a serial line, a few more may be read even so)"`
	MaxQuantity int           `yaml:"max_quantity" doc:"how many registers one request asks for at most, 1 to 125; coils and discrete inputs: sixteen times as many"`
	Registers   []Register    `yaml:"registers" doc:"what to read"`
}

// Register is one value, or a row of values of the same kind, in one of the unit's four tables.
// The pointers tell what was not set from what was set to zero.
type Register struct {
	Channel string           `yaml:"channel" doc:"name of the channel; with count, the names are this with 0, 1, 2 ... behind"`
	Table   string           `yaml:"table" doc:"holding (function 03, the default), input (04), coil (01) or discrete (02)"`
	Address *int             `yaml:"address" doc:"address of the first register or bit on the wire, 0 to 65535"`
	Type    string           `yaml:"type" doc:"uint16 (the default), int16, int32, uint32, int64, uint64, float32, float64, bool (with bit) or string (with length); coils and discrete inputs are bool"`
	Order   string           `yaml:"order" doc:"order of the bytes: ABCD (big-endian, the default), CDAB (low register first), BADC (bytes swapped in each register) or DCBA (little-endian)"`
	Bit     *int             `yaml:"bit" doc:"which bit of the register a bool is, 0 (lowest) to 15"`
	Length  *int             `yaml:"length" doc:"how many registers a string has, two characters each, 1 to 125"`
	Count   *int             `yaml:"count" doc:"how many values follow each other from address on; not set = 1"`
	Scale   *float64         `yaml:"scale" doc:"factor from the register's number to the unit; not set = 1"`
	Offset  float64          `yaml:"offset" doc:"what is added after scaling"`
	Unit    string           `yaml:"unit" doc:"unit of the scaled value, for instance Cel, V, kWh"`
	Enum    map[int64]string `yaml:"enum" doc:"texts for numbers: {0: off, 1: on}; a number that is not listed is a fault"`
	Min     *float64         `yaml:"min" doc:"least value that can be true, after scaling; below it is a fault"`
	Max     *float64         `yaml:"max" doc:"greatest value that can be true, after scaling; above it is a fault"`
}

// Channels returns the channels in the order in which registers lists them. It is part of drivers.Channeler.
func (c *Config) Channels() []drivers.Channel {
	var out []drivers.Channel
	for i := range c.Registers {
		values, errs := c.Registers[i].values(c.MaxQuantity)
		if len(errs) > 0 {
			continue
		}
		for j := range values {
			v := &values[j]
			out = append(out, drivers.Channel{Name: v.channel, Kind: v.kind(), Unit: v.unit, Meaning: v.String()})
		}
	}
	return out
}

// Ports returns the unit's line or connection, which it shares. It is part of drivers.PortUser.
func (c *Config) Ports() []drivers.PortUse {
	a, err := parseAddress(c.Address)
	switch {
	case err != nil:
		return nil
	case a.isSerial:
		return []drivers.PortUse{{Port: a.serial.Port, Settings: a.serial.Settings()}}
	}
	return []drivers.PortUse{{Port: "tcp://" + a.name}}
}

// Open makes the unit ready to be read. It does not ask it anything: the line or connection is opened at the first Read.
// Its errors are the Host's, and those of Validate.
func (c *Config) Open(ctx context.Context, h drivers.Host) (drivers.Device, error) {
	values, errs := c.check()
	if len(errs) > 0 {
		return nil, fmt.Errorf("open modbus unit %d: %w", c.Unit, errs[0])
	}
	a, err := parseAddress(c.Address)
	if err != nil {
		return nil, fmt.Errorf("open modbus unit %d: %w", c.Unit, err)
	}
	var bus *drivers.Bus
	if a.isSerial {
		bus, err = h.Serial(ctx, a.serial)
	} else {
		bus, err = h.Dial(ctx, "tcp", a.name)
	}
	if err != nil {
		return nil, fmt.Errorf("open modbus unit %d on %s: %w", c.Unit, a.name, err)
	}
	bus.Speaks(link.Explain)
	var l framing = link.NewTCP(byte(c.Unit), c.Timeout, uint16(rand.Uint32()))
	if a.isSerial {
		l = link.NewRTU(bus, byte(c.Unit), c.Timeout, a.serial.Baud)
	}
	where := "unit " + strconv.Itoa(c.Unit) + " on " + a.name
	d := newDevice(where, bus, l, values, c.MaxGap, c.MaxQuantity)
	if a.isSerial {
		d.patient = watch(doctor.NewPatient(bus, a.serial, byte(c.Unit), c.Timeout), d.values)
	}
	return d, nil
}

// kind returns the kind of the Values that v is reported as.
func (v *value) kind() tidegate.Kind {
	switch {
	case v.enum != nil || v.form == formText:
		return tidegate.KindText
	case v.form == formBit:
		return tidegate.KindBool
	case v.scaled || v.form == formFloat:
		return tidegate.KindFloat
	case v.form == formInt:
		return tidegate.KindInt
	}
	return tidegate.KindUint
}
