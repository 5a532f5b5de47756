package forward

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate"
)

// keepGiving gives a receipt on the newest connection now and then, as a receiver does.
func (r *rig) keepGiving(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var l *wireLink
		r.s.mu.Lock()
		c := r.s.receiptOf("ep1")
		if len(r.s.links) > 0 {
			l = r.s.links[len(r.s.links)-1]
		}
		r.s.mu.Unlock()
		if l != nil && c.Upto > 0 {
			l.give(c)
		}
	}
}

// TestAlarmsAheadOfABacklog: after an outage the alarms go first, and lie in the far side's ledger as islands, more than a receipt has holes
// for. That must not keep the readings between them from being sent.
func TestAlarmsAheadOfABacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), newFar(t)
		for range 300 {
			q.put(tidegate.ClassReading, 10, 5)
			q.put(tidegate.ClassAlarm, 1, 1)
		}
		time.Sleep(2 * time.Hour) // all of it is backlog
		s.latency = 20 * time.Millisecond
		r := start(t, q, s, func(o *Options) { o.Receipts, o.Readings = true, 200 })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { r.keepGiving(ctx, 250*time.Millisecond); close(done) }()
		time.Sleep(45 * time.Second)
		if left := q.left(); left != 0 || s.opens != 1 {
			t.Errorf("after 45 s %d of 3300 records are left and %d connections were made, want 0 and 1", left, s.opens)
		}
		cancel()
		<-done
		r.whole(t, 3300)
	})
}

// TestLostBeyondTheReceipt: a batch that the next hop lost, behind the end of what a receipt could speak of, is sent again once it can.
func TestLostBeyondTheReceipt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), newFar(t)
		for range 300 {
			q.put(tidegate.ClassReading, 10, 5)
			q.put(tidegate.ClassAlarm, 1, 1)
		}
		time.Sleep(2 * time.Hour)
		s.latency = 20 * time.Millisecond
		lost := false
		s.lose = func(p parcel) bool { // the last batch of alarms, once
			last := p.Nums[len(p.Nums)-1] == 3300 && p.Nums[0]%11 == 0
			defer func() { lost = lost || last }()
			return last && !lost
		}
		r := start(t, q, s, func(o *Options) { o.Receipts, o.Readings = true, 200 })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { r.keepGiving(ctx, 250*time.Millisecond); close(done) }()
		time.Sleep(3 * time.Minute)
		if left := q.left(); left != 0 || s.opens != 2 || !lost {
			t.Errorf("after 3 min %d of 3300 records are left, %d connections were made, lost: %v; want 0, 2, true", left, s.opens, lost)
		}
		cancel()
		<-done
		r.anyOrder = true // what was lost comes after its successors
		r.whole(t, 3300)
	})
}
