package cases

import (
	"fmt"
	"maps"
	"slices"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/rules"
)

// counts reports whether w says how many readings a snapshot gives out.
func (w *written) counts() bool {
	return slices.ContainsFunc(w.Want, func(x want) bool { return x.Snapshot != nil })
}

// checkGiven checks the channels and numbers of readings that snapshots are to give out.
func (c *checker) checkGiven(w *want, path string, tried []config.Rule) {
	for name, v := range w.Snapshot {
		isOf := func(do config.Do) bool { return do.Snapshot != nil && do.Snapshot.Concerns(name) }
		if !slices.ContainsFunc(tried, func(r config.Rule) bool { return slices.ContainsFunc(r.Do, isOf) }) {
			c.Add(path+".snapshot."+name, wantGiven, strict.Show(name), "write a channel that a snapshot names, or stands for with *")
		} else if n, ok := v.Number(); !ok || v.Kind() == tidegate.KindBool || n < 1 || n != float64(int64(n)) {
			c.Add(path+".snapshot."+name, wantNumber, strict.Show(v.String()), "write how many come, 1 or more; what is not given out is left out")
		}
	}
}

// given returns what w wants of snapshots, at the time of e, one by one. list are the rules.
func (w *want) given(e expected, list []rules.Rule) (out []expected) {
	for _, name := range slices.Sorted(maps.Keys(w.Snapshot)) {
		e.what, e.value, e.rules, e.given = "snapshot of "+name, w.Snapshot[name], nil, true
		for i := range list {
			for _, s := range list[i].Snapshots {
				if s.Concerns(name) && !slices.Contains(e.rules, list[i].Name) {
					e.rules = append(e.rules, list[i].Name)
				}
			}
		}
		out = append(out, e)
	}
	return out
}

// noteGiven counts what snapshots gave out, by channel.
func (r *run) noteGiven(out *rules.Outcome) {
	if !r.counts || len(out.Restored) == 0 {
		return
	}
	e := event{at: out.Given[0].At + r.began, given: true}
	for i := range out.Given {
		e.rules = append(e.rules, out.Given[i].Rule)
	}
	numbers := map[string]uint64{}
	for i := range out.Restored {
		numbers[fmt.Sprint("snapshot of ", out.Restored[i].Device, ".", out.Restored[i].Channel)]++
	}
	for _, what := range slices.Sorted(maps.Keys(numbers)) {
		e.what, e.value = what, tidegate.Uint(numbers[what])
		r.events = append(r.events, e)
	}
}
