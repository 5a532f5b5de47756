package forward

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate/buffer"
)

// TestWhatComesBackIsSent: a record that was set aside and comes back to the queue long after is sent once, whatever the lanes have come to
// meanwhile, and however often the connection ends.
func TestWhatComesBackIsSent(t *testing.T) {
	for _, after := range []time.Duration{5 * time.Second, 20 * time.Minute} {
		t.Run(fmt.Sprint("after ", after), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const bad = 7
				q, s := newQueue(), newFar(t)
				refuses := true
				s.refuse = func(p parcel, _ Batch) error {
					for _, n := range p.Nums {
						if n == bad && refuses {
							return fmt.Errorf("%w: not today", ErrRefused)
						}
					}
					return nil
				}
				back := make(chan buffer.Place, 1)
				r := start(t, q, s, func(o *Options) {
					o.Readings = 1
					o.Returned = func() (p buffer.Place, ok bool) {
						select {
						case p = <-back:
							return p, true
						default:
							return p, false
						}
					}
				})
				r.anyOrder = true
				q.produce(20, 1, 500*time.Millisecond)
				time.Sleep(after)
				q.produce(20, 1, 500*time.Millisecond)
				r.peek(func() {
					if len(q.why) != 1 || s.has["ep1"][bad] != 0 {
						t.Errorf("set aside: %v", q.why)
					}
					refuses = false
					delete(q.rejected, "ep1")
					back <- buffer.Place{Epoch: 1, Number: bad}
				})
				select {
				case q.changed <- struct{}{}:
				default:
				}
				time.Sleep(10 * time.Second)
				q.produce(20, 1, 500*time.Millisecond)
				time.Sleep(time.Minute)
				r.peek(func() {
					if s.has["ep1"][bad] != 1 {
						t.Errorf("record %d came %d times, want once", bad, s.has["ep1"][bad])
					}
				})
				r.whole(t, 60)
			})
		})
	}
}
