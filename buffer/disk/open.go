// Package disk is Badger with the settings and the guards under which it keeps what it acknowledged, on a disk that is full or
// damaged, and on 32 bit. It is the only door to Badger. buffer/README.md says what is stored.
package disk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/tidegate-io/tidegate/buffer/seal"
	"github.com/tidegate-io/tidegate/buffer/stored"
	"github.com/tidegate-io/tidegate/buffer/wear"
)

// Options say how a Store is opened. All fields but Statfs, Version, Keys and Tail are required.
type Options struct {
	Dir string // the state directory; the store is in Dir/buffer
	// Statfs returns the free and the total bytes of the file system that holds dir; nil = the kernel's answer.
	Statfs func(dir string) (free, total int64, err error)
	// Limit is how many bytes the store is to take, so that what waits to be merged is a small part of it; 0 = no matter.
	Limit      int64
	NoSync     bool   // Dir is on tmpfs: there is nothing to sync, and a disk that refuses to is no reason to stop
	Bare       bool   // no files at all, but memory of this process; Dir is there and not used
	Compactors int    // how many goroutines Badger compacts with, at least 2; 0 = none, where Compact runs
	Version    string // of the program; the self-test of 32-bit machines is made once for each
	Log        *slog.Logger
	Keys       *seal.Keys // what readings are sealed with, and what opens them; nil = all is in the clear
	Tail       *Tail      // how its logs were found before another process opened the store; nil = none has
}

// ErrReopen is wrapped once the store takes nothing any more until it is opened anew.
var ErrReopen = errors.New("the store is to be opened anew")

// A Store is open. Reading is safe for concurrent use; Write, Drop, MakeSpace and Close are for one goroutine,
// Compact for another one beside it.
type Store struct {
	o     Options
	db    *badger.DB
	guard guard
	sick  bool // the last transaction failed
	inLog int  // bytes that went into its log, about
	keys  atomic.Pointer[seal.Keys]

	journal wear.Journal

	tree     sync.Mutex // held while tables are merged or dropped
	isClosed bool       // guarded by tree
	stale    error      // wraps ErrReopen; guarded by tree where it is not the writer that reads
	quiet    *atomic.Bool

	tail Tail
}

// Tail returns how its logs were found.
func (s *Store) Tail() Tail { return s.tail }

// Written returns how many bytes this process has made the kernel write to the disk, see wear.Journal. It is safe for concurrent use.
func (s *Store) Written() uint64 { return s.journal.Written() }

// Open opens the store of the state directory, or makes one. Errors wrapping ErrNoSpace mean that the file system is too full to open
// it safely even without the ballast: try again later. Errors wrapping stored.ErrDamaged mean that it did not open twice in a row, and
// never will: SetAside.
func Open(o Options) (*Store, error) {
	if o.Statfs == nil {
		o.Statfs = statfs
	}
	dir := filepath.Join(o.Dir, "buffer")
	if o.Bare {
		return openBare(&o)
	}
	if st, err := os.Lstat(dir); err == nil && !st.IsDir() {
		return nil, fmt.Errorf("open store: %s is no directory: %w", dir, stored.ErrDamaged)
	}
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
	if o.Tail == nil {
		t, err := FindTail(o.Dir)
		if err != nil {
			return nil, err
		}
		o.Tail = &t
	}
	if err := removeEmpty(dir); err != nil {
		return nil, err
	}
	if err := judgeTables(dir); err != nil {
		return nil, err
	}
	quiet := new(atomic.Bool)
	db, err := openBadger(dir, &o, quiet)
	if err != nil {
		return nil, err
	}
	s := &Store{o: o, db: db, quiet: quiet, tail: *o.Tail}
	s.keys.Store(o.Keys)
	s.guard = guard{ask: func() (int64, int64, error) { return o.Statfs(o.Dir) }, now: time.Now, bare: !hasBallast(&o)}
	s.keepSpare()
	s.keepLog()
	return s, nil
}

// SetKeys has everything that is written from now on sealed with other keys. Any goroutine may call it.
func (s *Store) SetKeys(keys *seal.Keys) { s.keys.Store(keys) }

// openBare makes a store without files.
func openBare(o *Options) (*Store, error) {
	s := &Store{o: *o, quiet: new(atomic.Bool)}
	s.keys.Store(o.Keys)
	s.guard = guard{ask: func() (int64, int64, error) { return o.Statfs(o.Dir) }, now: time.Now, bare: true}
	opts := badgerOptions("", o.Limit, o.Compactors, o.Log).WithInMemory(true).WithSyncWrites(false).WithLogger(badgerLog{o.Log, s.quiet})
	db, err := badger.Open(opts)
	if err != nil {
		return nil, fmt.Errorf("make store in memory: %w", err)
	}
	s.db = db
	return s, nil
}

// Close closes the store. Where the disk takes nothing it does not return, as Badger tries for ever, without a word from here on.
func (s *Store) Close() error {
	s.quiet.Store(true)
	s.tree.Lock()
	defer s.tree.Unlock()
	s.isClosed = true
	var failed error
	if err := guarded(func() { failed = s.db.Close() }); err != nil {
		return err
	}
	if failed != nil {
		return fmt.Errorf("close store: %w", failed)
	}
	return nil
}

// blockBytes is the size of a table's blocks: more than a frame takes, so that a table builder never has to enlarge one.
const blockBytes = stored.MaxFrame + 16<<10

// badgerOptions are the settings under which Badger keeps what it acknowledged, in little memory, on 32 bit as well. Each was measured:
// values stay in the LSM tree (a damaged value log returns empty values without an error), no compression (on 32 bit it loses
// blocks silently; frames are compressed already), small memtables (their files are mapped twice their size).
//
// On 32 bit ristretto's allocator overwrites what a table builder holds once its first buffer, twice the size of a table, is full.
// A block that is enlarged leaves its old memory behind, thrice the value's size in all, which filled that buffer with frames of
// 100 KB. With blocks that hold any frame, two of them together are always more than one block full, so a table of n bytes takes less
// than 2n and two blocks; with tables of 8 MB that fits.
//
// On 64 bit tables are small: a merge that is faster than the disk builds up to 13 at once, in twice their size of memory each. Smaller ones would take as
// many files more, all of which are open.
func badgerOptions(dir string, limit int64, compactors int, log *slog.Logger) badger.Options {
	table := int64(1 << 20)
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
		WithNumLevelZeroTables(level0(limit)).
		WithNumLevelZeroTablesStall(2 * level0(limit)).
		WithNumCompactors(compactors).
		WithDetectConflicts(false).
		WithMetricsEnabled(false).
		WithNumGoroutines(1).
		WithLogger(badgerLog{log, new(atomic.Bool)})
}

// openBadger opens the database. A file that was cut at its making fails one Open and is mended by it.
func openBadger(dir string, o *Options, quiet *atomic.Bool) (*badger.DB, error) {
	db, err := tryOpen(dir, o, quiet)
	if err == nil {
		return db, nil
	}
	o.Log.Warn("store did not open, trying once more", "err", err)
	if err := removeEmpty(dir); err != nil {
		return nil, err
	}
	if db, err = tryOpen(dir, o, quiet); err != nil {
		return nil, openDamaged(dir, err)
	}
	return db, nil
}

// tryOpen opens the database once. Where damage makes Badger panic that is an error, unless one of its own goroutines does: nobody can
// catch that, and the process ends. Those that open tables do not come to it (judgeTables).
func tryOpen(dir string, o *Options, quiet *atomic.Bool) (db *badger.DB, err error) {
	var failed error
	opts := badgerOptions(dir, o.Limit, o.Compactors, o.Log).WithSyncWrites(!o.NoSync).WithLogger(badgerLog{o.Log, quiet})
	if err := guarded(func() { db, failed = badger.Open(opts) }); err != nil {
		return nil, err
	}
	return db, failed
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

// badgerLog hands Badger's log lines on, until it is to be quiet.
type badgerLog struct {
	log   *slog.Logger
	quiet *atomic.Bool
}

func (l badgerLog) Errorf(f string, a ...any)   { l.say(slog.LevelError, f, a) }
func (l badgerLog) Warningf(f string, a ...any) { l.say(slog.LevelWarn, f, a) }
func (l badgerLog) Infof(f string, a ...any)    { l.log.Debug(line(f, a), "from", "badger") }
func (l badgerLog) Debugf(string, ...any)       {}

func (l badgerLog) say(level slog.Level, f string, a []any) {
	if l.quiet.Load() {
		level = slog.LevelDebug
	}
	l.log.Log(context.Background(), level, line(f, a), "from", "badger")
}

func line(f string, a []any) string { return strings.TrimSpace(fmt.Sprintf(f, a...)) }
