package row

import (
	"reflect"
	"slices"
	"testing"
)

// TestRow: what was taken is the caller's alone, and nearly all lies right behind what was taken before.
func TestRow(t *testing.T) {
	var r Row[uint64]
	var all [][]uint64
	behind, end := 0, uintptr(0)
	for i := range 1000 {
		got := r.Take(1 + i%3)
		at := reflect.ValueOf(got).Pointer()
		if at == end {
			behind++
		}
		end = at + 8*uintptr(len(got))
		for j := range got {
			if got[j] != 0 {
				t.Fatalf("room %d was used before", i)
			}
			got[j] = uint64(i)
		}
		_ = append(got, 1<<63) // must not end up in the next
		all = append(all, got)
	}
	for i, list := range all {
		for _, v := range list {
			if v != uint64(i) {
				t.Fatalf("room %d holds %d", i, v)
			}
		}
	}
	if behind < 950 {
		t.Errorf("%d lie behind the one before, want nearly all of 1,000", behind)
	}
}

// TestCopy: a copy is another list of the same, of any length.
func TestCopy(t *testing.T) {
	var r Row[int]
	for _, n := range []int{0, 1, most - 1, 10 * most, 2} {
		list := make([]int, n)
		for i := range list {
			list[i] = i + 1
		}
		got := r.Copy(list)
		if !slices.Equal(got, list) {
			t.Fatalf("of %d: got %v", n, got)
		}
		if n > 0 && &got[0] == &list[0] {
			t.Errorf("of %d: it is the list itself", n)
		}
	}
}
