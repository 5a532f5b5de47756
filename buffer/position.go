package buffer

import (
	"time"
)

// A Position says how far the store has followed the rings. It is committed with the frames that it speaks of.
type Position struct {
	Pair     [16]byte // the rings; zero before the first commit from rings
	Ring     uint64   // place in ring 2 behind the last entry committed
	Input    uint64   // place in ring 1 that the entry had come to
	Drops1   Drops    // drops of ring 1 declared up to there
	Drops2   Drops    // drops of ring 2 declared up to there
	Epoch    uint32   // of the last record committed
	Next     uint64   // number behind it
	LeaseEnd uint64   // end of the lease at that time
	State    [16]byte // id of the state directory
	Boot     [16]byte // boot id at that time
	Rate     uint32   // most readings per second of the last minute
	Slowest  time.Duration
	Time     int64 // wall time of the commit, Unix milliseconds
}

// Drops are totals of Reads that a ring had no room for.
type Drops struct {
	Reads    uint64
	Readings uint64
}

func (p *Position) encode() []byte {
	w := packer{}
	w.uint(1) // version
	w.text(string(p.Pair[:]))
	w.uint(p.Ring)
	w.uint(p.Input)
	for _, d := range []Drops{p.Drops1, p.Drops2} {
		w.uint(d.Reads)
		w.uint(d.Readings)
	}
	w.uint(uint64(p.Epoch))
	w.uint(p.Next)
	w.uint(p.LeaseEnd)
	w.text(string(p.State[:]))
	w.text(string(p.Boot[:]))
	w.uint(uint64(p.Rate))
	w.uint(uint64(p.Slowest))
	w.int(p.Time)
	return w.b
}

func decodePosition(b []byte) (p Position, err error) {
	u := unpacker{b: b}
	u.uint()
	copy(p.Pair[:], u.text())
	p.Ring, p.Input = u.uint(), u.uint()
	for _, d := range []*Drops{&p.Drops1, &p.Drops2} {
		d.Reads, d.Readings = u.uint(), u.uint()
	}
	p.Epoch = uint32(u.uint())
	p.Next, p.LeaseEnd = u.uint(), u.uint()
	copy(p.State[:], u.text())
	copy(p.Boot[:], u.text())
	p.Rate = uint32(u.uint())
	p.Slowest = time.Duration(u.uint())
	p.Time = u.int()
	return p, u.done("position")
}
