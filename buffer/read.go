package buffer

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/tidegate-io/tidegate"
)

// storedLocked returns copies of the segments of class that hold something at or behind from and before the tail's start.
func (q *Queue) storedLocked(class tidegate.Class, from, start Place, bounded bool) []segment {
	var out []segment
	for _, s := range q.segments[class] {
		if s.doomed || (Place{s.epoch, s.last()}).Before(from) {
			continue
		}
		if bounded && !(Place{s.epoch, s.first()}).Before(start) {
			continue
		}
		out = append(out, *s)
	}
	return out
}

// frames calls f with the frames of segment s from the one that holds number from, in order, until f returns false. The body is
// valid only during the call. A damaged frame is left out, and asked to be declared.
func (q *Queue) frames(s segment, from uint64, f func(Frame) bool) error {
	err := q.db.View(func(txn *badger.Txn) error {
		prefix := s.key(keyFrame)
		at := frameKey(s.segmentName, from)
		if from > s.first() {
			at = q.frameHolding(txn, prefix, at)
		}
		o := badger.DefaultIteratorOptions
		o.PrefetchValues = false
		o.Prefix = prefix
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Seek(at); it.ValidForPrefix(prefix); it.Next() {
			more := true
			err := it.Item().Value(func(b []byte) error {
				fr, err := parseFrame(b)
				if err == nil && (fr.Class != s.class || fr.Epoch != s.epoch) {
					err = fmt.Errorf("frame is of %s/%d: %w", fr.Class, fr.Epoch, ErrDamaged)
				}
				if err != nil {
					return err
				}
				more = f(fr)
				return nil
			})
			if errors.Is(err, ErrDamaged) {
				q.damaged(s, it.Item().KeyCopy(nil), err)
				continue
			}
			if err != nil {
				return err
			}
			if !more {
				return nil
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read segment %s: %w", s.segmentName, err)
	}
	return nil
}

// frameHolding returns the key of the last frame at or before at.
func (q *Queue) frameHolding(txn *badger.Txn, prefix, at []byte) []byte {
	o := badger.DefaultIteratorOptions
	o.PrefetchValues = false
	o.Reverse = true
	it := txn.NewIterator(o)
	defer it.Close()
	it.Seek(at)
	if it.ValidForPrefix(prefix) {
		return it.Item().KeyCopy(nil)
	}
	return prefix
}

// damaged asks for a declaration of the frame under key of segment s: all numbers of the segment from its first to the next
// frame's. The caller may or may not hold q.mu; the request is only noted.
func (q *Queue) damaged(s segment, key []byte, why error) {
	if len(key) < 8 {
		return
	}
	first := binary.BigEndian.Uint64(key[len(key)-8:])
	q.o.Log.Error("stored frame is damaged; its records are declared as a gap", "segment", s.segmentName.String(), "first", first, "err", why)
	q.hurt.note(damage{s.segmentName, first})
}
