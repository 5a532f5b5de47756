package buffer

import (
	"fmt"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

// A part is what was found of the numbers that were asked for, in one class: all numbers, and how much of them is meant for the uplink.
type part struct {
	Tally
	ranges tidegate.Ranges
}

// parts are by class.
type parts [stored.Classes]part

// A search is what find needs to know of one class, so that it can look without holding Queue.mu.
type search struct {
	rest     tidegate.Ranges // numbers not found yet
	frames   []Frame         // in memory
	segments []segment
}

// find counts which numbers of rs are held and not done for c, by class. It reads the disk where it must; q.mu must not be held.
func (c *Cursor) find(e uint32, rs tidegate.Ranges) (found parts, err error) {
	var searches [stored.Classes]search
	c.q.mu.Lock()
	for class := range searches {
		searches[class] = c.searchLocked(stored.Stream{Class: tidegate.Class(class), Epoch: e}, rs)
	}
	c.q.mu.Unlock()
	for class := range searches {
		s := &searches[class]
		for i := range s.frames {
			if err := c.countIn(&found[class], &s.frames[i], &s.rest); err != nil {
				return found, err
			}
		}
		for i := range s.segments {
			if len(s.rest) == 0 {
				break
			}
			if err := c.findStored(&found[class], &s.segments[i], &s.rest); err != nil {
				return found, err
			}
		}
	}
	return found, nil
}

func (c *Cursor) searchLocked(st stored.Stream, rs tidegate.Ranges) (s search) {
	q, done := c.q, c.done[st]
	if !forUplinks(st.Class) {
		return s
	}
	for _, r := range rs {
		r.First, r.Last = max(r.First, q.epochs[st.Epoch].Start, 1), min(r.Last, q.highest[st.Epoch])
		s.rest.AddAll(done.Missing(r))
	}
	if len(s.rest) == 0 {
		return s
	}
	span := tidegate.Range{First: s.rest[0].First, Last: s.rest[len(s.rest)-1].Last}
	s.frames = q.tails[st.Class].overlapping(st.Epoch, span)
	var shown []Frame
	for i := range c.recent {
		if f := &c.recent[i]; f.Class == st.Class && f.Epoch == st.Epoch && f.First <= span.Last && f.Last >= span.First {
			shown = append(shown, *f)
		}
	}
	if len(shown) > 0 {
		s.frames = append(shown, s.frames...)
	}
	for _, x := range q.segments[st.Class] {
		if x.Epoch == st.Epoch && x.First() <= span.Last && x.Last() >= span.First {
			s.segments = append(s.segments, *x)
		}
	}
	return s
}

// countIn counts what f holds of rest into p, and takes it out of rest.
func (c *Cursor) countIn(p *part, f *Frame, rest *tidegate.Ranges) error {
	for _, r := range rest.Within(tidegate.Range{First: f.First, Last: f.Last}) {
		t, err := c.q.count(f, r, c.name)
		if err != nil {
			return fmt.Errorf("count readings of records %d to %d: %w", r.First, r.Last, err)
		}
		p.Add(t)
		p.ranges.Add(r)
		rest.Remove(r)
	}
	return nil
}

// findStored counts what s holds of rest into p, and takes it out of rest. What cannot be read any more is counted as its share.
func (c *Cursor) findStored(p *part, s *segment, rest *tidegate.Ranges) error {
	need := s.held(*rest)
	if len(need) == 0 {
		return nil
	}
	for _, r := range need {
		rest.Remove(r)
	}
	if need.Len() == s.Records {
		p.Add(s.Mine(c.name))
		p.ranges.AddAll(need)
		return nil
	}
	var failed error
	last := need[len(need)-1].Last
	_, err := c.q.walk(s, need[0].First, func(f Frame, _ tidegate.Ranges) bool {
		if len(need.Within(tidegate.Range{First: f.First, Last: f.Last})) > 0 {
			failed = c.countIn(p, &f, &need)
			c.remember(f)
		}
		return failed == nil && f.Last < last
	})
	if failed != nil {
		err = failed
	}
	if err != nil || len(need) == 0 {
		return err
	}
	l, err := c.lossOf(s)
	if err != nil {
		return err
	}
	need = intersection(need, l.ranges)
	c.q.noteHurt(s)
	p.Add(l.share(need))
	p.ranges.AddAll(need)
	return nil
}

func intersection(a, b tidegate.Ranges) (out tidegate.Ranges) {
	for _, r := range a {
		out.AddAll(b.Within(r))
	}
	return out
}

// recentBytes bounds the bodies in Cursor.recent.
const recentBytes = 2 << 20

// remember keeps a frame that was read from disk, with a body of its own, because records of it will be acknowledged, part by part.
func (c *Cursor) remember(f Frame) {
	c.q.mu.Lock()
	defer c.q.mu.Unlock()
	bytes := len(f.Body)
	for i := range c.recent {
		if c.recent[i].Epoch == f.Epoch && c.recent[i].First == f.First {
			return
		}
		bytes += len(c.recent[i].Body)
	}
	for len(c.recent) > 0 && bytes > recentBytes {
		bytes -= len(c.recent[0].Body)
		c.recent[0] = Frame{}
		c.recent = c.recent[1:]
	}
	c.recent = append(c.recent, f)
}

// stillWantsLocked reports whether nothing of found was done meanwhile.
func (c *Cursor) stillWantsLocked(e uint32, found *parts) bool {
	for class := range found {
		done := c.done[stored.Stream{Class: tidegate.Class(class), Epoch: e}]
		for _, r := range found[class].ranges {
			if len(done.Within(r)) > 0 {
				return false
			}
		}
	}
	return true
}

// settle makes what is held of rs done and counts it into t.
func (c *Cursor) settle(e uint32, rs tidegate.Ranges, t *Tallies) (some bool, err error) {
	for {
		found, err := c.find(e, rs)
		if err != nil {
			return some, err
		}
		c.q.mu.Lock()
		if !c.stillWantsLocked(e, &found) { // another goroutine settled some of it: count again
			c.q.mu.Unlock()
			continue
		}
		for class := range found {
			p := &found[class]
			if len(p.ranges) == 0 {
				continue
			}
			st := stored.Stream{Class: tidegate.Class(class), Epoch: e}
			done := c.done[st]
			done.AddAll(p.ranges)
			c.done[st] = done
			t[class].Add(p.Tally)
			c.buffered[class].Sub(p.Tally)
			c.changes++
			some = true
		}
		if c.toldLocked(e, rs) {
			c.changes++
			some = true
		}
		c.tellNextLocked()
		c.q.mu.Unlock()
		return some, nil
	}
}
