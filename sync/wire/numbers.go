package wire

import (
	"math"
	"strconv"
	"strings"

	"github.com/tidegate-io/tidegate"
)

// micros reads a number of seconds and returns it in microseconds, rounded.
func (j *scanner) micros(label string) int64 {
	start := j.at
	text := j.number()
	if j.err != nil {
		return 0
	}
	if us, ok := plainMicros(text); ok {
		return us
	}
	f, err := strconv.ParseFloat(text, 64)
	if f = math.Round(f * 1e6); err != nil || math.Abs(f) > maxMicros {
		j.at = start
		j.fail("%s: got %s seconds, want at most %.0f", label, text, maxMicros/1e6)
		return 0
	}
	return int64(f)
}

// plainMicros turns seconds written with at most 13 digits before the point, at most 6 behind it and no exponent into microseconds, exactly;
// ok is false where they are beyond maxMicros.
func plainMicros(text string) (us int64, ok bool) {
	whole, part, _ := strings.Cut(text, ".")
	digits, negative := strings.CutPrefix(whole, "-")
	sum := uint64(0)
	if len(digits) > 13 || len(part) > 6 {
		return 0, false
	}
	for _, s := range [2]string{digits, part} {
		for i := 0; i < len(s); i++ {
			if s[i] < '0' || s[i] > '9' {
				return 0, false
			}
			sum = sum*10 + uint64(s[i]-'0') // at most 10^19, which 64 bits hold
		}
	}
	for range 6 - len(part) {
		sum *= 10
	}
	if sum > maxMicros {
		return 0, false
	}
	if negative {
		return -int64(sum), true
	}
	return int64(sum), true
}

// ranges reads [[a,b],...]: at most so many runs of numbers from 1 on, rising.
func (j *scanner) ranges(label string, most int) tidegate.Ranges {
	var rs tidegate.Ranges
	var last uint64
	j.array(func() {
		var pair [2]uint64
		n := 0
		j.array(func() {
			v := j.uint(label)
			if n < 2 {
				pair[n] = v
			}
			n++
		})
		switch {
		case j.err != nil:
		case n != 2:
			j.fail("%s: got %d numbers, want 2: first and last", label, n)
		case pair[0] <= last || pair[1] < pair[0]:
			j.fail("%s: got [%d,%d] behind %d, want rising numbers from 1 on", label, pair[0], pair[1], last)
		case len(rs) == most:
			j.fail("%s: got more than %d", label, most)
		default:
			last = pair[1]
			rs.Add(tidegate.Range{First: pair[0], Last: pair[1]})
		}
	})
	return rs
}
