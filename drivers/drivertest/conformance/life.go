package conformance

import (
	"bytes"
	"context"
	"io"
	"log"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
)

func (x *exam) checkOpenBroken() {
	x.test(func(t *testing.T) {
		x.eachBroken(func(c drivers.Config, what string) {
			if len(c.Validate()) > 0 {
				return
			}
			r := newRun(t, x, &drivertest.Host{})
			defer r.end()
			r.cfg, r.valuesAs = c, "no-hardware"
			if r.channels = x.channels(c); r.open() {
				r.read(time.Second, nothing)
			}
			for i, f := range x.found[x.now] {
				if len(f) > 0 && f[0] != '[' {
					x.found[x.now][i] = "[" + what + "] " + f
				}
			}
		})
	})
}

func (x *exam) checkGood() {
	x.bubble(nil, func(r *run) {
		for i := range x.o.Reads {
			o := r.read(patience, learn)
			if !o.ok {
				return
			}
			if o.values == 0 && !errorsOnly(o) {
				x.report("Read %d: %s", i+1, o.describe())
			}
			if !r.again(o.err) {
				return
			}
			r.pause()
		}
	})
	if len(x.sent) == 0 && len(x.found["good-device"]) == 0 && !x.spoke() {
		x.report("no value comes")
	}
}

// errorsOnly reports whether o breaks the rules in a way that check outcome reports.
func errorsOnly(o outcome) bool { return o.err == nil && o.values+o.faults == 0 }

// spoke reports whether some watched check has a finding that explains why nothing is known of the good device.
func (x *exam) spoke() bool {
	for _, name := range []string{"outcome", "declared", "finite", "open-in-time", "read-ends", "spin"} {
		if len(x.found[name]) > 0 {
			return true
		}
	}
	return false
}

func (x *exam) checkOpenDone() {
	x.test(func(t *testing.T) {
		h := &drivertest.Host{}
		x.o.Far(h)
		r := newRun(t, x, h)
		defer r.end()
		r.cancel()
		start := time.Now()
		if !r.open() {
			return
		}
		if d := time.Since(start); d > grace {
			x.report("Open with its ctx done takes %v", d)
		}
		if o := r.readCtx(r.ctx, 0, known); o.ok && o.err == nil {
			x.report("Open with its ctx done gives a device that reads: %s", o.describe())
		}
	})
}

func (x *exam) checkNowhere() {
	x.bubble(func(h *drivertest.Host) { *h = drivertest.Host{} }, func(r *run) { r.reads(2, nothing) })
}

func (x *exam) checkReadEnds() {
	for _, timeout := range []time.Duration{time.Millisecond, 51 * time.Millisecond, 1003 * time.Millisecond} {
		x.bubble(drivertest.Silence, func(r *run) {
			r.valuesAs = "silence"
			r.read(timeout, nothing)
		})
		x.bubble(nil, func(r *run) { r.read(timeout, learn) }) // a part that measures meanwhile is waited for
	}
}

func (x *exam) checkReadDone() {
	x.bubble(drivertest.Silence, func(r *run) {
		r.valuesAs = "silence"
		ctx, cancel := context.WithCancel(r.ctx)
		cancel()
		start := time.Now()
		o := r.readCtx(ctx, 0, nothing)
		if !o.ok || r.h.Requests() == 0 && o.err == nil {
			return // a device that asks nobody may as well answer
		}
		if d := time.Since(start); d > 0 && !x.o.IsReal || d > r.grace() || o.err == nil {
			x.report("Read with its ctx done takes %v: %s", d, o.describe())
		}
	})
}

func (x *exam) checkCloseUnread() { x.bubble(nil, func(r *run) { r.close() }) }

func (x *exam) checkCloseTwice() {
	x.bubble(nil, func(r *run) {
		r.reads(1, learn)
		dev := r.dev
		for range 2 {
			if r.dev = dev; dev == nil {
				return
			}
			r.close()
		}
		r.call("second Close", r.grace(), "close-in-time", func() {
			if err := dev.Close(); err != nil {
				x.report("a further Close returns an error: %v", err)
			}
		})
	})
}

func (x *exam) checkReadAfterClose() {
	x.bubble(nil, func(r *run) {
		r.reads(1, learn)
		dev := r.dev
		if dev == nil {
			return
		}
		r.close()
		var got []tidegate.Reading
		var err error
		ctx, cancel := context.WithTimeout(r.ctx, time.Second)
		defer cancel()
		if r.call("Read after Close", time.Second+grace, x.now, func() { got, err = dev.Read(ctx) }) && err == nil {
			x.report("Read after Close returns %d readings and no error", len(got))
		}
	})
}

func (x *exam) checkReopen() {
	x.bubble(nil, func(r *run) {
		for i := range 20 {
			if r.dev == nil && !r.open() {
				if r.isDead {
					return
				}
				x.report("Open %d returns an error", i+1)
				return
			}
			if r.reads(x.o.Reads, learn) == 0 && len(x.sent) > 0 && !r.isDead {
				x.report("no value after Open %d", i+1)
				return
			}
			r.close()
		}
	})
}

// checkQuiet lets the driver read a good device and garbage, with all that a program can write to caught.
func (x *exam) checkQuiet() {
	f, err := os.CreateTemp(x.t.TempDir(), "output")
	if err != nil {
		x.t.Fatal(err)
	}
	defer f.Close()
	var logged bytes.Buffer
	stdout, stderr, oldLog, oldSlog := os.Stdout, os.Stderr, log.Writer(), slog.Default()
	os.Stdout, os.Stderr = f, f
	slog.SetDefault(slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug - 100})))
	log.SetOutput(&logged)
	x.bubble(nil, func(r *run) { r.reads(x.o.Reads, learn) })
	x.bubble(drivertest.Noise(100, 4096, time.Millisecond, drivertest.Random()), func(r *run) {
		r.valuesAs = "garbage"
		r.reads(2, nothing)
	})
	os.Stdout, os.Stderr = stdout, stderr
	slog.SetDefault(oldSlog)
	log.SetOutput(oldLog)
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		x.t.Fatal(err)
	}
	written, err := io.ReadAll(f)
	if err != nil {
		x.t.Fatal(err)
	}
	if len(written) > 0 {
		x.report("standard output: %.80q", written)
	}
	if logged.Len() > 0 {
		x.report("log: %.80q", logged.String())
	}
}

// checkTwo has a good device and one that is not there, side by side and at the same time.
func (x *exam) checkTwo() {
	x.bubble(nil, func(good *run) {
		h := &drivertest.Host{}
		drivertest.Silence(h)
		bad := newRun(good.t, x, h)
		defer bad.end()
		if len(x.found["silence"]) > 0 {
			bad.valuesAs = "silence"
		}
		if !bad.open() {
			bad.dev = nil
		}
		for i := range x.o.Reads {
			if bad.dev != nil {
				if o := bad.read(50*time.Millisecond, nothing); !o.ok || !bad.again(o.err) {
					bad.dev = nil
				}
			}
			if good.dev == nil {
				return
			}
			if o := good.read(patience, learn); o.ok && o.values == 0 && len(x.sent) > 0 && !errorsOnly(o) {
				x.report("beside a silent device, Read %d of a good one: %s", i+1, o.describe())
			}
			good.pause()
		}
	})
	x.test(func(t *testing.T) { // for the race detector
		var all sync.WaitGroup
		for range 3 {
			h := &drivertest.Host{}
			x.o.Far(h)
			r := newRun(t, x, h)
			defer r.end()
			all.Go(func() {
				ctx, cancel := context.WithTimeout(r.ctx, patience)
				defer cancel()
				dev, err := r.cfg.Open(ctx, h)
				if err != nil || dev == nil {
					return // check good-device, or outcome, has said so
				}
				for range x.o.Reads {
					if _, err := dev.Read(ctx); err != nil {
						break
					}
				}
				_ = dev.Close() // its error is check good-device's
			})
		}
		all.Wait()
	})
}
