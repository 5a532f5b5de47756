package doctor

import (
	"encoding/binary"
	"math"
)

// A Value is a register's content over time, where it has four or eight bytes.
type Value struct {
	Channel string
	IsFloat bool     // else a whole number
	Order   string   // as configured: ABCD, CDAB, BADC or DCBA
	Seen    [][]byte // as it came over the wire, oldest first
}

const (
	seenLeast = 5    // values before anything is said
	steps     = 3    // changes before anything is said
	spread    = 100  // between the least and the greatest of a quantity, within a few reads
	tiny      = 1e-6 // less is no quantity that a meter reports
	huge      = 1e9
	jump      = 1 << 16 // a whole number whose words are swapped changes by multiples of it
)

// better returns the only order in which the values are plausible, if in the configured one they are not; else "".
func (v Value) better() string {
	if len(v.Seen) < seenLeast || v.plausible(v.Order) {
		return ""
	}
	found := ""
	for _, order := range []string{"ABCD", "CDAB", "BADC", "DCBA"} {
		switch {
		case order == v.Order || !v.plausible(order):
		case found != "":
			return ""
		default:
			found = order
		}
	}
	return found
}

// plausible reports whether the values can be true in order. While it has changed a few times only, it is.
func (v Value) plausible(order string) bool {
	if v.IsFloat {
		return v.plausibleFloats(order)
	}
	changes, jumps := 0, 0
	for i := 1; i < len(v.Seen); i++ {
		d := int64(number(v.Seen[i], order) - number(v.Seen[i-1], order))
		if len(v.Seen[i]) == 4 {
			d = int64(int32(d))
		}
		if d == 0 {
			continue
		}
		changes++
		if d >= jump || d <= -jump {
			jumps++
		}
	}
	return changes < steps || 2*jumps <= changes
}

// plausibleFloats has to be sure of an order that is not configured: all values are such as meters report, they change, and they do not
// jump. The configured one has the benefit of the doubt.
func (v Value) plausibleFloats(order string) bool {
	good, changes, isSteady := 0, 0, true
	least, most := math.Inf(1), 0.0
	first := float(v.Seen[0], order)
	for i := range v.Seen {
		f := float(v.Seen[i], order)
		size := math.Abs(f)
		if f == 0 || size >= tiny && size <= huge {
			good++
		}
		least, most = min(least, size), max(most, size)
		isSteady = isSteady && f*first > 0
		if i > 0 && f != float(v.Seen[i-1], order) {
			changes++
		}
	}
	if order == v.Order {
		return changes < steps || 5*good > 3*len(v.Seen)
	}
	return good == len(v.Seen) && isSteady && most <= spread*least
}

func float(b []byte, order string) float64 {
	if len(b) == 4 {
		return float64(math.Float32frombits(uint32(number(b, order))))
	}
	return math.Float64frombits(number(b, order))
}

// number returns the bits of b, which came in order.
func number(b []byte, order string) uint64 {
	var a [8]byte
	n := len(b)
	for i := range n {
		j := i
		if order == "CDAB" || order == "DCBA" { // low register first
			j = n - 2 - i&^1 + i&1
		}
		if order == "BADC" || order == "DCBA" { // bytes swapped
			j ^= 1
		}
		a[8-n+i] = b[j]
	}
	return binary.BigEndian.Uint64(a[:])
}
