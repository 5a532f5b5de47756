package window

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/bits"
	"time"
)

// ErrState is wrapped by errors about stored state that cannot be read.
var ErrState = errors.New("stored state of a window")

// version is the first byte of each part. README.md says what follows.
const version = 1

// mark tells a Spec from others: the state of one is not that of another.
func (s Spec) mark() uint32 {
	h := fnv.New32a()
	fmt.Fprintf(h, "%d %d %d %d", s.Shape, s.Span, s.N, s.Needs) // a hash takes all bytes
	return h.Sum32()
}

// Dirty returns a part that changed since it was told last, and takes it for told; ok is false when there is none. What is stored for it is to
// be replaced by body, which is b with the part's encoded state appended, or where body is nil to be forgotten. Parts are numbered from 0 to at
// most 63.
func (w *Window) Dirty(b []byte) (part int, body []byte, ok bool) {
	if w.dirty == 0 {
		return 0, nil, false
	}
	for i := w.n - 1; i >= 0; i-- { // the newest first: mostly it is the only one
		if x := &w.slots[w.place(i)]; w.dirty&(1<<x.part) != 0 {
			w.dirty &^= 1 << x.part
			return int(x.part), w.encode(b, x), true
		}
	}
	part = bits.TrailingZeros64(w.dirty)
	w.dirty &= w.dirty - 1
	return part, nil, true
}

// Touch makes the next Dirty tell all parts.
func (w *Window) Touch() {
	for i := range w.n {
		w.dirty |= 1 << w.slots[w.place(i)].part
	}
}

// encode appends b's state to o.
func (w *Window) encode(o []byte, b *bucket) []byte {
	o = append(o, version)
	o = binary.BigEndian.AppendUint32(o, w.sign)
	o = appendCount(o, b.k)
	o = appendCount(o, b.n)
	if w.spec.Shape == Last {
		return w.appendChunk(o, b)
	}
	if w.what&(Sums|Spread) != 0 {
		o = appendFloat(appendFloat(o, b.hi), b.lo)
	}
	if w.what&Extremes != 0 {
		o = appendFloat(appendFloat(o, b.min), b.max)
	}
	if w.what&Spread != 0 {
		o = appendFloat(o, b.m2)
	}
	if b.ends != nil {
		o = appendStamp(o, b.ends.first, w.from(b.k))
		o = appendStamp(o, b.ends.last, b.ends.first.At)
	}
	if b.bins != nil {
		o = appendCount(o, uint64(len(b.bins.bins)))
		before := int32(0)
		for _, x := range b.bins.bins {
			o = binary.AppendVarint(o, int64(x.b-before))
			o = appendCount(o, x.n)
			before = x.b
		}
	}
	return o
}

func (w *Window) appendChunk(o []byte, b *bucket) []byte {
	before := time.Duration(0)
	for i := range int(b.n) {
		s := w.at(b, i)
		if w.times == nil {
			o = appendFloat(o, s.Value)
			continue
		}
		o = appendStamp(o, s, before)
		before = s.At
	}
	return o
}

// Restore puts a part into a new Window, as Dirty told it last; the parts may come in any order. Call Advance before asking anything: the
// time that a window knows of after Restore may be that of its newest reading. After a reboot boot time begins anew, and so do windows:
// there is nothing to restore.
//
// The error, which wraps ErrState, says why a part is refused: damaged, of another Spec, or not of the same window as the parts before. The
// window is empty then and takes readings, no further parts, and its next Dirty tells all parts to be forgotten.
func (w *Window) Restore(part int, body []byte) error {
	r := &reader{b: body, part: part}
	if w.refused {
		r.fault("another part was refused: the window starts anew")
	} else {
		w.restore(r)
	}
	if err := r.end(); err != nil {
		fresh, _ := New(w.spec) // a Spec that was good before
		*w = *fresh
		w.refused = true
		w.dirty = 1<<w.limit - 1
		return err
	}
	return nil
}

// restore reads a part. What it leaves behind after a fault is thrown away.
func (w *Window) restore(r *reader) {
	if r.part < 0 || r.part >= w.limit {
		r.fault("got part %d, want 0 to %d", r.part, w.limit-1)
		return
	}
	r.version()
	if got := r.uint32(); r.err == nil && got != w.sign {
		r.fault("got the mark %08x, want %08x: it is that of another window", got, w.sign)
	}
	k := r.count(0, w.maxBucket())
	if want := k % uint64(w.limit); r.err == nil && want != uint64(r.part) && (w.spec.Shape == Sliding || w.spec.Shape == Last) {
		r.fault("got bucket %d, which is part %d", k, want)
	}
	for i := range w.n {
		if b := &w.slots[w.place(i)]; r.err == nil && (b.k == k || int(b.part) == r.part) {
			r.fault("got bucket %d, have bucket %d in part %d", k, b.k, b.part)
		}
	}
	if r.err != nil {
		return
	}
	b := w.open(k, uint8(r.part))
	i := w.n - 1 // where it belongs
	for ; i > 0 && w.slots[w.place(i-1)].k > k; i-- {
		x, y := &w.slots[w.place(i-1)], &w.slots[w.place(i)]
		*x, *y = *y, *x
		b = x
	}
	w.tail = w.place(w.n - 1)
	newest := w.slots[w.tail].k
	if old := w.slots[w.head].k; w.spec.Shape != Tumbling && newest-old >= uint64(w.limit) {
		r.fault("got buckets %d and %d, want them less than %d apart", old, newest, w.limit)
		return
	}
	if w.spec.Shape == Last {
		w.restoreChunk(r, b, i)
	} else {
		w.restoreBucket(r, b)
	}
	if r.err == nil {
		w.rejoin()
		w.settle(b)
	}
}

// maxBucket returns the highest number that a bucket can have.
func (w *Window) maxBucket() uint64 {
	switch w.spec.Shape {
	case Last:
		return 1 << 56
	case Session:
		return 0
	}
	return uint64(maxTime / w.width)
}

// restoreBucket reads what is kept of the readings of a stretch of time.
func (w *Window) restoreBucket(r *reader, b *bucket) {
	b.n = r.count(1, math.MaxInt64/64)
	if w.what&(Sums|Spread) != 0 {
		b.hi, b.lo = r.float(), r.float()
	}
	if w.what&Extremes != 0 {
		b.min, b.max = r.number(), r.number()
		if b.min > b.max {
			r.fault("got a least reading of %v and a greatest of %v", b.min, b.max)
		}
	}
	if w.what&Spread != 0 {
		if b.m2 = r.float(); b.m2 < 0 {
			r.fault("got a sum of squares of %v, want at least 0", b.m2)
		}
	}
	if b.ends != nil {
		b.ends.first = r.stamp(w.from(b.k))
		b.ends.last = r.stamp(b.ends.first.At)
		if last := b.ends.last.At; w.width > 0 && last >= w.from(b.k+1) {
			r.fault("got a reading at %v, want one before %v", last, w.from(b.k+1))
		}
	}
	if b.bins != nil {
		w.restoreBins(r, b)
	}
}

func (w *Window) restoreBins(r *reader, b *bucket) {
	n := r.count(1, maxBins+1)
	before, sum, zero := int64(math.MinInt64), uint64(0), uint64(0)
	at := int64(0)
	for range n {
		at += r.varint(2 * top)
		count := r.count(1, b.n)
		if r.err != nil {
			return
		}
		if at <= before || at < -top || at > top {
			r.fault("got percentile bin %d, want one from %d to %d, in order", at, -top, top)
			return
		}
		if at == 0 {
			zero = 1
		}
		before = at
		sum += count
		b.bins.bins = append(b.bins.bins, bin{int32(at), count})
	}
	if n-zero > maxBins || sum != b.n {
		r.fault("got %d readings in %d percentile bins, want %d in at most %d and that of zero", sum, n, b.n, maxBins)
		return
	}
	if w.spec.Shape == Sliding {
		w.all.join(b.bins)
	}
}

// restoreChunk reads the readings of b, which is number i of the chunks there are.
func (w *Window) restoreChunk(r *reader, b *bucket, i int) {
	n := r.count(1, chunk)
	for j := range int(n) {
		at := int(b.part)*chunk + j
		if w.times == nil {
			w.values[at] = r.number()
		} else {
			var before time.Duration
			if j > 0 {
				before = w.times[at-1]
			}
			s := r.stamp(before)
			w.values[at], w.times[at] = s.Value, s.At
		}
		b.add(w.values[at], w.what)
	}
	if r.err != nil {
		return
	}
	for j := max(i, 1); j < min(i+2, w.n); j++ { // with the chunk before, and with the one behind
		x, y := &w.slots[w.place(j-1)], &w.slots[w.place(j)]
		if x.n != chunk {
			r.fault("got %d readings in chunk %d, want %d: chunk %d follows", x.n, x.k, chunk, y.k)
		}
		if last, next := w.at(x, chunk-1).At, w.at(y, 0).At; last > next {
			r.fault("got a reading at %v, and one at %v before it", next, last)
		}
	}
	old, newest := &w.slots[w.head], &w.slots[w.tail]
	if next := newest.k*chunk + newest.n; (old.k+1)*chunk+uint64(w.spec.N) <= next {
		r.fault("got chunk %d, none of which is among the last %d of %d readings", old.k, w.spec.N, next)
	}
}

// settle makes the window tell what it is about, b having come in.
func (w *Window) settle(b *bucket) {
	newest, oldest := &w.slots[w.tail], &w.slots[w.head]
	switch w.spec.Shape {
	case Last:
		w.settleTape(b)
		return
	case Session:
		w.now, w.end = newest.ends.last.At, never
		w.gone = w.now + w.spec.Span + 1
		return
	}
	w.now = w.from(newest.k)
	if newest.ends != nil {
		w.now = newest.ends.last.At
	}
	w.end = w.from(newest.k + 1)
	if w.spec.Shape == Tumbling {
		w.show(w.now)
	} else {
		w.gone = w.over(oldest.k)
	}
}

// settleTape finds what the last N readings are. A chunk all of whose readings are gone was refused, so skip is still 0 if b is the oldest.
func (w *Window) settleTape(b *bucket) {
	newest := &w.slots[w.tail]
	w.next = newest.k*chunk + newest.n
	if w.what&Quantiles != 0 {
		for i := range int(b.n) {
			w.all.add(number(w.at(b, i).Value), 1)
		}
	}
	w.shed(w.next)
	if w.times != nil {
		w.now = w.at(newest, int(newest.n)-1).At
	}
}
