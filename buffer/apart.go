package buffer

import (
	"fmt"
	"slices"
	"sync"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

// A record may be meant for one uplink only. Its number is shown to all, as each far side is to be told to skip it, but only for its own uplink does
// it count as buffered, delivered, rejected or declared; for the others it is routed.

// partition remembers what the last frames that are Apart hold for which uplink. It is safe for concurrent use.
type partition struct {
	mu   sync.Mutex
	list []cuts // the newest last
}

// keptCuts is how many frames partition remembers.
const keptCuts = 8

// cuts is what one frame holds, record by record.
type cuts struct {
	class       tidegate.Class
	epoch       uint32
	first, last uint64
	uplinks     []string
	records     []cut
}

// A cut is one record: its uplink, by place in cuts.uplinks, and its readings.
type cut struct{ uplink, readings uint16 }

// cuts returns what f, which is Apart, holds.
func (q *Queue) cuts(f *Frame) (cuts, error) {
	p := &q.apart
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.list {
		if x := &p.list[i]; x.epoch == f.Epoch && x.first == f.First && x.last == f.Last && x.class == f.Class {
			return *x, nil
		}
	}
	x := cuts{class: f.Class, epoch: f.Epoch, first: f.First, last: f.Last}
	err := q.o.Each(f.Body, func(uplink string, readings int) {
		at := slices.Index(x.uplinks, uplink)
		if at < 0 {
			at = len(x.uplinks)
			x.uplinks = append(x.uplinks, uplink)
		}
		x.records = append(x.records, cut{uint16(at), uint16(readings)})
	})
	if n := uint64(len(x.records)); err == nil && n != f.Records() {
		err = fmt.Errorf("got %d records, want %d", n, f.Records())
	}
	if err != nil {
		return x, err
	}
	if len(p.list) == keptCuts {
		p.list = slices.Delete(p.list, 0, 1)
	}
	p.list = append(p.list, x)
	return x, nil
}

// mine returns whether a record is meant for the uplink.
func (x *cuts) mine(c cut, uplink string) bool {
	name := x.uplinks[c.uplink]
	return name == "" || name == uplink
}

// shareOut says in f how much of it is meant for which uplink only, where it is not said yet.
func (q *Queue) shareOut(f *Frame) {
	if !f.Apart || f.Shares != nil {
		return
	}
	list, err := q.cuts(f)
	if err != nil { // the agent has just encoded it: a fault of ours
		q.o.Log.Error("count what is meant for one uplink", "first", f.First, "last", f.Last, "err", err)
		return
	}
	var sums stored.Index
	for _, c := range list.records {
		if name := list.uplinks[c.uplink]; name != "" {
			sums.AddShare(name, Tally{Records: 1, Readings: uint64(c.readings)})
		}
	}
	f.Shares = sums.Shares
}

// count returns how much of the records r, all of f, is meant for the uplink.
func (q *Queue) count(f *Frame, r tidegate.Range, uplink string) (t Tally, err error) {
	whole := r.Len() == f.Records()
	switch {
	case whole && (!f.Apart || f.Shares != nil):
		x := stored.Index{Records: r.Len(), Readings: uint64(f.Count), Shares: f.Shares}
		return x.Mine(uplink), nil
	case f.Apart:
		x, err := q.cuts(f)
		if err != nil {
			return t, err
		}
		for _, c := range x.records[r.First-f.First : r.Last-f.First+1] {
			if x.mine(c, uplink) {
				t.Add(Tally{Records: 1, Readings: uint64(c.readings)})
			}
		}
		return t, nil
	}
	n, err := q.o.Count(f.Body, int(r.First-f.First), int(r.Len()))
	return Tally{Records: r.Len(), Readings: uint64(n)}, err
}

// away returns how much of f is meant for another uplink only.
func (c *Cursor) away(f *Frame) (t Tally) {
	for _, s := range f.Shares {
		if s.Uplink != c.name {
			t.Add(s.Tally)
		}
	}
	return t
}

// share adds what f holds for single uplinks to x, the index of its segment, and to w for the accounts of the others.
func (q *Queue) share(w *write, f *Frame, x stored.Index) stored.Index {
	x.Shares = slices.Clone(x.Shares)
	for _, s := range f.Shares {
		x.AddShare(s.Uplink, s.Tally)
	}
	for _, c := range q.cursors {
		away := w.away[c.name]
		away[f.Class].Add(c.away(f))
		w.away[c.name] = away
	}
	return x
}

// routedLocked returns what is meant for others, of all that is committed or in memory.
func (c *Cursor) routedLocked() Tallies {
	out := c.routed
	for class := range c.q.tails {
		t := &c.q.tails[class]
		for i := range t.frames {
			if f := &t.frames[i]; !t.isCommitted(f) {
				out[class].Add(c.away(f))
			}
		}
	}
	return out
}

// orphaned returns how much is stored that was meant only for the uplink called name, which is no more, of what was not done.
func (q *Queue) orphaned(name string, done map[stored.Stream]tidegate.Ranges) (t Tally, err error) {
	its := &Cursor{q: q, name: name, done: done}
	everyones := &Cursor{q: q, done: done}
	for _, c := range [...]*Cursor{its, everyones} {
		if err := c.countBuffered(); err != nil {
			return t, err
		}
	}
	t = its.buffered.Device()
	t.Sub(everyones.buffered.Device())
	return t, nil
}
