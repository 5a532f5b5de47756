// Package agent is the gateway: it joins drivers, rings, rules, buffer and uplinks into one chain, starts it against the flow and stops
// it along it. It knows no register, no protocol and which drivers exist only from the list it is given.
package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate-io/tidegate/agent/clock"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/line"
	"github.com/tidegate-io/tidegate/agent/memory"
	"github.com/tidegate-io/tidegate/agent/output"
	"github.com/tidegate-io/tidegate/agent/place"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/buffer/lease"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/rules"
)

// Parts are what a gateway is made of beside its configuration. Host is required; zero values of the rest mean what is usual.
type Parts struct {
	Host    drivers.Host
	Log     *slog.Logger
	RingDir string             // see place.RingDir
	Version string             //
	Clock   func() clock.Stamp // nil = the kernel's
	Statfs  func(dir string) (free, total int64, err error)
	Written func() uint64 // see buffer.Options
	// Salvage returns what can be read of the damaged store in dir, see buffer/salvage; nil = nothing is brought over from it.
	Salvage func(dir string) (io.ReadCloser, error)
	// Verify reads all of the store of a state directory, see buffer/salvage; nil = no store is verified before it is opened.
	Verify func(stateDir string, within time.Duration) error
	// Dial makes the uplinks' connections; nil = net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Ready is called once, when everything runs; nil = nobody waits for it.
	Ready func()
	// Update says how releases stand; nil = there is only the one that runs.
	Update func() status.Update
	// Safe has it read and buffer, and nothing else: no rules but those that say what may be stored, no uplinks, which keep their place.
	Safe bool
}

// An Agent runs one gateway.
type Agent struct {
	parts   Parts
	log     *slog.Logger
	board   *board
	lock    *output.Interlock // of all outputs
	trouble trouble           // of commits
	ready   sync.Once         // tells Parts.Ready
	started time.Time
	sync    atomic.Int64 // buffer.sync in force, nanoseconds
	window  atomic.Int64 // of summaries, nanoseconds
	nominal atomic.Int64 // readings per second that the configuration in force asks for

	reload sync.Mutex // one Reload at a time, and none while starting or stopping; guards steady
	steady bool       // everything runs, and is not told to stop

	open     context.Context    // done when the store is to be closed: ends what reads it beside the line
	shut     context.CancelFunc // ends open
	closing  sync.RWMutex       // held for reading while the store is read beside the line; guards isClosed
	isClosed bool               // the store is closed

	mu       sync.Mutex // guards all below
	cfg      *config.Config
	sits     sitting // Run alone writes it
	opened   *opened
	scrubbed status.Scrub
	devices  map[string]*device        // by name
	paces    map[string]rules.Interval // what rules ask for, by device
	uplinks  []*uplink
	drops    drops
	memory   *memory.Keeper
	reading  context.Context // of all devices, those of a Reload too; Run ends it when it stops or fails
}

// New returns a gateway that does not run yet. cfg is valid: config.Load found no faults.
func New(cfg *config.Config, parts Parts) (*Agent, error) {
	if parts.Host == nil {
		return nil, errors.New("agent: no Host")
	}
	if parts.Log == nil {
		parts.Log = slog.New(slog.DiscardHandler)
	}
	if parts.Clock == nil {
		parts.Clock = new(clock.Clock).Now
	}
	if parts.RingDir == "" {
		parts.RingDir = place.RingDir(cfg.StateDir)
	}
	a := &Agent{parts: parts, log: parts.Log, cfg: cfg, devices: map[string]*device{}, paces: map[string]rules.Interval{}, started: time.Now()}
	a.open, a.shut = context.WithCancel(context.Background())
	a.lock = output.NewInterlock()
	a.lock.Replace(locksOf(cfg))
	a.board = newBoard(func() time.Time { return parts.Clock().Wall })
	a.sync.Store(int64(cfg.Buffer.Sync))
	a.window.Store(int64(cfg.Buffer.Classes.Reading.Window))
	a.nominal.Store(nominalRate(cfg))
	a.board.set("safe_mode", "", parts.Safe, "")
	return a, nil
}

// Run runs the gateway until ctx is done, and then stops along the flow: readers, judge, store, uplinks (5 s for what is in flight), queue.
// It returns nil after such a stop, and an error where starting makes no sense or going on would lose what was promised. Where no disk can be written,
// or the state directory is deleted, it goes on elsewhere or anew, see refuge.go.
func (a *Agent) Run(ctx context.Context) error {
	s := a.firstSitting()
	for {
		a.closing.Lock()
		a.open, a.shut = context.WithCancel(context.Background())
		a.isClosed = false
		a.mu.Lock()
		a.sits, a.opened, a.uplinks = s, nil, nil
		a.mu.Unlock()
		a.closing.Unlock()
		a.trouble.note(nil)
		a.board.set("no_disk", "", s.memory, fmt.Sprint(s.why))
		err := a.sit(ctx)
		var m *moved
		if !errors.As(err, &m) {
			return err
		}
		if ctx.Err() != nil {
			return nil // what is not on disk is in the rings
		}
		a.log.Error("moving", "to", m.to.dir, "why", m.why)
		a.arrive(s, m.to)
		s = m.to
	}
}

// sit runs the gateway in one place.
func (a *Agent) sit(ctx context.Context) (err error) {
	l, last, leased, err := a.openRings(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil // stopped while waiting for room on the disk
		}
		return a.orRefuge(err, l)
	}
	defer func() { err = errors.Join(err, a.close(l)) }()
	keeper := a.openMemory(l)
	defer func() { err = errors.Join(err, keeper.Close()) }()
	a.mu.Lock()
	a.opened, a.memory = l, keeper
	a.mu.Unlock()

	// Each stage has its own end, so that they can stop one after the other.
	base := context.WithoutCancel(ctx)
	readers, stopReaders := context.WithCancel(base)
	defer stopReaders()
	a.mu.Lock()
	a.reading = readers
	a.mu.Unlock()
	began := a.parts.Clock().Boot // rules count silence from here on: devices are listened to, however long the store takes to open
	a.startReaders(readers, l)
	defer a.stopReaders(stopReaders)

	if err := a.waitForStore(ctx, l); err != nil {
		if ctx.Err() != nil {
			return nil // stopped while waiting; what was read stays in ring 1
		}
		return a.orRefuge(fmt.Errorf("open buffer: %w", err), l)
	}
	if err := a.makeLine(l, last, leased, began); err != nil {
		return a.orRefuge(fmt.Errorf("resume: %w", err), l)
	}
	return a.runLine(ctx, base, l, stopReaders)
}

// close ends what reads the store beside the line, and closes l; nil = nothing is open.
func (a *Agent) close(l *opened) error {
	a.shut()
	a.closing.Lock()
	defer a.closing.Unlock()
	a.isClosed = true
	if l == nil {
		return nil
	}
	return l.close()
}

// close gives back what openRings and waitForStore took.
func (l *opened) close() error {
	var errs []error
	if l.queue != nil {
		errs = append(errs, l.closeQueue())
	}
	if l.rings != nil {
		errs = append(errs, l.rings.Close())
	}
	if l.lease != nil {
		errs = append(errs, l.lease.Close())
	}
	return errors.Join(append(errs, l.claim.Release())...)
}

// setSteady says whether Reload may change what runs; it waits for one under way.
func (a *Agent) setSteady(to bool) {
	a.reload.Lock()
	defer a.reload.Unlock()
	a.steady = to
}

// runLine runs judge, store and uplinks until ctx is done or one of them fails, and stops them in order.
func (a *Agent) runLine(ctx, base context.Context, l *opened, stopReaders context.CancelFunc) error {
	failed := make(chan error, 3)
	stage := func(run func(context.Context) error) (stop func() error) {
		ctx, cancel := context.WithCancel(base)
		done := make(chan error, 1)
		go func() {
			err := run(ctx)
			if err != nil && ctx.Err() == nil {
				failed <- err
			}
			done <- err
		}()
		return func() error { cancel(); return <-done }
	}
	stopJudge := stage(l.line.RunJudge)
	stopStore := stage(l.line.RunStore)
	stopPulse := stage(func(ctx context.Context) error { return a.pulse(ctx, l) })
	stopMemory := stage(a.memory.Run)
	stopCompact := stage(l.queue.Compact)
	stopScrub := stage(func(ctx context.Context) error { a.scrub(ctx, l); return nil })
	stopUplinks := a.startUplinks(base, l)
	a.setSteady(true)
	if a.parts.Ready != nil {
		a.ready.Do(a.parts.Ready)
	}

	var cause error
	select {
	case <-ctx.Done():
	case cause = <-failed:
		a.log.Error("stopping", "err", cause)
	}
	a.setSteady(false)
	m := a.leaving(cause)
	a.stopReaders(stopReaders)
	_, _ = stopPulse(), stopScrub() // the cause is the error of the one, the other has none
	err := errors.Join(stopMemory(), stopJudge(), stopStore(), stopCompact())
	if m != nil {
		m.to.rules = l.line.States()
	}
	if m == nil || !a.sits.memory {
		err = errors.Join(cause, err)
	}
	if err == nil {
		a.drain(l)
	}
	stopUplinks()
	a.leaveDisk(l, m)
	if err != nil {
		return err // without the clean mark: the rings hold the rest
	}
	err = l.line.Stop()
	if m == nil {
		return err
	}
	if left(l) > 0 {
		m.stay(a.sits)
	}
	return errors.Join(err, m)
}

// leaving returns where the gateway is about to move, nil where it ends. Outputs stay as they are over a move.
func (a *Agent) leaving(cause error) (m *moved) {
	if !errors.As(cause, &m) {
		return nil
	}
	for _, d := range a.readers() {
		d.out.Keep()
	}
	return m
}

// makeLine makes judge and store, and decides how numbers and rings go on. Devices are read since began.
func (a *Agent) makeLine(l *opened, last lease.Lease, leased bool, began time.Duration) error {
	set, err := a.ruleSet(a.cfg, began)
	if err != nil {
		return fmt.Errorf("rules: %w", err)
	}
	names := make([]string, 0, len(a.cfg.Uplinks))
	for i := range a.cfg.Uplinks {
		names = append(names, a.cfg.Uplinks[i].Name)
	}
	n, err := line.New(line.Options{
		Rings: l.rings, Queue: l.queue, Lease: l.lease, Last: last, Leased: leased, State: l.state, Rules: set, Act: a.act, Pace: a.pace,
		Clock: a.parts.Clock, Log: a.log, Sync: &a.sync, Window: &a.window, Nominal: &a.nominal, Trouble: a.storeTrouble, AtMost: a.atMost, Waits: a.waits, PerRecord: a.perRecord(),
		Uplinks: names, Anew: a.sits.anew, Carried: a.sits.rules,
	})
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	l.line = n
	return nil
}

// ruleSet returns the rules of cfg, as far as they run.
func (a *Agent) ruleSet(cfg *config.Config, began time.Duration) (*rules.Set, error) {
	if a.parts.Safe {
		return rules.New(nil, began)
	}
	return cfg.RuleSet(began)
}

// act leaves what a rule demands with the device's output.
func (a *Agent) act(x rules.Action) {
	a.mu.Lock()
	d := a.devices[x.Device]
	a.mu.Unlock()
	if d == nil {
		a.log.Error("rule sets an output of a device that is not there", "rule", x.Rule, "device", x.Device)
		return
	}
	d.out.Set(x.Channel, x.Value)
}

// storeTrouble shows what became of a commit.
func (a *Agent) storeTrouble(err error) {
	full := errors.Is(err, buffer.ErrNoSpace)
	if full {
		a.trouble.note(nil)
	} else {
		a.trouble.note(err)
	}
	a.board.set("disk_full", "", full, fmt.Sprint(err))
	a.board.set("store_failed", "", err != nil && !full, fmt.Sprint(err))
	if err != nil {
		a.log.Error("commit", "err", err)
	}
}

// running returns what is open once the line runs, nil before.
func (a *Agent) running() *opened {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.opened == nil || a.opened.line == nil {
		return nil
	}
	return a.opened
}

// drain waits up to 5 s for the uplinks that are up to deliver what is buffered.
func (a *Agent) drain(l *opened) {
	deadline := time.NewTimer(5 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		waits := false
		for _, c := range l.queue.Stats().Cursors {
			left := uint64(0)
			for _, t := range c.Buffered {
				left += t.Records
			}
			u := a.uplink(c.Uplink)
			waits = waits || left > 0 && u != nil && u.up()
		}
		if !waits {
			return
		}
		select {
		case <-deadline.C:
			return
		case <-tick.C:
		}
	}
}
