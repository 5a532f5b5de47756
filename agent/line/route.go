package line

import (
	"slices"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules"
)

// split appends to list the records that stand behind rec: what of it goes another way, what was derived from it, and what of that goes another way.
// They have the time of rec, and readings of their own: those of out are the Set's until it is used again.
func split(list []tidegate.Record, rec *tidegate.Record, out *rules.Outcome) []tidegate.Record {
	add := func(way rules.Way, readings []tidegate.Reading) {
		behind := *rec
		behind.Readings = slices.Clone(readings)
		way.Send(&behind)
		list = append(list, behind)
	}
	straight := rules.TakenBy(rec)
	derived := len(out.Derived) > 0
	for i := range out.Apart {
		a := &out.Apart[i]
		if a.Derived && derived {
			add(straight, out.Derived)
			derived = false
		}
		add(a.Way, a.Readings)
	}
	if derived {
		add(straight, out.Derived)
	}
	return list
}

// appendRuns appends recs, numbered from first on, as runs of one class each.
func appendRuns(runs []run, first uint64, recs []tidegate.Record) []run {
	for len(recs) > 0 {
		n := slices.IndexFunc(recs, func(r tidegate.Record) bool { return r.Class != recs[0].Class })
		if n < 0 {
			n = len(recs)
		}
		runs = append(runs, newRun(recs[0].Class, first, recs[:n]))
		first, recs = first+uint64(n), recs[n:]
	}
	return runs
}
