package serialtext

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"regexp/syntax"
	"slices"
	"unicode/utf8"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/talker"
)

// The words of the setting `encoding`.
const (
	encASCII  = "ascii"
	encUTF8   = "utf-8"
	encLatin1 = "latin1"
	encBinary = "binary"
)

// The words of a channel's `type`.
const (
	typeGuess   = ""
	typeInteger = "integer"
	typeNumber  = "number"
	typeText    = "text"
	typeBytes   = "bytes"
)

// lines turns the text of frames into readings.
type lines struct {
	encoding  string
	comma     bool // the decimal mark of the talker
	check     *check
	ignore    *regexp.Regexp
	patterns  []pattern
	channels  []*channel // in the order of the groups
	trees     []*syntax.Regexp
	selfStart bool   // a line that matches is whole
	latin     []byte // memory for conversion
}

type pattern struct {
	re     *regexp.Regexp
	groups []*channel // by number of the group; nil = not named
}

type channel struct {
	name string
	Group
}

func (ch *channel) kind() tidegate.Kind {
	switch ch.Type {
	case typeInteger, typeNumber:
		if ch.Type == typeInteger && !ch.scaled() {
			return tidegate.KindInt
		}
		return tidegate.KindFloat
	case typeText:
		return tidegate.KindText
	case typeBytes:
		return tidegate.KindBytes
	}
	return tidegate.KindNone
}

func (ch *channel) scaled() bool { return ch.Scale != 0 && ch.Scale != 1 || ch.Offset != 0 }

// compile builds the lines that c asks for and returns all that is wrong with expressions and channels.
func (c *Config) compile() (*lines, []drivers.FieldError) {
	p := &lines{encoding: c.Encoding, comma: c.Decimal == ",", check: newCheck(c)}
	var errs []drivers.FieldError
	for i, expr := range append([]string{c.Line}, c.Lines...) {
		field := "line"
		if i > 0 {
			field = fmt.Sprintf("lines[%d]", i-1)
		}
		errs = append(errs, p.add(field, expr)...)
	}
	if c.Ignore != "" {
		re, bad := expression("ignore", c.Ignore)
		p.ignore = re
		errs = append(errs, bad...)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Groups)) {
		errs = append(errs, p.settle(name, c.Groups[name], c.Encoding)...)
	}
	p.selfStart = selfStarting(p.trees)
	return p, errs
}

func expression(field, s string) (*regexp.Regexp, []drivers.FieldError) {
	if s == "" || len(s) > 4096 {
		return nil, []drivers.FieldError{{
			Field: field, Got: fmt.Sprintf("%d bytes", len(s)), Problem: "is no expression of 1 to 4096 bytes",
			Hint: "name what is to become channels, for instance '^T=(?<temp>-?[0-9.]+)$'",
		}}
	}
	re, err := regexp.Compile(s)
	if err != nil {
		return nil, []drivers.FieldError{{Field: field, Got: s, Problem: err.Error(), Hint: "the syntax is RE2: https://golang.org/s/re2syntax"}}
	}
	return re, nil
}

// add takes up one expression of the setting field.
func (p *lines) add(field, s string) []drivers.FieldError {
	re, errs := expression(field, s)
	if re == nil {
		return errs
	}
	tree, err := syntax.Parse(s, syntax.Perl)
	if err != nil {
		return []drivers.FieldError{{Field: field, Got: s, Problem: err.Error()}}
	}
	p.trees = append(p.trees, tree)
	guesses := guessTypes(tree)
	pat := pattern{re: re, groups: make([]*channel, re.NumSubexp()+1)}
	for i, name := range re.SubexpNames() {
		if name == "" {
			continue
		}
		if err := tidegate.CheckName(name); err != nil {
			errs = append(errs, drivers.FieldError{Field: field, Got: name, Problem: "has a group whose " + err.Error()})
		}
		if i != re.SubexpIndex(name) {
			errs = append(errs, drivers.FieldError{
				Field: field, Got: name, Problem: "has two groups of that name",
				Hint: "give each form of line an expression of its own under lines",
			})
		}
		if name == chanFault {
			errs = append(errs, drivers.FieldError{Field: field, Got: name, Problem: "has a group named like a channel of the driver's own"})
		}
		pat.groups[i] = p.channel(name, guesses[name])
	}
	if !slices.ContainsFunc(pat.groups, func(ch *channel) bool { return ch != nil }) {
		errs = append(errs, drivers.FieldError{
			Field: field, Got: s, Problem: "has no named group, so a line would give no channel",
			Hint: "write (?<temp>...) around what is to be channel temp",
		})
	}
	p.patterns = append(p.patterns, pat)
	return errs
}

// channel returns the channel called name, a new one of type guess, or an earlier one with a type that suits both.
func (p *lines) channel(name, guess string) *channel {
	for _, ch := range p.channels {
		if ch.name != name {
			continue
		}
		switch {
		case ch.Type == guess:
		case ch.Type == typeGuess || guess == typeGuess:
			ch.Type = typeGuess
		default:
			ch.Type = typeNumber
		}
		return ch
	}
	ch := &channel{name: name, Group: Group{Type: guess}}
	p.channels = append(p.channels, ch)
	return ch
}

// settle applies what the user knows of the channel called name.
func (p *lines) settle(name string, g Group, encoding string) []drivers.FieldError {
	field := "channels." + name
	i := slices.IndexFunc(p.channels, func(ch *channel) bool { return ch.name == name })
	if i < 0 {
		return []drivers.FieldError{{Field: field, Problem: "no expression has a group of that name", Hint: "write (?<" + name + ">...) in line"}}
	}
	errs := drivers.OneOf(field+".type", g.Type, typeGuess, typeInteger, typeNumber, typeText, typeBytes)
	ch := p.channels[i]
	if g.Type == typeGuess {
		g.Type = ch.Type
	}
	ch.Group = g
	if g.Type == typeBytes && encoding != encBinary {
		errs = append(errs, drivers.FieldError{Field: field + ".type", Got: g.Type, Problem: "needs encoding: binary"})
	}
	if f := g.Scale + g.Offset; math.IsNaN(f) || math.IsInf(f, 0) {
		errs = append(errs, drivers.FieldError{Field: field, Got: fmt.Sprintf("scale %v, offset %v", g.Scale, g.Offset), Problem: "is not finite"})
	}
	if ch.scaled() {
		switch ch.Type {
		case typeGuess:
			ch.Type = typeNumber // what is scaled is a number
		case typeText, typeBytes:
			errs = append(errs, drivers.FieldError{Field: field, Problem: "scale and offset are for numbers, not for " + ch.Type})
		}
	}
	return errs
}

// read appends the readings of one frame's text to out. skip means that the line is to be ignored.
func (p *lines) read(out []tidegate.Reading, text []byte) (readings []tidegate.Reading, bad talker.Refusal, skip bool) {
	if p.ignore != nil && p.ignore.Match(text) {
		return out, "", true
	}
	whole := text
	if p.check != nil {
		if text, bad = p.check.verify(text); bad != "" {
			return out, bad, false
		}
	}
	if text, bad = p.decode(text); bad != "" {
		return out, bad, false
	}
	n := len(out)
	for i := range p.patterns {
		if out = p.patterns[i].read(out, text, p.comma); len(out) > n {
			return out, "", false
		}
	}
	return out, talker.Refusal(fmt.Sprintf("%s: line does not match the expression: %s", talker.NoMatch, talker.Excerpt(whole))), false
}

// read appends the groups that take part in a match; none when text does not match.
func (pat *pattern) read(out []tidegate.Reading, text []byte, comma bool) []tidegate.Reading {
	m := pat.re.FindSubmatchIndex(text)
	for g, ch := range pat.groups {
		if m == nil || ch == nil || m[2*g] < 0 {
			continue
		}
		v, fault := ch.value(text[m[2*g]:m[2*g+1]], comma)
		out = append(out, tidegate.Reading{Channel: ch.name, Value: v, Unit: ch.Unit, Fault: fault})
	}
	return out
}

// decode checks the bytes of a line and returns it as UTF-8, or as it is when the encoding is binary.
func (p *lines) decode(b []byte) ([]byte, talker.Refusal) {
	text, limit := b, rune(utf8.MaxRune)
	switch p.encoding {
	case encBinary:
		return b, ""
	case encASCII:
		limit = 0x7f
	case encLatin1:
		p.latin = p.latin[:0]
		for _, c := range b {
			p.latin = utf8.AppendRune(p.latin, rune(c))
		}
		text = p.latin
	}
	if n := oddity(text, limit); n > 0 {
		return nil, talker.Refusal(fmt.Sprintf("%s: character %d is no %s text: %s", talker.BadBytes, n, p.encoding, talker.Excerpt(b)))
	}
	return text, ""
}

// oddity returns which character of b, from 1, is above limit, a control character other than tab, or no UTF-8; 0 = none.
func oddity(b []byte, limit rune) int {
	for n := 1; len(b) > 0; n++ {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size <= 1 || r < 0x20 && r != '\t' || r >= 0x7f && r < 0xa0 || r > limit {
			return n
		}
		b = b[size:]
	}
	return 0
}

// value returns what the group's text says, or why it says nothing.
func (ch *channel) value(b []byte, comma bool) (tidegate.Value, string) {
	switch ch.Type {
	case typeBytes:
		return tidegate.Bytes(b), ""
	case typeText:
		return textValue(b)
	case typeGuess:
		if v, fault := number(b, comma, ch); fault == "" || refusedNumber(b) {
			return v, fault
		}
		return textValue(b)
	}
	return number(b, comma, ch)
}

func textValue(b []byte) (tidegate.Value, string) {
	if oddity(b, utf8.MaxRune) > 0 {
		return tidegate.Value{}, "not text: " + talker.Excerpt(b)
	}
	return tidegate.Text(string(b)), ""
}
