// Package export hands out what a queue has stored: readings as lines of JSON or as CSV, in bounded memory, and what was set aside. README.md
// says what stands in each line.
package export

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
)

// Options say what is handed out.
type Options struct {
	status.Export
	Queue *buffer.Queue
	// Pause is called between two reads with how long the last one took, so that others have their share; nil = it is not.
	Pause func(ctx context.Context, worked time.Duration)
}

// apart is how far the time of a reading may be from that of its record, where frames that are too old are passed over.
const apart = time.Hour

// batch is about how many bytes of frames are read at a time, and of lines that are written.
const batch = 128 << 10

var classes = []tidegate.Class{tidegate.ClassReading, tidegate.ClassAlarm, tidegate.ClassAudit, tidegate.ClassDebug}

// A writer appends lines to a buffer.
type writer interface {
	// head appends what stands before the first line.
	head(b []byte) []byte
	// line appends a reading.
	line(b []byte, r *row) []byte
	// unreadable appends that records of the class are not there, if the format has a line for that.
	unreadable(b []byte, class tidegate.Class, epoch string, r tidegate.Range) []byte
}

// A row is one reading.
type row struct {
	epoch   string
	state   string
	record  *tidegate.Record
	reading *tidegate.Reading
	time    time.Time // of the reading
}

// Write writes what o asks for to w, in the order of the numbers. An error ends it; what was written until then is counted.
func Write(ctx context.Context, w io.Writer, o *Options) (done status.Exported, err error) {
	x := &exporter{o: o, w: w, done: &done}
	if err := x.begin(ctx); err != nil {
		return done, err
	}
	for {
		next := x.first()
		if next == nil {
			break
		}
		if err := x.record(next); err != nil {
			return done, err
		}
		if err := next.advance(ctx, x); err != nil {
			return done, err
		}
	}
	return done, x.flush()
}

// An exporter is one export under way.
type exporter struct {
	o       *Options
	w       io.Writer
	out     writer
	buf     []byte
	streams []*stream
	uplink  string
	done    *status.Exported
	aside   map[stored]tidegate.Ranges
	began   time.Time // when it last paused
}

// stored names the records of one class and epoch.
type stored struct {
	class tidegate.Class
	epoch uint32
}

// begin checks what is asked for, and goes to the first record.
func (x *exporter) begin(ctx context.Context) error {
	o := x.o
	switch o.Format {
	case "ndjson", "":
		x.out = jsonLines{}
	case "csv":
		x.out = table{}
	default:
		return fmt.Errorf("format %q: it is ndjson or csv", o.Format)
	}
	if o.Class != "" && !slices.ContainsFunc(classes, func(c tidegate.Class) bool { return c.String() == o.Class }) {
		return fmt.Errorf("class %q: it is reading, alarm, audit or debug", o.Class)
	}
	if o.Channel != "" && !strings.Contains(o.Channel, ".") {
		return fmt.Errorf("channel %q: it is device.channel", o.Channel)
	}
	if o.To == 0 {
		o.To = math.MaxUint64
	}
	if o.To < o.From {
		return fmt.Errorf("numbers %d to %d: the first is higher than the last", o.From, o.To)
	}
	var names []string
	for _, c := range o.Queue.Stats().Cursors {
		names = append(names, c.Uplink)
	}
	if x.uplink = o.Uplink; x.uplink == "" && len(names) > 0 {
		x.uplink = names[0]
	}
	cur, err := o.Queue.Cursor(x.uplink)
	if err != nil {
		return fmt.Errorf("uplink %q: there is none of this name; there are %s", x.uplink, strings.Join(names, ", "))
	}
	if err := x.readAside(); err != nil {
		return err
	}
	x.buf, x.began = x.out.head(nil), time.Now()
	for _, class := range classes {
		if o.Class != "" && o.Class != class.String() {
			continue
		}
		dec, err := frame.NewDecoder()
		if err != nil {
			return err
		}
		s := &stream{class: class, dec: dec, owed: cur.Owed(class)}
		if err := s.advance(ctx, x); err != nil {
			return err
		}
		x.streams = append(x.streams, s)
	}
	return nil
}

// readAside reads which numbers are set aside.
func (x *exporter) readAside() error {
	x.aside = map[stored]tidegate.Ranges{}
	return x.o.Queue.Aside(func(a buffer.Aside) error {
		if a.Uplink == x.uplink {
			k := stored{a.Class, a.Epoch}
			rs := x.aside[k]
			rs.Add(tidegate.Range{First: a.First, Last: a.Last})
			x.aside[k] = rs
		}
		return nil
	})
}

// first returns the stream whose record is next.
func (x *exporter) first() (next *stream) {
	for _, s := range x.streams {
		if len(s.recs) > 0 && (next == nil || s.place().Before(next.place())) {
			next = s
		}
	}
	return next
}

// record writes the readings of the record that is next in s, as far as they are asked for.
func (x *exporter) record(s *stream) error {
	rec := &s.recs[0]
	state := x.state(s, rec)
	some := false
	for i := range rec.Readings {
		rd := &rec.Readings[i]
		r := row{epoch: s.id, state: state, record: rec, reading: rd, time: rd.Time}
		if r.time.IsZero() {
			r.time = rec.Time
		}
		if !x.wanted(&r) {
			continue
		}
		some = true
		x.done.Readings++
		x.buf = x.out.line(x.buf, &r)
		if len(x.buf) >= batch {
			if err := x.flush(); err != nil {
				return err
			}
		}
	}
	if some {
		x.done.Records++
	}
	return nil
}

func (x *exporter) wanted(r *row) bool {
	o := x.o
	return (o.Device == "" || o.Device == r.reading.Device) && !r.time.Before(o.Since) &&
		(o.Channel == "" || o.Channel == r.reading.Device+"."+r.reading.Channel)
}

// state says what became of the record for the uplink.
func (x *exporter) state(s *stream, rec *tidegate.Record) string {
	switch {
	case s.class == tidegate.ClassDebug:
		return "kept"
	case rec.For != "" && rec.For != x.uplink:
		return "routed"
	case s.owed(s.epoch, rec.Number):
		return "buffered"
	case x.aside[stored{s.class, s.epoch}].Contains(rec.Number):
		return "rejected"
	}
	return "delivered"
}

func (x *exporter) flush() error {
	if len(x.buf) == 0 {
		return nil
	}
	_, err := x.w.Write(x.buf)
	x.buf = x.buf[:0]
	return err
}

// A stream is what is stored of one class, record by record.
type stream struct {
	class tidegate.Class
	dec   *frame.Decoder
	owed  func(epoch uint32, number uint64) bool
	at    buffer.Place // of the next frame to read
	looks []buffer.Look
	epoch uint32
	id    string
	recs  []tidegate.Record // of the frame under way, from the next record on
	all   []tidegate.Record // their memory
}

func (s *stream) place() buffer.Place { return buffer.Place{Epoch: s.epoch, Number: s.recs[0].Number} }

// advance goes to the next record of s that may be asked for.
func (s *stream) advance(ctx context.Context, x *exporter) error {
	if len(s.recs) > 0 {
		s.recs = s.recs[1:]
	}
	for len(s.recs) == 0 {
		if len(s.looks) == 0 {
			if ended, err := s.read(ctx, x); ended || err != nil {
				return err
			}
		}
		l := &s.looks[0]
		s.looks = s.looks[1:]
		if err := s.decode(x, l); err != nil {
			return err
		}
	}
	return nil
}

// read reads the next frames.
func (s *stream) read(ctx context.Context, x *exporter) (ended bool, err error) {
	if x.o.Pause != nil {
		x.o.Pause(ctx, time.Since(x.began))
		x.began = time.Now()
	}
	if err := ctx.Err(); err != nil {
		return true, err
	}
	if s.at.Number < x.o.From {
		s.at.Number = x.o.From
	}
	s.looks, err = x.o.Queue.Sweep(s.class, s.at, batch, func(epoch string, missing tidegate.Ranges) {
		for _, r := range missing.Within(tidegate.Range{First: x.o.From, Last: x.o.To}) {
			x.lacks(s.class, epoch, r)
		}
	})
	return len(s.looks) == 0, err
}

func (x *exporter) lacks(class tidegate.Class, epoch string, r tidegate.Range) {
	x.done.Unreadable += r.Len()
	x.buf = x.out.unreadable(x.buf, class, epoch, r)
}

// decode makes records of l.
func (s *stream) decode(x *exporter, l *buffer.Look) error {
	s.at = buffer.Place{Epoch: l.Epoch, Number: l.Last + 1}
	want := l.Want.Within(tidegate.Range{First: x.o.From, Last: x.o.To})
	if len(want) == 0 || !x.o.Since.IsZero() && time.UnixMilli(l.T1).Before(x.o.Since.Add(-apart)) {
		return nil
	}
	var err error
	if s.all, err = s.dec.Decode(s.all[:0], l.Class, l.First, l.Body); err != nil { // its checksum held: a fault of ours
		for _, r := range want {
			x.lacks(s.class, l.EpochID, r)
		}
		return nil
	}
	kept := s.all[:0]
	for i := range s.all {
		if want.Contains(s.all[i].Number) {
			kept = append(kept, s.all[i])
		}
	}
	s.recs, s.epoch, s.id = kept, l.Epoch, l.EpochID
	return nil
}
