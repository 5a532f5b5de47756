package line

import (
	"slices"

	"github.com/tidegate-io/tidegate/rules"
)

// pace says how often devices are to be read under the rules set, which come behind those of before; nil = there were none.
func (l *Line) pace(before, set *rules.Set) {
	list := set.Intervals()
	if before != nil {
		for _, old := range before.Intervals() {
			if !slices.ContainsFunc(list, func(x rules.Interval) bool { return x.Device == old.Device }) {
				l.o.Pace(rules.Interval{Device: old.Device})
			}
		}
	}
	for _, x := range list {
		l.o.Pace(x)
	}
}

// pacing says how often devices are to be read from now on, behind the entry that holds why.
func (j *judge) pacing() {
	for _, x := range j.paces {
		j.pace(x)
	}
	j.paces = j.paces[:0]
}
