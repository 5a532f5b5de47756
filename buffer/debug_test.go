package buffer

import (
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
)

// TestDebugStaysAndHoldsNothingUp: records of class debug are never sent, so nothing may wait for them.
func TestDebugStaysAndHoldsNothingUp(t *testing.T) {
	o := testOptions(t.TempDir())
	o.sizes = sizes{segment: 1, budget: 1 << 20, tail: 1}
	q := open(t, o)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	c := cursor(t, q, "a")
	putAndCommit(t, q, frame(tidegate.ClassDebug, 1, 10, 1), frame(tidegate.ClassReading, 11, 20, 2), frame(tidegate.ClassDebug, 21, 30, 1))
	if list, err := c.Next(tidegate.ClassDebug, Place{}, 1000); err != nil || len(list) > 0 {
		t.Errorf("shown: %+v (%v), want nothing of class debug", list, err)
	}
	if err := c.Ack("e1", tidegate.Ranges{{First: 1, Last: 30}}); err != nil {
		t.Fatal(err)
	}
	commit(t, q, Commit{Position: Position{Epoch: 1, Next: 31, Time: 1}})
	for range 2 {
		s := q.Stats().Cursors[0]
		if s.Buffered != (Tallies{}) || s.Confirmed != 30 || s.Oldest != 0 {
			t.Errorf("buffered %v, confirmed %d, oldest %d; want nothing, 30 and 0", s.Buffered, s.Confirmed, s.Oldest)
		}
		all, sent, kept := Tally{Records: 30, Readings: 40}, Tally{Records: 10, Readings: 20}, Tally{Records: 20, Readings: 20}
		if s.Produced.Device() != all || s.Delivered.Device() != sent || s.Routed.Device() != kept {
			t.Errorf("produced %v, delivered %v, routed %v; want %v, %v, %v", s.Produced.Device(), s.Delivered.Device(), s.Routed.Device(), all, sent, kept)
		}
		closeQueue(t, q)
		q = open(t, o)
	}
	if n := len(q.Stats().Segments); n != 3 {
		t.Errorf("%d segments are kept, want 3 while there is room", n)
	}
	q.o.sizes.budget = 1
	if err := q.Retain(time.Duration(30_000) * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if n, asked := len(q.Stats().Segments), q.Requests(); n != 0 || len(asked) > 0 {
		t.Errorf("%d segments are left over the limit, asked for %+v; want none", n, asked)
	}
	closeQueue(t, q)
}
