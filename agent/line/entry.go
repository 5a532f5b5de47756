package line

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/box"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/rules"
	"github.com/tidegate-io/tidegate/sync/wire"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
)

// An entry is what the judge makes of one entry of ring 1: one entry of ring 2. Only what it holds may be sent.
type entry struct {
	epoch    uint32 // ordinal
	epochID  string
	start    uint64       // first number of the epoch
	input    box.Place    // place in ring 1 behind what it was made of
	drops1   buffer.Drops // drops of ring 1 declared so far, this entry included
	drops2   buffer.Drops // the same of ring 2
	runs     []run
	rules    []rules.State
	declared []buffer.Declaration
}

// A run is consecutive records of one class, numbered.
type run struct {
	class    tidegate.Class
	first    uint64
	records  int
	readings int
	t0, t1   int64  // Unix milliseconds
	body     []byte // rows, as sync/wire/frame has them
	apart    bool   // some records are meant for one uplink only
	thin     bool   // they stand for others that were thinned out
}

func (r *run) last() uint64 { return r.first + uint64(r.records) - 1 }

// frame returns r as a frame of the epoch.
func (r *run) frame(epoch uint32) buffer.Frame {
	return buffer.Frame{
		Epoch: epoch, Class: r.class, First: r.first, Last: r.last(), Count: uint32(r.readings), T0: r.t0, T1: r.t1, Apart: r.apart, Thin: r.thin, Body: r.body,
	}
}

// newRun numbers recs, all of class, from first on.
func newRun(class tidegate.Class, first uint64, recs []tidegate.Record) run {
	r := run{class: class, first: first, records: len(recs), body: frame.AppendRows(nil, recs)}
	for i := range recs {
		t := recs[i].Time.UnixMilli()
		if i == 0 || t < r.t0 {
			r.t0 = t
		}
		if i == 0 || t > r.t1 {
			r.t1 = t
		}
		r.readings += len(recs[i].Readings)
		r.apart = r.apart || recs[i].For != ""
	}
	return r
}

// highest returns the highest number in e, 0 when it has none.
func (e *entry) highest() uint64 {
	var h uint64
	for i := range e.runs {
		h = max(h, e.runs[i].last())
	}
	for i := range e.declared {
		d := &e.declared[i]
		if _, ok := d.Unstored(); ok && d.Epoch == e.epoch {
			h = max(h, d.Ranges[len(d.Ranges)-1].Last)
		}
	}
	return h
}

// lowest returns the lowest number in e, 0 when it has none.
func (e *entry) lowest() uint64 {
	for i := range e.declared {
		d := &e.declared[i]
		if _, ok := d.Unstored(); ok {
			return d.Ranges[0].First
		}
	}
	if len(e.runs) > 0 {
		return e.runs[0].first
	}
	return 0
}

const entryVersion = 1

// These are added to the class of a run that is apart, and of one that stands for others.
const (
	runApart = 1 << 8
	runThin  = 1 << 9
)

// appendEntry encodes e: unsigned varints; texts and bodies behind their length.
func appendEntry(b []byte, e *entry) []byte {
	u := func(v uint64) { b = binary.AppendUvarint(b, v) }
	text := func(s string) { u(uint64(len(s))); b = append(b, s...) }
	u(entryVersion)
	u(uint64(e.epoch))
	text(e.epochID)
	u(e.start)
	u(e.input)
	for _, d := range [...]buffer.Drops{e.drops1, e.drops2} {
		u(d.Reads)
		u(d.Readings)
	}
	u(uint64(len(e.runs)))
	for i := range e.runs {
		r := &e.runs[i]
		kind := uint64(r.class)
		if r.apart {
			kind |= runApart
		}
		if r.thin {
			kind |= runThin
		}
		u(kind)
		u(r.first)
		u(uint64(r.records))
		u(uint64(r.readings))
		b = binary.AppendVarint(b, r.t0)
		b = binary.AppendVarint(b, r.t1-r.t0)
		u(uint64(len(r.body)))
		b = append(b, r.body...)
	}
	u(uint64(len(e.rules)))
	for _, s := range e.rules {
		text(s.Key)
		forget := uint64(0)
		if s.Body == nil {
			forget = 1
		}
		u(forget)
		text(string(s.Body))
	}
	u(uint64(len(e.declared)))
	for i := range e.declared {
		text(string(e.declared[i].Encode()))
	}
	return b
}

var errEntry = errors.New("entry of ring 2 is damaged")

// An entryReader reads what appendEntry wrote. After the first fault it returns zeros, and bad is set.
type entryReader struct {
	b   []byte
	bad bool
}

func (r *entryReader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *entryReader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *entryReader) bytes() []byte {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	s := r.b[:n:n]
	r.b = r.b[n:]
	return s
}

// decodeEntry is the inverse of appendEntry; bodies are b's memory.
func decodeEntry(b []byte) (*entry, error) {
	r := &entryReader{b: b}
	if v := r.uint(); v != entryVersion {
		return nil, fmt.Errorf("version is %d, want %d: %w", v, entryVersion, errEntry)
	}
	e := &entry{epoch: uint32(r.uint()), epochID: string(r.bytes()), start: r.uint(), input: r.uint()}
	e.drops1 = buffer.Drops{Reads: r.uint(), Readings: r.uint()}
	e.drops2 = buffer.Drops{Reads: r.uint(), Readings: r.uint()}
	for n := r.uint(); n > 0 && !r.bad; n-- {
		kind := r.uint()
		x := run{class: tidegate.Class(kind), apart: kind&runApart != 0, thin: kind&runThin != 0, first: r.uint(), records: int(r.uint()), readings: int(r.uint()), t0: r.int()}
		x.t1 = x.t0 + r.int()
		x.body = r.bytes()
		e.runs = append(e.runs, x)
	}
	for n := r.uint(); n > 0 && !r.bad; n-- {
		s := rules.State{Key: string(r.bytes())}
		forget := r.uint() == 1
		body := r.bytes()
		if !forget {
			s.Body = append([]byte{}, body...)
		}
		e.rules = append(e.rules, s)
	}
	for n := r.uint(); n > 0 && !r.bad; n-- {
		d, err := buffer.DecodeDeclaration(r.bytes())
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errEntry, err)
		}
		e.declared = append(e.declared, d)
	}
	if r.bad || len(r.b) > 0 {
		return nil, fmt.Errorf("%d bytes left over, cut short %v: %w", len(r.b), r.bad, errEntry)
	}
	return e, nil
}

// gapRecord makes the audit record that carries declarations.
func gapRecord(declared []buffer.Declaration, names map[uint32]buffer.Epoch, current uint32, at stamped) []tidegate.Record {
	byUplink := map[string][]tidegate.Reading{}
	var order []string
	for i := range declared {
		d := &declared[i]
		if _, ok := byUplink[d.Uplink]; !ok {
			order = append(order, d.Uplink)
		}
		other := ""
		if id := names[d.Epoch].ID; id != names[current].ID {
			other = id
		}
		for _, g := range d.Gaps(other) {
			byUplink[d.Uplink] = append(byUplink[d.Uplink], wire.GapReading(g))
		}
	}
	var out []tidegate.Record
	for _, uplink := range order {
		list := byUplink[uplink]
		for len(list) > 0 {
			n := min(len(list), tidegate.MaxReadings)
			out = append(out, tidegate.Record{
				Class: tidegate.ClassAudit, Time: at.wall, Boot: at.boot, Quality: at.quality, For: uplink, Readings: list[:n],
			})
			list = list[n:]
		}
	}
	return out
}

// stamped is a time in the form in which records carry it.
type stamped struct {
	wall    time.Time
	boot    time.Duration
	quality tidegate.TimeQuality
}

// isLive reports whether records of the class may be sent before they are committed.
func isLive(c tidegate.Class) bool {
	return c == tidegate.ClassReading || c == tidegate.ClassDebug
}
