package column

import (
	"math"
	"math/bits"

	"github.com/tidegate-io/tidegate"
)

// Numbers is a column: the values of one series, in order, as tidegate.RawValue takes them.
type Numbers struct {
	Kind   tidegate.Kind // float, int or uint
	Values []uint64      // one or more
	code   byte
}

// The code of a column of numbers: one byte.
const (
	codeOrder  = 0x03 // one of the orders below
	codeExp    = 0x3c // decimal exponent of floats in orders 0 to 2, times 4
	codeSingle = 0x40 // floats are singles
	codeKnown  = codeOrder | codeExp | codeSingle
)

// The orders in which a column of numbers is written.
const (
	orderPlain  = 0 // planes of the numbers themselves
	orderDelta  = 1 // first number, then differences
	orderDelta2 = 2 // first number, first difference, then differences of the differences
	orderXor    = 3 // floats only: planes of the bits, each XOR the bits before it
)

// maxExp is the largest decimal exponent tried and accepted.
const maxExp = 15

// exactInt is the first whole number beyond which doubles leave whole numbers out.
const exactInt = 1 << 53

// pow10 are the powers of ten up to maxExp, all exact.
var pow10 = [maxExp + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// undecimal is what a decoder makes of the whole number m and the exponent: the double nearest to m / 10^exp and, for singles,
// the single nearest to that, widened.
func undecimal(m int64, exp int, single bool) float64 {
	f := float64(m) / pow10[exp]
	if single {
		return float64(float32(f))
	}
	return f
}

// decimal looks for the whole number of which undecimal makes exactly the double with these bits.
func decimal(raw uint64, exp int, single bool) (m int64, ok bool) {
	scaled := math.RoundToEven(math.Float64frombits(raw) * pow10[exp])
	if !(math.Abs(scaled) < exactInt) { // also NaN
		return 0, false
	}
	m = int64(scaled)
	return m, math.Float64bits(undecimal(m, exp, single)) == raw
}

// decimals turns the bits of doubles in col into whole numbers at the smallest exponent that suits all of them, into out.
func decimals(out, col []uint64, single bool) (exp int, ok bool) {
	for i := 0; i < len(col); {
		m, ok := decimal(col[i], exp, single)
		switch {
		case ok:
			out[i] = uint64(m)
			i++
		case exp == maxExp:
			return 0, false
		default: // again from the start with the next exponent: an earlier number may have become too large for it
			exp++
			i = 0
		}
	}
	return exp, true
}

// IsSingle reports whether a single holds the double with these bits exactly. NaN never counts: conversion may change its bits.
func IsSingle(raw uint64) bool {
	f := math.Float64frombits(raw)
	return float64(float32(f)) == f // the sign of zero survives the conversion
}

// encodeFloats prepares the bits of doubles in col for writing, with scratch of the same length: col becomes whole numbers, or
// bits of doubles or singles. It returns the code so far.
func encodeFloats(col, scratch []uint64) byte {
	if exp, ok := decimals(scratch, col, false); ok {
		copy(col, scratch)
		return byte(exp << 2)
	}
	for _, raw := range col {
		if !IsSingle(raw) {
			return orderXor
		}
	}
	if exp, ok := decimals(scratch, col, true); ok {
		copy(col, scratch)
		return byte(exp<<2) | codeSingle
	}
	for i, raw := range col {
		col[i] = uint64(math.Float32bits(float32(math.Float64frombits(raw))))
	}
	return orderXor | codeSingle
}

// pickOrder chooses how to write the whole numbers of col: by the bits of their differences as the estimate of what zstd leaves
// of them, and plain where that is shorter.
func pickOrder(col []uint64, kind tidegate.Kind) byte {
	var bits1, bits2, bytes1, bytes2 int
	var last uint64
	for i := 1; i < len(col); i++ {
		delta := col[i] - col[i-1]
		z1, z2 := Zigzag(int64(delta)), Zigzag(int64(delta-last))
		last = delta
		bits1 += bits.Len64(z1)
		bits2 += bits.Len64(z2)
		bytes1 += uvarintLen(z1)
		bytes2 += uvarintLen(z2)
	}
	order, size := byte(orderDelta), bytes1
	if bits2 < bits1 {
		order, size = orderDelta2, bytes2
	}
	if 1+len(col)*planesWidth(col, kind) < size+uvarintLen(Zigzag(int64(col[0]))) {
		return orderPlain
	}
	return order
}

// plain returns how v stands in planes: as it is for Uint, else in zigzag; unplain is its inverse.
func plain(v uint64, kind tidegate.Kind) uint64 {
	if kind == tidegate.KindUint {
		return v
	}
	return Zigzag(int64(v))
}

func unplain(v uint64, kind tidegate.Kind) uint64 {
	if kind == tidegate.KindUint {
		return v
	}
	return uint64(unzigzag(v))
}

// planesWidth returns how many bytes, 1 to 8, the largest number of col takes in planes.
func planesWidth(col []uint64, kind tidegate.Kind) int {
	var all uint64
	for _, v := range col {
		all |= plain(v, kind)
	}
	return (bits.Len64(all|1) + 7) / 8
}

// appendPlanes appends the lowest bytes of all numbers of col, then the next, to width.
func appendPlanes(dst []byte, col []uint64, width int) []byte {
	for shift := 0; shift < 8*width; shift += 8 {
		for _, v := range col {
			dst = append(dst, byte(v>>shift))
		}
	}
	return dst
}

// planes reads what appendPlanes wrote into col.
func (r *Reader) planes(col []uint64, width int) {
	clear(col)
	for shift := 0; shift < 8*width; shift += 8 {
		plane := r.Take(len(col), "plane of numbers")
		if plane == nil {
			return
		}
		for i := range col {
			col[i] |= uint64(plane[i]) << shift
		}
	}
}

// appendDeltas appends the numbers of col behind the first as differences, or as differences of differences.
func appendDeltas(dst []byte, col []uint64, order byte) []byte {
	var last uint64
	for i := 1; i < len(col); i++ {
		delta := col[i] - col[i-1]
		dst = AppendSvarint(dst, int64(delta-last))
		if order == orderDelta2 {
			last = delta
		}
	}
	return dst
}

// deltas reads what appendDeltas wrote into col, whose first number is there already.
func (r *Reader) deltas(col []uint64, order byte) {
	v := col[0]
	var delta uint64
	for i := 1; i < len(col); i++ {
		if order == orderDelta2 {
			delta += uint64(r.Svarint())
		} else {
			delta = uint64(r.Svarint())
		}
		v += delta
		col[i] = v
	}
}

// appendPlain appends the numbers of col as planes behind a byte with their width. It changes col.
func appendPlain(dst []byte, col []uint64, kind tidegate.Kind) []byte {
	width := planesWidth(col, kind)
	for i, v := range col {
		col[i] = plain(v, kind)
	}
	return appendPlanes(append(dst, byte(width)), col, width)
}

// plain reads what appendPlain wrote into col.
func (r *Reader) plain(col []uint64, kind tidegate.Kind) {
	b := r.Take(1, "width of planes")
	if b == nil {
		return
	}
	if b[0] < 1 || b[0] > 8 {
		r.Fail("width of planes: got %d, want 1 to 8", b[0])
		return
	}
	r.planes(col, int(b[0]))
	for i, v := range col {
		col[i] = unplain(v, kind)
	}
}

// xorWidth returns how many bytes a number takes in order xor.
func xorWidth(code byte) int {
	if code&codeSingle != 0 {
		return 4
	}
	return 8
}

// appendXor appends the bits of floats in col, each XOR the one before it, as planes. It changes col.
func appendXor(dst []byte, col []uint64, code byte) []byte {
	for i := len(col) - 1; i > 0; i-- {
		col[i] ^= col[i-1]
	}
	return appendPlanes(dst, col, xorWidth(code))
}

// xor reads what appendXor wrote into col.
func (r *Reader) xor(col []uint64, code byte) {
	r.planes(col, xorWidth(code))
	for i := 1; i < len(col); i++ {
		col[i] ^= col[i-1]
	}
}

// decodeFloats turns what was read of a column with this code into the bits of doubles.
func decodeFloats(col []uint64, code byte) {
	single := code&codeSingle != 0
	switch {
	case code&codeOrder != orderXor:
		exp := int(code&codeExp) >> 2
		for i, m := range col {
			col[i] = math.Float64bits(undecimal(int64(m), exp, single))
		}
	case single:
		for i, raw := range col {
			col[i] = math.Float64bits(float64(math.Float32frombits(uint32(raw))))
		}
	}
}
