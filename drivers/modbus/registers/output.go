package registers

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/modbus/link"
)

// mostPause is the longest pause between two changes of an output.
const mostPause = 24 * time.Hour

// output checks write, write_with, safe and pause.
func (c *entryCheck) output(v *Value) {
	r := c.r
	if !r.Write {
		for _, s := range []struct {
			key   string
			isSet bool
		}{{"write_with", r.WriteWith != ""}, {"safe", r.Safe.Kind() != tidegate.KindNone}, {"pause", r.Pause != 0}} {
			if s.isSet {
				c.add(s.key, "", "only what can be set has it", "add write: true")
			}
		}
		return
	}
	switch {
	case v.Table == link.Discrete || v.Table == link.Input:
		c.add("write", r.Table, "the unit lets only coils and holding registers be written", "")
	case v.isRegisterBit():
		c.add("write", "", "a bit of a register is not written, as that would write the fifteen others too", "write the register as a number")
	case v.form == formText:
		c.add("write", "", "a string is not written", "")
	}
	c.writeWith(v)
	texts := map[string]int64{}
	for _, k := range slices.Sorted(maps.Keys(r.Enum)) {
		t := r.Enum[k]
		if other, twice := texts[t]; twice {
			c.add("enum", t, fmt.Sprintf("stands for %d and for %d, so it is not known which to write", other, k), "")
		}
		texts[t] = k
	}
	if r.Pause < 0 || r.Pause > mostPause {
		c.add("pause", r.Pause.String(), "want 0s to 24h", "")
	}
	if len(c.errs) > 0 {
		return
	}
	v.IsOutput = true
	v.Limits = drivers.Limits{Pause: r.Pause, Safe: r.Safe}
	if r.Min != nil || r.Max != nil { // an open end is as far as JSON goes
		v.Limits.Min, v.Limits.Max = max(v.min, -math.MaxFloat64), min(v.max, math.MaxFloat64)
	}
	if r.Safe.Kind() == tidegate.KindNone {
		return
	}
	if _, err := v.Encode(r.Safe); err != nil {
		c.add("safe", r.Safe.String(), err.Error(), "")
	}
}

// writeWith finds the function that writes.
func (c *entryCheck) writeWith(v *Value) {
	single, multiple := link.WriteRegister, link.WriteRegisters
	if v.Table.IsBits() {
		single, multiple = link.WriteCoil, link.WriteCoils
	}
	c.errs = append(c.errs, drivers.OneOf("write_with", c.r.WriteWith, "", "single", "multiple")...)
	switch isLong := v.Size > 1; {
	case isLong && c.r.WriteWith == "single":
		c.add("write_with", "single", fmt.Sprintf("the value has %d registers, function 06 writes one", v.Size), "leave it out")
	case isLong || c.r.WriteWith == "multiple":
		v.write = multiple
	default:
		v.write = single
	}
}

// Writing returns the request that writes words, as Encode returns them, to v, which is an output.
func (v *Value) Writing(words [link.MostWritten]uint16) link.Request {
	q := v.Read()
	q.Write, q.Values = v.write, words
	return q
}

// Holds reports whether body, the bytes that v's Read brought, are words.
func (v *Value) Holds(body []byte, words [link.MostWritten]uint16) bool {
	if v.Table.IsBits() {
		return uint16(body[0]&1) == words[0]
	}
	for i := range v.Size {
		if binary.BigEndian.Uint16(body[2*i:]) != words[i] {
			return false
		}
	}
	return true
}

// Say says what body, the bytes that v's Read brought, mean: a value, or why they are none.
func (v *Value) Say(body []byte) string {
	var val tidegate.Value
	var fault string
	if v.Table.IsBits() {
		val, fault = v.Flag(body[0]&1 == 1)
	} else {
		val, fault = v.Decode(body, tidegate.Value{})
	}
	if fault != "" {
		return fault
	}
	return val.String()
}

// Encode returns the registers that val is, as they go over the wire (of a coil: 0 or 1). The error says why there are none: val is of another
// kind, beyond min, max or what the registers hold, or between two of their steps. Nothing is rounded, but for a float's fraction to
// the nearest that its width holds.
func (v *Value) Encode(val tidegate.Value) (words [link.MostWritten]uint16, err error) {
	raw, err := v.raw(val)
	if err != nil {
		return words, err
	}
	if v.Table.IsBits() {
		words[0] = uint16(raw)
		return words, nil
	}
	for i := range v.Size {
		w := uint16(raw >> (16 * (v.Size - 1 - i)))
		if v.swapBytes {
			w = w<<8 | w>>8
		}
		at := i
		if v.swapWords {
			at = v.Size - 1 - i
		}
		words[at] = w
	}
	return words, nil
}

// raw returns the bits of val in v's registers, the lowest last.
func (v *Value) raw(val tidegate.Value) (uint64, error) {
	if v.enum != nil {
		return v.listed(val)
	}
	if v.form == formBit {
		on, ok := val.Bool()
		switch {
		case !ok:
			return 0, fmt.Errorf("%s is a %v, want true or false", show(val), val.Kind())
		case on:
			return 1, nil
		}
		return 0, nil
	}
	f, ok := val.Number()
	if !ok || val.Kind() == tidegate.KindBool {
		return 0, fmt.Errorf("%s is a %v, want a number", show(val), val.Kind())
	}
	switch {
	case !isFinite(f):
		return 0, fmt.Errorf("%s is no finite number", show(val))
	case f < v.min:
		return 0, fmt.Errorf("%v is below min %s", val, formatNumber(v.min))
	case f > v.max:
		return 0, fmt.Errorf("%v is above max %s", val, formatNumber(v.max))
	case v.form == formFloat:
		return v.floatBits(f)
	case !v.scaled && val.Kind() != tidegate.KindFloat:
		return v.whole(val)
	}
	return v.step(f)
}

// show returns val in words, with quotes where it is text.
func show(val tidegate.Value) string {
	switch val.Kind() {
	case tidegate.KindNone:
		return "nothing"
	case tidegate.KindText:
		return strconv.Quote(val.String())
	}
	return val.String()
}

// listed returns the number whose text val is.
func (v *Value) listed(val tidegate.Value) (uint64, error) {
	var texts []string
	for k, text := range v.enum {
		if val.Kind() == tidegate.KindText && val.String() == text {
			return uint64(k), nil
		}
		texts = append(texts, strconv.Quote(text))
	}
	slices.Sort(texts)
	const most = 20 // in an error
	return 0, fmt.Errorf("%s is no text of enum, want one of %v", show(val), texts[:min(len(texts), most)])
}

// reach returns the least integer that v's registers hold, and the first beyond the greatest: both are exact as doubles.
func (v *Value) reach() (least, beyond float64) {
	if v.form == formInt {
		half := math.Ldexp(1, 16*v.Size-1)
		return -half, half
	}
	return 0, math.Ldexp(1, 16*v.Size)
}

// whole returns the integer val, kept to the last bit.
func (v *Value) whole(val tidegate.Value) (uint64, error) {
	kind, bits, _ := val.Raw()
	isNegative := kind == tidegate.KindInt && int64(bits) < 0
	fits := false
	switch shift := 64 - 16*v.Size; v.form {
	case formInt:
		fits = int64(bits<<shift)>>shift == int64(bits) && (int64(bits) >= 0 || isNegative)
	default:
		fits = !isNegative && bits<<shift>>shift == bits
	}
	if !fits {
		return 0, v.beyond(val.String())
	}
	return bits, nil
}

// beyond is the error of a number that v's registers do not hold.
func (v *Value) beyond(number string) error {
	least, beyond := v.reach()
	a, b := v.scale(least), v.scale(beyond-1)
	return fmt.Errorf("%s is more than the register holds, %s to %s", number, formatNumber(min(a, b)), formatNumber(max(a, b)))
}

// step returns the integer that stands for f, which has to be one of its steps.
func (v *Value) step(f float64) (uint64, error) {
	x := f
	if v.scaled {
		x = (f*v.divisor - v.addend) / v.factor
	}
	least, beyond := v.reach()
	fits := func(n float64) bool { return n >= least && n < beyond }
	near := math.Round(x)
	one := max(1, math.Nextafter(math.Abs(near), math.Inf(1))-math.Abs(near)) // beyond 2^53 doubles are further apart
	for _, k := range [...]float64{0, -1, 1, -2, 2, -3, 3} {                  // x may be off by a few roundings
		n := near + k*one
		switch {
		case !fits(n) || v.scale(n) != f:
		case n < 0:
			return uint64(int64(n)), nil
		default:
			return uint64(n), nil
		}
	}
	low, high := math.Floor(x), math.Ceil(x)
	switch {
	case !fits(near):
		return 0, v.beyond(formatNumber(f))
	case low == high || !fits(low) || !fits(high):
		return 0, fmt.Errorf("%s is no step of the register, the nearest is %s", formatNumber(f), formatNumber(v.scale(near)))
	}
	a, b := v.scale(low), v.scale(high)
	return 0, fmt.Errorf("%s is between two steps of the register, %s and %s", formatNumber(f), formatNumber(min(a, b)), formatNumber(max(a, b)))
}

// floatBits returns the bits of the float that stands for f: the nearest, but a whole number exactly.
func (v *Value) floatBits(f float64) (uint64, error) {
	x := f
	if v.scaled {
		x = (f*v.divisor - v.addend) / v.factor
	}
	raw := math.Float64bits(x)
	if v.Size == 2 {
		raw = uint64(math.Float32bits(float32(x)))
	}
	held := v.fromBits(raw)
	switch {
	case !isFinite(held) && v.Size == 2:
		return 0, fmt.Errorf("%s is more than the register holds, up to %s", formatNumber(f), formatNumber(math.Abs(v.scale(math.MaxFloat32))))
	case !isFinite(held):
		return 0, fmt.Errorf("%s, which scale and offset take beyond the range of a number", formatNumber(f))
	case x == math.Trunc(x) && held != x:
		return 0, fmt.Errorf("%s cannot be held to the last digit, the nearest is %s", formatNumber(f), formatNumber(v.scale(held)))
	}
	return raw, nil
}
