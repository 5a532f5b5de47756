package tty

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
)

// uart is a terminal with a UART that takes its time for each bit, a transceiver, and a line behind it: fake Port and fake Switch in one.
// What it hears arrives in in at its times.
type uart struct {
	char  time.Duration
	lag   time.Duration // from the write to the first bit
	blind bool          // it cannot say when all is sent
	hasty bool          // it says so before it has begun
	echo  func(b []byte) []byte
	reply []byte              // comes after pause
	pause time.Duration       // after the last bit
	wreck func() (int, error) // what Write does instead

	mu       sync.Mutex
	in       []heard
	read     time.Time
	write    time.Time
	wake     chan struct{}
	closed   bool
	first    time.Time // bit that was sent
	last     time.Time // bit that is sent
	turns    []turn
	failing  error // of Send and Sent
	gaveBack int
}

// heard is a byte and when it has come in.
type heard struct {
	at time.Time
	b  byte
}

// turn is one call of Send.
type turn struct {
	at time.Time
	on bool
}

func newUART(char time.Duration) *uart { return &uart{char: char, wake: make(chan struct{})} }

func (u *uart) Write(b []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	switch {
	case u.closed:
		return 0, os.ErrClosed
	case !u.write.IsZero() && !now.Before(u.write):
		return 0, os.ErrDeadlineExceeded
	case u.wreck != nil:
		return u.wreck()
	}
	u.first = now.Add(u.lag)
	u.last = u.first.Add(time.Duration(len(b)) * u.char)
	if u.echo != nil {
		for i, c := range u.echo(b) {
			u.in = append(u.in, heard{u.first.Add(time.Duration(i+1) * u.char), c})
		}
	}
	for i, c := range u.reply {
		u.in = append(u.in, heard{u.last.Add(u.pause + time.Duration(i+1)*u.char), c})
	}
	return len(b), nil
}

func (u *uart) Read(b []byte) (int, error) {
	for {
		u.mu.Lock()
		now, n := time.Now(), 0
		for n < len(b) && len(u.in) > 0 && !u.in[0].at.After(now) {
			b[n] = u.in[0].b
			u.in = u.in[1:]
			n++
		}
		closed, deadline, wake := u.closed, u.read, u.wake
		wait := time.Hour
		if len(u.in) > 0 {
			wait = u.in[0].at.Sub(now)
		}
		u.mu.Unlock()
		switch {
		case n > 0:
			return n, nil
		case closed:
			return 0, io.EOF
		case !deadline.IsZero() && !now.Before(deadline):
			return 0, os.ErrDeadlineExceeded
		case !deadline.IsZero():
			wait = min(wait, deadline.Sub(now))
		}
		select {
		case <-wake:
		case <-time.After(wait):
		}
	}
}

func (u *uart) change(f func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f()
	close(u.wake)
	u.wake = make(chan struct{})
}

func (u *uart) SetReadDeadline(t time.Time) error  { u.change(func() { u.read = t }); return nil }
func (u *uart) SetWriteDeadline(t time.Time) error { u.change(func() { u.write = t }); return nil }
func (u *uart) Close() error                       { u.change(func() { u.closed = true }); return nil }

// transceiver is u as its Switch.
type transceiver struct{ u *uart }

func (s transceiver) Send(on bool) error {
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	if s.u.failing != nil {
		return s.u.failing
	}
	s.u.turns = append(s.u.turns, turn{time.Now(), on})
	return nil
}

func (s transceiver) Sent() (bool, error) {
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	switch {
	case s.u.closed:
		return false, os.ErrClosed
	case s.u.failing != nil:
		return false, s.u.failing
	case s.u.blind:
		return false, fmt.Errorf("no line status: %w", errors.ErrUnsupported)
	}
	return s.u.hasty || !time.Now().Before(s.u.last), nil
}

func (transceiver) Nap(d time.Duration) { time.Sleep(d) }

func (s transceiver) Close() error {
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	s.u.gaveBack++
	return nil
}

// isSending reports whether the transceiver was left sending.
func (u *uart) isSending() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.turns) > 0 && u.turns[len(u.turns)-1].on
}

// TestTransceiverSendsFromTheFirstBitToTheLast holds for every speed and length: on before the first bit, off after the last and soon.
func TestTransceiverSendsFromTheFirstBitToTheLast(t *testing.T) {
	for _, baud := range []int{50, 300, 1200, 9600, 19200, 31250, 115200, 250000, 4000000} {
		for _, length := range []int{1, 8, 64, 256} {
			for _, blind := range []bool{false, true} {
				for _, lag := range []time.Duration{0, 40 * time.Microsecond, usbFrame} {
					synctest.Test(t, func(t *testing.T) {
						u := newUART(Char(drivers.Serial{Baud: baud, DataBits: 8, Parity: "even", StopBits: "1"}))
						u.blind, u.lag = blind, lag
						p := New(u, transceiver{u}, u.char, false)
						n, err := p.Write(make([]byte, length))
						if n != length || err != nil {
							t.Fatalf("got %d, %v", n, err)
						}
						if len(u.turns) != 2 || !u.turns[0].on || u.turns[1].on {
							t.Fatalf("turns %v, want on and off", u.turns)
						}
						soon := nap
						if blind {
							soon += u.char + usbFrame
						}
						early, late := u.first.Sub(u.turns[0].at), u.turns[1].at.Sub(u.last)
						if early < 0 || late < 0 || late > soon {
							t.Errorf("%d bit/s, %d bytes, blind %v, begins after %v: on %v before the first bit, off %v after the last; want at least 0, at most %v after",
								baud, length, blind, lag, early, late, soon)
						}
					})
				}
			}
		}
	}
}

// TestUARTThatIsHasty says that all is sent while the first byte is on its way from the kernel.
func TestUARTThatIsHasty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUART(time.Millisecond)
		u.hasty = true
		start := time.Now()
		if _, err := New(u, transceiver{u}, u.char, false).Write(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		if d := u.turns[1].at.Sub(start); d < 97*time.Millisecond || d > 98*time.Millisecond {
			t.Errorf("receiving again after %v, and 100 bytes take 100ms", d)
		}
	})
}

// TestTransceiverIsLeftReceiving: however a Write ends.
func TestTransceiverIsLeftReceiving(t *testing.T) {
	const char = time.Millisecond
	longAgo := time.Unix(1, 0)
	for name, tt := range map[string]struct {
		set  func(u *uart)
		at   time.Duration // when do is done
		do   func(p *Port) // while Write runs
		ends time.Duration // when Write does
		want string        // its error
	}{
		"all well":       {nil, 0, nil, 100 * time.Millisecond, "<nil>"},
		"kernel refuses": {func(u *uart) { u.wreck = func() (int, error) { return 3, io.ErrClosedPipe } }, 0, nil, 0, "io: read/write on closed pipe"},
		"panic below":    {func(u *uart) { u.wreck = func() (int, error) { panic("below") } }, 0, nil, 0, "panic: below"},
		"ctx ends, read deadline first": {
			nil, 40 * time.Millisecond, func(p *Port) { _ = p.SetReadDeadline(longAgo); _ = p.SetWriteDeadline(longAgo) },
			40 * time.Millisecond, "gone: part of 100 bytes may be out: i/o timeout",
		},
		"write deadline is moved": {
			nil, 99 * time.Millisecond, func(p *Port) { _ = p.SetWriteDeadline(longAgo) },
			99 * time.Millisecond, "gone: part of 100 bytes may be out: i/o timeout",
		},
		"closed": {
			nil, 40 * time.Millisecond, func(p *Port) { _ = p.Close() },
			40 * time.Millisecond, "gone: part of 100 bytes may be out: i/o timeout",
		},
		"UART hangs": {
			func(u *uart) { u.lag = time.Hour }, 0, nil, 1100 * time.Millisecond,
			"gone: the port has not sent 100 bytes within 1.1s, which take 100ms at its speed",
		},
		"deadlines ahead are of no account": {
			nil, 40 * time.Millisecond, func(p *Port) { _ = p.SetReadDeadline(time.Now().Add(time.Second)) },
			100 * time.Millisecond, "<nil>",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := newUART(char)
				if tt.set != nil {
					tt.set(u)
				}
				p := New(u, transceiver{u}, char, false)
				if tt.do != nil {
					time.AfterFunc(tt.at, func() { tt.do(p) })
				}
				start := time.Now()
				got := func() (s string) {
					defer func() {
						if r := recover(); r != nil {
							s = fmt.Sprint("panic: ", r)
						}
					}()
					_, err := p.Write(make([]byte, 100))
					return fmt.Sprint(err)
				}()
				if d := time.Since(start); got != tt.want || tt.ends > 0 && (d < tt.ends || d > tt.ends+nap) {
					t.Errorf("got %s after %v, want %s after %v", got, d, tt.want, tt.ends)
				}
				if u.isSending() || len(u.turns) < 2 {
					t.Errorf("turns %v, want it receiving", u.turns)
				}
				if err := p.Close(); err != nil {
					t.Error(err)
				}
				if u.isSending() || u.gaveBack != 1 {
					t.Errorf("closed: sending %v, given back %d times", u.isSending(), u.gaveBack)
				}
				turns := len(u.turns)
				if err := p.Close(); err != nil || u.gaveBack != 1 || len(u.turns) != turns {
					t.Errorf("closed twice: %v, given back %d times", err, u.gaveBack)
				}
				if n, err := p.Write([]byte{1}); n != 0 || err == nil {
					t.Errorf("Write after Close: %d, %v", n, err)
				}
				if len(u.turns) != turns {
					t.Error("turned after Close")
				}
			})
		})
	}
}

func TestTransceiverThatCannotBeTurned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUART(time.Millisecond)
		p := New(u, transceiver{u}, u.char, false)
		u.failing = errors.New("no such device")
		n, err := p.Write([]byte{1, 2})
		want := "turn the transceiver to sending: gone: no such device; turn the transceiver to receiving: gone: no such device"
		if n != 0 || err == nil || err.Error() != want || !errors.Is(err, drivers.ErrGone) || !u.first.IsZero() {
			t.Errorf("got %d, %v, want %s and nothing sent", n, err, want)
		}
		if err := p.Close(); err == nil || err.Error() != "no such device" || !u.closed || u.gaveBack != 1 {
			t.Errorf("Close: %v, closed %v, given back %d times", err, u.closed, u.gaveBack)
		}
	})
}

// TestWriteThatIsLateTurnsNothing: its ctx was done before.
func TestWriteThatIsLateTurnsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUART(time.Millisecond)
		p := New(u, transceiver{u}, u.char, true)
		_ = p.SetWriteDeadline(time.Unix(1, 0))
		n, err := p.Write([]byte{1, 2})
		if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, drivers.ErrGone) || len(u.turns) != 0 {
			t.Errorf("got %d, %v, turns %v", n, err, u.turns)
		}
		_ = p.SetWriteDeadline(time.Time{})
		if n, err := p.Write(nil); n != 0 || err != nil || len(u.turns) != 0 {
			t.Errorf("nothing to write: got %d, %v, turns %v", n, err, u.turns)
		}
	})
}

func TestEcho(t *testing.T) {
	same := func(b []byte) []byte { return slices.Clone(b) }
	const wrong = "line does not give back what is sent: "
	tests := map[string]struct {
		echo  func(b []byte) []byte
		want  string
		after time.Duration // when Write ends
	}{
		"right": {same, "<nil>", 8 * time.Millisecond},
		"collision": {
			func(b []byte) []byte { b = slices.Clone(b); b[2] &= 0x55; return b },
			wrong + "byte 3 of 8 came back as 0x51, want 0xf3; a second master or a late reply on the line, or noise",
			3 * time.Millisecond,
		},
		"noise as it begins": {
			func(b []byte) []byte { return append([]byte{0xff}, b...) },
			wrong + "byte 1 of 8 came back as 0xff, want 0xf1; a second master or a late reply on the line, or noise",
			time.Millisecond,
		},
		"a part": {
			func(b []byte) []byte { return b[:5] },
			wrong + "only 5 of 8 bytes came back within 100ms of the last bit; a second master on the line, or noise",
			108 * time.Millisecond,
		},
		"none": {
			func([]byte) []byte { return nil },
			wrong + "echo is set, but none of 8 bytes came back within 100ms of the last bit; leave echo out if the adapter keeps it back, " +
				"else see whether the transceiver gets to sending",
			108 * time.Millisecond,
		},
	}
	for name, tt := range tests {
		for _, turns := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, turned %v", name, turns), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					u := newUART(time.Millisecond)
					u.echo = tt.echo
					if name == "right" {
						u.reply = []byte("reply")
					}
					var sw Switch
					if turns {
						sw = transceiver{u}
					}
					p := New(u, sw, u.char, true)
					_ = p.SetReadDeadline(time.Now()) // as drivers.Drop leaves it
					request := []byte{0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8}
					start := time.Now()
					n, err := p.Write(request)
					after := tt.after
					if turns { // it is compared once all is out
						after = max(after, 8*time.Millisecond)
					}
					if d := time.Since(start); n != 8 || fmt.Sprint(err) != tt.want || d < after || d > after+nap {
						t.Errorf("got %d, %v after %v, want %s after %v", n, err, d, tt.want, after)
					}
					if err != nil && (!errors.Is(err, drivers.ErrEcho) || errors.Is(err, drivers.ErrGone)) {
						t.Error("want an error that wraps ErrEcho and not ErrGone")
					}
					if _, err := p.Read(make([]byte, 1)); name == "right" && !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("the deadline of before is not back: %v", err)
					}
					if name != "right" {
						return
					}
					_ = p.SetReadDeadline(time.Now().Add(time.Second))
					got := make([]byte, 5)
					if _, err := io.ReadFull(p, got); err != nil || string(got) != "reply" {
						t.Errorf("got %q, %v", got, err)
					}
				})
			})
		}
	}
}

// TestEchoBesideTheReply: a unit that answers at once has its bytes right behind the echo; they are left for Read.
func TestEchoBesideTheReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUART(time.Millisecond)
		u.lag = 40 * time.Millisecond
		p := New(u, nil, u.char, true)
		u.echo = func(b []byte) []byte { return append(slices.Clone(b), "reply"...) }
		go func() {
			time.Sleep(30 * time.Millisecond) // the adapter hands over all at once
			u.change(func() {
				for i := range u.in {
					u.in[i].at = time.Now()
				}
			})
		}()
		if _, err := p.Write([]byte("ask")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 64)
		n, err := p.Read(got)
		if !bytes.HasPrefix([]byte("reply"), got[:n]) || n == 0 || err != nil {
			t.Errorf("got %q, %v", got[:n], err)
		}
	})
}

// TestEchoIsWaitedForUntilCtxEnds: and no longer.
func TestEchoIsWaitedForUntilCtxEnds(t *testing.T) {
	for name, cut := range map[string]func(p *Port) error{
		"read deadline":  func(p *Port) error { return p.SetReadDeadline(time.Unix(1, 0)) },
		"write deadline": func(p *Port) error { return p.SetWriteDeadline(time.Unix(1, 0)) },
		"both, and a later one": func(p *Port) error {
			return errors.Join(p.SetReadDeadline(time.Unix(1, 0)), p.SetWriteDeadline(time.Unix(1, 0)), p.SetReadDeadline(time.Now().Add(time.Hour)))
		},
		"closed": func(p *Port) error { return p.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := newUART(time.Millisecond)
				p := New(u, nil, u.char, true)
				time.AfterFunc(50*time.Millisecond, func() {
					if err := cut(p); err != nil {
						t.Error(err)
					}
				})
				start := time.Now()
				_, err := p.Write(make([]byte, 8))
				if d := time.Since(start); d != 50*time.Millisecond || errors.Is(err, drivers.ErrEcho) ||
					!errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, io.EOF) {
					t.Errorf("got %v after %v, want the deadline or the end after 50ms", err, d)
				}
			})
		})
	}
}

// TestCutBeforeTheEcho: a ctx that ends while the last bit goes out does not wait for an echo either.
func TestCutBeforeTheEcho(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUART(time.Millisecond)
		p := New(u, transceiver{u}, u.char, true)
		u.wreck = func() (int, error) { // the kernel takes it, and then ctx ends
			u.last = time.Now()
			time.AfterFunc(0, func() { _ = p.SetWriteDeadline(time.Unix(1, 0)) })
			return 1, nil
		}
		start := time.Now()
		if _, err := p.Write([]byte{1}); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) > 2*time.Millisecond {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		if u.isSending() {
			t.Error("left sending")
		}
	})
}
