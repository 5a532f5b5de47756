package update

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/ota/trial"
)

var errWrongHash = errors.New("wrong-hash")

// A fake is disk and gateway in one.
type fake struct {
	mu      sync.Mutex
	state   State
	there   *Release // that Fetch finds, where it is newer
	runs    uint64   // counter of what was kept
	fetched []time.Duration
	err     error // of Fetch
	began   time.Time
	status  func(up time.Duration) status.Status
	memory  func(up time.Duration) int64
	told    []Outcome
	mute    bool          // Say fails
	stuck   bool          // Switch and Finish do
	slow    time.Duration // Fetch takes so long
	ill     error
}

func (f *fake) State() (State, error) { f.mu.Lock(); defer f.mu.Unlock(); return f.state, nil }

func (f *fake) Fetch(context.Context) (*Release, error) {
	time.Sleep(f.slow)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fetched = append(f.fetched, time.Since(f.began))
	if f.there != nil && f.there.Counter <= f.runs {
		return nil, nil
	}
	if f.err == nil {
		f.state.Staged = f.there
	}
	return f.there, f.err
}

func (f *fake) Switch(b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stuck {
		return errors.New("disk is read-only")
	}
	f.state.Current, f.state.Trial, f.state.Staged = "b", &Trial{*f.state.Staged, b, 8 * time.Minute}, nil
	return nil
}

func (f *fake) Finish(reason string) error {
	result := "kept"
	if reason != "" {
		result = "failed"
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stuck {
		return errors.New("disk is read-only")
	}
	f.state.Last, f.state.IsTold = &Outcome{Release: f.state.Trial.Release, Result: result, Reason: reason, Slot: "b"}, false
	if f.runs = f.state.Trial.Counter; result == "failed" {
		f.state.Current, f.runs = "a", 0
	}
	f.state.Trial = nil
	return nil
}

// set changes what is there, and whether the disk takes anything.
func (f *fake) set(there *Release, err error, stuck bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.there, f.err, f.stuck = there, err, stuck
}

func (f *fake) Told() error { f.mu.Lock(); defer f.mu.Unlock(); f.state.IsTold = true; return nil }

func (f *fake) Healthy() error { return f.ill }

func (f *fake) Status() status.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.status(time.Since(f.began))
	s.Gateway = "gw-1"
	return s
}

func (f *fake) Say(channel, text string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var o Outcome
	if err := json.Unmarshal([]byte(text), &o); err != nil || channel != Channel {
		return fmt.Errorf("%s %s: %w", channel, text, err)
	}
	if f.mute {
		return errors.New("not open")
	}
	f.told = append(f.told, o)
	return nil
}

// steady is a gateway that works: a device each 10 s, an uplink that delivers it, a rule.
func steady(up time.Duration) status.Status {
	n := uint64(up / (10 * time.Second))
	return status.Status{
		Epoch: "e", Judged: n * 5, Rules: []status.Rule{{Name: "r"}},
		Devices: []status.Device{{Name: "meter1", State: "ok", Reads: n}, {Name: "dead", State: "fault", Reads: 0}},
		Uplinks: []status.Uplink{{Name: "cloud", Link: status.Link{State: "up"}, Account: status.Account{Delivered: 1000 + n*5}}},
	}
}

func newFake() *fake {
	return &fake{
		state: State{Slot: "a", Current: "a"}, began: time.Now(), status: steady,
		memory: func(time.Duration) int64 { return 30 << 20 }, there: &Release{7, "v1.7.0"},
	}
}

func settings(automatic bool, window config.DayWindow) config.Update {
	u := config.Default().Update
	u.From, u.Automatic, u.Window = []string{"https://updates.example.com"}, automatic, window
	return u
}

// run lets a Worker run until it ends or the time is over.
func (f *fake) run(u config.Update, d time.Duration) (w *Worker, err error) {
	w = f.worker(u)
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return w, w.Run(ctx)
}

func (f *fake) worker(u config.Update) *Worker {
	return New(Options{
		Settings: u, Slots: f, Fetch: f.Fetch, Gateway: f, Log: slog.New(slog.DiscardHandler),
		Memory: func() int64 { return f.memory(time.Since(f.began)) },
		Reason: func(err error) string {
			if errors.Is(err, errWrongHash) {
				return "wrong-hash"
			}
			return ""
		},
	})
}

// trialOf is f when the release has been started.
func (f *fake) trialOf(b []byte) *fake {
	f.state = State{Slot: "b", Current: "b", Trial: &Trial{Release{7, "v1.7.0"}, b, 8 * time.Minute}}
	f.began = time.Now()
	return f
}

func TestAutomatic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.there = nil
		if _, err := f.run(settings(true, config.DayWindow{}), 24*time.Hour); err != nil {
			t.Fatal(err)
		}
		if n := len(f.fetched); n < 21 || n > 27 {
			t.Errorf("looked %d times in a day, want each hour: %v", n, f.fetched)
		}
		for i := 2; i < len(f.fetched); i++ {
			gap, before := f.fetched[i]-f.fetched[i-1], f.fetched[i-1]-f.fetched[i-2]
			if gap == before || gap < 54*time.Minute || gap > 66*time.Minute+seldom {
				t.Errorf("looked after %v, and after %v before: want an hour, a tenth to and fro", gap, before)
			}
		}
		f.there = &Release{7, "v1.7.0"}
		_, err := f.run(settings(true, config.DayWindow{}), 24*time.Hour)
		if !errors.Is(err, ErrRestart) || f.state.Trial == nil {
			t.Fatalf("got %v, %+v, want a trial", err, f.state)
		}
		b, err := trial.Decode(f.state.Trial.Baseline)
		if err != nil || strings.Join(b.Devices, " ") != "meter1" || strings.Join(b.Uplinks, " ") != "cloud" || !b.Rules || b.Memory != 30<<20 {
			t.Errorf("baseline is %+v, %v", b, err)
		}
		f.trialOf(f.state.Trial.Baseline)
		if w, err := f.run(settings(true, config.DayWindow{}), 10*time.Minute); err != nil || f.state.Trial != nil || len(f.told) != 1 ||
			f.told[0] != (Outcome{Gateway: "gw-1", Release: Release{7, "v1.7.0"}, Result: "kept", Slot: "b"}) || w.Status().LastResult != "kept v1.7.0" {
			t.Errorf("got %v, told %+v, show %+v", err, f.told, w.Status())
		}
	})
}

// TestKnownBefore: a release is judged by what goes well, also where it is there at once, and where it took long to come.
func TestKnownBefore(t *testing.T) {
	for name, slow := range map[string]time.Duration{"at once": 0, "slow": 20 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for range 30 { // when it looks is drawn
					f := newFake()
					f.slow, f.status = slow, func(up time.Duration) status.Status {
						s := steady(up)
						if up < 20*time.Second {
							s.Epoch, s.Uplinks[0].Account.Delivered = "", 0
						}
						return s
					}
					u := settings(true, config.DayWindow{})
					u.Every = 10 * time.Second
					_, err := f.run(u, time.Hour)
					if !errors.Is(err, ErrRestart) {
						t.Fatal(err)
					}
					b, err := trial.Decode(f.state.Trial.Baseline)
					if err != nil || len(b.Devices) != 1 || len(b.Uplinks) != 1 || !b.Rules {
						t.Fatalf("after %v the baseline is %+v, %v", time.Since(f.began), b, err)
					}
				}
			})
		})
	}
}

// TestFirstLook: gateways that come back at once look at different times, once it is known what goes well.
func TestFirstLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first, last time.Duration
		for i := range 20 {
			f := newFake()
			f.there = nil
			if _, err := f.run(settings(true, config.DayWindow{}), 30*time.Minute); err != nil || len(f.fetched) == 0 {
				t.Fatalf("got %v, looks at %v", err, f.fetched)
			}
			if at := f.fetched[0]; i == 0 {
				first, last = at, at
			} else {
				first, last = min(first, at), max(last, at)
			}
		}
		if first < 2*time.Minute || last-first < time.Minute || last > 12*time.Minute+seldom {
			t.Errorf("20 gateways looked first after %v to %v, want it spread from 2 to 12 minutes", first, last)
		}
	})
}

// TestCannotStart: a release that cannot be started is no reason to end; it starts when it can.
func TestCannotStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.stuck = true
		if _, err := f.run(settings(true, config.DayWindow{}), 6*time.Hour); err != nil || len(f.fetched) < 5 {
			t.Errorf("got %v, looks at %v, want it to go on", err, f.fetched)
		}
		f.stuck = false
		if _, err := f.run(settings(true, config.DayWindow{}), 2*time.Hour); !errors.Is(err, ErrRestart) {
			t.Errorf("got %v, want %v", err, ErrRestart)
		}
	})
}

// TestEndInALook: who is ended in the middle of a look has refused nothing.
func TestEndInALook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.err, f.slow = errWrongHash, time.Hour
		if w, err := f.run(settings(true, config.DayWindow{}), 30*time.Minute); err != nil || len(f.fetched) != 1 || len(f.told) > 0 || w.Status().Reason != "" {
			t.Errorf("got %v, looks at %v, told %+v, show %+v", err, f.fetched, f.told, w.Status())
		}
	})
}

func TestLimits(t *testing.T) {
	for _, c := range []struct{ window, settle, keep, end time.Duration }{
		{8 * time.Minute, 2 * time.Minute, 2 * time.Minute, 7 * time.Minute},
		{130 * time.Second, 2 * time.Minute, 2 * time.Minute, 2 * time.Minute},
		{16 * time.Second, 2 * time.Minute, 8 * time.Second, 14 * time.Second}, // its own settings are of a longer trial
	} {
		if keep, end := limits(c.window, c.settle); keep != c.keep || end != c.end {
			t.Errorf("of %v with %v to settle: got %v and %v, want %v and %v", c.window, c.settle, keep, end, c.keep, c.end)
		}
	}
}

// TestWindowOfTheTrial: a release whose own settings are of a longer trial than the one that it is on is kept within that.
func TestWindowOfTheTrial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake().trialOf(nil)
		f.state.Trial.Window = time.Minute
		if _, err := f.run(settings(true, config.DayWindow{}), time.Minute); err != nil || f.state.Trial != nil || f.state.Last == nil || f.state.Last.Result != "kept" {
			t.Errorf("got %v, %+v, %+v", err, f.state.Trial, f.state.Last)
		}
	})
}

func TestNotByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the bubble's clock begins at midnight UTC
		f := newFake()
		if w, err := f.run(settings(false, config.DayWindow{}), 3*time.Hour); err != nil || f.state.Trial != nil || w.Status().Staged != "v1.7.0" {
			t.Errorf("not automatic: got %v, %+v, %+v", err, f.state, w.Status())
		}
		now := time.Now()
		begin := (now.Hour()*60 + now.Minute() + 300) % 1440
		f = newFake()
		_, err := f.run(settings(true, config.DayWindow{Begin: begin, End: (begin + 120) % 1440}), 24*time.Hour)
		if at := time.Since(f.began); !errors.Is(err, ErrRestart) || at < 5*time.Hour || at > 7*time.Hour {
			t.Errorf("started after %v, %v, want within the window of 5h to 7h", at, err)
		}
		f = newFake()
		u := settings(true, config.DayWindow{})
		u.Every = 7 * 24 * time.Hour // it looks far outside of its window
		begin = (time.Now().Hour()*60 + time.Now().Minute() + 300) % 1440
		u.Window = config.DayWindow{Begin: begin, End: (begin + 120) % 1440}
		_, err = f.run(u, 48*time.Hour)
		if at := time.Since(f.began); !errors.Is(err, ErrRestart) || at < 5*time.Hour-time.Minute || at > 7*time.Hour || len(f.fetched) != 2 { // windows are of minutes
			t.Errorf("started after %v, %v, by looks at %v, want within the window of 5h to 7h, by a second look", at, err, f.fetched)
		}
		f = newFake()
		u = settings(true, config.DayWindow{})
		u.From = nil
		if _, err := f.run(u, 24*time.Hour); err != nil || len(f.fetched) != 0 {
			t.Errorf("without places: got %v, looked %d times", err, len(f.fetched))
		}
	})
}

func TestByHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		u := settings(false, config.DayWindow{})
		u.From = nil // it does not look by itself
		w := f.worker(u)
		done := make(chan error, 1)
		running, stop := context.WithCancel(t.Context())
		defer stop()
		go func() { done <- w.Run(running) }()
		time.Sleep(time.Minute)
		f.set(nil, nil, false)
		if err := w.Apply(t.Context()); !errors.Is(err, ErrNone) {
			t.Errorf("got %v, want %v", err, ErrNone)
		}
		over, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := f.worker(u).Apply(over); !errors.Is(err, context.DeadlineExceeded) { // nobody runs it
			t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
		}
		f.set(&Release{7, "v1.7.0"}, errWrongHash, false)
		if err := w.Apply(t.Context()); !errors.Is(err, errWrongHash) {
			t.Errorf("got %v, want %v", err, errWrongHash)
		}
		f.set(f.there, nil, true)
		if err := w.Apply(t.Context()); err == nil {
			t.Error("a read-only disk: want an error")
		}
		f.set(f.there, errWrongHash, false) // it is staged: nothing is asked for
		at := time.Now()
		if err := w.Apply(t.Context()); err != nil {
			t.Error(err)
			stop()
		}
		if err := <-done; !errors.Is(err, ErrRestart) || time.Since(at) > 0 {
			t.Errorf("got %v after %v, want %v at once", err, time.Since(at), ErrRestart)
		}
		f.trialOf(nil)
		ctx, end := context.WithCancel(t.Context())
		w = f.worker(settings(false, config.DayWindow{}))
		go func() { done <- w.Run(ctx) }()
		time.Sleep(time.Minute)
		if err := w.Apply(t.Context()); !errors.Is(err, ErrOnTrial) {
			t.Errorf("got %v, want %v", err, ErrOnTrial)
		}
		end()
		<-done
	})
}

func TestTrials(t *testing.T) {
	b, err := trial.Baseline{Devices: []string{"meter1"}, Uplinks: []string{"cloud"}, Rules: true, Memory: 30 << 20}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		spoil  func(f *fake)
		want   error
		result string
		reason string
	}{
		{"well", func(*fake) {}, nil, "kept", ""},
		{"silent device", func(f *fake) { f.bend(func(s *status.Status) { s.Devices[0].Reads = 0 }) }, ErrRestart, "failed", "device-lost"},
		{"device that only faults", func(f *fake) { f.bend(func(s *status.Status) { s.Devices[0].State = "fault" }) }, ErrRestart, "failed", "device-lost"},
		{"nothing delivered", func(f *fake) { f.bend(func(s *status.Status) { s.Uplinks[0].Account.Delivered = 1000 }) }, ErrRestart, "failed", "not-delivered"},
		{"store opens late", func(f *fake) {
			f.status = func(up time.Duration) status.Status {
				s := steady(up)
				if s.Uplinks[0].Account.Delivered = 1000; up < time.Minute {
					s.Epoch, s.Uplinks[0].Account.Delivered = "", 0
				}
				return s
			}
		}, ErrRestart, "failed", "not-delivered"},
		{"rules are silent", func(f *fake) { f.bend(func(s *status.Status) { s.Judged = 0 }) }, ErrRestart, "failed", "rules-silent"},
		{"leak", func(f *fake) { f.memory = func(up time.Duration) int64 { return int64(up/time.Second) * 10e6 } }, ErrRestart, "failed", "leaks"},
		{"judge that hangs", func(f *fake) { f.ill = errors.New("the judge has not gone round") }, ErrRestart, "failed", "unhealthy: the judge"},
		{"disk that takes nothing", func(f *fake) { f.stuck = true }, nil, "", ""},
		{"silent device, and a disk that takes nothing", func(f *fake) {
			f.stuck = true
			f.bend(func(s *status.Status) { s.Devices[0].Reads = 0 })
		}, nil, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake().trialOf(b)
				f.there = nil // the start of another would end it, too
				c.spoil(f)
				_, err := f.run(settings(true, config.DayWindow{}), 30*time.Minute)
				got := Outcome{}
				if f.state.Last != nil {
					got = *f.state.Last
				}
				if !errors.Is(err, c.want) || got.Result != c.result || !strings.HasPrefix(got.Reason, c.reason) {
					t.Errorf("got %v, %+v, want %v, %s, %s", err, got, c.want, c.result, c.reason)
				}
				// Before the launcher ends it without such a reason, 8 minutes from before the start.
				if up := time.Since(f.began); c.result == "failed" && up > 7*time.Minute+time.Second {
					t.Errorf("given up after %v", up)
				}
			})
		})
	}
}

func (f *fake) bend(how func(*status.Status)) {
	f.status = func(up time.Duration) status.Status {
		s := steady(up)
		how(&s)
		return s
	}
}

// TestToldOnce: an outcome is said once, however late, and a refusal once as long as it is the same.
func TestToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.state.Last, f.mute, f.there = &Outcome{Release: Release{6, "v1.6.0"}, Result: "failed", Reason: "crashed"}, true, nil
		w := f.worker(settings(true, config.DayWindow{}))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		time.Sleep(time.Hour)
		f.mu.Lock()
		f.mute = false
		f.mu.Unlock()
		fetch := func(r *Release, err error, mute bool) {
			time.Sleep(24 * time.Hour)
			f.mu.Lock()
			f.there, f.err, f.mute = r, err, mute
			f.mu.Unlock()
		}
		fetch(&Release{7, "v1.7.0"}, errWrongHash, true) // it cannot be said yet
		fetch(f.there, errWrongHash, false)
		fetch(nil, nil, false)
		fetch(&Release{7, "v1.7.0"}, errWrongHash, false) // once more, behind looks that were good
		fetch(nil, errors.New("odd"), false)
		time.Sleep(24 * time.Hour)
		cancel()
		<-done
		var told []string
		for _, o := range f.told {
			told = append(told, fmt.Sprint(o.Counter, " ", o.Text(), " ", o.Detail))
		}
		want := []string{"6 failed v1.6.0: crashed ", "7 refused v1.7.0: wrong-hash wrong-hash", "7 refused v1.7.0: wrong-hash wrong-hash", "0 refused : failed odd"}
		if !slices.Equal(told, want) || w.Status().Reason != "failed" {
			t.Errorf("told %q, want %q; show %+v", told, want, w.Status())
		}
	})
}

// TestLauncherCannotFollow: where `current` leads elsewhere from the start, as the launcher could not start that, this program goes on; also when it
// leads here again.
func TestLauncherCannotFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.state.Current, f.there = "b", nil
		time.AfterFunc(time.Hour, func() { f.mu.Lock(); f.state.Current = "a"; f.mu.Unlock() })
		if _, err := f.run(settings(true, config.DayWindow{}), 24*time.Hour); err != nil {
			t.Errorf("got %v, want it to go on", err)
		}
	})
}

// TestTakenBack: a release on trial that is given up from outside ends.
func TestTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake().trialOf(nil)
		time.AfterFunc(time.Minute, func() {
			if err := f.Finish("expired-trial"); err != nil {
				t.Error(err)
			}
		})
		if _, err := f.run(settings(true, config.DayWindow{}), time.Hour); !errors.Is(err, ErrRestart) || time.Since(f.began) > 2*time.Minute {
			t.Errorf("got %v after %v", err, time.Since(f.began))
		}
	})
}

// TestAnotherHand: when somebody else has started a release, or taken it back, this program ends for it.
func TestAnotherHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		time.AfterFunc(time.Hour, func() { f.mu.Lock(); f.state.Current = "b"; f.mu.Unlock() })
		f.there = nil
		if _, err := f.run(settings(true, config.DayWindow{}), 24*time.Hour); !errors.Is(err, ErrRestart) || time.Since(f.began) > time.Hour+time.Minute {
			t.Errorf("got %v after %v", err, time.Since(f.began))
		}
	})
}

// TestBaseline: what counts as healthy is what stands well and went well a short while ago.
func TestBaseline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.there = nil
		f.status = func(up time.Duration) status.Status {
			s := steady(up)
			n := uint64(up / time.Second)
			s.Devices = append(s.Devices,
				status.Device{Name: "seldom", State: "ok", Reads: 1 + n/86400}, status.Device{Name: "faulty", State: "fault", Reads: n}, status.Device{Name: "new", State: "ok"})
			s.Uplinks = append(s.Uplinks, status.Uplink{Name: "down", Account: status.Account{Delivered: n}})
			s.Rules, s.Judged = nil, n
			return s
		}
		w, err := f.run(settings(true, config.DayWindow{}), 25*time.Hour)
		b := w.watch.baseline(time.Now(), time.Minute)
		if got := fmt.Sprint(b.Devices, b.Uplinks, b.Rules); err != nil || got != "[meter1] [cloud] false" {
			t.Errorf("got %s, %v", got, err)
		}
		if b := w.watch.baseline(time.Now(), 2*time.Hour); fmt.Sprint(b.Devices) != "[meter1 seldom]" {
			t.Errorf("of two hours: got %v", b.Devices)
		}
		f.there = &Release{7, "v1.7.0"}
		u := settings(true, config.DayWindow{})
		u.Settle = 5 * time.Minute
		if _, err := f.run(u, 24*time.Hour); !errors.Is(err, ErrRestart) {
			t.Fatal(err)
		}
		if b, err := trial.Decode(f.state.Trial.Baseline); err != nil || fmt.Sprint(b.Devices) != "[meter1]" {
			t.Errorf("of a release that is started: got %v, %v", b.Devices, err)
		}
	})
}

// TestCountsThatFall: a count that is less than it was, as the store was made anew, is none that went well.
func TestCountsThatFall(t *testing.T) {
	w := watch{seen: map[string]sighting{}}
	for _, delivered := range []uint64{1000, 3, 1000} {
		w.look(status.Status{Epoch: "e", Uplinks: []status.Uplink{{Name: "cloud", Account: status.Account{Delivered: delivered}}}})
		if got := w.sight().Kept["cloud"]; got != 0 {
			t.Errorf("of %d, 1000 at first: got %d", delivered, got)
		}
	}
}
