package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// What the buffer costs and what it takes: bytes to the card, appends, memory, and how fast it opens. The gateway is the bench's own program with
// loadDriver; the rest is as in the field.
const (
	onlyBuffer    = "buffer" // the value of -only
	bufferHeading = "\n## The buffer"

	page        = 4096
	busyRate    = 210_000 // readings a second that are offered
	busyDevices = 14      // of 15,000 a second each, below what a device may report
	busyReach   = 200_000
	storeBytes  = 1 << 30 // of the store that is opened
)

// A flow is a number of devices that report at one rate.
type flow struct {
	name    string
	devices int
	size    int // readings of one Read
	rate    int // readings a second of one device
	sync    time.Duration
	online  bool // there is a broker, so cursors move
}

// readings returns the readings a second.
func (f *flow) readings() float64 { return float64(f.devices * f.rate) }

// floor returns the bytes a reading that one page a commit comes to.
func (f *flow) floor() float64 { return page / f.readings() / f.sync.Seconds() }

var (
	flowMany  = flow{name: "20,000 readings/s", devices: units, size: registers, rate: 400, sync: time.Second, online: true}
	flowFew   = flow{name: "20 readings/s, sync 1s", devices: 20, size: 1, rate: 1, sync: time.Second, online: true}
	flowRare  = flow{name: "20 readings/s, sync 5s", devices: 20, size: 1, rate: 1, sync: 5 * time.Second, online: true}
	flowNone  = flow{name: "no device", sync: time.Second, online: true}
	flowBusy  = flow{name: "210,000 readings/s, no broker", devices: busyDevices, size: registers, rate: busyRate / busyDevices, sync: time.Second}
	slowFlows = []*flow{&flowMany, &flowFew, &flowRare, &flowNone}
)

// config returns the gateway's configuration; its devices write their times into dir.
func (f *flow) config(at places, dir string) string {
	if !f.online {
		at.broker = "127.0.0.1:1"
	}
	var b strings.Builder
	b.WriteString(strings.Replace(tidegateHead(at), "sync: 1s", "sync: "+f.sync.String(), 1))
	if f.devices > 0 {
		b.WriteString("devices:\n")
	}
	for i := 1; i <= f.devices; i++ {
		fmt.Fprintf(&b, "  - {name: u%d, driver: load, seed: %[1]d, size: %d, rate: %d, file: %q}\n", i, f.size, f.rate, timesOf(dir, i))
	}
	return b.String()
}

func timesOf(dir string, device int) string {
	return filepath.Join(dir, fmt.Sprintf("u%d.times", device))
}

// A gauge is what one run of a flow came to.
type gauge struct {
	PerSecond float64 // readings stored
	Disk      float64 // bytes to the device, journal included, per reading; per second where there are no readings
	Written   float64 // write_bytes of the process, the same
	Own       float64 // what the gateway says that it has written, the same
	Payload   float64 // bytes of frames per reading
	CPU       float64 // percent of a core
	Switches  float64 // voluntary context switches a second
	Anon      float64 // most RssAnon, MB
	P50, P99  time.Duration
	Commit50  float64 // seconds
	Commit99  float64
	Dropped   uint64 // readings
	Lost      int64
}

// queueNow is what status --json says.
type queueNow struct {
	Queue struct {
		Bytes     int64 `json:"bytes"`
		KeptBytes int64 `json:"kept_bytes"`
		Written   int64 `json:"written_per_day_bytes"` // it runs for less than a day
		Dropped   uint64

		CommitP50 float64 `json:"commit_p50_s"`
		CommitP99 float64 `json:"commit_p99_s"`
	}
	Account struct {
		Produced uint64
		Lost     int64
	}
}

// measureFlow runs the gateway, which program is, with f in the new folder dir.
func measureFlow(ctx context.Context, f *flow, program string, warm, measure time.Duration, p plan, dir string) (m gauge, err error) {
	s := side{program: program, args: []string{"gateway", "run", "--config"}, file: "tidegate.yaml", topics: []string{"tg/v1/gw-bench/up/#"}}
	s.config = func(at places) string { return f.config(at, dir) }
	st, err := setUp(ctx, s, p, dir)
	if err != nil {
		return m, err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	g, err := st.start(ctx)
	if err != nil {
		return m, err
	}
	fail := func(err error) error {
		return errors.Join(fmt.Errorf("%w; log: %s", err, st.lastWords()), g.end(syscall.SIGKILL, 0))
	}
	if err := wait(ctx, warm/4); err != nil {
		return m, fail(err)
	}
	if _, _, _, err := st.look(ctx, g); err != nil { // a socket notes when it was first used, on disk
		return m, fail(err)
	}
	if err := wait(ctx, warm); err != nil {
		return m, fail(err)
	}
	from, fromQueue, fromSwitches, err := st.look(ctx, g)
	if err != nil {
		return m, fail(err)
	}
	g.memoryPeak()
	if err := wait(ctx, measure); err != nil {
		return m, fail(err)
	}
	m.Anon = float64(g.anonPeak()) / 1e6
	to, toQueue, toSwitches, err := st.look(ctx, g)
	if err != nil {
		return m, fail(err)
	}
	if err := g.end(syscall.SIGTERM, 60*time.Second); err != nil {
		return m, err
	}
	seconds := to.at.Sub(from.at).Seconds()
	if seconds > measure.Seconds()+10 {
		return m, fmt.Errorf("measured for %.0f s instead of %v: the machine stood still; run it again", seconds, measure)
	}
	readings := float64(toQueue.Account.Produced - fromQueue.Account.Produced)
	per := readings
	if f.devices == 0 {
		per = seconds
	} else if readings == 0 {
		return m, fmt.Errorf("nothing was stored; log: %s", st.lastWords())
	}
	m.PerSecond, m.CPU, m.Switches = readings/seconds, 100*(to.cpu-from.cpu).Seconds()/seconds, float64(toSwitches-fromSwitches)/seconds
	m.Disk, m.Written = float64(to.sectors-from.sectors)/per, float64(to.written-from.written)/per
	stored := func(q *queueNow) float64 { return float64(q.Queue.Bytes + q.Queue.KeptBytes) }
	m.Payload = (stored(&toQueue) - stored(&fromQueue)) / per
	m.Own = float64(toQueue.Queue.Written-fromQueue.Queue.Written) / per
	m.Commit50, m.Commit99 = toQueue.Queue.CommitP50, toQueue.Queue.CommitP99
	m.Dropped, m.Lost = toQueue.Queue.Dropped, toQueue.Account.Lost
	var all spread
	for i := 1; i <= f.devices; i++ {
		text, err := os.ReadFile(timesOf(dir, i))
		if err == nil {
			err = all.read(string(text))
		}
		if err != nil {
			return m, fmt.Errorf("%w; log: %s", err, st.lastWords())
		}
	}
	m.P50, m.P99 = all.quantile(0.5), all.quantile(0.99)
	return m, nil
}

// look takes all counters of the gateway.
func (st *stage) look(ctx context.Context, g *program) (m mark, q queueNow, switches int64, err error) {
	cmd := exec.CommandContext(ctx, st.argv[0], "gateway", "status", "--json", "--config", st.argv[len(st.argv)-1])
	cmd.Dir, cmd.Env, cmd.Stderr = g.cmd.Dir, g.cmd.Env, os.Stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) { // 1 is a condition
		return m, q, 0, err
	}
	if err := json.Unmarshal(out, &q); err != nil {
		return m, q, 0, fmt.Errorf("status: %w: %q", err, out)
	}
	if switches, _, err = threads(g.cmd.Process.Pid); err != nil {
		return m, q, 0, err
	}
	m, err = st.mark(g)
	return m, q, switches, err
}

// buffered measures the buffer and returns that part of the report.
func buffered(ctx context.Context, root string, p plan, work string) (string, error) {
	from, err := origin(ctx, root, p)
	if err != nil {
		return "", err
	}
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	var b bufferFigures
	if b.slow, err = slowGauges(ctx, self, p, work); err != nil {
		return "", err
	}
	if b.busy, err = measureFlow(ctx, &flowBusy, self, p.bufferWarm/4, p.busy, p, filepath.Join(work, "busy")); err != nil {
		return "", fmt.Errorf("%s: %w", flowBusy.name, err)
	}
	fmt.Fprintf(os.Stderr, "bench: %s: %+v\n", flowBusy.name, b.busy)
	if b.opened, err = openings(ctx, self, p, filepath.Join(work, "open")); err != nil {
		return "", fmt.Errorf("open a store: %w", err)
	}
	return bufferReport(from, p, &b), nil
}

// slowGauges measures the flows that leave the processor idle, all at once, each on a disk of its own.
func slowGauges(ctx context.Context, self string, p plan, work string) (map[*flow]gauge, error) {
	out := make([]gauge, len(slowFlows))
	errs := make([]error, len(slowFlows))
	var wg sync.WaitGroup
	for i, f := range slowFlows {
		wg.Go(func() {
			measure := p.bufferMeasure
			if f.devices == 0 {
				measure = p.still
			}
			var err error
			if out[i], err = measureFlow(ctx, f, self, p.bufferWarm, measure, p, filepath.Join(work, fmt.Sprint("flow-", i))); err != nil {
				errs[i] = fmt.Errorf("%s: %w", f.name, err)
				return
			}
			fmt.Fprintf(os.Stderr, "bench: %s: %+v\n", f.name, out[i])
		})
	}
	wg.Wait()
	all := map[*flow]gauge{}
	for i, f := range slowFlows {
		all[f] = out[i]
	}
	return all, errors.Join(errs...)
}

// bufferFigures is what was measured of the buffer.
type bufferFigures struct {
	slow   map[*flow]gauge
	busy   gauge
	opened []opening
}

// A row is one line of the table.
type row struct {
	name, unit string
	got, floor float64 // floor: NaN = there is none
	reach      string
	quiet      bool // needs a machine without other work
}

func (b *bufferFigures) rows() []row {
	none := math.NaN()
	ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
	many, few, rare, still := b.slow[&flowMany], b.slow[&flowFew], b.slow[&flowRare], b.slow[&flowNone]
	out := []row{
		{flowMany.name + ", to the device", "bytes per reading", many.Disk, many.Payload, "<= 8", false},
		{"- by the process (write_bytes)", "bytes per reading", many.Written, many.Payload, "", false},
		{"- by the gateway's own account", "bytes per reading", many.Own, many.Disk, "", false},
		{flowFew.name + ", to the device", "bytes per reading", few.Disk, flowFew.floor(), "<= 500", false},
		{"- by the process (write_bytes)", "bytes per reading", few.Written, flowFew.floor(), "", false},
		{"- by the gateway's own account", "bytes per reading", few.Own, few.Disk, "", false},
		{flowRare.name + ", to the device", "bytes per reading", rare.Disk, flowRare.floor(), "<= 150", false},
		{"- by the process (write_bytes)", "bytes per reading", rare.Written, flowRare.floor(), "", false},
		{"- by the gateway's own account", "bytes per reading", rare.Own, rare.Disk, "", false},
		{flowNone.name + ", to the device", "bytes per second", still.Disk, 0, "0", false},
		{"- context switches", "per second", still.Switches, none, "<= 250", false},
		{"- CPU", "% of a core", still.CPU, none, "", true},
		{flowBusy.name + ", stored", "readings per second", b.busy.PerSecond, none, fmt.Sprint(">= ", busyReach), true},
		{"- dropped", "readings", float64(b.busy.Dropped), 0, "0", true},
		{"- append, p50", "ms", ms(b.busy.P50), none, "", true},
		{"- append, p99", "ms", ms(b.busy.P99), none, "", true},
		{"- commit, median", "ms", 1000 * b.busy.Commit50, none, "", true},
		{"- commit, p99", "ms", 1000 * b.busy.Commit99, none, "", true},
		{"- to the device", "bytes per reading", b.busy.Disk, b.busy.Payload, "", false},
		{"- CPU", "% of a core", b.busy.CPU, none, "", true},
		{"- most RssAnon", "MB", b.busy.Anon, none, "<= 48", false},
	}
	for _, o := range b.opened {
		out = append(out, row{fmt.Sprintf("a store of %.2f GB opens after kill -9, %s", float64(o.bytes)/1e9, o.how), "s", o.took.Seconds(), none, "<= 3", true})
	}
	return out
}

// bufferReport returns the part of the report.
func bufferReport(from string, p plan, b *bufferFigures) string {
	var s strings.Builder
	fmt.Fprintf(&s, `%s

Written by the same, or alone by %s; %s

The gateway with devices that report by themselves; records of %d readings with values as above, but for the flows of 20 readings/s, whose 20 devices
report one reading a second each. State on an ext4 image of its own; "to the device" is what the block device was made to write, journal included, and
write_bytes is what the kernel counts for the process. Slow flows ran at once, published to mosquitto; after %v of warm-up measured for %v, without
devices for %v; the fast one, with its uplink down, for %v. Floors: bytes of the frames themselves, or one page of %d bytes a commit; beside the gateway's
own account stands the device. An append is the time from the return of a Read until its device is asked again: the record stands in ring 1 then. Figures
marked * want a machine without other work. The memory of a 32-bit program is measured on an emulated ARM board (testdata/rig/hil, TestMemory).

| figure | unit | tidegate | floor | ratio | to reach | |
|---|---|---:|---:|---:|---|---|
`, bufferHeading, "`make bench BENCH=\"-only buffer\"`", from, registers, p.bufferWarm, p.bufferMeasure, p.still, p.busy, page)
	for _, r := range b.rows() {
		floor, ratio, star := "", "", ""
		if !math.IsNaN(r.floor) {
			floor = number(r.floor)
			if r.floor > 0 {
				ratio = number(r.got / r.floor)
			}
		}
		if r.quiet {
			star = "*"
		}
		fmt.Fprintf(&s, "| %s | %s | %s | %s | %s | %s | %s |\n", r.name, r.unit, number(r.got), floor, ratio, r.reach, star)
	}
	return s.String()
}
