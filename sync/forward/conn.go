package forward

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/sync/forward/pace"
)

// errAckTimeout ends a connection on which nothing came back for too long.
var errAckTimeout = errors.New("the far side does not answer")

// errNoReceipt ends a connection on which a batch that was acknowledged got no receipt for too long.
var errNoReceipt = fmt.Errorf("%w: no receipt", errAckTimeout)

// flight is a batch that was handed over and is not settled.
type flight struct {
	id      uint64
	group   *group
	lane    Lane
	place   buffer.Place // of its first record
	last    uint64       // number of its last record
	epoch   string
	rest    tidegate.Ranges // what of it is not settled
	records int
	bytes   int
	mark    int64     // of the window
	at      time.Time // when it was handed over
	acked   bool      // the next hop has it
	ackedAt time.Time
	beyond  bool // all of rest lies behind what the newest receipt can speak of
	waived  bool // it takes no room in the window any more
}

// group ties together the parts of one record, which count only when all are there.
type group struct {
	parts   int    // that are not acknowledged
	records uint64 // to be counted when the far side has them
	count   int    // readings, likewise
	dead    bool   // the record was set aside after some parts were handed over
}

// conn is the life of one connection.
type conn struct {
	f        *Forwarder
	up       Uplink
	id       uint64
	flights  []*flight // in the order of sending
	air      map[uint32]*tidegate.Ranges
	win      pace.Window
	progress time.Time       // when something came back, or began to be awaited
	dirty    bool            // the queue may have something new
	lookAt   time.Time       // not to be looked at again before
	first    bool            // nothing was acknowledged yet
	served   bool            // something was settled
	quiet    bool            // something could go, but for what is in flight and must be alone
	answered uint64          // the last batch that got a receipt
	spoken   map[string]bool // epochs of which a receipt came
}

func newConn(f *Forwarder, up Uplink) *conn {
	c := &conn{f: f, up: up, air: map[uint32]*tidegate.Ranges{}, spoken: map[string]bool{}, first: true}
	c.win = pace.NewWindow(time.Now(), f.probes, f.rate)
	for _, l := range f.lanes {
		l.more = true
	}
	return c
}

// flying returns the numbers of an epoch that are on their way.
func (c *conn) flying(epoch uint32) tidegate.Ranges {
	if rs := c.air[epoch]; rs != nil {
		return *rs
	}
	return nil
}

// oldestRecords returns how many records the oldest batch holds that was not acknowledged; 1 when there is none.
func (c *conn) oldestRecords() int {
	for _, fl := range c.flights {
		if !fl.acked {
			return fl.records
		}
	}
	return 1
}

// serve sends and settles until ctx is done or the connection fails.
func (c *conn) serve(ctx context.Context) error {
	linger, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(stopGrace, cancel) })()
	if err := c.greet(ctx); err != nil {
		return err
	}
	for ctx.Err() == nil {
		sent, err := c.step(linger)
		if err != nil {
			return err
		}
		if sent {
			continue
		}
		if err := c.wait(ctx); err != nil {
			return err
		}
	}
	return c.land(linger)
}

// greet takes the receipts that came with the connection, before the first batch.
func (c *conn) greet(ctx context.Context) error {
	done, cancel := context.WithCancel(ctx)
	cancel()
	for {
		cs, err := c.up.Confirmed(done, nil)
		if err != nil || len(cs) == 0 {
			return err
		}
		if err := c.settle(cs); err != nil {
			return err
		}
	}
}

// land waits for what is in flight, until ctx is done.
func (c *conn) land(ctx context.Context) error {
	for ctx.Err() == nil && c.win.Unacked() > 0 {
		cs, err := c.up.Confirmed(ctx, nil)
		if err != nil {
			return err
		}
		if err := c.settle(cs); err != nil {
			return err
		}
	}
	return nil
}

// step looks for something to send and hands over at most one batch.
func (c *conn) step(ctx context.Context) (bool, error) {
	now := time.Now()
	if !c.win.Room(c.f.pack.Typical(), alarmExtra) {
		return false, nil
	}
	if err := c.look(now); err != nil {
		return false, err
	}
	l, alone := c.choose(now)
	if c.quiet = l != nil && c.crowded(l); l == nil || c.quiet {
		return false, nil
	}
	return c.send(ctx, l, alone)
}

// crowded reports whether l must wait because what is in flight, or what l would send, is suspected of ending connections.
func (c *conn) crowded(l *lane) bool {
	if c.win.Unacked() == 0 {
		return false
	}
	for _, fl := range c.flights {
		if !fl.acked && c.f.poison.suspects(fl.place) {
			return true
		}
	}
	return c.f.poison.suspects(l.place())
}

// look fills the lanes.
func (c *conn) look(now time.Time) error {
	if at := c.f.poison.retryAt(); !at.IsZero() && !now.Before(at) {
		c.f.poison.trying = true
		c.f.comeBack(c.f.poison.lone)
	}
	if c.dirty && !now.Before(c.lookAt) {
		c.dirty, c.lookAt = false, now.Add(lookEvery)
		c.f.lanes[LaneAlarm].more, c.f.lanes[LaneAudit].more, c.f.lanes[LaneData].more = true, true, true
	}
	if c.f.o.Returned != nil {
		if p, ok := c.f.o.Returned(); ok {
			c.f.again(p)
		}
	}
	live := c.f.lanes[LaneData]
	for _, id := range [...]Lane{LaneAlarm, LaneAudit, LaneData} {
		if err := c.f.lanes[id].look(c.f.o.Readings, c); err != nil {
			return err
		}
	}
	for {
		moved, err := live.fresh(now)
		if err != nil {
			return err
		}
		if !moved {
			break
		}
		c.f.lanes[LaneBackfill].more = true
		if err := live.look(c.f.o.Readings, c); err != nil {
			return err
		}
	}
	return c.f.lanes[LaneBackfill].look(c.f.o.Readings, c)
}

// alarmExtra is how many batches of alarms may be in flight beyond what the window allows.
const alarmExtra = 4

// choose returns the lane that is to send next, nil when none can; alone is false when live readings and the backlog both could.
func (c *conn) choose(now time.Time) (l *lane, alone bool) {
	if s := c.f.poison.alone(); s != nil {
		return c.trial(s), true
	}
	if a := c.f.lanes[LaneAlarm]; !a.empty() {
		return a, true
	}
	if !c.win.Room(c.f.pack.Typical(), 0) {
		return nil, false
	}
	if a := c.f.lanes[LaneAudit]; !a.empty() {
		return a, true
	}
	live, back := c.f.lanes[LaneData], c.f.lanes[LaneBackfill]
	due := !live.empty() && (c.full(live) || !now.Before(live.due()))
	switch {
	case due && !back.empty():
		if c.f.share.Backlog() {
			return back, false
		}
		return live, false
	case due:
		return live, true
	case !back.empty():
		return back, true
	}
	return nil, false
}

// full reports whether waiting longer would not make the next batch of l larger.
func (c *conn) full(l *lane) bool {
	return l.readings() >= c.f.o.Readings || l.bytes >= holdBytes || len(l.recs) > 0 && len(l.pend) > 0 && l.pend[0].Epoch != l.epoch
}

// trial returns the lane that holds the record to be sent alone, once nothing else is in flight.
func (c *conn) trial(s *suspicion) *lane {
	if c.win.Unacked() > 0 {
		return nil
	}
	for _, l := range c.f.lanes {
		if l.class == c.f.lanes[s.lane].class && !l.empty() && l.place() == s.first {
			return l
		}
	}
	c.f.poison = poison{} // it is not in the queue any more
	c.dirty, c.lookAt = true, time.Time{}
	return nil
}

// wait waits until something is confirmed, the queue has something new, or time makes a difference.
func (c *conn) wait(ctx context.Context) error {
	now := time.Now()
	wake := c.f.o.Source.Changed()
	if c.dirty {
		wake = nil // known already
	}
	at, err := c.deadline(now)
	if err != nil {
		return err
	}
	wctx, cancel := ctx, context.CancelFunc(func() {})
	if !at.IsZero() {
		wctx, cancel = context.WithDeadline(ctx, at)
	}
	cs, err := c.up.Confirmed(wctx, wake)
	cancel()
	if err != nil {
		return err
	}
	if len(cs) == 0 {
		c.dirty = true
		return nil
	}
	return c.settle(cs)
}

// deadline returns when to stop waiting, zero for never; an error when waiting has been too long already.
func (c *conn) deadline(now time.Time) (time.Time, error) {
	var at time.Time
	sooner := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	if c.win.Unacked() > 0 {
		limit := c.progress.Add(ackTimeout)
		if !now.Before(limit) {
			return at, fmt.Errorf("%w: no acknowledgement for %v, %d batches in flight", errAckTimeout, ackTimeout, c.win.Unacked())
		}
		sooner(limit)
	}
	for _, fl := range c.flights {
		if fl.acked && !fl.beyond {
			limit := fl.ackedAt.Add(receiptTimeout)
			if !now.Before(limit) {
				return at, fmt.Errorf("%w for records %d to %d within %v of their acknowledgement",
					errNoReceipt, fl.place.Number, fl.last, receiptTimeout)
			}
			sooner(limit)
			break
		}
	}
	room := c.win.Room(c.f.pack.Typical(), 0)
	if live := c.f.lanes[LaneData]; !live.empty() && room && c.f.poison.alone() == nil && !c.quiet {
		sooner(live.due())
	}
	if at := c.f.poison.retryAt(); !at.IsZero() {
		sooner(at)
	}
	if c.dirty && c.win.Room(c.f.pack.Typical(), alarmExtra) {
		sooner(c.lookAt)
	}
	return at, nil
}
