package forward

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/wire"
)

// plan is what happens in one run of the model; it is drawn beforehand, outside of the bubble.
type plan struct {
	readings, maxPayload int
	every                time.Duration
	receipts, gzip       bool
	steps                []step
}

type step struct {
	kind           string
	class          tidegate.Class
	n, m           int
	off, mute      bool
	pause, latency time.Duration
	rate           int
}

func drawPlan(rt *rapid.T) plan {
	ms, s := time.Millisecond, time.Second
	p := plan{
		readings:   rapid.SampledFrom([]int{1, 7, 40, 200}).Draw(rt, "readings in a batch"),
		maxPayload: rapid.SampledFrom([]int{400, 3000, 200000}).Draw(rt, "max payload"),
		every:      rapid.SampledFrom([]time.Duration{ms, 200 * ms, 3 * s}).Draw(rt, "every"),
		receipts:   rapid.Bool().Draw(rt, "receipts"),
		gzip:       rapid.Bool().Draw(rt, "gzip"),
	}
	for range rapid.IntRange(5, 40).Draw(rt, "steps") {
		st := step{kind: rapid.SampledFrom([]string{"put", "put", "put", "put", "debug", "epoch", "pause", "pause", "cut", "off", "link", "refuse"}).
			Draw(rt, "step")}
		switch st.kind {
		case "put":
			st.class = rapid.SampledFrom([]tidegate.Class{
				tidegate.ClassReading, tidegate.ClassReading, tidegate.ClassReading,
				tidegate.ClassAlarm, tidegate.ClassAudit,
			}).Draw(rt, "class")
			st.n, st.m = rapid.IntRange(1, 30).Draw(rt, "records"), rapid.IntRange(1, 30).Draw(rt, "readings")
		case "debug":
			st.n = rapid.IntRange(1, 30).Draw(rt, "numbers")
		case "pause":
			st.pause = rapid.SampledFrom([]time.Duration{ms, s, 20 * s, 5 * 60 * s}).Draw(rt, "pause")
		case "cut":
			st.n = rapid.IntRange(0, 6).Draw(rt, "cut after")
		case "off":
			st.off, st.mute = rapid.Bool().Draw(rt, "off"), rapid.Bool().Draw(rt, "mute")
		case "link":
			st.latency = rapid.SampledFrom([]time.Duration{0, 50 * ms, 4 * s}).Draw(rt, "latency")
			st.rate = rapid.SampledFrom([]int{0, 500, 20000}).Draw(rt, "rate")
		case "refuse":
			st.n = rapid.IntRange(0, 20).Draw(rt, "refused")
		}
		p.steps = append(p.steps, st)
	}
	return p
}

// TestModel lets faults of all kinds happen at random. Whatever happens: nothing is settled that the far side does not have, and
// when the faults are over every record was delivered at least once (but those that were refused), in order within each lane
// after duplicates were dropped.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPlan(rt)
		synctest.Test(t, func(t *testing.T) { p.run(t, rt) })
	})
}

func (p *plan) run(t *testing.T, rt *rapid.T) {
	q, s := newQueue(), newFar(t)
	r := start(t, q, s, func(o *Options) {
		o.Readings, o.Every, o.MaxPayload, o.Receipts, o.Gzip = p.readings, p.every, p.maxPayload, p.receipts, p.gzip
	})
	total, bad := 0, map[string]bool{}
	for _, st := range p.steps {
		switch st.kind {
		case "put":
			q.putFor(st.class, st.n, st.m, func(i int) string {
				if i%10 == 3 {
					return "other"
				}
				return ""
			})
			total += st.n
		case "debug":
			q.keep(st.n)
		case "epoch":
			q.newEpoch()
		case "pause":
			time.Sleep(st.pause)
			r.receipts(p.receipts)
		case "cut":
			r.peek(func() { s.cut = func(_ *wireLink, _ parcel, n int) bool { return n == st.n } })
		case "off":
			r.peek(func() {
				s.down = func() bool { return st.off }
				s.noAck = func(parcel) bool { return st.mute }
			})
		case "link":
			r.peek(func() { s.latency, s.rate = st.latency, st.rate })
		case "refuse":
			r.peek(func() { s.refuse = refusing(bad, fmt.Sprint(epochName(q.epoch), " ", q.next+uint64(st.n))) })
		}
	}
	r.peek(func() { s.cut, s.down, s.noAck, s.latency, s.rate = nil, nil, nil, 0, 0 })
	for range 150 {
		time.Sleep(10 * time.Second)
		r.receipts(p.receipts)
	}
	time.Sleep(time.Second)
	if err := r.stop(); err != nil {
		rt.Errorf("Run: %v", err)
	}
	r.verify(rt, total, bad)
}

// refusing adds a record to bad and refuses batches that hold one of them.
func refusing(bad map[string]bool, key string) func(p parcel, _ Batch) error {
	bad[key] = true
	return func(p parcel, _ Batch) error {
		for _, n := range p.Nums {
			if bad[fmt.Sprint(p.Ep, " ", n)] {
				return ErrRefused
			}
		}
		return nil
	}
}

// receipts sends a receipt for each epoch on the latest connection.
func (r *rig) receipts(on bool) {
	if !on {
		return
	}
	var l *wireLink
	var cs []Confirmation
	r.peek(func() {
		for ep := uint32(1); ep <= r.q.epoch; ep++ {
			cs = append(cs, r.s.receiptOf(epochName(ep)))
		}
		if len(r.s.links) > 0 {
			l = r.s.links[len(r.s.links)-1]
		}
	})
	for _, c := range cs {
		if l != nil {
			l.give(c)
		}
	}
}

// receiptOf says what the far side has of an epoch, in at most 64 holes.
func (s *far) receiptOf(ep string) Confirmation {
	c := Confirmation{Epoch: ep}
	var has tidegate.Ranges
	if s.ledger != nil {
		has = s.ledger.Clone()
	}
	for n := range s.has[ep] {
		has.Add(tidegate.Range{First: n, Last: n})
	}
	if len(has) > 0 {
		c.Upto = has[len(has)-1].Last
		c.Holes = has.Missing(tidegate.Range{First: 1, Last: c.Upto})
	}
	if len(c.Holes) > wire.MaxHoles { // it ends before the next hole
		c.Upto, c.Holes = c.Holes[wire.MaxHoles].First-1, c.Holes[:wire.MaxHoles]
	}
	return c
}

func (r *rig) verify(rt *rapid.T, total int, bad map[string]bool) {
	delivered, rejected := 0, uint64(0)
	for ep, m := range r.s.has {
		for n := range m {
			if !r.q.isDebug(ep, n) {
				delivered++
			}
		}
	}
	r.toldAll(rt)
	for ep, rs := range r.q.rejected {
		rejected += rs.Len()
		for _, x := range *rs {
			for n := x.First; n <= x.Last; n++ {
				if !bad[fmt.Sprint(ep, " ", n)] {
					rt.Errorf("record %s/%d was set aside, and nobody refused it: %v", ep, n, r.q.why)
				}
			}
		}
	}
	if left := r.q.left(); delivered+int(rejected) != total || left != 0 {
		rt.Errorf("%d records: %d delivered, %d set aside, %d left", total, delivered, rejected, left)
	}
	if r.f.Stats().HeldBack == 0 {
		r.s.checkOrder(rt)
	}
	for ep, rs := range r.q.done {
		for _, x := range *rs {
			for n := x.First; n <= x.Last; n++ {
				if r.s.has[ep][n] == 0 {
					rt.Errorf("record %s/%d was settled, but the far side does not have it", ep, n)
				}
			}
		}
	}
}
