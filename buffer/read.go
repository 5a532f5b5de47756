package buffer

import (
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

// walk calls f with the frames of segment s from the one that holds number from, in order, and with those of their numbers at or behind
// from that s holds; each number once. It ends when f returns false. The body is valid only during the call. It returns what is missing
// of the numbers it passed: their frames are damaged or gone. q.mu must not be held.
func (q *Queue) walk(s *segment, from uint64, f func(fr Frame, held tidegate.Ranges) bool) (missing tidegate.Ranges, err error) {
	at := max(from, s.First())
	err = q.db.View(func(txn *badger.Txn) error {
		w := walker{s: s}
		defer w.close()
		err := w.begin(txn, at)
		for ; err == nil && w.valid(); err = w.next() {
			fr, err := w.frame()
			if err != nil {
				q.o.Log.Error("stored frame is damaged", "segment", s.Segment.String(), "err", err)
				continue
			}
			if fr.Last < at {
				continue
			}
			held := s.Runs.Within(tidegate.Range{First: max(at, fr.First), Last: fr.Last})
			if len(held) == 0 {
				continue // of a commit that was not known to be durable, and was made again
			}
			if at < held[0].First {
				missing.AddAll(s.Runs.Within(tidegate.Range{First: at, Last: held[0].First - 1}))
			}
			at = fr.Last + 1
			if !f(fr, held) {
				return nil
			}
		}
		if err != nil {
			q.o.Log.Error("segment is damaged", "segment", s.Segment.String(), "behind", at, "err", err)
		}
		missing.AddAll(s.Runs.Within(tidegate.Range{First: at, Last: s.Last()}))
		return nil
	})
	if err != nil {
		return missing, fmt.Errorf("read segment %s: %w", s.Segment, err)
	}
	return missing, nil
}

// A walker is an iterator over the frames of a segment. Badger panics on some damage of its tables; that becomes an error.
type walker struct {
	s  *segment
	it *badger.Iterator
}

// begin goes to the last frame that begins at or before number from, or to the first.
func (w *walker) begin(txn *badger.Txn, from uint64) error {
	key := w.s.FrameKey(from)
	if from > w.s.First() {
		w.open(txn, true)
		if err := guarded(func() { w.it.Seek(key) }); err != nil {
			return err
		}
		if w.valid() {
			key = w.it.Item().KeyCopy(nil)
		}
		w.close()
	}
	w.open(txn, false)
	return guarded(func() { w.it.Seek(key) })
}

func (w *walker) open(txn *badger.Txn, reverse bool) {
	o := badger.DefaultIteratorOptions
	o.PrefetchValues, o.Reverse, o.Prefix = false, reverse, w.s.Key(stored.KeyFrame)
	w.it = txn.NewIterator(o)
}

func (w *walker) valid() bool { return w.it.Valid() }

func (w *walker) next() error { return guarded(w.it.Next) }

// frame returns the frame; its body is valid until next.
func (w *walker) frame() (fr Frame, err error) {
	var value []byte
	var failed error
	if err := guarded(func() { failed = w.it.Item().Value(func(b []byte) error { value = b; return nil }) }); err != nil {
		return fr, err
	}
	if failed != nil {
		return fr, failed
	}
	fr, err = stored.ParseFrame(value)
	if err == nil && (fr.Class != w.s.Class || fr.Epoch != w.s.Epoch) {
		err = fmt.Errorf("frame is of %s/%d: %w", fr.Class, fr.Epoch, ErrDamaged)
	}
	return fr, err
}

func (w *walker) close() {
	if w.it != nil {
		w.it.Close()
		w.it = nil
	}
}

// guarded calls f, which does nothing but call Badger.
func guarded(f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("badger: %.200v: %w", p, ErrDamaged)
		}
	}()
	f()
	return nil
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
