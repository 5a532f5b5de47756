package board

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"periph.io/x/conn/v3"
	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/i2c/i2creg"
	"periph.io/x/conn/v3/onewire"
	"periph.io/x/conn/v3/onewire/onewirereg"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"
	"periph.io/x/conn/v3/spi/spireg"
	"periph.io/x/host/v3"

	"github.com/tidegate-io/tidegate/drivers"
)

// initPeriph looks for buses once, at the first use of one: that takes a few milliseconds, which a gateway of serial devices need
// not spend. What it reports says nothing: without any hardware it succeeds, and on boards that work well some of its parts fail.
// What counts is whether the bus asked for is there.
func (h *Host) initPeriph() error {
	h.periphOnce.Do(func() {
		state, err := host.Init()
		if err != nil {
			h.periphErr = fmt.Errorf("look for buses: %w", err)
			return
		}
		for _, f := range state.Failed {
			h.log.Debug("part of the board not set up", "part", f.D.String(), "error", f.Err)
		}
	})
	return h.periphErr
}

// piConfig is where a Raspberry Pi's buses are switched on (Raspberry Pi OS 12; /boot/config.txt before).
const piConfig = "/boot/firmware/config.txt and reboot"

// explainBus returns the error for a bus that could not be opened: what is missing and how to switch it on.
func explainBus(kind, name string, there []string, err error, group, overlay string) error {
	what := kind + " bus"
	if name != "" {
		what += " " + name
	}
	if strings.Contains(err.Error(), "permission denied") {
		return fmt.Errorf("open %s: %w; put the gateway's user into the group: sudo usermod -aG %s USER", what, err, group)
	}
	if strings.Contains(err.Error(), "operation not permitted") {
		return fmt.Errorf("open %s: %w; %s", what, err, drivers.HintSandbox)
	}
	if text, ok := strings.CutSuffix(err.Error(), "; did you forget to call Init()?"); ok { // periph's word to programmers
		err = errors.New(text)
	}
	if len(there) > 0 {
		return fmt.Errorf("open %s: %w; there is %s", what, err, strings.Join(there, ", "))
	}
	return fmt.Errorf("open %s: %w; this machine shows none: on a Raspberry Pi put %s into %s", what, err, overlay, piConfig)
}

// I2C returns the bus called bus, a number or periph's name; "" = the first.
func (h *Host) I2C(ctx context.Context, bus string) (i2c.Bus, error) {
	if err := h.initPeriph(); err != nil {
		return nil, fmt.Errorf("open I2C bus %s: %w", bus, err)
	}
	b, err := i2creg.Open(bus)
	if err != nil {
		var there []string
		for _, r := range i2creg.All() {
			if _, err := os.Stat(r.Name); err == nil || !strings.HasPrefix(r.Name, "/dev/") { // an adapter may have been removed since
				there = append(there, r.Name)
			}
		}
		return nil, explainBus("I2C", bus, there, err, "i2c", "dtparam=i2c_arm=on")
	}
	l, err := newLifeline(ctx, b.String(), b.Close)
	if err != nil {
		return nil, err
	}
	return &i2cBus{Bus: b, line: l}, nil
}

// OneWire returns the 1-Wire bus called bus; "" = the first.
func (h *Host) OneWire(ctx context.Context, bus string) (onewire.Bus, error) {
	if err := h.initPeriph(); err != nil {
		return nil, fmt.Errorf("open 1-Wire bus %s: %w", bus, err)
	}
	b, err := onewirereg.Open(bus)
	if err != nil {
		var there []string
		for _, r := range onewirereg.All() {
			there = append(there, r.Name)
		}
		return nil, explainBus("1-Wire", bus, there, err, "gpio", "dtoverlay=w1-gpio")
	}
	l, err := newLifeline(ctx, b.String(), b.Close)
	if err != nil {
		return nil, err
	}
	return &oneWireBus{bus: b, line: l}, nil
}

// SPI returns the port called port, clocked at most at f (of physic.Hertz), with 8 bits a word.
func (h *Host) SPI(ctx context.Context, port string, f physic.Frequency, mode spi.Mode) (spi.Conn, error) {
	if err := h.initPeriph(); err != nil {
		return nil, fmt.Errorf("open SPI port %s: %w", port, err)
	}
	p, err := spireg.Open(port)
	if err != nil {
		var there []string
		for _, r := range spireg.All() {
			there = append(there, r.Name)
		}
		return nil, explainBus("SPI", port, there, err, "spi", "dtparam=spi=on")
	}
	l, err := newLifeline(ctx, p.String(), p.Close)
	if err != nil {
		return nil, err
	}
	c, err := p.Connect(f, mode, 8)
	if err != nil {
		return nil, fmt.Errorf("set up SPI port %s: %w", port, err)
	}
	return &spiConn{conn: c, line: l}, nil
}

// maxCall is how long one transfer on a bus may take, so that a stuck bus blocks its device for less than a second. The kernel's adapters
// give up after a second (i2c-core, adapter timeout); no good part takes that long.
const maxCall = 900 * time.Millisecond

// A lifeline makes calls into the kernel that know neither deadline nor ctx end within maxCall or with the device's ctx or the call's,
// and closes the bus when that is done. A call given up goes on in the background until the kernel lets go of it; until then every
// further call fails at once or after maxCall.
type lifeline struct {
	name string
	done <-chan struct{} // of the device's ctx
	turn chan struct{}   // holds one token: one call at a time, and none while or after closing
}

// errPanic is wrapped by the error of a call that panicked: in a goroutine of ours it would end the gateway.
var errPanic = errors.New("the driver of the bus panicked")

// newLifeline returns the lifeline of what is open under name; shut closes it.
func newLifeline(ctx context.Context, name string, shut func() error) (*lifeline, error) {
	l := &lifeline{name: name, done: ctx.Done(), turn: make(chan struct{}, 1)}
	l.turn <- struct{}{}
	if err := ctx.Err(); err != nil {
		if errShut := shut(); errShut != nil {
			return nil, fmt.Errorf("open %s: %w (close: %w)", name, err, errShut)
		}
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	context.AfterFunc(ctx, func() {
		<-l.turn // for good
		_ = shut()
	})
	return l, nil
}

// call runs f, which must only touch memory of its own, and returns its error.
func (l *lifeline) call(f func() error) error { return l.callContext(context.Background(), f) }

// callContext is call for a caller that waits no longer than ctx.
func (l *lifeline) callContext(ctx context.Context, f func() error) error {
	giveUp := time.NewTimer(maxCall)
	defer giveUp.Stop()
	select {
	case <-l.done:
		return l.closed()
	default:
	}
	select {
	case <-l.done:
		return l.closed()
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", l.name, ctx.Err())
	case <-giveUp.C:
		return l.stuck()
	case <-l.turn:
	}
	result := make(chan error, 1)
	go func() {
		err := errPanic
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("%w: %v", errPanic, p)
			}
			l.turn <- struct{}{}
			result <- err
		}()
		err = f()
	}()
	select {
	case <-l.done:
		return l.closed()
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", l.name, ctx.Err())
	case <-giveUp.C:
		return l.stuck()
	case err := <-result:
		return l.explain(err)
	}
}

func (l *lifeline) closed() error {
	return fmt.Errorf("%s: closed: %w", l.name, drivers.ErrGone)
}

func (l *lifeline) stuck() error {
	return fmt.Errorf("%s: no end of transfer within %v, a line is stuck low or the adapter hangs: %w", l.name, maxCall, drivers.ErrGone)
}

// explain makes of periph's errors, which wrap nothing, ones that say what to do. The texts are those of syscall.Errno.
func (l *lifeline) explain(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "no such device or address"), strings.Contains(text, "remote I/O error"):
		return fmt.Errorf("%s: %w: %w", l.name, drivers.ErrNoAnswer, err)
	case strings.Contains(text, "input/output error"):
		return fmt.Errorf("%s: the transfer broke off, the device let go of the bus or something disturbs it: %w", l.name, err)
	case strings.Contains(text, "resource temporarily unavailable"):
		return fmt.Errorf("%s: another master was faster, or a line is stuck low: %w", l.name, err)
	case strings.Contains(text, "connection timed out"):
		return fmt.Errorf("%s: a line is stuck low or the adapter was removed: %w (%w)", l.name, err, drivers.ErrGone)
	case strings.Contains(text, "no such device"), strings.Contains(text, "bad file descriptor"), strings.Contains(text, "file already closed"):
		return fmt.Errorf("%s: the adapter was removed: %w (%w)", l.name, err, drivers.ErrGone)
	}
	return fmt.Errorf("%s: %w", l.name, err)
}

// transfer is transferContext for a caller without a ctx.
func transfer(l *lifeline, w, r []byte, tx func(w, r []byte) error) error {
	return transferContext(context.Background(), l, w, r, tx)
}

// transferContext calls tx through l with copies of w and r, so that a transfer given up does not write into memory of the caller's.
func transferContext(ctx context.Context, l *lifeline, w, r []byte, tx func(w, r []byte) error) error {
	out, in := append([]byte(nil), w...), make([]byte, len(r))
	if len(r) == 0 {
		in = nil
	}
	if err := l.callContext(ctx, func() error { return tx(out, in) }); err != nil {
		return err
	}
	copy(r, in)
	return nil
}

// An i2cBus is an I2C bus that dies with its device.
type i2cBus struct {
	i2c.Bus
	line *lifeline
}

func (b *i2cBus) Tx(addr uint16, w, r []byte) error {
	return transfer(b.line, w, r, func(w, r []byte) error { return b.Bus.Tx(addr, w, r) })
}

// TxContext is Tx that waits no longer than ctx; drivers.I2CPart calls it.
func (b *i2cBus) TxContext(ctx context.Context, addr uint16, w, r []byte) error {
	return transferContext(ctx, b.line, w, r, func(w, r []byte) error { return b.Bus.Tx(addr, w, r) })
}

// A oneWireBus is a 1-Wire bus that dies with its device.
type oneWireBus struct {
	bus  onewire.Bus
	line *lifeline
}

func (b *oneWireBus) String() string { return b.bus.String() }

func (b *oneWireBus) Tx(w, r []byte, power onewire.Pullup) error {
	return transfer(b.line, w, r, func(w, r []byte) error { return b.bus.Tx(w, r, power) })
}

func (b *oneWireBus) Search(alarmOnly bool) ([]onewire.Address, error) {
	found := make(chan []onewire.Address, 1)
	err := b.line.call(func() error {
		a, err := b.bus.Search(alarmOnly)
		found <- a
		return err
	})
	select {
	case a := <-found: // what was found before an error is returned with it
		return a, err
	default:
		return nil, err
	}
}

// An spiConn is a connection to an SPI device that dies with it.
type spiConn struct {
	conn spi.Conn
	line *lifeline
}

func (c *spiConn) String() string { return c.conn.String() }

func (c *spiConn) Duplex() conn.Duplex { return c.conn.Duplex() }

func (c *spiConn) Tx(w, r []byte) error { return transfer(c.line, w, r, c.conn.Tx) }

func (c *spiConn) TxPackets(p []spi.Packet) error {
	own := make([]spi.Packet, len(p))
	for i := range p {
		own[i] = p[i]
		own[i].W = append([]byte(nil), p[i].W...)
		own[i].R = make([]byte, len(p[i].R))
	}
	if err := c.line.call(func() error { return c.conn.TxPackets(own) }); err != nil {
		return err
	}
	for i := range p {
		copy(p[i].R, own[i].R)
	}
	return nil
}
