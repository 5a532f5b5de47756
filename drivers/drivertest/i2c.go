package drivertest

import (
	"fmt"
	"sync"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/physic"

	"github.com/tidegate-io/tidegate/drivers"
)

// An I2CBus is a fake I2C bus with fake parts. At an address without a part nobody answers. It is safe for concurrent use; Parts and
// what they hold must not be changed while it is used, but by the functions of the parts.
type I2CBus struct {
	Parts map[uint16]*I2CPart
	// Fail is asked before each transfer, counted from 1 over all parts; an error fails it. nil = none fails.
	Fail func(n int) error

	mu sync.Mutex
	n  int // guarded by mu; transfers
}

var _ i2c.Bus = (*I2CBus)(nil)

// An I2CPart is a fake part whose registers have numbers of one byte: the first byte that is written selects one, further bytes go into
// it, and a read gives what it and the registers behind it hold. A register that is not held is not acknowledged. With Told it is a part of
// commands instead, as Sensirion's are.
type I2CPart struct {
	Held  map[byte][]byte                           // what the registers hold; one of n bytes is followed by that with the number n higher
	Asked func(p *I2CPart, register byte)           // called before a read; nil = nothing
	Wrote func(p *I2CPart, register byte, b []byte) // called after a write, b being what was written into register; nil = nothing

	// Told, where it is not nil, makes it a part that has commands instead of registers. It is called with all that a transfer writes, and
	// returns what the next read gives, in the same transfer or in a later one; ok = false: the part does not acknowledge what was written. A
	// read without an answer is not acknowledged either: an answer is read once. Held, Asked and Wrote are not used.
	Told func(w []byte) (answer []byte, ok bool)

	selected byte
	answer   []byte // of Told, not read yet
}

// errNobody is the error of an address without a part.
var errNobody = noAnswer{}

// noAnswer is a drivers.ErrNoAnswer with the text that periph's has for the kernel's ENXIO.
type noAnswer struct{}

func (noAnswer) Error() string        { return "drivertest: no such device or address" }
func (noAnswer) Is(target error) bool { return target == drivers.ErrNoAnswer }

// String returns "drivertest".
func (b *I2CBus) String() string { return "drivertest" }

// SetSpeed takes any speed.
func (b *I2CBus) SetSpeed(physic.Frequency) error { return nil }

// Tx writes w to the part at addr and reads r from it.
func (b *I2CBus) Tx(addr uint16, w, r []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n++
	if b.Fail != nil {
		if err := b.Fail(b.n); err != nil {
			return err
		}
	}
	p := b.Parts[addr]
	if p == nil {
		return errNobody
	}
	return p.tx(w, r)
}

func (p *I2CPart) tx(w, r []byte) error {
	if p.Told != nil {
		return p.command(w, r)
	}
	if len(w) > 0 {
		p.selected = w[0]
	}
	if len(w) > 1 {
		if _, ok := p.Held[w[0]]; !ok {
			return notHeld(w[0])
		}
		p.Held[w[0]] = append([]byte(nil), w[1:]...)
		if p.Wrote != nil {
			p.Wrote(p, w[0], w[1:])
		}
	}
	if len(w) == 1 && len(r) == 0 && p.Wrote != nil {
		p.Wrote(p, w[0], nil)
	}
	if len(r) == 0 {
		return nil
	}
	if p.Asked != nil {
		p.Asked(p, p.selected)
	}
	if len(p.Held[p.selected]) == 0 {
		return notHeld(p.selected)
	}
	n := 0
	for at := p.selected; n < len(r) && len(p.Held[at]) > 0; at += byte(len(p.Held[at])) {
		n += copy(r[n:], p.Held[at])
	}
	for ; n < len(r); n++ {
		r[n] = 0xff // nobody drives the line
	}
	return nil
}

// notHeld is the error of a register that a part does not hold, with the kernel's text for a byte that is not acknowledged.
func notHeld(register byte) error {
	return fmt.Errorf("drivertest: register 0x%02x: remote I/O error (I2CPart.Held has none of that number)", register)
}

// command is tx of a part that has commands.
func (p *I2CPart) command(w, r []byte) error {
	if len(w) > 0 {
		var ok bool
		if p.answer, ok = p.Told(append([]byte(nil), w...)); !ok {
			p.answer = nil
			return fmt.Errorf("drivertest: command % x: remote I/O error (I2CPart.Told does not know it)", w)
		}
	}
	if len(r) == 0 {
		return nil
	}
	if len(p.answer) == 0 {
		return fmt.Errorf("drivertest: read of %d bytes: remote I/O error (I2CPart.Told has left no answer)", len(r))
	}
	for i := copy(r, p.answer); i < len(r); i++ {
		r[i] = 0xff // nobody drives the line
	}
	p.answer = nil
	return nil
}
