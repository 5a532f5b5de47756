package tidegate

import (
	"math"
	"slices"
	"sort"
)

// Range is a run of numbers, First to Last, both inclusive.
type Range struct {
	First, Last uint64
}

// Len returns how many numbers r holds; 0 when it is empty (Last < First). The full range of 2^64 numbers returns MaxUint64.
func (r Range) Len() uint64 {
	if r.Last < r.First {
		return 0
	}
	if r.First == 0 && r.Last == math.MaxUint64 {
		return math.MaxUint64
	}
	return r.Last - r.First + 1
}

// Ranges is a set of numbers, kept as sorted runs that neither touch nor overlap. The zero value is the empty set.
// It is not safe for concurrent use.
type Ranges []Range

// Add puts the numbers of r into the set.
func (s *Ranges) Add(r Range) {
	if r.Len() == 0 {
		return
	}
	a := *s
	// The usual case: at or behind the end.
	if n := len(a); n > 0 && r.First >= a[n-1].First {
		last := &a[n-1]
		if last.Last == math.MaxUint64 || r.First <= last.Last+1 {
			last.Last = max(last.Last, r.Last)
			return
		}
		*s = append(a, r)
		return
	}
	i := sort.Search(len(a), func(i int) bool { return a[i].Last == math.MaxUint64 || a[i].Last+1 >= r.First })
	j := i
	for j < len(a) && (r.Last == math.MaxUint64 || a[j].First <= r.Last+1) {
		r.First = min(r.First, a[j].First)
		r.Last = max(r.Last, a[j].Last)
		j++
	}
	*s = slices.Replace(a, i, j, r)
}

// AddAll puts all numbers of t into the set.
func (s *Ranges) AddAll(t Ranges) {
	for _, r := range t {
		s.Add(r)
	}
}

// Remove takes the numbers of r out of the set.
func (s *Ranges) Remove(r Range) {
	if r.Len() == 0 {
		return
	}
	a := *s
	i := sort.Search(len(a), func(i int) bool { return a[i].Last >= r.First })
	j := i
	var rest []Range
	for j < len(a) && a[j].First <= r.Last {
		if a[j].First < r.First {
			rest = append(rest, Range{a[j].First, r.First - 1})
		}
		if a[j].Last > r.Last {
			rest = append(rest, Range{r.Last + 1, a[j].Last})
		}
		j++
	}
	*s = slices.Replace(a, i, j, rest...)
}

// Contains reports whether n is in the set.
func (s Ranges) Contains(n uint64) bool {
	i := sort.Search(len(s), func(i int) bool { return s[i].Last >= n })
	return i < len(s) && s[i].First <= n
}

// Covers reports whether all numbers of r are in the set; an empty r is covered.
func (s Ranges) Covers(r Range) bool {
	if r.Len() == 0 {
		return true
	}
	i := sort.Search(len(s), func(i int) bool { return s[i].Last >= r.First })
	return i < len(s) && s[i].First <= r.First && s[i].Last >= r.Last
}

// Missing returns the numbers of r that are not in the set, in rising order.
func (s Ranges) Missing(r Range) Ranges {
	if r.Len() == 0 {
		return nil
	}
	var out Ranges
	next := r.First
	for i := sort.Search(len(s), func(i int) bool { return s[i].Last >= r.First }); i < len(s) && s[i].First <= r.Last; i++ {
		if s[i].First > next {
			out = append(out, Range{next, s[i].First - 1})
		}
		if s[i].Last >= r.Last {
			return out
		}
		next = s[i].Last + 1
	}
	return append(out, Range{next, r.Last})
}

// Within returns the numbers of r that are in the set, in rising order.
func (s Ranges) Within(r Range) Ranges {
	var out Ranges
	for i := sort.Search(len(s), func(i int) bool { return s[i].Last >= r.First }); i < len(s) && s[i].First <= r.Last; i++ {
		out = append(out, Range{max(s[i].First, r.First), min(s[i].Last, r.Last)})
	}
	return out
}

// Len returns how many numbers the set holds.
func (s Ranges) Len() uint64 {
	var n uint64
	for _, r := range s {
		n += r.Len()
	}
	return n
}

// Clone returns a copy that shares nothing with s.
func (s Ranges) Clone() Ranges { return slices.Clone(s) }
