package receive

import (
	"fmt"
	"testing"

	"github.com/tidegate-io/tidegate"
)

// TestGapTakenBack follows a number that was rejected, comes again, is rejected once more, and comes in the end.
func TestGapTakenBack(t *testing.T) {
	var row Row
	gap := func(cause string, from, to uint64, count int64) Change {
		return Change{Gaps: []tidegate.Gap{{From: from, To: to, Count: count, Cause: cause}}}
	}
	stored := func(n uint64) Change {
		return Change{Stored: set([2]uint64{n, n}), Records: 1, Readings: 4, Late: []Late{{n, 4}}}
	}
	for i, c := range []struct {
		change Change
		want   string // upto, holes, gaps, readings known to be lost
	}{
		{Change{Stored: set([2]uint64{1, 4}, [2]uint64{7, 9})}, "9 [{5 6}] 0 gaps 0"},
		{gap(tidegate.CauseRejected, 5, 6, 8), "9 [] 1 gaps 8"},
		{gap(tidegate.CauseRequeued, 1, 20, 0), "9 [{5 6}] 1 gaps 8"},
		{gap(tidegate.CauseRejected, 5, 5, 4), "9 [{6 6}] 1 gaps 8"},
		{stored(6), "9 [] 1 gaps 4"},
		{gap(tidegate.CauseRequeued, 5, 6, 0), "9 [{5 5}] 1 gaps 4"},
		{Change{Skipped: set([2]uint64{12, 12})}, "12 [{5 5} {10 11}] 1 gaps 4"},
		{stored(5), "12 [{10 11}] 1 gaps 0"},
		{gap(tidegate.CauseRequeued, 5, 6, 0), "12 [{10 11}] 1 gaps 0"},
		{gap(tidegate.CauseOverflow, 10, 11, 3), "12 [] 2 gaps 3"},
		{Change{Gaps: []tidegate.Gap{{From: 10, To: 10, Cause: tidegate.CauseRequeued}}, Stored: set([2]uint64{10, 10}), Readings: 4, Late: []Late{{10, 4}}}, "12 [] 2 gaps 0"},
	} {
		row.Apply(&c.change)
		upto, holes := row.Receipt()
		a := row.account("e")
		if holes == nil {
			holes = tidegate.Ranges{}
		}
		if got := fmt.Sprintf("%d %v %d gaps %d", upto, holes, len(row.Gaps), a.GapCount); got != c.want {
			t.Errorf("%d: got %s, want %s", i, got, c.want)
		}
		if all := row.Holes(); fmt.Sprint(all) != fmt.Sprint(holes) {
			t.Errorf("%d: holes %v, in the receipt %v", i, all, holes)
		}
	}
}
