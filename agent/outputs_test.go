package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// safeOff is an output that is off when nobody drives it.
var safeOff = drivers.Limits{Safe: tidegate.Bool(false)}

// TestOutputsGoToTheirSafeStates on a clean stop, while the device and what it has opened are still alive, and before it is closed; not
// when the gateway is not told to stop.
func TestOutputsGoToTheirSafeStates(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, x := newLimitedSwitchboard(t, onFrom(5*time.Second), safeOff)
		var life context.Context
		s.out.open = func(ctx context.Context) error { life = ctx; return nil }
		dead := false
		s.out.set = func(ctx context.Context, v tidegate.Value) error {
			dead = dead || life.Err() != nil
			return ctx.Err()
		}
		closed := time.Duration(0)
		s.out.close = func() error { closed = time.Since(s.out.began); return nil }
		s.out.read = func(ctx context.Context, n int) ([]tidegate.Reading, error) {
			if n == 11 { // the stop comes while it waits
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return one(n), nil
		}
		g := x.start(switching)
		time.Sleep(20 * time.Second)
		g.end()
		s.wantSets(t, "0s relay=false", "0s relay=false", "5s relay=true", "20s relay=false") // as it is opened, by the rule, by the rule, at the stop
		if dead {
			t.Error("an output was set through a port that is closed")
		}
		if closed != 20*time.Second+500*time.Millisecond || life.Err() == nil { // the Read has that long
			t.Errorf("closed at %v, its ctx %v", closed, life.Err())
		}
	})
}

// TestStopIsNotHeldUp by an output that does not get to its safe state: others are there at once, and the gateway has stopped in time.
func TestStopIsNotHeldUp(t *testing.T) {
	for name, obeys := range map[string]bool{"does not answer": true, "driver hangs": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s, x := newLimitedSwitchboard(t, onFrom(5*time.Second), safeOff)
				other := newPlay()
				other.limits = safeOff
				x.list = append(x.list, other.driver("other", time.Second))
				release := make(chan struct{})
				s.out.set = func(ctx context.Context, v tidegate.Value) error {
					if time.Since(s.out.began) < 10*time.Second {
						return nil
					}
					if obeys {
						<-ctx.Done()
						return ctx.Err()
					}
					<-release
					return nil
				}
				g := x.start(strings.Replace(switching, "rules:", "  - {name: other, driver: other}\nrules:", 1))
				time.Sleep(10*time.Second + time.Millisecond)
				began := time.Now()
				g.end()
				if d := time.Since(began); d > 4*time.Second {
					t.Errorf("stopping took %v", d)
				}
				if got := fmt.Sprint(other.wasSet()); got != "[0s relay=false 10.001s relay=false]" {
					t.Errorf("sets of the other are %s", got)
				}
				close(release)
				time.Sleep(time.Second)
			})
		})
	}
}

// TestAwayAndBack: a device that is silent for long is set as soon as it is read again, not when the pause between two tries has passed.
func TestAwayAndBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, x := newLimitedSwitchboard(t, func(time.Duration) int64 { return 1 }, drivers.Limits{})
		const back = 300 * time.Second
		away := func() error {
			if time.Since(s.out.began) < back {
				return errors.New("no reply")
			}
			return nil
		}
		s.out.read = func(_ context.Context, n int) ([]tidegate.Reading, error) { return one(n), away() }
		var tries []time.Duration
		s.out.set = func(context.Context, tidegate.Value) error {
			tries = append(tries, time.Since(s.out.began))
			return away()
		}
		g := x.start(switching)
		time.Sleep(back + time.Minute)
		g.end()
		last := tries[len(tries)-1]
		if before := tries[len(tries)-2]; last-before >= time.Minute || last < back || last > back+6*time.Second || len(tries) > 15 {
			t.Errorf("it is back after %v and was set after %v", back, tries)
		}
	})
}

// TestReloadAndSafeStates: a device whose settings stay keeps its outputs; one whose settings change may be another one, so that what it
// drove goes to its safe state before the new one is driven; as that of a device does that is taken out.
func TestReloadAndSafeStates(t *testing.T) {
	for name, tt := range map[string]struct{ old, next, want string }{
		"another interval": {"driver: output}", "driver: output, every: 2s}", "10s relay=true"},
		"another part":     {"driver: output}", "driver: output, part: other}", "10s relay=false 10s relay=true"},
		"another interval and part": {
			"driver: output}", "driver: output, every: 2s, part: other}", "10s relay=false 10s relay=true",
		},
		"taken out": {switching[strings.Index(switching, "  - {name: out"):], "", "10s relay=false"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s, x := newLimitedSwitchboard(t, onFrom(5*time.Second), safeOff)
				g := x.start(switching)
				time.Sleep(10 * time.Second)
				if err := g.Reload(g.ctx, x.load(strings.Replace(switching, tt.old, tt.next, 1))); err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Second)
				later := slices.DeleteFunc(s.out.wasSet(), func(set string) bool { return !strings.HasPrefix(set, "10s ") })
				if got := strings.Join(later, " "); got != tt.want {
					t.Errorf("after the reload it was set: %s, want %s", got, tt.want)
				}
				g.end()
			})
		})
	}
}

// newLevel returns a value, off, that several goroutines may use.
func newLevel() *atomic.Value {
	v := new(atomic.Value)
	v.Store(tidegate.Bool(false))
	return v
}

// TestDrive sets outputs by hand through the running gateway: within limits, read back, and the newest value wins.
func TestDrive(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s, x := newLimitedSwitchboard(t, onFrom(100*time.Second), drivers.Limits{Pause: 3 * time.Second})
		relay, reports := newLevel(), newLevel()
		reports.Store(tidegate.Bool(true))
		s.out.set = func(_ context.Context, v tidegate.Value) error {
			if time.Since(s.out.began) > 40*time.Second && time.Since(s.out.began) < 50*time.Second {
				return errors.New("no reply")
			}
			relay.Store(v)
			return nil
		}
		s.out.read = func(_ context.Context, n int) ([]tidegate.Reading, error) {
			list := one(n)
			if reports.Load() == tidegate.Bool(true) {
				list = append(list, tidegate.Reading{Channel: "relay", Value: relay.Load().(tidegate.Value)})
			}
			return list, nil
		}
		g := x.start(switching)
		drive := func(name, text, want string) {
			t.Helper()
			out, err := g.Drive(t.Context(), name, text)
			got := fmt.Sprint(err)
			if err == nil {
				b, err := json.Marshal(out)
				if got = string(b); err != nil {
					t.Fatal(err)
				}
			}
			if got != want {
				t.Errorf("%s to %s: got %s, want %s", name, text, got, want)
			}
		}
		time.Sleep(10*time.Second + 300*time.Millisecond)
		before := len(s.out.times())
		drive("out.relay", "true", `{"channel":"out.relay","value":true,"read_back":true,"agrees":true}`)
		if d := time.Since(s.out.began); d != 10*time.Second+300*time.Millisecond || len(s.out.times()) != before+1 {
			t.Errorf("it took until %v and %d Reads, want one at once", d, len(s.out.times())-before)
		}
		drive("out.relay", "on", `set out.relay: got "on", want true or false`)
		drive("out.n", "1", "out.n is no output; outputs are in.relay, out.relay")
		drive("fan.relay", "true", `fan.relay: no device has such an output; did you mean "in.relay"?`)
		drive("out.relay", "false", `{"channel":"out.relay","value":false,"read_back":false,"agrees":true}`) // after the pause
		if d := time.Since(s.out.began); d != 13*time.Second+300*time.Millisecond {
			t.Errorf("set at %v, want it behind the pause", d)
		}
		time.Sleep(41*time.Second - time.Since(s.out.began))
		drive("out.relay", "true", "set out.relay to true: no reply")
		time.Sleep(60*time.Second + 400*time.Millisecond - time.Since(s.out.began))
		reports.Store(tidegate.Bool(false))
		drive("out.relay", "true", `{"channel":"out.relay","value":true,"read_back":null,"agrees":false,"why":"not read back: the device does not report it"}`)
		time.Sleep(110*time.Second + 500*time.Millisecond - time.Since(s.out.began))
		g.end()
		s.wantSets(t, "0s relay=false", "10.3s relay=true", "13.3s relay=false", "41s relay=true", "1m0.4s relay=true", "1m40s relay=true")
		grid := 0
		for _, at := range s.out.times() {
			if at%time.Second == 0 {
				grid++
			}
		}
		if grid != 111 {
			t.Errorf("%d Reads on the grid of seconds, want 111: one more in between moves nothing", grid)
		}
	})
}

// TestDriveTalker reads back what a device says by itself, later.
func TestDriveTalker(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlay()
		relay, silent := newLevel(), newLevel()
		p.set = func(_ context.Context, v tidegate.Value) error { relay.Store(v); return nil }
		p.read = func(ctx context.Context, n int) ([]tidegate.Reading, error) {
			select {
			case <-time.After(2 * time.Second):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			if n%2 == 1 || silent.Load() == tidegate.Bool(true) {
				return one(n), nil
			}
			return []tidegate.Reading{{Channel: "relay", Value: relay.Load().(tidegate.Value)}}, nil
		}
		g := newBed(t, nil, p.driver("talker", 0)).start("devices: [{name: a, driver: talker}]\n")
		time.Sleep(10*time.Second + 500*time.Millisecond)
		out, err := g.Drive(t.Context(), "a.relay", "true")
		if err != nil || !out.Agrees || time.Since(p.began) != 16*time.Second {
			t.Errorf("got %+v, %v after %v, want what it says at 16 s: the line at 12 s was begun before", out, err, time.Since(p.began))
		}
		silent.Store(tidegate.Bool(true))
		out, err = g.Drive(t.Context(), "a.relay", "false")
		if err != nil || out.Agrees || out.Why != "not read back: the device has not reported it within 10s" {
			t.Errorf("got %+v, %v", out, err)
		}
		g.end()
	})
}

// TestKeptOverRestarts: a counter goes on where it stood, after a stop and after an end without one.
func TestKeptOverRestarts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		f := newFar(t, b)
		p := newPlay()
		var m drivers.Memory
		p.keep = func(x drivers.Memory) { m = x }
		count := byte(0)
		p.open = func(context.Context) error {
			last, err := m.Load()
			if len(last) == 1 {
				count = last[0]
			}
			return err
		}
		p.read = func(_ context.Context, n int) ([]tidegate.Reading, error) {
			count++
			return []tidegate.Reading{{Channel: "n", Value: tidegate.Int(int64(count))}}, m.Store([]byte{count})
		}
		x := newBed(t, b, p.driver("counter", time.Second))
		const text = "devices: [{name: a, driver: counter}]\n" + oneUplink
		for range 3 {
			g := x.start(text)
			time.Sleep(10*time.Second + 500*time.Millisecond)
			g.end()
			count = 99 // which it must not go on from
		}
		f.check(t, 0)
		f.wantCounts(t, "a", 33)
		if n := f.texts("a", "_device"); len(n) != 0 {
			t.Errorf("faults are %v", n)
		}
	})
}

// TestPowerCutIsSaid: a total that is a minute old goes on from there, and a fault reading says since when it has lost something.
func TestPowerCutIsSaid(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		f := newFar(t, b)
		p := newPlay()
		var m drivers.Memory
		p.keep = func(x drivers.Memory) { m = x }
		total := byte(0)
		p.open = func(context.Context) error {
			last, err := m.Load()
			if total = 0; len(last) == 1 {
				total = last[0]
			}
			return err
		}
		p.read = func(_ context.Context, n int) ([]tidegate.Reading, error) {
			total++
			return []tidegate.Reading{{Channel: "total", Value: tidegate.Int(int64(total))}}, m.Store([]byte{total})
		}
		x := newBed(t, b, p.driver("counter", time.Second))
		const text = "devices: [{name: a, driver: counter}]\n" + oneUplink
		g := x.start(text)
		time.Sleep(90*time.Second + 500*time.Millisecond)
		kept, disk := filepath.Join(x.dir, "memory"), filepath.Join(t.TempDir(), "disk")
		if err := os.CopyFS(disk, os.DirFS(kept)); err != nil { // the disk as the power goes
			t.Fatal(err)
		}
		g.end()
		fast, err := filepath.Glob(filepath.Join(x.rings, "memory-*"))
		if err != nil || len(fast) != 1 {
			t.Fatal(fast, err)
		}
		if err := errors.Join(os.RemoveAll(kept), os.CopyFS(kept, os.DirFS(disk)), os.RemoveAll(fast[0])); err != nil {
			t.Fatal(err)
		}
		g = x.start(text)
		time.Sleep(9*time.Second + 500*time.Millisecond)
		g.end()
		f.check(t, 0)
		const want = "the gateway was not stopped cleanly: what the device keeps is as of 2000-01-01T00:01:00Z, and what it counted after that, " +
			"for up to a minute, is lost"
		if got := f.texts("a", "_device"); len(got) != 1 || got[want] != 1 {
			t.Errorf("faults are %v, want %s", got, want)
		}
		list := f.records()
		if n, _ := list[len(list)-1].Record.Readings[0].Value.Number(); n != 70 && n != 71 {
			t.Errorf("ten Reads later it is at %v, want ten more than it had at one minute, 60 or 61", n)
		}
	})
}
