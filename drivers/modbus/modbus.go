package modbus

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/modbus/doctor"
	"github.com/tidegate-io/tidegate/drivers/modbus/link"
	"github.com/tidegate-io/tidegate/drivers/modbus/registers"
	"github.com/tidegate-io/tidegate/drivers/modbus/sweep"
)

// Driver reads and writes registers and bits of Modbus units, RTU and TCP. Its configuration is a *Config.
var Driver = drivers.Driver{
	Name: "modbus",
	Doc: `Reads meters, inverters, controllers and I/O blocks that speak Modbus RTU on a serial line or Modbus TCP.
Needs the unit's register map from its manual; addresses are those on the wire, from 0 ("40001" in a manual is holding 0).
Some come with the gateway, by source and revision: map: eastron-sdm120, eastron-sdm630 or peacefair-pzem004t; a file of your own does as
well. Registers that lie together are read with one request. Units on one line are separate devices with the same address setting.
Coils and holding registers with write: true are outputs: what is set is written once, read back and compared; nothing else is written.
It does not speak Modbus ASCII or RTU frames over TCP.`,
	Every:   time.Second,
	Explain: link.Explain,
	Hear:    func(b []byte) (string, [][2]string) { return sweep.Hear(b), nil },
	New: func() drivers.Config {
		return &Config{Unit: 1, Timeout: time.Second, MaxQuantity: registers.MostRegisters}
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
    - {channel: valve, table: coil, address: 5, write: true}
`,
}

// Config is one unit on one line or connection, what to read of it, and what can be set.
type Config struct {
	Address     string        `yaml:"address" doc:"where the unit is: tcp://host:port (port 502 unless said) or rtu:///dev/ttyUSB0?baud=9600&parity=even&stop=1 (19200, even, 1 unless said; parity none means 2 stop bits unless said); rs485=kernel, rts, rts-low or a GPIO line turns the transceiver, echo=yes takes out what comes back"`
	Unit        int           `yaml:"unit" doc:"the unit's number: 1 to 247 on a serial line, 0 to 255 over TCP"`
	Timeout     time.Duration `yaml:"timeout" doc:"how long to wait for a reply to one request, 10ms to 1m"`
	MaxGap      int           `yaml:"max_gap" doc:"how many registers that no channel needs may be read in vain to save a request, 0 to 124; some devices clear registers when they are read (after a lost reply on a serial line, a few more may be read even so)"`
	MaxQuantity int           `yaml:"max_quantity" doc:"how many registers one request asks for at most, 1 to 125; coils and discrete inputs: sixteen times as many"`
	Map         string        `yaml:"map" doc:"what to read of a known kind of device: the name of a map that comes with the gateway (eastron-sdm120, eastron-sdm630, peacefair-pzem004t), or the path of a file of your own, with a slash in it"`
	Registers   []Register    `yaml:"registers" doc:"what to read, beside what map says"`
}

// Register is one value, or a row of values of the same kind, in one of the unit's four tables.
type Register = registers.Entry

// Channels returns the channels of map and registers, in this order. It is part of drivers.Channeler.
func (c *Config) Channels() []drivers.Channel {
	l, errs := c.lay()
	if len(errs) > 0 { // all that can be told
		l.values = nil
		for i := range c.Registers {
			values, _ := c.Registers[i].Values(l.maxQuantity)
			l.values = append(l.values, values...)
		}
	}
	out := make([]drivers.Channel, 0, len(l.values))
	for i := range l.values {
		v := &l.values[i]
		out = append(out, drivers.Channel{
			Name: v.Channel, Kind: v.Kind(), Unit: v.Unit, Meaning: v.String(), Output: v.IsOutput, Limits: v.Limits,
		})
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

// Claims returns the GPIO line that turns the unit's line, which all units on it share. It is part of drivers.Claimer.
func (c *Config) Claims() []drivers.Claim {
	a, err := parseAddress(c.Address)
	if err != nil || !a.isTurnedByPin() {
		return nil
	}
	claim := drivers.ClaimLine("address", a.serial.Direction)
	claim.For = a.serial.Port
	return []drivers.Claim{claim}
}

// Open makes the unit ready to be read. It does not ask it anything: the line or connection is opened at the first Read.
// Its errors are the Host's, and those of Validate.
func (c *Config) Open(ctx context.Context, h drivers.Host) (drivers.Device, error) {
	what, errs := c.check()
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
	fresh := func() framing {
		if a.isSerial {
			return link.NewRTU(bus, byte(c.Unit), c.Timeout, a.serial.Baud)
		}
		return link.NewTCP(byte(c.Unit), c.Timeout, uint16(rand.Uint32()))
	}
	where := "unit " + strconv.Itoa(c.Unit) + " on " + a.name
	d := newDevice(where, bus, fresh(), what.values, what.maxGap, what.maxQuantity)
	if a.isSerial {
		d.patient = watch(doctor.NewPatient(bus, a.serial, byte(c.Unit), c.Timeout), d.values)
	}
	if slices.ContainsFunc(what.values, func(v registers.Value) bool { return v.IsOutput }) {
		return &outputs{device: d, fresh: fresh}, nil
	}
	return d, nil
}
