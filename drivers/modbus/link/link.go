// Package link carries one Modbus request at a time over a port and brings back the bytes of its values, or the reason why
// there are none: RTU frames on a serial line and TCP frames on a connection. Nothing that is late, damaged, foreign, of
// another shape or an echo ever comes back as values, or as the reply to a write. What the bytes mean is the business of package
// registers.
//
// Sources: "MODBUS Application Protocol V1.1b3" (PDU, exceptions), "MODBUS over Serial Line V1.02" (RTU), "MODBUS Messaging on
// TCP/IP V1.0b" (MBAP).
package link

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
)

// Exception is what a unit answers instead of values: the code of "MODBUS Application Protocol V1.1b3" section 7.
type Exception byte

// The exceptions that are treated in a way of their own.
const (
	IllegalFunction Exception = 0x01 // the unit has no such table, or does not let it be written
	IllegalAddress  Exception = 0x02 // one of the registers does not exist
	IllegalValue    Exception = 0x03 // the unit does not take this quantity, or this value
	Acknowledge     Exception = 0x05 // the unit has begun with it and needs longer
	GatewayPath     Exception = 0x0a // a gateway cannot reach the unit's line
	GatewayTarget   Exception = 0x0b // a gateway got no reply from the unit
)

// exceptionTexts are the words of the specification's section 7.
var exceptionTexts = map[Exception]string{
	IllegalFunction: "illegal function: the unit has no such table, or does not let it be written",
	IllegalAddress:  "illegal data address: the unit has no such register",
	IllegalValue:    "illegal data value: the unit does not take this quantity, or this value",
	0x04:            "server device failure",
	Acknowledge:     "acknowledge: the unit needs longer",
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
	s := fmt.Sprintf("no reply within %v to %s", e.Within, e.To.Deed())
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

// Unsent is the error of a request that did not go out: whatever it orders has not happened. It speaks like the error in it.
type Unsent struct{ Err error }

// Error returns the words of the error in it.
func (e Unsent) Error() string { return e.Err.Error() }

// Unwrap returns the error in it.
func (e Unsent) Unwrap() error { return e.Err }

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
