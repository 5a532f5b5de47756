package line

import (
	"fmt"
	"slices"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer"
)

// gone reports whether the store is a new one although the lease speaks of an older one: it was damaged and set aside, or deleted.
func (f *facts) gone() bool {
	return f.leased && f.lease.EpochID != "" && f.pos.Time == 0 && (f.bad || len(f.lease.Cursors) > 0)
}

// declareGone declares what went with the store: what no uplink is known to have, up to what ring 2 still holds.
func (f *facts) declareGone(p *plan) {
	epoch, from, to := f.lease.Epoch, f.undelivered(), p.next-1
	if e, first := f.oldest(); f.kept && e != nil {
		if to = first - 1; e.epochID != f.lease.EpochID { // of the lease's epoch, all is in ring 2
			epoch, from = e.epoch, e.start
		}
	}
	lost := tidegate.Ranges{}
	if from <= to {
		lost.Add(tidegate.Range{First: from, Last: to})
	}
	for _, r := range f.held[epoch] { // a gap never covers a number that is held
		lost.Remove(r)
	}
	for part := range slices.Chunk(lost, declaredRanges) {
		p.declared = append(p.declared, buffer.Declaration{
			Epoch: epoch, Ranges: part, AtMost: part.Len() * f.perRecord, Cause: tidegate.CauseDamaged, T0: f.pos.Time,
		})
	}
	p.why = fmt.Sprintf("the store was damaged or deleted: numbers go on at %d, of %d to %d there are %d declared as lost", p.next, from, to, lost.Len())
}

// declaredRanges bounds the gaps of one declaration.
const declaredRanges = 32

// undelivered returns the lowest number that an uplink is not known to have. The lease knows ordinals by their number alone: where the current
// one began above 1, earlier ones are taken to have its name.
func (f *facts) undelivered() uint64 {
	from := uint64(0)
	for _, c := range f.lease.Cursors {
		n := c.Number + 1
		switch {
		case c.Epoch == f.lease.Epoch:
			n = max(n, f.lease.Start)
		case c.Epoch > f.lease.Epoch || f.lease.Start <= 1:
			continue
		}
		if from == 0 || n < from {
			from = n
		}
	}
	return max(from, 1)
}

// holds reports whether the store has all records of e, of which there are some.
func (f *facts) holds(e *entry) bool {
	for i := range e.runs {
		if r := (tidegate.Range{First: e.runs[i].first, Last: e.runs[i].last()}); f.held[e.epoch].Within(r).Len() != r.Len() {
			return false
		}
	}
	return len(e.runs) > 0
}
