package doctor

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/modbus/link"
)

const (
	bitsPerChar = 11 // "MODBUS over Serial Line V1.02" section 2.5.1
	// slack is how much later than on the wire bytes may be read: USB adapters hand them over every 16 ms.
	slack = 25 * time.Millisecond
	// echoWithin is how many bytes of noise may stand before an echo.
	echoWithin = 3
)

// An exchange is one request and what came until the next.
type exchange struct {
	at   time.Time
	ask  []byte // nil = what came before the first, or after something that is no request
	want int    // bytes of a right reply
	in   []byte
	when []time.Time // of each byte in in

	isEchoed bool // the request came back, and is not in in any more
	frames   []frame
	junk     []int // indexes in in of bytes that are of no frame
}

// A frame is some bytes with a right CRC at their end.
type frame struct {
	from  int // index in in
	bytes []byte
	asks  bool // a request, else a reply
}

func (e *exchange) unit() byte {
	if len(e.ask) == 0 {
		return 0
	}
	return e.ask[0]
}

// isReplyTo reports whether f answers the request, by values of the right shape or an exception.
func (f frame) isReplyTo(e *exchange) bool {
	if f.asks && len(f.bytes) != e.want || f.bytes[0] != e.unit() {
		return false
	}
	return f.bytes[1] == e.ask[1] && len(f.bytes) == e.want || f.bytes[1] == e.ask[1]|0x80
}

// split cuts traffic at the requests.
func split(traffic []drivers.Traffic) []exchange {
	list := []exchange{{}}
	for _, x := range traffic {
		if x.Out {
			e := exchange{at: x.At}
			if n := wanted(x.Bytes); n > 0 {
				e.ask, e.want = x.Bytes, n
			}
			list = append(list, e)
			continue
		}
		e := &list[len(list)-1]
		for i := range x.Bytes {
			at := x.Last
			if i == 0 {
				at = x.At
			}
			e.in, e.when = append(e.in, x.Bytes[i]), append(e.when, at)
		}
	}
	for i := range list {
		list[i].read()
	}
	return list
}

// wanted returns how long the reply to the request ask is; 0 = ask is none that is known.
func wanted(ask []byte) int {
	if len(ask) < 8 || link.CRC(ask) != 0 {
		return 0
	}
	quantity := int(binary.BigEndian.Uint16(ask[4:]))
	switch ask[1] {
	case 1, 2:
		return 3 + (quantity+7)/8 + 2
	case 3, 4:
		return 3 + 2*quantity + 2
	case 5, 6, 15, 16:
		return 8
	}
	return 0
}

// read finds echo, frames and junk in what came in.
func (e *exchange) read() {
	if at := bytes.Index(e.in, e.ask); e.ask != nil && at >= 0 && at <= echoWithin {
		e.isEchoed = true
		e.in = append(append([]byte(nil), e.in[:at]...), e.in[at+len(e.ask):]...)
		e.when = append(append([]time.Time(nil), e.when[:at]...), e.when[at+len(e.ask):]...)
	}
	for at := 0; at < len(e.in); {
		f, ok := frameAt(e.in, at)
		if !ok {
			e.junk = append(e.junk, at)
			at++
			continue
		}
		e.frames = append(e.frames, f)
		at += len(f.bytes)
	}
}

// frameAt returns the frame that begins at in[at].
func frameAt(in []byte, at int) (frame, bool) {
	b := in[at:]
	if len(b) < 5 || b[0] > 247 {
		return frame{}, false
	}
	function := b[1]
	reply, request := 0, 0
	switch {
	case function >= 1 && function <= 4:
		reply, request = 5+int(b[2]), 8
		if function >= 3 && b[2]%2 == 1 {
			reply = 0
		}
	case function == 5 || function == 6:
		reply, request = 8, 8
	case function == 15 || function == 16:
		reply = 8
		if len(b) >= 7 {
			request = 9 + int(b[6])
		}
	case function > 0x80:
		reply = 5
	}
	for _, n := range []int{reply, request} {
		if n >= 5 && n <= len(b) && link.CRC(b[:n]) == 0 {
			return frame{at, b[:n], n == request}, true
		}
	}
	return frame{}, false
}

// wire returns how long n characters take.
func (c Case) wire(n int) time.Duration {
	return time.Duration(n) * bitsPerChar * time.Second / time.Duration(max(c.Serial.Baud, 1))
}

// deadline returns until when a reply to e is in time.
func (c Case) deadline(e *exchange) time.Time {
	return e.at.Add(c.wire(len(e.ask)+e.want) + c.Timeout + slack)
}
