package past

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/rules"
)

// Options say what is replayed. All but Pause are required.
type Options struct {
	Queue *buffer.Queue
	Rules []rules.Rule // those that are tried
	Armed []rules.Rule // those of the configuration
	Since time.Time    // of what happened before nothing is said; all that is stored is judged all the same
	// Pause is called now and then with how long it has worked since the last time, so that others get their turn; nil = there are none.
	Pause func(ctx context.Context, worked time.Duration)
}

// Replay lets rules judge what is stored, as far as it is committed, in the order of its numbers, and says what they would have done beside what
// the armed rules did. It takes memory for two frames and maxFirings, however much is stored. ctx ends it.
func Replay(ctx context.Context, o Options) (status.Replay, error) {
	if o.Pause == nil {
		o.Pause = func(context.Context, time.Duration) {}
	}
	r := &replay{o: o, starts: Starts(o.Queue.Rules()), report: newReport(&o), held: map[uint32]tidegate.Ranges{}}
	r.readable = o.Queue.Held(tidegate.ClassReading)
	for epoch, list := range o.Queue.Held(tidegate.ClassDebug) {
		readable := r.readable[epoch]
		readable.AddAll(list)
		r.readable[epoch] = readable
	}
	for _, class := range [...]tidegate.Class{tidegate.ClassReading, tidegate.ClassAlarm, tidegate.ClassAudit, tidegate.ClassDebug} {
		for epoch, list := range o.Queue.Held(class) {
			held := r.held[epoch]
			held.AddAll(list)
			r.held[epoch] = held
		}
	}
	r.o.Rules = tried(o.Rules)
	if err := r.run(ctx); err != nil {
		return status.Replay{}, fmt.Errorf("replay: %w", err)
	}
	return r.finish(), nil
}

// tried returns the rules as they are replayed: all are heard of, and what is stored went through filters already.
func tried(list []rules.Rule) []rules.Rule {
	list = slices.Clone(list)
	for i := range list {
		list[i].Filters, list[i].Snapshots, list[i].Routes, list[i].Labels = nil, nil, nil, nil
		if list[i].When != nil && list[i].Severity == "" {
			list[i].Severity = rules.SeverityInfo
		}
	}
	return slices.DeleteFunc(list, func(r rules.Rule) bool { return r.When == nil && len(r.Derives) == 0 })
}

// replay is one under way.
type replay struct {
	o       Options
	starts  []Start // those that are not behind yet
	lives   []Start // those that are
	set     *rules.Set
	waiting []alarmTime // stored alarms since the newest reading
	newest  time.Duration
	base    time.Time // what the wall clock said when boot time was 0, by the newest record
	report  *report

	held     map[uint32]tidegate.Ranges // numbers of records of any class, by epoch, when it began
	readable map[uint32]tidegate.Ranges // of classes reading and debug
	seen     uint64                     // of those

	whole             bool         // what rules knew before the first record is known: nothing
	first, last       buffer.Place // of the first reading, of the newest record
	from, to          time.Time
	records, readings uint64
	begun             uint64 // starts behind the first record
	steps             int    // of the wall clock
	unknown           int    // starts of which nothing is kept
}

// alarmTime is when a stored alarm was raised or cleared.
type alarmTime struct {
	wall time.Time
	boot time.Duration
}

func (r *replay) run(ctx context.Context) error {
	readings, err := newJoined(r.o.Queue, r.o.Pause)
	if err != nil {
		return err
	}
	alarms, err := newStream(r.o.Queue, tidegate.ClassAlarm, r.o.Pause)
	if err != nil {
		return err
	}
	for {
		rec, at, err := readings.peek(ctx)
		if err != nil {
			return err
		}
		alarm, alarmAt, err := alarms.peek(ctx)
		if err != nil {
			return err
		}
		switch {
		case rec == nil && alarm == nil:
			r.flush(1<<63 - 1)
			return ctx.Err()
		case alarm != nil && (rec == nil || alarmAt.Before(at)):
			if err := r.alarm(alarm, alarmAt); err != nil {
				return err
			}
			alarms.next()
		default:
			if err := r.reading(rec, at, readings.numbers); err != nil {
				return err
			}
			readings.next()
		}
	}
}

// alarm takes over a stored alarm. Rules follow it when the next reading is there: of what came before and what came with it, only that tells.
func (r *replay) alarm(rec *tidegate.Record, at buffer.Place) error {
	if r.set == nil && !r.begins(at) {
		return nil // of readings that are not stored any more
	}
	if err := r.start(rec, at); err != nil {
		return err
	}
	r.last = at
	r.waiting = append(r.waiting, alarmTime{rec.Time, rec.Boot})
	r.report.stored(rec)
	return nil
}

// begins reports whether the record at at is the first that any rule here can have seen.
func (r *replay) begins(at buffer.Place) bool {
	if len(r.starts) == 0 || !r.starts[0].Fresh {
		return false
	}
	from := r.starts[0].Place
	return !at.Before(from) && from.Epoch == at.Epoch && len(r.missing(from.Epoch, tidegate.Range{First: from.Number, Last: at.Number})) == 0
}

// missing returns the numbers in in that no record of any class has.
func (r *replay) missing(epoch uint32, in tidegate.Range) tidegate.Ranges {
	return r.held[epoch].Missing(in)
}

// reading lets rules judge what is stored of a Read, under so many numbers.
func (r *replay) reading(rec *tidegate.Record, at buffer.Place, numbers []uint64) error {
	isRestored := rec.IsRestored()
	rec.Boot = rec.Boot.Abs()
	if err := r.start(rec, at); err != nil {
		return err
	}
	if r.records == 0 {
		r.first, r.from = at, rec.Time
	}
	if !isRestored {
		r.flush(rec.Boot - Grace)
		r.waiting = r.waiting[:0]
		Judge(r.set, rec, func(out rules.Outcome) { r.report.would(&out, rec.Time, rec.Boot, at.Number) })
	}
	base := rec.Time.Add(-rec.Boot)
	if !r.base.IsZero() && base.Sub(r.base).Abs() > time.Second {
		r.steps++
	}
	r.base, r.newest, r.last, r.to = base, max(r.newest, rec.Boot), at, rec.Time
	for _, n := range numbers {
		if r.readable[at.Epoch].Contains(n) {
			r.seen++
		}
		r.last.Number = n
		r.records++
	}
	r.readings += uint64(len(rec.Readings))
	return nil
}

// flush lets time pass up to the stored alarms that wait, as far as they are not later than boot: time alone raised or cleared them. Later ones
// may as well be of the reading that follows.
func (r *replay) flush(boot time.Duration) {
	for _, a := range r.waiting {
		if a.boot > boot {
			continue
		}
		const cut = time.Microsecond - 1 // at most, as it was stored
		out := r.set.Advance(a.boot+cut, a.wall.Add(cut))
		r.report.would(&out, a.wall, a.boot, 0)
	}
}

// reboot is how far boot time goes back at least where it begins anew; records of one boot are never that far from their order.
const reboot = time.Minute

// start makes rules begin anew as often as the gateway had them do before the record at at.
func (r *replay) start(rec *tidegate.Record, at buffer.Place) error {
	first := r.set == nil
	if first {
		r.whole = r.begins(at)
	}
	for len(r.starts) > 0 && !at.Before(r.starts[0].Place) {
		s := r.starts[0]
		r.starts = r.starts[1:]
		switch isLast := len(r.starts) == 0 || at.Before(r.starts[0].Place); {
		case r.set == nil && (r.whole || isLast):
			if err := r.begin(s.Boot); err != nil {
				return err
			}
		case r.set == nil: // what came of it is not stored any more
		default:
			if !first && (len(r.lives) == 0 || s.Count != r.lives[len(r.lives)-1].Count+1) {
				r.unknown++
			}
			r.begun++
			if err := r.renew(s); err != nil {
				return err
			}
		}
		r.lives = append(r.lives, s)
	}
	switch {
	case r.set == nil:
		return r.begin(rec.Boot)
	case len(r.lives) == 0 && rec.Boot+reboot < r.newest: // stored by a version that kept no starts
		r.begun++
		r.unknown++
		return r.renew(Start{Boot: rec.Boot, Wall: rec.Time})
	}
	return nil
}

func (r *replay) begin(boot time.Duration) (err error) {
	r.set, err = r.fresh(boot)
	return err
}

// fresh returns the rules in their initial state, in this machine's zone.
func (r *replay) fresh(boot time.Duration) (*rules.Set, error) {
	set, err := rules.New(r.o.Rules, boot)
	if err != nil {
		return nil, err
	}
	return set.In(time.Local), nil
}

// renew puts a new Set in the place of the old one, with its state, as a start of the gateway or other rules do.
func (r *replay) renew(s Start) error {
	r.flush(1<<63 - 1)
	r.waiting = r.waiting[:0]
	set, err := r.fresh(s.Boot)
	if err != nil {
		return err
	}
	out, err := set.Restore(r.set.State(), s.SameBoot)
	if err != nil {
		return err
	}
	if s.Reads {
		set.Continue(r.set)
	}
	r.report.would(&out, s.Wall, s.Boot, 0)
	r.set = set
	if !s.SameBoot {
		r.newest, r.base = 0, time.Time{}
	}
	return nil
}
