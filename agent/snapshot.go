package agent

import (
	"time"

	"github.com/tidegate-io/tidegate/agent/clock"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/buffer"
)

// Status returns a snapshot of the gateway. It may be called at any time from any goroutine.
func (a *Agent) Status() status.Status {
	now := a.parts.Clock()
	a.mu.Lock()
	cfg, l, ups := a.cfg, a.line, append([]*uplink(nil), a.uplinks...)
	s := status.Status{
		Gateway: cfg.Gateway.ID, Version: a.parts.Version, UptimeS: time.Since(a.started).Seconds(), Time: now.Wall,
		Devices: []status.Device{}, Rules: []status.Rule{}, Uplinks: []status.Uplink{},
		Update: status.Update{Slot: "package", Version: a.parts.Version},
	}
	for i := range cfg.Devices {
		if d := a.devices[cfg.Devices[i].Name]; d != nil {
			s.Devices = append(s.Devices, d.reader.status())
		}
	}
	a.mu.Unlock()
	s.Clock = clockStatus(now)
	a.board.set("clock_unsynced", "", !now.Synced, "")
	s.Rules = a.ruleStatus()
	if l != nil && l.numbers.started() {
		a.queueStatus(&s, l, ups, now)
	}
	s.Conditions = a.board.list()
	return s
}

func clockStatus(now clock.Stamp) status.Clock {
	c := status.Clock{Synced: now.Synced, Source: "none"}
	if now.Synced {
		c.Source = "kernel"
		if off, _, err := clock.Offset(); err == nil {
			c.OffsetS = off.Seconds()
		}
	}
	return c
}

// queueStatus adds what the queue and the uplinks say.
func (a *Agent) queueStatus(s *status.Status, l *line, ups []*uplink, now clock.Stamp) {
	q := l.queue.Stats()
	_, s.Epoch, s.NextRecord = l.numbers.peek()
	d1, d2 := l.rings.Read.Dropped(), l.rings.Judged.Dropped()
	declared1, declared2 := l.queue.Position().Drops1, l.queue.Position().Drops2
	s.Queue = status.Queue{Bytes: q.Bytes, DiskBytes: q.DiskBytes, Gaps: q.Gaps, LimitBytes: q.Limit}
	pending := d1.Readings + d2.Readings - declared1.Readings - declared2.Readings
	a.board.set("dropped", "", pending > 0, "readings wait to be declared")
	for i := range q.Cursors {
		c := &q.Cursors[i]
		x := status.Uplink{Name: c.Uplink, Account: AccountOf(&q, c)}
		if u := find(ups, c.Uplink); u != nil {
			st := u.fwd.Stats()
			x.Link, x.Batches, x.Resends, x.Bytes = u.link(), st.Sent.Batches, st.Resent, st.Sent.Bytes
			a.board.set("uplink_down", c.Uplink, !st.Up, st.LastError)
		}
		a.board.set("uplink_refused", c.Uplink, x.Account.Rejected > 0, "")
		s.Uplinks = append(s.Uplinks, x)
		if i > 0 {
			continue
		}
		s.Link = x.Link
		s.ConfirmedRecord = c.Confirmed
		for _, t := range c.Buffered {
			s.Queue.Records += t.Records
			s.Queue.Readings += t.Readings
		}
		s.Queue.Rejected, s.Queue.Dropped = x.Account.Rejected, x.Account.DroppedDeclared
		if c.Oldest > 0 {
			s.Queue.OldestAgeS = max(0, now.Wall.Sub(time.UnixMilli(c.Oldest)).Seconds())
		}
		for _, t := range c.Delivered {
			s.Delivered.Records += t.Records
			s.Delivered.Readings += t.Readings
		}
		s.Delivered.Bytes = x.Bytes
	}
}

// AccountOf returns where the device readings of q went, as the uplink of c sees it.
func AccountOf(q *buffer.Stats, c *buffer.CursorStats) status.Account {
	x := status.Account{
		Produced: q.Produced.Device().Readings, Delivered: c.Delivered.Device().Readings, Buffered: c.Buffered.Device().Readings,
		Rejected: c.Rejected.Device().Readings, DroppedDeclared: c.Declared.Device().Readings,
	}
	x.Lost = int64(x.Produced) - int64(x.Delivered+x.Buffered+x.Rejected+x.DroppedDeclared)
	return x
}

func find(ups []*uplink, name string) *uplink {
	for _, u := range ups {
		if u.cfg.Name == name {
			return u
		}
	}
	return nil
}

// ruleStatus returns how the rules stood after the last entry that the judge made.
func (a *Agent) ruleStatus() []status.Rule {
	a.mu.Lock()
	j := a.judge
	a.mu.Unlock()
	out := []status.Rule{}
	if j == nil {
		return out
	}
	for _, r := range j.ruleStatus() {
		out = append(out, status.Rule{Name: r.Name, Active: r.Active, Fired: r.Fired})
	}
	return out
}
