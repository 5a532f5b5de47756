package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A result is what one run of one side came to.
type result struct {
	Answered   int     // readings that the slave answered in the measured phase
	Delivered  float64 // share of them that arrived at all
	PerSecond  float64 // readings that arrived a second in the measured phase
	CPU        float64 // seconds per million readings
	Memory     float64 // most of RssAnon + RssShmem, steady and outage, MB
	Steady     float64 // of it before the outage, MB
	HWM        float64 // VmHWM, MB
	Disk       float64 // bytes written to the device per reading
	Written    float64 // /proc/PID/io write_bytes per reading
	Flushes    float64 // flushes of the device a second
	Syncs      float64 // sync system calls a second
	Up, Down   float64 // TCP payload bytes per reading towards the broker and back
	P50, P99   float64 // seconds from the slave's answer to the subscriber
	Catch      float64 // readings a second from the first arrival after the outage until the backlog is delivered
	Wait       float64 // seconds from the broker's return to that first arrival
	Caught     float64 // seconds from the broker's return until the backlog is delivered; 0 = it was not, before the next outage
	Behind     int     // readings answered before the broker's return that had not arrived before the next outage
	LostKill   int     // readings answered before kill -9 that never arrived, without those in flight
	LostElse   int     // readings lost otherwise: before the second outage, or after the kill
	Duplicates int     // readings that arrived again
	Wrong      int     // values other than the slave's, replies with values missing, payloads that say nothing
}

// A stage is what a run needs around the program under test.
type stage struct {
	bus    string // address of the slave
	port   string // its serial line
	ask    string // where it tells its counts
	broker string
	wire   *wire
	disk   *disk
	argv   []string
	dir    string
	shm    string // run-time folder on tmpfs
	ends   []func() error
}

// setUp starts slave and broker, mounts the disk and writes the side's configuration, all in the new folder dir.
func setUp(ctx context.Context, s side, p plan, dir string) (st *stage, err error) {
	st = &stage{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, st.close())
		}
	}()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := st.startSlave(ctx, p.seed); err != nil {
		return st, err
	}
	address, stop, err := startBroker(ctx, dir)
	if err != nil {
		return st, err
	}
	st.broker = address
	st.ends = append(st.ends, func() error { stop(); return nil })
	if st.wire, err = newWire(address); err != nil {
		return st, err
	}
	st.ends = append(st.ends, func() error { st.wire.cut(); return nil })
	if st.disk, err = newDisk(dir); err != nil {
		return st, err
	}
	st.ends = append(st.ends, st.disk.close)
	if st.shm, err = os.MkdirTemp("/dev/shm", "tidegate-bench-"); err != nil {
		return st, err
	}
	st.ends = append(st.ends, func() error { return os.RemoveAll(st.shm) })
	conf := filepath.Join(dir, s.file)
	if err := os.WriteFile(conf, []byte(s.config(places{bus: st.bus, port: st.port, broker: st.wire.address, state: st.disk.dir})), 0o644); err != nil {
		return st, err
	}
	st.argv = slices.Concat([]string{s.program}, s.args, []string{conf})
	return st, nil
}

func (st *stage) startSlave(ctx context.Context, seed uint64) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, "slave", strconv.FormatUint(seed, 10))
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	st.ends = append(st.ends, func() error {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed, as it says
		return nil
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return fmt.Errorf("read the slave's addresses: %w", err)
	}
	f := strings.Fields(line)
	if len(f) != 3 {
		return fmt.Errorf("slave says %q, want two addresses and a port", line)
	}
	st.bus, st.ask, st.port = f[0], f[1], f[2]
	return nil
}

func (st *stage) close() error {
	var errs []error
	for _, e := range slices.Backward(st.ends) {
		errs = append(errs, e())
	}
	return errors.Join(errs...)
}

func (st *stage) start(ctx context.Context) (*program, error) {
	return start(ctx, st.argv, st.dir, st.shm, filepath.Join(st.dir, "log"))
}

// counts asks the slave.
func (st *stage) counts() (c counts, err error) {
	r, err := http.Get("http://" + st.ask)
	if err != nil {
		return c, err
	}
	defer r.Body.Close()
	err = json.NewDecoder(r.Body).Decode(&c)
	return c, err
}

// A mark is the state of all counters at one time.
type mark struct {
	at       time.Time
	counts   counts
	cpu      time.Duration
	written  int64
	sectors  int64
	flushes  int64
	up, down int64
}

func (st *stage) mark(p *program) (m mark, err error) {
	if err := p.alive(); err != nil {
		return m, err
	}
	m.at, m.up, m.down = time.Now(), st.wire.up.Load(), st.wire.down.Load()
	if m.cpu, m.written, err = usage(p.cmd.Process.Pid); err != nil {
		return m, err
	}
	if m.sectors, m.flushes, err = st.disk.written(); err != nil {
		return m, err
	}
	m.counts, err = st.counts()
	return m, err
}

// lastWords returns what the program's log has to say of its end: the report of a crash from its beginning, else the last lines.
func (st *stage) lastWords() string {
	b, err := os.ReadFile(filepath.Join(st.dir, "log"))
	if err != nil {
		return err.Error()
	}
	const enough = 4000
	for _, sign := range []string{"\npanic: ", "\nfatal error: ", "\nSIGABRT", "\nSIGQUIT", "\nSIGBUS", "\nSIGSEGV"} {
		if i := bytes.Index(b, []byte(sign)); i >= 0 {
			return string(b[max(0, i-enough):min(len(b), i+enough)])
		}
	}
	return string(b[max(0, len(b)-enough):])
}

// wait waits for d, or until ctx is done.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// A course is what happened when in one run.
type course struct {
	from, to     mark // the measured phase
	out, back    mark // broker gone, broker back
	caught       mark // backlog probably delivered
	killed       counts
	settled      counts // what is answered up to here must have arrived at the end
	steady, most int64
	hwm          int64
}

// runSide lets one side work through the whole plan once, in the new folder dir.
func runSide(ctx context.Context, s side, p plan, dir string) (r result, err error) {
	st, err := setUp(ctx, s, p, dir)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	sub, err := subscribe(st.broker, s.topics)
	if err != nil {
		return r, err
	}
	c, err := st.goThrough(ctx, p, sub)
	arrivals, err2 := sub.close()
	if err := errors.Join(err, err2); err != nil {
		return r, err
	}
	end, err := st.counts()
	if err != nil {
		return r, err
	}
	l := newLedger(p.seed, end)
	for _, a := range arrivals {
		l.add(a, s.decode)
	}
	if l.why != nil {
		fmt.Fprintf(os.Stderr, "bench: %s: %d payloads or replies that say nothing, the first: %v\n", s.name, l.strange, l.why)
	}
	r = judge(l, c)
	if r.LostKill+r.LostElse+r.Behind > 0 {
		fmt.Fprintf(os.Stderr, "bench: %s: the end of its log:\n%s\n", s.name, st.lastWords())
	}
	if end.Refused > 0 {
		fmt.Fprintf(os.Stderr, "bench: %s: the slave refused %d requests\n", s.name, end.Refused)
	}
	return r, nil
}

// settle is how long a side has to deliver what it has read before something is done that stops it.
const settle = 5 * time.Second

// goThrough runs the phases of the plan.
func (st *stage) goThrough(ctx context.Context, p plan, sub *subscriber) (c course, err error) {
	g, err := st.start(ctx)
	if err != nil {
		return c, err
	}
	steps := []struct {
		wait time.Duration
		do   func() error
	}{
		{p.warm, func() error { g.memoryPeak(); c.from, err = st.mark(g); return err }},
		{p.measure, func() error { c.to, err = st.mark(g); c.steady, _ = g.memoryPeak(); return err }},
		// What was answered last is on its way: the outage must not count as latency.
		{settle, func() error { st.wire.cut(); c.out, err = st.mark(g); return err }},
		{p.outage, func() error {
			c.most, c.hwm = g.memoryPeak()
			if c.back, err = st.mark(g); err != nil {
				return err
			}
			return st.wire.join()
		}},
		{0, func() error { return st.catchUp(ctx, p, sub, c.to.at.Sub(c.from.at)) }},
		{0, func() error { c.caught, err = st.mark(g); st.wire.cut(); return err }},
		{p.kill, func() error {
			if err := g.alive(); err != nil {
				return err
			}
			return g.end(syscall.SIGKILL, 0)
		}},
		{0, func() error { c.killed, err = st.counts(); return err }},
		{0, func() error {
			if err := st.wire.join(); err != nil {
				return err
			}
			g, err = st.start(ctx)
			return err
		}},
		{p.after - settle, func() error { c.settled, err = st.counts(); return err }},
		{settle, func() error { return g.end(syscall.SIGTERM, 30*time.Second) }},
		{time.Second, func() error { return nil }},
	}
	const catchUpStep = 4 // the only one without a fixed length
	for i, s := range steps {
		begin := time.Now()
		err := wait(ctx, s.wait)
		if err == nil {
			err = s.do()
		}
		// A machine that stands still, as a virtual one does while it is moved, makes every figure of the run void.
		if now := time.Now(); err == nil && i != catchUpStep && now.Sub(begin) > s.wait+10*time.Second {
			err = fmt.Errorf("took %v instead of %v: the machine stood still or has no time to spare; run it again", now.Sub(begin), s.wait)
		}
		if err != nil {
			return c, errors.Join(fmt.Errorf("step %d: %w; log: %s", i+1, err, st.lastWords()), g.end(syscall.SIGKILL, 0))
		}
	}
	return c, nil
}

// catchUp waits until what arrives has risen above the steady rate and fallen back to it for 5 s, at most for p.catchUp.
func (st *stage) catchUp(ctx context.Context, p plan, sub *subscriber, measured time.Duration) error {
	const look = 5 * time.Second
	var before []int64
	last := sub.bytes.Load()
	steady := float64(last) / (p.warm + measured).Seconds() * look.Seconds() // bytes in one look, about
	for begin, rose := time.Now(), false; time.Since(begin) < p.catchUp; {
		if err := wait(ctx, look); err != nil {
			return err
		}
		now := sub.bytes.Load()
		before = append(before, now-last)
		got := float64(now - last)
		last = now
		if got > 1.5*steady {
			rose = true
		} else if rose && got > 0 {
			return nil
		}
	}
	fmt.Fprintf(os.Stderr, "bench: not caught up %v after the broker came back; bytes in every %v: %v\n", p.catchUp, look, before)
	return nil
}

// judge works the figures out.
func judge(l *ledger, c course) result {
	answered, delivered := l.between(c.from.counts, c.to.counts)
	readings := float64(delivered * registers)
	seconds := c.to.at.Sub(c.from.at).Seconds()
	const mb = 1e6
	r := result{
		Answered: answered * registers, Delivered: float64(delivered) / float64(max(answered, 1)), PerSecond: readings / seconds,
		CPU:    (c.to.cpu - c.from.cpu).Seconds() / readings * 1e6,
		Memory: float64(max(c.steady, c.most)) / mb, Steady: float64(c.steady) / mb, HWM: float64(c.hwm) / mb,
		Disk: float64(c.to.sectors-c.from.sectors) / readings, Written: float64(c.to.written-c.from.written) / readings,
		Flushes: float64(c.to.flushes-c.from.flushes) / seconds,
		Up:      float64(c.to.up-c.from.up) / readings, Down: float64(c.to.down-c.from.down) / readings,
		LostKill: l.missing(c.killed) * registers, Duplicates: l.duplicates * registers, Wrong: l.wrong + l.partial + l.strange,
	}
	r.LostElse = l.missing(c.out.counts) * registers
	r.LostKill -= r.LostElse
	after, arrived := l.between(c.killed, c.settled)
	r.LostElse += (after - arrived) * registers
	var late []time.Duration
	for u := 1; u <= units; u++ {
		for n := c.from.counts.Units[u] + 1; n <= c.to.counts.Units[u]; n++ {
			if !l.first[u][n].IsZero() {
				late = append(late, l.late[u][n])
			}
		}
	}
	slices.Sort(late)
	if len(late) > 0 {
		r.P50, r.P99 = late[len(late)/2].Seconds(), late[len(late)*99/100].Seconds()
	}
	r.Catch, r.Wait, r.Caught, r.Behind = catchRate(l, c)
	return r
}

// catchRate returns the readings a second, live ones included, from the first arrival after the broker's return until all that
// was answered before it had arrived; how long after that return the first and the last of these arrivals came; and how many
// readings of the backlog did not come. If there are any, there is no rate.
func catchRate(l *ledger, c course) (rate, waited, caught float64, behind int) {
	var first, last time.Time
	for u := 1; u <= units; u++ {
		for n := 1; n < len(l.first[u]); n++ {
			at, backlog := l.first[u][n], uint32(n) <= c.back.counts.Units[u]
			if at.Before(c.back.at) && !at.IsZero() {
				continue
			}
			if at.IsZero() || at.After(c.caught.at) {
				if backlog {
					behind += registers
				}
				continue
			}
			if first.IsZero() || at.Before(first) {
				first = at
			}
			if backlog && at.After(last) {
				last = at
			}
		}
	}
	if first.IsZero() {
		return 0, 0, 0, behind
	}
	waited = first.Sub(c.back.at).Seconds()
	if behind > 0 {
		return 0, waited, 0, behind
	}
	var got int
	for u := 1; u <= units; u++ {
		for _, at := range l.first[u] {
			if !at.Before(c.back.at) && !at.After(last) {
				got++
			}
		}
	}
	// One payload alone has no rate: what lies between broker and subscriber is at least a millisecond.
	return float64(got*registers) / max(last.Sub(first).Seconds(), 0.001), waited, last.Sub(c.back.at).Seconds(), 0
}

// countSyncs runs the side under strace and returns its sync calls a second in the measured phase. It is a run of its own, so
// that tracing disturbs no other figure.
func countSyncs(ctx context.Context, s side, p plan, dir string) (perSecond float64, err error) {
	st, err := setUp(ctx, s, p, dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	trace := filepath.Join(dir, "trace")
	st.argv = slices.Concat([]string{"strace", "-f", "--seccomp-bpf", "-qq", "-ttt", "-o", trace, "-e", "trace=fsync,fdatasync,msync,sync_file_range,syncfs,sync"}, st.argv)
	g, err := st.start(ctx)
	if err != nil {
		return 0, err
	}
	if err := wait(ctx, p.warm); err != nil {
		return 0, err
	}
	from := time.Now()
	if err := wait(ctx, p.measure); err != nil {
		return 0, err
	}
	to := time.Now()
	if err := g.alive(); err != nil {
		return 0, fmt.Errorf("%w; log: %s", err, st.lastWords())
	}
	if err := g.end(syscall.SIGKILL, 0); err != nil {
		return 0, err
	}
	n, err := syncsBetween(trace, from, to)
	return float64(n) / to.Sub(from).Seconds(), err
}

// syncsBetween counts the calls in a trace as of strace -f -ttt.
func syncsBetween(file string, from, to time.Time) (int, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var n int
	s := bufio.NewScanner(f)
	for s.Scan() {
		w := strings.Fields(s.Text())
		if len(w) < 3 || !strings.Contains(w[2], "sync") {
			continue // ends of calls that began on another line, signals, exits
		}
		at, err := strconv.ParseFloat(w[1], 64)
		if err != nil {
			return 0, fmt.Errorf("trace: %w", err)
		}
		if at >= float64(from.UnixMicro())/1e6 && at < float64(to.UnixMicro())/1e6 {
			n++
		}
	}
	return n, s.Err()
}
