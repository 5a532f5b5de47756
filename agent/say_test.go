package agent_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent"
)

// TestSay: what the gateway says of itself arrives once, as class audit, over an outage and a restart, and is in nobody's account.
func TestSay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		f := newFar(t, b)
		x := newBed(t, b)
		g := x.start(twoDevices + oneUplink)
		time.Sleep(10 * time.Second)
		b.leave()
		if err := g.Say("update", `{"result":"kept"}`); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		g.end()
		if err := g.Say("update", "too late"); !errors.Is(err, agent.ErrNotOpen) {
			t.Errorf("after the end: got %v, want %v", err, agent.ErrNotOpen)
		}
		b.come()
		g = x.start(twoDevices + oneUplink)
		time.Sleep(5 * time.Minute)
		s := g.Status()
		g.end()
		if s.Account.Lost != 0 || s.Account.Delivered == 0 || s.Account.Produced%5 != 0 || s.Judged == 0 {
			t.Errorf("account is %+v, %d judged", s.Account, s.Judged)
		}
		var got []string
		for _, r := range f.records() {
			for _, rd := range r.Record.Readings {
				if rd.Device == tidegate.GatewayDevice {
					text, _ := rd.Value.Text()
					got = append(got, rd.Channel+" "+text)
				}
			}
		}
		if len(got) != 1 || got[0] != `update {"result":"kept"}` {
			t.Errorf("got %q", got)
		}
	})
}
