package drivers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/onewire"
	"periph.io/x/conn/v3/physic"
	"periph.io/x/conn/v3/spi"
)

// ErrGone is wrapped by errors of a port, bus or device that will not come back by itself: unplugged, hung up, closed by the
// far end. What was opened must be opened anew.
var ErrGone = errors.New("gone")

// ErrEcho is wrapped by the error of a Write on a line with Serial.Echo when the bytes did not come back, or not as they were sent. They
// may have reached the device all the same, but nothing that comes then is to be taken for its reply. The port itself is well.
var ErrEcho = errors.New("line does not give back what is sent")

// A Host is the machine as drivers see it. All that it hands out dies with the ctx of the call that opened it, can be traced,
// and may be shared by several devices. drivers/board is the real one, drivers/drivertest the fake.
type Host interface {
	// Serial returns the bus on the serial port that c names. Devices that name the same port share the bus and must agree on
	// its settings. The port is opened at the first use and again after it was gone.
	Serial(ctx context.Context, c Serial) (*Bus, error)
	// Dial returns the bus on a connection as of net.Dialer ("tcp", "192.0.2.7:502"), shared by the devices that name the same
	// address. It is connected at the first use and again after it was gone.
	Dial(ctx context.Context, network, address string) (*Bus, error)
	// I2C returns the bus with the kernel's number or periph's name, for instance "1" or "I2C1"; "" = the first.
	I2C(ctx context.Context, bus string) (i2c.Bus, error)
	// SPI returns the port, for instance "SPI0.0", at most at speed f.
	SPI(ctx context.Context, port string, f physic.Frequency, mode spi.Mode) (spi.Conn, error)
	// OneWire returns the 1-Wire bus; "" = the first.
	OneWire(ctx context.Context, bus string) (onewire.Bus, error)
	// Pin requests a GPIO line by name ("GPIO17") or as chip:line ("gpiochip0:17").
	Pin(ctx context.Context, line string, c PinConfig) (Pin, error)
	// Memory returns what the device whose ctx this is keeps over restarts of the gateway.
	Memory(ctx context.Context) Memory
	// Files is the file system from its root, to read /proc and /sys from; names have no leading slash. Files that may take long are read with
	// ReadFile.
	Files() fs.FS
}

// A Memory holds a few bytes for one device: the total of a counter, for instance. After a kill it holds what was put last; after a power
// cut what was put up to a minute earlier, which its owner has to reckon with.
type Memory interface {
	// Load returns what was put last, nil when nothing was. An error says why that cannot be told.
	Load() ([]byte, error)
	// Store puts b, at most 4 KiB, in the place of what was put before. It does not wait for the disk.
	Store(b []byte) error
}

// MemoryMost is the most that a Memory holds, in bytes.
const MemoryMost = 4 << 10

// Serial names a serial port and its settings.
type Serial struct {
	Port     string // path, for instance /dev/serial/by-id/usb-FTDI_...
	Baud     int    // bit/s, 50 to 4,000,000
	DataBits int    // 5 to 8
	Parity   string // "none", "even", "odd", "mark" or "space"
	StopBits string // "1" or "2"; Linux has no 1.5
	// Direction says what switches an RS-485 transceiver to sending: "" = itself (most adapters); "kernel" = the UART's driver, told by
	// TIOCSRS485; "rts" or "rts-low" = the line RTS, high or low while sending; or the name of a GPIO line, high while sending.
	Direction string
	Echo      bool // the line gives back what is sent: it is read and compared, and never taken for a reply
}

// Settings returns the settings as technicians write them, for instance "9600 8N1" or "9600 8N1, rs485 kernel, echo".
func (s Serial) Settings() string {
	parity := "?"
	if s.Parity != "" {
		parity = strings.ToUpper(s.Parity[:1])
	}
	text := fmt.Sprintf("%d %d%s%s", s.Baud, s.DataBits, parity, s.StopBits)
	if s.Direction != "" {
		text += ", rs485 " + s.Direction
	}
	if s.Echo {
		text += ", echo"
	}
	return text
}

// A Port is a connection to devices, shaped like net.Conn so that net.Pipe is its test double.
// Read returns os.ErrDeadlineExceeded when the deadline passes, never (0, nil); an error wrapping ErrGone when the far end is gone.
// Write fails so too, or with an error wrapping ErrEcho.
type Port interface {
	io.ReadWriteCloser
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
}

// A LineCounter is a Port whose hardware counts what it received and could not take as it came. Pseudo-terminals and connections do not.
type LineCounter interface {
	// LineErrors returns the counts, or why there are none. They belong to the port, not to whoever has opened it, and never begin anew.
	LineErrors() (LineErrors, error)
}

// LineErrors are counts of characters.
type LineErrors struct {
	Framing uint64 // without a stop bit: another speed, noise, a collision
	Parity  uint64 // with a wrong parity bit
	Overrun uint64 // lost: the machine was too slow
	Break   uint64 // the line was at space for a whole character: its wires are swapped or shorted, or another speed
}

// PinConfig says how a GPIO line is to be used.
type PinConfig struct {
	Output    bool            // else input
	Initial   bool            // the level of an output when it is requested
	AsIs      bool            // an output stays what it is, direction and all, until its first Set; Initial is of no account then
	AtEnd     *bool           // the level that an output is left at when the Pin ends, with its ctx or by Close; nil = as it is
	Pull      string          // of an input: "up", "down", "none" or "" (as it is)
	ActiveLow bool            // true reads and sets as electrically low
	Edge      string          // of an input whose edges are taken: "rising", "falling", "both" or "" (no edges)
	Debounce  time.Duration   // of edges: a change counts once the level has stayed for so long; 0 = none
	Wake      chan<- struct{} // gets a token, if it has room, when edges wait or the line is gone; nil = nobody waits
}

// A Pin is one GPIO line. Set may run while another method does; the others are not called concurrently.
type Pin interface {
	// Level returns the level of an input, or the level last set of an output (the line is not asked: reading back an output
	// turns it into an input on some kernels' drivers). It is an error to ask an output that was not set yet and was requested AsIs.
	Level() (bool, error)
	// Set drives an output.
	Set(level bool) error
	// Edges appends to into the edges that wait, oldest first, and returns at once. The kernel keeps 1,024 of a line and drops the oldest
	// beyond that, which shows as a jump of Seq.
	Edges(into []Edge) ([]Edge, error)
	Close() error
}

// An Edge is one change of level of an input. Two edges in a row may have the same Level where the line was faster than the kernel's look at it.
type Edge struct {
	Level bool
	Stamp time.Duration // kernel's, of CLOCK_MONOTONIC: for the time between edges
	Time  time.Time     // Stamp as wall time, by the clock as it stood when the edge was taken; zero = it cannot be told
	Seq   uint32        // counts all edges of the line from 1, and goes on with 0 behind 1<<32-1: a jump tells how many were dropped
}
