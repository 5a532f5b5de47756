package forward

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate"
)

// rig is a Forwarder between a queue and a far side.
type rig struct {
	q    *queue
	s    *far
	f    *Forwarder
	stop func() error

	anyOrder bool // a record was held back: it may come after its successors
}

// start runs a forwarder in the bubble of t.
func start(t *testing.T, q *queue, s *far, change func(o *Options)) *rig {
	t.Helper()
	o := Options{Name: "cloud", Gateway: "gw", Source: q, Open: s.open, Decode: q.decode, Encode: encode, Readings: 100, Every: time.Second}
	if change != nil {
		change(&o)
	}
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	r := &rig{q: q, s: s, f: f}
	r.stop = func() error { cancel(); return <-ended }
	return r
}

// whole checks that everything was delivered and settled, in order, and stops the forwarder.
func (r *rig) whole(t *testing.T, records int) {
	t.Helper()
	if err := r.stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	n := 0
	for _, m := range r.s.has {
		n += len(m)
	}
	if n != records || r.q.left() != 0 {
		t.Errorf("delivered %d records, want %d; %d left in the queue", n, records, r.q.left())
	}
	if !r.anyOrder {
		r.s.checkOrder(t)
	}
	r.credible(t)
}

// credible checks that nothing was settled that the far side does not have.
func (r *rig) credible(t *testing.T) {
	t.Helper()
	for ep, rs := range r.q.done {
		for _, x := range *rs {
			for n := x.First; n <= x.Last && n < r.q.next; n++ {
				if r.s.has[ep][n] == 0 {
					t.Errorf("record %s/%d was settled, but the far side does not have it", ep, n)
				}
			}
		}
	}
}

// peek calls f while nothing else happens.
func (r *rig) peek(f func()) {
	synctest.Wait()
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.q.mu.Lock()
	defer r.q.mu.Unlock()
	f()
}

// produce puts n frames of one record at an interval.
func (q *queue) produce(n, readings int, every time.Duration) {
	for range n {
		q.put(tidegate.ClassReading, 1, readings)
		time.Sleep(every)
	}
}

func TestForwarding(t *testing.T) {
	table := []struct {
		name string
		far  func(s *far)
		opt  func(o *Options)
	}{
		{"plain link delivers", nil, nil},
		{"gzip delivers", nil, func(o *Options) { o.Gzip = true }},
		{"slow link delivers", func(s *far) { s.rate, s.latency = 8000, 300*time.Millisecond }, nil},
		{"batches of one reading deliver", nil, func(o *Options) { o.Readings = 1 }},
		{"connection cut after every third batch, nothing of it arrived", func(s *far) {
			s.latency = 100 * time.Millisecond
			s.cut = func(_ *wireLink, _ parcel, n int) bool { return n == 3 }
		}, nil},
		{"connection cut before the acknowledgement, all arrived", func(s *far) {
			s.latency = 100 * time.Millisecond
			s.cut = func(l *wireLink, _ parcel, n int) bool {
				if n != 4 {
					return false
				}
				for i := range l.acks { // they are there, their acknowledgements are not
					l.acks[i].there = time.Now()
				}
				return true
			}
		}, nil},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q, s := newQueue(), newFar(t)
				if c.far != nil {
					c.far(s)
				}
				r := start(t, q, s, c.opt)
				q.produce(300, 7, 50*time.Millisecond)
				s.mu.Lock()
				s.cut = nil
				s.mu.Unlock()
				time.Sleep(5 * time.Minute)
				r.whole(t, 300)
			})
		})
	}
}

func TestOutageOfEightHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), newFar(t)
		up := time.Now().Add(9 * time.Hour)
		began := time.Now()
		s.rate, s.latency = 100_000, 100*time.Millisecond
		s.down = func() bool { return time.Since(began) > time.Hour && time.Now().Before(up) }
		s.cut = func(_ *wireLink, _ parcel, _ int) bool {
			return time.Since(began) > time.Hour && time.Now().Before(up)
		}
		r := start(t, q, s, nil)
		q.produce(10*3600, 10, time.Second)
		live := 0
		r.peek(func() { live = len(s.order[LaneData]) })
		time.Sleep(time.Hour)
		r.whole(t, 10*3600)
		if back := len(s.order[LaneBackfill]); back < 7.9*3600 || live < 1.9*3600 {
			t.Errorf("%d records came as backlog, %d live; want about 8 h of backlog and 2 h live", back, live)
		}
		if n := r.f.lanes[LaneData].floor.Number; n < 9*3600-120 || n > 9*3600+600 {
			t.Errorf("live readings went on at record %d, want about %d", n, 9*3600)
		}
		if st := r.f.Stats(); st.Confirmed.Records != 10*3600 || st.Confirmed.Readings != 100*3600 || st.Resent > 200 {
			t.Errorf("stats %+v", st)
		}
		// After the outage live readings do not wait for the backlog.
		for i, p := range s.sent {
			if s.lanes[i] == LaneData && s.when[i].Sub(time.Unix(0, 0)) > 0 && s.when[i].After(up.Add(3*time.Minute)) {
				age := s.when[i].Sub(began) - time.Duration(p.Nums[len(p.Nums)-1]-1)*time.Second
				if age > 3*time.Second {
					t.Fatalf("live record %d went %v after it was taken", p.Nums[0], age)
				}
			}
		}
	})
}

func TestNothingIsSettledWithoutAcknowledgement(t *testing.T) {
	table := []struct {
		name string
		far  func(s *far)
	}{
		{"the far side never acknowledges", func(s *far) { s.noAck = func(parcel) bool { return true } }},
		{"the far side acknowledges what was never sent", func(s *far) { s.wrongID = true }},
		{"the connection is cut after each batch", func(s *far) {
			s.latency = time.Second
			s.cut = func(*wireLink, parcel, int) bool { return true }
		}},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q, s := newQueue(), newFar(t)
				c.far(s)
				r := start(t, q, s, nil)
				q.produce(100, 10, time.Second)
				time.Sleep(time.Hour)
				r.peek(func() {
					if len(q.done) != 0 || len(q.rejected) != 0 {
						t.Errorf("settled %v, set aside %v; want nothing", q.done, q.why)
					}
					st := r.f.Stats()
					if s.opens < 25 || s.opens > 150 || st.LastError == "" || st.Confirmed.Records != 0 {
						t.Errorf("%d connections in an hour, stats %+v", s.opens, st)
					}
					r.anyOrder = s.cut != nil
					s.noAck, s.wrongID, s.cut = nil, false, nil
				})
				time.Sleep(10 * time.Minute)
				r.whole(t, 100)
			})
		})
	}
}

func TestRefusedRecordIsSetAside(t *testing.T) {
	for _, bad := range []uint64{1, 64, 333, 512} {
		t.Run(fmt.Sprint("record ", bad), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q, s := newQueue(), newFar(t)
				refusals := 0
				s.refuse = func(p parcel, _ Batch) error {
					for _, n := range p.Nums {
						if n == bad {
							refusals++
							return fmt.Errorf("%w: topic has a space in it", ErrRefused)
						}
					}
					return nil
				}
				q.put(tidegate.ClassReading, 512, 1)
				r := start(t, q, s, func(o *Options) { o.Readings = 512 })
				time.Sleep(10 * time.Minute)
				r.whole(t, 511)
				if refusals > 10 { // log2(512)+1
					t.Errorf("%d refusals, want at most 10", refusals)
				}
				want := fmt.Sprintf("ep1 %d-%d: refused: topic has a space in it", bad, bad)
				if len(q.why) != 1 || q.why[0] != want {
					t.Errorf("set aside %q, want %q", q.why, want)
				}
				if st := r.f.Stats(); st.Refused != 1 || st.Connects != 1 {
					t.Errorf("stats %+v", st)
				}
			})
		})
	}
}

func TestReceipts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), newFar(t)
		lost := true
		s.lose = func(p parcel) bool { return lost && p.Nums[0] <= 50 && p.Nums[len(p.Nums)-1] >= 50 }
		given := func(ep string) (uint64, bool) { return 100, ep == "ep1" }
		r := start(t, q, s, func(o *Options) { o.Receipts, o.Readings, o.Given = true, 10, given })
		receipt := func() {
			c := Confirmation{Epoch: "ep1"}
			var l *wireLink
			r.peek(func() {
				for n := uint64(1); n < q.next; n++ {
					if s.has["ep1"][n] > 0 {
						c.Upto = n
					}
				}
				for n := uint64(1); n < c.Upto; n++ {
					if s.has["ep1"][n] == 0 {
						c.Holes.Add(tidegate.Range{First: n, Last: n})
					}
				}
				l = s.links[len(s.links)-1]
			})
			l.give(c)
		}
		for range 100 {
			q.put(tidegate.ClassReading, 1, 5)
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(3 * time.Second)
		r.peek(func() {
			if len(q.done) != 0 {
				t.Errorf("settled %v before any receipt", q.done)
			}
		})
		for range 12 {
			receipt()
			time.Sleep(2 * time.Second)
		}
		r.peek(func() {
			if got := q.done["ep1"]; got == nil || got.Contains(50) || !got.Contains(40) || !got.Contains(60) {
				t.Errorf("settled %v, want all but the hole at 50", got)
			}
			lost = false
		})
		for range 100 { // the hole is sent again in time
			time.Sleep(2 * time.Second)
			receipt()
		}
		receipt()
		time.Sleep(time.Second)
		r.whole(t, 100)
		if s.opens != 2 {
			t.Errorf("%d connections, want 2", s.opens)
		}
	})
}

func TestReceiptsThatNeverCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), newFar(t)
		r := start(t, q, s, func(o *Options) { o.Receipts, o.Readings = true, 10 })
		q.produce(200, 5, time.Second)
		time.Sleep(time.Hour)
		r.peek(func() {
			if len(q.done) != 0 {
				t.Errorf("settled %v without a receipt", q.done)
			}
		})
		st := r.f.Stats()
		if st.Sent.Batches > 180 {
			t.Errorf("%d batches were sent in an hour without one receipt, want two or three a minute", st.Sent.Batches)
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestRestoredBackup(t *testing.T) {
	for _, receipts := range []bool{false, true} {
		t.Run(fmt.Sprint("receipts ", receipts), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q, s := newQueue(), newFar(t)
				s.early = []Confirmation{{Epoch: "other", Upto: 1e9}, {Epoch: "ep1", Missing: true}, {Epoch: "ep1", Upto: 101}}
				q.put(tidegate.ClassReading, 100, 1)
				var seen []string
				r := start(t, q, s, func(o *Options) {
					o.Receipts = receipts
					o.Given = func(ep string) (uint64, bool) { return 100, ep == "ep1" }
					o.Beyond = func(ep string, upto uint64) { seen = append(seen, fmt.Sprint(ep, " ", upto)) }
				})
				time.Sleep(time.Second)
				err := r.stop()
				if !errors.Is(err, ErrBeyond) {
					t.Errorf("Run returned %v", err)
				}
				const want = "receipt up to record 101 of epoch ep1, given at most 100: " +
					"the far side has numbers that this gateway never gave"
				if err == nil || err.Error() != want {
					t.Errorf("Run returned %q, want %q", err, want)
				}
				if len(seen) != 1 || seen[0] != "ep1 101" || len(s.sent) != 0 || len(q.done) != 0 {
					t.Errorf("Beyond %v, sent %d, settled %v; want one call and nothing else", seen, len(s.sent), q.done)
				}
			})
		})
	}
}

func TestQueueErrorEndsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), newFar(t)
		q.ackErr = errors.New("input/output error")
		q.put(tidegate.ClassReading, 100, 1)
		r := start(t, q, s, nil)
		time.Sleep(time.Minute)
		err := r.stop()
		if want := "settle records: input/output error"; err == nil || err.Error() != want {
			t.Errorf("Run returned %v, want %q", err, want)
		}
		if !s.links[0].closed {
			t.Error("the connection was left open")
		}
	})
}

func TestNewRefusesBadOptions(t *testing.T) {
	q := newQueue()
	good := Options{Source: q, Open: newFar(t).open, Decode: q.decode, Encode: encode}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
	bad := good
	bad.Source = nil
	if _, err := New(bad); err == nil || err.Error() != "make a forwarder: Source, Open, Decode and Encode must be set" {
		t.Error(err)
	}
	bad = good
	bad.Readings = -1
	if _, err := New(bad); err == nil || err.Error() != "make a forwarder: readings -1, every 0s, max payload 0: none may be negative" {
		t.Error(err)
	}
}
