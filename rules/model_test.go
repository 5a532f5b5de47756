package rules

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/lang"
)

// The model judges as README.md says, in the plainest way: it keeps the whole past of each channel, and looks at every rule every 100 ms.
const tick = 100 * time.Millisecond

// A moment is a value of a channel, or its failure.
type moment struct {
	at    time.Duration
	value float64
	fault bool
}

// A term is a part of a condition: its text, and what it says at a time by the past of the channels.
type term struct {
	text    string
	timed   bool     // time alone changes what it says
	faults  bool     // it asks for faults
	at      []string // channels
	verdict func(m *model, now time.Duration) (is, known bool)
}

// model is a slow gateway.
type model struct {
	list  []modelRule
	past  map[string][]moment
	start time.Duration // since when it looks; a restart sets it anew
	now   time.Duration
	out   []string
}

type modelRule struct {
	Rule
	when, clear *term
	on, pending bool
	since       time.Duration
	held, blind bool
	over, seen  bool // what clear said when it was looked at last; it was since the start
}

// last returns the newest value of a channel that is no fault.
func (m *model) last(ch string) (v moment, ok bool) {
	for _, x := range slices.Backward(m.past[ch]) {
		if !x.fault {
			return x, true
		}
	}
	return v, false
}

// within returns the values of a window.
func (m *model) within(ch string, span time.Duration, n int, shape string, now time.Duration) (list []moment, known bool) {
	var all []moment
	for _, x := range m.past[ch] {
		if !x.fault {
			all = append(all, x)
		}
	}
	switch shape {
	case "last":
		return all[max(0, len(all)-n):], true
	case "tumbling":
		end := now / span * span
		for _, x := range all {
			known = known || x.at < end
			if x.at >= end-span && x.at < end {
				list = append(list, x)
			}
		}
		return list, known
	case "session":
		for i, x := range all {
			if i > 0 && x.at-all[i-1].at > span {
				list = nil
			}
			list = append(list, x)
		}
		if len(list) > 0 && now-list[len(list)-1].at > span {
			list = nil
		}
		return list, true
	}
	width := span / 60
	for _, x := range all {
		if (x.at/width+1)*width > now-span {
			list = append(list, x)
		}
	}
	return list, true
}

// drawTerm draws a comparison.
func drawTerm(t *rapid.T) *term {
	ch := rapid.SampledFrom([]string{"d.a", "d.b", "e.c"}).Draw(t, "channel")
	op := rapid.SampledFrom([]string{">", "<", ">=", "<=", "==", "!="}).Draw(t, "op")
	limit := float64(rapid.IntRange(0, 6).Draw(t, "limit")) / 2
	compare := func(v float64) bool {
		return op == ">" && v > limit || op == "<" && v < limit || op == ">=" && v >= limit || op == "<=" && v <= limit || op == "==" && v == limit || op == "!=" && v != limit
	}
	span := rapid.SampledFrom([]time.Duration{6 * time.Second, 12 * time.Second}).Draw(t, "span")
	of := func(call string, f func(m *model, now time.Duration) (v float64, ok bool)) *term {
		return &term{text: fmt.Sprint(call, " ", op, " ", limit), at: []string{ch}, verdict: func(m *model, now time.Duration) (bool, bool) {
			v, ok := f(m, now)
			return ok && compare(v), ok
		}}
	}
	switch rapid.IntRange(0, 9).Draw(t, "term") {
	case 0:
		out := &term{text: fmt.Sprintf("missing(%s, %v)", ch, span), timed: true, at: []string{ch}}
		out.verdict = func(m *model, now time.Duration) (bool, bool) {
			x, ok := m.last(ch)
			switch {
			case now-max(m.start, x.at) >= span:
				return true, true
			case !ok, x.at < m.start && now-x.at >= span: // it may have been missing before the start
				return false, false
			}
			return false, true
		}
		return out
	case 1:
		return &term{text: "fault(" + ch + ")", faults: true, at: []string{ch}, verdict: func(m *model, _ time.Duration) (bool, bool) {
			list := m.past[ch]
			return len(list) > 0 && list[len(list)-1].fault, len(list) > 0
		}}
	case 2:
		return of("prev("+ch+")", func(m *model, now time.Duration) (float64, bool) {
			if list, _ := m.within(ch, 0, 2, "last", now); len(list) == 2 {
				return list[0].value, true
			}
			return 0, false
		})
	case 3:
		return &term{text: fmt.Sprintf("stuck(%s, %v)", ch, span), at: []string{ch}, verdict: func(m *model, now time.Duration) (bool, bool) {
			list, _ := m.within(ch, 0, math.MaxInt, "last", now)
			if len(list) == 0 {
				return false, false
			}
			last := list[len(list)-1]
			for len(list) > 0 && list[len(list)-1].value == last.value {
				last.at, list = list[len(list)-1].at, list[:len(list)-1]
			}
			newest, _ := m.last(ch)
			return newest.at-last.at >= span, true
		}}
	case 4, 5, 6:
		shape := rapid.SampledFrom([]string{"sliding", "last", "tumbling", "session"}).Draw(t, "shape")
		name := rapid.SampledFrom([]string{"sum", "count", "max", "avg", "delta"}).Draw(t, "aggregate")
		args := map[string]string{"sliding": span.String(), "last": "3x", "tumbling": span.String() + ", tumbling", "session": span.String() + ", session"}[shape]
		out := of(fmt.Sprintf("%s(%s, %s)", name, ch, args), func(m *model, now time.Duration) (float64, bool) {
			list, known := m.within(ch, span, 3, shape, now)
			if name == "count" {
				return float64(len(list)), known
			}
			if !known || len(list) == 0 {
				return 0, false
			}
			total, most := 0.0, math.Inf(-1)
			for _, x := range list {
				total, most = total+x.value, max(most, x.value)
			}
			switch name {
			case "sum":
				return total, true
			case "max":
				return most, true
			case "avg":
				return total / float64(len(list)), true
			}
			return list[len(list)-1].value - list[0].value, true
		})
		out.timed = true
		return out
	}
	return of(ch, func(m *model, _ time.Duration) (float64, bool) {
		x, ok := m.last(ch)
		return x.value, ok
	})
}

// drawCondition draws a condition of one to three terms.
func drawCondition(t *rapid.T) *term {
	out := drawTerm(t)
	for range rapid.IntRange(0, 2).Draw(t, "more") {
		a, b := out, drawTerm(t)
		both := rapid.Bool().Draw(t, "and")
		out = &term{
			text:  "(" + a.text + map[bool]string{true: " and ", false: " or "}[both] + b.text + ")",
			timed: a.timed || b.timed, faults: a.faults || b.faults, at: append(slices.Clone(a.at), b.at...),
			verdict: func(m *model, now time.Duration) (bool, bool) {
				v, known := a.verdict(m, now)
				w, known2 := b.verdict(m, now)
				if both {
					return v && w && known && known2, known && known2 || known && !v || known2 && !w
				}
				return known && v || known2 && w, known && known2 || known && v || known2 && w
			},
		}
	}
	if rapid.IntRange(0, 5).Draw(t, "not") == 0 {
		a := *out
		out.text = "not (" + a.text + ")"
		out.verdict = func(m *model, now time.Duration) (bool, bool) {
			v, known := a.verdict(m, now)
			return known && !v, known
		}
	}
	return out
}

// keeps reports whether the text of a condition keeps something over time, or looks at the past: then it is looked at as time passes.
func (c *term) keeps() bool {
	return c.timed || strings.Contains(c.text, "prev(") || strings.Contains(c.text, "stuck(")
}

// take judges the readings of one record, all of one time, none of a channel twice.
func (m *model) take(at time.Duration, readings map[string]moment) {
	m.pass(at)
	for ch, x := range readings {
		m.past[ch] = append(m.past[ch], x)
	}
	var alarms, actions []string
	for i := range m.list {
		r := &m.list[i]
		heard := func(c *term) bool {
			return c != nil && slices.ContainsFunc(c.at, func(ch string) bool {
				x, ok := readings[ch]
				return ok && (!x.fault || asksFault(c, ch) || asksFault(r.when, ch) || asksFault(r.clear, ch))
			})
		}
		for _, ch := range r.when.at {
			x, ok := readings[ch]
			if ok && x.fault && r.pending && !r.when.keeps() && !asksFault(r.when, ch) && !asksFault(r.clear, ch) {
				r.blind = true
			}
		}
		if !heard(r.when) && !heard(r.clear) {
			continue
		}
		a, b := m.look(r, heard(r.when), heard(r.clear))
		alarms, actions = append(alarms, a...), append(actions, b...)
	}
	m.out = append(append(m.out, alarms...), actions...)
}

func asksFault(c *term, ch string) bool { return c != nil && strings.Contains(c.text, "fault("+ch+")") }

// pass lets time pass up to, and without, at.
func (m *model) pass(at time.Duration) {
	for base := m.now; base < at; base += tick {
		for _, m.now = range []time.Duration{base, base + time.Microsecond} { // a session ends 1 us behind its span
			m.ticked()
		}
		m.now = base + tick
	}
}

func (m *model) ticked() {
	for i := range m.list {
		r := &m.list[i]
		a, b := m.look(r, false, false)
		m.out = append(append(m.out, a...), b...)
	}
}

// look lets one rule look at how things are now, because channels of its conditions were heard, or time passed.
func (m *model) look(r *modelRule, when, end bool) (alarms, actions []string) {
	is, known := false, false
	if when || r.when.keeps() {
		is, known = r.when.verdict(m, m.now)
	}
	if !r.on {
		if !known && !r.when.keeps() && r.pending && !r.blind && m.now-r.since >= r.For {
			is, known = true, true
		}
		switch {
		case known && !is:
			r.pending, r.held = false, false
		case known && is && !r.held:
			if !r.pending {
				r.pending, r.since, r.blind = true, m.now, false
			}
			if when {
				r.blind = false
			}
			if m.now-r.since >= r.For && !r.blind {
				r.on, r.pending, r.held = true, false, true
				if r.clear != nil {
					is, known := r.clear.verdict(m, m.now)
					r.over, r.seen = is && known, true
				}
				alarms = append(alarms, fmt.Sprintf("%v raised %s", m.now, r.Name))
				for _, o := range r.Outputs {
					if who, _ := m.counts(o); who == r.Name {
						actions = append(actions, fmt.Sprintf("%s sets %s.%s to %v", r.Name, o.Device, o.Channel, o.Value))
					}
				}
			}
		}
		return alarms, actions
	}
	if known {
		r.held = is
	}
	over := r.clear == nil && known && !is
	if r.clear != nil && (end || r.clear.keeps()) {
		is, known := r.clear.verdict(m, m.now)
		over = is && known && (end || r.seen && !r.over) // by time alone it has to begin to hold
		r.over = is && known
	}
	r.seen = true
	if !over {
		return nil, nil
	}
	r.on, r.held, r.seen = false, r.held && r.clear != nil, false
	alarms = append(alarms, fmt.Sprintf("%v cleared %s", m.now, r.Name))
	for _, o := range r.Outputs {
		who, v := m.counts(o)
		if who == "" {
			if who, v = r.Name, o.OnClear; v.Kind() == tidegate.KindNone {
				continue
			}
		}
		actions = append(actions, fmt.Sprintf("%s sets %s.%s to %v", who, o.Device, o.Channel, v))
	}
	return alarms, actions
}

// counts returns which of the rules that are on says what the output of o is, and what that is: of those of the highest priority the last.
func (m *model) counts(o Output) (who string, v tidegate.Value) {
	for _, priority := range []int{2, 1, 0} {
		for _, r := range slices.Backward(m.list) {
			for _, x := range slices.Backward(r.Outputs) {
				if r.on && x.Device == o.Device && x.Channel == o.Channel && x.Priority == priority {
					return r.Name, x.Value
				}
			}
		}
	}
	return "", v
}

// drawRules draws rules, and leaves out what New would refuse.
func drawRules(t *rapid.T) (list []modelRule) {
	// draw draws a condition that is not refused, as those are that always hold.
	draw := func() (*term, *lang.Program) {
		for range 10 {
			c := drawCondition(t)
			if p, faults := lang.Compile(c.text, lang.Condition, schema); len(faults) == 0 {
				return c, p
			}
		}
		t.Fatal("ten conditions were refused")
		return nil, nil
	}
	for i := range rapid.IntRange(1, 4).Draw(t, "rules") {
		when, program := draw()
		r := modelRule{when: when}
		r.Rule = Rule{
			Name: fmt.Sprint("r", i), When: program, For: rapid.SampledFrom([]time.Duration{0, 0, tick, 3 * time.Second, 7 * time.Second}).Draw(t, "for"),
			Severity: SeverityInfo, Text: "t",
		}
		if rapid.Bool().Draw(t, "has clear") {
			if c, p := draw(); !lang.Overlap(r.When, p) {
				r.clear, r.Clear = c, p
			}
		}
		for range rapid.IntRange(0, 2).Draw(t, "outputs") {
			o := Output{Device: "fan", Channel: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "output"), Value: tidegate.Int(int64(i + 1))}
			o.Priority = rapid.IntRange(0, 2).Draw(t, "priority")
			if rapid.Bool().Draw(t, "has on_clear") {
				o.OnClear = tidegate.Int(0)
			}
			r.Outputs = append(r.Outputs, o)
		}
		list = append(list, r)
	}
	return list
}

// TestAgainstModel compares the Set with the model on random rules and readings, pauses and faults. At random moments the Set is thrown away
// and a new one is restored from what a store that only ever saw Outcome.Changed holds; and time is told at random: neither makes a
// difference but those that README.md names.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{list: drawRules(t), past: map[string][]moment{}}
		var list []Rule
		for _, r := range m.list {
			list = append(list, r.Rule)
		}
		s, err := New(list, 0)
		if err != nil {
			t.Fatal(err)
		}
		store := map[string]string{}
		var got []string
		follow := func(out Outcome) {
			for _, a := range out.Alarms {
				got = append(got, fmt.Sprintf("%v %s %s", a.Boot, map[bool]string{true: "raised", false: "cleared"}[a.Raised], a.Rule))
			}
			for _, a := range out.Actions {
				got = append(got, fmt.Sprintf("%s sets %s.%s to %v", a.Rule, a.Device, a.Channel, a.Value))
			}
			for _, c := range out.Changed {
				if c.Body == nil {
					delete(store, c.Key)
				} else {
					store[c.Key] = string(c.Body)
				}
			}
		}
		boot := time.Duration(0)
		for range rapid.IntRange(1, 40).Draw(t, "records") {
			boot += time.Duration(rapid.SampledFrom([]int{0, 1, 2, 5, 10, 10, 30, 70, 150}).Draw(t, "pause")) * tick
			if rapid.Bool().Draw(t, "time is told") {
				follow(s.Advance(boot-tick, time.Time{}))
			}
			rec := &tidegate.Record{Class: tidegate.ClassReading, Boot: boot}
			readings := map[string]moment{}
			for range rapid.IntRange(1, 3).Draw(t, "readings") {
				ch := rapid.SampledFrom([]string{"d.a", "d.b", "e.c", "f.d"}).Draw(t, "channel")
				if _, twice := readings[ch]; twice {
					continue
				}
				v := float64(rapid.IntRange(0, 6).Draw(t, "value")) / 2
				rd := tidegate.Reading{Device: ch[:1], Channel: ch[2:], Value: tidegate.Float(v)}
				x := moment{at: boot, value: v}
				switch rapid.IntRange(0, 9).Draw(t, "odd") {
				case 0:
					rd.Fault, x.fault = "x", true
				case 1:
					rd.Value = tidegate.Float(math.NaN())
					rec.Readings = append(rec.Readings, rd)
					continue
				}
				readings[ch] = x
				rec.Readings = append(rec.Readings, rd)
			}
			m.take(boot, readings)
			out := s.Apply(rec)
			if len(out.Readings) != len(rec.Readings) {
				t.Fatalf("%d readings remain of %d", len(out.Readings), len(rec.Readings))
			}
			follow(out)
			if rapid.IntRange(0, 3).Draw(t, "restart") == 0 {
				// What is due is done before: what time did meanwhile is not known behind a restart.
				follow(s.Advance(boot, time.Time{}))
				m.pass(boot)
				m.ticked()
				s = restart(t, s, list, store, boot)
				m.start = boot
				for i := range m.list {
					m.list[i].seen = false
					m.list[i].blind = m.list[i].pending && !m.list[i].when.keeps()
				}
			}
		}
		follow(s.Advance(boot+20*time.Second, time.Time{}))
		m.pass(boot + 20*time.Second)
		m.ticked()
		// Within one record the Set tells alarms before actions, the model does so for each time: compare each kind by itself.
		for _, kind := range []string{"ed r", " sets "} {
			if g, w := only(got, kind), only(m.out, kind); !slices.Equal(g, w) {
				var text []string
				for _, r := range m.list {
					text = append(text, fmt.Sprintf("%s: when %s for %v clear %v", r.Name, r.when.text, r.For, r.clear))
				}
				t.Fatalf("%s\ngot  %q\nwant %q", strings.Join(text, "\n"), g, w)
			}
		}
	})
}

func (c *term) String() string {
	if c == nil {
		return "none"
	}
	return c.text
}

func only(lines []string, part string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(s string) bool { return !strings.Contains(s, part) })
}

// restart returns a new Set restored from store, after checking that store holds what s itself would save.
func restart(t *rapid.T, s *Set, list []Rule, store map[string]string, boot time.Duration) *Set {
	var states []State
	for key, body := range store {
		states = append(states, State{Key: key, Body: []byte(body)})
	}
	for _, st := range s.State() {
		if own := store[st.Key]; own != string(st.Body) && !strings.Contains(own, "\x01\x01") {
			t.Fatalf("%s: stored %x, state %x", st.Key, own, st.Body)
		}
	}
	again, err := New(list, boot)
	if err != nil {
		t.Fatal(err)
	}
	out, err := again.Restore(states, true)
	if err != nil || tell(out) != "" || len(out.Changed) != 0 {
		t.Fatalf("restore: %v, %q, changed %v", err, tell(out), out.Changed)
	}
	if g, w := fmt.Sprint(again.Status(), again.Demands()), fmt.Sprint(s.Status(), s.Demands()); g != w {
		t.Fatalf("restored %s, was %s", g, w)
	}
	return again
}
