package talker

import (
	"context"
	"strings"

	"github.com/tidegate-io/tidegate/drivers"
)

// overTCP is what the name of a port begins with that hangs on a serial device server.
const overTCP = "tcp://"

// Open returns the bus on the port that s names, a serial port or tcp://host:port of a serial device server, which has settings of its own.
// The bus belongs to the caller alone until ctx is done: whoever waits for a talker keeps all others from it.
func Open(ctx context.Context, h drivers.Host, s drivers.Serial) (bus *drivers.Bus, err error) {
	if address, ok := strings.CutPrefix(s.Port, overTCP); ok {
		bus, err = h.Dial(ctx, "tcp", address)
	} else {
		bus, err = h.Serial(ctx, s)
	}
	if err != nil {
		return nil, err
	}
	return bus, bus.Claim(ctx)
}

// CheckPort returns what is wrong with port as the setting `port`.
func CheckPort(port string) []drivers.FieldError {
	if port == "" {
		return []drivers.FieldError{{
			Field: "port", Problem: "is missing",
			Hint: "give the serial port, for instance /dev/serial/by-id/usb-... or /dev/ttyUSB0",
		}}
	}
	if address, ok := strings.CutPrefix(port, overTCP); ok {
		if i := strings.LastIndexByte(address, ':'); i <= 0 || i == len(address)-1 {
			return []drivers.FieldError{{Field: "port", Got: port, Problem: "is no address", Hint: "write tcp://host:port"}}
		}
	}
	return nil
}

// Uses returns what a device on port uses, for drivers.PortUser.
func Uses(port string) []drivers.PortUse { return []drivers.PortUse{{Port: port, IsSole: true}} }

// OutOfRange is what is wrong with the setting field when got stands there and want is what may.
func OutOfRange(field, got, want string) drivers.FieldError {
	return drivers.FieldError{Field: field, Got: got, Problem: "is out of range", Hint: want}
}
