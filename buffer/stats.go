package buffer

import (
	"slices"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/stored"
	"github.com/tidegate-io/tidegate/buffer/wear"
)

// Stats is the account of the queue at one time.
type Stats struct {
	Produced  Tallies // committed, and dropped before because the disk did not take it, since the state directory was made
	Cursors   []CursorStats
	Gaps      uint64 // declarations committed
	Bytes     int64  // of frames in the store and in memory
	DiskBytes int64  // the store's files, as allocated
	Limit     int64  // in force
	Most      int64  // that the limits allow: more than Limit where the file system has less room than that, or the machine has 32 bits
	Highest   uint64 // number of the newest record visible, in the newest epoch
	Epoch     uint32 // ordinal of the newest epoch
	EpochID   string
	Failure   error // of the last commit
	Card      wear.State
	Segments  []SegmentStats
	Keys      []KeyUse // what is sealed with which key, first with that of now; 0 = in the clear
}

// CursorStats is the account of one uplink: Produced = Delivered + Buffered + Rejected + Declared + Thinned + Routed, by class. What is Routed is meant for
// another uplink only, or of class debug, which stays on the gateway; all others count what is meant for this one.
type CursorStats struct {
	Uplink    string
	Produced  Tallies // Stats.Produced, less what was gone when the uplink was added
	Delivered Tallies
	Buffered  Tallies
	Rejected  Tallies
	Declared  Tallies
	Thinned   Tallies // others stand for them
	Routed    Tallies
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
	disk, card := q.disk.Bytes(), q.card.Stand()
	oldest := make([]int64, len(q.cursors))
	for i, c := range q.cursors {
		oldest[i] = c.oldest()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	s := Stats{Produced: q.totals.Produced, Gaps: q.totals.Gaps, Limit: q.limit, Most: q.most, Failure: q.failure, DiskBytes: disk, Keys: q.usesLocked(q.keys), Card: card}
	for class := range q.tails {
		t := &q.tails[class]
		for i := range t.frames {
			f := &t.frames[i]
			if !t.isCommitted(f) {
				s.Produced[class].Add(Tally{Records: f.Records(), Readings: uint64(f.Count)})
				s.Bytes += int64(len(f.Body))
			}
		}
		for _, g := range q.segments[class] {
			if g.Gone {
				continue
			}
			s.Bytes += g.Bytes
			s.Segments = append(s.Segments, SegmentStats{
				Name: g.Segment.String(), First: g.First(), Last: g.Last(), Records: g.Records, Readings: g.Readings,
				Bytes: g.Bytes, T0: g.T0, T1: g.T1, Dropping: g.Dropping || g.doomed,
			})
		}
	}
	for e, x := range q.epochs {
		if e >= s.Epoch {
			s.Epoch, s.EpochID = e, x.ID
		}
	}
	s.Highest = q.highest[s.Epoch]
	for i, c := range q.cursors {
		x := CursorStats{
			Uplink: c.name, Produced: s.Produced, Delivered: c.delivered, Rejected: c.rejected, Declared: c.declared, Thinned: c.thinned, Buffered: c.buffered,
			Routed: c.routedLocked(), Confirmed: min(s.Highest, c.firstWantedLocked(s.Epoch, c.done)-1), Oldest: oldest[i],
		}
		for class := range x.Produced {
			x.Produced[class].Sub(c.before[class])
			if !forUplinks(tidegate.Class(class)) {
				x.Routed[class] = x.Produced[class]
			}
		}
		s.Cursors = append(s.Cursors, x)
	}
	return s
}

// firstWantedLocked returns the lowest number of the epoch that is held and not in done; 2^64-1 if there is none.
func (c *Cursor) firstWantedLocked(epoch uint32, done map[stored.Stream]tidegate.Ranges) uint64 {
	first := uint64(1<<64 - 1)
	for class := range c.q.segments {
		st := stored.Stream{Class: tidegate.Class(class), Epoch: epoch}
		for _, s := range c.q.segments[class] {
			if s.Epoch == epoch && s.First() < first {
				if want := s.without(done[st], nil, 0); len(want) > 0 {
					first = min(first, want[0].First)
				}
			}
		}
		for _, f := range c.q.tails[class].from(Place{epoch, 0}) {
			if f.Epoch != epoch || f.First >= first || !forUplinks(f.Class) {
				break
			}
			if want := done[st].Missing(tidegate.Range{First: f.First, Last: f.Last}); len(want) > 0 {
				first = min(first, want[0].First)
			}
		}
	}
	return first
}

// A CoarseCursor says that an uplink is done with everything of the epoch up to and including Number.
type CoarseCursor struct {
	Uplink string
	Epoch  uint32
	Number uint64
}

// Coarse returns how far each uplink has got as of the last commit, for the lease: the newest epoch first. It is empty before an uplink
// got anything; then it names all, also one that is done with nothing.
func (q *Queue) Coarse() []CoarseCursor {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []CoarseCursor
	some := false
	for e, x := range q.epochs {
		for _, c := range q.cursors {
			first := min(c.firstWantedLocked(e, c.saved), q.committedLocked(e), q.highest[e]+1)
			first = max(first, x.Start, 1)
			out = append(out, CoarseCursor{c.name, e, first - 1})
			some = some || len(c.saved) > 0
		}
	}
	if !some {
		return nil
	}
	slices.SortStableFunc(out, func(a, b CoarseCursor) int { return int(int64(b.Epoch) - int64(a.Epoch)) })
	return out
}
