package buffer

import (
	"fmt"
	"maps"
	"slices"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

// A Cursor is one uplink's place in the queue: which records are done for it. It is safe for concurrent use.
type Cursor struct {
	q    *Queue
	name string
	wake chan struct{} // cap 1

	// All below is guarded by q.mu.
	done      map[stored.Stream]tidegate.Ranges // numbers that are held, and what lies between (compactLocked)
	hidden    map[uint32]tidegate.Ranges        // asked to be declared: not shown; by epoch
	delivered Tallies
	rejected  Tallies
	declared  Tallies
	thinned   Tallies
	routed    Tallies // committed, and meant for another uplink only
	before    Tallies // produced before the uplink was added, and gone by then
	buffered  Tallies // held and not done; counted on its own, so that the account can be checked

	changes      uint64 // rises with each change of what a commit stores
	savedChanges uint64 // as of the last commit
	ahead        bool   // the last commit left out what was done of records that it did not hold
	saved        map[stored.Stream]tidegate.Ranges
	recent       []Frame // read from disk last

	again        []again // goes to the uplink again, the oldest first
	againChanges uint64  // rises with each change of it that a commit stores
	againSaved   uint64  // as of the last commit
	returned     *Place  // from where on records have come back since Returned
	first        [stored.Classes]firstOwed
}

// Cursor returns the cursor of the uplink with that name, which Options.Uplinks holds.
func (q *Queue) Cursor(uplink string) (*Cursor, error) {
	for _, c := range q.cursors {
		if c.name == uplink {
			return c, nil
		}
	}
	return nil, fmt.Errorf("no cursor %q", uplink)
}

// Changed is signalled when something new may be visible.
func (c *Cursor) Changed() <-chan struct{} { return c.wake }

// Next looks at frames of class that lie at or behind from, in order, each with at least one record that the cursor still wants:
// at least one frame if there is any, and not more than about maxBytes of bodies. It waits for nothing but the disk. The bodies are
// not to be changed.
func (c *Cursor) Next(class tidegate.Class, from Place, maxBytes int) ([]Look, error) {
	if uint64(class) >= stored.Classes || !forUplinks(class) {
		return nil, nil
	}
	out, err := c.next(class, from, maxBytes)
	if err == nil {
		c.mark(class, out)
	}
	return out, err
}

func (c *Cursor) next(class tidegate.Class, from Place, maxBytes int) ([]Look, error) {
	var out []Look
	for room := maxBytes; ; {
		c.q.mu.Lock()
		r := c.nextLocked(class, from)
		if r == nil {
			out = c.lookTailLocked(out, class, from, room)
			c.q.mu.Unlock()
			return out, nil
		}
		c.q.mu.Unlock()
		looks, err := c.read(r, room)
		if err != nil {
			return out, err
		}
		out = append(out, looks...)
		for i := range looks {
			room -= len(looks[i].Body)
		}
		if room <= 0 && len(out) > 0 {
			return out, nil
		}
		from = Place{r.Epoch, r.last + 1}
		if n := len(looks); n > 0 {
			from.Number = max(from.Number, looks[n-1].Last+1)
		}
	}
}

// A stretch is what is to be read of one segment.
type stretch struct {
	segment
	id   string          // name of the epoch
	want tidegate.Ranges // not empty; also what is in the tail as well, since a frame on disk may reach into it
	last uint64          // the last of them before the tail
}

// nextLocked returns the first segment with something that the cursor wants, at or behind from and before the tail; nil if there is none.
func (c *Cursor) nextLocked(class tidegate.Class, from Place) *stretch {
	start, bounded := c.q.tails[class].start()
	for _, s := range c.q.segments[class] {
		if s.Dropping || (Place{s.Epoch, s.Last()}).Before(from) {
			continue
		}
		if bounded && !(Place{s.Epoch, s.First()}).Before(start) {
			return nil
		}
		at := uint64(0)
		if s.Epoch == from.Epoch {
			at = from.Number
		}
		want := s.without(c.done[s.stream()], c.hidden[s.Epoch], at)
		before := want
		if bounded && s.Epoch == start.Epoch {
			before = want.Within(tidegate.Range{First: 0, Last: start.Number - 1})
		}
		if n := len(before); n > 0 {
			return &stretch{*s, c.q.epochs[s.Epoch].ID, want, before[n-1].Last}
		}
	}
	return nil
}

// read looks at the frames of r, until they take room bytes.
func (c *Cursor) read(r *stretch, room int) ([]Look, error) {
	var out []Look
	for from := r.want[0].First; ; from = r.First() {
		out = out[:0]
		left := room
		missing, err := c.q.walk(&r.segment, from, func(f Frame, held tidegate.Ranges) bool {
			if want := intersection(held, r.want); len(want) > 0 {
				c.remember(f)
				out = append(out, Look{Frame: f, EpochID: r.id, Want: want})
				left -= len(f.Body)
			}
			return left > 0 && f.Last < r.last
		})
		if err != nil || len(intersection(missing, r.want)) == 0 {
			return out, err
		}
		if from == r.First() {
			c.q.noteHurt(&r.segment)
			return out, nil
		}
	}
}

func (c *Cursor) lookTailLocked(out []Look, class tidegate.Class, from Place, room int) []Look {
	for _, f := range c.q.tails[class].from(from) {
		r := tidegate.Range{First: f.First, Last: f.Last}
		if f.Epoch == from.Epoch {
			r.First = max(r.First, from.Number)
		}
		want := c.done[stored.Stream{Class: class, Epoch: f.Epoch}].Missing(r)
		for _, h := range c.hidden[f.Epoch] {
			want.Remove(h)
		}
		if len(want) == 0 {
			continue
		}
		out = append(out, Look{Frame: f, EpochID: c.q.epochs[f.Epoch].ID, Want: want})
		if room -= len(f.Body); room <= 0 {
			break
		}
	}
	return out
}

// Ack notes that the far side has the records of rs. Numbers that are done already or were never given are ignored.
func (c *Cursor) Ack(epoch string, rs tidegate.Ranges) error {
	c.q.mu.Lock()
	ordinals := c.q.ordinalsLocked(epoch)
	c.q.mu.Unlock()
	for _, e := range ordinals {
		some, err := c.settle(e, c.trusted(e, rs), &c.delivered)
		if err != nil {
			return fmt.Errorf("acknowledge: %w", err)
		}
		if some {
			c.q.mu.Lock()
			if !c.q.acked[e] {
				c.q.acked[e] = true
				c.changes++ // a commit may have stored what is done in the meantime, without this
			}
			c.q.mu.Unlock()
			c.q.noteMoved()
		}
		c.heard(e, rs)
	}
	return nil
}

// compactLocked closes holes of c.done in which nothing of the class is held, so that it does not grow with records of other classes
// between those that are done. It looks only at numbers that are committed: others may still come.
func (c *Cursor) compactLocked() {
	const few = 32
	for st, done := range c.done {
		if len(done) <= few {
			continue
		}
		bound := c.q.committedLocked(st.Epoch)
		out := done[:1:1]
		var runs tidegate.Ranges
		for _, s := range c.q.segments[st.Class] {
			if s.Epoch == st.Epoch && s.Last() > done[0].Last && s.First() < done[len(done)-1].First {
				runs = append(runs, s.Runs...)
			}
		}
		for _, r := range done[1:] {
			last := &out[len(out)-1]
			hole := tidegate.Range{First: last.Last + 1, Last: r.First - 1}
			if hole.Last < bound && len(runs.Within(hole)) == 0 {
				last.Last = r.Last
			} else {
				out = append(out, r)
			}
		}
		c.done[st] = out
	}
}

// committedLocked returns the number of the epoch below which all records are committed.
func (q *Queue) committedLocked(epoch uint32) uint64 {
	switch {
	case epoch < q.position.Epoch:
		return 1<<64 - 1
	case epoch == q.position.Epoch:
		return q.position.Next
	}
	return 0
}

// stateLocked returns what a commit up to place p stores of c. What is done of records behind p is left out: until they are committed
// themselves they are counted as little as they are kept.
func (c *Cursor) stateLocked(p Place) (s stored.Cursor, ahead bool) {
	c.compactLocked()
	s = stored.Cursor{
		Done: make(map[stored.Stream]tidegate.Ranges, len(c.done)), Delivered: c.delivered, Rejected: c.rejected, Declared: c.declared,
		Before: c.before, Acked: slices.Sorted(maps.Keys(c.q.acked)), Routed: c.routed, Thinned: c.thinned,
	}
	for st, done := range c.done {
		done = done.Clone()
		switch {
		case st.Epoch > p.Epoch:
			done = nil
		case st.Epoch == p.Epoch:
			done.Remove(tidegate.Range{First: p.Number, Last: 1<<64 - 1})
		}
		if len(done) > 0 {
			s.Done[st] = done
		}
	}
	for class := range c.q.tails {
		for _, f := range c.q.tails[class].from(p) {
			r := tidegate.Range{First: f.First, Last: f.Last}
			if f.Epoch == p.Epoch {
				r.First = max(r.First, p.Number)
			}
			done := c.done[stored.Stream{Class: f.Class, Epoch: f.Epoch}].Within(r)
			if len(done) == 0 {
				continue
			}
			ahead = true
			var x part
			if !forUplinks(f.Class) {
				continue
			}
			if err := c.countIn(&x, &f, &done); err != nil {
				c.q.o.Log.Error("count what is not committed", "err", err)
			}
			s.Delivered[class].Sub(x.Tally)
		}
	}
	return s, ahead
}
