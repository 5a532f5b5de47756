package conformance

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// real is a device that is none of a Host's: it counts, and lets some real time pass.
type real struct {
	Leaks  bool `yaml:"leaks" doc:"Close leaves a goroutine"`
	Sleeps bool `yaml:"sleeps" doc:"Read goes on when its ctx is done, if that is soon"`
}

func (r *real) Validate() []drivers.FieldError { return nil }

func (r *real) Open(ctx context.Context, _ drivers.Host) (drivers.Device, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open real device: %w", err)
	}
	d := &realDevice{real: r, end: make(chan struct{})}
	go func() { <-d.end }()
	return d, nil
}

type realDevice struct {
	*real
	end      chan struct{}
	isClosed bool
}

func (d *realDevice) Read(ctx context.Context) ([]tidegate.Reading, error) {
	if d.isClosed {
		return nil, fmt.Errorf("read real device: closed")
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read real device: %w", err)
	}
	if end, ok := ctx.Deadline(); ok && d.Sleeps && time.Until(end) < grace {
		wait(15 * grace)
	}
	wait(2 * time.Millisecond)
	return []tidegate.Reading{{Channel: "n", Value: tidegate.Int(1)}}, nil
}

func (d *realDevice) Close() error {
	if !d.isClosed && !d.Leaks {
		close(d.end)
	}
	d.isClosed = true
	return nil
}

// TestRealDevicesAreExamined: the checks that a real device can be put through find what is wrong with it, and those of bytes on ports say
// nothing.
func TestRealDevicesAreExamined(t *testing.T) {
	for name, tc := range map[string]struct {
		config real
		want   string
	}{
		"good":   {},
		"leaks":  {config: real{Leaks: true}, want: "goroutines"},
		"sleeps": {config: real{Sleeps: true}, want: "read-ends"},
	} {
		t.Run(name, func(t *testing.T) {
			d := drivers.Driver{
				Name: "real", Doc: "Counts to one, in real time, again and again.", New: func() drivers.Config { return &real{} },
				Channels: []drivers.Channel{{Name: "n", Kind: tidegate.KindInt, Meaning: "one"}}, Sample: "name: one\ndriver: real\n",
			}
			x := examine(t, d, Options{IsReal: true, Config: func() drivers.Config { c := tc.config; return &c }})
			if tc.want == "" && len(x.found) > 0 || tc.want != "" && len(x.found[tc.want]) == 0 {
				t.Errorf("found %v, want %q", x.found, tc.want)
			}
			if found := x.found["silence"]; len(found) > 0 {
				t.Errorf("a check of bytes on ports has run: %v", found)
			}
		})
	}
}
