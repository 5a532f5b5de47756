package link

import (
	"encoding/binary"
	"fmt"
)

// Explain says in words what the bytes are that were sent (out), or that came in since: an RTU frame, or a TCP one, which begins with its
// header. It returns "" for what is no whole frame (yet). It is for people; values are never taken from it.
func Explain(out bool, b []byte) string {
	if frame, err := scanTCP(b); err == nil && frame != nil {
		text := fmt.Sprintf("%s, transaction %d", sayPDU(out, frame[headerSize-1], frame[headerSize:]), binary.BigEndian.Uint16(frame))
		return text + sayRest(b[len(frame):])
	}
	if out {
		return sayRTU(true, b)
	}
	if len(b) >= requestFrame && checksum(b[:requestFrame]) == 0 && frameLength(b) != requestFrame { // a line that echoes
		if len(b) == requestFrame {
			return "echo of the " + sayRTU(true, b)
		}
		if next := Explain(false, b[requestFrame:]); next != "" {
			return "echo, then " + next
		}
		return ""
	}
	n := frameLength(b)
	if n == 0 || n > len(b) || b[2] == 0 { // no reply has 0 there; the header of TCP has
		return ""
	}
	return sayRTU(false, b[:n]) + sayRest(b[n:])
}

// requestFrame is how many bytes a request that reads takes as an RTU frame.
const requestFrame = 8

// sayRTU says what the RTU frame b is, its CRC included.
func sayRTU(out bool, b []byte) string {
	if len(b) < 4 {
		return ""
	}
	body := b[:len(b)-2]
	verdict := "CRC right"
	if got, want := binary.LittleEndian.Uint16(b[len(body):]), checksum(body); got != want {
		verdict = fmt.Sprintf("CRC 0x%04x is WRONG, want 0x%04x", got, want)
	}
	return sayPDU(out, body[0], body[1:]) + ", " + verdict
}

// sayPDU says what a unit is asked or answers; pdu is not empty.
func sayPDU(out bool, unit byte, pdu []byte) string {
	function := pdu[0]
	who := fmt.Sprintf("reply of unit %d: function %02x", unit, function&0x7f)
	if out {
		who = fmt.Sprintf("request to unit %d: function %02x", unit, function)
	}
	table := Table(function & 0x7f)
	known := table >= Coil && table <= Input
	switch {
	case !out && function > 0x80 && len(pdu) > 1:
		return who + ", " + Exception(pdu[1]).Error()
	case out && known && len(pdu) == 5:
		q := Request{Table: table, Address: int(binary.BigEndian.Uint16(pdu[1:])), Quantity: int(binary.BigEndian.Uint16(pdu[3:]))}
		return fmt.Sprintf("%s, %s (quantity %d)", who, q, q.Quantity)
	case !out && known && len(pdu) > 1:
		text := fmt.Sprintf("%s, %s, %d bytes of values", who, table, pdu[1])
		if got := len(pdu) - 2; got != int(pdu[1]) {
			text += fmt.Sprintf(" said, %d there", got)
		}
		return text
	}
	return who + fmt.Sprintf(", %d bytes more", len(pdu)-1)
}

// sayRest mentions what stands behind a frame.
func sayRest(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return fmt.Sprintf("; %d bytes more behind it", len(b))
}
