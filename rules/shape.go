package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/filter"
	"github.com/tidegate-io/tidegate/rules/hold"
)

// shaper is a Filter of a rule that runs.
type shaper struct {
	filter.Filter
	rule  *rule
	mark  uint32
	lanes map[string]*lane // by "device.channel"
}

// A lane is what a filter keeps of one channel. Its turn is how often the rule became active.
type lane struct {
	filter.Lane
	of    *shaper
	name  string // of the channel
	key   string
	dirty bool        // listed in Set.laneDirt
	hold  *hold.Group // keeps what the filter takes; nil = no snapshot wants the channel
}

// startFilters makes the filters of r run, behind those that run already.
func (s *Set) startFilters(r *rule) {
	for _, f := range r.Filters {
		own := &shaper{Filter: f, rule: r, mark: f.Mark(), lanes: map[string]*lane{}}
		for slices.ContainsFunc(s.filters, func(g *shaper) bool { return g.rule == r && g.mark == own.mark }) {
			own.mark++
		}
		s.filters = append(s.filters, own)
	}
}

// find returns the lanes of a channel, nil = no filter has to do with it. Channels beyond maxKnown are neither thinned nor held to a deadband.
// What the gateway says of itself, faults of a device as a whole for instance, has channels that begin with _ and always goes through.
func (s *Set) find(device, channel string) []*lane {
	if strings.HasPrefix(channel, "_") {
		return nil
	}
	list, known := s.lanes.get(device, channel)
	if known {
		return list
	}
	name := device + "." + channel
	for _, f := range s.filters {
		if f.Concerns(name) {
			l := f.lanes[name]
			if l == nil {
				l = f.lane(name)
			}
			list = append(list, l)
		}
	}
	if !s.lanes.put(device, channel, list) {
		return slices.DeleteFunc(list, func(l *lane) bool { return l.of.Do == filter.Thin || l.of.Do == filter.Deadband })
	}
	s.wanted(name, list)
	for _, l := range list {
		l.of.lanes[l.name] = l
	}
	return list
}

func (f *shaper) lane(name string) *lane {
	return &lane{of: f, name: name, key: fmt.Sprintf("%s/f%08x.%s", f.rule.Name, f.mark, name)}
}

// shape takes from list, readings of rec, what does not go through. It returns the rest, in the memory of list.
func (s *Set) shape(rec *tidegate.Record, list []tidegate.Reading) []tidegate.Reading {
	out := list[:0]
	for i := range list {
		rd := &list[i]
		keep, raw := true, rd.Value
		for _, l := range s.find(rd.Device, rd.Channel) {
			f := l.of
			if !f.rule.isOn() {
				continue
			}
			at := bootOf(rec, rd).Truncate(time.Microsecond)
			if l.letGo(s, rd, at) {
				continue
			}
			var changed bool
			if keep, changed = l.Pass(&f.Filter, f.rule.fired, rd, at); changed {
				l.touch(s)
			}
			if !keep && f.Do == filter.Thin {
				s.thinned++
			} else if !keep {
				s.filtered++
			}
			if !keep {
				l.holdBack(rec, rd, raw, at)
				break
			}
		}
		if keep {
			out = append(out, *rd)
		}
	}
	return out
}

func (l *lane) touch(s *Set) {
	if !l.dirty {
		l.dirty = true
		s.laneDirt = append(s.laneDirt, l)
	}
}

// restoreLane gives a filter of r back what it kept of a channel; rest is "f1a2b3c4d.device.channel". It reports whether there is one.
func (s *Set) restoreLane(r *rule, rest string, state State, sameBoot bool) (kept bool, err error) {
	mark, name, _ := strings.Cut(rest[1:], ".")
	m, bad := strconv.ParseUint(mark, 16, 32)
	if bad != nil || !sameBoot { // a key of another make is forgotten
		return false, nil
	}
	for _, f := range s.filters {
		if f.rule == r && f.mark == uint32(m) && f.Concerns(name) {
			l := f.lane(name)
			if err := l.Restore(state.Body); err != nil {
				return false, fmt.Errorf("%w: channel %s: %w", ErrState, name, err)
			}
			f.lanes[name] = l
			return true, nil
		}
	}
	return false, nil
}

// laneStates calls f for the state of each lane, or of those that changed since the last call.
func (s *Set) laneStates(all bool, f func(l *lane)) {
	if !all {
		for _, l := range s.laneDirt {
			l.dirty = false
			f(l)
		}
		s.laneDirt = s.laneDirt[:0]
		return
	}
	for _, x := range s.filters {
		for _, l := range x.lanes {
			if l.Begun() {
				f(l)
			}
		}
	}
}
