package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Badger reads a log up to the first entry that is not whole, and drops what stands behind it without a word. After a power cut that is a part of the
// one transaction that was being written; anything else was acknowledged.

// What an entry of a log is of (badger's value.go).
const (
	inTxn   = 1 << 6
	endsTxn = 1 << 7
)

// tailLost reports whether the logs of the store have lost more than a power cut takes: there is none, one was cut, or behind the place where one ends
// stands something of a transaction that is not the next one. It reads no more of a damaged log than that.
func tailLost(dir string) (bool, error) {
	list, err := logs(dir)
	if err != nil {
		return false, err
	}
	for _, l := range list {
		if lost, err := mappedLost(l.path, l.size); lost || err != nil {
			return true, err
		}
	}
	return len(list) == 0, nil
}

// A logFile is a log that is more than a spare.
type logFile struct {
	path string
	size int
	at   time.Time // when it was written to last, as the file system says
}

func logs(dir string) (list []logFile, err error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.mem"))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		st, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("look at log: %w", err)
		}
		if st.Size() > 0 {
			list = append(list, logFile{path, int(st.Size()), st.ModTime()})
		}
	}
	return list, nil
}

// A Tail is how the logs of a store were found, before anybody opened it, which takes them into tables.
type Tail struct {
	Lost bool      // transactions that were acknowledged are gone, more than the one that a power cut may tear: how many, nothing tells; after a clean stop, too
	At   time.Time // when they were written to last, as the file system says, which stores that with each transaction; zero = not known
}

// FindTail looks at the logs of the store of the state directory.
func FindTail(stateDir string) (x Tail, err error) {
	dir := filepath.Join(stateDir, "buffer")
	if x.Lost, err = tailLost(dir); err != nil {
		return x, err
	}
	list, _ := logs(dir) // else nothing is known of the time
	for _, l := range list {
		if l.at.After(x.At) {
			x.At = l.at
		}
	}
	return x, nil
}

// keepLog has a log that was made anew be there after a power cut, so that none at all means that it was lost. Badger syncs it with its first transaction.
func (s *Store) keepLog() {
	if s.o.NoSync || s.o.Bare {
		return
	}
	dir := filepath.Join(s.o.Dir, "buffer")
	list, err := logs(dir)
	for _, l := range list {
		if e := syncPath(l.path); !errors.Is(e, fs.ErrNotExist) { // one that was read goes when its table is there
			err = errors.Join(err, e)
		}
	}
	if err = errors.Join(err, syncPath(dir)); err != nil {
		s.o.Log.Debug("sync new log", "err", err) // the next transaction says more, if it is the disk
	}
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// SetLogTime has the log seem to be written to at that time: what was written since is nothing that counts. It is for the goroutine that writes.
func (s *Store) SetLogTime(at time.Time) {
	if at.IsZero() {
		return
	}
	list, _ := logs(filepath.Join(s.o.Dir, "buffer"))
	for _, l := range list {
		if err := os.Chtimes(l.path, at, at); err != nil {
			s.o.Log.Debug("set time of log", "err", err) // what a power cut takes is bounded less narrowly then
		}
	}
}

// mappedLost maps the log at path, which takes none of the memory that the process has for itself. One of which a part cannot be read has lost that.
func mappedLost(path string, size int) (lost bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("look at log: %w", err)
	}
	defer f.Close()
	b, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return false, fmt.Errorf("look at log: map: %w", err)
	}
	if unreadable := guarded(func() { lost = logLost(b) }); unreadable != nil {
		lost = true
	}
	return lost, unix.Munmap(b)
}

func logLost(b []byte) bool {
	end, last := logEnd(b)
	if len(b) != 2*memTable {
		return end != len(b) // Badger cuts a log that it has read behind its last entry
	}
	var other uint64
	for at := end; at+4 < len(b); at++ {
		if b[at]&(inTxn|endsTxn) == 0 {
			continue
		}
		_, version, ok := parseEntry(b[at:])
		switch {
		case !ok:
		case last > 0 && version > last+1, last == 0 && other > 0 && version != other:
			return true
		default:
			other = version
		}
	}
	return false
}

// logEnd returns where the last whole transaction of a log ends, and its version; 0 = there is none.
func logEnd(b []byte) (end int, last uint64) {
	end = min(logHead, len(b))
	for at := end; at < len(b); {
		size, version, ok := parseEntry(b[at:])
		if !ok {
			break
		}
		if b[at]&endsTxn != 0 {
			end, last = at+size, version
		}
		at += size
	}
	return end, last
}

// parseEntry is logEntry for the entries of transactions: their length and version, which is the end of a key.
func parseEntry(b []byte) (size int, version uint64, ok bool) {
	key, _, n := logEntry(b)
	if len(key) < 8 || b[0]&(inTxn|endsTxn) == 0 {
		return 0, 0, false
	}
	return n, math.MaxUint64 - binary.BigEndian.Uint64(key[len(key)-8:]), true
}
