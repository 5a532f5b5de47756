package buffer

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/buffer/disk"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

// fixedBytes is what the store takes beside frames: memtables, value log, manifest.
const fixedBytes = 24 << 20

// Retain drops what was marked, and what is over the limit or older than Keep: delivered segments at once, others after the agent
// has declared them (Requests). While the disk is nearly full, delivered ones go early. It is called after each commit.
func (q *Queue) Retain(now time.Time) error {
	q.sealing.Lock()
	defer q.sealing.Unlock()
	return errors.Join(q.retain(now), q.resealAside())
}

func (q *Queue) retain(now time.Time) error {
	if now.Sub(q.looked).Abs() >= lookEvery {
		q.looked = now
		q.setLimit()
	}
	for {
		tight := q.disk.Tight()
		q.mu.Lock()
		q.forgetToldLocked()
		next, victim := q.dropLocked(now, tight)
		q.mu.Unlock()
		switch {
		case next != nil:
			if err := q.drop(next); err != nil {
				return err
			}
		case victim != nil:
			return q.askOverflow(victim)
		default:
			return nil
		}
	}
}

// dropLocked returns the next segment to drop, or the one whose declaration is to be asked for.
func (q *Queue) dropLocked(now time.Time, tight bool) (next, victim *segment) {
	var total int64
	var oldest *segment
	asked := false
	for _, class := range dropOrder {
		for _, s := range q.segments[class] {
			if s.Gone {
				continue
			}
			if s.Dropping {
				return s, nil
			}
			total += s.Bytes + runCost*int64(len(s.Runs)-1)
			asked = asked || s.doomed
			if s.doomed || !s.Closed && s.Epoch >= q.position.Epoch {
				continue
			}
			switch {
			case q.deliveredLocked(s):
				if oldest == nil || s.T1 < oldest.T1 {
					oldest = s
				}
			case victim == nil && q.wantedLocked(s):
				victim = s
			}
		}
	}
	over := total > q.budget()
	if oldest != nil && (over || tight || now.Sub(time.UnixMilli(oldest.T1)) > q.o.Keep) {
		return oldest, nil
	}
	if over && !asked {
		return nil, victim
	}
	return nil, nil
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
		if err := q.disk.Write([]disk.Pair{{Key: s.Key(stored.KeyIndex), Value: next.Encode()}}, nil); err != nil {
			q.mu.Lock()
			s.Dropping = false // Dropping says that the mark is durable: the next call writes it again
			q.mu.Unlock()
			return fmt.Errorf("mark segment %s: %w", s.Segment, err)
		}
	}
	if err := q.disk.Drop(s.Key(stored.KeyFrame)); err != nil {
		return fmt.Errorf("drop segment %s: %w", s.Segment, err)
	}
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
	next, _ := r.q.dropLocked(time.UnixMilli(0), true)
	return next
}

func (r relief) Any() bool { return r.next() != nil }

func (r relief) Next() error { return r.q.drop(r.next()) }

// SetLimits changes the limit and how long delivered records stay; the next Retain goes by them. Any goroutine may call it.
func (q *Queue) SetLimits(maxBytes int64, keep time.Duration) error {
	if maxBytes < MinBytes {
		return fmt.Errorf("buffer limit is %d bytes, at least %d", maxBytes, int64(MinBytes))
	}
	q.mu.Lock()
	q.o.MaxBytes, q.o.Keep = maxBytes, keep
	q.mu.Unlock()
	q.setLimit()
	return nil
}
