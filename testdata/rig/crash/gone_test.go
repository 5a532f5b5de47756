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

// judge holds what is at the far end against what the meters had answered by the time of p.
func (b *backlog) judge(t *testing.T, p *past, receiver *bed.Receiver, o *outcome) {
	t.Helper()
	far := receiver.Finish()
	stored := make([]map[uint32][]place, b.meters.Units)
	for u := range stored {
		stored[u] = map[uint32][]place{}
	}
	seen := map[place]bool{}
	if err := bed.Stored(receiver.Out, func(r *bed.Record) {
		at := place{r.Epoch, r.Seq}
		unit, n, err := b.meters.Check(r)
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
	given := b.ends[p.ends-1]
	missing := int64(0)
	for u, there := range stored {
		for n, list := range there {
			o.twice += int64(len(list) - 1)
			if n > given[u] {
				o.wrong++
			}
		}
		missing += b.unexplained(t, u, given[u], p.ends, there, gapsOf(far), o)
	}
	declared := int64(0)
	for _, g := range gapsOf(far) {
		declared += max(g.Count, g.AtMost)
	}
	if missing *= int64(b.meters.Channels()); missing > declared {
		t.Errorf("%d readings are missing, %d are declared at most", missing, declared)
		o.unreported += missing - declared
	}
	t.Logf("%d readings are missing, at most %d declared", missing, declared)
}

// unexplained looks for replies of a unit that are not there, although it was no stop that cut them off. It returns how many there are, and counts in o
// those that no gap can hold: one that begins before the next of them that is there, and ends behind the one before.
func (b *backlog) unexplained(t *testing.T, u int, given uint32, ends int, there map[uint32][]place, gaps []farGap, o *outcome) (missing int64) {
	t.Helper()
	var before place
	for n := uint32(1); n <= given; n++ {
		if list := there[n]; len(list) > 0 {
			before = list[len(list)-1]
			continue
		}
		if slices.ContainsFunc(b.ends[:ends], func(e []uint32) bool { return e[u] == n }) {
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
			o.lost++
			if o.lost < 4 {
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
