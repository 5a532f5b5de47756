package forward

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate"
)

// holds reports whether p has one of these records.
func holds(p parcel, records ...uint64) bool {
	for _, n := range p.Nums {
		for _, bad := range records {
			if n == bad {
				return true
			}
		}
	}
	return false
}

// giving lets a receipt come every 2 s, until the returned function is called.
func (r *rig) giving(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { r.keepGiving(ctx, 2*time.Second); close(done) }()
	return func() { cancel(); <-done }
}

// TestRecordThatGetsNoReceipt: the next hop acknowledges a payload, the far side refuses it. The record to blame is found, and only that
// one is set aside; others are delivered meanwhile, even when it goes first on each connection.
func TestRecordThatGetsNoReceipt(t *testing.T) {
	table := []struct {
		name     string
		bad      []uint64
		readings int
		within   time.Duration
	}{
		{"first of all, a batch a record", []uint64{1}, 1, 20 * time.Minute},
		{"first of all, in a batch of a hundred", []uint64{1}, 100, 30 * time.Minute},
		{"in the middle", []uint64{77}, 100, 30 * time.Minute},
		{"last of the backlog", []uint64{200}, 100, 30 * time.Minute},
		{"two in one batch", []uint64{3, 90}, 100, time.Hour},
		{"two in two batches", []uint64{3, 130}, 100, time.Hour},
		{"three in a row, a batch a record", []uint64{1, 2, 3}, 1, time.Hour},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q, s := newQueue(), newFar(t)
				s.latency = 100 * time.Millisecond
				s.lose = func(p parcel) bool { return holds(p, c.bad...) }
				for range 200 {
					q.put(tidegate.ClassReading, 1, 1)
				}
				r := start(t, q, s, func(o *Options) { o.Receipts, o.Readings = true, c.readings })
				stop := r.giving(t)
				began, took := time.Now(), time.Duration(0)
				live := 0
				for range 500 { // others keep coming
					q.put(tidegate.ClassReading, 1, 1)
					time.Sleep(10 * time.Second)
					r.peek(func() {
						if took == 0 && len(q.why) == len(c.bad) {
							took = time.Since(began)
							for n := uint64(201); n < q.next; n++ {
								live += s.has["ep1"][n]
							}
							live = int(q.next) - 201 - live
						}
					})
				}
				stop()
				r.anyOrder = true
				r.whole(t, 700-len(c.bad))
				if took == 0 || took > c.within || live > 13 {
					t.Errorf("found after %v (0 = never) with %d live records not delivered, want within %v and 2 min of them", took, live, c.within)
				}
				for _, bad := range c.bad {
					if rs := q.rejected["ep1"]; rs == nil || !rs.Contains(bad) || int(rs.Len()) != len(c.bad) {
						t.Fatalf("set aside %q, want %d", q.why, c.bad)
					}
				}
				n := c.bad[0]
				if q.rejected["ep1"].Contains(c.bad[len(c.bad)-1]) && !strings.HasPrefix(q.why[0], fmt.Sprintf("ep1 %d-", n)) {
					n = c.bad[len(c.bad)-1] // it was found first
				}
				if want := fmt.Sprintf("ep1 %d-%d: the far side gave no receipt for it 5 times within 1m0s, though it did for what was sent after it: "+
					"it refuses the record; what it says of that is in its log", n, n); q.why[0] != want {
					t.Errorf("set aside %q, want %q", q.why[0], want)
				}
			})
		})
	}
}

// TestFarSideThatIsAway sets nothing aside, however long: no receipts come at all, or only those of before.
func TestFarSideThatIsAway(t *testing.T) {
	for _, before := range []int{0, 50} {
		synctest.Test(t, func(t *testing.T) {
			q, s := newQueue(), newFar(t)
			s.latency = 100 * time.Millisecond
			r := start(t, q, s, func(o *Options) { o.Receipts, o.Readings = true, 10 })
			stop := r.giving(t)
			q.produce(before, 5, time.Second)
			away := true
			r.peek(func() { s.lose = func(parcel) bool { return away } })
			q.produce(5000, 5, 5*time.Second)
			r.peek(func() {
				if len(q.why) > 0 || len(r.f.poison.drops) > 0 || r.f.poison.lone != nil || r.f.poison.region != nil {
					t.Errorf("set aside %q, suspects %+v, want nothing", q.why, r.f.poison)
				}
				away = false
			})
			time.Sleep(time.Hour)
			stop()
			r.anyOrder = true
			r.whole(t, before+5000)
		})
	}
}

// TestFarSideThatLosesAtRandom: payloads are lost on the way from the next hop, whatever is in them.
func TestFarSideThatLosesAtRandom(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			q, s := newQueue(), newFar(t)
			s.latency = 100 * time.Millisecond
			s.lose = func(parcel) bool { return rnd.IntN(8) == 0 }
			r := start(t, q, s, func(o *Options) { o.Receipts, o.Readings = true, 10 })
			stop := r.giving(t)
			q.produce(300, 5, 10*time.Second)
			r.peek(func() { s.lose = nil })
			time.Sleep(30 * time.Minute)
			stop()
			r.anyOrder = true
			r.whole(t, 300)
			if len(q.why) != 0 {
				t.Errorf("seed %d: set aside %q", seed, q.why)
			}
		})
	}
}

// TestRecordWithoutReceiptOnABadLink is found too when no connection lasts a minute.
func TestRecordWithoutReceiptOnABadLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), newFar(t)
		s.latency = 100 * time.Millisecond
		s.lose = func(p parcel) bool { return holds(p, 1) }
		r := start(t, q, s, func(o *Options) { o.Receipts, o.Readings = true, 10 })
		stop := r.giving(t)
		for range 360 {
			q.put(tidegate.ClassReading, 1, 1)
			time.Sleep(22 * time.Second)
			q.put(tidegate.ClassReading, 1, 1)
			time.Sleep(23 * time.Second)
			r.peek(func() { s.links[len(s.links)-1].die() })
		}
		time.Sleep(5 * time.Minute)
		stop()
		if len(q.why) != 1 || q.left() > 2 {
			t.Errorf("set aside %q, %d left, want record 1 alone", q.why, q.left())
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
}

// TestEpochWithoutReceipts: receipts of the new epoch say nothing about the old one.
func TestEpochWithoutReceipts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), newFar(t)
		s.latency = 100 * time.Millisecond
		q.put(tidegate.ClassReading, 1, 1)
		q.newEpoch()
		r := start(t, q, s, func(o *Options) { o.Receipts, o.Readings = true, 1 })
		for range 3 * 360 {
			q.put(tidegate.ClassReading, 1, 1)
			time.Sleep(10 * time.Second)
			r.s.mu.Lock()
			l, c := s.links[len(s.links)-1], s.receiptOf("ep2")
			r.s.mu.Unlock()
			l.give(c)
		}
		r.peek(func() {
			if len(q.why) > 0 || len(s.has["ep2"]) < 3*360-20 {
				t.Errorf("set aside %q, %d records of the new epoch delivered, want none and all", q.why, len(s.has["ep2"]))
			}
		})
		l, c := s.links[len(s.links)-1], Confirmation{}
		r.peek(func() { c = s.receiptOf("ep1") })
		l.give(c)
		time.Sleep(time.Minute)
		if err := r.stop(); err != nil || q.left() > 20 {
			t.Errorf("Run: %v, %d left", err, q.left())
		}
	})
}
