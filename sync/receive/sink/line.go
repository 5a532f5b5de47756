package sink

import (
	"bytes"
	"encoding/base64"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/receive"
)

// appendRecord appends one line for each reading of r:
//
//	{"gw":"gw-1","ep":"k3f9","seq":48211,"lane":"data","device":"meter1","channel":"r0","t":1792000000.006,"v":21.5,"u":"Cel"}
//
// gw, ep, seq: the record's identity; lane: the topic by which it came; t: Unix seconds, to the microsecond. Of the value there
// is one: v (number), vs (text, and numbers that JSON has not: NaN, +Inf, -Inf), vb (yes/no) or vd (bytes, base64url without
// padding, as in RFC 8428). u: unit; tq: corrected, estimated or relative where the time was not synchronised; labels: texts
// by name that rules added; fault: why there is no value.
func appendRecord(b []byte, r *receive.Stored) []byte {
	head := appendString([]byte(`{"gw":`), r.Gateway)
	head = appendString(append(head, `,"ep":`...), r.Epoch)
	head = strconv.AppendUint(append(head, `,"seq":`...), r.Record.Number, 10)
	head = appendString(append(head, `,"lane":`...), r.Lane)
	for i := range r.Record.Readings {
		b = append(b, head...)
		b = appendReading(b, &r.Record, &r.Record.Readings[i])
		b = append(b, '}', '\n')
	}
	return b
}

// appendReading appends what is the reading's own.
func appendReading(b []byte, rec *tidegate.Record, rd *tidegate.Reading) []byte {
	b = appendString(append(b, `,"device":`...), rd.Device)
	b = appendString(append(b, `,"channel":`...), rd.Channel)
	t := rd.Time
	if t.IsZero() {
		t = rec.Time
	}
	b = appendTime(append(b, `,"t":`...), t)
	if rd.Fault == "" {
		b = appendValue(b, rd.Value)
	}
	if rd.Unit != "" {
		b = appendString(append(b, `,"u":`...), rd.Unit)
	}
	if tq := rec.Quality.String(); tq != "" {
		b = appendString(append(b, `,"tq":`...), tq)
	}
	if rec.Labels != "" {
		b = append(append(b, `,"labels":`...), rec.Labels...)
	}
	if rd.Fault != "" {
		b = appendString(append(b, `,"fault":`...), rd.Fault)
	}
	return b
}

// appendValue appends the value under the key that its kind has.
func appendValue(b []byte, v tidegate.Value) []byte {
	kind, bits, text := v.Raw()
	switch kind {
	case tidegate.KindFloat:
		if f := math.Float64frombits(bits); math.IsNaN(f) || math.IsInf(f, 0) {
			return appendString(append(b, `,"vs":`...), v.String())
		}
		return append(append(b, `,"v":`...), v.String()...)
	case tidegate.KindInt, tidegate.KindUint:
		return append(append(b, `,"v":`...), v.String()...)
	case tidegate.KindBool:
		return strconv.AppendBool(append(b, `,"vb":`...), bits != 0)
	case tidegate.KindText:
		return appendString(append(b, `,"vs":`...), text)
	case tidegate.KindBytes:
		b = base64.RawURLEncoding.AppendEncode(append(b, `,"vd":"`...), []byte(text))
		return append(b, '"')
	}
	return b
}

// appendTime appends t as Unix seconds with at most six decimals.
func appendTime(b []byte, t time.Time) []byte {
	us := t.UnixMicro()
	if us < 0 {
		b, us = append(b, '-'), -us
	}
	b = strconv.AppendInt(b, us/1e6, 10)
	if us %= 1e6; us != 0 {
		digits := strconv.AppendInt(nil, us+1e6, 10)
		b = append(append(b, '.'), bytes.TrimRight(digits[1:], "0")...)
	}
	return b
}

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			return appendEscaped(b, s)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// appendEscaped appends s as a JSON string with what must be escaped in it; bytes that are no UTF-8 become U+FFFD.
func appendEscaped(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < 0x20 || r == 0x7f:
			b = append(b, `\u00`...)
			b = append(b, hex[r>>4], hex[r&15])
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}
