package rounds

import (
	"fmt"
	"testing"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/lang"
)

func rule(t testing.TB, when string, sets ...Set) Rule {
	t.Helper()
	schema := lang.Schema{Channels: map[string]lang.Channel{}, Open: func(string) bool { return true }}
	for _, name := range []string{"fan.relay", "pump.relay", "fan.a", "fan.b", "fan.c"} {
		schema.Channels[name] = lang.Channel{Name: name, Kind: tidegate.KindBool}
	}
	if when == "" {
		return Rule{Sets: sets}
	}
	p, faults := lang.Compile(when, lang.Condition, schema)
	if len(faults) > 0 {
		t.Fatal(faults[0])
	}
	return Rule{When: p, Sets: sets}
}

func set(channel string, value, onClear any) Set {
	of := func(v any) tidegate.Value {
		switch v := v.(type) {
		case bool:
			return tidegate.Bool(v)
		case float64:
			return tidegate.Float(v)
		}
		return tidegate.Value{}
	}
	return Set{Channel: channel, Value: of(value), OnClear: of(onClear)}
}

func TestFind(t *testing.T) {
	for _, c := range []struct {
		name  string
		list  []Rule
		own   string
		round string
	}{
		{"looks at nothing that it sets", []Rule{rule(t, "boiler.temp > 80", set("fan.relay", true, false))}, "[]", "[]"},
		{"stops what it looks at", []Rule{rule(t, "pump.relay and pump.flow < 2", set("pump.relay", false, nil))}, "[]", "[]"},
		{"sets it back on clear", []Rule{rule(t, "pump.relay and pump.flow < 2", set("pump.relay", false, true))}, "[{0 0 true}]", "[]"},
		{"holds itself", []Rule{rule(t, "fan.relay", set("boiler.x", true, nil), set("fan.relay", true, false))}, "[{0 1 false}]", "[]"},
		{"by a window", []Rule{rule(t, "avg(fan.level, 5m) > 3", set("fan.level", 0.0, nil))}, "[{0 0 false}]", "[]"},
		{"two that go on for ever", []Rule{rule(t, "fan.a", set("fan.b", true, nil)), rule(t, "fan.b", set("fan.a", true, nil))}, "[]", "[0 1]"},
		{"two of which the second ends the first", []Rule{rule(t, "fan.a", set("fan.b", true, nil)), rule(t, "fan.b", set("fan.a", false, nil))}, "[]", "[]"},
		{"three, with one before them", []Rule{
			rule(t, "boiler.temp > 80", set("fan.a", true, nil)), rule(t, "fan.a", set("fan.b", true, nil)), rule(t, "fan.b", set("fan.c", false, true)), rule(t, "fan.c", set("fan.a", true, nil)),
		}, "[]", "[1 2 3]"},
		{"one behind another that triggers itself", []Rule{rule(t, "fan.a", set("fan.a", true, nil), set("fan.b", true, nil)), rule(t, "fan.b", set("fan.a", true, nil))}, "[{0 0 false}]", "[]"},
		{"a diamond", []Rule{
			rule(t, "fan.a", set("fan.b", true, nil), set("fan.c", true, nil)), rule(t, "fan.b", set("fan.relay", true, nil)), rule(t, "fan.c", set("fan.relay", true, nil)), rule(t, "fan.relay", set("pump.relay", true, nil)),
		}, "[]", "[]"},
		{"without a condition", []Rule{rule(t, "", set("fan.a", true, nil)), rule(t, "fan.a")}, "[]", "[]"},
	} {
		own, round := Find(c.list)
		if fmt.Sprint(own) != c.own || fmt.Sprint(round) != c.round {
			t.Errorf("%s: got %v and %v, want %s and %s", c.name, own, round, c.own, c.round)
		}
	}
}

// TestMany: ten thousand rules that all look at one output and set it take no time that grows with their square.
func TestMany(t *testing.T) {
	one := rule(t, "fan.relay and boiler.temp > 3", set("fan.relay", false, nil))
	list := make([]Rule, 10_000)
	for i := range list {
		list[i] = one
	}
	if own, round := Find(list); own != nil || round != nil {
		t.Errorf("got %v and %v", own, round)
	}
}
