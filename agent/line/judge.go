package line

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/box"
	"github.com/tidegate-io/tidegate/agent/clock"
	"github.com/tidegate-io/tidegate/agent/line/thin"
	"github.com/tidegate-io/tidegate/agent/past"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/rules"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
)

// visible is what the judge needs of buffer.Queue.
type visible interface {
	// Put makes frames visible to the uplinks.
	Put(frames ...buffer.Frame)
	// Refuses reports whether nothing new of class is to be taken.
	Refuses(class tidegate.Class) bool
}

// A judge takes Reads from ring 1, judges them by the rules, numbers what is to be kept and puts it into ring 2. It is the only one
// that gives numbers. It runs in one goroutine, but ask and newEpoch.
type judge struct {
	read, judged *box.Ring
	numbers      *numbers
	rules        *rules.Set
	queue        visible
	act          func(rules.Action)   // drives an output; it does not wait
	pace         func(rules.Interval) // has a device read at another interval; it does not wait
	urgent       func()               // tells the store that an alarm or a gap waits
	clock        func() clock.Stamp
	log          *slog.Logger
	beat         *atomic.Int64 // when it last went round, Unix nanoseconds

	dec      *frame.Decoder
	recs     []tidegate.Record // reused
	kept     []tidegate.Record // reused
	ledger   ledger
	buf      []byte // reused
	input    box.Place
	drops1   buffer.Drops // declared so far
	drops2   buffer.Drops
	changed  []rules.State    // rule state that no entry carries yet
	bodies   []byte           // reused: memory of changed
	places   map[string]int   // where a key stands in changed; nil = it was empty before what is noted now
	paces    []rules.Interval // not told yet
	epochs   map[uint32]buffer.Epoch
	declared []buffer.Declaration // to be declared by the next entry
	cleared  []tidegate.Record    // alarms that end without a reading, for the next entry
	starts   uint64               // of rules, so far
	late     atomic.Uint64        // readings that rules did not look at
	looked   atomic.Uint64        // readings that went by the rules, all in all
	lateOf   uint64               // those of rules that late has
	owed     owed                 // what snapshots gave out, until entries hold it
	refused  refusals             // what was not taken, and not declared yet
	// refusedAt is the boot time from which on it counts.
	refusedAt time.Duration
	stopping  bool // all is to be declared now
	sparing   sparing

	mu     sync.Mutex // guards asked, pieces, wants, stands and counts
	asked  []buffer.Declaration
	pieces []thin.Piece   // of segments that are thinned out
	wants  []want         // run by the judge between two entries
	stands []rules.Status // how the rules stood when one last changed
	counts Counts         // those of the ledger, of what was put
	wake   chan struct{}
}

// maxDeclared bounds the declarations in one entry.
const maxDeclared = 64

// ask queues declarations; any goroutine may call it.
func (j *judge) ask(list []buffer.Declaration) {
	if len(list) == 0 {
		return
	}
	j.mu.Lock()
	j.asked = append(j.asked, list...)
	j.mu.Unlock()
	j.signal()
}

func (j *judge) signal() { signal(j.wake) }

// run judges until ctx is done and ring 1 is empty: the readers are stopped before, so all that they returned gets a number.
func (j *judge) run(ctx context.Context) error {
	alarm := time.NewTimer(longest)
	defer alarm.Stop()
	for {
		if err := j.step(); err != nil {
			return err
		}
		j.beat.Store(time.Now().UnixNano())
		alarm.Reset(j.rest())
		select {
		case <-ctx.Done():
			return j.step()
		case <-j.read.Wake():
		case <-j.wake: // something was asked, or room came back in ring 2
		case <-alarm.C:
		}
	}
}

// longest is how long the judge waits at most.
const longest = time.Hour

// rest returns how long rules have nothing to do unless something is read.
func (j *judge) rest() time.Duration {
	most := longest
	if j.refused != (refusals{}) {
		most = max(j.refusedAt+refusedFor-j.clock().Boot, 0)
	}
	due, ok := j.rules.Next()
	if !ok {
		return most
	}
	return min(max(due+past.Grace-j.clock().Boot, 0), most)
}

// elapse lets the rules act on time that passed without a reading.
func (j *judge) elapse() error {
	clock := j.clock()
	now := tidegate.Record{Time: clock.Wall, Boot: clock.Boot, Quality: clock.Quality()}
	out, ok := past.Elapse(j.rules, &now)
	if !ok {
		return j.pay()
	}
	alarms := j.follow(&out, &now)
	actions := slices.Clone(out.Actions)
	j.owe(&out, &now)
	if err := j.put(j.repay(tidegate.ClassReading, nil), append(j.cleared, alarms...), j.input); err != nil {
		return err
	}
	for _, a := range actions {
		j.act(a)
	}
	j.pacing()
	return nil
}

// follow notes what the rules made of rec, or of the time up to it, and returns the records of the alarms.
func (j *judge) follow(out *rules.Outcome, rec *tidegate.Record) (alarms []tidegate.Record) {
	for _, a := range out.Alarms {
		r, err := a.Reading()
		if err != nil {
			j.log.Error("alarm cannot be encoded", "rule", a.Rule, "err", err)
			continue
		}
		wall, boot := past.When(&a, rec.Time, rec.Boot)
		alarms = append(alarms, tidegate.Record{Class: tidegate.ClassAlarm, Time: wall, Boot: boot, Quality: rec.Quality, Readings: []tidegate.Reading{r}})
	}
	j.noteStates(out.Changed...)
	j.paces = append(j.paces, out.Intervals...)
	if out.Turned {
		j.noteStatus()
	}
	return alarms
}

// step judges all that waits in ring 1, and declares what is to be declared.
func (j *judge) step() error {
	for {
		if err := j.takeOver(); err != nil {
			return err
		}
		payload, next, ok, err := j.read.Next(j.input)
		if err != nil {
			return fmt.Errorf("judge: %w", err)
		}
		if !ok {
			j.input = next
			if err := j.elapse(); err != nil {
				return err
			}
			if err := j.declare(); err != nil {
				return err
			}
			return j.putPieces()
		}
		if err := j.take(payload, next); err != nil {
			return err
		}
		j.input = next
		j.read.Release(next)
	}
}

// take judges one entry of ring 1: a class and rows.
func (j *judge) take(payload []byte, next box.Place) error {
	if len(payload) == 0 {
		return errors.New("judge: empty entry of ring 1")
	}
	var err error
	if j.recs, err = j.dec.Decode(j.recs[:0], tidegate.Class(payload[0]), 0, payload[1:]); err != nil {
		// The ring's CRC held, so this is a fault of ours: say so and go on, the Read becomes a gap.
		j.log.Error("entry of ring 1 cannot be decoded", "err", err)
		j.judged.Drop(1, 0, j.clock().Wall.UnixMilli(), next)
		return nil
	}
	var alarms []tidegate.Record
	var actions []rules.Action
	kept := j.kept[:0]
	for i := range j.recs {
		rec := &j.recs[i]
		if rec.Class == tidegate.ClassReading {
			j.looked.Add(uint64(len(rec.Readings)))
		}
		var behind []tidegate.Record
		rec.Readings = past.Judge(j.rules, rec, func(out rules.Outcome) {
			alarms = append(alarms, j.follow(&out, rec)...)
			actions = append(actions, out.Actions...)
			behind = split(behind, rec, &out)
			j.book(&out)
			j.owe(&out, rec)
		})
		if len(rec.Readings) > 0 {
			kept = append(kept, *rec)
		}
		kept = append(kept, behind...)
	}
	kept = j.spare(j.repay(tidegate.Class(payload[0]), kept), next)
	j.kept = kept
	if n := j.rules.Late(); n != j.lateOf {
		j.late.Add(n - j.lateOf)
		j.lateOf = n
	}
	if len(j.cleared) > 0 {
		alarms = append(j.cleared, alarms...)
	}
	if len(kept)+len(alarms) > 0 || !j.sparing.drops { // what was dropped makes no entry: it would be a commit
		if err := j.put(kept, alarms, next); err != nil {
			return err
		}
	}
	for _, a := range actions {
		j.act(a)
	}
	j.pacing()
	return nil
}

// declare puts an entry of its own for what is to be declared, if there is anything and it fits.
func (j *judge) declare() error {
	if !j.waits() {
		return nil
	}
	return j.put(nil, j.cleared, j.input)
}

// waits reports whether something is to be declared that no entry holds yet.
func (j *judge) waits() bool {
	return j.refusedDue() || len(j.declared) > 0 || len(j.cleared) > 0 || len(j.owed.list) > 0 || j.pendingDrops() != buffer.Drops{}
}

// settle is the end of an orderly stop, when judge and store run no more: what found no room in ring 2 is declared now that there
// is some, and committed.
func settle(j *judge, s *store) error {
	j.stopping = true
	j.sparing.ends = true
	for range 3 {
		if err := s.finish(); err != nil {
			return err
		}
		if !j.waits() {
			return nil
		}
		if err := j.step(); err != nil {
			return err
		}
	}
	return s.finish()
}

// pendingDrops returns what was dropped and not declared.
func (j *judge) pendingDrops() buffer.Drops { return j.pendingOf(j.read.Dropped(), j.judged.Dropped()) }

// put numbers and puts one entry into ring 2: gaps first, then alarms, then recs. Where it does not fit it is counted as dropped.
func (j *judge) put(recs, alarms []tidegate.Record, input box.Place) error {
	epoch, name, next := j.numbers.peek()
	j.epochs[epoch] = name
	wholeRecs, wholeAlarms, before := recs, alarms, j.refused
	recs, alarms = j.sieve(recs), j.sieve(alarms)
	e := &entry{epoch: epoch, epochID: name.ID, start: name.Start, input: input, drops1: j.drops1, drops2: j.drops2}
	d1, d2 := j.read.Dropped(), j.judged.Dropped()
	first := next
	next = j.addGaps(e, next, d1, d2)
	e.rules = j.changed
	if len(alarms) > 0 {
		e.runs = append(e.runs, newRun(tidegate.ClassAlarm, next, alarms))
		next += uint64(len(alarms))
	}
	e.runs = appendRuns(e.runs, next, recs)
	next += uint64(len(recs))
	if next == first && len(e.rules) == 0 && input == j.input {
		return nil
	}
	// What was dropped for want of room waits until there is: else its gaps would take the room that is kept for alarms.
	urgent := len(alarms) > 0 || len(j.declared) > 0
	err := box.ErrFull
	if next-first <= j.numbers.room() {
		j.buf = appendEntry(j.buf[:0], e)
		_, err = j.judged.Put(urgent, j.buf)
	}
	j.mu.Lock()
	j.counts = j.ledger.now
	j.mu.Unlock()
	if errors.Is(err, box.ErrFull) {
		j.unsieve(before)
		j.drop(wholeRecs, wholeAlarms[min(len(j.cleared), len(wholeAlarms)):], input)
		return nil
	}
	if err != nil {
		return fmt.Errorf("judge: %w", err)
	}
	j.numbers.taken(next)
	j.judged.Mark(epoch, next-1)
	j.published(e, d1, d2)
	if urgent {
		j.urgent()
	}
	return nil
}

// published notes what e declared and shows its readings to the uplinks.
func (j *judge) published(e *entry, d1, d2 box.Drops) {
	if e.drops1 != j.drops1 {
		j.read.Declared(d1)
	}
	if e.drops2 != j.drops2 {
		j.judged.Declared(d2)
		j.sparing.drops = false
	}
	j.drops1, j.drops2 = e.drops1, e.drops2
	j.carried()
	j.cleared = nil
	j.declared = j.declared[min(len(j.declared), maxDeclared):]
	j.show(e)
}

// show shows the readings of e to the uplinks.
func (j *judge) show(e *entry) {
	for i := range e.runs {
		if r := &e.runs[i]; isLive(r.class) {
			j.queue.Put(r.frame(e.epoch))
		}
	}
}
