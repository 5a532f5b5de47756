// Package gpioline is GPIO lines as the kernel's character device has them (its second interface, since Linux 5.10).
//
// The ioctls are go-gpiocdev's. Its watcher of edges is not used: it hands them over one by one, and once the chip is removed it
// spins for ever, as it passes over the read that fails and asks poll again. Here edges are read in bulk by whoever wants them, and
// a goroutine says only that there are some: it looks again when they were taken, so a chattering line costs nothing while nobody
// looks.
//
// An output is never read back, whatever is asked: that turns it into an input with some kernel drivers. Its initial level is set
// once more after the request, as some forget it. Whatever finds the chip removed wraps drivers.ErrGone.
package gpioline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/warthog618/go-gpiocdev/uapi"
	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/drivers"
)

// A Pin is a requested GPIO line; see drivers.Pin.
type Pin struct {
	name   string
	config drivers.PinConfig
	file   *os.File
	conn   syscall.RawConn // of file
	kernel kernelLine
	since  time.Duration // CLOCK_MONOTONIC before the request: no edge is older
	buf    []byte        // of Edges, for reuse

	taken   chan struct{} // gets a token when Edges has looked
	closed  chan struct{} // closed by Close
	watched chan struct{} // closed when watch has ended; nil = it was not started
	once    sync.Once

	mu       sync.Mutex
	level    bool        // guarded by mu; of an output, as last set
	isDriven bool        // guarded by mu; false = an output that was requested as it is, and not set yet
	stop     func() bool // guarded by mu; the end of ctx is of no account any more
}

var _ drivers.Pin = (*Pin)(nil)

// Request requests the line called name (see drivers.Host.Pin). It is given back when ctx is done or the Pin is closed. What becomes of an
// output's level then is the board's affair: a Raspberry Pi's own kernel keeps it, the mainline kernel turns the line into an input.
func Request(ctx context.Context, name string, c drivers.PinConfig) (*Pin, error) {
	list, unseen := chips()
	on, offset, err := find(name, list)
	switch {
	case len(list) == 0 && unseen != nil:
		return nil, fmt.Errorf("open pin %s: %w", name, unseen)
	case err != nil && unseen != nil:
		return nil, fmt.Errorf("open pin %s: %w (%w)", name, err, unseen)
	case err != nil:
		return nil, fmt.Errorf("open pin %s: %w", name, err)
	}
	return newPin(ctx, name, c, func(c uapi.LineConfig) (*os.File, kernelLine, error) {
		f, k, err := request(on.name, offset, c)
		if err != nil {
			return nil, nil, explain(on.name, offset, err)
		}
		return f, k, nil
	})
}

// newPin requests a line with request and makes a Pin of it.
func newPin(ctx context.Context, name string, c drivers.PinConfig,
	request func(c uapi.LineConfig) (*os.File, kernelLine, error),
) (*Pin, error) {
	p := &Pin{
		name: name, config: c, level: c.Initial, isDriven: !c.AsIs, since: monotonic(),
		taken: make(chan struct{}, 1), closed: make(chan struct{}),
	}
	if err := p.open(ctx, request); err != nil {
		return nil, fmt.Errorf("open pin %s: %w", name, err)
	}
	if c.Edge != "" {
		p.buf = make([]byte, keptEdges*edgeSize)
	}
	if c.Edge != "" && c.Wake != nil {
		p.watched = make(chan struct{})
		go p.watch()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stop = context.AfterFunc(ctx, func() { _ = p.Close() })
	return p, nil
}

func (p *Pin) open(ctx context.Context, request func(c uapi.LineConfig) (*os.File, kernelLine, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	k, err := lineConfig(p.config, p.level)
	if err != nil {
		return err
	}
	if p.config.Output && p.config.AsIs {
		k = uapi.LineConfig{Flags: k.Flags &^ uapi.LineFlagV2Output} // neither in nor out: as it is
	}
	if p.file, p.kernel, err = request(k); err != nil {
		return err
	}
	if p.conn, err = p.file.SyscallConn(); err == nil && p.config.Output && p.isDriven {
		err = p.kernel.set(p.level)
	}
	if err != nil {
		_ = p.file.Close() // the first error says more
		return fmt.Errorf("set initial level: %w", err)
	}
	return nil
}

// watch sends a token to Wake when edges wait or the line fails, once until somebody has looked.
func (p *Pin) watch() {
	defer close(p.watched)
	for {
		if err := p.conn.Read(isReadable); err != nil && p.isClosed() {
			return
		}
		select {
		case p.config.Wake <- struct{}{}:
		default:
		}
		select {
		case <-p.taken:
		case <-p.closed:
			return
		}
	}
}

// Edges returns what edges wait; see drivers.Pin.
func (p *Pin) Edges(into []drivers.Edge) ([]drivers.Edge, error) {
	if p.config.Edge == "" {
		return into, fmt.Errorf("pin %s: opened without edges", p.name)
	}
	if p.isClosed() {
		return into, p.gone()
	}
	n, err := readNow(p.conn, p.buf)
	wall, mono := time.Now(), monotonic()
	select {
	case p.taken <- struct{}{}:
	default:
	}
	if err != nil {
		return into, p.failure("take edges of", err)
	}
	return appendEdges(into, p.buf[:n], wall, mono, p.since), nil
}

// Level returns the level of an input, or what an output was set to last; see drivers.Pin.
func (p *Pin) Level() (bool, error) {
	if p.isClosed() {
		return false, p.gone()
	}
	if !p.config.Output {
		level, err := p.kernel.get()
		if err != nil {
			return false, p.failure("read", err)
		}
		return level, nil
	}
	// No edges wait for an output: this says only whether its chip is there.
	if _, err := readNow(p.conn, make([]byte, edgeSize)); isGone(err) {
		return false, p.failure("look at", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.isDriven {
		return false, fmt.Errorf("pin %s: not set yet, and an output is not read back", p.name)
	}
	return p.level, nil
}

// Set drives an output.
func (p *Pin) Set(level bool) error {
	if !p.config.Output {
		return fmt.Errorf("pin %s: opened as an input", p.name)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isClosed() {
		return p.gone()
	}
	if err := p.driveLocked(level); err != nil {
		return p.failure("set", err)
	}
	p.level, p.isDriven = level, true
	return nil
}

// driveLocked sets the level, and makes the line an output if it was left as it is.
func (p *Pin) driveLocked(level bool) error {
	if !p.isDriven {
		c, err := lineConfig(p.config, level)
		if err != nil {
			return err
		}
		if err := p.kernel.configure(c); err != nil {
			return err
		}
	}
	return p.kernel.set(level)
}

// Close gives the line back, an output at the level AtEnd. Closing twice is no error.
func (p *Pin) Close() error {
	var err error
	p.once.Do(func() {
		p.mu.Lock()
		p.stop()
		if end := p.config.AtEnd; p.config.Output && end != nil {
			if e := p.driveLocked(*end); e != nil && !isGone(e) {
				err = p.failure("set to its last level", e)
			}
		}
		close(p.closed)
		p.mu.Unlock()
		if e := p.file.Close(); err == nil && e != nil {
			err = p.failure("close", e)
		}
		if p.watched != nil {
			<-p.watched
		}
	})
	return err
}

func (p *Pin) isClosed() bool {
	select {
	case <-p.closed:
		return true
	default:
		return false
	}
}

func (p *Pin) gone() error { return fmt.Errorf("pin %s: closed: %w", p.name, drivers.ErrGone) }

func (p *Pin) failure(verb string, err error) error {
	if isGone(err) || p.isClosed() {
		return fmt.Errorf("%s pin %s: %w: the chip was removed, or the line closed: %w", verb, p.name, drivers.ErrGone, err)
	}
	return fmt.Errorf("%s pin %s: %w", verb, p.name, err)
}

// isGone reports whether err means that the line will not come back by itself.
func isGone(err error) bool {
	return errors.Is(err, unix.ENODEV) || errors.Is(err, os.ErrClosed) || errors.Is(err, io.EOF)
}
