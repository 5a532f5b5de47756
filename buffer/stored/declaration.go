package stored

import (
	"github.com/tidegate-io/tidegate"
)

// A Declaration says that records of one epoch will not be delivered to an uplink, and why. The agent makes a gap record of it
// (class audit) and hands it back with the commit that holds the gap: only then does it take effect.
type Declaration struct {
	Uplink string // "" = all
	Epoch  uint32
	Ranges tidegate.Ranges
	Count  uint64 // readings known to be in them
	AtMost uint64 // where Count is not exact: how many there can be
	Cause  string // one of tidegate's causes
	T0, T1 int64  // Unix milliseconds; 0 = unknown
	Why    string // CauseRejected: the reason
	// Segment goes when no uplink waits for it any more; zero = none. With CauseOverflow and no counter it is the class of what was never
	// stored: see Unstored.
	Segment Segment
}

// Unstored returns the class of what d counts, where that never reached the queue: the numbers stand for whole Reads then, one each, and no
// record bears them.
func (d *Declaration) Unstored() (class tidegate.Class, ok bool) {
	if d.Cause == tidegate.CauseRingFull {
		return tidegate.ClassReading, true
	}
	return d.Segment.Class, d.Cause == tidegate.CauseOverflow && d.Segment.Class != 0 && d.Segment.Counter == 0
}

// Encode returns d as bytes; see DecodeDeclaration.
func (d *Declaration) Encode() []byte {
	p := newPacker()
	p.text(d.Uplink)
	p.uint(uint64(d.Epoch))
	p.ranges(d.Ranges)
	p.uint(d.Count)
	p.uint(d.AtMost)
	p.text(d.Cause)
	p.int(d.T0)
	p.int(d.T1)
	p.text(d.Why)
	p.uint(uint64(d.Segment.Class))
	p.uint(uint64(d.Segment.Epoch))
	p.uint(d.Segment.Counter)
	return p.seal()
}

// DecodeDeclaration is the inverse of Encode.
func DecodeDeclaration(b []byte) (d Declaration, err error) {
	u := unseal("declaration", b)
	d.Uplink = u.text()
	d.Epoch = u.uint32()
	d.Ranges = u.ranges()
	d.Count, d.AtMost = u.uint(), u.uint()
	d.Cause = u.text()
	d.T0, d.T1 = u.int(), u.int()
	d.Why = u.text()
	d.Segment = Segment{u.class(), u.uint32(), u.uint()}
	return d, u.done()
}

// Gaps returns d as the gaps that go on the wire, one a range. Count and AtMost stand in the first of them: the ranges are one loss.
func (d *Declaration) Gaps(epochID string) []tidegate.Gap {
	out := make([]tidegate.Gap, 0, len(d.Ranges))
	for i, r := range d.Ranges {
		g := tidegate.Gap{From: r.First, To: r.Last, Cause: d.Cause, T0: d.T0, T1: d.T1, Epoch: epochID}
		if i == 0 {
			g.Count, g.AtMost = int64(d.Count), int64(d.AtMost)
		}
		out = append(out, g)
	}
	return out
}

// An Aside is a run of records of one frame that the far side refused for good.
type Aside struct {
	Uplink string
	Epoch  uint32
	First  uint64
	Last   uint64
	Class  tidegate.Class
	Why    string
	Body   []byte // the records, as sync/wire/frame encodes them; nil = they could not be read any more
	Skip   int    // records of Body before First
	Thin   bool   // as in Frame
}

// Encode returns the stored form of a; uplink, epoch and first number stand in its key.
func (a *Aside) Encode() []byte {
	p := newPacker()
	p.uint(a.Last - a.First)
	p.uint(uint64(a.Class))
	p.uint(uint64(a.Skip))
	p.text(a.Why)
	p.text(string(a.Body))
	if a.Thin {
		p.uint(1)
	}
	return p.seal()
}

// DecodeAside is the inverse of Encode; uplink, epoch and first number come from the key.
func DecodeAside(uplink string, epoch uint32, first uint64, b []byte) (a Aside, err error) {
	u := unseal("record set aside", b)
	a = Aside{Uplink: uplink, Epoch: epoch, First: first, Last: first + u.uint(), Class: u.class(), Skip: int(u.uint()), Why: u.text(), Body: []byte(u.text())}
	if len(u.b) > 0 {
		a.Thin = u.uint() == 1
	}
	return a, u.done()
}
