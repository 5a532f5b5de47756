package agent_test

import (
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/agent/status"
)

// TestSafeMode: the last resort reads and buffers, hides what must not be stored, and lets nothing out; the release behind it delivers all.
func TestSafeMode(t *testing.T) {
	const text = `
devices: [{name: a, driver: sim, every: 1s}]
rules:
  - {name: high, when: a.n >= 5, do: [{alarm: {severity: error, text: high}}]}
  - {name: quiet, do: [{redact: {channels: [a.pressure]}}]}
  - {name: fewer, do: [{drop: {channels: [a.temp]}}]}
` + oneUplink
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		f := newFar(t, b)
		x := newBed(t, b)
		g := x.start(text)
		time.Sleep(20 * time.Second)
		g.end()
		before := len(f.records())
		dials := b.dials

		x.parts.Safe = true
		x.parts.Update = func() status.Update {
			return status.Update{Slot: "package", LastResult: "failed v2: crashed", Reason: "expired"}
		}
		g = x.start(text)
		time.Sleep(time.Minute)
		s := g.Status()
		g.end()
		if len(f.records()) != before || b.dials != dials {
			t.Errorf("safe mode: %d records and %d connections more", len(f.records())-before, b.dials-dials)
		}
		if s.Account.Buffered < 5*50 || s.Account.Lost != 0 || s.Update.LastResult != "failed v2: crashed" || g.conditions() != "safe_mode update_failed update_refused" {
			t.Errorf("safe mode: account %+v, update %+v, conditions %s", s.Account, s.Update, g.conditions())
		}
		x.parts.Safe = false
		g = x.start(text)
		time.Sleep(time.Minute)
		s = g.Status()
		g.end()
		if s.Account.Lost != 0 || s.Account.Delivered < 5*100 {
			t.Errorf("afterwards: account %+v", s.Account)
		}
		temps := 0
		for _, r := range f.records() {
			for _, rd := range r.Record.Readings {
				if rd.Channel == "pressure" {
					if v, ok := rd.Value.Number(); ok {
						t.Fatalf("record %d holds a pressure of %v", r.Record.Number, v)
					}
				}
				if rd.Channel == "temp" {
					temps++
				}
			}
		}
		if temps < 50 || temps > 65 {
			t.Errorf("%d temperatures arrived, want those of a minute in safe mode", temps)
		}
	})
}
