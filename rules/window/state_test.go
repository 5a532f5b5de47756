package window

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// dirty calls f for each part that changed; body is f's.
func dirty(x interface {
	Dirty(b []byte) (part int, body []byte, ok bool)
}, f func(part int, body []byte),
) {
	for part, body, ok := x.Dirty(nil); ok; part, body, ok = x.Dirty(nil) {
		f(part, body)
	}
}

// parts returns all that w stores.
func parts(w *Window) map[int][]byte {
	store := map[int][]byte{}
	dirty(w, func(part int, body []byte) {
		if body != nil {
			store[part] = slices.Clone(body)
		}
	})
	return store
}

// filled returns a window that has seen some readings.
func filled(t testing.TB, s Spec) *Window {
	w := make1(t, s)
	for i := range 40 {
		w.Push(time.Duration(i)*time.Second, float64(i%7)-2)
	}
	return w
}

// TestEveryByteCounts damages each part of each shape in every place: cut short, too long, each bit flipped. A damaged part is refused and
// leaves an empty window that works, or it is a good part of another content; whichever, nothing panics then or later.
func TestEveryByteCounts(t *testing.T) {
	for name, s := range map[string]Spec{
		"sliding": {Sliding, time.Minute, 0, allNeeds}, "tumbling": {Tumbling, 15 * time.Second, 0, allNeeds},
		"session": {Session, time.Minute, 0, allNeeds}, "last": {Last, 0, 20, allNeeds}, "last without times": {Last, 0, 20, allNeeds &^ Ends},
	} {
		t.Run(name, func(t *testing.T) {
			refused := 0
			for part, body := range parts(filled(t, s)) {
				for i := range body {
					if w := make1(t, s); w.Restore(part, body[:i]) == nil {
						t.Fatalf("part %d: %d bytes of %d are taken", part, i, len(body))
					}
					for bit := range 8 {
						bad := slices.Clone(body)
						bad[i] ^= 1 << bit
						if tryRestore(t, s, part, bad) != nil {
							refused++
						} else if i < 5 {
							t.Fatalf("part %d: bit %d of byte %d flipped, and taken", part, bit, i)
						}
					}
				}
				w := make1(t, s)
				if err := w.Restore(part, append(slices.Clone(body), 0)); !errors.Is(err, ErrState) {
					t.Fatalf("part %d: one byte more is taken: %v", part, err)
				}
			}
			if refused == 0 {
				t.Fatal("nothing was refused")
			}
		})
	}
}

// tryRestore restores one part and, if that is refused, sees to it that the window is empty and works; else that it can be asked.
func tryRestore(t testing.TB, s Spec, part int, body []byte) error {
	w := make1(t, s)
	err := w.Restore(part, body)
	if err != nil {
		if !errors.Is(err, ErrState) {
			t.Fatalf("%v is no ErrState", err)
		}
		if _, ok := w.Next(); w.n != 0 || ok || len(w.all.bins) != 0 {
			t.Fatalf("not empty after %v", err)
		}
		forgotten := 0
		dirty(w, func(_ int, body []byte) {
			if body == nil {
				forgotten++
			}
		})
		if forgotten != w.limit {
			t.Fatalf("%d parts are forgotten, want %d", forgotten, w.limit)
		}
	} else {
		again := make1(t, s)
		w.dirty = 1 << part
		dirty(w, func(p int, body []byte) {
			if err := again.Restore(p, body); err != nil || p != part {
				t.Fatalf("part %d: %x reads back as part %d with %v", part, body, p, err)
			}
		})
		if first, second := *w.total(w.what), *again.total(w.what); first != second && first.value() == first.value() && first.m2 == first.m2 {
			t.Fatalf("%+v reads back as %+v", first, second)
		}
	}
	use(t, w)
	return err
}

// use pushes readings and asks everything.
func use(t testing.TB, w *Window) {
	at := w.now
	for i := range 50 {
		at += time.Duration(i) * w.spec.Span / 100
		w.Push(at, float64(i))
		w.Quantile(float64(i) / 50)
		w.Stddev()
		w.Ends()
	}
	if n, _ := w.Count(); n == 0 && w.spec.Shape != Tumbling {
		t.Fatal("takes no readings")
	}
	next, ok := w.Next()
	if ok && next <= w.now {
		t.Fatalf("next change at %v, now is %v", next, w.now)
	}
	w.Advance(maxTime)
	dirty(w, func(int, []byte) {})
}

func TestRestoreRefuses(t *testing.T) {
	sliding, last := Spec{Sliding, time.Minute, 0, Sums}, Spec{Last, 0, 20, allNeeds}
	old, young := filled(t, sliding), make1(t, sliding)
	young.Push(1000*time.Second, 1) // bucket 1000 is part 24
	chunks := make1(t, last)
	for i := range 100 {
		chunks.Push(time.Duration(i), 1)
	}
	early := make1(t, last)
	for i := range 5 {
		early.Push(time.Duration(i), 1)
	}
	upTo := func(n int, from time.Duration) map[int][]byte {
		w := make1(t, last)
		for i := range n {
			w.Push(from+time.Duration(i), 1)
		}
		return parts(w)
	}
	many, more, late := upTo(20, 0), upTo(36, 0), upTo(16, 1000)
	tumbling := Spec{Tumbling, time.Second, 0, 0}
	one := make1(t, tumbling)
	one.Push(0, 1)
	a, b, c, e, tu := parts(old), parts(young), parts(chunks), parts(early), parts(one)
	type given struct {
		part int
		body []byte
	}
	for want, c := range map[string]struct {
		spec  Spec
		given []given
	}{
		"stored state of a window: part 61: got part 61, want 0 to 60":                                         {sliding, []given{{61, a[0]}}},
		"stored state of a window: part -1: got part -1, want 0 to 60":                                         {sliding, []given{{-1, a[0]}}},
		"stored state of a window: part 0: cut short: got 0 bytes, want 1 more":                                {sliding, []given{{0, nil}}},
		"stored state of a window: part 0: got version 2, want 1":                                              {sliding, []given{{0, []byte{2}}}},
		"stored state of a window: part 0: got the mark 8cf5c7ff, want 33d7c476: it is that of another window": {sliding, []given{{0, parts(filled(t, Spec{Sliding, time.Hour, 0, Sums}))[0]}}},
		"stored state of a window: part 4: got bucket 3, which is part 3":                                      {sliding, []given{{4, a[3]}}},
		"stored state of a window: part 24: got bucket 1000, have bucket 24 in part 24":                        {sliding, []given{{24, a[24]}, {24, b[24]}}},
		"stored state of a window: part 24: got buckets 3 and 1000, want them less than 61 apart":              {sliding, []given{{3, a[3]}, {24, b[24]}}},
		"stored state of a window: part 5: another part was refused: the window starts anew":                   {sliding, []given{{4, a[3]}, {5, a[5]}}},
		"stored state of a window: part 1: got bucket 0, have bucket 0 in part 0":                              {tumbling, []given{{0, tu[0]}, {1, tu[0]}}},
		"stored state of a window: part 2: got buckets 0 and 5, want them less than 3 apart":                   {last, []given{{0, e[0]}, {2, c[2]}}},
		"stored state of a window: part 2: got chunk 0, none of which is among the last 20 of 36 readings":     {last, []given{{0, many[0]}, {2, more[2]}}},
		"stored state of a window: part 0: got chunk 0, none of which is among the last 20 of 36 readings":     {last, []given{{2, more[2]}, {0, many[0]}}},
		"stored state of a window: part 1: got 5 readings in chunk 0, want 16: chunk 1 follows":                {last, []given{{0, e[0]}, {1, many[1]}}},
		"stored state of a window: part 1: got a reading at 16ns, and one at 1.015µs before it":                {last, []given{{0, late[0]}, {1, many[1]}}},
	} {
		w := make1(t, c.spec)
		var err error
		for _, g := range c.given {
			err = w.Restore(g.part, g.body)
		}
		if !errors.Is(err, ErrState) || err.Error() != want {
			t.Errorf("got %v\nwant %s", err, want)
		}
		use(t, w)
	}
}

func TestIntegralRefuses(t *testing.T) {
	area, err := NewIntegral(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	area.Push(0, 1)
	area.Push(time.Second, 2.1)
	var body []byte
	dirty(area, func(_ int, b []byte) { body = slices.Clone(b) })
	for i := range body {
		again, _ := NewIntegral(time.Minute)
		err := again.Restore(0, body[:i])
		if _, ok := again.Value(); i != len(body)-14 && (!errors.Is(err, ErrState) || ok) { // all before the last reading is that of an Integral after Break
			t.Errorf("%d bytes of %d are taken: %v", i, len(body), err)
		}
		if err == nil {
			continue
		}
		told := false
		dirty(again, func(part int, b []byte) { told = part == 0 && b == nil })
		if !told {
			t.Errorf("%d bytes of %d are refused, and stay in the store", i, len(body))
		}
	}
	var total Total
	if err := total.Restore(1, body); err == nil || err.Error() != "stored state of a window: part 1: got part 1, want 0" {
		t.Errorf("%v", err)
	}
}

// FuzzRestore takes two parts of any bytes, behind a good beginning or not.
func FuzzRestore(f *testing.F) {
	for shape := range Shape(4) {
		for _, needs := range []Needs{Sums, allNeeds} {
			s := fuzzSpec(shape, needs)
			store := parts(filled(f, s))
			w := make1(f, s)
			for part, body := range store {
				f.Add(byte(shape), byte(needs), byte(part), body[5:], byte(part+1), store[(part+1)%w.limit])
			}
		}
	}
	f.Fuzz(func(t *testing.T, shape, needs, part byte, tail []byte, second byte, body []byte) {
		s := fuzzSpec(Shape(shape%4), Needs(needs)&allNeeds)
		w := make1(t, s)
		head := []byte{version, byte(w.sign >> 24), byte(w.sign >> 16), byte(w.sign >> 8), byte(w.sign)}
		first := append(head, tail...)
		tryErr := tryRestore(t, s, int(part), first)
		if err := w.Restore(int(part), first); (err == nil) != (tryErr == nil) {
			t.Fatalf("%v, then %v", tryErr, err)
		}
		if err := w.Restore(int(second), body); err != nil && w.n != 0 {
			t.Fatalf("not empty after %v", err)
		}
		use(t, w)

		var total, again Total
		if total.Restore(0, tail) == nil {
			total.dirty = true
			dirty(&total, func(part int, b []byte) {
				if err := again.Restore(part, bytes.Clone(b)); err != nil || again.n != total.n || math.Float64bits(again.sum.hi) != math.Float64bits(total.sum.hi) {
					t.Fatalf("%x: %v", b, err)
				}
			})
		}
		area, err := NewIntegral(time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if area.Restore(0, tail) == nil {
			area.Push(maxTime, 1)
			area.Value()
		}
	})
}

func fuzzSpec(shape Shape, needs Needs) Spec {
	if shape == Last {
		return Spec{Last, 0, 20, needs}
	}
	return Spec{shape, 15 * time.Second, 0, needs}
}

// TestStateBytes compares with README.md, byte by byte: what is stored today is read for years.
func TestStateBytes(t *testing.T) {
	sliding := make1(t, Spec{Sliding, time.Minute, 0, allNeeds})
	for i, v := range []float64{-1, 0, 2.5} {
		sliding.Push(5*time.Second+time.Duration(i)*200, v)
	}
	last := make1(t, Spec{Last, 0, 20, Ends})
	last.Push(300, 1)
	last.Push(301, -2)
	area, err := NewIntegral(time.Second)
	if err != nil {
		t.Fatal(err)
	}
	area.Push(0, 2)
	area.Push(time.Second, 4)
	var total Total
	total.Push(0.5)
	for want, dirty := range map[string]func([]byte) (int, []byte, bool){
		// bucket 5, 3 readings: sum 1.5 and nothing lost; -1 to 2.5; squares 6.5; ends; 3 bins: -35771, 0, 35817
		"5: 01 d7a56bb3 05 03 023ff8 00 02bff0 024004 02401a 00 02bff0 9003 024004 03 f5ae0401 f6ae0401 d2af0401": sliding.Dirty,
		// chunk 0, 2 readings with their times
		"0: 01 7042b383 00 02 ac02 023ff0 01 01c0": last.Dirty,
		// 2 readings, 3 W s, the last at 1e9 ns
		"0: 01 02 024008 00 8094ebdc03 024010": area.Dirty,
		"0: 01 01 023fe0 00":                   total.Dirty,
	} {
		part, body, _ := dirty([]byte("before"))
		if got := fmt.Sprintf("%d:%x", part, bytes.TrimPrefix(body, []byte("before"))); got != strings.ReplaceAll(want, " ", "") {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if _, _, ok := dirty(nil); ok {
			t.Errorf("told twice: %s", want)
		}
	}
}
