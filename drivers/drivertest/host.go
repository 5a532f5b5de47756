// Package drivertest is what tests of drivers are made of: a fake Host, far ends that answer, talk, follow a script or replay a
// recorded session. Package conformance, below it, is what every driver has to pass. It is for tests only.
//
// All of it works in testing/synctest bubbles, where an hour of silence takes no time.
package drivertest

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"sync"
	"testing/fstest"

	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/onewire"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"

	"github.com/tidegate-io/tidegate/drivers"
)

// Any is the key, in the maps of a Host, of what answers to every name that is not a key itself.
const Any = "*"

// Host is a fake drivers.Host: a machine with what its fields say, and nothing else. The zero Host is a machine with nothing.
// Buses of periph's test packages (i2ctest.Playback, spitest.Playback's connection, onewiretest.Playback) fit in as they are.
// The fields must not be changed once a driver uses it.
type Host struct {
	Ports        map[string]Opener               // by the path of the serial port, or network://address for Dial
	I2CBuses     map[string]i2c.Bus              //
	SPIPorts     map[string]spi.Conn             //
	OneWireBuses map[string]onewire.Bus          //
	Pins         map[string]*Pin                 //
	Kept         *Memory                         // what devices keep, all the same; nil = each call of Memory begins with nothing
	FS           fs.FS                           // nil = an empty file system; usually an fstest.MapFS
	Wrap         func(drivers.Port) drivers.Port // what to put around each port that is opened; nil = nothing

	mu       sync.Mutex
	buses    map[string]*fakeBus       // guarded by mu
	settings map[string]drivers.Serial // guarded by mu
	asked    int                       // guarded by mu; how often a port, bus or pin was asked for
}

var _ drivers.Host = (*Host)(nil)

// fakeBus is a bus and the ends of the ctx that it lives for.
type fakeBus struct {
	bus   *drivers.Bus
	users []<-chan struct{}
}

// isLeft reports whether nobody has the bus any more.
func (b *fakeBus) isLeft() bool {
	for _, done := range b.users {
		select {
		case <-done:
		default:
			return false
		}
	}
	return true
}

// sweepLocked closes the bus called name once nobody has it any more.
func (h *Host) sweepLocked(name string) {
	if b := h.buses[name]; b != nil && b.isLeft() {
		delete(h.buses, name)
		_ = b.bus.Close() // nobody is left to be told
	}
}

// Serial returns the bus on the Ports entry for c.Port. Like the real Host it refuses other settings while the port is in use.
func (h *Host) Serial(ctx context.Context, c drivers.Serial) (*drivers.Bus, error) {
	h.mu.Lock()
	h.sweepLocked(c.Port)
	if have, ok := h.settings[c.Port]; ok && h.buses[c.Port] != nil && have != c {
		h.mu.Unlock()
		return nil, fmt.Errorf("%s is in use with %+v, asked for with %+v: devices on one port need the same settings", c.Port, have, c)
	}
	if h.settings == nil {
		h.settings = map[string]drivers.Serial{}
	}
	h.settings[c.Port] = c
	h.mu.Unlock()
	return h.bus(ctx, c.Port)
}

// Settings returns with which settings the serial port at path was asked for last.
func (h *Host) Settings(path string) drivers.Serial {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.settings[path]
}

// Dial returns the bus on the Ports entry for network://address.
func (h *Host) Dial(ctx context.Context, network, address string) (*drivers.Bus, error) {
	return h.bus(ctx, network+"://"+address)
}

func (h *Host) bus(ctx context.Context, name string) (*drivers.Bus, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	b := h.buses[name]
	if b == nil {
		b = &fakeBus{bus: drivers.NewBus(name, func(ctx context.Context) (drivers.Port, error) { return h.open(ctx, name) })}
		if h.buses == nil {
			h.buses = map[string]*fakeBus{}
		}
		h.buses[name] = b
	}
	if err := b.bus.Join(ctx); err != nil {
		return nil, err
	}
	b.users = append(b.users, ctx.Done())
	context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.sweepLocked(name)
	})
	return b.bus, nil
}

func (h *Host) open(ctx context.Context, name string) (drivers.Port, error) {
	open, ok := pick(h.Ports, name)
	if !ok {
		return nil, fmt.Errorf("%w: drivertest.Host has no such port", fs.ErrNotExist)
	}
	p, err := open(ctx)
	if err != nil || h.Wrap == nil {
		return p, err
	}
	return h.Wrap(p), nil
}

// I2C returns the I2CBuses entry for bus, until ctx is done.
func (h *Host) I2C(ctx context.Context, bus string) (i2c.Bus, error) {
	b, err := find(h, ctx, h.I2CBuses, "I2C bus", bus)
	if err != nil {
		return nil, err
	}
	return &mortalI2C{Bus: b, done: ctx.Done()}, nil
}

// SPI returns the SPIPorts entry for port, until ctx is done.
func (h *Host) SPI(ctx context.Context, port string, _ physic.Frequency, _ spi.Mode) (spi.Conn, error) {
	c, err := find(h, ctx, h.SPIPorts, "SPI port", port)
	if err != nil {
		return nil, err
	}
	return &mortalSPI{Conn: c, done: ctx.Done()}, nil
}

// OneWire returns the OneWireBuses entry for bus, until ctx is done.
func (h *Host) OneWire(ctx context.Context, bus string) (onewire.Bus, error) {
	b, err := find(h, ctx, h.OneWireBuses, "1-Wire bus", bus)
	if err != nil {
		return nil, err
	}
	return &mortalOneWire{Bus: b, done: ctx.Done()}, nil
}

// Pin returns the Pins entry for line, which is closed when ctx is done.
func (h *Host) Pin(ctx context.Context, line string, c drivers.PinConfig) (drivers.Pin, error) {
	p, err := find(h, ctx, h.Pins, "pin", line)
	if err != nil {
		return nil, err
	}
	if err := p.request(ctx, c); err != nil {
		return nil, fmt.Errorf("open pin %s: %w", line, err)
	}
	return p, nil
}

// Memory returns Kept.
func (h *Host) Memory(context.Context) drivers.Memory {
	if h.Kept == nil {
		return &Memory{}
	}
	return h.Kept
}

// A Memory is a fake drivers.Memory. It is safe for concurrent use.
type Memory struct {
	mu     sync.Mutex
	kept   []byte // guarded by mu
	failed error  // guarded by mu
}

// Fail makes the memory return err from now on; nil = work again.
func (m *Memory) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failed = err
}

// Load returns what was put last.
func (m *Memory) Load() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.kept), m.failed
}

// Store puts b.
func (m *Memory) Store(b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(b) > drivers.MemoryMost {
		return fmt.Errorf("keep %d bytes: want at most %d", len(b), drivers.MemoryMost)
	}
	if m.failed == nil {
		m.kept = bytes.Clone(b)
	}
	return m.failed
}

// Files returns FS.
func (h *Host) Files() fs.FS {
	if h.FS == nil {
		return fstest.MapFS{}
	}
	return h.FS
}

// Requests returns how often a port, bus or pin was asked for.
func (h *Host) Requests() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked
}

// pick returns the entry for name, or else the one for Any.
func pick[T any](m map[string]T, name string) (T, bool) {
	v, ok := m[name]
	if !ok {
		v, ok = m[Any]
	}
	return v, ok
}

func find[T any](h *Host, ctx context.Context, m map[string]T, what, name string) (T, error) {
	h.mu.Lock()
	h.asked++
	h.mu.Unlock()
	v, ok := pick(m, name)
	if err := ctx.Err(); err != nil {
		return v, fmt.Errorf("open %s %s: %w", what, name, err)
	}
	if !ok {
		return v, fmt.Errorf("open %s %s: %w: drivertest.Host has none of that name", what, name, fs.ErrNotExist)
	}
	return v, nil
}

// dead returns an error once done is closed.
func dead(what fmt.Stringer, done <-chan struct{}) error {
	select {
	case <-done:
		return fmt.Errorf("%s: closed: %w", what, drivers.ErrGone)
	default:
		return nil
	}
}

// The mortal buses die with the ctx that they were asked for with.
type (
	mortalI2C struct {
		i2c.Bus
		done <-chan struct{}
	}
	mortalSPI struct {
		spi.Conn
		done <-chan struct{}
	}
	mortalOneWire struct {
		onewire.Bus
		done <-chan struct{}
	}
)

func (b *mortalI2C) Tx(addr uint16, w, r []byte) error {
	if err := dead(b.Bus, b.done); err != nil {
		return err
	}
	return b.Bus.Tx(addr, w, r)
}

func (b *mortalSPI) Tx(w, r []byte) error {
	if err := dead(b.Conn, b.done); err != nil {
		return err
	}
	return b.Conn.Tx(w, r)
}

func (b *mortalSPI) TxPackets(p []spi.Packet) error {
	if err := dead(b.Conn, b.done); err != nil {
		return err
	}
	return b.Conn.TxPackets(p)
}

func (b *mortalOneWire) Tx(w, r []byte, power onewire.Pullup) error {
	if err := dead(b.Bus, b.done); err != nil {
		return err
	}
	return b.Bus.Tx(w, r, power)
}

func (b *mortalOneWire) Search(alarmOnly bool) ([]onewire.Address, error) {
	if err := dead(b.Bus, b.done); err != nil {
		return nil, err
	}
	return b.Bus.Search(alarmOnly)
}

var _ conn.Conn = (*mortalSPI)(nil)
