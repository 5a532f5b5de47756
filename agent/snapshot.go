package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/clock"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/line"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/rules"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
)

// Status returns a snapshot of the gateway. It may be called at any time from any goroutine.
func (a *Agent) Status() status.Status {
	now := a.parts.Clock()
	a.mu.Lock()
	cfg, ups := a.cfg, append([]*uplink(nil), a.uplinks...)
	s := status.Status{
		Gateway: cfg.Gateway.ID, Labels: cfg.Gateway.Labels, Version: a.parts.Version, UptimeS: time.Since(a.started).Seconds(), Time: now.Wall,
		Devices: []status.Device{}, Rules: []status.Rule{}, Uplinks: []status.Uplink{},
		Update: status.Update{Slot: "package", Version: a.parts.Version},
	}
	if a.parts.Update != nil {
		u := a.parts.Update()
		s.Update = u
		a.board.set("update_trial", "", u.Trial, u.Version)
		a.board.set("update_failed", "", strings.HasPrefix(u.LastResult, "failed "), u.LastResult)
		a.board.set("update_refused", "", u.Reason != "", u.Reason)
	}
	for i := range cfg.Devices {
		c := &cfg.Devices[i]
		if d := a.devices[c.Name]; d != nil {
			one := d.reader.status()
			one.EveryRule = a.paces[c.Name].Rule
			s.Devices = append(s.Devices, one)
			waits, unsures := d.out.Waiting()
			a.board.set("output_waits", c.Name, len(waits) > 0, strings.Join(waits, "; "))
			a.board.set("output_unsure", c.Name, len(unsures) > 0, strings.Join(unsures, "; "))
		} else {
			s.Devices = append(s.Devices, status.Device{Name: c.Name, Driver: c.Driver, State: "off"})
		}
	}
	a.mu.Unlock()
	s.Link = status.Link{State: "down", Since: status.Time{Time: a.started}}
	s.Clock = clockStatus(now)
	a.board.set("clock_unsynced", "", !now.Synced, "")
	if l := a.running(); l != nil {
		a.queueStatus(&s, cfg, l, ups, now)
		s.Rules, s.RulesLate = ruleStatus(l.line.RuleStatus(), cfg), l.line.RulesLate()
		s.Judged = l.line.Judged()
	} else {
		a.earlyStatus(&s, cfg)
	}
	s.Conditions = a.board.list()
	return s
}

// ruleStatus says how rules stand, and what those that are active say.
func ruleStatus(list []rules.Status, cfg *config.Config) []status.Rule {
	alarms := map[string]*config.Alarm{}
	for i := range cfg.Rules {
		for _, do := range cfg.Rules[i].Do {
			if do.Alarm != nil {
				alarms[cfg.Rules[i].Name] = do.Alarm
			}
		}
	}
	out := make([]status.Rule, len(list))
	for i, r := range list {
		out[i] = status.Rule{Name: r.Name, Active: r.Active, Pending: r.Pending, Fired: r.Fired}
		if a := alarms[r.Name]; a != nil && r.Active {
			out[i].Severity, out[i].Text = a.Severity, a.Text
		}
	}
	return out
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

// earlyStatus adds what is known before the store is open, while the disk has no room for it for instance: where readings will go, and
// those that wait in ring 1. After a kill some of them may be stored already; what else is stored is not known yet.
func (a *Agent) earlyStatus(s *status.Status, cfg *config.Config) {
	s.Queue = a.inRing()
	for i := range cfg.Uplinks {
		u := &cfg.Uplinks[i]
		link := status.Link{State: "down", Since: status.Time{Time: a.started}, Endpoint: strings.Join(u.All(), " "), LastError: "not tried yet: the store is not open"}
		s.Uplinks = append(s.Uplinks, status.Uplink{
			Name: u.Name, Link: link, Account: status.Account{Produced: s.Queue.Readings, Buffered: s.Queue.Readings},
		})
	}
	if len(s.Uplinks) > 0 {
		s.Link, s.Account = s.Uplinks[0].Link, s.Uplinks[0].Account
	}
}

// inRing counts what waits in ring 1, while nobody takes anything from it.
func (a *Agent) inRing() (q status.Queue) {
	a.withRings(func(l *opened) {
		ring := l.rings.Read
		for at := ring.Tail(); ; {
			b, next, ok, err := ring.Next(at)
			if !ok || err != nil || len(b) == 0 {
				return
			}
			n, err := frame.Count(b[1:], 0, -1) // behind the class, see reader.encode
			if err != nil {
				return
			}
			q.Records++
			q.Readings += uint64(n)
			q.Bytes += int64(len(b))
			at = next
		}
	})
	return q
}

// queueStatus adds what the queue and the uplinks say.
func (a *Agent) queueStatus(s *status.Status, cfg *config.Config, l *opened, ups []*uplink, now clock.Stamp) {
	counts := l.line.Counts() // before the queue, so that nothing counts as derived that is not produced yet
	q := l.queue.Stats()
	s.Epoch, s.NextRecord = l.line.Numbers()
	d1, d2 := l.rings.Read.Dropped(), l.rings.Judged.Dropped()
	s.Queue = queueOf(&q)
	a.mu.Lock()
	s.Queue.Memory, s.Queue.Scrub = a.sits.memory, a.scrubbed
	a.mu.Unlock()
	a.board.set("limit_shrunk", "", q.Limit < q.Most && !s.Queue.Memory, fmt.Sprintf("%d bytes of %d can be used", q.Limit, q.Most))
	a.cardStatus(&q.Card)
	bad := l.queue.BadStores()
	a.board.set("store_damaged", "", len(bad) > 0, strings.Join(bad, " "))
	addCursors(s, &q, now, counts)
	total := d1.Readings + d2.Readings
	for i := range s.Uplinks {
		x := &s.Uplinks[i]
		x.Link = s.Link
		if u := find(ups, x.Name); u != nil {
			st := u.fwd.Stats()
			x.Link, x.Batches, x.Resends, x.Bytes = u.link(), st.Sent.Batches, st.Resent, st.Sent.Bytes
			a.board.setSince("uplink_down", x.Name, !st.Up, st.LastError, st.Since)
		}
		a.board.set("uplink_refused", x.Name, x.Account.Rejected > 0, fmt.Sprintf("%d readings", x.Account.Rejected))
		total += x.Account.DroppedDeclared
	}
	a.mu.Lock()
	holds, since := a.drops.see(total, now)
	a.mu.Unlock()
	a.board.setSince("dropped", "", holds, "", since)
	if len(s.Uplinks) > 0 {
		s.Link, s.Delivered.Bytes = s.Uplinks[0].Link, s.Uplinks[0].Bytes
	}
}

// queueOf returns what the queue takes, and for what.
func queueOf(q *buffer.Stats) status.Queue {
	card := &q.Card
	s := status.Queue{
		DiskBytes: q.DiskBytes, Gaps: q.Gaps, LimitBytes: q.Limit, KeptBytes: q.Bytes,
		WrittenPerDayBytes: card.LastDay, WrittenProjectedBytes: card.Projected, WrittenLimitBytes: card.Limit,
		CommitP50S: card.Trend.Median.Seconds(), CommitP99S: card.Trend.P99.Seconds(),
	}
	if len(q.Cursors) > 0 {
		s.Bytes = waiting(q, &q.Cursors[0])
		s.KeptBytes -= s.Bytes
	}
	if len(q.Keys) == 1 && q.Keys[0].Key == 0 {
		return s // nothing is sealed
	}
	for i, u := range q.Keys {
		k := status.Key{Seals: i == 0, Frames: u.Frames, Records: u.Records, Readings: u.Readings, Rules: u.Rules, Rejected: u.Aside}
		if u.Key != 0 {
			k.ID = u.Key.String()
		}
		s.Keys = append(s.Keys, k)
	}
	return s
}

// waiting returns about how many bytes the frames take of which the uplink of c has not got all. What waits is the newest of its class,
// but for holes: whole segments from the newest on, the last one in proportion to its records, and what is in memory where that is not all.
func waiting(q *buffer.Stats, c *buffer.CursorStats) (sum int64) {
	memory := q.Bytes
	for i := range q.Segments {
		memory -= q.Segments[i].Bytes
	}
	young := false
	for class, t := range c.Buffered {
		left := t.Records
		for i := len(q.Segments) - 1; i >= 0 && left > 0; i-- {
			s := &q.Segments[i]
			if s.Records == 0 || !strings.HasPrefix(s.Name, tidegate.Class(class).String()+"/") {
				continue
			}
			n := min(left, s.Records)
			left -= n
			sum += int64(float64(s.Bytes) * float64(n) / float64(s.Records))
		}
		young = young || left > 0
	}
	if young {
		sum += memory
	}
	return min(sum, q.Bytes)
}

// drops notices when readings are dropped.
type drops struct {
	known bool
	total uint64        // in the rings and declared, as of the last look
	began time.Time     // when the first of the last hour was seen
	last  time.Duration // boot time at which the last was
	holds bool
}

// dropsShown is how long after readings were dropped that is shown as a condition.
const dropsShown = time.Hour

// see takes a look, and returns whether readings were dropped in the last hour, and since when. What was dropped before the process began
// does not count.
func (d *drops) see(total uint64, now clock.Stamp) (holds bool, since time.Time) {
	switch {
	case d.known && total != d.total:
		if !d.holds {
			d.began = now.Wall
		}
		d.holds, d.last = true, now.Boot
	case d.holds && now.Boot-d.last >= dropsShown:
		d.holds = false
	}
	d.known, d.total = true, total
	return d.holds, d.began
}

// addCursors adds the account of each uplink, and what the first one says of the queue.
func addCursors(s *status.Status, q *buffer.Stats, now clock.Stamp, counts map[string]line.Counts) {
	for i := range q.Cursors {
		c := &q.Cursors[i]
		x := status.Uplink{Name: c.Uplink, Account: accountOf(c, counts[c.Uplink])}
		s.Uplinks = append(s.Uplinks, x)
		if i > 0 {
			continue
		}
		s.Account = x.Account
		s.ConfirmedRecord = c.Confirmed
		for _, t := range c.Buffered {
			s.Queue.Records += t.Records
			s.Queue.Readings += t.Readings
		}
		s.Queue.Rejected, s.Queue.Dropped, s.Queue.Thinned = x.Account.Rejected, x.Account.DroppedDeclared, c.Thinned.Device().Readings
		if c.Oldest > 0 {
			s.Queue.OldestAgeS = max(0, now.Wall.Sub(time.UnixMilli(c.Oldest)).Seconds())
		}
		for _, t := range c.Delivered {
			s.Delivered.Records += t.Records
			s.Delivered.Readings += t.Readings
		}
	}
}

// accountOf returns where the readings of devices went, and those that rules derived, as the uplink of c sees it.
func accountOf(c *buffer.CursorStats, by line.Counts) status.Account {
	all := c.Produced.Device().Readings
	x := status.Account{
		Produced: all + by.Filtered + by.Thinned - min(by.Derived, all+by.Filtered+by.Thinned), Derived: by.Derived,
		Filtered: by.Filtered, Thinned: by.Thinned + c.Thinned.Device().Readings, Routed: c.Routed.Device().Readings, Delivered: c.Delivered.Device().Readings, Buffered: c.Buffered.Device().Readings,
		Rejected: c.Rejected.Device().Readings, DroppedDeclared: c.Declared.Device().Readings,
	}
	x.Lost = int64(all) - int64(x.Delivered+x.Buffered+x.Rejected+x.DroppedDeclared+x.Routed+c.Thinned.Device().Readings)
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

// Segments lists what is stored.
func (a *Agent) Segments() []status.Segment {
	l := a.running()
	if l == nil {
		return []status.Segment{}
	}
	q := l.queue.Stats()
	return segmentsOf(&q)
}

// segmentsOf lists what the queue of q stores.
func segmentsOf(q *buffer.Stats) []status.Segment {
	out := []status.Segment{}
	for _, s := range q.Segments {
		out = append(out, status.Segment{
			Name: s.Name, First: s.First, Last: s.Last, Records: s.Records, Readings: s.Readings, Bytes: s.Bytes,
			From: time.UnixMilli(s.T0).UTC(), To: time.UnixMilli(s.T1).UTC(), Dropping: s.Dropping,
		})
	}
	return out
}

// Check reads everything that is stored. A stop of the gateway ends it early, with an error.
func (a *Agent) Check(ctx context.Context) (c status.Check, err error) {
	err = a.whileOpen(ctx, func(ctx context.Context, l *opened) error {
		c, err = checkOf(ctx, l.queue, l.line.Counts())
		return err
	})
	return c, err
}

// whileOpen calls f with the store, which stays open until f returns; its ctx is done when the gateway stops, too.
func (a *Agent) whileOpen(ctx context.Context, f func(ctx context.Context, l *opened) error) error {
	a.closing.RLock()
	defer a.closing.RUnlock()
	l := a.running()
	if l == nil || a.isClosed {
		return errors.New("the store is not open")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(a.open, cancel)()
	return f(ctx, l)
}

// checkOf reads everything that q stores.
func checkOf(ctx context.Context, q *buffer.Queue, counts map[string]line.Counts) (status.Check, error) {
	r, err := q.Check(ctx)
	c := status.Check{Segments: r.Segments, Frames: r.Frames, Records: r.Records, Readings: r.Readings, Bytes: r.Bytes, Faults: r.Faults}
	for id, n := range r.Sealed {
		if id != 0 {
			c.Sealed = append(c.Sealed, status.Sealed{Key: id.String(), Frames: n})
		}
	}
	slices.SortFunc(c.Sealed, func(a, b status.Sealed) int { return strings.Compare(a.Key, b.Key) })
	if c.Faults == nil {
		c.Faults = []string{}
	}
	st := q.Stats()
	if len(st.Cursors) > 0 {
		c.Account = accountOf(&st.Cursors[0], counts[st.Cursors[0].Uplink])
	}
	return c, err
}
