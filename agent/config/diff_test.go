package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules"
)

const diffBase = `
gateway: {id: gw, labels: {site: lab}}
state_dir: /var/lib/tidegate
listen: 127.0.0.1:8480
devices:
  - {name: a, driver: meter, address: x, every: 1s, registers: [{channel: temp, address: 1, scale: 0.1}]}
  - {name: b, driver: meter, address: y, registers: [{channel: relay, output: true}, {channel: on, kind: bool, output: true}]}
  - {name: c, driver: talker}
rules:
  - name: hot
    when: a.temp > 80
    do: [{set: {channel: b.relay, value: 1, on_clear: 0}}]
interlocks: [{output: b.on, min_off: 1m}]
buffer: {max_bytes: 512MB}
uplinks:
  - {name: u, url: "mqtt://127.0.0.1"}
  - {name: v, url: "mqtt://127.0.0.2"}
`

func parsed(t *testing.T, text string) *Config {
	t.Helper()
	cfg, faults, err := Parse("test", []byte(text), testDrivers())
	if err != nil {
		t.Fatalf("%v %v", err, faults)
	}
	return cfg
}

func TestDiff(t *testing.T) {
	for name, c := range map[string]struct {
		old, new string // what is replaced
		want     string
	}{
		"nothing":                  {"", "", "{[] [] [] [] [] [] false false false false} []"},
		"another look only":        {"max_bytes: 512MB", "max_bytes: 512000000B, sync: 1000ms", "{[] [] [] [] [] [] false false false false} []"},
		"id":                       {"id: gw", "id: gw2", "{[] [] [] [] [] [] false false false false} [gateway.id]"},
		"state_dir and listen":     {"/var/lib/tidegate\nlisten: 127.0.0.1:8480", "/x\nlisten: ''", "{[] [] [] [] [] [] false false false false} [state_dir listen]"},
		"labels":                   {"site: lab", "site: plant", "{[] [] [] [] [] [] false false true false} []"},
		"interval":                 {"every: 1s", "every: 2s", "{[] [] [a] [] [] [] false false false false} []"},
		"default interval spelt":   {"address: y,", "address: y, every: 1s,", "{[] [] [] [] [] [] false false false false} []"},
		"setting of a driver":      {"scale: 0.1", "scale: 0.2", "{[] [] [a] [] [] [] false false false false} []"},
		"setting taken away":       {", scale: 0.1", "", "{[] [] [a] [] [] [] false false false false} []"},
		"channel more":             {"scale: 0.1}", "scale: 0.1}, {channel: u}", "{[] [] [a] [] [] [] false false false false} []"},
		"other driver":             {"{name: c, driver: talker}", "{name: c, driver: meter, address: z, registers: [{channel: x}]}", "{[] [] [c] [] [] [] false false false false} []"},
		"devices come and go":      {"name: c,", "name: d,", "{[d] [c] [] [] [] [] false false false false} []"},
		"order of devices":         {"name: b, driver: meter, address: y, registers: [{channel: relay, output: true}, {channel: on, kind: bool, output: true}]}\n  - {name: c, driver: talker", "name: c, driver: talker}\n  - {name: b, driver: meter, address: y, registers: [{channel: relay, output: true}, {channel: on, kind: bool, output: true}]", "{[] [] [] [] [] [] false false false false} []"},
		"rule":                     {"> 80", "> 81", "{[] [] [] [] [] [] true false false false} []"},
		"value that a rule sets":   {"value: 1,", "value: 2,", "{[] [] [] [] [] [] true false false false} []"},
		"priority of a rule":       {"on_clear: 0", "on_clear: 0, priority: 1", "{[] [] [] [] [] [] true false false false} []"},
		"interlock":                {"min_off: 1m", "min_off: 2m", "{[] [] [] [] [] [] false false false true} []"},
		"buffer":                   {"512MB", "1GB", "{[] [] [] [] [] [] false true false false} []"},
		"uplinks come and go":      {"name: v", "name: w", "{[] [] [] [w] [v] [] false false false false} []"},
		"address of an uplink":     {"127.0.0.2", "127.0.0.3", "{[] [] [] [] [] [v] false false false false} []"},
		"default of uplink spelt":  {`0.2"`, `0.2", compress: gzip, batch: {readings: 200, every: 1s}`, "{[] [] [] [] [] [] false false false false} []"},
		"several, one for restart": {"id: gw, labels: {site: lab}", "id: gw2", "{[] [] [] [] [] [] false false true false} [gateway.id]"},
	} {
		next := strings.Replace(diffBase, c.old, c.new, 1)
		if next == diffBase && c.old != c.new {
			t.Fatalf("%s: %q is not in the file", name, c.old)
		}
		ch, restart := Diff(parsed(t, diffBase), parsed(t, next))
		if got := fmt.Sprint(ch, restart); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
		if none := strings.HasPrefix(c.want, "{[] [] [] [] [] [] false false false false}"); ch.None() != none {
			t.Errorf("%s: None is %v", name, ch.None())
		}
	}
}

func TestRuleSet(t *testing.T) {
	head, _, _ := strings.Cut(strings.Replace(diffBase, "name: b,", "name: b.1,", 1), "rules:")
	cfg := parsed(t, head+rulesPart)
	set, err := cfg.RuleSet(0)
	if err != nil {
		t.Fatal(err)
	}
	at := func(boot time.Duration, v float64) rules.Outcome {
		return set.Apply(&tidegate.Record{
			Class: tidegate.ClassReading, Boot: boot,
			Readings: []tidegate.Reading{{Device: "a", Channel: "temp", Value: tidegate.Float(v)}},
		})
	}
	at(0, 90)
	out := at(30*time.Second, 90)
	want := rules.Alarm{Rule: "hot", Raised: true, Severity: "error", Text: "too hot", Channel: "a.temp", Value: tidegate.Float(90), Boot: 30 * time.Second}
	if !slices.Equal(out.Alarms, []rules.Alarm{want}) {
		t.Errorf("alarms %v", out.Alarms)
	}
	if want := (rules.Action{Rule: "hot", Device: "b.1", Channel: "relay", Value: tidegate.Int(1)}); !slices.Equal(out.Actions, []rules.Action{want}) {
		t.Errorf("actions %v", out.Actions)
	}
	if out := at(31*time.Second, 74); len(out.Alarms) != 1 || len(out.Actions) != 1 || out.Actions[0].Value != tidegate.Int(0) {
		t.Errorf("cleared: %v %v", out.Alarms, out.Actions)
	}
}

// TestRuleSetIsInTheMachinesZone: rules look at the time of day as people on the machine do, though records have theirs in UTC.
func TestRuleSetIsInTheMachinesZone(t *testing.T) {
	was := time.Local
	defer func() { time.Local = was }()
	time.Local = time.FixedZone("", 5*3600)
	head, _, _ := strings.Cut(strings.Replace(diffBase, "name: b,", "name: b.1,", 1), "rules:")
	set, err := parsed(t, head+strings.Replace(rulesPart, "when: a.temp > 80\n    for: 30s", "when: a.temp > 80 and hour() == 3", 1)).RuleSet(0)
	if err != nil {
		t.Fatal(err)
	}
	rec := tidegate.Record{
		Class: tidegate.ClassReading, Boot: time.Second, Time: time.Date(2026, 1, 5, 22, 30, 0, 0, time.UTC),
		Readings: []tidegate.Reading{{Device: "a", Channel: "temp", Value: tidegate.Float(90)}},
	}
	if out := set.Apply(&rec); len(out.Alarms) != 1 {
		t.Errorf("at 03:30: %v", out.Alarms)
	}
}

const rulesPart = `
rules:
  - name: hot
    when: a.temp > 80
    for: 30s
    clear: a.temp < 75
    do:
      - set: {channel: b.1.relay, value: 1, on_clear: 0}
      - alarm: {severity: error, text: too hot}
`

// TestRuleSetOfBadRules: what Load would have found is an error here too.
func TestRuleSetOfBadRules(t *testing.T) {
	for want, r := range map[string]Rule{
		"rule \"r\": condition `when` is missing": {Name: "r"},
		`rule "r": clear: column 3: device and channel are wanted, with a dot between (got b); begin with device.channel, for instance meter1.temp > 80`: {
			Name: "r", When: "hour() > 1", Clear: "  b",
		},
	} {
		if _, err := (&Config{Rules: []Rule{r}}).RuleSet(0); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestSizeAndSpan(t *testing.T) {
	for text, want := range map[string]struct {
		bytes int64
		again string
	}{
		"512MB": {512e6, "512MB"}, "64MiB": {64 << 20, "64MiB"}, "1TB": {1e12, "1TB"}, "1000MB": {1e9, "1GB"}, "0B": {0, "0B"},
		"1500MB": {15e8, "1500MB"}, "1023B": {1023, "1023B"}, "2048kB": {2048e3, "2MB"}, "4TiB": {4 << 40, "4TiB"}, "5000TB": {5e15, "5000TB"},
	} {
		var s, again Size
		if err := s.UnmarshalText([]byte(text)); err != nil || int64(s) != want.bytes {
			t.Errorf("%s: %d, %v", text, s, err)
		}
		if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s {
			t.Errorf("%s: %v reads back as %d, %v", text, s, again, err)
		}
	}
	for text, want := range map[string]string{"7d": "7d", "2w": "14d", "36h": "36h0m0s", "0": "0s", "1.5d": "36h0m0s", "90m": "1h30m0s"} {
		var s Span
		if err := s.UnmarshalText([]byte(text)); err != nil || s.String() != want {
			t.Errorf("%s: %v, %v, want %s", text, s, err, want)
		}
	}
}

// TestDefaults: what a small file leaves out is filled in.
func TestDefaults(t *testing.T) {
	cfg := parsed(t, "devices: [{name: t, driver: meter, address: a, registers: [{channel: c}]}, {name: s, driver: talker}]\nuplink: {url: 'mqtt://a'}\ngateway: {id: g}\n")
	u := cfg.Uplinks[0]
	got := fmt.Sprint(cfg.StateDir, cfg.Listen, " ", cfg.Buffer.MaxBytes, cfg.Buffer.Sync, cfg.Buffer.Keep, " ", cfg.Devices[0].Every, cfg.Devices[1].Every, " ",
		cfg.Uplink, len(cfg.Uplinks), u.Name, u.All(), u.Profile, u.Confirm, u.Batch, u.Compress)
	want := "/var/lib/tidegate 512MB 1s 7d 1s 0s <nil> 1 uplink [mqtt://a] generic puback {200 1s} gzip"
	if strings.Join(strings.Fields(got), "") != strings.Join(strings.Fields(want), "") {
		t.Errorf("got %s, want %s", got, want)
	}
	if u := (Uplink{URLs: []string{"a", "b"}}); !slices.Equal(u.All(), []string{"a", "b"}) {
		t.Errorf("all ways: %v", u.All())
	}
}
