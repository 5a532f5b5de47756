package tty

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/drivers"
)

// A Terminal calls f with the descriptor of an open terminal, and returns f's error or why there is no descriptor any more.
type Terminal func(f func(fd int) error) error

// alternatives is what is left where one way of turning cannot be had.
const alternatives = "an adapter that switches by itself needs no rs485; else a line of the board may do it: rs485=GPIO17"

// rs485 is struct serial_rs485 of linux/serial.h.
type rs485 struct {
	flags       uint32
	delayBefore uint32    // ms
	delayAfter  uint32    // ms
	rest        [5]uint32 // addresses, in later kernels
}

// Flags of rs485, linux/serial.h.
const (
	rs485Enabled      = 1 << 0
	rs485RTSOnSend    = 1 << 1 // RTS is high while sending
	rs485RTSAfterSend = 1 << 2 // RTS is high while not
	rs485RxDuringTx   = 1 << 4
)

// kernelMode is where the kernel keeps rs485.
type kernelMode struct {
	get func() (rs485, error)
	set func(rs485) error
}

func (t Terminal) kernelMode() kernelMode {
	return kernelMode{
		get: func() (m rs485, err error) {
			err = t.ioctl(unix.TIOCGRS485, unsafe.Pointer(&m))
			return m, err
		},
		set: func(m rs485) error { return t.ioctl(unix.TIOCSRS485, unsafe.Pointer(&m)) },
	}
}

// ioctl is ioctl(2) with an argument that x/sys/unix has no function for.
func (t Terminal) ioctl(request uint, argument unsafe.Pointer) error {
	return t(func(fd int) error {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(argument)); errno != 0 {
			return errno
		}
		return nil
	})
}

// Kernel makes the UART's driver turn the transceiver from now on, also after the port was closed; with hasEcho it goes on receiving while it
// sends, where it can. Polarity and delays stay as the device tree has them, without one RTS is high while sending. The error says what
// the driver made of it, or that it cannot.
func Kernel(t Terminal, hasEcho bool) error { return t.kernelMode().enable(hasEcho) }

func (k kernelMode) enable(hasEcho bool) error {
	m, err := k.get()
	if err == nil {
		m.flags |= rs485Enabled
		if m.flags&rs485RTSAfterSend == 0 {
			m.flags |= rs485RTSOnSend
		}
		m.flags &^= rs485RxDuringTx
		if hasEcho {
			m.flags |= rs485RxDuringTx
		}
		err = k.set(m)
	}
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("rs485=kernel: the port's driver cannot turn a transceiver: %w; %s, or rs485=rts", err, alternatives)
	}
	if err != nil {
		return fmt.Errorf("rs485=kernel: %w", err)
	}
	made, err := k.get()
	switch {
	case err != nil:
		return fmt.Errorf("rs485=kernel: read back: %w", err)
	case made.flags&rs485Enabled == 0 || isOpposite(made.flags, m.flags):
		return fmt.Errorf("rs485=kernel: the port's driver made 0x%02x of the flags 0x%02x; %s", made.flags, m.flags, alternatives)
	}
	return nil
}

// isOpposite reports whether two flags name different polarities. A driver may name none: that of the SC16IS7xx did up to Linux 6.6.
func isOpposite(a, b uint32) bool {
	const polarity = rs485RTSOnSend | rs485RTSAfterSend
	return a&polarity != 0 && a&b&polarity == 0
}

// refuse returns an error where the kernel turns the transceiver already: two that turn it are in each other's way.
func (k kernelMode) refuse(direction string) error {
	if m, err := k.get(); err == nil && m.flags&rs485Enabled != 0 {
		return fmt.Errorf("rs485=%s: the port's driver turns the transceiver already, by the device tree or an earlier setting; "+
			"set rs485=kernel, or leave it out", direction)
	}
	return nil
}

// outlet asks a terminal how far its output is.
type outlet struct{ Terminal }

// Sent is Switch's.
func (o outlet) Sent() (isSent bool, err error) {
	err = o.Terminal(func(fd int) error {
		n, err := unix.IoctlGetInt(fd, unix.TIOCOUTQ)
		if err != nil || n > 0 {
			return err
		}
		state, err := unix.IoctlGetInt(fd, unix.TIOCSERGETLSR)
		if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
			return errors.ErrUnsupported
		}
		isSent = state&unix.TIOCSER_TEMT != 0
		return err
	})
	return isSent, err
}

// Nap is Switch's: nanosleep(2), which ends early when a signal comes.
func (outlet) Nap(d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&t, nil)
}

// rts turns by the line RTS.
type rts struct {
	outlet
	isLow bool // RTS is low while sending
}

// RTS returns a Switch that turns by the port's line RTS, high while sending or with isLow low, and has it receiving. The kernel raises RTS as
// it opens a port and lets go of it as it closes it: with isLow it is told not to, else a closed port would send for ever.
func RTS(t Terminal, isLow bool) (Switch, error) {
	s := rts{outlet{t}, isLow}
	err := t(func(fd int) error {
		_, err := unix.IoctlGetInt(fd, unix.TIOCMGET)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("rs485=%s: the port has no line RTS: %w; %s, or rs485=kernel", s.name(), err, alternatives)
	}
	if err := t.kernelMode().refuse(s.name()); err != nil {
		return nil, err
	}
	if err := t(func(fd int) error { return letGo(fd, !isLow) }); err != nil {
		return nil, fmt.Errorf("rs485=%s: say what RTS does after the port is closed: %w", s.name(), err)
	}
	if err := s.Send(false); err != nil {
		return nil, fmt.Errorf("rs485=%s: turn the transceiver to receiving: %w", s.name(), err)
	}
	return s, nil
}

func (s rts) name() string {
	if s.isLow {
		return "rts-low"
	}
	return "rts"
}

// Send is Switch's.
func (s rts) Send(on bool) error {
	return s.Terminal(func(fd int) error { return unix.IoctlSetPointerInt(fd, s.request(on), unix.TIOCM_RTS) })
}

// request returns the ioctl that sets RTS high or low.
func (s rts) request(on bool) uint {
	if on != s.isLow {
		return unix.TIOCMBIS
	}
	return unix.TIOCMBIC
}

// Close is Switch's.
func (rts) Close() error { return nil }

// letGo says whether the terminal behind fd lets go of RTS and DTR when it is closed, or keeps them as they are: HUPCL of termios(3).
func letGo(fd int, does bool) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
	if err != nil {
		return err
	}
	t.Cflag &^= unix.HUPCL
	if does {
		t.Cflag |= unix.HUPCL
	}
	return unix.IoctlSetTermios(fd, unix.TCSETS2, t)
}

// pin turns by a GPIO line.
type pin struct {
	outlet
	line drivers.Pin
}

// Pin returns a Switch that turns by line, an output of the board that is high while sending, and has it receiving. Closing the Switch gives
// line back.
func Pin(t Terminal, line drivers.Pin, name string) (Switch, error) {
	if err := t.kernelMode().refuse(name); err != nil {
		return nil, errors.Join(err, line.Close())
	}
	s := pin{outlet{t}, line}
	if err := s.Send(false); err != nil {
		return nil, errors.Join(fmt.Errorf("rs485=%s: turn the transceiver to receiving: %w", name, err), line.Close())
	}
	return s, nil
}

// Send is Switch's.
func (s pin) Send(on bool) error { return s.line.Set(on) }

// Close is Switch's.
func (s pin) Close() error { return s.line.Close() }
