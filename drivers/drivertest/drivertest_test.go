package drivertest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/i2c/i2ctest"
	"periph.io/x/conn/v3/onewire"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"

	"github.com/tidegate-io/tidegate/drivers"
)

func TestWireBurstsComeInTimeAndApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &Wire{}
		start := time.Now()
		w.Say([]byte("ab"))
		w.SayAfter(time.Second, []byte("cd"))
		w.SayAfter(2*time.Second, []byte("e"))
		w.HangUp()
		for _, want := range []struct {
			text string
			at   time.Duration
		}{{"a", 0}, {"b", 0}, {"c", time.Second}, {"d", time.Second}, {"e", 3 * time.Second}} {
			b := make([]byte, 1)
			if n, err := w.Read(b); string(b[:n]) != want.text || err != nil || time.Since(start) != want.at {
				t.Errorf("got %q, %v after %v, want %q after %v", b[:n], err, time.Since(start), want.text, want.at)
			}
		}
		if _, err := w.Read(make([]byte, 1)); !errors.Is(err, drivers.ErrGone) {
			t.Errorf("Read: %v, want ErrGone", err)
		}
		if _, err := w.Write([]byte{1}); !errors.Is(err, drivers.ErrGone) {
			t.Errorf("Write: %v, want ErrGone", err)
		}
	})
}

func TestWireDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &Wire{}
		start := time.Now()
		w.SayAfter(time.Minute, []byte("late"))
		_ = w.SetReadDeadline(start.Add(time.Second))
		if n, err := w.Read(make([]byte, 4)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("got %d, %v after %v", n, err, time.Since(start))
		}
		// One that is moved while Read waits.
		_ = w.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { _ = w.SetReadDeadline(time.Now()) })
		if _, err := w.Read(make([]byte, 4)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 2*time.Second {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		_ = w.SetWriteDeadline(start)
		if _, err := w.Write([]byte{1}); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write: %v", err)
		}
		_ = w.SetReadDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { _ = w.Close() })
		if _, err := w.Read(make([]byte, 4)); !errors.Is(err, drivers.ErrGone) {
			t.Errorf("Read of a closed wire: %v", err)
		}
		if _, err := w.Write([]byte{1}); !errors.Is(err, drivers.ErrGone) {
			t.Errorf("Write to a closed wire: %v", err)
		}
	})
}

func TestWireNextSpeaksByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := Says(time.Second, "x", "y")(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var got string
		for range 5 {
			b := make([]byte, 8)
			n, err := p.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			got += string(b[:n])
		}
		if got != "xyxyx" || time.Since(start) != 5*time.Second {
			t.Errorf("got %q after %v", got, time.Since(start))
		}
	})
}

func TestHostWithNothingSaysSo(t *testing.T) {
	h := &Host{}
	bus, err := h.Serial(t.Context(), drivers.Serial{Port: "/dev/ttyUSB0"})
	if err != nil {
		t.Fatal(err)
	}
	err = bus.Do(t.Context(), func(drivers.Port) error { return nil })
	_, errI2C := h.I2C(t.Context(), "1")
	_, errSPI := h.SPI(t.Context(), "SPI0.0", physic.MegaHertz, spi.Mode0)
	_, errOneWire := h.OneWire(t.Context(), "")
	_, errPin := h.Pin(t.Context(), "GPIO17", drivers.PinConfig{})
	_, errFile := fs.Stat(h.Files(), "proc/loadavg")
	for what, err := range map[string]error{"port": err, "i2c": errI2C, "spi": errSPI, "1-wire": errOneWire, "pin": errPin, "file": errFile} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v, want not exist", what, err)
		}
	}
	if h.Requests() != 5 {
		t.Errorf("%d requests, want 5", h.Requests())
	}
}

func TestHostSharesBusesUntilCtxIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opens := 0
		h := &Host{Ports: map[string]Opener{"tcp://192.0.2.7:502": func(context.Context) (drivers.Port, error) { opens++; return &Wire{}, nil }}}
		ctx, cancel := context.WithCancel(t.Context())
		a, errA := h.Dial(ctx, "tcp", "192.0.2.7:502")
		b, errB := h.Dial(ctx, "tcp", "192.0.2.7:502")
		if a != b || errA != nil || errB != nil {
			t.Fatalf("same bus: %v, %v, %v", a == b, errA, errB)
		}
		use := func(drivers.Port) error { return nil }
		if err := errors.Join(a.Do(ctx, use), b.Do(ctx, use)); err != nil || opens != 1 {
			t.Fatalf("%v, opened %d times", err, opens)
		}
		cancel()
		synctest.Wait()
		if err := a.Do(t.Context(), use); !errors.Is(err, drivers.ErrGone) {
			t.Errorf("after ctx is done: %v, want ErrGone", err)
		}
		if _, err := h.Dial(ctx, "tcp", "192.0.2.7:502"); !errors.Is(err, context.Canceled) {
			t.Errorf("with ctx done: %v", err)
		}
	})
}

func TestHostRefusesOtherSettings(t *testing.T) {
	h := &Host{}
	if _, err := h.Serial(t.Context(), drivers.Serial{Port: "p", Baud: 9600}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Serial(t.Context(), drivers.Serial{Port: "p", Baud: 19200}); err == nil {
		t.Error("other settings are let pass")
	}
	if h.Settings("p").Baud != 9600 {
		t.Errorf("settings are %+v", h.Settings("p"))
	}
}

func TestHostsBusesDieWithCtx(t *testing.T) {
	h := &Host{
		I2CBuses:     map[string]i2c.Bus{Any: &i2ctest.Playback{DontPanic: true}},
		SPIPorts:     map[string]spi.Conn{Any: &noisySPI{&noisyBus{}}},
		OneWireBuses: map[string]onewire.Bus{Any: &noisyOneWire{&noisyBus{fill: Always(0)}}},
		FS:           fstest.MapFS{"a": {}},
	}
	ctx, cancel := context.WithCancel(t.Context())
	i, errI := h.I2C(ctx, "")
	s, errS := h.SPI(ctx, "", physic.MegaHertz, spi.Mode0)
	o, errO := h.OneWire(ctx, "")
	if err := errors.Join(errI, errS, errO); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Tx(nil, make([]byte, 1)), s.TxPackets(nil), o.Tx(nil, make([]byte, 1), onewire.WeakPullup)); err != nil {
		t.Fatal(err)
	}
	cancel()
	_, errSearch := o.Search(false)
	for what, err := range map[string]error{
		"i2c": i.Tx(1, nil, nil), "spi": s.Tx(nil, nil), "packets": s.TxPackets(nil), "1-wire": o.Tx(nil, nil, onewire.WeakPullup), "search": errSearch,
	} {
		if !errors.Is(err, drivers.ErrGone) {
			t.Errorf("%s: got %v, want ErrGone", what, err)
		}
	}
}

// TestPinIsLikeTheKernels has an input that is changed by hand and by itself, and an output.
func TestPinIsLikeTheKernels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wake, end := make(chan struct{}, 1), true
		h := &Host{Pins: map[string]*Pin{"IN": {Input: true}, "SELF": {Every: time.Minute}, "OUT": {}, "IDLE": {}}}
		ctx, cancel := context.WithCancel(t.Context())
		in, errIn := h.Pin(ctx, "IN", drivers.PinConfig{Edge: "falling", ActiveLow: true, Wake: wake})
		self, errSelf := h.Pin(ctx, "SELF", drivers.PinConfig{Edge: "both"})
		out, errOut := h.Pin(ctx, "OUT", drivers.PinConfig{Output: true, Initial: true, AtEnd: &end})
		idle, errIdle := h.Pin(ctx, "IDLE", drivers.PinConfig{Output: true, AsIs: true})
		if err := errors.Join(errIn, errSelf, errOut, errIdle); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Pin(ctx, "IN", drivers.PinConfig{}); err == nil {
			t.Error("a line in use is given away once more")
		}
		if level, err := in.Level(); level || err != nil {
			t.Errorf("input: %v, %v", level, err)
		}
		h.Pins["IN"].Change(2 * 1030) // active low: half of them are falling, the first is not
		<-wake
		got, err := in.Edges(nil)
		if err != nil || len(got) != 1024 || h.Pins["IN"].Dropped() != 6 || got[0].Seq != 7 || got[1023].Seq != 1030 || got[0].Level {
			t.Errorf("%d edges, %v, first %+v", len(got), err, got[0])
		}
		if got, err = in.Edges(got[:0]); len(got) != 0 || err != nil {
			t.Errorf("edges come twice: %v, %v", got, err)
		}
		time.Sleep(2*time.Minute + time.Second)
		got, err = self.Edges(nil)
		if err != nil || len(got) != 2 || !got[0].Level || got[1].Level || got[1].Stamp-got[0].Stamp != time.Minute ||
			time.Since(got[0].Time) != time.Minute+time.Second {
			t.Errorf("got %+v, %v", got, err)
		}
		if level, err := out.Level(); !level || err != nil {
			t.Errorf("output: %v, %v", level, err)
		}
		if _, err := idle.Level(); err == nil {
			t.Error("an output that was never set has a level")
		}
		if err := errors.Join(out.Set(false), idle.Set(true)); err != nil {
			t.Error(err)
		}
		if in.Set(true) == nil {
			t.Error("Set of an input returns no error")
		}
		if _, err := out.Edges(nil); err == nil {
			t.Error("Edges of an output returns no error")
		}
		h.Pins["IN"].Fail(fmt.Errorf("removed: %w", drivers.ErrGone))
		<-wake
		if _, err := in.Edges(nil); !errors.Is(err, drivers.ErrGone) {
			t.Errorf("chip removed: %v", err)
		}
		cancel()
		synctest.Wait()
		if s := fmt.Sprint(h.Pins["OUT"].Sets(), h.Pins["IDLE"].Sets()); s != "[false true] [true]" {
			t.Errorf("outputs were set to %s", s)
		}
		_, errLevel := in.Level()
		_, errEdges := self.Edges(nil)
		for _, err := range []error{errLevel, errEdges, out.Set(true)} {
			if !errors.Is(err, drivers.ErrGone) {
				t.Errorf("closed: %v", err)
			}
		}
	})
}

func TestScript(t *testing.T) {
	hello := []Exchange{{Want: []byte("hi"), Reply: []byte("ho"), After: time.Second}, {Want: []byte("bye"), Gone: true}}
	for want, use := range map[string]func(p drivers.Port){
		"<nil>": func(p drivers.Port) {
			_, _ = p.Write([]byte("h")) // pieces do not matter
			_, _ = p.Write([]byte("ib"))
			_, _ = p.Write([]byte("ye"))
			_, _ = io.ReadFull(p, make([]byte, 2))
		},
		"meter: got 78, want 68 69 (1 steps before the end)": func(p drivers.Port) { _, _ = p.Write([]byte("x")) },
		"meter: got 21, want nothing more":                   func(p drivers.Port) { _, _ = p.Write([]byte("hibye!")) },
		"meter: 1 steps were not used, the next wants 79 65": func(p drivers.Port) {
			_, _ = p.Write([]byte("hib"))
			_, _ = io.ReadFull(p, make([]byte, 2))
		},
		"meter: 1 bytes were not read": func(p drivers.Port) {
			_, _ = p.Write([]byte("hibye"))
			_, _ = io.ReadFull(p, make([]byte, 1))
		},
	} {
		t.Run(want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := NewScript("meter", hello...)
				p, err := s.Open(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				use(p)
				if err := s.Close(); fmt.Sprint(err) != want {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

func TestPipes(t *testing.T) {
	open, far := Pipes()
	p, err := open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = (<-far).Write([]byte("x")) }()
	if _, err := p.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 9 { // eight fit; then ctx counts
		_, err = open(ctx)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestDisturb(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &Host{
			Ports:    map[string]Opener{Any: Says(time.Second, "abc")},
			I2CBuses: map[string]i2c.Bus{Any: &noisyI2C{&noisyBus{fill: Always('a')}}},
		}
		Disturb(func(n int, b []byte) []Piece {
			if n == 1 {
				return []Piece{{Unplug: true}}
			}
			return []Piece{{Bytes: b[:1], Pause: time.Minute}, {Bytes: []byte("x")}}
		})(h)
		bus, err := h.Serial(t.Context(), drivers.Serial{Port: "p"})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		err = bus.Do(t.Context(), func(p drivers.Port) error {
			b := make([]byte, 2)
			if _, err := io.ReadFull(p, b); err != nil || string(b) != "ax" || time.Since(start) != time.Minute+time.Second {
				t.Errorf("got %q, %v after %v", b, err, time.Since(start))
			}
			_ = p.SetReadDeadline(time.Now().Add(10 * time.Second))
			_, err := p.Read(b)
			return err
		})
		if !errors.Is(err, drivers.ErrGone) {
			t.Errorf("got %v, want ErrGone", err)
		}
		i, err := h.I2C(t.Context(), "1")
		if err != nil {
			t.Fatal(err)
		}
		r := make([]byte, 2)
		if err := i.Tx(1, nil, r); err != nil || string(r) != "ax" {
			t.Errorf("got %q, %v", r, err)
		}
		if err := i.Tx(1, nil, r); !errors.Is(err, drivers.ErrGone) {
			t.Errorf("got %v, want ErrGone", err)
		}
	})
}
