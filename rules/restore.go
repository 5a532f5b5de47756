package rules

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/rules/lang"
)

// stored is the body of a rule's own State, decoded.
type stored struct {
	phase  phase
	raised byte
	fired  uint64
	mark   uint32
	since  time.Duration
	isHeld bool
}

func decodeState(b []byte) (stored, error) {
	if len(b) < 3 {
		return stored{}, fmt.Errorf("%w: %d bytes long, want at least 3", ErrState, len(b))
	}
	if b[0] != stateVersion {
		return stored{}, fmt.Errorf("%w: got version %d, want %d", ErrState, b[0], stateVersion)
	}
	st := stored{phase: phase(b[1]), raised: b[2], isHeld: b[1] == byte(active)}
	switch b[1] {
	case idleHeld:
		st.phase, st.isHeld = idle, true
	case activeUnheld:
		st.phase = active
	case pendingBlind:
		st.phase = pending
	}
	if st.phase > active || int(st.raised) >= len(severities) || st.raised != 0 && st.phase != active {
		return stored{}, fmt.Errorf("%w: phase %d with severity %d", ErrState, b[1], b[2])
	}
	b = b[3:]
	fired, n := binary.Uvarint(b)
	if n <= 0 || len(b) < n+4 {
		return stored{}, fmt.Errorf("%w: cut short", ErrState)
	}
	st.fired = fired
	st.mark = binary.BigEndian.Uint32(b[n:])
	b = b[n+4:]
	if st.phase == pending {
		us, n := binary.Varint(b)
		if n <= 0 {
			return stored{}, fmt.Errorf("%w: cut short", ErrState)
		}
		if us > math.MaxInt64/1000 || us < math.MinInt64/1000 {
			return stored{}, fmt.Errorf("%w: boot time of %d us is out of range", ErrState, us)
		}
		st.since = time.Duration(us) * time.Microsecond
		b = b[n:]
	}
	if len(b) > 0 {
		return stored{}, fmt.Errorf("%w: %d bytes too long", ErrState, len(b))
	}
	return st, nil
}

// Restore puts the rules where states says; it is meant for a new Set. With sameBoot, timers of `for` and windows go on; without, boot time has
// begun anew and they start again with the next reading. A timer also starts again when the rule's `when` or `for` is another one, a
// window when the condition is. A rule that was pending does not become active by time alone before a reading has come.
//
// The Outcome clears the alarms of rules that no longer exist and says which states to forget. The error, which wraps
// ErrState, names what could not be read; that starts anew, and all else is restored all the same.
func (s *Set) Restore(states []State, sameBoot bool) (Outcome, error) {
	s.reset()
	var errs []error
	for _, state := range states {
		name, rest, isPart := strings.Cut(state.Key, "/")
		switch r := s.byName[name]; {
		case isPart && name == "":
			if err := s.restoreCell(rest, state, sameBoot); err != nil {
				errs = append(errs, err)
			}
		case isPart:
			if err := s.restorePart(r, rest, state, sameBoot); err != nil {
				errs = append(errs, fmt.Errorf("rule %q: %w", name, err))
			}
		default:
			if err := s.restoreRule(r, state, sameBoot); err != nil {
				errs = append(errs, fmt.Errorf("rule %q: %w", name, err))
			}
		}
	}
	for _, r := range s.rules {
		s.plan(r)
	}
	for _, p := range s.paced {
		p.force = p.look()
	}
	return s.outcome(), errors.Join(errs...)
}

func (s *Set) forget(key string) { s.changed = append(s.changed, State{Key: key}) }

func (s *Set) restoreCell(name string, state State, sameBoot bool) error {
	name, _, _ = strings.Cut(name, "#")
	c := s.byChannel(name)
	if c == nil || !c.isKept || !sameBoot || c.stored != state.Key {
		s.forget(state.Key)
		return nil
	}
	err := c.restore(state.Body)
	if err != nil {
		s.forget(state.Key)
	}
	s.now = max(s.now, c.heard) // as it was when that was judged: windows do not go back either
	return err
}

// restorePart gives r, nil = there is no such rule, back what is stored of it besides how it stands, or forgets that.
func (s *Set) restorePart(r *rule, rest string, state State, sameBoot bool) (err error) {
	kept := false
	switch {
	case r == nil:
	case strings.HasPrefix(rest, "f"):
		kept, err = s.restoreLane(r, rest, state, sameBoot)
	case strings.HasPrefix(rest, "s"):
		kept, err = s.restoreView(r, state, sameBoot)
	default:
		kept, err = s.restoreKept(r, rest, state, sameBoot)
	}
	if !kept {
		s.forget(state.Key)
	}
	return err
}

// restoreKept gives an expression of r back a part of what it kept. It reports whether there is one.
func (s *Set) restoreKept(r *rule, rest string, state State, sameBoot bool) (kept bool, err error) {
	p, mark, ok := parseKey(rest)
	if !ok {
		return false, nil
	}
	x := r.kept(p.of, mark)
	if x == nil {
		return false, nil
	}
	if kept, err = x.Restore(p.slot, p.part, state.Body, sameBoot); kept && !sameBoot {
		s.fed = append(s.fed, r) // an integral does not go on from a time of the boot before: that is stored, too
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrState, err)
	}
	return kept, err
}

// kept returns what keeps the parts of kind of, under the fingerprint mark; nil when nothing does any more.
func (r *rule) kept(of byte, mark uint32) *lang.Instance {
	switch {
	case of == 'd':
		for _, d := range r.derives {
			if d.mark == mark {
				return d.x
			}
		}
	case of == 'w' && r.when != nil && mark == textMark(r.When.Identity()):
		return r.when
	case of == 'c' && r.clear != nil && mark == textMark(r.Clear.Identity()):
		return r.clear
	}
	return nil
}

func (s *Set) restoreRule(r *rule, state State, sameBoot bool) error {
	st, err := decodeState(state.Body)
	switch {
	case r == nil || r.when == nil:
		if st.raised != 0 {
			s.alarms = append(s.alarms, Alarm{Rule: state.Key, Severity: severities[st.raised], Text: "the rule was removed"})
		}
		s.forget(state.Key)
	case err != nil:
		s.touch(r)
	default:
		r.phase, r.raised, r.fired, r.since, r.isHeld = st.phase, st.raised, st.fired, st.since, st.isHeld
		if st.mark != r.mark { // nothing was seen of this condition yet
			r.isHeld = r.phase == active && r.clear == nil
		}
		if r.phase == pending && (!sameBoot || st.mark != r.mark) {
			r.phase, r.since = idle, 0
		}
		r.isBlind = r.phase == pending && !r.When.Timed()
		if r.phase != st.phase || r.mark != st.mark {
			s.touch(r)
		}
	}
	return err
}

// Continue says that a restored Set takes over from before, whose state it has, while channels are read on: what is pending waits for a reading only
// where it did before, and what channels said last is known.
func (s *Set) Continue(before *Set) {
	for device, list := range s.cells {
		for name, c := range list {
			if old := before.cells[device][name]; old != nil && old.stored == c.stored && old.heard > c.heard {
				c.Cell, c.heard = old.Cell, old.heard
				if c.isKept && !c.dirty {
					c.dirty = true
					s.dirt = append(s.dirt, c)
				}
			}
		}
	}
	for _, r := range s.rules {
		if old := before.byName[r.Name]; old != nil {
			r.isBlind = r.isBlind && old.isBlind
		}
		s.plan(r)
	}
}
