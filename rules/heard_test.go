package rules

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/lang"
)

// TestHeardInAnyOrder: a reading concerns the rules on its channel and no others, in whatever order readings come, and however the text
// device.channel is cut.
func TestHeardInAnyOrder(t *testing.T) {
	names := [][2]string{{"a1", "x"}, {"a2", "x"}, {"a1", "y"}, {"a", "1.x"}, {"a.b", "c"}, {"a", "b.c"}, {"a1x", "x"}, {"b1", "x"}, {"a1", "z"}}
	schema := lang.Schema{Open: func(string) bool { return true }}
	rapid.Check(t, func(t *rapid.T) {
		var list []Rule
		for _, name := range []string{"a1.x", "a1.y", "a.b.c", "a.1.x"} {
			p, faults := lang.Compile(name+" > 5", lang.Condition, schema)
			if len(faults) > 0 {
				t.Fatal(faults[0])
			}
			list = append(list, Rule{Name: name, When: p, Severity: SeverityInfo, Text: "t"})
		}
		s, err := New(list, 0)
		if err != nil {
			t.Fatal(err)
		}
		high := map[string]bool{}
		for i := range rapid.IntRange(1, 20).Draw(t, "records") {
			rec := record(time.Duration(i+1) * time.Second)
			want := []string{}
			for _, k := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(names)-1), 0, len(names), rapid.ID).Draw(t, "names") {
				rd := tidegate.Reading{Device: names[k][0], Channel: names[k][1], Value: tidegate.Float(3)}
				channel := rd.Device + "." + rd.Channel
				if slices.ContainsFunc(rec.Readings, func(x tidegate.Reading) bool { return x.Device+"."+x.Channel == channel }) {
					continue
				}
				isHigh := rapid.Bool().Draw(t, "high")
				if isHigh {
					rd.Value = tidegate.Float(7)
				}
				rec.Readings = append(rec.Readings, rd)
				if slices.ContainsFunc(list, func(r Rule) bool { return r.Name == channel }) && isHigh != high[channel] {
					high[channel] = isHigh
					want = append(want, fmt.Sprintf("%s %v", channel, isHigh))
				}
			}
			got := []string{}
			for _, a := range s.Apply(rec).Alarms {
				got = append(got, fmt.Sprintf("%s %v", a.Rule, a.Raised))
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Fatalf("record %d: got %v, want %v", i, got, want)
			}
		}
	})
}
