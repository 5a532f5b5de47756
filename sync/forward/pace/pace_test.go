package pace

import (
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/sync/forward/uplink"
)

// TestBackoff checks the bounds of the pauses, that they differ, and that a stable minute starts them over.
func TestBackoff(t *testing.T) {
	bounds := []time.Duration{2, 4, 8, 16, 32, 64, 120, 120, 120}
	for try, bound := range bounds {
		low, high := time.Hour, time.Duration(0)
		for range 2000 {
			b := Backoff{tries: try}
			d := b.Next(time.Second, false)
			low, high = min(low, d), max(high, d)
		}
		bound *= time.Second
		if low < time.Second || high > bound || low > time.Second+(bound-time.Second)/20 || high < bound-(bound-time.Second)/20 {
			t.Errorf("try %d: pauses from %v to %v, want 1s to %v", try, low, high, bound)
		}
	}
	b := Backoff{tries: 50}
	b.Next(59*time.Second, false)
	if b.tries != 51 {
		t.Errorf("an unstable connection left %d tries, want 51", b.tries)
	}
	if d := b.Next(45*time.Second, true); d > 8*time.Second || b.tries != 3 {
		t.Errorf("after a connection that brought something through the pause is %v, try %d", d, b.tries)
	}
	if d := b.Next(time.Minute, false); d > 2*time.Second || b.tries != 1 {
		t.Errorf("after a stable minute the pause is %v, try %d", d, b.tries)
	}
	if d := b.Next(time.Second, true); d > 4*time.Second || b.tries != 2 {
		t.Errorf("what was brought through made the pause %v long, try %d", d, b.tries)
	}
}

func TestShare(t *testing.T) {
	var s Share
	var sum [4]int
	for i := range 10000 {
		l, size := uplink.LaneData, 1000+i%7*300
		if s.Backlog() {
			l = uplink.LaneBackfill
		}
		sum[l] += size
		s.Sent(l, size, false)
	}
	if got := float64(sum[uplink.LaneBackfill]) / float64(sum[uplink.LaneBackfill]+sum[uplink.LaneData]); got < 0.29 || got > 0.31 {
		t.Errorf("backlog had %.3f, want 0.30", got)
	}
	s.Sent(uplink.LaneData, 1<<30, false)
	s.Sent(uplink.LaneData, 1000, true)
	if s.Backlog() {
		t.Error("the past counts although a lane was alone")
	}
}

// TestWindowFollowsTheLink: bounds by number, by bytes, by the measured rate, and by receipts.
func TestWindowFollowsTheLink(t *testing.T) {
	now := time.Unix(0, 0)
	w := NewWindow(now, 0, 0)
	if !w.Room(1<<30, 0) {
		t.Error("the first batch may be of any size")
	}
	mark := w.Sent(1000)
	if w.Room(1, 0) || w.Unacked() != 1 {
		t.Error("a second batch may go before anything is known")
	}
	if !w.Room(1, 4) {
		t.Error("an alarm may not go beside it")
	}
	now = now.Add(time.Second)
	w.Acknowledged(1000, mark, now.Add(-time.Second), now)
	w.Settled(1000)
	if w.Rate() != 1000 || w.Limit() != 15000 || w.Batch() != 5000 {
		t.Errorf("rate %v, limit %d, batch %d; want 1000, 15000 and 5000", w.Rate(), w.Limit(), w.Batch())
	}
	w.Sent(13000)
	if w.Room(2001, 0) || !w.Room(2000, 0) {
		t.Error("want room for 15 s of the rate")
	}
	for range 100 { // the same moment: as fast as can be measured
		mark := w.Sent(10)
		w.Acknowledged(10, mark, now, now)
		w.Settled(10)
	}
	if w.Limit() != maxInFlightBytes {
		t.Errorf("limit %d", w.Limit())
	}
	for w.Room(10, 0) {
		w.Sent(10)
	}
	if w.Unacked() != maxInFlight {
		t.Errorf("%d batches in flight, want %d", w.Unacked(), maxInFlight)
	}
}

// TestRateForgets: the best rate counts for 10 to 20 s.
func TestRateForgets(t *testing.T) {
	now := time.Unix(0, 0)
	w := NewWindow(now, 0, 0)
	ack := func(bytes int, took time.Duration) {
		mark := w.Sent(bytes)
		now = now.Add(took)
		w.Acknowledged(bytes, mark, now.Add(-took), now)
		w.Settled(bytes)
	}
	ack(100_000, time.Second)
	for range 25 {
		ack(500, time.Second)
	}
	if w.Rate() != 500 {
		t.Errorf("rate %v after 25 s of a slower link, want 500", w.Rate())
	}
}

// TestReceiptsOpenTheWindow: without receipts only a few batches go, whatever is acknowledged.
func TestReceiptsOpenTheWindow(t *testing.T) {
	now := time.Unix(0, 0)
	w := NewWindow(now, 0, 0)
	for i := range 20 {
		n := 0
		for w.Room(10, 0) {
			mark := w.Sent(10)
			w.Acknowledged(10, mark, now, now.Add(time.Millisecond))
			n++
		}
		want := min(2<<i, maxAwaited)
		if n != want {
			t.Fatalf("round %d: %d batches went without a receipt, want %d", i, n, want)
		}
		for range n {
			w.Settled(10)
		}
	}
}

// TestLimits: 5 s of the rate, 15 s below 16 KiB, never nothing.
func TestLimits(t *testing.T) {
	for rate, want := range map[float64][2]int{
		0: {1 << 20, 1 << 20}, 0.01: {1024, 1024}, 300: {4500, 1500}, 2000: {16 << 10, 10000}, 8000: {40000, 40000}, 1e9: {1 << 20, 1 << 20},
	} {
		w := NewWindow(time.Unix(0, 0), 0, rate)
		if w.Limit() != want[0] || w.Batch() != want[1] {
			t.Errorf("rate %v: limit %d, batch %d, want %v", rate, w.Limit(), w.Batch(), want)
		}
	}
}

// TestOldRateIsForgotten: what a new connection knows of the one before counts for 10 s.
func TestOldRateIsForgotten(t *testing.T) {
	now := time.Unix(0, 0)
	w := NewWindow(now, 0, 8000)
	for _, x := range []struct {
		after time.Duration
		rate  float64
	}{{time.Second, 8000}, {8 * time.Second, 8000}, {2 * time.Second, 500}} {
		mark := w.Sent(500)
		now = now.Add(x.after)
		w.Acknowledged(500, mark, now.Add(-time.Second), now)
		if w.Settled(500); w.Rate() != x.rate {
			t.Errorf("after %v: rate %v, want %v", now.Sub(time.Unix(0, 0)), w.Rate(), x.rate)
		}
	}
}
