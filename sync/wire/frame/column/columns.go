package column

import (
	"github.com/tidegate-io/tidegate"
)

// AppendNumbers appends columns of numbers: all codes, all first numbers, all differences, all planes. Like stands beside like,
// which is what a compressor makes the most of. It changes the values.
func AppendNumbers(dst []byte, cols []Numbers) []byte {
	var scratch []uint64
	for i := range cols {
		c := &cols[i]
		c.code = 0
		if c.Kind == tidegate.KindFloat {
			if len(scratch) < len(c.Values) {
				scratch = make([]uint64, len(c.Values))
			}
			c.code = encodeFloats(c.Values, scratch[:len(c.Values)])
		}
		if c.code&codeOrder != orderXor {
			c.code |= pickOrder(c.Values, c.Kind)
		}
		dst = append(dst, c.code)
	}
	var first uint64
	for i := range cols {
		if c := &cols[i]; c.stepped() {
			dst = AppendSvarint(dst, int64(c.Values[0]-first))
			first = c.Values[0]
		}
	}
	for i := range cols {
		if c := &cols[i]; c.stepped() {
			dst = appendDeltas(dst, c.Values, c.code&codeOrder)
		}
	}
	for i := range cols {
		switch c := &cols[i]; c.code & codeOrder {
		case orderPlain:
			dst = appendPlain(dst, c.Values, c.Kind)
		case orderXor:
			dst = appendXor(dst, c.Values, c.code)
		}
	}
	return dst
}

// Numbers reads what AppendNumbers wrote into the values of cols, of which kinds and lengths are known.
func (r *Reader) Numbers(cols []Numbers) {
	for i := range cols {
		cols[i].code = r.code(cols[i].Kind)
	}
	if r.err != nil {
		return
	}
	var first uint64
	for i := range cols {
		if c := &cols[i]; c.stepped() {
			first += uint64(r.Svarint())
			c.Values[0] = first
		}
	}
	for i := range cols {
		if c := &cols[i]; c.stepped() {
			r.deltas(c.Values, c.code&codeOrder)
		}
	}
	for i := range cols {
		switch c := &cols[i]; c.code & codeOrder {
		case orderPlain:
			r.plain(c.Values, c.Kind)
		case orderXor:
			r.xor(c.Values, c.code)
		}
	}
	for i := range cols {
		if c := &cols[i]; c.Kind == tidegate.KindFloat {
			decodeFloats(c.Values, c.code)
		}
	}
}

// stepped reports whether c begins with its first number and goes on by differences.
func (c *Numbers) stepped() bool {
	order := c.code & codeOrder
	return order == orderDelta || order == orderDelta2
}

// code reads the code of a column of kind.
func (r *Reader) code(kind tidegate.Kind) byte {
	code := r.Byte("code")
	allowed := byte(codeOrder)
	if kind == tidegate.KindFloat {
		allowed = codeKnown
	}
	isXor := code&codeOrder == orderXor
	if code&^allowed != 0 || isXor && (kind != tidegate.KindFloat || code&codeExp != 0) {
		r.Fail("got code %#02x for numbers of kind %d", code, uint8(kind))
		return 0
	}
	return code
}
