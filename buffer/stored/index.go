package stored

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/seal"
)

// An Index says what a segment holds.
type Index struct {
	Runs     tidegate.Ranges // numbers of its records; never empty
	Records  uint64
	Readings uint64
	Bytes    int64         // keys and values
	T0, T1   int64         // Unix milliseconds
	Lived    time.Duration // Position.Lived when its newest record was committed
	Thin     bool          // its records stand for others that were thinned out
	Closed   bool          // it takes no more frames
	Dropping bool          // every uplink is done with it, and DropPrefix may have begun
	Gone     bool          // class debug: its frames are dropped, and an uplink is still to be told which numbers it held
	Sealed   seal.ID       // what all its frames are sealed with; 0 = they lie there in the clear
	Frames   uint64        // where Sealed is set
	Shares   []Share
}

// A Share is how much of a segment is meant for one uplink only. A segment has each uplink once, in the order of their names.
type Share struct {
	Uplink string
	Tally
}

// Mine returns how much of x is meant for the uplink.
func (x *Index) Mine(uplink string) Tally {
	t := Tally{Records: x.Records, Readings: x.Readings}
	for _, s := range x.Shares {
		if s.Uplink != uplink {
			t.Sub(s.Tally)
		}
	}
	return t
}

// AddShare adds what is meant for the uplink only.
func (x *Index) AddShare(uplink string, t Tally) {
	i, found := slices.BinarySearchFunc(x.Shares, uplink, func(s Share, name string) int { return cmp.Compare(s.Uplink, name) })
	if !found {
		x.Shares = slices.Insert(x.Shares, i, Share{Uplink: uplink})
	}
	x.Shares[i].Add(t)
}

// First returns the number of the first record.
func (x *Index) First() uint64 { return x.Runs[0].First }

// Last returns the number of the last record.
func (x *Index) Last() uint64 { return x.Runs[len(x.Runs)-1].Last }

// With returns x with f in it, which takes size bytes and is sealed with the same key; the two share no memory that may change.
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
	if x.Sealed = f.Sealed; x.Sealed != 0 {
		x.Frames++
	}
	x.Thin = f.Thin
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
	if x.Gone {
		state |= 4
	}
	if x.Sealed != 0 {
		state |= 8
	}
	if x.Lived > 0 {
		state |= 16
	}
	if x.Thin {
		state |= 32
	}
	p.uint(state)
	if x.Sealed != 0 {
		p.uint(uint64(x.Sealed))
		p.uint(x.Frames)
	}
	if x.Lived > 0 {
		p.uint(uint64(x.Lived))
	}
	p.uint(x.Readings)
	p.uint(uint64(x.Bytes))
	p.int(x.T0)
	p.int(x.T1)
	p.ranges(x.Runs)
	for _, s := range x.Shares {
		p.text(s.Uplink)
		p.uint(s.Records)
		p.uint(s.Readings)
	}
	return p.seal()
}

// DecodeIndex is the inverse of Index.Encode.
func DecodeIndex(b []byte) (x Index, err error) {
	u := unseal("index of a segment", b)
	state := u.uint()
	x.Closed, x.Dropping, x.Gone, x.Thin = state&1 != 0, state&2 != 0, state&4 != 0, state&32 != 0
	if state&8 != 0 {
		if x.Sealed, x.Frames = seal.ID(u.uint32()), u.uint(); x.Sealed == 0 {
			u.fail("frames are sealed with no key")
		}
	}
	if state&16 != 0 { // else it is 0, or a version stored it that knew no age
		if x.Lived = time.Duration(u.uint()); x.Lived <= 0 {
			u.fail("age is not above 0")
		}
	}
	x.Readings, x.Bytes = u.uint(), int64(u.uint())
	x.T0, x.T1 = u.int(), u.int()
	x.Runs = u.ranges()
	x.Records = x.Runs.Len()
	if len(x.Runs) == 0 {
		u.fail("no runs")
	}
	for last := ""; len(u.b) > 0; {
		s := Share{u.text(), Tally{u.uint(), u.uint()}}
		if s.Uplink <= last || s.Records > x.Records || s.Readings > x.Readings {
			u.fail("shares of uplinks do not rise, or are more than all")
		}
		last = s.Uplink
		x.Shares = append(x.Shares, s)
	}
	if err := u.done(); err != nil {
		return Index{}, err
	}
	return x, nil
}
