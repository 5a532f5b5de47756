package board

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/drivers"
)

// dialTimeout is how long a connection may take to come about, name resolution included.
const dialTimeout = 5 * time.Second

// dial connects to address. Dead peers are noticed after 15 s + 3 x 5 s of silence (TCP keep-alive).
func dial(ctx context.Context, network, address string) (drivers.Port, error) {
	d := net.Dialer{
		Timeout:         dialTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3},
	}
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, explainDial(err)
	}
	if t, ok := c.(*net.TCPConn); ok {
		if err := t.SetNoDelay(true); err != nil {
			return nil, errors.Join(fmt.Errorf("set TCP_NODELAY: %w", err), c.Close())
		}
	}
	return &connection{Conn: c}, nil
}

// explainDial leaves out what the Bus says itself, the address, and adds what helps.
func explainDial(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	var timed net.Error
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("%w; nothing listens there: check address and port, and that the device serves it", err)
	case errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH), errors.As(err, &timed) && timed.Timeout():
		return fmt.Errorf("%w; check address, cable, power and network", err)
	}
	return err
}

// A connection is a network connection whose errors say whether it is gone.
type connection struct {
	net.Conn

	mu       sync.Mutex // guards deadline
	deadline time.Time  // of Write; zero = none
}

func (c *connection) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	return n, goneConnection(err)
}

// Write writes all of b, or fails. A deadline that passes after a part of b went out breaks the connection: the error then wraps
// drivers.ErrGone too.
func (c *connection) Write(b []byte) (int, error) {
	c.mu.Lock()
	isLate := !c.deadline.IsZero() && !c.deadline.After(time.Now())
	c.mu.Unlock()
	n, err := c.Conn.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) && !isLate {
		return n, fmt.Errorf("%w: the far end takes no more, %d of %d bytes are out: %w", drivers.ErrGone, n, len(b), err)
	}
	return n, goneConnection(err)
}

func (c *connection) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return c.Conn.SetWriteDeadline(t)
}

// goneConnection makes every error but a passed deadline one that wraps drivers.ErrGone.
func goneConnection(err error) error {
	switch {
	case err == nil, errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: closed by the far end: %w", drivers.ErrGone, err)
	case errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return fmt.Errorf("%w: reset by the far end: %w", drivers.ErrGone, err)
	}
	return fmt.Errorf("%w: %w", drivers.ErrGone, err)
}
