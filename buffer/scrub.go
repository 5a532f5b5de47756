package buffer

import (
	"cmp"

	"github.com/tidegate-io/tidegate"
)

// A Mark is how far Verify has come; zero = nowhere.
type Mark struct {
	class tidegate.Class
	place Place
	begun bool
}

// Verify reads the segment behind m, verifies all its frames, and has what cannot be read declared, as reading it for an uplink does. It returns the
// mark of the segment, how many bytes and records it holds, of which so many are missing; ok is false where there is none behind m. Any goroutine may
// call it, beside all else.
func (q *Queue) Verify(m Mark) (next Mark, bytes int64, missing uint64, ok bool, err error) {
	q.mu.Lock()
	var s segment
	for class := m.class; !ok && uint64(class) < uint64(len(q.segments)); class++ {
		for _, x := range q.segments[class] {
			at := Place{x.Epoch, x.First()}
			if behind := !m.begun || class > m.class || cmp.Or(cmp.Compare(at.Epoch, m.place.Epoch), cmp.Compare(at.Number, m.place.Number)) > 0; behind && !x.Dropping {
				s, ok, next = *x, true, Mark{class, at, true}
				break
			}
		}
	}
	q.mu.Unlock()
	if !ok {
		return m, 0, 0, false, nil
	}
	lost, err := q.walk(&s, s.First(), func(Frame, tidegate.Ranges) bool { return true })
	if err != nil {
		return next, 0, 0, true, err
	}
	if len(lost) > 0 {
		q.noteHurt(&s)
	}
	return next, s.Bytes, lost.Len(), true, nil
}
