package strict

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
	"github.com/tidegate-io/tidegate"
)

// scalar is a value as it stands in the file.
type scalar struct {
	text   string
	quoted bool
	null   bool // nothing, ~ or null
}

// scalarOf returns the scalar that n is. Numbers keep the look they have in the file.
func scalarOf(n ast.Node) (scalar, bool) {
	switch t := n.(type) {
	case *ast.AnchorNode:
		return scalarOf(t.Value)
	case *ast.StringNode:
		return scalar{text: t.Value, quoted: t.Token.Type == token.SingleQuoteType || t.Token.Type == token.DoubleQuoteType}, true
	case *ast.LiteralNode:
		return scalar{text: t.Value.Value, quoted: true}, true
	case *ast.NullNode:
		if t.Token.Type == token.ImplicitNullType {
			return scalar{null: true}, true
		}
		return scalar{text: t.Token.Value, null: true}, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return scalar{text: n.GetToken().Value}, true
	}
	return scalar{}, false
}

var (
	typeDuration = reflect.TypeFor[time.Duration]()
	typeValue    = reflect.TypeFor[tidegate.Value]()
	typeText     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// isScalar reports whether values of type t are written as one word, number or text.
func isScalar(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Float32, reflect.Float64, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32,
		reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	}
	return t == typeValue || reflect.PointerTo(t).Implements(typeText)
}

// word says what a value of type t is, for people.
func word(t reflect.Type) string {
	switch {
	case t == typeDuration:
		return "a duration"
	case t == typeValue:
		return "a number, true, false or a text"
	case reflect.PointerTo(t).Implements(typeText), t.Kind() == reflect.String:
		return "a text"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Float32, t.Kind() == reflect.Float64:
		return "a number"
	}
	return "a whole number"
}

// scalar decodes n into v and checks its range.
func (d *decoder) scalar(path string, n ast.Node, v reflect.Value, check string) {
	p := d.place(path)
	s, ok := scalarOf(n)
	if !ok {
		d.at(p.line, p.col, path, wantOne, describe(n), "write it behind the colon", word(v.Type()))
		return
	}
	if s.null {
		d.at(p.line, p.col, path, noValue, s.text, "write a value, or leave the key out")
		return
	}
	before := len(d.faults)
	d.text(path, s, v)
	if len(d.faults) == before {
		d.limits(path, s, v, check)
	}
}

// text decodes s into v, which isScalar.
func (d *decoder) text(path string, s scalar, v reflect.Value) {
	p := d.place(path)
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := u.UnmarshalText([]byte(s.text)); err != nil {
			problem, hint, _ := strings.Cut(err.Error(), "; ")
			d.at(p.line, p.col, path, notTaken, Show(s.text), hint, problem)
		}
		return
	}
	switch {
	case v.Type() == typeDuration:
		d.duration(path, s, v)
	case v.Type() == typeValue:
		d.anyValue(path, s, v)
	case v.Kind() == reflect.String:
		v.SetString(s.text)
	case v.Kind() == reflect.Bool:
		if s.quoted || s.text != "true" && s.text != "false" {
			d.at(p.line, p.col, path, wantBool, s.show(), boolHint(s))
			return
		}
		v.SetBool(s.text == "true")
	case v.CanFloat():
		if f, ok := d.number(path, s); ok {
			v.SetFloat(f)
		}
	default:
		d.integer(path, s, v)
	}
}

// show returns s as it stands in the file, more or less.
func (s scalar) show() string {
	if s.quoted {
		return strconv.Quote(s.text)
	}
	return Show(s.text)
}

func boolHint(s scalar) string {
	switch strings.ToLower(s.text) {
	case "yes", "on", "y", "1", "true":
		return "write true"
	case "no", "off", "n", "0", "false":
		return "write false"
	}
	return "write true or false"
}

var (
	reInteger = regexp.MustCompile(`^([-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+)$`)
	reNumber  = regexp.MustCompile(`^[-+]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)
	reOctal   = regexp.MustCompile(`^[-+]?0+([0-9]+)$`)
)

// integerHint says how to write the whole number that was probably meant.
func integerHint(s scalar) string {
	if s.quoted && reInteger.MatchString(s.text) {
		return "write it without quotes"
	}
	if m := reOctal.FindStringSubmatch(s.text); m != nil {
		if n, err := strconv.ParseUint(m[1], 8, 63); err == nil && strconv.FormatUint(n, 10) != m[1] {
			return fmt.Sprintf("leading zeros are ambiguous: write %s, or %d if octal is meant", m[1], n)
		}
		return "leading zeros are ambiguous: write " + m[1]
	}
	if plain := strings.ReplaceAll(s.text, "_", ""); plain != s.text && reInteger.MatchString(plain) {
		return "write " + plain
	}
	if reNumber.MatchString(s.text) {
		if f, err := strconv.ParseFloat(s.text, 64); err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return "write " + strconv.FormatFloat(f, 'f', -1, 64)
		}
		return "leave out the fraction"
	}
	if f, err := strconv.ParseInt(s.text, 0, 64); err == nil {
		return fmt.Sprintf("write %d", f)
	}
	return "write digits, for instance 9600, or 0x1f"
}

// integer decodes s into v, a whole number of any size.
func (d *decoder) integer(path string, s scalar, v reflect.Value) {
	p := d.place(path)
	if s.quoted || !reInteger.MatchString(s.text) {
		d.at(p.line, p.col, path, wantInteger, s.show(), integerHint(s))
		return
	}
	digits, base := s.text, 10
	if strings.HasPrefix(digits, "0x") {
		digits, base = digits[2:], 16
	}
	bits := v.Type().Bits()
	if v.CanInt() {
		i, err := strconv.ParseInt(digits, base, bits)
		if err == nil {
			v.SetInt(i)
			return
		}
	} else if u, err := strconv.ParseUint(strings.TrimPrefix(digits, "+"), base, bits); err == nil {
		v.SetUint(u)
		return
	}
	low, high := "0", strconv.FormatUint(math.MaxUint64>>(64-bits), 10)
	if v.CanInt() {
		low, high = strconv.FormatInt(math.MinInt64>>(64-bits), 10), strconv.FormatInt(math.MaxInt64>>(64-bits), 10)
	}
	d.at(p.line, p.col, path, outOfType, s.show(), "write a number in that range", low, high)
}

// number returns the finite double that s is.
func (d *decoder) number(path string, s scalar) (float64, bool) {
	p := d.place(path)
	if reInteger.MatchString(s.text) && strings.HasPrefix(s.text, "0x") && !s.quoted {
		if u, err := strconv.ParseUint(s.text[2:], 16, 64); err == nil {
			return float64(u), true
		}
	}
	if !s.quoted && reNumber.MatchString(s.text) {
		if f, err := strconv.ParseFloat(s.text, 64); err == nil {
			return f, true
		}
	}
	hint := "write digits, for instance 80, 0.1 or 1e3"
	comma := strings.Replace(s.text, ",", ".", 1)
	switch {
	case s.quoted && reNumber.MatchString(s.text):
		hint = "write it without quotes"
	case reOctal.MatchString(s.text):
		hint = integerHint(s)
	case comma != s.text && reNumber.MatchString(comma):
		hint = "write " + comma
	case reNumber.MatchString("0" + s.text):
		hint = "write 0" + s.text
	}
	d.at(p.line, p.col, path, wantNumber, s.show(), hint)
	return 0, false
}

// duration decodes s, Go's notation of durations, into v.
func (d *decoder) duration(path string, s scalar, v reflect.Value) {
	p := d.place(path)
	t, err := time.ParseDuration(s.text)
	if err == nil && t >= 0 {
		v.SetInt(int64(t))
		return
	}
	if err == nil {
		d.at(p.line, p.col, path, negativeTime, Show(s.text), "write it without the sign")
		return
	}
	if reNumber.MatchString(s.text) {
		number := strings.TrimLeft(s.text, "-+")
		if f, err := strconv.ParseFloat(number, 64); err == nil && strings.ContainsAny(number, "eE") {
			number = strconv.FormatFloat(f, 'f', -1, 64) // Go's notation of durations has no exponents
		}
		d.at(p.line, p.col, path, missingUnit, Show(s.text), fmt.Sprintf("write %q for seconds, %q for milliseconds", number+"s", number+"ms"))
		return
	}
	d.at(p.line, p.col, path, wantDuration, Show(s.text), durationHint(s.text))
}

// longUnits are the units of time that Go's notation has not, in hours.
var longUnits = map[string]float64{"d": 24, "day": 24, "days": 24, "w": 168, "week": 168, "weeks": 168}

// wordUnits are the units of time that people write out.
var wordUnits = map[string]string{
	"sec": "s", "secs": "s", "second": "s", "seconds": "s", "min": "m", "mins": "m", "minute": "m",
	"minutes": "m", "hour": "h", "hours": "h", "hr": "h", "msec": "ms", "millis": "ms", "milliseconds": "ms",
}

// durationHint says how to write the duration that was probably meant.
func durationHint(text string) string {
	i := strings.LastIndexAny(text, "0123456789.") + 1
	digits, unit := strings.TrimSpace(text[:i]), strings.ToLower(strings.TrimSpace(text[i:]))
	f, err := strconv.ParseFloat(digits, 64)
	if hours := longUnits[unit]; err == nil && hours > 0 {
		return fmt.Sprintf("write %q", strconv.FormatFloat(f*hours, 'f', -1, 64)+"h")
	}
	if short := wordUnits[unit]; short != "" {
		unit = short
	}
	if _, bad := time.ParseDuration(digits + unit); err == nil && bad == nil {
		return fmt.Sprintf("write %q", digits+unit)
	}
	return `write a number and its unit, for instance "100ms", "10s" or "1h30m"`
}

// anyValue decodes s into v, a tidegate.Value: what is in quotes is text; true, false and numbers are what they look like.
func (d *decoder) anyValue(path string, s scalar, v reflect.Value) {
	p := d.place(path)
	set := func(w tidegate.Value) { v.Set(reflect.ValueOf(w)) }
	if s.quoted {
		set(tidegate.Text(s.text))
		return
	}
	if s.text == "true" || s.text == "false" {
		set(tidegate.Bool(s.text == "true"))
		return
	}
	if reInteger.MatchString(s.text) {
		if i, err := strconv.ParseInt(s.text, 0, 64); err == nil {
			set(tidegate.Int(i))
			return
		}
	}
	if reNumber.MatchString(s.text) {
		if f, err := strconv.ParseFloat(s.text, 64); err == nil {
			set(tidegate.Float(f))
			return
		}
	}
	hint := fmt.Sprintf("write %q in quotes if it is a text", s.text)
	if b := boolHint(s); b != "write true or false" {
		hint = b + ", or put it in quotes if it is a text"
	}
	d.at(p.line, p.col, path, ambiguous, Show(s.text), hint)
}

// limits checks v against the check tag of its field.
func (d *decoder) limits(path string, s scalar, v reflect.Value, check string) {
	p := d.place(path)
	for _, c := range strings.Fields(check) {
		name, arg, _ := strings.Cut(c, "=")
		switch name {
		case "required", "filled":
			if v.Kind() == reflect.String && v.Len() == 0 {
				d.at(p.line, p.col, path, emptyText, "", "write a text")
			}
		case "enum":
			words := strings.Split(arg, "|")
			if !slices.Contains(words, s.text) {
				d.at(p.line, p.col, path, unknownWord, Show(s.text), DidYouMean(s.text, words, "words are "+strings.Join(words, ", ")))
			}
		case "min":
			if v.Int() < limit(v.Type(), arg) {
				d.at(p.line, p.col, path, tooSmall, Show(s.text), "write "+arg+" or more", arg)
			}
		case "max":
			if v.Int() > limit(v.Type(), arg) {
				d.at(p.line, p.col, path, tooGreat, Show(s.text), "write "+arg+" or less", arg)
			}
		}
	}
}

// limit returns the number that arg of a check tag is, for a field of type t; 0 where it is none, which a test of the tags finds.
func limit(t reflect.Type, arg string) int64 {
	v := reflect.New(t).Elem()
	New("").decoder().text("", scalar{text: arg}, v)
	return v.Int()
}

func (d *Doc) decoder() *decoder { return &decoder{Doc: d} }
