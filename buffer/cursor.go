package buffer

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"

	"github.com/tidegate-io/tidegate"
)

// A Cursor is one uplink's place in the queue: which records are done for it. It is safe for concurrent use.
type Cursor struct {
	q    *Queue
	name string
	wake chan struct{} // cap 1

	// All below is guarded by q.mu.
	done      map[uint32]tidegate.Ranges // by epoch
	delivered Tallies
	rejected  Tallies
	declared  Tallies
	buffered  Tallies                    // held and not done; counted on its own, so that the account can be checked
	saved     map[uint32]tidegate.Ranges // done as of the last commit
	hidden    map[uint32]tidegate.Ranges // rejected, but not declared yet: not shown
	dirty     bool
	recent    []Look // frames from disk that Next showed last, for Ack to count in
}

// maxRecent bounds Cursor.recent.
const maxRecent = 16

// A cursorState is what a commit stores of a cursor.
type cursorState struct {
	done                          map[uint32]tidegate.Ranges
	delivered, rejected, declared Tallies
	acked                         []uint32 // epochs of which a record was acknowledged to any cursor
}

func binaryEpoch(e uint32) []byte { return binary.BigEndian.AppendUint32(nil, e) }

// Cursor returns the cursor of the uplink with that name, which Options.Uplinks holds.
func (q *Queue) Cursor(uplink string) (*Cursor, error) {
	for _, c := range q.cursors {
		if c.name == uplink {
			return c, nil
		}
	}
	return nil, fmt.Errorf("no cursor %q", uplink)
}

func (c *Cursor) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Changed is signalled when something new may be visible.
func (c *Cursor) Changed() <-chan struct{} { return c.wake }

// Next looks at frames of class that lie at or behind from, in order, each with at least one record that the cursor still wants:
// at least one frame if there is any, and not more than about maxBytes of bodies. It never waits. The bodies are not to be changed.
func (c *Cursor) Next(class tidegate.Class, from Place, maxBytes int) ([]Look, error) {
	if int(class) >= len(c.q.tails) {
		return nil, nil
	}
	var out []Look
	room := maxBytes
	// What lies before the tail comes from disk.
	c.q.mu.Lock()
	start, ok := c.q.tails[class].start()
	stored := c.q.storedLocked(class, from, start, ok)
	c.q.mu.Unlock()
	for _, s := range stored {
		looks, err := c.read(s, from, start, ok, &room)
		if err != nil {
			return out, err
		}
		out = append(out, looks...)
		if room <= 0 {
			return out, nil
		}
	}
	c.q.mu.Lock()
	defer c.q.mu.Unlock()
	if now, has := c.q.tails[class].start(); has && ok && start.Before(now) {
		return out, nil // it was trimmed meanwhile: the rest comes from disk at the next call
	}
	for _, f := range c.q.tails[class].from(from) {
		want := missing(c.done[f.Epoch], c.hidden[f.Epoch], f, from)
		if len(want) == 0 {
			continue
		}
		out = append(out, Look{Frame: f, EpochID: c.q.epochs[f.Epoch].ID, Want: want})
		if room -= len(f.Body); room <= 0 {
			break
		}
	}
	return out, nil
}

// missing returns the numbers of f, at or behind from, that are neither done nor hidden.
func missing(done, hidden tidegate.Ranges, f Frame, from Place) tidegate.Ranges {
	r := tidegate.Range{First: f.First, Last: f.Last}
	if f.Epoch == from.Epoch {
		r.First = max(r.First, from.Number)
	}
	want := done.Missing(r)
	for _, h := range hidden {
		want.Remove(h)
	}
	return want
}

// read looks at the frames of segment s between from and the tail's start.
func (c *Cursor) read(s segment, from, start Place, bounded bool, room *int) ([]Look, error) {
	c.q.mu.Lock()
	done, hidden := c.done[s.epoch].Clone(), c.hidden[s.epoch].Clone()
	id := c.q.epochs[s.epoch].ID
	c.q.mu.Unlock()
	if done.Covers(tidegate.Range{First: s.first(), Last: s.last()}) {
		return nil, nil
	}
	seek := s.first()
	if s.epoch == from.Epoch {
		seek = max(seek, from.Number)
	}
	if first := done.Missing(tidegate.Range{First: seek, Last: s.last()}); len(first) > 0 {
		seek = first[0].First
	} else {
		return nil, nil
	}
	var out []Look
	err := c.q.frames(s, seek, func(f Frame) bool {
		if bounded && !(Place{f.Epoch, f.First}).Before(start) {
			return false
		}
		want := missing(done, hidden, f, from)
		if bounded && f.Epoch == start.Epoch {
			want = want.Within(tidegate.Range{First: 0, Last: start.Number - 1})
		}
		if len(want) == 0 {
			return true
		}
		f.Body = slices.Clone(f.Body)
		out = append(out, Look{Frame: f, EpochID: id, Want: want})
		*room -= len(f.Body)
		return *room > 0
	})
	c.q.mu.Lock()
	c.recent = append(c.recent, out...)
	if n := len(c.recent) - maxRecent; n > 0 {
		c.recent = slices.Clone(c.recent[n:])
	}
	c.q.mu.Unlock()
	return out, err
}

// Ack notes that the far side has the records of rs. Numbers that are done already or were never given are ignored.
func (c *Cursor) Ack(epoch string, rs tidegate.Ranges) error {
	c.q.mu.Lock()
	defer c.q.mu.Unlock()
	for _, e := range c.q.ordinalsLocked(epoch) {
		if err := c.finishLocked(e, rs, &c.delivered); err != nil {
			return err
		}
	}
	return nil
}

// ordinalsLocked returns the epochs called id, rising.
func (q *Queue) ordinalsLocked(id string) []uint32 {
	var out []uint32
	for e, x := range q.epochs {
		if x.ID == id {
			out = append(out, e)
		}
	}
	slices.Sort(out)
	return out
}

// finishLocked makes rs done and counts what was not done before into t.
func (c *Cursor) finishLocked(e uint32, rs tidegate.Ranges, t *Tallies) error {
	done := c.done[e]
	var fresh tidegate.Ranges
	for _, r := range rs {
		r.Last = min(r.Last, c.q.highest[e])
		r.First = max(r.First, c.q.epochs[e].Start, 1)
		fresh.AddAll(done.Missing(r))
	}
	if len(fresh) == 0 {
		return nil
	}
	counts, err := c.countLocked(e, fresh)
	if err != nil {
		return err
	}
	for class, x := range counts {
		t[class].add(x.Records, x.Readings)
		c.buffered[class].sub(x)
	}
	done.AddAll(fresh)
	c.done[e] = done
	c.dirty = true
	c.q.acked[e] = true
	select {
	case c.q.moved <- struct{}{}:
	default:
	}
	return nil
}

// Moved is signalled (capacity 1) when a cursor moved, so that it can be committed some time after.
func (q *Queue) Moved() <-chan struct{} { return q.moved }

// declareLocked makes the numbers of d done and counts what is still held of them. d may come twice.
func (c *Cursor) declareLocked(d *Declaration) {
	into := &c.declared
	if d.Cause == tidegate.CauseRejected {
		into = &c.rejected
	}
	done := c.done[d.Epoch]
	var fresh tidegate.Ranges
	for _, r := range d.Ranges {
		fresh.AddAll(done.Missing(r))
	}
	if len(fresh) == 0 {
		return
	}
	switch d.Cause {
	case tidegate.CauseOverflow, tidegate.CauseRejected, tidegate.CauseDamaged:
		counts, err := c.countLocked(d.Epoch, fresh)
		if err != nil { // what cannot be read is what the declaration says
			counts = Tallies{}
			counts[tidegate.ClassReading] = Tally{fresh.Len(), d.Count}
		}
		for class, x := range counts {
			into[class].add(x.Records, x.Readings)
			if err == nil {
				c.buffered[class].sub(x)
			}
		}
	default:
		into[tidegate.ClassReading].add(0, d.Count)
		if d.Cause == tidegate.CauseRingFull {
			into[tidegate.ClassReading].Records += fresh.Len()
		}
	}
	done.AddAll(fresh)
	c.done[d.Epoch] = done
	c.dirty = true
}

// countBufferedLocked counts what the store holds that is not done; for a start.
func (c *Cursor) countBufferedLocked() error {
	c.buffered = Tallies{}
	for class := range c.q.segments {
		for _, s := range c.q.segments[class] {
			want := tidegate.Ranges{}
			for _, r := range s.runs {
				want.AddAll(c.done[s.epoch].Missing(r))
			}
			switch want.Len() {
			case 0:
			case s.records:
				c.buffered[class].add(s.records, s.readings)
			default:
				counts, err := c.countLocked(s.epoch, want)
				if err != nil {
					return err
				}
				for i, t := range counts {
					c.buffered[i].add(t.Records, t.Readings)
				}
			}
		}
	}
	return nil
}

// countLocked counts the held records of rs and their readings, by class.
func (c *Cursor) countLocked(e uint32, rs tidegate.Ranges) (Tallies, error) {
	var t Tallies
	for _, r := range rs {
		rest := tidegate.Ranges{r}
		for class := range c.q.tails {
			for _, f := range c.q.tails[class].overlapping(e, r) {
				if err := c.q.countIn(&t, &f, &rest); err != nil {
					return t, err
				}
			}
		}
		for i := range c.recent {
			if c.recent[i].Epoch == e && len(rest) > 0 {
				if err := c.q.countIn(&t, &c.recent[i].Frame, &rest); err != nil {
					return t, err
				}
			}
		}
		if len(rest) == 0 {
			continue
		}
		if err := c.q.countStoredLocked(&t, e, &rest); err != nil {
			return t, err
		}
	}
	return t, nil
}

// countIn counts what f holds of rest into t, and takes it out of rest.
func (q *Queue) countIn(t *Tallies, f *Frame, rest *tidegate.Ranges) error {
	whole := tidegate.Range{First: f.First, Last: f.Last}
	for _, r := range rest.Within(whole) {
		n := int(f.Count)
		if r != whole {
			var err error
			if n, err = q.o.Count(f.Body, int(r.First-f.First), int(r.Len())); err != nil {
				return fmt.Errorf("count readings of records %d to %d: %w", r.First, r.Last, err)
			}
		}
		t[f.Class].add(r.Len(), uint64(n))
		rest.Remove(r)
	}
	return nil
}

// countStoredLocked counts what the store holds of rest.
func (q *Queue) countStoredLocked(t *Tallies, e uint32, rest *tidegate.Ranges) error {
	span := tidegate.Range{First: (*rest)[0].First, Last: (*rest)[len(*rest)-1].Last}
	for class := range q.segments {
		for _, s := range q.segments[class] {
			if s.epoch != e || s.last() < span.First || s.first() > span.Last {
				continue
			}
			var failed error
			err := q.frames(*s, max(span.First, s.first()), func(f Frame) bool {
				failed = q.countIn(t, &f, rest)
				return failed == nil && f.Last < span.Last && len(*rest) > 0
			})
			if failed != nil {
				return failed
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// stateLocked returns what a commit stores of c now.
func (c *Cursor) stateLocked() cursorState {
	s := cursorState{done: make(map[uint32]tidegate.Ranges, len(c.done)), delivered: c.delivered, rejected: c.rejected, declared: c.declared}
	for e, r := range c.done {
		s.done[e] = r.Clone()
	}
	s.acked = slices.Sorted(maps.Keys(c.q.acked))
	return s
}

// committedLocked notes that s is on disk.
func (c *Cursor) committedLocked(s cursorState) {
	c.saved = s.done
	c.dirty = c.delivered != s.delivered || c.rejected != s.rejected || c.declared != s.declared || !sameDone(c.done, s.done)
}

func sameDone(a, b map[uint32]tidegate.Ranges) bool {
	return maps.EqualFunc(a, b, func(x, y tidegate.Ranges) bool { return slices.Equal(x, y) })
}

func (s *cursorState) encode() []byte {
	w := packer{}
	w.uint(1) // version
	for _, t := range []*Tallies{&s.delivered, &s.rejected, &s.declared} {
		for _, x := range t {
			w.uint(x.Records)
			w.uint(x.Readings)
		}
	}
	w.uint(uint64(len(s.done)))
	for _, e := range slices.Sorted(maps.Keys(s.done)) {
		w.uint(uint64(e))
		w.ranges(s.done[e])
	}
	w.uint(uint64(len(s.acked)))
	for _, e := range s.acked {
		w.uint(uint64(e))
	}
	return w.b
}

func decodeCursor(b []byte) (s cursorState, err error) {
	u := unpacker{b: b}
	u.uint()
	for _, t := range []*Tallies{&s.delivered, &s.rejected, &s.declared} {
		for i := range t {
			t[i].Records, t[i].Readings = u.uint(), u.uint()
		}
	}
	s.done = map[uint32]tidegate.Ranges{}
	for range u.uint() {
		if u.err != nil {
			break
		}
		e := uint32(u.uint())
		s.done[e] = u.ranges()
	}
	for range u.uint() {
		if u.err != nil {
			break
		}
		s.acked = append(s.acked, uint32(u.uint()))
	}
	return s, u.done("cursor")
}

// Dirty reports whether a cursor moved since the last commit.
func (q *Queue) Dirty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, c := range q.cursors {
		if c.dirty {
			return true
		}
	}
	return false
}
