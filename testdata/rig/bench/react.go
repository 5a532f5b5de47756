package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/cmd/tidegate/cli"
	"github.com/tidegate-io/tidegate/drivers"
)

// How long it takes from a reading to an output: the gateway's own program with one driver, whose devices report registers of which one
// decides over their output, and write down when it was set.
const (
	reactEvery  = 100 * time.Millisecond
	reactAlarms = 5               // devices whose rule raises an alarm too
	flipMean    = 10              // Reads from a flip of the deciding register to the next one, about
	flipLeast   = 3               // and at least
	flipLate    = 5 * time.Second // what was not set by then is missing
)

// reactDriver is the one that the gateway under test has.
var reactDriver = drivers.Driver{
	Name: "react",
	Doc:  "Registers, of which level decides over the output relay, and the times between the two",
	Channels: []drivers.Channel{
		{Name: "level", Kind: tidegate.KindFloat, Meaning: "60 or 90"},
		{Name: "relay", Kind: tidegate.KindBool, Meaning: "output: what it was last set to", Output: true},
	},
	Every:  reactEvery,
	New:    func() drivers.Config { return &reactConfig{} },
	Sample: "name: u1\ndriver: react\nfile: u1.times\n",
}

type reactConfig struct {
	Seed uint64 `yaml:"seed" doc:"of when level flips, and of the other registers"`
	File string `yaml:"file" doc:"takes a line for each flip: when it was read, and how many nanoseconds later the output was set"`
}

func (c *reactConfig) Validate() []drivers.FieldError { return nil }

// Channels are the registers beside level.
func (c *reactConfig) Channels() (out []drivers.Channel) {
	for i := 1; i < registers; i++ {
		out = append(out, drivers.Channel{Name: fmt.Sprint("r", i), Kind: tidegate.KindFloat, Meaning: "a register"})
	}
	return out
}

func (c *reactConfig) Open(context.Context, drivers.Host) (drivers.Device, error) {
	d := &reactDevice{seed: c.Seed, random: rand.New(rand.NewPCG(c.Seed, 0)), file: c.File}
	d.list = []tidegate.Reading{{Channel: "level"}}
	for i := 1; i < registers; i++ {
		d.list = append(d.list, tidegate.Reading{Channel: fmt.Sprint("r", i)})
	}
	return d, nil
}

type reactDevice struct {
	seed   uint64
	random *rand.Rand
	reads  int
	since  int // Reads since the last flip
	list   []tidegate.Reading

	mu      sync.Mutex // Set may run while Read waits
	high    bool
	waits   bool      // the output is not yet what level demands
	flipped time.Time // end of the Read that had the flip
	file    string
	times   []byte // what Close writes
}

func (d *reactDevice) Read(context.Context) ([]tidegate.Reading, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reads++
	d.since++
	flip := d.since > flipLeast && d.random.IntN(flipMean-flipLeast) == 0
	if d.waits && time.Since(d.flipped) > flipLate {
		d.note(flipLate)
	}
	if flip = flip && !d.waits; flip {
		d.high, d.waits, d.since = !d.high, true, 0
	}
	d.list[0].Value = tidegate.Float(60)
	if d.high {
		d.list[0].Value = tidegate.Float(90)
	}
	for i := 1; i < len(d.list); i++ {
		d.list[i].Value = tidegate.Float(valueAt(d.seed, i, d.reads))
	}
	if flip {
		d.flipped = time.Now()
	}
	return d.list, nil
}

// Set takes the time where the value is what level demands: the safe state of a start is not.
func (d *reactDevice) Set(_ context.Context, _ string, v tidegate.Value) error {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	if on, _ := v.Bool(); d.waits && on == d.high {
		d.note(now.Sub(d.flipped))
	}
	return nil
}

func (d *reactDevice) note(took time.Duration) {
	d.waits = false
	d.times = fmt.Appendf(d.times, "%d %d\n", d.flipped.UnixNano(), took.Nanoseconds())
}

func (d *reactDevice) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return os.WriteFile(d.file, d.times, 0o644)
}

// runGateway is the gateway's program with the drivers of this bench; args are those of tidegate.
func runGateway(args []string) int {
	os.Args = append([]string{"tidegate"}, args...)
	return cli.Main([]drivers.Driver{loadDriver, reactDriver}, cli.Build{Version: "bench", Commit: "unknown"})
}

// reactConfiguration is 50 devices of 40 registers, and two rules for each: one that drives its output, one over a window.
func reactConfiguration(at places, dir string) string {
	var b, r strings.Builder
	b.WriteString(tidegateHead(at) + "  batch: {readings: 5000, every: 200ms}\ndevices:\n")
	for u := 1; u <= units; u++ {
		fmt.Fprintf(&b, "  - {name: u%d, driver: react, every: %v, seed: %[1]d, file: %[3]q}\n", u, reactEvery, filepath.Join(dir, fmt.Sprintf("u%d.times", u)))
		alarm := ""
		if u <= reactAlarms {
			alarm = "\n      - alarm: {severity: warning, text: \"high\"}"
		}
		fmt.Fprintf(&r, "  - name: limit-u%[1]d\n    when: u%[1]d.level > 80\n    clear: u%[1]d.level < 75\n    do:\n      - set: {channel: u%[1]d.relay, value: true, on_clear: false}%[2]s\n", u, alarm)
		fmt.Fprintf(&r, "  - name: average-u%[1]d\n    when: avg(u%[1]d.r1, 5m) > 1000\n    do: [{alarm: {severity: warning, text: \"high for long\"}}]\n", u)
	}
	return b.String() + "rules:\n" + r.String()
}

// A reaction is what one run came to.
type reaction struct {
	PerSecond      float64 // readings of all devices
	CPU            float64 // percent of a core
	Flips, Missing int
	P50, P99, P100 float64 // milliseconds
}

// react runs the gateway once in the new folder dir.
func react(ctx context.Context, p plan, dir string) (r reaction, err error) {
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	s := side{program: self, args: []string{"gateway", "run", "--config"}, file: "tidegate.yaml", topics: []string{"tg/v1/gw-bench/up/#"}}
	s.config = func(at places) string { return reactConfiguration(at, dir) }
	st, err := setUp(ctx, s, p, dir)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	g, err := st.start(ctx)
	if err != nil {
		return r, err
	}
	fail := func(err error) error {
		return errors.Join(fmt.Errorf("%w; log: %s", err, st.lastWords()), g.end(syscall.SIGKILL, 0))
	}
	if err := wait(ctx, p.warm); err != nil {
		return r, fail(err)
	}
	from, err := st.readingsOf(ctx, g)
	if err != nil {
		return r, fail(err)
	}
	if err := wait(ctx, p.measure); err != nil {
		return r, fail(err)
	}
	to, err := st.readingsOf(ctx, g)
	if err != nil {
		return r, fail(err)
	}
	seconds := to.at.Sub(from.at).Seconds()
	if seconds > p.measure.Seconds()+10 {
		return r, fail(fmt.Errorf("measured for %.0f s instead of %v: the machine stood still; run it again", seconds, p.measure))
	}
	if err := wait(ctx, flipLate); err != nil {
		return r, fail(err)
	}
	if err := g.end(syscall.SIGTERM, 30*time.Second); err != nil {
		return r, err
	}
	r.CPU = 100 * (to.cpu - from.cpu).Seconds() / seconds
	r.PerSecond = float64(to.readings-from.readings) / seconds
	if err := r.times(dir, from.at, to.at); err != nil {
		return r, fmt.Errorf("%w; log: %s", err, st.lastWords())
	}
	return r, nil
}

// progress is how far the gateway has come.
type progress struct {
	mark
	readings uint64 // of all devices
}

// readingsOf asks the gateway what its devices have read.
func (st *stage) readingsOf(ctx context.Context, g *program) (now progress, err error) {
	cmd := exec.CommandContext(ctx, st.argv[0], "gateway", "status", "--json", "--config", st.argv[len(st.argv)-1])
	cmd.Dir, cmd.Env, cmd.Stderr = g.cmd.Dir, g.cmd.Env, os.Stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) { // 1 is a condition
		return now, err
	}
	var s struct{ Devices []struct{ Readings uint64 } }
	if err := json.Unmarshal(out, &s); err != nil {
		return now, fmt.Errorf("status: %w: %q", err, out)
	}
	for _, d := range s.Devices {
		now.readings += d.Readings
	}
	now.mark, err = st.mark(g)
	return now, err
}

// times reads what the devices wrote down of flips between two times.
func (r *reaction) times(dir string, from, to time.Time) error {
	var took []time.Duration
	for u := 1; u <= units; u++ {
		text, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("u%d.times", u)))
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			var at, ns int64
			if _, err := fmt.Sscan(line, &at, &ns); err != nil {
				return fmt.Errorf("times of device %d: %q: %w", u, line, err)
			}
			switch {
			case at < from.UnixNano() || at >= to.UnixNano():
			case ns >= flipLate.Nanoseconds():
				r.Missing++
			default:
				took = append(took, time.Duration(ns))
			}
		}
	}
	if r.Flips = len(took); r.Flips < units {
		return fmt.Errorf("%d times of %d devices: nothing was measured", r.Flips, units)
	}
	slices.Sort(took)
	ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
	r.P50, r.P99, r.P100 = ms(took[len(took)/2]), ms(took[len(took)*99/100]), ms(took[len(took)-1])
	return nil
}
