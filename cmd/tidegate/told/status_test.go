package told

import (
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/agent/status"
)

// TestRulesInStatus: a rule that is active is shown with what its alarm says.
func TestRulesInStatus(t *testing.T) {
	var b strings.Builder
	for _, r := range []status.Rule{
		{Name: "hot", Active: true, Fired: 1, Severity: "error", Text: "boiler too hot"}, {Name: "dry", Pending: true, Fired: 2}, {Name: "door", Active: true, Fired: 3}, {Name: "off"},
	} {
		writeRule(&b, &r)
	}
	const want = "rule\thot\tactive, fired once; error: boiler too hot\nrule\tdry\tpending, fired 2 times\nrule\tdoor\tactive, fired 3 times\nrule\toff\tidle, fired 0 times\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}
