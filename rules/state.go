package rules

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"time"
)

// ErrState is wrapped by errors about a rule's stored state that cannot be read: the rule starts anew.
var ErrState = errors.New("stored state of a rule")

// A State is how one rule stands, as bytes to be stored under the rule's name.
type State struct {
	Rule string
	Body []byte // nil = forget what is stored for this rule
}

// The body of a State, version 1:
//
//	byte     version, 1
//	byte     0 idle, 1 pending, 2 active, 3 idle but `when` must be seen not to hold first, 4 active but `when` was last seen not to hold
//	byte     severity of the alarm that stands: 0 none, 1 info, 2 warning, 3 error
//	uvarint  how often the rule became active
//	uint32   fingerprint of `when` and `for`, big endian
//	varint   pending only: boot time in microseconds since when the condition holds
const stateVersion = 1

// What follows the phases in the second byte of a State; a reader that knows only phases starts such a rule anew.
const (
	idleHeld     = byte(active) + 1 // idle, and isHeld
	activeUnheld = byte(active) + 2 // active, and not isHeld
)

// fingerprint tells a rule's condition and duration from others.
func fingerprint(r Rule) uint32 {
	h := fnv.New32a()
	fmt.Fprintf(h, "%v\x00%d", r.When, r.For) // a hash takes all bytes
	return h.Sum32()
}

func (r *rule) appendState(b []byte) []byte {
	phase := byte(r.phase)
	switch {
	case r.phase == idle && r.isHeld:
		phase = idleHeld
	case r.phase == active && !r.isHeld:
		phase = activeUnheld
	}
	b = append(b, stateVersion, phase, r.raised)
	b = binary.AppendUvarint(b, r.fired)
	b = binary.BigEndian.AppendUint32(b, r.mark)
	if r.phase == pending {
		b = binary.AppendVarint(b, r.since.Microseconds())
	}
	return b
}

// stored is a State's body, decoded.
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

// State returns how all rules stand that ever left their initial state, in the order of the rules. The result is the caller's.
func (s *Set) State() []State {
	var out []State
	for _, r := range s.rules {
		if r.phase != idle || r.fired != 0 {
			out = append(out, State{Rule: r.Name, Body: r.appendState(nil)})
		}
	}
	return out
}

// Restore puts the rules where states says; it is meant for a new Set. With sameBoot, timers of `for` go on; without, boot time has
// begun anew and they start again with the next reading. A timer also starts again when the rule's `when` or `for` is another one.
//
// The Outcome clears the alarms of rules that no longer exist and says which states to forget. The error, which wraps
// ErrState, names the rules whose state could not be read; they start anew, and all others are restored all the same.
func (s *Set) Restore(states []State, sameBoot bool) (Outcome, error) {
	s.reset()
	var errs []error
	for _, state := range states {
		r := s.byName[state.Rule]
		st, err := decodeState(state.Body)
		if err != nil {
			errs = append(errs, fmt.Errorf("rule %q: %w", state.Rule, err))
		}
		switch {
		case r == nil:
			if st.raised != 0 {
				s.alarms = append(s.alarms, Alarm{Rule: state.Rule, Severity: severities[st.raised], Text: "the rule was removed"})
			}
			s.changed = append(s.changed, State{Rule: state.Rule})
		case err != nil:
			s.touch(r)
		default:
			r.phase, r.raised, r.fired, r.since, r.isHeld = st.phase, st.raised, st.fired, st.since, st.isHeld
			if st.mark != r.mark { // nothing was seen of this condition yet
				r.isHeld = r.phase == active && !r.endsElsewhere()
			}
			if r.phase == pending && (!sameBoot || st.mark != r.mark) {
				r.phase, r.since = idle, 0
			}
			if r.phase != st.phase || r.mark != st.mark {
				s.touch(r)
			}
		}
	}
	return s.outcome(), errors.Join(errs...)
}

// reset makes the memory of the last Outcome free for the next.
func (s *Set) reset() {
	clear(s.changed)
	s.alarms, s.actions, s.changed, s.bodies = s.alarms[:0], s.actions[:0], s.changed[:0], s.bodies[:0]
}

// touch notes that the state of r is no longer what was stored.
func (s *Set) touch(r *rule) {
	if !r.dirty {
		r.dirty = true
		s.dirty = append(s.dirty, r)
	}
}

// outcome returns what was gathered since reset.
func (s *Set) outcome() Outcome {
	for _, r := range s.dirty {
		start := len(s.bodies)
		s.bodies = r.appendState(s.bodies)
		s.changed = append(s.changed, State{Rule: r.Name, Body: s.bodies[start:len(s.bodies):len(s.bodies)]})
		r.dirty = false
	}
	s.dirty = s.dirty[:0]
	return Outcome{Alarms: s.alarms, Actions: s.actions, Changed: s.changed}
}
