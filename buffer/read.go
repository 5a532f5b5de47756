package buffer

import (
	"fmt"

	"github.com/tidegate-io/tidegate"
)

// walk calls f with the frames of segment s from the one that holds number from, in order, and with those of their numbers at or behind
// from that s holds; each number once. It ends when f returns false. The body is f's to keep. It returns what is missing
// of the numbers it passed: their frames are damaged or gone. q.mu must not be held.
func (q *Queue) walk(s *segment, from uint64, f func(fr Frame, held tidegate.Ranges) bool) (missing tidegate.Ranges, err error) {
	at, more := max(from, s.First()), true
	err = q.disk.Walk(s.Segment, at, at == s.First(), func(fr Frame) bool {
		if fr.Last < at {
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

// noteHurt asks for the declaration of what is unreadable in the segment.
func (q *Queue) noteHurt(s *segment) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if live := q.segmentLocked(s.Segment); live != nil && !live.Dropping {
		q.hurt[s.Segment] = true
		q.noteMoved()
	}
}

// A loss is what of a segment cannot be read.
type loss struct {
	ranges   tidegate.Ranges
	readings uint64
}

// lossOf reads all of s and returns what is missing.
func (q *Queue) lossOf(s *segment) (l loss, err error) {
	l.readings = s.Readings
	l.ranges, err = q.walk(s, s.First(), func(f Frame, held tidegate.Ranges) bool {
		n := uint64(f.Count)
		if held.Len() != f.Records() {
			n = 0
			for _, r := range held {
				x, err := q.o.Count(f.Body, int(r.First-f.First), int(r.Len()))
				if err == nil { // the CRC held: it cannot fail but by a fault of the codec
					n += uint64(x)
				}
			}
		}
		l.readings -= min(n, l.readings)
		return true
	})
	return l, err
}

// share returns how many readings the numbers rs of l held. It is exact where rs is all of l, or where all its records hold equally many.
func (l *loss) share(rs tidegate.Ranges) uint64 {
	n, all := rs.Len(), l.ranges.Len()
	if all == 0 {
		return 0
	}
	return l.readings/all*n + l.readings%all*n/all
}
