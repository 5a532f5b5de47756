package frame

import (
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/wire/frame/column"
)

// readTexts reads the table of texts. Each of them is used: three by a series, one or two by a record, one by a value, one by a fault.
func (c *columns) readTexts(d *Decoder, readings int) {
	each := 1
	if c.labelled {
		each = 2
	}
	n := c.r.Count(min(5*readings+each*len(c.counts), c.r.Left()), "text count")
	c.texts = c.texts[:0]
	for range n {
		c.texts = append(c.texts, d.intern(c.r.Text("text")))
	}
}

// step reads an index as the difference from last.
func (c *columns) step(last, size int, what string) int {
	v := int64(last) + c.r.Svarint()
	if v < 0 || v >= int64(size) {
		c.r.Fail("%s: got index %d, want less than %d", what, v, size)
		return 0
	}
	return int(v)
}

// readSeries reads the table of series.
func (c *columns) readSeries(readings int) {
	n := c.r.Count(readings, "series count")
	c.series = c.series[:0]
	device, channel, unit := 0, 0, 0
	for range n {
		device = c.step(device, len(c.texts), "device")
		channel = c.step(channel, len(c.texts), "channel")
		unit = c.step(unit, len(c.texts), "unit")
		kind := tidegate.Kind(c.r.Index(int(tidegate.KindBytes)+1, "kind"))
		if c.r.Err() != nil {
			return
		}
		c.series = append(c.series, series{c.texts[device], c.texts[channel], c.texts[unit], kind})
	}
}

// readShapes reads the table of shapes and the shape of each record.
func (c *columns) readShapes(readings int) {
	n := c.r.Count(len(c.counts), "shape count")
	c.shapes, c.ids = c.shapes[:0], resize(c.ids, readings)
	free := c.ids
	follow := 0
	for range n {
		size := c.r.Count(len(free), "shape length")
		ids := free[:size:size]
		free = free[size:]
		for i := range ids {
			s := c.step(follow, len(c.series), "series of a shape")
			ids[i] = uint32(s)
			follow = s + 1
		}
		c.shapes = append(c.shapes, ids)
	}
	c.recShape = resize(c.recShape, len(c.counts))
	for i, want := range c.counts {
		h := c.r.Index(len(c.shapes), "shape of a record")
		if c.r.Err() != nil {
			return
		}
		if got := len(c.shapes[h]); got != want {
			c.r.Fail("record %d: got a shape of %d readings, want %d", i, got, want)
			return
		}
		c.recShape[i] = h
	}
}

// readHeads reads what records have beside readings.
func (c *columns) readHeads(made []tidegate.Record, first uint64) {
	var last, delta int64
	for i := range made {
		d := c.r.Svarint()
		at := last + delta + d
		if i > 0 {
			delta = at - last
		}
		last = at
		made[i].Number = numberOf(first, i)
		made[i].Time = microTime(at)
	}
	last = 0
	for i := range made {
		last += c.r.Svarint()
		made[i].Boot = c.r.duration(made[i].Time.UnixMicro()-last, "boot time")
	}
	c.readRuns(made, "quality", func(r *tidegate.Record, v uint64) { r.Quality = tidegate.TimeQuality(v) }, 256)
	c.readRuns(made, "uplink", func(r *tidegate.Record, v uint64) { r.For = c.texts[v] }, len(c.texts))
	if c.labelled {
		c.readRuns(made, "labels", func(r *tidegate.Record, v uint64) { r.Labels = c.texts[v] }, len(c.texts))
	}
}

// readRuns reads runs of records that have the same of something, an index of less than size.
func (c *columns) readRuns(made []tidegate.Record, what string, set func(*tidegate.Record, uint64), size int) {
	for len(made) > 0 {
		v := c.r.Index(size, what)
		n := c.r.Count(len(made)-1, what+" run") + 1
		if c.r.Err() != nil {
			return
		}
		for i := range made[:n] {
			set(&made[i], uint64(v))
		}
		made = made[n:]
	}
}

// duration returns us microseconds; one that time.Duration cannot hold is a fault.
func (r *reader) duration(us int64, what string) time.Duration {
	const most = int64(1<<63-1) / int64(time.Microsecond)
	if us > most || us < -most {
		r.Fail("%s: got %d microseconds, want at most %d", what, us, most)
		return 0
	}
	return time.Duration(us) * time.Microsecond
}

// layOut gives each series its place in vals.
func (c *columns) layOut(readings int) {
	c.vals = resize(c.vals, readings)
	c.start = resize(c.start, len(c.series)+1)
	clear(c.start)
	if c.r.Err() != nil {
		return
	}
	for _, h := range c.recShape {
		for _, s := range c.shapes[h] {
			c.start[s+1]++
		}
	}
	for s := range c.series {
		if c.start[s+1] == 0 {
			c.r.Fail("series %d has no values", s)
			return
		}
		c.start[s+1] += c.start[s]
	}
	c.next = append(c.next[:0], c.start[:len(c.series)]...)
}

// column returns the values of series s in vals.
func (c *columns) column(s int) []uint64 { return c.vals[c.start[s]:c.start[s+1]] }

// readNumbers reads the columns of numbers.
func (c *columns) readNumbers() {
	if c.r.Err() != nil {
		return
	}
	c.numbers = c.numbers[:0]
	for s := range c.series {
		if kind := c.series[s].kind; isNumber(kind) {
			c.numbers = append(c.numbers, column.Numbers{Kind: kind, Values: c.column(s)})
		}
	}
	c.r.Numbers(c.numbers)
}

// readOthers reads the columns that are not of numbers.
func (c *columns) readOthers() {
	if c.r.Err() != nil {
		return
	}
	for s := range c.series {
		col := c.column(s)
		switch c.series[s].kind {
		case tidegate.KindNone:
			clear(col)
		case tidegate.KindBool:
			packed := c.r.Take((len(col)+7)/8, "yes/no")
			if packed == nil {
				return
			}
			for i := range col {
				col[i] = uint64(packed[i/8] >> (i % 8) & 1)
			}
		case tidegate.KindText, tidegate.KindBytes:
			for i := range col {
				col[i] = uint64(c.r.Index(len(c.texts), "text"))
			}
		}
	}
}

// readSparse calls f for each reading that has something which few have.
func (c *columns) readSparse(readings int, what string, f func(reading int)) {
	n := c.r.Count(readings, what+" count")
	at := 0
	for range n {
		at += c.r.Count(readings-1-min(at, readings-1), what+" place")
		if at >= readings {
			c.r.Fail("%s: got reading %d, want less than %d", what, at, readings)
		}
		if c.r.Err() != nil {
			return
		}
		f(at)
		at++
	}
}

// readTimes gives readings the times of their own.
func (c *columns) readTimes(made []tidegate.Record, slab []tidegate.Reading) {
	rec, end := -1, 0
	var at int64
	c.readSparse(len(slab), "time", func(reading int) {
		for reading >= end {
			rec++
			end += len(made[rec].Readings)
			at = made[rec].Time.UnixMicro()
		}
		slab[reading].Time = microTime(at + c.r.behind())
	})
}

// readFaults gives readings their faults.
func (c *columns) readFaults(slab []tidegate.Reading) {
	c.readSparse(len(slab), "fault", func(reading int) {
		if t := c.r.Index(len(c.texts), "fault"); c.r.Err() == nil {
			slab[reading].Fault = c.texts[t]
		}
	})
}
