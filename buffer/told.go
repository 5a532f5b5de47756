package buffer

import (
	"fmt"
	"slices"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/disk"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

// Records of class debug are sent to nobody, but they have numbers: a far side that counts what it has would wait for them, and as a receipt names
// only so many holes, it would come to a stop. So it is told to skip them, with the next record behind them. Until it has confirmed that, the
// numbers are kept for it, also when the frames are gone.

const (
	// mostTold bounds the runs of numbers to skip in one call of Next.
	mostTold = 1000
	// mostTellable is the same for other classes than reading, which go first: what is left is told with readings.
	mostTellable = 64
	// runCost is how much of the limit a run of numbers takes beyond the first of its segment: it stays in memory for as long.
	runCost = 1 << 10
)

// mark adds to looks of class what the far side is to skip.
func (c *Cursor) mark(class tidegate.Class, looks []Look) {
	for i := range looks {
		l := &looks[i]
		if !l.Apart {
			continue
		}
		x, err := c.q.cuts(&l.Frame)
		if err != nil {
			continue // the forwarder sets it aside when it decodes it
		}
		l.Idle = true
		for _, r := range l.Want {
			for _, one := range x.records[r.First-l.First : r.Last-l.First+1] {
				if x.mine(one, c.name) {
					l.Idle = false
				} else {
					l.Away += uint32(one.readings)
				}
			}
		}
	}
	c.q.mu.Lock()
	defer c.q.mu.Unlock()
	left := mostTellable
	if class == tidegate.ClassReading {
		left = mostTold
	}
	var before Place
	for i := range looks {
		l := &looks[i]
		in := tidegate.Range{Last: l.Last}
		if before.Epoch == l.Epoch {
			in.First = before.Number
		}
		before = Place{l.Epoch, l.Last + 1}
		l.Skip = c.untoldLocked(l.Epoch, in, c.hidden[l.Epoch])
		l.Skip = l.Skip[:min(len(l.Skip), left)]
		left -= len(l.Skip)
	}
}

// untoldLocked returns the numbers in in, but those in but, of records of class debug that the far side was not told to skip.
func (c *Cursor) untoldLocked(e uint32, in tidegate.Range, but tidegate.Ranges) (out tidegate.Ranges) {
	const debug = tidegate.ClassDebug
	done := c.done[stored.Stream{Class: debug, Epoch: e}]
	list := c.q.segments[debug]
	from, to := 0, len(list)
	for ; from < to && list[from].Epoch < e; from++ {
	}
	for ; to > from && list[to-1].Epoch > e; to-- {
	}
	if from < to && len(done) > 0 && done[0].First <= list[from].First() {
		in.First = max(in.First, done[0].Last+1) // told without a break from the oldest on
	}
	if in.Len() == 0 {
		return nil
	}
	for i := to - 1; i >= from && list[i].Last() >= in.First; i-- {
		if list[i].First() <= in.Last {
			for _, r := range list[i].Runs.Within(in) {
				out.AddAll(done.Missing(r))
			}
		}
	}
	for _, f := range c.q.tails[debug].overlapping(e, in) {
		out.AddAll(done.Missing(tidegate.Range{First: max(f.First, in.First), Last: min(f.Last, in.Last)}))
	}
	for _, h := range but {
		out.Remove(h)
	}
	return out
}

// toldLocked notes that the far side skips what of rs is of class debug.
func (c *Cursor) toldLocked(e uint32, rs tidegate.Ranges) (some bool) {
	st := stored.Stream{Class: tidegate.ClassDebug, Epoch: e}
	done := c.done[st]
	for _, r := range rs {
		for _, x := range c.untoldLocked(e, r, nil) {
			done.Add(x)
			some = true
		}
	}
	if some {
		c.done[st] = done
	}
	return some
}

// owesLocked reports whether a far side is still to be told of the numbers of s, of class debug, as far as is on disk.
func (q *Queue) owesLocked(s *segment) bool {
	for _, c := range q.cursors {
		done := c.saved[s.stream()]
		for _, r := range s.Runs {
			if !done.Covers(r) {
				return true
			}
		}
	}
	return false
}

// leave keeps the index of s, whose frames were dropped, where a far side is still to be told of its numbers.
func (q *Queue) leave(s *segment) (gone bool, err error) {
	if forUplinks(s.Class) {
		return false, nil
	}
	q.mu.Lock()
	next := *s
	gone = q.owesLocked(s)
	q.mu.Unlock()
	if !gone {
		return false, nil
	}
	next.Gone = true
	if err := q.beside([]disk.Pair{{Key: s.Key(stored.KeyIndex), Value: next.Encode()}}, nil); err != nil {
		return false, fmt.Errorf("mark segment %s as gone: %w", s.Segment, err)
	}
	q.mu.Lock()
	s.Gone = true
	q.mu.Unlock()
	return true, nil
}

// forgetToldLocked forgets the segments that are gone and of which all far sides know.
func (q *Queue) forgetToldLocked() {
	const debug = tidegate.ClassDebug
	told := func(s *segment) bool { return s.Gone && !q.owesLocked(s) }
	if !slices.ContainsFunc(q.segments[debug], told) {
		return
	}
	var kept []*segment
	for _, s := range q.segments[debug] {
		if told(s) {
			q.unmark = append(q.unmark, s.Key(stored.KeyIndex))
		} else {
			kept = append(kept, s)
		}
	}
	q.segments[debug] = kept
}
