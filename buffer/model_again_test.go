package buffer

import (
	"errors"
	"maps"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

// What goes again, in the model: records that were set aside are owed again, and not shown until the far side has all records of class audit that
// were committed together with what was to be told of them.

// modelTold is what the far side is to have before it knows of what goes again; nil = what tells it is not committed.
type modelTold map[id]bool

// secret reports whether i goes again and the far side does not know.
func (u *modelUplink) secret(i id) bool {
	until, goes := u.again[i]
	if !goes || until == nil {
		return goes
	}
	for x := range *until {
		if u.fate[x] == waits {
			return true
		}
	}
	return false
}

// unheard notes that the far side will not get i: what it was to tell is told by another record.
func (u *modelUplink) unheard(i id) {
	for x, until := range u.again {
		if until != nil && (*until)[i] && u.fate[x] == waits {
			u.again[x] = nil
		}
	}
}

// idsOf returns the ids of the ranges.
func idsOf(epoch uint32, rs tidegate.Ranges) (out []id) {
	for _, r := range rs {
		for n := r.First; n <= r.Last; n++ {
			out = append(out, id{epoch, n})
		}
	}
	return out
}

// requeue makes a random range of what is set aside for the uplink go again.
func (m *model) requeue(t *rapid.T, name string) {
	u := m.uplinks[name]
	r := tidegate.Range{First: 1, Last: 1<<63 - 1}
	if rapid.Bool().Draw(t, "some") {
		r.First = m.startOf(m.epoch) + uint64(rapid.IntRange(0, 300).Draw(t, "from"))
		r.Last = r.First + uint64(rapid.IntRange(0, 100).Draw(t, "length"))
	}
	x := &Requeue{Uplink: name, Range: r}
	more, err := true, error(nil)
	for more && err == nil {
		more, err = m.q.Requeue(x)
	}
	if err != nil && !errors.Is(err, ErrBusy) {
		t.Fatalf("requeue: %v", err)
	}
	rest := m.shelved(name)
	var want Tally
	some := false // something was written: also where all of it is meant for another uplink
	for i := range u.shelf {
		if i.number < r.First || i.number > r.Last || err != nil && rest[i] {
			continue // before a segment that is about to be dropped some has gone
		}
		if rec := m.records[i]; rec.mine(name) {
			want.Add(Tally{Records: 1, Readings: uint64(rec.readings)})
		}
		some = true
		delete(u.shelf, i)
		u.fate[i] = waits
		u.again[i] = nil
	}
	if x.Done != want || len(x.Stay) > 0 {
		t.Fatalf("requeued %v of %v, want %v; stays: %v", x.Done, r, want, x.Stay)
	}
	if some { // with it all that was acknowledged
		m.save()
	}
	m.asked = append(m.asked, m.ask()...)
}

// shelved returns what is set aside for the uplink.
func (m *model) shelved(name string) map[id]bool {
	out := map[id]bool{}
	err := m.q.Aside(func(a stored.Aside) error {
		if a.Uplink == name {
			for _, i := range idsOf(a.Epoch, tidegate.Ranges{{First: a.First, Last: a.Last}}) {
				out[i] = true
			}
		}
		return nil
	})
	if err != nil {
		m.t.Fatalf("read what is set aside: %v", err)
	}
	return out
}

// save notes what is on disk.
func (m *model) save() {
	p := m.q.Position()
	pos := Place{p.Epoch, p.Next}
	for _, u := range m.uplinks {
		clear(u.saved)
		u.kept = maps.Clone(u.again)
		for i, f := range u.fate {
			if (Place{i.epoch, i.number}).Before(pos) {
				u.saved[i] = f
			}
		}
	}
}

// askAgain checks what is to be told.
func (m *model) askAgain(d *Declaration) {
	u := m.uplinks[d.Uplink]
	readings := uint64(0)
	for _, i := range idsOf(d.Epoch, d.Ranges) {
		if until, goes := u.again[i]; !goes || until != nil {
			m.t.Fatalf("to be told of %v, which does not go again, or is told of", i)
		}
		if r := m.records[i]; r.mine(d.Uplink) {
			readings += uint64(r.readings)
		}
	}
	if d.Count != readings || len(d.Ranges) > portion {
		m.t.Fatalf("to be told of %d readings in %d runs, want %d", d.Count, len(d.Ranges), readings)
	}
}

// tell makes the record that tells, where d is to be told.
func (m *model) tell(c *Commit) {
	for i := range c.Declared {
		if c.Declared[i].Cause != tidegate.CauseRequeued {
			continue
		}
		f := Frame{Epoch: m.epoch, Class: tidegate.ClassAudit, First: m.next, Last: m.next, Count: 1, T0: m.at, T1: m.at, Body: []byte{1}}
		m.records[id{m.epoch, m.next}] = &modelRecord{id: id{m.epoch, m.next}, class: f.Class, readings: 1}
		m.next++
		m.put = append(m.put, f)
		c.Frames = append(c.Frames, f)
		c.Position.Epoch, c.Position.Next = f.Epoch, f.Last+1
		return
	}
}

// onItsWay notes what the commit tells.
func (m *model) onItsWay(c *Commit) {
	until := modelTold{}
	top := uint32(0)
	for i := range c.Frames {
		if f := &c.Frames[i]; f.Class == tidegate.ClassAudit && f.Epoch >= top {
			if f.Epoch > top {
				clear(until)
				top = f.Epoch
			}
			for _, i := range idsOf(f.Epoch, tidegate.Ranges{{First: f.First, Last: f.Last}}) {
				until[i] = true
			}
		}
	}
	for i := range c.Declared {
		if d := &c.Declared[i]; d.Cause == tidegate.CauseRequeued {
			for _, i := range idsOf(d.Epoch, d.Ranges) {
				m.uplinks[d.Uplink].again[i] = &until
			}
		}
	}
}
