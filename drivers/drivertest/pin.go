package drivertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
)

// A ScriptedEdge is an edge that a fake Pin sees, Pause after the one before it was taken.
type ScriptedEdge struct {
	drivers.Edge
	Pause time.Duration
}

// A Pin is a fake GPIO line: an input at Input that sees Edges one after another and then none, or an output.
type Pin struct {
	Input bool           // the level of an input
	Edges []ScriptedEdge // what Wait returns, in this order

	mu       sync.Mutex
	config   drivers.PinConfig // guarded by mu
	level    bool              // guarded by mu; of an output
	sets     []bool            // guarded by mu
	next     int               // guarded by mu; index of the next edge
	isClosed bool              // guarded by mu
	closed   chan struct{}     // guarded by mu; closed by Close
}

var _ drivers.Pin = (*Pin)(nil)

// request makes the pin as one newly requested with c.
func (p *Pin) request(c drivers.PinConfig) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.config, p.level, p.isClosed, p.closed = c, c.Initial, false, make(chan struct{})
}

// Config returns what the pin was requested with last.
func (p *Pin) Config() drivers.PinConfig {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.config
}

// Sets returns all levels that the output was set to, in order.
func (p *Pin) Sets() []bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]bool(nil), p.sets...)
}

// Level returns Input, or what an output was last set to.
func (p *Pin) Level() (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.isClosed:
		return false, errPinClosed()
	case p.config.Output:
		return p.level, nil
	}
	return p.Input, nil
}

// Set notes level.
func (p *Pin) Set(level bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.isClosed:
		return errPinClosed()
	case !p.config.Output:
		return errors.New("set pin: requested as an input")
	}
	p.level = level
	p.sets = append(p.sets, level)
	return nil
}

// Wait returns the next of Edges.
func (p *Pin) Wait(ctx context.Context) (drivers.Edge, error) {
	p.mu.Lock()
	closed, isClosed, hasEdges := p.closed, p.isClosed, p.config.Edge != ""
	var due <-chan time.Time
	if p.next < len(p.Edges) {
		t := time.NewTimer(p.Edges[p.next].Pause)
		defer t.Stop()
		due = t.C
	}
	p.mu.Unlock()
	switch {
	case isClosed:
		return drivers.Edge{}, errPinClosed()
	case !hasEdges:
		return drivers.Edge{}, errors.New("wait for pin: requested without edges")
	}
	select {
	case <-ctx.Done():
		return drivers.Edge{}, fmt.Errorf("wait for pin: %w", ctx.Err())
	case <-closed:
		return drivers.Edge{}, errPinClosed()
	case <-due:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.Edges[p.next].Edge
	p.next++
	return e, nil
}

// Close gives the line back.
func (p *Pin) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.isClosed && p.closed != nil {
		close(p.closed)
	}
	p.isClosed = true
	return nil
}

func errPinClosed() error { return fmt.Errorf("pin: closed: %w", drivers.ErrGone) }
