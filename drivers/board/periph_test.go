package board

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"periph.io/x/conn/v3/conntest"
	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/i2c/i2creg"
	"periph.io/x/conn/v3/i2c/i2ctest"
	"periph.io/x/conn/v3/onewire"
	"periph.io/x/conn/v3/onewire/onewirereg"
	"periph.io/x/conn/v3/onewire/onewiretest"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"
	"periph.io/x/conn/v3/spi/spireg"
	"periph.io/x/conn/v3/spi/spitest"

	"github.com/tidegate-io/tidegate/drivers"
)

// closing is an I2C bus that notes when it is closed.
type closing struct {
	i2ctest.Playback
	isClosed atomic.Bool
}

func (c *closing) Close() error { c.isClosed.Store(true); return nil }

func TestI2CReadsAndDiesWithItsDevice(t *testing.T) {
	h := New(nil)
	if err := h.initPeriph(); err != nil {
		t.Fatal(err)
	}
	fake := &closing{Playback: i2ctest.Playback{DontPanic: true, Ops: []i2ctest.IO{{Addr: 0x76, W: []byte{0xd0}, R: []byte{0x60}}}}}
	if err := i2creg.Register("TEST0", nil, -1, func() (i2c.BusCloser, error) { return fake, nil }); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = i2creg.Unregister("TEST0") }()
	ctx, cancel := context.WithCancel(t.Context())
	b, err := h.I2C(ctx, "TEST0")
	if err != nil {
		t.Fatal(err)
	}
	id := make([]byte, 1)
	if err := b.Tx(0x76, []byte{0xd0}, id); err != nil || id[0] != 0x60 {
		t.Fatalf("%x, %v", id, err)
	}
	cancel()
	for !fake.isClosed.Load() {
		time.Sleep(time.Millisecond)
	}
	if err := b.Tx(0x76, []byte{0xd0}, id); !errors.Is(err, drivers.ErrGone) {
		t.Fatalf("after ctx is done: %v, want ErrGone", err)
	}
	if _, err := h.I2C(ctx, "TEST0"); !errors.Is(err, context.Canceled) {
		t.Fatalf("ctx done before: %v", err)
	}
	_, err = h.I2C(t.Context(), "TEST9")
	if want := "there is TEST0"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Fatalf("got %v, want ...%s", err, want)
	}
}

func TestSPIAndOneWire(t *testing.T) {
	h := New(nil)
	if err := h.initPeriph(); err != nil {
		t.Fatal(err)
	}
	port := &spitest.Playback{Playback: conntest.Playback{DontPanic: true, Ops: []conntest.IO{{W: []byte{1, 2}, R: []byte{3, 4}}}}}
	if err := spireg.Register("TESTSPI", nil, -1, func() (spi.PortCloser, error) { return port, nil }); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = spireg.Unregister("TESTSPI") }()
	c, err := h.SPI(t.Context(), "TESTSPI", physic.MegaHertz, spi.Mode0)
	if err != nil {
		t.Fatal(err)
	}
	r := make([]byte, 2)
	if err := c.Tx([]byte{1, 2}, r); err != nil || !bytes.Equal(r, []byte{3, 4}) {
		t.Fatalf("% x, %v", r, err)
	}
	wire := &onewiretest.Playback{
		DontPanic: true, Ops: []onewiretest.IO{{W: []byte{0xcc}, R: []byte{7}}, {W: []byte{0xf0}}},
		Devices: []onewire.Address{0x9e06050403020128},
	}
	if err := onewirereg.Register("TESTW1", nil, -1, func() (onewire.BusCloser, error) { return wire, nil }); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = onewirereg.Unregister("TESTW1") }()
	w, err := h.OneWire(t.Context(), "TESTW1")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Tx([]byte{0xcc}, r[:1], onewire.WeakPullup); err != nil || r[0] != 7 {
		t.Fatalf("% x, %v", r, err)
	}
	if found, err := w.Search(false); len(found) != 1 || err != nil {
		t.Fatalf("%v, %v", found, err)
	}
}

func TestBusesThatAreNotThere(t *testing.T) {
	h := New(nil)
	_, errI2C := h.I2C(t.Context(), "NOBUS")
	_, errSPI := h.SPI(t.Context(), "NOBUS", physic.MegaHertz, spi.Mode0)
	_, errOneWire := h.OneWire(t.Context(), "NOBUS")
	for _, err := range []error{errI2C, errSPI, errOneWire} {
		if err == nil || !strings.Contains(err.Error(), "NOBUS") {
			t.Errorf("got %v", err)
		}
	}
}

func TestExplainBus(t *testing.T) {
	for want, got := range map[string]error{
		"open I2C bus 1: i2creg: no bus found; this machine shows none: on a Raspberry Pi put x into /boot/firmware/config.txt and reboot": explainBus("I2C", "1", nil,
			errors.New("i2creg: no bus found; did you forget to call Init()?"), "i2c", "x"),
		"open I2C bus: no bus; this machine shows none: on a Raspberry Pi put dtparam=i2c_arm=on into /boot/firmware/config.txt and reboot": explainBus("I2C", "", nil, errors.New("no bus"), "i2c", "dtparam=i2c_arm=on"),
		"open SPI bus X: no bus; there is SPI0.0, SPI0.1": explainBus("SPI", "X", []string{"SPI0.0", "SPI0.1"}, errors.New("no bus"), "spi", ""),
		"open I2C bus 1: open /dev/i2c-1: operation not permitted; " + drivers.HintSandbox: explainBus("I2C", "1", nil,
			errors.New("open /dev/i2c-1: operation not permitted"), "i2c", ""),
		"open I2C bus 1: open /dev/i2c-1: permission denied; put the gateway's user into the group: sudo usermod -aG i2c USER": explainBus("I2C", "1",
			[]string{"I2C1"}, errors.New("open /dev/i2c-1: permission denied"), "i2c", ""),
	} {
		if got.Error() != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestLifelineExplains(t *testing.T) {
	l, err := newLifeline(t.Context(), "I2C1", func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"sysfs-i2c: no such device or address":        "I2C1: no answer from the device, check address and wiring: sysfs-i2c: no such device or address",
		"sysfs-i2c: remote I/O error":                 "I2C1: no answer from the device, check address and wiring: sysfs-i2c: remote I/O error",
		"sysfs-i2c: connection timed out":             "I2C1: a line is stuck low or the adapter was removed: sysfs-i2c: connection timed out (gone)",
		"sysfs-i2c: input/output error":               "I2C1: the transfer broke off, the device let go of the bus or something disturbs it: sysfs-i2c: input/output error",
		"sysfs-i2c: resource temporarily unavailable": "I2C1: another master was faster, or a line is stuck low: sysfs-i2c: resource temporarily unavailable",
		"sysfs-i2c: no such device":                   "I2C1: the adapter was removed: sysfs-i2c: no such device (gone)",
		"other":                                       "I2C1: other",
	} {
		err := l.call(func() error { return errors.New(text) })
		if err == nil || err.Error() != want || errors.Is(err, drivers.ErrGone) != strings.HasSuffix(want, "(gone)") {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestStuckBusEndsWithinASecond has a transfer that the kernel does not let go of for a minute: the device's Read goes on within
// a second, further transfers fail as well, memory of the caller's stays untouched, and once the bus is free again it serves.
func TestStuckBusEndsWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var isShut atomic.Bool
		ctx, cancel := context.WithCancel(t.Context())
		l, err := newLifeline(ctx, "I2C1", func() error { isShut.Store(true); return nil })
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		r := make([]byte, 1)
		stuck := func(_, r []byte) error { time.Sleep(time.Minute); r[0] = 0xff; return nil }
		want := "I2C1: no end of transfer within 900ms, a line is stuck low or the adapter hangs: gone"
		for i := range 3 {
			if err := transfer(l, nil, r, stuck); fmt.Sprint(err) != want || time.Since(start) != time.Duration(i+1)*maxCall {
				t.Errorf("got %v after %v", err, time.Since(start))
			}
		}
		time.Sleep(time.Minute)
		if r[0] != 0 {
			t.Error("a transfer given up wrote into the caller's memory")
		}
		if err := transfer(l, nil, r, func(_, r []byte) error { r[0] = 7; return nil }); err != nil || r[0] != 7 {
			t.Errorf("got %v, %d", err, r[0])
		}
		// The end of ctx ends a transfer at once; the bus is closed when the kernel has let go of it.
		time.AfterFunc(100*time.Millisecond, cancel)
		start = time.Now()
		if err := transfer(l, nil, r, stuck); !errors.Is(err, drivers.ErrGone) || time.Since(start) != 100*time.Millisecond {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		synctest.Wait()
		if isShut.Load() {
			t.Error("closed under a transfer")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if !isShut.Load() {
			t.Error("not closed")
		}
	})
}

func TestFilesReadsProc(t *testing.T) {
	b, err := fs.ReadFile(New(nil).Files(), "proc/loadavg")
	if err != nil || len(strings.Fields(string(b))) != 5 {
		t.Fatalf("%q, %v", b, err)
	}
}

// TestPanicOfABus becomes an error of the call, and the next call is made.
func TestPanicOfABus(t *testing.T) {
	l, err := newLifeline(t.Context(), "I2C1", func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	err = l.call(func() error { panic("boom") })
	if want := "I2C1: the driver of the bus panicked: boom"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if err := l.call(func() error { return nil }); err != nil {
		t.Errorf("next call: %v", err)
	}
}
