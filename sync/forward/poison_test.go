package forward

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate"
)

// TestRecordThatEndsConnections is found among others, and only that one is set aside.
func TestRecordThatEndsConnections(t *testing.T) {
	for _, readings := range []int{1, 100} { // batches of one record, and of a hundred
		for _, bad := range []uint64{1, 77, 200} {
			t.Run(fmt.Sprintf("record %d, %d to a batch", bad, readings), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					q, s := newQueue(), newFar(t)
					s.latency = 100 * time.Millisecond
					poisoned := func(p parcel) bool {
						for _, n := range p.Nums {
							if n == bad {
								return true
							}
						}
						return false
					}
					s.cut = func(l *wireLink, p parcel, _ int) bool {
						if poisoned(p) {
							l.acks = l.acks[:len(l.acks)-1] // it did not arrive
							return true
						}
						return false
					}
					r := start(t, q, s, func(o *Options) { o.Readings = readings })
					q.produce(200, 1, 100*time.Millisecond)
					for range 600 { // others keep coming
						q.put(tidegate.ClassAudit, 1, 1)
						time.Sleep(10 * time.Second)
					}
					r.anyOrder = true
					r.whole(t, 799)
					if len(q.why) != 1 || q.why[0] != fmt.Sprintf("ep1 %d-%d: the connection ended 3 times within 5s of sending it alone, "+
						"while others got through: connection reset", bad, bad) {
						t.Errorf("set aside %q", q.why)
					}
					if most := 3 + 8 + 3 + 2; s.opens > most {
						t.Errorf("%d connections, want at most %d", s.opens, most)
					}
				})
			})
		}
	}
}

// TestBadLinkSetsNothingAside: connections end at random soon after batches were sent, whatever was in them.
func TestBadLinkSetsNothingAside(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			q, s := newQueue(), newFar(t)
			s.latency = 100 * time.Millisecond
			s.cut = func(*wireLink, parcel, int) bool { return rnd.IntN(3) == 0 }
			r := start(t, q, s, func(o *Options) { o.Readings = 10 })
			q.produce(300, 5, 10*time.Second)
			r.peek(func() { s.cut = nil })
			time.Sleep(10 * time.Minute)
			r.anyOrder = r.f.Stats().HeldBack > 0
			r.whole(t, 300)
			if len(q.why) != 0 {
				t.Errorf("seed %d: set aside %q", seed, q.why)
			}
		})
	}
}
