package buffer

import (
	"fmt"

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

	segment segmentName // CauseOverflow: the segment that is dropped with it; zero = none
}

// Encode returns d as bytes; see DecodeDeclaration.
func (d *Declaration) Encode() []byte {
	w := packer{}
	w.uint(1) // version
	w.text(d.Uplink)
	w.uint(uint64(d.Epoch))
	w.ranges(d.Ranges)
	w.uint(d.Count)
	w.uint(d.AtMost)
	w.text(d.Cause)
	w.int(d.T0)
	w.int(d.T1)
	w.text(d.Why)
	w.uint(uint64(d.segment.class))
	w.uint(uint64(d.segment.epoch))
	w.uint(d.segment.counter)
	return w.b
}

// DecodeDeclaration is the inverse of Encode.
func DecodeDeclaration(b []byte) (d Declaration, err error) {
	u := unpacker{b: b}
	if v := u.uint(); u.err == nil && v != 1 {
		return d, fmt.Errorf("declaration: version is %d, want 1: %w", v, ErrDamaged)
	}
	d.Uplink = u.text()
	d.Epoch = uint32(u.uint())
	d.Ranges = u.ranges()
	d.Count, d.AtMost = u.uint(), u.uint()
	d.Cause = u.text()
	d.T0, d.T1 = u.int(), u.int()
	d.Why = u.text()
	d.segment = segmentName{tidegate.Class(u.uint()), uint32(u.uint()), u.uint()}
	return d, u.done("declaration")
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
