package wire

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/tidegate-io/tidegate"
)

// DecodeSenML reads a SenML JSON pack, not compressed, of at most MaxBody bytes and MaxElements readings. Base values are resolved (RFC 8428 section 4.6);
// labels it does not know are ignored unless they end in "_" (section 4.4). Numbers come back as KindFloat, whatever they were;
// a reading's Time is zero where it equals its record's, rounded to the microsecond; Class, Boot and For are not on the wire.
// The texts of all readings are parts of one copy of body, which lives as long as one of them.
//
// It refuses, with the byte or element and the reason, whatever breaks a rule of ../README.md: nothing of such a pack is used.
func DecodeSenML(body []byte) (*Pack, error) {
	p, err := decodePack(body)
	if err != nil {
		return nil, fmt.Errorf("decode SenML: %w", err)
	}
	return p, nil
}

// An element is one SenML record as it stands, before base values are resolved.
type element struct {
	seen           uint32 // bits by label, in the order of labels
	bn, bu, n, u   string
	bt, t          int64 // microseconds
	bv, v          float64
	vs, vd         string
	vb             bool
	ep, part, tq   string
	lb             tidegate.Labels
	seq            uint64
	skip           tidegate.Ranges
	bver           uint64
	mustUnderstand string
}

// The labels, as bits of element.seen.
const (
	lBn = iota
	lBt
	lBu
	lBv
	lBver
	lN
	lU
	lV
	lVs
	lVb
	lVd
	lT
	lEp
	lSeq
	lSkip
	lTq
	lLb
	lPart
)

func (e *element) has(label int) bool { return e.seen&(1<<label) != 0 }

// A decoder holds what passes from one element to the next.
type decoder struct {
	j    scanner
	e    element
	n    int // index of the element
	pack *Pack

	bn, bu string
	bt     int64
	bv     float64
	timed  bool               // bt is known
	owner  string             // the gateway in bn, when it is all there
	prefix string             // what bn has behind the gateway
	number uint64             // of the record; 0 = there is none yet
	at     int64              // its time in microseconds
	slab   []tidegate.Reading // readings of all records
	first  []int              // of each record, its first reading in slab
}

// usualReadings is how many readings room is made for before the first is read, at most.
const usualReadings = 8192

func decodePack(body []byte) (*Pack, error) {
	if len(body) > MaxBody {
		return nil, fmt.Errorf("got %d bytes, want at most %d", len(body), MaxBody)
	}
	if !utf8.Valid(body) {
		return nil, errors.New("pack is not UTF-8")
	}
	d := decoder{j: scanner{s: string(body)}, pack: &Pack{}}
	d.slab = make([]tidegate.Reading, 0, min(bytes.Count(body, []byte{'{'}), usualReadings))
	d.j.array(func() {
		if d.n == MaxElements {
			d.j.fail("pack has more than %d elements", MaxElements)
			return
		}
		d.e = element{}
		d.j.object(d.label)
		if d.j.err != nil {
			return
		}
		if err := d.resolve(); err != nil {
			d.j.err = fmt.Errorf("element %d: %w", d.n, err)
		}
		d.n++
	})
	if d.j.err == nil {
		d.j.end()
	}
	if d.j.err != nil {
		return nil, d.j.err
	}
	return d.finish()
}

// finish gives the records their readings and checks what only the whole pack shows.
func (d *decoder) finish() (*Pack, error) {
	p := d.pack
	for i, first := range d.first {
		last := len(d.slab)
		if i+1 < len(d.first) {
			last = d.first[i+1]
		}
		p.Records[i].Readings = d.slab[first:last:last]
	}
	switch {
	case d.n == 0:
		return nil, errors.New("pack has no elements")
	case p.Part != (Part{}) && len(p.Records) != 1:
		return nil, fmt.Errorf("got a part of %d records, want 1", len(p.Records))
	}
	return p, nil
}

// label reads the value of one label of the element.
func (d *decoder) label(label string) {
	j, e := &d.j, &d.e
	switch label {
	case "n":
		j.once(&e.seen, lN, label)
		e.n = j.text()
	case "v":
		j.once(&e.seen, lV, label)
		e.v = j.double(label)
	case "t":
		j.once(&e.seen, lT, label)
		e.t = j.micros(label)
	case "u":
		j.once(&e.seen, lU, label)
		e.u = j.text()
	case "vs":
		j.once(&e.seen, lVs, label)
		e.vs = j.text()
	case "vb":
		j.once(&e.seen, lVb, label)
		e.vb = j.bool()
	case "vd":
		j.once(&e.seen, lVd, label)
		e.vd = j.text()
	case "bt":
		j.once(&e.seen, lBt, label)
		e.bt = j.micros(label)
	case "seq":
		j.once(&e.seen, lSeq, label)
		e.seq = j.uint(label)
	case "tq":
		j.once(&e.seen, lTq, label)
		e.tq = j.text()
	default:
		d.rareLabel(label)
	}
}

// rareLabel is label for those that most packs have once, if at all.
func (d *decoder) rareLabel(label string) {
	j, e := &d.j, &d.e
	switch label {
	case "lb":
		j.once(&e.seen, lLb, label)
		e.lb = j.labels()
	case "bn":
		j.once(&e.seen, lBn, label)
		e.bn = j.text()
	case "bu":
		j.once(&e.seen, lBu, label)
		e.bu = j.text()
	case "bv":
		j.once(&e.seen, lBv, label)
		e.bv = j.double(label)
	case "bver":
		j.once(&e.seen, lBver, label)
		e.bver = j.uint(label)
	case "ep":
		j.once(&e.seen, lEp, label)
		e.ep = j.text()
	case "skip":
		j.once(&e.seen, lSkip, label)
		e.skip = j.ranges(label, math.MaxInt)
	case "part":
		j.once(&e.seen, lPart, label)
		e.part = j.text()
	default:
		if strings.HasSuffix(label, "_") {
			e.mustUnderstand = label
		}
		j.skip(maxDepth)
	}
}
