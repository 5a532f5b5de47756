package agent_test

import (
	"strings"
	"testing"
	"time"
)

// TestRulesWhileNothingIsRead: what time alone does is an alarm with the time at which it was due, sent at once, and sets outputs, although
// nothing is read meanwhile; each once, also where the gateway is stopped and started again.
func TestRulesWhileNothingIsRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		f := newFar(t, b)
		x := newBed(t, b)
		const text = `
devices:
  - {name: slow, driver: sim, every: 1h}
  - {name: fan, driver: sim, every: 24h}
rules:
  - name: open
    when: slow.temp > -1000
    for: 10m
    do:
      - alarm: {severity: error, text: open}
      - set: {channel: fan.relay, value: true, on_clear: false}
  - name: silent
    when: missing(slow.temp, 30m)
    do:
      - alarm: {severity: warning, text: silent}
`
		g := x.start(text + oneUplink)
		began := time.Now()
		time.Sleep(9*time.Minute + 59*time.Second)
		if a := f.alarms(t, "open"); len(a) != 0 {
			t.Fatalf("alarms before their time: %v", a)
		}
		time.Sleep(2 * time.Second)
		if a := f.alarms(t, "open"); strings.Join(a, " ") != "raised" {
			t.Fatalf("alarms after 10 minutes: %v", a)
		}
		time.Sleep(25 * time.Minute)
		for rule, due := range map[string]time.Duration{"open": 10 * time.Minute, "silent": 30 * time.Minute} {
			for _, r := range f.records() {
				if rd := r.Record.Readings[0]; rd.Device == "_rules" && rd.Channel == rule && r.Record.Time.Sub(began).Round(time.Second) != due {
					t.Errorf("%s is dated %v after the start, want %v", rule, r.Record.Time.Sub(began), due)
				}
			}
		}
		g.end()
		g = x.start(text + oneUplink)
		time.Sleep(91 * time.Minute)
		g.end()
		for rule, want := range map[string]string{"open": "raised", "silent": "raised cleared raised cleared raised"} {
			if a := strings.Join(f.alarms(t, rule), " "); a != want {
				t.Errorf("%s: %s, want %s", rule, a, want)
			}
		}
		f.check(t, 0)
	})
}
