package window

import (
	"math"
	"time"
)

// A sum is a sum of doubles together with what rounding took from it (Neumaier's compensation, in Knuth's form without a branch):
// its error does not grow with the number of additions, for as many as a gateway lives to make.
type sum struct{ hi, lo float64 }

func (s *sum) add(v float64) {
	v = float64(v) // rounded: where v is a product, the compiler must not fuse it into the next line only
	t := s.hi + v
	z := t - s.hi
	s.lo += (s.hi - (t - z)) + (v - z)
	s.hi = t
}

func (s *sum) value() float64 { return s.hi + s.lo }

// An agg is what is known of a number of readings. The zero agg is that of none.
type agg struct {
	n uint64
	sum
	min, max float64
	m2       float64 // sum of squared distances from the average
}

// avg is correctly rounded but in rare cases: that of equal readings is each of them, and their spread is 0.
func (a *agg) avg() float64 {
	n := float64(a.n)
	q := a.hi / n
	return q + (math.FMA(-q, n, a.hi)+a.lo)/n
}

func (a *agg) add(v float64, what Needs) {
	if what&Spread != 0 && a.n > 0 {
		n := float64(a.n)
		d := v - a.avg()
		a.m2 += d * (d * (n / (n + 1)))
	}
	if what&(Sums|Spread) != 0 {
		a.sum.add(v)
	}
	if what&Extremes != 0 {
		if v < a.min || a.n == 0 {
			a.min = v
		}
		if v > a.max || a.n == 0 {
			a.max = v
		}
	}
	a.n++
}

// merge adds what b knows; squared distances by Chan's and others' rule for two groups.
func (a *agg) merge(b *agg, what Needs) {
	switch {
	case b.n == 0:
		return
	case a.n == 0:
		*a = *b
		return
	}
	if what&Spread != 0 {
		na, nb := float64(a.n), float64(b.n)
		d := b.avg() - a.avg()
		a.m2 += b.m2 + d*(d*(na/(na+nb)*nb))
	}
	if what&(Sums|Spread) != 0 {
		a.sum.add(b.hi)
		a.lo += b.lo
	}
	if what&Extremes != 0 {
		a.min, a.max = min(a.min, b.min), max(a.max, b.max)
	}
	a.n += b.n
}

// total returns what the answers are about, as far as what goes. It is valid until the next call of anything.
func (w *Window) total(what Needs) *agg {
	switch {
	case w.spec.Shape == Last:
		w.oldest(&w.mixed)
		w.mixed.merge(&w.told, what)
		return &w.mixed
	case w.spec.Shape == Tumbling && w.shown >= 0:
		return &w.slots[w.shown].agg
	case w.spec.Shape == Session && w.n > 0:
		return &w.slots[w.tail].agg
	}
	return &w.told
}

// Count returns how many readings there are. ok is false only for a tumbling window that has not yet completed a span.
func (w *Window) Count() (n uint64, ok bool) {
	a := w.total(0)
	return a.n, w.spec.Shape != Tumbling || w.known
}

// Sum returns the sum of the readings. ok is false where there are none, where the Needs have neither Sums nor Spread, and where it is
// beyond the range of a double.
func (w *Window) Sum() (v float64, ok bool) {
	a := w.total(Sums)
	return finite(a.value(), a.n >= 1 && w.what&(Sums|Spread) != 0)
}

// Avg returns the average of the readings. ok is as with Sum.
func (w *Window) Avg() (v float64, ok bool) {
	a := w.total(Sums)
	return finite(a.avg(), a.n >= 1 && w.what&(Sums|Spread) != 0)
}

// Min returns the least reading. ok is false where there are none, and where the Needs have no Extremes.
func (w *Window) Min() (v float64, ok bool) {
	a := w.total(Extremes)
	return a.min, a.n >= 1 && w.what&Extremes != 0
}

// Max returns the greatest reading. ok is as with Min.
func (w *Window) Max() (v float64, ok bool) {
	a := w.total(Extremes)
	return a.max, a.n >= 1 && w.what&Extremes != 0
}

// Stddev returns the standard deviation of the readings taken as a sample: divided by one less than their number. ok is false where there are
// fewer than two, where the Needs have no Spread, and where it is beyond the range of a double.
func (w *Window) Stddev() (v float64, ok bool) {
	a := w.total(Spread)
	return finite(math.Sqrt(a.m2/(float64(a.n)-1)), a.n >= 2 && w.what&Spread != 0)
}

func finite(v float64, ok bool) (float64, bool) {
	if !ok || v-v != 0 {
		return 0, false
	}
	return v, true
}

// Quantile returns a value that at most 1 % of it separates from the smallest reading v of which this is true: at least the fraction p of
// the readings is no greater than v. With p = 0 that is the least, with 1 the greatest. README.md says where the error is greater. ok is
// false where there are no readings, where the Needs have no Quantiles, and where p is not from 0 to 1.
func (w *Window) Quantile(p float64) (v float64, ok bool) {
	if !(p >= 0 && p <= 1) || w.what&Quantiles == 0 {
		return 0, false
	}
	n, _ := w.Count()
	if n == 0 {
		return 0, false
	}
	x := p * float64(n)
	x -= x * 0x1p-51 // 0.07 of 100 are 7, not 7.000000000000001
	rank := min(max(uint64(math.Ceil(x)), 1), n)
	s := &w.all
	switch w.spec.Shape {
	case Tumbling:
		s = w.slots[w.shown].bins
	case Session:
		s = w.slots[w.tail].bins
	}
	return s.rank(rank, n), true
}

// A Stamp is a reading and its boot time.
type Stamp struct {
	At    time.Duration
	Value float64
}

// ends are the first and the last of a number of readings.
type ends struct{ first, last Stamp }

func (e *ends) push(at time.Duration, v float64, isFirst bool) {
	e.last = Stamp{at, v}
	if isFirst {
		e.first = e.last
	}
}

// Ends returns the first and the last reading. ok is false where there are none, and where the Needs have no Ends.
func (w *Window) Ends() (first, last Stamp, ok bool) {
	if w.spec.Needs&Ends == 0 || w.n == 0 {
		return Stamp{}, Stamp{}, false
	}
	old, young := &w.slots[w.head], &w.slots[w.tail]
	switch w.spec.Shape {
	case Tumbling:
		if w.shown < 0 {
			return Stamp{}, Stamp{}, false
		}
		old, young = &w.slots[w.shown], &w.slots[w.shown]
	case Last:
		return w.at(old, w.skip), w.at(young, int(young.n)-1), true
	}
	return old.ends.first, young.ends.last, true
}
