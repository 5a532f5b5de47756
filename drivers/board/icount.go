package board

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/drivers"
)

var _ drivers.LineCounter = (*serialPort)(nil)

// icounter is struct serial_icounter_struct of linux/serial.h: twenty ints.
type icounter [20]uint32

// Indexes in icounter.
const (
	icountFrame   = 6
	icountOverrun = 7
	icountParity  = 8
	icountBreak   = 9
)

// LineErrors returns what the UART's driver has counted (TIOCGICOUNT), which pseudo-terminals and some adapters do not. It is part of
// drivers.LineCounter.
func (p *serialPort) LineErrors() (drivers.LineErrors, error) {
	var c icounter
	err := control(p.file, func(fd int) error {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGICOUNT, uintptr(unsafe.Pointer(&c))); errno != 0 {
			return errno
		}
		return nil
	})
	if err != nil {
		return drivers.LineErrors{}, fmt.Errorf("count line errors: %w", err)
	}
	return c.lineErrors(), nil
}

func (c icounter) lineErrors() drivers.LineErrors {
	return drivers.LineErrors{
		Framing: uint64(c[icountFrame]), Overrun: uint64(c[icountOverrun]), Parity: uint64(c[icountParity]), Break: uint64(c[icountBreak]),
	}
}
