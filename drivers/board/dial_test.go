package board

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/drivers"
)

// listen returns the address of a server and the connections that it gets.
func listen(t *testing.T) (address string, conns <-chan net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan net.Conn, 8)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			got <- c
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
		for len(got) > 0 {
			_ = (<-got).Close()
		}
	})
	return l.Addr().String(), got
}

func TestDialEndings(t *testing.T) {
	for name, tc := range map[string]struct {
		far    func(c *net.TCPConn) error
		use    func(p drivers.Port) error
		want   string // part of the error
		isGone bool
	}{
		"closed by the far end": {
			far:  func(c *net.TCPConn) error { return c.Close() },
			use:  func(p drivers.Port) error { _, err := p.Read(make([]byte, 1)); return err },
			want: "gone: closed by the far end: EOF", isGone: true,
		},
		"reset by the far end": {
			far:  func(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) },
			use:  func(p drivers.Port) error { _, err := p.Read(make([]byte, 1)); return err },
			want: "gone: reset by the far end: read tcp", isGone: true,
		},
		"silent": {
			far: func(*net.TCPConn) error { return nil },
			use: func(p drivers.Port) error {
				_ = p.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
				_, err := p.Read(make([]byte, 1))
				return err
			},
			want: "i/o timeout",
		},
		"takes nothing": {
			far: func(*net.TCPConn) error { return nil },
			use: func(p drivers.Port) error {
				much := make([]byte, 64<<20)
				_ = p.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
				_, err := p.Write(much)
				return err
			},
			want: "gone: the far end takes no more, ", isGone: true,
		},
		"late from the start": {
			far: func(*net.TCPConn) error { return nil },
			use: func(p drivers.Port) error {
				_ = p.SetWriteDeadline(time.Unix(1, 0))
				_, err := p.Write([]byte{1})
				return err
			},
			want: "i/o timeout",
		},
	} {
		t.Run(name, func(t *testing.T) {
			address, conns := listen(t)
			bus, err := New(nil).Dial(t.Context(), "tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			err = bus.Do(t.Context(), func(p drivers.Port) error {
				c := <-conns
				defer c.Close()
				if err := tc.far(c.(*net.TCPConn)); err != nil {
					t.Error(err)
				}
				return tc.use(p)
			})
			if err == nil || !strings.Contains(err.Error(), tc.want) || errors.Is(err, drivers.ErrGone) != tc.isGone {
				t.Fatalf("got %v (gone: %v), want %q (gone: %v)", err, errors.Is(err, drivers.ErrGone), tc.want, tc.isGone)
			}
			if !tc.isGone {
				return
			}
			// It is connected anew.
			if err := bus.Do(t.Context(), func(drivers.Port) error { return nil }); err != nil {
				t.Fatal(err)
			}
			(<-conns).Close()
		})
	}
}

func TestDialRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	bus, err := New(nil).Dial(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	err = bus.Do(t.Context(), func(drivers.Port) error { return nil })
	if want := "open " + address + ": connect: connection refused; nothing listens there: check address and port, and that the device serves it"; err == nil || err.Error() != want {
		t.Fatalf("got %v, want %s", err, want)
	}
}

func TestDialSharesOneConnectionPerAddress(t *testing.T) {
	address, conns := listen(t)
	h := New(nil)
	ctx, cancel := context.WithCancel(t.Context())
	a, errA := h.Dial(ctx, "tcp", address)
	b, errB := h.Dial(ctx, "tcp", address)
	if errA != nil || errB != nil || a != b {
		t.Fatalf("%v, %v, same bus: %v", errA, errB, a == b)
	}
	for _, bus := range []*drivers.Bus{a, b} {
		if err := bus.Do(ctx, func(drivers.Port) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	far := <-conns
	defer far.Close()
	cancel()
	_ = far.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := far.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("far end after ctx is done: %v, want it closed", err)
	}
	if len(conns) != 0 {
		t.Fatal("connected twice")
	}
}

func TestDialOptions(t *testing.T) {
	address, conns := listen(t)
	p, err := dial(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	defer func() { (<-conns).Close() }()
	raw, err := p.(*connection).Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		for name, o := range map[string][3]int{
			"TCP_NODELAY": {unix.IPPROTO_TCP, unix.TCP_NODELAY, 1}, "SO_KEEPALIVE": {unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
			"TCP_KEEPIDLE": {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15}, "TCP_KEEPINTVL": {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 5},
			"TCP_KEEPCNT": {unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3},
		} {
			if got, err := unix.GetsockoptInt(int(fd), o[0], o[1]); err != nil || got != o[2] {
				t.Errorf("%s is %d (%v), want %d", name, got, err, o[2])
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestDialEndsWithCtx(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	bus, err := New(nil).Dial(t.Context(), "tcp", "127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := bus.Do(ctx, func(drivers.Port) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

// TestClaimedPortIsRefused: who asks for a port that another device has for itself is told so, and gets it when that has ended.
func TestClaimedPortIsRefused(t *testing.T) {
	h := New(nil)
	ctx, end := context.WithCancel(drivers.WithMeter(t.Context(), &drivers.Meter{Device: "talker"}))
	for name, get := range map[string]func(ctx context.Context) (*drivers.Bus, error){
		"/dev/ttyUSB0": func(ctx context.Context) (*drivers.Bus, error) { return h.Serial(ctx, settings("/dev/ttyUSB0")) },
		"far.test:502": func(ctx context.Context) (*drivers.Bus, error) { return h.Dial(ctx, "tcp", "far.test:502") },
	} {
		b, err := get(ctx)
		if err == nil {
			err = b.Claim(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
		want := name + " is used by device talker, and one of both needs it for itself; give each a port of its own"
		if _, err := get(t.Context()); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		defer func() {
			if _, err := get(t.Context()); err != nil {
				t.Errorf("%s after its user has ended: %v", name, err)
			}
		}()
	}
	end()
}
