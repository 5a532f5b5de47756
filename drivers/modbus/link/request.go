package link

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
)

// Addresses is how many registers or bits a table has: "MODBUS Application Protocol V1.1b3" section 4.4.
const Addresses = 1 << 16

// MostWritten is how many registers one Request writes at most: as many as the widest number has.
const MostWritten = 4

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

// Function is one that writes, "MODBUS Application Protocol V1.1b3" sections 6.5, 6.6, 6.11 and 6.12. 0 = none: a Request that reads.
type Function byte

// The functions that write.
const (
	WriteCoil      Function = 5
	WriteRegister  Function = 6
	WriteCoils     Function = 15
	WriteRegisters Function = 16
)

// isEchoed reports whether the right reply to f is the request itself, byte for byte.
func (f Function) isEchoed() bool { return f == WriteCoil || f == WriteRegister }

// coilOn is what function 05 writes to switch a coil on, section 6.5; off is 0.
const coilOn = 0xff00

// Request is one question to a unit, or one order: Quantity registers (1 to 125) or bits (1 to 2000) of Table from Address on.
type Request struct {
	Table    Table
	Address  int // of the first, 0 to 65535
	Quantity int // of what is written 1 to MostWritten
	Write    Function
	Values   [MostWritten]uint16 // what is written; of a coil 0 or 1
}

// String returns the place in words: "holding 0..9", "coil 5".
func (q Request) String() string {
	s := q.Table.String() + " " + strconv.Itoa(q.Address)
	if q.Quantity > 1 {
		s += ".." + strconv.Itoa(q.Address+q.Quantity-1)
	}
	return s
}

// Deed returns what q does in words: "read of holding 0..9", "write of coil 5".
func (q Request) Deed() string {
	if q.Write != 0 {
		return "write of " + q.String()
	}
	return "read of " + q.String()
}

// Bytes returns how many bytes of values a right reply to a read holds: two a register, or one for each eight bits begun.
func (q Request) Bytes() int {
	if q.Table.IsBits() {
		return (q.Quantity + 7) / 8
	}
	return 2 * q.Quantity
}

// function returns q's function code.
func (q Request) function() byte {
	if q.Write != 0 {
		return byte(q.Write)
	}
	return byte(q.Table)
}

// replyBytes returns how long the PDU of a right reply is.
func (q Request) replyBytes() int {
	if q.Write != 0 {
		return 5
	}
	return 2 + q.Bytes()
}

// appendPDU appends q: function, first address, quantity (functions 05 and 06: the value), and what is written. Sections 6.1 to 6.6,
// 6.11 and 6.12.
func (q Request) appendPDU(b []byte) []byte {
	b = append(b, q.function())
	b = binary.BigEndian.AppendUint16(b, uint16(q.Address))
	switch {
	case q.Write == WriteCoil && q.Values[0] != 0:
		return binary.BigEndian.AppendUint16(b, coilOn)
	case q.Write.isEchoed():
		return binary.BigEndian.AppendUint16(b, q.Values[0])
	}
	b = binary.BigEndian.AppendUint16(b, uint16(q.Quantity))
	if q.Write == 0 {
		return b
	}
	b = append(b, byte(q.Bytes()))
	if q.Write == WriteCoils {
		var bits byte // MostWritten are fewer than eight
		for i, v := range q.Values[:q.Quantity] {
			if v != 0 {
				bits |= 1 << i
			}
		}
		return append(b, bits)
	}
	for _, v := range q.Values[:q.Quantity] {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return b
}

// values returns the bytes of the values in pdu, which answers q, or why it does not: an Exception, or another error for what
// is no reply to q. Of a write they are what the unit repeats of it.
func (q Request) values(pdu []byte) ([]byte, error) {
	switch {
	case len(pdu) < 2:
		return nil, fmt.Errorf("a reply of %d bytes, want at least 2", len(pdu))
	case pdu[0] == q.function()|0x80 && len(pdu) == 2:
		return nil, Exception(pdu[1])
	case pdu[0] == q.function()|0x80:
		return nil, fmt.Errorf("an exception of %d bytes, want 2", len(pdu))
	case pdu[0] != q.function():
		return nil, fmt.Errorf("a reply to function 0x%02x, want 0x%02x", pdu[0], q.function())
	case q.Write != 0:
		return q.taken(pdu)
	case int(pdu[1]) != q.Bytes():
		return nil, fmt.Errorf("a reply with byte count %d, want %d", pdu[1], q.Bytes())
	case len(pdu) != 2+q.Bytes():
		return nil, fmt.Errorf("a reply with %d bytes of values, want %d", len(pdu)-2, q.Bytes())
	}
	return pdu[2:], nil
}

// taken returns the four bytes in which pdu, the reply to a write, repeats address and value (or quantity), or says that they are others.
func (q Request) taken(pdu []byte) ([]byte, error) {
	if len(pdu) != q.replyBytes() {
		return nil, fmt.Errorf("a reply of %d bytes to a write, want %d", len(pdu), q.replyBytes())
	}
	var room [16]byte
	want := q.appendPDU(room[:0])[:len(pdu)]
	if !bytes.Equal(pdu, want) {
		return nil, fmt.Errorf("a reply that repeats % x of the write, want % x", pdu[1:], want[1:])
	}
	return pdu[1:], nil
}
