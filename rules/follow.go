package rules

import (
	"strings"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/lang"
)

// decided returns the channel that decided, the first that p names of those that were just read, or of all where none was, and its value. In which
// order they were read does not matter.
func (s *Set) decided(p *lang.Program) (channel string, v tidegate.Value) {
	if len(p.Inputs) == 0 {
		return "", v
	}
	for _, in := range p.Inputs {
		if c := s.byChannel(in.Channel); c.turn == s.turn && (c.Fault == "" || in.Faults) {
			return in.Channel, c.Value
		}
	}
	name := p.Inputs[0].Channel
	return name, s.byChannel(name).Value
}

// byChannel returns the cell of the channel called name, "device.channel"; nil where no rule looks at it.
func (s *Set) byChannel(name string) *cell {
	device, channel, _ := strings.Cut(name, ".")
	return s.cells[device][channel]
}

// fire makes r active.
func (s *Set) fire(r *rule) {
	r.phase, r.raised, r.isHeld, r.isBlind, r.turned = active, r.severity, true, false, s.now
	r.fired++
	s.open(r)
	r.isOver = r.clear != nil && r.clear.Timed() && s.test(r.clear) == lang.Yes
	s.touch(r)
	s.pace(r)
	if r.raised != 0 {
		a := Alarm{Rule: r.Name, Raised: true, Severity: r.Severity, Text: r.Text, Boot: s.now}
		a.Channel, a.Value = s.decided(r.When)
		s.alarms = append(s.alarms, a)
	}
	for _, o := range r.Outputs {
		if by, _ := s.demand(o.Device, o.Channel, false); by == r {
			s.actions = append(s.actions, Action{Rule: r.Name, Device: o.Device, Channel: o.Channel, Value: o.Value})
		}
	}
}

// end makes r idle again.
func (s *Set) end(r *rule) {
	raised := r.raised
	r.phase, r.raised = idle, 0
	s.touch(r)
	s.pace(r)
	if raised != 0 {
		a := Alarm{Rule: r.Name, Severity: severities[raised], Text: r.Text, Boot: s.now}
		p := r.When
		if r.Clear != nil {
			p = r.Clear
		}
		a.Channel, a.Value = s.decided(p)
		s.alarms = append(s.alarms, a)
	}
	for _, o := range r.Outputs {
		act := Action{Rule: r.Name, Device: o.Device, Channel: o.Channel, Value: o.OnClear}
		if other, value := s.demand(o.Device, o.Channel, false); other != nil {
			act.Rule, act.Value = other.Name, value
		} else if o.OnClear.Kind() == tidegate.KindNone {
			continue
		}
		s.actions = append(s.actions, act)
	}
}

// demand returns which of the active rules that set a channel counts, by its priority, and its value; with rest, which of all by its OnClear. nil
// when none does.
func (s *Set) demand(device, channel string, rest bool) (by *rule, v tidegate.Value) {
	highest := 0
	for _, r := range s.rules {
		for _, o := range r.Outputs {
			says := o.Value
			if rest {
				says = o.OnClear
			}
			if (rest || r.phase == active) && o.Device == device && o.Channel == channel && says.Kind() != tidegate.KindNone && (by == nil || o.Priority >= highest) {
				by, v, highest = r, says, o.Priority
			}
		}
	}
	return by, v
}

// Demands returns what each output that rules set has to be, as their state stands: the value of the active rule that counts,
// else the OnClear of the rule with the highest priority that has one. Outputs of which neither is known are left out. It is meant
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
			seen[at] = true
			by, v := s.demand(o.Device, o.Channel, false)
			if by == nil {
				by, v = s.demand(o.Device, o.Channel, true)
			}
			if by != nil {
				out = append(out, Action{Rule: by.Name, Device: o.Device, Channel: o.Channel, Value: v})
			}
		}
	}
	return out
}
