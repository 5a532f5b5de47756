package rules

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidegate-io/tidegate"
)

// A Condition compares the values of one channel with a constant: `meter1.temp > 80`, `door.open == true`, `plc.mode != "auto"`.
// The zero Condition is none.
type Condition struct {
	Channel string         // "device.channel"
	Op      string         // one of > >= < <= == !=; for yes/no and text only == and !=
	Value   tidegate.Value // a number (float), yes/no or text
}

// IsZero reports whether c is no condition.
func (c Condition) IsZero() bool { return c.Op == "" }

// String returns c as Parse reads it.
func (c Condition) String() string {
	if c.IsZero() {
		return ""
	}
	v := c.Value.String()
	if c.Value.Kind() == tidegate.KindText {
		quote := `"`
		if strings.Contains(v, quote) {
			quote = "'"
		}
		v = quote + v + quote
	}
	return c.Channel + " " + c.Op + " " + v
}

// verdict is what a condition says of a value.
type verdict byte

const (
	unknown verdict = iota // the value is of another kind, or not a number
	no
	yes
)

func verdictOf(b bool) verdict {
	if b {
		return yes
	}
	return no
}

// test says whether v fulfils c. Numbers are compared as doubles: integers beyond 2^53 are rounded. Where c compares with yes/no,
// a number counts as yes unless it is 0; where c compares with a number, yes counts as 1 and no as 0.
func (c *Condition) test(v tidegate.Value) verdict {
	if c.Value.Kind() == tidegate.KindText {
		s, ok := v.Text()
		want, _ := c.Value.Text()
		if !ok || v.Kind() != tidegate.KindText {
			return unknown
		}
		return verdictOf((s == want) == (c.Op == "=="))
	}
	got, ok := v.Number()
	if !ok || math.IsNaN(got) {
		return unknown
	}
	want, _ := c.Value.Number()
	if c.Value.Kind() == tidegate.KindBool && got != 0 {
		got = 1
	}
	switch c.Op {
	case ">":
		return verdictOf(got > want)
	case ">=":
		return verdictOf(got >= want)
	case "<":
		return verdictOf(got < want)
	case "<=":
		return verdictOf(got <= want)
	case "==":
		return verdictOf(got == want)
	default: // "!=", by Parse
		return verdictOf(got != want)
	}
}

// Suits reports whether values of kind k can fulfil c at all. KindNone, a channel whose kind is not known beforehand, suits.
func (c Condition) Suits(k tidegate.Kind) bool {
	switch k {
	case tidegate.KindNone:
		return true
	case tidegate.KindText:
		return c.Value.Kind() == tidegate.KindText
	case tidegate.KindBytes:
		return false
	}
	return c.Value.Kind() != tidegate.KindText
}

// Overlap reports whether one value of a channel can fulfil both a and b, so that a rule with `when: a` and `clear: b` would
// flap. Conditions on different channels do not overlap.
func Overlap(a, b Condition) bool {
	if a.IsZero() || b.IsZero() || a.Channel != b.Channel {
		return false
	}
	var tries []tidegate.Value
	for _, c := range [...]Condition{a, b} {
		if c.Value.Kind() == tidegate.KindText {
			s, _ := c.Value.Text()
			tries = append(tries, c.Value, tidegate.Text(s+"_"))
			continue
		}
		// The value itself and its neighbours stand for all values: every boundary is one of the two constants.
		f, _ := c.Value.Number()
		above, below := math.Nextafter(f, math.Inf(1)), math.Nextafter(f, math.Inf(-1))
		tries = append(tries, tidegate.Float(f), tidegate.Float(above), tidegate.Float(below))
	}
	for _, v := range tries {
		if a.test(v) == yes && b.test(v) == yes {
			return true
		}
	}
	return false
}

// A SyntaxError says what is wrong with the text of a condition.
type SyntaxError struct {
	Col     int    // the character where it is wrong, counted from 1
	Problem string // what is wrong, lower case, no full stop
	Got     string // what stands there; "" = the end
	Hint    string // what to write instead
}

// Error returns "column N: problem (got X); hint".
func (e *SyntaxError) Error() string {
	got := e.Got
	if got == "" {
		got = "nothing"
	}
	return fmt.Sprintf("column %d: %s (got %s); %s", e.Col, e.Problem, got, e.Hint)
}

// ops are the comparisons, longer ones first.
var ops = [...]string{">=", "<=", "==", "!=", ">", "<"}

// insteadOf gives, for what people write for a comparison in other places, what to write here; longer ones first.
var insteadOf = [...][2]string{
	{"=>", ">="},
	{"=<", "<="},
	{"<>", "!="},
	{"=", "=="},
	{"≥", ">="},
	{"≤", "<="},
	{"≠", "!="},
	{"is not", "!="},
	{"is", "=="},
}

// Parse reads a condition: device.channel, a comparison, and a number, true, false or a quoted text. Errors are *SyntaxError.
func Parse(text string) (Condition, error) {
	p := &parser{text: text}
	c := Condition{}
	if err := p.channel(&c); err != nil {
		return Condition{}, err
	}
	if err := p.op(&c); err != nil {
		return Condition{}, err
	}
	if err := p.value(&c); err != nil {
		return Condition{}, err
	}
	if rest := p.word(); rest != "" {
		hint := "end the condition here"
		switch strings.ToLower(rest) {
		case "and", "or", "&&", "||":
			hint = "a condition is one comparison; write two rules"
		default:
			if c.Value.Kind() == tidegate.KindFloat {
				hint = "write the number alone, in the channel's unit"
			}
		}
		return Condition{}, p.wrong(rest, "more text behind the condition", hint)
	}
	if c.Value.Kind() != tidegate.KindFloat && c.Op != "==" && c.Op != "!=" {
		return Condition{}, &SyntaxError{
			Col:     utf8.RuneCountInString(text[:strings.Index(text, c.Op)]) + 1,
			Problem: c.Value.Kind().String() + " has no order", Got: c.Op, Hint: "compare with == or !=",
		}
	}
	return c, nil
}

// parser reads a condition from left to right.
type parser struct {
	text string
	at   int // offset of the next byte
}

func (p *parser) space() {
	for p.at < len(p.text) && (p.text[p.at] == ' ' || p.text[p.at] == '\t' || p.text[p.at] == '\n') {
		p.at++
	}
}

// word returns what stands next, up to white space, without taking it.
func (p *parser) word() string {
	p.space()
	rest := p.text[p.at:]
	if i := strings.IndexAny(rest, " \t\n"); i >= 0 {
		rest = rest[:i]
	}
	return rest
}

// wrong returns an error at the next character, where got stands.
func (p *parser) wrong(got, problem, hint string) *SyntaxError {
	return &SyntaxError{Col: utf8.RuneCountInString(p.text[:p.at]) + 1, Problem: problem, Got: got, Hint: hint}
}

func (p *parser) channel(c *Condition) error {
	p.space()
	start := p.at
	for p.at < len(p.text) && isNameByte(p.text[p.at]) {
		p.at++
	}
	name := p.text[start:p.at]
	end := p.at
	p.at = start
	const hint = "begin with device.channel, for instance meter1.temp > 80"
	if name == "" {
		return p.wrong(p.word(), "a channel is wanted", hint)
	}
	dot := strings.IndexByte(name, '.')
	if dot <= 0 || dot == len(name)-1 {
		return p.wrong(name, "device and channel are wanted, with a dot between", hint)
	}
	if name[0] == '_' {
		return p.wrong(name, "the gateway's own channels are not judged", hint)
	}
	p.at = end
	c.Channel = name
	return nil
}

// isNameByte reports whether b may stand in a name; see tidegate.CheckName.
func isNameByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '.' || b == '_' || b == '-'
}

func (p *parser) op(c *Condition) error {
	p.space()
	rest := p.text[p.at:]
	for _, w := range insteadOf[:3] {
		if strings.HasPrefix(rest, w[0]) {
			return p.wrong(w[0], "not a comparison", "write "+w[1])
		}
	}
	for _, op := range ops {
		if strings.HasPrefix(rest, op) {
			c.Op = op
			p.at += len(op)
			return nil
		}
	}
	for _, w := range insteadOf[3:] {
		if strings.HasPrefix(rest, w[0]) {
			return p.wrong(w[0], "not a comparison", "write "+w[1])
		}
	}
	return p.wrong(p.word(), "a comparison is wanted", "comparisons are > >= < <= == !=")
}

func (p *parser) value(c *Condition) error {
	const hint = `compare with a number, true, false or a "text"`
	word := p.word()
	if word == "" {
		return p.wrong("", "a value is wanted", hint)
	}
	if q := word[0]; q == '"' || q == '\'' {
		end := strings.IndexByte(p.text[p.at+1:], q)
		if end < 0 {
			return p.wrong(p.text[p.at:], "the quote does not end", "close it with "+string(q))
		}
		c.Value = tidegate.Text(p.text[p.at+1 : p.at+1+end])
		p.at += end + 2
		return nil
	}
	switch word {
	case "true", "false":
		c.Value = tidegate.Bool(word == "true")
		p.at += len(word)
		return nil
	case "yes", "no", "on", "off", "True", "False", "TRUE", "FALSE":
		return p.wrong(word, "not a value", "write true or false, or a text in quotes")
	}
	if !isDecimal(word) {
		if n := decimalPrefix(word); n > 0 && !strings.ContainsAny(word[n:n+1], ".,_xX0123456789") {
			p.at += n
			return p.wrong(word[n:], "more text behind the number", "write the number alone, in the channel's unit")
		}
		return p.wrong(word, "not a value", hint)
	}
	f, err := strconv.ParseFloat(word, 64)
	if err != nil {
		return p.wrong(word, "number is too large for a double", "write a number up to 1.8e308")
	}
	c.Value = tidegate.Float(f)
	p.at += len(word)
	return nil
}

// isDecimal reports whether s is a decimal number in ASCII, with or without sign, fraction and exponent.
func isDecimal(s string) bool { return decimalPrefix(s) == len(s) && s != "" }

// decimalPrefix returns how many bytes at the start of s are a decimal number.
func decimalPrefix(s string) int {
	digits := func(i int) int {
		n := 0
		for i+n < len(s) && s[i+n] >= '0' && s[i+n] <= '9' {
			n++
		}
		return n
	}
	i := 0
	if i < len(s) && (s[i] == '-' || s[i] == '+') {
		i++
	}
	whole := digits(i)
	i += whole
	if whole == 0 {
		return 0
	}
	if i < len(s) && s[i] == '.' {
		if n := digits(i + 1); n > 0 {
			i += 1 + n
		}
	}
	if i < len(s) && (s[i] == 'e' || s[i] == 'E') {
		j := i + 1
		if j < len(s) && (s[j] == '-' || s[j] == '+') {
			j++
		}
		if n := digits(j); n > 0 {
			i = j + n
		}
	}
	return i
}
