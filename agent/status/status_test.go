package status_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/agent/status"
)

// promised is the JSON of `status --json` as the outside contract has it: fields may be added, none may go.
var promised = []string{
	"gateway", "epoch", "version", "uptime_s",
	"clock.synced", "clock.source", "clock.offset_s",
	"link.state", "link.since", "link.endpoint", "link.last_error",
	"queue.records", "queue.readings", "queue.bytes", "queue.kept_bytes", "queue.disk_bytes", "queue.oldest_age_s", "queue.rejected", "queue.dropped", "queue.gaps",
	"delivered.records", "delivered.readings", "delivered.bytes", "next_record", "confirmed_record",
	"devices.name", "devices.driver", "devices.state", "devices.last_read", "devices.reads", "devices.readings", "devices.faults",
	"devices.last_error", "devices.every_s",
	"rules.name", "rules.active", "rules.fired",
	"conditions.code", "conditions.severity", "conditions.title", "conditions.remedy", "conditions.since",
	"update.slot", "update.version", "update.trial", "update.last_result",
	"account.produced", "account.delivered", "account.buffered", "account.rejected", "account.dropped_declared", "account.lost",
}

func TestNamesOfTheContract(t *testing.T) {
	text, err := json.Marshal(status.Status{
		Link: status.Link{}, Devices: []status.Device{{}}, Rules: []status.Rule{{}}, Conditions: []status.Condition{{}}, Uplinks: []status.Uplink{{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	got := names("", tree)
	for _, want := range promised {
		if !slices.Contains(got, want) {
			t.Errorf("%s is missing", want)
		}
	}
	for _, name := range got {
		if name != strings.ToLower(name) {
			t.Errorf("%s is not in lower case", name)
		}
	}
}

// names returns the paths of all values in tree; elements of a list have the list's path.
func names(path string, tree any) (out []string) {
	switch x := tree.(type) {
	case map[string]any:
		for key, v := range x {
			out = append(out, names(strings.TrimPrefix(path+"."+key, "."), v)...)
		}
		return out
	case []any:
		for _, v := range x {
			out = append(out, names(path, v)...)
		}
		return out
	}
	return []string{path}
}

// TestNeverRead: what was never there has no time, rather than the year 1, but its key is there.
func TestNeverRead(t *testing.T) {
	for want, x := range map[string]status.Time{"null": {}, `"1970-01-01T00:00:01Z"`: {Time: time.Unix(1, 0).UTC()}} {
		text, err := json.Marshal(status.Device{LastRead: x})
		if err != nil || !strings.Contains(string(text), `"last_read":`+want+",") {
			t.Errorf("%s, %v; want last_read %s", text, err, want)
		}
		var back status.Device
		if err := json.Unmarshal(text, &back); err != nil || !back.LastRead.Equal(x.Time) {
			t.Errorf("%s reads back as %v, %v", text, back.LastRead, err)
		}
	}
}
