package forward

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate"
)

// TestAlarmsOvertake: with a backlog of hours on a slow link, an alarm and an audit record go before it, and live readings too.
func TestAlarmsOvertake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), newFar(t)
		for range 300 {
			q.put(tidegate.ClassReading, 10, 10)
		}
		time.Sleep(2 * time.Minute) // now it is backlog
		s.rate, s.latency = 8000, 200*time.Millisecond
		r := start(t, q, s, nil)
		time.Sleep(20 * time.Second)
		alarmAt := time.Now()
		q.put(tidegate.ClassAlarm, 1, 1)
		q.put(tidegate.ClassAudit, 1, 1)
		time.Sleep(20 * time.Second)
		took := map[Lane]time.Duration{}
		backlog := 0
		r.peek(func() {
			for i, l := range s.lanes {
				if l == LaneAlarm || l == LaneAudit {
					took[l] = s.when[i].Sub(alarmAt)
				} else if s.when[i].After(alarmAt) {
					backlog++
				}
			}
		})
		if len(took) != 2 || took[LaneAlarm] > 20*time.Millisecond || took[LaneAudit] > 2*time.Second {
			t.Errorf("handed over after %v, want the alarm within 20 ms and the audit record with the next room", took)
		}
		if backlog == 0 {
			t.Error("no backlog went meanwhile: the link was not busy")
		}
		time.Sleep(time.Hour)
		r.whole(t, 3002)
	})
}

// TestLiveReadingsAndBacklogShareTheLink by about 70 to 30 while both have something.
func TestLiveReadingsAndBacklogShareTheLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), newFar(t)
		for range 2000 {
			q.put(tidegate.ClassReading, 10, 10)
		}
		time.Sleep(2 * time.Minute)
		s.rate, s.latency = 20000, 50*time.Millisecond
		r := start(t, q, s, nil)
		q.produce(600, 200, 100*time.Millisecond) // twice what the link takes
		var sum [4]int
		r.peek(func() {
			for i, p := range s.sent {
				sum[s.lanes[i]] += len(p.Extra)
			}
		})
		share := float64(sum[LaneBackfill]) / float64(sum[LaneData]+sum[LaneBackfill])
		if share < 0.25 || share > 0.36 {
			t.Errorf("backlog had %.2f of the link (%v bytes), want about 0.30", share, sum)
		}
		time.Sleep(3 * time.Hour)
		r.whole(t, 20600)
	})
}

// TestWindow: what is in flight keeps to what the link takes, nothing times out, and the link is kept busy.
func TestWindow(t *testing.T) {
	table := []struct {
		name    string
		rate    int
		latency time.Duration
		most    int // bytes in flight
		batches int
		busy    float64
		run     time.Duration
	}{
		{"64 kbit/s with 2 s latency", 8000, 2 * time.Second, 5*8000 + 3000, 64, 0.85, 3 * time.Minute},
		{"2400 bit/s", 300, 500 * time.Millisecond, 5*300 + 3000, 64, 0.85, 3 * time.Minute},
		{"10 Mbit/s with 100 ms latency", 1_250_000, 100 * time.Millisecond, 64 * 2300, 64, 0.75, 4 * time.Second},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q, s := newQueue(), newFar(t)
				for range 3000 {
					q.put(tidegate.ClassReading, 10, 10)
				}
				time.Sleep(2 * time.Minute)
				s.rate, s.latency = c.rate, c.latency
				began := time.Now()
				r := start(t, q, s, nil)
				time.Sleep(c.run)
				if err := r.stop(); err != nil {
					t.Error(err)
				}
				size := 0
				for _, p := range s.sent {
					size += len(p.Extra) + 100
				}
				busy := float64(size) / float64(c.rate) / time.Since(began).Seconds()
				if s.opens != 1 || s.peakB > c.most || s.peak > c.batches || (busy < c.busy && q.left() > 0) {
					t.Errorf("%d connections, at most %d batches and %d bytes in flight (want %d), link busy %.2f (want %.2f), %d left",
						s.opens, s.peak, s.peakB, c.most, busy, c.busy, q.left())
				}
				r.credible(t)
			})
		})
	}
}

// TestLateAcknowledgements: a far side that answers after so long is not taken for a slow link, on which batches shrink to one record.
func TestLateAcknowledgements(t *testing.T) {
	for _, c := range []struct {
		latency time.Duration
		within  time.Duration
	}{{6 * time.Second, 7 * time.Minute}, {9 * time.Second, 15 * time.Minute}} {
		synctest.Test(t, func(t *testing.T) {
			q, s := newQueue(), newFar(t)
			for range 400 {
				q.put(tidegate.ClassReading, 10, 10)
			}
			time.Sleep(2 * time.Minute)
			s.latency = c.latency
			r := start(t, q, s, nil)
			time.Sleep(c.within) // 800 KB
			if left := q.left(); left > 0 || s.opens != 1 {
				t.Errorf("acknowledgements after %v: %d of 4000 records left after %v, %d connections; want none, 1",
					c.latency, left, c.within, s.opens)
			}
			r.whole(t, 4000)
		})
	}
}

// TestRateOutlastsAConnection: the first batch after a reconnect is no larger than what the link took before.
func TestRateOutlastsAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), newFar(t)
		for range 300 {
			q.put(tidegate.ClassReading, 10, 10)
		}
		time.Sleep(2 * time.Minute)
		s.rate = 1000
		s.cut = func(_ *wireLink, _ parcel, n int) bool { return n == 20 }
		r := start(t, q, s, func(o *Options) { o.Readings = 10000 })
		time.Sleep(5 * time.Minute)
		r.peek(func() { s.cut = nil })
		time.Sleep(30 * time.Minute)
		r.whole(t, 3000)
		late := 0
		for _, p := range s.sent[5:] { // it is known by then
			if len(p.Extra) > 5500 {
				late++
			}
		}
		if late > 0 {
			t.Errorf("%d of %d batches were larger than what the link takes in 5 s", late, len(s.sent))
		}
	})
}

// TestVerySlowLinkStartsSmaller: a first batch that takes longer than the ack timeout is halved with each try until it gets through.
func TestVerySlowLinkStartsSmaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), newFar(t)
		q.put(tidegate.ClassReading, 100, 10)
		s.rate = 100
		r := start(t, q, s, func(o *Options) { o.Readings = 1000 }) // 20 KB: 200 s
		time.Sleep(time.Hour)
		r.whole(t, 100)
		if s.opens < 3 || s.opens > 5 {
			t.Errorf("%d connections, want 3 to 5", s.opens)
		}
	})
}

// TestNoBusyLoop counts how often the queue is looked at.
func TestNoBusyLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), newFar(t)
		s.latency = 50 * time.Millisecond
		r := start(t, q, s, nil)
		looks := func(most int, when string) {
			r.peek(func() {
				if q.looks > most {
					t.Errorf("%d looks %s, want at most %d", q.looks, when, most)
				}
				q.looks = 0
			})
		}
		time.Sleep(time.Hour)
		looks(10, "in an idle hour")
		q.produce(600, 1, 100*time.Millisecond)
		looks(600*8, "at 600 records in a minute")
		q.produce(60000, 1, time.Millisecond)
		looks(60*100*8, "at 60,000 records in a minute")
		r.peek(func() { s.noAck = func(parcel) bool { return true } })
		q.put(tidegate.ClassReading, 100, 100) // more than the window takes
		time.Sleep(20 * time.Second)
		looks(100, "in 20 s of waiting for an acknowledgement")
		r.peek(func() { s.noAck = nil })
		time.Sleep(5 * time.Minute)
		r.whole(t, 60700)
	})
}

func TestBatching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), newFar(t)
		r := start(t, q, s, func(o *Options) { o.Readings, o.Every = 100, 2*time.Second })
		time.Sleep(time.Second)
		began := time.Now()
		q.put(tidegate.ClassReading, 3, 10)
		time.Sleep(1900 * time.Millisecond)
		r.peek(func() {
			if len(s.sent) != 0 {
				t.Errorf("sent %v before the oldest waited 2 s", s.sent)
			}
		})
		time.Sleep(200 * time.Millisecond)
		r.peek(func() {
			if len(s.sent) != 1 || len(s.sent[0].Nums) != 3 || s.when[0].Sub(began) != 2*time.Second {
				t.Errorf("sent %v at %v, want 3 records after 2 s", s.sent, s.when)
			}
		})
		q.put(tidegate.ClassReading, 25, 10) // two full batches at once, the rest later
		time.Sleep(20 * time.Millisecond)
		r.peek(func() {
			if len(s.sent) != 3 || len(s.sent[1].Nums) != 10 || len(s.sent[2].Nums) != 10 {
				t.Errorf("sent %d batches, want two full ones at once", len(s.sent)-1)
			}
		})
		q.put(tidegate.ClassReading, 1, 150) // longer than a batch: it stays whole
		time.Sleep(3 * time.Second)
		r.whole(t, 29)
		if n := len(s.sent); n != 5 || s.sent[4].Lens[0] != 150 {
			t.Errorf("sent %d batches, want 5, the last of 150 readings", n)
		}
	})
}

func TestEpochsAreNotMixed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), newFar(t)
		q.put(tidegate.ClassReading, 5, 1)
		q.newEpoch()
		q.put(tidegate.ClassReading, 5, 1)
		r := start(t, q, s, nil)
		time.Sleep(10 * time.Second)
		r.whole(t, 10)
		if len(s.sent) != 2 || s.sent[0].Ep != "ep1" || s.sent[1].Ep != "ep2" {
			t.Errorf("sent %v, want one batch of each epoch", s.sent)
		}
	})
}

func TestRecordsForOthersAreSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), newFar(t)
		q.putFor(tidegate.ClassReading, 6, 1, func(i int) string { return []string{"", "other", "cloud"}[i%3] })
		q.putFor(tidegate.ClassReading, 2, 1, func(int) string { return "other" })
		r := start(t, q, s, nil)
		time.Sleep(10 * time.Second)
		r.whole(t, 8)
		if got := fmt.Sprint(s.sent[0].Nums, s.sent[0].Skip); len(s.sent) != 1 || got != "[1 3 4 6] [{2 2} {5 5} {7 8}]" {
			t.Errorf("sent %s in %d batches", got, len(s.sent))
		}
		if st := r.f.Stats(); st.Skipped != 4 || st.Confirmed.Records != 8 || st.Confirmed.Readings != 4 {
			t.Errorf("stats %+v", st)
		}
	})
}

// TestPartialFrames: after a restart the cursor wants some records of a frame only.
func TestPartialFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), newFar(t)
		q.put(tidegate.ClassReading, 20, 1)
		q.put(tidegate.ClassReading, 20, 1)
		if err := q.Ack("ep1", tidegate.Ranges{{First: 1, Last: 3}, {First: 7, Last: 12}, {First: 20, Last: 22}}); err != nil {
			t.Fatal(err)
		}
		s.has["ep1"] = map[uint64]int{1: 1, 2: 1, 3: 1, 7: 1, 8: 1, 9: 1, 10: 1, 11: 1, 12: 1, 20: 1, 21: 1, 22: 1}
		r := start(t, q, s, nil)
		time.Sleep(10 * time.Second)
		r.whole(t, 40)
		if got := fmt.Sprint(s.sent[0].Nums[:9]); got != "[4 5 6 13 14 15 16 17 18]" || len(s.sent[0].Nums) != 28 {
			t.Errorf("sent %v", s.sent[0].Nums)
		}
	})
}

func TestDamagedFrameIsSetAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), newFar(t)
		q.put(tidegate.ClassReading, 5, 1)
		q.put(tidegate.ClassReading, 5, 1)
		q.put(tidegate.ClassReading, 5, 1)
		q.badBody[6] = true
		r := start(t, q, s, nil)
		time.Sleep(10 * time.Second)
		r.whole(t, 10)
		if want := "ep1 6-10: wrong version 9, want 1"; len(q.why) != 1 || q.why[0] != want {
			t.Errorf("set aside %q, want %q", q.why, want)
		}
	})
}

// TestLargeRecordGoesInParts: a record alone is larger than the far side takes.
func TestLargeRecordGoesInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), newFar(t)
		s.latency = time.Second
		cuts := 0
		s.cut = func(_ *wireLink, p parcel, _ int) bool { // once in the middle of the parts
			if p.Part.Index == 3 && cuts == 0 {
				cuts++
				return true
			}
			return false
		}
		q.put(tidegate.ClassReading, 1, 10)
		q.put(tidegate.ClassReading, 1, 1000)
		q.put(tidegate.ClassReading, 1, 10)
		r := start(t, q, s, func(o *Options) { o.Readings, o.MaxPayload = 2000, 5000 })
		time.Sleep(5 * time.Minute)
		r.whole(t, 3)
		readings, seen := 0, map[int]bool{}
		for _, p := range s.sent {
			if p.Part.Total > 1 && !seen[p.Part.Index] {
				seen[p.Part.Index] = true
				readings += p.Lens[0]
			}
		}
		if readings != 1000 || len(seen) != 5 {
			t.Errorf("%d readings in %d parts, want 1000 in 5", readings, len(seen))
		}
		if st := r.f.Stats(); st.Confirmed.Records != 3 || st.Confirmed.Readings != 1020 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestPayloadsKeepToTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), newFar(t)
		most := 0
		s.refuse = func(_ parcel, b Batch) error { most = max(most, len(b.Payload)); return nil }
		q.put(tidegate.ClassReading, 500, 10)
		r := start(t, q, s, func(o *Options) { o.Readings, o.MaxPayload = 5000, 4000 })
		time.Sleep(time.Minute)
		r.whole(t, 500)
		if most > 4000 || most < 3000 {
			t.Errorf("largest payload has %d bytes, want nearly 4000", most)
		}
	})
}

// TestStop: what is in flight when Run is told to stop is waited for, up to 5 s.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			latency, took time.Duration
			left          int
		}{{3 * time.Second, 3 * time.Second, 0}, {time.Minute, 5 * time.Second, 10}} {
			q, s := newQueue(), newFar(t)
			s.latency = c.latency
			r := start(t, q, s, func(o *Options) { o.Every = time.Millisecond })
			time.Sleep(time.Second)
			q.put(tidegate.ClassReading, 10, 1)
			time.Sleep(10 * time.Millisecond)
			began := time.Now()
			if err := r.stop(); err != nil {
				t.Error(err)
			}
			if took := time.Since(began).Round(100 * time.Millisecond); took != c.took || q.left() != c.left {
				t.Errorf("stopped after %v with %d left, want %v and %d", took, q.left(), c.took, c.left)
			}
			if !s.links[0].closed {
				t.Error("connection not closed")
			}
		}
	})
}

func TestOpenIsGivenUpWhenStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		f, err := New(Options{Source: q, Decode: q.decode, Encode: encode, Open: func(ctx context.Context) (Uplink, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := f.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}
