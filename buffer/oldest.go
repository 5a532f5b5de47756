package buffer

import (
	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

// A firstOwed is the first record of a class that is not done, and its time: it is read once, and not at each look.
type firstOwed struct {
	place Place
	time  int64 // Unix milliseconds
}

// An owed is where the first record of a class that is not done stands: in a frame in memory, or in a segment.
type owed struct {
	Place
	frame   *Frame
	segment *segment
}

// oldest returns the time of the oldest record that is not done, Unix milliseconds, 0 where there is none. It reads a frame only where another
// record has become the first of its class since the last call. q.mu must not be held.
func (c *Cursor) oldest() int64 {
	oldest := int64(0)
	for class := range c.first {
		c.q.mu.Lock()
		at, known := c.owedLocked(tidegate.Class(class)), c.first[class]
		c.q.mu.Unlock()
		if at.frame == nil && at.segment == nil {
			continue
		}
		if known.place != at.Place {
			known = firstOwed{at.Place, c.timeOf(&at)}
			c.q.mu.Lock()
			c.first[class] = known
			c.q.mu.Unlock()
		}
		if oldest == 0 || known.time < oldest {
			oldest = known.time
		}
	}
	return oldest
}

// owedLocked returns where the first record of class stands that is not done.
func (c *Cursor) owedLocked(class tidegate.Class) (o owed) {
	if !forUplinks(class) {
		return o
	}
	for _, s := range c.q.segments[class] {
		if want := s.without(c.done[s.stream()], nil, 0); len(want) > 0 {
			x := *s
			o = owed{Place: Place{s.Epoch, want[0].First}, segment: &x}
			break
		}
	}
	for i := range c.recent {
		if f := &c.recent[i]; f.Class == class && o.segment != nil && f.Epoch == o.Epoch && f.First <= o.Number && o.Number <= f.Last {
			o.frame = f
		}
	}
	for i := range c.q.tails[class].frames {
		f := &c.q.tails[class].frames[i]
		want := c.done[stored.Stream{Class: class, Epoch: f.Epoch}].Missing(tidegate.Range{First: f.First, Last: f.Last})
		if len(want) == 0 {
			continue
		}
		if p := (Place{f.Epoch, want[0].First}); o.segment == nil || !o.Before(p) {
			o.Place, o.frame = p, f
		}
		break
	}
	if o.frame != nil {
		f := *o.frame
		o.frame = &f
	}
	return o
}

// timeOf returns the time of the record at o, Unix milliseconds. Of one that cannot be read its segment's earliest is known.
func (c *Cursor) timeOf(o *owed) int64 {
	f, t := o.frame, int64(0)
	if f == nil {
		t = o.segment.T0
		if _, err := c.q.walk(o.segment, o.Number, func(x Frame, _ tidegate.Ranges) bool { f = &x; return false }); err != nil || f == nil {
			return t
		}
		if f.First > o.Number || f.Last < o.Number {
			return t
		}
	}
	if t = f.T0; c.q.o.Span != nil {
		if t0, _, err := c.q.o.Span(f.Body, int(o.Number-f.First), 1); err == nil {
			t = t0
		}
	}
	return t
}
