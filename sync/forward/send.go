package forward

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/forward/pack"
	"github.com/tidegate-io/tidegate/sync/wire"
)

// send hands over the next batch of l. It returns true when something moved: a batch went, or a record was set aside.
func (c *conn) send(ctx context.Context, l *lane, alone bool) (bool, error) {
	f := c.f
	if err := l.decode(f.o.Readings); err != nil {
		return false, err
	}
	if len(l.recs) == 0 {
		return true, nil // frames that could not be decoded were set aside
	}
	bound := len(l.recs)
	if c.first && f.first > 0 {
		bound = min(bound, f.first)
	}
	bound = f.poison.bound(l.place(), l.bound(bound))
	limit := min(f.o.MaxPayload, c.win.Batch())
	n := f.pack.Fits(l.recs[:bound], f.o.Readings, limit)
	pl, n, err := f.pack.Pack(l.name, l.recs, l.aside, n, limit)
	if errors.Is(err, pack.ErrUnsendable) {
		return true, c.setAside(l, err)
	}
	if err != nil {
		return false, err
	}
	last := l.recs[n-1].Number
	g := &group{parts: len(pl.Parts), records: uint64(n), count: pl.Count}
	for i, part := range pl.Parts {
		err := c.hand(ctx, l, pl, part, n, last, g)
		switch {
		case errors.Is(err, ErrRefused) && n > 1:
			l.refused(n)
			return true, nil
		case errors.Is(err, ErrRefused):
			g.dead = i > 0
			return true, c.setAside(l, err)
		case err != nil:
			return false, fmt.Errorf("send batch of records %d to %d: %w", l.recs[0].Number, last, err)
		}
	}
	c.took(l, pl, n, alone)
	return true, nil
}

// hand gives one payload to the uplink.
func (c *conn) hand(ctx context.Context, l *lane, pl *pack.Payload, part []byte, n int, last uint64, g *group) error {
	at, size := time.Now(), len(part) // the payload is the uplink's from Send on
	b := Batch{ID: c.id + 1, Lane: l.lane, Epoch: l.name, Records: pl.Numbers.Clone(), Count: pl.Count, Payload: part}
	err := c.up.Send(ctx, b)
	if errors.Is(err, ErrRefused) {
		return err
	}
	c.id++ // an error may have come after the batch was on its way
	if c.win.Unacked() == 0 {
		c.progress = at
	}
	c.flights = append(c.flights, &flight{
		id: b.ID, group: g, lane: l.lane, place: l.place(), last: last, epoch: l.name, rest: pl.Numbers.Clone(),
		records: n, bytes: size, mark: c.win.Sent(size), at: at,
	})
	return err
}

// took notes that the first n records of l are on their way.
func (c *conn) took(l *lane, pl *pack.Payload, n int, alone bool) {
	f, size := c.f, pl.Size()
	rangesOf(c.air, l.epoch).AddAll(pl.Numbers)
	before, again := rangesOf(f.unsure, l.epoch), uint64(0)
	for _, r := range pl.Numbers {
		again += before.Within(r).Len()
	}
	before.AddAll(pl.Numbers)
	if len(*before) > maxUnsure { // only the count of what is sent again suffers
		*before = (*before)[maxUnsure/2:]
	}
	f.share.Sent(l.lane, size, alone)
	l.told(pl.Numbers)
	l.took(n)
	oldest := c.flights[0].at
	f.stats.update(func(s *Stats) {
		s.Sent.add(Counts{Batches: uint64(len(pl.Parts)), Records: uint64(n), Readings: uint64(pl.Count), Bytes: uint64(size)})
		s.Resent += again
		s.Skipped += pl.Skipped
		s.InFlight, s.OldestUnacked = len(c.flights), oldest
	})
}

func rangesOf(m map[uint32]*tidegate.Ranges, epoch uint32) *tidegate.Ranges {
	rs := m[epoch]
	if rs == nil {
		rs = &tidegate.Ranges{}
		m[epoch] = rs
	}
	return rs
}

// setAside rejects the first record of l for the reason err.
func (c *conn) setAside(l *lane, err error) error {
	n := l.recs[0].Number
	c.f.o.Log.Error("record is set aside", "uplink", c.f.o.Name, "epoch", l.name, "record", n, "cause", err)
	if err := c.f.reject(l.epoch, l.name, tidegate.Range{First: n, Last: n}, err.Error()); err != nil {
		return err
	}
	l.took(1)
	return nil
}

// reject sets r aside for good.
func (f *Forwarder) reject(epoch uint32, name string, r tidegate.Range, why string) error {
	if err := f.o.Source.Reject(name, r, why); err != nil {
		return halt("set records aside", err)
	}
	if rs := f.unsure[epoch]; rs != nil {
		rs.Remove(r)
	}
	f.stats.update(func(s *Stats) { s.Refused += r.Len() })
	return nil
}

// settle takes what came back.
func (c *conn) settle(cs []Confirmation) error {
	now := time.Now()
	done := map[string]*tidegate.Ranges{}
	for _, cf := range cs {
		var err error
		if cf.Batch != 0 {
			err = c.acknowledged(cf.Batch, now, done)
		} else {
			err = c.received(cf, done)
		}
		if err != nil {
			return err
		}
	}
	for name, rs := range done {
		if err := c.f.o.Source.Ack(name, *rs); err != nil {
			return halt("settle records", err)
		}
	}
	c.note()
	return nil
}

// note brings the figures up to date.
func (c *conn) note() {
	var oldest time.Time
	if len(c.flights) > 0 {
		oldest = c.flights[0].at
	}
	c.f.stats.update(func(s *Stats) {
		s.InFlight, s.OldestUnacked, s.BytesPerS = len(c.flights), oldest, c.win.Rate()
	})
}

// acknowledged takes note that the next hop has a batch. Identifiers that are not in flight mean nothing.
func (c *conn) acknowledged(id uint64, now time.Time, done map[string]*tidegate.Ranges) error {
	for i, fl := range c.flights {
		if fl.id != id || fl.acked {
			continue
		}
		fl.acked, fl.ackedAt = true, now
		c.first, c.f.first = false, 0
		c.progress = now
		c.win.Acknowledged(fl.bytes, fl.mark, fl.at, now)
		fl.group.parts--
		if fl.group.dead || !c.f.o.Receipts || len(fl.rest) == 0 {
			c.flights = append(c.flights[:i], c.flights[i+1:]...)
			c.win.Settled(fl.bytes)
			if fl.group.parts == 0 && !fl.group.dead {
				c.done(fl, fl.rest, done)
				c.credit(fl)
			}
		}
		c.waive(fl)
		return c.cleared(fl, false)
	}
	return nil
}

// waive gives back the room in the window of a batch that the next hop has and no receipt can speak of yet: a receipt names 64
// holes and ends before the next one, and holes are filled by what is still to be sent.
func (c *conn) waive(fl *flight) {
	if fl.beyond && fl.acked && !fl.waived && len(fl.rest) > 0 {
		fl.waived = true
		c.win.Settled(fl.bytes)
	}
}

// cleared takes note that the connection survived fl, or that there is a receipt for it.
func (c *conn) cleared(fl *flight, receipt bool) error {
	tried := c.f.poison.trying
	bad := c.f.poison.confirmed(fl, receipt)
	if bad != nil {
		c.f.o.Log.Error("record is set aside", "uplink", c.f.o.Name, "epoch", bad.name, "record", bad.first.Number, "cause", bad.reason())
		return c.f.reject(bad.first.Epoch, bad.name, tidegate.Range{First: bad.first.Number, Last: bad.last}, bad.reason())
	}
	if c.f.poison.trying && !tried {
		c.f.comeBack(c.f.poison.lone)
		c.dirty, c.lookAt = true, time.Time{}
	}
	return nil
}

// received takes a receipt of the far side.
func (c *conn) received(r Confirmation, done map[string]*tidegate.Ranges) error {
	if r.Missing {
		return nil
	}
	f := c.f
	if f.o.Given != nil {
		highest, known := f.o.Given(r.Epoch)
		if !known {
			return nil // of an epoch that this gateway does not have (any more)
		}
		if r.Upto > highest {
			if f.o.Beyond != nil {
				f.o.Beyond(r.Epoch, r.Upto)
			}
			return halt(fmt.Sprintf("receipt up to record %d of epoch %s, given at most %d", r.Upto, r.Epoch, highest), ErrBeyond)
		}
	}
	c.spoken[r.Epoch] = true
	if !f.o.Receipts || r.Upto == 0 {
		return nil
	}
	has := tidegate.Ranges{{First: 1, Last: r.Upto}}
	for _, h := range r.Holes {
		has.Remove(h)
	}
	if rs := done[r.Epoch]; rs != nil {
		rs.AddAll(has)
	} else {
		done[r.Epoch] = &has
	}
	full, now := len(r.Holes) == wire.MaxHoles, time.Now()
	f.poison.settled(r.Epoch, has)
	keep := c.flights[:0]
	var through []*flight
	for _, fl := range c.flights {
		if fl.epoch == r.Epoch {
			if c.shrink(fl, has) {
				through = append(through, fl)
				continue
			}
			was := fl.beyond
			if fl.beyond = full && len(fl.rest) > 0 && fl.rest[0].First > r.Upto; was && !fl.beyond {
				fl.ackedAt = now // from now on a receipt can speak of it
			}
			c.waive(fl)
		}
		keep = append(keep, fl)
	}
	clear(c.flights[len(keep):])
	c.flights = keep
	for _, fl := range through {
		c.answered = max(c.answered, fl.id)
		if err := c.cleared(fl, true); err != nil {
			return err
		}
	}
	return nil
}

// shrink takes what the far side has out of fl; it returns true when nothing is left and fl is settled.
func (c *conn) shrink(fl *flight, has tidegate.Ranges) bool {
	var got tidegate.Ranges
	for _, r := range fl.rest {
		got.AddAll(has.Within(r))
	}
	for _, r := range got {
		fl.rest.Remove(r)
	}
	c.forget(fl.place.Epoch, got)
	if len(fl.rest) > 0 || !fl.acked {
		return false
	}
	if !fl.waived {
		c.win.Settled(fl.bytes)
	}
	c.credit(fl)
	return true
}

// done adds rs, which fl carried, to what the source is to be told.
func (c *conn) done(fl *flight, rs tidegate.Ranges, done map[string]*tidegate.Ranges) {
	if have := done[fl.epoch]; have != nil {
		have.AddAll(rs)
	} else {
		rs := rs.Clone()
		done[fl.epoch] = &rs
	}
	c.forget(fl.place.Epoch, rs)
}

// forget takes rs out of what is on its way.
func (c *conn) forget(epoch uint32, rs tidegate.Ranges) {
	for _, m := range []map[uint32]*tidegate.Ranges{c.air, c.f.unsure} {
		if have := m[epoch]; have != nil {
			for _, r := range rs {
				have.Remove(r)
			}
		}
	}
}

// credit counts fl as confirmed; the parts of a record count once.
func (c *conn) credit(fl *flight) {
	c.served = true
	counts := Counts{Batches: 1, Bytes: uint64(fl.bytes), Records: fl.group.records, Readings: uint64(fl.group.count)}
	fl.group.records, fl.group.count = 0, 0
	c.f.stats.update(func(s *Stats) { s.Confirmed.add(counts) })
}
