package drivers

import (
	"context"
	"sync"
	"time"
)

// A Meter adds up what the calls of Bus.Do with one ctx took of their buses. It is safe for concurrent use.
type Meter struct {
	Device string // whose meter it is, for messages; not changed while it is in use
	// IsSecret: what the device says is for no log, and so is what goes over its buses: Dump shows nothing of these any more. Not changed either.
	IsSecret bool

	mu    sync.Mutex // guards total and bus
	total Use
	bus   *Bus // the last
}

// Use is what was taken of buses.
type Use struct {
	Turns    int           // calls of Do that got a bus
	Held     time.Duration // in these, waiting for the bus not counted
	IsShared bool          // one of the buses had other users
}

// meterKey is the key of a ctx's Meter.
type meterKey struct{}

// WithMeter returns a ctx like ctx, calls of Bus.Do with which m adds up.
func WithMeter(ctx context.Context, m *Meter) context.Context {
	return context.WithValue(ctx, meterKey{}, m)
}

// Take returns what was added up since the last Take.
func (m *Meter) Take() Use {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := m.total
	m.total = Use{}
	return u
}

// Bus returns the bus that was taken last; nil = none was.
func (m *Meter) Bus() *Bus {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.bus
}

func (m *Meter) add(b *Bus, held time.Duration, isShared bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bus = b
	m.total.Turns++
	m.total.Held += held
	m.total.IsShared = m.total.IsShared || isShared
}
