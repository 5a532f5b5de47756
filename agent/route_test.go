package agent_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/agent"
	"github.com/tidegate-io/tidegate/agent/clock"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

// routedConfig drops a.raw and a.slim, sends a.phase and b.n to office only, a.thin to plant while half is active, which labels a.n and else to office, and keeps a.held.
const routedConfig = `
devices: [{name: a, driver: counter, every: 2ms}]
rules:
  - {name: office, do: [{route: {channels: [a.phase, b.*], uplink: office}}, {derive: {channel: b.n, value: total(a.n)}}]}
  - {name: half, when: a.phase >= 25, do: [{alarm: {severity: info, text: half}}, {route: {channels: [a.thin], uplink: plant}}, {label: {channels: [a.n], labels: {half: upper}}}]}
  - {name: fewer, do: [{drop: {channels: [a.raw, a.slim]}}]}
  - {name: rest, do: [{route: {channels: [a.held], class: debug}}, {route: {channels: [a.t*, a.p*], uplink: office}}]}
buffer: {sync: 100ms}
uplinks:
  - {name: plant, url: "mqtt://plant.test", confirm: receipt}
  - {name: office, url: "mqtt://office.test"}
`

// twoBrokers makes a broker and a far end for each of two uplinks, plant and office, and x dial them.
func twoBrokers(t *testing.T, x *bed) (brokers map[string]*broker, fars map[string]*far) {
	t.Helper()
	brokers, fars = map[string]*broker{}, map[string]*far{}
	for _, name := range []string{"plant", "office"} {
		brokers[name] = newBroker(t)
		fars[name] = newFar(t, brokers[name])
	}
	x.parts.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		name, _, _ := strings.Cut(address, ".")
		return brokers[name].dial(ctx, network, address)
	}
	return brokers, fars
}

// A lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// arrivals returns the values of each channel that arrived, sorted.
func (f *far) arrivals() map[string][]int64 {
	at := map[string][]int64{}
	for _, r := range f.records() {
		for _, x := range r.Record.Readings {
			if v, ok := x.Value.Number(); ok {
				at[x.Device+"."+x.Channel] = append(at[x.Device+"."+x.Channel], int64(v))
			}
		}
	}
	for name := range at {
		slices.Sort(at[name])
	}
	return at
}

// accountOf returns the account of an uplink.
func accountOf(t *testing.T, s status.Status, name string) status.Account {
	t.Helper()
	for _, u := range s.Uplinks {
		if u.Name == name {
			return u.Account
		}
	}
	t.Fatalf("no uplink %q in %+v", name, s.Uplinks)
	return status.Account{}
}

// TestKillRouted kills a gateway without a link three times while rules route what it reads to two uplinks, and lets a fourth one deliver: each reading
// arrives where it is meant for, once, and the accounts of both close to the reading; alarms arrive at both.
func TestKillRouted(t *testing.T) {
	const kills = 3
	dir := tmpfs.Dir(t)
	c, _ := killIt(t, dir, routedConfig, kills)
	booted := new(clock.Clock).Now().Boot
	bubble(t, func(t *testing.T) { judgeRouted(t, dir, c, kills, booted) })
}

func judgeRouted(t *testing.T, dir string, c *counter, kills int, booted time.Duration) {
	x := newBed(t, nil, c.driver())
	_, fars := twoBrokers(t, x)
	x.after(dir, booted)
	g := x.start(routedConfig)
	time.Sleep(10 * time.Second)
	g.end()
	answered, err := c.answered()
	if err != nil {
		t.Fatal(err)
	}
	s := g.Status()
	n := fars["plant"].arrivals()["a.n"]
	reads := uint64(len(n))
	if lost := answered - reads; lost > uint64(kills) {
		t.Errorf("%d of %d Reads are lost, at most one a kill may have been on its way", lost, answered)
	}
	var phases, high, low, sums []int64
	sum := int64(0)
	for _, v := range n {
		sum += v
		sums = append(sums, sum)
		phases = append(phases, v%50)
		if v%50 >= 25 {
			high = append(high, v)
		} else {
			low = append(low, v)
		}
	}
	slices.Sort(phases)
	want := map[string]map[string][]int64{
		"plant":  {"a.n": n, "a.gone": n, "a.thin": high},
		"office": {"a.n": n, "a.gone": n, "a.thin": low, "a.phase": phases, "b.n": sums},
	}
	for name, f := range fars {
		f.check(t, 0)
		got := f.arrivals()
		for channel, values := range want[name] {
			if !slices.Equal(got[channel], values) {
				t.Errorf("%s: %d values of %s arrived, want %d", name, len(got[channel]), channel, len(values))
			}
			delete(got, channel)
		}
		if len(got) > 0 {
			t.Errorf("%s got what is not meant for it: %v", name, got)
		}
		labelled(t, f)
		if alarms := len(f.alarms(t, "half")); alarms < int(answered)/25-2 {
			t.Errorf("%s: %d alarms arrived, want about %d", name, alarms, answered/25)
		}
	}
	for name, want := range map[string]status.Account{
		"plant":  {Produced: perRead * reads, Derived: reads, Filtered: 2 * reads, Delivered: 2*reads + uint64(len(high)), Routed: 3*reads + uint64(len(low))},
		"office": {Produced: perRead * reads, Derived: reads, Filtered: 2 * reads, Delivered: 4*reads + uint64(len(low)), Routed: reads + uint64(len(high))},
	} {
		if got := accountOf(t, s, name); got != want {
			t.Errorf("account of %s is %+v, want %+v", name, got, want)
		}
	}
	if s.Queue.Readings != 0 {
		t.Errorf("%d readings are still in the queue", s.Queue.Readings)
	}
}

// labelled wants each value of a.n to carry the label that the rule half gives while it is active, and all else none.
func labelled(t *testing.T, f *far) {
	t.Helper()
	for _, r := range f.records() {
		want := ""
		if rd := &r.Record.Readings[0]; rd.Device == "a" && rd.Channel == "n" {
			if v, _ := rd.Value.Number(); int64(v)%50 >= 25 {
				want = `{"half":"upper"}`
			}
		}
		if r.Record.Labels != want {
			t.Fatalf("record %d carries %q, want %q: %v", r.Record.Number, r.Record.Labels, want, r.Record.Readings)
		}
	}
}

// TestOneUplinkAway: what is meant for an uplink that is away waits for it; the other one's account is closed meanwhile, and what is routed past the one
// that is away does not wait. When it comes back it gets its own, and nothing else.
func TestOneUplinkAway(t *testing.T) {
	c := newCounter(t, tmpfs.Dir(t))
	bubble(t, func(t *testing.T) {
		x := newBed(t, nil, c.driver())
		brokers, fars := twoBrokers(t, x)
		brokers["office"].leave()
		slow := strings.Replace(routedConfig, "every: 2ms", "every: 400ms", 1)
		g := x.start(slow)
		time.Sleep(time.Minute)
		s := g.Status()
		plant, office := accountOf(t, s, "plant"), accountOf(t, s, "office")
		reads := plant.Produced / perRead
		if office.Delivered != 0 || office.Buffered < 4*reads || office.Routed < reads || office.Buffered+office.Routed != 6*reads || office.Lost != 0 {
			t.Errorf("with its broker away the account of office is %+v, of %d Reads", office, reads)
		}
		if plant.Delivered < 2*(reads-30) || plant.Routed < 3*reads || plant.Lost != 0 {
			t.Errorf("the account of plant is %+v, of %d Reads", plant, reads)
		}
		g.end()
		g = x.start(slow) // again, from disk
		time.Sleep(20 * time.Second)
		brokers["office"].come()
		time.Sleep(3 * time.Minute)
		g.end()
		s = g.Status()
		for name, f := range fars {
			f.check(t, 0)
			if a := accountOf(t, s, name); a.Buffered != 0 || a.Lost != 0 || a.Produced+a.Derived != a.Delivered+a.Filtered+a.Routed || a.DroppedDeclared+a.Rejected > 0 {
				t.Errorf("in the end the account of %s is %+v", name, a)
			}
		}
		if got := fars["office"].arrivals(); len(got["a.held"]) > 0 || len(got["a.phase"]) != len(got["a.n"]) || len(got["a.phase"]) != len(fars["plant"].arrivals()["a.n"]) {
			t.Errorf("office got %d values of a.phase, %d of a.n, %d of a.held", len(got["a.phase"]), len(got["a.n"]), len(got["a.held"]))
		}
	})
}

// TestRemovedUplink: what only an uplink was to get that is not in the configuration any more waits for nobody. It counts as routed for the others, and the
// log says how much it was.
func TestRemovedUplink(t *testing.T) {
	c := newCounter(t, tmpfs.Dir(t))
	bubble(t, func(t *testing.T) {
		x := newBed(t, nil, c.driver())
		brokers, fars := twoBrokers(t, x)
		brokers["office"].leave()
		slow := strings.Replace(routedConfig, "every: 2ms", "every: 400ms", 1)
		g := x.start(slow)
		time.Sleep(time.Minute)
		g.end()
		before := accountOf(t, g.Status(), "office")
		shared := uint64(2 * len(fars["plant"].arrivals()["a.n"]))
		var said lockedBuffer
		x.parts.Log = slog.New(slog.NewTextHandler(&said, nil))
		one := "devices: [{name: a, driver: counter, every: 1h}]\nuplinks: [{name: plant, url: \"mqtt://plant.test\", confirm: receipt}]\n"
		g = x.start(one)
		time.Sleep(time.Minute)
		g.end()
		if a := accountOf(t, g.Status(), "plant"); a.Buffered != 0 || a.Lost != 0 || a.Produced+a.Derived != a.Delivered+a.Filtered+a.Routed {
			t.Errorf("account is %+v", a)
		}
		if want := fmt.Sprintf("uplink=office readings=%d", before.Buffered-shared); !strings.Contains(said.String(), want) || before.Buffered == shared {
			t.Errorf("log says %s, want %q", &said, want)
		}
		o, err := agent.OpenOffline(x.load(one), "test", x.parts.Log)
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		if q := o.Status().Queue; q.Records != 0 || q.Readings != 0 {
			t.Errorf("%d records wait for nobody", q.Records)
		}
	})
}
