package rules

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/lang"
	"pgregory.net/rapid"
)

// value compiles an expression that a channel is derived with.
func value(t testing.TB, text string) *lang.Program {
	t.Helper()
	p, faults := lang.Compile(text, lang.Value, schema)
	if len(faults) > 0 {
		t.Fatalf("%q: %v", text, faults[0])
	}
	return p
}

func deriving(t testing.TB, rule, when, channel, text string) Rule {
	t.Helper()
	device, name, _ := strings.Cut(channel, ".")
	return Rule{Name: rule, When: must(t, when), Derives: []Derive{{Device: device, Channel: name, Value: value(t, text), Unit: "W"}}}
}

func number(device, channel string, v float64) tidegate.Reading {
	return tidegate.Reading{Device: device, Channel: channel, Value: tidegate.Float(v)}
}

// tellDerived renders the derived readings of an outcome.
func tellDerived(o Outcome) string {
	var out []string
	for _, r := range o.Derived {
		if r.Fault != "" {
			out = append(out, fmt.Sprintf("%s.%s fault %s", r.Device, r.Channel, r.Fault))
			continue
		}
		out = append(out, fmt.Sprintf("%s.%s=%v", r.Device, r.Channel, r.Value))
	}
	return strings.Join(out, " ")
}

func TestDerive(t *testing.T) {
	s := newSet(t,
		Rule{Name: "much", When: must(t, "line.apparent > 100"), Severity: SeverityInfo, Text: "much"}, // stands before who derives it
		deriving(t, "apparent", "", "line.apparent", "meter1.u * meter1.i"),
		deriving(t, "dear", "clock.tariff == 1", "line.cost", "line.apparent * 2"),
	)
	bad := number("meter1", "u", 1)
	bad.Fault = "no answer"
	for i, step := range []struct {
		readings []tidegate.Reading
		derived  string
		told     string
	}{
		{[]tidegate.Reading{number("meter1", "u", 10)}, "", ""}, // i is not known yet
		{[]tidegate.Reading{number("meter1", "i", 3)}, "line.apparent=30", ""},
		{[]tidegate.Reading{number("meter1", "u", 20), number("meter1", "i", 4)}, "line.apparent=80", ""}, // once for both
		{[]tidegate.Reading{bad}, "", ""},                                                                 // a fault is no value
		{[]tidegate.Reading{number("meter1", "x", 4)}, "", ""},
		{[]tidegate.Reading{number("clock", "tariff", 1)}, "", ""},
		{[]tidegate.Reading{number("meter1", "i", 6)}, "line.apparent=120 line.cost=240", "raised much info \"much\" line.apparent=120\n"},
		{[]tidegate.Reading{number("clock", "tariff", 2), number("meter1", "i", 1)}, "line.apparent=20", "cleared much info \"much\" line.apparent=20\n"},
		{[]tidegate.Reading{number("meter1", "i", 1), number("meter1", "i", 2)}, "line.apparent=20 line.apparent=40", ""}, // two instants
	} {
		out := s.Apply(record(time.Duration(i)*time.Second, step.readings...))
		if got := tellDerived(out); got != step.derived {
			t.Errorf("step %d: derived %q, want %q", i, got, step.derived)
		}
		if got := tell(out); got != step.told {
			t.Errorf("step %d: told %q, want %q", i, got, step.told)
		}
		for _, r := range out.Derived {
			if r.Unit != "W" || !r.Time.IsZero() {
				t.Errorf("step %d: unit %q, time %v", i, r.Unit, r.Time)
			}
		}
	}
	if got, want := fmt.Sprint(s.Status()), "[{much false false  1} {apparent true false  0} {dear false false  1}]"; got != want {
		t.Errorf("status %s, want %s", got, want)
	}
}

func TestDerivedReadingsHaveTheTimeOfWhatTheyCameFrom(t *testing.T) {
	s := newSet(t, deriving(t, "double", "", "x.y", "d.a * 2"))
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	early := number("d", "a", 1)
	early.Time = now.Add(-2 * time.Second)
	out := s.Apply(&tidegate.Record{Class: tidegate.ClassReading, Time: now, Boot: time.Hour, Readings: []tidegate.Reading{early, number("d", "a", 2)}})
	if got := tellDerived(out); got != "x.y=2 x.y=4" || !out.Derived[0].Time.Equal(early.Time) || !out.Derived[1].Time.IsZero() {
		t.Errorf("got %s at %v and %v", got, out.Derived[0].Time, out.Derived[1].Time)
	}
}

func TestDeriveIsBounded(t *testing.T) {
	s := newSet(t, deriving(t, "copy", "", "x.y", "d.a"))
	var list []tidegate.Reading
	for i := range tidegate.MaxReadings {
		list = append(list, number("d", "a", float64(i)))
	}
	out := s.Apply(record(1, list...))
	if len(out.Derived) != tidegate.MaxReadings || out.Derived[tidegate.MaxReadings-1].Fault != "" {
		t.Fatalf("%d readings, the last %+v", len(out.Derived), out.Derived[len(out.Derived)-1])
	}
	if out = s.Apply(record(2, append(list, number("d", "a", -1))...)); len(out.Derived) != tidegate.MaxReadings ||
		!strings.HasPrefix(out.Derived[tidegate.MaxReadings-1].Fault, "more than 1000 readings were derived") {
		t.Errorf("%d readings, the last %+v", len(out.Derived), out.Derived[len(out.Derived)-1])
	}
	text := tidegate.Reading{Device: "d", Channel: "a", Value: tidegate.Text(strings.Repeat("x", longestDerived))}
	if out := s.Apply(record(3, text)); len(out.Derived) != 1 || !out.Derived[0].Value.Equal(text.Value) {
		t.Errorf("a text of %d bytes became %+v", longestDerived, out.Derived)
	}
	text.Value = tidegate.Text(strings.Repeat("x", longestDerived+1))
	if got, want := tellDerived(s.Apply(record(4, text))), "x.y fault derived text has 257 bytes, at most 256 can be kept"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDeriveRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		list []Rule
		want string
	}{
		"itself":        {[]Rule{deriving(t, "a", "", "x.a", "x.a + 1")}, "a rule looks at what it derives itself: a -> a"},
		"own condition": {[]Rule{deriving(t, "a", "x.a > 1", "x.a", "d.a")}, "a rule looks at what it derives itself: a -> a"},
		"three": {
			[]Rule{deriving(t, "c", "", "x.c", "x.b"), deriving(t, "a", "x.c > 1", "x.a", "d.a"), deriving(t, "b", "", "x.b", "x.a")},
			"a rule looks at what it derives itself: a -> b -> c -> a",
		},
		"beside it": {
			[]Rule{deriving(t, "z", "", "x.z", "x.c"), deriving(t, "c", "", "x.c", "x.b"), deriving(t, "b", "", "x.b", "x.c")},
			"a rule looks at what it derives itself: b -> c -> b",
		},
		"twice":      {[]Rule{deriving(t, "a", "", "x.a", "d.a"), deriving(t, "b", "", "x.a", "d.a")}, `rule "b": channel x.a is derived by rule "a" already`},
		"no channel": {[]Rule{deriving(t, "a", "", "x.a", "1 + 1")}, `rule "a": derived channel x.a looks at no other`},
		"bad name":   {[]Rule{deriving(t, "a", "", "_rules.a", "d.a")}, `rule "a": derived channel _rules.a: name begins with "_", which is reserved for the gateway itself`},
		"nothing":    {[]Rule{{Name: "a"}}, "rule \"a\": condition `when` is missing"},
		"for":        {[]Rule{{Name: "a", For: 1, Derives: deriving(t, "a", "", "x.a", "d.a").Derives}}, "rule \"a\": condition `when` is missing"},
	} {
		if _, err := New(c.list, 0); err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

// reborn returns a Set restored from store, which holds what outcomes said; it must be what s would save.
func reborn(t *rapid.T, s *Set, list []Rule, store map[string]string, sameBoot bool) *Set {
	for _, st := range s.State() {
		if store[st.Key] != string(st.Body) {
			t.Fatalf("%s: stored %x, state %x", st.Key, store[st.Key], st.Body)
		}
	}
	var stored []State
	for _, key := range slices.Sorted(maps.Keys(store)) {
		stored = append(stored, State{Key: key, Body: []byte(store[key])})
	}
	again, err := New(list, 0)
	if err != nil {
		t.Fatal(err)
	}
	out, err := again.Restore(stored, sameBoot)
	if err != nil {
		t.Fatal(err)
	}
	keep(store, out)
	return again
}

// keep does to store what a commit of the outcome does.
func keep(store map[string]string, out Outcome) {
	for _, c := range out.Changed {
		if store[c.Key] = string(c.Body); c.Body == nil {
			delete(store, c.Key)
		}
	}
}

// deriveModel thinks the whole past through again for every instant: what rules p, q and seen of TestDeriveAgainstModel say.
type deriveModel struct {
	p, q    string // expressions of x.p and x.q
	when    bool   // x.q is derived only while d.b > 1
	a, b, x []float64
	isOn    bool // d.b > 1
	raised  bool // x.q > 3
}

// instant takes what was read at one time, NaN-free; nil = nothing of this channel. It returns what is derived, and what becomes of the alarm.
func (m *deriveModel) instant(a, b *float64) (derived []string, told string) {
	if a != nil {
		m.a = append(m.a, *a)
	}
	if b != nil {
		m.b = append(m.b, *b)
		m.isOn = *b > 1
	}
	last := func(list []float64, back int) (float64, bool) {
		if len(list) < back {
			return 0, false
		}
		return list[len(list)-back], true
	}
	va, okA := last(m.a, 1)
	vb, okB := last(m.b, 1)
	var p float64
	var ok bool
	switch m.p {
	case "d.a":
		p, ok = va, a != nil
	case "total(d.a)":
		for _, v := range m.a {
			p += v
		}
		ok = a != nil
	case "d.a + d.b":
		p, ok = va+vb, okA && okB && (a != nil || b != nil)
	case "prev(d.a)":
		p, ok = last(m.a, 2)
		ok = ok && a != nil
	}
	if ok {
		derived = append(derived, fmt.Sprintf("x.p=%v", tidegate.Float(p)))
		m.x = append(m.x, p)
	}
	newP, hasP := ok, len(m.x) > 0
	vp, _ := last(m.x, 1)
	var q float64
	switch m.q {
	case "x.p * 2":
		q, ok = vp*2, newP
	case "x.p + d.b":
		q, ok = vp+vb, hasP && okB && (newP || b != nil)
	case "total(x.p)":
		for _, v := range m.x {
			q += v
		}
		ok = newP
	}
	if !ok || m.when && !m.isOn {
		return derived, ""
	}
	if m.raised != (q > 3) {
		m.raised = q > 3
		told = map[bool]string{true: "raised", false: "cleared"}[m.raised] + fmt.Sprintf(" seen info \"t\" x.q=%v\n", tidegate.Float(q))
	}
	return append(derived, fmt.Sprintf("x.q=%v", tidegate.Float(q))), told
}

// TestDeriveAgainstModel compares three rules, of which each looks at what the one before derives, in any order of the file, with the model, over
// random readings with faults, and restarts at random moments.
func TestDeriveAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &deriveModel{
			p:    rapid.SampledFrom([]string{"d.a", "total(d.a)", "d.a + d.b", "prev(d.a)"}).Draw(t, "p"),
			q:    rapid.SampledFrom([]string{"x.p * 2", "x.p + d.b", "total(x.p)"}).Draw(t, "q"),
			when: rapid.Bool().Draw(t, "has when"),
		}
		compile := func(text string, want lang.Want) *lang.Program {
			p, faults := lang.Compile(text, want, schema)
			if len(faults) > 0 {
				t.Fatal(faults[0])
			}
			return p
		}
		list := []Rule{
			{Name: "p", Derives: []Derive{{Device: "x", Channel: "p", Value: compile(m.p, lang.Value)}}},
			{Name: "q", Derives: []Derive{{Device: "x", Channel: "q", Value: compile(m.q, lang.Value)}}},
			{Name: "seen", When: compile("x.q > 3", lang.Condition), Severity: SeverityInfo, Text: "t"},
		}
		if m.when {
			list[1].When = compile("d.b > 1", lang.Condition)
		}
		list = rapid.Permutation(list).Draw(t, "order")
		s, err := New(list, 0)
		if err != nil {
			t.Fatal(err)
		}
		store := map[string]string{}
		for i := range rapid.IntRange(1, 40).Draw(t, "records") {
			var derived []string
			told := ""
			rec := record(time.Duration(i) * time.Second)
			var now [2]*float64
			flush := func() {
				d, tell := m.instant(now[0], now[1])
				derived, told, now = append(derived, d...), told+tell, [2]*float64{}
			}
			heard := map[string]bool{}
			for range rapid.IntRange(1, 4).Draw(t, "readings") {
				at := rapid.IntRange(0, 2).Draw(t, "channel")
				rd := number("d", string("abc"[at]), float64(rapid.IntRange(-2, 3).Draw(t, "value")))
				if rapid.IntRange(0, 7).Draw(t, "odd") == 0 {
					rd.Fault = "x"
				}
				if at < 2 && heard[rd.Channel] { // comes twice: another instant
					flush()
					clear(heard)
				}
				heard[rd.Channel] = at < 2
				if v, _ := rd.Value.Number(); at < 2 && rd.Fault == "" {
					now[at] = &v
				}
				rec.Readings = append(rec.Readings, rd)
			}
			flush()
			out := s.Apply(rec)
			if got, want := tellDerived(out), strings.Join(derived, " "); got != want {
				t.Fatalf("record %d: derived %q, want %q", i, got, want)
			}
			if got := tell(out); got != told {
				t.Fatalf("record %d: told %q, want %q", i, got, told)
			}
			keep(store, out)
			if rapid.IntRange(0, 3).Draw(t, "restart") == 0 {
				s = reborn(t, s, list, store, true)
			}
		}
	})
}

func TestWhatIsDerivedGoesOnAfterAReboot(t *testing.T) {
	list := []Rule{deriving(t, "energy", "", "x.e", `integral(d.p)`)}
	s := newSet(t, list...)
	for i := range 4 {
		s.Apply(record(time.Duration(i)*time.Second, number("d", "p", 10)))
	}
	again := newSet(t, list...)
	if _, err := again.Restore(s.State(), false); err != nil {
		t.Fatal(err)
	}
	again.Apply(record(time.Second, number("d", "p", 10)))
	if got, want := tellDerived(again.Apply(record(2*time.Second, number("d", "p", 10)))), "x.e=40"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	other := newSet(t, deriving(t, "energy", "", "x.e", `integral(d.p) * 2`))
	out, err := other.Restore(s.State(), true)
	if err != nil || len(out.Changed) != 1 || out.Changed[0].Body != nil {
		t.Errorf("another expression: %v, changed %v", err, out.Changed)
	}
	if got := tellDerived(other.Apply(record(9*time.Second, number("d", "p", 10)))); !slices.Contains([]string{"", "x.e=0"}, got) {
		t.Errorf("another expression began with %s", got)
	}
}

func TestDeriveAllocatesNothing(t *testing.T) {
	s := newSet(t, deriving(t, "apparent", "", "line.apparent", "meter1.u * meter1.i"), deriving(t, "twice", "line.apparent > 1e9", "line.twice", "line.apparent * 2"))
	rec := record(1, number("meter1", "u", 3), number("meter1", "i", 4))
	s.Apply(rec)
	if n := testing.AllocsPerRun(100, func() { rec.Boot++; s.Apply(rec) }); n != 0 {
		t.Errorf("%v allocations a record, want none", n)
	}
}

// TestWhatLooksAtDerivedChannelsWaitsForThem: rule seen is concerned by d.a at once, and has to wait for two that derive from it.
func TestWhatLooksAtDerivedChannelsWaitsForThem(t *testing.T) {
	s := newSet(t,
		Rule{Name: "seen", When: must(t, "x.q > 3 and d.a < 99"), Severity: SeverityInfo, Text: "t"},
		deriving(t, "q", "", "x.q", "x.p * 2"), deriving(t, "p", "", "x.p", "d.a"),
	)
	for _, step := range []struct {
		v    float64
		want string
	}{{1, ""}, {2, "raised seen info \"t\" x.q=4\n"}, {1, "cleared seen info \"t\" x.q=2\n"}, {100, ""}} {
		if got := tell(s.Apply(record(0, number("d", "a", step.v)))); got != step.want {
			t.Errorf("%v: got %q, want %q", step.v, got, step.want)
		}
	}
}

// TestParkedByWhatItDerives: a rule that looks at too much text for a channel that it derives is parked, also where time was to have it looked
// at again; what is due of others goes on.
func TestParkedByWhatItDerives(t *testing.T) {
	value, faults := lang.Compile(`(d.text contains "a" `+strings.Repeat(`or d.text contains "a" `, 20)+`) ? 1 : 2`, lang.Value, schema)
	if len(faults) > 0 {
		t.Fatal(faults[0])
	}
	s := newSet(t,
		Rule{
			Name: "greedy", When: must(t, "not missing(d.text, 5s)"), Severity: SeverityInfo, Text: "x",
			Derives: []Derive{{Device: "x", Channel: "y", Value: value}},
		},
		Rule{Name: "other", When: must(t, "missing(d.text, 8s)"), Severity: SeverityInfo, Text: "x"},
	)
	text := tidegate.Reading{Device: "d", Channel: "text", Value: tidegate.Text(strings.Repeat("x", 60_000))}
	if got := alarms(s.Apply(record(time.Second, text))); !slices.Equal(got, []string{"raised greedy at 1s"}) || s.Status()[0].Parked == "" {
		t.Errorf("got %q, %+v", got, s.Status()[0])
	}
	if got := alarms(s.Advance(time.Minute, time.Time{})); !slices.Equal(got, []string{"raised other at 9s"}) {
		t.Errorf("got %q", got)
	}
}
