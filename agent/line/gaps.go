package line

import (
	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/box"
	"github.com/tidegate-io/tidegate/buffer"
)

// addGaps adds to e the gap of what the rings dropped, and what was asked to be declared, numbered from next on; it returns the number behind.
func (j *judge) addGaps(e *entry, next uint64, d1, d2 box.Drops) uint64 {
	now := j.clock()
	e.declared = append(e.declared, j.declared[:min(len(j.declared), maxDeclared)]...)
	for i := range e.declared {
		if e.declared[i].T1 == 0 {
			e.declared[i].T1 = now.Wall.UnixMilli()
		}
	}
	p := j.pendingOf(d1, d2)
	if n := min(p.Reads, j.numbers.room()/2); n > 0 { // more Reads than the lease has numbers for share those
		d := buffer.Declaration{
			Epoch: e.epoch, Ranges: tidegate.Ranges{{First: next, Last: next + n - 1}}, Count: p.Readings, AtMost: p.Readings,
			Cause: tidegate.CauseRingFull, T0: earliest(d1.First, d2.First), T1: max(d1.Last, d2.Last),
		}
		e.declared = append(e.declared, d)
		e.drops1 = buffer.Drops{Reads: d1.Reads, Readings: d1.Readings}
		e.drops2 = buffer.Drops{Reads: d2.Reads, Readings: d2.Readings}
		next += n
	}
	next = j.addRefused(e, next)
	if len(e.declared) == 0 {
		return next
	}
	recs := gapRecord(e.declared, j.epochs, e.epoch, stamped{now.Wall, now.Boot, now.Quality()})
	if len(recs) > 0 {
		e.runs = append(e.runs, newRun(tidegate.ClassAudit, next, recs))
	}
	return next + uint64(len(recs))
}

func (j *judge) pendingOf(d1, d2 box.Drops) buffer.Drops {
	if s := &j.sparing; s.drops && !s.ends && j.clock().Boot-s.since < SpareGap {
		return buffer.Drops{} // more will come that is declared with it
	}
	return buffer.Drops{
		Reads:    d1.Reads - j.drops1.Reads + d2.Reads - j.drops2.Reads,
		Readings: d1.Readings - j.drops1.Readings + d2.Readings - j.drops2.Readings,
	}
}

func earliest(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// drop counts what did not fit into ring 2.
func (j *judge) drop(recs, alarms []tidegate.Record, input box.Place) {
	n, readings := len(recs)+len(alarms), 0
	for i := range recs {
		readings += len(recs[i].Readings)
	}
	if n > 0 {
		j.judged.Drop(n, readings, j.clock().Wall.UnixMilli(), input)
	}
}
