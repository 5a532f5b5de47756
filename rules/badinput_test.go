package rules

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
)

// TestBadInput: whatever is read, and whatever the clock says, a rule that cannot be judged does nothing, or is parked and says why; the rule
// beside it fires as ever, and no reading is lost. What check refuses is in package config, TestBadRules.
func TestBadInput(t *testing.T) {
	number := func(v float64) tidegate.Reading { return level("a", v) }
	value := func(v tidegate.Value) tidegate.Reading { return tidegate.Reading{Device: "d", Channel: "a", Value: v} }
	type list = []tidegate.Reading
	for name, c := range map[string]struct {
		when   string
		hold   time.Duration
		reads  list     // one every ten seconds
		want   []string // of the rule
		parked string
		wall   []time.Duration // steps of the wall clock, with each of reads
	}{
		"division by zero":                       {when: "1 / d.a > 0.1", reads: list{number(0), number(5), number(0), number(20)}, want: []string{"raised r at 20s", "cleared r at 40s"}},
		"division of zero by zero":               {when: "d.a / d.a > 0", reads: list{number(0), number(0)}},
		"remainder of a division by zero":        {when: "1 % d.a >= 0", reads: list{number(0), number(3)}, want: []string{"raised r at 20s"}},
		"no number":                              {when: "d.a > 5", reads: list{number(math.NaN()), number(9), number(math.NaN()), number(1)}, want: []string{"raised r at 20s", "cleared r at 40s"}},
		"no number, in a window":                 {when: "avg(d.a, 10y) > 5", reads: list{number(math.NaN()), number(9), number(math.NaN()), number(0)}, want: []string{"raised r at 20s", "cleared r at 40s"}},
		"no number counts as none":               {when: "missing(d.a, 15s)", reads: list{number(1), number(math.NaN()), number(math.NaN())}, want: []string{"raised r at 25s"}},
		"an infinite number":                     {when: "d.a > 5", reads: list{number(math.Inf(1)), number(math.Inf(-1))}, want: []string{"raised r at 10s", "cleared r at 20s"}},
		"an infinite number, in a window":        {when: "sum(d.a, 1h) > 5", reads: list{number(9), number(math.Inf(-1)), number(1)}, want: []string{"raised r at 10s"}},
		"a sum beyond what a double can be":      {when: "sum(d.a, 1h) > 5", reads: list{number(math.MaxFloat64), number(math.MaxFloat64), number(-math.MaxFloat64)}, want: []string{"raised r at 10s"}},
		"a root of what is below zero":           {when: "sqrt(d.a) >= 0", reads: list{number(-1), number(4)}, want: []string{"raised r at 20s"}},
		"a channel becomes a text":               {when: "d.a > 5", reads: list{number(9), value(tidegate.Text("hot")), value(tidegate.Int(1))}, want: []string{"raised r at 10s", "cleared r at 30s"}},
		"a channel becomes a text, in a window":  {when: "max(d.a, 1h) > 5", reads: list{value(tidegate.Text("9")), value(tidegate.Int(9))}, want: []string{"raised r at 20s"}},
		"a channel becomes yes or no":            {when: "d.a > 5", reads: list{number(9), value(tidegate.Bool(true))}, want: []string{"raised r at 10s", "cleared r at 20s"}},
		"a channel becomes bytes":                {when: "d.a > 5", reads: list{number(9), value(tidegate.Bytes([]byte{1}))}, want: []string{"raised r at 10s"}},
		"a text becomes a number":                {when: `d.a == "on"`, reads: list{value(tidegate.Text("on")), number(1), value(tidegate.Text("off"))}, want: []string{"raised r at 10s", "cleared r at 30s"}},
		"changed by its kind alone":              {when: "changed(d.a)", reads: list{number(1), value(tidegate.Int(1))}, want: []string{"raised r at 20s"}},
		"only faults":                            {when: "avg(d.a, 10y) > 5", reads: list{{Device: "d", Channel: "a", Fault: "x"}, {Device: "d", Channel: DeviceChannel, Fault: "x"}}},
		"a window of ten years":                  {when: "p50(d.a, 10y) > 5", reads: list{number(1), number(9), number(9)}, want: []string{"raised r at 30s"}},
		"a window of ten years, complete":        {when: "avg(d.a, 10y, tumbling) > 5", reads: list{number(9), number(9)}},
		"a pause of ten years":                   {when: "count(d.a, 10y, session) > 1", reads: list{number(9), number(9)}, want: []string{"raised r at 20s"}},
		"a text longer than may be looked at":    {when: `d.a contains "x" ` + strings.Repeat(`or d.a contains "x" `, 20), reads: list{value(tidegate.Text(strings.Repeat("a", 60_000)))}, parked: "looked at more than 1048576 bytes of text for one reading"},
		"a text longer than may be matched":      {when: `d.a matches "[\\p{L}\\p{N}]{0,900}z$"`, reads: list{value(tidegate.Text(strings.Repeat("a", 60_000)))}, parked: "looked at more than 1048576 bytes of text for one reading"},
		"the clock leaps 20 years ahead":         {when: "d.a > 5", hold: time.Minute, reads: slices.Repeat(list{number(9)}, 8), wall: []time.Duration{0, 0, 20 * 365 * 24 * time.Hour}, want: []string{"raised r at 1m10s"}},
		"the clock leaps a year back":            {when: "d.a > 5", hold: time.Minute, reads: slices.Repeat(list{number(9)}, 8), wall: []time.Duration{0, 0, -365 * 24 * time.Hour}, want: []string{"raised r at 1m10s"}},
		"the clock leaps there and back":         {when: "count(d.a, 40s) > 3 and missing(d.a, 5s)", reads: slices.Repeat(list{number(9)}, 5), wall: []time.Duration{0, 20 * 365 * 24 * time.Hour, -365 * 24 * time.Hour}, want: []string{"raised r at 45s", "cleared r at 50s"}},
		"the clock leaps over the hour":          {when: "d.a > 5 and hour() == 12", reads: slices.Repeat(list{number(9)}, 4), wall: []time.Duration{0, time.Hour, 0}, want: []string{"raised r at 20s", "cleared r at 30s"}},
		"nobody knows what the clock says":       {when: "d.a > 5 and hour() >= 0", reads: list{number(9), number(9)}, wall: []time.Duration{-1, -1}},
		"by time alone, in what is not a number": {when: "missing(d.a, 15s) and 1 / d.a > 1", reads: list{number(0)}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSet(t, Rule{Name: "r", When: must(t, c.when), For: c.hold, Severity: SeverityInfo, Text: "x"},
				Rule{Name: "beside", When: must(t, "d.b % 2 == 1"), Severity: SeverityInfo, Text: "x"})
			begin := time.Date(2026, 1, 5, 11, 0, 0, 0, time.UTC)
			var got, beside []string
			sort := func(out Outcome) {
				for _, a := range alarms(out) {
					if strings.Contains(a, "beside") {
						beside = append(beside, a)
					} else {
						got = append(got, a)
					}
				}
			}
			var want []string
			step := time.Duration(0)
			for i, rd := range c.reads {
				at := time.Duration(i+1) * 10 * time.Second
				rec := record(at, rd, level("b", float64(i+1)))
				if i < len(c.wall) {
					step = c.wall[i]
				}
				if rec.Time = begin.Add(at + step); step < 0 && step > -time.Hour {
					rec.Quality = tidegate.TimeRelative
				}
				wall := rec.Time.Add(-time.Second)
				if rec.Quality == tidegate.TimeRelative {
					wall = time.Time{}
				}
				sort(s.Advance(at-time.Second, wall))
				out := s.Apply(rec)
				if !slices.Equal(out.Readings, rec.Readings) || len(out.Readings) != 2 {
					t.Errorf("reading %d: %v remain", i, out.Readings)
				}
				sort(out)
				want = append(want, fmt.Sprintf("%s beside at %v", map[bool]string{true: "raised", false: "cleared"}[i%2 == 0], at))
			}
			if !slices.Equal(got, c.want) || s.Status()[0].Parked != c.parked {
				t.Errorf("got %q, want %q; parked: %q", got, c.want, s.Status()[0].Parked)
			}
			if !slices.Equal(beside, want) {
				t.Errorf("the rule beside: %q, want %q", beside, want)
			}
		})
	}
}

// TestTenThousandRules: so many rules are armed and judged, each for itself; a reading costs what looks at its channel, not what there is.
func TestTenThousandRules(t *testing.T) {
	var list []Rule
	average, high := must(t, "avg(d.a, 5m) > 5"), must(t, "d.c0 > 5")
	for i := range 10_000 {
		if i%10 == 0 {
			high = must(t, fmt.Sprintf("d.c%d > 5", i/10))
		}
		r := Rule{Name: fmt.Sprint("r", i), When: high, Severity: SeverityInfo, Text: "x"}
		if i%10 == 9 {
			r.When = average
		}
		list = append(list, r)
	}
	s := newSet(t, list...)
	for at := range 9 { // a value for every hundredth channel
		out := s.Apply(record(time.Duration(at)*time.Second, level(fmt.Sprint("c", at*100), 9)))
		if len(out.Alarms) != 9 {
			t.Errorf("channel %d: %d alarms, want 9", at*100, len(out.Alarms))
		}
	}
	if out := s.Apply(record(time.Minute, level("a", 9))); len(out.Alarms) != 1000 {
		t.Errorf("%d alarms, want 1000", len(out.Alarms))
	}
	again := newSet(t, list...)
	if _, err := again.Restore(s.State(), true); err != nil {
		t.Fatal(err)
	}
	if out := again.Apply(record(10*time.Minute, level("a", 1))); len(out.Alarms) != 1000 {
		t.Errorf("after a restart: %d alarms, want 1000", len(out.Alarms))
	}
}

// BenchmarkTenThousandRules: ns/op is the cost of one reading of one of 1,000 channels, each of which ten rules look at.
func BenchmarkTenThousandRules(b *testing.B) {
	var list []Rule
	for i := range 10_000 {
		list = append(list, Rule{Name: fmt.Sprint("r", i), When: must(b, fmt.Sprintf("d.c%d > %d", i/10, i)), Severity: SeverityInfo, Text: "x"})
	}
	s := newSet(b, list...)
	rec := record(0)
	for i := range 1000 {
		rec.Readings = append(rec.Readings, level(fmt.Sprint("c", i), -1))
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += len(rec.Readings) {
		rec.Boot += time.Second
		s.Apply(rec)
	}
}
