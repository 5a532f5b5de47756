package buffer

import (
	"cmp"
	"slices"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

const (
	// maxSegment is the largest segment.
	maxSegment = 8 << 20
	// minSegment is what a segment of a class with a small share takes all the same.
	minSegment = 256 << 10
	// maxRuns bounds the runs of numbers in one segment's index, which is written with each commit.
	maxRuns = 512
)

// A segment is a group of frames of one class and epoch that is dropped as a whole. A copy of it stays true: frames are only added.
type segment struct {
	stored.Segment
	stored.Index
	doomed bool // the agent was asked to declare what uplinks still want of it
}

func (s *segment) stream() stored.Stream { return stored.Stream{Class: s.Class, Epoch: s.Epoch} }

// held returns those of rs that s holds.
func (s *segment) held(rs tidegate.Ranges) tidegate.Ranges {
	var out tidegate.Ranges
	for _, r := range rs {
		if r.First <= s.Last() && r.Last >= s.First() {
			out.AddAll(s.Runs.Within(r))
		}
	}
	return out
}

// forUplinks reports whether uplinks want records of class. Those of class debug stay on the gateway: they are kept while there is room,
// like what is delivered, and no cursor waits for them. Their far sides are told to skip the numbers, see told.go.
func forUplinks(class tidegate.Class) bool { return class != tidegate.ClassDebug }

// without returns the numbers of s, at or behind from, that are in neither set and that uplinks want.
func (s *segment) without(done, hidden tidegate.Ranges, from uint64) tidegate.Ranges {
	var out tidegate.Ranges
	if !forUplinks(s.Class) {
		return nil
	}
	for _, r := range s.Runs {
		if r.First = max(r.First, from); r.Len() > 0 {
			out = append(out, done.Missing(r)...)
		}
	}
	for _, h := range hidden {
		out.Remove(h)
	}
	return out
}

// sortSegments puts segments in the order of their records, which is not that in which they were made where some were salvaged or came back.
func sortSegments(list []*segment) {
	slices.SortFunc(list, func(a, b *segment) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.First(), b.First()), cmp.Compare(a.Counter, b.Counter))
	})
}

// segmentSize returns how large segments of class get: a class gives way by whole segments, and is to keep most of its share.
func (q *Queue) segmentSize(class tidegate.Class) int64 {
	if q.o.sizes.segment > 0 {
		return q.o.sizes.segment
	}
	return min(q.limit/32, max(q.o.Classes.Share(class, q.budget())/4, minSegment), maxSegment)
}

// segmentLocked returns the segment of that name, nil if there is none any more.
func (q *Queue) segmentLocked(name stored.Segment) *segment {
	for _, s := range q.segments[name.Class] {
		if s.Segment == name {
			return s
		}
	}
	return nil
}

// takes returns how many bytes of the limit s takes, with what its runs of numbers take in memory.
func (s *segment) takes() int64 { return s.Bytes + runCost*int64(len(s.Runs)-1) }

// kept returns how many bytes the frames of s take.
func (s *segment) kept() int64 {
	if s.Gone {
		return 0
	}
	return s.Bytes
}
