package buffer

import (
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

// blockBytes is the size of a table's blocks: more than a frame takes, so that a table builder never has to enlarge one.
const blockBytes = MaxFrame + 16<<10

// badgerOptions are the settings under which Badger keeps what it acknowledged, in little memory, on 32 bit as well. Each was measured:
// values stay in the LSM tree (a damaged value log returns empty values without an error), no compression (on 32 bit it loses
// blocks silently; frames are compressed already), small memtables (their files are mapped twice their size).
//
// On 32 bit ristretto's allocator overwrites what a table builder holds once its first buffer, twice the size of a table, is full.
// A block that is enlarged leaves its old memory behind, thrice the value's size in all, which filled that buffer with frames of
// 100 KB. With blocks that hold any frame, two of them together are always more than one block full, so a table of n bytes takes less
// than 2n and two blocks; with tables of 8 MB that fits.
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
		WithBlockSize(blockBytes).
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
	if bits.UintSize == 32 {
		if err := testOnce(&o); err != nil {
			return nil, err
		}
	}
	if err := removeEmpty(dir); err != nil {
		return nil, err
	}
	q := newQueue(&o)
	db, err := openBadger(dir, &o)
	if err != nil {
		return nil, err
	}
	q.db = db
	if err := q.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("read store %s: %w", dir, err), db.Close())
	}
	q.setLimit()
	if err := q.finishDrops(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return q, nil
}

func newQueue(o *Options) *Queue {
	q := &Queue{
		o: *o, epochs: map[uint32]Epoch{}, dirty: map[uint32]bool{}, acked: map[uint32]bool{}, highest: map[uint32]uint64{},
		rules: map[string][]byte{}, hurt: map[stored.Segment]bool{}, moved: make(chan struct{}, 1),
	}
	q.guard = guard{ask: func() (int64, int64, error) { return q.o.Statfs(q.o.Dir) }, now: time.Now}
	for class := range q.tails {
		q.tails[class].keep = tailBytes
		if o.sizes.tail > 0 {
			q.tails[class].keep = o.sizes.tail
		}
	}
	return q
}

// openBadger opens the database. A file that was cut at its making fails one Open and is mended by it.
func openBadger(dir string, o *Options) (*badger.DB, error) {
	db, err := badger.Open(badgerOptions(dir, o.Compactors, o.Log))
	if err == nil {
		return db, nil
	}
	o.Log.Warn("store did not open, trying once more", "err", err)
	if err := removeEmpty(dir); err != nil {
		return nil, err
	}
	if db, err = badger.Open(badgerOptions(dir, o.Compactors, o.Log)); err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	return db, nil
}

// removeEmpty deletes memtable and value-log files of 0 bytes: spares (guard.keepSpare), or what a power cut left. Badger refuses
// to open with them.
func removeEmpty(dir string) error {
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
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return fmt.Errorf("remove empty file: %w", err)
		}
	}
	return nil
}

// load reads indexes, position, cursors, epochs and rule state. Frames are read only where a cursor is done with a part of a segment.
func (q *Queue) load() error {
	cursors := map[string]stored.Cursor{}
	err := q.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{PrefetchValues: false})
		defer it.Close()
		for _, prefix := range []byte{stored.KeyIndex, stored.KeyMeta} {
			for it.Seek([]byte{prefix}); it.ValidForPrefix([]byte{prefix}); it.Next() {
				key := it.Item().Key()
				if err := it.Item().Value(func(v []byte) error { return q.loadKey(key, v, cursors) }); err != nil {
					return fmt.Errorf("key %q: %w", key, err)
				}
			}
		}
		for it.Seek([]byte{stored.KeyRejected}); it.ValidForPrefix([]byte{stored.KeyRejected}); it.Next() {
			q.aside += it.Item().ValueSize()
		}
		return nil
	})
	if err != nil {
		return err
	}
	for class := range q.segments {
		sortSegments(q.segments[class])
		for _, s := range q.segments[class] {
			q.highest[s.Epoch] = max(q.highest[s.Epoch], s.Last())
			q.totals.Segment = max(q.totals.Segment, s.Counter)
			q.tails[class].top = Place{s.Epoch, s.Last() + 1}
		}
	}
	q.highest[q.position.Epoch] = max(q.highest[q.position.Epoch], max(q.position.Next, 1)-1)
	for _, name := range q.o.Uplinks {
		st, known := cursors[name]
		delete(cursors, name)
		if err := q.loadCursor(name, &st, known); err != nil {
			return err
		}
	}
	for name := range cursors {
		q.o.Log.Info("uplink was removed: its account is closed", "uplink", name)
		q.unmark = append(q.unmark, stored.MetaKey(stored.MetaCursor, name))
	}
	return nil
}

func (q *Queue) loadCursor(name string, st *stored.Cursor, known bool) error {
	c := &Cursor{
		q: q, name: name, wake: make(chan struct{}, 1), done: map[stored.Stream]tidegate.Ranges{}, saved: st.Done,
		hidden:    map[uint32]tidegate.Ranges{},
		delivered: st.Delivered, rejected: st.Rejected, declared: st.Declared, before: st.Before,
	}
	for s, r := range st.Done {
		c.done[s] = r.Clone()
	}
	for _, e := range st.Acked {
		q.acked[e] = true
	}
	q.cursors = append(q.cursors, c)
	q.wakeLocked()
	if err := c.countBuffered(); err != nil {
		return err
	}
	if !known { // a new uplink: what is gone by now was never its
		c.before = q.totals.Produced
		for class := range c.before {
			c.before[class].Sub(c.buffered[class])
		}
		c.changes++
	}
	return nil
}

// countBuffered counts what the store holds that is not done; for a start.
func (c *Cursor) countBuffered() error {
	for class := range c.q.segments {
		for _, s := range c.q.segments[class] {
			want := s.without(c.done[s.stream()], nil, 0)
			if len(want) == 0 {
				continue
			}
			var p part
			if err := c.findStored(&p, s, &want); err != nil {
				return err
			}
			c.buffered[class].Add(p.Tally)
		}
	}
	return nil
}

func (q *Queue) loadKey(key, v []byte, cursors map[string]stored.Cursor) (err error) {
	if key[0] == stored.KeyIndex {
		s := &segment{}
		if s.Segment, err = stored.ParseSegment(key); err != nil {
			return err
		}
		if s.Index, err = stored.DecodeIndex(v); err == nil {
			q.segments[s.Class] = append(q.segments[s.Class], s)
		}
		return err
	}
	switch word, name := stored.ParseMeta(key); word {
	case stored.MetaPosition:
		q.position, err = stored.DecodePosition(v)
	case stored.MetaTotals:
		q.totals, err = stored.DecodeTotals(v)
	case stored.MetaEpoch:
		var e uint32
		if e, err = stored.ParseEpochName(name); err == nil {
			q.epochs[e], err = stored.DecodeEpoch(v)
		}
	case stored.MetaRule:
		q.rules[name], err = stored.Unseal("state of rule "+name, v)
	case stored.MetaCursor:
		cursors[name], err = stored.DecodeCursor(v)
	}
	return err
}

// finishDrops drops the segments that were marked before the process ended.
func (q *Queue) finishDrops() error {
	var marked []*segment
	for class := range q.segments {
		for _, s := range q.segments[class] {
			if s.Dropping {
				marked = append(marked, s)
			}
		}
	}
	for _, s := range marked {
		if err := q.drop(s); err != nil {
			return err
		}
	}
	if err := q.guard.keepSpare(q.o.Dir); err != nil {
		q.o.Log.Warn("room for the next memtable is not kept", "err", err)
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
