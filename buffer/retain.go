package buffer

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/disk"
	"github.com/tidegate-io/tidegate/buffer/quota"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

// fixedBytes is what the store takes beside frames: memtables, value log, manifest.
const fixedBytes = 24 << 20

// Retain drops what was marked, and what is over the limit or older than Keep: delivered segments at once, others after the agent
// has declared them (Requests). While the disk is nearly full, delivered ones go early. It is called after each commit, and now and then; lived is
// Position.Lived as of now.
func (q *Queue) Retain(lived time.Duration) error {
	q.sealing.Lock()
	defer q.sealing.Unlock()
	return errors.Join(q.retain(lived), q.resealAside())
}

func (q *Queue) retain(lived time.Duration) error {
	if q.looked == 0 || lived-q.looked >= lookEvery {
		q.looked = lived
		q.setLimit()
	}
	for {
		tight := q.disk.Tight()
		q.mu.Lock()
		q.forgetToldLocked()
		next, ask := q.dropLocked(lived, tight)
		q.mu.Unlock()
		switch {
		case next != nil:
			if err := q.drop(next); err != nil {
				return err
			}
		case ask.victim != nil:
			if err := q.askDrop(ask.victim, ask.cause); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// A verdict is a segment that is to be declared, and why.
type verdict struct {
	victim *segment
	cause  string
}

// candidates are segments of one class that can go.
type candidates struct {
	delivered *segment // the oldest
	whole     *segment // the oldest that an uplink wants, and that is no summary
	summary   *segment // the oldest that an uplink wants, and that is one
}

// dropLocked returns the next segment to drop, or the one whose declaration is to be asked for.
func (q *Queue) dropLocked(lived time.Duration, tight bool) (next *segment, ask verdict) {
	var of [stored.Classes]candidates
	used := q.measureLocked()
	for _, class := range quota.Order() {
		for _, s := range q.segments[class] {
			if s.Dropping && !s.Gone {
				return s, verdict{}
			}
			if s.doomed && !s.Gone {
				used[class] -= s.takes() // it goes as soon as that is declared
			}
			if s.Gone || s.doomed {
				continue
			}
			expired, open := q.o.MaxAge > 0 && lived-s.Lived > q.o.MaxAge, !s.Closed && s.Epoch >= q.position.Epoch
			c := &of[class]
			first := &c.whole
			if s.Thin {
				first = &c.summary
			}
			switch {
			case q.deliveredLocked(s):
				if !open {
					c.delivered = older(c.delivered, s)
				}
			case !expired && (open || *first != nil) || !q.wantedLocked(s) || q.awaitedLocked(s):
			case expired:
				return nil, verdict{s, tidegate.CauseExpired}
			default:
				*first = s
			}
		}
	}
	yields := q.o.Classes.Yields(&used, q.budget())
	if next = q.deliveredOf(&of, &used, len(yields) > 0); next != nil && (len(yields) > 0 || tight || lived-next.Lived > q.keep() || q.refused[next.Class]) {
		return next, verdict{}
	}
	for _, class := range yields {
		if c := &of[class]; c.whole != nil || c.summary != nil {
			return nil, q.victimOf(class, c)
		}
	}
	return nil, verdict{}
}

// deliveredOf returns the delivered segment that goes first: over the limit, or where nothing new of a class is taken, one of a class that has more than its share
// if there is one, else the oldest.
func (q *Queue) deliveredOf(of *[stored.Classes]candidates, used *quota.Sizes, over bool) (next *segment) {
	var oldest *segment
	for _, class := range quota.Order() {
		s := of[class].delivered
		if s == nil {
			continue
		}
		oldest = older(oldest, s)
		if q.refused[class] || over && q.o.Classes.Over(class, used, q.budget()) {
			next = older(next, s)
		}
	}
	return cmp.Or(next, oldest)
}

// victimOf returns what goes of a class that is to give way.
func (q *Queue) victimOf(class tidegate.Class, c *candidates) verdict {
	if q.o.Classes[class].Overflow == quota.Thin && c.whole != nil {
		return verdict{c.whole, tidegate.CauseThinned}
	}
	if c.whole == nil || c.summary != nil && c.summary.Counter < c.whole.Counter {
		return verdict{c.summary, tidegate.CauseOverflow}
	}
	return verdict{c.whole, tidegate.CauseOverflow}
}

// older returns that of two segments whose newest record was committed first; nil is none.
func older(a, b *segment) *segment {
	if a == nil || b.Lived < a.Lived || b.Lived == a.Lived && b.Counter < a.Counter {
		return b
	}
	return a
}

// keep is how long delivered records stay.
func (q *Queue) keep() time.Duration {
	if q.o.MaxAge > 0 {
		return min(q.o.Keep, q.o.MaxAge)
	}
	return q.o.Keep
}

// measureLocked returns how many bytes each class takes, and works out of which nothing new is to be taken.
func (q *Queue) measureLocked() (used quota.Sizes) {
	for class := range q.segments {
		for _, s := range q.segments[class] {
			if !s.Gone {
				used[class] += s.takes()
			}
		}
	}
	for class := range used {
		q.refused[class] = q.o.Classes.Refuses(tidegate.Class(class), &used, q.budget())
	}
	return used
}

// Refuses reports whether nothing new of class is to be taken until something of it is delivered: it has its share, and drops its newest. Any goroutine may
// ask.
func (q *Queue) Refuses(class tidegate.Class) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.refused[class]
}

// budget is how many bytes frames may take.
func (q *Queue) budget() int64 {
	if q.o.sizes.budget > 0 {
		return q.o.sizes.budget
	}
	return q.limit - fixedBytes
}

// deliveredLocked reports whether every uplink is done with s, as far as is on disk.
func (q *Queue) deliveredLocked(s *segment) bool {
	for _, c := range q.cursors {
		if len(s.without(c.saved[s.stream()], nil, 0)) > 0 {
			return false
		}
	}
	return true
}

// wantedLocked reports whether an uplink still wants something of s; else the next commit of the cursors makes it delivered.
func (q *Queue) wantedLocked(s *segment) bool {
	for _, c := range q.cursors {
		if len(s.without(c.done[s.stream()], c.hidden[s.Epoch], 0)) > 0 {
			return true
		}
	}
	return false
}

// drop removes the frames of s, which every uplink is done with. Only the goroutine that commits calls it.
func (q *Queue) drop(s *segment) error {
	q.mu.Lock()
	next := *s
	marked := next.Dropping
	next.Dropping, next.Closed = true, true
	s.Dropping = true // no cursor looks at it any more
	q.mu.Unlock()
	if !marked {
		if err := q.beside([]disk.Pair{{Key: s.Key(stored.KeyIndex), Value: next.Encode()}}, nil); err != nil {
			q.mu.Lock()
			s.Dropping = false // Dropping says that the mark is durable: the next call writes it again
			q.mu.Unlock()
			return fmt.Errorf("mark segment %s: %w", s.Segment, err)
		}
	}
	if err := q.disk.Drop(s.Key(stored.KeyFrame)); err != nil {
		return fmt.Errorf("drop segment %s: %w", s.Segment, err)
	}
	q.dateLog()
	if gone, err := q.leave(s); gone || err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.segments[s.Class] = slices.DeleteFunc(slices.Clone(q.segments[s.Class]), func(x *segment) bool { return x == s })
	q.unmark = append(q.unmark, s.Key(stored.KeyIndex))
	return nil
}

// relief drops the oldest segment that every uplink is done with, as long as there is one.
type relief struct{ q *Queue }

func (r relief) next() *segment {
	r.q.mu.Lock()
	defer r.q.mu.Unlock()
	next, _ := r.q.dropLocked(0, true)
	return next
}

func (r relief) Any() bool { return r.next() != nil }

func (r relief) Next() error { return r.q.drop(r.next()) }

// SetLimits changes the limits; the next Retain goes by them. Any goroutine may call it.
func (q *Queue) SetLimits(l Limits) error {
	if l.MaxBytes < MinBytes {
		return fmt.Errorf("buffer limit is %d bytes, at least %d", l.MaxBytes, int64(MinBytes))
	}
	if l.Classes == (quota.Plan{}) {
		l.Classes = quota.Default()
	}
	q.mu.Lock()
	q.o.Limits = l
	q.mu.Unlock()
	q.setLimit()
	return nil
}
