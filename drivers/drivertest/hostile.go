package drivertest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing/fstest"
	"time"

	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/onewire"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"

	"github.com/tidegate-io/tidegate/drivers"
)

// A Piece is what becomes of a burst, or of a part of it: bytes that arrive after a pause, or the port being unplugged.
type Piece struct {
	Pause  time.Duration // before it
	Bytes  []byte
	Unplug bool // the port is unplugged here, for good
}

// A Mangle disturbs what a good device says: it returns what becomes of burst n (counted from 0).
type Mangle func(n int, b []byte) []Piece

// A mangler is a port whose bursts are disturbed.
type mangler struct {
	drivers.Port
	mangle Mangle
	out    Wire // what became of the bursts that were read

	mu  sync.Mutex
	n   int    // guarded by mu; bursts so far
	buf []byte // guarded by mu, but while Read waits: one Read at a time
}

// Read returns what became of the bursts, and waits for the next one when all of that is read.
func (m *mangler) Read(b []byte) (int, error) {
	for !m.out.hasMore() {
		m.mu.Lock()
		if m.buf == nil {
			m.buf = make([]byte, 64<<10)
		}
		buf := m.buf
		m.mu.Unlock()
		n, err := m.Port.Read(buf)
		if n == 0 {
			return 0, err
		}
		m.mu.Lock()
		for _, p := range m.mangle(m.n, append([]byte(nil), buf[:n]...)) {
			if p.Unplug {
				m.out.HangUp()
				break
			}
			m.out.SayAfter(p.Pause, p.Bytes)
		}
		m.n++
		m.mu.Unlock()
	}
	return m.out.Read(b)
}

func (m *mangler) Write(b []byte) (int, error) {
	if n, err := m.out.Write(b); err != nil {
		return n, err
	}
	return m.Port.Write(b)
}

func (m *mangler) SetReadDeadline(t time.Time) error {
	return errors.Join(m.Port.SetReadDeadline(t), m.out.SetReadDeadline(t))
}

func (m *mangler) Close() error { return errors.Join(m.Port.Close(), m.out.Close()) }

// hasMore reports whether something was said that is not read, or the port was unplugged.
func (w *Wire) hasMore() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.bursts) > 0 || w.isHungUp || w.isClosed
}

// Disturb returns what makes the good devices of a machine disturbed ones: those on ports and on I2C buses.
func Disturb(f Mangle) func(h *Host) {
	return func(h *Host) {
		h.Wrap = func(p drivers.Port) drivers.Port { return &mangler{Port: p, mangle: f} }
		for name, b := range h.I2CBuses {
			h.I2CBuses[name] = &mangledI2C{Bus: b, mangle: f}
		}
	}
}

// A mangledI2C is an I2C bus whose answers are disturbed.
type mangledI2C struct {
	i2c.Bus
	mangle Mangle
	n      int
}

func (m *mangledI2C) Tx(addr uint16, w, r []byte) error {
	err := m.Bus.Tx(addr, w, r)
	if err != nil || len(r) == 0 {
		return err
	}
	m.n++
	got := r[:0]
	for _, p := range m.mangle(m.n-1, append([]byte(nil), r...)) {
		if p.Unplug {
			return fmt.Errorf("%s: adapter removed: %w", m.Bus, drivers.ErrGone)
		}
		got = append(got, p.Bytes[:min(len(p.Bytes), cap(r)-len(got))]...)
	}
	if len(got) < len(r) {
		return fmt.Errorf("%s: no answer from the device", m.Bus)
	}
	return nil
}

// Noise returns what makes a machine one on whose ports and buses nothing but what fill makes of zeros is to be read: size bytes
// a burst, one every pause, limit bytes in all (0 = endless). Its files, where they are an fstest.MapFS, hold as much of it as they
// held before.
func Noise(size, limit int, pause time.Duration, fill func(b []byte)) func(h *Host) {
	return func(h *Host) {
		h.Ports = map[string]Opener{Any: func(context.Context) (drivers.Port, error) {
			said := 0
			return &Wire{Next: func() ([]byte, time.Duration) {
				if limit > 0 && said >= limit {
					return nil, 0
				}
				b := make([]byte, size)
				fill(b)
				said += size
				return b, pause
			}}, nil
		}}
		n := &noisyBus{fill: fill}
		h.I2CBuses = map[string]i2c.Bus{Any: &noisyI2C{n}}
		h.SPIPorts = map[string]spi.Conn{Any: &noisySPI{n}}
		h.OneWireBuses = map[string]onewire.Bus{Any: &noisyOneWire{n}}
		h.Pins = nil
		files, ok := h.FS.(fstest.MapFS)
		h.FS = nil
		if ok {
			bad := fstest.MapFS{}
			for name, f := range files {
				b := make([]byte, len(f.Data))
				fill(b)
				bad[name] = &fstest.MapFile{Data: b, Mode: f.Mode}
			}
			h.FS = bad
		}
	}
}

// Silence makes a machine one whose ports say nothing and whose buses do not answer.
func Silence(h *Host) {
	Noise(1, 1, time.Hour, func([]byte) {})(h)
	h.Ports = map[string]Opener{Any: func(context.Context) (drivers.Port, error) { return &Wire{}, nil }}
	n := &noisyBus{}
	h.I2CBuses = map[string]i2c.Bus{Any: &noisyI2C{n}}
	h.SPIPorts = map[string]spi.Conn{Any: &noisySPI{n}}
	h.OneWireBuses = map[string]onewire.Bus{Any: &noisyOneWire{n}}
	h.FS = nil
}

// Random returns a filler of random bytes, the same ones each time.
func Random() func(b []byte) {
	g := rand.NewChaCha8([32]byte{7})
	return func(b []byte) { _, _ = g.Read(b) } // never fails
}

// Always returns a filler of c.
func Always(c byte) func(b []byte) {
	return func(b []byte) {
		for i := range b {
			b[i] = c
		}
	}
}

// A noisyBus is a bus with nothing on it: its answers are what fill makes of zeros. A nil fill means that nobody answers.
type noisyBus struct{ fill func(b []byte) }

func (b *noisyBus) String() string { return "noise" }

func (b *noisyBus) answer(r []byte) error {
	if b.fill == nil {
		return errors.New("noise: no answer from the device")
	}
	clear(r)
	b.fill(r)
	return nil
}

type (
	noisyI2C     struct{ *noisyBus }
	noisySPI     struct{ *noisyBus }
	noisyOneWire struct{ *noisyBus }
)

func (b *noisyI2C) Tx(_ uint16, _, r []byte) error { return b.answer(r) }

func (b *noisyI2C) SetSpeed(physic.Frequency) error { return nil }

func (b *noisySPI) Tx(_, r []byte) error {
	if b.fill == nil { // nobody drives the line
		clear(r)
		return nil
	}
	return b.answer(r)
}

func (b *noisySPI) Duplex() conn.Duplex { return conn.Full }

func (b *noisySPI) TxPackets(p []spi.Packet) error {
	for i := range p {
		if err := b.Tx(p[i].W, p[i].R); err != nil {
			return err
		}
	}
	return nil
}

func (b *noisyOneWire) Tx(_, r []byte, _ onewire.Pullup) error { return b.answer(r) }

func (b *noisyOneWire) Search(bool) ([]onewire.Address, error) {
	return nil, errors.New("noise: no presence pulse")
}
