package rules

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/lang"
)

// schema knows the channels of the tests, none of them by kind.
var schema = lang.Schema{Open: func(string) bool { return true }}

func must(t testing.TB, text string) *lang.Program {
	t.Helper()
	if text == "" {
		return nil
	}
	p, faults := lang.Compile(text, lang.Condition, schema)
	if len(faults) > 0 {
		t.Fatalf("%q: %v", text, faults[0])
	}
	return p
}

func overheat(t testing.TB) Rule {
	return Rule{
		Name: "overheat", When: must(t, "meter1.temp > 80"), For: 30 * time.Second, Clear: must(t, "meter1.temp < 75"),
		Severity: SeverityError, Text: "boiler too hot",
		Outputs: []Output{{Device: "fan", Channel: "relay", Value: tidegate.Bool(true), OnClear: tidegate.Bool(false)}},
	}
}

func newSet(t testing.TB, list ...Rule) *Set {
	t.Helper()
	s, err := New(list, 0)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func record(boot time.Duration, readings ...tidegate.Reading) *tidegate.Record {
	return &tidegate.Record{Class: tidegate.ClassReading, Boot: boot, Readings: readings}
}

func temp(v float64) tidegate.Reading {
	return tidegate.Reading{Device: "meter1", Channel: "temp", Value: tidegate.Float(v)}
}

// tell renders an outcome as text to compare with.
func tell(o Outcome) string {
	var b strings.Builder
	for _, a := range o.Alarms {
		word := "cleared"
		if a.Raised {
			word = "raised"
		}
		fmt.Fprintf(&b, "%s %s %s %q %s=%v\n", word, a.Rule, a.Severity, a.Text, a.Channel, a.Value)
	}
	for _, a := range o.Actions {
		fmt.Fprintf(&b, "%s sets %s.%s to %v\n", a.Rule, a.Device, a.Channel, a.Value)
	}
	return b.String()
}

func TestOverheatOfTheContract(t *testing.T) {
	s := newSet(t, overheat(t))
	fault := temp(99)
	fault.Fault = "no answer"
	const raised = "raised overheat error \"boiler too hot\" meter1.temp=%v\noverheat sets fan.relay to true\n"
	const cleared = "cleared overheat error \"boiler too hot\" meter1.temp=%v\noverheat sets fan.relay to false\n"
	for _, step := range []struct {
		at      time.Duration
		reading tidegate.Reading
		want    string
	}{
		{0, temp(81), ""},
		{20 * time.Second, temp(80), ""},                           // a break: the timer starts anew
		{21 * time.Second, temp(90), ""},                           //
		{50 * time.Second, temp(90), ""},                           // 29 s
		{50*time.Second + 999*time.Millisecond, temp(90), ""},      // 29.999 s
		{51 * time.Second, temp(90), fmt.Sprintf(raised, 90)},      // 30 s
		{52 * time.Second, temp(95), ""},                           // once
		{53 * time.Second, temp(76), ""},                           // between the two thresholds
		{54 * time.Second, fault, ""},                              // a fault ends nothing
		{55 * time.Second, temp(math.NaN()), ""},                   // nor does what is no number
		{56 * time.Second, temp(74.5), fmt.Sprintf(cleared, 74.5)}, //
		{57 * time.Second, temp(70), ""},                           // once
		{58 * time.Second, temp(85), ""},                           //
		{60 * time.Second, fault, ""},                              // a fault does not interrupt the timer
		{88 * time.Second, temp(85), fmt.Sprintf(raised, 85)},
	} {
		if got := tell(s.Apply(record(step.at, step.reading))); got != step.want {
			t.Errorf("at %v: got %q, want %q", step.at, got, step.want)
		}
	}
	if got, want := fmt.Sprint(s.Status()), "[{overheat true false  2}]"; got != want {
		t.Errorf("status %s, want %s", got, want)
	}
}

func TestAFaultNeitherStartsNorEnds(t *testing.T) {
	r := overheat(t)
	r.For = 0
	s := newSet(t, r)
	bad := temp(99)
	bad.Fault = "short circuit"
	if got := tell(s.Apply(record(0, bad))); got != "" {
		t.Errorf("fault started: %q", got)
	}
	s.Apply(record(1, temp(99)))
	bad = temp(10)
	bad.Fault = "short circuit"
	if got := tell(s.Apply(record(2, bad))); got != "" {
		t.Errorf("fault ended: %q", got)
	}
}

func TestWithoutClearTheConditionEndsIt(t *testing.T) {
	s := newSet(t, Rule{Name: "door", When: must(t, "hall.door == true"), Severity: SeverityInfo, Text: "open"})
	door := func(v tidegate.Value) *tidegate.Record {
		return record(0, tidegate.Reading{Device: "hall", Channel: "door", Value: v})
	}
	var got []string
	for _, v := range []tidegate.Value{tidegate.Bool(true), tidegate.Uint(7), tidegate.Text("no"), tidegate.Bool(false), tidegate.Int(-1)} {
		got = append(got, strings.ReplaceAll(tell(s.Apply(door(v))), "\n", ""))
	}
	want := []string{`raised door info "open" hall.door=true`, "", "", `cleared door info "open" hall.door=false`, `raised door info "open" hall.door=-1`}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestClearOnAnotherChannel(t *testing.T) {
	s := newSet(t, Rule{Name: "leak", When: must(t, "cellar.water > 0"), Clear: must(t, "panel.reset == true"), Severity: SeverityError, Text: "leak"})
	water := func(v float64) *tidegate.Record {
		return record(0, tidegate.Reading{Device: "cellar", Channel: "water", Value: tidegate.Float(v)})
	}
	reset := record(0, tidegate.Reading{Device: "panel", Channel: "reset", Value: tidegate.Bool(true)})
	got := tell(s.Apply(reset)) + tell(s.Apply(water(1))) + tell(s.Apply(water(0))) + tell(s.Apply(reset))
	want := "raised leak error \"leak\" cellar.water=1\ncleared leak error \"leak\" panel.reset=true\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestClearHoldsBeside has a reset that stays pressed while the condition holds: the rule ends once and does not flap, whether or not the
// gateway starts again between any two records.
func TestClearHoldsBeside(t *testing.T) {
	type step struct{ reading, want string }
	tests := map[string]struct {
		hold  time.Duration
		steps []step
	}{
		"both hold: raised once, cleared once": {0, []step{
			{"wet", "raised"},
			{"reset", "cleared"},
			{"wet", ""},
			{"reset", ""},
			{"wet", ""},
			{"reset", ""},
			{"dry", ""},
			{"reset", ""},
			{"wet", "raised"},
			{"wet", ""},
			{"reset", "cleared"},
			{"wet", ""},
		}},
		"with for: neither": {2 * time.Second, []step{
			{"wet", ""},
			{"wet", ""},
			{"wet", "raised"},
			{"reset", "cleared"},
			{"wet", ""},
			{"wet", ""},
			{"wet", ""},
			{"wet", ""},
			{"dry", ""},
			{"wet", ""},
			{"wet", ""},
			{"wet", "raised"},
		}},
		"dry before the reset: armed, also for what reports changes only": {0, []step{
			{"wet", "raised"}, {"dry", ""}, {"reset", "cleared"}, {"wet", "raised"}, {"reset", "cleared"}, {"wet", ""},
		}},
		"dry for a while only": {0, []step{
			{"wet", "raised"}, {"dry", ""}, {"wet", ""}, {"reset", "cleared"}, {"wet", ""}, {"dry", ""}, {"wet", "raised"},
		}},
		"a fault is not dry": {0, []step{
			{"wet", "raised"}, {"fault", ""}, {"reset", "cleared"}, {"fault", ""}, {"wet", ""}, {"dry", ""}, {"wet", "raised"},
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			leak := Rule{
				Name: "leak", When: must(t, "cellar.water > 0"), For: tt.hold, Clear: must(t, "panel.reset == true"), Severity: SeverityError, Text: "leak",
			}
			s := newSet(t, leak)
			store := map[string][]byte{}
			for i, st := range tt.steps {
				rd := map[string]tidegate.Reading{
					"wet":   {Device: "cellar", Channel: "water", Value: tidegate.Float(1)},
					"dry":   {Device: "cellar", Channel: "water", Value: tidegate.Float(0)},
					"fault": {Device: "cellar", Channel: "water", Fault: "x"},
					"reset": {Device: "panel", Channel: "reset", Value: tidegate.Bool(true)},
				}[st.reading]
				o := s.Apply(record(time.Duration(i)*time.Second, rd))
				if got, _, _ := strings.Cut(tell(o), " "); got != st.want {
					t.Errorf("step %d, %s: got %q, want %q", i, st.reading, got, st.want)
				}
				for _, c := range o.Changed {
					store[c.Key] = slices.Clone(c.Body)
				}
				s = newSet(t, leak)
				if body := store["leak"]; body != nil {
					if _, err := s.Restore([]State{{Key: "leak", Body: body}}, true); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

// TestStateOfBefore: what was stored before rules remembered whether `when` held is read.
func TestStateOfBefore(t *testing.T) {
	leak := Rule{Name: "leak", When: must(t, "cellar.water > 0"), Clear: must(t, "panel.reset == true"), Severity: SeverityError, Text: "leak"}
	mark := binary.BigEndian.AppendUint32(nil, fingerprint(leak))
	for want, body := range map[string][]byte{
		"raised":  append([]byte{1, 0, 0, 1}, mark...),
		"cleared": append([]byte{1, 2, 3, 1}, mark...),
	} {
		s := newSet(t, leak)
		if o, err := s.Restore([]State{{Key: "leak", Body: body}}, true); err != nil || len(o.Changed) != 0 {
			t.Fatalf("%s: %v, changed %v", want, err, o.Changed)
		}
		got, _, _ := strings.Cut(tell(s.Apply(record(0, tidegate.Reading{Device: "cellar", Channel: "water", Value: tidegate.Float(1)},
			tidegate.Reading{Device: "panel", Channel: "reset", Value: tidegate.Bool(want == "cleared")}))), " ")
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestNamesWithDots(t *testing.T) {
	s := newSet(t, Rule{Name: "r", When: must(t, "line.1.temp.in > 1"), Severity: SeverityInfo, Text: "x"})
	for _, names := range [][2]string{{"line", "1.temp.in"}, {"line.1", "temp.in"}, {"line.1.temp", "in"}} {
		for _, v := range []float64{2, 0} {
			got := tell(s.Apply(record(0, tidegate.Reading{Device: names[0], Channel: names[1], Value: tidegate.Float(v)})))
			if got == "" {
				t.Errorf("%v = %v led to nothing", names, v)
			}
		}
	}
	if got := tell(s.Apply(record(0, tidegate.Reading{Device: "line.1.temp.in", Channel: "", Value: tidegate.Float(2)}))); got != "" {
		t.Errorf("no channel led to %q", got)
	}
}

func TestOnlyReadingsAreJudged(t *testing.T) {
	r := overheat(t)
	r.For = 0
	s := newSet(t, r)
	rec := record(0, temp(99))
	rec.Class = tidegate.ClassAudit
	out := s.Apply(rec)
	if got := tell(out); got != "" || len(out.Readings) != 1 {
		t.Errorf("got %q and %d readings, want nothing and 1", got, len(out.Readings))
	}
}

// TestTwoRulesOneOutput: the output is on as long as one of them is active.
func TestTwoRulesOneOutput(t *testing.T) {
	fan := []Output{{Device: "fan", Channel: "relay", Value: tidegate.Int(1), OnClear: tidegate.Int(0)}}
	full := []Output{{Device: "fan", Channel: "relay", Value: tidegate.Int(2), OnClear: tidegate.Int(0)}}
	s := newSet(t, Rule{Name: "warm", When: must(t, "meter1.temp > 50"), Outputs: fan}, Rule{Name: "hot", When: must(t, "meter1.temp > 80"), Outputs: full})
	demands := func() string { return tell(Outcome{Actions: s.Demands()}) }
	var got []string
	got = append(got, demands())
	for _, v := range []float64{60, 90, 60, 20} {
		got = append(got, tell(s.Apply(record(0, temp(v)))), demands())
	}
	want := []string{
		"hot sets fan.relay to 0\n", // as neither has a priority, the last
		"warm sets fan.relay to 1\n", "warm sets fan.relay to 1\n",
		"hot sets fan.relay to 2\n", "hot sets fan.relay to 2\n",
		"warm sets fan.relay to 1\n", "warm sets fan.relay to 1\n", // hot ended, warm did not
		"warm sets fan.relay to 0\n", "hot sets fan.relay to 0\n",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestDemandsAtRest: while no rule is active, a start sets what the rule of the highest priority says that has an on_clear, wherever it stands.
func TestDemandsAtRest(t *testing.T) {
	out := func(priority int, value, onClear tidegate.Value) []Output {
		return []Output{{Device: "fan", Channel: "speed", Value: value, OnClear: onClear, Priority: priority}}
	}
	s := newSet(
		t, Rule{Name: "low", When: must(t, "meter1.temp > 50"), Outputs: out(10, tidegate.Int(1), tidegate.Int(0))},
		Rule{Name: "high", When: must(t, "meter1.temp > 80"), Outputs: out(20, tidegate.Int(2), tidegate.Int(5))},
		Rule{Name: "highest", When: must(t, "meter1.temp > 90"), Outputs: out(30, tidegate.Int(3), tidegate.Value{})},
	)
	if got := tell(Outcome{Actions: s.Demands()}); got != "high sets fan.speed to 5\n" {
		t.Errorf("got %q", got)
	}
}

func TestNewRefuses(t *testing.T) {
	change := func(f func(*Rule)) Rule { r := overheat(t); f(&r); return r }
	for name, c := range map[string]struct {
		rule Rule
		want string
	}{
		"no name":           {change(func(r *Rule) { r.Name = "" }), `rule "": name is empty`},
		"no condition":      {change(func(r *Rule) { r.When = nil }), "rule \"overheat\": condition `when` is missing"},
		"negative duration": {change(func(r *Rule) { r.For = -1 }), "rule \"overheat\": `for` is negative (got -1ns)"},
		"unknown severity": {
			change(func(r *Rule) { r.Severity = "bad" }),
			`rule "overheat": severity is unknown (got "bad"); severities are info, warning and error`,
		},
		"overlap": {
			change(func(r *Rule) { r.Clear = must(t, "meter1.temp < 81") }),
			"rule \"overheat\": `clear: meter1.temp < 81` holds while `when: meter1.temp > 80` holds too",
		},
		"output without value": {change(func(r *Rule) { r.Outputs[0].Value = tidegate.Value{} }), `rule "overheat": output fan.relay has no value`},
	} {
		if _, err := New([]Rule{c.rule}, 0); err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
	_, err := New([]Rule{overheat(t), overheat(t), {}}, 0)
	if want := "rule \"overheat\": name stands twice\nrule \"\": name is empty"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestRestore(t *testing.T) {
	stored := func(s *Set) []State { return s.State() }
	pendingSet := func() []State {
		s := newSet(t, overheat(t))
		s.Apply(record(10*time.Second, temp(99)))
		return stored(s)
	}
	activeSet := func() []State {
		s := newSet(t, overheat(t))
		s.Apply(record(10*time.Second, temp(99)))
		s.Apply(record(40*time.Second, temp(99)))
		return stored(s)
	}
	restore := func(states []State, sameBoot bool, list ...Rule) (*Set, Outcome) {
		s := newSet(t, list...)
		o, err := s.Restore(states, sameBoot)
		if err != nil {
			t.Fatal(err)
		}
		return s, o
	}
	t.Run("same boot: the timer goes on", func(t *testing.T) {
		s, o := restore(pendingSet(), true, overheat(t))
		if len(o.Changed) != 0 {
			t.Errorf("changed %v", o.Changed)
		}
		if got := tell(s.Apply(record(40*time.Second, temp(99)))); !strings.HasPrefix(got, "raised") {
			t.Errorf("got %q", got)
		}
	})
	t.Run("another boot: the timer starts again", func(t *testing.T) {
		s, o := restore(pendingSet(), false, overheat(t))
		if len(o.Changed) != 1 {
			t.Errorf("changed %v", o.Changed)
		}
		if got := tell(s.Apply(record(40*time.Second, temp(99)))) + tell(s.Apply(record(69*time.Second, temp(99)))); got != "" {
			t.Errorf("got %q", got)
		}
		if got := tell(s.Apply(record(70*time.Second, temp(99)))); !strings.HasPrefix(got, "raised") {
			t.Errorf("got %q", got)
		}
	})
	t.Run("another boot: an alarm stands and is not raised again", func(t *testing.T) {
		s, o := restore(activeSet(), false, overheat(t))
		if got := tell(o) + tell(s.Apply(record(0, temp(99)))); got != "" {
			t.Errorf("got %q", got)
		}
		if got := tell(Outcome{Actions: s.Demands()}); got != "overheat sets fan.relay to true\n" {
			t.Errorf("demands %q", got)
		}
		if got := tell(s.Apply(record(time.Second, temp(20)))); !strings.HasPrefix(got, "cleared") {
			t.Errorf("got %q", got)
		}
	})
	t.Run("another condition: the timer starts again", func(t *testing.T) {
		r := overheat(t)
		r.When = must(t, "meter1.temp > 90")
		s, o := restore(pendingSet(), true, r)
		if got := tell(s.Apply(record(40*time.Second, temp(99)))); got != "" || len(o.Changed) != 1 {
			t.Errorf("got %q, changed %v", got, o.Changed)
		}
	})
	t.Run("rule removed: its alarm is cleared and its state forgotten", func(t *testing.T) {
		_, o := restore(activeSet(), true)
		if got := tell(o); got != "cleared overheat error \"the rule was removed\" =\n" {
			t.Errorf("got %q", got)
		}
		if len(o.Changed) != 1 || o.Changed[0].Key != "overheat" || o.Changed[0].Body != nil {
			t.Errorf("changed %v", o.Changed)
		}
	})
	t.Run("alarm taken from the rule: what was raised is cleared", func(t *testing.T) {
		r := overheat(t)
		r.Severity, r.Text, r.Outputs = "", "", nil
		s, _ := restore(activeSet(), true, r)
		if got := tell(s.Apply(record(0, temp(20)))); got != "cleared overheat error \"\" meter1.temp=20\n" {
			t.Errorf("got %q", got)
		}
	})
}

func TestRestoreOfDamagedState(t *testing.T) {
	good := func() []byte { return (&rule{phase: pending, since: time.Second, fired: 300}).appendState(nil) }
	for name, c := range map[string]struct {
		body []byte
		want string
	}{
		"empty":           {nil, "0 bytes long, want at least 3"},
		"other version":   {[]byte{9, 0, 0}, "got version 9, want 1"},
		"unknown phase":   {[]byte{1, 6, 0}, "phase 6 with severity 0"},
		"alarm when idle": {[]byte{1, 0, 3}, "phase 0 with severity 3"},
		"alarm when held": {[]byte{1, 3, 3}, "phase 3 with severity 3"},
		"no count":        {[]byte{1, 0, 0}, "cut short"},
		"no fingerprint":  {[]byte{1, 0, 0, 5, 1, 2}, "cut short"},
		"no timer":        {good()[:9], "cut short"},
		"too long":        {append(good(), 1), "1 bytes too long"},
		"timer too large": {
			append(good()[:9], 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f),
			"boot time of -4611686018427387904 us is out of range",
		},
	} {
		s := newSet(t, overheat(t))
		o, err := s.Restore([]State{{Key: "overheat", Body: c.body}}, true)
		want := `rule "overheat": stored state of a rule: ` + c.want
		if !errors.Is(err, ErrState) || err.Error() != want {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
		if len(o.Changed) != 1 || s.Status()[0] != (Status{Name: "overheat"}) {
			t.Errorf("%s: changed %v, status %v", name, o.Changed, s.Status())
		}
	}
}

func TestAlarmReading(t *testing.T) {
	for _, c := range []struct {
		value tidegate.Value
		want  string
	}{
		{tidegate.Float(80.5), `"value":80.5}`},
		{tidegate.Float(1e21), `"value":1e+21}`},
		{tidegate.Uint(math.MaxUint64), `"value":18446744073709551615}`},
		{tidegate.Bool(false), `"value":false}`},
		{tidegate.Text(`a "b"`), `"value":"a \"b\""}`},
		{tidegate.Float(math.Inf(1)), `"value":"+Inf"}`},
		{tidegate.Float(math.NaN()), `"value":"NaN"}`},
	} {
		rd, err := Alarm{Rule: "overheat", Raised: true, Severity: SeverityError, Text: "T > 80", Channel: "meter1.temp", Value: c.value}.Reading()
		if err != nil {
			t.Fatal(err)
		}
		want := `{"state":"raised","severity":"error","text":"T > 80","channel":"meter1.temp",` + c.want
		if got, _ := rd.Value.Text(); rd.Device != "_rules" || rd.Channel != "overheat" || got != want {
			t.Errorf("got %s/%s %s\nwant %s", rd.Device, rd.Channel, got, want)
		}
	}
	rd, err := Alarm{Rule: "r", Severity: SeverityInfo, Text: "the rule was removed"}.Reading()
	if want := `{"state":"cleared","severity":"info","text":"the rule was removed"}`; err != nil || rd.Value.String() != want {
		t.Errorf("got %v %v, want %s", rd.Value, err, want)
	}
}

// bench returns ten rules and a record of 40 readings of which one is watched by all rules and none changes anything.
func bench(t testing.TB) (*Set, *tidegate.Record) {
	var list []Rule
	for i := range 10 {
		r := overheat(t)
		r.Name = fmt.Sprint("rule", i)
		list = append(list, r)
	}
	var readings []tidegate.Reading
	for i := range 39 {
		readings = append(readings, tidegate.Reading{Device: "meter1", Channel: fmt.Sprint("r", i), Value: tidegate.Uint(7)})
	}
	return newSet(t, list...), record(time.Second, append(readings, temp(20))...)
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	s, rec := bench(t)
	if n := testing.AllocsPerRun(100, func() { s.Apply(rec) }); n != 0 {
		t.Errorf("%v allocations per record, want 0", n)
	}
}

// BenchmarkApply: ns/op is the cost of one reading.
func BenchmarkApply(b *testing.B) {
	s, rec := bench(b)
	b.ReportAllocs()
	for n := 0; n < b.N; n += len(rec.Readings) {
		s.Apply(rec)
	}
}

// BenchmarkApplyWatched: each reading is looked at by all ten rules.
func BenchmarkApplyWatched(b *testing.B) {
	s, rec := bench(b)
	for i := range rec.Readings {
		rec.Readings[i] = temp(20)
	}
	b.ReportAllocs()
	for n := 0; n < b.N; n += len(rec.Readings) {
		s.Apply(rec)
	}
}

// TestMissingStandsOverARestart: an alarm that a device is missing neither ends nor comes twice because the gateway was started anew, whatever the
// rule's other channels report.
func TestMissingStandsOverARestart(t *testing.T) {
	lost := Rule{Name: "lost", When: must(t, "missing(a.x, 5m) or missing(b.y, 5m)"), Severity: SeverityError, Text: "lost"}
	of := func(device, channel string) tidegate.Reading {
		return tidegate.Reading{Device: device, Channel: channel, Value: tidegate.Float(1)}
	}
	for name, heard := range map[string]bool{"heard before": true, "never heard": false} {
		t.Run(name, func(t *testing.T) {
			s := newSet(t, lost)
			if heard {
				s.Apply(record(0, of("a", "x")))
			}
			s.Apply(record(4*time.Minute, of("b", "y")))
			s.Advance(6*time.Minute, time.Time{})
			if st := s.Status()[0]; !st.Active {
				t.Fatalf("after 6 minutes: %+v", st)
			}
			again, err := New([]Rule{lost}, 7*time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := again.Restore(s.State(), true); err != nil {
				t.Fatal(err)
			}
			for at := 8 * time.Minute; at < 20*time.Minute; at += time.Minute {
				if got := tell(again.Apply(record(at, of("b", "y")))); got != "" {
					t.Errorf("at %v: %s", at, got)
				}
			}
			if got, want := tell(again.Apply(record(20*time.Minute, of("a", "x")))), "cleared lost error \"lost\" a.x=1\n"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// TestGoOn: a Set that takes over without a pause looks at the time of day as it is then, not as it was at the start.
func TestGoOn(t *testing.T) {
	night := Rule{Name: "night", When: must(t, "d.a > 0 and hour() == 22"), Severity: SeverityInfo, Text: "x"}
	midnight := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	at := 22*time.Hour + 30*time.Minute
	s := newSet(t, night)
	rec := record(at, tidegate.Reading{Device: "d", Channel: "a", Value: tidegate.Int(1)})
	rec.Time = midnight.Add(at)
	if got, want := tell(s.Apply(rec)), "raised night info \"x\" d.a=1\n"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	again := newSet(t, night)
	if _, err := again.Restore(s.State(), true); err != nil {
		t.Fatal(err)
	}
	again.GoOn(at + time.Minute)
	if due, ok := again.Next(); !ok || due != at+time.Minute {
		t.Errorf("looks first at %v %v", due, ok)
	}
	if got := tell(again.Advance(at+time.Minute, midnight.Add(at+time.Minute))); got != "" {
		t.Errorf("got %q", got)
	}
	when, _, ok := again.Show("night", at+2*time.Minute)
	if !ok || len(when) != 2 || when[0].Text != "d.a" || when[0].Since != 2*time.Minute || when[1].Text != "hour()" || when[1].Value != tidegate.Float(22) {
		t.Errorf("shows %+v", when)
	}
	if _, _, ok := again.Show("day", at); ok {
		t.Error("shows a rule that there is not")
	}
	if got, want := tell(again.Advance(23*time.Hour, midnight.Add(23*time.Hour))), "cleared night info \"x\" d.a=1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestZone: the time of day is that of the zone that was told, with a reading and without, whatever zone the times themselves have.
func TestZone(t *testing.T) {
	night := Rule{Name: "night", When: must(t, "d.a > 0 and hour() == 22"), Severity: SeverityInfo, Text: "x"}
	s := newSet(t, night).In(time.FixedZone("", 2*3600))
	begin := time.Date(2026, 1, 5, 19, 59, 0, 0, time.UTC) // 21:59 there
	rec := record(0, tidegate.Reading{Device: "d", Channel: "a", Value: tidegate.Int(1)})
	rec.Time = begin
	got := tell(s.Apply(rec))
	got += tell(s.Advance(time.Minute, begin.Add(time.Minute).In(time.FixedZone("", -5*3600))))
	rec.Boot, rec.Time = 2*time.Minute, begin.Add(2*time.Minute)
	got += tell(s.Apply(rec))
	if want := "raised night info \"x\" d.a=1\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if when, _, _ := s.Show("night", 2*time.Minute); when[1].Value != tidegate.Float(22) {
		t.Errorf("shows %+v", when)
	}
}

// TestIntegralAfterAReboot: what was read before a reboot does not pair with what is read behind it, also where the gateway is started once more
// before anything was read.
func TestIntegralAfterAReboot(t *testing.T) {
	energy := Rule{Name: "energy", When: must(t, "integral(d.a) > 60"), Severity: SeverityInfo, Text: "x"}
	store := map[string]State{}
	start := func(boot time.Duration, sameBoot bool) *Set {
		s, err := New([]Rule{energy}, boot)
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.Restore(slices.Collect(maps.Values(store)), sameBoot)
		if err != nil {
			t.Fatal(err)
		}
		putAway(store, out)
		return s
	}
	s := start(0, true)
	for at := range 7 * time.Second / time.Second {
		putAway(store, s.Apply(record(time.Minute+at*time.Second, level("a", 10)))) // 60 in the end
	}
	start(30*time.Second, false)
	s = start(40*time.Second, true)
	if got := alarms(s.Apply(record(2*time.Minute, level("a", 10)))); got != nil {
		t.Errorf("behind the reboot: %q", got)
	}
	if got := alarms(s.Apply(record(2*time.Minute+time.Second, level("a", 10)))); len(got) != 1 {
		t.Errorf("with the next reading: %q", got)
	}
}

// putAway puts what changed into store.
func putAway(store map[string]State, out Outcome) {
	for _, c := range out.Changed {
		if store[c.Key] = (State{c.Key, slices.Clone(c.Body)}); c.Body == nil {
			delete(store, c.Key)
		}
	}
}

// TestTimeGoesOnBehindARestart: a reading with a time of its own, older than what was judged before a restart, does not turn time back.
func TestTimeGoesOnBehindARestart(t *testing.T) {
	r := Rule{Name: "r", When: must(t, "avg(d.a, 1m) > 5 or d.b > 5"), For: 5 * time.Second, Severity: SeverityInfo, Text: "x"}
	for name, isRestarted := range map[string]bool{"going on": false, "restarted": true} {
		s := newSet(t, r)
		s.Apply(record(10*time.Second, level("a", 1)))
		if isRestarted {
			again := newSet(t, r)
			if _, err := again.Restore(s.State(), true); err != nil {
				t.Fatal(err)
			}
			s = again
		}
		s.Apply(record(7*time.Second, level("b", 9)))
		if got := alarms(s.Advance(20*time.Second, time.Time{})); !slices.Equal(got, []string{"raised r at 15s"}) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
