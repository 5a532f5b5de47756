package rules

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"pgregory.net/rapid"
)

// reading is a rule that has devices read at other intervals, in ms, while d.<name> > 0.
func reading(t testing.TB, name string, every map[string]int) Rule {
	t.Helper()
	r := Rule{Name: name, When: must(t, "d."+name+" > 0")}
	for _, device := range slices.Sorted(maps.Keys(every)) {
		r.Intervals = append(r.Intervals, Interval{Device: device, Every: time.Duration(every[device]) * time.Millisecond})
	}
	return r
}

func tellIntervals(list []Interval) string {
	var out []string
	for _, x := range list {
		out = append(out, fmt.Sprintf("%s %v %s", x.Device, x.Every, x.Rule))
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func TestIntervals(t *testing.T) {
	s := newSet(t,
		reading(t, "a", map[string]int{"m": 500, "n": 200}), reading(t, "b", map[string]int{"m": 100}), reading(t, "c", map[string]int{"m": 100}))
	for i, step := range []struct {
		readings []tidegate.Reading
		want     string
	}{
		{[]tidegate.Reading{number("d", "a", 1)}, "m 500ms a, n 200ms a"},
		{[]tidegate.Reading{number("d", "a", 1), number("m", "x", 1)}, ""},
		{[]tidegate.Reading{number("d", "b", 1)}, "m 100ms b"},
		{[]tidegate.Reading{number("d", "c", 1)}, ""},                                  // not shorter
		{[]tidegate.Reading{number("d", "b", 0)}, "m 100ms c"},                         // another one's now
		{[]tidegate.Reading{number("d", "c", 0), number("d", "a", 0)}, "m 0s , n 0s "}, // each device once
		{[]tidegate.Reading{number("d", "a", 1), number("d", "a", 0)}, "m 0s , n 0s "}, // in and out again in one record
		{[]tidegate.Reading{number("d", "b", 1), number("d", "a", 1)}, "m 100ms b, n 200ms a"},
		{[]tidegate.Reading{{Device: "d", Channel: "a", Fault: "no answer"}}, ""}, // faults end nothing
		{[]tidegate.Reading{number("d", "b", 0), number("d", "a", -1)}, "m 0s , n 0s "},
	} {
		out := s.Apply(record(time.Duration(i)*time.Second, step.readings...))
		if got := tellIntervals(out.Intervals); got != step.want {
			t.Errorf("step %d: got %q, want %q", i, got, step.want)
		}
	}
}

// TestIntervalsByTimeAlone: they begin and end without a reading, too.
func TestIntervalsByTimeAlone(t *testing.T) {
	r := reading(t, "a", map[string]int{"m": 500})
	r.For = 10 * time.Second
	r.Clear = must(t, "missing(d.a, 30s)")
	s := newSet(t, r)
	if out := s.Apply(record(time.Second, number("d", "a", 1))); len(out.Intervals) > 0 {
		t.Errorf("before `for` is over: %v", out.Intervals)
	}
	if got := tellIntervals(s.Advance(11*time.Second, time.Time{}).Intervals); got != "m 500ms a" {
		t.Errorf("after `for`: %q", got)
	}
	if got := tellIntervals(s.Advance(31*time.Second, time.Time{}).Intervals); got != "m 0s " {
		t.Errorf("when cleared: %q", got)
	}
}

// TestIntervalOfAParkedRule: it would never end.
func TestIntervalOfAParkedRule(t *testing.T) {
	text := func(n int) tidegate.Reading {
		return tidegate.Reading{Device: "d", Channel: "text", Value: tidegate.Text(strings.Repeat("a", n))}
	}
	a := Rule{Name: "a", When: must(t, `d.text contains "a"`), Intervals: []Interval{{Device: "m", Every: time.Second}}}
	b := reading(t, "b", map[string]int{"m": 5000})
	s := newSet(t, a, b)
	s.Apply(record(1, text(3), number("d", "b", 1)))
	if got := tellIntervals(s.Intervals()); got != "m 1s a" {
		t.Fatalf("while it is judged: %q", got)
	}
	out := s.Apply(record(2, text(2<<20)))
	if got := tellIntervals(out.Intervals); got != "m 5s b" || s.Status()[0].Parked == "" {
		t.Errorf("when it is parked: %q, %+v", got, s.Status()[0])
	}
	if got := tellIntervals(s.Intervals()); got != "m 5s b" {
		t.Errorf("then: %q", got)
	}
}

func TestIntervalsThatAreNone(t *testing.T) {
	for want, r := range map[string]Rule{
		`rule "x": interval of no device`:                          {When: must(t, "d.a > 0"), Intervals: []Interval{{Every: 1}}},
		`rule "x": interval of device m is not positive (got 0s)`:  {When: must(t, "d.a > 0"), Intervals: []Interval{{Device: "m"}}},
		"rule \"x\": condition `when` is missing":                  {Intervals: []Interval{{Device: "m", Every: 1}}},
		`rule "x": interval of device n is not positive (got -1s)`: {When: must(t, "d.a > 0"), Intervals: []Interval{{Device: "m", Every: 1}, {Device: "n", Every: -time.Second}}},
	} {
		r.Name = "x"
		if _, err := New([]Rule{r}, 0); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestIntervalsModel compares, over random readings, restarts and other rules, what devices are told with the plainest account of it: the shortest
// interval of the rules that are active.
func TestIntervalsModel(t *testing.T) {
	names, devices := []string{"a", "b", "c", "e", "f"}, []string{"m", "n", "o"}
	rapid.Check(t, func(rt *rapid.T) {
		draw := func() (list []Rule) {
			for _, name := range names {
				if rapid.IntRange(0, 4).Draw(rt, "armed") == 0 {
					continue
				}
				r := reading(t, name, rapid.MapOfN(rapid.SampledFrom(devices), rapid.IntRange(1, 6), 0, 3).Draw(rt, "every"))
				r.For = time.Duration(rapid.IntRange(0, 2).Draw(rt, "for")) * time.Second
				r.Severity = SeverityInfo
				list = append(list, r)
			}
			return list
		}
		list := draw()
		s := newSet(t, list...)
		told := map[string]time.Duration{} // as devices are
		take := func(intervals []Interval) {
			seen := map[string]bool{}
			for _, x := range intervals {
				if seen[x.Device] {
					rt.Errorf("%s stands twice in %v", x.Device, intervals)
				}
				seen[x.Device] = true
				if told[x.Device] = x.Every; x.Every == 0 {
					delete(told, x.Device)
				}
			}
		}
		now := time.Duration(0)
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			now += time.Duration(rapid.IntRange(1, 1500).Draw(rt, "ms")) * time.Millisecond
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0: // a restart, or other rules
				states := slices.Clone(s.State())
				for i := range states {
					states[i].Body = slices.Clone(states[i].Body)
				}
				if rapid.Bool().Draw(rt, "others") {
					list = draw()
				}
				next := newSet(t, list...)
				out, err := next.Restore(states, rapid.Bool().Draw(rt, "same boot"))
				if err != nil || len(out.Intervals) > 0 {
					rt.Fatalf("restore: %v, %v", err, out.Intervals)
				}
				s = next
				s.GoOn(now)
				clear(told)
				take(s.Intervals())
			case 1:
				take(s.Advance(now, time.Time{}).Intervals)
			default:
				var readings []tidegate.Reading
				for range rapid.IntRange(1, 4).Draw(rt, "readings") {
					readings = append(readings, number("d", rapid.SampledFrom(names).Draw(rt, "channel"), float64(rapid.IntRange(0, 1).Draw(rt, "value"))))
				}
				take(s.Apply(record(now, readings...)).Intervals)
			}
			want := map[string]time.Duration{}
			by := map[string]string{}
			for i, st := range s.Status() {
				for _, x := range list[i].Intervals {
					if d, is := want[x.Device]; st.Active && (!is || x.Every < d) {
						want[x.Device], by[x.Device] = x.Every, st.Name
					}
				}
			}
			if !maps.Equal(told, want) {
				rt.Fatalf("devices are told %v, want %v by %+v", told, want, s.Status())
			}
			for _, x := range s.Intervals() {
				if x.Every != want[x.Device] || x.Rule != by[x.Device] {
					rt.Fatalf("%+v is in force, want %v by %s", x, want[x.Device], by[x.Device])
				}
			}
		}
	})
}
