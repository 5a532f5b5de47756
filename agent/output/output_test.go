package output_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/output"
	"github.com/tidegate-io/tidegate/drivers"
)

// relay is a device whose outputs a test looks at.
type relay struct {
	mu    sync.Mutex                                                        // guards all below
	do    func(ctx context.Context, channel string, v tidegate.Value) error // nil = it takes everything
	began time.Time
	sets  []string
	busy  int
	twice bool
}

func (r *relay) Set(ctx context.Context, channel string, v tidegate.Value) error {
	r.mu.Lock()
	r.sets = append(r.sets, fmt.Sprintf("%v %s=%v", time.Since(r.began), channel, v))
	r.busy++
	r.twice = r.twice || r.busy > 1
	do := r.do
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.busy--
	}()
	if do != nil {
		return do(ctx, channel, v)
	}
	return nil
}

// does says what happens from now on.
func (r *relay) does(do func(context.Context, string, tidegate.Value) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.do = do
}

func (r *relay) want(t *testing.T, want ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if got := strings.Join(r.sets, ", "); got != strings.Join(want, ", ") {
		t.Errorf("sets are %s, want %s", got, strings.Join(want, ", "))
	}
	if r.twice {
		t.Error("two Sets ran at one time")
	}
}

// rig is the outputs of one device in a bubble.
type rig struct {
	*output.Output
	relay *relay
	stop  context.CancelFunc
	done  chan struct{}
	fault atomic.Value // text
}

func (x *rig) said() string { s, _ := x.fault.Load().(string); return s }

// start runs outputs within limits, attached to a relay.
func start(limits drivers.Limits, before ...tidegate.Value) *rig {
	ctx, stop := context.WithCancel(context.Background())
	x := &rig{relay: &relay{began: time.Now()}, stop: stop, done: make(chan struct{})}
	x.Output = output.New(output.Options{
		Device: "fan", Stop: ctx.Done(), Log: slog.New(slog.DiscardHandler), Fault: func(holds bool, detail string) {
			if holds != (detail != "") {
				detail = "holds without detail, or the reverse"
			}
			x.fault.Store(detail)
		},
		Channels: []drivers.Channel{
			{Name: "relay", Kind: tidegate.KindBool, Output: true, Limits: drivers.Limits{Pause: limits.Pause, Safe: limits.Safe}},
			{Name: "level", Kind: tidegate.KindFloat, Output: true, Limits: drivers.Limits{Min: limits.Min, Max: limits.Max}},
			{Name: "temp", Kind: tidegate.KindFloat},
		},
	})
	for _, v := range before {
		x.Set("relay", v)
	}
	go func() { defer close(x.done); x.Run(ctx) }()
	x.Attach(x.relay)
	return x
}

func (x *rig) end() { x.stop(); <-x.done }

// ask is Ask with a deadline of 10 s; it returns the error as text, and how long it took.
func (x *rig) ask(channel string, v tidegate.Value) string {
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := x.Ask(ctx, channel, v)
	return fmt.Sprintf("%v after %v", err, time.Since(began))
}

// TestLimits refuses what a driver does not declare, whoever asks, before it gets to the driver.
func TestLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := start(drivers.Limits{Min: 10, Max: 90})
		for _, tt := range []struct {
			channel string
			v       tidegate.Value
			want    string
		}{
			{"level", tidegate.Float(10), "<nil>"},
			{"level", tidegate.Float(9.5), "got 9.5, want a number from 10 to 90"},
			{"level", tidegate.Int(91), "got 91, want a number from 10 to 90"},
			{"level", tidegate.Text("50"), `got "50", want a number from 10 to 90`},
			{"relay", tidegate.Int(1), "got 1, want true or false"},
			{"temp", tidegate.Float(20), "it is no output"},
			{"tmep", tidegate.Float(20), "the device has no such channel"},
		} {
			if got := x.ask(tt.channel, tt.v); got != tt.want+" after 0s" {
				t.Errorf("%s to %v: got %s, want %s", tt.channel, tt.v, got, tt.want)
			}
		}
		synctest.Wait()
		x.relay.want(t, "0s level=10")
		if x.said() != "" {
			t.Errorf("whoever asks is told, and nobody else: %s", x.said())
		}
		x.Set("level", tidegate.Float(900))
		synctest.Wait()
		if want := "level: refused: got 900, want a number from 10 to 90"; x.said() != want {
			t.Errorf("fault is %q, want %q", x.said(), want)
		}
		x.Set("relay", tidegate.Bool(true))
		synctest.Wait()
		if !strings.Contains(x.said(), "900") {
			t.Errorf("another channel's value ends the fault")
		}
		x.Set("level", tidegate.Float(11))
		synctest.Wait()
		if x.said() != "" {
			t.Errorf("fault is %q after a value that is good", x.said())
		}
		x.relay.want(t, "0s level=10", "0s relay=true", "0s level=11")
		x.end()
	})
}

// TestPause keeps the least time between two changes: what comes earlier waits, and the newest wins.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := start(drivers.Limits{Pause: time.Minute})
		at := func(d time.Duration) { time.Sleep(d - time.Since(x.relay.began)) }
		x.Set("relay", tidegate.Bool(true)) // the first is no change too early
		at(10 * time.Second)
		x.Set("relay", tidegate.Bool(false))
		at(20 * time.Second)
		x.Set("level", tidegate.Float(1)) // has no pause
		at(30 * time.Second)
		x.Set("relay", tidegate.Bool(true)) // stands already: the newest wins, and is no change
		at(50 * time.Second)
		x.Set("relay", tidegate.Bool(false))
		at(2 * time.Minute)
		x.relay.want(t, "0s relay=true", "20s level=1", "30s relay=true", "1m0s relay=false")
		x.Set("relay", tidegate.Bool(true)) // just at the end of the pause
		at(2*time.Minute + 30*time.Second)
		want := "not set yet: it was changed 30s ago, and 1m0s have to pass between two changes; the value waits 30s, unless a newer one comes after 0s"
		if got := x.ask("relay", tidegate.Bool(false)); got != want {
			t.Errorf("asked in the pause: got %s, want %s", got, want)
		}
		at(2*time.Minute + 55*time.Second)
		if got := x.ask("relay", tidegate.Bool(false)); got != "<nil> after 5s" {
			t.Errorf("asked shortly before the end of the pause: got %s", got)
		}
		at(5 * time.Minute)
		x.relay.want(t, "0s relay=true", "20s level=1", "30s relay=true", "1m0s relay=false", "2m0s relay=true", "3m0s relay=false")
		x.end()
	})
}

// TestPauseHoldsAcrossReload: a device that is opened anew, by another Output too, is set to what stands, and keeps the pause.
func TestPauseHoldsAcrossReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := start(drivers.Limits{Pause: time.Minute})
		x.Set("relay", tidegate.Bool(true))
		time.Sleep(10 * time.Second)
		x.end()
		y := start(drivers.Limits{Pause: time.Minute})
		y.Detach()
		y.Inherit(x.Output)
		y.Attach(y.relay)
		time.Sleep(time.Second)
		y.Set("relay", tidegate.Bool(false))
		time.Sleep(2 * time.Minute)
		y.relay.want(t, "0s relay=true", "50s relay=false")
		y.end()
	})
}

// TestNewestWins: of a rule and a person, the one that speaks last; what was passed over is told so.
func TestNewestWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := start(drivers.Limits{})
		x.relay.does(func(context.Context, string, tidegate.Value) error { time.Sleep(time.Second); return nil })
		x.Set("level", tidegate.Float(1))
		time.Sleep(100 * time.Millisecond) // it is being set
		answers := make(chan string, 2)
		go func() { answers <- x.ask("level", tidegate.Float(2)) }()
		time.Sleep(100 * time.Millisecond)
		x.Set("level", tidegate.Float(3))
		if got := <-answers; got != "not set: a newer value came after 100ms" {
			t.Errorf("passed over by a rule: got %s", got)
		}
		time.Sleep(3 * time.Second)
		if got := x.ask("level", tidegate.Float(4)); got != "<nil> after 1s" {
			t.Errorf("got %s", got)
		}
		x.Demand("level", tidegate.Float(4)) // stands
		time.Sleep(2 * time.Second)
		x.Demand("level", tidegate.Float(5))
		time.Sleep(2 * time.Second)
		x.relay.want(t, "0s level=1", "1s level=3", "3.2s level=4", "6.2s level=5")
		x.end()
	})
}

// TestAskedOnce: what somebody asks for is tried once, and is not what a device opened anew is set to when it failed.
func TestAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := start(drivers.Limits{})
		x.Set("relay", tidegate.Bool(false))
		synctest.Wait()
		x.relay.does(func(context.Context, string, tidegate.Value) error { return errors.New("no reply") })
		if got := x.ask("relay", tidegate.Bool(true)); got != "no reply after 0s" {
			t.Errorf("got %s", got)
		}
		time.Sleep(10 * time.Minute)
		if x.said() != "" {
			t.Errorf("fault is %s, although whoever asked was told", x.said())
		}
		x.relay.does(nil)
		x.Detach()
		if got := x.ask("relay", tidegate.Bool(true)); got != "not set: the device is not open now; `tidegate status` says why after 0s" {
			t.Errorf("got %s", got)
		}
		x.Attach(x.relay)
		time.Sleep(time.Second)
		x.relay.want(t, "0s relay=false", "0s relay=true", "10m0s relay=false")
		x.end()
	})
}

// TestAskedWhileItStops answers whoever waits.
func TestAskedWhileItStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := start(drivers.Limits{Pause: time.Minute})
		x.Set("relay", tidegate.Bool(false))
		time.Sleep(55 * time.Second)
		answers := make(chan string, 1)
		go func() { answers <- x.ask("relay", tidegate.Bool(true)) }()
		time.Sleep(time.Second)
		x.end()
		if got := <-answers; got != "not set: the device is being stopped after 1s" {
			t.Errorf("got %s", got)
		}
	})
}

// TestSafe brings outputs to their safe states on the way out, while a session waits to close the device; within 2 s, and 3 s more where the
// driver does not return.
func TestSafe(t *testing.T) {
	hang := make(chan struct{})
	for name, tt := range map[string]struct {
		safe   tidegate.Value
		keep   bool
		detach bool
		do     func(context.Context, string, tidegate.Value) error
		within time.Duration
		want   string
	}{
		"has one":                {tidegate.Bool(false), false, false, nil, 0, "0s relay=true, 10s relay=false"},
		"has none":               {tidegate.Value{}, false, false, nil, 0, "0s relay=true"},
		"goes on elsewhere":      {tidegate.Bool(false), true, false, nil, 0, "0s relay=true"},
		"is not open":            {tidegate.Bool(false), false, true, nil, 0, "0s relay=true"},
		"device does not answer": {tidegate.Bool(false), false, false, waitForIt, 2 * time.Second, "0s relay=true, 10s relay=false"},
		"driver hangs": {tidegate.Bool(false), false, false, func(context.Context, string, tidegate.Value) error {
			<-hang
			return nil
		}, 5 * time.Second, "0s relay=true, 10s relay=false"},
		"driver panics": {tidegate.Bool(false), false, false, func(context.Context, string, tidegate.Value) error { panic("boom") }, 0, "0s relay=true, 10s relay=false"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hang = make(chan struct{})
				x := start(drivers.Limits{Safe: tt.safe}, tidegate.Bool(true))
				time.Sleep(10 * time.Second)
				x.relay.does(tt.do)
				if tt.keep {
					x.Keep()
				}
				if tt.detach {
					x.Detach()
				}
				x.stop()
				began := time.Now()
				x.Detach() // by the session, which closes the device behind it
				if d := time.Since(began); d != min(tt.within, 3100*time.Millisecond) {
					t.Errorf("device is closed after %v, want %v", d, tt.within)
				}
				<-x.done
				if d := time.Since(began); d != tt.within {
					t.Errorf("took %v, want %v", d, tt.within)
				}
				x.relay.want(t, strings.Split(tt.want, ", ")...)
				close(hang)
			})
		})
	}
}

func waitForIt(ctx context.Context, _ string, _ tidegate.Value) error { <-ctx.Done(); return ctx.Err() }

// TestHangingSets: a Set that does not return is counted, and no other is begun beside it; the device opened anew is set again, until
// five hang.
func TestHangingSets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := start(drivers.Limits{})
		release := make(chan struct{})
		x.relay.does(func(context.Context, string, tidegate.Value) error { <-release; return nil })
		x.Set("relay", tidegate.Bool(true))
		for n := 1; n <= 7; n++ {
			time.Sleep(time.Minute)
			x.relay.mu.Lock()
			if got := len(x.relay.sets); got != min(n, 5) {
				t.Errorf("%d Sets were begun in %d sessions", got, n)
			}
			x.relay.busy = 0 // those of another session do not count
			x.relay.mu.Unlock()
			if got := x.Hung(); got != min(n, 5) {
				t.Errorf("%d Sets hang, want %d", got, n)
			}
			want := fmt.Sprintf("setting an output, %d calls hang; no output of the device is set until it is opened anew", n)
			if n >= 5 {
				want = "setting an output, 5 calls hang; no output of the device is set until they return or the gateway is restarted"
			}
			if !strings.Contains(x.said(), want) {
				t.Errorf("fault is %q, want %q", x.said(), want)
			}
			if got := x.ask("level", tidegate.Float(1)); !strings.Contains(got, want) || !strings.HasSuffix(got, "after 0s") {
				t.Errorf("asked: %s, want %s", got, want)
			}
			x.Detach()
			x.Attach(x.relay)
		}
		close(release)
		x.relay.does(nil)
		time.Sleep(time.Second)
		x.Detach()
		x.Attach(x.relay)
		time.Sleep(time.Second)
		if got := x.Hung(); got != 0 || x.said() != "" {
			t.Errorf("%d calls hang after all have returned; %s", got, x.said())
		}
		x.end()
	})
}

// failing returns what a device does that takes a second for each Set, of which the first n fail.
func failing(n int) func(context.Context, string, tidegate.Value) error {
	return func(context.Context, string, tidegate.Value) error {
		time.Sleep(time.Second)
		if n--; n >= 0 {
			return errors.New("no reply")
		}
		return nil
	}
}

// TestAskedOverARule: what a rule demanded comes back where what somebody asked for instead fails: be it under way by then and fail, too, or
// wait, then the newest.
func TestAskedOverARule(t *testing.T) {
	for name, waits := range map[string]bool{"under way": false, "a newer one waits": true} {
		synctest.Test(t, func(t *testing.T) {
			x := start(drivers.Limits{})
			x.relay.does(failing(2))
			x.Set("level", tidegate.Float(1))
			synctest.Wait()
			last := 1.0
			if waits {
				last = 2
				x.Set("level", tidegate.Float(last))
			}
			if got := x.ask("level", tidegate.Float(3)); got != "no reply after 2s" {
				t.Errorf("%s: asked: %s", name, got)
			}
			time.Sleep(time.Minute)
			x.relay.want(t, "0s level=1", "1s level=3", fmt.Sprint("2s level=", last))
			x.end()
		})
	}
}

// TestLateCallWhileSetting: a call that hung returns while what somebody has asked for is being set, which fails: what stood before is set again,
// not what was asked for.
func TestLateCallWhileSetting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := start(drivers.Limits{})
		release := make(chan struct{})
		x.relay.does(func(context.Context, string, tidegate.Value) error { <-release; return nil })
		x.Set("relay", tidegate.Bool(true))
		time.Sleep(time.Minute)
		x.Detach()
		x.relay.does(nil)
		x.relay.mu.Lock()
		x.relay.busy = 0 // that of another session does not count
		x.relay.mu.Unlock()
		x.Attach(x.relay)
		synctest.Wait()
		x.relay.does(failing(1))
		answer := make(chan string)
		go func() { answer <- x.ask("relay", tidegate.Bool(false)) }()
		time.Sleep(time.Second / 2)
		close(release)
		if got := <-answer; got != "no reply after 1s" {
			t.Errorf("asked: %s", got)
		}
		time.Sleep(time.Minute)
		x.relay.want(t, "0s relay=true", "1m0s relay=true", "1m0s relay=false", "1m1s relay=true")
		x.end()
	})
}

// TestRetries: a value that cannot be set is tried again after pauses of 1 s to 1 min, each twice the one before; once the device answers again, at
// once, which hurries nothing that has not failed.
func TestRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := start(drivers.Limits{Pause: 10 * time.Minute})
		fails := func(context.Context, string, tidegate.Value) error { return errors.New("no reply") }
		x.relay.does(fails)
		x.Set("level", tidegate.Float(1))
		time.Sleep(310 * time.Second)
		x.relay.does(nil)
		x.Again()
		time.Sleep(time.Second)
		if x.said() != "" {
			t.Errorf("fault is %q, although it is set", x.said())
		}
		want := []string{"0s level=1", "1s level=1", "3s level=1", "7s level=1", "15s level=1", "31s level=1", "1m3s level=1"}
		for at := 123 * time.Second; at < 310*time.Second; at += time.Minute {
			want = append(want, fmt.Sprint(at, " level=1"))
		}
		x.relay.want(t, append(want, "5m10s level=1")...)
		x.end()
	})
}

// TestAskedAndNotBegun: what somebody asked for and was never tried changes nothing of what stands when the device is opened anew.
func TestAskedAndNotBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := start(drivers.Limits{Pause: 5 * time.Second})
		x.Set("relay", tidegate.Bool(true))
		synctest.Wait()
		answer := make(chan string)
		go func() { answer <- x.ask("relay", tidegate.Bool(false)) }()
		time.Sleep(2 * time.Second)
		x.Detach()
		if got := <-answer; !strings.HasPrefix(got, "not set: the device is not open now") {
			t.Errorf("asked: %s", got)
		}
		x.Attach(x.relay)
		synctest.Wait()
		x.relay.want(t, "0s relay=true", "2s relay=true")
		x.end()
	})
}

// TestInherited: what was not yet set when the device's settings changed is demanded of the device under the new ones.
func TestInherited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x, y := start(drivers.Limits{}), start(drivers.Limits{})
		x.Set("level", tidegate.Float(1))
		synctest.Wait()
		x.Detach()
		x.Set("level", tidegate.Float(2)) // waits until it is open
		synctest.Wait()
		x.Keep()
		x.end()
		y.Detach()
		y.Inherit(x.Output)
		y.Attach(y.relay)
		synctest.Wait()
		y.relay.want(t, "0s level=2")
		y.end()
	})
}

// TestBeginsSafe: a device of which nothing is known goes to its safe state when it is opened, also after tries that failed; not where a rule
// demands another value by then, and not a second time instead of what was set since.
func TestBeginsSafe(t *testing.T) {
	off, on := tidegate.Bool(false), tidegate.Bool(true)
	silent := func(context.Context, string, tidegate.Value) error { return errors.New("no reply") }
	for name, tt := range map[string]struct {
		safe tidegate.Value
		do   func(x *rig)
		want string
	}{
		"nothing else":   {off, func(*rig) {}, "0s relay=false"},
		"has none":       {tidegate.Value{}, func(*rig) {}, ""},
		"opened anew":    {off, func(x *rig) { x.Set("relay", on); time.Sleep(time.Second); x.Detach(); x.Attach(x.relay) }, "0s relay=false, 1s relay=true, 2s relay=true"},
		"a bad value":    {off, func(x *rig) { x.Set("relay", tidegate.Int(3)) }, "0s relay=false"},
		"away":           {off, func(x *rig) { x.relay.does(silent); x.Detach(); x.Attach(x.relay) }, "0s relay=false, 1s relay=false, 2s relay=false, 4s relay=false, 8s relay=false"},
		"asked in vain":  {off, func(x *rig) { x.away(silent); x.ask("relay", on); x.relay.does(nil) }, "0s relay=false, 1s relay=false, 1s relay=true, 2s relay=false"},
		"asked twice":    {off, func(x *rig) { x.away(silent); x.ask("relay", on); x.ask("relay", on); x.relay.does(nil) }, "0s relay=false, 1s relay=false, 1s relay=true, 1s relay=true, 2s relay=false"},
		"answers again":  {off, func(x *rig) { x.away(silent); time.Sleep(4 * time.Second); x.relay.does(nil); x.Again() }, "0s relay=false, 1s relay=false, 2s relay=false, 4s relay=false, 5s relay=false"},
		"asked and set":  {off, func(x *rig) { x.away(silent); x.relay.does(nil); x.ask("relay", on) }, "0s relay=false, 1s relay=false, 1s relay=true"},
		"again for none": {off, func(x *rig) { x.Again() }, "0s relay=false"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := start(drivers.Limits{Safe: tt.safe})
				synctest.Wait()
				time.Sleep(time.Second)
				tt.do(x)
				time.Sleep(9 * time.Second)
				x.relay.want(t, strings.Split(tt.want, ", ")...)
				x.end()
			})
		})
	}
}

// away makes the device silent and opens it anew.
func (x *rig) away(silent func(context.Context, string, tidegate.Value) error) {
	x.relay.does(silent)
	x.Detach()
	x.Attach(x.relay)
	synctest.Wait()
}

// TestRuleBeforeTheDevice: what a rule has demanded before the device is open is set at once, without a detour by the safe state.
func TestRuleBeforeTheDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := &relay{began: time.Now()}
		o := output.New(output.Options{
			Device: "fan", Stop: t.Context().Done(), Log: slog.New(slog.DiscardHandler), Fault: func(bool, string) {},
			Channels: []drivers.Channel{{Name: "relay", Kind: tidegate.KindBool, Output: true, Limits: drivers.Limits{Safe: tidegate.Bool(false)}}},
		})
		ctx, stop := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() { o.Run(ctx) })
		o.Set("relay", tidegate.Bool(true))
		o.Attach(y)
		time.Sleep(time.Minute)
		y.want(t, "0s relay=true")
		stop()
		done.Wait()
	})
}
