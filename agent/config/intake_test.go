package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/rules/intake"
)

// intakeConfig reads a door of which nobody is to know who comes, and a boiler.
const intakeConfig = `
gateway: {id: gw}
devices:
  - {name: door, driver: meter, address: x, registers: [{channel: badge, kind: text, address: 1}]}
  - {name: boiler, driver: meter, address: y, registers: [{channel: pressure, address: 1, unit: kPa}]}
rules:
  - name: hide
    do: [{hash: {channels: [door.badge], key_file: KEY}}, {convert: {channels: [boiler.pressure], unit: bar}}]
  - {name: high, when: boiler.pressure > 3 and door.badge != "x", do: [{alarm: {severity: info, text: high}}]}
uplink: {url: "mqtt://127.0.0.1"}
`

// keyFile returns a file with that key, readable by its owner.
func keyFile(t *testing.T, key string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestIntake: what becomes of readings is in the order of the file, with the key as it was read; it stays as it was where the key cannot be read.
func TestIntake(t *testing.T) {
	path := keyFile(t, "0123456789abcdef\r\n")
	text := strings.Replace(intakeConfig, "KEY", path, 1)
	cfg := parsed(t, text)
	want := []intake.Step{
		{Do: intake.Hash, Channels: []string{"door.badge"}, Key: intake.NewKey("0123456789abcdef")},
		{Do: intake.Convert, Channels: []string{"boiler.pressure"}, Unit: "bar"},
	}
	marks := func(list []intake.Step) string {
		return intake.For(list, "door", nil).Mark() + intake.For(list, "boiler", nil).Mark()
	}
	if got := cfg.Intake(); marks(got) != marks(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if shown := fmt.Sprintf("%+v %#v", cfg.Rules[0].Do[0].Hash, cfg.Rules[0].Do[0].Hash); strings.Contains(shown, "0123456789abcdef") {
		t.Errorf("the key shows: %s", shown)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if next, _, err := Parse("test", []byte(text), testDrivers()); next != nil || !errors.Is(err, ErrRefused) {
		t.Errorf("with a key that all can read: %v", err)
	}
	list, err := cfg.RuleList()
	if err != nil || len(list) != 2 {
		t.Fatalf("got %d rules, %v", len(list), err)
	}
	if got := strings.Join(list[0].Intake, "; "); got != "hash door.badge with a key; convert boiler.pressure to bar" {
		t.Errorf("the rule says %q", got)
	}
}

// TestIntakeMarks: what keeps something of a channel is told from what kept it when the channel's values meant something else, also where it is
// derived; all else is as it was.
func TestIntakeMarks(t *testing.T) {
	const base = `
gateway: {id: gw}
devices:
  - {name: a, driver: meter, address: x, registers: [{channel: p, address: 1, unit: kPa}, {channel: q, address: 2, unit: kPa}]}
rules:
  - {name: r, do: [CONVERT]}
  - {name: p, when: a.p > 1, do: [{derive: {channel: d.p, value: a.p * 2}}, {deadband: {channels: ["a.p*"], by: 1}}, {thin: {channels: [d.p], every: 1m}}]}
  - {name: q, when: a.q > 1, do: [{derive: {channel: d.q, value: a.q * 2}}, {deadband: {channels: ["a.q*"], by: 1}}, {thin: {channels: [d.q], every: 1m}}]}
uplink: {url: "mqtt://127.0.0.1"}
`
	marks := func(convert string) (out [2][4]string) {
		cfg := parsed(t, strings.Replace(base, "CONVERT", convert, 1))
		list, err := cfg.RuleList()
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range list[1:] {
			out[i] = [4]string{r.When.Identity(), r.Derives[0].Value.Identity(), fmt.Sprint(r.Filters[0].Mark()), fmt.Sprint(r.Filters[1].Mark())}
		}
		return out
	}
	none, bar, mbar := marks("{drop: {channels: [a.q]}}"), marks("{convert: {channels: [a.p], unit: bar}}"), marks("{convert: {channels: [a.p], unit: mbar}}")
	for i, what := range [4]string{"condition", "derived channel", "deadband", "thin of what is derived"} {
		if none[0][i] == bar[0][i] || bar[0][i] == mbar[0][i] || none[0][i] == mbar[0][i] {
			t.Errorf("%s has the same mark: %q, %q, %q", what, none[0][i], bar[0][i], mbar[0][i])
		}
		if none[1][i] != bar[1][i] {
			t.Errorf("%s of another channel: %q became %q", what, none[1][i], bar[1][i])
		}
	}
}

// TestIntakeDiff: a device is opened anew when something else becomes of its readings, and only then.
func TestIntakeDiff(t *testing.T) {
	one, other := keyFile(t, "0123456789abcdef"), keyFile(t, "0123456789abcdeg")
	copied := keyFile(t, "0123456789abcdef\n")
	base := strings.Replace(intakeConfig, "KEY", one, 1)
	for name, c := range map[string]struct{ old, new, want string }{
		"nothing":              {"", "", "[] false"},
		"the same key":         {one, copied, "[] true"},
		"another key":          {one, other, "[door] true"},
		"another unit":         {"unit: bar", "unit: mbar", "[boiler] true"},
		"of nobody":            {"[door.badge]", "[door.badge, door.nobody*]", "[door] true"},
		"of another device":    {"[boiler.pressure]", "[boiler.pressure, doo.pressure*]", "[] true"},
		"another rule":         {"pressure > 3", "pressure > 4", "[] true"},
		"taken out":            {"{hash: {channels: [door.badge], key_file: " + one + "}}, ", "", "[door] true"},
		"everything in a text": {"hash: {channels: [door.badge], key_file: " + one + "}", "redact: {channels: [\"*\"]}", "[door boiler] true"},
	} {
		text := strings.Replace(base, c.old, c.new, 1)
		if name == "everything in a text" {
			text = strings.Replace(text, ", {convert: {channels: [boiler.pressure], unit: bar}}", "", 1)
			text = strings.Replace(text, "boiler.pressure > 3 and ", "", 1)
		}
		ch, restart := Diff(parsed(t, base), parsed(t, text))
		if got := fmt.Sprint(ch.DevicesChanged, ch.Rules); got != c.want || len(restart) > 0 || len(ch.DevicesAdded) > 0 {
			t.Errorf("%s: got %s %v, want %s", name, got, restart, c.want)
		}
	}
	// The same file with another key: it is the device's readings that change, not the rules.
	before := parsed(t, base)
	if err := os.WriteFile(one, []byte("0123456789abcdeg"), 0o600); err != nil {
		t.Fatal(err)
	}
	if ch, _ := Diff(before, parsed(t, base)); fmt.Sprint(ch.DevicesChanged) != "[door]" {
		t.Errorf("another key in the same file: %+v", ch)
	}
}

// TestIntakeOfTriedRules: rules that are tried on what is stored see it as the armed ones have made it, whatever they would make of it, and no key
// is read for them.
func TestIntakeOfTriedRules(t *testing.T) {
	cfg := parsed(t, strings.Replace(intakeConfig, "KEY", keyFile(t, "0123456789abcdef"), 1))
	const tried = `rules: [{name: t, do: [{hash: {channels: [boiler.pressure], key_file: /nowhere}}, {convert: {channels: [boiler.pressure], unit: Pa}}]},
  {name: high, when: "WHEN", do: [{alarm: {severity: info, text: high}}]}]`
	_, faults, err := cfg.WithRules("t.yaml", []byte(strings.Replace(tried, ", {convert: {channels: [boiler.pressure], unit: Pa}}", "", 1)))
	if err == nil || len(faults) != 1 || !strings.Contains(faults[0].String(), "rules[1].when") {
		t.Errorf("got %v, %v", faults, err)
	}
	with, faults, err := cfg.WithRules("t.yaml", []byte(strings.NewReplacer(", {convert: {channels: [boiler.pressure], unit: Pa}}", "", "WHEN", "boiler.pressure > 3").Replace(tried)))
	if err != nil {
		t.Fatal(faults)
	}
	if got, want := with.Intake(), cfg.Intake(); len(got) != 2 || got[0].Mark()+got[1].Mark() != want[0].Mark()+want[1].Mark() {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, c := range []*Config{cfg, with} {
		list, err := c.RuleList()
		if err != nil {
			t.Fatal(err)
		}
		if in := list[1].When.Inputs[0]; in.Channel != "boiler.pressure" || in.Mark == 0 {
			t.Errorf("got %+v", in)
		}
	}
	if _, faults, err := cfg.WithRules("t.yaml", []byte(strings.Replace(tried[:strings.Index(tried, "{name: t")]+tried[strings.Index(tried, "{name: high"):], "WHEN", "door.badge > 3", 1))); err == nil {
		t.Errorf("a hash is taken for a number: %v", faults)
	}
}
