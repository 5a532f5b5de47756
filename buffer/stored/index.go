package stored

import (
	"encoding/binary"
	"hash/fnv"

	"github.com/tidegate-io/tidegate"
)

// An Index says what a segment holds.
type Index struct {
	Runs     tidegate.Ranges // numbers of its records; never empty
	Records  uint64
	Readings uint64
	Bytes    int64 // keys and values
	T0, T1   int64 // Unix milliseconds
	Closed   bool  // it takes no more frames
	Dropping bool  // every uplink is done with it, and DropPrefix may have begun
}

// First returns the number of the first record.
func (x *Index) First() uint64 { return x.Runs[0].First }

// Last returns the number of the last record.
func (x *Index) Last() uint64 { return x.Runs[len(x.Runs)-1].Last }

// With returns x with f in it, which takes size bytes; the two share no memory that may change.
func (x Index) With(f *Frame, size int) Index {
	x.Runs = x.Runs.Clone()
	x.Runs.Add(tidegate.Range{First: f.First, Last: f.Last})
	if x.Records == 0 || f.T0 < x.T0 {
		x.T0 = f.T0
	}
	if x.Records == 0 || f.T1 > x.T1 {
		x.T1 = f.T1
	}
	x.Records += f.Records()
	x.Readings += uint64(f.Count)
	x.Bytes += int64(size)
	return x
}

// Digest returns what the index x of segment s adds to Totals.Digest, by exclusive or: it tells an index that is gone, of an older version or
// of another segment from the right one. Marks do not change it.
func (x *Index) Digest(s Segment) uint64 {
	b := s.Key(KeyIndex)
	for _, v := range []uint64{x.Last(), x.Records, x.Readings, uint64(x.Bytes)} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	return DigestOf(b)
}

// DigestOf returns what a value adds to Totals.Digest.
func DigestOf(b []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(b) // a hash takes everything
	return h.Sum64()
}

// Encode returns the stored form of x.
func (x *Index) Encode() []byte {
	p := newPacker()
	state := uint64(0)
	if x.Closed {
		state |= 1
	}
	if x.Dropping {
		state |= 2
	}
	p.uint(state)
	p.uint(x.Readings)
	p.uint(uint64(x.Bytes))
	p.int(x.T0)
	p.int(x.T1)
	p.ranges(x.Runs)
	return p.seal()
}

// DecodeIndex is the inverse of Index.Encode.
func DecodeIndex(b []byte) (x Index, err error) {
	u := unseal("index of a segment", b)
	state := u.uint()
	x.Closed, x.Dropping = state&1 != 0, state&2 != 0
	x.Readings, x.Bytes = u.uint(), int64(u.uint())
	x.T0, x.T1 = u.int(), u.int()
	x.Runs = u.ranges()
	x.Records = x.Runs.Len()
	if len(x.Runs) == 0 {
		u.fail("no runs")
	}
	if err := u.done(); err != nil {
		return Index{}, err
	}
	return x, nil
}
