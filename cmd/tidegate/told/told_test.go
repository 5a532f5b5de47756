package told

import (
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/agent/status"
)

func TestReplayInWords(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.Local)
	when := func(s int) status.Time { return status.Time{Time: at.Add(time.Duration(s) * time.Second)} }
	r := &status.Replay{
		From: when(0), To: when(100), Since: at, Records: 100, Readings: 300, Starts: 2, Notes: []string{"5 records are missing"},
		Rules: []status.RuleReplay{
			{Name: "hot", Would: 3, Armed: 1, More: 25, Note: "the armed rule has another condition", Firings: []status.Firing{
				{To: when(1), Would: true}, {From: when(2), To: when(5), Would: true, Armed: true, Channel: "a.temp", Value: "81.04712356", Record: 7}, {From: when(9), Armed: true},
			}},
			{Name: "cold", Would: 2, Armed: 2, Same: true, Firings: []status.Firing{}},
		},
	}
	var b strings.Builder
	if err := Replay(&b, r); err != nil {
		t.Fatal(err)
	}
	want := `replayed 300 readings in 100 records, 2026-03-01 12:00:00 to 2026-03-01 12:01:40, 2 starts of the gateway or its rules between; firings since 2026-03-01 12:00:00
not exact: 5 records are missing
hot would have fired 3 times, the armed rule fired once
  the armed rule has another condition
  would  before, until 2026-03-01 12:00:01
  both   2026-03-01 12:00:02 for 3s, a.temp was 81.04712 (record 7)
  armed  2026-03-01 12:00:09, not ended
  and 25 more (--json has 0 of them)
cold would have fired 2 times, the armed rule fired 2 times: the same alarms at the same times
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestRuleInWords(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.Local)
	value, age := "81.5", 2.0
	r := &status.RuleState{
		Name: "hot", State: "pending", Since: status.Time{Time: at.Add(-12 * time.Second)}, Due: status.Time{Time: at.Add(18 * time.Second)}, LeftS: 18,
		When: "a.temp > 80", WhenSays: "yes", ForS: 30, Clear: "a.temp < 75", ClearSays: "no", Does: []string{"alarm error: too hot"}, Fired: 1,
		Parts:      []status.RulePart{{Text: "a.temp", Value: &value, Unit: "Cel", AgeS: &age, Fault: "broken wire"}},
		ClearParts: []status.RulePart{{Text: "a.temp"}}, LookedAt: status.Time{Time: at},
	}
	var b strings.Builder
	if err := Rule(&b, r, at); err != nil {
		t.Fatal(err)
	}
	want := `hot is pending: its condition holds since 2026-03-01 11:59:48 (12s); it becomes active in 18s unless that ends
  it becomes active when a.temp > 80 for 30s
    now: yes
    a.temp is 81.5 Cel, read 2s ago; its newest reading is a fault: "broken wire"
  it ends when a.temp < 75
    now: no
    a.temp is not known
  then: alarm error: too hot
  it became active once so far
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	for state, want := range map[string]string{"idle": "hot is idle\n", "active": "hot is active since before the gateway was started\n", "parked": "hot is parked, and not judged"} {
		b.Reset()
		if err := Rule(&b, &status.RuleState{Name: "hot", State: state, When: "a.temp > 80"}, at); err != nil || !strings.HasPrefix(b.String(), want) {
			t.Errorf("%s: got %s, %v", state, b.String(), err)
		}
	}
	b.Reset()
	if err := Rule(&b, &status.RuleState{Name: "less", State: "active", Does: []string{"drop a.raw"}}, at); err != nil || b.String() != "less is always active\n  then: drop a.raw\n" {
		t.Errorf("a rule without a condition: got %s, %v", b.String(), err)
	}
}

func TestShort(t *testing.T) {
	for value, want := range map[string]string{
		"89.14124221819432": "89.14124", "-0.00012345678901": "-0.0001234568", "215999.277": "215999.3", "123456789.25": "123456789",
		"18446744073709551615": "18446744073709551615", "81.5": "81.5", "true": "true", "1.2.3-rc.45": "1.2.3-rc.45", "1e+21": "1e+21", "3.6e+06": "3600000", "+Inf": "+Inf",
	} {
		if got := short(value); got != want {
			t.Errorf("%s: got %s, want %s", value, got, want)
		}
	}
}

// TestStatusOfIntervals: a device that is read at the interval of a rule is said to be, and by which.
func TestStatusOfIntervals(t *testing.T) {
	s := status.Status{Devices: []status.Device{
		{Name: "meter1", State: "ok", Reads: 7, Readings: 14, EveryS: 0.1, EveryRule: "closely"}, {Name: "meter2", State: "ok", EveryS: 1},
	}}
	var b strings.Builder
	if err := Status(&b, &s); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ok: 7 reads, 14 readings, 0 faults; read every 100ms by rule closely\n", "ok: 0 reads, 0 readings, 0 faults\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("got\n%swant %s", b.String(), want)
		}
	}
}
