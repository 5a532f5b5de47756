package rules

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/filter"
	"github.com/tidegate-io/tidegate/rules/lang"
	"pgregory.net/rapid"
)

func filtering(t testing.TB, rule, when string, list ...filter.Filter) Rule {
	t.Helper()
	return Rule{Name: rule, When: must(t, when), Filters: list}
}

// tellReadings renders what goes on.
func tellReadings(list []tidegate.Reading) string {
	out := make([]string, 0, len(list))
	for _, r := range list {
		if r.Fault != "" {
			out = append(out, fmt.Sprintf("%s.%s!%s", r.Device, r.Channel, r.Fault))
		} else {
			out = append(out, fmt.Sprintf("%s.%s=%v", r.Device, r.Channel, r.Value))
		}
	}
	return strings.Join(out, " ")
}

func TestDrop(t *testing.T) {
	s := newSet(t,
		Rule{Name: "hot", When: must(t, "meter1.debug1 > 5"), Severity: SeverityInfo, Text: "t"}, // judges what is dropped
		filtering(t, "off", "", filter.Filter{Do: filter.Drop, Channels: []string{"meter1.debug*"}}),
		filtering(t, "night", "clock.night == 1", filter.Filter{Do: filter.Drop, Channels: []string{"meter1.temp", "x.*"}}),
		deriving(t, "twice", "", "x.y", "meter1.temp * 2"),
	)
	bad := number("meter1", "debug2", 1)
	bad.Fault = "no answer"
	for i, step := range []struct {
		in       []tidegate.Reading
		out      string
		filtered int
		told     string
	}{
		{[]tidegate.Reading{number("meter1", "temp", 1), number("meter1", "debug1", 9), bad}, "meter1.temp=1 x.y=2", 2, "raised hot info \"t\" meter1.debug1=9\n"},
		{[]tidegate.Reading{number("clock", "night", 1), number("meter1", "temp", 2)}, "clock.night=1", 2, ""},
		{[]tidegate.Reading{number("meter1", "temp", 3)}, "", 2, ""},
		{[]tidegate.Reading{number("clock", "night", 0), number("meter1", "temp", 2)}, "clock.night=0 meter1.temp=2 x.y=4", 0, ""},
	} {
		out := s.Apply(record(time.Duration(i)*time.Second, step.in...))
		if got := strings.TrimSpace(tellReadings(out.Readings) + " " + tellReadings(out.Derived)); got != step.out || out.Filtered != step.filtered || out.Thinned != 0 {
			t.Errorf("step %d: got %q, filtered %d, thinned %d; want %q, %d", i, got, out.Filtered, out.Thinned, step.out, step.filtered)
		}
		if got := tell(out); got != step.told {
			t.Errorf("step %d: told %q, want %q", i, got, step.told)
		}
	}
	off := number("x", "_device", 0)
	off.Fault = "no answer"
	if out := s.Apply(record(9*time.Second, number("clock", "night", 1), off)); tellReadings(out.Readings) != "clock.night=1 x._device!no answer" {
		t.Errorf("of a device that fails as a whole remains %s", tellReadings(out.Readings))
	}
	alarm := &tidegate.Record{Class: tidegate.ClassAudit, Readings: []tidegate.Reading{number("meter1", "debug1", 9)}}
	if out := s.Apply(alarm); len(out.Readings) != 1 || out.Filtered != 0 {
		t.Errorf("of another class %d remain, %d are filtered", len(out.Readings), out.Filtered)
	}
}

func TestOneFilterBehindTheOther(t *testing.T) {
	s := newSet(t, filtering(t, "f", "",
		filter.Filter{Do: filter.Thin, Channels: []string{"d.a"}, Every: 10 * time.Second, As: filter.Most},
		filter.Filter{Do: filter.Deadband, Channels: []string{"d.*"}, By: 3},
	))
	var got []string
	filtered, thinned := 0, 0
	for i := range 41 {
		out := s.Apply(record(time.Duration(i)*time.Second, number("d", "a", float64(i*i/100))))
		filtered, thinned = filtered+out.Filtered, thinned+out.Thinned
		if r := tellReadings(out.Readings); r != "" {
			got = append(got, fmt.Sprint(i, "s ", r))
		}
	}
	if want := "[0s d.a=0 20s d.a=4 30s d.a=9 40s d.a=16]"; fmt.Sprint(got) != want || filtered != 1 || thinned != 36 {
		t.Errorf("got %v, filtered %d, thinned %d; want %s, 1, 36", got, filtered, thinned, want)
	}
}

func TestThinKeepsItsPace(t *testing.T) {
	s := newSet(t, filtering(t, "f", "", filter.Filter{Do: filter.Thin, Channels: []string{"d.a"}, Every: 10 * time.Second}))
	through := 0
	for i := range 1000 { // each a hair early
		through += len(s.Apply(record(time.Duration(i)*(10*time.Second-time.Millisecond), number("d", "a", 1))).Readings)
	}
	if through != 999 {
		t.Errorf("%d of 1000 readings went through, one each 9.999 s where one each 10 s is wanted; want 999", through)
	}
}

func TestDeadbandOfTextsAndOddNumbers(t *testing.T) {
	s := newSet(t, filtering(t, "f", "", filter.Filter{Do: filter.Deadband, Channels: []string{"d.*"}, By: 1}))
	v := func(v tidegate.Value) tidegate.Reading { return tidegate.Reading{Device: "d", Channel: "a", Value: v} }
	nan, inf := tidegate.Float(math.NaN()), tidegate.Float(math.Inf(1))
	list := []tidegate.Reading{
		v(tidegate.Text("x")), v(tidegate.Text("x")), v(tidegate.Text("y")), v(tidegate.Float(1)), v(tidegate.Int(1)), v(tidegate.Float(2)), v(tidegate.Uint(3)),
		v(nan), v(nan), v(tidegate.Float(3)), v(inf), v(inf), v(tidegate.Bool(true)), v(tidegate.Bool(true)), v(tidegate.Bool(false)),
		v(tidegate.Bytes([]byte{1})), v(tidegate.Bytes([]byte{1})), v(tidegate.Bytes([]byte{2})),
	}
	got := tellReadings(s.Apply(record(1, list...)).Readings)
	if want := "d.a=x d.a=y d.a=1 d.a=2 d.a=3 d.a=NaN d.a=3 d.a=+Inf d.a=true d.a=false d.a=01 d.a=02"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestFilterRefusals(t *testing.T) {
	for want, f := range map[string]filter.Filter{
		"filter names no channel":                         {Do: filter.Drop},
		"filter 0, 0 is not known":                        {Channels: []string{"*"}},
		"filter 2, 4 is not known":                        {Do: filter.Thin, As: 4, Channels: []string{"*"}},
		"time between readings is not positive (got 0s)":  {Do: filter.Thin, Channels: []string{"*"}},
		"deadband or heartbeat is negative (got -1, 0s)":  {Do: filter.Deadband, By: -1, Channels: []string{"*"}},
		"deadband or heartbeat is negative (got NaN, 0s)": {Do: filter.Deadband, By: math.NaN(), Channels: []string{"*"}},
		"deadband or heartbeat is negative (got 1, -1ns)": {Do: filter.Deadband, By: 1, Heartbeat: -1, Channels: []string{"*"}},
	} {
		if _, err := New([]Rule{{Name: "f", Filters: []filter.Filter{f}}}, 0); err == nil || err.Error() != `rule "f": `+want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestFiltersAreBounded(t *testing.T) {
	s := newSet(t, filtering(t, "f", "", filter.Filter{Do: filter.Drop, Channels: []string{"d.drop*"}}, filter.Filter{Do: filter.Deadband, Channels: []string{"*"}, By: 1}))
	rec := record(1)
	for i := range maxKnown + 50 {
		rec.Readings = append(rec.Readings, number("d", fmt.Sprint("c", i), 1))
	}
	rec.Readings = append(rec.Readings, number("d", "drop1", 1))
	again := append([]tidegate.Reading(nil), rec.Readings...)
	if out := s.Apply(rec); len(out.Readings) != maxKnown+50 || out.Filtered != 1 {
		t.Errorf("%d went through, %d were filtered", len(out.Readings), out.Filtered)
	}
	if out := s.Apply(record(2, again...)); len(out.Readings) != 50 || out.Filtered != maxKnown+1 {
		t.Errorf("%d went through again, %d were filtered", len(out.Readings), out.Filtered)
	}
	if n := len(s.State()); n != maxKnown {
		t.Errorf("%d parts of the state, want %d", n, maxKnown)
	}
}

func TestStoredLanesThatAreNone(t *testing.T) {
	list := []Rule{filtering(t, "f", "", filter.Filter{Do: filter.Deadband, Channels: []string{"d.a"}, By: 1})}
	s := newSet(t, list...)
	s.Apply(record(time.Second, number("d", "a", 1)))
	good := s.State()[0]
	for name, c := range map[string]struct {
		key  string
		body []byte
		bad  bool
	}{
		"cut short":       {good.Key, good.Body[:len(good.Body)-1], true},
		"too long":        {good.Key, append(append([]byte(nil), good.Body...), 0), true},
		"empty":           {good.Key, []byte{}, true},
		"version":         {good.Key, append([]byte{9}, good.Body[1:]...), true},
		"another channel": {strings.Replace(good.Key, "d.a", "d.b", 1), good.Body, false},
		"another filter":  {"f/f00000000.d.a", good.Body, false},
		"another kind":    {"f/fx.d.a", good.Body, false},
		"no dot":          {"f/f", good.Body, false},
	} {
		again := newSet(t, list...)
		out, err := again.Restore([]State{{Key: c.key, Body: c.body}}, true)
		if (err != nil) != c.bad || err != nil && !errors.Is(err, ErrState) || len(out.Changed) != 1 || out.Changed[0].Body != nil {
			t.Errorf("%s: %v, changed %v", name, err, out.Changed)
		}
	}
	again := newSet(t, list...)
	if out, err := again.Restore([]State{good}, false); err != nil || len(out.Changed) != 1 {
		t.Errorf("after a reboot: %v, changed %v", err, out.Changed)
	}
}

// filterModel says for the past of one channel, from when the rule became active, whether the newest reading goes through, and as what. It looks
// for what went through last each time.
type filterModel struct {
	f     filter.Filter
	past  []passed
	fault string // of what went on last, for whatever reason
}

type passed struct {
	at      time.Duration
	rd      tidegate.Reading
	through bool
	grid    time.Duration // of what went through: since when the turn runs
}

func (m *filterModel) take(at time.Duration, rd tidegate.Reading) (out tidegate.Reading, through bool) {
	last := len(m.past) - 1
	for ; last >= 0 && !m.past[last].through; last-- {
	}
	span := m.f.Every
	if m.f.Do == filter.Deadband {
		span = m.f.Heartbeat
	}
	isNew := last < 0 || rd.Fault != m.fault
	isDue := isNew || span > 0 && at-m.past[last].grid >= span
	if !isDue && rd.Fault == "" && m.f.Do == filter.Deadband {
		a, _ := rd.Value.Number()
		b, _ := m.past[last].rd.Value.Number()
		isDue = math.Abs(a-b) >= m.f.By && a != b
	}
	p := passed{at: at, rd: rd, through: isDue, grid: at}
	if last >= 0 && m.f.Do == filter.Thin && at-m.past[last].grid >= span && at-m.past[last].grid < 2*span {
		p.grid = m.past[last].grid + span
	}
	m.past = append(m.past, p)
	if isDue {
		m.fault = rd.Fault
	}
	if !isDue || rd.Fault != "" || m.f.Do == filter.Deadband || m.f.As == filter.Last {
		return rd, isDue
	}
	var values []float64
	least, most := math.Inf(1), math.Inf(-1)
	for i := len(m.past) - 1; i >= 0; i-- { // back to the last value that went through
		if x := m.past[i]; x.rd.Fault == "" {
			if x.through && i < len(m.past)-1 {
				break
			}
			v, _ := x.rd.Value.Number()
			values, least, most = append(values, v), math.Min(least, v), math.Max(most, v)
		}
	}
	sum, n := 0.0, float64(len(values))
	for _, v := range slices.Backward(values) { // in the order in which they came, as it rounds
		sum += v
	}
	rd.Value = tidegate.Float(map[filter.Summary]float64{filter.Average: sum / n, filter.Least: least, filter.Most: most}[m.f.As])
	return rd, true
}

// TestFiltersAgainstModel compares thin and deadband with the model, over random readings with faults and pauses, while a rule becomes active and
// ends, and with restarts at random moments. All readings are accounted for.
func TestFiltersAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := filter.Filter{Channels: []string{"d.*"}}
		if rapid.Bool().Draw(t, "thin") {
			f.Do, f.Every, f.As = filter.Thin, time.Duration(rapid.IntRange(1, 4).Draw(t, "every"))*time.Second, filter.Summary(rapid.IntRange(0, 3).Draw(t, "as"))
		} else {
			f.Do, f.By, f.Heartbeat = filter.Deadband, float64(rapid.IntRange(0, 3).Draw(t, "by")), time.Duration(rapid.IntRange(0, 5).Draw(t, "heartbeat"))*time.Second
		}
		list := []Rule{{Name: "f", Filters: []filter.Filter{f}}}
		always := rapid.Bool().Draw(t, "always")
		if !always {
			var faults []*lang.Fault
			if list[0].When, faults = lang.Compile("e.on == 1", lang.Condition, schema); len(faults) > 0 {
				t.Fatal(faults[0])
			}
		}
		s, err := New(list, 0)
		if err != nil {
			t.Fatal(err)
		}
		isOn := always
		models := map[string]*filterModel{}
		store := map[string]string{}
		boot := time.Duration(0)
		for range rapid.IntRange(1, 60).Draw(t, "records") {
			boot += time.Duration(rapid.IntRange(0, 30).Draw(t, "pause")) * 100 * time.Millisecond
			rec := record(boot)
			var want []tidegate.Reading
			for _, channel := range []string{"a", "b"} {
				rd := number("d", channel, float64(rapid.IntRange(-3, 3).Draw(t, "value")))
				switch rapid.IntRange(0, 9).Draw(t, "odd") {
				case 0:
					rd.Fault = "x"
				case 1:
					rd.Fault = "y"
				case 2:
					continue
				}
				rec.Readings = append(rec.Readings, rd)
			}
			if !always && rapid.IntRange(0, 4).Draw(t, "switch") == 0 {
				before := isOn
				isOn = rapid.Bool().Draw(t, "to")
				rec.Readings = append(rec.Readings, number("e", "on", map[bool]float64{true: 1}[isOn]))
				if isOn && !before {
					clear(models)
				}
			}
			for _, rd := range rec.Readings {
				out, through := rd, true
				if rd.Device == "d" && isOn {
					if models[rd.Channel] == nil {
						models[rd.Channel] = &filterModel{f: f}
					}
					out, through = models[rd.Channel].take(boot, rd)
				}
				if through {
					want = append(want, out)
				}
			}
			n := len(rec.Readings)
			out := s.Apply(rec)
			if g, w := tellReadings(out.Readings), tellReadings(want); g != w {
				t.Fatalf("at %v: got %q, want %q", boot, g, w)
			}
			gone := out.Filtered
			if f.Do == filter.Thin {
				gone = out.Thinned
			}
			if len(out.Readings)+gone != n || out.Filtered+out.Thinned != gone {
				t.Fatalf("%d readings became %d, %d filtered and %d thinned", n, len(out.Readings), out.Filtered, out.Thinned)
			}
			keep(store, out)
			if rapid.IntRange(0, 3).Draw(t, "restart") == 0 {
				s = reborn(t, s, list, store, true)
			}
		}
	})
}

func TestFiltersAllocateNothing(t *testing.T) {
	s := newSet(t, filtering(t, "f", "", filter.Filter{Do: filter.Thin, Channels: []string{"d.a"}, Every: time.Hour, As: filter.Average}, filter.Filter{Do: filter.Deadband, Channels: []string{"d.b"}, By: 10}))
	list := []tidegate.Reading{number("d", "a", 1), number("d", "b", 1), number("d", "c", 1)}
	rec := record(1, list...)
	s.Apply(rec)
	if n := testing.AllocsPerRun(100, func() {
		rec.Readings = append(rec.Readings[:0], list...)
		s.Apply(rec)
	}); n != 0 {
		t.Errorf("%v allocations a record, want none", n)
	}
}
