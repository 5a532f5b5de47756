package wire

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/tidegate-io/tidegate"
)

// AppendSenML appends p as a SenML JSON pack to dst and returns the longer slice; on an error it returns dst as it was. Numbers of
// records must rise; each record has 1 to tidegate.MaxReadings readings. A pack without records must have Skip.
//
// What JSON cannot say changes: whole numbers beyond 2^53 become text of their exact digits; floats that are not finite become
// faults (FaultNaN and so on), as does a reading without a value; bytes of text that are not UTF-8 become U+FFFD; a value beside a
// fault, Class, Boot and For are not sent. An error names the record that can never be sent.
func AppendSenML(dst []byte, p *Pack) ([]byte, error) {
	out, err := appendPack(dst, p)
	if err != nil {
		return dst, fmt.Errorf("encode SenML: %w", err)
	}
	return out, nil
}

func appendPack(dst []byte, p *Pack) ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	dst = append(dst, '[', '{')
	dst = appendHead(dst, p)
	if len(p.Records) == 0 {
		dst = append(dst, `"n":"`...)
		dst = append(dst, tidegate.GatewayDevice...)
		return append(dst, `/`+SkipChannel+`","vb":true}]`...), nil
	}
	var last uint64
	for i := range p.Records {
		rec := &p.Records[i]
		if rec.Number <= last {
			return nil, fmt.Errorf("record %d follows record %d, want rising numbers from 1 on", rec.Number, last)
		}
		last = rec.Number
		if i > 0 {
			dst = append(dst, ',', '{')
		}
		var err error
		if dst, err = appendRecord(dst, rec); err != nil {
			return nil, fmt.Errorf("record %d: %w", rec.Number, err)
		}
	}
	return append(dst, ']'), nil
}

// check returns what is wrong with p beside its records.
func (p *Pack) check() error {
	if err := tidegate.CheckName(p.Gateway); err != nil {
		return fmt.Errorf("gateway: %w", err)
	}
	if err := tidegate.CheckName(p.Epoch); err != nil {
		return fmt.Errorf("epoch: %w", err)
	}
	if len(p.Records) == 0 && len(p.Skip) == 0 {
		return fmt.Errorf("pack has neither records nor numbers to skip")
	}
	var last uint64
	for _, r := range p.Skip {
		if r.First <= last || r.Last < r.First {
			return fmt.Errorf("got [%d,%d] to skip behind %d, want rising numbers from 1 on", r.First, r.Last, last)
		}
		last = r.Last
	}
	if p.Part == (Part{}) {
		return nil
	}
	if p.Part.Index < 1 || p.Part.Index > p.Part.Total || p.Part.Total > tidegate.MaxReadings {
		return fmt.Errorf("got part %d/%d, want 1 to %d parts", p.Part.Index, p.Part.Total, tidegate.MaxReadings)
	}
	if len(p.Records) != 1 {
		return fmt.Errorf("got a part of %d records, want 1", len(p.Records))
	}
	return nil
}

// appendHead appends the labels that only the first element has.
func appendHead(dst []byte, p *Pack) []byte {
	dst = append(dst, `"bn":"`+urn...)
	dst = append(dst, p.Gateway...)
	dst = append(dst, `:","ep":"`...)
	dst = append(dst, p.Epoch...)
	dst = append(dst, `",`...)
	if len(p.Skip) > 0 {
		dst = append(dst, `"skip":`...)
		dst = append(appendRanges(dst, p.Skip), ',')
	}
	if p.Part != (Part{}) {
		dst = append(dst, `"part":"`...)
		dst = strconv.AppendInt(dst, int64(p.Part.Index), 10)
		dst = append(dst, '/')
		dst = strconv.AppendInt(dst, int64(p.Part.Total), 10)
		dst = append(dst, `",`...)
	}
	return dst
}

// appendRanges appends rs as [[a,b],...].
func appendRanges(dst []byte, rs tidegate.Ranges) []byte {
	dst = append(dst, '[')
	for i, r := range rs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '[')
		dst = strconv.AppendUint(dst, r.First, 10)
		dst = append(dst, ',')
		dst = strconv.AppendUint(dst, r.Last, 10)
		dst = append(dst, ']')
	}
	return append(dst, ']')
}

// appendRecord appends the elements of rec, the first of which is already open.
func appendRecord(dst []byte, rec *tidegate.Record) ([]byte, error) {
	if n := len(rec.Readings); n < 1 || n > tidegate.MaxReadings {
		return nil, fmt.Errorf("got %d readings, want 1 to %d", n, tidegate.MaxReadings)
	}
	at := rec.Time.UnixMicro()
	if at > maxMicros || at < -maxMicros {
		return nil, fmt.Errorf("time %v is out of range", rec.Time)
	}
	dst = append(dst, `"bt":`...)
	dst = appendMicros(dst, at)
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendUint(dst, rec.Number, 10)
	if q := rec.Quality.String(); q != "" {
		dst = append(dst, `,"tq":"`...)
		dst = append(dst, q...)
		dst = append(dst, '"')
	} else if rec.Quality != tidegate.TimeSynced {
		return nil, fmt.Errorf("got time quality %d, want at most %d", rec.Quality, tidegate.TimeRelative)
	}
	if rec.Labels != "" {
		dst = append(dst, `,"lb":`...)
		dst = append(dst, rec.Labels...)
	}
	dst = append(dst, ',')
	device := ""
	for i := range rec.Readings {
		r := &rec.Readings[i]
		if i > 0 {
			dst = append(dst, ',', '{')
		}
		if (r.Device != device || i == 0) && !isWord(r.Device) {
			return nil, fmt.Errorf("reading %d: device %q cannot stand in a name", i, r.Device)
		}
		if !isWord(r.Channel) {
			return nil, fmt.Errorf("reading %d: channel %q cannot stand in a name", i, r.Channel)
		}
		device = r.Device
		dst = appendReading(dst, r)
		if !r.Time.IsZero() {
			behind := r.Time.UnixMicro() - at
			if behind > maxMicros || behind < -maxMicros {
				return nil, fmt.Errorf("reading %d: time %v is out of range", i, r.Time)
			}
			if behind != 0 {
				dst = append(dst, `,"t":`...)
				dst = appendMicros(dst, behind)
			}
		}
		dst = append(dst, '}')
	}
	return dst, nil
}

// appendReading appends name, unit and value of r.
func appendReading(dst []byte, r *tidegate.Reading) []byte {
	fault := r.Fault
	kind, bits, text := r.Value.Raw()
	if fault == "" {
		fault = faultOf(kind, bits)
	}
	dst = append(dst, `"n":"`...)
	dst = append(dst, r.Device...)
	dst = append(dst, '/')
	dst = append(dst, r.Channel...)
	if fault != "" {
		dst = append(dst, faultSuffix...)
	}
	dst = append(dst, '"')
	if r.Unit != "" {
		dst = append(dst, `,"u":`...)
		dst = appendText(dst, r.Unit)
	}
	if fault != "" {
		dst = append(dst, `,"vs":`...)
		return appendText(dst, fault)
	}
	switch kind {
	case tidegate.KindFloat:
		dst = append(dst, `,"v":`...)
		return appendFloat(dst, math.Float64frombits(bits))
	case tidegate.KindInt:
		i := int64(bits)
		return appendInt(dst, i >= -exactInt && i <= exactInt, func(dst []byte) []byte { return strconv.AppendInt(dst, i, 10) })
	case tidegate.KindUint:
		return appendInt(dst, bits <= exactInt, func(dst []byte) []byte { return strconv.AppendUint(dst, bits, 10) })
	case tidegate.KindBool:
		dst = append(dst, `,"vb":`...)
		return strconv.AppendBool(dst, bits != 0)
	case tidegate.KindText:
		dst = append(dst, `,"vs":`...)
		return appendText(dst, text)
	default: // bytes: faultOf leaves no other
		dst = append(dst, `,"vd":"`...)
		dst = base64.RawURLEncoding.AppendEncode(dst, []byte(text))
		return append(dst, '"')
	}
}

// faultOf returns the fault that stands for a value which JSON cannot say, "" for all others.
func faultOf(kind tidegate.Kind, bits uint64) string {
	switch kind {
	case tidegate.KindFloat:
		switch f := math.Float64frombits(bits); {
		case f != f:
			return FaultNaN
		case f > math.MaxFloat64:
			return FaultPosInf
		case f < -math.MaxFloat64:
			return FaultNegInf
		}
		return ""
	case tidegate.KindInt, tidegate.KindUint, tidegate.KindBool, tidegate.KindText, tidegate.KindBytes:
		return ""
	}
	return FaultNone
}

// appendInt appends a whole number as a value: as text where a double would not be exact.
func appendInt(dst []byte, exact bool, digits func([]byte) []byte) []byte {
	if exact {
		return digits(append(dst, `,"v":`...))
	}
	return append(digits(append(dst, `,"vs":"`...)), '"')
}

// appendFloat appends f, which is finite, as the shortest number that reads back to the same bits.
func appendFloat(dst []byte, f float64) []byte {
	if i := int64(f); float64(i) == f && i >= -exactInt && i <= exactInt && (i != 0 || !math.Signbit(f)) {
		return strconv.AppendInt(dst, i, 10)
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, 64)
}

// appendMicros appends us microseconds as seconds, with as many decimals as it takes.
func appendMicros(dst []byte, us int64) []byte {
	u := uint64(us)
	if us < 0 {
		dst = append(dst, '-')
		u = -u
	}
	dst = strconv.AppendUint(dst, u/1e6, 10)
	part := u % 1e6
	if part == 0 {
		return dst
	}
	dst = append(dst, '.')
	for unit := uint64(1e5); part > 0; unit /= 10 {
		dst = append(dst, byte('0'+part/unit))
		part %= unit
	}
	return dst
}

// appendText appends s as a JSON string (RFC 8259 section 7). Bytes that are not UTF-8 become U+FFFD.
func appendText(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				dst = append(dst, s[start:i]...)
				dst = append(dst, "\uFFFD"...)
				start = i + 1
			}
			i += size
			continue
		}
		i++
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i-1]...)
		start = i
		if c >= 0x20 {
			dst = append(dst, '\\', c)
		} else {
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(append(dst, s[start:]...), '"')
}
