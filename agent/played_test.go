package agent_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// played is the configuration of a device that does what a test says. Part is for telling configurations apart.
type played struct {
	Part string `yaml:"part" doc:"any text"`
	play *play
}

func (c *played) Validate() []drivers.FieldError { return nil }

func (c *played) Open(ctx context.Context, h drivers.Host) (drivers.Device, error) {
	if c.play.keep != nil {
		c.play.keep(h.Memory(ctx))
	}
	return c.play.enter(ctx, c.Part)
}

// A play says what the devices of one driver do. Its functions may be nil.
type play struct {
	open  func(ctx context.Context) error
	read  func(ctx context.Context, n int) ([]tidegate.Reading, error) // n counts the Reads of all sessions, from 1
	set   func(ctx context.Context, v tidegate.Value) error
	close func() error
	keep  func(drivers.Memory)

	limits drivers.Limits // of relay

	mu    sync.Mutex // guards all below
	began time.Time  // when the play was made
	reads []time.Duration
	opens []time.Duration
	sets  []string
	inUse int // calls of Read, Set and Close under way
	wrong string
}

func newPlay() *play { return &play{began: time.Now()} }

// driver returns the driver of that name whose devices play p; without every, they are talkers.
func (p *play) driver(name string, every time.Duration) drivers.Driver {
	return drivers.Driver{
		Name: name, Doc: "plays what a test says", Every: every,
		Channels: []drivers.Channel{{Name: "n", Kind: tidegate.KindInt}, {Name: "relay", Kind: tidegate.KindBool, Output: true, Limits: p.limits}},
		New:      func() drivers.Config { return &played{play: p} },
	}
}

func (p *play) enter(ctx context.Context, _ string) (drivers.Device, error) {
	p.mu.Lock()
	p.opens = append(p.opens, time.Since(p.began))
	p.mu.Unlock()
	if p.open != nil {
		if err := p.open(ctx); err != nil {
			return nil, err
		}
	}
	return &player{p}, nil
}

// player is one opened device.
type player struct{ *play }

func (p *player) Read(ctx context.Context) ([]tidegate.Reading, error) {
	p.mu.Lock()
	p.reads = append(p.reads, time.Since(p.began))
	n := len(p.reads)
	p.mu.Unlock()
	if p.read != nil {
		return p.read(ctx, n)
	}
	return []tidegate.Reading{{Channel: "n", Value: tidegate.Int(int64(n))}}, nil
}

func (p *player) Set(ctx context.Context, channel string, v tidegate.Value) error {
	p.mu.Lock()
	p.sets = append(p.sets, fmt.Sprintf("%v %s=%s", time.Since(p.began), channel, v))
	p.inUse++
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.inUse--
	}()
	if p.set != nil {
		return p.set(ctx, v)
	}
	return nil
}

func (p *player) Close() error {
	p.mu.Lock()
	if p.inUse > 0 {
		p.wrong = "Close while Set is under way"
	}
	p.mu.Unlock()
	if p.close != nil {
		return p.close()
	}
	return nil
}

// times returns when Reads began.
func (p *play) times() []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]time.Duration(nil), p.reads...)
}

// opened returns when devices were opened.
func (p *play) opened() []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]time.Duration(nil), p.opens...)
}

// wasSet returns what was set, and when.
func (p *play) wasSet() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.sets...)
}

// misused returns what the agent did that drivers.Device forbids.
func (p *play) misused() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wrong
}

// one returns a Read of channel n.
func one(n int) []tidegate.Reading {
	return []tidegate.Reading{{Channel: "n", Value: tidegate.Int(int64(n))}}
}
