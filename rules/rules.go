// Package rules judges readings: it says which alarms they raise or clear and which outputs are to be set.
//
// It knows no clock, device, network or disk. Time comes from the records: `for` is counted in Record.Boot, which neither a
// wrong nor a corrected wall clock touches. The same records in the same order give the same outcome, with or without a
// save and restore of the state between any two of them. README.md beside this file says what rules mean.
package rules

import (
	"errors"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate"
)

// RulesDevice is the device name under which rules speak: an alarm is a reading of this device whose channel is the rule's name.
// No configured device can have it.
const RulesDevice = "_rules"

// A Rule is one threshold with what follows from it.
type Rule struct {
	Name     string        // as tidegate.CheckName has it; unique within a Set
	When     Condition     // what makes it active
	For      time.Duration // for how long When must hold without a break before it does; 0 = at once
	Clear    Condition     // what ends it; the zero Condition = When no longer holds
	Severity Severity      // of the alarm that it raises; "" = it raises none
	Text     string        // of the alarm, for people
	Outputs  []Output      // what it sets
}

// An Output is a channel that a rule sets.
type Output struct {
	Device  string
	Channel string
	Value   tidegate.Value // when the rule becomes active
	OnClear tidegate.Value // when it ends, unless another active rule sets the channel; no value = the channel stays as it is
}

// Severity says how bad an alarm is.
type Severity string

// The severities. Their order and number in the stored state never change.
const (
	SeverityInfo    Severity = "info"
	SeverityWarning Severity = "warning"
	SeverityError   Severity = "error"
)

// severities are the severities by their number in the stored state; 0 = no alarm.
var severities = [...]Severity{"", SeverityInfo, SeverityWarning, SeverityError}

func (s Severity) number() (n byte, ok bool) {
	for i, t := range severities {
		if s == t {
			return byte(i), true
		}
	}
	return 0, false
}

// An Action is an output to set, now and once; nobody repeats it.
type Action struct {
	Rule    string // whose doing it is
	Device  string
	Channel string
	Value   tidegate.Value
}

// An Outcome is what one record led to. It belongs to the caller until the Set is used again.
type Outcome struct {
	Readings []tidegate.Reading // those that remain: with rules of this kind, all
	Alarms   []Alarm            // raised or cleared, in order
	Actions  []Action           // outputs to set, in order
	Changed  []State            // the rules whose state is no longer what it was, each once
}

// A Set judges records by its rules, one record after the other. It is not safe for concurrent use.
type Set struct {
	rules  []*rule
	byName map[string]*rule
	// watches says who looks at a channel, by device and channel, in the order of the rules.
	watches map[string]map[string][]watch
	// alarms, actions, changed and dirty are the last Outcome's memory, used again.
	alarms  []Alarm
	actions []Action
	changed []State
	dirty   []*rule
	bodies  []byte
}

// phase is where a rule stands. The numbers are part of the stored state.
type phase byte

const (
	idle    phase = 0
	pending phase = 1 // When holds, For is not over
	active  phase = 2
)

type rule struct {
	Rule
	severity byte   // number of Rule.Severity
	mark     uint32 // fingerprint of When and For: a timer is not carried over to another condition
	phase    phase
	raised   byte          // active: number of the severity of the alarm that stands, 0 = none does
	since    time.Duration // pending: boot time at which When began to hold
	fired    uint64        // how often it became active
	// isHeld: active: When was last seen to hold, followed only where another channel ends the rule. Idle: that channel ended it while
	// When held, which must be seen not to hold before the rule starts again.
	isHeld bool
	dirty  bool // listed in Set.dirty
}

// endsElsewhere reports whether it is another channel than that of When that ends r.
func (r *rule) endsElsewhere() bool {
	return !r.Clear.IsZero() && r.Clear.Channel != r.When.Channel
}

// watch says that rule looks at a channel, with which of its conditions.
type watch struct {
	rule        *rule
	when, clear bool
}

// New returns a Set of rules in their initial state, or says everything that is wrong with them.
func New(list []Rule) (*Set, error) {
	s := &Set{byName: make(map[string]*rule, len(list)), watches: map[string]map[string][]watch{}}
	var errs []error
	for _, r := range list {
		if err := s.check(r); err != nil {
			errs = append(errs, fmt.Errorf("rule %q: %w", r.Name, err))
			continue
		}
		severity, _ := r.Severity.number()
		own := &rule{Rule: r, severity: severity, mark: fingerprint(r)}
		s.rules = append(s.rules, own)
		s.byName[r.Name] = own
		same := r.Clear.Channel == r.When.Channel
		s.watch(r.When.Channel, watch{rule: own, when: true, clear: same})
		if !r.Clear.IsZero() && !same {
			s.watch(r.Clear.Channel, watch{rule: own, clear: true})
		}
	}
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	return s, nil
}

func (s *Set) check(r Rule) error {
	if err := tidegate.CheckName(r.Name); err != nil {
		return err
	}
	if s.byName[r.Name] != nil {
		return errors.New("name stands twice")
	}
	if r.When.IsZero() {
		return errors.New("condition `when` is missing")
	}
	if r.For < 0 {
		return fmt.Errorf("`for` is negative (got %v)", r.For)
	}
	if _, ok := r.Severity.number(); !ok {
		return fmt.Errorf("severity is unknown (got %q); severities are info, warning and error", r.Severity)
	}
	if Overlap(r.When, r.Clear) {
		return fmt.Errorf("`clear: %v` holds while `when: %v` holds too", r.Clear, r.When)
	}
	for _, o := range r.Outputs {
		if o.Value.Kind() == tidegate.KindNone {
			return fmt.Errorf("output %s.%s has no value", o.Device, o.Channel)
		}
	}
	return nil
}

// watch enters w for channel, which is "device.channel". As both names may contain dots, every way to cut it counts: a reading
// matches when its device, a dot and its channel give the same text.
func (s *Set) watch(channel string, w watch) {
	for i := range len(channel) {
		if channel[i] != '.' || i == 0 || i == len(channel)-1 {
			continue
		}
		device, name := channel[:i], channel[i+1:]
		if s.watches[device] == nil {
			s.watches[device] = map[string][]watch{}
		}
		s.watches[device][name] = append(s.watches[device][name], w)
	}
}

// Apply judges rec. Only records of class reading are judged; others go through. A reading with a Fault, a number that is not a
// number (NaN) and a value of another kind than the condition's neither start nor end anything.
func (s *Set) Apply(rec *tidegate.Record) Outcome {
	s.reset()
	if rec.Class == tidegate.ClassReading {
		var device string
		var channels map[string][]watch
		for i := range rec.Readings {
			rd := &rec.Readings[i]
			if i == 0 || rd.Device != device {
				device = rd.Device
				channels = s.watches[device]
			}
			if rd.Fault != "" || channels == nil {
				continue
			}
			for _, w := range channels[rd.Channel] {
				s.step(w, rd.Value, rec.Boot)
			}
		}
	}
	out := s.outcome()
	out.Readings = rec.Readings
	return out
}

// step lets one rule look at one value of a channel that it watches, taken at boot.
func (s *Set) step(w watch, v tidegate.Value, boot time.Duration) {
	r := w.rule
	switch r.phase {
	case idle, pending:
		if !w.when {
			return
		}
		switch r.When.test(v) {
		case no:
			if r.phase == pending || r.isHeld {
				r.phase, r.isHeld = idle, false
				s.touch(r)
			}
		case yes:
			if r.isHeld {
				return
			}
			if r.phase == idle {
				r.phase, r.since = pending, boot
				s.touch(r)
			}
			if boot-r.since >= r.For {
				s.fire(r, v)
			}
		}
	case active:
		if v := r.When.test(v); w.when && r.endsElsewhere() && v != unknown && r.isHeld != (v == yes) {
			r.isHeld = !r.isHeld
			s.touch(r)
		}
		if r.Clear.IsZero() && r.When.test(v) == no || w.clear && r.Clear.test(v) == yes {
			s.end(r, v)
		}
	}
}

// fire makes r active.
func (s *Set) fire(r *rule, v tidegate.Value) {
	r.phase, r.raised, r.isHeld = active, r.severity, true
	r.fired++
	s.touch(r)
	if r.raised != 0 {
		a := Alarm{Rule: r.Name, Raised: true, Severity: r.Severity, Text: r.Text, Channel: r.When.Channel, Value: v}
		s.alarms = append(s.alarms, a)
	}
	for _, o := range r.Outputs {
		s.actions = append(s.actions, Action{Rule: r.Name, Device: o.Device, Channel: o.Channel, Value: o.Value})
	}
}

// end makes r idle again.
func (s *Set) end(r *rule, v tidegate.Value) {
	raised := r.raised
	r.phase, r.raised, r.isHeld = idle, 0, r.isHeld && r.endsElsewhere()
	s.touch(r)
	if raised != 0 {
		channel := r.When.Channel
		if !r.Clear.IsZero() {
			channel = r.Clear.Channel
		}
		s.alarms = append(s.alarms, Alarm{Rule: r.Name, Severity: severities[raised], Text: r.Text, Channel: channel, Value: v})
	}
	for _, o := range r.Outputs {
		if o.OnClear.Kind() == tidegate.KindNone {
			continue
		}
		act := Action{Rule: r.Name, Device: o.Device, Channel: o.Channel, Value: o.OnClear}
		if other, value := s.demand(o.Device, o.Channel); other != nil {
			act.Rule, act.Value = other.Name, value
		}
		s.actions = append(s.actions, act)
	}
}

// demand returns the last of the active rules that set a channel, and its value; nil when none does.
func (s *Set) demand(device, channel string) (*rule, tidegate.Value) {
	for i := len(s.rules) - 1; i >= 0; i-- {
		if s.rules[i].phase != active {
			continue
		}
		for _, o := range s.rules[i].Outputs {
			if o.Device == device && o.Channel == channel {
				return s.rules[i], o.Value
			}
		}
	}
	return nil, tidegate.Value{}
}

// Demands returns what each output that rules set has to be, as their state stands: the value of the last of the active rules
// that set it, else the OnClear of the first rule that has one. Outputs of which neither is known are left out. It is meant
// for a start, when nobody knows how the outputs stand.
func (s *Set) Demands() []Action {
	var out []Action
	seen := map[[2]string]bool{}
	for _, r := range s.rules {
		for _, o := range r.Outputs {
			at := [2]string{o.Device, o.Channel}
			if seen[at] {
				continue
			}
			if other, v := s.demand(o.Device, o.Channel); other != nil {
				seen[at] = true
				out = append(out, Action{Rule: other.Name, Device: o.Device, Channel: o.Channel, Value: v})
			} else if o.OnClear.Kind() != tidegate.KindNone {
				seen[at] = true
				out = append(out, Action{Rule: r.Name, Device: o.Device, Channel: o.Channel, Value: o.OnClear})
			}
		}
	}
	return out
}

// A Status says how one rule stands, for people.
type Status struct {
	Name    string
	Active  bool
	Pending bool   // its condition holds, but not yet for long enough
	Fired   uint64 // how often it became active, restarts included
}

// Status returns how the rules stand, in their order.
func (s *Set) Status() []Status {
	out := make([]Status, len(s.rules))
	for i, r := range s.rules {
		out[i] = Status{Name: r.Name, Active: r.phase == active, Pending: r.phase == pending, Fired: r.fired}
	}
	return out
}
