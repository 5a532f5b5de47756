package talker

import "strings"

// Decimal checks that b is a decimal number (an optional sign, ASCII digits with at most one decimal mark, an optional exponent of ten) and
// returns it as strconv reads it; integer = neither mark nor exponent. What other programs take for numbers as well is none: NaN, Inf, 0x10,
// 1_000, digits of other scripts, spaces. comma = the mark is a comma.
func Decimal(b []byte, comma bool) (s string, integer, ok bool) {
	s, integer = string(b), true
	if comma {
		if strings.Contains(s, ".") {
			return "", false, false
		}
		s = strings.Replace(s, ",", ".", 1)
	}
	rest := unsigned(s)
	n := Digits(rest)
	digits := n
	if rest = rest[n:]; strings.HasPrefix(rest, ".") {
		integer = false
		n = Digits(rest[1:])
		digits += n
		rest = rest[1+n:]
	}
	if digits > 0 && strings.IndexAny(rest, "eE") == 0 {
		integer = false
		rest = unsigned(rest[1:])
		digits = Digits(rest)
		rest = rest[digits:]
	}
	return s, integer, digits > 0 && rest == ""
}

func unsigned(s string) string {
	if s != "" && (s[0] == '+' || s[0] == '-') {
		return s[1:]
	}
	return s
}

// Digits returns how many ASCII digits s begins with.
func Digits(s string) int {
	return len(s) - len(strings.TrimLeft(s, "0123456789"))
}
