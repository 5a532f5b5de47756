package session

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/onewire"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"
)

// transfers are the recorded transfers of one bus, in order.
type transfers struct {
	name string

	mu    sync.Mutex
	steps []Entry // guarded by mu; what is still to come
	err   error   // guarded by mu; the first deviation
}

func (t *transfers) String() string { return t.name }

// tx plays one transfer on port: w has to be what was written then, r gets what was read.
func (t *transfers) tx(port string, w, r []byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(w) > 0 {
		e, err := t.nextLocked(port, Out)
		switch {
		case err != nil:
			return err
		case !bytes.Equal(e.Bytes, w):
			return t.failLocked(fmt.Errorf("%s: got % x, want % x", port, w, e.Bytes))
		}
	}
	if t.err == nil && len(t.steps) > 0 && t.steps[0].Port == port && t.steps[0].Dir == Gone {
		t.steps = t.steps[1:]
		return fmt.Errorf("%s: no answer, as recorded", port)
	}
	if len(r) == 0 {
		return t.err
	}
	e, err := t.nextLocked(port, In)
	switch {
	case err != nil:
		return err
	case len(e.Bytes) != len(r):
		return t.failLocked(fmt.Errorf("%s: %d bytes are asked for, %d were recorded", port, len(r), len(e.Bytes)))
	}
	copy(r, e.Bytes)
	return nil
}

// nextLocked takes the next step, which has to be of port and dir.
func (t *transfers) nextLocked(port string, dir byte) (Entry, error) {
	if t.err != nil {
		return Entry{}, t.err
	}
	if len(t.steps) == 0 {
		return Entry{}, t.failLocked(fmt.Errorf("%s: got a transfer (%c), want nothing more", port, dir))
	}
	e := t.steps[0]
	if e.Port != port || e.Dir != dir {
		return Entry{}, t.failLocked(fmt.Errorf("%s: got a transfer (%c), want %v", port, dir, e))
	}
	t.steps = t.steps[1:]
	return e, nil
}

// failLocked notes the first deviation and returns it.
func (t *transfers) failLocked(err error) error {
	t.err = err
	return err
}

// Close returns the first deviation, or what was not used.
func (t *transfers) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil && len(t.steps) > 0 {
		return fmt.Errorf("%s: %d steps were not used, next: %v", t.name, len(t.steps), t.steps[0])
	}
	return t.err
}

type (
	replayedI2C struct {
		*transfers
		bus string
	}
	replayedSPI     struct{ *transfers }
	replayedOneWire struct{ *transfers }
)

func (b *replayedI2C) Tx(addr uint16, w, r []byte) error { return b.tx(i2cPort(b.bus, addr), w, r) }

func (b *replayedI2C) SetSpeed(physic.Frequency) error { return nil }

func (c *replayedSPI) Tx(w, r []byte) error { return c.tx(c.name, w, r) }

func (c *replayedSPI) Duplex() conn.Duplex { return conn.Full }

func (c *replayedSPI) TxPackets(p []spi.Packet) error {
	for i := range p {
		if err := c.tx(c.name, p[i].W, p[i].R); err != nil {
			return err
		}
	}
	return nil
}

func (b *replayedOneWire) Tx(w, r []byte, _ onewire.Pullup) error { return b.tx(b.name, w, r) }

// Search plays a recorded search.
func (b *replayedOneWire) Search(alarmOnly bool) ([]onewire.Address, error) {
	b.mu.Lock()
	n := 0
	if len(b.steps) > 1 && b.steps[1].Dir == In {
		n = len(b.steps[1].Bytes)
	}
	b.mu.Unlock()
	in := make([]byte, n)
	if err := b.tx(b.name, searchCommand(alarmOnly), in); err != nil {
		return nil, err
	}
	if n%8 != 0 {
		return nil, errors.New(b.name + ": recorded search is not a multiple of 8 bytes")
	}
	var found []onewire.Address
	for ; len(in) > 0; in = in[8:] {
		found = append(found, onewire.Address(binary.LittleEndian.Uint64(in)))
	}
	return found, nil
}
