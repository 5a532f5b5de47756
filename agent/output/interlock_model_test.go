package output_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/output"
	"github.com/tidegate-io/tidegate/drivers"
)

// The outputs of the model; the two sets of locks between which reloads go to and fro.
var (
	modelOutputs = []output.Name{of("a.relay"), of("a.aux"), of("b.relay"), of("b.aux")}
	modelGroups  = []output.Lock{
		{Exclusive: []output.Name{of("a.relay"), of("b.relay")}, Pause: 700 * time.Millisecond},
		{Exclusive: []output.Name{of("a.aux"), of("b.relay"), of("b.aux")}},
	}
	modelTimes = [2][]output.Lock{
		{{Output: of("a.relay"), MinOn: 5 * time.Second, MinOff: 20 * time.Second}, {Output: of("b.aux"), MinOff: 3 * time.Second}},
		{{Output: of("a.relay"), MinOn: 12 * time.Second}, {Output: of("b.relay"), MinOn: 2 * time.Second, MinOff: 9 * time.Second}},
	}
)

// least returns how long n must stay as it is under the times in force.
func least(times int, n output.Name, on bool) (d time.Duration) {
	for _, k := range modelTimes[times] {
		if k.Output == n && on {
			d = max(d, k.MinOn)
		} else if k.Output == n {
			d = max(d, k.MinOff)
		}
	}
	return d
}

// A move is one step of a plan; the manner of a Set is how the device takes it.
type move struct {
	kind string
	out  int
	on   bool
	d    time.Duration
}

type manner struct {
	kind string
	d    time.Duration
}

// world is the machine outside: what the relays really do, and what is wrong with that.
type world struct {
	began   time.Time
	release chan struct{}

	mu      sync.Mutex // guards all below
	manners []manner
	hung    map[string]int
	times   int // in force
	on      map[output.Name]bool
	since   map[output.Name]time.Time // of on
	tainted map[output.Name]bool      // a call that hung has switched it: nothing is known of since
	wrong   []string
	seq     int
	demand  map[output.Name]wish
}

// A wish is what an output should come to be in the end.
type wish struct {
	seq     int
	on      bool
	isKnown bool
}

func (w *world) apply(n output.Name, on, late bool, times int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if on == w.on[n] {
		return
	}
	now := time.Now()
	say := func(format string, args ...any) {
		w.wrong = append(w.wrong, fmt.Sprintf("%v %v=%v: ", now.Sub(w.began), n, on)+fmt.Sprintf(format, args...))
	}
	if stood := now.Sub(w.since[n]); !late && !w.tainted[n] && stood < least(times, n, !on) {
		say("it stood for %v only", stood)
	}
	for _, g := range modelGroups {
		if !on || !strings.Contains(fmt.Sprint(g.Exclusive), n.String()) {
			continue
		}
		for _, other := range g.Exclusive {
			if other == n {
				continue
			}
			if w.on[other] {
				say("%v is on", other)
			} else if ago := now.Sub(w.since[other]); ago < g.Pause && !w.tainted[other] {
				say("%v went off %v ago", other, ago)
			}
		}
	}
	w.on[n], w.since[n] = on, now
	w.tainted[n] = w.tainted[n] || late
}

// set is what a device does with a Set.
func (w *world) set(ctx context.Context, n output.Name, v tidegate.Value) error {
	w.mu.Lock()
	m, times := manner{kind: "takes"}, w.times
	if len(w.manners) > 0 {
		m, w.manners = w.manners[0], w.manners[1:]
	}
	if strings.HasPrefix(m.kind, "hangs") {
		if w.hung[n.Device]++; w.hung[n.Device] > 3 {
			m.kind = "takes"
		}
	}
	w.mu.Unlock()
	on, _ := v.Bool()
	switch m.kind {
	case "refuses":
		return errors.New("no reply")
	case "hangs early", "hangs late", "hangs":
		if m.kind == "hangs early" {
			w.apply(n, on, false, times)
		}
		<-w.release
		if m.kind == "hangs late" {
			w.apply(n, on, true, times)
		}
		return nil
	}
	givenUp := make(chan time.Time, 1)
	defer context.AfterFunc(ctx, func() { givenUp <- time.Now().Add(3 * time.Second) })()
	time.Sleep(m.d)
	if m.kind == "stops" && ctx.Err() != nil {
		return ctx.Err()
	}
	late := false
	select {
	case at := <-givenUp:
		late = !time.Now().Before(at)
	default:
	}
	w.apply(n, on, late, times)
	if m.kind == "answers not" {
		return errors.New("no reply")
	}
	time.Sleep(m.d / 3)
	return nil
}

// wish notes what is demanded; seq 0 = now.
func (w *world) wish(n output.Name, x wish) (seq int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if x.seq == 0 {
		w.seq++
		x.seq = w.seq
	}
	if x.seq >= w.demand[n].seq {
		w.demand[n] = x
	}
	return x.seq
}

// one is a device of the world: a Setter.
type one struct {
	*world
	device string
}

func (d *one) Set(ctx context.Context, channel string, v tidegate.Value) error {
	return d.set(ctx, output.Name{Device: d.device, Channel: channel}, v)
}

// TestInterlocksHold lets rules and people demand at random of two devices that are slow, refuse, hang, go away and come back, while reloads
// change the times: no two relays are ever on that exclude each other, none changes too early, and what was demanded last is done in the end.
func TestInterlocksHold(t *testing.T) {
	ms := func(rt *rapid.T, label string) time.Duration {
		return rapid.SampledFrom([]time.Duration{0, 1, 30, 400, 900, 2500, 6000, 25000}).Draw(rt, label) * time.Millisecond
	}
	rapid.Check(t, func(rt *rapid.T) {
		var moves []move
		for range rapid.IntRange(1, 40).Draw(rt, "moves") {
			moves = append(moves, move{
				kind: rapid.SampledFrom([]string{"rule", "rule", "rule", "rule", "ask", "ask", "close", "open", "open", "see", "see", "reload"}).Draw(rt, "move"),
				out:  rapid.IntRange(0, 3).Draw(rt, "output"), on: rapid.IntRange(0, 2).Draw(rt, "on") > 0, d: ms(rt, "then"),
			})
		}
		var manners []manner
		for range rapid.IntRange(0, 30).Draw(rt, "manners") {
			manners = append(manners, manner{rapid.SampledFrom([]string{
				"takes", "takes", "takes", "takes", "stops", "refuses", "answers not", "hangs", "hangs early", "hangs late",
			}).Draw(rt, "manner"), ms(rt, "takes")})
		}
		first := rapid.IntRange(-1, 3).Draw(rt, "is on at first")
		var wrong []string
		synctest.Test(t, func(*testing.T) { wrong = play(moves, manners, first) })
		if len(wrong) > 0 {
			rt.Fatalf("%d wrong: %s", len(wrong), strings.Join(wrong, "\n"))
		}
	})
}

// play does the moves, then lets all be well, and returns what was wrong.
func play(moves []move, manners []manner, first int) []string {
	w := &world{
		began: time.Now(), release: make(chan struct{}), manners: manners, hung: map[string]int{}, on: map[output.Name]bool{},
		since: map[output.Name]time.Time{}, tainted: map[output.Name]bool{}, demand: map[output.Name]wish{},
	}
	for i, n := range modelOutputs {
		w.on[n], w.since[n] = i == first, w.began // as if it had been switched just now
	}
	lock := output.NewInterlock()
	reload := func(times int) {
		w.mu.Lock()
		w.times = times
		w.mu.Unlock()
		lock.Replace(append(modelGroups[:2:2], modelTimes[times]...))
	}
	reload(0)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	outs := map[string]*output.Output{}
	for _, device := range []string{"a", "b"} {
		var list []drivers.Channel
		for _, ch := range []string{"relay", "aux"} {
			list = append(list, drivers.Channel{Name: ch, Kind: tidegate.KindBool, Output: true})
		}
		o := output.New(output.Options{
			Device: device, Channels: list, Stop: ctx.Done(), Log: slog.New(slog.DiscardHandler), Fault: func(bool, string) {}, Lock: lock,
		})
		outs[device] = o
		running.Go(func() { o.Run(ctx) })
		o.Attach(&one{w, device})
	}
	see := func(n output.Name, lag time.Duration) {
		w.mu.Lock()
		began, v := time.Now(), tidegate.Bool(w.on[n])
		w.mu.Unlock()
		time.Sleep(lag)
		outs[n.Device].See(began, []tidegate.Reading{{Channel: n.Channel, Value: v}})
	}
	isOpen := map[string]bool{"a": true, "b": true}
	for _, m := range moves {
		n := modelOutputs[m.out]
		o, v := outs[n.Device], tidegate.Bool(m.on)
		switch m.kind {
		case "rule":
			w.wish(n, wish{on: m.on, isKnown: true})
			o.Set(n.Channel, v)
		case "ask":
			w.mu.Lock()
			w.seq++
			seq := w.seq
			w.mu.Unlock()
			running.Go(func() { w.ask(o, n, m.on, seq) })
			synctest.Wait()
		case "close":
			if isOpen[n.Device] {
				o.Detach()
				isOpen[n.Device] = false
			}
		case "open":
			if isOpen[n.Device] {
				o.Detach()
			}
			o.Attach(&one{w, n.Device})
			isOpen[n.Device] = true
		case "see":
			running.Go(func() { see(n, m.d) })
		case "reload":
			reload(m.out % 2)
		}
		time.Sleep(m.d)
	}
	time.Sleep(time.Minute)
	close(w.release) // from here on all is well
	w.mu.Lock()
	w.manners = nil
	w.mu.Unlock()
	for device, o := range outs {
		time.Sleep(time.Second)
		o.Detach()
		o.Attach(&one{w, device})
	}
	for _, n := range modelOutputs {
		see(n, 0)
	}
	time.Sleep(5 * time.Minute)
	w.judge()
	for _, on := range []bool{false, true} {
		for _, n := range modelOutputs[:2] { // those two may be on together
			for _, other := range modelOutputs[2:] {
				outs[other.Device].Set(other.Channel, tidegate.Bool(false))
				w.wish(other, wish{isKnown: true})
			}
			outs[n.Device].Set(n.Channel, tidegate.Bool(on))
			w.wish(n, wish{on: on, isKnown: true})
		}
		time.Sleep(5 * time.Minute)
		w.judge()
		if on && !(w.on[modelOutputs[0]] && w.on[modelOutputs[1]]) {
			w.wrong = append(w.wrong, "nothing excludes a.relay and a.aux, and they are not on")
		}
	}
	stop()
	running.Wait()
	for _, o := range outs {
		o.Detach()
	}
	return w.wrong
}

// ask is a person who asks for an output.
func (w *world) ask(o *output.Output, n output.Name, on bool, seq int) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := o.Ask(ctx, n.Channel, tidegate.Bool(on))
	switch {
	case err == nil || strings.HasPrefix(err.Error(), "not set yet"):
		w.wish(n, wish{seq: seq, on: on, isKnown: true})
	case errors.Is(err, context.DeadlineExceeded): // it may be set all the same
		w.wish(n, wish{seq: seq})
	}
}

// judge notes what was demanded and is not so, although nothing hinders it.
func (w *world) judge() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range modelOutputs {
		x := w.demand[n]
		if !x.isKnown || x.on == w.on[n] {
			continue
		}
		hindered := false
		for _, g := range modelGroups {
			for _, other := range g.Exclusive {
				if strings.Contains(fmt.Sprint(g.Exclusive), n.String()) && other != n && w.on[other] {
					hindered = x.on
				}
			}
		}
		if !hindered {
			w.wrong = append(w.wrong, fmt.Sprintf("%v is %v in the end, want %v", n, w.on[n], x.on))
		}
	}
}
