package modbus

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"testing"
	"time"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/onewire"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/modbus/slave"
)

// half is one direction of a line: bytes wait in it without limit, as in a kernel's buffer.
type half struct {
	mu     sync.Mutex
	b      []byte
	closed bool
	wake   chan struct{}
}

func newHalf() *half { return &half{wake: make(chan struct{})} }

func (h *half) change(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	close(h.wake)
	h.wake = make(chan struct{})
}

// end is one end of a line. It is a drivers.Port.
type end struct {
	in, out *half
	mu      sync.Mutex
	read    time.Time
	write   time.Time
}

// newLine returns both ends of a line.
func newLine() (near, far *end) {
	a, b := newHalf(), newHalf()
	return &end{in: a, out: b}, &end{in: b, out: a}
}

func (e *end) Read(b []byte) (int, error) {
	for {
		e.mu.Lock()
		deadline := e.read
		e.mu.Unlock()
		if !deadline.IsZero() && !time.Now().Before(deadline) {
			return 0, os.ErrDeadlineExceeded
		}
		e.in.mu.Lock()
		n, closed, wake := copy(b, e.in.b), e.in.closed, e.in.wake
		e.in.b = e.in.b[n:]
		e.in.mu.Unlock()
		if n > 0 {
			return n, nil
		}
		if closed {
			return 0, io.EOF
		}
		var late <-chan time.Time
		if !deadline.IsZero() {
			t := time.NewTimer(time.Until(deadline))
			defer t.Stop()
			late = t.C
		}
		select {
		case <-wake:
		case <-late:
		}
	}
}

func (e *end) Write(b []byte) (int, error) {
	e.mu.Lock()
	deadline := e.write
	e.mu.Unlock()
	if !deadline.IsZero() && !time.Now().Before(deadline) {
		return 0, os.ErrDeadlineExceeded
	}
	closed := false
	e.out.change(func() {
		if closed = e.out.closed; !closed {
			e.out.b = append(e.out.b, b...)
		}
	})
	if closed {
		return 0, io.ErrClosedPipe
	}
	return len(b), nil
}

func (e *end) Close() error {
	e.in.change(func() { e.in.closed = true })
	e.out.change(func() { e.out.closed = true })
	return nil
}

func (e *end) SetReadDeadline(t time.Time) error {
	e.mu.Lock()
	e.read = t
	e.mu.Unlock()
	e.in.change(func() {})
	return nil
}

func (e *end) SetWriteDeadline(t time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.write = t
	return nil
}

var errNotHere = errors.New("not on this host")

// fakeHost has one serial line or connection, whatever it is called.
type fakeHost struct {
	open   func(ctx context.Context) (drivers.Port, error)
	bus    *drivers.Bus
	serial drivers.Serial // as last asked for
	dialed string
}

func (h *fakeHost) get(name string) *drivers.Bus {
	if h.bus == nil {
		h.bus = drivers.NewBus(name, h.open)
	}
	return h.bus
}

func (h *fakeHost) Serial(_ context.Context, c drivers.Serial) (*drivers.Bus, error) {
	h.serial = c
	return h.get(c.Port), nil
}

func (h *fakeHost) Dial(_ context.Context, _, address string) (*drivers.Bus, error) {
	h.dialed = address
	return h.get(address), nil
}
func (*fakeHost) I2C(context.Context, string) (i2c.Bus, error) { return nil, errNotHere }
func (*fakeHost) SPI(context.Context, string, physic.Frequency, spi.Mode) (spi.Conn, error) {
	return nil, errNotHere
}
func (*fakeHost) OneWire(context.Context, string) (onewire.Bus, error) { return nil, errNotHere }
func (*fakeHost) Pin(context.Context, string, drivers.PinConfig) (drivers.Pin, error) {
	return nil, errNotHere
}
func (*fakeHost) Memory(context.Context) drivers.Memory { return nil }
func (*fakeHost) Files() fs.FS                          { return nil }

// plug returns a host on whose line or connections s answers, and a count of how often it was opened.
func plug(t *testing.T, s *slave.Slave, onTCP bool) (h *fakeHost, opened *int) {
	t.Helper()
	opened = new(int)
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	h = &fakeHost{open: func(context.Context) (drivers.Port, error) {
		*opened++
		near, far := newLine()
		wg.Go(func() {
			serve := func() error { return s.ServeRTU(ctx, far) }
			if onTCP {
				serve = func() error { return s.ServeTCP(ctx, far) }
			}
			if err := serve(); err != nil && !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("slave: %v", err)
			}
		})
		return near, nil
	}}
	t.Cleanup(func() {
		cancel()
		if h.bus != nil {
			if err := h.bus.Close(); err != nil {
				t.Error(err)
			}
		}
		wg.Wait()
	})
	return h, opened
}

const (
	rtuAddress = "rtu:///dev/ttyX?baud=19200"
	tcpAddress = "tcp://meter:502"
)

// addressOf returns a configuration's address on either framing.
func addressOf(onTCP bool) string {
	if onTCP {
		return tcpAddress
	}
	return rtuAddress
}

// config returns a configuration of unit 3 with registers.
func config(onTCP bool, registers ...Register) *Config {
	c := Driver.New().(*Config)
	c.Address, c.Unit, c.Registers = addressOf(onTCP), 3, registers
	return c
}

// openDevice opens c, which must be right.
func openDevice(t *testing.T, c *Config, h drivers.Host) drivers.Device {
	t.Helper()
	for _, e := range c.Validate() {
		t.Fatal(e)
	}
	d, err := c.Open(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// show puts readings on one line: "a=1 b=fault:why".
func show(rs []tidegate.Reading) string {
	s := ""
	for i, r := range rs {
		if i > 0 {
			s += " "
		}
		s += r.Channel + "="
		if r.Fault != "" {
			s += "!" + r.Fault
		} else {
			s += r.Value.String()
		}
	}
	return s
}

// echoAddress answers each register with its address.
func echoAddress(q slave.Request, out []uint16) slave.Exception {
	for i := range out {
		out[i] = q.Address + uint16(i)
	}
	return slave.NoException
}
