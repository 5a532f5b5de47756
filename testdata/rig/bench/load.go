package main

import (
	"context"
	"fmt"
	"math/bits"
	"os"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// loadDriver reports as many readings as it is told, without a bus, and writes down how long each Read stood between the two: from its return
// until it is asked again it is stamped, judged by the intake and put into ring 1, where a kill does not reach it. That is an append.
var loadDriver = drivers.Driver{
	Name:     "load",
	Doc:      "Readings at a rate, and how long the gateway takes to have one",
	Channels: []drivers.Channel{{Name: "r0", Kind: tidegate.KindInt, Meaning: "running number of the Read"}},
	New:      func() drivers.Config { return &loadConfig{Size: 40, Rate: 40} },
	Sample:   "name: l1\ndriver: load\nfile: l1.times\n",
}

type loadConfig struct {
	Seed uint64 `yaml:"seed" doc:"of the values"`
	Size int    `yaml:"size" doc:"readings of one Read"`
	Rate int    `yaml:"rate" doc:"readings a second"`
	File string `yaml:"file" doc:"takes a line for each span of time that was seen: its upper bound in nanoseconds, and how often"`
}

func (c *loadConfig) Validate() []drivers.FieldError { return nil }

// Channels are those beside r0.
func (c *loadConfig) Channels() (out []drivers.Channel) {
	for i := 1; i < c.Size; i++ {
		out = append(out, drivers.Channel{Name: fmt.Sprint("r", i), Kind: tidegate.KindInt, Meaning: "a register"})
	}
	return out
}

func (c *loadConfig) Open(context.Context, drivers.Host) (drivers.Device, error) {
	d := &loadDevice{config: *c, every: time.Duration(c.Size) * time.Second / time.Duration(c.Rate), next: time.Now()}
	d.list = make([]tidegate.Reading, c.Size)
	for i := range d.list {
		d.list[i].Channel = fmt.Sprint("r", i)
	}
	return d, nil
}

type loadDevice struct {
	config   loadConfig
	every    time.Duration
	next     time.Time
	returned time.Time // the last Read; zero = there was none
	number   uint32
	list     []tidegate.Reading
	took     spread
}

// Read waits for its turn. What it is late it makes up for, up to a second.
func (d *loadDevice) Read(ctx context.Context) ([]tidegate.Reading, error) {
	now := time.Now()
	if !d.returned.IsZero() {
		d.took.add(now.Sub(d.returned))
	}
	if now.Sub(d.next) > time.Second {
		d.next = now
	}
	if err := wait(ctx, d.next.Sub(now)); err != nil {
		return nil, err
	}
	d.next = d.next.Add(d.every)
	d.number++
	unit := uint32(d.config.Seed)
	for i := range d.list {
		d.list[i].Value = tidegate.Int(int64(value(d.config.Seed, unit, d.number, loadRegister(i))))
	}
	d.returned = time.Now()
	return d.list, nil
}

// loadRegister is what the channel i of a load is like among the slave's registers: it has no time of its own.
func loadRegister(i int) int {
	if i == regTime {
		return regTime + 1
	}
	return i
}

func (d *loadDevice) Close() error {
	return os.WriteFile(d.config.File, []byte(d.took.String()), 0o644)
}

// A spread counts spans of time by their size, each within a sixteenth.
type spread [64 * 16]uint64

func (s *spread) add(d time.Duration) {
	n := uint64(max(d, 16))
	e := bits.Len64(n) - 5
	s[16*e+int(n>>e)]++
}

// bound returns the upper bound of slot i.
func bound(i int) time.Duration { return time.Duration(uint64(i%16+17) << (i/16 - 1)) }

func (s *spread) String() string {
	var b strings.Builder
	for i, n := range s {
		if n > 0 {
			fmt.Fprintf(&b, "%d %d\n", i, n)
		}
	}
	return b.String()
}

// read adds what String wrote to s.
func (s *spread) read(text string) error {
	for line := range strings.Lines(text) {
		var i int
		var n uint64
		if _, err := fmt.Sscan(line, &i, &n); err != nil || i < 0 || i >= len(s) {
			return fmt.Errorf("spans of time: %q: %w", line, err)
		}
		s[i] += n
	}
	return nil
}

// quantile returns an upper bound of the span that the share q of all does not exceed; 0 = nothing was seen.
func (s *spread) quantile(q float64) time.Duration {
	var all, seen uint64
	for _, n := range s {
		all += n
	}
	for i, n := range s {
		if seen += n; n > 0 && float64(seen) >= q*float64(all) {
			return bound(i)
		}
	}
	return 0
}
