package rules_test

import (
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules"
	"github.com/tidegate-io/tidegate/rules/lang"
)

// TestMarkedChannels: what was kept of a channel is forgotten where its values mean something else than then, and is not where they mean the same.
func TestMarkedChannels(t *testing.T) {
	set := func(mark uint32) *rules.Set {
		schema := lang.Schema{Channels: map[string]lang.Channel{
			"a.p": {Name: "a.p", Kind: tidegate.KindFloat, Mark: mark}, "a.n": {Name: "a.n", Kind: tidegate.KindFloat},
		}}
		when, faults := lang.Compile("a.p > 100 and a.n > 1", lang.Condition, schema)
		if len(faults) > 0 {
			t.Fatal(faults[0])
		}
		s, err := rules.New([]rules.Rule{{Name: "r", When: when, Severity: rules.SeverityInfo, Text: "x"}}, 0)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	record := func(at time.Duration, channel string, v float64) *tidegate.Record {
		return &tidegate.Record{Class: tidegate.ClassReading, Time: time.Unix(1e9, 0).Add(at), Boot: at, Readings: []tidegate.Reading{{Device: "a", Channel: channel, Value: tidegate.Float(v)}}}
	}
	for _, c := range []struct {
		before, after uint32
		fires, forgot int
	}{{0, 0, 1, 0}, {7, 7, 1, 0}, {0, 7, 0, 1}, {7, 0, 0, 1}, {7, 8, 0, 1}} {
		s := set(c.before)
		s.Apply(record(time.Second, "p", 250))
		next := set(c.after)
		out, err := next.Restore(s.State(), true)
		if err != nil {
			t.Fatal(err)
		}
		forgot := 0
		for _, x := range out.Changed {
			if x.Body == nil {
				forgot++
			}
		}
		out = next.Apply(record(2*time.Second, "n", 2))
		if len(out.Alarms) != c.fires || forgot != c.forgot {
			t.Errorf("mark %d, then %d: %d alarms, %d states forgotten; want %d, %d", c.before, c.after, len(out.Alarms), forgot, c.fires, c.forgot)
		}
		if out = next.Apply(record(3*time.Second, "p", 251)); len(out.Alarms) != 1-c.fires {
			t.Errorf("mark %d, then %d: %d alarms when it is read again", c.before, c.after, len(out.Alarms))
		}
	}
}
