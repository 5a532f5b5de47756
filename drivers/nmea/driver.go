package nmea

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/talker"
)

// rest is the pause that ends an epoch. Sentences of one follow each other without any; serial adapters add 16 ms, device servers more.
const rest = 200 * time.Millisecond

// The channels that are only ever faults.
const (
	chanTime     = "time_fault"
	chanSentence = "sentence_fault"
)

// Driver reads GNSS receivers.
var Driver = drivers.Driver{
	Name: "nmea",
	Doc: `GNSS receivers (GPS, GLONASS, Galileo, BeiDou) that send NMEA 0183 on a serial port (8N1) or behind a device server (tcp://host:port).
Needs RMC and GGA (or GNS); GSA tells a 2D fix. Readings bear the receiver's time while it has a fix and a date that can be.
Without a fix position, altitude, speed and course are faults, never zero. Estimated, simulated and manual positions are faults too.
The receiver needs the port for itself; this driver never writes to it, so rate and kinds of sentences are set by the maker's tool.`,
	Channels: []drivers.Channel{
		lat: {Name: "lat", Kind: tidegate.KindFloat, Unit: "lat", Meaning: "latitude, north is positive"},
		lon: {Name: "lon", Kind: tidegate.KindFloat, Unit: "lon", Meaning: "longitude, east is positive"},
		altitude: {
			Name: "altitude", Kind: tidegate.KindFloat, Unit: "m", Meaning: "height above mean sea level (the receiver's geoid)",
		},
		speed:  {Name: "speed", Kind: tidegate.KindFloat, Unit: "m/s", Meaning: "speed over ground"},
		course: {Name: "course", Kind: tidegate.KindFloat, Unit: "deg", Meaning: "course over ground from true north; left out while there is none"},
		satellites: {
			Name: "satellites", Kind: tidegate.KindInt, Unit: "count", Meaning: "satellites used; many receivers stop counting at 12",
		},
		hdop: {Name: "hdop", Kind: tidegate.KindFloat, Meaning: "horizontal dilution of precision; below 2 is good, above 5 poor"},
		fix: {
			Name: "fix", Kind: tidegate.KindText,
			Meaning: "none, valid, autonomous, differential, precise, rtk, rtk-float, estimated, manual or simulated",
		},
		quantities: {Name: chanTime, Kind: tidegate.KindText, Meaning: "why the receiver's date and time are not used; only ever a fault"},
		{Name: chanSentence, Kind: tidegate.KindText, Meaning: "what was wrong with a sentence that was not used; only ever a fault"},
	},
	Every: 0,
	New:   func() drivers.Config { return &Config{Baud: 9600, Silence: 10 * time.Second} },
	Sample: `name: position
driver: nmea
port: /dev/serial/by-id/usb-u-blox_AG_u-blox_7_GPS_GNSS_Receiver-if00
baud: 9600
`,
	Hear: func(b []byte) (string, [][2]string) { return hear(b), [][2]string{} },
}

// Config is what the user sets for one receiver.
type Config struct {
	Port    string        `yaml:"port" doc:"serial port, best by its lasting name (/dev/serial/by-id/...), or tcp://host:port of a device server"`
	Baud    int           `yaml:"baud" doc:"bit/s, 300 to 921600; receivers have 9600 mostly, 4800 or 38400"`
	Silence time.Duration `yaml:"silence" doc:"report faults when nothing of use came for so long; 2s to 24h"`
}

// Validate returns what is wrong with c.
func (c *Config) Validate() []drivers.FieldError {
	errs := talker.CheckPort(c.Port)
	if c.Baud < 300 || c.Baud > 921_600 {
		errs = append(errs, talker.OutOfRange("baud", strconv.Itoa(c.Baud), "300 to 921600"))
	}
	if c.Silence < 2*time.Second || c.Silence > 24*time.Hour {
		errs = append(errs, talker.OutOfRange("silence", c.Silence.String(), "2s to 24h"))
	}
	return errs
}

// Ports returns the receiver's port. It is part of drivers.PortUser.
func (c *Config) Ports() []drivers.PortUse { return talker.Uses(c.Port) }

// Open gets the port from h. The port itself is opened by the first Read.
func (c *Config) Open(ctx context.Context, h drivers.Host) (drivers.Device, error) {
	return c.open(ctx, h, earliest)
}

// open is Open for receivers whose date is not before first.
func (c *Config) open(ctx context.Context, h drivers.Host, first time.Time) (drivers.Device, error) {
	bus, err := talker.Open(ctx, h, drivers.Serial{Port: c.Port, Baud: c.Baud, DataBits: 8, Parity: "none", StopBits: "1"})
	if err != nil {
		return nil, fmt.Errorf("open receiver on %s: %w", c.Port, err)
	}
	t := talker.New(bus, talker.Rules{
		Framing: talker.ByDelimiter, Delimiter: "\n", Around: "\r\n", Name: "receiver",
		Patience: time.Second, Rest: rest, Silence: c.Silence,
	})
	return &device{talker: t, parser: newParser(), silence: c.Silence, first: first, used: time.Now()}, nil
}
