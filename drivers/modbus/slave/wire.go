package slave

import "fmt"

// rtuWire frames with unit number and CRC.
type rtuWire struct{}

// take slides over b until a request with a right CRC begins. It needs no pauses between frames.
func (rtuWire) take(b []byte) (a asked, used int, err error) {
	for from := 0; from+4 <= len(b); from++ {
		size := requestSize(b[from:])
		if size == 0 || from+size > len(b) {
			continue
		}
		frame := b[from : from+size]
		lo, hi := crc16(frame[:size-2])
		if frame[size-2] == lo && frame[size-1] == hi {
			return asked{unit: frame[0], pdu: frame[1 : size-2]}, from + size, nil
		}
	}
	return asked{}, max(0, len(b)-270), nil // longer than any frame: what is in front never becomes one
}

// requestSize returns how long the request is that b begins with; 0 when there is no telling.
func requestSize(b []byte) int {
	switch b[1] {
	case 1, 2, 3, 4, 5, 6, 8:
		return 8
	case 7, 11, 12, 17:
		return 4
	case 15, 16:
		if len(b) >= 7 {
			return 9 + int(b[6])
		}
	case 22:
		return 10
	case 43:
		return 7
	}
	return 0
}

func (rtuWire) frame(a asked, pdu []byte) []byte {
	b := append([]byte{a.unit}, pdu...)
	lo, hi := crc16(b)
	return append(b, lo, hi)
}

// crc16 computes the CRC bit by bit as "MODBUS over Serial Line V1.02" section 6.2.2 tells it in words, low byte first.
func crc16(b []byte) (lo, hi byte) {
	reg := 0xFFFF
	for _, c := range b {
		reg ^= int(c)
		for range 8 {
			odd := reg&1 != 0
			reg /= 2
			if odd {
				reg ^= 0xA001
			}
		}
	}
	return byte(reg % 256), byte(reg / 256)
}

// tcpWire frames with the MBAP header.
type tcpWire struct{}

func (tcpWire) take(b []byte) (a asked, used int, err error) {
	if len(b) < 8 {
		return asked{}, 0, nil
	}
	if b[2] != 0 || b[3] != 0 {
		return asked{}, 0, fmt.Errorf("protocol is 0x%02x%02x, want 0", b[2], b[3])
	}
	size := 6 + 256*int(b[4]) + int(b[5])
	if size < 8 || size > 260 {
		return asked{}, 0, fmt.Errorf("length is %d, want 2 to 254", size-6)
	}
	if len(b) < size {
		return asked{}, 0, nil
	}
	return asked{unit: b[6], id: uint16(b[0])*256 + uint16(b[1]), pdu: b[7:size]}, size, nil
}

func (tcpWire) frame(a asked, pdu []byte) []byte {
	n := len(pdu) + 1
	return append([]byte{byte(a.id / 256), byte(a.id % 256), 0, 0, byte(n / 256), byte(n % 256), a.unit}, pdu...)
}
