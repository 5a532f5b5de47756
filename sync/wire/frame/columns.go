package frame

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/wire/frame/column"
)

// window is how far back the encoder looks for repetitions, in bytes: it bounds the memory of both sides.
const window = 512 << 10

// keep is how many readings an Encoder or Decoder keeps room for between calls; what a larger body needed is given back.
const keep = 1 << 15

// A series is one channel of one device in one unit and kind.
type series struct {
	device, channel, unit string
	kind                  tidegate.Kind
}

// A shape is the list of series of one record, in the order of its readings.
type shape struct {
	series []uint32
	uses   int // records of this shape
	older  int // 1 + the shape before it of the same device; 0 = none
}

// An Encoder writes bodies in columns form. It holds about 2 MB and is not safe for concurrent use.
type Encoder struct {
	zw   *zstd.Encoder
	raw  []byte // the columns before compression
	tail []byte // the same without the texts

	texts    []string
	textOf   map[string]uint32
	series   []series
	seriesOf map[series]uint32
	shapes   []shape
	shapeOf  map[string]int // by the series' indexes, four bytes each
	newest   map[string]int // device of the first reading -> 1 + its newest shape

	recShape []int            // shape of each record
	next     []int            // for each series, where its next value goes in vals; after filling, where its column ends
	vals     []uint64         // values by series: bits of numbers, indexes of texts
	numbers  []column.Numbers // those of vals that are of numbers
	times    []sparse         // times of readings that have one of their own
	faults   []sparse         // index of the text
}

// A sparse is something that few readings have.
type sparse struct {
	reading int // counted from the first reading of the body
	v       uint64
}

// NewEncoder returns an Encoder ready for use.
func NewEncoder() (*Encoder, error) {
	zw, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(window), zstd.WithSingleSegment(true), zstd.WithLowerEncoderMem(true), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("make frame encoder: %w", err)
	}
	e := &Encoder{zw: zw}
	e.drop()
	return e, nil
}

// AppendColumns appends the records to dst in columns form and returns the longer slice. The records must be at least one, of
// one class and numbered without a gap (or all of them not numbered yet); class and numbers are not written. It returns dst as
// it was and an error where they are not, where a record has more than tidegate.MaxReadings readings, or where they exceed a
// limit of one body (ErrTooLarge). A Value of no known kind is written as none.
func (e *Encoder) AppendColumns(dst []byte, recs []tidegate.Record) ([]byte, error) {
	readings, err := check(recs)
	if err != nil {
		return dst, fmt.Errorf("encode frame: %w", err)
	}
	defer e.reset()
	e.shapesOf(recs)
	e.gather(recs, readings)
	e.write(recs)
	if len(e.raw) > MaxBytes {
		return dst, fmt.Errorf("encode frame: %w: got %d bytes, want at most %d", ErrTooLarge, len(e.raw), MaxBytes)
	}
	form := byte(formColumns)
	if hasLabels(recs) {
		form = formLabelledColumn
	}
	dst = appendPreamble(append(dst, form), recs)
	return e.zw.EncodeAll(e.raw, dst), nil
}

// hasLabels reports whether one of recs has labels.
func hasLabels(recs []tidegate.Record) bool {
	return slices.ContainsFunc(recs, func(r tidegate.Record) bool { return r.Labels != "" })
}

// check returns how many readings recs have, or why they cannot be one body.
func check(recs []tidegate.Record) (readings int, err error) {
	if len(recs) == 0 {
		return 0, fmt.Errorf("got 0 records, want at least 1")
	}
	if len(recs) > MaxRecords {
		return 0, fmt.Errorf("%w: got %d records, want at most %d", ErrTooLarge, len(recs), MaxRecords)
	}
	first := &recs[0]
	for i := range recs {
		rec := &recs[i]
		want := first.Number
		if want != 0 {
			want += uint64(i)
		}
		switch {
		case rec.Number != want:
			return 0, fmt.Errorf("record %d: got number %d, want %d", i, rec.Number, want)
		case rec.Class != first.Class:
			return 0, fmt.Errorf("record %d: got class %s, want %s", i, rec.Class, first.Class)
		case len(rec.Readings) > tidegate.MaxReadings:
			return 0, fmt.Errorf("record %d: got %d readings, want at most %d", i, len(rec.Readings), tidegate.MaxReadings)
		}
		readings += len(rec.Readings)
	}
	if readings > MaxReadings {
		return 0, fmt.Errorf("%w: got %d readings, want at most %d", ErrTooLarge, readings, MaxReadings)
	}
	return readings, nil
}

// appendPreamble appends the count of records and the runs of records with equally many readings.
func appendPreamble(dst []byte, recs []tidegate.Record) []byte {
	dst = column.AppendUvarint(dst, uint64(len(recs)))
	for i := 0; i < len(recs); {
		each, run := len(recs[i].Readings), 1
		for i+run < len(recs) && len(recs[i+run].Readings) == each {
			run++
		}
		if run == 1 {
			dst = column.AppendUvarint(dst, uint64(each)<<1)
		} else {
			dst = column.AppendUvarint(column.AppendUvarint(dst, uint64(each)<<1|1), uint64(run-1))
		}
		i += run
	}
	return dst
}

// reset forgets the records, and gives back room beyond the usual.
func (e *Encoder) reset() {
	if len(e.vals) > keep || len(e.raw) > 16*keep || len(e.texts) > keep {
		e.drop()
		return
	}
	clear(e.textOf)
	clear(e.seriesOf)
	clear(e.shapeOf)
	clear(e.newest)
	clear(e.texts)
	clear(e.series)
	clear(e.shapes)
	e.texts, e.series, e.shapes = e.texts[:0], e.series[:0], e.shapes[:0]
	e.times, e.faults = e.times[:0], e.faults[:0]
	e.raw = e.raw[:0]
}

// drop makes everything but the compressor anew.
func (e *Encoder) drop() {
	*e = Encoder{
		zw: e.zw, textOf: map[string]uint32{}, seriesOf: map[series]uint32{}, shapeOf: map[string]int{},
		newest: map[string]int{},
	}
}

// shapesOf finds the shape of each record.
func (e *Encoder) shapesOf(recs []tidegate.Record) {
	e.recShape = resize(e.recShape, len(recs))
	for i := range recs {
		h := e.findShape(recs[i].Readings)
		e.shapes[h].uses++
		e.recShape[i] = h
	}
}

// findShape returns the index of the shape of these readings. A device usually reports the same channels each time, so its few
// newest shapes are tried first, by comparing.
func (e *Encoder) findShape(readings []tidegate.Reading) int {
	device := ""
	if len(readings) > 0 {
		device = readings[0].Device
	}
	h := e.newest[device]
	for tries := 0; h != 0 && tries < 4; tries++ {
		if e.fits(readings, e.shapes[h-1].series) {
			return h - 1
		}
		h = e.shapes[h-1].older
	}
	ids := make([]uint32, len(readings))
	key := make([]byte, 0, 4*len(readings))
	for i := range readings {
		ids[i] = e.seriesIndex(&readings[i])
		key = binary.LittleEndian.AppendUint32(key, ids[i])
	}
	if h, ok := e.shapeOf[string(key)]; ok {
		return h
	}
	h = len(e.shapes)
	e.shapes = append(e.shapes, shape{series: ids, older: e.newest[device]})
	e.shapeOf[string(key)] = h
	e.newest[device] = h + 1
	return h
}

// fits reports whether the readings are of these series, in this order.
func (e *Encoder) fits(readings []tidegate.Reading, ids []uint32) bool {
	if len(readings) != len(ids) {
		return false
	}
	for i := range readings {
		r, s := &readings[i], &e.series[ids[i]]
		if r.Channel != s.channel || knownKind(r.Value) != s.kind || r.Unit != s.unit || r.Device != s.device {
			return false
		}
	}
	return true
}

// knownKind returns the kind of v; one that is not known counts as none.
func knownKind(v tidegate.Value) tidegate.Kind {
	if k := v.Kind(); k <= tidegate.KindBytes {
		return k
	}
	return tidegate.KindNone
}

func (e *Encoder) seriesIndex(r *tidegate.Reading) uint32 {
	key := series{r.Device, r.Channel, r.Unit, knownKind(r.Value)}
	i, ok := e.seriesOf[key]
	if !ok {
		i = uint32(len(e.series))
		e.series = append(e.series, key)
		e.seriesOf[key] = i
	}
	return i
}

func (e *Encoder) textIndex(s string) uint32 {
	i, ok := e.textOf[s]
	if !ok {
		i = uint32(len(e.texts))
		e.texts = append(e.texts, s)
		e.textOf[s] = i
	}
	return i
}

// gather sorts the values by series into vals, and notes times and faults.
func (e *Encoder) gather(recs []tidegate.Record, readings int) {
	e.next = resize(e.next, len(e.series))
	clear(e.next)
	for _, h := range e.shapes {
		for _, s := range h.series {
			e.next[s] += h.uses
		}
	}
	at := 0
	for s, n := range e.next {
		e.next[s] = at
		at += n
	}
	e.vals = resize(e.vals, readings)
	at = 0
	for i := range recs {
		rec := &recs[i]
		recTime := rec.Time.UnixMicro()
		ids := e.shapes[e.recShape[i]].series
		for j := range rec.Readings {
			r := &rec.Readings[j]
			kind, bits, text := canonical(r.Value)
			if kind >= tidegate.KindText {
				bits = uint64(e.textIndex(text))
			}
			s := ids[j]
			e.vals[e.next[s]] = bits
			e.next[s]++
			if behind, timed := ownTime(r.Time, recTime); timed {
				e.times = append(e.times, sparse{at, column.Zigzag(behind)})
			}
			if r.Fault != "" {
				e.faults = append(e.faults, sparse{at, uint64(e.textIndex(r.Fault))})
			}
			at++
		}
	}
}

// resize returns s with length n, its content undefined.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
