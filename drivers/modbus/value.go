package modbus

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidegate-io/tidegate"
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

// value is one channel: where it lies and what is made of its registers.
type value struct {
	channel, unit string
	entry         int // index of its entry in the configuration's registers
	at            int // index of its reading

	table   link.Table
	address int
	size    int // registers; of coils and discrete inputs: bits, which is 1
	form    form
	bit     int // of a register, where form is formBit

	swapBytes, swapWords bool
	scaled               bool
	// the value is (number x factor + addend) / divisor, where scaled
	factor, addend, divisor float64
	min, max                float64 // bounds of what can be true
	enum                    map[int64]string
}

func (v *value) end() int            { return v.address + v.size }
func (v *value) isRegisterBit() bool { return v.form == formBit && !v.table.IsBits() }

// span returns the value's place in words: "holding 12..13".
func (v *value) span() string {
	return link.Request{Table: v.table, Address: v.address, Quantity: v.size}.String()
}

// String describes v for the technician: "holding 12..13, float".
func (v *value) String() string {
	s := v.span()
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
	return s
}

// sortValues orders values as they lie: by table, address, bit; equal ones as they are configured.
func sortValues(vs []value) {
	slices.SortStableFunc(vs, func(a, b value) int {
		return cmp.Or(cmp.Compare(a.table, b.table), cmp.Compare(a.address, b.address), cmp.Compare(a.bit, b.bit))
	})
}

// decode makes a Value of b, the value's registers as they came over the wire (2 x size bytes), or says why it is none.
// prev is the channel's Value of the last time, used again where the text is the same.
func (v *value) decode(b []byte, prev tidegate.Value) (val tidegate.Value, fault string) {
	if v.form == formText {
		return v.text(b, prev)
	}
	raw := v.number(b)
	switch v.form {
	case formBit:
		return v.flag(raw>>v.bit&1 == 1)
	case formFloat:
		f := math.Float64frombits(raw)
		if v.size == 2 {
			f = float64(math.Float32frombits(uint32(raw)))
		}
		return v.float(f)
	case formInt:
		shift := 64 - 16*v.size
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

// flag makes a Value of one bit.
func (v *value) flag(on bool) (val tidegate.Value, fault string) {
	if v.enum == nil {
		return tidegate.Bool(on), ""
	}
	if on {
		return v.word(1, "1")
	}
	return v.word(0, "0")
}

// number puts the registers of b together as v's order says.
func (v *value) number(b []byte) uint64 {
	var u uint64
	for i := range v.size {
		r := i
		if v.swapWords {
			r = v.size - 1 - i
		}
		hi, lo := b[2*r], b[2*r+1]
		if v.swapBytes {
			hi, lo = lo, hi
		}
		u = u<<16 | uint64(hi)<<8 | uint64(lo)
	}
	return u
}

func (v *value) float(f float64) (val tidegate.Value, fault string) {
	if !isFinite(f) {
		return tidegate.Value{}, "the device says " + formatNumber(f) + ": it has no value"
	}
	if v.scaled {
		raw := f
		if f = (f*v.factor + v.addend) / v.divisor; !isFinite(f) {
			return tidegate.Value{}, "got " + formatNumber(raw) + ", which scale and offset take beyond the range of a number"
		}
	}
	return v.bounded(tidegate.Float(f), f)
}

// bounded returns val, whose number is f, unless it lies outside what can be true.
func (v *value) bounded(val tidegate.Value, f float64) (_ tidegate.Value, fault string) {
	switch {
	case f < v.min:
		return tidegate.Value{}, fmt.Sprintf("got %v, below min %s", val, formatNumber(v.min))
	case f > v.max:
		return tidegate.Value{}, fmt.Sprintf("got %v, above max %s", val, formatNumber(v.max))
	}
	return val, ""
}

func (v *value) word(i int64, number string) (val tidegate.Value, fault string) {
	s, ok := v.enum[i]
	if !ok {
		return tidegate.Value{}, noText(number)
	}
	return tidegate.Text(s), ""
}

func noText(number string) string { return "got " + number + ", which enum does not list" }

// text makes a Value of characters: up to the first NUL, without spaces at the end.
func (v *value) text(b []byte, prev tidegate.Value) (val tidegate.Value, fault string) {
	var swapped [2 * maxRegisters]byte
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
