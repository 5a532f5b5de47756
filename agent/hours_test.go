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

// twoDevices is a gateway with two devices, one with a rule that fires once an hour and sets an output of the other.
const twoDevices = `
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
`

// TestTenHoursWithAnOutageOfEight has a broker that is away for eight of ten hours: everything arrives, once, and in order in each topic.
func TestTenHoursWithAnOutageOfEight(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		f := newFar(t, b)
		g := newBed(t, b).start(twoDevices + oneUplink)
		time.Sleep(time.Hour)
		before := len(f.records())
		b.leave()
		time.Sleep(8 * time.Hour)
		if n := len(f.records()); n != before {
			t.Errorf("%d records arrived in the outage", n-before)
		}
		judgeOutage(t, g.Status(), 8*time.Hour)
		b.come()
		time.Sleep(time.Hour + 5*time.Second)
		g.end()
		wantAccount(t, g.Status(), 5*(3601+601))
		f.check(t, 0)
		f.wantCounts(t, "fast", 3601)
		f.wantCounts(t, "slow", 601)
		if a, want := f.alarms(t, "hot"), strings.Repeat("raised cleared ", 10); strings.Join(a, " ")+" " != want {
			t.Errorf("alarms are %v, want %s", a, want)
		}
		if e := f.receiver.Account().Gateways[0].Epochs; len(e) != 1 {
			t.Errorf("epochs are %+v, want one", e)
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
	if age := time.Duration(s.Queue.OldestAgeS) * time.Second; age < d-time.Minute {
		t.Errorf("oldest reading is %v old, want about %v", age, d)
	}
	if c := s.Conditions; len(c) != 1 || c[0].Code != "uplink_down:uplink" || !c[0].Since.Equal(s.Link.Since.Time) ||
		s.Time.Sub(c[0].Since).Round(time.Minute) != d {
		t.Errorf("conditions are %+v, want the uplink down for %v", c, d)
	}
}

// TestTwoUplinksLoseAnswers has two far sides, one of which gives receipts, and connections whose answers are lost before they are cut.
func TestTwoUplinksLoseAnswers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		one, two := newBroker(t), newBroker(t)
		fars := []*far{newFar(t, one), newFar(t, two)}
		x := newBed(t, nil)
		x.parts.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if strings.HasPrefix(address, "one.") {
				return one.dial(ctx, network, address)
			}
			return two.dial(ctx, network, address)
		}
		g := x.start(twoDevices + `
uplinks:
  - {name: one, url: "mqtt://one.test", confirm: receipt}
  - {name: two, url: "mqtt://two.test", confirm: puback}
`)
		for range 10 {
			time.Sleep(2*time.Minute - time.Second)
			for _, b := range []*broker{one, two} {
				b.setDeaf(true)
			}
			time.Sleep(11 * time.Second) // a reading of fast, perhaps one of slow
			for _, b := range []*broker{one, two} {
				b.cut()
				b.setDeaf(false)
			}
			time.Sleep(50 * time.Second)
		}
		time.Sleep(5 * time.Second)
		g.end()
		s := g.Status()
		wantAccount(t, s, 5*(181+31))
		if s.Uplinks[1].Account != s.Account {
			t.Errorf("account of the second uplink is %+v, want %+v", s.Uplinks[1].Account, s.Account)
		}
		for i, f := range fars {
			f.check(t, 0)
			f.wantCounts(t, "fast", 181)
			f.wantCounts(t, "slow", 31)
			// The retained receipt tells what had arrived; a PUBACK that was lost means that it is sent again.
			if e := f.receiver.Account().Gateways[0].Epochs; len(e) != 1 || (e[0].Duplicates >= 10) != (i == 1) {
				t.Errorf("far side %d: %+v, want one epoch, with duplicates where pubacks were lost", i, e)
			}
		}
	})
}

// TestBackOff counts how often a broker is tried that is away for a day, and how long it takes until it is found again.
func TestBackOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		f := newFar(t, b)
		b.leave()
		g := newBed(t, b).start("devices: [{name: a, driver: sim, every: 1h}]\n" + oneUplink)
		time.Sleep(time.Minute)
		early := b.tried()
		if early < 4 || early > 20 {
			t.Errorf("tried %d times in the first minute, want from 4 to 20", early)
		}
		time.Sleep(12 * time.Hour)
		if n := b.tried() - early; n < 12*30*8/10 || n > 12*60*14/10 {
			t.Errorf("tried %d times in 12 hours, want about once a minute", n)
		}
		b.come()
		time.Sleep(2*time.Minute + 5*time.Second)
		if l := g.Status().Link; l.State != "up" || fmt.Sprint(f.counted(t, "a")) != "[1 2 3 4 5 6 7 8 9 10 11 12 13]" {
			t.Errorf("link is %+v two minutes after the broker came back; %v arrived", l, f.counted(t, "a"))
		}
		g.end()
	})
}
