package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

// The serial line that the slave answers on: MODBUS over Serial Line V1.02, 11 bits a character.
const (
	baud      = 19200
	character = 11 * time.Second / baud
	fifo      = 8 // bytes that a UART gathers before the kernel takes them
)

// A line is a pseudo-terminal: a serial port whose far end the slave has.
type line struct {
	far  *os.File
	port *os.File // kept open, so that the far end reads on while nobody has the port open
	path string
}

// newLine makes a pseudo-terminal (pty(7)), raw on both ends.
func newLine() (l line, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("make a pseudo-terminal: %w", err)
		}
	}()
	if l.far, err = os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		return l, err
	}
	var number, unlock uint32
	var t syscall.Termios
	if err = l.control(l.far, syscall.TIOCGPTN, unsafe.Pointer(&number)); err == nil {
		err = l.control(l.far, syscall.TIOCSPTLCK, unsafe.Pointer(&unlock))
	}
	if err != nil {
		return l, err
	}
	l.path = "/dev/pts/" + strconv.Itoa(int(number))
	if l.port, err = os.OpenFile(l.path, os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		return l, err
	}
	if err = l.control(l.port, syscall.TCGETS, unsafe.Pointer(&t)); err != nil {
		return l, err
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0 // no editing, no echo, no signals
	t.Cflag = syscall.CS8 | syscall.CREAD | syscall.CLOCAL
	t.Cc[syscall.VMIN], t.Cc[syscall.VTIME] = 1, 0
	return l, l.control(l.port, syscall.TCSETS, unsafe.Pointer(&t))
}

func (line) control(f *os.File, what uintptr, arg unsafe.Pointer) error {
	if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), what, uintptr(arg)); e != 0 {
		return e
	}
	return nil
}

// serveLine answers RTU frames. A reply comes no sooner than the request is out at the line's speed, and as a UART hands it over: eight
// bytes at a time, when they are there.
func (s *slave) serveLine(l line) error {
	var in []byte
	b := make([]byte, 256)
	for {
		n, err := l.far.Read(b)
		if err != nil {
			return err
		}
		in = append(in, b[:n]...)
		for ; len(in) >= 8; in = in[1:] {
			if crc(in[:6]) != binary.LittleEndian.Uint16(in[6:]) {
				continue // out of step: the next byte may begin a frame
			}
			var q [12]byte
			copy(q[6:], in[:6])
			asked := time.Now()
			out := s.reply(nil, q)[6:]
			out = binary.LittleEndian.AppendUint16(out, crc(out))
			if err := paced(l.far, out, asked.Add(8*character)); err != nil {
				return err
			}
			in = in[7:]
		}
	}
}

// paced writes b as it comes in over a line on which nothing is sent before at.
func paced(f *os.File, b []byte, at time.Time) error {
	for len(b) > 0 {
		n := min(fifo, len(b))
		at = at.Add(time.Duration(n) * character)
		time.Sleep(time.Until(at))
		if _, err := f.Write(b[:n]); err != nil && !errors.Is(err, syscall.EAGAIN) { // nobody takes it: as on a line, it is lost
			return err
		}
		b = b[n:]
	}
	return nil
}

// crc is that of MODBUS over Serial Line V1.02, 6.2.2; its low byte goes first.
func crc(b []byte) uint16 {
	c := uint16(0xffff)
	for _, x := range b {
		c ^= uint16(x)
		for range 8 {
			odd := c & 1
			c >>= 1
			if odd != 0 {
				c ^= 0xa001
			}
		}
	}
	return c
}
