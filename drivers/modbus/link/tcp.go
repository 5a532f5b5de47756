package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
)

const (
	headerSize = 7   // bytes of the MBAP header: "MODBUS Messaging on TCP/IP V1.0b" section 3.1.3
	maxTCP     = 260 // bytes of a frame: header and 253 bytes of PDU
)

// TCP speaks Modbus TCP with one unit over a connection that it may share with others. It is not safe for concurrent use.
type TCP struct {
	unit    byte
	timeout time.Duration
	id      uint16 // transaction number of the last request
	out     []byte
	in      []byte
	frame   []byte // the reply, out of the way of what comes behind it
}

// NewTCP returns the framing for unit (0 to 255). timeout runs from the request to the end of the reply. Transaction numbers go on
// from id, which should be random: devices that share a connection and a unit would otherwise count alike.
func NewTCP(unit byte, timeout time.Duration, id uint16) *TCP {
	return &TCP{
		unit: unit, timeout: timeout, id: id,
		out: make([]byte, 0, 24), in: make([]byte, 4*maxTCP), frame: make([]byte, 0, maxTCP),
	}
}

// Probe never wants one: transaction numbers tell late replies.
func (*TCP) Probe(Request, []Request) (p Request, ok bool) { return Request{}, false }

// Exchange sends q and returns the bytes of its values, valid until the next Exchange. Else its error is an Exception, a
// NoReply, wraps drivers.ErrGone, or says what came that is no reply. A stream that is out of step is gone: nothing but a new
// connection brings it back into step.
func (t *TCP) Exchange(p drivers.Port, q Request) ([]byte, error) {
	t.id++
	b := binary.BigEndian.AppendUint16(t.out[:0], t.id)
	t.out = q.appendPDU(append(b, 0, 0, 0, 0, t.unit))
	t.out[headerSize-2] = byte(len(t.out) - headerSize + 1) // far below 256
	deadline := time.Now().Add(t.timeout)
	if err := errors.Join(p.SetWriteDeadline(deadline), p.SetReadDeadline(deadline)); err != nil {
		return nil, Unsent{gone("set deadline", err)}
	}
	switch n, err := p.Write(t.out); {
	case isUnsent(n, err, deadline):
		return nil, Unsent{fmt.Errorf("write: %w", err)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, gone("write", err)
	case err != nil:
		return nil, gone("write", fmt.Errorf("%w: %w", ErrHungUp, err))
	}
	return t.reply(p, q)
}

// reply waits for the reply to q, which has just been sent.
func (t *TCP) reply(p drivers.Port, q Request) ([]byte, error) {
	t.frame = t.frame[:0]
	var odd error
	for n := 0; ; {
		m, err := p.Read(t.in[n:])
		n += m
		for m > 0 {
			f, scanErr := scanTCP(t.in[:n])
			if scanErr != nil {
				return nil, gone("read", scanErr)
			}
			if f == nil {
				break
			}
			if id := binary.BigEndian.Uint16(f); id == t.id && len(t.frame) == 0 {
				t.frame = append(t.frame, f...)
			} else {
				odd = fmt.Errorf("a reply to transaction %d, want %d", id, t.id)
			}
			n = copy(t.in, t.in[len(f):n])
		}
		switch {
		case len(t.frame) > 0 && n == 0:
			return t.values(q)
		case errors.Is(err, os.ErrDeadlineExceeded) && n == 0:
			return nil, NoReply{q, t.timeout, odd}
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, gone("read", fmt.Errorf("a frame that does not end within %v: % x", t.timeout, t.in[:min(n, 16)]))
		case err != nil && n == 0:
			return nil, gone("read", fmt.Errorf("%w: %w", ErrHungUp, err))
		case err != nil:
			return nil, gone("read", err)
		}
	}
}

// values returns the bytes of the values in the frame received, which has the right transaction number.
func (t *TCP) values(q Request) ([]byte, error) {
	switch {
	case t.frame[headerSize-1] != t.unit:
		return nil, fmt.Errorf("a reply of unit %d, want %d", t.frame[headerSize-1], t.unit)
	case bytes.Equal(t.frame, t.out) && !q.Write.isEchoed():
		return nil, errEcho
	}
	return q.values(t.frame[headerSize:])
}

// scanTCP returns the frame that in begins with; nil when more has to come. An error says that the stream is out of step.
func scanTCP(in []byte) ([]byte, error) {
	if len(in) < headerSize-1 {
		return nil, nil
	}
	if protocol := binary.BigEndian.Uint16(in[2:]); protocol != 0 {
		return nil, fmt.Errorf("a header with protocol %d, want 0: this is not Modbus TCP, or out of step", protocol)
	}
	n := int(binary.BigEndian.Uint16(in[4:]))
	if n < 3 || headerSize-1+n > maxTCP { // unit, function and a byte at least
		return nil, fmt.Errorf("a header with length %d, want 3 to %d", n, maxTCP-headerSize+1)
	}
	if n += headerSize - 1; len(in) >= n {
		return in[:n], nil
	}
	return nil, nil
}
