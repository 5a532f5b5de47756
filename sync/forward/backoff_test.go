package forward

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestPausesBetweenConnections: how often a gateway comes back depends on what became of the connections before, not on how long
// they stood or took to open.
func TestPausesBetweenConnections(t *testing.T) {
	table := []struct {
		name        string
		far         func(s *far)
		receipts    bool
		least, most int // connections in four hours
		settled     bool
	}{
		{"a receiver that is away: ever more rarely", func(s *far) {}, true, 100, 150, false},
		{"a broker that stops acknowledging: ever more rarely", func(s *far) { s.noAck = func(parcel) bool { return true } }, false, 130, 190, false},
		{"a link that drops every 45 s and delivers: soon again", func(s *far) {
			s.latency = 50 * time.Millisecond
		}, false, 250, 320, true},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q, s := newQueue(), newFar(t)
				c.far(s)
				r := start(t, q, s, func(o *Options) {
					o.Receipts = c.receipts
					o.Open = func(ctx context.Context) (Uplink, error) {
						up, err := s.open(ctx)
						if l, ok := up.(*wireLink); ok && c.settled {
							time.AfterFunc(45*time.Second, func() {
								s.mu.Lock()
								defer s.mu.Unlock()
								l.die()
							})
						}
						return up, err
					}
				})
				q.produce(4*3600/10, 1, 10*time.Second)
				if err := r.stop(); err != nil {
					t.Error(err)
				}
				if s.opens < c.least || s.opens > c.most || c.settled != (len(q.done) > 0) {
					t.Errorf("%d connections in 4 h, want %d to %d; settled %v", s.opens, c.least, c.most, q.done)
				}
			})
		})
	}
}

// TestSlowOpenIsNoStableConnection: what Open took is not counted.
func TestSlowOpenIsNoStableConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s, opens := newQueue(), newFar(t), 0
		r := start(t, q, s, func(o *Options) {
			o.Open = func(ctx context.Context) (Uplink, error) {
				opens++
				time.Sleep(61 * time.Second)
				if opens%2 == 0 {
					return nil, errors.New("nothing answers")
				}
				up, err := s.open(ctx)
				time.AfterFunc(time.Second, func() {
					s.mu.Lock()
					defer s.mu.Unlock()
					s.links[len(s.links)-1].die()
				})
				return up, err
			}
		})
		time.Sleep(4 * time.Hour)
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		if opens < 90 || opens > 160 { // 61 s and half of two minutes each
			t.Errorf("%d connections in 4 h, want about 120", opens)
		}
	})
}
