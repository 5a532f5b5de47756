package agent_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// TestFaultyOutput: an output that fails, is missing from the start or goes away disturbs neither what else its rule does, nor other rules,
// outputs and Reads; a condition tells of it; and when it is back it becomes what the rule demands by then.
func TestFaultyOutput(t *testing.T) {
	const from, back = 15 * time.Second, 95 * time.Second // the rule turns each 10 s, and demands true at back
	gone := fmt.Errorf("unplugged: %w", drivers.ErrGone)
	for name, c := range map[string]struct {
		bad  func(p *play, isBad func() bool)
		code string // of the condition meanwhile
		good string // what bad was set to before
	}{
		"writes fail": {func(p *play, isBad func() bool) {
			p.set = func(context.Context, tidegate.Value) error { return failing(isBad, errors.New("no reply")) }
		}, "output_fault:bad", "0s relay=false 10s relay=true"},
		"writes hang": {func(p *play, isBad func() bool) {
			p.set = func(ctx context.Context, _ tidegate.Value) error {
				if isBad() {
					<-ctx.Done()
				}
				return ctx.Err()
			}
		}, "output_fault:bad", "0s relay=false 10s relay=true"},
		"its device answers nothing": {func(p *play, isBad func() bool) {
			p.read = func(_ context.Context, n int) ([]tidegate.Reading, error) {
				return one(n), failing(isBad, errors.New("no reply"))
			}
			p.set = func(context.Context, tidegate.Value) error { return failing(isBad, errors.New("no reply")) }
		}, "output_fault:bad device_fault:bad", "0s relay=false 10s relay=true"},
		"its device is gone": {func(p *play, isBad func() bool) {
			p.open = func(context.Context) error { return failing(isBad, gone) }
			p.read = func(_ context.Context, n int) ([]tidegate.Reading, error) { return one(n), failing(isBad, gone) }
		}, "device_fault:bad", "0s relay=false 10s relay=true"},
		"its device is missing from the start": {func(p *play, _ func() bool) {
			p.open = func(context.Context) error {
				return failing(func() bool { return time.Since(p.began) < back }, errors.New("no such port"))
			}
		}, "device_fault:bad", ""},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				in, bad, good := newPlay(), newPlay(), newPlay()
				in.read = func(context.Context, int) ([]tidegate.Reading, error) {
					return []tidegate.Reading{{Channel: "n", Value: tidegate.Int(int64(time.Since(in.began)/(10*time.Second)) % 2)}}, nil
				}
				c.bad(bad, func() bool { d := time.Since(bad.began); return d >= from && d < back })
				x := newBed(t, nil, in.driver("input", time.Second), bad.driver("bad", time.Second), good.driver("good", time.Second))
				g := x.start(`
devices:
  - {name: in, driver: input}
  - {name: bad, driver: bad}
  - {name: good, driver: good}
rules:
  - name: both
    when: in.n > 0
    do:
      - set: {channel: bad.relay, value: true, on_clear: false}
      - alarm: {severity: error, text: both}
      - set: {channel: good.relay, value: true, on_clear: false}
  - {name: other, when: in.n > 0, for: 3s, do: [{alarm: {severity: info, text: other}}]}
`)
				time.Sleep(back - 500*time.Millisecond)
				if got := g.conditions(); got != c.code {
					t.Errorf("meanwhile conditions are %q, want %q", got, c.code)
				}
				if got := strings.Join(bad.wasSet(), " "); !strings.HasPrefix(got, c.good) || c.good == "" && got != "" {
					t.Errorf("it was set: %s; want %s first", got, c.good)
				}
				before := len(bad.wasSet())
				time.Sleep(10 * time.Second) // it is back for 9.5 s, and the rule has ended
				if got := g.conditions(); got != "" {
					t.Errorf("when it is back, conditions are %q", got)
				}
				g.end()
				if got := bad.wasSet()[before:]; len(got) != 2 || !strings.HasSuffix(got[0], " relay=true") || got[1] != "1m40s relay=false" {
					t.Errorf("when it is back it was set: %v; want true, and false at 1m40s", got)
				}
				if got, want := fmt.Sprint(good.wasSet()), "0s relay=false 10s relay=true 20s relay=false 30s relay=true 40s relay=false 50s relay=true "+
					"60s relay=false 1m10s relay=true 1m20s relay=false 1m30s relay=true 1m40s relay=false"; strings.ReplaceAll(got, "1m0s", "60s") != "["+want+"]" {
					t.Errorf("the other output was set: %s, want %s", got, want)
				}
				for _, r := range g.Status().Rules {
					if r.Fired != 5 {
						t.Errorf("rule %s fired %d times, want 5", r.Name, r.Fired)
					}
				}
				if n, m := len(in.times()), len(good.times()); n != 105 || m != 105 {
					t.Errorf("others were read %d and %d times, want 105", n, m)
				}
			})
		})
	}
}

func failing(isBad func() bool, err error) error {
	if isBad() {
		return err
	}
	return nil
}
