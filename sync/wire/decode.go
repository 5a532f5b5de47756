package wire

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
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

// rareLabel is label for those that stand once in a pack, if at all.
func (d *decoder) rareLabel(label string) {
	j, e := &d.j, &d.e
	switch label {
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

// resolve takes the element as it stands into the pack.
func (d *decoder) resolve() error {
	e := &d.e
	if e.mustUnderstand != "" {
		return fmt.Errorf("label %q, which must be understood, is not known", e.mustUnderstand)
	}
	if e.has(lBver) && e.bver > 10 {
		return fmt.Errorf("bver: got %d, want at most 10", e.bver)
	}
	d.takeBase()
	device, channel, fault, err := d.name()
	if err != nil {
		return err
	}
	if err := d.takePackLabels(); err != nil {
		return err
	}
	if e.has(lSeq) {
		if err := d.startRecord(); err != nil {
			return err
		}
	} else if e.has(lTq) {
		return errors.New("tq stands on an element without seq")
	}
	if d.number == 0 {
		if d.n == 0 && len(d.pack.Skip) > 0 && device == tidegate.GatewayDevice && channel == SkipChannel {
			return nil
		}
		return errors.New("the first record has no seq")
	}
	return d.reading(device, channel, fault)
}

// takeBase takes the base values of the element over.
func (d *decoder) takeBase() {
	e := &d.e
	if e.has(lBn) {
		d.bn = e.bn
		rest, ok := strings.CutPrefix(d.bn, urn)
		d.owner, d.prefix = "", ""
		if gateway, behind, whole := strings.Cut(rest, ":"); ok && whole {
			d.owner, d.prefix = gateway, behind
		}
	}
	if e.has(lBu) {
		d.bu = e.bu
	}
	if e.has(lBv) {
		d.bv = e.bv
	}
	if e.has(lBt) {
		d.bt, d.timed = e.bt, true
	}
}

// name resolves the element's name and takes it apart.
func (d *decoder) name() (device, channel string, fault bool, err error) {
	owner, rest := d.owner, d.prefix+d.e.n
	if owner == "" {
		full := d.bn + d.e.n
		behind, ok := strings.CutPrefix(full, urn)
		if owner, rest, _ = strings.Cut(behind, ":"); !ok || owner == "" {
			return "", "", false, fmt.Errorf("name: got %q, want %s{gateway}:{device}/{channel}", full, urn)
		}
	}
	if d.n == 0 {
		if err := tidegate.CheckName(owner); err != nil {
			return "", "", false, fmt.Errorf("gateway: %w", err)
		}
		d.pack.Gateway = owner
	} else if owner != d.pack.Gateway {
		return "", "", false, fmt.Errorf("name: got gateway %q, want %q", owner, d.pack.Gateway)
	}
	device, channel, ok := strings.Cut(rest, "/")
	channel, fault = strings.CutSuffix(channel, faultSuffix) // behind the device: a channel may be called fault
	if !ok || !isWord(device) || !isWord(channel) {
		return "", "", false, fmt.Errorf("name: got %q, want {device}/{channel} or {device}/{channel}%s", d.prefix+d.e.n, faultSuffix)
	}
	return device, channel, fault, nil
}

// takePackLabels takes over what only the first element has.
func (d *decoder) takePackLabels() error {
	e := &d.e
	if d.n > 0 {
		if e.seen&(1<<lEp|1<<lSkip|1<<lPart) != 0 {
			return errors.New("ep, skip or part stands on another element than the first")
		}
		return nil
	}
	if err := tidegate.CheckName(e.ep); err != nil {
		return fmt.Errorf("ep: %w", err)
	}
	d.pack.Epoch, d.pack.Skip = e.ep, e.skip
	if !e.has(lPart) {
		return nil
	}
	index, total, _ := strings.Cut(e.part, "/")
	i, err1 := strconv.ParseUint(index, 10, 16)
	n, err2 := strconv.ParseUint(total, 10, 16)
	if err1 != nil || err2 != nil || i < 1 || i > n || n > tidegate.MaxReadings {
		return fmt.Errorf("part: got %q, want 1/n to n/n, n at most %d", e.part, tidegate.MaxReadings)
	}
	d.pack.Part = Part{Index: int(i), Total: int(n)}
	return nil
}

// qualities are the words of tq.
var qualities = map[string]tidegate.TimeQuality{
	"corrected": tidegate.TimeCorrected, "estimated": tidegate.TimeEstimated, "relative": tidegate.TimeRelative,
}

// startRecord begins the record that the element's seq names.
func (d *decoder) startRecord() error {
	e := &d.e
	if e.seq <= d.number {
		return fmt.Errorf("seq: got %d behind %d, want rising numbers from 1 on", e.seq, d.number)
	}
	if !d.timed {
		return errors.New("record has no time: bt is missing")
	}
	quality := tidegate.TimeSynced
	if e.has(lTq) {
		var ok bool
		if quality, ok = qualities[e.tq]; !ok {
			return fmt.Errorf("tq: got %q, want corrected, estimated or relative", e.tq)
		}
	}
	d.number, d.at = e.seq, d.bt
	d.first = append(d.first, len(d.slab))
	d.pack.Records = append(d.pack.Records, tidegate.Record{Number: e.seq, Time: time.UnixMicro(d.at).UTC(), Quality: quality})
	return nil
}

// reading adds the element as a reading to the record.
func (d *decoder) reading(device, channel string, fault bool) error {
	e := &d.e
	if len(d.slab)-d.first[len(d.first)-1] == tidegate.MaxReadings {
		return fmt.Errorf("record %d has more than %d readings", d.number, tidegate.MaxReadings)
	}
	r := tidegate.Reading{Device: device, Channel: channel, Unit: d.bu}
	if e.has(lU) {
		r.Unit = e.u
	}
	us := d.bt + e.t
	if behind := us - d.at; behind > maxMicros || behind < -maxMicros {
		return fmt.Errorf("time is %d microseconds from its record's, want at most %.0f", behind, maxMicros)
	} else if behind != 0 {
		r.Time = time.UnixMicro(us).UTC()
	}
	switch values := e.seen & (1<<lV | 1<<lVs | 1<<lVb | 1<<lVd); {
	case fault && values == 1<<lVs && e.vs != "":
		r.Fault = e.vs
	case fault:
		return errors.New("a fault has no text in vs")
	case values == 1<<lV:
		f := e.v
		if d.bv != 0 { // -0 stays as it is
			f += d.bv
		}
		if math.IsInf(f, 0) {
			return fmt.Errorf("v: got %g + bv %g, which a double cannot hold", e.v, d.bv)
		}
		r.Value = tidegate.Float(f)
	case values == 1<<lVs:
		r.Value = tidegate.Text(e.vs)
	case values == 1<<lVb:
		r.Value = tidegate.Bool(e.vb)
	case values == 1<<lVd:
		b, err := base64.RawURLEncoding.Strict().DecodeString(e.vd)
		if err != nil || strings.ContainsAny(e.vd, "\r\n") {
			return fmt.Errorf("vd: got %q, want base64url without padding", e.vd)
		}
		r.Value = tidegate.Bytes(b)
	default:
		return errors.New("element has not exactly one of v, vs, vb, vd")
	}
	d.slab = append(d.slab, r)
	return nil
}
