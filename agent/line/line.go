// Package line is the way of a reading from ring 1 to the store: the judge, who numbers, and the store, which commits; and the decision
// at a start how numbers and rings go on. buffer/README.md says what each failure leaves; model_test.go explores it.
package line

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/box"
	"github.com/tidegate-io/tidegate/agent/clock"
	"github.com/tidegate-io/tidegate/agent/past"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/buffer/lease"
	"github.com/tidegate-io/tidegate/rules"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
)

// Options are what a Line is made of. All are required.
type Options struct {
	Rings     *box.Pair
	Queue     *buffer.Queue
	Lease     *lease.File
	Last      lease.Lease // what the lease held at the start
	Leased    bool        // it held something
	State     [16]byte    // id of the state directory
	Rules     *rules.Set  // in their initial state
	Act       func(rules.Action)
	Pace      func(rules.Interval) // told how often a device is to be read, of those for which rules have an interval
	Clock     func() clock.Stamp
	Log       *slog.Logger
	Sync      *atomic.Int64                             // buffer.sync, nanoseconds; may change
	Window    *atomic.Int64                             // of summaries, nanoseconds; may change
	Nominal   *atomic.Int64                             // readings per second that the configuration asks for; may change
	Trouble   func(error)                               // told of every commit: nil = it went well
	AtMost    func(last *buffer.Position) uint64        // readings that a power cut can have cost
	Waits     func(last *buffer.Position) time.Duration // how long what was read waits until it is durable, at most
	PerRecord uint64                                    // readings in one record, at most
	Uplinks   []string                                  // their names
	Carried   []rules.State                             // how the rules stand, of a line that ran before in this process; nil = as stored
	Anew      bool                                      // begin a new epoch: the state directory was deleted while the gateway ran
}

// A Line runs the judge and the store of one gateway.
type Line struct {
	o       Options
	numbers *numbers
	judge   *judge
	store   *store
	judged  atomic.Int64 // when the judge last went round, Unix nanoseconds
	stored  atomic.Int64 // when the store did
}

// New decides how to go on, puts the numbers of the next stretch on disk, and shows the uplinks what ring 2 still holds. Rules are put
// where they stood, and each output is set once to what they demand.
func New(o Options) (*Line, error) {
	l := &Line{o: o, numbers: &numbers{file: o.Lease, state: o.State}}
	f, err := l.facts()
	if err != nil {
		return nil, err
	}
	p := resume(f)
	if err := l.begin(&p, f); err != nil {
		return nil, err
	}
	_, name, next := l.numbers.peek()
	o.Log.Info("start", "why", p.why, "epoch", name.ID, "next", next)
	return l, l.join(&p, f)
}

// facts gathers what lease, store and rings say.
func (l *Line) facts() (*facts, error) {
	ring2, pos := l.o.Rings.Judged, l.o.Queue.Position()
	f := &facts{
		lease: l.o.Last, leased: l.o.Leased, pos: pos, epochs: l.o.Queue.Epochs(), kept: l.o.Rings.Kept, pair: ring2.Pair(),
		tail: ring2.Tail(), head: ring2.Head(), input: l.o.Rings.Read.Tail(), lost: ring2.Dropped().Input,
		atMost: l.o.AtMost(&pos), perRecord: l.o.PerRecord, bad: len(l.o.Queue.BadStores()) > 0,
		held: map[uint32]tidegate.Ranges{}, anew: l.o.Anew, tailLost: l.o.Queue.TailLost(l.o.Waits(&pos)),
	}
	for class := range tidegate.Class(len(buffer.Tallies{})) {
		for e, rs := range l.o.Queue.Held(class) {
			held := f.held[e]
			held.AddAll(rs)
			f.held[e] = held
		}
	}
	f.mark.epoch, f.mark.number = ring2.Marked()
	for at := f.tail; ; {
		payload, next, ok, err := ring2.Next(at)
		if err != nil {
			return nil, err
		}
		if !ok {
			return f, nil
		}
		e, err := decodeEntry(append([]byte(nil), payload...))
		if err != nil {
			return nil, fmt.Errorf("entry at %d: %w", at, err)
		}
		f.entries = append(f.entries, found{at, next, e})
		at = next
	}
}

// begin puts the plan's numbers on disk before any of them is given, and shows what ring 2 still holds to the uplinks.
func (l *Line) begin(p *plan, f *facts) error {
	n, q := l.numbers, l.o.Queue
	p.name(q)
	coarse := q.Coarse()
	if f.gone() { // until a commit holds the gap, another start must find what this one did
		coarse = nil
		for _, c := range f.lease.Cursors {
			coarse = append(coarse, buffer.CoarseCursor(c))
		}
	}
	n.keep(p.toKeep())
	if p.begin {
		name := buffer.Epoch{ID: p.epochID, Start: p.next}
		if name.ID == "" {
			name.ID = newID()
		}
		if err := n.begin(p.epoch, name, coarse); err != nil {
			return err
		}
	} else {
		n.set(p.epoch, p.epochs[p.epoch], p.next)
		if err := n.renew(coarse); err != nil {
			return err
		}
	}
	epoch, name, next := n.peek()
	q.AddEpoch(epoch, name)
	if p.begin {
		l.o.Rings.Judged.Begin(epoch, l.o.Uplinks)
	}
	l.o.Rings.Judged.Mark(epoch, next-1) // from now on the rings count
	l.o.Rings.Judged.Release(p.at)
	l.o.Rings.Read.Release(p.input)
	for _, x := range f.entries {
		if x.at < p.at {
			continue
		}
		for i := range x.e.runs {
			if r := &x.e.runs[i]; isLive(r.class) {
				q.Put(r.frame(x.e.epoch))
			}
		}
	}
	return nil
}

// join makes judge and store as the plan says.
func (l *Line) join(p *plan, f *facts) error {
	dec1, err1 := frame.NewDecoder()
	dec2, err2 := frame.NewDecoder()
	enc, err3 := frame.NewEncoder()
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	urgent := make(chan struct{}, 1)
	l.judge = &judge{
		read: l.o.Rings.Read, judged: l.o.Rings.Judged, numbers: l.numbers, rules: l.o.Rules, queue: l.o.Queue, clock: l.o.Clock,
		log: l.o.Log, dec: dec1, act: l.o.Act, pace: l.o.Pace, input: p.input, drops1: p.drops1, drops2: p.drops2, declared: p.declared,
		epochs: l.o.Queue.Epochs(), wake: make(chan struct{}, 1), beat: &l.judged, urgent: func() { signal(urgent) },
		sparing: sparing{pace: l.o.Queue.Pace},
	}
	l.store = &store{
		judged: l.o.Rings.Judged, disk: l.o.Queue, numbers: l.numbers, declare: l.judge.ask, room: l.judge.signal, moved: l.o.Queue.Moved(),
		urgent: urgent, sync: l.o.Sync, pace: l.o.Queue.Pace, clock: l.o.Clock, log: l.o.Log, trouble: l.o.Trouble, enc: enc, dec: dec2,
		pos: p.position(f.pos, l.o.Rings, l.o.State), beat: &l.stored, pulse: make(chan struct{}, 1), wants: make(chan func(error)),
		window: l.o.Window, nominal: l.o.Nominal, pieces: l.judge.replace, waiting: l.judge.thinning,
		age: agesFrom(&f.pos, l.o.Rings.Boot, l.o.Clock().Boot),
	}
	now := time.Now().UnixNano()
	l.judged.Store(now)
	l.stored.Store(now)
	l.restoreRules(f)
	return nil
}

// restoreRules puts the rules where the store and ring 2 say.
func (l *Line) restoreRules(f *facts) {
	stored := l.o.Queue.Rules()
	for _, x := range f.entries {
		for _, s := range x.e.rules {
			if stored[s.Key] = s.Body; s.Body == nil {
				delete(stored, s.Key)
			}
		}
	}
	if list := past.Starts(stored); len(list) > 0 {
		l.judge.starts = list[len(list)-1].Count + 1
	}
	var err error
	if l.judge.ledger, err = newLedger(stored[ledgerKey], l.o.Uplinks); err != nil {
		l.o.Log.Error("state of rules", "err", err)
	}
	l.judge.counts = l.judge.ledger.now
	if len(stored[ledgerKey]) > 0 {
		l.judge.noteStates(l.judge.ledger.state()) // uplinks may be others now
	}
	if l.judge.refused, err = decodeRefusals(stored[refusedKey]); err != nil {
		l.o.Log.Error("what was not taken", "err", err)
	}
	l.judge.refusedAt = l.o.Clock().Boot
	delete(stored, ledgerKey)
	delete(stored, refusedKey)
	var states []rules.State
	for name, body := range stored {
		states = append(states, rules.State{Key: name, Body: body})
	}
	sameBoot := l.o.Rings.Kept || f.pos.Boot == l.o.Rings.Boot
	if l.o.Carried != nil {
		states, sameBoot = l.o.Carried, true
		l.judge.noteStates(states...)
	}
	out, err := l.o.Rules.Restore(states, sameBoot)
	if err != nil {
		l.o.Log.Error("state of rules", "err", err)
	}
	l.judge.noteStart(past.Start{SameBoot: sameBoot, Fresh: f.pos.Time == 0 && len(states) == 0})
	l.judge.adopt(out)
	for _, d := range l.o.Rules.Demands() {
		l.o.Act(d)
	}
	l.pace(nil, l.o.Rules)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// RunJudge judges until ctx is done and ring 1 is empty. It returns an error only where going on would break a promise.
func (l *Line) RunJudge(ctx context.Context) error { return l.judge.run(ctx) }

// RunStore commits until ctx is done and ring 2 is on disk. It returns an error where the last commit of a stop did not go through.
func (l *Line) RunStore(ctx context.Context) error { return l.store.run(ctx) }

// Stop is the end of an orderly stop, when judge and store run no more: the rest is declared and committed, and the clean mark set.
func (l *Line) Stop() error {
	if err := settle(l.judge, l.store); err != nil {
		return err
	}
	return l.numbers.stop(l.o.Queue.Coarse())
}

// Pulse makes judge and store go round, so that Beats can tell an idle line from one that hangs.
func (l *Line) Pulse() {
	l.judge.signal()
	signal(l.store.pulse)
}

// States returns how the rules stand, when judge and store run no more.
func (l *Line) States() []rules.State { return l.judge.rules.State() }

// Beats returns when judge and store last went round.
func (l *Line) Beats() (judged, stored time.Time) {
	return time.Unix(0, l.judged.Load()), time.Unix(0, l.stored.Load())
}

// Numbers returns the name of the current epoch and the number that the next record gets.
func (l *Line) Numbers() (epoch string, next uint64) {
	_, name, next := l.numbers.peek()
	return name.ID, next
}

// Given returns the highest number of the epoch that the far side of the uplink can have from this state; known is false for a name
// that it does not know. As long as nothing of an ordinal was sent on the uplink, be it by this process or by those before it that had
// the same rings, what its far side has of it comes from another state, whose backup this one is.
func (l *Line) Given(epoch, uplink string) (highest uint64, known bool) {
	if name, highest := l.numbers.given(l.o.Rings.Judged, uplink); epoch == name {
		return highest, true
	}
	for _, e := range l.o.Queue.Epochs() {
		if e.ID == epoch {
			return 1<<64 - 1, true // an old one: its end is past
		}
	}
	return 0, false
}

// Sending notes that records of the epoch up to last are about to go out on the uplink; Given goes by it.
func (l *Line) Sending(uplink, epoch string, last uint64) {
	l.numbers.sending(l.o.Rings.Judged, uplink, epoch, last)
}

// Renumber goes on under another epoch name, between two records, because the far side knows numbers that this state never gave.
func (l *Line) Renumber(ctx context.Context) error {
	done := make(chan error, 1)
	l.judge.between(func() error {
		done <- l.judge.renumber(l.o.Queue, newID())
		return nil
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ReplaceRules puts set in place of the running rules, with their state, between two records: behind all that stands in ring 1 now, whose units may be
// others.
func (l *Line) ReplaceRules(set *rules.Set) {
	l.judge.after(l.o.Rings.Read.Head(), func() error {
		out, err := set.Restore(l.judge.rules.State(), true)
		if err != nil {
			l.o.Log.Error("state of rules", "err", err)
		}
		set.Continue(l.judge.rules)
		l.pace(l.judge.rules, set)
		l.judge.rules, l.judge.lateOf = set, 0
		l.judge.noteStart(past.Start{SameBoot: true, Reads: true})
		l.judge.adopt(out)
		for _, d := range set.Demands() {
			l.o.Act(d)
		}
		return nil
	})
}

// Demand hands what the rules demand of each output to f, between two records: no action of a record before is later than that.
func (l *Line) Demand(f func(rules.Action)) {
	l.judge.between(func() error {
		for _, d := range l.judge.rules.Demands() {
			f(d)
		}
		return nil
	})
}

// Explain returns how the rule called name stands, between two records, and what the clock says; ok is false where there is no such rule. It waits
// for that, or for the end of ctx, which it returns the error of.
func (l *Line) Explain(ctx context.Context, name string) (x rules.Stand, now clock.Stamp, ok bool, err error) {
	type answer struct {
		x   rules.Stand
		now clock.Stamp
		ok  bool
	}
	done := make(chan answer, 1)
	l.judge.between(func() error {
		x, ok := l.judge.rules.Explain(name)
		done <- answer{x, l.o.Clock(), ok}
		return nil
	})
	select {
	case a := <-done:
		return a.x, a.now, a.ok, nil
	case <-ctx.Done():
		return x, now, false, ctx.Err()
	}
}

// RulesLate returns how many readings were older than the newest of their channel, so that rules did not look at them.
func (l *Line) RulesLate() uint64 { return l.judge.late.Load() }

// Judged returns how many readings went by the rules.
func (l *Line) Judged() uint64 { return l.judge.looked.Load() }

// RuleStatus returns how the rules stood when one last changed.
func (l *Line) RuleStatus() []rules.Status { return l.judge.ruleStatus() }
