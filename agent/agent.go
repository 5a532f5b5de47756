// Package agent is the gateway: it joins drivers, rings, rules, buffer and uplinks into one chain, starts it against the flow and stops
// it along it. It knows no register, no protocol and which drivers exist only from the list it is given.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate-io/tidegate/agent/clock"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/rules"
	"github.com/tidegate-io/tidegate/sync/forward"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
)

// Parts are what a gateway is made of beside its configuration. Host is required; zero values of the rest mean what is usual.
type Parts struct {
	Host       drivers.Host
	Log        *slog.Logger
	RingDir    string             // see RingDir
	Version    string             //
	Clock      func() clock.Stamp // nil = the kernel's
	Compactors int                // of the store; 0 = 2, negative = none (fake time)
	Statfs     func(dir string) (free, total int64, err error)
	// Dial makes the uplinks' connections; nil = net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Ready is called once, when everything runs; nil = nobody waits for it.
	Ready func()
}

// An Agent runs one gateway.
type Agent struct {
	parts   Parts
	log     *slog.Logger
	board   *board
	started time.Time
	sync    atomic.Int64 // buffer.sync in force, nanoseconds
	judged  atomic.Int64 // when the judge last went round, Unix nanoseconds
	stored  atomic.Int64 // when the store did

	reload sync.Mutex // one Reload at a time

	mu      sync.Mutex // guards all below
	cfg     *config.Config
	line    *line
	devices map[string]*device // by name
	uplinks []*uplink
	rules   *rules.Set
	judge   *judge
}

// device is one running device.
type device struct {
	reader *reader
	out    *output
	cancel context.CancelFunc
	done   sync.WaitGroup
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
		parts.RingDir = RingDir(cfg.StateDir)
	}
	switch {
	case parts.Compactors == 0:
		parts.Compactors = 2
	case parts.Compactors < 0:
		parts.Compactors = 0
	}
	a := &Agent{parts: parts, log: parts.Log, cfg: cfg, devices: map[string]*device{}, started: time.Now()}
	a.board = newBoard(func() time.Time { return parts.Clock().Wall })
	a.sync.Store(int64(cfg.Buffer.Sync))
	a.judged.Store(time.Now().UnixNano())
	a.stored.Store(time.Now().UnixNano())
	return a, nil
}

// Run runs the gateway until ctx is done, and then stops along the flow: readers, judge, store, uplinks (5 s for what is in flight), queue.
// It returns nil after such a stop, and an error where starting makes no sense or going on would lose what was promised.
func (a *Agent) Run(ctx context.Context) (err error) {
	l, last, leased, err := a.openRings()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	a.mu.Lock()
	a.line = l
	a.mu.Unlock()

	// Each stage has its own end, so that they can stop one after the other.
	base := context.WithoutCancel(ctx)
	readers, stopReaders := context.WithCancel(base)
	defer stopReaders()
	a.startReaders(readers, l)
	defer a.stopReaders(stopReaders)

	if err := a.waitForStore(ctx, l); err != nil {
		if ctx.Err() != nil {
			return nil // stopped while waiting; what was read stays in ring 1
		}
		return fmt.Errorf("open buffer: %w", err)
	}
	if err := a.resume(l, last, leased); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	return a.runLine(ctx, base, l, stopReaders)
}

// close gives back what openRings and waitForStore took.
func (l *line) close() error {
	var errs []error
	if l.queue != nil {
		errs = append(errs, l.queue.Close())
	}
	return errors.Join(append(errs, l.rings.Close(), l.lease.Close(), l.claim.release())...)
}

// runLine runs judge, store and uplinks until ctx is done or one of them fails, and stops them in order.
func (a *Agent) runLine(ctx, base context.Context, l *line, stopReaders context.CancelFunc) error {
	j, s, err := a.makeLine(l)
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	stage := func(run func(context.Context) error) (stop func() error) {
		ctx, cancel := context.WithCancel(base)
		done := make(chan error, 1)
		go func() {
			err := run(ctx)
			if err != nil && ctx.Err() == nil {
				select {
				case failed <- err:
				default:
				}
			}
			done <- err
		}()
		return func() error { cancel(); return <-done }
	}
	stopJudge := stage(j.run)
	stopStore := stage(s.run)
	stopPulse := stage(func(ctx context.Context) error { a.pulse(ctx, j, s); return nil })
	stopUplinks := a.startUplinks(base, l)
	if a.parts.Ready != nil {
		a.parts.Ready()
	}

	var cause error
	select {
	case <-ctx.Done():
	case cause = <-failed:
		a.log.Error("stopping", "err", cause)
	}
	a.stopReaders(stopReaders)
	_ = stopPulse() // returns nil
	errJudge := stopJudge()
	errStore := stopStore()
	if cause == nil {
		a.drain(l)
	}
	stopUplinks()
	if cause != nil {
		return errors.Join(cause, errJudge, errStore)
	}
	if err := errors.Join(errJudge, errStore); err != nil {
		return err // without the clean mark: the rings hold the rest
	}
	if err := settle(j, s); err != nil {
		return err
	}
	return l.numbers.stop(l.queue.Coarse())
}

// makeLine makes judge and store from the plan.
func (a *Agent) makeLine(l *line) (*judge, *store, error) {
	dec1, err1 := frame.NewDecoder()
	dec2, err2 := frame.NewDecoder()
	enc, err3 := frame.NewEncoder()
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, nil, err
	}
	urgent := make(chan struct{}, 1)
	j := &judge{
		read: l.rings.Read, judged: l.rings.Judged, numbers: l.numbers, queue: l.queue, clock: a.parts.Clock, log: a.log, dec: dec1,
		act: a.act, input: l.plan.input, drops1: l.plan.drops1, drops2: l.plan.drops2, declared: l.plan.declared,
		epochs: l.queue.Epochs(), wake: make(chan struct{}, 1), beat: &a.judged,
		urgent: func() {
			select {
			case urgent <- struct{}{}:
			default:
			}
		},
	}
	if err := a.restoreRules(l, j); err != nil {
		return nil, nil, err
	}
	s := &store{
		judged: l.rings.Judged, disk: l.queue, numbers: l.numbers, declare: j.ask, room: j.signal, moved: l.queue.Moved(), urgent: urgent,
		sync: &a.sync, clock: a.parts.Clock, log: a.log, trouble: a.storeTrouble, enc: enc, dec: dec2,
		pos: l.plan.position(l.queue.Position(), l.rings, l.numbers.state), beat: &a.stored, pulse: make(chan struct{}, 1),
	}
	a.mu.Lock()
	a.judge = j
	a.mu.Unlock()
	return j, s, nil
}

// restoreRules makes the rules and puts them where the store and ring 2 say; each output is then set once to what they demand.
func (a *Agent) restoreRules(l *line, j *judge) error {
	set, err := a.cfg.RuleSet()
	if err != nil {
		return fmt.Errorf("rules: %w", err)
	}
	stored := l.queue.Rules()
	for _, x := range l.found {
		for _, s := range x.e.rules {
			if stored[s.Rule] = s.Body; s.Body == nil {
				delete(stored, s.Rule)
			}
		}
	}
	var states []rules.State
	for name, body := range stored {
		states = append(states, rules.State{Rule: name, Body: body})
	}
	p := l.queue.Position()
	out, err := set.Restore(states, l.rings.Kept || p.Boot == l.rings.Boot)
	if err != nil {
		a.log.Error("state of rules", "err", err)
	}
	j.rules = set
	j.adopt(out)
	for _, d := range set.Demands() {
		a.act(d)
	}
	a.mu.Lock()
	a.rules = set
	a.mu.Unlock()
	return nil
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
	d.out.set(x.Channel, x.Value)
}

// storeTrouble shows what became of a commit.
func (a *Agent) storeTrouble(err error) {
	full := errors.Is(err, buffer.ErrNoSpace)
	a.board.set("disk_full", "", full, fmt.Sprint(err))
	a.board.set("store_failed", "", err != nil && !full, fmt.Sprint(err))
	if err != nil {
		a.log.Error("commit", "err", err)
	}
}

// Bounds of Healthy: the judge waits for nothing; a worn card may hold up the store for a while, and a restart would not mend it.
const (
	pulseEvery  = 5 * time.Second
	judgeSilent = 30 * time.Second
	storeSilent = 3 * time.Minute
)

// pulse makes judge and store go round now and then, so that Healthy can tell an idle gateway from one that hangs.
func (a *Agent) pulse(ctx context.Context, j *judge, s *store) {
	t := time.NewTicker(pulseEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		j.signal()
		select {
		case s.pulse <- struct{}{}:
		default:
		}
	}
}

// Healthy returns nil while judge and store go round; it feeds systemd's watchdog and /healthz. A gateway that waits for room on its
// disk, or whose devices or link are down, is healthy: a restart would mend nothing.
func (a *Agent) Healthy() error {
	a.mu.Lock()
	running := a.judge != nil
	a.mu.Unlock()
	if !running {
		return nil
	}
	now := time.Now()
	if d := now.Sub(time.Unix(0, a.judged.Load())); d > judgeSilent {
		return fmt.Errorf("the judge has not gone round for %v, at most %v", d.Round(time.Second), judgeSilent)
	}
	if d := now.Sub(time.Unix(0, a.stored.Load())); d > storeSilent {
		return fmt.Errorf("the store has not gone round for %v, at most %v", d.Round(time.Second), storeSilent)
	}
	return nil
}

// drain waits up to 5 s for the uplinks that are up to deliver what is buffered.
func (a *Agent) drain(l *line) {
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

// newEpoch begins a new epoch between two records, because the far side knows numbers that this state never gave.
func (a *Agent) newEpoch(ctx context.Context) error {
	a.mu.Lock()
	j, l := a.judge, a.line
	a.mu.Unlock()
	done := make(chan error, 1)
	j.between(func() error {
		done <- j.renumber(l.queue, newID())
		return nil
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errBeyond reports whether err asks for a new epoch.
func errBeyond(err error) bool { return errors.Is(err, forward.ErrBeyond) }
