package board

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/warthog618/go-gpiocdev"
	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/drivers"
)

// fakeLine is a requested line without a chip.
type fakeLine struct {
	value   int
	closed  bool
	err     error
	watcher chan struct{} // closed when the line's watcher has ended; nil = none
}

func (l *fakeLine) Value() (int, error)      { return l.value, l.err }
func (l *fakeLine) SetValue(value int) error { l.value = value; return l.err }
func (l *fakeLine) Close() error {
	l.closed = true
	if l.watcher != nil {
		<-l.watcher // as go-gpiocdev does
	}
	return nil
}

func fakePin(t *testing.T, ctx context.Context, c drivers.PinConfig, l *fakeLine) (*pin, int) {
	t.Helper()
	var options int
	p, err := newPin(ctx, "GPIO17", c, func(o ...gpiocdev.LineReqOption) (gpioLine, error) { options = len(o); return l, nil })
	if err != nil {
		t.Fatal(err)
	}
	return p, options
}

func TestPinEdgesComeInOrderWithSeqAndStamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		l := &fakeLine{watcher: ended}
		p, options := fakePin(t, ctx, drivers.PinConfig{Edge: "both", Pull: "up", Debounce: time.Millisecond, ActiveLow: true}, l)
		if options != 8 { // consumer, active low, input, pull, edge, buffer, taker, debounce
			t.Errorf("%d options, want 8", options)
		}
		go func() { // the line's watcher; the kernel dropped 4 and 5
			defer close(ended)
			for _, seq := range []uint32{1, 2, 3, 6, 7} {
				kind := gpiocdev.LineEventFallingEdge
				if seq%2 == 1 {
					kind = gpiocdev.LineEventRisingEdge
				}
				p.take(gpiocdev.LineEvent{Type: kind, Timestamp: time.Duration(seq) * time.Second, LineSeqno: seq})
			}
		}()
		for _, seq := range []uint32{1, 2, 3, 6} {
			e, err := p.Wait(t.Context())
			if want := (drivers.Edge{Level: seq%2 == 1, Boot: time.Duration(seq) * time.Second, Seq: seq}); err != nil || e != want {
				t.Errorf("got %+v, %v, want %+v", e, err, want)
			}
		}
		cancel() // while the watcher holds edge 7: Close must free it
		synctest.Wait()
		<-ended
		if !l.closed {
			t.Error("the line is not given back")
		}
		if _, err := p.Wait(t.Context()); fmt.Sprint(err) != "pin GPIO17: closed: gone" || !errors.Is(err, drivers.ErrGone) {
			t.Errorf("got %v", err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestPinWaitEndsWithCtx(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := fakePin(t, t.Context(), drivers.PinConfig{Edge: "rising"}, &fakeLine{})
		defer p.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := p.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

// TestPinOutputIsNeverReadBack: reading an output turns it into an input with some drivers, which releases a relay.
func TestPinOutputIsNeverReadBack(t *testing.T) {
	l := &fakeLine{value: 0}
	p, _ := fakePin(t, t.Context(), drivers.PinConfig{Output: true, Initial: true}, l)
	if level, err := p.Level(); err != nil || !level {
		t.Errorf("got %v, %v, want the initial level", level, err)
	}
	if err := p.Set(true); err != nil || l.value != 1 {
		t.Errorf("got %v, line is %d", err, l.value)
	}
	l.value = 0
	if level, err := p.Level(); err != nil || !level {
		t.Errorf("got %v, %v, want the level last set", level, err)
	}
	l.err = unix.ENODEV
	if err := p.Set(false); !errors.Is(err, drivers.ErrGone) || err.Error() != "set pin GPIO17: gone: no such device" {
		t.Errorf("got %v", err)
	}
	if level, _ := p.Level(); !level {
		t.Error("a level that was not taken is reported")
	}
	if _, err := p.Wait(t.Context()); fmt.Sprint(err) != "pin GPIO17: opened without edges" {
		t.Errorf("got %v", err)
	}
}

func TestPinInput(t *testing.T) {
	l := &fakeLine{value: 1}
	p, _ := fakePin(t, t.Context(), drivers.PinConfig{Pull: "none"}, l)
	if level, err := p.Level(); err != nil || !level {
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
	if _, err := p.Level(); !errors.Is(err, drivers.ErrGone) {
		t.Errorf("got %v", err)
	}
}

func TestPinRefused(t *testing.T) {
	for want, c := range map[string]drivers.PinConfig{
		`open pin GPIO17: pull is "weak", want up, down or none`:             {Pull: "weak"},
		`open pin GPIO17: edge is "any", want rising, falling or both`:       {Edge: "any"},
		"open pin GPIO17: edges, pull and debounce are for inputs only":      {Output: true, Edge: "both"},
		"open pin GPIO17: line is in use by nobody: device or resource busy": {Pull: "down"},
	} {
		_, err := newPin(t.Context(), "GPIO17", c, func(...gpiocdev.LineReqOption) (gpioLine, error) {
			return nil, fmt.Errorf("line is in use by nobody: %w", unix.EBUSY)
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

func TestFindLine(t *testing.T) {
	if chip, offset, err := findLine("gpiochip0:17"); err != nil || chip != "gpiochip0" || offset != 17 {
		t.Errorf("got %s, %d, %v", chip, offset, err)
	}
	const want = "want a name such as GPIO17 or chip:line such as gpiochip0:17"
	for _, name := range []string{"gpiochip0:", "gpiochip0:x", "gpiochip0:-1", ":4"} {
		if _, _, err := findLine(name); fmt.Sprint(err) != want {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := New(nil).Pin(t.Context(), "NOLINE", drivers.PinConfig{}); !errors.Is(err, gpiocdev.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestExplainLine(t *testing.T) {
	for err, want := range map[error]string{
		unix.EBUSY:  "line is in use by another program or the kernel: device or resource busy",
		unix.EINVAL: "the board uses this line for something else, or has no such line: invalid argument",
		unix.EACCES: "permission denied; put the gateway's user into the group: sudo usermod -aG gpio USER",
		unix.EIO:    "input/output error",
	} {
		if got := explainLine("gpiochip97", 3, err); got.Error() != want || !errors.Is(got, err) {
			t.Errorf("got %v, want %s", got, want)
		}
	}
}
