package agent_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// switching is a gateway whose device `in` drives the output of device `out` by a rule: on while n > 0.
const switching = `
devices:
  - {name: in, driver: input}
  - {name: out, driver: output}
rules:
  - {name: on, when: in.n > 0, do: [{set: {channel: out.relay, value: true, on_clear: false}}]}
`

// A switchboard is the two devices of switching.
type switchboard struct {
	in, out *play
	levels  func(d time.Duration) int64 // what `in` reports at that time
}

func newSwitchboard(t *testing.T, levels func(d time.Duration) int64) (*switchboard, *bed) {
	t.Helper()
	return newLimitedSwitchboard(t, levels, drivers.Limits{})
}

// newLimitedSwitchboard is newSwitchboard whose output has limits.
func newLimitedSwitchboard(t *testing.T, levels func(d time.Duration) int64, limits drivers.Limits) (*switchboard, *bed) {
	t.Helper()
	s := &switchboard{in: newPlay(), out: newPlay(), levels: levels}
	s.out.limits = limits
	s.in.read = func(context.Context, int) ([]tidegate.Reading, error) {
		return []tidegate.Reading{{Channel: "n", Value: tidegate.Int(s.levels(time.Since(s.in.began)))}}, nil
	}
	return s, newBed(t, nil, s.in.driver("input", time.Second), s.out.driver("output", time.Second))
}

// onFrom reports 1 from at on, 0 before.
func onFrom(at time.Duration) func(time.Duration) int64 {
	return func(d time.Duration) int64 {
		if d >= at {
			return 1
		}
		return 0
	}
}

// wantSets says what was set, and when. What is set twice at the start, as the device is opened and by a rule, may have been set once: the
// rule may have spoken before the device was there.
func (s *switchboard) wantSets(t *testing.T, want ...string) {
	t.Helper()
	once := func(list []string) []string {
		if len(list) > 1 && list[0] == list[1] && strings.HasPrefix(list[0], "0s ") {
			return list[1:]
		}
		return list
	}
	if got := once(s.out.wasSet()); !slices.Equal(got, once(want)) {
		t.Errorf("sets are %s, want %s", got, want)
	}
	if w := s.out.misused(); w != "" {
		t.Error(w)
	}
}

func TestOutputIsSetOnceAtStartAndOnEachChange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, x := newSwitchboard(t, func(d time.Duration) int64 { return int64(d/(10*time.Second)) % 2 })
		g := x.start(switching)
		time.Sleep(35 * time.Second)
		g.end()
		s.wantSets(t, "0s relay=false", "10s relay=true", "20s relay=false", "30s relay=true")
		g = x.start(switching) // at 35 s, where the rule stands
		time.Sleep(4 * time.Second)
		g.end()
		s.wantSets(t, "0s relay=false", "10s relay=true", "20s relay=false", "30s relay=true", "35s relay=true")
	})
}

// TestHangingSet has an output that does not answer: rules, Reads and other devices go on, and what was demanded last counts.
func TestHangingSet(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, x := newSwitchboard(t, func(d time.Duration) int64 { return int64(d/time.Second) % 2 }) // it changes each second
		var gaveUp []time.Duration
		s.out.set = func(ctx context.Context, _ tidegate.Value) error {
			if d := time.Since(s.out.began); d < 20*time.Second {
				<-ctx.Done()
				gaveUp = append(gaveUp, time.Since(s.out.began)-d)
				return ctx.Err()
			}
			return nil
		}
		g := x.start(switching)
		time.Sleep(23*time.Second + 500*time.Millisecond)
		if n := len(s.in.times()); n != 24 {
			t.Errorf("input was read %d times, want 24", n)
		}
		if n := len(s.out.times()); n != 24 {
			t.Errorf("the device with the hanging output was read %d times, want 24", n)
		}
		if r := g.Status().Rules; len(r) != 1 || r[0].Fired != 12 {
			t.Errorf("rules are %+v, want 12 times", r)
		}
		g.end()
		if got := fmt.Sprint(gaveUp); got != "[5s 5s 5s 5s]" {
			t.Errorf("Sets were given up after %s, want after 5s each", got)
		}
		// Between 15 s and 20 s five values were demanded. At 20 s it answers: the value of then, false, counts.
		got := s.out.wasSet()
		if want := "20s relay=false 21s relay=true 22s relay=false 23s relay=true"; !strings.HasSuffix(strings.Join(got, " "), want) {
			t.Errorf("sets are %v, want them to end in %s", got, want)
		}
	})
}

// TestOutputThatNeverReturns has a driver that ignores its deadline: the gateway goes on, and stops.
func TestOutputThatNeverReturns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, x := newSwitchboard(t, onFrom(5*time.Second))
		release := make(chan struct{})
		s.out.set = func(context.Context, tidegate.Value) error { <-release; return nil }
		g := x.start(switching)
		time.Sleep(time.Minute)
		if n := len(s.out.times()); n != 60 && n != 61 {
			t.Errorf("the device was read %d times", n)
		}
		began := time.Now()
		g.end()
		if d := time.Since(began); d > 7*time.Second {
			t.Errorf("stopping took %v", d)
		}
		close(release)
		time.Sleep(time.Second)
	})
}

// TestDeviceOpenedAnewIsSetAgain: a device that was gone has lost its outputs; a Set under way ends before it is closed.
func TestDeviceOpenedAnewIsSetAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, x := newSwitchboard(t, onFrom(5*time.Second))
		s.out.read = func(_ context.Context, n int) ([]tidegate.Reading, error) {
			if n == 10 || n == 12 {
				return nil, fmt.Errorf("unplugged: %w", drivers.ErrGone)
			}
			return one(n), nil
		}
		s.out.set = func(ctx context.Context, _ tidegate.Value) error {
			if len(s.out.wasSet()) == 3 { // again, after the first time that it was gone
				<-ctx.Done()
				time.Sleep(50 * time.Millisecond) // drivers have 100 ms
				return ctx.Err()
			}
			if len(s.out.wasSet()) == 4 {
				return errors.New("refused") // it is tried again
			}
			return nil
		}
		g := x.start(switching)
		time.Sleep(20 * time.Second)
		g.end()
		s.wantSets(t, "0s relay=false", "5s relay=true", "9.05s relay=true", "10.15s relay=true", "11.15s relay=true")
	})
}

// TestNewestValueWins: what was demanded while a device was away counts, not what stood before.
func TestNewestValueWins(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, x := newSwitchboard(t, func(d time.Duration) int64 {
			if d >= 5*time.Second && d < 15*time.Second {
				return 1
			}
			return 0
		})
		away := func() bool { d := time.Since(s.out.began); return d >= 10*time.Second && d < 20*time.Second }
		s.out.open = func(context.Context) error {
			if away() {
				return errors.New("no such port")
			}
			return nil
		}
		s.out.read = func(_ context.Context, n int) ([]tidegate.Reading, error) {
			if away() {
				return nil, fmt.Errorf("unplugged: %w", drivers.ErrGone)
			}
			return one(n), nil
		}
		g := x.start(switching)
		time.Sleep(30 * time.Second)
		g.end()
		s.wantSets(t, "0s relay=false", "5s relay=true", "20.55s relay=false")
	})
}

// TestFailedSetIsTriedAgain: a bus that does not answer when an alarm drives a relay is asked again, in growing pauses, until it does; a
// condition says so meanwhile. A newer value does not wait.
func TestFailedSetIsTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, x := newSwitchboard(t, func(d time.Duration) int64 {
			if d >= 5*time.Second && d < 200*time.Second || d >= 202*time.Second {
				return 1
			}
			return 0
		})
		s.out.set = func(context.Context, tidegate.Value) error {
			if d := time.Since(s.out.began); d >= 5*time.Second && d < 210*time.Second {
				return errors.New("no reply")
			}
			return nil
		}
		g := x.start(switching)
		time.Sleep(100 * time.Second)
		if c := g.Status().Conditions; len(c) != 1 || c[0].Code != "output_fault:out" || c[0].Detail != "relay: no reply" {
			t.Errorf("conditions are %+v", c)
		}
		time.Sleep(200 * time.Second)
		if c := g.conditions(); c != "" {
			t.Errorf("conditions are %s", c)
		}
		g.end()
		s.wantSets(t, "0s relay=false", "5s relay=true", "6s relay=true", "8s relay=true", "12s relay=true", "20s relay=true", "36s relay=true",
			"1m8s relay=true", "2m8s relay=true", "3m8s relay=true", "3m20s relay=false", "3m21s relay=false",
			"3m22s relay=true", "3m23s relay=true", "3m25s relay=true", "3m29s relay=true", "3m37s relay=true")
	})
}
