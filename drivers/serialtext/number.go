package serialtext

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers/talker"
)

// number reads b strictly: an optional sign, ASCII digits with at most one decimal mark, an optional exponent of ten. Anything else
// that programs take for numbers (NaN, Inf, 0x10, 1_000, digits of other scripts, spaces) is a fault, and so is what a double or a
// 64-bit integer cannot hold. Without mark and exponent it stays an integer, but in a channel of type number, whose values are doubles. One of
// type integer holds those of 64 bits with a sign; where the type is not settled, those above without a sign as well.
func number(b []byte, comma bool, ch *channel) (tidegate.Value, string) {
	s, integer, ok := talker.Decimal(b, comma)
	switch {
	case len(b) == 0:
		return tidegate.Value{}, "empty"
	case !ok:
		return tidegate.Value{}, "not a decimal number: " + talker.Excerpt(b)
	case ch.Type == typeInteger && !integer:
		return tidegate.Value{}, "not an integer: " + talker.Excerpt(b)
	}
	if integer && !ch.scaled() && ch.Type != typeNumber {
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return tidegate.Int(i), ""
		}
		u, err := strconv.ParseUint(strings.TrimPrefix(s, "+"), 10, 64)
		switch {
		case err != nil:
			return tidegate.Value{}, "beyond 64 bits: " + talker.Excerpt(b)
		case ch.Type == typeInteger:
			return tidegate.Value{}, "beyond an integer of 64 bits with a sign; settle the channel's type as number or text: " + talker.Excerpt(b)
		}
		return tidegate.Uint(u), ""
	}
	f, err := strconv.ParseFloat(s, 64)
	if f = ch.apply(f); err != nil || math.IsInf(f, 0) {
		return tidegate.Value{}, "beyond the range of a number: " + talker.Excerpt(b)
	}
	return tidegate.Float(f), ""
}

// apply scales f. A scale like 0.1 divides by 10, so that 213 becomes 21.3 and not 21.300000000000001.
func (ch *channel) apply(f float64) float64 {
	if !ch.scaled() {
		return f // adding 0 would make 0 of -0
	}
	inverse := math.Round(1 / ch.Scale)
	switch {
	case ch.Scale == 0:
	case math.Abs(ch.Scale) < 1 && 1/inverse == ch.Scale:
		f /= inverse
	default:
		f *= ch.Scale
	}
	return f + ch.Offset
}

// refusedNumber reports whether b, which is no decimal number, reads like one to other programs: NaN, Inf, hexadecimal, beyond the
// range, digits of other scripts. It must not slip through as text.
func refusedNumber(b []byte) bool {
	s := strings.TrimLeft(string(b), "+-")
	if s == "" {
		return len(b) == 0
	}
	_, err := strconv.ParseFloat(s, 64)
	if err == nil || errors.Is(err, strconv.ErrRange) {
		return true
	}
	if _, err = strconv.ParseInt(s, 0, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return true
	}
	return strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf && unicode.IsDigit(r) })
}
