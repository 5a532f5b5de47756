package frame

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/wire/frame/column"
)

// The flags of a reading in rows form.
const (
	rowKind   = 0x07 // tidegate.Kind
	rowDevice = 0x08 // another device than the reading before it
	rowUnit   = 0x10 // another unit than the reading before it
	rowTime   = 0x20 // a time of its own
	rowFault  = 0x40 // a fault
	rowSingle = 0x80 // a float that a single of 4 bytes holds exactly
)

// rowPrefix is the length of what precedes the length-counted part of a record: the form byte and the length.
const rowPrefix = 5

// zeroTime is time.Time{} in Unix microseconds: a reading with it has no time of its own.
const zeroTime = -62135596800000000

// AppendRows appends the records to dst in rows form and returns the longer slice. Numbers and classes are not written. Bodies
// in rows form may be joined: appending to a body made by AppendRows gives the body of all the records. No records add nothing.
// A record has at most tidegate.MaxReadings readings and 1<<32 bytes, and a whole body keeps to the limits of this package:
// Decode refuses what does not. A Value of no known kind is written as none.
func AppendRows(dst []byte, recs []tidegate.Record) []byte {
	for i := range recs {
		rec := &recs[i]
		start := len(dst)
		form := byte(formRows)
		if rec.Labels != "" {
			form = formLabelled
		}
		dst = append(dst, form, 0, 0, 0, 0)
		dst = column.AppendUvarint(dst, uint64(len(rec.Readings)))
		dst = append(dst, byte(rec.Quality))
		at := rec.Time.UnixMicro()
		dst = binary.LittleEndian.AppendUint64(dst, uint64(at))
		dst = column.AppendSvarint(dst, rec.Boot.Microseconds())
		dst = column.AppendText(dst, rec.For)
		if form == formLabelled {
			dst = column.AppendText(dst, rec.Labels)
		}
		dst = appendRowReadings(dst, rec.Readings, at)
		binary.LittleEndian.PutUint32(dst[start+1:], uint32(len(dst)-start-rowPrefix))
	}
	return dst
}

// appendRowReadings appends the readings of one record whose time is at.
func appendRowReadings(dst []byte, readings []tidegate.Reading, at int64) []byte {
	device, unit := "", ""
	for i := range readings {
		r := &readings[i]
		kind, bits, text := canonical(r.Value)
		flags := byte(kind)
		own, timed := ownTime(r.Time, at)
		if r.Device != device {
			flags |= rowDevice
		}
		if r.Unit != unit {
			flags |= rowUnit
		}
		if timed {
			flags |= rowTime
		}
		if r.Fault != "" {
			flags |= rowFault
		}
		if kind == tidegate.KindFloat && column.IsSingle(bits) {
			flags |= rowSingle
		}
		dst = append(dst, flags)
		if flags&rowDevice != 0 {
			device = r.Device
			dst = column.AppendText(dst, device)
		}
		dst = column.AppendText(dst, r.Channel)
		if flags&rowUnit != 0 {
			unit = r.Unit
			dst = column.AppendText(dst, unit)
		}
		if timed {
			dst = column.AppendSvarint(dst, own)
		}
		dst = appendRowValue(dst, flags, bits, text)
		if flags&rowFault != 0 {
			dst = column.AppendText(dst, r.Fault)
		}
	}
	return dst
}

func appendRowValue(dst []byte, flags byte, bits uint64, text string) []byte {
	switch tidegate.Kind(flags & rowKind) {
	case tidegate.KindFloat:
		if flags&rowSingle != 0 {
			return binary.LittleEndian.AppendUint32(dst, math.Float32bits(float32(math.Float64frombits(bits))))
		}
		return binary.LittleEndian.AppendUint64(dst, bits)
	case tidegate.KindInt:
		return column.AppendSvarint(dst, int64(bits))
	case tidegate.KindUint, tidegate.KindBool:
		return column.AppendUvarint(dst, bits)
	case tidegate.KindText, tidegate.KindBytes:
		return column.AppendText(dst, text)
	}
	return dst
}

// canonical returns the stored parts of v without what its kind does not use; a kind that is not known becomes none.
func canonical(v tidegate.Value) (kind tidegate.Kind, bits uint64, text string) {
	kind, bits, text = v.Raw()
	switch kind {
	case tidegate.KindFloat, tidegate.KindInt, tidegate.KindUint:
		return kind, bits, ""
	case tidegate.KindBool:
		return kind, min(bits, 1), ""
	case tidegate.KindText, tidegate.KindBytes:
		return kind, 0, text
	}
	return tidegate.KindNone, 0, ""
}

// ownTime returns how many microseconds t lies behind the record's time at; timed is false where t is zero or equals it.
func ownTime(t time.Time, at int64) (behind int64, timed bool) {
	if t.IsZero() {
		return 0, false
	}
	us := t.UnixMicro()
	return us - at, us != at && us != zeroTime
}

// A rowHead is what precedes the content of a record in rows form.
type rowHead struct {
	form     byte
	readings int // in the record
	start    int // where its content behind the count begins
	end      int // where the next record begins
}

// walkRows calls f for each record of a rows body until f returns false or body ends.
func walkRows(body []byte, f func(rowHead) bool) error {
	r := newReader(body, 0)
	if len(body) > MaxBytes {
		r.Fail("got %d bytes, want at most %d", len(body), MaxBytes)
	}
	total := 0
	for n := 0; r.Err() == nil && r.Left() > 0; n++ {
		if n == MaxRecords {
			r.Fail("got more than %d records", MaxRecords)
			break
		}
		head := r.rowHead()
		if total += head.readings; total > MaxReadings {
			r.Fail("got more than %d readings", MaxReadings)
		}
		if r.Err() == nil && !f(head) {
			break
		}
		r.Skip(head.end)
	}
	return r.Wrap("decode frame: rows")
}

// rowHead reads the form byte, the length and the count of a record and leaves r behind them.
func (r *reader) rowHead() rowHead {
	prefix := r.Take(rowPrefix, "head of a record")
	if r.Err() != nil {
		return rowHead{}
	}
	if prefix[0] != formRows && prefix[0] != formLabelled {
		r.Fail("record begins with %d, want %d or %d", prefix[0], formRows, formLabelled)
		return rowHead{}
	}
	length := binary.LittleEndian.Uint32(prefix[1:])
	if uint64(length) > uint64(r.Left()) {
		r.Fail("record: got %d bytes, want %d", r.Left(), length)
		return rowHead{}
	}
	head := rowHead{form: prefix[0], end: r.At() + int(length)}
	head.readings = r.Count(tidegate.MaxReadings, "readings of a record")
	head.start = r.At()
	// Each reading takes at least its flags and an empty channel's length.
	if r.Err() == nil && 2*head.readings > head.end-head.start {
		r.Fail("record: got %d bytes, want at least 2 for each of %d readings", head.end-head.start, head.readings)
	}
	return head
}
