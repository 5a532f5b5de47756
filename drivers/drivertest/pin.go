package drivertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
)

// keptEdges is how many edges a Pin keeps until they are taken, as the kernel does.
const keptEdges = 1024

// A Pin is a fake GPIO line: an input whose level others change, or an output. Like the kernel's it numbers all edges, keeps 1,024 until they
// are taken, and drops the oldest beyond that. Its levels are electrical ones: PinConfig.ActiveLow turns them round.
type Pin struct {
	Input bool          // level of an input before its first change
	Every time.Duration // an input that was requested with edges changes its level so often by itself; 0 = never

	mu       sync.Mutex // guards all below
	config   drivers.PinConfig
	isNow    bool // requested, and not closed
	requests int
	changes  uint64 // so far
	edges    []drivers.Edge
	seq      uint32
	dropped  uint64 // edges, so far
	failure  error
	level    bool // of an output
	isDriven bool
	sets     []bool
	timer    *time.Timer // of Every; nil = none
}

var _ drivers.Pin = (*Pin)(nil)

// request makes the pin as one newly requested with c.
func (p *Pin) request(ctx context.Context, c drivers.PinConfig) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.failure != nil:
		return p.failure
	case p.isNow:
		return errors.New("line is in use by a gateway")
	}
	p.requests++
	own := p.requests
	p.config, p.isNow, p.edges, p.seq = c, true, nil, 0
	p.level, p.isDriven = c.Initial, c.Output && !c.AsIs
	if p.Every > 0 && c.Edge != "" {
		p.timer = time.AfterFunc(p.Every, p.tick)
	}
	context.AfterFunc(ctx, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.requests == own {
			p.closeLocked()
		}
	})
	return nil
}

// Config returns what the pin was requested with last.
func (p *Pin) Config() drivers.PinConfig {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.config
}

// Sets returns all levels that the output was set to, in order, the one at its end (PinConfig.AtEnd) included.
func (p *Pin) Sets() []bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]bool(nil), p.sets...)
}

// Change changes the level of an input n times, at once.
func (p *Pin) Change(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changeLocked(n)
}

// Dropped returns how many edges were dropped so far because nobody took them.
func (p *Pin) Dropped() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dropped
}

// Fail makes every use of the pin, requests included, return err from now on; nil = it works again. An error wrapping drivers.ErrGone is a
// chip that was removed.
func (p *Pin) Fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failure = err
	p.wakeLocked()
}

func (p *Pin) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.isNow || p.timer == nil {
		return
	}
	p.changeLocked(1)
	p.timer.Reset(p.Every)
}

func (p *Pin) changeLocked(n int) {
	for range n {
		p.changes++
		on := p.inputLocked()
		if e := p.config.Edge; !p.isNow || e != "both" && e != "rising" && e != "falling" || e == "rising" && !on || e == "falling" && on {
			continue
		}
		p.seq++
		if len(p.edges) == keptEdges {
			p.edges = p.edges[1:]
			p.dropped++
		}
		now := time.Now()
		p.edges = append(p.edges, drivers.Edge{Level: on, Stamp: time.Duration(now.UnixNano()), Time: now, Seq: p.seq})
	}
	if len(p.edges) > 0 {
		p.wakeLocked()
	}
}

func (p *Pin) wakeLocked() {
	if !p.isNow || p.config.Wake == nil {
		return
	}
	select {
	case p.config.Wake <- struct{}{}:
	default:
	}
}

// inputLocked returns the level of an input as its user sees it.
func (p *Pin) inputLocked() bool { return p.Input != (p.changes%2 == 1) != p.config.ActiveLow }

// Level returns the level of an input, or what an output was last set to.
func (p *Pin) Level() (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch err := p.unusableLocked(); {
	case err != nil:
		return false, err
	case p.config.Output && !p.isDriven:
		return false, errors.New("pin: not set yet, and an output is not read back")
	case p.config.Output:
		return p.level, nil
	}
	return p.inputLocked(), nil
}

// Set notes level.
func (p *Pin) Set(level bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.unusableLocked(); err != nil {
		return err
	}
	if !p.config.Output {
		return errors.New("set pin: requested as an input")
	}
	p.level, p.isDriven = level, true
	p.sets = append(p.sets, level)
	return nil
}

// Edges returns the edges that wait.
func (p *Pin) Edges(into []drivers.Edge) ([]drivers.Edge, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.unusableLocked(); err != nil {
		return into, err
	}
	if p.config.Edge == "" {
		return into, errors.New("take edges of pin: requested without edges")
	}
	into = append(into, p.edges...)
	p.edges = p.edges[:0]
	return into, nil
}

// Close gives the line back.
func (p *Pin) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closeLocked()
	return nil
}

func (p *Pin) closeLocked() {
	if !p.isNow {
		return
	}
	if end := p.config.AtEnd; p.config.Output && end != nil && p.failure == nil {
		p.level = *end
		p.sets = append(p.sets, *end)
	}
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	p.wakeLocked()
	p.isNow = false
}

func (p *Pin) unusableLocked() error {
	if !p.isNow {
		return fmt.Errorf("pin: closed: %w", drivers.ErrGone)
	}
	return p.failure
}
