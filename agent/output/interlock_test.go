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

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/output"
	"github.com/tidegate-io/tidegate/drivers"
)

var (
	on  = tidegate.Bool(true)
	off = tidegate.Bool(false)
)

// plant is several devices with the outputs relay, aux (yes/no), level (number) and count (whole number) that share an Interlock.
type plant struct {
	t    *testing.T
	lock *output.Interlock
	rigs map[string]*rig

	mu    sync.Mutex // guards all below
	began time.Time
	sets  []string
}

func newPlant(t *testing.T, list ...output.Lock) *plant {
	x := &plant{t: t, lock: output.NewInterlock(), rigs: map[string]*rig{}, began: time.Now()}
	x.lock.Replace(list)
	return x
}

// device runs the outputs of a device of that name, and opens it.
func (x *plant) device(name string, safe map[string]tidegate.Value) *rig {
	ctx, stop := context.WithCancel(context.Background())
	r := &rig{relay: &relay{began: x.began}, stop: stop, done: make(chan struct{})}
	r.relay.does(x.takes(name))
	var list []drivers.Channel
	for _, c := range []drivers.Channel{
		{Name: "relay", Kind: tidegate.KindBool},
		{Name: "aux", Kind: tidegate.KindBool},
		{Name: "level", Kind: tidegate.KindFloat},
		{Name: "count", Kind: tidegate.KindUint},
	} {
		c.Output, c.Limits = true, drivers.Limits{Safe: safe[c.Name]}
		list = append(list, c)
	}
	r.Output = output.New(output.Options{
		Device: name, Stop: ctx.Done(), Log: slog.New(slog.DiscardHandler), Channels: list, Lock: x.lock,
		Fault: func(holds bool, detail string) { r.fault.Store(detail) },
	})
	go func() { defer close(r.done); r.Run(ctx) }()
	r.Attach(r.relay)
	x.rigs[name] = r
	return r
}

// takes is what a device does that takes everything.
func (x *plant) takes(name string) func(context.Context, string, tidegate.Value) error {
	return func(_ context.Context, channel string, v tidegate.Value) error {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.sets = append(x.sets, fmt.Sprintf("%v %s.%s=%v", time.Since(x.began), name, channel, v))
		return nil
	}
}

// at waits until so long after the start.
func (x *plant) at(d time.Duration) { time.Sleep(d - time.Since(x.began)); synctest.Wait() }

// want says what was set since the last time.
func (x *plant) want(want ...string) {
	x.t.Helper()
	synctest.Wait()
	x.mu.Lock()
	defer x.mu.Unlock()
	if got := strings.Join(x.sets, ", "); got != strings.Join(want, ", ") {
		x.t.Errorf("sets are\n%s, want\n%s", got, strings.Join(want, ", "))
	}
	x.sets = nil
}

// waits says what waits.
func (x *plant) waits(r *rig, want string) {
	x.t.Helper()
	synctest.Wait()
	waits, unsures := r.Waiting()
	got := strings.Join(waits, "; ")
	if len(unsures) > 0 {
		got += " UNSURE " + strings.Join(unsures, "; ")
	}
	if got != want {
		x.t.Errorf("waiting: got\n%s, want\n%s", got, want)
	}
}

func (x *plant) end() {
	for _, r := range x.rigs {
		r.stop()
	}
	for _, r := range x.rigs {
		r.Detach()
		<-r.done
	}
}

func (r *rig) sees(channel string, v tidegate.Value) {
	r.See(time.Now(), []tidegate.Reading{{Channel: channel, Value: v}})
}

func of(s string) output.Name {
	device, channel, _ := strings.Cut(s, ".")
	return output.Name{Device: device, Channel: channel}
}

// TestMinimumTimes: once on it stays on, once off it stays off, to the microsecond; counted from the opening of the device at first.
func TestMinimumTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newPlant(t, output.Lock{Output: of("a.relay"), MinOn: 30 * time.Second, MinOff: 2 * time.Minute})
		a := x.device("a", nil)
		slow := x.takes("a")
		a.relay.does(func(ctx context.Context, ch string, v tidegate.Value) error {
			err := slow(ctx, ch, v)
			time.Sleep(7 * time.Microsecond) // it is switched somewhere in there: the time counts from the end
			return err
		})
		a.Set("relay", on)
		x.at(time.Minute)
		x.want()
		x.waits(a, "relay waits to be set to true: its device was opened 1m0s ago, nobody knows since when it is off, and it stays so for at least 2m0s (min_off); 1m0s to go")
		if got := a.ask("relay", off); got != "<nil> after 7µs" { // may it have been on for 30 s: it may not be on for longer
			t.Errorf("got %s", got)
		}
		x.want("1m0s a.relay=false")
		got := a.ask("relay", on)
		if want := "not set yet: it was switched off 0s ago, and stays so for at least 2m0s (min_off); the value waits 2m0s, unless a newer one comes after 0s"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		x.at(2 * time.Minute)
		a.Set("relay", off) // the newest wins, and is no change
		x.at(2*time.Minute + time.Second)
		a.Set("relay", on)
		x.at(3*time.Minute + 10*time.Second)
		x.want("2m0s a.relay=false", "3m0.000007s a.relay=true")
		a.Set("relay", off)
		x.at(3*time.Minute + 22*time.Second)
		x.want()
		if got := a.ask("relay", off); got != "<nil> after 8.000021s" {
			t.Errorf("got %s", got)
		}
		x.want("3m30.000014s a.relay=false")
		a.Set("level", tidegate.Float(3)) // another output does not wait
		x.want("3m30.000021s a.level=3")
		x.end()
	})
}

// TestTimesOfFailedSets: what failed may have switched, or not; it is tried again at once, and the time counts from the last that may have.
func TestTimesOfFailedSets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newPlant(t, output.Lock{Output: of("a.relay"), MinOn: 10 * time.Second, MinOff: time.Minute})
		a := x.device("a", nil)
		a.sees("relay", off)
		x.at(time.Minute)
		takes := x.takes("a")
		a.relay.does(func(ctx context.Context, ch string, v tidegate.Value) error {
			err := takes(ctx, ch, v)
			if d := time.Since(x.began); d < 62*time.Second {
				err = errors.New("no reply")
			}
			return err
		})
		a.Set("relay", on)
		x.at(63*time.Second + time.Millisecond)
		x.want("1m0s a.relay=true", "1m1s a.relay=true", "1m3s a.relay=true")
		a.Set("relay", off)
		x.at(5 * time.Minute)
		x.want("1m13s a.relay=false")
		a.relay.does(func(ctx context.Context, ch string, v tidegate.Value) error {
			x.takes("a")(ctx, ch, v)
			time.Sleep(time.Millisecond)
			a.sees("relay", v) // a Read says so before it is known that it was for good
			if v == on {
				return errors.New("no reply")
			}
			return nil
		})
		a.Set("relay", on)
		x.at(5*time.Minute + 500*time.Millisecond)
		a.Set("relay", off)
		x.at(6 * time.Minute)
		x.want("5m0s a.relay=true", "5m10.001s a.relay=false")
		x.end()
	})
}

// TestOpenedAnew: nobody knows how the outputs of a device stand that was away; what it reports tells.
func TestOpenedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newPlant(t, output.Lock{Output: of("a.relay"), MinOn: 10 * time.Second, MinOff: time.Minute})
		a := x.device("a", nil)
		a.sees("relay", off)
		x.at(time.Minute)
		a.Set("relay", on)
		x.want("1m0s a.relay=true")
		x.at(2 * time.Minute)
		a.Detach()
		x.at(3 * time.Minute)
		a.Attach(a.relay)
		x.at(3*time.Minute + 30*time.Second)
		x.want() // it may have been off until now, so that it must not go on yet
		a.See(x.began.Add(3*time.Minute-1), []tidegate.Reading{{Channel: "relay", Value: on}})
		x.want() // of before it was opened
		a.sees("relay", on)
		x.want("3m30s a.relay=true") // no change
		a.Set("relay", off)
		x.want("3m30s a.relay=false") // nor has it been switched on within 10 s
		a.Detach()
		a.Attach(a.relay)
		a.Set("relay", on)
		x.at(5 * time.Minute)
		x.want("4m30s a.relay=true")
		a.sees("relay", off) // by hand
		x.at(5*time.Minute + 20*time.Second)
		x.want()
		a.Set("relay", on)
		x.at(7 * time.Minute)
		x.want("6m0s a.relay=true")
		x.end()
	})
}

// TestExclusive: of two outputs of two devices one is on; the other waits until the first was seen off for the pause. A person is told.
func TestExclusive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lock := output.Lock{Exclusive: []output.Name{of("a.relay"), of("b.relay"), of("b.aux")}, Pause: 500 * time.Millisecond}
		x := newPlant(t, lock)
		a, b := x.device("a", nil), x.device("b", nil)
		refused := func(r *rig, why string) {
			t.Helper()
			if got := r.ask("relay", on); got != "refused: "+why+" after 0s" {
				t.Errorf("got %s, want %s", got, why)
			}
		}
		const unset = "cannot be sure that %s is off: it was neither set nor reported since its device was opened; set it to false"
		a.Set("relay", on) // as a rule demands at the start, when nobody knows how the others stand
		x.waits(a, " UNSURE relay waits to be set to true: "+fmt.Sprintf(unset, "b.relay"))
		refused(a, fmt.Sprintf(unset, "b.relay"))
		b.Set("relay", off)
		b.sees("aux", on)
		x.waits(a, "relay waits to be set to true: b.aux is on, and of a.relay, b.relay and b.aux at most one may be on")
		x.at(time.Second)
		b.sees("aux", off)
		x.waits(a, "relay waits to be set to true: b.aux has been off for 0s only, and has to be for 500ms (pause); 500ms to go")
		x.at(time.Minute)
		x.want("0s b.relay=false", "1.5s a.relay=true")
		x.waits(a, "")
		refused(b, "a.relay is on, and of a.relay, b.relay and b.aux at most one may be on")
		b.Set("relay", on) // a rule's waits
		x.at(2 * time.Minute)
		refused(b, "a.relay is on, and of a.relay, b.relay and b.aux at most one may be on") // and is not forgotten over that
		a.Set("relay", off)
		x.want("2m0s a.relay=false")
		if got := b.ask("relay", on); got != "<nil> after 500ms" { // it does not take long
			t.Errorf("got %s", got)
		}
		a.Set("relay", on)
		b.sees("relay", on)
		x.at(3 * time.Minute)
		x.want("2m0.5s b.relay=true")
		a.Set("relay", off) // the newest wins
		x.want("3m0s a.relay=false")
		b.Set("relay", off)
		x.want("3m0s b.relay=false")
		x.at(4 * time.Minute)
		b.Detach()
		refused(a, "cannot be sure that b.relay is off: its device is not open")
		b.relay.does(func(context.Context, string, tidegate.Value) error { return errors.New("no reply") })
		b.Attach(b.relay)
		x.at(4*time.Minute + time.Second/2)
		refused(a, "cannot be sure that b.relay is off: when it was set last: no reply")
		a.Set("relay", on)
		b.relay.does(x.takes("b"))
		b.sees("aux", off)
		x.at(5 * time.Minute)
		x.want("4m1s b.relay=false", "4m1.5s a.relay=true")
		x.end()
	})
}

// TestExcludedWhileSetting: an output counts as on while it is being switched on, and until it has been switched off.
func TestExcludedWhileSetting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newPlant(t, output.Lock{Exclusive: []output.Name{of("a.relay"), of("b.relay")}})
		a, b := x.device("a", nil), x.device("b", nil)
		a.sees("relay", off)
		b.sees("relay", off)
		takes := x.takes("a")
		a.relay.does(func(ctx context.Context, ch string, v tidegate.Value) error {
			time.Sleep(time.Second)
			return takes(ctx, ch, v)
		})
		a.Set("relay", on)
		synctest.Wait()
		b.Set("relay", on)
		a.sees("relay", off) // says nothing: a Set is under way
		x.at(500 * time.Millisecond)
		early := time.Now()
		x.at(1500 * time.Millisecond)
		a.See(early, []tidegate.Reading{{Channel: "relay", Value: off}}) // of a Read that began before
		a.Set("relay", off)
		x.at(4 * time.Second)
		x.want("1s a.relay=true", "2.5s a.relay=false", "2.5s b.relay=true")
		x.end()
	})
}

// TestSeenWhileSetting: what a Read says of an output while it is being switched off is not yet so.
func TestSeenWhileSetting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newPlant(t, output.Lock{Exclusive: []output.Name{of("a.relay"), of("b.relay")}})
		a, b := x.device("a", nil), x.device("b", nil)
		b.sees("relay", off)
		a.Set("relay", on)
		x.at(time.Second)
		takes := x.takes("a")
		a.relay.does(func(ctx context.Context, ch string, v tidegate.Value) error {
			time.Sleep(2 * time.Second)
			return takes(ctx, ch, v)
		})
		a.Set("relay", off)
		x.at(1500 * time.Millisecond)
		a.sees("relay", off)
		b.Set("relay", on)
		x.waits(b, "relay waits to be set to true: a.relay is on, and of a.relay and b.relay at most one may be on")
		x.at(4 * time.Second)
		x.want("0s a.relay=true", "3s a.relay=false", "3s b.relay=true")
		x.end()
	})
}

// TestExcludedByHangingSet: what a call of the driver may do that has not returned, it may do at any time.
func TestExcludedByHangingSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newPlant(t, output.Lock{Exclusive: []output.Name{of("a.relay"), of("b.relay")}})
		a, b := x.device("a", nil), x.device("b", nil)
		b.sees("relay", off)
		release, takes := make(chan struct{}), x.takes("a")
		a.relay.does(func(ctx context.Context, ch string, v tidegate.Value) error { <-release; return takes(ctx, ch, v) })
		a.Set("relay", on)
		x.at(time.Minute)
		b.Set("relay", on)
		a.Set("relay", off)
		a.Detach()
		a.relay.does(takes)
		a.Attach(a.relay)
		x.at(2 * time.Minute)
		x.want("1m0s a.relay=false")
		x.waits(b, " UNSURE relay waits to be set to true: cannot be sure that a.relay is off: a call of its driver that switches it on has not returned")
		close(release)
		x.at(3 * time.Minute)
		x.want("2m0s a.relay=true", "2m0s a.relay=false", "2m0s b.relay=true") // it is set again to what stands
		x.end()
	})
}

// TestWalk: a number goes to its value in steps, from where it was set or is reported last.
func TestWalk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newPlant(t, output.Lock{Output: of("a.level"), MaxRise: 5, MaxFall: 10}, output.Lock{Output: of("a.count"), MaxRise: 0.4})
		a := x.device("a", nil)
		a.Set("level", tidegate.Float(20))
		x.waits(a, "level waits to be set to 20: its device has not yet reported where it stands, from where it goes on in steps; 10s to go")
		x.at(500 * time.Millisecond)
		a.sees("level", tidegate.Float(7.1))
		x.at(1700 * time.Millisecond)
		x.waits(a, "level waits to be set to 20: it rises by at most 5 a second (max_rise); 800ms to go")
		x.at(10 * time.Second)
		x.want("500ms a.level=12.1", "1.5s a.level=17.1", "2.5s a.level=20")
		if got := a.ask("level", tidegate.Int(0)); got != "<nil> after 1s" {
			t.Errorf("got %s", got)
		}
		x.want("10s a.level=10", "11s a.level=0")
		want := "not set yet: it rises by at most 5 a second (max_rise); it is there in 20s, unless a newer value comes after 0s"
		if got := a.ask("level", tidegate.Float(100)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		x.at(14 * time.Second)
		a.Set("level", tidegate.Float(2)) // a newer one
		x.at(30 * time.Second)
		x.want("12s a.level=5", "13s a.level=10", "14s a.level=15", "15s a.level=5", "16s a.level=2")
		a.Set("count", tidegate.Uint(3)) // is not reported: there is nothing to go from
		x.at(31 * time.Second)
		a.Set("count", tidegate.Uint(5))
		x.at(40 * time.Second)
		a.Set("count", tidegate.Uint(0)) // falls as it likes
		x.at(50 * time.Second)
		x.want("30s a.count=3", "32.5s a.count=4", "35s a.count=5", "40s a.count=0")
		x.end()
	})
}

// TestWalkWithFailures: where a step failed it may stand before or behind it, and both count.
func TestWalkWithFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newPlant(t, output.Lock{Output: of("a.level"), MaxRise: 5, MaxFall: 5})
		a := x.device("a", nil)
		a.sees("level", tidegate.Float(50))
		fails, takes := true, x.takes("a")
		a.relay.does(func(ctx context.Context, ch string, v tidegate.Value) error {
			if err := takes(ctx, ch, v); err != nil || !fails {
				return err
			}
			return errors.New("no reply")
		})
		a.Set("level", tidegate.Float(80))
		x.at(1500 * time.Millisecond)
		x.want("0s a.level=55", "1s a.level=55")
		a.Set("level", tidegate.Float(0)) // 55 may stand, so that 45 is too far
		x.at(2500 * time.Millisecond)
		fails = false
		a.Set("level", tidegate.Float(62))
		x.at(5500 * time.Millisecond)
		x.want("2s a.level=50", "3s a.level=55", "4s a.level=60", "5s a.level=62")
		if got := a.ask("level", tidegate.Float(50)); got != "<nil> after 2.5s" {
			t.Errorf("got %s", got)
		}
		x.want("6s a.level=57", "7s a.level=52", "8s a.level=50")
		x.end()
	})
}

// TestSafeStatesAndInterlocks: no time and no rate keeps an output from its safe state; but one that is on then waits for those that exclude
// it, which go off first, on whatever device.
func TestSafeStatesAndInterlocks(t *testing.T) {
	for name, tt := range map[string]struct{ does, want string }{
		"others go off":        {"takes", "10s a.relay=false, 10.2s a.aux=false, 10.2s a.level=0, 10.7s b.aux=true"},
		"another does not":     {"fails", "10s a.aux=false, 10s a.level=0"},
		"another is not there": {"away", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newPlant(t, output.Lock{Exclusive: []output.Name{of("a.relay"), of("b.aux")}, Pause: 500 * time.Millisecond},
					output.Lock{Output: of("a.relay"), MinOn: time.Hour}, output.Lock{Output: of("a.level"), MaxFall: 1})
				a := x.device("a", map[string]tidegate.Value{"relay": off, "aux": off, "level": tidegate.Float(0)})
				b := x.device("b", map[string]tidegate.Value{"aux": on})
				a.sees("relay", off)
				a.sees("level", tidegate.Float(0))
				b.Set("aux", off)
				a.Set("relay", on)
				a.Set("level", tidegate.Float(80))
				x.at(10 * time.Second)
				x.mu.Lock()
				x.sets = nil
				x.mu.Unlock()
				takes := x.takes("a")
				a.relay.does(func(ctx context.Context, ch string, v tidegate.Value) error {
					switch {
					case ch != "relay":
						return takes(ctx, ch, v)
					case tt.does == "fails":
						return errors.New("no reply")
					}
					err := takes(ctx, ch, v)
					time.Sleep(200 * time.Millisecond)
					return err
				})
				if tt.does == "away" {
					a.Detach()
				}
				began := time.Now()
				x.end()
				if d := time.Since(began); d > 2*time.Second {
					t.Errorf("took %v", d)
				}
				x.mu.Lock()
				defer x.mu.Unlock()
				if got := strings.Join(x.sets, ", "); got != tt.want {
					t.Errorf("sets are %s, want %s", got, tt.want)
				}
			})
		})
	}
}

// TestLongestPause: where several outputs have to have been off, what is told is the longest that is to go, in whatever order they are named.
func TestLongestPause(t *testing.T) {
	long := output.Lock{Exclusive: []output.Name{of("a.relay"), of("b.relay")}, Pause: 10 * time.Second}
	short := output.Lock{Exclusive: []output.Name{of("a.relay"), of("b.aux")}, Pause: 3 * time.Second}
	for name, locks := range map[string][]output.Lock{"first": {long, short}, "last": {short, long}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newPlant(t, locks...)
				a, b := x.device("a", nil), x.device("b", nil)
				b.Set("relay", off)
				x.want("0s b.relay=false")
				b.Set("aux", off)
				x.want("0s b.aux=false")
				x.at(time.Second)
				a.Set("relay", on)
				x.waits(a, "relay waits to be set to true: b.relay has been off for 1s only, and has to be for 10s (pause); 9s to go")
				x.at(11 * time.Second)
				x.want("10s a.relay=true")
				x.end()
			})
		})
	}
}

// TestSafeOrder: of one device too, what goes off goes first, and pauses are kept.
func TestSafeOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newPlant(t, output.Lock{Exclusive: []output.Name{of("a.relay"), of("a.aux")}, Pause: time.Second},
			output.Lock{Exclusive: []output.Name{of("a.relay"), of("b.aux")}}, output.Lock{Exclusive: []output.Name{of("a.relay"), of("b.relay")}, Pause: 300 * time.Millisecond})
		a := x.device("a", map[string]tidegate.Value{"relay": on, "aux": off, "level": tidegate.Float(1)})
		x.device("b", map[string]tidegate.Value{"relay": off, "aux": off})
		x.at(5 * time.Second)
		a.Set("relay", off)
		x.at(7 * time.Second)
		a.Set("aux", on)
		x.at(10 * time.Second)
		x.mu.Lock()
		x.sets = nil
		x.mu.Unlock()
		x.end()
		x.mu.Lock()
		defer x.mu.Unlock()
		if got := strings.Join(x.sets[len(x.sets)-1:], ""); got != "11s a.relay=true" || len(x.sets) != 5 {
			t.Errorf("sets are %s", strings.Join(x.sets, ", "))
		}
	})
}

// TestWalkBrokenOff: a walk that somebody waits for ends with the device, and what stood before counts when it is opened anew.
func TestWalkBrokenOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newPlant(t, output.Lock{Output: of("a.level"), MaxRise: 5})
		a := x.device("a", nil)
		a.sees("level", tidegate.Float(0))
		a.Set("level", tidegate.Float(5))
		x.at(2 * time.Second)
		takes := x.takes("a")
		a.relay.does(func(ctx context.Context, ch string, v tidegate.Value) error {
			err := takes(ctx, ch, v)
			time.Sleep(time.Second)
			return err
		})
		answers := make(chan string, 1)
		go func() { answers <- a.ask("level", tidegate.Float(20)) }()
		x.at(2500 * time.Millisecond)
		a.Detach()
		if got := <-answers; got != "not set: the device is not open now; `tidegate status` says why after 1s" {
			t.Errorf("got %s", got)
		}
		a.Attach(a.relay)
		x.at(3500 * time.Millisecond)
		a.sees("level", tidegate.Float(10))
		x.at(10 * time.Second)
		x.want("0s a.level=5", "2s a.level=10", "3.5s a.level=5")
		x.end()
	})
}

// TestOldSessionEnds: that a session of a device ends when the next has begun says nothing of that.
func TestOldSessionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newPlant(t, output.Lock{Exclusive: []output.Name{of("a.relay"), of("b.relay")}})
		old, b := x.device("a", nil), x.device("b", nil)
		next := x.device("a", nil)
		next.sees("relay", off)
		b.sees("relay", off)
		old.stop()
		old.Detach()
		<-old.done
		b.Set("relay", on)
		x.want("0s b.relay=true")
		x.end()
	})
}

// TestWalkRecovers: a walk of which a step failed is no fault any more as soon as one has gone through.
func TestWalkRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newPlant(t, output.Lock{Output: of("a.level"), MaxRise: 1})
		a := x.device("a", nil)
		a.sees("level", tidegate.Float(0))
		a.relay.does(failing(1))
		a.Set("level", tidegate.Float(10))
		x.at(1500 * time.Millisecond)
		if !strings.Contains(a.said(), "no reply") {
			t.Errorf("fault is %q", a.said())
		}
		x.at(5 * time.Second)
		if a.said() != "" {
			t.Errorf("fault is %q, although it goes on", a.said())
		}
		x.end()
	})
}

// TestReplaceWhileWaiting: what a reload lets through goes out, what it holds back waits.
func TestReplaceWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newPlant(t, output.Lock{Output: of("a.relay"), MinOff: time.Hour})
		a, b := x.device("a", nil), x.device("b", nil)
		b.Set("relay", on)
		a.Set("relay", on)
		x.at(time.Minute)
		x.want("0s b.relay=true")
		both := output.Lock{Exclusive: []output.Name{of("a.relay"), of("b.relay")}}
		x.lock.Replace([]output.Lock{both}) // b was set before there was a reason to look at it
		x.waits(a, "relay waits to be set to true: b.relay is on, and of a.relay and b.relay at most one may be on")
		x.at(2 * time.Minute)
		x.want()
		x.lock.Replace([]output.Lock{both, {Output: of("a.relay"), MinOff: 3 * time.Minute}, {Output: of("a.relay"), MinOff: time.Minute}})
		b.Set("relay", off)
		x.at(4 * time.Minute)
		x.want("2m0s b.relay=false", "3m0s a.relay=true")
		x.lock.Replace(nil)
		b.Set("relay", on)
		x.want("4m0s b.relay=true")
		x.lock.Replace([]output.Lock{both}) // switches nothing
		a.Set("relay", on)
		x.want("4m0s a.relay=true") // no change
		x.end()
	})
}
