package agent_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/agent/status"
)

// TestStatus looks at a gateway from its first moment to after its end, and at what the broker retains of it.
func TestStatus(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		newFar(t, b)
		x := newBed(t, b)
		g := x.start(twoDevices + oneUplink)
		if s := g.Status(); s.Link.State != "down" || s.Gateway != "gw-1" || s.Version != "test" || s.Conditions == nil || s.Rules == nil || s.Uplinks == nil {
			t.Errorf("at the start: %+v", s)
		}
		time.Sleep(10 * time.Second)
		if n := b.retained(t); !n.Online || n.Link.State != "up" {
			t.Errorf("broker retains link %+v (online %v) at first, want up", n.Link, n.Online)
		}
		time.Sleep(55 * time.Second)
		s := g.Status()
		if s.Link.State != "up" || s.Link.Endpoint != "mqtt://broker.test" || s.UptimeS != 65 || !s.Clock.Synced || len(s.Conditions) != 0 ||
			len(s.Rules) != 1 || s.Rules[0] != (status.Rule{Name: "hot"}) || s.NextRecord != 10 || s.ConfirmedRecord != 9 ||
			s.Delivered.Readings != 45 || s.Delivered.Records != 9 || s.Delivered.Bytes == 0 || s.Queue.OldestAgeS != 0 || len(s.Epoch) != 16 {
			t.Errorf("after a minute: %+v", s)
		}
		if s.Queue.Bytes != 0 || s.Queue.KeptBytes == 0 || s.Queue.Records != 0 {
			t.Errorf("all is delivered, but the queue is %+v", s.Queue)
		}
		var got []string
		for _, d := range s.Devices {
			for _, v := range d.Values {
				got = append(got, d.Name+"."+v.Channel)
			}
		}
		if s := strings.Join(got, " "); s != "fast.n fast.temp fast.pressure fast.energy fast.relay slow.n slow.temp slow.pressure slow.energy slow.relay" {
			t.Errorf("values are of %s", s)
		}
		if n := b.retained(t); !n.Online || n.Gateway != "gw-1" || len(n.Devices) != 2 || n.Devices[0].Values != nil {
			t.Errorf("broker retains %+v", n)
		}
		g.end()
		if n := b.retained(t); n.Online {
			t.Errorf("broker retains %+v after the end", n)
		}
		if s := g.Status(); s.Link.State != "down" || s.Account.Lost != 0 {
			t.Errorf("after the end: link %+v, account %+v", s.Link, s.Account)
		}
	})
}

// announced is what a gateway publishes of itself.
type announced struct {
	Online bool `json:"online"`
	status.Status
}

// retained returns the status that the broker retains.
func (b *broker) retained(t *testing.T) (out announced) {
	t.Helper()
	list := b.server.Topics.Messages("tg/v1/gw-1/up/status")
	if len(list) != 1 {
		t.Fatalf("%d retained, want 1", len(list))
	}
	if err := json.Unmarshal(list[0].Payload, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestHealthy: a gateway that runs is healthy, before, while and after.
func TestHealthy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g := newBed(t, nil).start("devices: []\n")
		for range 20 {
			if err := g.Healthy(); err != nil {
				t.Error(err)
			}
			time.Sleep(30 * time.Second)
		}
		g.end()
		time.Sleep(time.Hour)
		if err := g.Healthy(); err == nil {
			t.Error("a line that does not go round is healthy")
		}
	})
}
