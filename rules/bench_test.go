package rules

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/lang"
)

// BenchmarkThresholds: readings of one channel through ten threshold rules on it; one in 80 starts them all, one ends them.
func BenchmarkThresholds(b *testing.B) {
	var list []Rule
	for i := range 10 {
		list = append(list, Rule{Name: fmt.Sprint("r", i), When: must(b, fmt.Sprintf("meter1.temp > %d", 80+i)), Clear: must(b, fmt.Sprintf("meter1.temp < %d", 70-i)), Severity: SeverityInfo, Text: "t"})
	}
	s := newSet(b, list...)
	rec := record(0, temp(20))
	b.ReportAllocs()
	var kept int
	for i := 0; b.Loop(); i++ {
		rec.Boot += time.Millisecond
		rec.Readings[0].Value = tidegate.Float(float64(20 + i%80))
		kept += bytesOf(s.Apply(rec).Changed)
	}
	report(b, b.N, kept)
}

// bytesOf returns how many bytes of state are to be stored, keys included.
func bytesOf(list []State) (n int) {
	for i := range list {
		n += len(list[i].Key) + len(list[i].Body)
	}
	return n
}

// report tells how fast n readings were judged, and how many of all bytes of state that is to be stored each of them has.
func report(b *testing.B, n, kept int) {
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "readings/s")
	b.ReportMetric(float64(kept)/float64(n), "state-B/reading")
}

// What BenchmarkMixed has: 25 devices of 40 channels, 100 rules. Channels are in groups of 50, two of each device.
const (
	mixedDevices = 25
	mixedOfOne   = 40
	mixedRules   = 100
	mixedGroups  = 20
)

// BenchmarkMixed: 100 rules on 1,000 channels. Each rule looks at 100 channels, 50 in `when` and 50 in `clear`, and is active, so that both are
// looked at: each channel concerns ten rules. A third of the rules follows its channels over windows of 1 and 5 minutes, a third compares each of
// them, a third calculates. Readings come in Reads of a whole device, or one by one.
func BenchmarkMixed(b *testing.B) {
	for _, size := range []int{mixedOfOne, 1} {
		b.Run(fmt.Sprintf("reads=%d", size), func(b *testing.B) { mixed(b, size) })
	}
}

func mixed(b *testing.B, size int) {
	s, next := startMixed(b, size, time.Second)
	var kept, n int
	b.ReportAllocs()
	for b.Loop() {
		out := s.Apply(next())
		if len(out.Alarms) > 0 {
			b.Fatalf("alarm %+v", out.Alarms[0])
		}
		kept += bytesOf(out.Changed)
		n += size
	}
	report(b, n, kept)
}

// startMixed returns the rules, all active, and what makes the next Read of so many readings; each device is read once in every.
func startMixed(b testing.TB, size int, every time.Duration) (s *Set, next func() *tidegate.Record) {
	s = newSet(b, mixedList(b)...)
	var recs []*tidegate.Record
	for d := range mixedDevices {
		var all []tidegate.Reading
		for c := range mixedOfOne {
			all = append(all, tidegate.Reading{Device: fmt.Sprint("m", d), Channel: fmt.Sprint("c", c), Value: tidegate.Float(99)})
		}
		s.Apply(record(time.Second, all...))
		for ; len(all) > 0; all = all[size:] {
			recs = append(recs, record(0, all[:size]...))
		}
	}
	for _, r := range s.Status() {
		if !r.Active {
			b.Fatalf("rule %s is not active", r.Name)
		}
	}
	n := 0
	return s, func() *tidegate.Record {
		rec := recs[n%len(recs)]
		rec.Boot = 2*time.Minute + time.Duration(n)*every/time.Duration(len(recs))
		for j := range rec.Readings {
			rec.Readings[j].Value = tidegate.Float(float64(20+(n+j)%400/10) + 0.5)
		}
		n++
		return rec
	}
}

// TestMixedAllocateNothing: neither do rules over windows, once each part of their windows was told once.
func TestMixedAllocateNothing(t *testing.T) {
	s, next := startMixed(t, mixedOfOne, 5*time.Second)
	for range 70 * mixedDevices {
		s.Apply(next())
	}
	if n := testing.AllocsPerRun(10*mixedDevices, func() { s.Apply(next()) }); n != 0 {
		t.Errorf("%v allocations per record, want 0", n)
	}
}

// mixedList returns rules that become active when the first reading of each channel is 99, and stay so while all are from 10 to 90.
func mixedList(b testing.TB) (list []Rule) {
	schema := lang.Schema{Open: func(string) bool { return true }}
	compile := func(text string) *lang.Program {
		p, faults := lang.Compile(text, lang.Condition, schema)
		if len(faults) > 0 {
			b.Fatalf("%q: %v", text, faults[0])
		}
		return p
	}
	groups := make([][]string, mixedGroups)
	for i := range mixedDevices * mixedOfOne {
		groups[i%mixedGroups] = append(groups[i%mixedGroups], fmt.Sprintf("m%d.c%d", i/mixedOfOne, i%mixedOfOne))
	}
	for i := range mixedRules {
		one, other := groups[i%mixedGroups], groups[(i+1+i/mixedGroups)%mixedGroups]
		when, clear := strings.Join(one, ", "), strings.Join(other, ", ")
		switch i % 3 {
		case 0:
			when, clear = fmt.Sprintf("avg(max(%s), 1m) > 90", when), fmt.Sprintf("max(min(%s), 5m) < 10", clear)
		case 1:
			when, clear = strings.Join(one, " > 90 or ")+" > 90", strings.Join(other, " < 10 or ")+" < 10"
		default:
			when, clear = fmt.Sprintf("max(%s) - 10 > 80", when), fmt.Sprintf("abs(%s) / 50 < 10", strings.Join(other, " + "))
		}
		list = append(list, Rule{Name: fmt.Sprint("r", i), When: compile(when), Clear: compile(clear), Severity: SeverityInfo, Text: "t"})
	}
	return list
}

// BenchmarkState: how many bytes of state a rule on one channel has, and changes with each reading; keys count. The channel is read ten times a
// second.
func BenchmarkState(b *testing.B) {
	tenths := func(i int) float64 { // a sine from 60 to 90 within 20 minutes, with noise of 1
		return math.Round(10*(75+15*math.Sin(float64(i)*2*math.Pi/12_000))+float64(i*7919%21-10)) / 10
	}
	wide := func(i int) float64 { return math.Round(math.Pow(10, float64(i*7919%4001)/1000)) } // 1 to 10,000
	for _, c := range []struct {
		name, when, clear string
		value             func(i int) float64
	}{
		{"threshold", "meter1.temp > 80", "meter1.temp < 75", tenths},
		{"avg 5m", "avg(meter1.temp, 5m) > 80", "", tenths},
		{"p95 5m", "p95(meter1.temp, 5m) > 80", "", tenths},
		{"p95 1d", "p95(meter1.temp, 1d) > 80", "", tenths},
		{"p95 session", "p95(meter1.temp, 30s, session) > 80", "", wide},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := newSet(b, Rule{Name: "overheat", When: must(b, c.when), Clear: must(b, c.clear), Severity: SeverityInfo, Text: "t"})
			rec := record(0, temp(0))
			i, kept := 0, 0
			step := func() int {
				i++
				rec.Boot += 100 * time.Millisecond
				rec.Readings[0].Value = tidegate.Float(c.value(i))
				return bytesOf(s.Apply(rec).Changed)
			}
			for range 20_000 {
				step()
			}
			for b.Loop() {
				kept += step()
			}
			report(b, b.N, kept)
			b.ReportMetric(float64(bytesOf(s.State())), "state-B")
		})
	}
}
