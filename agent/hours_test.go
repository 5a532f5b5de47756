package agent_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/agent/status"
)

// tenHours is a gateway with two devices, one with a rule that fires once an hour and sets an output of the other, and two far sides.
const tenHours = `
devices:
  - {name: fast, driver: sim, every: 10s}
  - {name: slow, driver: sim, every: 1m}
rules:
  - name: hot
    when: slow.temp > 23
    clear: slow.temp < 19
    do:
      - alarm: {severity: error, text: too hot}
      - set: {channel: fast.relay, value: true, on_clear: false}
uplinks:
  - {name: one, url: "mqtt://one.test", confirm: receipt}
  - {name: two, url: "mqtt://two.test", confirm: puback}
`

// TestTenHoursWithAnOutageOfEight has brokers that are away for eight of ten hours, and whose answers are lost now and then before.
// Everything arrives at both, once, and in order in each topic once the receiver has dropped what came twice.
func TestTenHoursWithAnOutageOfEight(t *testing.T) {
	bubble(t, func(t *testing.T) {
		one, two := newBroker(t), newBroker(t)
		farOne, farTwo := newFar(t, one), newFar(t, two)
		x := newBed(t, nil)
		x.parts.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if strings.HasPrefix(address, "one.") {
				return one.dial(ctx, network, address)
			}
			return two.dial(ctx, network, address)
		}
		g := x.start(tenHours)
		for range 10 { // an hour in which answers are lost
			time.Sleep(5*time.Minute - time.Second)
			for _, b := range []*broker{one, two} {
				b.set(&b.deaf, true)
			}
			time.Sleep(11 * time.Second) // a reading of fast, perhaps one of slow
			for _, b := range []*broker{one, two} {
				b.cut()
				b.set(&b.deaf, false)
			}
			time.Sleep(50 * time.Second)
		}
		before := len(farOne.records())
		one.leave()
		two.leave()
		time.Sleep(8 * time.Hour)
		if n := len(farOne.records()); n != before {
			t.Errorf("%d records arrived in the outage", n-before)
		}
		judgeOutage(t, g.Status(), 8*time.Hour)
		one.come()
		two.come()
		time.Sleep(time.Hour + 5*time.Second)
		g.end()
		s := g.Status()
		wantAccount(t, s, 5*(3601+601))
		if s.Uplinks[1].Account != s.Account {
			t.Errorf("account of the second uplink is %+v, want %+v", s.Uplinks[1].Account, s.Account)
		}
		for i, f := range []*far{farOne, farTwo} {
			f.check(t, 0)
			f.wantCounts(t, "fast", 3601)
			f.wantCounts(t, "slow", 601)
			if a, want := f.alarms(t, "hot"), strings.Repeat("raised cleared ", 10); strings.Join(a, " ")+" " != want {
				t.Errorf("alarms are %v, want %s", a, want)
			}
			// The retained receipt tells what had arrived; a PUBACK that was lost means that it is sent again.
			if e := f.receiver.Account().Gateways[0].Epochs; len(e) != 1 || (e[0].Duplicates >= 10) != (i == 1) {
				t.Errorf("far side %d: %+v, want one epoch, with duplicates where pubacks were lost", i, e)
			}
		}
	})
}

// judgeOutage looks at what a gateway says of itself d after its link went down.
func judgeOutage(t *testing.T, s status.Status, d time.Duration) {
	t.Helper()
	if s.Link.State != "down" || s.Link.LastError == "" {
		t.Errorf("link is %+v, want it down with the reason", s.Link)
	}
	if least := uint64(d/time.Minute) * 7 * 5; s.Queue.Readings < least {
		t.Errorf("queue holds %d readings, want %d or more", s.Queue.Readings, least)
	}
	if age := time.Duration(s.Queue.OldestAgeS) * time.Second; age < d-time.Minute || age > d+2*time.Minute {
		t.Errorf("oldest reading is %v old, want about %v", age, d)
	}
	var codes []string
	for _, c := range s.Conditions {
		codes = append(codes, c.Code+" "+fmt.Sprint(c.Since.Equal(s.Link.Since)))
	}
	if got := strings.Join(codes, ", "); got != "uplink_down:one true, uplink_down:two true" {
		t.Errorf("conditions and whether they stand since the link is down: %s", got)
	}
}
