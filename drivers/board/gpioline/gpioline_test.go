package gpioline

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/drivers"
)

// fakeLine is a requested line without a chip: its edges come through a socket.
type fakeLine struct {
	config uapi.LineConfig // that it was requested with
	far    int             // where edges are written to

	mu    sync.Mutex
	value bool
	calls []string
	err   error
}

func (l *fakeLine) call(format string, args ...any) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.calls = append(l.calls, fmt.Sprintf(format, args...))
	}
	return l.err
}

func (l *fakeLine) get() (bool, error) { return l.value, l.call("get") }

func (l *fakeLine) set(level bool) error { return l.call("set %v", level) }

func (l *fakeLine) configure(c uapi.LineConfig) error {
	return l.call("configure %v %v", c.Flags&uapi.LineFlagV2Output != 0, c.Attrs[0].Attr.Value64())
}

func (l *fakeLine) said() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprint(l.calls)
}

// edge returns one edge as the kernel writes it.
func edge(stamp time.Duration, isRising bool, seq uint32) []byte {
	b := make([]byte, edgeSize)
	binary.NativeEndian.PutUint64(b, uint64(stamp))
	binary.NativeEndian.PutUint32(b[8:], uint32(uapi.LineEventFallingEdge))
	if isRising {
		binary.NativeEndian.PutUint32(b[8:], uint32(uapi.LineEventRisingEdge))
	}
	binary.NativeEndian.PutUint32(b[12:], 17)
	binary.NativeEndian.PutUint32(b[16:], seq+1000) // in all lines of the request
	binary.NativeEndian.PutUint32(b[20:], seq)
	return b
}

func (l *fakeLine) say(t testing.TB, b []byte) {
	t.Helper()
	if n, err := unix.Write(l.far, b); err != nil || n != len(b) {
		t.Fatalf("%d of %d bytes, %v", n, len(b), err)
	}
}

// remove is what the end of the chip looks like from here.
func (l *fakeLine) remove() { _ = unix.Shutdown(l.far, unix.SHUT_RDWR) }

func fakePin(t testing.TB, ctx context.Context, c drivers.PinConfig) (*Pin, *fakeLine) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	l := &fakeLine{far: fds[1]}
	t.Cleanup(func() { _ = unix.Close(fds[1]) })
	p, err := newPin(ctx, "GPIO17", c, func(c uapi.LineConfig) (*os.File, kernelLine, error) {
		l.config = c
		return os.NewFile(uintptr(fds[0]), "line"), l, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return p, l
}

// waits reports whether a token comes within d.
func waits(wake <-chan struct{}, d time.Duration) bool {
	select {
	case <-wake:
		return true
	case <-time.After(d):
		return false
	}
}

// TestBurstComesInOnePiece has 1,000 edges while nobody looks: one token, one call, all in order with number, level and stamp.
func TestBurstComesInOnePiece(t *testing.T) {
	wake := make(chan struct{}, 1)
	p, l := fakePin(t, t.Context(), drivers.PinConfig{Edge: "both", Wake: wake})
	defer p.Close()
	if waits(wake, 20*time.Millisecond) {
		t.Error("a token before there is an edge")
	}
	start := monotonic()
	var burst []byte
	for seq := range uint32(1000) {
		burst = append(burst, edge(start+time.Duration(seq), seq%2 == 0, seq+1)...)
	}
	l.say(t, burst)
	if !waits(wake, 5*time.Second) {
		t.Fatal("no token")
	}
	if waits(wake, 50*time.Millisecond) {
		t.Error("a second token although nobody has looked")
	}
	got, err := p.Edges(nil)
	if err != nil || len(got) != 1000 {
		t.Fatalf("%d edges, %v", len(got), err)
	}
	for i, e := range got {
		want := drivers.Edge{Level: i%2 == 0, Stamp: start + time.Duration(i), Seq: uint32(i + 1), Time: e.Time}
		if d := time.Since(e.Time) - (monotonic() - e.Stamp); e != want || d < -time.Second || d > time.Second {
			t.Fatalf("edge %d: got %+v, want %+v; its time is %v off", i, e, want, d)
		}
	}
	if got, err = p.Edges(got[:0]); len(got) != 0 || err != nil {
		t.Errorf("then %v, %v", got, err)
	}
	waits(wake, 20*time.Millisecond) // it may come for nothing once
	l.say(t, edge(monotonic(), true, 1001))
	if !waits(wake, 5*time.Second) {
		t.Error("no token for the next edge")
	}
}

// TestStampsOfAnotherClock are not made times of.
func TestStampsOfAnotherClock(t *testing.T) {
	p, l := fakePin(t, t.Context(), drivers.PinConfig{Edge: "both"})
	defer p.Close()
	l.say(t, edge(time.Duration(time.Now().UnixNano()), true, 1)) // CLOCK_REALTIME
	l.say(t, edge(p.since-time.Nanosecond, true, 2))              // before the line was ours
	l.say(t, edge(p.since, true, 3))
	got, err := p.Edges(nil)
	if err != nil || len(got) != 3 || !got[0].Time.IsZero() || !got[1].Time.IsZero() || got[2].Time.IsZero() {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestRemovedChip ends everything with ErrGone, and whoever waits is told, but not again and again.
func TestRemovedChip(t *testing.T) {
	wake := make(chan struct{}, 1)
	p, l := fakePin(t, t.Context(), drivers.PinConfig{Edge: "both", Wake: wake})
	l.remove()
	if !waits(wake, 5*time.Second) {
		t.Fatal("nobody is told")
	}
	if waits(wake, 50*time.Millisecond) {
		t.Error("told again although nobody has looked")
	}
	const want = "take edges of pin GPIO17: gone: the chip was removed, or the line closed: EOF"
	if _, err := p.Edges(nil); fmt.Sprint(err) != want || !errors.Is(err, drivers.ErrGone) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	l.err = unix.ENODEV
	if _, err := p.Level(); !errors.Is(err, drivers.ErrGone) {
		t.Errorf("level: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("close: %v", err)
	}

	end := true
	out, l := fakePin(t, t.Context(), drivers.PinConfig{Output: true, AtEnd: &end})
	l.remove()
	l.err = unix.ENODEV
	if _, err := out.Level(); !errors.Is(err, drivers.ErrGone) {
		t.Errorf("level of an output: %v", err)
	}
	if err := out.Set(true); fmt.Sprint(err) != "set pin GPIO17: gone: the chip was removed, or the line closed: no such device" {
		t.Errorf("set: %v", err)
	}
	if err := out.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

// TestOutput has what reaches the kernel: the initial level once more, no look at the level, the last level at the end.
func TestOutput(t *testing.T) {
	yes, no := true, false
	for name, tt := range map[string]struct {
		config drivers.PinConfig
		flags  uapi.LineFlagV2
		want   string
	}{
		"initial level": {drivers.PinConfig{Output: true, Initial: true}, uapi.LineFlagV2Output, "[set true set false set true]"},
		"level at the end": {
			drivers.PinConfig{Output: true, ActiveLow: true, AtEnd: &no},
			uapi.LineFlagV2Output | uapi.LineFlagV2ActiveLow, "[set false set false set true set false]",
		},
		"as it is": {
			drivers.PinConfig{Output: true, AsIs: true, ActiveLow: true},
			uapi.LineFlagV2ActiveLow,
			"[configure true 0 set false set true]",
		},
		"as it is, then on": {drivers.PinConfig{Output: true, AsIs: true, AtEnd: &yes}, 0, "[configure true 0 set false set true set true]"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			p, l := fakePin(t, ctx, tt.config)
			if l.config.Flags != tt.flags {
				t.Errorf("requested with flags %x, want %x", l.config.Flags, tt.flags)
			}
			level, err := p.Level()
			if tt.config.AsIs != (err != nil) || err == nil && level != tt.config.Initial {
				t.Errorf("level at first: %v, %v", level, err)
			}
			l.value = true
			for _, want := range []bool{false, true} {
				if err := p.Set(want); err != nil {
					t.Error(err)
				}
				if level, err := p.Level(); err != nil || level != want {
					t.Errorf("level is %v, %v, want %v", level, err, want)
				}
			}
			cancel()
			<-p.closed
			if err := p.Close(); err != nil { // waits for the end
				t.Error(err)
			}
			if got := l.said(); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if _, err := p.Level(); fmt.Sprint(err) != "pin GPIO17: closed: gone" {
				t.Errorf("closed: %v", err)
			}
			if err := p.Set(true); !errors.Is(err, drivers.ErrGone) {
				t.Errorf("closed: %v", err)
			}
		})
	}
}

// TestClosedUnderACall: whatever the kernel says then, the line is gone.
func TestClosedUnderACall(t *testing.T) {
	p, l := fakePin(t, t.Context(), drivers.PinConfig{})
	l.err = unix.EBADF
	_ = p.Close()
	if err := p.failure("read", l.err); !errors.Is(err, drivers.ErrGone) || !errors.Is(err, unix.EBADF) {
		t.Errorf("got %v", err)
	}
}

// TestLevelThatIsNotTaken is not reported.
func TestLevelThatIsNotTaken(t *testing.T) {
	p, l := fakePin(t, t.Context(), drivers.PinConfig{Output: true})
	defer p.Close()
	l.err = unix.EIO
	if err := p.Set(true); fmt.Sprint(err) != "set pin GPIO17: input/output error" {
		t.Errorf("got %v", err)
	}
	if level, err := p.Level(); level || err != nil {
		t.Errorf("got %v, %v", level, err)
	}
	l.err = nil
}

func TestInput(t *testing.T) {
	p, l := fakePin(t, t.Context(), drivers.PinConfig{Pull: "up", Edge: "falling", Debounce: 3 * time.Millisecond})
	if want := uapi.LineFlagV2Input | uapi.LineFlagV2BiasPullUp | uapi.LineFlagV2EdgeFalling; l.config.Flags != want {
		t.Errorf("flags are %x, want %x", l.config.Flags, want)
	}
	if a := l.config.Attrs[0]; l.config.NumAttrs != 1 || a.Mask != 1 || a.Attr.ID != uapi.LineAttributeIDDebounce || a.Attr.Value32() != 3000 {
		t.Errorf("%d attributes, the first is %+v", l.config.NumAttrs, a)
	}
	l.value = true
	if level, err := p.Level(); !level || err != nil {
		t.Errorf("got %v, %v", level, err)
	}
	if err := p.Set(true); fmt.Sprint(err) != "pin GPIO17: opened as an input" {
		t.Errorf("got %v", err)
	}
	l.err = unix.EIO
	if _, err := p.Level(); fmt.Sprint(err) != "read pin GPIO17: input/output error" {
		t.Errorf("got %v", err)
	}
	_ = p.Close()
	if _, err := p.Edges(nil); fmt.Sprint(err) != "pin GPIO17: closed: gone" {
		t.Errorf("got %v", err)
	}
	plain, _ := fakePin(t, t.Context(), drivers.PinConfig{})
	defer plain.Close()
	if _, err := plain.Edges(nil); fmt.Sprint(err) != "pin GPIO17: opened without edges" {
		t.Errorf("got %v", err)
	}
}

func TestRefused(t *testing.T) {
	for want, c := range map[string]drivers.PinConfig{
		`open pin GPIO17: pull is "weak", want up, down or none`:            {Pull: "weak"},
		`open pin GPIO17: edge is "any", want rising, falling or both`:      {Edge: "any"},
		"open pin GPIO17: edges, pull and debounce are for inputs only":     {Output: true, Edge: "both"},
		"open pin GPIO17: line is in use by a cat: device or resource busy": {Pull: "down"},
	} {
		_, err := newPin(t.Context(), "GPIO17", c, func(uapi.LineConfig) (*os.File, kernelLine, error) {
			return nil, nil, fmt.Errorf("line is in use by a cat: %w", unix.EBUSY)
		})
		if fmt.Sprint(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newPin(ctx, "GPIO17", drivers.PinConfig{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func FuzzAppendEdges(f *testing.F) {
	f.Add([]byte{})
	f.Add(edge(5, true, 1))
	f.Add(append(edge(5, true, 1), edge(1<<62, false, 1<<31)[:47]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		got := appendEdges(nil, b, time.Unix(1e9, 0), 1000, 10)
		if len(got) != len(b)/edgeSize {
			t.Fatalf("%d edges of %d bytes", len(got), len(b))
		}
		for _, e := range got {
			if inside := e.Stamp >= 10 && e.Stamp <= 1000; inside == e.Time.IsZero() || inside && time.Unix(1e9, 0).Sub(e.Time) != 1000-e.Stamp {
				t.Errorf("%+v", e)
			}
		}
	})
}

// BenchmarkEdges takes 1,000 edges at a time from a socket, as at 100 kHz each 10 ms.
func BenchmarkEdges(b *testing.B) {
	p, l := fakePin(b, b.Context(), drivers.PinConfig{Edge: "both"})
	defer p.Close()
	var burst []byte
	for seq := range uint32(1000) {
		burst = append(burst, edge(monotonic(), seq%2 == 0, seq)...)
	}
	var got []drivers.Edge
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		l.say(b, burst)
		b.StartTimer()
		var err error
		if got, err = p.Edges(got[:0]); err != nil || len(got) != 1000 {
			b.Fatalf("%d edges, %v", len(got), err)
		}
	}
}
