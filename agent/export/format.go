package export

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidegate-io/tidegate"
)

// jsonLines is NDJSON: one object a line.
type jsonLines struct{}

func (jsonLines) head(b []byte) []byte { return b }

func (jsonLines) line(b []byte, r *row) []byte {
	b = strconv.AppendUint(append(b, `{"number":`...), r.record.Number, 10)
	b = appendField(b, "epoch", r.epoch)
	b = appendTime(b, "time", r.time)
	if q := r.record.Quality.String(); q != "" {
		b = appendField(b, "tq", q)
	}
	b = appendField(b, "class", r.record.Class.String())
	b = appendField(b, "device", r.reading.Device)
	b = appendField(b, "channel", r.reading.Channel)
	b = appendValue(b, r.reading.Value)
	if r.reading.Unit != "" {
		b = appendField(b, "unit", r.reading.Unit)
	}
	if r.reading.Fault != "" {
		b = appendField(b, "fault", r.reading.Fault)
	}
	b = appendField(b, "state", r.state)
	if r.record.For != "" {
		b = appendField(b, "for", r.record.For)
	}
	if r.record.Labels != "" {
		b = appendField(b, "labels", r.record.Labels)
	}
	if !r.time.Equal(r.record.Time) {
		b = appendTime(b, "record_time", r.record.Time)
	}
	b = strconv.AppendInt(append(b, `,"boot_us":`...), r.record.Boot.Microseconds(), 10)
	return append(b, '}', '\n')
}

func (jsonLines) unreadable(b []byte, class tidegate.Class, epoch string, r tidegate.Range) []byte {
	b = strconv.AppendUint(append(b, `{"unreadable":{"from":`...), r.First, 10)
	b = strconv.AppendUint(append(b, `,"to":`...), r.Last, 10)
	b = appendField(b, "epoch", epoch)
	b = appendField(b, "class", class.String())
	return append(b, '}', '}', '\n')
}

// appendField appends a text under name; where it is no UTF-8, in base64 under name_base64.
func appendField(b []byte, name, text string) []byte {
	if !utf8.ValidString(text) {
		name, text = name+"_base64", base64.StdEncoding.EncodeToString([]byte(text))
	}
	b = append(append(append(b, ',', '"'), name...), '"', ':')
	return appendText(b, text)
}

func appendText(b []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(text) // a text marshals
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), text...), '"')
}

func appendTime(b []byte, name string, t time.Time) []byte {
	b = append(append(append(b, ',', '"'), name...), `":"`...)
	return append(t.UTC().AppendFormat(b, time.RFC3339Nano), '"')
}

// appendValue appends kind and value. All bits of numbers stand there: a number that JSON has no word for has its bits beside it.
func appendValue(b []byte, v tidegate.Value) []byte {
	kind, bits, text := v.Raw()
	b = append(append(b, `,"kind":"`...), kindWord(kind)...)
	b = append(b, '"')
	switch kind {
	case tidegate.KindText:
		return appendField(b, "value", text)
	case tidegate.KindBytes:
		return appendText(append(b, `,"value_base64":`...), base64.StdEncoding.EncodeToString([]byte(text)))
	case tidegate.KindFloat:
		if f := math.Float64frombits(bits); math.IsNaN(f) || math.IsInf(f, 0) {
			b = strconv.AppendUint(append(b, `,"value":null,"bits":"`...), bits, 16)
			return append(b, '"')
		}
	case tidegate.KindNone:
		return b
	}
	return append(append(b, `,"value":`...), v.String()...)
}

func kindWord(k tidegate.Kind) string {
	switch k {
	case tidegate.KindFloat:
		return "float"
	case tidegate.KindInt:
		return "int"
	case tidegate.KindUint:
		return "uint"
	case tidegate.KindBool:
		return "bool"
	case tidegate.KindText:
		return "text"
	case tidegate.KindBytes:
		return "bytes"
	}
	return "none"
}

// table is CSV as RFC 4180 has it. Texts that a spreadsheet would take for a formula have an apostrophe before them.
type table struct{}

func (table) head(b []byte) []byte {
	return append(b, "number,epoch,time,time_quality,class,device,channel,value,unit,fault,state\r\n"...)
}

func (table) line(b []byte, r *row) []byte {
	b = append(strconv.AppendUint(b, r.record.Number, 10), ',')
	b = append(appendCell(b, r.epoch), ',')
	b = append(r.time.UTC().AppendFormat(b, time.RFC3339Nano), ',')
	quality := r.record.Quality.String()
	if quality == "" {
		quality = "synced"
	}
	b = append(append(b, quality...), ',')
	b = append(append(b, r.record.Class.String()...), ',')
	b = append(appendCell(b, r.reading.Device), ',')
	b = append(appendCell(b, r.reading.Channel), ',')
	b = append(appendCellValue(b, r.reading.Value), ',')
	b = append(appendCell(b, r.reading.Unit), ',')
	b = append(appendCell(b, r.reading.Fault), ',')
	return append(append(b, r.state...), '\r', '\n')
}

func (table) unreadable(b []byte, _ tidegate.Class, _ string, _ tidegate.Range) []byte { return b }

func appendCellValue(b []byte, v tidegate.Value) []byte {
	kind, bits, text := v.Raw()
	switch kind {
	case tidegate.KindText:
		return appendCell(b, text)
	case tidegate.KindBytes:
		return append(append(b, "base64:"...), base64.StdEncoding.EncodeToString([]byte(text))...)
	case tidegate.KindFloat:
		if f := math.Float64frombits(bits); math.IsNaN(f) || math.IsInf(f, 0) {
			return appendCell(b, v.String())
		}
	}
	return append(b, v.String()...)
}

// formulas are the characters with which spreadsheets begin one.
const formulas = "=+-@\t\r\n＝＋－＠"

// appendCell appends a text cell, which no spreadsheet takes for a formula.
func appendCell(b []byte, text string) []byte {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if first, _ := utf8.DecodeRuneInString(strings.TrimLeft(text, " ")); text != "" && strings.ContainsRune(formulas, first) {
		text = "'" + text
	}
	if !strings.ContainsAny(text, ",\"\r\n") && strings.TrimSpace(text) == text {
		return append(b, text...)
	}
	b = append(b, '"')
	b = append(b, strings.ReplaceAll(text, `"`, `""`)...)
	return append(b, '"')
}
