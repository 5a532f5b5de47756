package buffer

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/disk"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

// A Commit is what becomes durable in one transaction.
type Commit struct {
	Frames   []Frame // in the order of their numbers; their bodies are at most MaxFrame together, unless it is one that is larger
	Position Position
	Rules    map[string][]byte // changed rule state by rule; nil bytes = forget the rule
	Declared []Declaration     // of the gaps among Frames
}

// Commit makes c durable: when it returns nil, all of c survives a power cut. Frames may have been Put before; the
// caller Puts the others afterwards. An error wrapping ErrNoSpace means that nothing was written; after any other error it is not
// known whether c is durable, and the same Commit, or one that begins with the same records, is to be tried again before any other.
func (q *Queue) Commit(c Commit) error {
	q.sealing.Lock()
	defer q.sealing.Unlock()
	err := q.commit(&c)
	q.mu.Lock()
	defer q.mu.Unlock()
	if err == nil && q.failure != nil {
		q.looked = 0 // room came back: the next Retain asks how much
	}
	q.failure = err
	return err
}

func (q *Queue) commit(c *Commit) error {
	if err := q.bringBack(); err != nil {
		return err
	}
	size := int64(0)
	for i := range c.Frames {
		f := &c.Frames[i]
		if uint64(f.Class) >= stored.Classes || f.First == 0 || f.Last < f.First {
			return fmt.Errorf("commit records %d to %d of class %d", f.First, f.Last, f.Class)
		}
		size += int64(stored.HeaderSize + len(f.Body))
	}
	if err := q.disk.MakeSpace(size, relief{q}); err != nil {
		return err
	}
	started := time.Now()
	for i := range c.Frames {
		q.shareOut(&c.Frames[i])
	}
	for i := range c.Declared {
		if err := q.settleDeclared(&c.Declared[i]); err != nil {
			return fmt.Errorf("declare %s: %w", c.Declared[i].Cause, err)
		}
	}
	q.mu.Lock()
	w := q.planLocked(c)
	q.mu.Unlock()
	if w.size > disk.MaxWrite {
		return fmt.Errorf("commit of %d bytes, at most %d", w.size, disk.MaxWrite)
	}
	writing := time.Now()
	if q.o.slow != nil {
		q.o.slow()
	}
	if err := q.disk.Write(w.set, w.del); err != nil {
		return fmt.Errorf("commit records up to %d: %w", c.Position.Next, err)
	}
	q.card.Took(time.Since(writing))
	if w.worn {
		q.card.Stored()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.applyLocked(c, w)
	q.position.Slowest = max(q.position.Slowest*15/16, time.Since(started))
	return nil
}

// A write is a planned transaction.
type write struct {
	set     []disk.Pair
	del     [][]byte
	size    int
	touched map[stored.Segment]*segment // as they will be
	totals  stored.Totals
	saved   []cursorSave // in the order of q.cursors
	epochs  map[uint32]Epoch
	forget  []uint32           // epochs
	away    map[string]Tallies // by uplink: what of the frames is meant for another one only
	again   map[*Cursor]uint64 // Cursor.againChanges as it is written
	onWay   []onWay
	worn    bool // the account of the card is in it

	resealed []string // rules whose state is written only to be sealed with another key
}

// cursorSave is what a transaction does with one cursor.
type cursorSave struct {
	written bool
	changes uint64
	ahead   bool
	routed  Tallies
	done    map[stored.Stream]tidegate.Ranges
}

func (w *write) put(key, value []byte) {
	w.set = append(w.set, disk.Pair{Key: key, Value: value})
	w.size += len(key) + len(value) + stored.Overhead + 16
}

// planLocked works out the transaction of c. It changes nothing that the same plan would not find again after a failure.
func (q *Queue) planLocked(c *Commit) *write {
	w := &write{touched: map[stored.Segment]*segment{}, totals: q.totals, epochs: map[uint32]Epoch{}, away: map[string]Tallies{}}
	for i := range c.Frames {
		f := &c.Frames[i]
		f.Sealed = q.keys.To()
		s := q.segmentFor(w, f)
		value := stored.AppendFrame(make([]byte, 0, stored.HeaderSize+len(f.Body)), f)
		key := s.FrameKey(f.First)
		next := &segment{Segment: s.Segment, Index: q.share(w, f, s.With(f, len(key)+len(value)+q.lockCost()))}
		next.Lived = c.Position.Lived
		next.Closed = next.Bytes >= q.segmentSize(f.Class) || len(next.Runs) >= maxRuns
		w.touched[s.Segment] = next
		w.put(key, value)
		w.totals.Produced[f.Class].Add(Tally{Records: f.Records(), Readings: uint64(f.Count)})
	}
	for i := range c.Declared {
		q.planDeclared(w, &c.Declared[i])
	}
	for name, s := range w.touched {
		w.put(name.Key(stored.KeyIndex), s.Encode())
	}
	w.del = append(w.del, q.unmark...)
	for name, state := range c.Rules {
		if state == nil {
			w.del = append(w.del, stored.MetaKey(stored.MetaRule, name))
		} else {
			w.put(stored.MetaKey(stored.MetaRule, name), stored.Seal(state))
		}
	}
	q.planStale(w, c)
	q.planEpochs(w, c)
	q.planAgainLocked(w, c)
	for _, cur := range q.cursors {
		s := cursorSave{changes: cur.changes, written: cur.changes != cur.savedChanges || cur.ahead, routed: cur.routed}
		for class, t := range w.away[cur.name] {
			s.routed[class].Add(t)
			s.written = s.written || t.Records > 0
		}
		if s.written {
			var state stored.Cursor
			state, s.ahead = cur.stateLocked(Place{c.Position.Epoch, c.Position.Next})
			state.Routed = s.routed
			s.done = state.Done
			w.put(stored.MetaKey(stored.MetaCursor, cur.name), state.Encode())
		}
		w.saved = append(w.saved, s)
	}
	p := c.Position
	p.Slowest = q.position.Slowest
	position := p.Encode()
	w.put(stored.MetaKey(stored.MetaPosition, ""), position)
	var worn []byte
	if w.totals.Written, worn = q.card.Store(); worn != nil {
		w.worn = true
		w.put(stored.MetaKey(stored.MetaWear, ""), stored.Seal(worn))
	}
	w.totals.Digest = q.digestLocked(w.touched) ^ stored.DigestOf(position)
	w.put(stored.MetaKey(stored.MetaTotals, ""), w.totals.Encode())
	return w
}

// digestLocked returns the digest of all indexes, with those in touched in place of their own.
func (q *Queue) digestLocked(touched map[stored.Segment]*segment) (sum uint64) {
	for class := range q.segments {
		for _, s := range q.segments[class] {
			if touched[s.Segment] == nil {
				sum ^= s.Digest(s.Segment)
			}
		}
	}
	for name, s := range touched {
		sum ^= s.Digest(name)
	}
	return sum
}

// segmentFor returns the segment that takes f: the open one of its class and epoch, or a new one. Summaries have segments of their own: the open one is
// closed where the next frame is of the other kind, as numbers rise from one segment of a class to the next.
func (q *Queue) segmentFor(w *write, f *Frame) *segment {
	var open *segment
	for _, s := range q.segments[f.Class] {
		if s.Epoch == f.Epoch && !s.Closed && !s.Dropping && !s.doomed {
			open = s
		}
	}
	for _, s := range w.touched {
		if s.Class == f.Class && s.Epoch == f.Epoch && (open == nil || s.Counter >= open.Counter) {
			open = s
		}
	}
	if open != nil && !open.Closed && open.Thin == f.Thin {
		return open
	}
	if open != nil && !open.Closed {
		closed := *open
		closed.Closed = true
		w.touched[open.Segment] = &closed
	}
	w.totals.Segment++
	return &segment{Segment: stored.Segment{Class: f.Class, Epoch: f.Epoch, Counter: w.totals.Segment}}
}

// planEpochs writes new epochs, and forgets those of which nothing is stored, waits in memory, or can come any more.
func (q *Queue) planEpochs(w *write, c *Commit) {
	for e := range q.dirty {
		x := q.epochs[e]
		w.epochs[e] = x
		w.put(stored.MetaKey(stored.MetaEpoch, stored.EpochName(e)), x.Encode())
	}
	used := map[uint32]bool{}
	newest := uint32(0)
	for e := range q.epochs {
		newest = max(newest, e)
	}
	for class := range q.segments {
		for _, s := range q.segments[class] {
			used[s.Epoch] = true
		}
		for i := range q.tails[class].frames {
			used[q.tails[class].frames[i].Epoch] = true
		}
	}
	for i := range c.Frames {
		used[c.Frames[i].Epoch] = true
	}
	for i := range c.Declared {
		used[c.Declared[i].Epoch] = true
	}
	maps.Copy(used, q.shelved)
	for e := range q.epochs {
		if e < min(newest, q.position.Epoch) && !used[e] && !q.dirty[e] {
			w.forget = append(w.forget, e)
			w.del = append(w.del, stored.MetaKey(stored.MetaEpoch, stored.EpochName(e)))
		}
	}
}

// forgetLocked takes the epoch out of memory.
func (q *Queue) forgetLocked(e uint32) {
	delete(q.epochs, e)
	delete(q.acked, e)
	delete(q.highest, e)
	for _, c := range q.cursors {
		delete(c.hidden, e)
		for class := range q.segments {
			st := stored.Stream{Class: tidegate.Class(class), Epoch: e}
			if _, ok := c.done[st]; ok {
				delete(c.done, st)
				c.changes++ // the next commit stores it without
			}
		}
	}
}

// applyLocked makes what w wrote the state in memory.
func (q *Queue) applyLocked(c *Commit, w *write) {
	for name, next := range w.touched {
		if s := q.segmentLocked(name); s != nil {
			*s = *next
			continue
		}
		q.segments[name.Class] = append(q.segments[name.Class], next)
		sortSegments(q.segments[name.Class])
	}
	for i := range c.Frames {
		f := &c.Frames[i]
		q.countLocked(f)
		q.tails[f.Class].committed(f.Epoch, f.Last)
	}
	q.totals = w.totals
	q.unmark = nil
	for e, x := range w.epochs {
		if q.epochs[e] == x { // else it was named anew while the disk was waited for
			delete(q.dirty, e)
		}
	}
	for _, name := range w.resealed {
		delete(q.stale, name)
	}
	for name, state := range c.Rules {
		delete(q.stale, name)
		if state == nil {
			delete(q.rules, name)
		} else {
			q.rules[name] = slices.Clone(state)
		}
	}
	q.applyAgainLocked(w)
	for i, cur := range q.cursors {
		if s := &w.saved[i]; s.written {
			cur.savedChanges, cur.ahead, cur.saved, cur.routed = s.changes, s.ahead, s.done, s.routed
		}
	}
	for _, e := range w.forget {
		q.forgetLocked(e)
	}
	slowest := q.position.Slowest
	q.position = c.Position
	q.position.Slowest = slowest
}
