package hold

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// ErrState is wrapped by errors about a stored state that cannot be read.
var ErrState = errors.New("stored state of a snapshot")

// A View is a Snapshot that looks at what a Hold keeps.
type View struct {
	Snapshot
	h      *Hold
	groups []*Group
	spans  []span // that are open: the newest, and those that were opened since Rest
	last   Given
}

// span is a time of which all readings are wanted, both ends included.
type span struct{ from, until time.Duration }

// Given says what was given out.
type Given struct {
	At       time.Duration // boot time at which the rule became active; 0 = nothing was given out yet
	Readings int
	// Reach is the boot time from which on all are there: later than wanted where there was no room, or where the Hold had begun later.
	Reach time.Duration
	Cut   bool // for want of room
}

// View returns a View for s, before the first Group is asked for.
func (h *Hold) View(s Snapshot) *View {
	w := &View{Snapshot: s, h: h}
	h.views = append(h.views, w)
	return w
}

// Open has all readings go on that are read from Before before the boot time at to After behind it; it is not before that of the last call.
func (w *View) Open(at time.Duration) {
	at = at.Truncate(time.Microsecond)
	w.spans = append(w.spans, span{at - w.Before, at + w.After})
	w.last = Given{At: at}
}

// Rest forgets all that is open but the newest.
func (w *View) Rest() {
	if n := len(w.spans); n > 1 {
		w.spans = append(w.spans[:0], w.spans[n-1])
	}
}

func (w *View) isOpen(at time.Duration) bool {
	for _, s := range w.spans {
		if at >= s.from && at <= s.until {
			return true
		}
	}
	return false
}

// Give gives out what is kept of the time that is open, in the order of time, and forgets it. The memory is the caller's.
func (w *View) Give() ([]Kept, Given) {
	var out []Kept
	w.last.Reach = max(w.last.At-w.Before, w.h.start)
	for _, g := range w.groups {
		out = g.take(out, w.spans[0].from, w.isOpen)
		w.last.Cut = w.last.Cut || g.lost >= w.last.Reach
		w.last.Reach = max(w.last.Reach, g.lost)
	}
	w.last.Readings += len(out)
	return InOrder(out), w.last
}

// A Stand says what a View has.
type Stand struct {
	Snapshot
	Readings int           // that are kept for it at the moment
	Reach    time.Duration // boot time from which on they are
	Cut      bool          // they would reach back further, but for want of room
	Until    time.Duration // boot time up to which all readings go on; negative = it was not opened yet
	Last     Given
}

// Stand returns what w has at the boot time now, or when the newest record ended.
func (w *View) Stand(now time.Duration) Stand {
	now = max(now, w.h.newest)
	s := Stand{Snapshot: w.Snapshot, Reach: max(now-w.Before, w.h.start), Until: -1, Last: w.last}
	if n := len(w.spans); n > 0 {
		s.Until = w.spans[n-1].until
	}
	for _, g := range w.groups {
		s.Cut = s.Cut || g.lost >= s.Reach
		s.Reach = max(s.Reach, g.lost)
		for i := range g.list.n {
			if at := g.list.at(i).At; at >= now-w.Before {
				s.Readings++
			}
		}
	}
	return s
}

const stateVersion = 1

// Append encodes what w has open, version 1:
//
//	byte    version, 1
//	varint  boot time in microseconds from which on all readings go on
//	varint  boot time in microseconds up to which
func (w *View) Append(b []byte) []byte {
	s := w.spans[len(w.spans)-1]
	b = append(b, stateVersion)
	b = binary.AppendVarint(b, s.from.Microseconds())
	return binary.AppendVarint(b, s.until.Microseconds())
}

// IsOpened reports whether w has something to be stored.
func (w *View) IsOpened() bool { return len(w.spans) > 0 }

// Restore is the inverse of Append.
func (w *View) Restore(b []byte) error {
	if len(b) < 1 || b[0] != stateVersion {
		return fmt.Errorf("%w: no version %d", ErrState, stateVersion)
	}
	b = b[1:]
	var times [2]time.Duration
	for i := range times {
		us, n := binary.Varint(b)
		if n <= 0 || us > math.MaxInt64/1000 || us < math.MinInt64/1000 {
			return fmt.Errorf("%w: cut short", ErrState)
		}
		times[i], b = time.Duration(us)*time.Microsecond, b[n:]
	}
	if len(b) > 0 {
		return fmt.Errorf("%w: %d bytes too long", ErrState, len(b))
	}
	w.spans = []span{{times[0], times[1]}}
	return nil
}
