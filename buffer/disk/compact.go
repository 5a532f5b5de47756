package disk

import (
	"context"
	"fmt"
	"time"
)

const (
	// compactFrom is from how many tables of level 0 on they are merged, where the limit is large. Badger's own compactors begin at 8 and its writes wait
	// from 16 on; its Flatten does nothing up to 8.
	compactFrom = 9
	// compactEvery is how often it is looked. A memtable of 4 MB makes a table, so that seven more are written in it at 28 MB a second.
	compactEvery = time.Second
)

// Compact merges tables as they become many, until ctx is done: that keeps reads fast and writes going. It is for one goroutine, beside the one
// that writes. Badger's own compactors look forty times a second, which wakes an idle processor as often.
func (s *Store) Compact(ctx context.Context) error {
	t := time.NewTicker(compactEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			if err := s.compact(level0(s.o.Limit) + 1); err != nil {
				s.o.Log.Error("merge tables of the store", "err", err)
			}
		}
	}
}

// level0 is how many tables of level 0 may wait to be merged in a store of at most limit bytes, 0 = any: what is merged stands on disk twice for a while, so
// they are at most an eighth of it, and eight. Writes wait at twice as many.
func level0(limit int64) int {
	if limit <= 0 {
		return 8
	}
	return int(min(max(limit/8/memTable, 2), 8))
}

// late is from how many tables on the writer merges them itself, before writes would wait for good: where nobody runs Compact, or it is slow.
func late(limit int64) int { return max(2*level0(limit)-2, level0(limit)+1) }

// compact merges the tables of level 0 where there are as many as from, which takes as long as the disk needs for some 40 MB. Drop and Close wait for it;
// neither waits for a compaction itself, as Badger adds to level 0 what it flushes for them however many tables there are.
func (s *Store) compact(from int) error {
	s.tree.Lock()
	defer s.tree.Unlock()
	if s.isClosed || s.stale != nil || s.db.Levels()[0].NumTables < from {
		return nil
	}
	var failed error
	if err := guarded(func() { failed = s.db.Flatten(1) }); err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	if failed != nil {
		return fmt.Errorf("compact: %w", failed)
	}
	return nil
}

// dropPrefix is Badger's, not beside compact: both change which tables there are. One that fails leaves memtables in Badger's hands that it has let go: with
// the next one it would end the process.
func (s *Store) dropPrefix(prefix []byte) error {
	s.tree.Lock()
	defer s.tree.Unlock()
	if s.stale == nil {
		if err := s.db.DropPrefix(prefix); err != nil {
			s.stale = fmt.Errorf("%w: %w", ErrReopen, err)
		}
	}
	return s.stale
}
