// Package pty makes pseudo-terminals: a serial port whose far end is this program. `tidegate demo` and the tests plug simulated
// devices into them.
package pty

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// A Pair is a pseudo-terminal (pty(7)). What is written to Master arrives at whoever has the port at Path open, and the other
// way round. Both ends are raw: no echo, no line editing, every byte passes.
type Pair struct {
	Master *os.File // has deadlines; Close ends a Read in progress
	Path   string   // of the port, for instance /dev/pts/3
	slave  *os.File // kept open, so that Master gets no EIO while nobody else has the port open
}

// Open makes a Pair. The port's bytes wait (up to the kernel's 4 KiB) while nobody reads them, so the gateway may be killed and
// started again without the far end noticing.
func Open() (*Pair, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open pseudo-terminal: %w", err)
	}
	p := &Pair{Master: master}
	if err := p.openSlave(); err != nil {
		return nil, errors.Join(fmt.Errorf("open pseudo-terminal: %w", err), p.Close())
	}
	return p, nil
}

// openSlave unlocks the pair's port, opens it and makes it raw.
func (p *Pair) openSlave() error {
	var number int
	err := control(p.Master, func(fd int) error {
		var err error
		if number, err = unix.IoctlGetInt(fd, unix.TIOCGPTN); err != nil {
			return fmt.Errorf("ask for its number: %w", err)
		}
		if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
			return fmt.Errorf("unlock: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	p.Path = "/dev/pts/" + strconv.Itoa(number)
	p.slave, err = os.OpenFile(p.Path, os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	return control(p.slave, makeRaw)
}

// makeRaw sets the terminal behind fd to raw mode, as cfmakeraw(3) does, 8 bits without parity.
func makeRaw(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return fmt.Errorf("get settings: %w", err)
	}
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, t); err != nil {
		return fmt.Errorf("set raw mode: %w", err)
	}
	return nil
}

// WritePort writes b as somebody would who has the port at Path open: it arrives at Master behind all that was written there before.
func (p *Pair) WritePort(b []byte) error {
	_, err := p.slave.Write(b)
	return err
}

// Close unplugs the port: whoever has it open gets end of file from reads and EIO from writes, and Path is gone once they have
// closed it too.
func (p *Pair) Close() error {
	err := p.Master.Close()
	if p.slave != nil {
		err = errors.Join(err, p.slave.Close())
	}
	return err
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
