package buffer

import (
	"sort"

	"github.com/tidegate-io/tidegate"
)

const (
	// tailBytes is how much of what is committed stays in memory for cursors that are not far behind.
	tailBytes = 1 << 20
	// frameCost is what a frame takes in memory beside its body.
	frameCost = 96
)

// A tail is the newest frames of one class, in memory: all that is not committed, and some that is. Frames in it never change.
type tail struct {
	frames []Frame
	bytes  int
	keep   int   // how many bytes of what is committed stay
	done   Place // everything below is committed
	top    Place // everything below is counted as produced and buffered
}

func (t *tail) push(f *Frame) {
	if n := len(t.frames); n > 0 && !(Place{t.frames[n-1].Epoch, t.frames[n-1].Last}).Before(Place{f.Epoch, f.First}) {
		return // it is there already
	}
	t.frames = append(t.frames, *f)
	t.bytes += len(f.Body) + frameCost
}

// committed notes that all frames of the epoch up to number last are on disk, and lets go of what is too much.
func (t *tail) committed(epoch uint32, last uint64) {
	if p := (Place{epoch, last + 1}); t.done.Before(p) {
		t.done = p
	}
	n := 0
	for n < len(t.frames) && t.bytes > t.keep && t.isCommitted(&t.frames[n]) {
		t.bytes -= len(t.frames[n].Body) + frameCost
		n++
	}
	if n > 0 { // a copy: readers may have the old one
		t.frames = append(t.frames[:0:0], t.frames[n:]...)
	}
}

func (t *tail) isCommitted(f *Frame) bool { return (Place{f.Epoch, f.Last}).Before(t.done) }

// start returns the place from which on the tail has everything; ok is false when it is empty.
func (t *tail) start() (p Place, ok bool) {
	if len(t.frames) == 0 {
		return p, false
	}
	return Place{t.frames[0].Epoch, t.frames[0].First}, true
}

// from returns the frames that reach to or beyond p.
func (t *tail) from(p Place) []Frame {
	i := sort.Search(len(t.frames), func(i int) bool {
		f := &t.frames[i]
		return f.Epoch > p.Epoch || f.Epoch == p.Epoch && f.Last >= p.Number
	})
	return t.frames[i:]
}

// overlapping returns the frames of the epoch that share numbers with r.
func (t *tail) overlapping(epoch uint32, r tidegate.Range) []Frame {
	list := t.from(Place{epoch, r.First})
	n := sort.Search(len(list), func(i int) bool {
		return list[i].Epoch > epoch || list[i].Epoch == epoch && list[i].First > r.Last
	})
	return list[:n]
}
