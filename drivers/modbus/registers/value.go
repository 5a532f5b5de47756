package registers

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/modbus/link"
)

// form says what a value is built as.
type form byte

const (
	formUint form = iota
	formInt
	formFloat
	formBit
	formText
)

// Value is one channel: where it lies and what is made of its registers.
type Value struct {
	Channel, Unit string
	Entry         int // index of its entry, see Lay
	At            int // index of its reading, see Lay

	Table    link.Table
	Address  int
	Size     int            // registers; of coils and discrete inputs: bits, which is 1
	IsOutput bool           // it can be written
	Limits   drivers.Limits // of an output

	form  form
	bit   int           // of a register, where form is formBit
	write link.Function // of an output

	swapBytes, swapWords bool
	scaled               bool
	// the value is (number x factor + addend) / divisor, where scaled
	factor, addend, divisor float64
	min, max                float64 // bounds of what can be true
	enum                    map[int64]string
}

// End returns the address behind v.
func (v *Value) End() int { return v.Address + v.Size }

// Read returns the request that reads v and nothing else; its String is v's place in words: "holding 12..13".
func (v *Value) Read() link.Request {
	return link.Request{Table: v.Table, Address: v.Address, Quantity: v.Size}
}

func (v *Value) isRegisterBit() bool { return v.form == formBit && !v.Table.IsBits() }

// String describes v for the technician: "holding 12..13, float".
func (v *Value) String() string {
	s := v.Read().String()
	switch {
	case v.isRegisterBit():
		s += " bit " + strconv.Itoa(v.bit)
	case v.form == formInt:
		s += ", signed"
	case v.form == formFloat:
		s += ", float"
	case v.form == formText:
		s += ", text"
	}
	if v.IsOutput {
		s += ", output"
	}
	return s
}

// Sort orders values as they lie: by table, address, bit; equal ones as they are configured.
func Sort(vs []Value) {
	slices.SortStableFunc(vs, func(a, b Value) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(a.Address, b.Address), cmp.Compare(a.bit, b.bit))
	})
}

// Kind returns the kind of the Values that v is reported as.
func (v *Value) Kind() tidegate.Kind {
	switch {
	case v.enum != nil || v.form == formText:
		return tidegate.KindText
	case v.form == formBit:
		return tidegate.KindBool
	case v.scaled || v.form == formFloat:
		return tidegate.KindFloat
	case v.form == formInt:
		return tidegate.KindInt
	}
	return tidegate.KindUint
}

// Decode makes a Value of b, the value's registers as they came over the wire (2 x Size bytes), or says why it is none.
// prev is the channel's Value of the last time, used again where the text is the same.
func (v *Value) Decode(b []byte, prev tidegate.Value) (val tidegate.Value, fault string) {
	if v.form == formText {
		return v.text(b, prev)
	}
	raw := v.number(b)
	switch v.form {
	case formBit:
		return v.Flag(raw>>v.bit&1 == 1)
	case formFloat:
		return v.float(v.fromBits(raw))
	case formInt:
		shift := 64 - 16*v.Size
		i := int64(raw<<shift) >> shift
		switch {
		case v.enum != nil:
			return v.word(i, strconv.FormatInt(i, 10))
		case v.scaled:
			return v.float(float64(i))
		}
		return v.bounded(tidegate.Int(i), float64(i))
	}
	switch {
	case v.enum != nil && raw > math.MaxInt64:
		return tidegate.Value{}, noText(strconv.FormatUint(raw, 10))
	case v.enum != nil:
		return v.word(int64(raw), strconv.FormatUint(raw, 10))
	case v.scaled:
		return v.float(float64(raw))
	}
	return v.bounded(tidegate.Uint(raw), float64(raw))
}

// Flag makes a Value of one bit.
func (v *Value) Flag(on bool) (val tidegate.Value, fault string) {
	if v.enum == nil {
		return tidegate.Bool(on), ""
	}
	if on {
		return v.word(1, "1")
	}
	return v.word(0, "0")
}

// number puts the registers of b together as v's order says.
func (v *Value) number(b []byte) uint64 {
	switch isPlain := !v.swapBytes && !v.swapWords; { // nearly all are, and there are many
	case isPlain && v.Size == 1:
		return uint64(binary.BigEndian.Uint16(b))
	case isPlain && v.Size == 2:
		return uint64(binary.BigEndian.Uint32(b))
	}
	var u uint64
	for i := range v.Size {
		r := i
		if v.swapWords {
			r = v.Size - 1 - i
		}
		hi, lo := b[2*r], b[2*r+1]
		if v.swapBytes {
			hi, lo = lo, hi
		}
		u = u<<16 | uint64(hi)<<8 | uint64(lo)
	}
	return u
}

// fromBits returns the number that the bits of a float are.
func (v *Value) fromBits(raw uint64) float64 {
	if v.Size == 2 {
		return float64(math.Float32frombits(uint32(raw)))
	}
	return math.Float64frombits(raw)
}

// scale returns what a register's number f stands for.
func (v *Value) scale(f float64) float64 {
	if !v.scaled {
		return f
	}
	return (f*v.factor + v.addend) / v.divisor
}

func (v *Value) float(f float64) (val tidegate.Value, fault string) {
	if !isFinite(f) {
		return tidegate.Value{}, "the device says " + formatNumber(f) + ": it has no value"
	}
	if v.scaled {
		raw := f
		if f = v.scale(f); !isFinite(f) {
			return tidegate.Value{}, "got " + formatNumber(raw) + ", which scale and offset take beyond the range of a number"
		}
	}
	return v.bounded(tidegate.Float(f), f)
}

// bounded returns val, whose number is f, unless it lies outside what can be true.
func (v *Value) bounded(val tidegate.Value, f float64) (_ tidegate.Value, fault string) {
	switch {
	case f < v.min:
		return tidegate.Value{}, fmt.Sprintf("got %v, below min %s", val, formatNumber(v.min))
	case f > v.max:
		return tidegate.Value{}, fmt.Sprintf("got %v, above max %s", val, formatNumber(v.max))
	}
	return val, ""
}

func (v *Value) word(i int64, number string) (val tidegate.Value, fault string) {
	s, ok := v.enum[i]
	if !ok {
		return tidegate.Value{}, noText(number)
	}
	return tidegate.Text(s), ""
}

func noText(number string) string { return "got " + number + ", which enum does not list" }

// text makes a Value of characters: up to the first NUL, without spaces at the end.
func (v *Value) text(b []byte, prev tidegate.Value) (val tidegate.Value, fault string) {
	var swapped [2 * MostRegisters]byte
	if v.swapBytes {
		for i := 0; i+1 < len(b); i += 2 {
			swapped[i], swapped[i+1] = b[i+1], b[i]
		}
		b = swapped[:len(b)]
	}
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	b = bytes.TrimRight(b, " ")
	if s, ok := prev.Text(); ok && s == string(b) {
		return prev, ""
	}
	if !utf8.Valid(b) {
		return tidegate.Value{}, fmt.Sprintf("text is not UTF-8: % x", string(b[:min(len(b), 64)]))
	}
	return tidegate.Text(string(b)), ""
}

// decimal returns factor, addend and divisor such that (x*factor + addend) / divisor is x*scale + offset, and for integer x the
// double nearest to the decimal result: factor and addend are integers and the divisor a power of ten, all exact, as long as
// the numbers written in the configuration are short enough for that and the sum in brackets is below 2^53.
func decimal(scale, offset float64) (factor, addend, divisor float64) {
	ms, es := mantissa(scale)
	mo, eo := mantissa(offset)
	e := min(es, eo, 0)
	factor, addend, divisor = ms*math.Pow10(es-e), mo*math.Pow10(eo-e), math.Pow10(-e)
	const exact = 1 << 53
	if !(math.Abs(factor) <= exact && math.Abs(addend) <= exact && divisor <= 1e22) {
		return scale, offset, 1
	}
	return factor, addend, divisor
}

// mantissa returns f as m x 10^e with the shortest integer m that reads back as f; zero is 0 x 10^0.
func mantissa(f float64) (m float64, e int) {
	if f == 0 || !isFinite(f) {
		return f, 0
	}
	digits, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
	whole, fraction, _ := strings.Cut(digits, ".")
	m, err := strconv.ParseFloat(whole+fraction, 64)
	if err != nil {
		return f, 0
	}
	if e, err = strconv.Atoi(exponent); err != nil {
		return f, 0
	}
	return m, e - len(fraction)
}

// Order returns the order of the bytes of a number of more than one register, as settings name it, and whether it is a float; ok is
// false for all other values.
func (v *Value) Order() (order string, isFloat, ok bool) {
	if v.form == formBit || v.form == formText || v.Size < 2 {
		return "", false, false
	}
	order = map[[2]bool]string{{}: "ABCD", {false, true}: "CDAB", {true, false}: "BADC", {true, true}: "DCBA"}[[2]bool{v.swapBytes, v.swapWords}]
	return order, v.form == formFloat, true
}
