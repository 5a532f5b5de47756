package drivers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"periph.io/x/conn/v3/i2c"
)

// The addresses that a device on an I2C bus can have; the others mean something else (UM10204 section 3.1.12).
const (
	FirstI2C = 0x08
	LastI2C  = 0x77
)

// ErrNoAnswer is wrapped by the error of a transfer that no part has acknowledged: none is at that address.
var ErrNoAnswer = errors.New("no answer from the device, check address and wiring")

// ParseI2CAddress returns the 7-bit address that s says: "0x" and two hexadecimal digits, "0x08" to "0x77". Nothing else is understood:
// data sheets and i2cdetect write addresses so, 76 without "0x" may mean either, and YAML reads 010 as 8.
func ParseI2CAddress(s string) (uint16, error) {
	digits, ok := strings.CutPrefix(s, "0x")
	n, err := strconv.ParseUint(digits, 16, 8)
	switch {
	case !ok || len(digits) != 2 || err != nil:
		return 0, errors.New(`want 0x and two hexadecimal digits in quotes, for instance "0x76"`)
	case n < FirstI2C || n > LastI2C:
		return 0, fmt.Errorf("0x%02x is no device's: want 0x%02x to 0x%02x; of an 8-bit address with its read/write bit take half", n, FirstI2C, LastI2C)
	}
	return uint16(n), nil
}

// CheckI2CAddress returns what is wrong with the setting `address`, whose value s has to be one of the addresses in can; none = any.
func CheckI2CAddress(s string, can ...uint16) []FieldError {
	n, err := ParseI2CAddress(s)
	switch {
	case err != nil:
		return []FieldError{{Field: "address", Got: strconv.Quote(s), Problem: "is no I2C address", Hint: err.Error()}}
	case len(can) > 0 && !slices.Contains(can, n):
		var list []string
		for _, a := range can {
			list = append(list, fmt.Sprintf("0x%02x", a))
		}
		return []FieldError{{
			Field: "address", Got: strconv.Quote(s), Problem: "is none that the part can have", Hint: "one of " + strings.Join(list, ", "),
		}}
	}
	return nil
}

// maxI2CFailures is how many Reads in a row may fail on the bus before it has to be opened anew: an adapter that was removed stays
// in the kernel for as long as a handle on it is open, and answers nothing any more.
const maxI2CFailures = 3

// An I2CPart is one part on an I2C bus, as its driver uses it. It is not safe for concurrent use.
type I2CPart struct {
	bus      i2c.Bus
	addr     uint16
	isReady  bool // set up
	isClosed bool
	broke    bool // a transfer of this Do failed
	failures int  // Dos in a row in which a transfer failed
}

// OpenI2C returns the part at address on the bus with that name, which is used until ctx is done; see Host.I2C. It moves no bytes: the
// part need not be there yet.
func OpenI2C(ctx context.Context, h Host, bus, address string) (*I2CPart, error) {
	addr, err := ParseI2CAddress(address)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", address, err)
	}
	b, err := h.I2C(ctx, bus)
	if err != nil {
		return nil, err
	}
	return &I2CPart{bus: b, addr: addr}, nil
}

// Do is one Read of the part: it calls read, and before the first one, and again after each error, setUp, which is to make sure that
// the right part is there and set it up. Both get ctx to hand on to Tx and Wait.
//
// When ctx is done the error wraps its. When a transfer failed in three Dos in a row, the error wraps ErrGone: the bus is to be opened
// anew.
func (p *I2CPart) Do(ctx context.Context, setUp, read func(ctx context.Context) error) error {
	if p.isClosed {
		return fmt.Errorf("%s: closed", p)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	p.broke = false
	var err error
	if !p.isReady {
		err = setUp(ctx)
	}
	if err == nil {
		err = read(ctx)
	}
	p.isReady = err == nil
	switch {
	case err != nil && ctx.Err() != nil: // says nothing of the bus
	case err != nil && p.broke:
		p.failures++
	default:
		p.failures = 0
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && !errors.Is(err, ctx.Err()):
		return fmt.Errorf("%s: %w (%w)", p, ctx.Err(), err)
	case p.failures >= maxI2CFailures && !errors.Is(err, ErrGone):
		return lasting{fmt.Errorf("%s: %w", p, err)}
	}
	return fmt.Errorf("%s: %w", p, err)
}

// lasting is an error that came several times in a row, so that the bus is to be opened anew. Its text is that of the single error: a part
// that is absent is one fault that lasts, and not a new one with each try.
type lasting struct{ error }

// Unwrap returns ErrGone and the error itself.
func (l lasting) Unwrap() []error { return []error{ErrGone, l.error} }

// A ctxBus is an I2C bus whose transfers end with a ctx of their own, as those of the real Host do.
type ctxBus interface {
	TxContext(ctx context.Context, addr uint16, w, r []byte) error
}

// Tx writes w, if it has bytes, and then reads len(r) bytes, in one transfer with a repeated start. An error leaves r as it may be.
func (p *I2CPart) Tx(ctx context.Context, w, r []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	var err error
	if b, ok := p.bus.(ctxBus); ok {
		err = b.TxContext(ctx, p.addr, w, r)
	} else {
		err = p.bus.Tx(p.addr, w, r)
	}
	if err != nil {
		p.broke = true
	}
	return err
}

// Get returns n bytes from register on.
func (p *I2CPart) Get(ctx context.Context, register byte, n int) ([]byte, error) {
	b := make([]byte, n)
	if err := p.Tx(ctx, []byte{register}, b); err != nil {
		return nil, fmt.Errorf("read register 0x%02x: %w", register, err)
	}
	return b, nil
}

// Put writes b into register.
func (p *I2CPart) Put(ctx context.Context, register byte, b ...byte) error {
	if err := p.Tx(ctx, append([]byte{register}, b...), nil); err != nil {
		return fmt.Errorf("write register 0x%02x: %w", register, err)
	}
	return nil
}

// Wait waits for d, or until ctx is done.
func (p *I2CPart) Wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends the use of the part: Do returns errors from now on. The bus is the Host's.
func (p *I2CPart) Close() error {
	p.isClosed = true
	return nil
}

// String names the part for errors, for instance "0x76 on I2C1".
func (p *I2CPart) String() string { return fmt.Sprintf("0x%02x on %s", p.addr, p.bus) }
