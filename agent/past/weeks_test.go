package past

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules"
	"github.com/tidegate-io/tidegate/rules/lang"
)

// weeks are rules over a plant which has the same day fourteen times, from a Monday on:
//
//	02:00 to 02:20  nothing is read of the beat
//	14:00 to 15:30  it is hot
//	23:00 to 01:00  the door is open
//
// The load is 10 in the first week and 20 in the second, a pulse comes with each reading; how often each is to become active.
var weeks = []struct {
	when  string
	hold  time.Duration
	fired uint64
}{
	{"p.temp > 80", time.Hour, 14},
	{"p.temp > 80", 90 * time.Minute, 0},
	{"p.door and (hour() >= 22 or hour() < 6)", 0, 15}, // it was open at the start
	{"p.door and weekday() >= 6", 0, 6},                // Saturday 00:00 and 23:00, Sunday 23:00
	{"hour() == 3", 0, 15},                             // once because of the clock
	{"day() == 6 and month() == 1", 0, 2},              // 2026 and, after the step, 2046
	{"missing(p.beat, 3x)", 0, 14},
	{"avg(p.load, 7d) > 15", 0, 1},                  // in the middle of the second week
	{"avg(p.load, 7d, tumbling) > 19", 0, 1},        // an hour before the end: boot time began an hour before
	{"max(p.load, 3d) - min(p.load, 3d) > 5", 0, 1}, // from the eighth day on, for three
	{"count(p.temp, 7d) > 60480", 0, 1},             // 6 a minute: the oldest part of the window counts whole
	{"increase(p.pulses, 7d) >= 60000", 0, 1},       //
	{"p99(p.temp, 1d) > 80", 0, 1},                  // an hour and a half of a day, always
	{"p50(p.temp, 1d) > 80", 0, 0},                  //
	{"stuck(p.load, 6d)", 0, 2},                     //
	{"total(p.pulses) > 1e12", 0, 0},                //
	{"to(integral(p.power), \"kWh\") > 100", 0, 1},  // after 27 h 47 min
	{"delta(p.pulses, 1d) > 8784", 0, 0},            // 8640 a day, and 1/60
	{"rate(p.pulses, 1d) > 0.099 and rate(p.pulses, 1d) < 0.101", 0, 1},
	{"count(p.door, 2h, session) > 8000", 0, 1}, // there is no pause of two hours
}

// TestTwoWeeks judges a reading each ten seconds for fourteen days, with a new start from what was stored each day at 14:30, while a rule
// waits for its hour to pass. On the fourth day at 10:00 the clock leaps 20 years ahead for an hour, on the ninth a year back; on the eleventh it says
// 03:10 for 20 minutes at 10:15. How often each rule has become active can be worked out by hand.
func TestTwoWeeks(t *testing.T) {
	schema := lang.Schema{Channels: map[string]lang.Channel{}}
	for _, c := range []lang.Channel{
		{Name: "p.temp", Kind: tidegate.KindFloat},
		{Name: "p.door", Kind: tidegate.KindBool},
		{Name: "p.load", Kind: tidegate.KindFloat},
		{Name: "p.power", Kind: tidegate.KindFloat, Unit: "W"},
		{Name: "p.pulses", Kind: tidegate.KindUint},
		{Name: "p.beat", Kind: tidegate.KindInt, Every: 10 * time.Second},
	} {
		schema.Channels[c.Name] = c
	}
	var list []rules.Rule
	for i, w := range weeks {
		when, faults := lang.Compile(w.when, lang.Condition, schema)
		if len(faults) > 0 {
			t.Fatalf("%s: %v", w.when, faults[0])
		}
		list = append(list, rules.Rule{Name: fmt.Sprint("r", i), When: when, For: w.hold, Severity: rules.SeverityInfo, Text: "x"})
	}
	const day, begin = 24 * time.Hour, time.Hour
	store := map[string]rules.State{}
	started := func(boot time.Duration) *rules.Set {
		set, err := rules.New(list, boot)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := set.Restore(slices.Collect(maps.Values(store)), true); err != nil {
			t.Fatal(err)
		}
		return set
	}
	set, most := started(begin), 0
	follow := func(out rules.Outcome) {
		for _, s := range out.Changed {
			if store[s.Key] = (rules.State{Key: s.Key, Body: slices.Clone(s.Body)}); s.Body == nil {
				delete(store, s.Key)
			}
		}
		most = max(most, len(store))
	}
	monday := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	for since := time.Duration(0); since < 14*day; since += 10 * time.Second {
		n, at := since/day, since%day
		within := func(from, to time.Duration) bool { return at >= from && at < to }
		wall := monday.Add(since)
		switch {
		case n == 3 && within(10*time.Hour, 11*time.Hour):
			wall = time.Date(2046, 1, 6, 10, 0, 0, 0, time.UTC).Add(at - 10*time.Hour)
		case n == 8 && within(10*time.Hour, 11*time.Hour):
			wall = wall.AddDate(-1, 0, 0)
		case n == 10 && within(10*time.Hour+15*time.Minute, 10*time.Hour+35*time.Minute):
			wall = wall.Add(-7*time.Hour - 5*time.Minute)
		}
		if at == 14*time.Hour+30*time.Minute {
			set = started(begin + since)
		}
		reading := func(channel string, v tidegate.Value) tidegate.Reading {
			return tidegate.Reading{Device: "p", Channel: channel, Value: v}
		}
		temp, load := 20.0, 10.0
		if within(14*time.Hour, 15*time.Hour+30*time.Minute) {
			temp = 90
		}
		if n >= 7 {
			load = 20
		}
		rec := tidegate.Record{Class: tidegate.ClassReading, Boot: begin + since, Time: wall, Readings: []tidegate.Reading{
			reading("temp", tidegate.Float(temp)), reading("load", tidegate.Float(load)), reading("power", tidegate.Float(3600)),
			reading("door", tidegate.Bool(within(0, time.Hour) || within(23*time.Hour, day))), reading("pulses", tidegate.Uint(uint64(since/(10*time.Second)))),
		}}
		if !within(2*time.Hour, 2*time.Hour+20*time.Minute) {
			rec.Readings = append(rec.Readings, reading("beat", tidegate.Int(1)))
		}
		Judge(set, &rec, follow)
	}
	for i, st := range set.Status() {
		if st.Fired != weeks[i].fired || st.Parked != "" {
			t.Errorf("%s for %v: became active %d times, want %d; %s", weeks[i].when, weeks[i].hold, st.Fired, weeks[i].fired, st.Parked)
		}
	}
	if most < len(weeks) || most > 61*len(weeks) {
		t.Errorf("%d parts were stored at most", most)
	}
}
