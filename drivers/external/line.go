package external

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tidegate-io/tidegate"
)

// maxLine is the longest line in either direction, in bytes, its newline included: what a pipe takes whole or not at all (PIPE_BUF,
// pipe(7)).
const maxLine = 4096

// A line is what one line of the program says: just one of these.
type line struct {
	reading tidegate.Reading // Channel is not empty
	done    uint64           // the answer to the question with that number is complete
	ack     uint64           // the Set with that number was taken, or not: then refusal says why
	refusal string
	bad     string // it says nothing that can be used; why
}

// parse reads one line, which is not blank.
func parse(b []byte, channels map[string]*Channel) line {
	fields, bad := object(b)
	if bad != "" {
		return line{bad: bad}
	}
	l := line{}
	switch {
	case has(fields, "channel"):
		l.reading, bad = reading(fields, channels)
	case has(fields, "done"):
		l.done, bad = number(fields, "done")
	case has(fields, "ack"):
		l.ack, bad = number(fields, "ack")
	case has(fields, "nack"):
		if l.ack, bad = number(fields, "nack"); bad == "" {
			l.refusal, bad = text(fields, "error")
		}
		if l.refusal == "" {
			l.refusal = "it does not say why"
		}
	default:
		bad = `has none of the keys "channel", "done", "ack" and "nack"`
	}
	for key := range fields {
		if bad == "" {
			bad = fmt.Sprintf("has the key %+q, which has no business there", key)
		}
	}
	if bad != "" {
		return line{bad: bad + ": " + excerpt(b)}
	}
	return l
}

// object reads a flat JSON object: texts, json.Number, yes/no and nil, by key.
func object(b []byte) (map[string]any, string) {
	if !utf8.Valid(b) {
		return nil, "is not UTF-8: " + excerpt(b)
	}
	if !json.Valid(b) {
		return nil, "is no JSON: " + excerpt(b)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, "is no JSON object: " + excerpt(b)
	}
	fields := map[string]any{}
	for d.More() {
		name, err := d.Token()
		key, _ := name.(string)
		value, err2 := d.Token()
		if err != nil || err2 != nil {
			return nil, "is no JSON: " + excerpt(b)
		}
		if has(fields, key) {
			return nil, fmt.Sprintf("has the key %+q twice: %s", key, excerpt(b))
		}
		switch v := value.(type) {
		case json.Delim:
			return nil, fmt.Sprintf("has a list or an object as %+q: %s", key, excerpt(b))
		case string:
			if !printable(v) {
				return nil, fmt.Sprintf("has a control character, or one that is none, in %+q: %s", key, excerpt(b))
			}
		}
		fields[key] = value
	}
	return fields, ""
}

// printable reports whether s has no control characters, and none that stands for half a surrogate pair.
func printable(s string) bool {
	for _, r := range s {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return false
		}
	}
	return true
}

func has(fields map[string]any, key string) bool {
	_, ok := fields[key]
	return ok
}

// number takes the field key, a whole number from 1, out of fields.
func number(fields map[string]any, key string) (uint64, string) {
	n, _ := fields[key].(json.Number)
	delete(fields, key)
	id, err := strconv.ParseUint(n.String(), 10, 64)
	if err != nil || id == 0 {
		return 0, fmt.Sprintf("has no number from 1 as %q", key)
	}
	return id, ""
}

// text takes the field key, a text, out of fields; "" = it is not there, or null.
func text(fields map[string]any, key string) (string, string) {
	v, ok := fields[key]
	delete(fields, key)
	s, isText := v.(string)
	if ok && v != nil && !isText {
		return "", fmt.Sprintf("has no text as %q", key)
	}
	return s, ""
}

// reading takes a reading out of fields. What does not fit the channel is its fault.
func reading(fields map[string]any, channels map[string]*Channel) (r tidegate.Reading, bad string) {
	if r.Channel, bad = text(fields, "channel"); bad != "" {
		return r, bad
	}
	ch := channels[r.Channel]
	if ch == nil {
		return r, fmt.Sprintf("is of the channel %+q, which is not declared", r.Channel)
	}
	unit, bad := text(fields, "unit")
	if bad != "" {
		return r, bad
	}
	if r.Fault, bad = text(fields, "fault"); bad != "" {
		return r, bad
	}
	at, bad := text(fields, "time")
	if bad != "" {
		return r, bad
	}
	if at != "" {
		if r.Time, bad = moment(at); bad != "" {
			return r, bad
		}
	}
	value := fields["value"]
	delete(fields, "value")
	r.Unit = ch.Unit
	switch {
	case r.Fault != "" && value != nil:
		return r, "has both a value and a fault"
	case r.Fault != "":
	case value == nil:
		return r, "has neither a value nor a fault"
	case unit != "" && unit != ch.Unit:
		r.Fault = fmt.Sprintf("the program says unit %q, declared is %q", unit, ch.Unit)
	default:
		r.Value, r.Fault = ch.value(value)
	}
	return r, ""
}

// moment reads a time with its zone, of the years 2000 to 2099.
func moment(s string) (time.Time, string) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() < 2000 || t.Year() > 2099 {
		return time.Time{}, fmt.Sprintf("has the time %+q, want one of 2000 to 2099 as in 2026-11-02T10:00:00Z", s)
	}
	return t, ""
}

// kind returns the kind of the channel's values.
func (ch *Channel) kind() tidegate.Kind {
	switch ch.Type {
	case typeNumber:
		return tidegate.KindFloat
	case typeInteger:
		return tidegate.KindInt
	case typeBool:
		return tidegate.KindBool
	case typeText:
		return tidegate.KindText
	}
	return tidegate.KindNone
}

// value returns what the program has written as a value of the channel, or what is wrong with it.
func (ch *Channel) value(v any) (out tidegate.Value, fault string) {
	switch v := v.(type) {
	case json.Number:
		return ch.numeral(v.String())
	case bool:
		if ch.Type == typeBool {
			return tidegate.Bool(v), ""
		}
	case string:
		if ch.Type == typeText {
			return tidegate.Text(v), ""
		}
		return out, fmt.Sprintf("the program says the text %s, declared is %s", excerpt([]byte(v)), ch.Type)
	}
	return out, fmt.Sprintf("the program says %v, declared is %s", v, ch.Type)
}

// numeral returns the number s, written as JSON has it.
func (ch *Channel) numeral(s string) (out tidegate.Value, fault string) {
	switch ch.Type {
	case typeNumber:
		if f, err := strconv.ParseFloat(s, 64); err == nil {
			return tidegate.Float(f), ""
		}
		return out, "beyond the range of a number: " + excerpt([]byte(s))
	case typeInteger:
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return tidegate.Int(i), ""
		}
		return out, "not an integer of 64 bits: " + excerpt([]byte(s))
	}
	return out, fmt.Sprintf("the program says the number %s, declared is %s", excerpt([]byte(s)), ch.Type)
}

// fit returns v, which somebody wants to set, as a value of the channel; no value stays none.
func (ch *Channel) fit(v tidegate.Value) (tidegate.Value, error) {
	f, isNumber := v.Number()
	switch {
	case v.Kind() == tidegate.KindNone || v.Kind() == ch.kind() && (ch.Type != typeNumber || !math.IsNaN(f) && !math.IsInf(f, 0)):
		return v, nil
	case ch.Type == typeNumber && isNumber && v.Kind() != tidegate.KindBool && !math.IsNaN(f) && !math.IsInf(f, 0):
		return tidegate.Float(f), nil
	case ch.Type == typeInteger && v.Kind() == tidegate.KindFloat && f == math.Trunc(f) && math.Abs(f) <= 1<<53:
		return tidegate.Int(int64(f)), nil
	case ch.Type == typeInteger && v.Kind() == tidegate.KindUint:
		if i, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return tidegate.Int(i), nil
		}
	}
	return tidegate.Value{}, fmt.Errorf("is the %v %.40q, want %s", v.Kind(), v.String(), ch.Type)
}

// encode returns the line that sets the channel to v, which fits it.
func (ch *Channel) encode(v tidegate.Value, id uint64) ([]byte, error) {
	q := struct {
		Set   string `json:"set"`
		Value any    `json:"value"`
		ID    uint64 `json:"id"`
	}{Set: ch.Name, ID: id}
	switch v.Kind() {
	case tidegate.KindBool:
		q.Value, _ = v.Bool()
	case tidegate.KindText:
		s, _ := v.Text()
		if !utf8.ValidString(s) || !printable(s) {
			return nil, fmt.Errorf("text has a control character, or is not UTF-8: %s", excerpt([]byte(s)))
		}
		q.Value = s
	default:
		q.Value = json.Number(v.String())
	}
	b, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", v.String(), err)
	}
	if len(b)+1 > maxLine {
		return nil, fmt.Errorf("text makes a line of %d bytes, at most %d can be sent", len(b)+1, maxLine)
	}
	return append(b, '\n'), nil
}

// excerpt shows the first 64 bytes of b in quotes, all but printable ASCII escaped.
func excerpt(b []byte) string {
	if len(b) > 64 {
		return fmt.Sprintf("%+q and %d bytes more", b[:64], len(b)-64)
	}
	return fmt.Sprintf("%+q", b)
}
