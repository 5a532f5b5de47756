package agent_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// TestBadDriversDisturbNobody runs drivers that do what they must not beside a device that is read once a second, for an hour: it keeps every
// tick, and all its readings arrive, each once.
func TestBadDriversDisturbNobody(t *testing.T) {
	type bad = func(p *play, release chan struct{})
	reads := func(f func(ctx context.Context, p *play, n int) ([]tidegate.Reading, error)) bad {
		return func(p *play, _ chan struct{}) {
			p.read = func(ctx context.Context, n int) ([]tidegate.Reading, error) { return f(ctx, p, n) }
		}
	}
	// early reports list at once for so long, one value a second from then on.
	early := func(d time.Duration, list func() []tidegate.Reading) bad {
		return reads(func(ctx context.Context, p *play, n int) ([]tidegate.Reading, error) {
			if time.Since(p.began) < d {
				return list(), nil
			}
			time.Sleep(time.Second)
			return one(n), nil
		})
	}
	say := func(x tidegate.Reading) bad {
		return reads(func(context.Context, *play, int) ([]tidegate.Reading, error) { return []tidegate.Reading{x}, nil })
	}
	for name, tt := range map[string]struct {
		every time.Duration
		do    bad
		state string // at the end
		cond  string
	}{
		"panics in every Read": {time.Second, reads(func(context.Context, *play, int) ([]tidegate.Reading, error) { panic("boom") }), "off", "device_off:a"},
		"panics in every Open": {time.Second, func(p *play, _ chan struct{}) { p.open = func(context.Context) error { panic("boom") } }, "off", "device_off:a"},
		"panics in every Set":  {time.Second, func(p *play, _ chan struct{}) { p.set = func(context.Context, tidegate.Value) error { panic("boom") } }, "ok", "output_fault:a"},
		"hangs in every Read": {time.Second, func(p *play, release chan struct{}) {
			p.read = func(context.Context, int) ([]tidegate.Reading, error) { <-release; return nil, nil }
		}, "off", "device_off:a"},
		"hangs in every Open": {time.Second, func(p *play, release chan struct{}) {
			p.open = func(context.Context) error { <-release; return nil }
		}, "off", "device_off:a"},
		"hangs in every Set": {time.Second, func(p *play, release chan struct{}) {
			p.set = func(context.Context, tidegate.Value) error { <-release; return nil }
		}, "ok", "output_fault:a"},
		"leaks a goroutine with every Read": {time.Second, func(p *play, release chan struct{}) {
			p.read = func(_ context.Context, n int) ([]tidegate.Reading, error) {
				go func() { <-release }()
				return one(n), nil
			}
		}, "ok", ""},
		"floods":                 {0, early(3*time.Second, func() []tidegate.Reading { return readings(1000, 7) }), "ok", ""},
		"floods with one a Read": {0, early(2*time.Second, func() []tidegate.Reading { return readings(1, 7) }), "ok", ""},
		"floods with long texts": {0, early(20*time.Second, func() []tidegate.Reading {
			return []tidegate.Reading{{Channel: "text", Value: tidegate.Text(strings.Repeat("x", 100_000))}}
		}), "ok", ""},
		"floods with texts too long to keep": {0, early(20*time.Second, func() []tidegate.Reading {
			return []tidegate.Reading{{Channel: "text", Value: tidegate.Text(strings.Repeat("x", 5_000_000))}}
		}), "ok", ""},
		"reports nothing at once":    {0, reads(func(context.Context, *play, int) ([]tidegate.Reading, error) { return nil, nil }), "off", ""}, // it was never read
		"fails at once":              {0, reads(func(context.Context, *play, int) ([]tidegate.Reading, error) { return nil, errors.New("no") }), "fault", "device_fault:a"},
		"is always gone":             {0, reads(func(context.Context, *play, int) ([]tidegate.Reading, error) { return nil, drivers.ErrGone }), "fault", "device_fault:a"},
		"reports NaN":                {time.Second, say(tidegate.Reading{Channel: "n", Value: tidegate.Float(math.NaN())}), "ok", ""},
		"reports infinity":           {time.Second, say(tidegate.Reading{Channel: "n", Value: tidegate.Float(math.Inf(1))}), "ok", ""},
		"reports no value":           {time.Second, say(tidegate.Reading{Channel: "n"}), "ok", ""},
		"reports another kind":       {time.Second, say(tidegate.Reading{Channel: "n", Value: tidegate.Text("seven")}), "ok", ""},
		"reports an unknown channel": {time.Second, say(tidegate.Reading{Channel: "x", Value: tidegate.Int(7)}), "ok", ""},
		"reports for another device": {time.Second, say(tidegate.Reading{Device: "b", Channel: "x", Value: tidegate.Int(7)}), "ok", ""},
		"reports a year":             {time.Second, say(tidegate.Reading{Channel: "n", Value: tidegate.Int(7), Time: time.Unix(1<<40, 0)}), "ok", ""},
		"reports a long name":        {time.Second, say(tidegate.Reading{Channel: strings.Repeat("n", 1<<16), Value: tidegate.Int(7)}), "fault", ""},
		"reports a name that is JSON": {
			time.Second, say(tidegate.Reading{Channel: `n","v":1},{"n":"b/n`, Value: tidegate.Int(7)}), "fault", "",
		},
		"reports no UTF-8": {time.Second, say(tidegate.Reading{Channel: "n", Value: tidegate.Text("\xff\xfe")}), "ok", ""},
		"reports another channel each time": {time.Second, reads(func(_ context.Context, _ *play, n int) ([]tidegate.Reading, error) {
			return []tidegate.Reading{{Channel: fmt.Sprint("c", n), Fault: "ill"}}, nil
		}), "fault", ""},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := newBroker(t)
				f := newFar(t, b)
				p := newPlay()
				release := make(chan struct{})
				tt.do(p, release)
				x := newBed(t, b, p.driver("bad", tt.every))
				g := x.start("devices: [{name: a, driver: bad}, {name: b, driver: sim}]\n" +
					"rules: [{name: on, when: b.n > 9, do: [{set: {channel: a.relay, value: true}}]}]\n" + oneUplink)
				began := time.Now()
				d := time.Hour
				switch first, _, _ := strings.Cut(name, " "); first {
				case "reports", "fails", "is":
					d = 10 * time.Minute // what it does is the same each time
				}
				time.Sleep(d + 500*time.Millisecond)
				if s := g.device("a"); s.State != tt.state {
					t.Errorf("device is %+v, want %s", s, tt.state)
				}
				if got := g.conditions(); got != tt.cond {
					t.Errorf("conditions are %q, want %q", got, tt.cond)
				}
				told := time.Now()
				g.end()
				if d := time.Since(told); d > 5*time.Second {
					t.Errorf("stopping took %v", d)
				}
				close(release)
				time.Sleep(10 * time.Second)
				f.check(t, 0)
				f.wantCounts(t, "b", int(d/time.Second)+1)
				f.wantGrid(t, "b", began, time.Second)
				if s := g.Status(); s.Account.Lost != 0 || s.Account.Buffered != 0 || s.Account.Rejected != 0 {
					t.Errorf("account is %+v", s.Account)
				}
			})
		})
	}
}

// wantGrid says that the records of the device were taken at began and each every behind it.
func (f *far) wantGrid(t *testing.T, device string, began time.Time, every time.Duration) {
	t.Helper()
	for _, s := range f.records() {
		if r := s.Record.Readings[0]; r.Device == device && s.Record.Time.Sub(began)%every != 0 {
			t.Errorf("a record of %s was taken %v behind the start, off the grid", device, s.Record.Time.Sub(began))
			return
		}
	}
}

// TestFloodIsDroppedAndDeclared has one Read that is much too long: what does not go through is counted, declared as a gap, and shown.
func TestFloodIsDroppedAndDeclared(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		f := newFar(t, b)
		p := newPlay()
		p.read = func(_ context.Context, n int) ([]tidegate.Reading, error) {
			if n == 10 {
				return readings(100_000, 7), nil
			}
			return one(n), nil
		}
		g := newBed(t, b, p.driver("flood", time.Second)).start("devices: [{name: a, driver: flood}, {name: b, driver: sim}]\n" + oneUplink)
		time.Sleep(20 * time.Second)
		var detail string
		for _, c := range g.Status().Conditions {
			if c.Code == "device_flood:a" {
				detail = c.Detail
			}
		}
		if want := "more than 20000 readings or 1048576 bytes a second; dropped and declared as a gap since the gateway was started: 60000 readings"; detail != want {
			t.Errorf("condition is %q, want %q", detail, want)
		}
		time.Sleep(2 * time.Minute)
		if c := g.conditions(); c != "dropped" {
			t.Errorf("conditions are %s, want that of the gap only", c)
		}
		g.end()
		s := g.Status()
		if s.Account.DroppedDeclared != 60_000 || s.Account.Lost != 0 || s.Account.Buffered != 0 || s.Account.Produced != s.Account.Delivered+60_000 {
			t.Errorf("account is %+v", s.Account)
		}
		f.check(t, 1)
	})
}

// TestHungDriverIsTriedAgainNextDay: one hang is forgiven a day, as long as less than ten calls hang.
func TestHungDriverIsTriedAgainNextDay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlay()
		release := make(chan struct{})
		p.read = func(_ context.Context, n int) ([]tidegate.Reading, error) { <-release; return one(n), nil }
		x := newBed(t, nil, p.driver("stuck", time.Second))
		g := x.start("devices: [{name: a, driver: stuck}]\n")
		days := func(n float64, opens, hung int, detail string) {
			t.Helper()
			time.Sleep(time.Duration(n*24*float64(time.Hour)) - time.Since(p.began))
			s := g.device("a")
			if len(p.opened()) != opens || s.Hung != hung || s.State != "off" {
				t.Errorf("after %v days: opened %d times, want %d; device is %+v", n, len(p.opened()), opens, s)
			}
			if c := g.Status().Conditions; len(c) != 1 || c[0].Code != "device_off:a" || c[0].Severity != "error" || !strings.Contains(c[0].Detail, detail) {
				t.Errorf("after %v days: conditions are %+v, want %s", n, c, detail)
			}
		}
		days(0.5, 5, 5, "for the 5th time; calls that hang, and cannot be ended: 5; the device is off, and tried again in 23h50m0s")
		days(1.5, 6, 6, "calls that hang, and cannot be ended: 6; the device is off, and tried again in ")
		if err := g.Reload(g.ctx, x.load("devices: [{name: a, driver: stuck, part: new}]\n")); err != nil { // which starts anew
			t.Fatal(err)
		}
		days(1.6, 10, 10, "for the 4th time; calls that hang, and cannot be ended: 10; the device is off until they return or the gateway is restarted")
		close(release) // they return, and the next one does not hang
		time.Sleep(5 * time.Minute)
		if s := g.device("a"); s.State != "ok" || s.Hung != 0 || g.conditions() != "" {
			t.Errorf("device is %+v, conditions %s", s, g.conditions())
		}
		g.end()
	})
}

// TestReloadOfTheBlockStartsAnew: a device that is off is tried at once when its block was changed, and it is still said how many calls hang.
func TestReloadOfTheBlockStartsAnew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPlay()
		release := make(chan struct{})
		p.read = func(_ context.Context, n int) ([]tidegate.Reading, error) {
			if n <= 5 {
				<-release
			}
			return one(n), nil
		}
		x := newBed(t, nil, p.driver("stuck", time.Second))
		g := x.start("devices: [{name: a, driver: stuck}]\n")
		time.Sleep(time.Hour)
		if s := g.device("a"); s.State != "off" || s.Hung != 5 {
			t.Errorf("device is %+v", s)
		}
		if err := g.Reload(g.ctx, x.load("devices: [{name: a, driver: stuck, part: new}]\n")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if s := g.device("a"); s.State != "ok" || s.Hung != 5 || g.conditions() != "" {
			t.Errorf("device is %+v, conditions %s", s, g.conditions())
		}
		close(release)
		time.Sleep(time.Second)
		if s := g.device("a"); s.Hung != 0 {
			t.Errorf("device is %+v after all calls have returned", s)
		}
		g.end()
	})
}
