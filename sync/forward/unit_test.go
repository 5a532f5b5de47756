package forward

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer"
)

// TestRewind: each lane comes back to the first of its records that was not settled. What live readings left behind at a jump is the
// backlog's, even if a step of the clock makes it look live again.
func TestRewind(t *testing.T) {
	q := newQueue()
	f, err := New(Options{Source: q, Open: newFar(t).open, Decode: q.decode, Encode: encode})
	if err != nil {
		t.Fatal(err)
	}
	live, back, alarm := f.lanes[LaneData], f.lanes[LaneBackfill], f.lanes[LaneAlarm]
	at := func(n uint64) buffer.Place { return buffer.Place{Epoch: 1, Number: n} }
	live.floor, live.next, back.next, alarm.next = at(81), at(120), at(60), at(100)
	c := newConn(f, nil)
	for _, x := range []struct {
		lane Lane
		n    uint64
	}{{LaneData, 40}, {LaneBackfill, 50}, {LaneData, 85}, {LaneData, 95}, {LaneAlarm, 99}} {
		c.flights = append(c.flights, &flight{lane: x.lane, place: at(x.n), last: x.n, at: time.Now().Add(-time.Minute)})
	}
	f.rewind(c, errCut)
	if live.next != at(85) || back.next != at(40) || alarm.next != at(99) {
		t.Errorf("lanes come back to %v, %v, %v; want 85, 40, 99", live.next, back.next, alarm.next)
	}
}

// TestPoisonIsClearedByAnotherDrop: with a record held back, a drop says that it is the link.
func TestPoisonIsClearedByAnotherDrop(t *testing.T) {
	var p poison
	bad := &flight{place: buffer.Place{Epoch: 1, Number: 7}, last: 7, records: 1, epoch: "ep1", at: time.Now()}
	other := &flight{place: buffer.Place{Epoch: 1, Number: 8}, last: 8, records: 1, epoch: "ep1", at: time.Now()}
	for range poisonDrops {
		p.ended([]*flight{bad}, errCut)
	}
	if h := p.held(1); h == nil || *h != (tidegate.Range{First: 7, Last: 7}) || p.held(2) != nil {
		t.Fatalf("held back %v, want 7", h)
	}
	old := *other
	old.at = time.Now().Add(-6 * time.Second)
	p.ended([]*flight{&old}, errCut)
	p.ended(nil, errCut)
	if p.held(1) == nil {
		t.Error("drops long after a batch was sent, or with nothing in flight, say nothing")
	}
	p.ended([]*flight{other}, errCut)
	if p.held(1) != nil {
		t.Error("still held back")
	}
}

// TestPartsCountTogether: a record in parts is settled only when each of them was acknowledged.
func TestPartsCountTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), newFar(t)
		s.noAck = func(p parcel) bool { return p.Part.Index == 2 }
		q.put(tidegate.ClassReading, 1, 1000)
		r := start(t, q, s, func(o *Options) { o.Readings, o.MaxPayload = 2000, 5000 })
		time.Sleep(10 * time.Minute)
		r.peek(func() {
			if len(q.done) != 0 {
				t.Errorf("settled %v", q.done)
			}
			s.noAck = nil
		})
		time.Sleep(10 * time.Minute)
		r.whole(t, 1)
	})
}

// TestRefusedPart: a record of which a part is refused is set aside, and the parts before it do not matter any more.
func TestRefusedPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), newFar(t)
		s.latency = time.Second
		s.refuse = func(p parcel, _ Batch) error {
			if p.Part.Index == 3 {
				return ErrRefused
			}
			return nil
		}
		q.put(tidegate.ClassReading, 1, 1000)
		q.put(tidegate.ClassReading, 1, 1)
		r := start(t, q, s, func(o *Options) { o.Readings, o.MaxPayload = 2000, 5000 })
		time.Sleep(time.Minute)
		if st := r.f.Stats(); st.InFlight != 0 || st.Refused != 1 || st.Confirmed.Records != 1 || st.Connects != 1 {
			t.Errorf("stats %+v", st)
		}
		r.whole(t, 1)
	})
}

// TestMemoryIsBounded: lanes that are never quite empty do not grow.
func TestMemoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), newFar(t)
		for range 5000 {
			q.put(tidegate.ClassReading, 5, 3)
		}
		r := start(t, q, s, func(o *Options) { o.Readings = 7 })
		time.Sleep(time.Hour)
		r.whole(t, 25000)
		if n := cap(r.f.lanes[LaneData].base); n > 100 {
			t.Errorf("the live lane has room for %d records, want a few", n)
		}
	})
}

// TestQueueThatCannotBeRead ends Run, whatever it was looked at for.
func TestQueueThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, s := newQueue(), newFar(t)
		q.put(tidegate.ClassReading, 1, 1)
		time.Sleep(time.Hour)
		broken := &brokenQueue{queue: q}
		r := start(t, q, s, func(o *Options) { o.Source = broken })
		time.Sleep(time.Minute)
		if err := r.stop(); err == nil || err.Error() != "look at the queue: input/output error" {
			t.Errorf("Run: %v", err)
		}
	})
}

// brokenQueue fails when it is looked at for the fifth time: the search for what is live.
type brokenQueue struct {
	*queue
	n int
}

func (q *brokenQueue) Next(class tidegate.Class, from buffer.Place, maxBytes int) ([]buffer.Look, error) {
	if q.n++; q.n >= 5 {
		return nil, errors.New("input/output error")
	}
	return q.queue.Next(class, from, maxBytes)
}
