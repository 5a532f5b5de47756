package output

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// Parse returns what text says as a value that c accepts. Yes/no is written true or false, numbers in ASCII digits, bytes in hexadecimal. Where
// c is of no fixed kind, what looks like true, false or a number is one, and all else a text.
func Parse(c *drivers.Channel, text string) (tidegate.Value, error) {
	v, ok := parse(c.Kind, text)
	if !ok {
		return tidegate.Value{}, fmt.Errorf("got %s, want %s", strconv.Quote(text[:min(len(text), 40)]), c.Wants())
	}
	return v, c.Accept(v)
}

func parse(k tidegate.Kind, text string) (v tidegate.Value, ok bool) {
	switch k {
	case tidegate.KindBool:
		return tidegate.Bool(text == "true"), text == "true" || text == "false"
	case tidegate.KindInt:
		i, err := strconv.ParseInt(text, 10, 64)
		return tidegate.Int(i), err == nil
	case tidegate.KindUint:
		u, err := strconv.ParseUint(text, 10, 64)
		return tidegate.Uint(u), err == nil
	case tidegate.KindFloat:
		// Without these words and letters, which ParseFloat takes too: nan, inf, 0x1p4, 1_000.
		f, err := strconv.ParseFloat(text, 64)
		return tidegate.Float(f), err == nil && strings.Trim(text, "+-.0123456789eE") == ""
	case tidegate.KindText:
		return tidegate.Text(text), utf8.ValidString(text)
	case tidegate.KindBytes:
		b, err := hex.DecodeString(text)
		return tidegate.Bytes(b), err == nil
	}
	for _, k := range []tidegate.Kind{tidegate.KindBool, tidegate.KindInt, tidegate.KindFloat, tidegate.KindText} {
		if v, ok = parse(k, text); ok {
			return v, true
		}
	}
	return v, false
}

// JSON returns v as JSON has it: a number, true or false, or a text; null for none. What JSON has no number for, NaN for instance, is a text.
func JSON(v tidegate.Value) json.RawMessage {
	switch v.Kind() {
	case tidegate.KindNone:
		return json.RawMessage("null")
	case tidegate.KindFloat, tidegate.KindInt, tidegate.KindUint, tidegate.KindBool:
		if b := []byte(v.String()); json.Valid(b) {
			return b
		}
	}
	b, err := json.Marshal(v.String())
	if err != nil {
		return json.RawMessage("null") // a string always marshals
	}
	return b
}

// Agree reports whether what a device reports of an output is what it was set to: the same yes/no, number, text or bytes.
func Agree(set, reported tidegate.Value) bool {
	if set.Kind().String() != reported.Kind().String() {
		return false
	}
	a, isNumber := set.Number()
	b, _ := reported.Number()
	if isNumber {
		return a == b
	}
	return set.String() == reported.String()
}
