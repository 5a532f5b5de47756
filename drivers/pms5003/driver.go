package pms5003

import (
	"context"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/talker"
)

// chanFault is the channel of what is wrong with frames.
const chanFault = "frame_fault"

// Driver reads Plantower PMS5003, PMS7003 and PMSA003.
var Driver = drivers.Driver{
	Name: "pms5003",
	Doc: `Plantower PMS5003, PMS7003 and PMSA003: mass and number of dust particles in air, from the frames that they send by themselves.
Needs a serial port of its own (9600 8N1, 3.3 V lines, 5 V supply), or a serial device server (tcp://host:port). It never writes to the part.
Reported is the mass for outdoor air, not the one for factories ("CF=1"). The first 30 s after power-up are not settled yet.
Does not serve PMS3003, PMS5003T, PMS5003S and PMS5003ST, whose frames differ, and cannot wake a part that sleeps or is in passive mode.`,
	Channels: append(quantities(), drivers.Channel{
		Name: chanFault, Kind: tidegate.KindText, Meaning: "what was wrong with bytes that were not used; only ever a fault",
	}),
	Every: 0,
	New:   func() drivers.Config { return &Config{Silence: 10 * time.Second} },
	Sample: `name: dust
driver: pms5003
port: /dev/ttyS0
`,
	Explain: explain,
	Hear:    func(b []byte) (string, [][2]string) { return hear(b), [][2]string{} },
}

// A quantity is one word of the frame that is reported.
type quantity struct {
	name, unit, meaning string
	word                int // 1 to 13, as the manual counts
}

// table lists what is reported: first the masses, rising with the diameter, then the counts, falling with it.
var table = []quantity{
	{"pm1", "ug/m3", "mass of particles up to 1.0 um, outdoor air", 4},
	{"pm2_5", "ug/m3", "mass of particles up to 2.5 um, outdoor air", 5},
	{"pm10", "ug/m3", "mass of particles up to 10 um, outdoor air", 6},
	{"count_0_3", "count", "particles beyond 0.3 um in 0.1 l of air", 7},
	{"count_0_5", "count", "particles beyond 0.5 um in 0.1 l of air", 8},
	{"count_1", "count", "particles beyond 1.0 um in 0.1 l of air", 9},
	{"count_2_5", "count", "particles beyond 2.5 um in 0.1 l of air", 10},
	{"count_5", "count", "particles beyond 5.0 um in 0.1 l of air", 11},
	{"count_10", "count", "particles beyond 10 um in 0.1 l of air", 12},
}

func quantities() []drivers.Channel {
	var out []drivers.Channel
	for _, q := range table {
		out = append(out, drivers.Channel{Name: q.name, Kind: tidegate.KindInt, Unit: q.unit, Meaning: q.meaning})
	}
	return out
}

// Config is what the user sets for one part.
type Config struct {
	Port    string        `yaml:"port" doc:"serial port, best by its lasting name (/dev/serial/by-id/...), or tcp://host:port of a device server"`
	Silence time.Duration `yaml:"silence" doc:"report a fault of all channels when no frame came for so long; 3s to 24h"`
}

// Validate returns what is wrong with c.
func (c *Config) Validate() []drivers.FieldError {
	errs := talker.CheckPort(c.Port)
	if c.Silence < 3*time.Second || c.Silence > 24*time.Hour {
		errs = append(errs, talker.OutOfRange("silence", c.Silence.String(), "3s to 24h"))
	}
	return errs
}

// Ports returns the part's port. It is part of drivers.PortUser.
func (c *Config) Ports() []drivers.PortUse { return talker.Uses(c.Port) }

// Open gets the port from h. The port itself is opened by the first Read.
func (c *Config) Open(ctx context.Context, h drivers.Host) (drivers.Device, error) {
	bus, err := talker.Open(ctx, h, drivers.Serial{Port: c.Port, Baud: 9600, DataBits: 8, Parity: "none", StopBits: "1"})
	if err != nil {
		return nil, fmt.Errorf("open pms5003 on %s: %w", c.Port, err)
	}
	return &device{talker: talker.New(bus, talker.Rules{
		Framing: talker.ByLength, Start: start, Length: frameLength, Name: "part",
		Patience: time.Second, // a frame takes 33 ms at 9600 8N1; adapters and device servers may add a lot
		Silence:  c.Silence,
	})}, nil
}

type device struct {
	talker *talker.Talker
	out    []tidegate.Reading
	closed bool
}

// Read returns the readings of the next frame, or what there is to report of bytes refused or of silence. The readings are valid until the
// next Read.
func (d *device) Read(ctx context.Context) ([]tidegate.Reading, error) {
	if d.closed {
		return nil, fmt.Errorf("read pms5003: device is closed: %w", drivers.ErrGone)
	}
	for d.out = d.out[:0]; len(d.out) == 0; d.out = d.talker.Report(d.out, chanFault) {
		h, err := d.talker.Next(ctx)
		if err != nil {
			return nil, fmt.Errorf("read pms5003: %w", err)
		}
		switch h.What {
		case talker.Framed:
			w, bad := decode(h.Frame.Raw)
			if d.talker.Verdict(bad); bad == "" {
				d.out = w.report(d.out)
			}
		case talker.Silent:
			for _, q := range table {
				d.out = append(d.out, tidegate.Reading{Channel: q.name, Fault: h.Text + " It says nothing in passive mode or asleep (SET low)"})
			}
		}
	}
	return d.out, nil
}

// Close lets further Reads fail; the port dies with the ctx of Open.
func (d *device) Close() error {
	d.closed = true
	return nil
}
