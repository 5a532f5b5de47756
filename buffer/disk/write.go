package disk

import (
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/buffer/stored"
)

// entryBytes is what Badger adds to a key and a value in its log, about.
const entryBytes = 32

// MaxWrite is how many bytes of keys and values one Write takes; Badger's own limit is 15 % of the memtable, 629,145 bytes.
const MaxWrite = 600 << 10

// A Pair is one key and its value, in the clear: Write seals what is secret.
type Pair struct{ Key, Value []byte }

// Write makes set and del durable in one transaction: when it returns nil, they survive a power cut. After an error it is not known
// whether they are there.
func (s *Store) Write(set []Pair, del [][]byte) error {
	if err := s.mend(); err != nil {
		return err
	}
	if s.inLog > memTable/2 { // it may begin a new log, or the next one
		if err := canOpen(); err != nil {
			return err
		}
	}
	err := s.update(set, del)
	if err != nil {
		s.sick = true
		return err
	}
	size := 0
	for _, p := range set {
		size += len(p.Key) + len(p.Value) + entryBytes
	}
	s.journal.Note(size)
	s.inLog += size
	log := s.guard.spare
	if s.keepSpare(); s.guard.spare != log { // a new one was begun, so there will be a table more
		s.inLog = size
		if err := s.compact(late(s.o.Limit)); err != nil {
			s.o.Log.Error("merge tables of the store", "err", err)
		}
	}
	return nil
}

func (s *Store) update(set []Pair, del [][]byte) error {
	keys := s.keys.Load()
	return s.db.Update(func(txn *badger.Txn) error {
		for _, p := range set {
			value := stored.Lock(keys, p.Key, p.Value)
			if p.Key[0] != stored.KeyFrame { // a frame says itself what it is
				value = stored.Bind(p.Key, value)
			}
			if err := txn.Set(p.Key, value); err != nil {
				return err
			}
		}
		for _, k := range del {
			if err := txn.Delete(k); err != nil {
				return err
			}
		}
		return nil
	})
}

// mend makes the store sound after a transaction that failed: what the kernel could not write it may count as written from then on, so
// nothing behind it in the same log would survive a power cut. Dropping a prefix writes all that is in memory to a table, and begins
// a new log.
func (s *Store) mend() error {
	if s.stale != nil {
		return s.stale
	}
	if !s.sick {
		return nil
	}
	if err := canOpen(); err != nil {
		return err
	}
	key := []byte("z")
	if err := s.update([]Pair{{Key: key}}, nil); err != nil {
		return fmt.Errorf("write again after a failure: %w", err)
	}
	if err := s.dropPrefix(key); err != nil {
		return fmt.Errorf("begin a new log after a failure: %w", err)
	}
	s.sick = false
	return nil
}

// Drop removes all keys that begin with prefix, and frees their space.
func (s *Store) Drop(prefix []byte) error {
	if err := s.mend(); err != nil {
		return err
	}
	if err := canOpen(); err != nil {
		return err
	}
	if err := s.dropPrefix(prefix); err != nil {
		return err
	}
	s.inLog = 0
	s.keepLog()
	s.keepSpare()
	return nil
}

// files is how many Badger opens where a transaction begins a new log: that, a table and its folder, and what is left for others meanwhile.
const files = 6

// canOpen returns an error where so many files cannot be opened: Badger ends the process with the transaction behind one that could not begin a new log.
func canOpen() error {
	var open [files]int
	for i := range open {
		fd, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			closeAll(open[:i])
			return fmt.Errorf("%d files can be opened, want %d: %w", i, files, err)
		}
		open[i] = fd
	}
	closeAll(open[:])
	return nil
}

func closeAll(list []int) {
	for _, fd := range list {
		_ = unix.Close(fd) // nothing was written
	}
}

func (s *Store) keepSpare() {
	if s.o.Bare {
		return
	}
	if err := s.guard.keepSpare(s.o.Dir); err != nil {
		s.o.Log.Warn("room for the next memtable is not kept", "err", err)
	}
}

// Free returns how many bytes the file system has left beyond the reserve, below 0 where it has less than that, and how many it has in all.
func (s *Store) Free() (free, total int64, err error) {
	free, total, err = s.guard.ask()
	return free - Reserve, total, err
}

// Tight reports whether the disk is so full that delivered segments go before their time, and yet not too full to drop them.
func (s *Store) Tight() bool { return s.guard.tight() }

// A Relief is what can be dropped to make space, in order.
type Relief interface {
	Any() bool   // there is something to drop
	Next() error // drops it
}

// MakeSpace returns an error wrapping ErrNoSpace where less than the reserve would be left beside size bytes, once relief has nothing
// left. Where the disk is too full even for dropping, the ballast is freed, and what it was is used by the next call, a commit later, if
// nobody has taken it by then: Badger must not race for it.
func (s *Store) MakeSpace(size int64, relief Relief) error {
	free, ahead, err := s.guard.look()
	for err == nil && free-ahead < Reserve+size {
		if free < dropRoom || !relief.Any() {
			return errors.Join(s.noSpace(free, size), s.freeBallast(free, relief))
		}
		if err = relief.Next(); err == nil {
			free, _, err = s.guard.ask()
		}
	}
	if err == nil && s.guard.bare && !s.o.Bare && free-ahead >= ballastRoom+size {
		if failed := makeBallast(&s.o, free); failed != nil {
			s.o.Log.Warn("there is no ballast", "err", failed)
		}
		s.guard.bare = !hasBallast(&s.o)
	}
	return err
}

func (s *Store) noSpace(free, size int64) error {
	return fmt.Errorf("%d bytes are free on the disk of %s, %d are kept in reserve: %w", free, s.o.Dir, Reserve+size, ErrNoSpace)
}

// freeBallast deletes the ballast where that makes room to drop something.
func (s *Store) freeBallast(free int64, relief Relief) error {
	if s.guard.bare || free >= dropRoom || !relief.Any() {
		return nil
	}
	s.guard.bare = true
	s.o.Log.Warn("the ballast is freed, so that delivered segments can be dropped", "free", free)
	return dropBallast(&s.o)
}
