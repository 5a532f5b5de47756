package buffer

import (
	"os"
	"path/filepath"
	"syscall"

	"github.com/tidegate-io/tidegate"
)

// Stats is the account of the queue at one time.
type Stats struct {
	Produced  Tallies // committed, and dropped before because the disk did not take it, since the state directory was made
	Cursors   []CursorStats
	Gaps      uint64 // declarations committed
	Bytes     int64  // of frames in the store and in memory
	DiskBytes int64  // the store's files, as allocated
	Limit     int64  // in force
	Highest   uint64 // number of the newest record visible, in the newest epoch
	Epoch     uint32 // ordinal of the newest epoch
	EpochID   string
	Failure   error // of the last commit
	Segments  []SegmentStats
}

// CursorStats is the account of one uplink: Produced = Delivered + Buffered + Rejected + Declared, by class.
type CursorStats struct {
	Uplink    string
	Delivered Tallies
	Buffered  Tallies
	Rejected  Tallies
	Declared  Tallies
	Confirmed uint64 // all numbers of the newest epoch up to here are done
	Oldest    int64  // time of the oldest record not done, Unix milliseconds; 0 = none
}

// SegmentStats describes one segment.
type SegmentStats struct {
	Name     string
	First    uint64
	Last     uint64
	Records  uint64
	Readings uint64
	Bytes    int64
	T0, T1   int64 // Unix milliseconds
	Dropping bool
}

// Stats returns the account. What was Put and is not committed counts as produced.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := Stats{Produced: q.produced, Gaps: q.gaps, Limit: q.limit, Failure: q.failure}
	for class := range q.tails {
		t := &q.tails[class]
		for i := range t.frames {
			f := &t.frames[i]
			if !t.isCommitted(f) {
				s.Produced[class].add(f.Records(), uint64(f.Count))
				s.Bytes += int64(len(f.Body))
			}
		}
		for _, g := range q.segments[class] {
			s.Bytes += g.bytes
			s.Segments = append(s.Segments, SegmentStats{
				Name: g.segmentName.String(), First: g.first(), Last: g.last(), Records: g.records, Readings: g.readings,
				Bytes: g.bytes, T0: g.t0, T1: g.t1, Dropping: g.doomed,
			})
		}
	}
	for e, x := range q.epochs {
		if e >= s.Epoch {
			s.Epoch, s.EpochID = e, x.ID
		}
	}
	s.Highest = q.highest[s.Epoch]
	for _, c := range q.cursors {
		s.Cursors = append(s.Cursors, c.statsLocked(&s))
	}
	s.DiskBytes = diskBytes(filepath.Join(q.o.Dir, "buffer"))
	return s
}

func (c *Cursor) statsLocked(s *Stats) CursorStats {
	x := CursorStats{Uplink: c.name, Delivered: c.delivered, Rejected: c.rejected, Declared: c.declared, Buffered: c.buffered, Confirmed: s.Highest}
	if rest := c.done[s.Epoch].Missing(tidegate.Range{First: c.q.epochs[s.Epoch].Start, Last: s.Highest}); len(rest) > 0 {
		x.Confirmed = rest[0].First - 1
	}
	x.Oldest = c.oldestLocked()
	return x
}

// oldestLocked returns the time of the oldest frame or segment with something not done, Unix milliseconds.
func (c *Cursor) oldestLocked() int64 {
	oldest := int64(0)
	see := func(t int64) {
		if oldest == 0 || t < oldest {
			oldest = t
		}
	}
	for class := range c.q.segments {
		var start Place
		var bounded bool
		if start, bounded = c.q.tails[class].start(); !bounded {
			start = Place{}
		}
		for _, s := range c.q.segments[class] {
			if s.doomed || bounded && !(Place{s.epoch, s.first()}).Before(start) {
				continue
			}
			for _, r := range s.runs {
				if bounded && s.epoch == start.Epoch {
					r.Last = min(r.Last, start.Number-1)
				}
				if r.Len() > 0 && !c.done[s.epoch].Covers(r) {
					see(s.t0)
					break
				}
			}
		}
		for i := range c.q.tails[class].frames {
			f := &c.q.tails[class].frames[i]
			if !c.done[f.Epoch].Covers(tidegate.Range{First: f.First, Last: f.Last}) {
				see(f.T0)
				break
			}
		}
	}
	return oldest
}

// diskBytes returns how much the files of dir take on disk (blocks, so that holes do not count).
func diskBytes(dir string) int64 {
	list, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	var n int64
	for _, e := range list {
		if st, err := e.Info(); err == nil { // a table may be gone meanwhile
			if sys, ok := st.Sys().(*syscall.Stat_t); ok {
				n += sys.Blocks * 512
			}
		}
	}
	return n
}

// Coarse returns how far each uplink has got, for the lease: everything up to and including Number of the epoch is done.
func (q *Queue) Coarse() []CoarseCursor {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []CoarseCursor
	for _, c := range q.cursors {
		for e, done := range c.saved {
			if len(done) > 0 && done[0].First <= max(q.epochs[e].Start, 1) {
				out = append(out, CoarseCursor{c.name, e, done[0].Last})
			}
		}
	}
	return out
}

// A CoarseCursor says that an uplink is done with everything of the epoch up to and including Number.
type CoarseCursor struct {
	Uplink string
	Epoch  uint32
	Number uint64
}
