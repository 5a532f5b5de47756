package cases

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules"
	"github.com/tidegate-io/tidegate/rules/intake"
)

// Bounds of one run.
const (
	maxEvents   = 10_000 // what happens
	maxRestarts = 1_000  // restarts before readings, evenly among them
)

// An arrival is a step that happens once: readings that come at one time, or a restart.
type arrival struct {
	at    time.Duration
	step  *step
	turn  int      // of a step that is repeated: which time it is, from 0
	reads []src    // in the order of the file
	asked []string // the devices of reads, in that order
}

// src is a channel that a step reads.
type src struct {
	device, channel, name, unit string
	line, col                   int
}

// arrivals returns what happens in the case with that number, in the order of time.
func (c *checker) arrivals(number int) (out []arrival) {
	w := &c.file.Cases[number]
	for i := range w.Steps {
		s := &w.Steps[i]
		path := fmt.Sprintf("%s.steps[%d].", c.path(number), i)
		var reads []src
		for _, name := range s.channels() {
			device, channel, ch, _ := c.cfg.Find(name)
			one := src{device: device.Name, channel: channel, name: name}
			if ch != nil {
				one.unit = ch.Unit
			}
			key := path + name
			if _, failed := s.Fault[name]; failed {
				key = path + "fault." + name
			}
			one.line, one.col = c.Position(key)
			reads = append(reads, one)
		}
		slices.SortFunc(reads, func(a, b src) int { return cmp.Or(a.line-b.line, a.col-b.col) })
		var asked []string
		for j := range reads {
			if !slices.Contains(asked, reads[j].device) {
				asked = append(asked, reads[j].device)
			}
		}
		for turn := range s.times() {
			at := time.Duration(s.At)
			if turn > 0 {
				at += time.Duration(turn) * time.Duration(*s.Every)
			}
			out = append(out, arrival{at: at, step: s, turn: turn, reads: reads, asked: asked})
		}
	}
	slices.SortStableFunc(out, func(a, b arrival) int { return cmp.Compare(a.at, b.at) })
	return out
}

// readings returns those of a that are device's, as one Read has them.
func (a *arrival) readings(device string) (out []tidegate.Reading) {
	for i := range a.reads {
		r := &a.reads[i]
		if r.device != device {
			continue
		}
		one := tidegate.Reading{Device: r.device, Channel: r.channel, Unit: r.unit, Value: a.step.Read[r.name], Fault: a.step.Fault[r.name]}
		if to, ok := a.step.To[r.name]; ok {
			first, _ := one.Value.Number()
			last, _ := to.Number()
			one.Value = tidegate.Float(first + (last-first)*float64(a.at-time.Duration(a.step.At))/float64(*a.step.Until-a.step.At))
		}
		out = append(out, one)
	}
	return out
}

// A plan is a case, ready to run.
type plan struct {
	list     []rules.Rule
	intake   map[string]*intake.Chain // by device, what becomes of its readings before rules see them
	arrivals []arrival
	start    time.Time
	end      time.Duration
	counts   bool // what snapshots give out is counted
}

func (p *plan) readings() (n int) {
	for i := range p.arrivals {
		n += len(p.arrivals[i].reads)
	}
	return n
}

// An event is what happened: an alarm was raised or cleared, an output was set, or a device is read at another interval.
type event struct {
	at    time.Duration
	what  string // "raised overheat", "cleared overheat", "set fan.relay", "interval meter1 100ms"
	value tidegate.Value
	rules []string // that it concerns
	given bool     // by a snapshot
}

// text returns e for people.
func (e *event) text() string {
	if e.value.Kind() == tidegate.KindNone {
		return e.what
	}
	if text, ok := e.value.Text(); ok {
		return fmt.Sprintf("%s %q", e.what, text)
	}
	return e.what + " " + e.value.String()
}

// A run is a plan that runs.
type run struct {
	*plan
	set    *rules.Set
	began  time.Duration     // time of the case at which boot time was 0
	looks  time.Duration     // boot time at which the gateway was started
	stored map[string][]byte // state, as the gateway stores it
	paces  map[string]pace   // intervals of devices that are not read at their own
	events []event
	counts bool
	broken string
}

// run lets the case happen. With restarts, all is stored and restored before readings; a restart then takes no time. Each of lines that has a Sign
// gets what its rules look at then.
func (p *plan) run(restarts bool, lines []Line) (*run, error) {
	r := &run{plan: p, stored: map[string][]byte{}, paces: map[string]pace{}, counts: p.counts && !restarts}
	var err error
	if r.set, err = rules.New(p.list, 0); err != nil {
		return nil, err
	}
	stride := len(p.arrivals)/maxRestarts + 1
	last := time.Duration(-1)
	for i := range p.arrivals {
		a := &p.arrivals[i]
		lines = r.look(lines, a.at)
		r.advance(a.at, false)
		if restarts && len(a.reads) > 0 && a.at > last && (a.turn == 0 || i%stride == 0) {
			err = r.restart(a.at, true)
		}
		last = a.at
		if err == nil && a.step.Restart != "" {
			err = r.begin(a.at, a.step.Restart == "machine")
		}
		if err != nil {
			return nil, err
		}
		for _, device := range a.asked {
			boot := a.at - time.Duration(a.step.Late) - r.began
			reads := a.readings(device)
			r.intake[device].Apply(reads)
			rec := tidegate.Record{Class: tidegate.ClassReading, Time: p.start.Add(a.at - time.Duration(a.step.Late)), Boot: boot, Readings: reads}
			out := r.set.Apply(&rec)
			r.note(a.at, &out)
		}
		if r.broken != "" {
			return r, nil
		}
	}
	r.look(lines, p.end+1)
	r.advance(p.end, true)
	for _, s := range r.set.Status() {
		if s.Parked != "" {
			r.broken = fmt.Sprintf("rule %s is not judged any more: %s", s.Name, s.Parked)
		}
	}
	return r, nil
}

// advance lets time pass to the time to of the case; what is due just then happens only where it is inclusive.
func (r *run) advance(to time.Duration, inclusive bool) {
	limit := to - r.began
	for r.broken == "" {
		due, ok := r.set.Next()
		if !ok || due > limit || due == limit && !inclusive {
			return
		}
		out := r.set.Advance(due, r.start.Add(due+r.began))
		r.note(due+r.began, &out)
		if next, ok := r.set.Next(); ok && next <= due {
			r.broken = fmt.Sprintf("at %v time does not go on", span(due+r.began))
		}
	}
}

// note takes over what the rules made of something at the time at of the case.
func (r *run) note(at time.Duration, out *rules.Outcome) {
	for i := range out.Alarms {
		a := &out.Alarms[i]
		what := "cleared " + a.Rule
		if a.Raised {
			what = "raised " + a.Rule
		}
		r.events = append(r.events, event{at: a.Boot + r.began, what: what, rules: []string{a.Rule}})
	}
	for i := range out.Actions {
		a := &out.Actions[i]
		r.events = append(r.events, event{at: at, what: "set " + a.Device + "." + a.Channel, value: a.Value, rules: []string{a.Rule}})
	}
	for _, x := range out.Intervals {
		if every := pace(x.Every); every != r.paces[x.Device] { // not only for another rule
			r.paces[x.Device] = every
			r.events = append(r.events, newPace(at, x.Device, every, r.list))
		}
	}
	r.noteGiven(out)
	for _, s := range out.Changed {
		if s.Body == nil {
			delete(r.stored, s.Key)
		} else {
			r.stored[s.Key] = slices.Clone(s.Body)
		}
	}
	if len(r.events) > maxEvents && r.broken == "" {
		r.broken = fmt.Sprintf("more than %d alarms and outputs, the last at %v", maxEvents, span(at))
	}
}

// begin starts the gateway anew at the time at of the case, or the machine with it: then boot time begins at 0.
func (r *run) begin(at time.Duration, machine bool) error {
	if machine {
		r.began = at
	}
	r.looks = at - r.began
	return r.restart(at, !machine)
}

// restart puts a new Set in the place of the one that was at the time at of the case, with what is stored.
func (r *run) restart(at time.Duration, sameBoot bool) error {
	set, err := rules.New(r.list, r.looks)
	if err != nil {
		return err
	}
	states := make([]rules.State, 0, len(r.stored))
	for key, body := range r.stored {
		states = append(states, rules.State{Key: key, Body: body})
	}
	slices.SortFunc(states, func(a, b rules.State) int { return strings.Compare(a.Key, b.Key) })
	out, err := set.Restore(states, sameBoot)
	if err != nil {
		return errors.Join(errors.New("what was stored cannot be restored"), err)
	}
	set.GoOn(at - r.began)
	r.set = set
	r.note(at, &out)
	return nil
}

// look notes for those of lines that are before the time before what their rules look at, and returns the others.
func (r *run) look(lines []Line, before time.Duration) []Line {
	for len(lines) > 0 && seconds(lines[0].At) < before {
		l := &lines[0]
		lines = lines[1:]
		if l.Sign == "" {
			continue
		}
		at := seconds(l.At)
		r.advance(at, true)
		for i := range l.Rules {
			r.see(&l.Rules[i], at)
		}
	}
	return lines
}

// seconds returns the time that a Line has.
func seconds(s float64) time.Duration { return time.Duration(s*1e6+0.5) * time.Microsecond }

// see fills in l.
func (r *run) see(l *Look, at time.Duration) {
	for _, s := range r.set.Status() {
		if s.Name != l.Rule {
			continue
		}
		l.State = "idle"
		if s.Active {
			l.State = "active"
		} else if s.Pending {
			l.State = "waiting"
		}
	}
	for i := range r.list {
		if rule := &r.list[i]; rule.Name == l.Rule {
			l.When = "always"
			if rule.When != nil {
				l.When = rule.When.Text
			}
			if rule.For > 0 {
				l.For = span(rule.For).String()
			}
			if rule.Clear != nil {
				l.Clear = rule.Clear.Text
			}
		}
	}
	when, clear, _ := r.set.Show(l.Rule, at-r.began)
	seen := map[string]bool{}
	for _, s := range append(when, clear...) {
		if seen[s.Text] {
			continue
		}
		seen[s.Text] = true
		p := Part{Text: s.Text, Value: s.Value.String(), Unit: s.Unit, Fault: s.Fault}
		if s.Value.Kind() == tidegate.KindNone {
			p.Value, p.Unit = "not known", ""
		}
		if s.Since >= 0 {
			age := s.Since.Seconds()
			p.Age = &age
		}
		l.Parts = append(l.Parts, p)
	}
}
