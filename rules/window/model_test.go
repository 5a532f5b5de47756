package window

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const year = 365 * 24 * time.Hour

// model answers as README.md says, in the plainest way: it keeps every reading and thinks all of them through for every question.
type model struct {
	spec Spec
	now  time.Duration
	past []Stamp
}

// live returns the readings that the window is about at time now, and whether it is known what those are.
func (m *model) live(now time.Duration) (live []Stamp, known bool) {
	switch span := m.spec.Span; m.spec.Shape {
	case Sliding:
		width := span / 60
		if span%60 != 0 {
			width++
		}
		if width < 10*time.Millisecond {
			width = 10 * time.Millisecond
		}
		for _, s := range m.past {
			if end := s.At - s.At%width + width; now < end+span {
				live = append(live, s)
			}
		}
	case Tumbling:
		begins := now - now%span // of the span that now is in
		for _, s := range m.past {
			if s.At < begins {
				known = true
			}
			if s.At < begins && s.At >= begins-span {
				live = append(live, s)
			}
		}
		return live, known
	case Session:
		for _, s := range m.past {
			if len(live) > 0 && s.At-live[len(live)-1].At > span {
				live = nil
			}
			live = append(live, s)
		}
		if len(live) > 0 && now-live[len(live)-1].At > span {
			live = nil
		}
	case Last:
		live = m.past[max(0, len(m.past)-m.spec.N):]
	}
	return live, true
}

// exact returns the sum of all values, and the standard deviation, worked out without rounding to doubles on the way.
func exact(live []Stamp) (total, average, spread float64) {
	real := func() *big.Float { return new(big.Float).SetPrec(400) }
	sum := real()
	for _, s := range live {
		sum.Add(sum, real().SetFloat64(s.Value))
	}
	n := real().SetInt64(int64(len(live)))
	avg := real().Quo(sum, n)
	squares := real()
	for _, s := range live {
		d := real().Sub(real().SetFloat64(s.Value), avg)
		squares.Add(squares, d.Mul(d, d))
	}
	if len(live) > 1 {
		squares.Quo(squares, n.Sub(n, real().SetInt64(1)))
	}
	total, _ = sum.Float64()
	average, _ = avg.Float64()
	spread, _ = squares.Sqrt(squares).Float64()
	return total, average, spread
}

type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// check compares all that w says with the definitions.
func (m *model) check(t failer, w *Window) {
	t.Helper()
	live, known := m.live(m.now)
	if n, ok := w.Count(); n != uint64(len(live)) || ok != known {
		t.Fatalf("%+v at %v: count is %d, %v; want %d, %v", m.spec, m.now, n, ok, len(live), known)
	}
	total, average, spread := 0.0, 0.0, 0.0
	largest, all := 0.0, 0.0
	sorted := make([]float64, 0, len(live))
	for _, s := range live {
		largest, all = max(largest, math.Abs(s.Value)), all+math.Abs(s.Value)
		sorted = append(sorted, s.Value)
	}
	slices.Sort(sorted)
	if len(live) > 0 {
		total, average, spread = exact(live)
	}
	has := func(need Needs, least int) bool { return m.spec.Needs&need != 0 && len(live) >= least }
	near := func(what string, got float64, ok bool, want, within float64, wantOK bool) {
		t.Helper()
		if ok != wantOK || ok && !(math.Abs(got-want) <= within) {
			t.Fatalf("%+v at %v, %d readings: %s is %v, %v; want %v within %g, %v", m.spec, m.now, len(live), what, got, ok, want, within, wantOK)
		}
	}
	got, ok := w.Sum()
	near("sum", got, ok, total, 0x1p-52*math.Abs(total)+0x1p-98*all, has(Sums|Spread, 1))
	got, ok = w.Avg()
	near("average", got, ok, average, 0x1p-52*math.Abs(average)+0x1p-98*all, has(Sums|Spread, 1))
	got, ok = w.Stddev()
	near("standard deviation", got, ok, spread, 1e-12*spread+0x1p-49*largest+1e-150, has(Spread, 2))
	least, greatest := 0.0, 0.0
	if len(live) > 0 {
		least, greatest = sorted[0], sorted[len(live)-1]
	}
	got, ok = w.Min()
	near("least", got, ok, least, 0, has(Extremes, 1))
	got, ok = w.Max()
	near("greatest", got, ok, greatest, 0, has(Extremes, 1))
	for _, permille := range []int{0, 1, 70, 250, 500, 950, 990, 999, 1000} {
		want := 0.0
		if len(live) > 0 {
			want = sorted[max((permille*len(live)+999)/1000, 1)-1]
		}
		got, ok = w.Quantile(float64(permille) / 1000)
		near(fmt.Sprint("permille ", permille), got, ok, want, 0.01*math.Abs(want)+0x1p-1022, has(Quantiles, 1))
	}
	first, last, ok := w.Ends()
	if want := has(Ends, 1); ok != want || ok && (first != live[0] || last != live[len(live)-1]) {
		t.Fatalf("%+v at %v: ends are %v and %v, %v; want those of %v, %v", m.spec, m.now, first, last, ok, live, want)
	}
	m.checkNext(t, w)
}

// checkNext sees to it that until Next nothing changes by itself, and that at Next it does.
func (m *model) checkNext(t failer, w *Window) {
	t.Helper()
	next, ok := w.Next()
	same := func(at time.Duration) bool {
		a, knowsA := m.live(m.now)
		b, knowsB := m.live(at)
		return knowsA == knowsB && slices.Equal(a, b)
	}
	if !ok && !same(m.now+100*year) {
		t.Fatalf("%+v at %v: nothing is to change, but does", m.spec, m.now)
	}
	if ok && (next <= m.now || !same(next-1) || same(next)) {
		t.Fatalf("%+v at %v: next change at %v; at 1 ns before, unchanged is %v, then %v", m.spec, m.now, next, same(next-1), same(next))
	}
}

func drawSpec(t *rapid.T) Spec {
	s := Spec{Shape: Shape(rapid.IntRange(0, 3).Draw(t, "shape")), Needs: Needs(rapid.IntRange(0, int(allNeeds)).Draw(t, "needs"))}
	if rapid.Bool().Draw(t, "all needs") {
		s.Needs = allNeeds
	}
	if s.Shape == Last {
		s.N = rapid.OneOf(rapid.SampledFrom([]int{1, 2, 15, 16, 17, 31, 32, 33, 150, MaxN}), rapid.IntRange(1, MaxN)).Draw(t, "n")
		return s
	}
	s.Span = rapid.OneOf(
		rapid.SampledFrom([]time.Duration{MinSpan, 25 * time.Millisecond, 599 * time.Millisecond, 600 * time.Millisecond, time.Second, 5 * time.Minute, 10 * year, MaxSpan}),
		rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(rapid.Int64Range(int64(MinSpan), int64(time.Hour)).Draw(t, "ns"))
		}),
	).Draw(t, "span")
	return s
}

// drawPause draws how long nothing comes: often until a border of the window, or a nanosecond beside it.
func drawPause(t *rapid.T, s Spec, w *Window) time.Duration {
	width := min(max(w.width, s.Span/40, time.Millisecond), 20*year)
	beside := time.Duration(rapid.IntRange(-1, 1).Draw(t, "beside"))
	p := time.Duration(0)
	switch rapid.IntRange(0, 9).Draw(t, "pause") {
	case 0:
	case 1:
		p = time.Duration(rapid.Int64Range(0, int64(width)/4+1).Draw(t, "short"))
	case 2, 3:
		p = time.Duration(rapid.Int64Range(0, 3*int64(width)).Draw(t, "about a bucket"))
	case 4:
		p = width + beside
	case 5:
		p = s.Span + beside
	case 6:
		if s.Span > 0 {
			p = s.Span - w.now%s.Span + beside
		}
	case 7:
		if next, ok := w.Next(); ok {
			p = next - w.now + beside
		}
	case 8:
		p = width - w.now%width + beside
	case 9:
		p = time.Duration(rapid.Int64Range(0, int64(2*max(min(s.Span, 20*year), time.Hour))).Draw(t, "long"))
		if rapid.IntRange(0, 4).Draw(t, "is years") == 0 {
			p = time.Duration(rapid.Int64Range(0, int64(20*year)).Draw(t, "years"))
		}
	}
	return max(0, min(p, maxTime-w.now-year))
}

func drawValue(t *rapid.T) float64 {
	switch rapid.IntRange(0, 9).Draw(t, "kind of value") {
	case 0:
		return float64(rapid.IntRange(-3, 3).Draw(t, "whole"))
	case 1:
		return rapid.Float64Range(-1e12, 1e12).Draw(t, "any")
	case 2:
		return 1e9 + rapid.Float64Range(-1, 1).Draw(t, "far from zero")
	case 3:
		return math.Ldexp(rapid.Float64Range(-1, 1).Draw(t, "fraction"), rapid.IntRange(-60, 60).Draw(t, "exponent"))
	}
	return float64(rapid.IntRange(-400, 1500).Draw(t, "tenths")) / 10
}

// A deed is something done to a window; v is NaN where only time passed.
type deed struct {
	at time.Duration
	v  float64
}

// A bench is a window under test, with the store that a gateway would have and the model that knows the truth.
type bench struct {
	m     *model
	w     *Window
	store map[int][]byte
	since []deed // done since the store was written
}

func (b *bench) do(d deed) {
	if d.v == d.v && !math.IsInf(d.v, 0) {
		b.w.Push(d.at, d.v)
	} else if d.v != d.v {
		b.w.Advance(d.at)
	} else {
		b.w.Push(d.at, d.v)
	}
}

func (b *bench) act(d deed) {
	b.do(d)
	b.since = append(b.since, d)
	b.m.now = d.at
	if d.v-d.v == 0 {
		b.m.past = append(b.m.past, Stamp{d.at, d.v})
	}
}

// commit writes what changed, as a gateway does with the records it came from.
func (b *bench) commit() {
	dirty(b.w, func(part int, body []byte) {
		if body == nil {
			delete(b.store, part)
		} else {
			b.store[part] = slices.Clone(body)
		}
	})
	b.since = nil
}

// restart throws the window away, makes another from the store and lets it see again what came since the store was written.
func (b *bench) restart(t failer, turned int, isBackwards bool) {
	t.Helper()
	w, err := New(b.m.spec)
	if err != nil {
		t.Fatalf("%v", err)
	}
	var parts []int
	for p := range b.store {
		parts = append(parts, p)
	}
	slices.Sort(parts)
	if isBackwards {
		slices.Reverse(parts)
	}
	for i := range parts {
		p := parts[(i+turned)%len(parts)]
		if err := w.Restore(p, b.store[p]); err != nil {
			t.Fatalf("%v", err)
		}
	}
	dirty(w, func(part int, body []byte) { t.Fatalf("part %d is dirty after a restart: %x", part, body) })
	old := b.w
	b.w = w
	for _, d := range b.since {
		b.do(d)
	}
	b.w.Advance(b.m.now)
	for what, ask := range map[string]func(*Window) (float64, bool){"sum": (*Window).Sum, "average": (*Window).Avg} {
		before, _ := ask(old)
		if after, _ := ask(w); after != before {
			t.Fatalf("%s is %v after a restart, %v before", what, after, before)
		}
	}
}

// TestAgainstModel compares windows of every shape with the model, over random pauses and values, with restarts at random moments.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := drawSpec(t)
		w, err := New(spec)
		if err != nil {
			t.Fatal(err)
		}
		b := &bench{m: &model{spec: spec}, w: w, store: map[int][]byte{}}
		b.m.check(t, w)
		for range rapid.IntRange(1, 25).Draw(t, "deeds") {
			pause := drawPause(t, spec, b.w)
			switch rapid.IntRange(0, 9).Draw(t, "deed") {
			case 0:
				b.act(deed{b.m.now + pause, math.NaN()})
			case 1:
				b.act(deed{b.m.now + pause, math.Inf(rapid.SampledFrom([]int{-1, 1}).Draw(t, "infinite"))})
			case 2:
				b.commit()
			case 3, 4:
				if rapid.Bool().Draw(t, "is clean") {
					b.commit()
				}
				b.restart(t, rapid.IntRange(0, 63).Draw(t, "turned"), rapid.Bool().Draw(t, "backwards"))
			case 5, 6: // many at an even pace
				pause = min(pause, max(spec.Span/7, time.Minute), (maxTime-b.m.now)/256)
				v := drawValue(t)
				step := rapid.SampledFrom([]float64{0, 0.1, -3, 100}).Draw(t, "step")
				for i := range rapid.IntRange(1, 120).Draw(t, "many") {
					b.act(deed{b.m.now + pause, v + step*float64(i%17)})
				}
			default:
				b.act(deed{b.m.now + pause, drawValue(t)})
			}
			b.m.check(t, b.w)
			if b.w.n > 64 || spec.Shape != Last && b.w.n > 61 || len(b.store) > b.w.limit {
				t.Fatalf("%d buckets, %d parts stored", b.w.n, len(b.store))
			}
		}
	})
}

// TestEveryReading compares the answers after each single reading of long runs: the sum of closed buckets is cut anew many times over.
func TestEveryReading(t *testing.T) {
	for name, c := range map[string]struct {
		spec  Spec
		pause time.Duration
		n     int
	}{
		"sliding, a bucket a reading":      {Spec{Sliding, time.Minute, 0, allNeeds}, time.Second, 400},
		"sliding, three readings a bucket": {Spec{Sliding, time.Minute, 0, allNeeds}, 334 * time.Millisecond, 400},
		"sliding, every other bucket":      {Spec{Sliding, time.Minute, 0, allNeeds}, 2 * time.Second, 300},
		"sliding, span no multiple of 60":  {Spec{Sliding, time.Minute + 7, 0, allNeeds}, time.Second + 1, 300},
		"sliding, ten years":               {Spec{Sliding, 10 * year, 0, allNeeds}, 61 * 24 * time.Hour, 300},
		"tumbling":                         {Spec{Tumbling, time.Minute, 0, allNeeds}, 7 * time.Second, 300},
		"session":                          {Spec{Session, time.Minute, 0, allNeeds}, 7 * time.Second, 300},
		"last 1":                           {Spec{Last, 0, 1, allNeeds}, time.Second, 100},
		"last 300":                         {Spec{Last, 0, 300, allNeeds}, time.Second, 700},
		"last 1000":                        {Spec{Last, 0, 1000, allNeeds}, time.Second, 1100},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := New(c.spec)
			if err != nil {
				t.Fatal(err)
			}
			b := &bench{m: &model{spec: c.spec}, w: w, store: map[int][]byte{}}
			for i := range c.n {
				b.act(deed{b.m.now + c.pause, float64(i*i%97)/10 - 3})
				if c.spec.N < 1000 || i > 980 {
					b.m.check(t, b.w)
				}
				if i%50 == 49 {
					b.commit()
					b.restart(t, i, i%100 == 99)
					b.m.check(t, b.w)
				}
			}
		})
	}
}
