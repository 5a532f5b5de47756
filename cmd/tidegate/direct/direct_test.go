package direct

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/drivers"
)

// act is a device that does what a test says. Its functions may be nil.
type act struct {
	open, set, close func(ctx context.Context) error
	read             func(n int) ([]tidegate.Reading, error)

	mu    sync.Mutex // guards all below
	life  context.Context
	reads int
	said  []string
}

func (a *act) Validate() []drivers.FieldError { return nil }

func (a *act) Open(ctx context.Context, _ drivers.Host) (drivers.Device, error) {
	a.life = ctx
	if a.open != nil {
		if err := a.open(ctx); err != nil {
			return nil, err
		}
	}
	return &opened{a}, nil
}

type opened struct{ *act }

func (a *opened) Read(context.Context) ([]tidegate.Reading, error) {
	a.reads++
	if a.read != nil {
		return a.read(a.reads)
	}
	return nil, nil
}

func (a *opened) Set(ctx context.Context, channel string, v tidegate.Value) error {
	a.mu.Lock()
	a.said = append(a.said, channel+"="+v.String())
	a.mu.Unlock()
	if a.set != nil {
		return a.set(ctx)
	}
	return nil
}

func (a *opened) Close() error {
	a.mu.Lock()
	a.said = append(a.said, "close")
	a.mu.Unlock()
	if a.close != nil {
		return a.close(a.life)
	}
	return nil
}

func device(name string, a *act, every time.Duration) config.Device {
	safe := drivers.Limits{Safe: tidegate.Bool(false)}
	return config.Device{Name: name, Settings: a, Every: every, Channels: []drivers.Channel{
		{Name: "temp", Kind: tidegate.KindFloat},
		{Name: "relay", Kind: tidegate.KindBool, Output: true, Limits: safe},
		{Name: "horn", Kind: tidegate.KindBool, Output: true},
		{Name: "pump", Kind: tidegate.KindBool, Output: true, Limits: safe},
	}}
}

func TestSet(t *testing.T) {
	relay := func(v tidegate.Value, fault string) tidegate.Reading {
		return tidegate.Reading{Channel: "relay", Value: v, Fault: fault}
	}
	for name, tt := range map[string]struct {
		every time.Duration
		act   *act
		v     tidegate.Value
		want  string
		said  string
	}{
		"reported":    {time.Second, &act{read: says(relay(tidegate.Bool(true), ""))}, tidegate.Bool(true), "true true agrees true ", "relay=true close"},
		"as another":  {time.Second, &act{read: says(relay(tidegate.Bool(false), ""))}, tidegate.Bool(true), "true false agrees false ", "relay=true close"},
		"not at all":  {time.Second, &act{}, tidegate.Bool(true), "true null agrees false not read back: the device does not report it", "relay=true close"},
		"as a fault":  {time.Second, &act{read: says(relay(tidegate.Value{}, "no reply"))}, tidegate.Bool(true), "true null agrees false not read back: no reply", "relay=true close"},
		"later":       {0, &act{read: later(3, relay(tidegate.Bool(true), ""))}, tidegate.Bool(true), "true true agrees true ", "relay=true close"},
		"much later":  {0, &act{read: later(30, relay(tidegate.Bool(true), ""))}, tidegate.Bool(true), "true null agrees false not read back: context deadline exceeded", "relay=true close"},
		"wrong kind":  {time.Second, &act{}, tidegate.Int(1), "got 1, want true or false", ""},
		"not set":     {time.Second, &act{set: fails("no reply")}, tidegate.Bool(true), "no reply", "relay=true close"},
		"not opened":  {time.Second, &act{open: fails("no such port")}, tidegate.Bool(true), "open: no such port", ""},
		"never taken": {time.Second, &act{set: waits}, tidegate.Bool(true), "context deadline exceeded", "relay=true close"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := device("fan", tt.act, tt.every)
				s, err := Set(t.Context(), nil, &d, &d.Channels[1], tt.v)
				got := fmt.Sprintf("%s %s agrees %v %s", s.Value, s.ReadBack, s.Agrees, s.Why)
				if err != nil {
					got = err.Error()
				} else if s.Channel != "fan.relay" {
					t.Errorf("channel is %s", s.Channel)
				}
				if got != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
				if said := strings.Join(tt.act.said, " "); said != tt.said {
					t.Errorf("device was told %s, want %s", said, tt.said)
				}
			})
		})
	}
}

func fails(why string) func(context.Context) error {
	return func(context.Context) error { return errors.New(why) }
}

func waits(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

func says(r tidegate.Reading) func(int) ([]tidegate.Reading, error) {
	return func(int) ([]tidegate.Reading, error) { return []tidegate.Reading{{Channel: "temp"}, r}, nil }
}

// later says r with the n-th line, one a second.
func later(n int, r tidegate.Reading) func(int) ([]tidegate.Reading, error) {
	return func(i int) ([]tidegate.Reading, error) {
		if time.Sleep(time.Second); i < n {
			return nil, nil
		}
		return []tidegate.Reading{r}, nil
	}
}

// TestSafe brings all outputs that have a safe state there, whatever becomes of other devices, and within 13 s.
func TestSafe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		hangs := func(context.Context) error { <-release; return nil }
		acts := []*act{
			{},
			{open: fails("no such port")},
			{set: fails("no reply")},
			{set: waits},
			{open: hangs},
			{set: hangs},
			{close: hangs},
			{set: func(context.Context) error { panic("boom") }},
			{close: fails("stuck")},
			{},
		}
		var devices []config.Device
		for i, a := range acts {
			devices = append(devices, device(fmt.Sprint("d", i), a, time.Second))
		}
		devices = append(devices, config.Device{Name: "input", Settings: &act{open: hangs}, Channels: []drivers.Channel{{Name: "temp"}}})
		began := time.Now()
		var got []string
		for _, r := range Safe(t.Context(), nil, &config.Config{Devices: devices}) {
			got = append(got, fmt.Sprintf("%s %v %v", r.Output, r.Value, r.Err))
		}
		if d := time.Since(began); d != safeMost+grace {
			t.Errorf("took %v", d)
		}
		const late = "the driver has not returned for more than 13s"
		var want []string
		for i, errs := range [][2]string{
			{"<nil>", "<nil>"},
			{"open: no such port", "open: no such port"},
			{"no reply", "no reply"},
			{"context deadline exceeded", "context deadline exceeded"},
			{late, late},
			{late, late},
			{late, late},
			{"driver panicked: boom", "driver panicked: boom"},
			{"<nil>", "close: stuck"},
			{"<nil>", "<nil>"},
		} {
			want = append(want, fmt.Sprintf("d%d.relay false %s", i, errs[0]), fmt.Sprintf("d%d.pump false %s", i, errs[1]))
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		for _, i := range []int{0, 9} {
			if said := strings.Join(acts[i].said, " "); said != "relay=false pump=false close" {
				t.Errorf("device %d was told %s", i, said)
			}
		}
		close(release)
		synctest.Wait()
	})
}

// unit is an act on a port with others, one of which has the port at a time.
type unit struct {
	*act
	line chan struct{}
	long time.Duration // of one Set
}

func (u unit) Ports() []drivers.PortUse { return []drivers.PortUse{{Port: "/dev/ttyUSB0"}} }

func newUnit(line chan struct{}, long time.Duration, began time.Time) (unit, *string) {
	u, last := unit{&act{}, line, long}, new(string)
	u.set = func(ctx context.Context) error {
		select {
		case u.line <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("wait for bus: %w", ctx.Err())
		}
		defer func() { <-u.line }()
		t := time.NewTimer(u.long)
		defer t.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
			*last = time.Since(began).String()
			return nil
		}
	}
	return u, last
}

// TestSafeInTurn: units on one port, of which some take longer than others or for ever, in both orders. Each that answers gets there, soon; a slow
// one in its second turn.
func TestSafeInTurn(t *testing.T) {
	const never = time.Hour
	for name, tt := range map[string]struct {
		long []time.Duration // of each unit's Sets, of which there are two
		want string          // when each was through
		took time.Duration
	}{
		"all answer":        {[]time.Duration{100 * time.Millisecond, 100 * time.Millisecond}, "200ms 400ms", 400 * time.Millisecond},
		"alone and slow":    {[]time.Duration{4 * time.Second}, "8s", 8 * time.Second},
		"alone and dead":    {[]time.Duration{never}, "-", 10 * time.Second},
		"dead ahead":        {[]time.Duration{never, 100 * time.Millisecond}, "- 2.2s", 10 * time.Second},
		"dead behind":       {[]time.Duration{100 * time.Millisecond, never}, "200ms -", 10 * time.Second},
		"many dead ahead":   {[]time.Duration{never, never, never, never, never, never, never, never, never, 100 * time.Millisecond}, "- - - - - - - - - 9.2s", 10 * time.Second},
		"a slow one ahead":  {[]time.Duration{1500 * time.Millisecond, 100 * time.Millisecond}, "3.7s 2.2s", 3700 * time.Millisecond},
		"one slow, one not": {[]time.Duration{1500 * time.Millisecond, never, 100 * time.Millisecond}, "5.7s - 4.2s", 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				line, began := make(chan struct{}, 1), time.Now()
				var devices []config.Device
				var lasts []*string
				for i, long := range tt.long {
					u, last := newUnit(line, long, began)
					d := device(fmt.Sprint("u", i), u.act, time.Second)
					d.Settings = u
					devices, lasts = append(devices, d), append(lasts, last)
				}
				var got []string
				for i, r := range Safe(t.Context(), nil, &config.Config{Devices: devices}) {
					last := *lasts[i/2]
					if last == "" {
						last = "-"
					}
					if (r.Err == nil) != (last != "-") {
						t.Errorf("%s: %v, the unit was through at %s", r.Output, r.Err, last)
					}
					if i%2 == 1 {
						got = append(got, last)
					}
				}
				if strings.Join(got, " ") != tt.want {
					t.Errorf("got %s, want %s", got, tt.want)
				}
				if took := time.Since(began); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
			})
		})
	}
}
