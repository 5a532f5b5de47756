package rules

import (
	"fmt"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/filter"
	"github.com/tidegate-io/tidegate/rules/hold"
)

// A Snapshot says which of the readings that filters took are wanted after all.
type Snapshot = hold.Snapshot

// A Restored is a reading that a filter took, and that goes on after all, with a Time of its own.
type Restored = hold.Kept

// A Given says what a snapshot gave out.
type Given struct {
	Rule string
	hold.Given
	Wanted time.Duration // boot time from which on all were wanted
}

// view is a Snapshot of a rule that runs.
type view struct {
	*hold.View
	rule  *rule
	key   string
	fired bool // listed in Set.opened
}

// startSnapshots makes the snapshots of r run.
func (s *Set) startSnapshots(r *rule) {
	marks := map[uint32]bool{}
	for _, x := range r.Snapshots {
		mark := x.Mark()
		for marks[mark] {
			mark++
		}
		marks[mark] = true
		if s.hold == nil {
			s.hold = hold.New(s.begun)
		}
		r.views = append(r.views, &view{View: s.hold.View(x), rule: r, key: fmt.Sprintf("%s/s%08x", r.Name, mark)})
	}
}

// open has the snapshots of r look at now, as it became active.
func (s *Set) open(r *rule) {
	for _, v := range r.views {
		v.Open(s.now)
		if !v.fired {
			v.fired = true
			s.opened = append(s.opened, v)
		}
	}
}

// wanted gives list, the lanes of a channel, what keeps the readings that they take.
func (s *Set) wanted(name string, list []*lane) {
	if s.hold == nil || len(list) == 0 {
		return
	}
	g := s.hold.Group(name)
	for _, l := range list {
		l.hold = g
	}
}

// letGo has rd, read at boot time at, go through l whatever its filter says, where a snapshot wants it; it reports whether it does.
func (l *lane) letGo(s *Set, rd *tidegate.Reading, at time.Duration) bool {
	if l.hold == nil || !l.hold.IsOpen(at) {
		return false
	}
	if l.Force(&l.of.Filter, l.of.rule.fired, rd, at) {
		l.touch(s)
	}
	return true
}

// holdBack keeps rd of rec, which l took, where a snapshot may want it; v is its value as it was read.
func (l *lane) holdBack(rec *tidegate.Record, rd *tidegate.Reading, v tidegate.Value, at time.Duration) {
	if l.hold == nil {
		return
	}
	k := Restored{Reading: *rd, At: at, Quality: rec.Quality, Thinned: l.of.Do == filter.Thin}
	if k.Value = v; k.Time.IsZero() {
		k.Time = rec.Time
	}
	l.hold.Keep(rec.Boot, k)
}

// rest ends what the last record opened: only the newest of each snapshot stays.
func (s *Set) rest() {
	for _, v := range s.opened {
		v.Rest()
	}
	s.restored, s.given, s.opened = nil, s.given[:0], s.opened[:0]
}

// giveOut puts what the snapshots want that were opened into the outcome.
func (s *Set) giveOut() {
	for _, v := range s.opened {
		v.fired = false
		list, given := v.Give()
		s.given = append(s.given, Given{Rule: v.rule.Name, Given: given, Wanted: given.At - v.Before})
		if s.restored == nil {
			s.restored = list
		} else {
			s.restored = append(s.restored, list...)
		}
	}
	if len(s.opened) > 1 {
		s.restored = hold.InOrder(s.restored)
	}
	for i := range s.restored { // what is held back next is held back because of these
		k := &s.restored[i]
		for _, l := range s.find(k.Device, k.Channel) {
			if f := &l.of.Filter; f.Do == filter.Deadband && l.of.rule.isOn() && l.Follows(l.of.rule.fired) && l.Force(f, l.of.rule.fired, &k.Reading, k.At) {
				l.touch(s)
			}
		}
	}
}

// restoreView gives a snapshot of r back what it had open. It reports whether there is one.
func (s *Set) restoreView(r *rule, state State, sameBoot bool) (kept bool, err error) {
	i := slices.IndexFunc(r.views, func(v *view) bool { return v.key == state.Key })
	if i < 0 || !sameBoot {
		return false, nil
	}
	if err := r.views[i].Restore(state.Body); err != nil {
		return false, fmt.Errorf("%w: %w", ErrState, err)
	}
	return true, nil
}

// viewStates calls f for the state of each snapshot, or of those that were opened since reset.
func (s *Set) viewStates(all bool, f func(v *view)) {
	if !all {
		for _, v := range s.opened {
			f(v)
		}
		return
	}
	for _, r := range s.rules {
		for _, v := range r.views {
			if v.IsOpened() {
				f(v)
			}
		}
	}
}
