// Package link carries one Modbus read request at a time over a port and brings back the bytes of its values, or the reason why
// there are none: RTU frames on a serial line and TCP frames on a connection. Nothing that is late, damaged, foreign, of
// another shape or an echo ever comes back as values. What the bytes mean is the business of package modbus.
//
// Sources: "MODBUS Application Protocol V1.1b3" (PDU, exceptions), "MODBUS over Serial Line V1.02" (RTU), "MODBUS Messaging on
// TCP/IP V1.0b" (MBAP).
package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
)

// Addresses is how many registers or bits a table has: "MODBUS Application Protocol V1.1b3" section 4.4.
const Addresses = 1 << 16

// Table is one of a unit's four tables. Its number is the function that reads it, "MODBUS Application Protocol V1.1b3"
// sections 6.1 to 6.4.
type Table byte

// The tables.
const (
	Coil     Table = 1 // bits that can be written
	Discrete Table = 2 // bits that cannot
	Holding  Table = 3 // registers that can be written
	Input    Table = 4 // registers that cannot
)

// IsBits reports whether t holds bits, not registers.
func (t Table) IsBits() bool { return t == Coil || t == Discrete }

// String returns the table's word as in the configuration.
func (t Table) String() string {
	switch t {
	case Coil:
		return "coil"
	case Discrete:
		return "discrete"
	case Holding:
		return "holding"
	case Input:
		return "input"
	}
	return "table(" + strconv.Itoa(int(t)) + ")"
}

// Request is one question to a unit: Quantity registers (1 to 125) or bits (1 to 2000) of Table from Address on.
type Request struct {
	Table    Table
	Address  int // of the first, 0 to 65535
	Quantity int
}

// String returns the place in words: "holding 0..9", "coil 5".
func (q Request) String() string {
	s := q.Table.String() + " " + strconv.Itoa(q.Address)
	if q.Quantity > 1 {
		s += ".." + strconv.Itoa(q.Address+q.Quantity-1)
	}
	return s
}

// Bytes returns how many bytes of values a right reply holds: two a register, or one for each eight bits begun.
func (q Request) Bytes() int {
	if q.Table.IsBits() {
		return (q.Quantity + 7) / 8
	}
	return 2 * q.Quantity
}

// appendPDU appends the five bytes of q: function, first address, quantity. Sections 6.1 to 6.4.
func (q Request) appendPDU(b []byte) []byte {
	b = append(b, byte(q.Table))
	b = binary.BigEndian.AppendUint16(b, uint16(q.Address))
	return binary.BigEndian.AppendUint16(b, uint16(q.Quantity))
}

// values returns the bytes of the values in pdu, which answers q, or why it does not: an Exception, or another error for what
// is no reply to q.
func (q Request) values(pdu []byte) ([]byte, error) {
	switch {
	case len(pdu) < 2:
		return nil, fmt.Errorf("a reply of %d bytes, want at least 2", len(pdu))
	case pdu[0] == byte(q.Table)|0x80 && len(pdu) == 2:
		return nil, Exception(pdu[1])
	case pdu[0] == byte(q.Table)|0x80:
		return nil, fmt.Errorf("an exception of %d bytes, want 2", len(pdu))
	case pdu[0] != byte(q.Table):
		return nil, fmt.Errorf("a reply to function 0x%02x, want 0x%02x", pdu[0], byte(q.Table))
	case int(pdu[1]) != q.Bytes():
		return nil, fmt.Errorf("a reply with byte count %d, want %d", pdu[1], q.Bytes())
	case len(pdu) != 2+q.Bytes():
		return nil, fmt.Errorf("a reply with %d bytes of values, want %d", len(pdu)-2, q.Bytes())
	}
	return pdu[2:], nil
}

// Exception is what a unit answers instead of values: the code of "MODBUS Application Protocol V1.1b3" section 7.
type Exception byte

// The exceptions that a reader treats in a way of their own.
const (
	IllegalFunction Exception = 0x01 // the unit has no such table
	IllegalAddress  Exception = 0x02 // one of the registers does not exist
	IllegalValue    Exception = 0x03 // the unit does not take this quantity
	GatewayPath     Exception = 0x0a // a gateway cannot reach the unit's line
	GatewayTarget   Exception = 0x0b // a gateway got no reply from the unit
)

// exceptionTexts are the words of the specification's section 7.
var exceptionTexts = map[Exception]string{
	IllegalFunction: "illegal function: the unit has no such table",
	IllegalAddress:  "illegal data address: the unit has no such register",
	IllegalValue:    "illegal data value: the unit does not take this quantity",
	0x04:            "server device failure",
	0x05:            "acknowledge: the unit needs longer",
	0x06:            "server device busy",
	0x08:            "memory parity error",
	GatewayPath:     "gateway path unavailable",
	GatewayTarget:   "gateway target device does not respond",
}

// Error returns code and words: "exception 02 (illegal data address: the unit has no such register)".
func (e Exception) Error() string {
	text, ok := exceptionTexts[e]
	if !ok {
		text = "not in the specification"
	}
	return fmt.Sprintf("exception %02x (%s)", byte(e), text)
}

// IsLasting reports whether the same request will be refused again.
func (e Exception) IsLasting() bool {
	return e == IllegalFunction || e == IllegalAddress || e == IllegalValue
}

// IsAbsent reports whether it is a gateway that answers, for a unit that does not.
func (e Exception) IsAbsent() bool { return e == GatewayPath || e == GatewayTarget }

// IsException reports whether err is or wraps an Exception.
func IsException(err error) bool {
	if err == nil {
		return false // without the allocation that errors.As needs
	}
	var e Exception
	return errors.As(err, &e)
}

// NoReply is the error of a request that got no reply within its timeout.
type NoReply struct {
	To     Request
	Within time.Duration
	Odd    error // what came instead and was passed over; nil = nothing
}

// Error returns the words: "no reply within 1s to read of holding 0..9, but a reply of unit 7".
func (e NoReply) Error() string {
	s := fmt.Sprintf("no reply within %v to read of %v", e.Within, e.To)
	if e.Odd != nil {
		s += ", but " + e.Odd.Error()
	}
	return s
}

// Unwrap returns what came instead.
func (e NoReply) Unwrap() error { return e.Odd }

// ErrHungUp is wrapped when the far end closed the connection before the first byte of a reply. The request may be tried again
// at once on a new connection: many units close one that was idle.
var ErrHungUp = errors.New("hung up before the reply")

var errEcho = errors.New("an echo of the request")

// foreign is the error of a frame that another unit sent: the unit's number.
type foreign byte

// Error returns the words.
func (f foreign) Error() string { return fmt.Sprintf("a reply of unit %d", byte(f)) }

// isUnsent reports whether a Write of which n bytes went out ended ahead of its deadline, because its ctx is done: the port is as it was, and
// the request was not made.
func isUnsent(n int, err error, deadline time.Time) bool {
	return n == 0 && errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, drivers.ErrGone) && time.Now().Before(deadline)
}

// gone returns an error wrapping drivers.ErrGone and err, which came of doing something with the port.
func gone(doing string, err error) error {
	if errors.Is(err, drivers.ErrGone) {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return fmt.Errorf("%s: %w: %w", doing, drivers.ErrGone, err)
}
