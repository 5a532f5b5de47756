package stored

import (
	"time"
)

// A Position says how far the store has followed the rings. It is committed with the frames that it speaks of.
type Position struct {
	Pair     [16]byte      // the rings; zero before the first commit from rings
	Ring     uint64        // place in ring 2 behind the last entry committed
	Input    uint64        // place in ring 1 that the entry had come to
	Drops1   Drops         // drops of ring 1 declared up to there
	Drops2   Drops         // drops of ring 2 declared up to there
	Epoch    uint32        // of the last record committed
	Next     uint64        // number behind it
	LeaseEnd uint64        // end of the lease at that time
	State    [16]byte      // id of the state directory
	Boot     [16]byte      // boot id at that time
	Rate     uint32        // most readings per second of the last minute
	Slowest  time.Duration // slowest of the last commits, which fades by a sixteenth with each; the queue alone sets it
	Time     int64         // wall time of the commit, Unix milliseconds
	Lived    time.Duration // for how long machines have run with this state directory: age is counted by it, not by the clock
	Uptime   time.Duration // boot time of the commit, of Boot
}

// Drops are totals of Reads that a ring had no room for.
type Drops struct {
	Reads    uint64
	Readings uint64
}

// Encode returns the stored form of x.
func (x *Position) Encode() []byte {
	p := newPacker()
	p.text(string(x.Pair[:]))
	p.uint(x.Ring)
	p.uint(x.Input)
	for _, d := range []Drops{x.Drops1, x.Drops2} {
		p.uint(d.Reads)
		p.uint(d.Readings)
	}
	p.uint(uint64(x.Epoch))
	p.uint(x.Next)
	p.uint(x.LeaseEnd)
	p.text(string(x.State[:]))
	p.text(string(x.Boot[:]))
	p.uint(uint64(x.Rate))
	p.uint(uint64(x.Slowest))
	p.int(x.Time)
	p.uint(uint64(x.Lived))
	p.uint(uint64(x.Uptime))
	return p.seal()
}

// DecodePosition is the inverse of Position.Encode.
func DecodePosition(b []byte) (x Position, err error) {
	u := unseal("position", b)
	x.Pair = u.id()
	x.Ring, x.Input = u.uint(), u.uint()
	for _, d := range []*Drops{&x.Drops1, &x.Drops2} {
		d.Reads, d.Readings = u.uint(), u.uint()
	}
	x.Epoch = u.uint32()
	x.Next, x.LeaseEnd = u.uint(), u.uint()
	x.State, x.Boot = u.id(), u.id()
	x.Rate = u.uint32()
	x.Slowest = time.Duration(u.uint())
	x.Time = u.int()
	if len(u.b) > 0 { // else a version stored it that knew no age
		x.Lived, x.Uptime = time.Duration(u.uint()), time.Duration(u.uint())
	}
	return x, u.done()
}
