// Package slave is the far end of a Modbus line or connection: units whose registers are given by a function, with counts of what
// was answered and faults on demand. It serves demo, rigs and tests.
//
// It shares no code with the driver: frames, CRC and limits are written a second time here, straight from "MODBUS Application
// Protocol V1.1b3" and "MODBUS over Serial Line V1.02", so that a mistake in one does not hide in the other.
package slave

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync/atomic"
	"time"
)

// Table is one of a unit's four tables; its number is the function that reads it.
type Table byte

// The tables, in the order of their functions.
const (
	Coils     Table = 1
	Discretes Table = 2
	Holdings  Table = 3
	Inputs    Table = 4
)

// Exception is an exception code of "MODBUS Application Protocol V1.1b3" section 7; 0 = none.
type Exception byte

// The exceptions a slave gives by itself; Values and Write may give others.
const (
	NoException     Exception = 0
	IllegalFunction Exception = 1 // a function other than 01 to 06, 15 and 16, or one that writes where Write is nil
	IllegalAddress  Exception = 2 // the request ends beyond address 65535
	IllegalValue    Exception = 3 // a quantity that the function does not have, or a coil that is neither on nor off
)

// Request is what a master asks one unit for, or orders it to write.
type Request struct {
	Unit              byte
	Table             Table
	Address, Quantity uint16
	Function          byte // 1 to 4 read; 5, 6, 15 and 16 write
}

// writes reports whether q is an order.
func (q Request) writes() bool { return q.Function > byte(Inputs) }

// Slave answers for several units. Its fields are set before the first Serve and not changed after; its methods are safe for
// concurrent use, and the functions in its fields are called by each Serve concurrently.
type Slave struct {
	// Units are those that exist; requests to others are not answered.
	Units []byte
	// Values fills out with the content of len(out) registers, or bits (0 or 1), and returns NoException; or refuses.
	Values func(q Request, out []uint16) Exception
	// Write takes the len(values) registers, or bits (0 or 1), that are to be written, or refuses. nil = nothing can be written.
	Write func(q Request, values []uint16) Exception
	// Answered, if set, is called right after a reply with values, true to the protocol, has been written.
	Answered func(q Request)
	// Fault, if set, says what goes wrong with the reply to q; the zero Fault is nothing.
	Fault func(q Request) Fault

	counts [256]struct{ requests, values, writes, exceptions atomic.Uint64 }
}

// Count says what one unit has answered.
type Count struct {
	Requests   uint64 // replies with values that were true to the protocol, whether anybody waited for them or not
	Values     uint64 // registers and bits in them
	Writes     uint64 // replies to writes
	Exceptions uint64 // exceptions
}

// Count returns what unit has answered so far.
func (s *Slave) Count(unit byte) Count {
	c := &s.counts[unit]
	return Count{c.requests.Load(), c.values.Load(), c.writes.Load(), c.exceptions.Load()}
}

// ServeRTU answers RTU frames on rw, the line's far end, until ctx is done (nil) or rw fails. When ctx is done it closes rw if
// that is an io.Closer, to end a Read in progress; else it returns after the next byte.
func (s *Slave) ServeRTU(ctx context.Context, rw io.ReadWriter) error {
	return s.serve(ctx, rw, rtuWire{})
}

// ServeTCP answers TCP frames on conn, a connection that was accepted, and closes it when ctx is done (nil), when the master
// hung up (nil) or on an error.
func (s *Slave) ServeTCP(ctx context.Context, conn io.ReadWriteCloser) error {
	err := s.serve(ctx, conn, tcpWire{})
	if closeErr := conn.Close(); err == nil && ctx.Err() == nil && closeErr != nil {
		err = fmt.Errorf("close: %w", closeErr)
	}
	return err
}

// asked is one request as it came in.
type asked struct {
	unit byte
	id   uint16 // TCP's transaction number
	pdu  []byte // nil = there is no request (yet)
}

// wire is a framing as the slave sees it.
type wire interface {
	// take finds the first request in b; used is how many bytes are done with. An error says that the stream is out of step.
	take(b []byte) (a asked, used int, err error)
	// frame puts pdu into a frame that answers a.
	frame(a asked, pdu []byte) []byte
}

func (s *Slave) serve(ctx context.Context, rw io.ReadWriter, w wire) error {
	if c, ok := rw.(io.Closer); ok {
		stop := context.AfterFunc(ctx, func() { _ = c.Close() }) // Read says what is left to say
		defer stop()
	}
	at := line{s: s, rw: rw, w: w}
	in := make([]byte, 0, 1024)
	for {
		n, err := rw.Read(in[len(in):cap(in)])
		in = in[:len(in)+n]
		for len(in) > 0 {
			a, used, err := w.take(in)
			if err != nil {
				return stopped(ctx, fmt.Errorf("read request: %w", err))
			}
			if a.pdu != nil {
				if err := at.answer(ctx, a); err != nil {
					return stopped(ctx, fmt.Errorf("answer unit %d: %w", a.unit, err))
				}
			}
			in = in[:copy(in, in[used:])]
			if a.pdu == nil {
				break
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil || ctx.Err() != nil {
			return stopped(ctx, fmt.Errorf("read request: %w", err))
		}
	}
}

// stopped returns err, or nil when it only tells that ctx is done.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// line is one Serve under way.
type line struct {
	s    *Slave
	rw   io.ReadWriter
	w    wire
	late *reply // held back until the next request; nil = none
	out  [2000]uint16
}

// reply is what is going to be written.
type reply struct {
	q     Request
	code  Exception
	fault Fault
	wire  []byte // empty = nothing
}

// answer answers one request.
func (l *line) answer(ctx context.Context, a asked) error {
	if !slices.Contains(l.s.Units, a.unit) {
		return nil
	}
	if l.late != nil {
		late := *l.late
		l.late = nil
		if err := l.write(late); err != nil {
			return err
		}
	}
	r := l.decide(a)
	if r.fault.Delay > 0 {
		t := time.NewTimer(r.fault.Delay)
		defer t.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
	if r.fault.Late {
		l.late = &r
		return nil
	}
	return l.write(r)
}

// decide makes the reply to a.
func (l *line) decide(a asked) reply {
	q, code := parse(a.unit, a.pdu)
	r := reply{q: q, code: code}
	values := l.out[:q.Quantity]
	if q.writes() && l.s.Write == nil && code == NoException {
		r.code = IllegalFunction
	}
	if r.code == NoException && l.s.Fault != nil {
		r.fault = l.s.Fault(q)
		r.code = r.fault.Exception
	}
	switch {
	case r.code != NoException:
	case q.writes():
		written(a.pdu, values)
		r.code = l.s.Write(q, values)
	default:
		r.code = l.s.Values(q, values)
	}
	r.wire = r.fault.spoil(l.w, a, replyPDU(a.pdu, q, values, r.code))
	return r
}

// write writes r and counts it.
func (l *line) write(r reply) error {
	if len(r.wire) > 0 {
		if _, err := l.rw.Write(r.wire); err != nil {
			return err
		}
	}
	c := &l.s.counts[r.q.Unit]
	switch {
	case r.fault.Kind.isLie():
	case r.code != NoException:
		c.exceptions.Add(1)
	case r.q.writes():
		c.writes.Add(1)
	default:
		c.requests.Add(1)
		c.values.Add(uint64(r.q.Quantity))
		if l.s.Answered != nil {
			l.s.Answered(r.q)
		}
	}
	return nil
}

// functions says what each function is about, how many registers or bits it has at most, and whether it has a quantity: sections 6.1 to 6.6,
// 6.11 and 6.12.
var functions = map[byte]struct {
	table    Table
	most     uint16
	isSingle bool
}{
	1: {Coils, 2000, false}, 2: {Discretes, 2000, false}, 3: {Holdings, 125, false}, 4: {Inputs, 125, false},
	5: {Coils, 1, true}, 6: {Holdings, 1, true}, 15: {Coils, 1968, false}, 16: {Holdings, 123, false},
}

// parse reads a request; for what is none it returns the exception to answer with.
func parse(unit byte, pdu []byte) (Request, Exception) {
	f, ok := functions[pdu[0]]
	if !ok {
		return Request{Unit: unit}, IllegalFunction
	}
	q := Request{Unit: unit, Table: f.table, Function: pdu[0]}
	body := 0 // bytes behind the fifth
	if pdu[0] == 15 || pdu[0] == 16 {
		body = 1
	}
	if len(pdu) < 5+body {
		return Request{Unit: unit}, IllegalValue
	}
	q.Address = uint16(pdu[1])<<8 + uint16(pdu[2])
	value := uint16(pdu[3])<<8 + uint16(pdu[4])
	quantity := value
	if f.isSingle {
		quantity = 1
	}
	if quantity == 0 || quantity > f.most || pdu[0] == 5 && value != 0 && value != 0xff00 {
		return q, IllegalValue
	}
	switch pdu[0] {
	case 15:
		body += (int(quantity) + 7) / 8
	case 16:
		body += 2 * int(quantity)
	}
	if len(pdu) != 5+body || body > 0 && int(pdu[5]) != body-1 {
		return Request{Unit: unit}, IllegalValue
	}
	if int(q.Address)+int(quantity) > 65536 {
		return q, IllegalAddress
	}
	q.Quantity = quantity
	return q, NoException
}

// written fills values with what pdu, which parse has read, orders to be written.
func written(pdu []byte, values []uint16) {
	for i := range values {
		switch pdu[0] {
		case 5:
			values[i] = uint16(pdu[3] & 1)
		case 6:
			values[i] = uint16(pdu[3])<<8 + uint16(pdu[4])
		case 15:
			values[i] = uint16(pdu[6+i/8]>>(i%8)) & 1
		case 16:
			values[i] = uint16(pdu[6+2*i])<<8 + uint16(pdu[7+2*i])
		}
	}
}

// replyPDU builds the PDU that answers the request in pdu.
func replyPDU(pdu []byte, q Request, values []uint16, code Exception) []byte {
	function := pdu[0]
	if code != NoException {
		return []byte{function + 0x80, byte(code)}
	}
	if q.writes() {
		return append([]byte(nil), pdu[:5]...) // sections 6.5, 6.6, 6.11 and 6.12: the request's beginning
	}
	if q.Table <= Discretes {
		b := make([]byte, 2+(len(values)+7)/8)
		b[0], b[1] = function, byte(len(b)-2)
		for i, v := range values {
			if v != 0 {
				b[2+i/8] |= 1 << (i % 8)
			}
		}
		return b
	}
	b := make([]byte, 2, 2+2*len(values))
	b[0], b[1] = function, byte(2*len(values))
	for _, v := range values {
		b = append(b, byte(v>>8), byte(v))
	}
	return b
}
