package buffer

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/wear"
)

// TestCardWearsOut has a disk whose commits become slow from one day to the next: it is told after three days, also by a process that was started
// in between; before that, one commit that took half a minute was not.
func TestCardWearsOut(t *testing.T) {
	if testing.Short() {
		return // under an emulator it takes too long
	}
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		takes := 20 * time.Millisecond
		o := testOptions(dir)
		o.Compactors = 0 // they poll
		o.Boot = func() time.Duration { return time.Since(began) }
		o.Written = func() uint64 { return 0 }
		o.slow = func() { time.Sleep(takes) }
		q := open(t, o)
		q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
		next := uint64(1)
		put := func() {
			t.Helper()
			f := frame(tidegate.ClassReading, next, next, 1)
			q.Put(f)
			commit(t, q, Commit{Frames: []Frame{f}, Position: Position{Epoch: 1, Next: next + 1}})
			next++
		}
		days := func(n int) {
			t.Helper()
			for end := time.Now().Add(time.Duration(n) * 24 * time.Hour); time.Now().Before(end); time.Sleep(12 * time.Minute) {
				put()
			}
			if err := q.Close(); err != nil {
				t.Fatal(err)
			}
			q = open(t, o)
		}
		want := func(when string, slow bool) {
			t.Helper()
			if got := q.Stats().Card.Trend; got.Slow != slow {
				t.Errorf("%s: %+v, want slow %v", when, got, slow)
			}
		}
		days(5)
		takes = 30 * time.Second
		put()
		takes = 20 * time.Millisecond
		days(5)
		want("one slow commit in ten days", false)
		takes = 400 * time.Millisecond
		days(2)
		want("two slow days", false)
		days(2)
		want("four slow days", true)
		takes = 20 * time.Millisecond
		days(2)
		want("two days later", true)
		days(2)
		want("four days later", false)
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestWrittenIsKept: what was written to the card counts over restarts and kills, to the last commit.
func TestWrittenIsKept(t *testing.T) {
	now, written := time.Hour, uint64(0)
	o := testOptions(t.TempDir())
	o.Boot = func() time.Duration { return now }
	o.Written = func() uint64 { return written }
	o.WrittenPerDay = 1_000_000
	q := open(t, o)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	for n := uint64(1); n <= 3; n++ {
		now += time.Minute
		written += 1000
		f := frame(tidegate.ClassReading, n, n, 1)
		commit(t, q, Commit{Frames: []Frame{f}, Position: Position{Epoch: 1, Next: n + 1}})
	}
	if _, account := q.card.Store(); account != nil {
		t.Errorf("each commit would store the account of %d bytes, want one a quarter of an hour", len(account))
	}
	if err := q.Close(); err != nil { // as good as a kill: it stores nothing more
		t.Fatal(err)
	}
	written = 0
	q = open(t, o)
	if got := q.Stats().Card; got.LastDay != 3000 || got.Limit != 1_000_000 || q.Pace() != (wear.Pace{}) {
		t.Errorf("got %+v, want 3000 bytes in the last day", got)
	}
	written = 2_000_000
	now += time.Minute
	if got := q.Stats().Card; got.LastDay != 2_003_000 || !q.Pace().Drop {
		t.Errorf("got %+v, want 2003000 bytes in the last day, and that no more readings are kept", got)
	}
	q.SetWrittenPerDay(0)
	if got := q.Pace(); got != (wear.Pace{}) {
		t.Errorf("without a limit: %+v", got)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}
