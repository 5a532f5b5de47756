package sweep

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tidegate-io/tidegate/drivers/modbus/link"
)

// A frame is an RTU frame without its CRC.
type frame struct {
	unit byte
	pdu  []byte
}

// frames returns the frames in b that have a right CRC and a shape that functions 01 to 06, 15, 16 or an exception can have, whatever lies
// between them.
func frames(b []byte) (out []frame) {
	for from := 0; from+4 <= len(b); {
		size := frameSize(b[from:])
		if size == 0 {
			from++
			continue
		}
		out = append(out, frame{unit: b[from], pdu: b[from+1 : from+size-2]})
		from += size
	}
	return out
}

// frameSize returns how long the frame is that b begins with; 0 = it begins with none. Where it can be a request and a reply, what has
// the right CRC decides.
func frameSize(b []byte) int {
	if b[0] > LastUnit {
		return 0
	}
	sizes := [3]int{}
	switch function := b[1]; {
	case function >= 1 && function <= 4:
		sizes = [3]int{8, 5 + int(b[2])}
	case function == 5 || function == 6:
		sizes = [3]int{8}
	case function == 15 || function == 16:
		sizes = [3]int{8}
		if len(b) > 6 {
			sizes[1] = 9 + int(b[6])
		}
	case function >= 0x81 && function <= 0x90:
		sizes = [3]int{5}
	}
	for _, n := range sizes {
		if n > 0 && n <= len(b) && link.CRC(b[:n]) == 0 {
			return n
		}
	}
	return 0
}

// appendRequest appends the frame that asks unit for holding register 0: function 03, section 6.3 of the application protocol. A unit that
// has none answers with an exception, which tells as much.
func appendRequest(b []byte, unit byte) []byte {
	b = append(b, unit, 3, 0, 0, 0, 1)
	return binary.LittleEndian.AppendUint16(b, link.CRC(b))
}

// answer returns what f says if it answers appendRequest's request to one of units.
func answer(f frame, units []byte) (said string, ok bool) {
	switch {
	case !slices.Contains(units, f.unit):
		return "", false
	case len(f.pdu) == 4 && f.pdu[0] == 3 && f.pdu[1] == 2:
		return fmt.Sprintf("holding 0 = %d", binary.BigEndian.Uint16(f.pdu[2:])), true
	case len(f.pdu) == 2 && f.pdu[0] == 0x83:
		return fmt.Sprintf("exception %02x", f.pdu[1]), true
	}
	return "", false
}

// Hear says which units speak in b, as it came in on a serial line; "" where there are not two frames with a right CRC: one alone may be
// chance.
func Hear(b []byte) string {
	list := frames(b)
	if len(list) < 2 {
		return ""
	}
	var units []byte
	for _, f := range list {
		if !slices.Contains(units, f.unit) {
			units = append(units, f.unit)
		}
	}
	slices.Sort(units)
	words := make([]string, len(units))
	for i, u := range units {
		words[i] = strconv.Itoa(int(u))
	}
	return "Modbus RTU, another master asks unit " + strings.Join(words, ", ")
}
