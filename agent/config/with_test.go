package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/sim"
)

// TestWithRules: other rules for the same devices; the configuration itself stays as it is.
func TestWithRules(t *testing.T) {
	cfg, faults, err := Parse("a.yaml", []byte("gateway: {id: g}\ndevices: [{name: a, driver: sim}]\nuplink: {url: \"mqtt://b\"}\n"+
		"rules: [{name: one, when: a.temp > 1, do: [{alarm: {severity: info, text: x}}]}]\n"), []drivers.Driver{sim.Driver})
	if err != nil {
		t.Fatal(faults)
	}
	const other = "rules: [{name: two, when: %, do: [{alarm: {severity: info, text: x}}]}]\n"
	with, _, err := cfg.WithRules("t.yaml", []byte(strings.Replace(other, "%", "a.temp > 2", 1)))
	if err != nil || len(with.Rules) != 1 || with.Rules[0].Name != "two" || cfg.Rules[0].Name != "one" {
		t.Fatalf("got %+v, %v", with, err)
	}
	if list, err := with.RuleList(); err != nil || len(list) != 1 || list[0].Name != "two" {
		t.Errorf("got %v, %v", list, err)
	}
	if with, _, err := cfg.WithRules("t.yaml", []byte("channels: {b.x: {unit: Cel}}\ncases: 3\n"+strings.Replace(other, "%", "a.temp > 2", 1))); err != nil || len(with.Rules) != 1 {
		t.Errorf("rules beside cases: got %+v, %v", with, err)
	}
	for text, want := range map[string]string{
		strings.Replace(other, "%", "a.tmp > 2", 1): "t.yaml:1:",
		"devices: []\n": "t.yaml:1:1: rules: key is missing; rules to try, written as in the configuration",
		strings.Replace(strings.Replace(other, "%", "a.temp > 2", 1), "when", "wenn", 1): "rules[0].when: condition is missing",
		"":           "t.yaml",
		"rules: [\n": "t.yaml:",
	} {
		if _, faults, err := cfg.WithRules("t.yaml", []byte(text)); !errors.Is(err, ErrRefused) || len(faults) == 0 || !strings.Contains(faults[0].String(), want) {
			t.Errorf("%q: got %v, %v, want %q", text, faults, err, want)
		}
	}
}
