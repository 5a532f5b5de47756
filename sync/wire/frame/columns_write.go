package frame

import (
	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/wire/frame/column"
)

// write lays the gathered columns out in raw: README.md, "Columns". The texts come first and are complete last.
func (e *Encoder) write(recs []tidegate.Record) {
	b := e.appendSeries(e.tail[:0])
	b = e.appendShapes(b)
	b = e.appendHeads(b, recs)
	b = e.appendNumbers(b)
	b = e.appendOthers(b)
	b = appendSparse(b, e.times)
	e.tail = appendSparse(b, e.faults)
	b = column.AppendUvarint(e.raw[:0], uint64(len(e.texts)))
	for _, s := range e.texts {
		b = column.AppendText(b, s)
	}
	e.raw = append(b, e.tail...)
}

// appendSeries appends the table of series, each as differences from the one before.
func (e *Encoder) appendSeries(b []byte) []byte {
	b = column.AppendUvarint(b, uint64(len(e.series)))
	var last series
	var device, channel, unit int64
	for i := range e.series {
		s := &e.series[i]
		d, c, u := device, int64(e.textIndex(s.channel)), unit
		if i == 0 || s.device != last.device {
			d = int64(e.textIndex(s.device))
		}
		if i == 0 || s.unit != last.unit {
			u = int64(e.textIndex(s.unit))
		}
		b = column.AppendSvarint(b, d-device)
		b = column.AppendSvarint(b, c-channel)
		b = column.AppendSvarint(b, u-unit)
		b = append(b, byte(s.kind))
		device, channel, unit, last = d, c, u, *s
	}
	return b
}

// appendShapes appends the shapes: of each the length and its series, as differences from the one that would follow.
func (e *Encoder) appendShapes(b []byte) []byte {
	b = column.AppendUvarint(b, uint64(len(e.shapes)))
	var follow int64
	for _, h := range e.shapes {
		b = column.AppendUvarint(b, uint64(len(h.series)))
		for _, s := range h.series {
			b = column.AppendSvarint(b, int64(s)-follow)
			follow = int64(s) + 1
		}
	}
	return b
}

// appendHeads appends what records have beside readings: shapes, times, boot times, qualities, uplinks.
func (e *Encoder) appendHeads(b []byte, recs []tidegate.Record) []byte {
	for _, h := range e.recShape {
		b = column.AppendUvarint(b, uint64(h))
	}
	var last, delta int64
	for i := range recs {
		at := recs[i].Time.UnixMicro()
		b = column.AppendSvarint(b, at-last-delta)
		if i > 0 {
			delta = at - last
		}
		last = at
	}
	last = 0
	for i := range recs {
		start := recs[i].Time.UnixMicro() - recs[i].Boot.Microseconds()
		b = column.AppendSvarint(b, start-last)
		last = start
	}
	b = appendRuns(b, len(recs), func(i int) uint64 { return uint64(recs[i].Quality) })
	b = e.appendTexts(b, recs, func(r *tidegate.Record) string { return r.For })
	if hasLabels(recs) {
		b = e.appendTexts(b, recs, func(r *tidegate.Record) string { return r.Labels })
	}
	return b
}

// appendTexts appends a text that records have, in runs.
func (e *Encoder) appendTexts(b []byte, recs []tidegate.Record, of func(*tidegate.Record) string) []byte {
	var text uint64
	return appendRuns(b, len(recs), func(i int) uint64 {
		if i == 0 || of(&recs[i]) != of(&recs[i-1]) {
			text = uint64(e.textIndex(of(&recs[i])))
		}
		return text
	})
}

// appendRuns appends what n records have, for each run of the same: the value and how many records follow the first.
func appendRuns(b []byte, n int, value func(i int) uint64) []byte {
	for i := 0; i < n; {
		v, next := value(i), i+1
		for next < n && value(next) == v {
			next++
		}
		b = column.AppendUvarint(b, v)
		b = column.AppendUvarint(b, uint64(next-i-1))
		i = next
	}
	return b
}

// isNumber reports whether values of kind k stand in the columns of numbers.
func isNumber(k tidegate.Kind) bool {
	return k == tidegate.KindFloat || k == tidegate.KindInt || k == tidegate.KindUint
}

// column returns the values of series s in vals.
func (e *Encoder) column(s int) []uint64 {
	if s == 0 {
		return e.vals[:e.next[0]]
	}
	return e.vals[e.next[s-1]:e.next[s]]
}

// appendNumbers appends the columns of numbers.
func (e *Encoder) appendNumbers(b []byte) []byte {
	e.numbers = e.numbers[:0]
	for s := range e.series {
		if kind := e.series[s].kind; isNumber(kind) {
			e.numbers = append(e.numbers, column.Numbers{Kind: kind, Values: e.column(s)})
		}
	}
	return column.AppendNumbers(b, e.numbers)
}

// appendOthers appends the columns of yes/no, as bits, and of text and bytes, as indexes of texts.
func (e *Encoder) appendOthers(b []byte) []byte {
	for s := range e.series {
		switch e.series[s].kind {
		case tidegate.KindBool:
			b = appendBits(b, e.column(s))
		case tidegate.KindText, tidegate.KindBytes:
			for _, t := range e.column(s) {
				b = column.AppendUvarint(b, t)
			}
		}
	}
	return b
}

// appendBits appends numbers that are 0 or 1 as bits, the lowest bit of a byte first.
func appendBits(b []byte, col []uint64) []byte {
	for len(col) > 0 {
		n := min(len(col), 8)
		var c byte
		for i, v := range col[:n] {
			c |= byte(v) << i
		}
		b = append(b, c)
		col = col[n:]
	}
	return b
}

// appendSparse appends how many there are, and of each how many readings it leaves out and what it has.
func appendSparse(b []byte, list []sparse) []byte {
	b = column.AppendUvarint(b, uint64(len(list)))
	next := 0
	for _, x := range list {
		b = column.AppendUvarint(b, uint64(x.reading-next))
		b = column.AppendUvarint(b, x.v)
		next = x.reading + 1
	}
	return b
}
