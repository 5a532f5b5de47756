package crash

import (
	"slices"
	"testing"

	"github.com/tidegate-io/tidegate/sync/receive"
	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// A place is where a reply is stored at the far end.
type place struct {
	epoch string
	seq   uint64
}

// judgeGone holds what is at the far end against what the meters had answered when the gateway stopped for the last time; ends are their last replies at
// each stop.
func judgeGone(t *testing.T, m *bed.Meters, ends [][]uint32, receiver *bed.Receiver, o *outcome) {
	t.Helper()
	far := receiver.Finish()
	stored := make([]map[uint32][]place, m.Units)
	for u := range stored {
		stored[u] = map[uint32][]place{}
	}
	seen := map[place]bool{}
	if err := bed.Stored(receiver.Out, func(r *bed.Record) {
		at := place{r.Epoch, r.Seq}
		unit, n, err := m.Check(r)
		switch {
		case err != nil:
			o.wrong++
			t.Error(err)
		case seen[at]:
			o.twice++
		case unit > 0:
			stored[unit-1][n] = append(stored[unit-1][n], at)
		}
		seen[at] = true
	}); err != nil {
		t.Fatal(err)
	}
	o.unreported += holes(far)
	given := ends[len(ends)-1]
	// Of what found no room in a ring the gap has numbers that are given when there is room again, and the count of its readings.
	noRoom := int64(0)
	for _, g := range gapsOf(far) {
		if g.Cause == "ring_full" {
			noRoom += g.Count
		}
	}
	missing := int64(0)
	for u, there := range stored {
		for n, list := range there {
			o.twice += int64(len(list) - 1)
			if n > given[u] {
				o.wrong++
			}
		}
		missing += unexplained(t, u, ends, there, gapsOf(far), &noRoom, int64(m.Channels()), o)
	}
	declared := int64(0)
	for _, g := range gapsOf(far) {
		declared += max(g.Count, g.AtMost)
	}
	if missing *= int64(m.Channels()); missing > declared {
		t.Errorf("%d readings are missing, %d are declared at most", missing, declared)
		o.unreported += missing - declared
	}
	t.Logf("%d readings are missing, at most %d declared", missing, declared)
}

// unexplained looks for replies of a unit that are not there, although it was no stop that cut them off. It returns how many there are, and counts in o
// readings of those that no gap can hold: one that begins before the next of them that is there, and ends behind the one before, or one of readings that found no room, as
// long as it is large enough.
func unexplained(t *testing.T, u int, ends [][]uint32, there map[uint32][]place, gaps []farGap, noRoom *int64, channels int64, o *outcome) (missing int64) {
	t.Helper()
	var before place
	given := ends[len(ends)-1][u]
	for n := uint32(1); n <= given; n++ {
		if list := there[n]; len(list) > 0 {
			before = list[len(list)-1]
			continue
		}
		if slices.ContainsFunc(ends, func(e []uint32) bool { return e[u] == n }) {
			continue
		}
		missing++
		var after place
		for m := n + 1; m <= given && after.seq == 0; m++ {
			if list := there[m]; len(list) > 0 {
				after = list[0]
			}
		}
		if !slices.ContainsFunc(gaps, func(g farGap) bool { return g.between(before, after) }) {
			if *noRoom -= channels; *noRoom >= 0 {
				continue
			}
			o.lost += channels
			if o.lost < 4*channels {
				t.Errorf("reply %d of meter %d is not there, and no gap is between %v and %v", n, u+1, before, after)
			}
		}
	}
	return missing
}

// A farGap is a gap as the far end has it.
type farGap struct {
	receive.Gap
	of string // epoch
}

func gapsOf(far *receive.Account) (out []farGap) {
	for _, g := range far.Gateways {
		for _, e := range g.Epochs {
			for _, gap := range e.Gaps {
				out = append(out, farGap{gap, e.Epoch})
			}
		}
	}
	return out
}

// between reports whether the gap has numbers between those of two records; 0 = there is none on that side.
func (g *farGap) between(before, after place) bool {
	behind := before.seq == 0 || g.of != before.epoch || g.To > before.seq
	ahead := after.seq == 0 || g.of != after.epoch || g.From < after.seq
	return behind && ahead && (before.seq == 0 && after.seq == 0 || g.of == before.epoch || g.of == after.epoch || before.seq == 0 || after.seq == 0)
}
