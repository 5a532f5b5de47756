package agent_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/status"
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

// TestForOverAReload: a door that reported once that it is open becomes an alarm at its time, although other rules were armed meanwhile; and a
// replay says the same.
func TestForOverAReload(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		f := newFar(t, b)
		x := newBed(t, b)
		const text = `
devices: [{name: slow, driver: sim, every: 1h}]
rules:
  - {name: open, when: slow.temp > -1000, for: 10m, do: [{alarm: {severity: error, text: open}}]}
  - {name: other, when: slow.temp > 1000, do: [{alarm: {severity: error, text: t}}]}
`
		g := x.start(text + oneUplink)
		began := time.Now()
		time.Sleep(5 * time.Minute)
		if err := g.Reload(g.ctx, x.loadChanged(text+oneUplink, "temp > 1000", "temp > 2000")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		var got []string
		for _, s := range f.records() {
			if rd := s.Record.Readings[0]; rd.Device == "_rules" {
				got = append(got, rd.Channel+" "+s.Record.Time.Sub(began).String())
			}
		}
		if text := strings.Join(got, ", "); text != "open 10m0s" {
			t.Errorf("alarms are %s", text)
		}
		r, err := g.Replay(t.Context(), status.Trial{Since: began})
		if err != nil || len(r.Rules) == 0 || !r.Rules[0].Same || r.Rules[0].Would != 1 {
			t.Errorf("replay: %+v, %v", r, err)
		}
		g.end()
	})
}

// TestLateReadingsAreCounted in the status, over a reload of the rules too.
func TestLateReadingsAreCounted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlay()
		x := newBed(t, nil, p.driver("late", time.Second))
		p.read = func(_ context.Context, n int) ([]tidegate.Reading, error) {
			return []tidegate.Reading{{Channel: "n", Value: tidegate.Int(1), Time: time.Now().Add(-time.Duration(n%3) * 3 * time.Second)}}, nil
		}
		const text = "devices: [{name: d, driver: late}]\nrules: [{name: r, when: d.n > 5, do: [{alarm: {severity: info, text: t}}]}]\n"
		g := x.start(text)
		time.Sleep(6*time.Second + 500*time.Millisecond) // read 7 times: 3, 6, 0, 3, 6, 0 and 3 s old
		if n := g.Status().RulesLate; n != 4 {
			t.Errorf("%d readings are late, want 4", n)
		}
		if err := g.Reload(g.ctx, x.loadChanged(text, "n > 5", "n > 6")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second) // 6, 0 and 3 s old
		if n := g.Status().RulesLate; n != 6 {
			t.Errorf("%d readings are late after a reload, want 6", n)
		}
		g.end()
	})
}

// TestRulesWhileTheStoreIsNotOpen: devices are read while the disk has no room for the store. What they said then is judged as if it were open: a
// door that was open for long enough and is closed since has raised its alarm, and silence counts from when the device was first read.
func TestRulesWhileTheStoreIsNotOpen(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		f := newFar(t, b)
		door := newPlay()
		x := newBed(t, b, door.driver("door", time.Minute))
		door.read = func(_ context.Context, n int) ([]tidegate.Reading, error) {
			if n > 3 {
				return nil, nil // it falls silent
			}
			return []tidegate.Reading{{Channel: "n", Value: tidegate.Int(int64(n % 2))}}, nil // open at 0 s, closed at 1m, open at 2m
		}
		var free atomic.Int64
		x.parts.Statfs = func(string) (int64, int64, error) { return free.Load(), 100 << 30, nil }
		g := x.start(`
devices: [{name: door, driver: door}]
rules:
  - {name: open, when: door.n > 0, for: 30s, do: [{alarm: {severity: error, text: open}}]}
  - {name: silent, when: "missing(door.n, 4m)", do: [{alarm: {severity: warning, text: silent}}]}
` + oneUplink)
		began := time.Now()
		time.Sleep(7 * time.Minute)
		free.Store(50 << 30)
		time.Sleep(20 * time.Second)
		g.end()
		var got []string
		for _, s := range f.records() {
			if rd := s.Record.Readings[0]; rd.Device == "_rules" {
				got = append(got, rd.Channel+" "+s.Record.Time.Sub(began).String())
			}
		}
		if text := strings.Join(got, ", "); text != "open 30s, open 1m0s, open 2m30s, silent 6m0s" {
			t.Errorf("alarms are %s", text)
		}
	})
}
