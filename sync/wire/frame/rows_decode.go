package frame

import (
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate"
)

// decodeRows appends the records of a body in rows form to dst.
func (d *Decoder) decodeRows(dst []tidegate.Record, class tidegate.Class, first uint64, body []byte) ([]tidegate.Record, error) {
	records, readings := 0, 0
	err := walkRows(body, func(h rowHead) bool {
		records++
		readings += h.readings
		return true
	})
	if err == nil {
		err = checkNumbers(first, records)
	}
	if err != nil {
		return dst, err
	}
	slab := make([]tidegate.Reading, readings)
	out := slices.Grow(dst, records)
	r := newReader(body, 0)
	for i := 0; r.Left() > 0; i++ {
		head := r.rowHead()
		rec := tidegate.Record{Number: numberOf(first, i), Class: class, Readings: slab[:head.readings:head.readings]}
		slab = slab[head.readings:]
		one := newReader(body[:head.end], head.start)
		d.rowRecord(&one, &rec, head.form)
		r.FailAs(&one.Reader)
		if r.Err() != nil {
			return dst, r.Wrap("decode frame: rows")
		}
		out = append(out, rec)
		r.Skip(head.end)
	}
	return out, nil
}

// rowRecord reads one record from r, which ends where the record ends.
func (d *Decoder) rowRecord(r *reader, rec *tidegate.Record, form byte) {
	if b := r.Take(9, "quality and time"); b != nil {
		rec.Quality = tidegate.TimeQuality(b[0])
		rec.Time = microTime(int64(binary.LittleEndian.Uint64(b[1:])))
	}
	rec.Boot = r.duration(r.Svarint(), "boot time")
	rec.For = d.intern(r.Text("uplink"))
	if form == formLabelled {
		if rec.Labels = d.intern(r.Text("labels")); rec.Labels == "" && r.Err() == nil {
			r.Fail("a record of form %d has no labels", form)
		}
	}
	at := rec.Time.UnixMicro()
	device, unit := "", ""
	for i := range rec.Readings {
		if r.Left() < 2 {
			r.Fail("reading %d is cut off", i)
			break
		}
		flags := r.Byte("flags")
		if flags&rowDevice != 0 {
			device = d.intern(r.Text("device"))
		}
		channel := d.channel(i, r.Text("channel"))
		if flags&rowUnit != 0 {
			unit = d.intern(r.Text("unit"))
		}
		out := &rec.Readings[i]
		out.Device, out.Channel, out.Unit = device, channel, unit
		if flags&rowTime != 0 {
			out.Time = microTime(at + r.behind())
		}
		out.Value = r.rowValue(flags)
		if flags&rowFault != 0 {
			out.Fault = d.intern(r.Text("fault"))
		}
		if r.Err() != nil {
			break
		}
	}
	if r.Err() == nil && r.Left() > 0 {
		r.Fail("record has %d bytes too many", r.Left())
	}
}

// rowValue reads a value whose kind is in flags.
func (r *reader) rowValue(flags byte) tidegate.Value {
	kind := tidegate.Kind(flags & rowKind)
	if flags&rowSingle != 0 && kind != tidegate.KindFloat {
		r.Fail("a value of kind %d is marked as a single", uint8(kind))
		return tidegate.Value{}
	}
	switch kind {
	case tidegate.KindNone:
		return tidegate.Value{}
	case tidegate.KindFloat:
		if flags&rowSingle != 0 {
			if b := r.Take(4, "single"); b != nil {
				return tidegate.Float(float64(math.Float32frombits(binary.LittleEndian.Uint32(b))))
			}
			return tidegate.Value{}
		}
		if b := r.Take(8, "double"); b != nil {
			return tidegate.RawValue(kind, binary.LittleEndian.Uint64(b), "")
		}
		return tidegate.Value{}
	case tidegate.KindInt:
		return tidegate.Int(r.Svarint())
	case tidegate.KindUint:
		return tidegate.Uint(r.Uvarint())
	case tidegate.KindBool:
		return tidegate.Bool(r.Index(2, "yes/no") == 1)
	case tidegate.KindText, tidegate.KindBytes:
		return tidegate.RawValue(kind, 0, string(r.Text("value")))
	}
	r.Fail("got a value of kind %d, want at most %d", uint8(kind), uint8(tidegate.KindBytes))
	return tidegate.Value{}
}

// behind reads how many microseconds a reading's own time lies behind the record's; one that equals the record's is not its own.
func (r *reader) behind() int64 {
	v := r.Svarint()
	if v == 0 {
		r.Fail("a time of its own equals the record's")
	}
	return v
}

// microTime returns the time in UTC that is us microseconds after the Unix epoch.
func microTime(us int64) time.Time { return time.UnixMicro(us).UTC() }
