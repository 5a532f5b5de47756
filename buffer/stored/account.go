package stored

import (
	"cmp"
	"maps"
	"slices"

	"github.com/tidegate-io/tidegate"
)

// A Tally counts records and their readings.
type Tally struct {
	Records  uint64 `json:"records"`
	Readings uint64 `json:"readings"`
}

// Add adds x to t.
func (t *Tally) Add(x Tally) { t.Records += x.Records; t.Readings += x.Readings }

// Sub takes x from t, which holds at least as much.
func (t *Tally) Sub(x Tally) { t.Records -= x.Records; t.Readings -= x.Readings }

// Tallies are counts by class; index = tidegate.Class.
type Tallies [Classes]Tally

// Device returns the counts of what devices reported: classes reading and debug.
func (t *Tallies) Device() Tally {
	sum := t[tidegate.ClassReading]
	sum.Add(t[tidegate.ClassDebug])
	return sum
}

func (p *packer) tallies(t *Tallies) {
	for _, x := range t {
		p.uint(x.Records)
		p.uint(x.Readings)
	}
}

func (u *unpacker) tallies() (t Tallies) {
	for i := range t {
		t[i] = Tally{u.uint(), u.uint()}
	}
	return t
}

// Totals are counts over the life of a state directory.
type Totals struct {
	Produced Tallies // committed, or dropped before and declared
	Gaps     uint64  // declarations committed
	Segment  uint64  // counter of the newest segment
	Digest   uint64  // of the position and of the indexes of all segments; see Index.Digest, DigestOf
	Written  uint64  // bytes that the processes have written to disk
}

// Encode returns the stored form of x.
func (x *Totals) Encode() []byte {
	p := newPacker()
	p.tallies(&x.Produced)
	p.uint(x.Gaps)
	p.uint(x.Segment)
	p.uint(x.Digest)
	p.uint(x.Written)
	return p.seal()
}

// DecodeTotals is the inverse of Totals.Encode.
func DecodeTotals(b []byte) (x Totals, err error) {
	u := unseal("totals", b)
	x = Totals{Produced: u.tallies(), Gaps: u.uint(), Segment: u.uint(), Digest: u.uint()}
	if len(u.b) > 0 { // else a version stored it that did not count them
		x.Written = u.uint()
	}
	return x, u.done()
}

// An Epoch is a stretch of one line of numbers, known inside the gateway by its ordinal. Several may share a name: then they are one
// epoch to the far side, and their numbers rise from one to the next. Each start that cannot know whether it stands on a
// restored backup begins a new ordinal, so that it can be renamed as long as nothing of it was delivered.
type Epoch struct {
	ID    string // its name on the wire
	Start uint64 // its first number
}

// Encode returns the stored form of x.
func (x *Epoch) Encode() []byte {
	p := newPacker()
	p.text(x.ID)
	p.uint(x.Start)
	return p.seal()
}

// DecodeEpoch is the inverse of Epoch.Encode.
func DecodeEpoch(b []byte) (x Epoch, err error) {
	u := unseal("epoch", b)
	x = Epoch{u.text(), u.uint()}
	return x, u.done()
}

// A Stream is the records of one class and epoch.
type Stream struct {
	Class tidegate.Class
	Epoch uint32
}

func (s Stream) compare(t Stream) int {
	return cmp.Or(cmp.Compare(s.Epoch, t.Epoch), cmp.Compare(s.Class, t.Class))
}

// A Cursor is one uplink's place and account.
type Cursor struct {
	Done      map[Stream]tidegate.Ranges // numbers that are done; between them may be numbers of other classes
	Delivered Tallies
	Rejected  Tallies
	Declared  Tallies
	Before    Tallies  // produced before the uplink was added, and gone by then
	Acked     []uint32 // epochs of which a record was acknowledged to any uplink
	Routed    Tallies  // meant for another uplink only
	Thinned   Tallies  // others stand for them
}

// Encode returns the stored form of x.
func (x *Cursor) Encode() []byte {
	p := newPacker()
	for _, t := range []*Tallies{&x.Delivered, &x.Rejected, &x.Declared, &x.Before} {
		p.tallies(t)
	}
	p.uint(uint64(len(x.Done)))
	for _, s := range slices.SortedFunc(maps.Keys(x.Done), Stream.compare) {
		p.uint(uint64(s.Epoch))
		p.uint(uint64(s.Class))
		p.ranges(x.Done[s])
	}
	p.uint(uint64(len(x.Acked)))
	for _, e := range x.Acked {
		p.uint(uint64(e))
	}
	p.tallies(&x.Routed)
	p.tallies(&x.Thinned)
	return p.seal()
}

// DecodeCursor is the inverse of Cursor.Encode.
func DecodeCursor(b []byte) (x Cursor, err error) {
	u := unseal("cursor", b)
	for _, t := range []*Tallies{&x.Delivered, &x.Rejected, &x.Declared, &x.Before} {
		*t = u.tallies()
	}
	x.Done = map[Stream]tidegate.Ranges{}
	for range u.count() {
		e := u.uint32()
		x.Done[Stream{u.class(), e}] = u.ranges()
	}
	for range u.count() {
		x.Acked = append(x.Acked, u.uint32())
	}
	if len(u.b) > 0 { // else a version stored it that routed nothing
		x.Routed = u.tallies()
	}
	if len(u.b) > 0 {
		x.Thinned = u.tallies()
	}
	return x, u.done()
}
