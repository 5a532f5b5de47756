package tidegate

import (
	"math"
	"strconv"
	"time"
)

// A Reading is one value of one channel of one device at one time, or the reason why there is none.
// It has no behaviour.
type Reading struct {
	Device  string    // configured name of the device; the agent fills it in
	Channel string    // name of the channel, unique within the device
	Value   Value     // meaningless when Fault is set
	Unit    string    // unit as in units.go, for instance "Cel"; "" = none
	Time    time.Time // when it was taken; zero = the agent stamps it with the time of its Read
	Fault   string    // "" = Value can be trusted; else why not, for the technician
}

// Kind says what a Value holds.
type Kind uint8

// The kinds of a Value. Their numbers are part of the stored format (sync/wire/frame) and never change.
const (
	KindNone  Kind = 0 // no value: the zero Value, as in a fault
	KindFloat Kind = 1 // a number: IEEE 754 double
	KindInt   Kind = 2 // a number: signed integer of 64 bits
	KindUint  Kind = 3 // a number: unsigned integer of 64 bits
	KindBool  Kind = 4 // yes or no
	KindText  Kind = 5 // UTF-8 text
	KindBytes Kind = 6 // bytes
)

// String returns the kind's word as it stands in manuals and messages.
func (k Kind) String() string {
	switch k {
	case KindNone:
		return "none"
	case KindFloat, KindInt, KindUint:
		return "number"
	case KindBool:
		return "yes/no"
	case KindText:
		return "text"
	case KindBytes:
		return "bytes"
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// Value is a number, a yes/no, a text or bytes. Numbers keep all bits of 64-bit integers.
// The zero Value holds nothing. Values are comparable with ==, but NaN; see Equal.
type Value struct {
	kind Kind
	num  uint64
	text string
}

// Float returns a Value that holds the number f; NaN and infinities are kept as they are.
func Float(f float64) Value { return Value{kind: KindFloat, num: math.Float64bits(f)} }

// Int returns a Value that holds the number i.
func Int(i int64) Value { return Value{kind: KindInt, num: uint64(i)} }

// Uint returns a Value that holds the number u.
func Uint(u uint64) Value { return Value{kind: KindUint, num: u} }

// Bool returns a Value that holds yes (true) or no.
func Bool(b bool) Value {
	if b {
		return Value{kind: KindBool, num: 1}
	}
	return Value{kind: KindBool}
}

// Text returns a Value that holds s.
func Text(s string) Value { return Value{kind: KindText, text: s} }

// Bytes returns a Value that holds a copy of b.
func Bytes(b []byte) Value { return Value{kind: KindBytes, text: string(b)} }

// RawValue builds a Value from its stored parts: bits are the number's 64 bits (IEEE 754, two's complement, unsigned, or 0/1),
// text the text or bytes. It is the inverse of Raw and meant for codecs.
func RawValue(k Kind, bits uint64, text string) Value { return Value{kind: k, num: bits, text: text} }

// Raw returns the stored parts of v; see RawValue.
func (v Value) Raw() (k Kind, bits uint64, text string) { return v.kind, v.num, v.text }

// Kind returns what v holds.
func (v Value) Kind() Kind { return v.kind }

// Number returns v as a double. ok is false when v is no number or yes/no. Integers beyond 2^53 are rounded.
func (v Value) Number() (f float64, ok bool) {
	switch v.kind {
	case KindFloat:
		return math.Float64frombits(v.num), true
	case KindInt:
		return float64(int64(v.num)), true
	case KindUint, KindBool:
		return float64(v.num), true
	}
	return 0, false
}

// Bool returns the yes/no that v holds; ok is false when v is of another kind.
func (v Value) Bool() (b, ok bool) { return v.num != 0, v.kind == KindBool }

// Text returns the text or bytes that v holds; ok is false when v is of another kind.
func (v Value) Text() (s string, ok bool) {
	return v.text, v.kind == KindText || v.kind == KindBytes
}

// Equal reports whether v and w hold the same: same kind, same bits. NaN equals NaN of the same bits.
func (v Value) Equal(w Value) bool { return v == w }

// String returns v as a person would write it: shortest decimal that reads back, true/false, text, bytes in hexadecimal.
func (v Value) String() string {
	switch v.kind {
	case KindFloat:
		return strconv.FormatFloat(math.Float64frombits(v.num), 'g', -1, 64)
	case KindInt:
		return strconv.FormatInt(int64(v.num), 10)
	case KindUint:
		return strconv.FormatUint(v.num, 10)
	case KindBool:
		return strconv.FormatBool(v.num != 0)
	case KindText:
		return v.text
	case KindBytes:
		const hex = "0123456789abcdef"
		b := make([]byte, 0, 2*len(v.text))
		for i := 0; i < len(v.text); i++ {
			b = append(b, hex[v.text[i]>>4], hex[v.text[i]&15])
		}
		return string(b)
	}
	return ""
}
