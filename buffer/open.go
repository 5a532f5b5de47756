package buffer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/bits"
	"os"
	"path/filepath"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate"
)

const (
	memTable = 4 << 20
	// reserve is the free space below which nothing is written: Badger ends the process when it meets a full disk.
	reserve = max(32<<20, 4*memTable)
	// ballastBytes is what is freed so that the store can be opened on a full disk.
	ballastBytes = 32 << 20
	// openRoom is the free space that Badger needs to open: two memtable files and a table.
	openRoom = 24 << 20
)

// badgerOptions are the settings under which Badger keeps what it acknowledged, in little memory, on 32 bit as well. Each was measured:
// values stay in the LSM tree (a damaged value log returns empty values without an error), no compression (on 32 bit it loses
// blocks silently; frames are compressed already), small memtables (their files are mapped twice their size), and on 32 bit
// tables of 8 MB (smaller ones overflow their builder's first buffer, which ristretto's allocator then overwrites).
func badgerOptions(dir string, compactors int, log *slog.Logger) badger.Options {
	table := int64(2 << 20)
	if bits.UintSize == 32 {
		table = 8 << 20
	}
	return badger.DefaultOptions(dir).
		WithSyncWrites(true).
		WithMemTableSize(memTable).
		WithNumMemtables(2).
		WithValueThreshold(512 << 10).
		WithValueLogFileSize(1 << 20).
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithIndexCacheSize(0).
		WithBaseTableSize(table).
		WithBaseLevelSize(1 << 30).
		WithNumLevelZeroTables(8).
		WithNumLevelZeroTablesStall(16).
		WithNumCompactors(compactors).
		WithDetectConflicts(false).
		WithMetricsEnabled(false).
		WithNumGoroutines(1).
		WithLogger(badgerLog{log})
}

// Open opens the queue of the state directory, or makes one. Errors wrapping ErrNoSpace mean that the file system is too full to open
// it safely even without the ballast: try again later. Any other error means that the store is not usable as it stands.
func Open(o Options) (*Queue, error) {
	if o.MaxBytes < MinBytes {
		return nil, fmt.Errorf("buffer limit is %d bytes, at least %d", o.MaxBytes, int64(MinBytes))
	}
	if o.Statfs == nil {
		o.Statfs = statfs
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	dir := filepath.Join(o.Dir, "buffer")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make store: %w", err)
	}
	if err := makeRoom(&o); err != nil {
		return nil, err
	}
	if err := removeEmpty(dir, o.Log); err != nil {
		return nil, err
	}
	db, err := badger.Open(badgerOptions(dir, o.Compactors, o.Log))
	if err != nil {
		// A file that was cut at creation fails one Open and is mended by it.
		o.Log.Warn("store did not open, trying once more", "err", err)
		if db, err = badger.Open(badgerOptions(dir, o.Compactors, o.Log)); err != nil {
			return nil, fmt.Errorf("open store %s: %w", dir, err)
		}
	}
	q := &Queue{
		o: o, db: db, epochs: map[uint32]Epoch{}, dirty: map[uint32]bool{}, acked: map[uint32]bool{}, highest: map[uint32]uint64{},
		rules: map[string][]byte{}, asked: map[damage]bool{}, moved: make(chan struct{}, 1),
	}
	if err := q.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("read store %s: %w", dir, err), db.Close())
	}
	q.setLimit()
	if err := q.finishDrops(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return q, nil
}

// setLimit shrinks the limit to what the file system can hold beside the reserve and the ballast.
func (q *Queue) setLimit() {
	q.limit = q.o.MaxBytes
	free, _, err := q.o.Statfs(q.o.Dir)
	if err != nil {
		q.o.Log.Warn("ask free space", "err", err)
		return
	}
	var own int64
	for class := range q.segments {
		for _, s := range q.segments[class] {
			own += s.bytes
		}
	}
	q.limit = min(q.limit, max(own+free-reserve, 2*fixedBytes))
}

// Limit returns the limit in force, in bytes: Options.MaxBytes, or less where the file system is smaller.
func (q *Queue) Limit() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.limit
}

func statfs(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("ask file system of %s: %w", dir, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Blocks) * int64(st.Bsize), nil
}

// room refuses a commit of size bytes where the disk has less than the reserve left.
func (q *Queue) room(size int64) error {
	free, _, err := q.o.Statfs(q.o.Dir)
	if err != nil {
		return err
	}
	if free < reserve+size {
		return fmt.Errorf("%d bytes are free on the disk of %s, %d are kept in reserve: %w", free, q.o.Dir, int64(reserve)+size, ErrNoSpace)
	}
	return nil
}

// makeRoom deletes the ballast where the store could not be opened otherwise, and makes it again where there is room.
func makeRoom(o *Options) error {
	path := filepath.Join(o.Dir, "ballast")
	free, _, err := o.Statfs(o.Dir)
	if err != nil {
		return err
	}
	if free < openRoom {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("free the ballast: %w", err)
		}
		if free, _, err = o.Statfs(o.Dir); err != nil {
			return err
		}
		if free < openRoom {
			return fmt.Errorf("%d bytes are free on the disk of %s, opening the store takes %d: %w", free, o.Dir, int64(openRoom), ErrNoSpace)
		}
		return nil
	}
	if free < reserve+2*ballastBytes {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("make the ballast: %w", err)
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, ballastBytes)
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = nil // a file system that cannot reserve space cannot hold a ballast either; the reserve still holds
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("make the ballast: %w", errors.Join(err, os.Remove(path)))
	}
	return nil
}

// removeEmpty deletes memtable and value-log files of 0 bytes, which a power cut leaves behind and Badger refuses to open.
func removeEmpty(dir string, log *slog.Logger) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list store: %w", err)
	}
	for _, e := range list {
		if !strings.HasSuffix(e.Name(), ".mem") && !strings.HasSuffix(e.Name(), ".vlog") {
			continue
		}
		st, err := e.Info()
		if err != nil {
			return fmt.Errorf("list store: %w", err)
		}
		if st.Size() > 0 {
			continue
		}
		log.Warn("removing file of 0 bytes that a power cut left", "file", e.Name())
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("remove empty file: %w", err)
		}
	}
	return nil
}

// load reads indexes, position, cursors, epochs and rule state. Frames are not read.
func (q *Queue) load() error {
	cursors := map[string]cursorState{}
	err := q.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{PrefetchValues: false})
		defer it.Close()
		for _, prefix := range []byte{keyIndex, keyMeta} {
			for it.Seek([]byte{prefix}); it.ValidForPrefix([]byte{prefix}); it.Next() {
				key := it.Item().Key()
				if err := it.Item().Value(func(v []byte) error { return q.loadKey(key, v, cursors) }); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for class := range q.segments {
		sortSegments(q.segments[class])
		for _, s := range q.segments[class] {
			q.highest[s.epoch] = max(q.highest[s.epoch], s.last())
		}
	}
	q.highest[q.position.Epoch] = max(q.highest[q.position.Epoch], max(q.position.Next, 1)-1)
	for _, name := range q.o.Uplinks {
		st := cursors[name]
		c := &Cursor{
			q: q, name: name, wake: make(chan struct{}, 1), done: map[uint32]tidegate.Ranges{}, saved: st.done, hidden: map[uint32]tidegate.Ranges{},
			delivered: st.delivered, rejected: st.rejected, declared: st.declared,
		}
		for e, r := range st.done {
			c.done[e] = r.Clone()
		}
		for _, e := range st.acked {
			q.acked[e] = true
		}
		c.signal()
		if err := c.countBufferedLocked(); err != nil {
			return err
		}
		q.cursors = append(q.cursors, c)
	}
	return nil
}

func (q *Queue) loadKey(key, v []byte, cursors map[string]cursorState) (err error) {
	if key[0] == keyIndex {
		if len(key) != 14 {
			return fmt.Errorf("index key has %d bytes, want 14: %w", len(key), ErrDamaged)
		}
		name := segmentName{tidegate.Class(key[1]), binary.BigEndian.Uint32(key[2:]), binary.BigEndian.Uint64(key[6:])}
		if int(name.class) >= len(q.segments) {
			return fmt.Errorf("index of class %d: %w", name.class, ErrDamaged)
		}
		s, err := decodeSegment(name, v)
		if err != nil {
			return err
		}
		q.segments[name.class] = append(q.segments[name.class], s)
		q.counter = max(q.counter, name.counter)
		return nil
	}
	rest := strings.SplitN(string(key), "|", 3)
	switch {
	case len(rest) == 2 && rest[1] == "pos":
		q.position, err = decodePosition(v)
	case len(rest) == 2 && rest[1] == "totals":
		q.produced, q.gaps, err = decodeTotals(v)
	case len(rest) == 3 && rest[1] == "epoch" && len(rest[2]) == 4:
		q.epochs[binary.BigEndian.Uint32([]byte(rest[2]))], err = decodeEpoch(v)
	case len(rest) == 3 && rest[1] == "rule":
		q.rules[rest[2]] = append([]byte{}, v...)
	case len(rest) == 3 && rest[1] == "cursor":
		cursors[rest[2]], err = decodeCursor(v)
	}
	return err
}

// finishDrops drops the segments that were marked before the process ended.
func (q *Queue) finishDrops() error {
	var marked []*segment
	for class := range q.segments {
		for _, s := range q.segments[class] {
			if s.marked {
				marked = append(marked, s)
			}
		}
	}
	for _, s := range marked {
		if err := q.drop(s); err != nil {
			return err
		}
	}
	return nil
}

// badgerLog hands Badger's log lines on.
type badgerLog struct{ log *slog.Logger }

func (l badgerLog) Errorf(f string, a ...any)   { l.log.Error(line(f, a), "from", "badger") }
func (l badgerLog) Warningf(f string, a ...any) { l.log.Warn(line(f, a), "from", "badger") }
func (l badgerLog) Infof(f string, a ...any)    { l.log.Debug(line(f, a), "from", "badger") }
func (l badgerLog) Debugf(string, ...any)       {}

func line(f string, a []any) string { return strings.TrimSpace(fmt.Sprintf(f, a...)) }
