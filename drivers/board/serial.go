package board

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.bug.st/serial"
	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/drivers"
)

// maxWrite is how long a Write without a deadline may be held up beyond the time that its bytes need on the line: then the
// adapter hangs.
const maxWrite = 10 * time.Second

// serialMode returns the settings of c as go.bug.st/serial has them, or what is wrong with them.
func serialMode(c drivers.Serial) (*serial.Mode, error) {
	parities := map[string]serial.Parity{
		"none": serial.NoParity, "even": serial.EvenParity, "odd": serial.OddParity,
		"mark": serial.MarkParity, "space": serial.SpaceParity,
	}
	parity, known := parities[c.Parity]
	switch {
	case c.Port == "":
		return nil, errors.New("no path given; see ls /dev/serial/by-id")
	case c.Baud < 50 || c.Baud > 4_000_000:
		return nil, fmt.Errorf("baud is %d, want 50 to 4000000", c.Baud)
	case c.DataBits < 5 || c.DataBits > 8:
		return nil, fmt.Errorf("data bits are %d, want 5 to 8", c.DataBits)
	case !known:
		return nil, fmt.Errorf("parity is %q, want none, even, odd, mark or space", c.Parity)
	case c.StopBits == "1.5":
		return nil, errors.New("stop bits are 1.5, which Linux does not have; want 1 or 2")
	case c.StopBits != "1" && c.StopBits != "2":
		return nil, fmt.Errorf("stop bits are %q, want 1 or 2", c.StopBits)
	}
	stop := serial.OneStopBit
	if c.StopBits == "2" {
		stop = serial.TwoStopBits
	}
	return &serial.Mode{BaudRate: c.Baud, DataBits: c.DataBits, Parity: parity, StopBits: stop}, nil
}

// A serialPort is an open serial port. Its descriptor is non-blocking and watched by Go's poller, which gives it deadlines that
// take effect at once, also on a Read or Write in progress.
type serialPort struct {
	file   *os.File
	baud   int
	isOurs bool // claim has succeeded

	mu       sync.Mutex // guards deadline, and the order of settings of the file's
	deadline time.Time  // of Write, as set by the user; zero = none
}

var _ drivers.Port = (*serialPort)(nil)

// openSerial opens the port at path for this process alone and sets it up.
//
// The settings are made by go.bug.st/serial, which opens the terminal a second time for it: they belong to the terminal, not to
// the descriptor. Its own Read is not used: it selects (and so panics on descriptors from 1024 up) and returns (0, nil) on
// time-out; its Write cannot be ended. The second opening goes through /proc/self/fd, so that it is the same terminal for sure.
func openSerial(path string, mode *serial.Mode) (*serialPort, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, explainOpen(path, err)
	}
	p := &serialPort{file: f, baud: mode.BaudRate}
	var st unix.Stat_t
	err = control(f, func(fd int) error {
		if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
			return explainNoTerminal(err)
		}
		if err := unix.Fstat(fd, &st); err != nil {
			return fmt.Errorf("ask for its identity: %w", err)
		}
		if err := claim(fd, &st, path); err != nil {
			return err
		}
		p.isOurs = true
		s, err := serial.Open("/proc/self/fd/"+strconv.Itoa(fd), mode)
		if err != nil {
			return fmt.Errorf("set up: %w", err)
		}
		if err := s.Close(); err != nil {
			return fmt.Errorf("set up: %w", err)
		}
		return shutOthersOut(fd, &st)
	})
	if err == nil {
		err = f.SetReadDeadline(time.Time{}) // fails where the poller does not take the file
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// explainNoTerminal adds to the error of a device that has no terminal settings why that may be so.
func explainNoTerminal(err error) error {
	if errors.Is(err, unix.EIO) {
		return fmt.Errorf("no UART behind this port: %w", err)
	}
	return fmt.Errorf("not a serial port: %w", err)
}

// explainOpen adds to err what a technician can do about it.
func explainOpen(path string, err error) error {
	cause := err
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		cause = pe.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(path, "/dev/serial0"):
		return fmt.Errorf("%w; on a Raspberry Pi put enable_uart=1 into /boot/firmware/config.txt and reboot", cause)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w; plug the adapter in, or see ls /dev/serial/by-id for the ports that are there", cause)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w; %s", cause, drivers.HintSandbox)
	case errors.Is(err, fs.ErrPermission) && groupOf(path) == "root":
		return fmt.Errorf("%w; the port is root's alone: give it a group by a udev rule (GROUP=\"dialout\", MODE=\"0660\"), and put the gateway's "+
			"user into that: sudo usermod -aG dialout USER", cause)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; put the gateway's user into the port's group: sudo usermod -aG %s USER, then log in again",
			cause, groupOf(path))
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w: another program has the port for itself; see fuser -v %s", cause, path)
	case errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		return fmt.Errorf("%w: the adapter behind this port is not there", cause)
	}
	return cause
}

// groupOf returns the name of the group that owns path, "dialout" (Debian's for serial ports) where that cannot be found out.
func groupOf(path string) string {
	const usual = "dialout"
	st, err := os.Stat(path)
	if err != nil {
		return usual
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return usual
	}
	g, err := user.LookupGroupId(strconv.FormatUint(uint64(sys.Gid), 10))
	if err != nil {
		return usual
	}
	return g.Name
}

func (p *serialPort) Read(b []byte) (int, error) {
	n, err := p.file.Read(b)
	return n, goneUnlessDeadline(err)
}

// Write writes all of b, or fails. A deadline that passes while it waits for the line breaks the port: half a frame may be out,
// and an adapter that takes nothing for so long hangs. Such an error wraps both os.ErrDeadlineExceeded and drivers.ErrGone.
func (p *serialPort) Write(b []byte) (int, error) {
	p.mu.Lock()
	end := time.Now().Add(maxWrite + time.Duration(len(b))*11*time.Second/time.Duration(p.baud))
	if !p.deadline.IsZero() && p.deadline.Before(end) {
		end = p.deadline
	}
	isLate := !end.After(time.Now())
	err := p.file.SetWriteDeadline(end)
	p.mu.Unlock()
	if err != nil {
		return 0, goneUnlessDeadline(err)
	}
	n, err := p.file.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) && !isLate {
		return n, fmt.Errorf("%w: the port takes no more output, %d of %d bytes are out: %w", drivers.ErrGone, n, len(b), err)
	}
	return n, goneUnlessDeadline(err)
}

func (p *serialPort) SetReadDeadline(t time.Time) error {
	return p.file.SetReadDeadline(t)
}

func (p *serialPort) SetWriteDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadline = t
	return p.file.SetWriteDeadline(t)
}

// Close closes the port, which ends a Read or Write in progress. Output that is not on the line yet is dropped: the kernel would
// wait up to 30 s for it otherwise (closing_wait, termios(3)).
func (p *serialPort) Close() error {
	if p.isOurs { // else its marks and its output are another's
		// The errors of letting go say that the port is gone or closed: then there is nothing to let go of.
		_ = control(p.file, func(fd int) error {
			_ = unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCOFLUSH)
			return release(fd)
		})
	}
	if err := p.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// goneUnlessDeadline makes every error of a port but a passed deadline one that wraps drivers.ErrGone: nothing else passes by
// itself.
func goneUnlessDeadline(err error) error {
	switch {
	case err == nil, errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, unix.EIO):
		return fmt.Errorf("%w: unplugged or hung up: %w", drivers.ErrGone, err)
	}
	return fmt.Errorf("%w: %w", drivers.ErrGone, err)
}

// control calls f with the descriptor of file, without taking it away from Go's poller as File.Fd would.
func control(file *os.File, f func(fd int) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var result error
	if err := raw.Control(func(fd uintptr) { result = f(int(fd)) }); err != nil {
		return err
	}
	return result
}
