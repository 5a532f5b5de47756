package lang

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// mark stands before what scan puts in the place of a literal that expr does not know. It is a letter that scan lets through nowhere else.
const mark = 'ŧ'

// A source is a text made ready for expr's parser: channels, lengths of time and counts are replaced by marked names.
type source struct {
	text      string
	rewritten string
	literals  []literal
	shifts    []shift // ascending
}

// A literal is what a marked name stands for.
type literal struct {
	channel string // "device.channel"
	known   bool   // the Schema lists it
	span    time.Duration
	times   int // of `3x`
}

// A shift says that from the character at of the rewritten text on, the text has from at its place.
type shift struct{ at, from int }

// col returns where the character at of the rewritten text stands in the text, counted from 1.
func (s *source) col(at int) int {
	col := at
	for _, sh := range s.shifts {
		if sh.at > at {
			break
		}
		col = sh.from + at - sh.at
	}
	return min(col, utf8.RuneCountInString(s.text)) + 1
}

// cut returns what stands in the text for the characters from at to end of the rewritten text.
func (s *source) cut(at, end int) string {
	r := []rune(s.text)
	from, to := s.col(at)-1, min(s.col(end)-1, len(r))
	return strings.TrimSpace(string(r[from:max(from, to)]))
}

// scanner reads a text from left to right.
type scanner struct {
	source
	schema  Schema
	at      int // offset of the next byte of text
	runes   int // characters before at
	out     strings.Builder
	written int // characters in out
}

// insteadOf gives, for what people write for a comparison in other places, what to write here; longer ones first.
var insteadOf = [...][2]string{
	{"=>", ">="},
	{"=<", "<="},
	{"<>", "!="},
	{"===", "=="},
	{"≥", ">="},
	{"≤", "<="},
	{"≠", "!="},
}

// wordsInstead gives the same for words.
var wordsInstead = map[string]string{
	"is": "write ==", "AND": "write and", "OR": "write or", "NOT": "write not", "And": "write and", "Or": "write or", "Not": "write not",
	"yes": "write true or false, or a text in quotes", "no": "write true or false, or a text in quotes",
	"on": "write true or false, or a text in quotes", "off": "write true or false, or a text in quotes",
	"True": "write true", "False": "write false", "TRUE": "write true", "FALSE": "write false",
	"let": "there are no variables", "if": "write a ? b : c", "nil": "a value that is not known is neither yes nor no",
}

// scan reads text.
func scan(text string, schema Schema) (*source, *Fault) {
	s := &scanner{source: source{text: text}, schema: schema}
	if n := utf8.RuneCountInString(text); n > MaxText {
		return nil, &Fault{Col: MaxText + 1, Problem: fmt.Sprintf("%d characters long, at most %d", n, MaxText), Got: strconv.Itoa(n) + " characters", Hint: "write several rules"}
	}
	if !utf8.ValidString(text) {
		return nil, &Fault{Col: 1, Problem: "no UTF-8 text", Got: strconv.QuoteToASCII(text[:min(len(text), 20)]), Hint: "write the text in UTF-8"}
	}
	if strings.TrimSpace(text) == "" {
		return nil, &Fault{Col: 1, Problem: "a condition is wanted", Hint: "begin with device.channel, for instance meter1.temp > 80"}
	}
	for s.at < len(text) {
		if fault := s.one(); fault != nil {
			return nil, fault
		}
	}
	s.rewritten = s.out.String()
	return &s.source, nil
}

// one takes what stands next.
func (s *scanner) one() *Fault {
	c := s.text[s.at]
	switch {
	case c == '"' || c == '\'':
		return s.quoted(c)
	case c == '`':
		return s.wrong(1, "not expected here", `write a text in "quotes"`)
	case isNameByte(c) && c != '-' && c != '.':
		return s.name()
	case c >= utf8.RuneSelf || strings.IndexByte("=<>!", c) >= 0:
		return s.operator()
	case c == '{' || c == ';' || c == '#' || c == '|' && !strings.HasPrefix(s.text[s.at:], "||") || strings.HasPrefix(s.text[s.at:], "//"), strings.HasPrefix(s.text[s.at:], "/*"):
		return s.wrong(1, "not expected here", "see what can be written in rules/README.md")
	case strings.HasPrefix(s.text[s.at:], "||"), strings.HasPrefix(s.text[s.at:], "&&"):
		s.keep(2)
		return nil
	}
	s.keep(1)
	return nil
}

// wrong returns a fault at the next character, where n characters are what stands there.
func (s *scanner) wrong(n int, problem, hint string) *Fault {
	r := []rune(s.text[s.at:])
	return &Fault{Col: s.runes + 1, Problem: problem, Got: string(r[:min(n, len(r))]), Hint: hint}
}

// keep takes n bytes as they are.
func (s *scanner) keep(n int) {
	part := s.text[s.at : s.at+n]
	if part == "\n" || part == "\t" {
		part = " "
	}
	s.out.WriteString(part)
	count := utf8.RuneCountInString(part)
	s.written += count
	s.runes += count
	s.at += n
}

// replace puts a marked name in the place of n bytes, all ASCII.
func (s *scanner) replace(n int, l literal) {
	name := string(mark) + strconv.Itoa(len(s.literals))
	s.literals = append(s.literals, l)
	s.out.WriteString(name)
	s.shifts = append(s.shifts, shift{s.written, s.runes})
	s.written += utf8.RuneCountInString(name)
	s.runes += n
	s.at += n
	s.shifts = append(s.shifts, shift{s.written, s.runes})
}

func (s *scanner) quoted(quote byte) *Fault {
	for i := s.at + 1; i < len(s.text); i++ {
		switch s.text[i] {
		case '\\':
			i++
		case quote:
			s.keep(i + 1 - s.at)
			return nil
		}
	}
	return s.wrong(60, "the quote does not end", "close it with "+string(quote))
}

func (s *scanner) operator() *Fault {
	rest := s.text[s.at:]
	for _, w := range insteadOf {
		if strings.HasPrefix(rest, w[0]) {
			return s.wrong(utf8.RuneCountInString(w[0]), "not a comparison", "write "+w[1])
		}
	}
	switch {
	case len(rest) > 1 && rest[0] < utf8.RuneSelf && rest[1] == '=':
		s.keep(2)
		return nil
	case rest[0] == '=':
		return s.wrong(1, "not a comparison", "write ==")
	case rest[0] < utf8.RuneSelf:
		s.keep(1)
		return nil
	}
	if s.at > 0 && s.text[s.at-1] >= '0' && s.text[s.at-1] <= '9' {
		return s.wrong(1, "more text behind the number", aloneHint)
	}
	return s.wrong(1, "not expected here", `only texts in "quotes" may hold such characters`)
}

// name takes what begins with a letter, a digit or an underscore: a channel, a number, a length of time, a count or a word.
func (s *scanner) name() *Fault {
	end := s.at
	for end < len(s.text) && isNameByte(s.text[end]) {
		end++
	}
	run := s.text[s.at:end]
	for n := len(run); n > 0; n = strings.LastIndexByte(run[:n], '-') {
		if _, ok := s.schema.Channels[run[:n]]; ok {
			s.replace(n, literal{channel: run[:n], known: true})
			return nil
		}
	}
	if c := run[0]; c >= '0' && c <= '9' {
		return s.numeral(run)
	}
	word := run
	if i := strings.IndexAny(run, "-."); i >= 0 {
		word = run[:i]
	}
	dot := strings.IndexByte(run, '.')
	switch {
	case run[0] == '_':
		return s.wrong(len(run), "the gateway's own channels are not judged", "name a channel of a device, for instance meter1.temp")
	case dot > 0 && dot < len(run)-1:
		if s.schema.Open == nil || !s.schema.Open(run) {
			if i := strings.IndexByte(run, '-'); i > dot && i < len(run)-1 { // a minus without spaces, more likely than a channel's name
				run = run[:i]
			}
		}
		s.replace(len(run), literal{channel: run})
		return nil
	case dot >= 0:
		return s.wrong(len(run), "device and channel are wanted, with a dot between", "begin with device.channel, for instance meter1.temp > 80")
	}
	if hint, ok := wordsInstead[word]; ok {
		if word == "is" && strings.HasPrefix(s.text[s.at:], "is not") {
			hint = "write !="
		}
		return s.wrong(len(word), "not expected here", hint)
	}
	s.keep(len(word))
	return nil
}

// aloneHint is for what stands behind a number.
const aloneHint = "write the number alone, in the channel's unit"

// longestSpan is the longest time that can be written: 20 years.
const longestSpan = 20 * 365 * 24 * time.Hour

// spans are the units of a length of time.
var spans = map[string]time.Duration{
	"us": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour,
	"y": 365 * 24 * time.Hour,
}

// numeral takes what begins with a digit.
func (s *scanner) numeral(run string) *Fault {
	rest := s.text[s.at:]
	n := numberLen(rest)
	if n == len(rest) || !isLetter(rest[n]) {
		s.keep(n)
		return nil
	}
	if rest[n] == 'x' && (n+1 == len(rest) || !isNameByte(rest[n+1])) {
		times, err := strconv.Atoi(rest[:n])
		if err != nil || times < 1 || times > 1000 {
			return s.wrong(n+1, "no count", "write a whole number from 1x to 1000x")
		}
		s.replace(n+1, literal{times: times})
		return nil
	}
	span, length, ok := spanOf(rest)
	if !ok {
		word := run
		if i := strings.IndexByte(word, '-'); i > 0 {
			word = word[:i]
		}
		if n >= len(word) { // the number has a sign in its exponent, which no name has
			word = rest[:n+1]
		}
		if strings.Trim(word[n:], letters) == "" {
			s.at, s.runes = s.at+n, s.runes+n
			return s.wrong(len(word)-n, "more text behind the number", aloneHint+"; lengths of time are 30s, 5m, 2h, 7d")
		}
		return s.wrong(len(word), "not a value", `compare with a number, true, false or a "text"`)
	}
	if span <= 0 || span > longestSpan {
		return s.wrong(length, "no length of time", "lengths of time are longer than 0s, and at most 20y")
	}
	s.replace(length, literal{span: span})
	return nil
}

// spanOf reads a length of time such as 30s or 1h30m at the beginning of text.
func spanOf(text string) (span time.Duration, length int, ok bool) {
	for length < len(text) && text[length] >= '0' && text[length] <= '9' {
		n := numberLen(text[length:])
		f, err := strconv.ParseFloat(text[length:length+n], 64)
		end := length + n
		for end < len(text) && isLetter(text[end]) {
			end++
		}
		unit, known := spans[text[length+n:end]]
		if err != nil || !known {
			return 0, 0, false
		}
		span = time.Duration(min(float64(span)+f*float64(unit), float64(longestSpan+time.Hour)))
		length = end
	}
	return span, length, length > 0 && (length == len(text) || !isNameByte(text[length]) || text[length] == '-')
}

// numberLen returns how many bytes of a decimal number text begins with.
func numberLen(text string) int {
	n := digits(text)
	if n < len(text) && text[n] == '.' {
		if d := digits(text[n+1:]); d > 0 {
			n += 1 + d
		}
	}
	if n > 0 && n < len(text) && (text[n] == 'e' || text[n] == 'E') {
		m := n + 1
		if m < len(text) && (text[m] == '+' || text[m] == '-') {
			m++
		}
		if d := digits(text[m:]); d > 0 {
			n = m + d
		}
	}
	return n
}

func digits(text string) int {
	n := 0
	for n < len(text) && text[n] >= '0' && text[n] <= '9' {
		n++
	}
	return n
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

func isNumberText(s string) bool { return s != "" && numberLen(s) == len(s) }

func isLetter(b byte) bool { return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' }

// isNameByte reports whether b may stand in a name; see tidegate.CheckName.
func isNameByte(b byte) bool {
	return isLetter(b) || b >= '0' && b <= '9' || b == '.' || b == '_' || b == '-'
}
