package buffer

import (
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

// walk calls f with the frames of segment s from the one that holds number from, in order, and with those of their numbers at or behind
// from that s holds; each number once. It ends when f returns false. The body is valid only during the call. It returns what is missing
// of the numbers it passed: their frames are damaged or gone. q.mu must not be held.
func (q *Queue) walk(s *segment, from uint64, f func(fr Frame, held tidegate.Ranges) bool) (missing tidegate.Ranges, err error) {
	from = max(from, s.First())
	at := from
	err = q.db.View(func(txn *badger.Txn) error {
		prefix := s.Key(stored.KeyFrame)
		o := badger.DefaultIteratorOptions
		o.PrefetchValues = false
		o.Prefix = prefix
		seek := q.frameHolding(txn, s, from)
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Seek(seek); it.ValidForPrefix(prefix); it.Next() {
			more := true
			err := it.Item().Value(func(b []byte) error {
				fr, err := stored.ParseFrame(b)
				if err == nil && (fr.Class != s.Class || fr.Epoch != s.Epoch) {
					err = fmt.Errorf("frame is of %s/%d: %w", fr.Class, fr.Epoch, ErrDamaged)
				}
				if err != nil {
					return err
				}
				if fr.Last < at {
					return nil
				}
				held := s.Runs.Within(tidegate.Range{First: max(at, fr.First), Last: fr.Last})
				if len(held) == 0 {
					return nil // of a commit that was not known to be durable, and was made again
				}
				if at < held[0].First {
					missing.AddAll(s.Runs.Within(tidegate.Range{First: at, Last: held[0].First - 1}))
				}
				at = fr.Last + 1
				more = f(fr, held)
				return nil
			})
			if errors.Is(err, ErrDamaged) {
				q.o.Log.Error("stored frame is damaged", "segment", s.Segment.String(), "err", err)
				continue
			}
			if err != nil || !more {
				return err
			}
		}
		missing.AddAll(s.Runs.Within(tidegate.Range{First: at, Last: s.Last()}))
		return nil
	})
	if err != nil {
		return missing, fmt.Errorf("read segment %s: %w", s.Segment, err)
	}
	return missing, nil
}

// frameHolding returns the key of the last frame of s that begins at or before number from.
func (q *Queue) frameHolding(txn *badger.Txn, s *segment, from uint64) []byte {
	key := s.FrameKey(from)
	if from <= s.First() {
		return key
	}
	o := badger.DefaultIteratorOptions
	o.PrefetchValues = false
	o.Prefix = s.Key(stored.KeyFrame)
	o.Reverse = true
	it := txn.NewIterator(o)
	defer it.Close()
	if it.Seek(key); it.ValidForPrefix(o.Prefix) {
		return it.Item().KeyCopy(nil)
	}
	return key
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
