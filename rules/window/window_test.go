package window

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"math/big"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "1000"); err != nil { // a check takes 2 ms; -rapid.checks says otherwise
		panic(err)
	}
	os.Exit(m.Run())
}

func make1(t testing.TB, s Spec) *Window {
	t.Helper()
	w, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestSpecRefused(t *testing.T) {
	for want, s := range map[string]Spec{
		"window: got shape 4, want 0 to 3":                                                {Shape: 4, Span: time.Second},
		"window: got needs 0x20, want a set within 0x1f":                                  {Span: time.Second, Needs: 32},
		"window: got a span of 9ms, want at least 10ms":                                   {Shape: Tumbling, Span: 9 * time.Millisecond},
		"window: got a span of -1s, want at least 10ms":                                   {Shape: Session, Span: -time.Second},
		"window: got a span of 876000h0m0.000000001s, want at most 876000h0m0s":           {Span: MaxSpan + 1},
		"window: got a span of 1s and the last 5 readings, want one of them":              {Span: time.Second, N: 5},
		"window: got the last 0 readings, want 1 to 1000; use a span of time for more":    {Shape: Last},
		"window: got the last 1001 readings, want 1 to 1000; use a span of time for more": {Shape: Last, N: 1001},
		"window: got the last 5 readings and a span of 1s, want one of them":              {Shape: Last, N: 5, Span: time.Second},
	} {
		w, err := New(s)
		if w != nil || !errors.Is(err, ErrSpec) || err.Error() != want {
			t.Errorf("%+v: got %v, want %s", s, err, want)
		}
	}
	if v, err := NewIntegral(0); v != nil || !errors.Is(err, ErrLimit) ||
		err.Error() != "integral: got a limit of 0s between two readings, want more than 0s and at most 876000h0m0s" {
		t.Errorf("limit 0: %v", err)
	}
	if _, err := NewIntegral(MaxSpan + 1); !errors.Is(err, ErrLimit) {
		t.Errorf("limit too long: %v", err)
	}
}

// TestNotAsked shows that what is not in the Needs is not told.
func TestNotAsked(t *testing.T) {
	for need := range allNeeds + 1 {
		w := make1(t, Spec{Shape: Session, Span: time.Second, Needs: need})
		w.Push(1, 1)
		w.Push(2, 2)
		for what, c := range map[string]struct {
			ask  func() (float64, bool)
			with Needs
		}{
			"Sum": {w.Sum, Sums | Spread}, "Avg": {w.Avg, Sums | Spread}, "Min": {w.Min, Extremes}, "Max": {w.Max, Extremes}, "Stddev": {w.Stddev, Spread},
			"Quantile": {func() (float64, bool) { return w.Quantile(0.5) }, Quantiles},
			"Ends":     {func() (float64, bool) { _, s, ok := w.Ends(); return s.Value, ok }, Ends},
		} {
			if _, ok := c.ask(); ok != (need&c.with != 0) {
				t.Errorf("needs %#x: %s is told: %v", need, what, ok)
			}
		}
	}
}

func TestOddTimesAndValues(t *testing.T) {
	w := make1(t, Spec{Shape: Sliding, Span: time.Second, Needs: allNeeds})
	w.Push(-5, 1)
	w.Push(10*time.Second, math.NaN())
	if n, _ := w.Count(); n != 0 {
		t.Errorf("%d readings after 10 s without one", n)
	}
	w.Push(3*time.Second, 2) // counts as 10 s
	if first, _, _ := w.Ends(); first != (Stamp{10 * time.Second, 2}) {
		t.Errorf("a reading that comes late is at %v", first)
	}
	for _, p := range []float64{-0.1, 1.1, math.NaN()} {
		if v, ok := w.Quantile(p); ok {
			t.Errorf("quantile %v is %v", p, v)
		}
	}
	w.Push(math.MaxInt64, 3)
	w.Push(math.MaxInt64, math.Inf(1))
	w.Advance(math.MaxInt64)
	if first, last, ok := w.Ends(); !ok || first != last || first.At != maxTime {
		t.Errorf("at the end of time: %v, %v, %v", first, last, ok)
	}
	w = make1(t, Spec{Shape: Sliding, Span: time.Minute, Needs: allNeeds})
	for range 3 {
		w.Push(0, math.MaxFloat64)
		w.Push(0, -math.MaxFloat64/2)
	}
	for what, ask := range map[string]func() (float64, bool){"Sum": w.Sum, "Avg": w.Avg, "Stddev": w.Stddev} {
		if v, ok := ask(); ok {
			t.Errorf("%s is %v, though sums are beyond a double", what, v)
		}
	}
	if v, ok := w.Max(); v != math.MaxFloat64 || !ok {
		t.Errorf("greatest is %v, %v", v, ok)
	}
	w.Push(time.Minute/2, 4)
	w.Advance(time.Minute + time.Second)
	if v, ok := w.Sum(); v != 4 || !ok {
		t.Errorf("when the great ones are gone, the sum is %v, %v", v, ok)
	}
}

// TestSmallestMagnitudesCollapse shows what a bucket does with more than 256 percentile bins: what is more than 156 times nearer to zero
// than the greatest may count as zero, all else stays within 1 %.
func TestSmallestMagnitudesCollapse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := Spec{Shape: Shape(rapid.IntRange(0, 2).Draw(t, "shape")), Span: time.Minute, Needs: Quantiles}
		w, err := New(spec)
		if err != nil {
			t.Fatal(err)
		}
		isBoth := rapid.Bool().Draw(t, "both signs")
		octaves := rapid.Float64Range(1, 30).Draw(t, "octaves")
		seed := rapid.Uint64().Draw(t, "seed")
		var all []float64
		for i := range rapid.IntRange(1, 1500).Draw(t, "readings") {
			seed = seed*6364136223846793005 + 1442695040888963407
			v := math.Exp2(octaves * float64(seed>>11) / (1 << 53))
			if isBoth && seed>>8&1 == 0 {
				v = -v
			}
			w.Push(time.Duration(i), v)
			all = append(all, v)
		}
		if spec.Shape == Tumbling {
			w.Advance(time.Minute)
		}
		slices.Sort(all)
		// The bin of the greatest and 255 below are kept; where there are two signs, at least 127 of its own sign are.
		spared := math.Exp2(255. / 35)
		if isBoth {
			spared = math.Exp2(127. / 35)
		}
		greatest := max(all[len(all)-1], -all[0])
		for i := range 101 {
			want := all[max((i*len(all)+99)/100, 1)-1]
			got, ok := w.Quantile(float64(i) / 100)
			within := 0.01 * math.Abs(want)
			if math.Abs(want) < greatest/spared && got == 0 {
				within = math.Abs(want)
			}
			if !ok || math.Abs(got-want) > within {
				t.Fatalf("percentile %d of %d is %v, %v; want %v within %v", i, len(all), got, ok, want, within)
			}
		}
		for i := range w.n {
			b := w.slots[w.place(i)].bins
			if _, hasZero := b.find(0); len(b.bins) > 257 || len(b.bins) == 257 && !hasZero {
				t.Fatalf("%d bins in a bucket", len(b.bins))
			}
		}
	})
}

// TestCollapseLeaves shows that a bucket that collapsed leaves nothing behind when it goes.
func TestCollapseLeaves(t *testing.T) {
	w := make1(t, Spec{Shape: Sliding, Span: time.Minute, Needs: Quantiles})
	at := time.Duration(0)
	for i := range 5000 {
		v := math.Exp2(float64(i*7919%5000)/50 - 50)
		if i%3 == 0 {
			v = -v
		}
		at += time.Minute / 500
		w.Push(at, v)
	}
	sum := uint64(0)
	for i, x := range w.all.bins {
		sum += x.n
		if x.n == 0 || i > 0 && w.all.bins[i-1].b >= x.b {
			t.Fatalf("bin %d of %v", i, w.all.bins)
		}
	}
	if n, _ := w.Count(); sum != n {
		t.Fatalf("%d readings in bins, want %d", sum, n)
	}
	w.Advance(at + 2*time.Minute)
	if len(w.all.bins) > 0 {
		t.Fatalf("left behind: %v", w.all.bins)
	}
}

// TestBins compares the bins with logarithms over all magnitudes of a double.
func TestBins(t *testing.T) {
	for j, e := range edges {
		if want := math.Exp2(float64(j) / octave); math.Abs(e-want) > 0x1p-51 {
			t.Errorf("edge %d is %v, want %v", j, e, want)
		}
	}
	check := func(v float64) {
		t.Helper()
		b := number(v)
		if got := middle(b); math.Abs(got-v) > 0.01*math.Abs(v) || b > top || number(-v) != -b || middle(-b) != -got {
			t.Errorf("%v is in bin %d, the middle of which is %v", v, b, got)
		}
		if again := number(middle(b)); again != b {
			t.Errorf("the middle of bin %d is in bin %d", b, again)
		}
	}
	for e := -1022; e < 1024; e++ {
		for j := range octave {
			v := math.Ldexp(edges[j], e)
			check(v)
			check(math.Nextafter(v, math.Inf(1)))
			if v > 0x1p-1022 {
				check(math.Nextafter(v, 0))
				if number(math.Nextafter(v, 0)) != number(v)-1 {
					t.Errorf("%v does not begin a bin", v)
				}
			}
		}
	}
	check(math.MaxFloat64)
	if number(0) != 0 || number(math.Copysign(0, -1)) != 0 || number(0x1p-1030) != 0 || middle(0) != 0 {
		t.Error("zero is not zero")
	}
	if number(math.MaxFloat64) != top || number(0x1p-1022) != 1 {
		t.Errorf("bins go from %d to %d, want 1 to %d", number(0x1p-1022), number(math.MaxFloat64), top)
	}
}

// TestYearsDoNotDrift adds 0.1 five million times, as a reading a minute does in nine years: to a total, an integral and the one bucket of a session.
func TestYearsDoNotDrift(t *testing.T) {
	const n = 5_000_000
	var total Total
	area, err := NewIntegral(time.Second)
	if err != nil {
		t.Fatal(err)
	}
	w := make1(t, Spec{Shape: Session, Span: time.Hour, Needs: Spread})
	naive := 0.0
	for i := range n {
		total.Push(0.1)
		area.Push(time.Duration(i)*time.Second, 0.1)
		w.Push(time.Duration(i)*time.Second, 0.1)
		naive += 0.1
	}
	want, _ := new(big.Float).Mul(big.NewFloat(0.1), big.NewFloat(n)).Float64()
	less, _ := new(big.Float).Mul(big.NewFloat(0.1), big.NewFloat(n-1)).Float64()
	if got, ok := total.Value(); got != want || !ok {
		t.Errorf("total is off by %g", got-want)
	}
	if got, ok := area.Value(); got != less || !ok {
		t.Errorf("integral is off by %g", got-less)
	}
	if got, ok := w.Sum(); got != want || !ok {
		t.Errorf("sum is off by %g", got-want)
	}
	if got, ok := w.Stddev(); got != 0 || !ok {
		t.Errorf("standard deviation of one value is %g", got)
	}
	if got, ok := w.Avg(); got != 0.1 || !ok {
		t.Errorf("average of one value is off by %g", got-0.1)
	}
	if naive == want {
		t.Errorf("plain addition does not drift either: the test shows nothing")
	}
}

// TestIntegralAgainstModel compares with exact sums over all pairs, with restarts at random moments.
func TestIntegralAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(t, "limit"))
		area, err := NewIntegral(limit)
		if err != nil {
			t.Fatal(err)
		}
		total := new(Total)
		var stored, storedTotal []byte
		exactArea, exactTotal, size := new(big.Float).SetPrec(400), new(big.Float).SetPrec(400), 0.0
		var last *Stamp
		now, n := time.Duration(0), uint64(0)
		for range rapid.IntRange(1, 40).Draw(t, "deeds") {
			switch rapid.IntRange(0, 9).Draw(t, "deed") {
			case 0:
				area.Break()
				last = nil
			case 1:
				odd := rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1)}).Draw(t, "odd")
				area.Push(now, odd)
				total.Push(odd)
			case 2, 3:
				dirty(area, func(part int, body []byte) { stored = slices.Clone(body) })
				dirty(total, func(part int, body []byte) { storedTotal = slices.Clone(body) })
				fresh, _ := NewIntegral(limit)
				area, total = fresh, new(Total)
				if stored != nil {
					if err := errors.Join(area.Restore(0, stored), total.Restore(0, storedTotal)); err != nil {
						t.Fatal(err)
					}
				}
			default:
				now += time.Duration(rapid.OneOf(rapid.Int64Range(0, 2*int64(limit)), rapid.Int64Range(int64(limit)-1, int64(limit)+1)).Draw(t, "pause"))
				s := Stamp{now, drawValue(t)}
				area.Push(s.At, s.Value)
				total.Push(s.Value)
				if last != nil && s.At-last.At <= limit {
					mean := new(big.Float).SetPrec(400).Add(big.NewFloat(s.Value/2), big.NewFloat(last.Value/2))
					seconds := new(big.Float).SetPrec(400).Quo(big.NewFloat(float64(s.At-last.At)), big.NewFloat(1e9))
					mean.Mul(mean, seconds)
					exactArea.Add(exactArea, mean)
				}
				exactTotal.Add(exactTotal, new(big.Float).SetFloat64(s.Value))
				if last != nil {
					size += (math.Abs(s.Value) + math.Abs(last.Value)) * (s.At - last.At).Seconds()
				}
				size += math.Abs(s.Value)
				last, n = &s, n+1
			}
			want, _ := exactArea.Float64()
			got, ok := area.Value()
			if ok != (n > 0) || ok && math.Abs(got-want) > 0x1p-50*size {
				t.Fatalf("integral is %v, %v; want %v", got, ok, want)
			}
			want, _ = exactTotal.Float64()
			got, ok = total.Value()
			if ok != (n > 0) || ok && math.Abs(got-want) > 0x1p-52*math.Abs(want)+0x1p-98*size || total.Count() != n {
				t.Fatalf("total is %v, %v of %d; want %v of %d", got, ok, total.Count(), want, n)
			}
		}
	})
}

// TestEqualReadings shows that a channel that stays the same has itself as average and no spread, so that a rule may compare with ==.
func TestEqualReadings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, err := New(Spec{Shape: Sliding, Span: time.Minute, Needs: Spread})
		if err != nil {
			t.Fatal(err)
		}
		v := drawValue(t)
		pause := time.Duration(rapid.Int64Range(0, int64(5*time.Second)).Draw(t, "pause"))
		for i := range 200 {
			w.Push(time.Duration(i)*pause, v)
			avg, _ := w.Avg()
			if spread, ok := w.Stddev(); avg != v || spread != 0 || ok != (i > 0) {
				t.Fatalf("after %d times %v: average %v, standard deviation %v, %v", i+1, v, avg, spread, ok)
			}
		}
	})
}

func TestIntegralInUnits(t *testing.T) {
	area, err := NewIntegral(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []Stamp{{0, 1000}, {30 * time.Second, 2000}, {90 * time.Second, 2000}, {151 * time.Second, 5000}, {150 * time.Second, 7}} {
		area.Push(s.At, s.Value)
	}
	if v, ok := area.Value(); v != 45_000+120_000 || !ok { // W s; 61 s are too long, and the last counts as 151 s
		t.Errorf("%v, %v", v, ok)
	}
}

// steady fills a window until it has seen all its buckets and bins, and returns what pushes the next reading.
func steady(t testing.TB, s Spec, pause time.Duration) (*Window, func()) {
	w := make1(t, s)
	at, i := time.Duration(0), 0
	push := func() {
		at += pause
		i++
		w.Push(at, float64(i%100)/10-3)
	}
	for range 20_000 {
		push()
	}
	dirty(w, func(int, []byte) {})
	return w, push
}

// told returns how many bytes of state changed; their memory is room's.
func told(w *Window, room *[]byte) (bytes int) {
	for _, body, ok := w.Dirty((*room)[:0]); ok; _, body, ok = w.Dirty((*room)[:0]) {
		if bytes += len(body); body != nil {
			*room = body
		}
	}
	return bytes
}

func TestNoAllocation(t *testing.T) {
	for name, s := range map[string]Spec{
		"sliding": {Sliding, time.Minute, 0, allNeeds}, "tumbling": {Tumbling, time.Minute, 0, allNeeds},
		"session": {Session, time.Minute, 0, allNeeds}, "last": {Last, 0, 300, allNeeds},
	} {
		for _, pause := range []time.Duration{0, 10 * time.Millisecond, time.Second, 61 * time.Second} {
			w, push := steady(t, s, pause)
			bytes, room := 0, []byte(nil)
			if got := testing.AllocsPerRun(2000, func() {
				push()
				w.Advance(w.now + 1)
				w.Count()
				w.Sum()
				w.Avg()
				w.Min()
				w.Max()
				w.Stddev()
				w.Quantile(0.95)
				w.Ends()
				w.Next()
				bytes += told(w, &room)
			}); got != 0 || bytes == 0 {
				t.Errorf("%s, a reading each %v: %v allocations a reading, %d bytes of state", name, pause, got, bytes)
			}
		}
	}
}

// TestStateIsSmall bounds the bytes that a reading dirties.
func TestStateIsSmall(t *testing.T) {
	for _, c := range []struct {
		needs Needs
		most  int
	}{{0, 12}, {Sums, 30}, {Extremes, 30}, {Spread, 40}, {Ends, 38}, {Sums | Extremes, 48}} {
		w := make1(t, Spec{Sliding, time.Hour, 0, c.needs})
		largest, parts := 0, 0
		for i := range 100_000 {
			w.Push(time.Duration(i)*time.Second, math.Sin(float64(i)))
			dirty(w, func(_ int, body []byte) {
				largest = max(largest, len(body))
				parts++
			})
		}
		if largest > c.most || parts > 100_000*61/60 {
			t.Errorf("needs %#x: up to %d bytes a part, want at most %d; %d parts", c.needs, largest, c.most, parts)
		}
	}
}

func BenchmarkPushAvg(b *testing.B) {
	for _, c := range []struct {
		name  string
		spec  Spec
		pause time.Duration
	}{
		{"sliding 5m, 10/s", Spec{Sliding, 5 * time.Minute, 0, Sums}, 100 * time.Millisecond},
		{"sliding 5m, a bucket each", Spec{Sliding, 5 * time.Minute, 0, Sums}, 5 * time.Second},
		{"sliding 5m, all but percentiles", Spec{Sliding, 5 * time.Minute, 0, allNeeds &^ Quantiles}, 100 * time.Millisecond},
		{"tumbling 1m", Spec{Tumbling, time.Minute, 0, Sums}, 100 * time.Millisecond},
		{"session 1m", Spec{Session, time.Minute, 0, Sums}, 100 * time.Millisecond},
		{"last 10", Spec{Last, 0, 10, Sums}, 100 * time.Millisecond},
		{"last 1000", Spec{Last, 0, 1000, Sums}, 100 * time.Millisecond},
	} {
		b.Run(c.name, func(b *testing.B) {
			w, push := steady(b, c.spec, c.pause)
			sum := 0.0
			for b.Loop() {
				push()
				v, _ := w.Avg()
				sum += v
			}
			if sum == 0 {
				b.Fatal("nothing was averaged")
			}
		})
	}
}

func BenchmarkQuantile(b *testing.B) {
	for _, spread := range []float64{0.01, 1, 100} {
		b.Run(fmt.Sprint("spread ", spread), func(b *testing.B) {
			w := make1(b, Spec{Sliding, 5 * time.Minute, 0, Quantiles})
			at, i := time.Duration(0), 0
			push := func() {
				at += 100 * time.Millisecond
				i++
				w.Push(at, 20+spread*math.Sin(float64(i)))
			}
			for range 20_000 {
				push()
			}
			b.Run("push", func(b *testing.B) {
				for b.Loop() {
					push()
				}
			})
			b.Run("p95", func(b *testing.B) {
				for b.Loop() {
					w.Quantile(0.95)
				}
				b.ReportMetric(float64(len(w.all.bins)), "bins")
			})
		})
	}
}

// BenchmarkMemory tells what a window takes when it has all its buckets.
func BenchmarkMemory(b *testing.B) {
	for _, c := range []struct {
		name string
		spec Spec
	}{
		{"sliding sums", Spec{Sliding, 5 * time.Minute, 0, Sums}},
		{"sliding ends", Spec{Sliding, 5 * time.Minute, 0, Ends}},
		{"sliding all", Spec{Sliding, 5 * time.Minute, 0, allNeeds}},
		{"tumbling sums", Spec{Tumbling, 5 * time.Minute, 0, Sums}},
		{"session sums", Spec{Session, 5 * time.Minute, 0, Sums}},
		{"last 10 sums", Spec{Last, 0, 10, Sums}},
		{"last 100 sums", Spec{Last, 0, 100, Sums}},
		{"last 1000 sums", Spec{Last, 0, 1000, Sums}},
	} {
		b.Run(c.name, func(b *testing.B) {
			var before, after runtime.MemStats
			var list [50]*Window
			for b.Loop() {
				clear(list[:])
				runtime.GC()
				runtime.ReadMemStats(&before)
				for i := range list {
					list[i] = make1(b, c.spec)
					for j := range 7000 {
						list[i].Push(time.Duration(j)*100*time.Millisecond, 20+math.Sin(float64(j)))
					}
				}
				runtime.GC()
				runtime.ReadMemStats(&after)
				runtime.KeepAlive(list)
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(list)), "B/window")
		})
	}
}

func BenchmarkDirty(b *testing.B) {
	for name, s := range map[string]Spec{
		"sliding sums": {Sliding, time.Minute, 0, Sums}, "sliding all": {Sliding, time.Minute, 0, allNeeds}, "last 300 sums": {Last, 0, 300, Sums},
	} {
		b.Run(name, func(b *testing.B) {
			w, push := steady(b, s, 100*time.Millisecond)
			bytes, n, room := 0, 0, []byte(nil)
			for b.Loop() {
				push()
				bytes += told(w, &room)
				n++
			}
			b.ReportMetric(float64(bytes)/float64(n), "state-B/reading")
		})
	}
}
