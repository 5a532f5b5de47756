package agent

import (
	"slices"
	"testing"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/rules"
)

// TestRuleStatus: a rule that is active says what its alarm says, and no other does.
func TestRuleStatus(t *testing.T) {
	cfg := &config.Config{Rules: []config.Rule{
		{Name: "hot", Do: []config.Do{{Set: &config.Set{}}, {Alarm: &config.Alarm{Severity: "error", Text: "too hot"}}}},
		{Name: "dry", Do: []config.Do{{Alarm: &config.Alarm{Severity: "info", Text: "dry"}}}},
		{Name: "fan", Do: []config.Do{{Set: &config.Set{}}}},
	}}
	got := ruleStatus([]rules.Status{{Name: "hot", Active: true, Fired: 2}, {Name: "dry", Pending: true}, {Name: "fan", Active: true}, {Name: "gone", Active: true}}, cfg)
	want := []status.Rule{
		{Name: "hot", Active: true, Fired: 2, Severity: "error", Text: "too hot"}, {Name: "dry", Pending: true}, {Name: "fan", Active: true}, {Name: "gone", Active: true},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}
}
