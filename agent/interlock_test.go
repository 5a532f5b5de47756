package agent_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
)

// reversing is two devices whose relays exclude each other, driven by rules: one's while n > 0, the other's while n > 1.
const reversing = `
devices:
  - {name: in, driver: input}
  - {name: out, driver: output}
  - {name: back, driver: output2}
rules:
  - {name: forth, when: in.n > 0, do: [{set: {channel: out.relay, value: true, on_clear: false, priority: 1}}]}
  - {name: back, when: in.n > 1, do: [{set: {channel: back.relay, value: true, on_clear: false}}, {set: {channel: out.relay, value: false, priority: 2}}]}
interlocks:
  - {exclusive: [out.relay, back.relay], pause: 700ms}
  - {output: out.relay, min_on: 10s}
`

// TestInterlocks lets rules, a person and a reload drive two relays of which one may be on.
func TestInterlocks(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, _ := newSwitchboard(t, func(d time.Duration) int64 {
			switch {
			case d < 5*time.Second:
				return 0
			case d < 20*time.Second || d >= 40*time.Second:
				return 1
			}
			return 2
		})
		back := newPlay()
		reads := newLevel()
		back.read = func(_ context.Context, n int) ([]tidegate.Reading, error) {
			return append(one(n), tidegate.Reading{Channel: "relay", Value: reads.Load().(tidegate.Value)}), nil
		}
		back.set = func(_ context.Context, v tidegate.Value) error { reads.Store(v); return nil }
		x := newBed(t, nil, s.in.driver("input", time.Second), s.out.driver("output", time.Second), back.driver("output2", time.Second))
		g := x.start(reversing)
		at := func(d time.Duration) { time.Sleep(d + 500*time.Millisecond - time.Since(s.in.began)) }
		condition := func(want string) {
			t.Helper()
			var got []string
			for _, c := range g.Status().Conditions {
				got = append(got, c.Code+" "+c.Severity+" "+c.Detail)
			}
			if strings.Join(got, "\n") != want {
				t.Errorf("conditions are\n%s, want\n%s", strings.Join(got, "\n"), want)
			}
		}
		at(3 * time.Second)
		condition("output_waits:out info relay waits to be set to false: its device was opened 3.5s ago, nobody knows since when it is on, " +
			"and it stays so for at least 10s (min_on); 6.5s to go")
		at(12 * time.Second)
		condition("")
		refused := func(name, want string) {
			t.Helper()
			if _, err := g.Drive(t.Context(), name, "true"); fmt.Sprint(err) != "set "+name+" to true: refused: "+want {
				t.Errorf("%s: got %v, want %s", name, err, want)
			}
		}
		refused("back.relay", "out.relay is on, and of out.relay and back.relay at most one may be on")
		at(21 * time.Second)
		refused("out.relay", "back.relay is on, and of out.relay and back.relay at most one may be on")
		at(41 * time.Second)
		if err := g.Reload(g.ctx, x.load(strings.Replace(reversing, "pause: 700ms", "pause: 4s", 1))); err != nil {
			t.Fatal(err)
		}
		condition("")
		reads.Store(tidegate.Bool(true)) // by hand
		at(42 * time.Second)
		if _, err := g.Drive(t.Context(), "out.relay", "true"); err != nil { // it is on already
			t.Error(err)
		}
		at(55 * time.Second)
		g.end()
		s.wantSets(t, "5s relay=true", "20s relay=false", "40.7s relay=true", "42.5s relay=true")
		if got := fmt.Sprint(back.wasSet()); got != "[0s relay=false 20.7s relay=true 40s relay=false]" {
			t.Errorf("sets of back are %s", got)
		}
	})
}
