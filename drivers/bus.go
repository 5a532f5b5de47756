package drivers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A Bus is a Port that several devices share. One of them has it at a time; the others wait in order of arrival.
// It is safe for concurrent use.
type Bus struct {
	name  string
	open  func(ctx context.Context) (Port, error)
	trace atomic.Pointer[func(out bool, b []byte)]
	busy  atomic.Int64 // nanoseconds in Do, for Busy

	turn chan struct{} // holds one token: whoever has it may use port
	mu   sync.Mutex    // guards closed against Close
	port Port          // nil = not open; owned by the holder of the token, but for Close
	gone bool          // Close was called
}

// NewBus returns a bus called name (for messages) whose port is opened by open at the first use and again after it was gone.
func NewBus(name string, open func(ctx context.Context) (Port, error)) *Bus {
	b := &Bus{name: name, open: open, turn: make(chan struct{}, 1)}
	b.turn <- struct{}{}
	return b
}

// Name returns the port's name.
func (b *Bus) Name() string { return b.name }

// Busy returns for how long the bus was in use so far, waiting not counted.
func (b *Bus) Busy() time.Duration { return time.Duration(b.busy.Load()) }

// Trace makes f see all bytes that go out (written) or come in (read), until Trace(nil). f must not keep p.
func (b *Bus) Trace(f func(out bool, p []byte)) {
	if f == nil {
		b.trace.Store(nil)
		return
	}
	b.trace.Store(&f)
}

// Do waits for the bus, opens its port if need be and calls f with it, which then has it alone.
// Reads and writes of f end with os.ErrDeadlineExceeded when ctx is done; Do then returns an error wrapping ctx.Err().
// When f returns an error wrapping ErrGone, the port is closed and opened anew at the next Do.
// Deadlines that f sets do not outlive it.
func (b *Bus) Do(ctx context.Context, f func(p Port) error) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("wait for bus %s: %w", b.name, context.Cause(ctx))
	case <-b.turn:
	}
	defer func() { b.turn <- struct{}{} }()
	start := time.Now()
	defer func() { b.busy.Add(int64(time.Since(start))) }()
	p, err := b.hold(ctx)
	if err != nil {
		return err
	}
	tp := &tracedPort{Port: p, bus: b}
	if err := tp.reset(); err != nil {
		b.drop(p)
		return fmt.Errorf("bus %s: %w", b.name, err)
	}
	stop := context.AfterFunc(ctx, tp.cut)
	err = f(tp)
	stop()
	if err != nil {
		if errors.Is(err, ErrGone) {
			b.drop(p)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("bus %s: %w (%w)", b.name, context.Cause(ctx), err)
		}
		return fmt.Errorf("bus %s: %w", b.name, err)
	}
	return nil
}

func (b *Bus) hold(ctx context.Context) (Port, error) {
	b.mu.Lock()
	p, gone := b.port, b.gone
	b.mu.Unlock()
	if gone {
		return nil, fmt.Errorf("bus %s: closed: %w", b.name, ErrGone)
	}
	if p != nil {
		return p, nil
	}
	p, err := b.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", b.name, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.gone {
		return nil, errors.Join(fmt.Errorf("bus %s: closed: %w", b.name, ErrGone), p.Close())
	}
	b.port = p
	return p, nil
}

// drop closes p, which has failed; its error no longer matters.
func (b *Bus) drop(p Port) {
	b.mu.Lock()
	if b.port == p {
		b.port = nil
	}
	b.mu.Unlock()
	_ = p.Close()
}

// Close closes the port, which ends a Do in progress, and refuses further ones.
func (b *Bus) Close() error {
	b.mu.Lock()
	p := b.port
	b.port, b.gone = nil, true
	b.mu.Unlock()
	if p == nil {
		return nil
	}
	return p.Close()
}

// tracedPort is the Port that f of Do sees: it feeds the trace and lets the end of ctx win over deadlines that f sets.
type tracedPort struct {
	Port
	bus *Bus
	mu  sync.Mutex // guards isCut, so that no deadline set by f undoes the cut
	// isCut says that ctx is done: deadlines stay in the past.
	isCut bool
}

var longAgo = time.Unix(1, 0)

func (p *tracedPort) reset() error {
	return errors.Join(p.Port.SetReadDeadline(time.Time{}), p.Port.SetWriteDeadline(time.Time{}))
}

func (p *tracedPort) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.isCut = true
	_ = p.Port.SetReadDeadline(longAgo) // an error means that the port is closed, which ends reads as well
	_ = p.Port.SetWriteDeadline(longAgo)
}

func (p *tracedPort) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isCut {
		t = longAgo
	}
	return p.Port.SetReadDeadline(t)
}

func (p *tracedPort) SetWriteDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isCut {
		t = longAgo
	}
	return p.Port.SetWriteDeadline(t)
}

func (p *tracedPort) Read(b []byte) (int, error) {
	n, err := p.Port.Read(b)
	if f := p.bus.trace.Load(); f != nil && n > 0 {
		(*f)(false, b[:n])
	}
	return n, err
}

func (p *tracedPort) Write(b []byte) (int, error) {
	n, err := p.Port.Write(b)
	if f := p.bus.trace.Load(); f != nil && n > 0 {
		(*f)(true, b[:n])
	}
	return n, err
}
