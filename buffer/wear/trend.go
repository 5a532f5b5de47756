package wear

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"time"
)

const (
	// trendDays is how many days are known beside the one under way.
	trendDays = 30
	// enough is how many commits make a day count: fewer say little of a card.
	enough = 100
	// lasting is how many days in a row have to be slow: one may be a day of work beside, or of a full card that cleans up.
	lasting = 3
	// leastBase is how many days before those make what is usual.
	leastBase = 4
	// Slower than usual by these factors, and than these times, which no card in good health takes: a commit is two syncs.
	worseMedian, slowMedian = 3, 50 * time.Millisecond
	worseP99, slowP99       = 4, 500 * time.Millisecond
	// well is the factor below which a card that was slow is as usual again.
	well = 2
	// slots of a histogram: four to each doubling from 2^16 ns (66 us) on, to two minutes.
	firstBit, slots = 16, 4 * 21
)

// A Trend is how long commits take.
type Trend struct {
	Median, P99           time.Duration // of the day under way, or of the last one where that has hardly begun
	UsualMedian, UsualP99 time.Duration // of the days before; 0 = not known yet
	Slow                  bool          // commits have become slower for days
}

// spans are the times of one day.
type spans struct {
	commits     uint64
	median, p99 time.Duration
}

// A trend is how long commits took in the last days.
type trend struct {
	in    time.Duration // how long the day under way lasts
	times [slots]uint64 // of it
	days  []spans       // the oldest first
	usual spans         // while it is slow: what it is slow against
	slow  bool
}

// slot returns where d is counted.
func slot(d time.Duration) int {
	n := uint64(max(d, 1<<firstBit))
	e := bits.Len64(n) - 1
	return min(4*(e-firstBit)+int(n>>(e-2)&3), slots-1)
}

// upper returns the upper bound of a slot.
func upper(i int) time.Duration { return time.Duration(uint64(5+i%4) << (firstBit + i/4 - 2)) }

func (t *trend) add(d time.Duration) { t.times[slot(d)]++ }

// elapse lets time pass, and reports whether a day is over. Days on which nothing ran are none.
func (t *trend) elapse(passed time.Duration) bool {
	t.in += passed
	return t.in >= 24*time.Hour
}

// today returns what the day under way comes to.
func (t *trend) today() spans {
	var s spans
	for _, n := range t.times {
		s.commits += n
	}
	var seen uint64
	for i, n := range t.times {
		before := seen
		seen += n
		if half := (s.commits + 1) / 2; before < half && seen >= half {
			s.median = upper(i)
		}
		if most := s.commits - s.commits/100; before < most && seen >= most {
			s.p99 = upper(i)
		}
	}
	return s
}

// next ends the day, and judges it.
func (t *trend) next() {
	if s := t.today(); s.commits >= enough {
		t.days = append(t.days, s)
		t.days = t.days[max(0, len(t.days)-trendDays):]
		t.judge()
	}
	t.in = 0
	clear(t.times[:])
}

// judge says whether the last days were slow, every one of them, against what is usual.
func (t *trend) judge() {
	if len(t.days) < lasting {
		return
	}
	recent := t.days[len(t.days)-lasting:]
	all := func(is func(s spans) bool) bool {
		return !slices.ContainsFunc(recent, func(s spans) bool { return !is(s) })
	}
	if t.slow {
		t.slow = !all(func(s spans) bool { return s.median <= well*t.usual.median && s.p99 <= well*t.usual.p99 })
		return
	}
	usual, ok := t.base()
	if !ok {
		return
	}
	median := all(func(s spans) bool { return s.median > worseMedian*usual.median && s.median > slowMedian })
	p99 := all(func(s spans) bool { return s.p99 > worseP99*usual.p99 && s.p99 > slowP99 })
	t.slow, t.usual = median || p99, usual
}

// base returns what is usual: the lower quartile of the days before the last ones, so that one half of them may be bad.
func (t *trend) base() (s spans, ok bool) {
	before := t.days[:max(0, len(t.days)-lasting)]
	if len(before) < leastBase {
		return s, false
	}
	quartile := func(of func(spans) time.Duration) time.Duration {
		list := make([]time.Duration, len(before))
		for i := range before {
			list[i] = of(before[i])
		}
		slices.Sort(list)
		return list[len(list)/4]
	}
	return spans{median: quartile(func(s spans) time.Duration { return s.median }), p99: quartile(func(s spans) time.Duration { return s.p99 })}, true
}

// Trend returns how long commits take.
func (w *Wear) Trend() Trend {
	t := &w.trend
	now := t.today()
	if now.commits < enough && len(t.days) > 0 {
		now = t.days[len(t.days)-1]
	}
	usual, _ := t.base()
	if t.slow {
		usual = t.usual
	}
	return Trend{Median: now.median, P99: now.p99, UsualMedian: usual.median, UsualP99: usual.p99, Slow: t.slow}
}

func (s spans) encode(b []byte) []byte {
	b = binary.AppendUvarint(b, s.commits)
	b = binary.AppendUvarint(b, uint64(s.median))
	return binary.AppendUvarint(b, uint64(s.p99))
}

func (r *reader) spans() spans {
	return spans{r.uint(), time.Duration(r.uint()), time.Duration(r.uint())}
}

func (t *trend) encode(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(t.in))
	slow := uint64(0)
	if t.slow {
		slow = 1
	}
	b = t.usual.encode(binary.AppendUvarint(b, slow))
	b = binary.AppendUvarint(b, uint64(len(t.days)))
	for _, s := range t.days {
		b = s.encode(b)
	}
	for _, n := range t.times {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func (t *trend) decode(r *reader) {
	t.in = time.Duration(r.uint())
	t.slow = r.count(1) == 1
	t.usual = r.spans()
	for range r.count(trendDays) {
		t.days = append(t.days, r.spans())
	}
	for i := range t.times {
		t.times[i] = r.uint()
	}
}
