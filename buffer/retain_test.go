package buffer

import (
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/disk"
)

// TestLimitFollowsTheFreeSpace has others hold the disk, before and after a start: what is kept and nobody has yet never goes for it, and
// the limit comes back with the space.
func TestLimitFollowsTheFreeSpace(t *testing.T) {
	free := int64(1 << 40)
	o := testOptions(t.TempDir())
	o.MaxBytes = 400 << 20
	o.Statfs = func(string) (int64, int64, error) { return free + disk.Reserve, 1 << 40, nil }
	o.sizes.segment = 1 << 20
	q := open(t, o)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	next := uint64(1)
	put := func(n int) {
		for range n {
			putAndCommit(t, q, childFrame(next, 10, 180<<10))
			next += 10
		}
	}
	at := time.Duration(0)
	want := func(what string, limit int64) {
		t.Helper()
		at += time.Minute
		if err := q.Retain(at); err != nil {
			t.Fatal(err)
		}
		if list := q.Requests(); len(list) > 0 {
			t.Errorf("%s: asked to declare %+v", what, list)
		}
		if got := q.Limit(); got < limit-(1<<20) || got > limit+(1<<20) {
			t.Errorf("%s: limit is %d, want about %d", what, got, limit)
		}
	}
	put(400) // 72 MB, of which nothing is delivered
	own := q.Stats().Bytes
	want("with room", 400<<20)
	closeQueue(t, q)

	free = 2 << 20
	q = open(t, o)
	want("others hold the disk at a start", own+fixedBytes)
	free = 100 << 20
	want("some is back", own+100<<20)
	free = 1 << 40
	want("all is back", 400<<20)
	free = 4 << 20
	want("others hold it while running", own+fixedBytes)
	free = 1 << 40
	want("all is back", 400<<20)
	closeQueue(t, q)
}

// TestSmallDiskDropsTheOldest: where the disk is small, limit and all kept together stay on it, and looking again does not raise it.
func TestSmallDiskDropsTheOldest(t *testing.T) {
	const room = 100 << 20
	o := testOptions(t.TempDir())
	o.sizes.segment = 1 << 20
	var q *Queue
	own := func() (n int64) {
		if q != nil {
			for _, s := range q.segments[tidegate.ClassReading] {
				n += s.Bytes
			}
		}
		return n
	}
	o.Statfs = func(string) (int64, int64, error) { return room + disk.Reserve - own(), 200 << 20, nil }
	q = open(t, o)
	defer q.Close()
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	at := time.Duration(0)
	for next := uint64(1); next <= 8000; next += 10 {
		c := Commit{Frames: []Frame{childFrame(next, 10, 180<<10)}, Declared: q.Requests()}
		q.Put(c.Frames...)
		commit(t, q, c)
		at += time.Minute
		if err := q.Retain(at); err != nil {
			t.Fatal(err)
		}
		if n := own(); n > room-fixedBytes+3<<20 {
			t.Fatalf("%d bytes are kept of %d", n, room)
		}
	}
	if n := own(); n < room-fixedBytes-3<<20 {
		t.Errorf("only %d bytes are kept of %d", n, room)
	}
}
