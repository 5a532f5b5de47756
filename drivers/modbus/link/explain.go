package link

import (
	"encoding/binary"
	"fmt"
)

// Explain says in words what the bytes are that were sent (out), or that came in since: an RTU frame, or a TCP one, which begins with its
// header. It returns "" for what is no whole frame (yet). It is for people; values are never taken from it.
func Explain(out bool, b []byte) string {
	asked := requestLength(b)
	isAsked := asked > 0 && asked <= len(b) && CRC(b[:asked]) == 0 // some begin like a TCP frame
	if frame, err := scanTCP(b); err == nil && frame != nil && !isAsked {
		text := fmt.Sprintf("%s, transaction %d", sayPDU(out, frame[headerSize-1], frame[headerSize:]), binary.BigEndian.Uint16(frame))
		return text + sayRest(b[len(frame):])
	}
	if out {
		return sayRTU(true, b)
	}
	if isAsked && frameLength(b) != asked { // a line that echoes
		if len(b) == asked {
			return "echo of the " + sayRTU(true, b)
		}
		if next := Explain(false, b[asked:]); next != "" {
			return "echo, then " + next
		}
		return ""
	}
	n := frameLength(b)
	isWrite := n == 8 && b[1] > byte(Input)
	if n == 0 || n > len(b) || b[2] == 0 && !isWrite { // no other reply has 0 there; the header of TCP has
		return ""
	}
	return sayRTU(false, b[:n]) + sayRest(b[n:])
}

// requestLength returns how many bytes a request that begins with b has as an RTU frame; 0 when that cannot be told (yet).
func requestLength(b []byte) int {
	switch {
	case len(b) < 8:
		return 0
	case b[1] == byte(WriteCoils) || b[1] == byte(WriteRegisters):
		return 9 + int(b[6])
	}
	return 8
}

// sayRTU says what the RTU frame b is, its CRC included.
func sayRTU(out bool, b []byte) string {
	if len(b) < 4 {
		return ""
	}
	body := b[:len(b)-2]
	verdict := "CRC right"
	if got, want := binary.LittleEndian.Uint16(b[len(body):]), CRC(body); got != want {
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
	case len(pdu) >= 5:
		if text := sayWrite(out, Function(function), pdu[1:]); text != "" {
			return who + ", " + text
		}
	}
	return who + fmt.Sprintf(", %d bytes more", len(pdu)-1)
}

// mostShown is how many registers of a write are shown.
const mostShown = 8

// sayWrite says what is written, or was; body, at least 4 bytes, follows the function. "" = that cannot be told.
func sayWrite(out bool, f Function, body []byte) string {
	q := Request{Table: Holding, Address: int(binary.BigEndian.Uint16(body)), Quantity: 1}
	n := binary.BigEndian.Uint16(body[2:])
	switch {
	case f == WriteCoil || f == WriteCoils:
		q.Table = Coil
	case f != WriteRegister && f != WriteRegisters:
		return ""
	}
	if f.isEchoed() {
		switch {
		case f == WriteRegister:
			return fmt.Sprintf("%s = %d (0x%04x)", q, n, n)
		case n == coilOn:
			return q.String() + " = on"
		case n == 0:
			return q.String() + " = off"
		}
		return fmt.Sprintf("%s = 0x%04x, which is neither on (ff00) nor off (0000)", q, n)
	}
	q.Quantity = int(n)
	text := fmt.Sprintf("%s (quantity %d)", q, n)
	if !out {
		return text + " written"
	}
	if len(body) < 5 {
		return ""
	}
	shown := body[5:]
	if most := 2 * mostShown; len(shown) > most {
		return fmt.Sprintf("%s = % x ...", text, shown[:most])
	}
	return fmt.Sprintf("%s = % x", text, shown)
}

// sayRest mentions what stands behind a frame.
func sayRest(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return fmt.Sprintf("; %d bytes more behind it", len(b))
}
