package system

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// Driver describes the machine itself.
var Driver = drivers.Driver{
	Name: "system",
	Doc: `The machine that the gateway runs on, any Linux: load, processor, memory, swap, temperatures, file systems, bytes written to the disk
that holds "disk" (best the gateway's own state_dir, to see what its flash memory is being worn by), network traffic, and on a Raspberry
Pi whether it is starved of voltage or slowed down.
What the machine does not have is left out until it has it; what it had and has no longer is a fault. Paths under "disks" should be on local disks: a network file system that hangs, hangs this
device. Temperatures beside the processor's are chosen by name; a wrong name is answered with a fault that lists those there are.`,
	Channels: []drivers.Channel{
		{Name: "cpu_temp", Kind: tidegate.KindFloat, Unit: "Cel", Meaning: "temperature of the processor, else of the first thermal zone"},
		{Name: "load1", Kind: tidegate.KindFloat, Meaning: "processes that ran or waited for the disk, mean of 1 minute"},
		{Name: "load5", Kind: tidegate.KindFloat, Meaning: "the same, mean of 5 minutes"},
		{Name: "load15", Kind: tidegate.KindFloat, Meaning: "the same, mean of 15 minutes"},
		{Name: "cpu_used", Kind: tidegate.KindFloat, Unit: "/100", Meaning: "time the processors were busy since the Read before, of all their time"},
		{Name: "uptime", Kind: tidegate.KindFloat, Unit: "s", Meaning: "time since the machine started"},
		{Name: "mem_total", Kind: tidegate.KindInt, Unit: "B", Meaning: "memory"},
		{Name: "mem_available", Kind: tidegate.KindInt, Unit: "B", Meaning: "memory that programs can still get without swapping"},
		{Name: "mem_used", Kind: tidegate.KindFloat, Unit: "/100", Meaning: "share of memory that is not available"},
		{Name: "swap_total", Kind: tidegate.KindInt, Unit: "B", Meaning: "swap space"},
		{Name: "swap_free", Kind: tidegate.KindInt, Unit: "B", Meaning: "swap space not in use"},
		{Name: "swap_used", Kind: tidegate.KindFloat, Unit: "/100", Meaning: "share of swap space in use"},
		{Name: "disk_written", Kind: tidegate.KindInt, Unit: "B", Meaning: "bytes written to the whole disk under `disk` since the machine started"},
		{Name: "undervoltage", Kind: tidegate.KindBool, Meaning: "Raspberry Pi: the supply is or was just below 4.63 V"},
		{Name: "frequency_capped", Kind: tidegate.KindBool, Meaning: "Raspberry Pi: the processor may not run at full speed"},
		{Name: "throttled", Kind: tidegate.KindBool, Meaning: "Raspberry Pi: the processor is slowed down"},
		{Name: "temp_limited", Kind: tidegate.KindBool, Meaning: "Raspberry Pi: the soft temperature limit is reached"},
	},
	Every: 10 * time.Second,
	New:   func() drivers.Config { return &Config{Disks: []string{"/"}, Disk: "/"} },
	Sample: `name: gateway
driver: system
every: 10s
disks: [/, /var]
disk: /var/lib
# temperatures: [nvme_composite]
# networks: [eth0]
`,
}

// A part is one source of readings: a file, or a few that belong together.
type part struct {
	channels []drivers.Channel
	wanted   bool // the configuration names it: an error wrapping fs.ErrNotExist is a fault, even if it was never there
	// read returns one value for each channel; KindNone = this machine has no such thing.
	read func() ([]tidegate.Value, error)

	seen []bool // by channel: it was there once, since Open
}

type device struct {
	parts  []*part
	out    []tidegate.Reading
	closed bool
}

// Read returns all channels that the machine has or had; those that cannot be read have a fault. The readings are valid until the next Read.
func (d *device) Read(ctx context.Context) ([]tidegate.Reading, error) {
	if d.closed {
		return nil, fmt.Errorf("read machine: device is closed: %w", drivers.ErrGone)
	}
	d.out = d.out[:0]
	for _, p := range d.parts {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("read machine: %w", err)
		}
		d.out = p.report(d.out)
	}
	return d.out, nil
}

// report appends the readings of p's channels to out. What the machine never had is left out: it may come yet, as a driver does that
// is loaded late, or swap that is turned on. What it had is a fault when it is not there.
func (p *part) report(out []tidegate.Reading) []tidegate.Reading {
	values, err := p.read()
	wasThere := slices.Contains(p.seen, true)
	if errors.Is(err, fs.ErrNotExist) && !p.wanted && !wasThere {
		return out
	}
	for i, ch := range p.channels {
		r := tidegate.Reading{Channel: ch.Name, Unit: ch.Unit}
		switch {
		case err != nil && wasThere && !p.seen[i], err == nil && values[i].Kind() == tidegate.KindNone && !p.seen[i]:
			continue
		case err != nil:
			r.Fault = err.Error()
		case values[i].Kind() == tidegate.KindNone:
			r.Fault = "the machine has it no longer"
		default:
			r.Value, p.seen[i] = values[i], true
		}
		out = append(out, r)
	}
	return out
}

// Close has nothing to give back; further Reads fail.
func (d *device) Close() error {
	d.closed = true
	return nil
}
