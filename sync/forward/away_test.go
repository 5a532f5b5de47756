package forward

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/sync/wire"
)

// isDebug reports whether number n of the epoch called name stays on the gateway.
func (q *queue) isDebug(name string, n uint64) bool {
	for e, rs := range q.debug {
		if epochName(e) == name {
			return rs.Contains(n)
		}
	}
	return false
}

// toldAll checks that the far side knows of all numbers below the highest that it has, but those that were set aside.
func (r *rig) toldAll(rt *rapid.T) {
	for ep, m := range r.s.has {
		var has tidegate.Ranges
		for n := range m {
			has.Add(tidegate.Range{First: n, Last: n})
		}
		upTo := tidegate.Range{First: 1, Last: has[len(has)-1].Last}
		if rs := r.q.rejected[ep]; rs != nil {
			has.AddAll(*rs) // the gateway declares them, in a record behind
		}
		if holes := has.Missing(upTo); len(holes) > 0 {
			rt.Errorf("epoch %s: the far side waits for %v for ever", ep, holes)
		}
	}
}

// striped is a Source of very many records, made when they are looked at: 1,000 in a frame, of one reading, of which some are for "cloud".
type striped struct {
	records uint64
	mine    func(n uint64) bool
	at      time.Time
	done    tidegate.Ranges
	changed chan struct{}
	looks   int
}

const stripe = 1000

func (s *striped) Next(class tidegate.Class, from buffer.Place, maxBytes int) (out []buffer.Look, err error) {
	s.looks++
	if class != tidegate.ClassReading {
		return nil, nil
	}
	for n := max(from.Number, 1); n <= s.records && maxBytes > 0; maxBytes -= 10_000 {
		first := (n-1)/stripe*stripe + 1
		l := buffer.Look{EpochID: "ep1", Idle: true}
		l.Epoch, l.Class, l.First, l.Last, l.Count, l.Apart = 1, class, first, min(first+stripe-1, s.records), stripe, true
		l.T0, l.T1, l.Body = s.at.UnixMilli(), s.at.UnixMilli(), make([]byte, 10_000)
		n = l.Last + 1
		if l.Want = s.done.Missing(tidegate.Range{First: first, Last: l.Last}); len(l.Want) == 0 {
			continue
		}
		for _, r := range l.Want {
			for i := r.First; i <= r.Last; i++ {
				if s.mine(i) {
					l.Idle = false
				} else {
					l.Away++
				}
			}
		}
		out = append(out, l)
	}
	return out, nil
}

func (s *striped) Changed() <-chan struct{} { return s.changed }

func (s *striped) Ack(_ string, rs tidegate.Ranges) error { s.done.AddAll(rs); return nil }

func (s *striped) Reject(_ string, r tidegate.Range, why string) error {
	return fmt.Errorf("set aside %v: %s", r, why)
}

func (s *striped) decode(dst []tidegate.Record, class tidegate.Class, first uint64, _ []byte) ([]tidegate.Record, error) {
	slab := make([]tidegate.Reading, stripe)
	for n := first; n < first+stripe && n <= s.records; n++ {
		r := tidegate.Record{Number: n, Class: class, Time: s.at, For: "other", Readings: slab[n-first:][:1]}
		if s.mine(n) {
			r.For = "cloud"
		}
		dst = append(dst, r)
	}
	return dst, nil
}

// TestAMillionRecordsForOthers: long stretches of which nothing, or every second record, is meant for the uplink pass in few batches, each of which says
// in few words what to skip; receipts go on behind them, although nothing else is to be sent.
func TestAMillionRecordsForOthers(t *testing.T) {
	for name, c := range map[string]struct {
		mine    func(n uint64) bool
		records uint64
		most    int // batches
		runs    int // to skip, in each
	}{
		"none is mine":     {func(uint64) bool { return false }, 1_000_000, 70, 1},
		"every second one": {func(n uint64) bool { return n%2 == 0 }, 1_000_000, 600, 1001},
		"a rare one":       {func(n uint64) bool { return n%100_000 == 0 }, 1_000_000, 80, 3},
	} {
		for _, receipts := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, receipts %v", name, receipts), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					q := &striped{records: c.records, mine: c.mine, at: time.Now(), changed: make(chan struct{}, 1)}
					s := newFar(t)
					s.ledger, s.latency = &tidegate.Ranges{}, 10*time.Millisecond
					time.Sleep(time.Hour)
					r := start(t, newQueue(), s, func(o *Options) { o.Source, o.Decode, o.Readings, o.Receipts = q, q.decode, 1000, receipts })
					ctx, cancel := context.WithCancel(t.Context())
					gave := make(chan struct{})
					go func() {
						defer close(gave)
						if receipts {
							r.keepGiving(ctx, 100*time.Millisecond)
						}
					}()
					time.Sleep(2 * time.Minute)
					cancel()
					<-gave
					if err := r.stop(); err != nil {
						t.Fatal(err)
					}
					whole := tidegate.Range{First: 1, Last: c.records}
					if !q.done.Covers(whole) || !s.ledger.Covers(whole) {
						t.Errorf("settled %v, the far side has %v; want all of %d", q.done, *s.ledger, c.records)
					}
					n := 0
					for i := range s.sent {
						n += len(s.sent[i].Nums)
						if len(s.sent[i].Skip) > c.runs {
							t.Fatalf("batch %d skips %d runs, want at most %d", i, len(s.sent[i].Skip), c.runs)
						}
					}
					want := 0
					for i := uint64(1); i <= c.records; i++ {
						if c.mine(i) {
							want++
						}
					}
					if len(s.sent) > c.most || n != want || s.opens != 1 {
						t.Errorf("%d batches with %d records over %d connections, want at most %d with %d over 1", len(s.sent), n, s.opens, c.most, want)
					}
					if q.looks > 50*c.most {
						t.Errorf("looked %d times", q.looks)
					}
				})
			})
		}
	}
}

// TestLiveRecordsForOthersWait: what only moves the numbers on does not go every second, and what is meant for the uplink does not wait for it.
func TestLiveRecordsForOthersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), newFar(t)
		r := start(t, q, s, nil)
		others := func(int) string { return "other" }
		for range 100 {
			q.putFor(tidegate.ClassReading, 1, 5, others)
			time.Sleep(time.Second)
		}
		r.peek(func() {
			if n := len(s.sent); n < 9 || n > 10 {
				t.Errorf("%d batches in 100 s, want one each 10 s", n)
			}
		})
		q.put(tidegate.ClassReading, 1, 1)
		time.Sleep(1100 * time.Millisecond)
		r.peek(func() {
			if last := s.sent[len(s.sent)-1]; len(last.Nums) != 1 || last.Nums[0] != 101 {
				t.Errorf("after 1.1 s the last batch is %v", last)
			}
		})
		time.Sleep(time.Minute)
		r.whole(t, 101)
	})
}

// TestNumbersThatStayAreTold: a receipt names 64 holes, so the far side must hear of numbers that never come: with readings, with alarms alone, and again
// after a connection that ended before it had them.
func TestNumbersThatStayAreTold(t *testing.T) {
	for _, class := range []tidegate.Class{tidegate.ClassReading, tidegate.ClassAlarm, tidegate.ClassAudit} {
		for _, receipts := range []bool{false, true} {
			t.Run(fmt.Sprint(class, receipts), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					q, s := newQueue(), newFar(t)
					cuts := 0
					s.cut = func(_ *wireLink, p parcel, _ int) bool {
						if len(p.Skip) > 0 && cuts < 2 {
							cuts++
							return true
						}
						return false
					}
					s.latency = 5 * time.Millisecond
					r := start(t, q, s, func(o *Options) { o.Receipts = receipts })
					for range 3 * wire.MaxHoles {
						q.keep(2)
						q.put(class, 1, 1)
						time.Sleep(300 * time.Millisecond)
						r.receipts(receipts)
					}
					q.keep(5)
					for range 100 {
						time.Sleep(time.Second)
						r.receipts(receipts)
					}
					if left := q.left(); left > 0 || cuts != 2 {
						t.Errorf("%d records are left, %d connections were cut; want 0 and 2", left, cuts)
					}
					r.whole(t, 3*3*wire.MaxHoles)
					if c := s.receiptOf("ep1"); len(c.Holes) > 0 || c.Upto != 9*wire.MaxHoles {
						t.Errorf("the far side has up to %d but %v; want up to %d", c.Upto, c.Holes, 9*wire.MaxHoles)
					}
				})
			})
		}
	}
}

// TestNumbersOnTheirWayAreNotToldAgain: on a slow way the same numbers do not go with each batch until they are confirmed.
func TestNumbersOnTheirWayAreNotToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), newFar(t)
		s.latency = 10 * time.Second
		r := start(t, q, s, nil)
		const n = 200
		for range n {
			q.keep(1)
			q.put(tidegate.ClassReading, 1, 1)
			time.Sleep(300 * time.Millisecond)
		}
		time.Sleep(20 * time.Minute)
		r.whole(t, 2*n)
		told := uint64(0)
		for i := range s.sent {
			told += s.sent[i].Skip.Len()
		}
		if told > 3*n/2 {
			t.Errorf("%d numbers were told, want about %d", told, n)
		}
	})
}
