package line

import (
	"fmt"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer"
)

// causeHeld is, in the lease alone, the cause of what is no loss yet: numbers of an earlier name that only ring 2 holds. Why is that name, and Count its
// first number.
const causeHeld = "held"

// hold makes the lease know of what ring 2 holds, when numbers are about to go on under another name: once they do, a power cut that takes the rings
// leaves nothing else that tells of it. The store's last commit knows how far its own ordinal was leased then, and may be older than that.
func (f *facts) hold(p *plan) {
	p.held = nil
	for _, x := range f.entries {
		first := x.e.lowest()
		if first == 0 {
			continue
		}
		n := len(p.held)
		if n == 0 || p.held[n-1].Epoch != x.e.epoch {
			p.held = append(p.held, buffer.Declaration{Epoch: x.e.epoch, Ranges: tidegate.Ranges{{First: first}}, Cause: causeHeld, T0: f.pos.Time, Why: x.e.epochID, Count: x.e.start})
			n++
		}
		d := &p.held[n-1]
		d.Ranges[0].Last = x.e.highest()
		d.AtMost = d.Ranges.Len() * f.perRecord
	}
}

// take declares what of d, which ring 2 held, is gone with it: all that is not committed.
func (f *facts) take(p *plan, d buffer.Declaration) {
	from, to := d.Ranges[0].First, d.Ranges[0].Last
	if f.pos.Epoch == d.Epoch {
		from = max(from, f.pos.Next)
	}
	if f.pos.Epoch > d.Epoch || from > to {
		return
	}
	if _, known := f.epochs[d.Epoch]; !known {
		p.epochs[d.Epoch] = buffer.Epoch{ID: d.Why, Start: d.Count}
	}
	f.declare(p, d.Epoch, from, to, tidegate.CausePowerCut, min(d.AtMost, (to-from+1)*f.perRecord))
}

// most bounds the readings that a power cut can have cost of these numbers: where the store's log has lost more than a power cut takes, it is any of them.
func (f *facts) most(from, to uint64) uint64 {
	if f.tailLost {
		return (to - from + 1) * f.perRecord
	}
	return f.atMost
}

// declareBehind declares what a store does not have that all of it had when it stopped in order: it is damaged, and came back as it was before.
func (f *facts) declareBehind(p *plan) {
	from := f.lease.Start
	if f.epochs[f.pos.Epoch].ID == f.lease.EpochID {
		from = f.pos.Next
	}
	if f.gone() || from == 0 || from > f.lease.Last {
		return
	}
	rest := tidegate.Ranges{{First: from, Last: f.lease.Last}}
	for _, d := range p.declared {
		for _, r := range d.Ranges {
			rest.Remove(r)
		}
	}
	for _, r := range rest {
		f.declare(p, f.lease.Epoch, r.First, r.Last, tidegate.CauseDamaged, r.Len()*f.perRecord)
	}
	p.why = fmt.Sprintf("stopped in order, but the store is as it was before: numbers go on at %d, %d to %d are declared as a gap", p.next, from, f.lease.Last)
}
