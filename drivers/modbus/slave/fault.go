package slave

import "time"

// Fault is what goes wrong with one reply. Its parts can be combined.
type Fault struct {
	Kind      Kind          // what is done to the frame
	Exception Exception     // answered instead of values
	Delay     time.Duration // waited before the reply; the line hears nothing meanwhile, requests queue up
	Late      bool          // the reply is held back until the next request came, and written just ahead of its reply
}

// Kind is a way to spoil a frame.
type Kind byte

// The ways to spoil a frame. Not all make sense on both framings; those that do not leave the frame as it is.
const (
	Intact       Kind = iota
	Silent            // no reply
	WrongCRC          // RTU: one bit of the CRC is turned
	WrongBit          // RTU: one bit of what the reply says is turned, its CRC is not
	Truncated         // the second half is missing
	ForeignUnit       // a reply of the next unit: other values, and its number
	WrongFunc         // the reply bears the function of another table
	WrongCount        // one register (or byte of bits) too few, with a byte count that fits
	LyingCount        // the byte count says two more than there are
	Echo              // the request comes back instead of a reply
	EchoFirst         // the request comes back ahead of the reply, as from a two-wire adapter
	Twice             // the reply comes twice
	Noise             // a few bytes of noise ahead of the reply
	ForeignFirst      // a reply of the next unit ahead of the right one
	WrongID           // TCP: the transaction number is one too low
	WrongIDFirst      // TCP: a reply with a transaction number one too low ahead of the right one
	WrongProto        // TCP: the protocol number is 1
	LengthZero        // TCP: a header with length 0
	LengthOne         // TCP: a header with length 1
	LengthMost        // TCP: a header with length 65535
)

// isLie reports whether no master may make values of what is sent.
func (k Kind) isLie() bool {
	switch k {
	case Intact, EchoFirst, Twice, Noise, ForeignFirst, WrongIDFirst:
		return false
	}
	return true
}

// spoil returns what goes over the wire for reply, which answers a.
func (f Fault) spoil(w wire, a asked, reply []byte) []byte {
	good := w.frame(a, reply)
	_, onTCP := w.(tcpWire)
	switch f.Kind {
	case Silent:
		return nil
	case WrongCRC:
		if !onTCP {
			good[len(good)-1] ^= 0x10
		}
	case WrongBit:
		if !onTCP {
			good[len(good)-3] ^= 0x10
		}
	case Truncated:
		return good[:len(good)/2]
	case ForeignUnit:
		return w.frame(asked{unit: a.unit + 1, id: a.id}, inverted(reply))
	case WrongFunc:
		other := append([]byte(nil), reply...)
		other[0] = reply[0]%4 + 1
		return w.frame(a, other)
	case WrongCount:
		return w.frame(a, shorter(reply))
	case LyingCount:
		other := append([]byte(nil), reply...)
		other[1] += 2
		return w.frame(a, other)
	case Echo:
		return w.frame(a, a.pdu)
	case EchoFirst:
		return append(w.frame(a, a.pdu), good...)
	case Twice:
		return append(good, good...)
	case Noise:
		return append([]byte{0x00, 0xff, 0x55}, good...)
	case ForeignFirst:
		return append(w.frame(asked{unit: a.unit + 1, id: a.id}, inverted(reply)), good...)
	}
	if onTCP {
		return f.spoilTCP(w, a, reply, good)
	}
	return good
}

// spoilTCP spoils what only TCP frames have.
func (f Fault) spoilTCP(w wire, a asked, reply, good []byte) []byte {
	switch f.Kind {
	case WrongID:
		return w.frame(asked{unit: a.unit, id: a.id - 1}, reply)
	case WrongIDFirst:
		return append(w.frame(asked{unit: a.unit, id: a.id - 1}, reply), good...)
	case WrongProto:
		good[3] = 1
	case LengthZero:
		return []byte{good[0], good[1], 0, 0, 0, 0, a.unit}
	case LengthOne:
		return []byte{good[0], good[1], 0, 0, 0, 1, a.unit}
	case LengthMost:
		good[4], good[5] = 0xff, 0xff
	}
	return good
}

// inverted returns reply with other values, if it has any.
func inverted(reply []byte) []byte {
	b := append([]byte(nil), reply...)
	for i := 2; i < len(b); i++ {
		b[i] ^= 0xff
	}
	return b
}

// shorter takes one register, or the last byte of bits, off a reply.
func shorter(reply []byte) []byte {
	less := 2
	if Table(reply[0]) <= Discretes {
		less = 1
	}
	if len(reply) <= 2+less {
		return []byte{reply[0], 0}
	}
	b := append([]byte(nil), reply[:len(reply)-less]...)
	b[1] -= byte(less)
	return b
}
