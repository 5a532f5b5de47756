package buffer

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/disk"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

// A Requeue says which of the records that were set aside for an uplink go to it again.
type Requeue struct {
	Uplink string
	Epoch  string         // only those of the epoch of this name; "" = of all
	Range  tidegate.Range // only those numbers
	Done   Tally          // what goes again so far, as far as it is meant for the uplink
	Stay   []string       // what stays set aside, and why; at most 20

	from Place
}

// A comeback is what one transaction brings back.
type comeback struct {
	c     *Cursor
	list  []shelf
	size  int64
	tried bool // it may be on disk
}

// A shelf is a part of what was set aside, and what becomes of it.
type shelf struct {
	stored.Aside
	part   tidegate.Range
	size   int64   // bytes that the whole takes
	waits  bool    // the uplink waits for it already: a kill came between setting it aside and the declaration
	frames []Frame // of what no segment holds any more
	Tally          // of part, as far as it is meant for the uplink
}

// Requeue brings back some of what x asks for; it is called until more is false. The goroutine that commits calls it, and only that. Where the
// disk fails it is not known whether the last of it is durable; it is tried again before the next Commit.
func (q *Queue) Requeue(x *Requeue) (more bool, err error) {
	q.sealing.Lock()
	defer q.sealing.Unlock()
	if err := q.bringBack(); err != nil {
		return true, err
	}
	c, err := q.Cursor(x.Uplink)
	if err != nil {
		return false, err
	}
	enough := errors.New("enough")
	b, at, w := &comeback{c: c}, x.from, c.waiting()
	err = q.eachAside(x.Uplink, func(a stored.Aside, size int64) error {
		part := tidegate.Range{First: max(a.First, x.Range.First), Last: min(a.Last, x.Range.Last)}
		if (Place{a.Epoch, a.First}).Before(at) || part.Len() == 0 || x.Epoch != "" && q.epochName(a.Epoch) != x.Epoch {
			return nil
		}
		if n := len(b.list); n == mostBack || n > 0 && b.size+size > mostBackBytes {
			return enough
		}
		s := shelf{Aside: a, part: part, size: size}
		err := q.shorten(&s)
		if err == nil {
			err = q.prepare(c, &s)
		}
		if err == nil {
			err = w.add(&s)
		}
		switch {
		case errors.Is(err, ErrBusy) && len(b.list) > 0:
			return enough
		case errors.Is(err, ErrBusy):
			return err
		case err != nil && len(x.Stay) < 20:
			x.Stay = append(x.Stay, fmt.Sprintf("records %d to %d: %v", part.First, part.Last, err))
		case err == nil:
			b.list, b.size = append(b.list, s), b.size+size
			more = more || s.part != part
		}
		at = Place{a.Epoch, a.First + 1}
		return nil
	})
	if err != nil && !errors.Is(err, enough) {
		return true, fmt.Errorf("requeue: %w", err)
	}
	more = more || err != nil
	if len(b.list) > 0 {
		q.comeback = b
		if err := q.bringBack(); err != nil {
			return true, fmt.Errorf("requeue: %w", err)
		}
		for i := range b.list {
			if !b.list[i].waits {
				x.Done.Add(b.list[i].Tally)
			}
		}
	}
	x.from = at
	return more, nil
}

func (q *Queue) epochName(e uint32) string {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.epochs[e].ID
}

// prepare works out what becomes of s; the error says why it stays where it is.
func (q *Queue) prepare(c *Cursor, s *shelf) error {
	var held tidegate.Ranges
	q.mu.Lock()
	known := q.epochs[s.Epoch].ID != ""
	for _, x := range q.segments[s.Class] {
		if x.Epoch != s.Epoch || len(x.Runs.Within(s.part)) == 0 {
			continue
		}
		if x.Dropping || x.doomed {
			q.mu.Unlock()
			return fmt.Errorf("segment %s is about to be dropped: %w", x.Segment, ErrBusy)
		}
		held.AddAll(x.Runs.Within(s.part))
	}
	done := c.done[stored.Stream{Class: s.Class, Epoch: s.Epoch}].Within(s.part)
	q.mu.Unlock()
	switch {
	case !known:
		return errors.New("their epoch is forgotten")
	case len(done) == 0 && held.Len() == s.part.Len():
		s.waits = true
		return nil
	case done.Len() != s.part.Len() && len(done)+len(held) > 0:
		return errors.New("some of them wait for the uplink already")
	}
	all := &Cursor{q: q, name: c.name, done: map[stored.Stream]tidegate.Ranges{}}
	found, err := all.find(s.Epoch, held)
	if err != nil {
		return err
	}
	s.Tally, s.frames = found[s.Class].Tally, nil
	for _, r := range held.Missing(s.part) {
		if err := q.restore(c, s, r); err != nil {
			return err
		}
	}
	return nil
}

// shorten makes the part of s small enough for one transaction: the rest follows with the next.
func (q *Queue) shorten(s *shelf) error {
	whole := tidegate.Range{First: s.First, Last: s.Last}
	for {
		b, err := q.o.Cut(s.Body, s.Skip+int(s.part.First-s.First), int(s.part.Len()))
		switch {
		case err != nil && s.part == whole:
			return nil // perhaps a segment holds them
		case err != nil:
			return fmt.Errorf("only all of %d to %d can go, as they cannot be decoded: %w", s.First, s.Last, err)
		case len(b) <= MaxFrame || s.part.Len() == 1:
			return nil
		}
		s.part.Last = s.part.First + s.part.Len()/2 - 1
	}
}

// restore adds to s the frames of its records r, which no segment holds.
func (q *Queue) restore(c *Cursor, s *shelf, r tidegate.Range) error {
	if s.Body == nil {
		return errors.New("they could not be read when they were set aside")
	}
	skip, n := s.Skip+int(r.First-s.First), int(r.Len())
	body, err := q.o.Cut(s.Body, skip, n)
	if err != nil {
		return fmt.Errorf("they cannot be decoded: %w", err)
	}
	f := Frame{Epoch: s.Epoch, Class: s.Class, First: r.First, Last: r.Last, Body: body, Thin: s.Thin}
	count := 0
	q.apart.mu.Lock()
	err = q.o.Each(body, func(uplink string, readings int) {
		f.Apart = f.Apart || uplink != ""
		count += readings
		if uplink == "" || uplink == c.name {
			s.Add(Tally{Records: 1, Readings: uint64(readings)})
		}
	})
	q.apart.mu.Unlock()
	if err == nil && q.o.Span != nil {
		f.T0, f.T1, err = q.o.Span(body, 0, n)
	}
	if err != nil {
		return fmt.Errorf("they cannot be decoded: %w", err)
	}
	f.Count = uint32(count)
	q.shareOut(&f)
	s.frames = append(s.frames, f)
	return nil
}

// bringBack makes what Requeue gathered durable, where there is something.
func (q *Queue) bringBack() error {
	b := q.comeback
	if b == nil {
		return nil
	}
	if err := q.disk.MakeSpace(2*b.size, relief{q}); err != nil {
		if !b.tried {
			q.comeback = nil
		}
		return err
	}
	for i := range b.list { // to make space a segment may have been dropped
		if s := &b.list[i]; !s.waits {
			if err := q.prepare(b.c, s); err != nil {
				if !b.tried { // or nothing would be committed any more
					q.comeback = nil
				}
				return fmt.Errorf("records %d to %d: %w", s.part.First, s.part.Last, err)
			}
		}
	}
	q.mu.Lock()
	w, after := q.planBackLocked(b)
	q.mu.Unlock()
	if w.size > disk.MaxWrite && !b.tried {
		q.comeback = nil
		return fmt.Errorf("%d bytes in one go, at most %d: let all that was set aside together go together", w.size, disk.MaxWrite)
	}
	b.tried = true
	if err := q.beside(w.set, w.del); err != nil {
		return fmt.Errorf("bring back what was set aside: %w", err)
	}
	q.comeback = nil
	q.mu.Lock()
	defer q.mu.Unlock()
	q.applyBackLocked(b, w, after)
	return nil
}

// planBackLocked works out the transaction of b, and what goes again after it.
func (q *Queue) planBackLocked(b *comeback) (*write, []again) {
	w := &write{touched: map[stored.Segment]*segment{}, totals: q.totals, del: slices.Clone(q.unmark)} // the digest is without what was dropped
	place, after := Place{q.position.Epoch, q.position.Next}, slices.Clone(b.c.again)
	var states []stored.Cursor
	for _, c := range q.cursors {
		s, ahead := c.stateLocked(place)
		states = append(states, s)
		w.saved = append(w.saved, cursorSave{written: true, changes: c.changes, ahead: ahead, routed: c.routed})
	}
	var open *segment
	for i := range b.list {
		s := &b.list[i]
		if s.part.First == s.First { // else what stays before it takes that key
			w.del = append(w.del, stored.RejectedKey(s.Uplink, s.Epoch, s.First))
		}
		for _, rest := range q.rest(s) {
			w.put(stored.RejectedKey(rest.Uplink, rest.Epoch, rest.First), rest.Encode())
		}
		if s.waits {
			continue
		}
		open = q.planFrames(w, open, s)
		st := stored.Stream{Class: s.Class, Epoch: s.Epoch}
		for n, c := range q.cursors {
			done := states[n].Done[st]
			if c == b.c {
				done.Remove(s.part)
				giveBack(&states[n], s.Class, s.Tally)
			} else {
				for i := range s.frames { // gone before the uplink was added
					done.Add(tidegate.Range{First: s.frames[i].First, Last: s.frames[i].Last})
				}
			}
			states[n].Done[st] = done
		}
		after = q.join(s.without(after), s)
	}
	for n, c := range q.cursors {
		states[n].Routed = c.routed
		w.saved[n].done = states[n].Done
		w.put(stored.MetaKey(stored.MetaCursor, c.name), states[n].Encode())
	}
	w.put(stored.MetaKey(stored.MetaAgain, b.c.name), encodeAgain(after))
	for name, s := range w.touched {
		w.put(name.Key(stored.KeyIndex), s.Encode())
	}
	position := q.position.Encode()
	w.put(stored.MetaKey(stored.MetaPosition, ""), position)
	w.totals.Digest = q.digestLocked(w.touched) ^ stored.DigestOf(position)
	w.put(stored.MetaKey(stored.MetaTotals, ""), w.totals.Encode())
	return w, after
}

// rest returns what stays set aside of s.
func (q *Queue) rest(s *shelf) (out []stored.Aside) {
	for _, r := range []tidegate.Range{{First: s.First, Last: s.part.First - 1}, {First: s.part.Last + 1, Last: s.Last}} {
		if r.Len() > 0 {
			a := s.Aside
			a.First, a.Last, a.Skip = r.First, r.Last, s.Skip+int(r.First-s.First)
			if b, err := q.o.Cut(a.Body, a.Skip, int(r.Len())); err == nil && len(b) <= maxCut {
				a.Body, a.Skip = b, 0
			}
			out = append(out, a)
		}
	}
	return out
}

// planFrames puts the frames of s into segments of their own, which lie between those that there are: their numbers rise from one to the next.
func (q *Queue) planFrames(w *write, open *segment, s *shelf) *segment {
	for i := range s.frames {
		f := &s.frames[i]
		f.Sealed = q.keys.To()
		if open == nil || open.stream() != (stored.Stream{Class: f.Class, Epoch: f.Epoch}) || open.Thin != f.Thin || open.Bytes >= q.segmentSize(f.Class) || q.between(open, f.First) {
			w.totals.Segment++
			open = &segment{Segment: stored.Segment{Class: f.Class, Epoch: f.Epoch, Counter: w.totals.Segment}}
		}
		value, key := stored.AppendFrame(nil, f), open.FrameKey(f.First)
		next := &segment{Segment: open.Segment, Index: open.With(f, len(key)+len(value)+q.lockCost())}
		next.Lived = q.position.Lived // its age begins anew
		next.Shares = slices.Clone(next.Shares)
		for _, x := range f.Shares {
			next.AddShare(x.Uplink, x.Tally)
		}
		next.Closed = true
		w.touched[next.Segment] = next
		w.put(key, value)
		open = next
	}
	return open
}

// between reports whether a segment lies between the end of s and number n.
func (q *Queue) between(s *segment, n uint64) bool {
	return slices.ContainsFunc(q.segments[s.Class], func(x *segment) bool { return x.Epoch == s.Epoch && x.First() > s.Last() && x.First() < n })
}

// applyBackLocked makes what w wrote the state in memory.
func (q *Queue) applyBackLocked(b *comeback, w *write, after []again) {
	for name, s := range w.touched {
		q.segments[name.Class] = append(q.segments[name.Class], s)
		sortSegments(q.segments[name.Class])
		q.highest[s.Epoch] = max(q.highest[s.Epoch], s.Last())
	}
	q.closeOthersLocked()
	q.totals, q.unmark = w.totals, nil
	for i := range b.list {
		s := &b.list[i]
		q.tookAside(s.size, 1)
		for _, rest := range q.rest(s) {
			q.tookAside(-int64(len(rest.Encode())+q.lockCost()), -1)
		}
		if s.waits {
			continue
		}
		b.c.again = s.without(b.c.again)
		st := stored.Stream{Class: s.Class, Epoch: s.Epoch}
		for _, c := range q.cursors {
			done := c.done[st]
			if c == b.c {
				done.Remove(s.part)
				state := stored.Cursor{Rejected: c.rejected, Before: c.before}
				giveBack(&state, s.Class, s.Tally)
				c.rejected, c.before = state.Rejected, state.Before
				c.buffered[s.Class].Add(s.Tally)
				c.hideLocked(s.Epoch, tidegate.Ranges{s.part})
			} else {
				for i := range s.frames {
					done.Add(tidegate.Range{First: s.frames[i].First, Last: s.frames[i].Last})
				}
			}
			c.done[st] = done
		}
	}
	for i, c := range q.cursors {
		s := &w.saved[i]
		c.savedChanges, c.ahead, c.saved = s.changes, s.ahead, s.done
	}
	b.c.mergeLocked(after)
	b.c.tellNextLocked()
}

// giveBack takes t out of what was rejected, or, where that was an earlier uplink of the same name, of what was gone before this one was added.
func giveBack(s *stored.Cursor, class tidegate.Class, t Tally) {
	from := &s.Rejected[class]
	if from.Records < t.Records || from.Readings < t.Readings {
		from = &s.Before[class]
	}
	from.Sub(Tally{Records: min(t.Records, from.Records), Readings: min(t.Readings, from.Readings)})
}
