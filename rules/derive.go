package rules

import (
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/lang"
)

// A Derive is a channel that a rule works out from others: whenever one of those is read, as long as the rule is active.
type Derive struct {
	Device  string // of no configured device
	Channel string
	Value   *lang.Program // looks at one channel at least
	Unit    string        // of what it gives; "" = none
}

// Name returns "device.channel".
func (d *Derive) Name() string { return d.Device + "." + d.Channel }

// longestDerived is how many bytes a derived text may have.
const longestDerived = longestKept

// derive is a Derive that runs.
type derive struct {
	Derive
	rule *rule
	x    *lang.Instance
	mark uint32 // fingerprint of channel and expression
	cell *cell  // what rules see of it; nil = none looks
	turn uint64 // instant in which one of its channels was heard
	took uint64 // inputs that have a new value in that instant
}

// feed says that a derived channel looks at another, as which of the inputs of its expression.
type feed struct {
	into   *derive
	input  uint64
	faults bool // faults count too
}

// shapes reports whether r does something that needs no condition.
func (r *Rule) shapes() bool {
	return len(r.Derives)+len(r.Filters)+len(r.Routes)+len(r.Labels)+len(r.Intake) > 0
}

func (r *Rule) checkDerives() error {
	for i := range r.Derives {
		d := &r.Derives[i]
		for _, name := range [...]string{d.Device, d.Channel} {
			if err := tidegate.CheckName(name); err != nil {
				return fmt.Errorf("derived channel %s: %w", d.Name(), err)
			}
		}
		if d.Value == nil || len(d.Value.Inputs) == 0 {
			return fmt.Errorf("derived channel %s looks at no other", d.Name())
		}
	}
	return nil
}

// startDerives makes the derived channels of r run on the cells of the channels that they look at.
func (s *Set) startDerives(r *rule, byChannel map[string]*cell) {
	for i := range r.Derives {
		d := &derive{Derive: r.Derives[i], rule: r}
		h := fnv.New32a()
		fmt.Fprintf(h, "%s\x00%s", d.Name(), d.Value.Identity()) // a hash takes all bytes
		d.mark = h.Sum32()
		var cells []*lang.Cell
		for j, in := range d.Value.Inputs {
			c := s.cell(d.Value, in, byChannel)
			c.feeds = append(c.feeds, feed{into: d, input: 1 << j, faults: in.Faults})
			cells = append(cells, &c.Cell)
		}
		d.x = d.Value.New(&s.room.instances, cells, s.begun)
		r.derives = append(r.derives, d)
		r.keep(d.x, 'd', d.mark)
	}
}

// rank gives rules their turns, and derived channels to those that look at them.
func (s *Set) rank(list []Rule, byChannel map[string]*cell) error {
	byName := map[string]*rule{}
	for _, r := range s.rules {
		for _, d := range r.derives {
			if other := byName[d.Name()]; other != nil {
				return fmt.Errorf("rule %q: channel %s is derived by rule %q already", r.Name, d.Name(), other.Name)
			}
			byName[d.Name()] = r
			if d.cell = byChannel[d.Name()]; d.cell != nil {
				d.cell.isMade = true
			}
		}
	}
	order, cycle := order(list)
	if cycle != nil {
		names := make([]string, 0, len(cycle)+1)
		for _, i := range append(cycle, cycle[0]) {
			names = append(names, list[i].Name)
		}
		return fmt.Errorf("a rule looks at what it derives itself: %s", strings.Join(names, " -> "))
	}
	for rank, i := range order {
		if r := s.byName[list[i].Name]; r != nil {
			r.rank = rank
		}
	}
	return nil
}

// Cycle returns rules, as places in list, of which each looks at a channel that the one before it derives, and the first at one that the
// last derives; nil when there are none. Conditions and expressions that are nil look at nothing.
func Cycle(list []Rule) []int {
	_, cycle := order(list)
	return cycle
}

// order returns the places of rules in list so that each stands behind those that derive what it looks at, else in the order of the list; or
// a cycle.
func order(list []Rule) (out, cycle []int) {
	from := map[string]int{}
	for i := range list {
		for j := range list[i].Derives {
			from[list[i].Derives[j].Name()] = i
		}
	}
	const begun, done = 1, 2
	state := make([]byte, len(list))
	var way []int
	var visit func(i int) bool
	visit = func(i int) bool {
		if state[i] == begun {
			for way[0] != i {
				way = way[1:]
			}
			return false
		}
		if state[i] == done {
			return true
		}
		state[i] = begun
		way = append(way, i)
		for _, p := range list[i].Programs() {
			for _, in := range p.Inputs {
				if j, ok := from[in.Channel]; ok && !visit(j) {
					return false
				}
			}
		}
		way = way[:len(way)-1]
		state[i] = done
		out = append(out, i)
		return true
	}
	for i := range list {
		if !visit(i) {
			for k := range len(way) / 2 { // the way leads from who looks to who derives
				way[k], way[len(way)-1-k] = way[len(way)-1-k], way[k]
			}
			return nil, way
		}
	}
	return out, nil
}

// Programs returns all expressions of r.
func (r *Rule) Programs() (out []*lang.Program) {
	for _, p := range [...]*lang.Program{r.When, r.Clear} {
		if p != nil {
			out = append(out, p)
		}
	}
	for i := range r.Derives {
		if p := r.Derives[i].Value; p != nil {
			out = append(out, p)
		}
	}
	return out
}

// isOn reports whether what r does besides alarms and outputs is to be done.
func (r *rule) isOn() bool { return r.when == nil || r.phase == active }

// feed notes that a channel was heard that derived ones look at.
func (s *Set) feed(c *cell, fault bool) {
	for i := range c.feeds {
		f := &c.feeds[i]
		if fault && !f.faults {
			continue
		}
		d := f.into
		if d.turn != s.turn {
			d.turn, d.took = s.turn, 0
		}
		if !fault {
			d.took |= f.input
		}
		s.move(d.rule)
	}
}

// derive works out the channels of r that the instant concerns.
func (s *Set) derive(r *rule, rec *tidegate.Record) {
	for _, d := range r.derives {
		if d.turn != s.turn {
			continue
		}
		if d.took != 0 && d.x.Keeps() > 0 {
			d.x.Took(d.took, s.now, s.clock(d.x))
			s.fed = append(s.fed, r)
		}
		if !r.isOn() || r.parked != "" {
			continue
		}
		v := d.x.Value(s.now, s.clock(d.x))
		if d.x.Over() {
			s.park(r)
			continue
		}
		if k := v.Kind(); k == tidegate.KindNone || k == tidegate.KindBytes {
			continue
		}
		rd := tidegate.Reading{Device: d.Device, Channel: d.Channel, Value: v, Unit: d.Unit}
		if text, _ := v.Text(); len(text) > longestDerived {
			rd.Value, rd.Fault = tidegate.Value{}, fmt.Sprintf("derived text has %d bytes, at most %d can be kept", len(text), longestDerived)
		}
		if s.at != rec.Boot && !rec.Time.IsZero() {
			rd.Time = rec.Time.Add(s.at - rec.Boot)
		}
		if d.cell != nil {
			s.take(d.cell, &rd, s.now)
		}
		s.keepDerived(&rd)
	}
}

// keepDerived adds rd to the outcome. Where a record leads to more than one record can hold, the last says so.
func (s *Set) keepDerived(rd *tidegate.Reading) {
	if len(s.derived) < tidegate.MaxReadings {
		s.derived = append(s.derived, *rd)
		return
	}
	last := &s.derived[tidegate.MaxReadings-1]
	last.Value = tidegate.Value{}
	last.Fault = fmt.Sprintf("more than %d readings were derived from one record; the rest is left out", tidegate.MaxReadings)
}
