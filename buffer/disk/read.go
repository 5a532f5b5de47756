package disk

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/dgraph-io/badger/v4"

	"github.com/tidegate-io/tidegate/buffer/seal"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

// Each calls f with every key that begins with prefix, its value, and a number that is higher the later it was written, in the order of
// the keys. Frames come as they are stored. Key and value are valid only during the call. What of a table cannot be read is an error wrapping stored.ErrDamaged, what
// is sealed with a key that is missing one wrapping seal.ErrKey.
func (s *Store) Each(prefix []byte, f func(key, value []byte, written uint64) error) error {
	return s.each(prefix, func(key, value []byte, written uint64) error {
		v, err := stored.Unlock(s.keys.Load(), key, value)
		if err != nil {
			return err
		}
		return f(key, v, written)
	})
}

// Locked calls f like Each, with the key that each value is sealed with, 0 = none, and the value as stored.Lock made it.
func (s *Store) Locked(prefix []byte, f func(key, value []byte, with seal.ID) error) error {
	return s.each(prefix, func(key, value []byte, _ uint64) error {
		id, err := stored.LockedWith(key, value)
		if err != nil {
			return err
		}
		return f(key, value, id)
	})
}

// each calls f with what is stored, as it was before stored.Bind.
func (s *Store) each(prefix []byte, f func(key, value []byte, written uint64) error) error {
	return s.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix})
		defer it.Close()
		var key, value []byte
		var failed error
		for err := guarded(it.Rewind); ; err = guarded(it.Next) {
			if err != nil || !it.Valid() {
				return err
			}
			err = guarded(func() {
				key = it.Item().KeyCopy(key)
				value, failed = it.Item().ValueCopy(value)
			})
			if err == nil {
				err = failed
			}
			v := value
			if err == nil && key[0] != stored.KeyFrame {
				v, err = stored.Unbind(key, value)
			}
			if err == nil {
				err = f(key, v, it.Item().Version())
			}
			if err != nil {
				return err
			}
		}
	})
}

// Walk calls f with the frames of the segment in order, from the last one that begins at or before number from, until f returns false.
// Where exact is set, a frame begins with from, or none does before it. The body is f's to keep. Damaged frames are left out; one that is sealed with a key
// that is missing is not damaged, but ends it with an error wrapping seal.ErrKey.
func (s *Store) Walk(name stored.Segment, from uint64, exact bool, f func(stored.Frame) bool) error {
	return s.db.View(func(txn *badger.Txn) error {
		w := walker{s: name, keys: s.keys.Load()}
		defer w.close()
		err := w.begin(txn, from, exact)
		for ; err == nil && w.valid(); err = w.next() {
			fr, err := w.frame()
			if errors.Is(err, seal.ErrKey) {
				return err
			}
			if err != nil {
				s.o.Log.Error("stored frame is damaged", "segment", name.String(), "err", err)
			} else if !f(fr) {
				return nil
			}
		}
		if err != nil {
			s.o.Log.Error("segment is damaged", "segment", name.String(), "err", err)
		}
		return nil
	})
}

// A walker is an iterator over the frames of a segment. Badger panics on some damage of its tables; that becomes an error.
type walker struct {
	s    stored.Segment
	keys *seal.Keys
	it   *badger.Iterator
}

// begin goes to the last frame that begins at or before number from; where exact is set, from begins one or is before all.
func (w *walker) begin(txn *badger.Txn, from uint64, exact bool) error {
	key := w.s.FrameKey(from)
	if !exact {
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

// frame returns the frame, with a body of its own: the table is a mapped file, of which a part may be unreadable.
func (w *walker) frame() (fr stored.Frame, err error) {
	var value []byte
	var failed error
	if err := guarded(func() { value, failed = w.it.Item().ValueCopy(nil) }); err != nil {
		return fr, err
	}
	if failed != nil {
		return fr, failed
	}
	fr, err = stored.ParseFrame(value, w.keys)
	if err == nil && (fr.Class != w.s.Class || fr.Epoch != w.s.Epoch) {
		err = fmt.Errorf("frame is of %s/%d: %w", fr.Class, fr.Epoch, stored.ErrDamaged)
	}
	return fr, err
}

func (w *walker) close() {
	if w.it != nil {
		w.it.Close()
		w.it = nil
	}
}

// guarded calls f, which does nothing but call Badger. A sector of a mapped table that cannot be read (SIGBUS) is an error too, and does
// not end the process; Badger's own goroutines, which compact, stay exposed to it.
func guarded(f func()) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("badger: %.200v: %w", p, stored.ErrDamaged)
		}
	}()
	f()
	return nil
}
