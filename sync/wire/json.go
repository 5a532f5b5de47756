package wire

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/tidegate-io/tidegate"
)

// maxDepth is how deep a value of an unknown label may be nested.
const maxDepth = 16

// A scanner reads JSON (RFC 8259) strictly: exact labels, no label twice where that matters, nothing behind the end, no half of a
// surrogate pair. Its first fault stays; after it every call returns zero values and loops end. Texts it returns are parts of s
// where they have no escapes.
type scanner struct {
	s   string
	at  int
	err error
}

func (j *scanner) fail(format string, args ...any) {
	if j.err == nil {
		j.err = fmt.Errorf("byte %d: %s", j.at, fmt.Sprintf(format, args...))
		j.at = len(j.s)
	}
}

// peek returns the next byte that is not white space, 0 at the end.
func (j *scanner) peek() byte {
	for j.at < len(j.s) {
		switch c := j.s[j.at]; c {
		case ' ', '\t', '\n', '\r':
			j.at++
		default:
			return c
		}
	}
	return 0
}

// take takes the byte c, or fails.
func (j *scanner) take(c byte) {
	if got := j.peek(); got != c || j.at == len(j.s) {
		j.unexpected(strconv.Quote(string(rune(c))))
		return
	}
	j.at++
}

func (j *scanner) unexpected(want string) {
	if j.at >= len(j.s) {
		j.fail("got the end, want %s", want)
		return
	}
	j.fail("got %q, want %s", j.s[j.at], want)
}

// end fails unless nothing is left.
func (j *scanner) end() {
	if j.peek(); j.at < len(j.s) {
		j.unexpected("the end")
	}
}

// array reads an array; each reads one value of it.
func (j *scanner) array(each func()) {
	j.take('[')
	if j.err == nil && j.peek() == ']' {
		j.at++
		return
	}
	for j.err == nil {
		each()
		if j.peek() != ',' {
			j.take(']')
			return
		}
		j.at++
	}
}

// object reads an object; each reads the value of one label.
func (j *scanner) object(each func(label string)) {
	j.take('{')
	if j.err == nil && j.peek() == '}' {
		j.at++
		return
	}
	for j.err == nil {
		label := j.text()
		j.take(':')
		if j.err != nil {
			return
		}
		each(label)
		if j.peek() != ',' {
			j.take('}')
			return
		}
		j.at++
	}
}

// text reads a string.
func (j *scanner) text() string {
	j.take('"')
	if j.err != nil {
		return ""
	}
	start := j.at
	for ; j.at < len(j.s); j.at++ {
		switch c := j.s[j.at]; {
		case c == '"':
			j.at++
			return j.s[start : j.at-1]
		case c == '\\':
			return j.escaped(start)
		case c < 0x20:
			j.fail("got the control character %#02x in a text", c)
			return ""
		}
	}
	j.fail("got the end, want '\"'")
	return ""
}

// escaped reads the rest of a string that began at start and has escapes from here on.
func (j *scanner) escaped(start int) string {
	b := []byte(j.s[start:j.at])
	for j.at < len(j.s) {
		c := j.s[j.at]
		switch {
		case c == '"':
			j.at++
			return string(b)
		case c < 0x20:
			j.fail("got the control character %#02x in a text", c)
			return ""
		case c != '\\':
			b = append(b, c)
			j.at++
			continue
		}
		if b = j.escape(b); j.err != nil {
			return ""
		}
	}
	j.fail("got the end, want '\"'")
	return ""
}

// escape reads one escape, or two that make one character, and appends what it means to b.
func (j *scanner) escape(b []byte) []byte {
	if j.at+1 >= len(j.s) {
		j.fail("escape is cut off")
		return nil
	}
	c := j.s[j.at+1]
	if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 {
		j.at += 2
		return append(b, "\"\\/\b\f\n\r\t"[i])
	}
	if c != 'u' {
		j.fail("got the escape %q, want one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u", `\`+string(rune(c)))
		return nil
	}
	r := j.hex4()
	if utf16.IsSurrogate(r) {
		if !strings.HasPrefix(j.s[j.at:], `\u`) {
			j.fail("got half of a surrogate pair")
			return nil
		}
		if r = utf16.DecodeRune(r, j.hex4()); r == utf8.RuneError {
			j.fail("got half of a surrogate pair")
		}
	}
	return utf8.AppendRune(b, r)
}

// hex4 reads \uXXXX, of which \u is known to be there.
func (j *scanner) hex4() rune {
	if j.err != nil || j.at+6 > len(j.s) {
		j.fail("escape is cut off")
		return 0
	}
	digits := j.s[j.at+2 : j.at+6]
	v, err := strconv.ParseUint(digits, 16, 16)
	if err != nil || strings.ContainsAny(digits, "_+-") {
		j.fail("got %q, want four hexadecimal digits", digits)
		return 0
	}
	j.at += 6
	return rune(v)
}

// number reads a number and returns it as it stands.
func (j *scanner) number() string {
	j.peek()
	start := j.at
	if j.at < len(j.s) && j.s[j.at] == '-' {
		j.at++
	}
	whole := j.digits()
	if whole > 1 && j.s[j.at-whole] == '0' {
		j.at = start
		j.fail("got a number that begins with 0")
		return ""
	}
	good := whole > 0
	if j.at < len(j.s) && j.s[j.at] == '.' {
		j.at++
		good = good && j.digits() > 0
	}
	if j.at < len(j.s) && j.s[j.at]|0x20 == 'e' {
		j.at++
		if j.at < len(j.s) && (j.s[j.at] == '+' || j.s[j.at] == '-') {
			j.at++
		}
		good = good && j.digits() > 0
	}
	if !good {
		j.unexpected("a number")
		return ""
	}
	return j.s[start:j.at]
}

// digits reads what digits there are and returns how many.
func (j *scanner) digits() int {
	start := j.at
	for j.at < len(j.s) && j.s[j.at] >= '0' && j.s[j.at] <= '9' {
		j.at++
	}
	return j.at - start
}

// uint reads a whole number from 0 to 2^64-1, without fraction or exponent.
func (j *scanner) uint(label string) uint64 {
	start := j.at
	text := j.number()
	if j.err != nil {
		return 0
	}
	v, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		j.at = start
		j.fail("%s: got %s, want a whole number from 0 to 2^64-1", label, text)
		return 0
	}
	return v
}

// double reads a number that a double can hold.
func (j *scanner) double(label string) float64 {
	start := j.at
	text := j.number()
	if j.err != nil {
		return 0
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		j.at = start
		j.fail("%s: got %s, which a double cannot hold", label, text)
		return 0
	}
	return f
}

// bool reads true or false.
func (j *scanner) bool() bool {
	c := j.peek()
	switch {
	case c == 't' && strings.HasPrefix(j.s[j.at:], "true"):
		j.at += len("true")
		return true
	case c == 'f' && strings.HasPrefix(j.s[j.at:], "false"):
		j.at += len("false")
		return false
	}
	j.unexpected("true or false")
	return false
}

// labels reads an object of texts.
func (j *scanner) labels() tidegate.Labels {
	l := tidegate.Labels{}
	j.object(func(name string) {
		switch _, twice := l[name]; {
		case twice:
			j.fail("lb: label %q stands twice", name)
		case len(l) == tidegate.MaxLabels:
			j.fail("lb: got more than %d labels", tidegate.MaxLabels)
		default:
			l[name] = j.text()
		}
	})
	return l
}

// skip reads any value, nested at most so deep, and forgets it.
func (j *scanner) skip(depth int) {
	switch c := j.peek(); {
	case depth == 0:
		j.fail("got a value nested more than %d deep", maxDepth)
	case c == '{':
		j.object(func(string) { j.skip(depth - 1) })
	case c == '[':
		j.array(func() { j.skip(depth - 1) })
	case c == '"':
		j.text()
	case c == 't' || c == 'f':
		j.bool()
	case c == 'n' && strings.HasPrefix(j.s[j.at:], "null"):
		j.at += len("null")
	default:
		j.number()
	}
}

// once marks label number i as seen and fails if it was already.
func (j *scanner) once(seen *uint32, i int, label string) {
	if *seen&(1<<i) != 0 {
		j.fail("label %q stands twice", label)
	}
	*seen |= 1 << i
}
