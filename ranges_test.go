package tidegate

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// TestRangesAgainstMap compares Ranges with a plain map of numbers under random operations.
func TestRangesAgainstMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s Ranges
		want := map[uint64]bool{}
		drawRange := func() Range {
			a := rapid.Uint64Range(0, 60).Draw(t, "first")
			return Range{a, a + rapid.Uint64Range(0, 12).Draw(t, "more")}
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			r := drawRange()
			add := rapid.Bool().Draw(t, "add")
			if add {
				s.Add(r)
			} else {
				s.Remove(r)
			}
			for n := r.First; n <= r.Last; n++ {
				if add {
					want[n] = true
				} else {
					delete(want, n)
				}
			}
			if s.Len() != uint64(len(want)) {
				t.Fatalf("Len = %d, want %d: %v", s.Len(), len(want), s)
			}
			for i := range s {
				if s[i].Last < s[i].First || i > 0 && s[i].First <= s[i-1].Last+1 {
					t.Fatalf("not normal: %v", s)
				}
			}
			q := drawRange()
			var miss, in Ranges
			for n := q.First; n <= q.Last; n++ {
				if s.Contains(n) != want[n] {
					t.Fatalf("Contains(%d) = %v: %v", n, !want[n], s)
				}
				if want[n] {
					in.Add(Range{n, n})
				} else {
					miss.Add(Range{n, n})
				}
			}
			if got := s.Missing(q); !equal(got, miss) {
				t.Fatalf("Missing(%v) = %v, want %v", q, got, miss)
			}
			if got := s.Within(q); !equal(got, in) {
				t.Fatalf("Within(%v) = %v, want %v", q, got, in)
			}
			if s.Covers(q) != (len(miss) == 0) {
				t.Fatalf("Covers(%v) = %v, missing %v", q, s.Covers(q), miss)
			}
		}
	})
}

func equal(a, b Ranges) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// TestRangesAtTheEnd checks the numbers at which last+1 would wrap round.
func TestRangesAtTheEnd(t *testing.T) {
	s := Ranges{}
	s.Add(Range{math.MaxUint64 - 1, math.MaxUint64})
	s.Add(Range{0, 5})
	s.Add(Range{math.MaxUint64, math.MaxUint64})
	if want := (Ranges{{0, 5}, {math.MaxUint64 - 1, math.MaxUint64}}); !equal(s, want) {
		t.Fatalf("got %v, want %v", s, want)
	}
	if got := s.Missing(Range{4, math.MaxUint64}); !equal(got, Ranges{{6, math.MaxUint64 - 2}}) {
		t.Fatalf("missing %v", got)
	}
}
