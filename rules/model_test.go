package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"pgregory.net/rapid"
)

// model judges as README.md says, in the plainest way: it keeps the whole past of each rule and thinks it through again for
// every reading.
type model struct {
	list []Rule
	past []moment
}

type moment struct {
	boot    time.Duration
	reading tidegate.Reading
}

// holds evaluates c by its text.
func holds(c Condition, rd tidegate.Reading) (is, known bool) {
	if rd.Device+"."+rd.Channel != c.Channel || rd.Fault != "" || rd.Value.Kind() != tidegate.KindInt {
		return false, false
	}
	v, _ := rd.Value.Number()
	w, _ := c.Value.Number()
	return strings.Contains(c.Op, ">") && v > w || strings.Contains(c.Op, "<") && v < w || strings.HasSuffix(c.Op, "=") && c.Op != "!=" && v == w ||
		c.Op == "!=" && v != w, true
}

// tellAll says what all that happened led to, a line each.
func (m *model) tellAll() []string {
	var out []string
	on := make([]bool, len(m.list))
	since := make([]time.Duration, len(m.list))
	held := make([]bool, len(m.list))  // what `when` last said
	spent := make([]bool, len(m.list)) // another channel ended the rule while `when` held, which still does
	for i := range since {
		since[i] = -1
	}
	for _, now := range m.past {
		var alarms, actions []string
		for i, r := range m.list {
			is, known := holds(r.When, now.reading)
			if known {
				held[i], spent[i] = is, spent[i] && is
			}
			if !on[i] {
				if known && !is {
					since[i] = -1
				}
				if spent[i] {
					continue
				}
				if known && is && since[i] < 0 {
					since[i] = now.boot
				}
				if known && is && now.boot-since[i] >= r.For {
					on[i], since[i] = true, -1
					if r.Severity != "" {
						alarms = append(alarms, fmt.Sprintf("raised %s %s %q %s=%v", r.Name, r.Severity, r.Text, r.When.Channel, now.reading.Value))
					}
					for _, o := range r.Outputs {
						actions = append(actions, fmt.Sprintf("%s sets %s.%s to %v", r.Name, o.Device, o.Channel, o.Value))
					}
				}
				continue
			}
			over, channel := known && !is, r.When.Channel
			if !r.Clear.IsZero() {
				is, known := holds(r.Clear, now.reading)
				over, channel = known && is, r.Clear.Channel
			}
			if !over {
				continue
			}
			on[i], spent[i] = false, channel != r.When.Channel && held[i]
			if r.Severity != "" {
				alarms = append(alarms, fmt.Sprintf("cleared %s %s %q %s=%v", r.Name, r.Severity, r.Text, channel, now.reading.Value))
			}
			for _, o := range r.Outputs {
				if o.OnClear.Kind() == tidegate.KindNone {
					continue
				}
				who, v := r.Name, o.OnClear
				for j, other := range m.list {
					for _, oo := range slices.Backward(other.Outputs) {
						if on[j] && oo.Device == o.Device && oo.Channel == o.Channel {
							who, v = other.Name, oo.Value
						}
					}
				}
				actions = append(actions, fmt.Sprintf("%s sets %s.%s to %v", who, o.Device, o.Channel, v))
			}
		}
		out = append(append(out, alarms...), actions...)
	}
	return out
}

func drawRules(t *rapid.T) []Rule {
	cond := func() Condition {
		return Condition{
			Channel: "d." + rapid.SampledFrom([]string{"a", "b"}).Draw(t, "channel"),
			Op:      rapid.SampledFrom(ops[:]).Draw(t, "op"), Value: tidegate.Float(float64(rapid.IntRange(0, 3).Draw(t, "threshold"))),
		}
	}
	var list []Rule
	for i := range rapid.IntRange(1, 3).Draw(t, "rules") {
		r := Rule{
			Name: fmt.Sprint("r", i), When: cond(), For: time.Duration(rapid.IntRange(0, 3).Draw(t, "for")) * time.Second,
			Severity: rapid.SampledFrom(severities[:]).Draw(t, "severity"), Text: "t",
		}
		if rapid.Bool().Draw(t, "has clear") {
			if c := cond(); !Overlap(r.When, c) {
				r.Clear = c
			}
		}
		for range rapid.IntRange(0, 2).Draw(t, "outputs") {
			o := Output{Device: "fan", Channel: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "output"), Value: tidegate.Int(int64(i + 1))}
			if rapid.Bool().Draw(t, "has on_clear") {
				o.OnClear = tidegate.Int(0)
			}
			r.Outputs = append(r.Outputs, o)
		}
		list = append(list, r)
	}
	return list
}

// TestAgainstModel compares the Set with the model on random rules and readings. At random moments the Set is thrown away and a
// new one is restored from what a store that only ever saw Outcome.Changed holds: that must make no difference.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := drawRules(t)
		s, err := New(list)
		if err != nil {
			t.Fatal(err)
		}
		m := &model{list: list}
		store := map[string]string{}
		var got []string
		boot := time.Duration(0)
		for range rapid.IntRange(1, 40).Draw(t, "records") {
			boot += time.Duration(rapid.IntRange(0, 2).Draw(t, "pause")) * time.Second
			rec := &tidegate.Record{Class: tidegate.ClassReading, Boot: boot}
			for range rapid.IntRange(1, 3).Draw(t, "readings") {
				rd := tidegate.Reading{
					Device: rapid.SampledFrom([]string{"d", "d", "e"}).Draw(t, "device"), Channel: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "channel"),
					Value: tidegate.Int(int64(rapid.IntRange(-1, 4).Draw(t, "value"))),
				}
				switch rapid.IntRange(0, 8).Draw(t, "odd") {
				case 0:
					rd.Fault = "x"
				case 1:
					rd.Value = tidegate.Text("x")
				}
				rec.Readings = append(rec.Readings, rd)
				m.past = append(m.past, moment{boot, rd})
			}
			out := s.Apply(rec)
			if len(out.Readings) != len(rec.Readings) {
				t.Fatalf("%d readings remain of %d", len(out.Readings), len(rec.Readings))
			}
			got = append(got, strings.Split(strings.TrimSpace(tell(out)), "\n")...)
			for _, c := range out.Changed {
				store[c.Rule] = string(c.Body)
			}
			if rapid.IntRange(0, 3).Draw(t, "restart") == 0 {
				s = restart(t, s, list, store)
			}
		}
		// Within one record the Set tells alarms before actions, the model does so for each reading: compare each kind by itself.
		want := m.tellAll()
		for _, kind := range []string{` "t" `, " sets "} {
			if g, w := only(got, kind), only(want, kind); !slices.Equal(g, w) {
				t.Fatalf("%v\ngot  %q\nwant %q", list, g, w)
			}
		}
	})
}

func only(lines []string, part string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(s string) bool { return !strings.Contains(s, part) })
}

// restart returns a new Set restored from store, after checking that store holds what s itself would save.
func restart(t *rapid.T, s *Set, list []Rule, store map[string]string) *Set {
	var states []State
	for name, body := range store {
		states = append(states, State{Rule: name, Body: []byte(body)})
	}
	for _, st := range s.State() {
		if store[st.Rule] != string(st.Body) {
			t.Fatalf("rule %s: stored %x, state %x", st.Rule, store[st.Rule], st.Body)
		}
	}
	again, err := New(list)
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
