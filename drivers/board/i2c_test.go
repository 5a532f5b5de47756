package board

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/i2c/i2creg"
	"periph.io/x/conn/v3/physic"

	"github.com/tidegate-io/tidegate/drivers"
)

// wireBus is an I2C bus as the kernel shows it: transfers take hold, then answer err, or else 0x60 bytes.
type wireBus struct {
	name string

	mu     sync.Mutex
	hold   time.Duration // guarded by mu
	err    error         // guarded by mu
	closed int           // guarded by mu
}

func (b *wireBus) String() string                  { return b.name }
func (b *wireBus) SetSpeed(physic.Frequency) error { return nil }

func (b *wireBus) set(hold time.Duration, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hold, b.err = hold, err
}

func (b *wireBus) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed++
	return nil
}

func (b *wireBus) Tx(_ uint16, _, r []byte) error {
	b.mu.Lock()
	hold, err := b.hold, b.err
	b.mu.Unlock()
	time.Sleep(hold)
	for i := range r {
		r[i] = 0x60
	}
	return err
}

// wires runs f in a bubble with a Host that has the buses; read reads a part of one of them once, as a driver does.
func wires(t *testing.T, f func(t *testing.T, h *Host, read func(ctx context.Context, p *drivers.I2CPart) error), buses ...*wireBus) {
	t.Helper()
	h := New(nil)
	if err := h.initPeriph(); err != nil { // looks at the machine: not within the bubble
		t.Fatal(err)
	}
	for _, b := range buses {
		if err := i2creg.Register(b.name, nil, -1, func() (i2c.BusCloser, error) { return b, nil }); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = i2creg.Unregister(b.name) }()
	}
	read := func(ctx context.Context, p *drivers.I2CPart) error {
		return p.Do(ctx, func(context.Context) error { return nil }, func(ctx context.Context) error {
			b, err := p.Get(ctx, 0xd0, 1)
			if err == nil && b[0] != 0x60 {
				err = fmt.Errorf("got %x, want 60", b)
			}
			return err
		})
	}
	synctest.Test(t, func(t *testing.T) { f(t, h, read) })
}

func openWire(t *testing.T, ctx context.Context, h *Host, bus string) *drivers.I2CPart {
	t.Helper()
	p, err := drivers.OpenI2C(ctx, h, bus, "0x76")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestI2CStuckLow has one bus whose line is held low for a minute: its device gets an error within a second, one that says to open the bus
// anew, a device on another bus reads in no time meanwhile, a Read whose ctx ends sooner ends with it, and the handle is closed as soon as
// the kernel lets go of it.
func TestI2CStuckLow(t *testing.T) {
	stuck, good := &wireBus{name: "STUCK"}, &wireBus{name: "GOOD"}
	wires(t, func(t *testing.T, h *Host, read func(context.Context, *drivers.I2CPart) error) {
		ctx, cancel := context.WithCancel(t.Context())
		a, b := openWire(t, ctx, h, "STUCK"), openWire(t, t.Context(), h, "GOOD")
		if err := errors.Join(read(t.Context(), a), read(t.Context(), b)); err != nil {
			t.Fatal(err)
		}
		stuck.set(time.Minute, errors.New("sysfs-i2c: connection timed out"))
		start := time.Now()
		done := make(chan error)
		go func() { done <- read(t.Context(), a) }()
		for range 8 {
			time.Sleep(100 * time.Millisecond)
			before := time.Now()
			if err := read(t.Context(), b); err != nil || time.Since(before) != 0 {
				t.Errorf("the other bus: %v after %v", err, time.Since(before))
			}
		}
		err := <-done
		want := "0x76 on STUCK: read register 0xd0: STUCK: no end of transfer within 900ms, a line is stuck low or the adapter hangs: gone"
		if fmt.Sprint(err) != want || !errors.Is(err, drivers.ErrGone) || time.Since(start) != maxCall {
			t.Errorf("after %v got %v\nwant %s", time.Since(start), err, want)
		}
		short, stop := context.WithTimeout(t.Context(), 70*time.Millisecond)
		defer stop()
		start = time.Now()
		if err := read(short, a); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 70*time.Millisecond {
			t.Errorf("a Read of 70ms: %v after %v", err, time.Since(start))
		}
		cancel() // as the agent does after ErrGone
		time.Sleep(time.Minute)
		synctest.Wait()
		if stuck.closed != 1 {
			t.Errorf("closed %d times, want once", stuck.closed)
		}
		stuck.set(0, nil)
		if err := read(t.Context(), openWire(t, t.Context(), h, "STUCK")); err != nil {
			t.Errorf("opened anew: %v", err)
		}
	}, stuck, good)
}

// TestI2CClockStretch: a part that holds the clock for 800 ms is waited for, one that holds it for 1.1 s is not, and its late answer
// reaches nobody.
func TestI2CClockStretch(t *testing.T) {
	bus := &wireBus{name: "SLOW"}
	wires(t, func(t *testing.T, h *Host, read func(context.Context, *drivers.I2CPart) error) {
		p := openWire(t, t.Context(), h, "SLOW")
		for hold, isGood := range map[time.Duration]bool{800 * time.Millisecond: true, 1100 * time.Millisecond: false} {
			bus.set(hold, nil)
			start := time.Now()
			err := read(t.Context(), p)
			if took := time.Since(start); (err == nil) != isGood || took != min(hold, maxCall) {
				t.Errorf("held for %v: %v after %v", hold, err, took)
			}
			time.Sleep(time.Second)
		}
	}, bus)
}

// TestI2CNAK: what the kernel says of a part that does not answer, or that lets go in mid-transfer, reaches the technician with what to
// do; the third time in a row the handle is given up.
func TestI2CNAK(t *testing.T) {
	bus := &wireBus{name: "NAK"}
	wires(t, func(t *testing.T, h *Host, read func(context.Context, *drivers.I2CPart) error) {
		for text, want := range map[string]string{
			"no such device or address": "no answer from the device, check address and wiring",
			"input/output error":        "the transfer broke off, the device let go of the bus or something disturbs it",
		} {
			p := openWire(t, t.Context(), h, "NAK")
			bus.set(0, errors.New("sysfs-i2c: "+text))
			for i := range 3 {
				full := "0x76 on NAK: read register 0xd0: NAK: " + want + ": sysfs-i2c: " + text
				if err := read(t.Context(), p); fmt.Sprint(err) != full || errors.Is(err, drivers.ErrGone) != (i == 2) {
					t.Errorf("got  %v\nwant %s", err, full)
				} else if errors.Is(err, drivers.ErrNoAnswer) != (text == "no such device or address") {
					t.Errorf("%v: is ErrNoAnswer: %v", err, errors.Is(err, drivers.ErrNoAnswer))
				}
			}
			bus.set(0, nil)
			if err := read(t.Context(), p); err != nil {
				t.Errorf("there again: %v", err)
			}
		}
	}, bus)
}
