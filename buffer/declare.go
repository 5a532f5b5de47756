package buffer

import (
	"fmt"
	"slices"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

// Requests returns what the agent is asked to declare since the last call. Each is asked for once in the life of the process; what was
// not committed when it ends is asked for again when it is found again.
func (q *Queue) Requests() []Declaration {
	q.mu.Lock()
	var hurt []segment
	for name := range q.hurt {
		if s := q.segmentLocked(name); s != nil && !s.Dropping && !s.doomed {
			hurt = append(hurt, *s)
		}
	}
	clear(q.hurt)
	q.mu.Unlock()
	for i := range hurt {
		if err := q.askDamaged(&hurt[i]); err != nil {
			q.o.Log.Error("look for what is damaged", "err", err)
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	out := q.requests
	q.requests = nil
	return out
}

func (q *Queue) askDamaged(s *segment) error {
	losses := make([]loss, len(q.cursors))
	for i, c := range q.cursors {
		if i > 0 && len(s.Shares) == 0 {
			losses[i] = losses[0] // all is meant for all
			continue
		}
		var err error
		if losses[i], err = c.lossOf(s); err != nil {
			return err
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if live := q.segmentLocked(s.Segment); live == nil || live.Dropping {
		return nil // it was dropped while it was looked at
	}
	var asked []Declaration
	for i, c := range q.cursors {
		l := &losses[i]
		want := l.ranges.Clone()
		for _, not := range []tidegate.Ranges{c.done[s.stream()], c.hidden[s.Epoch]} {
			for _, r := range not {
				want.Remove(r)
			}
		}
		if len(want) == 0 {
			continue
		}
		d := Declaration{
			Uplink: c.name, Epoch: s.Epoch, Ranges: want, AtMost: l.Readings, Cause: tidegate.CauseDamaged, T0: s.T0, T1: s.T1,
		}
		if want.Len() == l.ranges.Len() {
			d.Count = l.Readings
		}
		c.hideLocked(s.Epoch, want)
		asked = append(asked, d)
	}
	q.askLocked(asked, false)
	return nil
}

// askLocked asks for the declarations, one of each cursor. Where all are the same one is enough, unless they are to be apart.
func (q *Queue) askLocked(list []Declaration, apart bool) {
	same := len(list) == len(q.cursors)
	for i := range list {
		same = same && slices.Equal(list[i].Ranges, list[0].Ranges) && list[i].Count == list[0].Count && !apart
	}
	if same && len(list) > 0 {
		list = list[:1]
		list[0].Uplink = ""
	}
	q.requests = append(q.requests, list...)
	q.noteMoved()
}

func (c *Cursor) hideLocked(e uint32, rs tidegate.Ranges) {
	hidden := c.hidden[e]
	hidden.AddAll(rs)
	c.hidden[e] = hidden
}

// askDrop asks for the declaration of what uplinks still want of s, which is to be dropped.
func (q *Queue) askDrop(s *segment, cause string) error {
	var asked []Declaration
	for _, c := range q.cursors {
		q.mu.Lock()
		want := s.without(c.done[s.stream()], c.hidden[s.Epoch], 0)
		if len(want) > 0 { // so that what is to be told lies between what is stored, and a gap is not cut at it
			want.AddAll(c.untoldLocked(s.Epoch, tidegate.Range{Last: s.Last()}, c.hidden[s.Epoch]))
		}
		q.mu.Unlock()
		if len(want) == 0 {
			continue
		}
		found, err := c.find(s.Epoch, want)
		if err != nil {
			return err
		}
		d := Declaration{
			Uplink: c.name, Epoch: s.Epoch, Ranges: want, Count: found[s.Class].Readings, AtMost: found[s.Class].Readings,
			Cause: cause, T0: s.T0, T1: s.T1, Segment: s.Segment,
		}
		asked = append(asked, d)
	}
	if len(asked) == 0 {
		return nil // acknowledged meanwhile: the next commit of the cursors makes it delivered
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if live := q.segmentLocked(s.Segment); live != nil {
		live.doomed = true
	}
	for i := range asked {
		for _, c := range q.cursors {
			if c.name == asked[i].Uplink {
				c.hideLocked(s.Epoch, asked[i].Ranges)
			}
		}
	}
	q.askLocked(asked, cause == tidegate.CauseThinned && len(s.Shares) > 0) // of each uplink's own records
	return nil
}

// Reject sets the records of r aside with the reason, and asks for their declaration (Requests). From now on this cursor does not show
// them; should the process end before the declaration is committed, it shows them again after the restart.
func (c *Cursor) Reject(epoch string, r tidegate.Range, why string) error {
	c.q.mu.Lock()
	e, ok := c.q.holderLocked(epoch, r.First)
	var fresh tidegate.Ranges
	if ok {
		fresh = tidegate.Ranges{r}
		for _, h := range c.hidden[e] {
			fresh.Remove(h)
		}
	}
	c.q.mu.Unlock()
	if !ok {
		return fmt.Errorf("reject records %d to %d: no epoch %q", r.First, r.Last, epoch)
	}
	found, err := c.find(e, fresh)
	if err != nil {
		return fmt.Errorf("reject records %d to %d: %w", r.First, r.Last, err)
	}
	d := Declaration{Uplink: c.name, Epoch: e, Cause: tidegate.CauseRejected, Why: why}
	for class := range found {
		d.Ranges.AddAll(found[class].ranges)
		d.Count += found[class].Readings
	}
	if len(d.Ranges) == 0 {
		return nil
	}
	d.AtMost = d.Count
	c.q.mu.Lock()
	defer c.q.mu.Unlock()
	c.hideLocked(e, d.Ranges)
	c.q.requests = append(c.q.requests, d)
	c.q.noteMoved()
	return nil
}

// holderLocked returns the epoch called id that number belongs to.
func (q *Queue) holderLocked(id string, number uint64) (e uint32, ok bool) {
	for _, x := range q.ordinalsLocked(id) {
		if q.epochs[x].Start <= number {
			e, ok = x, true
		}
	}
	return e, ok
}

// settleDeclared makes the numbers of d done for its uplinks, and counts what is held of them as rejected or declared. The
// second time for the same d it changes nothing.
func (q *Queue) settleDeclared(d *Declaration) error {
	if d.Cause == tidegate.CauseRequeued {
		return nil // it says what is not done: see again.go
	}
	if d.Cause == tidegate.CauseRejected {
		if err := q.setAside(d); err != nil {
			return err
		}
	}
	for _, c := range q.cursors {
		if d.Uplink != "" && d.Uplink != c.name {
			continue
		}
		into := &c.declared
		switch d.Cause {
		case tidegate.CauseRejected:
			into = &c.rejected
		case tidegate.CauseThinned:
			into = &c.thinned
		}
		if _, err := c.settle(d.Epoch, d.Ranges, into); err != nil {
			return err
		}
		q.mu.Lock()
		hidden := c.hidden[d.Epoch]
		for _, r := range d.Ranges {
			hidden.Remove(r)
		}
		c.hidden[d.Epoch] = hidden
		if class, ok := d.Unstored(); ok {
			c.settleUnstoredLocked(d, class)
		}
		c.unheardLocked(d)
		q.mu.Unlock()
	}
	return nil
}

// settleUnstoredLocked counts what never reached the queue: the numbers stand for whole Reads.
func (c *Cursor) settleUnstoredLocked(d *Declaration, class tidegate.Class) {
	st := stored.Stream{Class: class, Epoch: d.Epoch}
	done := c.done[st]
	var fresh tidegate.Ranges
	for _, r := range d.Ranges {
		fresh.AddAll(done.Missing(r))
	}
	if len(fresh) == 0 {
		return
	}
	if forUplinks(class) {
		c.declared[class].Add(Tally{Records: fresh.Len(), Readings: d.Count})
	}
	done.AddAll(fresh)
	c.done[st] = done
	c.changes++
}

// planDeclared adds to w what d does beside the cursors.
func (q *Queue) planDeclared(w *write, d *Declaration) {
	if d.Cause == tidegate.CauseRequeued {
		return
	}
	w.totals.Gaps++
	if class, ok := d.Unstored(); ok {
		w.totals.Produced[class].Add(Tally{Records: d.Ranges.Len(), Readings: d.Count})
	}
	if d.Segment == (stored.Segment{}) {
		return
	}
	s := q.segmentLocked(d.Segment)
	if s == nil {
		return
	}
	for _, c := range q.cursors {
		if len(s.without(c.done[s.stream()], nil, 0)) > 0 {
			return // another uplink's declaration is still to come
		}
	}
	next := *s
	next.Dropping, next.Closed = true, true
	w.touched[s.Segment] = &next
}
