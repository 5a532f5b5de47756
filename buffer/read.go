package buffer

import (
	"fmt"
	"maps"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

// walk calls f with the frames of segment s from the one that holds number from, in order, and with those of their numbers at or behind
// from that s holds; each number once. It ends when f returns false. The body is f's to keep. It returns what is missing
// of the numbers it passed: their frames are damaged or gone. q.mu must not be held.
func (q *Queue) walk(s *segment, from uint64, f func(fr Frame, held tidegate.Ranges) bool) (missing tidegate.Ranges, err error) {
	at, more := max(from, s.First()), true
	err = q.disk.Walk(s.Segment, at, at == s.First(), func(fr Frame) bool {
		if fr.Last < at || fr.Sealed == 0 && s.Sealed != 0 { // the latter was put there by somebody else
			return true
		}
		held := s.Runs.Within(tidegate.Range{First: max(at, fr.First), Last: fr.Last})
		if len(held) == 0 {
			return true // of a commit that was not known to be durable, and was made again
		}
		if at < held[0].First {
			missing.AddAll(s.Runs.Within(tidegate.Range{First: at, Last: held[0].First - 1}))
		}
		at = fr.Last + 1
		more = f(fr, held)
		return more
	})
	if err != nil {
		return missing, fmt.Errorf("read segment %s: %w", s.Segment, err)
	}
	if more {
		missing.AddAll(s.Runs.Within(tidegate.Range{First: at, Last: s.Last()}))
	}
	return missing, nil
}

// Stored looks at committed frames of class that hold a record at or behind from, in order, whether uplinks want them or not: at least one
// frame if there is any, and about maxBytes of bodies. Want is what is held of each. What cannot be read is left out, see Held.
func (q *Queue) Stored(class tidegate.Class, from Place, maxBytes int) (out []Look, err error) {
	return q.Sweep(class, from, maxBytes, func(string, tidegate.Ranges) {})
}

// Sweep is Stored, and calls lacks with the numbers that it passed and that cannot be read, and with the name of their epoch.
func (q *Queue) Sweep(class tidegate.Class, from Place, maxBytes int, lacks func(epoch string, missing tidegate.Ranges)) (out []Look, err error) {
	q.mu.Lock()
	var list []segment
	for _, s := range q.segments[class] {
		if !s.Dropping && !s.Gone && !(Place{s.Epoch, s.Last()}).Before(from) {
			list = append(list, *s)
		}
	}
	names := maps.Clone(q.epochs)
	q.mu.Unlock()
	for i := 0; i < len(list) && maxBytes > 0; i++ {
		s, at := &list[i], uint64(0)
		if s.Epoch == from.Epoch {
			at = from.Number
		}
		missing, err := q.walk(s, at, func(f Frame, held tidegate.Ranges) bool {
			out = append(out, Look{Frame: f, EpochID: names[s.Epoch].ID, Want: held})
			maxBytes -= len(f.Body)
			return maxBytes > 0
		})
		if err != nil {
			return out, err
		}
		if len(missing) > 0 && q.isThere(s.Segment) {
			lacks(names[s.Epoch].ID, missing)
		}
	}
	return out, nil
}

// Frames calls f with the frames of the segment that hold a record at or behind from, in order, until it returns false; with none where it is being dropped. It
// returns the numbers that could not be read among those that it passed.
func (q *Queue) Frames(name Segment, from uint64, f func(Frame) bool) (missing tidegate.Ranges, err error) {
	q.mu.Lock()
	var s segment
	live := q.segmentLocked(name)
	if live != nil {
		s = *live
	}
	q.mu.Unlock()
	if live == nil || s.Dropping {
		return nil, nil
	}
	return q.walk(&s, from, func(fr Frame, _ tidegate.Ranges) bool { return f(fr) })
}

// isThere reports whether the segment was not dropped meanwhile.
func (q *Queue) isThere(name stored.Segment) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	live := q.segmentLocked(name)
	return live != nil && !live.Dropping
}

// Owed returns which records of class the uplink still wants, as of now: by epoch and number.
func (c *Cursor) Owed(class tidegate.Class) func(epoch uint32, number uint64) bool {
	c.q.mu.Lock()
	defer c.q.mu.Unlock()
	done := map[uint32]tidegate.Ranges{}
	for s, rs := range c.done {
		if s.Class == class {
			done[s.Epoch] = rs.Clone()
		}
	}
	return func(epoch uint32, number uint64) bool { return !done[epoch].Contains(number) }
}

// Held returns the numbers of class that are committed and not dropped, by epoch ordinal.
func (q *Queue) Held(class tidegate.Class) map[uint32]tidegate.Ranges {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := map[uint32]tidegate.Ranges{}
	for _, s := range q.segments[class] {
		if !s.Dropping {
			held := out[s.Epoch]
			held.AddAll(s.Runs)
			out[s.Epoch] = held
		}
	}
	return out
}

// noteHurt asks for the declaration of what is unreadable in the segment.
func (q *Queue) noteHurt(s *segment) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if live := q.segmentLocked(s.Segment); live != nil && !live.Dropping {
		q.hurt[s.Segment] = true
		q.noteMoved()
	}
}

// A loss is what of a segment cannot be read, and how much of it was meant for the uplink.
type loss struct {
	Tally
	ranges tidegate.Ranges
}

// lossOf reads all of s and returns what is missing.
func (c *Cursor) lossOf(s *segment) (l loss, err error) {
	l.Tally = s.Mine(c.name)
	l.ranges, err = c.q.walk(s, s.First(), func(f Frame, held tidegate.Ranges) bool {
		for _, r := range held {
			x, err := c.q.count(&f, r, c.name)
			if err == nil { // the CRC held: it cannot fail but by a fault of the codec
				l.Sub(Tally{Records: min(x.Records, l.Records), Readings: min(x.Readings, l.Readings)})
			}
		}
		return true
	})
	return l, err
}

// share returns how much of l the numbers rs held. It is exact where rs is all of l, or where all its records hold equally many, for the same uplinks.
func (l *loss) share(rs tidegate.Ranges) Tally {
	n, all := rs.Len(), l.ranges.Len()
	if all == 0 {
		return Tally{}
	}
	of := func(v uint64) uint64 { return v/all*n + v%all*n/all }
	return Tally{Records: of(l.Records), Readings: of(l.Readings)}
}
