package buffer

import (
	"cmp"
	"slices"

	"github.com/tidegate-io/tidegate"
)

// maxRuns bounds the runs of numbers in one segment's index, which is written with each commit.
const maxRuns = 512

// A segment is a group of frames of one class and epoch that is dropped as a whole.
type segment struct {
	segmentName
	runs     tidegate.Ranges // numbers of its records
	records  uint64
	readings uint64
	bytes    int64
	t0, t1   int64 // Unix milliseconds
	closed   bool
	doomed   bool // no cursor looks at it any more; it waits for its gap to be committed, or for DropPrefix
	marked   bool // the index on disk says dropping
}

func (s *segment) first() uint64 { return s.runs[0].First }
func (s *segment) last() uint64  { return s.runs[len(s.runs)-1].Last }

// add returns s with f in it, sharing no memory that s may still change.
func (s segment) add(f *Frame, size int) segment {
	s.runs = s.runs.Clone()
	s.runs.Add(tidegate.Range{First: f.First, Last: f.Last})
	if s.records == 0 || f.T0 < s.t0 {
		s.t0 = f.T0
	}
	if s.records == 0 || f.T1 > s.t1 {
		s.t1 = f.T1
	}
	s.records += f.Records()
	s.readings += uint64(f.Count)
	s.bytes += int64(size)
	return s
}

func (s *segment) encode() []byte {
	w := packer{}
	state := uint64(0)
	if s.closed {
		state |= 1
	}
	if s.marked {
		state |= 2
	}
	w.uint(1) // version
	w.uint(state)
	w.uint(s.records)
	w.uint(s.readings)
	w.uint(uint64(s.bytes))
	w.int(s.t0)
	w.int(s.t1)
	w.ranges(s.runs)
	return w.b
}

func decodeSegment(name segmentName, b []byte) (*segment, error) {
	u := unpacker{b: b}
	s := &segment{segmentName: name}
	u.uint()
	state := u.uint()
	s.closed, s.marked = state&1 != 0, state&2 != 0
	s.doomed = s.marked
	s.records, s.readings, s.bytes = u.uint(), u.uint(), int64(u.uint())
	s.t0, s.t1 = u.int(), u.int()
	s.runs = u.ranges()
	if err := u.done("segment index " + name.String()); err != nil {
		return nil, err
	}
	if len(s.runs) == 0 {
		u.fail("empty list of runs")
		return nil, u.done("segment index " + name.String())
	}
	return s, nil
}

// sortSegments puts segments in the order of their records.
func sortSegments(list []*segment) {
	slices.SortFunc(list, func(a, b *segment) int {
		return cmp.Or(cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.counter, b.counter))
	})
}
