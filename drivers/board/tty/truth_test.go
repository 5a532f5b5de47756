package tty

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/drivers"
)

func serial(baud int, bits int, parity, stop string) drivers.Serial {
	return drivers.Serial{Port: "/dev/ttyS0", Baud: baud, DataBits: bits, Parity: parity, StopBits: stop, Direction: "rts", Echo: true}
}

// TestVerifySpeed puts the terminal to one speed and asks for others.
func TestVerifySpeed(t *testing.T) {
	term := terminal(t)
	for _, tt := range []struct {
		made, asked int
		want        string
	}{
		{9600, 9600, "<nil>"},
		{31250, 31250, "<nil>"},
		{115384, 115200, "<nil>"}, // 48 MHz / 416
		{9795, 9600, "<nil>"},
		{9796, 9600, "the port cannot do 9600 7E2: its driver made 9796 7E2 of it; set that, or use another port"},
		{9412, 9600, "<nil>"},
		{9411, 9600, "the port cannot do 9600 7E2: its driver made 9411 7E2 of it; set that, or use another port"},
		{0, 9600, "the port cannot do 9600 7E2: its driver made 0 7E2 of it; set that, or use another port"},
		{9600, 250000, "the port cannot do 250000 7E2: its driver made 9600 7E2 of it; set that, or use another port"},
	} {
		err := term(func(fd int) error {
			tio, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
			if err != nil {
				return err
			}
			tio.Cflag = tio.Cflag&^unix.CBAUD | unix.BOTHER
			tio.Ispeed, tio.Ospeed = uint32(tt.made), uint32(tt.made)
			return unix.IoctlSetTermios(fd, unix.TCSETS2, tio)
		})
		if err != nil {
			t.Fatal(err)
		}
		err = term(func(fd int) error { return Verify(fd, serial(tt.asked, 7, "even", "2"), true) })
		if fmt.Sprint(err) != tt.want {
			t.Errorf("%d made of %d: got %v, want %s", tt.made, tt.asked, err, tt.want)
		}
	}
}

// TestVerifyFrame asks a pseudo-terminal for frames: it makes 8N of all.
func TestVerifyFrame(t *testing.T) {
	term := terminal(t)
	for want, c := range map[string]drivers.Serial{
		"<nil>": serial(38400, 8, "none", "1"),
		"the port cannot do 38400 8E1: its driver made 38400 8N1 of it; set that, or use another port": serial(38400, 8, "even", "1"),
		"the port cannot do 38400 7N1: its driver made 38400 8N1 of it; set that, or use another port": serial(38400, 7, "none", "1"),
		"the port cannot do 38400 8N2: its driver made 38400 8N1 of it; set that, or use another port": serial(38400, 8, "none", "2"),
	} {
		if err := term(func(fd int) error { return Verify(fd, c, false) }); fmt.Sprint(err) != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestFrame(t *testing.T) {
	for want, flags := range map[string]uint32{
		"8 none 1":  unix.CS8,
		"7 even 2":  unix.CS7 | unix.PARENB | unix.CSTOPB,
		"5 odd 1":   unix.CS5 | unix.PARENB | unix.PARODD,
		"6 space 1": unix.CS6 | unix.PARENB | unix.CMSPAR,
		"8 mark 1":  unix.CS8 | unix.PARENB | unix.PARODD | unix.CMSPAR,
		"8 none 2":  unix.CS8 | unix.PARODD | unix.CSTOPB | unix.B9600 | unix.CLOCAL,
	} {
		bits, parity, stop := frame(flags)
		if got := fmt.Sprint(bits, " ", parity, " ", stop); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestChar(t *testing.T) {
	for _, tt := range []struct {
		c    drivers.Serial
		bits int
	}{
		{serial(1000, 8, "none", "1"), 10},
		{serial(1000, 8, "even", "1"), 11},
		{serial(1000, 8, "none", "2"), 11},
		{serial(1000, 8, "mark", "2"), 12},
		{serial(1000, 5, "none", "1"), 7},
	} {
		if got := Char(tt.c); got != time.Duration(tt.bits)*time.Millisecond {
			t.Errorf("%s: %v, want %d bits of a millisecond", tt.c.Settings(), got, tt.bits)
		}
	}
}

// TestHurryHarmsNothing: a pseudo-terminal knows no serial_struct.
func TestHurryHarmsNothing(t *testing.T) {
	term := terminal(t)
	Hurry(term)
	if err := term(func(fd int) error { return Verify(fd, serial(38400, 8, "none", "1"), false) }); err != nil {
		t.Error(err)
	}
}

func TestLatency(t *testing.T) {
	sys := t.TempDir()
	for _, tt := range []struct {
		minor uint32
		text  string
		want  time.Duration
	}{{0, "16\n", 16 * time.Millisecond}, {1, "1\n", time.Millisecond}, {2, "soon\n", 0}, {3, "-1\n", 0}, {4, "", 0}} {
		dir := filepath.Join(sys, "dev", "char", fmt.Sprintf("188:%d", tt.minor), "device")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "latency_timer"), []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := Latency(sys, unix.Mkdev(188, tt.minor)); got != tt.want {
			t.Errorf("%q: got %v, want %v", tt.text, got, tt.want)
		}
	}
	if got := Latency(sys, unix.Mkdev(4, 64)); got != 0 {
		t.Errorf("no FTDI part: got %v", got)
	}
}

func TestLastingName(t *testing.T) {
	top := t.TempDir()
	dev := filepath.Join(top, "serial")
	link := func(target, by, name string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dev, by), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join("..", "..", target), filepath.Join(dev, by, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"ttyUSB0", "ttyUSB1", "ttyACM0", "ttyUSB2", "ttyAMA0", "gps"} {
		if err := os.WriteFile(filepath.Join(top, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link("ttyUSB9", "by-id", "usb-FTDI_unplugged-port0") // leads nowhere
	link("ttyUSB1", "by-id", "usb-FTDI_B-port0")
	link("ttyUSB0", "by-id", "usb-FTDI_A-port0")
	link("ttyACM0", "by-path", "platform-usb-0:1.2:1.0")
	link("ttyUSB0", "by-path", "platform-usb-0:1.1:1.0-port0")
	link("ttyAMA0", "by-id", "of-the-board")
	for name, want := range map[string]string{
		"ttyUSB0": "by-id/usb-FTDI_A-port0",
		"ttyUSB1": "by-id/usb-FTDI_B-port0",
		"ttyACM0": "by-path/platform-usb-0:1.2:1.0",
		"ttyUSB2": "", // udev knows no name
		"ttyAMA0": "", // of the board: it stays where it is
		"gps":     "", // somebody's own name
	} {
		if want != "" {
			want = filepath.Join(dev, want)
		}
		if got := LastingName(dev, filepath.Join(top, name)); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if got := LastingName(dev, filepath.Join(dev, "by-id", "usb-FTDI_A-port0")); got != "" {
		t.Errorf("a lasting name: got %q", got)
	}
	if got := LastingName(filepath.Join(top, "none"), filepath.Join(top, "ttyUSB0")); got != "" {
		t.Errorf("no /dev/serial: got %q", got)
	}
}
