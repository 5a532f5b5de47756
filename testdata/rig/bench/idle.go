package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// What an idle gateway costs: ten devices once a second, over the whole way to the broker, and the parts of it.
const (
	idleDevices = 10
	idleLine    = 5 // of them on the serial line, the others over TCP
	idleReach   = 1 // percent of a core that tidegate may take with Modbus devices
	idleHeading = "\n## An idle gateway"
	onlyIdle    = "idle" // the value of -only
)

// A load is one row of the table.
type load struct {
	name  string
	side  string
	reach string
	polls bool // it asks the slave, so that what is delivered can be judged
	conf  func(places) string
}

var loads = []load{
	{"tidegate, no devices", "tidegate", "", false, func(at places) string { return tidegateHead(at) }},
	{"tidegate, 10 simulated devices", "tidegate", "", false, func(at places) string {
		return tidegateHead(at) + idleSimulated()
	}},
	{"tidegate, 5 devices on a serial line, 5 over TCP", "tidegate", fmt.Sprintf("<= %d %%", idleReach), true, func(at places) string {
		return tidegateHead(at) + "devices:\n" + idleTidegate(at)
	}},
	{"tidegate, the same and the machine itself", "tidegate", fmt.Sprintf("<= %d %%", idleReach), true, func(at places) string {
		return tidegateHead(at) + "devices:\n  - {name: machine, driver: system, every: 1s}\n" + idleTidegate(at)
	}},
	{"Telegraf, 5 devices on a serial line, 5 over TCP", "telegraf", "", true, idleTelegraf},
}

// idleSimulated is ten devices that need no bus.
func idleSimulated() string {
	s := "devices:\n"
	for i := 1; i <= idleDevices; i++ {
		s += fmt.Sprintf("  - {name: s%d, driver: sim, every: 1s}\n", i)
	}
	return s
}

// idleTidegate is ten Modbus devices.
func idleTidegate(at places) string {
	var b strings.Builder
	for u := 1; u <= idleDevices; u++ {
		address := "tcp://" + at.bus
		if u <= idleLine {
			address = "rtu://" + at.port + "?baud=" + strconv.Itoa(baud)
		}
		tidegateDevice(&b, u, "1s", address)
	}
	return b.String()
}

// idleTelegraf is one input for the line and one for the connection.
func idleTelegraf(at places) string {
	var b strings.Builder
	telegrafHead(&b, at, "1s")
	telegrafInput(&b, "line", fmt.Sprintf("  controller = \"file://%s\"\n  baud_rate = %d\n  data_bits = 8\n  parity = \"E\"\n  stop_bits = 1\n  transmission_mode = \"RTU\"\n",
		at.port, baud), 1, idleLine)
	telegrafInput(&b, "net", fmt.Sprintf("  controller = \"tcp://%s\"\n", at.bus), idleLine+1, idleDevices)
	return b.String()
}

// cost is what one run of a load came to.
type cost struct {
	CPU       float64 // percent of a core
	Switches  float64 // voluntary context switches a second
	Disk      float64 // bytes a second written to the device, journal included
	Written   float64 // write_bytes of the process a second
	RSS       float64 // VmRSS, MB
	Delivered float64 // percent of the readings that were answered; 0 where the slave was not asked
	Wrong     int     // values other than the slave's, replies with values missing, payloads that say nothing
}

// idle runs all loads at once, p.idleRuns times, so that what disturbs one disturbs all: together they leave most of a core idle. It returns the part of the report.
func idle(ctx context.Context, root string, sides []side, p plan, work string) (string, error) {
	from, err := origin(ctx, root, p)
	if err != nil {
		return "", err
	}
	costs := make([][]cost, len(loads))
	for i := range p.idleRuns {
		errs := make([]error, len(loads))
		var wg sync.WaitGroup
		for j, l := range loads {
			wg.Go(func() {
				c, err := runIdle(ctx, sides, l, p, filepath.Join(work, fmt.Sprintf("idle-%d-%d", j, i)))
				if err != nil {
					errs[j] = fmt.Errorf("idle: %s, run %d: %w", l.name, i+1, err)
					return
				}
				fmt.Fprintf(os.Stderr, "bench: %s, run %d of %d: %+v\n", l.name, i+1, p.idleRuns, c)
				costs[j] = append(costs[j], c)
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return "", err
		}
	}
	return idleReport(from, p, costs), nil
}

// idleReport returns the part of the report: costs in the order of loads.
func idleReport(from string, p plan, costs [][]cost) string {
	var s strings.Builder
	fmt.Fprintf(&s, `%s

Written by the same, or alone by %s; %s

Once a second %d values from each of %d Modbus devices: %d units on one line of %d bit/s, a pseudo-terminal on which replies come as slowly, %d bytes
at a time, as from a UART, and the others over TCP. Published at QoS 1 to mosquitto with the batches that tidegate has by default and Telegraf every
second, state on an ext4 image of its own, tidegate's rings on tmpfs. After %v of warm-up measured for %v, from /proc: processor time and voluntary
context switches of all threads. All rows ran at once, each with a slave, a broker and a disk of its own, %d times: median, lowest and highest.

`, idleHeading, "`make bench BENCH=\"-only idle\"`", from, registers, idleDevices, idleLine, baud, fifo, p.warm, p.measure, p.idleRuns)
	s.WriteString("| load | CPU, % of a core | to reach | context switches per second | to the device, bytes per second | write_bytes per second | VmRSS, MB | delivered, % | wrong |\n")
	s.WriteString("|---|---:|---|---:|---:|---:|---:|---:|---:|\n")
	for i, l := range loads {
		cell := func(of func(cost) float64) string { return cellOf(costs[i], of) }
		delivered, wrong := "", ""
		if l.polls {
			delivered, wrong = cell(func(c cost) float64 { return c.Delivered }), cell(func(c cost) float64 { return float64(c.Wrong) })
		}
		fmt.Fprintf(&s, "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", l.name, cell(func(c cost) float64 { return c.CPU }), l.reach,
			cell(func(c cost) float64 { return c.Switches }), cell(func(c cost) float64 { return c.Disk }), cell(func(c cost) float64 { return c.Written }),
			cell(func(c cost) float64 { return c.RSS }), delivered, wrong)
	}
	return s.String()
}

// runIdle lets one load run and returns its cost.
func runIdle(ctx context.Context, sides []side, l load, p plan, dir string) (c cost, err error) {
	var s side
	for _, x := range sides {
		if x.name == l.side {
			s = x
		}
	}
	s.config = l.conf
	st, err := setUp(ctx, s, p, dir)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	sub, err := subscribe(st.broker, s.topics)
	if err != nil {
		return c, err
	}
	c, from, to, err := st.idleCost(ctx, p)
	arrivals, err2 := sub.close()
	if err := errors.Join(err, err2); err != nil {
		return c, err
	}
	if !l.polls {
		return c, nil
	}
	end, err := st.counts()
	if err != nil {
		return c, err
	}
	ledger := newLedger(p.seed, end)
	for _, a := range arrivals {
		ledger.add(a, s.decode)
	}
	answered, delivered := ledger.between(from, to)
	if want := int(p.measure/time.Second) * idleDevices; answered < want*90/100 {
		return c, fmt.Errorf("the slave was asked %d times in %v, want %d; log: %s", answered, p.measure, want, st.lastWords())
	}
	c.Delivered, c.Wrong = 100*float64(delivered)/float64(answered), ledger.wrong+ledger.partial+ledger.strange
	if ledger.why != nil {
		fmt.Fprintf(os.Stderr, "bench: %s: %d payloads or replies that say nothing, the first: %v\n", l.name, ledger.strange, ledger.why)
	}
	return c, nil
}

// idleCost starts the program, lets it settle, measures it and ends it. What the slave had answered when measuring began and ended comes
// with it.
func (st *stage) idleCost(ctx context.Context, p plan) (c cost, from, to counts, err error) {
	g, err := st.start(ctx)
	if err != nil {
		return c, from, to, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%w; log: %s", err, st.lastWords()), g.end(syscall.SIGKILL, 0))
		}
	}()
	pid := g.cmd.Process.Pid
	if err := wait(ctx, p.warm); err != nil {
		return c, from, to, err
	}
	before, err := st.mark(g)
	if err != nil {
		return c, from, to, err
	}
	switchesBefore, _, err := threads(pid)
	if err != nil {
		return c, from, to, err
	}
	if err := wait(ctx, p.measure); err != nil {
		return c, from, to, err
	}
	switches, rss, err := threads(pid)
	if err != nil {
		return c, from, to, err
	}
	after, err := st.mark(g)
	if err != nil {
		return c, from, to, err
	}
	seconds := after.at.Sub(before.at).Seconds()
	if seconds > p.measure.Seconds()+10 {
		return c, from, to, fmt.Errorf("measured for %.0f s instead of %v: the machine stood still; run it again", seconds, p.measure)
	}
	c = cost{
		CPU: 100 * (after.cpu - before.cpu).Seconds() / seconds, Switches: float64(switches-switchesBefore) / seconds,
		Disk: float64(after.sectors-before.sectors) / seconds, Written: float64(after.written-before.written) / seconds, RSS: float64(rss) / 1e6,
	}
	// What was answered last is on its way.
	if err := wait(ctx, p.idleSettle()); err != nil {
		return c, from, to, err
	}
	return c, before.counts, after.counts, g.end(syscall.SIGTERM, 30*time.Second)
}

// idleSettle is longer than either side keeps readings back to send them together.
func (p plan) idleSettle() time.Duration { return 2 * settle }

// threads returns the voluntary context switches of all threads of pid so far, and its resident set in bytes.
func threads(pid int) (switches, rss int64, err error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		return 0, 0, err
	}
	for _, task := range append(tasks, fmt.Sprintf("/proc/%d/status", pid)) {
		whole := !strings.Contains(task, "/task/")
		f, err := os.Open(task)
		if errors.Is(err, os.ErrNotExist) && !whole {
			continue // this thread has ended
		}
		if err != nil {
			return 0, 0, err
		}
		for s := bufio.NewScanner(f); s.Scan(); {
			name, rest, _ := strings.Cut(s.Text(), ":")
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			switch {
			case err != nil:
			case name == "voluntary_ctxt_switches" && !whole:
				switches += n
			case name == "VmRSS" && whole:
				rss = n << 10
			}
		}
		f.Close()
	}
	return switches, rss, nil
}
