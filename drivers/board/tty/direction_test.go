package tty

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/board/pty"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
)

// terminal opens the port of a pseudo-terminal, which has neither modem lines nor a line status.
func terminal(t *testing.T) Terminal {
	t.Helper()
	p, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(p.Path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close(); _ = p.Close() })
	return func(do func(fd int) error) error { return do(int(f.Fd())) }
}

// TestStructsAreTheKernels has the sizes that linux/serial.h gives.
func TestStructsAreTheKernels(t *testing.T) {
	var s settings
	size := map[uintptr]uintptr{8: 72, 4: 60}[unsafe.Sizeof(uintptr(0))]
	if unsafe.Sizeof(s) != size || unsafe.Offsetof(s.flags) != 16 || unsafe.Sizeof(rs485{}) != 32 {
		t.Errorf("serial_struct is %d bytes with flags at %d, want %d and 16; serial_rs485 is %d bytes, want 32",
			unsafe.Sizeof(s), unsafe.Offsetof(s.flags), size, unsafe.Sizeof(rs485{}))
	}
}

func TestKernelMode(t *testing.T) {
	const refusal = "rs485=kernel: the port's driver cannot turn a transceiver: inappropriate ioctl for device; " +
		"an adapter that switches by itself needs no rs485; else a line of the board may do it: rs485=GPIO17, or rs485=rts"
	keep := func(m rs485) (rs485, error) { return m, nil }
	tests := map[string]struct {
		before  rs485
		hasEcho bool
		set     func(m rs485) (rs485, error) // what the driver makes of it
		want    string
	}{
		"fresh":              {rs485{}, false, keep, "{flags:3 delayBefore:0 delayAfter:0 rest:[0 0 0 0 0]}"},
		"with echo":          {rs485{}, true, keep, "{flags:19 delayBefore:0 delayAfter:0 rest:[0 0 0 0 0]}"},
		"echo of before off": {rs485{flags: rs485Enabled | rs485RTSOnSend | rs485RxDuringTx}, false, keep, "{flags:3 delayBefore:0 delayAfter:0 rest:[0 0 0 0 0]}"},
		"device tree: active low, delays, termination": {
			rs485{flags: rs485RTSAfterSend | 1<<5, delayBefore: 1, delayAfter: 2, rest: [5]uint32{7}},
			false, keep,
			"{flags:37 delayBefore:1 delayAfter:2 rest:[7 0 0 0 0]}",
		},
		"driver without":            {rs485{}, false, func(m rs485) (rs485, error) { return m, unix.ENOTTY }, refusal},
		"driver drops the delay":    {rs485{delayAfter: 5}, false, func(m rs485) (rs485, error) { m.delayAfter = 0; return m, nil }, "{flags:3 delayBefore:0 delayAfter:0 rest:[0 0 0 0 0]}"},
		"driver cannot hear itself": {rs485{}, true, func(m rs485) (rs485, error) { m.flags &^= rs485RxDuringTx; return m, nil }, "{flags:3 delayBefore:0 delayAfter:0 rest:[0 0 0 0 0]}"},
		"driver names no polarity":  {rs485{}, false, func(m rs485) (rs485, error) { m.flags = rs485Enabled; return m, nil }, "{flags:1 delayBefore:0 delayAfter:0 rest:[0 0 0 0 0]}"},
		"driver drops it all": {
			rs485{},
			false, func(rs485) (rs485, error) { return rs485{}, nil },
			"rs485=kernel: the port's driver made 0x00 of the flags 0x03; an adapter that switches by itself needs no rs485; " +
				"else a line of the board may do it: rs485=GPIO17",
		},
		"driver turns the polarity": {
			rs485{},
			false, func(m rs485) (rs485, error) { m.flags ^= rs485RTSOnSend | rs485RTSAfterSend; return m, nil },
			"rs485=kernel: the port's driver made 0x05 of the flags 0x03; an adapter that switches by itself needs no rs485; " +
				"else a line of the board may do it: rs485=GPIO17",
		},
		"unplugged": {rs485{}, false, func(m rs485) (rs485, error) { return m, unix.EIO }, "rs485=kernel: input/output error"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			now := tt.before
			k := kernelMode{
				get: func() (rs485, error) { return now, nil },
				set: func(m rs485) (err error) { now, err = tt.set(m); return err },
			}
			got := fmt.Sprint(k.enable(tt.hasEcho))
			if got == "<nil>" {
				got = fmt.Sprintf("%+v", now)
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestTwoThatTurnOneTransceiver(t *testing.T) {
	k := kernelMode{get: func() (rs485, error) { return rs485{flags: rs485Enabled}, nil }}
	const want = "rs485=rts: the port's driver turns the transceiver already, by the device tree or an earlier setting; set rs485=kernel, or leave it out"
	if err := k.refuse("rts"); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	k.get = func() (rs485, error) { return rs485{flags: rs485RTSOnSend}, nil }
	if err := k.refuse("rts"); err != nil {
		t.Errorf("not enabled: %v", err)
	}
	k.get = func() (rs485, error) { return rs485{}, unix.ENOTTY }
	if err := k.refuse("rts"); err != nil {
		t.Errorf("a driver without: %v", err)
	}
}

// TestPortWithoutWhatTurns: a pseudo-terminal refuses both ways as a USB adapter without RTS or a plain UART does, with the kernel's own
// error.
func TestPortWithoutWhatTurns(t *testing.T) {
	term := terminal(t)
	if err := Kernel(term, false); !errors.Is(err, unix.ENOTTY) || !strings.HasPrefix(err.Error(), "rs485=kernel: the port's driver cannot turn a transceiver: ") {
		t.Errorf("kernel: %v", err)
	}
	for name, isLow := range map[string]bool{"rts": false, "rts-low": true} {
		_, err := RTS(term, isLow)
		if !errors.Is(err, unix.ENOTTY) && !errors.Is(err, unix.EINVAL) || !strings.HasPrefix(err.Error(), "rs485="+name+": the port has no line RTS: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLevelOfRTS(t *testing.T) {
	for _, tt := range []struct {
		isLow, on bool
		want      uint
	}{{false, true, unix.TIOCMBIS}, {false, false, unix.TIOCMBIC}, {true, true, unix.TIOCMBIC}, {true, false, unix.TIOCMBIS}} {
		if got := (rts{isLow: tt.isLow}).request(tt.on); got != tt.want {
			t.Errorf("low while sending %v, sending %v: got 0x%x, want 0x%x", tt.isLow, tt.on, got, tt.want)
		}
	}
}

// TestLetGo: nothing but HUPCL is changed, an odd speed neither.
func TestLetGo(t *testing.T) {
	term := terminal(t)
	flags := func() (c uint32, speed uint32) {
		t.Helper()
		if err := term(func(fd int) error {
			tio, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
			if err == nil {
				c, speed = tio.Cflag, tio.Ospeed
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return c, speed
	}
	if err := term(func(fd int) error {
		tio, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
		if err != nil {
			return err
		}
		tio.Cflag = tio.Cflag&^unix.CBAUD | unix.BOTHER | unix.HUPCL
		tio.Ispeed, tio.Ospeed = 31250, 31250
		return unix.IoctlSetTermios(fd, unix.TCSETS2, tio)
	}); err != nil {
		t.Fatal(err)
	}
	before, _ := flags()
	if before&unix.HUPCL == 0 {
		t.Fatal("a terminal keeps no HUPCL")
	}
	for _, does := range []bool{false, true} {
		if err := term(func(fd int) error { return letGo(fd, does) }); err != nil {
			t.Fatal(err)
		}
		want := before &^ unix.HUPCL
		if does {
			want = before
		}
		if after, speed := flags(); after != want || speed != 31250 {
			t.Errorf("lets go %v: control flags 0%o, want 0%o; speed %d, want 31250", does, after, want, speed)
		}
	}
}

func TestPinTurns(t *testing.T) {
	term := terminal(t)
	h := &drivertest.Host{Pins: map[string]*drivertest.Pin{"GPIO17": {}}}
	line, err := h.Pin(t.Context(), "GPIO17", drivers.PinConfig{Output: true, Initial: true})
	if err != nil {
		t.Fatal(err)
	}
	s, err := Pin(term, line, "GPIO17")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Send(true), s.Send(false), s.Close()); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(h.Pins["GPIO17"].Sets()); got != "[false true false]" {
		t.Errorf("levels %s, want receiving at first, then sending and receiving", got)
	}
	if err := line.Set(true); !errors.Is(err, drivers.ErrGone) {
		t.Errorf("the line was not given back: %v", err)
	}
	_, err = Pin(term, line, "GPIO17")
	if want := "rs485=GPIO17: turn the transceiver to receiving: pin: closed: gone"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestOutletOfAPseudoTerminal: nothing waits there, and it cannot tell more, as a USB adapter without a line status.
func TestOutletOfAPseudoTerminal(t *testing.T) {
	if isSent, err := (outlet{terminal(t)}).Sent(); isSent || !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v, %v, want unsupported", isSent, err)
	}
	closed := outlet{func(func(int) error) error { return os.ErrClosed }}
	if _, err := closed.Sent(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}
