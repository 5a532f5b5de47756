package buffer

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/tidegate-io/tidegate"
)

// fixedBytes is what the store takes beside frames: memtables, value log, manifest.
const fixedBytes = 24 << 20

// maxSegment is the largest segment.
const maxSegment = 8 << 20

func (q *Queue) segmentSize() int64 { return min(q.limit/32, maxSegment) }

// hurt collects damaged frames from readers, which may or may not hold Queue.mu.
type hurt struct {
	mu   sync.Mutex // guards list
	list []damage
}

type damage struct {
	segment segmentName
	first   uint64
}

func (h *hurt) note(d damage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.list) < 1000 {
		h.list = append(h.list, d)
	}
}

func (h *hurt) take() []damage {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := h.list
	h.list = nil
	return list
}

// Requests returns what the agent is asked to declare since the last call; each is asked for once in the life of the process.
func (q *Queue) Requests() []Declaration {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, d := range q.hurt.take() {
		q.askDamagedLocked(d)
	}
	out := q.requests
	q.requests = nil
	return out
}

func (q *Queue) askDamagedLocked(d damage) {
	if q.asked[d] {
		return
	}
	q.asked[d] = true
	for _, s := range q.segments[d.segment.class] {
		if s.segmentName != d.segment {
			continue
		}
		next, err := q.nextFirst(*s, d.first)
		if err != nil {
			q.o.Log.Error("damaged frame: look for the next one", "err", err)
			return
		}
		held := s.runs.Within(tidegate.Range{First: d.first, Last: next - 1})
		q.requests = append(q.requests, Declaration{
			Epoch: s.epoch, Ranges: held, AtMost: s.readings, Cause: tidegate.CauseDamaged, T0: s.t0, T1: s.t1,
		})
	}
}

// nextFirst returns the first number of the frame of s behind the one that begins with first, or the number behind the segment.
func (q *Queue) nextFirst(s segment, first uint64) (next uint64, err error) {
	next = s.last() + 1
	err = q.db.View(func(txn *badger.Txn) error {
		o := badger.DefaultIteratorOptions
		o.PrefetchValues = false
		o.Prefix = s.key(keyFrame)
		it := txn.NewIterator(o)
		defer it.Close()
		it.Seek(frameKey(s.segmentName, first+1))
		if it.ValidForPrefix(o.Prefix) {
			k := it.Item().Key()
			for i, v := 0, uint64(0); i < 8; i++ {
				v = v<<8 | uint64(k[len(k)-8+i])
				next = v
			}
		}
		return nil
	})
	return next, err
}

// Retain drops what was marked, and what is over the limit or older than Keep: delivered segments at once, others after the agent
// has declared them (Requests). It is called after each commit.
func (q *Queue) Retain(now time.Time) error {
	for {
		q.mu.Lock()
		s := q.dropLocked(now)
		q.mu.Unlock()
		if s == nil {
			return nil
		}
		if err := q.drop(s); err != nil {
			return err
		}
	}
}

// dropLocked returns the next segment to drop, marked on disk, or nil; where declarations are needed first it asks for them.
func (q *Queue) dropLocked(now time.Time) *segment {
	var total int64
	var oldest, victim *segment
	asked := false
	for _, class := range dropOrder {
		for _, s := range q.segments[class] {
			if s.marked {
				return s
			}
			if s.doomed {
				asked = true
				continue
			}
			total += s.bytes
			if !s.closed {
				continue
			}
			if q.deliveredLocked(s) {
				if oldest == nil || s.t1 < oldest.t1 {
					oldest = s
				}
			} else if victim == nil {
				victim = s
			}
		}
	}
	over := total > q.limit-fixedBytes
	switch {
	case oldest != nil && (over || now.Sub(time.UnixMilli(oldest.t1)) > q.o.Keep):
		oldest.doomed = true
		return oldest
	case over && victim != nil && !asked:
		victim.doomed = true
		q.askDropLocked(victim)
	}
	return nil
}

// deliveredLocked reports whether every uplink is done with s, as far as is on disk.
func (q *Queue) deliveredLocked(s *segment) bool {
	for _, c := range q.cursors {
		for _, r := range s.runs {
			if !c.saved[s.epoch].Covers(r) {
				return false
			}
		}
	}
	return true
}

// askDropLocked asks for the declaration of what uplinks still want of s. Uplinks that want the same share one.
func (q *Queue) askDropLocked(s *segment) {
	type loss struct {
		ranges tidegate.Ranges
		count  uint64
	}
	var losses []loss
	same := true
	for _, c := range q.cursors {
		var l loss
		for _, r := range s.runs {
			l.ranges.AddAll(c.done[s.epoch].Missing(r))
		}
		if counts, err := c.countLocked(s.epoch, l.ranges); err == nil {
			for _, t := range counts {
				l.count += t.Readings
			}
		} else {
			l.count = s.readings
		}
		losses = append(losses, l)
		same = same && l.ranges.Len() == losses[0].ranges.Len() && l.count == losses[0].count
	}
	for i, c := range q.cursors {
		d := Declaration{
			Uplink: c.name, Epoch: s.epoch, Ranges: losses[i].ranges, Count: losses[i].count, AtMost: losses[i].count,
			Cause: tidegate.CauseOverflow, T0: s.t0, T1: s.t1, segment: s.segmentName,
		}
		if same {
			d.Uplink = ""
		}
		q.requests = append(q.requests, d)
		if same {
			break
		}
	}
}

// drop removes the frames of s, which is marked or delivered. Only the goroutine that commits calls it.
func (q *Queue) drop(s *segment) error {
	if !s.marked {
		next := *s
		next.marked, next.closed = true, true
		err := q.db.Update(func(txn *badger.Txn) error { return txn.Set(s.key(keyIndex), next.encode()) })
		if err != nil {
			return fmt.Errorf("mark segment %s: %w", s.segmentName, err)
		}
	}
	if err := q.db.DropPrefix(s.key(keyFrame)); err != nil {
		return fmt.Errorf("drop segment %s: %w", s.segmentName, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.segments[s.class]
	for i := range list {
		if list[i] == s {
			q.segments[s.class] = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	q.unmark = append(q.unmark, s.segmentName)
	return nil
}

// SetLimits changes the limit and how long delivered records stay; the next Retain goes by them.
func (q *Queue) SetLimits(maxBytes int64, keep time.Duration) error {
	if maxBytes < MinBytes {
		return fmt.Errorf("buffer limit is %d bytes, at least %d", maxBytes, int64(MinBytes))
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.o.MaxBytes, q.o.Keep = maxBytes, keep
	q.setLimit()
	return nil
}

// A Rejected is one record that the far side refused for good.
type Rejected struct {
	Uplink string
	Epoch  uint32
	Number uint64
	Class  tidegate.Class
	Why    string
	Body   []byte // the record, as sync/wire/frame encodes it
}

// Reject sets the records of r aside with the reason, and asks for their declaration (Requests). From now on this cursor does not show
// them; should the process end before the declaration is committed, it shows them again after the restart.
func (c *Cursor) Reject(epoch string, r tidegate.Range, why string) error {
	c.q.mu.Lock()
	defer c.q.mu.Unlock()
	e, ok := c.q.holderLocked(epoch, r.First)
	if !ok {
		return fmt.Errorf("reject records %d to %d: no epoch %q", r.First, r.Last, epoch)
	}
	fresh := c.done[e].Missing(r)
	for _, h := range c.hidden[e] {
		fresh.Remove(h)
	}
	if len(fresh) == 0 {
		return nil
	}
	counts, err := c.countLocked(e, fresh)
	if err != nil {
		return fmt.Errorf("reject records %d to %d: %w", r.First, r.Last, err)
	}
	d := Declaration{Uplink: c.name, Epoch: e, Ranges: fresh, Cause: tidegate.CauseRejected, Why: why}
	for _, t := range counts {
		d.Count += t.Readings
	}
	d.AtMost = d.Count
	hidden := c.hidden[e]
	hidden.AddAll(fresh)
	c.hidden[e] = hidden
	c.q.requests = append(c.q.requests, d)
	return nil
}

// holderLocked returns the epoch called id that number belongs to.
func (q *Queue) holderLocked(id string, number uint64) (e uint32, ok bool) {
	for _, x := range q.ordinalsLocked(id) {
		if q.epochs[x].Start <= number {
			e, ok = x, true
		}
	}
	return e, ok
}

// setAsideLocked adds the rejected records of d to the transaction.
func (q *Queue) setAsideLocked(w *write, d *Declaration) {
	for _, r := range d.Ranges {
		for n := r.First; n <= r.Last; n++ {
			x := Rejected{Uplink: d.Uplink, Epoch: d.Epoch, Number: n, Why: d.Why}
			if err := q.cutLocked(&x); err != nil {
				q.o.Log.Error("keep rejected record", "number", n, "err", err)
			}
			p := packer{}
			p.uint(1) // version
			p.uint(uint64(x.Class))
			p.text(x.Why)
			p.text(string(x.Body))
			w.put(rejectedKey(x.Uplink, x.Epoch, x.Number), p.b)
		}
	}
}

// cutLocked finds the record that x names and copies it.
func (q *Queue) cutLocked(x *Rejected) error {
	r := tidegate.Range{First: x.Number, Last: x.Number}
	take := func(f *Frame) error {
		b, err := q.o.Cut(f.Body, int(x.Number-f.First), 1)
		x.Class, x.Body = f.Class, b
		return err
	}
	for class := range q.tails {
		if list := q.tails[class].overlapping(x.Epoch, r); len(list) > 0 {
			return take(&list[0])
		}
	}
	for class := range q.segments {
		for _, s := range q.segments[class] {
			if s.epoch != x.Epoch || !s.runs.Contains(x.Number) {
				continue
			}
			err := errors.New("no frame holds it")
			if e := q.frames(*s, x.Number, func(f Frame) bool {
				err = take(&f)
				return false
			}); e != nil {
				return e
			}
			return err
		}
	}
	return fmt.Errorf("record %d is not held", x.Number)
}
