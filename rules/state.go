package rules

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/lang"
)

// ErrState is wrapped by errors about a part of the stored state that cannot be read: what it belongs to starts anew.
var ErrState = errors.New("stored state of a rule")

// A State is a part of how the rules stand, as bytes to be stored under a key. README.md says which keys there are.
type State struct {
	Key  string
	Body []byte // nil = forget what is stored under this key
}

// The body of a rule's own State, under its name, version 1:
//
//	byte     version, 1
//	byte     0 idle, 1 pending, 2 active, 3 idle but `when` must be seen not to hold first, 4 active but `when` was last seen not to hold,
//	         5 pending but a reading has to come
//	byte     severity of the alarm that stands: 0 none, 1 info, 2 warning, 3 error
//	uvarint  how often the rule became active
//	uint32   fingerprint of `when` and `for`, big endian
//	varint   pending only: boot time in microseconds since when the condition holds
const stateVersion = 1

// What follows the phases in the second byte of a State.
const (
	idleHeld     = byte(active) + 1 // idle, and isHeld
	activeUnheld = byte(active) + 2 // active, and not isHeld
	pendingBlind = byte(active) + 3 // pending, and isBlind
)

// fingerprint tells a rule's condition and duration from others.
func fingerprint(r Rule) uint32 {
	if r.When == nil {
		return 0
	}
	return textMark(fmt.Sprintf("%s\x00%d", r.When.Identity(), r.For))
}

func (r *rule) appendState(b []byte) []byte {
	phase := byte(r.phase)
	switch {
	case r.phase == idle && r.isHeld:
		phase = idleHeld
	case r.phase == active && !r.isHeld:
		phase = activeUnheld
	case r.phase == pending && r.isBlind:
		phase = pendingBlind
	}
	b = append(b, stateVersion, phase, r.raised)
	b = binary.AppendUvarint(b, r.fired)
	b = binary.BigEndian.AppendUint32(b, r.mark)
	if r.phase == pending {
		b = binary.AppendVarint(b, r.since.Microseconds())
	}
	return b
}

// A part is a part of what the conditions of a rule keep over time.
type part struct {
	of   byte // 'w' when, 'c' clear, 'd' a derived channel
	slot int
	part int
}

// A keeper is an expression that keeps something over time.
type keeper struct {
	x      *lang.Instance
	prefix string   // of its keys: "rule/w1a2b3c4d", of `when`, fingerprint of its text
	calls  int      // of x that keep something
	keys   []string // by part and call, as far as they were needed
}

// keep adds x, if it keeps something over time.
func (r *rule) keep(x *lang.Instance, of byte, mark uint32) {
	if n := x.Keeps(); n > 0 {
		r.keepers = append(r.keepers, keeper{x: x, calls: n, prefix: fmt.Sprintf("%s/%c%08x", r.Name, of, mark)})
	}
}

// key returns where a part is stored: "rule/w1a2b3c4d.0.7", call 0, part 7.
func (k *keeper) key(slot, part int) string {
	i := part*k.calls + slot
	for len(k.keys) <= i {
		k.keys = append(k.keys, "")
	}
	if k.keys[i] == "" {
		k.keys[i] = fmt.Sprintf("%s.%d.%d", k.prefix, slot, part)
	}
	return k.keys[i]
}

// dirty is lang.Instance.Dirty with the part's key.
func (k *keeper) dirty(b []byte) (key string, body []byte, ok bool) {
	slot, part, body, ok := k.x.Dirty(b)
	if !ok {
		return "", nil, false
	}
	return k.key(slot, part), body, true
}

func textMark(text string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(text)) // a hash takes all bytes
	return h.Sum32()
}

// parseKey is the inverse of key, without the rule's name.
func parseKey(rest string) (p part, mark uint32, ok bool) {
	n, err := fmt.Sscanf(rest, "%c%08x.%d.%d", &p.of, &mark, &p.slot, &p.part)
	return p, mark, err == nil && n == 4 && (p.of == 'w' || p.of == 'c' || p.of == 'd')
}

// cellKey is where what is known of a channel is stored: another place where its values mean something else than before.
func cellKey(in lang.Input) string {
	if in.Mark != 0 {
		return fmt.Sprintf("/%s#%08x", in.Channel, in.Mark)
	}
	return "/" + in.Channel
}

// longestKept is how many bytes of a text or of a fault are kept of a channel.
const longestKept = 256

// appendCell encodes what is known of a channel, under "/device.channel":
//
//	byte    version, 1
//	varint  boot time in microseconds when it was heard last
//	varint  boot time in microseconds of the value
//	byte    kind of the value, as package tidegate has it; a text of more than 256 bytes is left out, and the kind is 0
//	uint64  the value's bits, big endian; texts: their length
//	text
//	rest    fault of the newest reading, cut to 256 bytes; none = it was no fault
func (c *cell) appendState(b []byte) []byte {
	k, bits, text := c.Value.Raw()
	if len(text) > longestKept {
		k, bits, text = tidegate.KindNone, 0, ""
	}
	if text != "" {
		bits = uint64(len(text))
	}
	b = append(b, stateVersion)
	b = binary.AppendVarint(b, c.heard.Microseconds())
	b = binary.AppendVarint(b, c.At.Microseconds())
	b = append(b, byte(k))
	b = binary.BigEndian.AppendUint64(b, bits)
	b = append(b, text...)
	return append(b, c.Fault[:min(len(c.Fault), longestKept)]...)
}

func (c *cell) restore(b []byte) error {
	cut := fmt.Errorf("%w: channel %s: cut short", ErrState, c.name)
	if len(b) < 1 || b[0] != stateVersion {
		return fmt.Errorf("%w: channel %s: no version %d", ErrState, c.name, stateVersion)
	}
	b = b[1:]
	var times [2]time.Duration
	for i := range times {
		us, n := binary.Varint(b)
		if n <= 0 || us > math.MaxInt64/1000 || us < math.MinInt64/1000 {
			return cut
		}
		times[i], b = time.Duration(us)*time.Microsecond, b[n:]
	}
	if len(b) < 9 {
		return cut
	}
	k, bits, b := tidegate.Kind(b[0]), binary.BigEndian.Uint64(b[1:]), b[9:]
	text := ""
	if k == tidegate.KindText || k == tidegate.KindBytes {
		if bits > uint64(len(b)) {
			return cut
		}
		text, b, bits = string(b[:bits]), b[bits:], 0
	}
	if k > tidegate.KindBytes {
		return fmt.Errorf("%w: channel %s: there is no kind %d", ErrState, c.name, k)
	}
	if k != tidegate.KindNone {
		c.Put(tidegate.RawValue(k, bits, text), times[1])
	}
	c.heard, c.Fault = times[0], string(b)
	return nil
}

// State returns how all rules stand that ever left their initial state, and what else is to be kept. The result is the caller's.
func (s *Set) State() []State {
	var out []State
	for _, r := range s.rules {
		if r.phase != idle || r.fired != 0 || r.isHeld {
			out = append(out, State{Key: r.Name, Body: r.appendState(nil)})
		}
		for i := range r.keepers {
			k := &r.keepers[i]
			k.x.Touch()
			for key, body, ok := k.dirty(nil); ok; key, body, ok = k.dirty(nil) {
				if body != nil {
					out = append(out, State{Key: key, Body: body})
				}
			}
		}
	}
	s.viewStates(true, func(v *view) { out = append(out, State{Key: v.key, Body: v.Append(nil)}) })
	s.laneStates(true, func(l *lane) { out = append(out, State{Key: l.key, Body: l.Append(nil)}) })
	for _, c := range s.kept {
		if c.heard != 0 || c.Value.Kind() != tidegate.KindNone || c.Fault != "" { // it was heard
			out = append(out, State{Key: c.stored, Body: c.appendState(nil)})
		}
	}
	return out
}

// reset makes the memory of the last Outcome free for the next.
func (s *Set) reset() {
	clear(s.changed)
	s.clearWays()
	s.filtered, s.thinned, s.intervals = 0, 0, s.intervals[:0]
	s.rest()
	s.alarms, s.actions, s.derived, s.changed, s.bodies = s.alarms[:0], s.actions[:0], s.derived[:0], s.changed[:0], s.bodies[:0]
}

// touch notes that the state of r is no longer what was stored.
func (s *Set) touch(r *rule) {
	if !r.dirty {
		r.dirty = true
		s.dirty = append(s.dirty, r)
	}
}

// change notes the state stored under key: b is bodies and, behind, the state; nil = it is to be forgotten.
func (s *Set) change(key string, b []byte) {
	if b == nil {
		s.forget(key)
		return
	}
	start := len(s.bodies)
	s.bodies = b
	s.changed = append(s.changed, State{Key: key, Body: b[start:len(b):len(b)]})
}

// outcome returns what was gathered since reset.
func (s *Set) outcome() Outcome {
	turned := len(s.dirty) > 0
	s.giveOut()
	for _, r := range s.dirty {
		s.change(r.Name, r.appendState(s.bodies))
		r.dirty = false
	}
	for _, r := range s.fed {
		for i := range r.keepers {
			k := &r.keepers[i]
			for key, b, ok := k.dirty(s.bodies); ok; key, b, ok = k.dirty(s.bodies) {
				s.change(key, b)
			}
		}
	}
	if len(s.laneDirt) > 0 {
		s.laneStates(false, func(l *lane) { s.change(l.key, l.Append(s.bodies)) })
	}
	s.viewStates(false, func(v *view) {
		start := len(s.bodies)
		s.bodies = v.Append(s.bodies)
		s.changed = append(s.changed, State{Key: v.key, Body: s.bodies[start:len(s.bodies):len(s.bodies)]})
	})
	for _, c := range s.dirt {
		s.change(c.stored, c.appendState(s.bodies))
		c.dirty = false
	}
	s.dirty, s.fed, s.dirt = s.dirty[:0], s.fed[:0], s.dirt[:0]
	return Outcome{
		Turned: turned, Alarms: s.alarms, Actions: s.actions, Changed: s.changed,
		Derived: s.derived, Filtered: s.filtered, Thinned: s.thinned, Restored: s.restored, Given: s.given, Intervals: s.intervals,
	}
}
