package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/filter"
	"github.com/tidegate-io/tidegate/rules/hold"
	"github.com/tidegate-io/tidegate/rules/lang"
	"pgregory.net/rapid"
)

// booted is what the clock said at boot time 0.
var booted = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// timed returns a record with a wall clock.
func timed(boot time.Duration, readings ...tidegate.Reading) *tidegate.Record {
	rec := record(boot, readings...)
	rec.Time = booted.Add(boot)
	return rec
}

// tellRestored renders what is given out.
func tellRestored(list []Restored) string {
	var out []string
	for i := range list {
		k := &list[i]
		word := ""
		if k.Thinned {
			word = "~"
		}
		out = append(out, fmt.Sprintf("%v %s%s", k.Time.Sub(booted), word, tellReadings([]tidegate.Reading{k.Reading})))
	}
	return strings.Join(out, ", ")
}

// TestSnapshot: what filters took in the time before a rule becomes active goes on after all, once, with its own time; what comes in the time behind goes
// on at once, and then filters go on.
func TestSnapshot(t *testing.T) {
	s := newSet(t,
		filtering(t, "less", "",
			filter.Filter{Do: filter.Thin, Channels: []string{"p.a"}, Every: time.Minute, As: filter.Average},
			filter.Filter{Do: filter.Drop, Channels: []string{"p.b"}},
			filter.Filter{Do: filter.Deadband, Channels: []string{"p.c"}, By: 5}),
		Rule{
			Name: "trip", When: must(t, "p.trip == 1"), Severity: SeverityInfo, Text: "t",
			Snapshots: []hold.Snapshot{{Channels: []string{"p.*"}, Before: 3 * time.Second, After: 2 * time.Second}},
		})
	filtered, thinned := 0, 0
	for i := range 20 {
		n := float64(i)
		trip := map[bool]float64{true: 1}[i == 10 || i == 11] // stays active for two
		b := number("p", "b", n)
		b.Time = booted.Add(time.Duration(i)*time.Second - 100*time.Millisecond)
		rec := timed(time.Duration(i)*time.Second, number("p", "trip", trip), number("p", "a", n), b, number("p", "c", n/10))
		out := s.Apply(rec)
		filtered, thinned = filtered+out.Filtered, thinned+out.Thinned
		want, restored := fmt.Sprintf("p.trip=%v", trip), ""
		switch {
		case i == 0:
			want += " p.a=0 p.c=0"
		case i >= 10 && i <= 12:
			want += fmt.Sprintf(" p.a=%v p.b=%v p.c=%v", n, n, n/10)
		}
		if i == 10 {
			restored = "7s ~p.a=7, 7s p.c=0.7, 7.9s p.b=8, 8s ~p.a=8, 8s p.c=0.8, 8.9s p.b=9, 9s ~p.a=9, 9s p.c=0.9"
			if len(out.Given) != 1 || out.Given[0] != (Given{Rule: "trip", Given: hold.Given{At: 10 * time.Second, Readings: 8, Reach: 7 * time.Second}, Wanted: 7 * time.Second}) {
				t.Errorf("given: %+v", out.Given)
			}
		} else if len(out.Given) > 0 {
			t.Errorf("at %d given: %+v", i, out.Given)
		}
		if got := tellReadings(out.Readings); got != want {
			t.Errorf("at %d: got %s, want %s", i, got, want)
		}
		if got := tellRestored(out.Restored); got != restored {
			t.Errorf("at %d restored: got %s\nwant %s", i, got, restored)
		}
	}
	if filtered != 17+16 || thinned != 16 {
		t.Errorf("filtered %d, thinned %d, those that were restored included; want 33, 16", filtered, thinned)
	}
	out := s.Apply(timed(time.Minute, number("p", "a", 1), number("p", "c", 6.3))) // 1.2 was the last to go through
	if got := tellReadings(out.Readings); got != fmt.Sprintf("p.a=%v p.c=6.3", (19*20.0/2+1)/20) {
		t.Errorf("after a minute: %s", got)
	}
}

// TestSnapshotByTime: a rule that becomes active by time alone gives out what was read up to then, and what was taken meanwhile.
func TestSnapshotByTime(t *testing.T) {
	s := newSet(t, filtering(t, "less", "", filter.Filter{Do: filter.Drop, Channels: []string{"p.a"}}), Rule{
		Name: "open", When: must(t, "q.door == 1"), For: 5 * time.Second,
		Snapshots: []hold.Snapshot{{Channels: []string{"p.a"}, Before: 2 * time.Second, After: time.Second}},
	})
	s.Apply(timed(time.Second, number("q", "door", 1)))
	for i := range 10 {
		s.Apply(timed(time.Second+time.Duration(i)*800*time.Millisecond, number("p", "a", float64(i))))
	}
	out := s.Advance(20*time.Second, booted.Add(20*time.Second))
	if got, want := tellRestored(out.Restored), "4.2s p.a=4, 5s p.a=5, 5.8s p.a=6, 6.6s p.a=7"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if len(out.Changed) != 2 || !strings.HasPrefix(out.Changed[1].Key, "open/s") {
		t.Errorf("changed: %v", out.Changed)
	}
	if out := s.Apply(timed(21*time.Second, number("p", "a", 1))); len(out.Readings)+len(out.Restored)+len(out.Given) != 0 {
		t.Errorf("later: %+v", out)
	}
}

// TestSnapshotsShare: what two rules want is given out once; the restored stay within what a deadband promises.
func TestSnapshotsShare(t *testing.T) {
	snap := func(name, when string, x ...hold.Snapshot) Rule {
		return Rule{Name: name, When: must(t, when), Snapshots: x}
	}
	s := newSet(t, filtering(t, "less", "", filter.Filter{Do: filter.Deadband, Channels: []string{"p.*"}, By: 10}),
		snap("one", "e.go > 0", hold.Snapshot{Channels: []string{"p.a"}, Before: 10 * time.Second}, hold.Snapshot{Channels: []string{"p.a"}, Before: 10 * time.Second}),
		snap("two", "e.go > 1", hold.Snapshot{Channels: []string{"p.a", "p.b"}, Before: 30 * time.Second}))
	var got []string
	for i := range 20 {
		rec := timed(time.Duration(i)*time.Second, number("p", "a", float64(i%4)), number("p", "b", 1))
		if i == 15 {
			rec.Readings = append(rec.Readings, number("e", "go", 1))
		}
		if i == 17 {
			rec.Readings = append(rec.Readings, number("e", "go", 2))
		}
		out := s.Apply(rec)
		if len(out.Restored) > 0 {
			got = append(got, tellRestored(out.Restored))
		}
	}
	want := func(a, b, c int) string {
		var out []string
		for i := a; i <= b; i++ {
			if i <= c || i == 16 {
				out = append(out, fmt.Sprintf("%ds p.a=%d", i, i%4))
			}
			if c < 15 {
				out = append(out, fmt.Sprintf("%ds p.b=1", i))
			}
		}
		return strings.Join(out, ", ")
	}
	if len(got) != 2 || got[0] != want(5, 14, 15) || got[1] != want(1, 16, 4) {
		t.Errorf("got  %s\nwant %s\nand  %s", strings.Join(got, "\nand  "), want(5, 14, 15), want(1, 16, 4))
	}
	// At 17 s p.a was let through as 1.
	if out := s.Apply(timed(20*time.Second, number("p", "a", 10.9))); len(out.Readings) != 0 {
		t.Errorf("went through: %s", tellReadings(out.Readings))
	}
	if out := s.Apply(timed(21*time.Second, number("p", "a", 11))); len(out.Readings) != 1 {
		t.Error("held back: 11, where 1 was the last to go through")
	}
	x, _ := s.Explain("two")
	if len(x.Snapshots) != 1 || x.Snapshots[0].Readings != 5 || x.Snapshots[0].Last.Readings != 21 || x.Snapshots[0].Until != 17*time.Second {
		t.Errorf("explained: %+v", x.Snapshots)
	}
}

// TestSnapshotsBeginAnew: when the next record is there, only the time around the newest firing counts, so that a flapping rule takes no memory. Within one record,
// that around each does.
func TestSnapshotsBeginAnew(t *testing.T) {
	s := newSet(t, filtering(t, "less", "", filter.Filter{Do: filter.Drop, Channels: []string{"p.a"}}),
		Rule{Name: "r", When: must(t, "e.go == 1"), Snapshots: []hold.Snapshot{{Channels: []string{"p.a"}, Before: time.Second}}})
	at := func(sec int, device, channel string, v float64) tidegate.Reading {
		rd := number(device, channel, v)
		rd.Time = booted.Add(time.Duration(sec) * time.Second)
		return rd
	}
	for sec := range 12 {
		s.Apply(timed(time.Duration(sec)*time.Second, number("p", "a", float64(sec))))
	}
	out := s.Apply(timed(12*time.Second, at(5, "e", "go", 1), at(7, "e", "go", 0), at(12, "e", "go", 1), at(5, "p", "a", 105), at(7, "p", "a", 107)))
	if got := tellRestored(out.Restored) + "; " + tellReadings(out.Readings); got != "4s p.a=4, 5s p.a=5, 11s p.a=11; e.go=1 e.go=0 e.go=1 p.a=105" {
		t.Error(got)
	}
	for _, sec := range []int{5, 12} {
		out = s.Apply(timed(13*time.Second, at(sec, "p", "a", 1)))
		if isOpen := sec == 12; (len(out.Readings) == 1) != isOpen {
			t.Errorf("of %d s: %d went through", sec, len(out.Readings))
		}
	}
}

func TestSnapshotRefusals(t *testing.T) {
	when := must(t, "d.a > 1")
	for want, r := range map[string]Rule{
		"snapshot names no channel":                        {When: when, Snapshots: []hold.Snapshot{{Before: 1}}},
		"snapshot of no time (got 0s before, 0s after)":    {When: when, Snapshots: []hold.Snapshot{{Channels: []string{"*"}}}},
		"snapshot of no time (got -1ns before, 2ns after)": {When: when, Snapshots: []hold.Snapshot{{Channels: []string{"*"}, Before: -1, After: 2}}},
		"snapshot of no time (got 1ns before, -1ns after)": {When: when, Snapshots: []hold.Snapshot{{Channels: []string{"*"}, Before: 1, After: -1}}},
		"condition `when` is missing":                      {Snapshots: []hold.Snapshot{{Channels: []string{"*"}, Before: 1}}},
	} {
		r.Name = "s"
		if _, err := New([]Rule{r}, 0); err == nil || err.Error() != `rule "s": `+want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestStoredSnapshotsThatAreNone(t *testing.T) {
	list := []Rule{{Name: "r", When: must(t, "e.go == 1"), Snapshots: []hold.Snapshot{{Channels: []string{"d.a"}, Before: time.Second}}}}
	s := newSet(t, list...)
	s.Apply(timed(time.Second, number("e", "go", 1)))
	good := s.State()[1]
	for name, c := range map[string]struct {
		key       string
		body      []byte
		bad, kept bool
	}{
		"good":             {good.Key, good.Body, false, true},
		"cut short":        {good.Key, good.Body[:len(good.Body)-1], true, false},
		"too long":         {good.Key, append(append([]byte(nil), good.Body...), 0), true, false},
		"empty":            {good.Key, []byte{}, true, false},
		"version":          {good.Key, append([]byte{9}, good.Body[1:]...), true, false},
		"another snapshot": {"r/s00000000", good.Body, false, false},
		"another rule":     {strings.Replace(good.Key, "r/", "q/", 1), good.Body, false, false},
	} {
		again := newSet(t, list...)
		out, err := again.Restore([]State{{Key: c.key, Body: c.body}}, true)
		if (err != nil) != c.bad || err != nil && !errors.Is(err, ErrState) || (len(out.Changed) == 0) != c.kept {
			t.Errorf("%s: %v, changed %v", name, err, out.Changed)
		}
	}
	if out, err := newSet(t, list...).Restore([]State{good}, false); err != nil || len(out.Changed) != 1 {
		t.Errorf("after a reboot: %v, changed %v", err, out.Changed)
	}
}

// force is what a snapshot has the model do: the reading goes on whatever it says.
func (m *filterModel) force(at time.Duration, rd tidegate.Reading) {
	last := len(m.past) - 1
	for ; last >= 0 && !m.past[last].through; last-- {
	}
	isThin := m.f.Do == filter.Thin
	if m.f.Do == filter.Drop || last >= 0 && !isThin && at < m.past[last].at {
		return
	}
	m.past = append(m.past, passed{at: at, rd: rd, through: last < 0 || !isThin, grid: at})
	m.fault = rd.Fault
}

// snapshotModel is a gateway that filters, with all it ever took.
type snapshotModel struct {
	filters []filter.Filter
	models  map[string][]*filterModel // by channel
	taken   []modelTaken
	spans   [][][2]time.Duration // of each snapshot
	shots   []hold.Snapshot
	isOn    bool // filters are
}

type modelTaken struct {
	rd      tidegate.Reading
	at      time.Duration
	thinned bool
	gone    bool // lost, or given out
}

func (m *snapshotModel) wants(shot int, name string, at time.Duration) bool {
	return slices.Contains(m.shots[shot].Channels, name) && slices.ContainsFunc(m.spans[shot], func(s [2]time.Duration) bool { return at >= s[0] && at <= s[1] })
}

// open has the snapshot of rule "s0" or "s1" look at the time at.
func (m *snapshotModel) open(rule string, at time.Duration) {
	i := int(rule[1] - '0')
	m.spans[i] = append(m.spans[i], [2]time.Duration{at - m.shots[i].Before, at + m.shots[i].After})
}

// rest ends what a record opened but the newest.
func (m *snapshotModel) rest() {
	for i, list := range m.spans {
		m.spans[i] = list[max(0, len(list)-1):]
	}
}

// pass says what becomes of rd: it goes on as out, or a filter takes it.
func (m *snapshotModel) pass(at time.Duration, rd tidegate.Reading, recTime time.Time) (out tidegate.Reading, through bool) {
	if rd.Device != "d" || !m.isOn {
		return rd, true
	}
	name := rd.Device + "." + rd.Channel
	if m.models[name] == nil {
		for _, f := range m.filters {
			if f.Concerns(name) {
				m.models[name] = append(m.models[name], &filterModel{f: f})
			}
		}
	}
	out = rd
	isWanted := m.wants(0, name, at) || m.wants(1, name, at)
	for _, one := range m.models[name] {
		through = one.f.Do != filter.Drop
		switch {
		case isWanted:
			one.force(at, out)
			continue
		case through:
			out, through = one.take(at, out)
		}
		if !through {
			if rd.Time.IsZero() {
				rd.Time = recTime
			}
			m.taken = append(m.taken, modelTaken{rd: rd, at: at, thinned: one.f.Do == filter.Thin})
			return rd, false
		}
	}
	return out, true
}

// give returns what comes out, in the order of time.
func (m *snapshotModel) give() (out []Restored) {
	for i := range m.taken {
		x := &m.taken[i]
		name := x.rd.Device + "." + x.rd.Channel
		if !x.gone && (m.wants(0, name, x.at) || m.wants(1, name, x.at)) {
			x.gone = true
			out = append(out, Restored{Reading: x.rd, At: x.at, Thinned: x.thinned})
		}
	}
	slices.SortStableFunc(out, func(a, b Restored) int { return int(a.At - b.At) })
	for _, k := range out {
		for _, one := range m.models[k.Device+"."+k.Channel] {
			if one.f.Do == filter.Deadband && len(one.past) > 0 && m.isOn {
				one.force(k.At, k.Reading)
			}
		}
	}
	return out
}

func drawFilters(t *rapid.T) (list []filter.Filter) {
	for range rapid.IntRange(1, 3).Draw(t, "filters") {
		f := filter.Filter{Do: filter.Doing(rapid.IntRange(1, 3).Draw(t, "do")), Channels: []string{rapid.SampledFrom([]string{"d.*", "d.a", "d.b"}).Draw(t, "pattern")}}
		switch f.Do {
		case filter.Thin:
			f.Every, f.As = time.Duration(rapid.IntRange(1, 8).Draw(t, "every"))*time.Second, filter.Summary(rapid.IntRange(0, 3).Draw(t, "as"))
		case filter.Deadband:
			f.By, f.Heartbeat = float64(rapid.IntRange(0, 3).Draw(t, "by")), time.Duration(rapid.IntRange(0, 9).Draw(t, "heartbeat"))*time.Second
		}
		list = append(list, f)
	}
	return list
}

// TestSnapshotsAgainstModel compares what snapshots give out and let through with the model: exactly what filters took of the time around each firing, each
// reading once, over random readings with faults, times of their own and pauses, rules that fire by readings and by time alone, filters that begin
// and end, and restarts at random moments, of which what is kept is not part. When they fire is taken from their alarms.
func TestSnapshotsAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &snapshotModel{filters: drawFilters(t), models: map[string][]*filterModel{}, isOn: rapid.Bool().Draw(t, "always"), spans: make([][][2]time.Duration, 2)}
		list := []Rule{{Name: "f", Filters: m.filters}}
		compile := func(text string) *lang.Program {
			p, faults := lang.Compile(text, lang.Condition, schema)
			if len(faults) > 0 {
				t.Fatal(faults[0])
			}
			return p
		}
		if !m.isOn {
			list[0].When = compile("e.on == 1")
		}
		always := m.isOn
		for i := range 2 {
			m.shots = append(m.shots, hold.Snapshot{
				Channels: rapid.SampledFrom([][]string{{"d.a"}, {"d.b"}, {"d.a", "d.b"}}).Draw(t, "channels"),
				Before:   time.Duration(rapid.IntRange(0, 40).Draw(t, "before")) * 500 * time.Millisecond,
				After:    time.Duration(rapid.IntRange(0, 10).Draw(t, "after")) * 500 * time.Millisecond,
			})
			if m.shots[i].Before+m.shots[i].After == 0 {
				m.shots[i].Before = time.Second
			}
			list = append(list, Rule{
				Name: fmt.Sprint("s", i), When: compile(fmt.Sprintf("e.go%d == 1", i)), For: time.Duration(rapid.IntRange(0, 3).Draw(t, "for")) * time.Second, Severity: SeverityInfo,
				Snapshots: []hold.Snapshot{m.shots[i]},
			})
		}
		s, err := New(list, 0)
		if err != nil {
			t.Fatal(err)
		}
		store := map[string]string{}
		boot, total, passedOn, filtered, thinned := 20*time.Second, 0, 0, 0, 0
		follow := func(rec *tidegate.Record, list []tidegate.Reading, out Outcome) {
			m.rest()
			for _, a := range out.Alarms {
				if a.Raised {
					m.open(a.Rule, a.Boot)
				}
			}
			var want []tidegate.Reading
			for _, rd := range list {
				if x, through := m.pass(bootOf(rec, &rd), rd, rec.Time); through {
					want = append(want, x)
				}
			}
			if g, w := tellReadings(out.Readings), tellReadings(want); g != w {
				t.Fatalf("at %v: got %q, want %q", boot, g, w)
			}
			opened := slices.ContainsFunc(out.Alarms, func(a Alarm) bool { return a.Raised })
			var restored []Restored
			if opened {
				restored = m.give()
			}
			for i := range restored {
				if i > 0 && i < len(out.Restored) && out.Restored[i].At < out.Restored[i-1].At {
					t.Fatalf("at %v: %s is not in order", boot, tellRestored(out.Restored))
				}
			}
			inOrder := func(list []Restored) []string {
				words := strings.Split(tellRestored(list), ", ")
				slices.Sort(words)
				return words
			}
			if g, w := inOrder(out.Restored), inOrder(restored); !slices.Equal(g, w) {
				t.Fatalf("at %v restored: got %v, want %v", boot, g, w)
			}
			total, passedOn = total+len(list), passedOn+len(out.Readings)+len(out.Restored)
			filtered, thinned = filtered+out.Filtered, thinned+out.Thinned
			for _, k := range out.Restored {
				if k.Thinned {
					thinned--
				} else {
					filtered--
				}
			}
			if total != passedOn+filtered+thinned {
				t.Fatalf("%d readings, %d went on, %d filtered, %d thinned", total, passedOn, filtered, thinned)
			}
			keep(store, out)
		}
		for range rapid.IntRange(1, 60).Draw(t, "records") {
			boot += time.Duration(rapid.IntRange(0, 30).Draw(t, "pause")) * 100 * time.Millisecond
			if due, ok := s.Next(); ok && due+250*time.Millisecond <= boot { // as the judge does
				at := boot - 250*time.Millisecond
				follow(timed(at), nil, s.Advance(at, booted.Add(at)))
			}
			rec := timed(boot)
			for _, channel := range []string{"a", "b"} {
				rd := number("d", channel, float64(rapid.IntRange(-3, 3).Draw(t, "value")))
				switch rapid.IntRange(0, 9).Draw(t, "odd") {
				case 0:
					rd.Fault = "x"
				case 1:
					continue
				case 2:
					rd.Time = rec.Time.Add(-time.Duration(rapid.IntRange(1, 120).Draw(t, "own")) * 100 * time.Millisecond)
				}
				rec.Readings = append(rec.Readings, rd)
			}
			wasOn := m.isOn
			for i, name := range []string{"on", "go0", "go1"} {
				if rapid.IntRange(0, 3).Draw(t, name) == 0 && (i > 0 || !always) {
					rd := number("e", name, float64(rapid.IntRange(0, 1).Draw(t, "to")))
					if i > 0 && rapid.Bool().Draw(t, "earlier") {
						rd.Time = rec.Time.Add(-time.Duration(rapid.IntRange(1, 90).Draw(t, "own")) * 100 * time.Millisecond)
					}
					if i == 0 {
						m.isOn = rd.Value.Equal(tidegate.Float(1))
					}
					rec.Readings = append(rec.Readings, rd)
				}
			}
			if m.isOn && !wasOn {
				clear(m.models)
			}
			given := slices.Clone(rec.Readings)
			follow(rec, given, s.Apply(rec))
			if rapid.IntRange(0, 5).Draw(t, "restart") == 0 {
				m.rest()
				s = reborn(t, s, list, store, true)
				for _, x := range s.State() {
					store[x.Key] = string(x.Body) // a rule that was pending waits for a reading
				}
				for i := range m.taken {
					m.taken[i].gone = true
				}
			}
		}
	})
}

// TestSnapshotsCostNothing: readings of channels that no snapshot wants take no memory, nor do those that none fires for.
func TestSnapshotsCostNothing(t *testing.T) {
	s := newSet(t, filtering(t, "f", "", filter.Filter{Do: filter.Drop, Channels: []string{"d.*"}}), Rule{
		Name: "r", When: must(t, "e.go == 1"), Snapshots: []hold.Snapshot{{Channels: []string{"d.kept"}, Before: time.Minute}},
	})
	list := []tidegate.Reading{number("d", "a", 1), number("d", "b", 1), number("e", "go", 0)}
	rec := timed(1, list...)
	s.Apply(rec)
	if n := testing.AllocsPerRun(100, func() {
		rec.Readings = append(rec.Readings[:0], list...)
		s.Apply(rec)
	}); n != 0 {
		t.Errorf("%v allocations a record, want none", n)
	}
	x, _ := s.Explain("r")
	if x.Snapshots[0].Readings != 0 {
		t.Errorf("%d readings are kept that no snapshot wants", x.Snapshots[0].Readings)
	}
}
