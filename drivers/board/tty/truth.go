package tty

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/drivers"
)

// offMost is by how much the bit rate that the driver has made may differ from what was asked for: 2 %. Beyond, with as much at the other
// end, the last bits of a byte are lost.
const offMost = 50

// Verify compares the settings of the terminal behind fd with those that were asked for: a driver that cannot do them takes others and
// says nothing. Ports with no UART behind them, as a USB gadget's, keep what they have whatever is asked for. With rateOnly the frame is not looked at: pseudo-terminals have none.
func Verify(fd int, asked drivers.Serial, rateOnly bool) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
	if err != nil {
		return fmt.Errorf("read the settings back: %w", err)
	}
	made := drivers.Serial{Baud: int(t.Ospeed), DataBits: asked.DataBits, Parity: asked.Parity, StopBits: asked.StopBits}
	if !rateOnly {
		made.DataBits, made.Parity, made.StopBits = frame(t.Cflag)
	}
	asked.Direction, asked.Echo = "", false
	right := asked.Settings()
	off := max(made.Baud-asked.Baud, asked.Baud-made.Baud)
	asked.Baud = made.Baud
	if off*offMost > made.Baud || made.Settings() != asked.Settings() {
		return fmt.Errorf("the port cannot do %s: its driver made %s of it; set that, or use another port", right, made.Settings())
	}
	return nil
}

// frame returns what the control flags of termios(3) say of data bits, parity and stop bits.
func frame(flags uint32) (bits int, parity, stop string) {
	bits = map[uint32]int{unix.CS5: 5, unix.CS6: 6, unix.CS7: 7, unix.CS8: 8}[flags&unix.CSIZE]
	parity = map[uint32]string{
		unix.PARENB: "even", unix.PARENB | unix.PARODD: "odd",
		unix.PARENB | unix.CMSPAR: "space", unix.PARENB | unix.PARODD | unix.CMSPAR: "mark",
	}[flags&(unix.PARENB|unix.PARODD|unix.CMSPAR)]
	if flags&unix.PARENB == 0 {
		parity = "none"
	}
	if flags&unix.CSTOPB != 0 {
		return bits, parity, "2"
	}
	return bits, parity, "1"
}

// Char returns how long one character takes on the line: start bit, data bits, parity bit and stop bits.
func Char(c drivers.Serial) time.Duration {
	bits := 1 + c.DataBits + 1
	if c.Parity != "none" {
		bits++
	}
	if c.StopBits == "2" {
		bits++
	}
	return time.Duration(bits) * time.Second / time.Duration(c.Baud)
}

// settings is struct serial_struct of linux/serial.h; what is not used here has no name.
type settings struct {
	_     [4]int32 // type, line, port, irq
	flags int32
	_     [3]int32 // xmit_fifo_size, custom_divisor, baud_base
	_     uint16   // close_delay
	_     [2]byte  // io_type, reserved_char
	_     int32    // hub6
	_     [2]uint16
	_     uintptr // iomem_base
	_     uint16  // iomem_reg_shift
	_     uint32  // port_high
	_     uintptr // iomap_base
}

// lowLatency is ASYNC_LOW_LATENCY of linux/tty_flags.h.
const lowLatency = 1 << 13

// Hurry asks the port's driver to hand over what it receives at once. FTDI adapters then do so every millisecond instead of every 16.
// Many drivers know no such thing, and nothing depends on it: there is no error.
func Hurry(t Terminal) {
	var s settings
	if t.ioctl(unix.TIOCGSERIAL, unsafe.Pointer(&s)) != nil || s.flags&lowLatency != 0 {
		return
	}
	s.flags |= lowLatency
	_ = t.ioctl(unix.TIOCSSERIAL, unsafe.Pointer(&s))
}

// Latency returns how long the adapter behind the terminal with device number dev holds back what it has received, by the latency timer that
// drivers of FTDI's parts show below sys, usually /sys; 0 = it has none.
func Latency(sys string, dev uint64) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("%s/dev/char/%d:%d/device/latency_timer", sys, unix.Major(dev), unix.Minor(dev)))
	if err != nil {
		return 0
	}
	ms, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || ms < 0 {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// passing matches names that count adapters in the order in which they were plugged in.
var passing = regexp.MustCompile(`^tty(USB|ACM)[0-9]+$`)

// LastingName returns the name below dir, usually /dev/serial, under which the port at path is found wherever it is plugged in (by-id), or
// else as long as it stays in its socket (by-path); "" = path is such a name itself, belongs to no plug, or there is none.
func LastingName(dir, path string) string {
	if !passing.MatchString(filepath.Base(path)) {
		return ""
	}
	for _, by := range []string{"by-id", "by-path"} {
		links, err := os.ReadDir(filepath.Join(dir, by))
		if err != nil {
			continue // no such folder: udev has nothing to put there
		}
		for _, l := range links {
			name := filepath.Join(dir, by, l.Name())
			if real, err := filepath.EvalSymlinks(name); err == nil && real == path {
				return name
			}
		}
	}
	return ""
}
