package frame

import (
	"fmt"
	"math"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/wire/frame/column"
)

// maxInterned is how many different short texts a Decoder shares between records; maxInternedLen is how long they may be.
const (
	maxInterned    = 4096
	maxInternedLen = tidegate.MaxName
)

// A Decoder reads bodies in both forms. It holds a few hundred kilobytes and is not safe for concurrent use.
type Decoder struct {
	zr       *zstd.Decoder
	raw      []byte
	names    map[string]string // short texts already seen
	channels []string          // channel last seen at each place of a record in rows form

	c columns
}

// columns is what is known of a body in columns form while it is read.
type columns struct {
	r        reader
	labelled bool  // some records have labels
	counts   []int // readings of each record
	texts    []string
	series   []series
	shapes   [][]uint32
	ids      []uint32 // what shapes are parts of
	recShape []int
	next     []int // for each series, where its next value stands in vals
	start    []int // for each series, where its values begin in vals; one more for the end
	vals     []uint64
	numbers  []column.Numbers // those of vals that are of numbers
}

// NewDecoder returns a Decoder ready for use.
func NewDecoder() (*Decoder, error) {
	zr, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(MaxBytes), zstd.WithDecoderMaxWindow(MaxBytes), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		return nil, fmt.Errorf("make frame decoder: %w", err)
	}
	return &Decoder{zr: zr, names: map[string]string{}}, nil
}

// Decode appends the records of body, in any form, to dst and returns the longer slice. They get class and the numbers from
// first on; first = 0 leaves them not numbered. All readings of one body lie in one new slab, which lives as long as one of
// them; texts of up to tidegate.MaxName bytes are shared between bodies. On an error, which says at which byte what is
// wrong, dst comes back as it was. Damage that keeps to the format is not found: that is what the caller's checksum is for.
func (d *Decoder) Decode(dst []tidegate.Record, class tidegate.Class, first uint64, body []byte) ([]tidegate.Record, error) {
	if len(body) == 0 {
		return dst, fmt.Errorf("decode frame: body is empty")
	}
	switch body[0] {
	case formRows, formLabelled:
		return d.decodeRows(dst, class, first, body)
	case formColumns, formLabelledColumn:
		return d.decodeColumns(dst, class, first, body)
	}
	return dst, unknownForm(body[0])
}

// checkNumbers reports a run of numbers that goes beyond what a number can be.
func checkNumbers(first uint64, records int) error {
	if records > 0 && first > math.MaxUint64-uint64(records-1) {
		return fmt.Errorf("decode frame: got first number %d, want at most %d for %d records",
			first, math.MaxUint64-uint64(records-1), records)
	}
	return nil
}

// numberOf returns the number of record i of a body.
func numberOf(first uint64, i int) uint64 {
	if first == 0 {
		return 0
	}
	return first + uint64(i)
}

// intern returns b as a string, the same one each time where it is short.
func (d *Decoder) intern(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if len(b) > maxInternedLen {
		return string(b)
	}
	if s, ok := d.names[string(b)]; ok {
		return s
	}
	if len(d.names) >= maxInterned {
		clear(d.names)
	}
	s := string(b)
	d.names[s] = s
	return s
}

// channel is intern for the channel at place i of a record: most often it is the same as in the record before.
func (d *Decoder) channel(i int, b []byte) string {
	if i < len(d.channels) {
		if d.channels[i] != string(b) {
			d.channels[i] = d.intern(b)
		}
		return d.channels[i]
	}
	s := d.intern(b)
	d.channels = append(d.channels, s)
	return s
}

// decodeColumns appends the records of a body in columns form to dst.
func (d *Decoder) decodeColumns(
	dst []tidegate.Record, class tidegate.Class, first uint64, body []byte,
) ([]tidegate.Record, error) {
	c := &d.c
	c.r, c.labelled = newReader(body, 1), body[0] == formLabelledColumn
	c.counts = c.counts[:0]
	readings := 0
	walkRuns(&c.r, func(each, run int) bool {
		for range run {
			c.counts = append(c.counts, each)
		}
		readings += each * run
		return true
	})
	err := c.r.Wrap("decode frame: columns")
	if err == nil {
		err = checkNumbers(first, len(c.counts))
	}
	if err == nil {
		err = d.inflate(body[c.r.At():])
	}
	if err != nil {
		return dst, err
	}
	c.r = newReader(d.raw, 0)
	out := c.read(d, dst, first, readings)
	if err := c.r.Wrap("decode frame: columns"); err != nil {
		return dst, err
	}
	for i := len(dst); i < len(out); i++ {
		out[i].Class = class
	}
	d.release(readings)
	return out, nil
}

// read appends the records in raw to dst, in the order in which raw has their parts; r.Err() says whether they are good.
func (c *columns) read(d *Decoder, dst []tidegate.Record, first uint64, readings int) []tidegate.Record {
	c.readTexts(d, readings)
	c.readSeries(readings)
	c.readShapes(readings)
	if least := 3 * len(c.counts); c.r.Left() < least {
		c.r.Fail("got %d bytes, want at least %d for %d records", c.r.Left(), least, len(c.counts))
	}
	if c.r.Err() != nil {
		return dst
	}
	out := slices.Grow(dst, len(c.counts))[:len(dst)+len(c.counts)]
	made := out[len(dst):]
	clear(made)
	c.readHeads(made, first)
	c.layOut(readings)
	c.readNumbers()
	c.readOthers()
	if c.r.Err() != nil {
		return dst
	}
	slab := make([]tidegate.Reading, readings)
	c.fill(made, slab)
	c.readTimes(made, slab)
	c.readFaults(slab)
	if c.r.Err() == nil && c.r.Left() > 0 {
		c.r.Fail("got %d bytes too many", c.r.Left())
	}
	return out
}

// inflate decompresses the one zstd frame that packed must be into raw.
func (d *Decoder) inflate(packed []byte) error {
	var head zstd.Header
	if err := head.Decode(packed); err != nil {
		return fmt.Errorf("decode frame: columns: read zstd header: %w", err)
	}
	switch {
	case head.Skippable || !head.HasFCS:
		return fmt.Errorf("decode frame: columns: zstd frame does not state its size")
	case head.FrameContentSize > MaxBytes:
		return fmt.Errorf("decode frame: columns: got %d bytes when decompressed, want at most %d", head.FrameContentSize, MaxBytes)
	}
	size := int(head.FrameContentSize)
	if cap(d.raw) < size {
		d.raw = make([]byte, 0, size)
	}
	raw, err := d.zr.DecodeAll(packed, d.raw[:0:max(size, 1)])
	if err != nil {
		return fmt.Errorf("decode frame: columns: decompress: %w", err)
	}
	if len(raw) != size {
		return fmt.Errorf("decode frame: columns: got %d bytes when decompressed, want %d", len(raw), size)
	}
	d.raw = raw
	return nil
}

// release gives back the room of an unusually large body.
func (d *Decoder) release(readings int) {
	clear(d.c.texts)
	clear(d.c.series)
	if readings > keep || cap(d.raw) > 16*keep {
		d.raw, d.c = nil, columns{}
	}
}

// fill makes the readings of the records from the columns.
func (c *columns) fill(made []tidegate.Record, slab []tidegate.Reading) {
	for i := range made {
		ids := c.shapes[c.recShape[i]]
		group := slab[:len(ids):len(ids)]
		slab = slab[len(ids):]
		made[i].Readings = group
		for j := range group {
			s := ids[j]
			def, out := &c.series[s], &group[j]
			bits := c.vals[c.next[s]]
			c.next[s]++
			out.Device, out.Channel, out.Unit = def.device, def.channel, def.unit
			if def.kind < tidegate.KindText {
				out.Value = tidegate.RawValue(def.kind, bits, "")
			} else {
				out.Value = tidegate.RawValue(def.kind, 0, c.texts[bits])
			}
		}
	}
}
