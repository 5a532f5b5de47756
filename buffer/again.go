package buffer

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

// What was set aside can go to its uplink again, under the numbers it has. One transaction takes it off the shelf, makes its numbers not done for
// this uplink, brings back the frames of what no segment holds any more, and notes that the far side is to be told: it counts the numbers as
// declared, so its receipts cover them. Until it has acknowledged the record that takes the gap back, the cursor does not show them, and no
// receipt settles them. At most portion runs are on their way so at a time, as a receipt names 64 holes.

const (
	// portion is how many runs of numbers the far side is told of at a time.
	portion = 32
	// mostBack and mostBackBytes bound what one transaction brings back.
	mostBack      = 64
	mostBackBytes = 100 << 10
)

// ErrBusy is wrapped by the error of Requeue where what is asked for lies in a segment that is about to be dropped, or so much goes again
// already to an uplink that does not know yet that nothing else would make room for what is new.
var ErrBusy = errors.New("try again in a moment")

// An again is what goes to an uplink again.
type again struct {
	stored.Again
	asked bool            // to be told of
	left  tidegate.Ranges // of Until: what is not acknowledged
	told  bool            // the far side knows
}

// onWay is what a transaction does with an again: the record that tells of it is in it.
type onWay struct {
	c     *Cursor
	again stored.Again
}

// without returns list without what s brings back: it went again before, and was refused once more.
func (s *shelf) without(list []again) (out []again) {
	for _, a := range list {
		if a.Class == s.Class && a.Epoch == s.Epoch && len(a.Ranges.Within(s.part)) > 0 {
			a.Ranges = a.Ranges.Clone()
			a.Ranges.Remove(s.part)
			a.asked = a.asked && len(a.Until) > 0 // what was asked for is not this any more
		}
		if len(a.Ranges) > 0 {
			out = append(out, a)
		}
	}
	return out
}

// join adds what s brings back to list: to its last part, where that is not on its way and has room.
func (q *Queue) join(list []again, s *shelf) []again {
	if n := len(list) - 1; n >= 0 {
		a := &list[n]
		if a.Class == s.Class && a.Epoch == s.Epoch && !a.asked && len(a.Until) == 0 && len(a.Ranges) < portion {
			a.Ranges = a.Ranges.Clone()
			a.Ranges.Add(s.part)
			a.Count += s.Readings
			return list
		}
	}
	return append(list, again{Again: stored.Again{Class: s.Class, Epoch: s.Epoch, Ranges: tidegate.Ranges{s.part}, Count: s.Readings}})
}

func encodeAgain(list []again) []byte {
	out := make([]stored.Again, len(list))
	for i := range list {
		out[i] = list[i].Again
	}
	return stored.EncodeAgain(out)
}

// mergeLocked takes over after, which a transaction has written, from where its own list ended when that was planned.
func (c *Cursor) mergeLocked(after []again) {
	for _, a := range after {
		rest, on := a.Ranges.Clone(), -1
		for n := range c.again {
			if x := &c.again[n]; x.Class == a.Class && x.Epoch == a.Epoch {
				for _, r := range x.Ranges {
					if len(rest.Within(r)) > 0 {
						on = n
					}
				}
				for _, r := range x.Ranges {
					rest.Remove(r)
				}
			}
		}
		switch {
		case len(rest) == 0:
		case on >= 0 && !c.again[on].asked && len(c.again[on].Until) == 0:
			c.again[on].Again = a.Again
		case on >= 0: // it was asked for meanwhile
			a.Count -= min(a.Count, c.again[on].Count)
			fallthrough
		case !a.asked && len(a.Until) == 0:
			a.Ranges, a.asked, a.Until, a.left, a.told = rest, false, nil, nil, false
			c.again = append(c.again, a)
			c.againChanges++
		}
	}
}

// tellNextLocked asks to tell the far side of the next part of what goes again, once it has all of the one before, or that is rejected once more.
func (c *Cursor) tellNextLocked() {
	for len(c.again) > 0 {
		a := &c.again[0]
		done := c.done[stored.Stream{Class: a.Class, Epoch: a.Epoch}]
		if !slices.ContainsFunc(a.Ranges, func(r tidegate.Range) bool { return !done.Covers(r) }) {
			c.again = slices.Clone(c.again[1:])
			c.againChanges++
			c.changes++ // so that it is committed
			continue
		}
		if len(a.Until) == 0 && !a.asked {
			a.asked = true
			c.q.requests = append(c.q.requests, Declaration{
				Uplink: c.name, Epoch: a.Epoch, Ranges: a.Ranges.Clone(), Count: a.Count, AtMost: a.Count, Cause: tidegate.CauseRequeued,
			})
			c.q.noteMoved()
		}
		return
	}
}

// planAgainLocked adds to w what c does with what goes again: the records that tell of it are in it.
func (q *Queue) planAgainLocked(w *write, c *Commit) {
	w.again = map[*Cursor]uint64{}
	for _, cur := range q.cursors {
		list := slices.Clone(cur.again)
		changed := cur.againChanges != cur.againSaved
		for i := range c.Declared {
			d := &c.Declared[i]
			n := slices.IndexFunc(list, func(a again) bool { return a.Epoch == d.Epoch && slices.Equal(a.Ranges, d.Ranges) })
			if d.Cause != tidegate.CauseRequeued || d.Uplink != cur.name || n < 0 {
				continue
			}
			a := &list[n].Again
			a.In, a.Until = 0, nil
			for j := range c.Frames {
				if f := &c.Frames[j]; f.Class == tidegate.ClassAudit && f.Epoch >= a.In {
					if f.Epoch > a.In {
						a.In, a.Until = f.Epoch, nil
					}
					a.Until.Add(tidegate.Range{First: f.First, Last: f.Last})
				}
			}
			w.onWay = append(w.onWay, onWay{cur, *a})
			changed = true
		}
		if !changed {
			continue
		}
		w.again[cur] = cur.againChanges
		if key := stored.MetaKey(stored.MetaAgain, cur.name); len(list) == 0 {
			w.del = append(w.del, key)
		} else {
			w.put(key, encodeAgain(list))
		}
	}
}

func (q *Queue) applyAgainLocked(w *write) {
	for cur, changes := range w.again {
		cur.againSaved = changes
	}
	for i := range w.onWay {
		x := &w.onWay[i]
		for j := range x.c.again {
			if a := &x.c.again[j]; a.Epoch == x.again.Epoch && slices.Equal(a.Ranges, x.again.Ranges) {
				a.In, a.Until, a.left = x.again.In, x.again.Until, x.again.Until.Clone()
			}
		}
	}
}

// trusted returns rs without what the far side counts as declared as far as it knows: a receipt for that means nothing.
func (c *Cursor) trusted(e uint32, rs tidegate.Ranges) tidegate.Ranges {
	c.q.mu.Lock()
	defer c.q.mu.Unlock()
	cloned := false
	for i := range c.again {
		if a := &c.again[i]; a.Epoch == e && !a.told {
			if !cloned {
				rs, cloned = rs.Clone(), true
			}
			for _, r := range a.Ranges {
				rs.Remove(r)
			}
		}
	}
	return rs
}

// heard notes that the far side has the records rs: where it knows now what goes again, the cursor shows that.
func (c *Cursor) heard(e uint32, rs tidegate.Ranges) {
	c.q.mu.Lock()
	defer c.q.mu.Unlock()
	for i := range c.again {
		a := &c.again[i]
		if a.told || len(a.Until) == 0 || a.In != e {
			continue
		}
		for _, r := range rs {
			a.left.Remove(r)
		}
		if len(a.left) == 0 {
			c.showLocked(a)
		}
	}
}

// showLocked shows what goes again.
func (c *Cursor) showLocked(a *again) {
	a.told = true
	hidden := c.hidden[a.Epoch]
	for _, r := range a.Ranges {
		hidden.Remove(r)
	}
	c.hidden[a.Epoch] = hidden
	if p := (Place{a.Epoch, a.Ranges[0].First}); c.returned == nil || p.Before(*c.returned) {
		c.returned = &p
	}
	c.q.wakeLocked()
}

// unheardLocked notes that the far side will not get the records of d: where they were to tell of what goes again, it is told by others.
func (c *Cursor) unheardLocked(d *Declaration) {
	for i := range c.again {
		if a := &c.again[i]; !a.told && a.In == d.Epoch && len(intersection(a.left, d.Ranges)) > 0 {
			a.Until, a.left, a.asked = nil, nil, false
			c.againChanges++
		}
	}
	c.tellNextLocked()
}

// awaitedLocked reports whether something of s goes again to an uplink that does not know yet: only then can it be declared.
func (q *Queue) awaitedLocked(s *segment) bool {
	for _, c := range q.cursors {
		if len(s.held(c.hidden[s.Epoch])) == 0 {
			continue
		}
		for i := range c.again {
			if a := &c.again[i]; !a.told && a.Class == s.Class && a.Epoch == s.Epoch && len(s.held(a.Ranges)) > 0 {
				return true
			}
		}
	}
	return false
}

// waiting is what of the buffer is held by what goes again to c, which does not know yet.
type waiting struct {
	c    *Cursor
	in   map[stored.Segment]bool
	held int64
}

func (c *Cursor) waiting() *waiting {
	w := &waiting{c: c, in: map[stored.Segment]bool{}}
	c.q.mu.Lock()
	defer c.q.mu.Unlock()
	for class := range c.q.segments {
		for _, x := range c.q.segments[class] {
			if len(c.again) > 0 && c.q.awaitedLocked(x) {
				w.in[x.Segment] = true
				w.held += x.kept()
			}
		}
	}
	return w
}

// add adds s, but not beyond half of the buffer: the other half makes room for what is new.
func (w *waiting) add(s *shelf) error {
	q, more := w.c.q, int64(0)
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, x := range q.segments[s.Class] {
		if x.Epoch == s.Epoch && !w.in[x.Segment] && len(x.Runs.Within(s.part)) > 0 {
			w.in[x.Segment] = true
			more += x.kept()
		}
	}
	if w.held > 0 && more > 0 && w.held+more > q.budget()/2 {
		return fmt.Errorf("%d bytes are held by what goes again and %s does not know of yet, at most %d: %w", w.held, w.c.name, q.budget()/2, ErrBusy)
	}
	w.held += more
	return nil
}

// Returned returns from where on records have come back that lie before others which the cursor has shown already, since the last call:
// whoever looked beyond looks again from there.
func (c *Cursor) Returned() (p Place, ok bool) {
	c.q.mu.Lock()
	defer c.q.mu.Unlock()
	if c.returned == nil {
		return p, false
	}
	p, c.returned = *c.returned, nil
	return p, true
}

// loadAside reads what is set aside, and what goes again. What was set aside by a process that ended before it could declare it is still owed:
// it is not set aside.
func (q *Queue) loadAside() error {
	var stale [][]byte
	err := q.eachAside("", func(a stored.Aside, size int64) error {
		c, err := q.Cursor(a.Uplink)
		if err == nil && c.owes(&a) {
			stale = append(stale, stored.RejectedKey(a.Uplink, a.Epoch, a.First))
			q.tookAside(size, 1) // keys.go has counted all
			return nil
		}
		q.shelved[a.Epoch] = true
		return nil
	})
	if err != nil {
		return err
	}
	for ; len(stale) > 0; stale = stale[min(len(stale), asidePairs):] {
		if err := q.beside(nil, stale[:min(len(stale), asidePairs)]); err != nil {
			return fmt.Errorf("forget what was not set aside after all: %w", err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(q.toGo)) {
		c, err := q.Cursor(name)
		if err != nil {
			q.unmark = append(q.unmark, stored.MetaKey(stored.MetaAgain, name))
			continue
		}
		c.loadAgain(q.toGo[name])
	}
	q.toGo = nil
	return nil
}

// tookAside counts that n runs of records less are set aside, which took size bytes. Those that are sealed with another key are counted anew.
func (q *Queue) tookAside(size int64, n int) {
	q.aside -= size
	to := q.keys.To()
	q.asideBy[to] = max(0, q.asideBy[to]-n)
}

// owes reports whether a was not declared: the uplink waits for its records, or they are not committed.
func (c *Cursor) owes(a *stored.Aside) bool {
	if len(c.done[stored.Stream{Class: a.Class, Epoch: a.Epoch}].Within(tidegate.Range{First: a.First, Last: a.Last})) > 0 {
		return false
	}
	return c.q.position.Epoch > 0 && a.First >= c.q.committedLocked(a.Epoch) || slices.ContainsFunc(c.q.segments[a.Class], func(s *segment) bool {
		return s.Epoch == a.Epoch && !s.Dropping && s.Runs.Contains(a.First)
	})
}

func (c *Cursor) loadAgain(list []stored.Again) {
	for i := range list {
		a := again{Again: list[i]}
		if _, known := c.q.epochs[a.Epoch]; !known || len(a.Ranges) == 0 {
			c.againChanges++
			continue
		}
		done := c.done[stored.Stream{Class: tidegate.ClassAudit, Epoch: a.In}]
		for _, r := range a.Until {
			a.left.AddAll(done.Missing(r))
		}
		if _, known := c.q.epochs[a.In]; !known {
			a.left = nil
		}
		if a.told = len(a.Until) > 0 && len(a.left) == 0; !a.told {
			c.hideLocked(a.Epoch, a.Ranges)
		}
		c.again = append(c.again, a)
	}
	c.tellNextLocked()
}
