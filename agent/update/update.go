// Package update is the gateway's side of its own releases: when to look for one, what was healthy before one is started, whether one that is
// on trial does as well, and what the cloud is told of it. What a release is, and what becomes of it on disk, is package ota's.
package update

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/ota/trial"
)

// Channel is the channel of tidegate.GatewayDevice that carries what became of a release, as JSON of an Outcome.
const Channel = "update"

// ErrRestart is returned by Run when another program than this one is to run: this one has to end in order, and is started by the launcher.
var ErrRestart = errors.New("another release is to run")

// A Release is one that is there to be started.
type Release struct {
	Counter uint64 `json:"counter"`
	Version string `json:"version"`
}

// An Outcome is what became of a release, as the cloud is told.
type Outcome struct {
	Gateway string `json:"gateway"`
	Release
	Result string `json:"result"`           // kept, failed or refused
	Reason string `json:"reason,omitempty"` // the name of why, as ota/README.md lists them
	Detail string `json:"detail,omitempty"`
	Slot   string `json:"slot,omitempty"`
}

// A State is what stands on disk.
type State struct {
	Slot    string   // that this program runs from: package, a or b
	Current string   // that runs at the next start, if it can
	Staged  *Release // in the other slot, not started yet
	Trial   *Trial   // under way, of this program; nil = none
	Last    *Outcome // of the last trial
	IsTold  bool     // Last was said
}

// A Trial is what a release on trial is judged by.
type Trial struct {
	Release
	Baseline []byte        // as trial.Baseline.Encode made it
	Window   time.Duration // that it has, whatever this program's own settings are
}

// Slots are what stands on disk of releases. All return at once.
type Slots interface {
	State() (State, error)
	// Switch has the staged release run at the next start, on trial.
	Switch(baseline []byte) error
	// Finish ends the trial: without a reason the release is kept, else the one before runs at the next start.
	Finish(reason string) error
	Told() error // the last outcome was said
}

// A Gateway is what is judged.
type Gateway interface {
	Status() status.Status
	Healthy() error
	Say(channel, text string) error
}

// Options are what a Worker is made of.
type Options struct {
	Settings config.Update
	Slots    Slots
	// Fetch looks for a release, and leaves it in the free slot; nil = there is none. It may take half an hour.
	Fetch   func(ctx context.Context) (*Release, error)
	Gateway Gateway
	Memory  func() int64           // anonymous memory of this process, bytes
	Reason  func(err error) string // name of why a release was refused; "" = it was not
	Log     *slog.Logger
}

// A Worker looks after the releases of one gateway. Make it with New.
type Worker struct {
	o     Options
	watch watch
	ask   chan chan error // somebody wants the staged release, or the one that there is, started now; is told what became of it
	said  string          // the refusal that was said last
	waits bool            // a release is there that is to start by itself, and waits for its window

	mu   sync.Mutex // guards show
	show status.Update
}

// How often a Worker looks at the gateway: often at first, and while a release is on trial.
const (
	often  = time.Second
	seldom = 10 * time.Second
)

// New returns a Worker that does not run yet.
func New(o Options) *Worker {
	return &Worker{o: o, watch: watch{seen: map[string]sighting{}}, ask: make(chan chan error)}
}

// Run looks after releases until ctx is done, and returns nil then; it returns ErrRestart when another program is to run.
func (w *Worker) Run(ctx context.Context) error {
	t := time.NewTimer(0)
	defer t.Stop()
	began := time.Now()
	var judge *trial.Judge
	led := "" // the slot that `current` led to at the start: where the launcher could not follow it, ending would lead nowhere else
	// Nothing is started before it is known what goes well: a release would be judged by nothing.
	known := began.Add(w.o.Settings.Settle)
	look := known.Add(w.first())
	for {
		select {
		case <-ctx.Done():
			return nil
		case done := <-w.ask:
			err := w.byHand(ctx, judge)
			done <- err
			if err == nil {
				return ErrRestart
			}
			continue
		case <-t.C:
		}
		w.watch.look(w.o.Gateway.Status())
		s, err := w.poll()
		switch {
		case err != nil:
			w.o.Log.Error("state of releases", "err", err)
		case s.Trial == nil:
			judge = nil
			if s.Current != s.Slot && s.Current != cmp.Or(led, s.Current) {
				return ErrRestart
			}
			led = s.Current
		case judge == nil:
			judge, led = w.judge(s.Trial), s.Slot
		}
		switch {
		case judge != nil:
			t.Reset(often)
			w.tryOut(judge, time.Since(began))
		case !time.Now().Before(look):
			if w.look(ctx) {
				return ErrRestart
			}
			look = time.Now().Add(w.next())
			t.Reset(seldom)
		case w.waits && w.o.Settings.Window.Holds(time.Now()): // once more before it starts: it may be held back by now
			w.waits = false
			look = time.Now().Add(w.first())
			t.Reset(min(seldom, time.Until(look)))
		case time.Now().Before(known):
			t.Reset(often)
		default:
			t.Reset(min(seldom, time.Until(look)))
		}
	}
}

// look looks for a release, and starts it where that is what is wanted; it reports whether it will run.
func (w *Worker) look(ctx context.Context) bool {
	if len(w.o.Settings.From) == 0 || !w.fetch(ctx) || !w.o.Settings.Automatic {
		return false
	}
	if w.waits = !w.o.Settings.Window.Holds(time.Now()); w.waits {
		return false
	}
	if err := w.start(); err != nil {
		w.o.Log.Error("start a release", "err", err)
		return false
	}
	return true
}

// first returns when the first look is: the gateways of a site that all come back at once do not all ask at once.
func (w *Worker) first() time.Duration {
	return time.Duration(rand.Float64() * float64(min(w.o.Settings.Every, 10*time.Minute)))
}

// next returns when the next look is, a tenth to and fro.
func (w *Worker) next() time.Duration {
	return time.Duration(float64(w.o.Settings.Every) * (0.9 + 0.2*rand.Float64()))
}

// poll looks at the disk, shows what stands there, and says an outcome that was not said.
func (w *Worker) poll() (State, error) {
	s, err := w.o.Slots.State()
	if err != nil {
		return s, err
	}
	if s.Last != nil && !s.IsTold {
		if err := w.say(*s.Last); err != nil {
			w.o.Log.Warn("outcome of a release cannot be said yet", "err", err)
		} else if err := w.o.Slots.Told(); err != nil {
			w.o.Log.Error("outcome of a release", "err", err)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.show.Slot, w.show.Trial, w.show.Staged = s.Slot, s.Trial != nil, ""
	if s.Staged != nil {
		w.show.Staged = s.Staged.Version
	}
	if s.Last != nil {
		w.show.LastResult = s.Last.Text()
	}
	return s, nil
}

// Text says o in a line.
func (o *Outcome) Text() string {
	out := o.Result + " " + o.Version
	if o.Reason != "" {
		out += ": " + o.Reason
	}
	return out
}

// say tells the cloud.
func (w *Worker) say(o Outcome) error {
	o.Gateway = w.o.Gateway.Status().Gateway
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return w.o.Gateway.Say(Channel, string(b))
}

// Status returns how releases stand.
func (w *Worker) Status() status.Update {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.show
}

// judge returns the judge of a release on trial. A baseline that cannot be read demands nothing: it would be no reason to go back.
func (w *Worker) judge(t *Trial) *trial.Judge {
	b, err := trial.Decode(t.Baseline)
	if err != nil {
		w.o.Log.Error("release on trial", "err", err)
	}
	settle, end := limits(t.Window, w.o.Settings.Settle)
	w.o.Log.Info("release on trial", "version", t.Version, "counter", t.Counter, "devices", len(b.Devices), "uplinks", len(b.Uplinks), "for", t.Window, "settle", settle)
	return trial.New(b, settle, end)
}

// limits returns how long a release on trial must have run to be kept, and how long it has in all. The launcher ends it without a reason at the end of the
// window, counted from before the release itself can count: with an eighth of that left it says by itself what was missing. The window is that of the program
// before; where what this one is set to does not fit into it, half of it must do.
func limits(window, settle time.Duration) (keep, end time.Duration) {
	if settle >= window {
		settle = window / 2
	}
	return settle, max(settle, window-window/8)
}

// tryOut looks once more whether the release on trial does well, and ends the trial where it is clear. Whether it goes on then, Run sees by what is
// to run next. An end that cannot be written is tried again, until the launcher ends the trial.
func (w *Worker) tryOut(j *trial.Judge, up time.Duration) {
	s := w.watch.sight()
	s.Up, s.Memory = up, w.o.Memory()
	if err := w.o.Gateway.Healthy(); err != nil {
		s.Trouble = err.Error()
	}
	v, why := j.See(s)
	switch v {
	case trial.Keep:
		if err := w.o.Slots.Finish(""); err != nil {
			w.o.Log.Error("release cannot be kept yet", "err", err)
			return
		}
		w.o.Log.Info("release is kept")
	case trial.GiveUp:
		w.o.Log.Error("release is given up", "why", why)
		if err := w.o.Slots.Finish(why.Error()); err != nil {
			w.o.Log.Error("release cannot be given up; the launcher will do so", "err", err)
		}
	case trial.Wait:
	}
}

// fetch looks for a release; ready = one is staged.
func (w *Worker) fetch(ctx context.Context) (ready bool) {
	r, err := w.o.Fetch(ctx)
	reason := ""
	if err != nil {
		if reason = w.o.Reason(err); reason == "" {
			reason = "failed"
		}
		if ctx.Err() != nil {
			return false
		}
		w.o.Log.Warn("look for a release", "reason", reason, "err", err)
		if reason != w.said {
			o := Outcome{Result: "refused", Reason: reason, Detail: err.Error()}
			if r != nil {
				o.Release = *r
			}
			if err := w.say(o); err == nil {
				w.said = reason
			}
		}
	} else {
		w.said = ""
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.show.LastLook, w.show.Reason = status.Time{Time: time.Now()}, reason
	return err == nil && r != nil
}

// start has the staged release run, with what is healthy now.
func (w *Worker) start() error {
	w.watch.look(w.o.Gateway.Status()) // fetching may have taken half an hour
	b := w.watch.baseline(time.Now(), w.o.Settings.Trial/2)
	b.Memory = w.o.Memory()
	body, err := b.Encode()
	if err != nil {
		return fmt.Errorf("baseline: %w", err)
	}
	return w.o.Slots.Switch(body)
}

// Apply starts the release that is staged, or that there is, now; nil = this program will end for it.
func (w *Worker) Apply(ctx context.Context) error {
	done := make(chan error, 1)
	select {
	case w.ask <- done:
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-done
}

// Errors of Apply.
var (
	ErrOnTrial = errors.New("a release is on trial; wait until it is kept or given up")
	ErrNone    = errors.New("there is no newer release for this gateway")
)

func (w *Worker) byHand(ctx context.Context, judge *trial.Judge) error {
	if judge != nil {
		return ErrOnTrial
	}
	s, err := w.o.Slots.State()
	if err != nil {
		return err
	}
	if s.Staged == nil {
		r, err := w.o.Fetch(ctx)
		if err != nil {
			return err
		}
		if r == nil {
			return ErrNone
		}
	}
	return w.start()
}
