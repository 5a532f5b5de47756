// Package rounds finds rules that trigger themselves, or each other, by the outputs that they set.
//
// A rule triggers another one when what it sets, while it is active or when it ends, leaves it possible that the other's condition holds. What
// ends a rule does not count: it may well do so by its own output, for instance when somebody sets it back.
package rounds

import (
	"slices"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/lang"
)

// A Rule is what counts of a rule here.
type Rule struct {
	When *lang.Program // nil = none
	Sets []Set
}

// A Set is an output that a rule sets.
type Set struct {
	Channel string         // "device.channel"
	Value   tidegate.Value // while the rule is active; KindNone = nothing
	OnClear tidegate.Value // when it ends; KindNone = nothing
}

// An Own says that a rule triggers itself.
type Own struct {
	Rule, Set int
	OnClear   bool // by what it sets when it ends
}

// Find returns the rules that trigger themselves, as places in list, and the first round that others make: each of them triggers the next,
// and the last the first; nil when there is none.
func Find(list []Rule) (own []Own, round []int) {
	f := &finder{list: list, looks: map[string][]int{}, may: map[state][]int{}, seen: make([]bool, len(list)), on: make([]bool, len(list))}
	for i := range list {
		if list[i].When == nil || len(list[i].Sets) == 0 {
			continue
		}
		for _, in := range list[i].When.Inputs {
			f.looks[in.Channel] = append(f.looks[in.Channel], i)
		}
	}
	for i := range list {
		for j := range list[i].Sets {
			if o, ok := f.own(i, j); ok {
				own = append(own, o)
				f.seen[i] = true // it is in no other round besides
			}
		}
	}
	for i := range list {
		if round = f.from(i); round != nil {
			break
		}
	}
	return own, round
}

// finder looks for rounds.
type finder struct {
	list  []Rule
	looks map[string][]int // rules that look at a channel, and set outputs
	may   map[state][]int  // rules whose condition may hold then
	seen  []bool
	way   []int  // rules, each of which triggers the next
	on    []bool // the rule is on the way
}

// A state is an output with what it was set to.
type state struct{ channel, value string }

// own reports whether rule i triggers itself by its Set j.
func (f *finder) own(i, j int) (o Own, ok bool) {
	s := &f.list[i].Sets[j]
	if f.list[i].When == nil || !slices.ContainsFunc(f.list[i].When.Inputs, func(in lang.Input) bool { return in.Channel == s.Channel }) {
		return o, false
	}
	value, clear := slices.Contains(f.triggered(s.Channel, s.Value), i), slices.Contains(f.triggered(s.Channel, s.OnClear), i)
	return Own{Rule: i, Set: j, OnClear: !value}, value || clear
}

// triggered returns the rules whose condition may hold once an output was set to v.
func (f *finder) triggered(channel string, v tidegate.Value) []int {
	if v.Kind() == tidegate.KindNone {
		return nil
	}
	key := state{channel, v.String()}
	list, ok := f.may[key]
	if !ok {
		for _, i := range f.looks[channel] {
			if f.list[i].When.MayHold(channel, v) {
				list = append(list, i)
			}
		}
		f.may[key] = list
	}
	return list
}

// from follows what rule i triggers, other rules only, and returns the first round that it finds.
func (f *finder) from(i int) []int {
	if f.on[i] {
		return slices.Clone(f.way[slices.Index(f.way, i):])
	}
	if f.seen[i] {
		return nil
	}
	f.seen[i], f.on[i] = true, true
	f.way = append(f.way, i)
	for j := range f.list[i].Sets {
		s := &f.list[i].Sets[j]
		for _, list := range [...][]int{f.triggered(s.Channel, s.Value), f.triggered(s.Channel, s.OnClear)} {
			for _, next := range list {
				if next == i || f.seen[next] && !f.on[next] {
					continue
				}
				if round := f.from(next); round != nil {
					return round
				}
			}
		}
	}
	f.way, f.on[i] = f.way[:len(f.way)-1], false
	return nil
}
