package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
)

func level(name string, v float64) tidegate.Reading {
	return tidegate.Reading{Device: "d", Channel: name, Value: tidegate.Float(v)}
}

// alarms returns what happened, as "raised r at 3s".
func alarms(o Outcome) (out []string) {
	for _, a := range o.Alarms {
		word := "cleared "
		if a.Raised {
			word = "raised "
		}
		out = append(out, word+a.Rule+" at "+a.Boot.String())
	}
	return out
}

// TestLateReadings: what is older than the newest of its channel is not judged, and counted; of another channel it is.
func TestLateReadings(t *testing.T) {
	s := newSet(t, Rule{Name: "r", When: must(t, "d.a > 5"), Severity: SeverityInfo, Text: "x"})
	s.Apply(record(10*time.Second, level("a", 1)))
	if got := alarms(s.Apply(record(9*time.Second, level("a", 9)))); got != nil || s.Late() != 1 {
		t.Errorf("a late reading led to %q, %d are late", got, s.Late())
	}
	if got := alarms(s.Apply(record(10*time.Second, level("a", 9)))); len(got) != 1 || s.Late() != 1 {
		t.Errorf("a reading of the same time led to %q, %d are late", got, s.Late())
	}
}

// TestOwnTimes: a reading's own time counts up to 10 s before the end of its Read; readings of one channel are judged one by one.
func TestOwnTimes(t *testing.T) {
	at := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
	own := func(early time.Duration, v float64) tidegate.Reading {
		r := level("a", v)
		r.Time = at.Add(-early)
		return r
	}
	for name, c := range map[string]struct {
		readings []tidegate.Reading
		want     []string
	}{
		"edges of one Read":   {[]tidegate.Reading{own(3*time.Second, 9), own(2*time.Second, 1), own(time.Second, 9)}, []string{"raised r at 57s", "cleared r at 58s", "raised r at 59s"}},
		"all at its end":      {[]tidegate.Reading{level("a", 9), level("a", 1)}, []string{"raised r at 1m0s", "cleared r at 1m0s"}},
		"a satellite's date":  {[]tidegate.Reading{own(46*365*24*time.Hour, 9)}, []string{"raised r at 1m0s"}},
		"from after the Read": {[]tidegate.Reading{own(-time.Hour, 9)}, []string{"raised r at 1m0s"}},
	} {
		s := newSet(t, Rule{Name: "r", When: must(t, "d.a > 5"), Severity: SeverityInfo, Text: "x"})
		rec := record(time.Minute, c.readings...)
		rec.Time = at
		if got := alarms(s.Apply(rec)); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// TestForAlone: `for` needs no further reading, but waits for one where the channel has failed or the gateway was started anew.
func TestForAlone(t *testing.T) {
	door := Rule{Name: "door", When: must(t, "d.open > 0"), For: time.Minute, Severity: SeverityInfo, Text: "x"}
	fault := level("open", 0)
	fault.Fault = "line is gone"
	for name, c := range map[string]struct {
		between func(s *Set) *Set
		want    []string
	}{
		"nothing happens": {func(s *Set) *Set { return s }, []string{"raised door at 1m1s"}},
		"it fails":        {func(s *Set) *Set { s.Apply(record(30*time.Second, fault)); return s }, []string{"raised door at 1m30s"}},
		"it fails and comes back": {func(s *Set) *Set {
			s.Apply(record(30*time.Second, fault))
			s.Apply(record(40*time.Second, level("open", 1)))
			return s
		}, []string{"raised door at 1m1s"}},
		"the gateway starts anew": {func(s *Set) *Set {
			again := newSet(t, door)
			if _, err := again.Restore(s.State(), true); err != nil {
				t.Fatal(err)
			}
			return again
		}, []string{"raised door at 1m30s"}},
		"rules are replaced": {func(s *Set) *Set {
			again := newSet(t, door)
			if _, err := again.Restore(s.State(), true); err != nil {
				t.Fatal(err)
			}
			again.Continue(s)
			return again
		}, []string{"raised door at 1m1s"}},
		"it fails, and rules are replaced": {func(s *Set) *Set {
			s.Apply(record(30*time.Second, fault))
			again := newSet(t, door)
			if _, err := again.Restore(s.State(), true); err != nil {
				t.Fatal(err)
			}
			again.Continue(s)
			return again
		}, []string{"raised door at 1m30s"}},
		"it closes": {func(s *Set) *Set { s.Apply(record(30*time.Second, level("open", 0))); return s }, nil},
	} {
		s := newSet(t, door)
		s.Apply(record(time.Second, level("open", 1)))
		s = c.between(s)
		got := alarms(s.Advance(80*time.Second, time.Time{}))
		if name != "it closes" {
			got = append(got, alarms(s.Apply(record(90*time.Second, level("open", 1))))...)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// TestRulesInTheirOrder: rules that one instant concerns follow each other as they stand in the configuration, whatever the order of the readings.
func TestRulesInTheirOrder(t *testing.T) {
	s := newSet(t,
		Rule{Name: "r1", When: must(t, "d.b > 5"), Severity: SeverityInfo, Text: "x"},
		Rule{Name: "r2", When: must(t, "d.a > 5"), Severity: SeverityInfo, Text: "x"},
		Rule{Name: "r3", When: must(t, "d.b > 6"), Severity: SeverityInfo, Text: "x"},
	)
	got := alarms(s.Apply(record(time.Second, level("a", 9), level("b", 9))))
	if want := []string{"raised r1 at 1s", "raised r2 at 1s", "raised r3 at 1s"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestFaultOfClear: a channel that only `clear` looks at may fail while a rule is pending: that says nothing of `when`.
func TestFaultOfClear(t *testing.T) {
	s := newSet(t, Rule{Name: "r", When: must(t, "d.a > 5"), For: time.Minute, Clear: must(t, "d.b > 5"), Severity: SeverityInfo, Text: "x"})
	s.Apply(record(time.Second, level("a", 9)))
	bad := level("b", 0)
	bad.Fault = "no reply"
	s.Apply(record(2*time.Second, bad))
	if got := alarms(s.Advance(2*time.Minute, time.Time{})); !slices.Equal(got, []string{"raised r at 1m1s"}) {
		t.Errorf("got %q", got)
	}
}

// TestWhatDecided: an alarm names the channel that was just read and made the rule active, or, where it was time, the first that the condition names.
func TestWhatDecided(t *testing.T) {
	for hold, want := range map[time.Duration]string{0: "d.b 9", time.Minute: "d.a 1"} {
		s := newSet(t, Rule{Name: "r", When: must(t, "d.a + d.b > 5"), For: hold, Severity: SeverityInfo, Text: "x"})
		s.Apply(record(time.Second, level("a", 1)))
		list := slices.Clone(s.Apply(record(2*time.Second, level("b", 9))).Alarms)
		list = append(list, s.Advance(5*time.Minute, time.Time{}).Alarms...)
		if len(list) != 1 || list[0].Channel+" "+list[0].Value.String() != want {
			t.Errorf("for %v: got %+v, want %s", hold, list, want)
		}
	}
}

// TestForWhileItStarts: readings that waited while the gateway started, before the time from which on it looks, are judged as they came: a door
// that was open for long enough by then and is closed since has been open.
func TestForWhileItStarts(t *testing.T) {
	s, err := New([]Rule{
		{Name: "r", When: must(t, "d.a > 5"), For: 30 * time.Second, Severity: SeverityInfo, Text: "x"},
		{Name: "silent", When: must(t, "missing(d.a, 1m)"), For: time.Second, Severity: SeverityInfo, Text: "x"},
	}, 5*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, rec := range []*tidegate.Record{record(time.Minute, level("a", 9)), record(3*time.Minute, level("a", 1))} {
		got = append(got, alarms(s.Apply(rec))...)
	}
	got = append(got, alarms(s.Advance(10*time.Minute, time.Time{}))...)
	if want := "[raised r at 1m30s cleared r at 3m0s raised silent at 6m1s]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// TestAsksForFaults: a rule can ask for faults, together with the value of before, also behind a restart.
func TestAsksForFaults(t *testing.T) {
	r := Rule{Name: "r", When: must(t, "fault(d.a) and d.a > 5"), Severity: SeverityInfo, Text: "x"}
	bad := level("a", 0)
	bad.Fault = "no reply"
	s := newSet(t, r)
	out := s.Apply(record(time.Second, level("a", 9)))
	again := newSet(t, r)
	if _, err := again.Restore(slices.Clone(out.Changed), true); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*Set{"as it was": s, "restored": again} {
		if got := alarms(s.Apply(record(2*time.Second, bad))); !slices.Equal(got, []string{"raised r at 2s"}) {
			t.Errorf("%s: got %q", name, got)
		}
		if got := alarms(s.Apply(record(3*time.Second, level("a", 9)))); !slices.Equal(got, []string{"cleared r at 3s"}) {
			t.Errorf("%s: got %q", name, got)
		}
	}
}

// TestDeviceFails: a device that fails as a whole is a fault of each of its channels, and of no other device's.
func TestDeviceFails(t *testing.T) {
	s := newSet(t,
		Rule{Name: "a", When: must(t, "fault(d.a)"), Severity: SeverityInfo, Text: "x"},
		Rule{Name: "b", When: must(t, "fault(d.b)"), Severity: SeverityInfo, Text: "x"},
		Rule{Name: "other", When: must(t, "fault(e.a)"), Severity: SeverityInfo, Text: "x"},
		Rule{Name: "held", When: must(t, "d.b > 0"), For: time.Minute, Severity: SeverityInfo, Text: "x"},
	)
	s.Apply(record(time.Second, level("a", 1), level("b", 1)))
	gone := tidegate.Reading{Device: "d", Channel: DeviceChannel, Fault: "port is gone"}
	if got := alarms(s.Apply(record(2*time.Second, gone))); !slices.Equal(got, []string{"raised a at 2s", "raised b at 2s"}) {
		t.Errorf("gone: %q", got)
	}
	if got := alarms(s.Advance(2*time.Minute, time.Time{})); got != nil {
		t.Errorf("by time alone, although its channel failed: %q", got)
	}
	got := alarms(s.Apply(record(3*time.Minute, level("a", 1), level("b", 1))))
	if !slices.Equal(got, []string{"cleared a at 3m0s", "cleared b at 3m0s", "raised held at 3m0s"}) {
		t.Errorf("back: %q", got)
	}
}

// TestTimeOfDay: hour() is looked at each minute, by the wall clock in the zone that it is told in, and not known where the clock is not.
func TestTimeOfDay(t *testing.T) {
	s := newSet(t, Rule{Name: "night", When: must(t, "hour() >= 22"), Severity: SeverityInfo, Text: "x"})
	wall := time.Date(2026, 1, 5, 21, 59, 30, 0, time.UTC)
	if got := alarms(s.Advance(time.Hour, time.Time{})); got != nil {
		t.Errorf("without a clock: %q", got)
	}
	s.Advance(2*time.Hour, wall)
	if got := alarms(s.Advance(2*time.Hour+29*time.Second, wall.Add(29*time.Second))); got != nil {
		t.Errorf("before 22:00: %q", got)
	}
	if got := alarms(s.Advance(2*time.Hour+time.Minute, wall.Add(time.Minute))); !slices.Equal(got, []string{"raised night at 2h0m30s"}) {
		t.Errorf("got %q", got)
	}
}

// TestParked: a rule that looks at too much text is not judged any more, and says why; others are.
func TestParked(t *testing.T) {
	s := newSet(t,
		Rule{Name: "greedy", When: must(t, strings.Repeat(`d.text contains "a" or `, 80)+`d.text contains "b"`), Severity: SeverityInfo, Text: "x"},
		Rule{Name: "modest", When: must(t, "d.a > 5"), Severity: SeverityInfo, Text: "x"},
	)
	text := tidegate.Reading{Device: "d", Channel: "text", Value: tidegate.Text(strings.Repeat("x", 60000))}
	got := alarms(s.Apply(record(time.Second, text, level("a", 9))))
	if !slices.Equal(got, []string{"raised modest at 1s"}) {
		t.Errorf("got %q", got)
	}
	if why := s.Status()[0].Parked; !strings.Contains(why, "1048576 bytes of text") {
		t.Errorf("parked: %q", why)
	}
	text.Value = tidegate.Text("a")
	if got := alarms(s.Apply(record(2*time.Second, text))); got != nil {
		t.Errorf("a parked rule says %q", got)
	}
}

// TestTurned: what a condition keeps changes with each reading, which is no change of how a rule stands.
func TestTurned(t *testing.T) {
	s := newSet(t, Rule{Name: "r", When: must(t, "avg(d.a, 1m) > 5"), Severity: SeverityInfo, Text: "x"})
	for i, c := range []struct {
		value float64
		want  bool
	}{{1, false}, {2, false}, {50, true}, {51, false}} {
		out := s.Apply(record(time.Duration(i)*time.Second, level("a", c.value)))
		if out.Turned != c.want || len(out.Changed) == 0 {
			t.Errorf("reading %d: turned %v, want %v; changed %v", i, out.Turned, c.want, out.Changed)
		}
	}
	if out := s.Advance(3*time.Minute, time.Time{}); out.Turned {
		t.Error("an average that is not known any more ended the rule")
	}
}

// TestExplainedInItsZone: what people are told of the time of day is what the rule goes by.
func TestExplainedInItsZone(t *testing.T) {
	s := newSet(t, Rule{Name: "night", When: must(t, "hour() >= 22"), Severity: SeverityInfo, Text: "x"}).In(time.FixedZone("east", 3*3600))
	s.Advance(time.Hour, time.Date(2026, 1, 5, 20, 0, 0, 0, time.UTC))
	x, _ := s.Explain("night")
	if len(x.Parts) != 1 || x.Parts[0].Value.String() != "23" || !x.Active {
		t.Errorf("got %+v, active %v", x.Parts, x.Active)
	}
}
