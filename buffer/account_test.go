package buffer

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/stored"
	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

func TestRejectedRecordsAreKeptWithTheReason(t *testing.T) {
	q := open(t, testOptions(t.TempDir()))
	defer q.Close()
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	putAndCommit(t, q, frame(tidegate.ClassReading, 1, 9, 2), frame(tidegate.ClassReading, 11, 19, 3))
	c := cursor(t, q, "a")
	for range 2 { // the second time nothing is new
		if err := c.Reject("e1", tidegate.Range{First: 8, Last: 12}, "too long"); err != nil {
			t.Fatal(err)
		}
	}
	asked := q.Requests()
	if len(asked) != 1 || asked[0].Count != 2*2+2*3 {
		t.Fatalf("asked for %+v, want one declaration of 10 readings", asked)
	}
	commit(t, q, Commit{Position: Position{Epoch: 1, Next: 20}, Declared: asked})
	var got []string
	err := q.Aside(func(a stored.Aside) error {
		got = append(got, fmt.Sprintf("%s %d-%d %s %v", a.Uplink, a.First, a.Last, a.Why, a.Body))
		return nil
	})
	if want := "[a 8-9 too long [2 2] a 11-12 too long [3 3]]"; err != nil || fmt.Sprint(got) != want {
		t.Fatalf("set aside %v (%v), want %s", got, err, want)
	}
}

// Many runs of records are set aside in one transaction, and what is set aside is looked through once for each quarter of what it may be.
func TestSettingAsideIsCheap(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	q := open(t, o)
	defer q.Close()
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	c := cursor(t, q, "a")
	transactions := func() int {
		seen := map[uint64]bool{}
		err := q.disk.Each([]byte{stored.KeyRejected}, func(_, _ []byte, written uint64) error {
			seen[written] = true
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return len(seen)
	}
	putAndCommit(t, q, frame(tidegate.ClassReading, 1, 1000, 2))
	var odd tidegate.Ranges
	for n := uint64(1); n < 1000; n += 2 {
		odd.Add(tidegate.Range{First: n, Last: n})
	}
	if err := q.setAside(&Declaration{Uplink: "a", Epoch: 1, Ranges: odd, Cause: tidegate.CauseRejected}); err != nil {
		t.Fatal(err)
	}
	if n := transactions(); n != 1 {
		t.Errorf("500 runs are set aside in %d transactions, want 1", n)
	}
	q.o.Cut = func([]byte, int, int) ([]byte, error) { return nil, errors.New("cannot be decoded") }
	looks, last := 0, int64(0)
	for i := range uint64(100) {
		f := childFrame(i*10+1001, 10, 190<<10)
		putAndCommit(t, q, f)
		if err := c.Reject("e1", tidegate.Range{First: f.First, Last: f.Last}, "never"); err != nil {
			t.Fatal(err)
		}
		commit(t, q, Commit{Position: Position{Epoch: 1, Next: f.Last + 1}, Declared: q.Requests()})
		if q.aside <= last {
			looks++
		}
		last = q.aside
	}
	if looks < 3 || looks > 7 {
		t.Errorf("looked through %d times in 19 MB, want once for each 2 MB over 8 MB", looks)
	}
}

// A far side that refuses everything must not fill the disk, nor make a commit too large.
func TestWhatIsSetAsideIsBounded(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	o.Cut = func([]byte, int, int) ([]byte, error) { return nil, fmt.Errorf("cannot be decoded") }
	q := open(t, o)
	defer q.Close()
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	c := cursor(t, q, "a")
	const frames = 60
	for i := range uint64(frames) {
		f := childFrame(i*1000+1, 1000, 190<<10)
		putAndCommit(t, q, f)
		if err := c.Reject("e1", tidegate.Range{First: f.First, Last: f.Last}, "never"); err != nil {
			t.Fatal(err)
		}
		commit(t, q, Commit{Position: Position{Epoch: 1, Next: f.Last + 1}, Declared: q.Requests()})
	}
	size, first := 0, uint64(0)
	err := q.Aside(func(a stored.Aside) error {
		if size += len(a.Body); first == 0 {
			first = a.First
		}
		return nil
	})
	if err != nil || size > maxAside || size < maxAside/2 || first == 1 {
		t.Fatalf("%d bytes are set aside from record %d on (%v), at most %d, the oldest gone", size, first, err, maxAside)
	}
	if r := q.Stats().Cursors[0].Rejected.Device().Records; r != frames*1000 {
		t.Fatalf("rejected %d records, want %d", r, frames*1000)
	}
}

// Each start begins an ordinal; those of which nothing is left must not pile up.
func TestEpochsOfWhichNothingIsLeftAreForgotten(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	o.Keep = time.Millisecond
	o.sizes.tail = 1
	for n := uint32(1); n <= 20; n++ {
		q := open(t, o)
		first := uint64(n) * 100
		q.AddEpoch(n, Epoch{ID: "same", Start: first})
		f := frame(tidegate.ClassReading, first, first+9, 1)
		f.Epoch = n
		q.Put(f)
		commit(t, q, Commit{Frames: []Frame{f}, Position: Position{Epoch: n, Next: first + 10}})
		if n != 5 { // of this one nothing is delivered yet
			if err := cursor(t, q, "a").Ack("same", tidegate.Ranges{{First: first, Last: first + 9}}); err != nil {
				t.Fatal(err)
			}
		}
		commit(t, q, Commit{Position: Position{Epoch: n, Next: first + 10}})
		if err := q.Retain(time.Hour); err != nil {
			t.Fatal(err)
		}
		commit(t, q, Commit{Position: Position{Epoch: n, Next: first + 10}})
		if got := len(q.Epochs()); got > 4 {
			t.Fatalf("after %d starts %d epochs are known: %v", n, got, q.Epochs())
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
	q := open(t, o)
	defer q.Close()
	for _, e := range []uint32{5, 20} {
		if _, ok := q.Epochs()[e]; !ok {
			t.Errorf("epoch %d is forgotten: %v", e, q.Epochs())
		}
	}
	for st := range cursor(t, q, "a").done {
		if st.Epoch < 19 {
			t.Errorf("the cursor still has %v", st)
		}
	}
	looks, err := cursor(t, q, "a").Next(tidegate.ClassReading, Place{}, 1<<20)
	if err != nil || len(looks) != 1 || looks[0].Epoch != 5 || looks[0].EpochID != "same" {
		t.Errorf("shown: %+v (%v), want what is left of epoch 5", looks, err)
	}
}

// After an outage alarms are delivered first, each a hole in what is done.
func TestCursorStaysSmallWithManyHoles(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	q := open(t, o)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	const alarms = 5000
	next := uint64(1)
	for next < 10*alarms {
		var list []Frame
		for range 50 {
			list = append(list, frame(tidegate.ClassReading, next, next+8, 1), frame(tidegate.ClassAlarm, next+9, next+9, 1))
			next += 10
		}
		putAndCommit(t, q, list...)
	}
	c := cursor(t, q, "a")
	for n := uint64(10); n < next; n += 10 {
		if err := c.Ack("e1", tidegate.Ranges{{First: n, Last: n}}); err != nil {
			t.Fatal(err)
		}
	}
	commit(t, q, Commit{Position: Position{Epoch: 1, Next: next}})
	size := 0
	err := q.disk.Each(stored.MetaKey(stored.MetaCursor, "a"), func(_, v []byte, _ uint64) error {
		size = len(v)
		return nil
	})
	if err != nil || size == 0 || size > 500 {
		t.Errorf("the cursor takes %d bytes (%v), at most 500", size, err)
	}
	want := q.Stats().Cursors[0]
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	q = open(t, o)
	defer q.Close()
	got := q.Stats().Cursors[0]
	if got.Delivered != want.Delivered || got.Buffered != want.Buffered || got.Confirmed != 0 {
		t.Errorf("after a restart %+v, want %+v", got, want)
	}
	if l := look(t, cursor(t, q, "a"), tidegate.ClassAlarm, 1); len(l) > 0 {
		t.Errorf("alarms are shown again: %v", l)
	}
}

func TestUplinkThatIsAddedOwesNothing(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Keep, o.sizes = 1, sizes{segment: 1, tail: 1}
	q := open(t, o)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	for i := range uint64(5) {
		putAndCommit(t, q, frame(tidegate.ClassReading, i*10+1, i*10+10, 2))
	}
	if err := cursor(t, q, "a").Ack("e1", tidegate.Ranges{{First: 1, Last: 25}}); err != nil {
		t.Fatal(err)
	}
	commit(t, q, Commit{Position: Position{Epoch: 1, Next: 51}})
	if err := q.Retain(time.Hour); err != nil { // drops 1 to 20
		t.Fatal(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	for _, uplinks := range [][]string{{"a", "b"}, {"b"}, {"a", "b"}} {
		o.Uplinks = uplinks
		q = open(t, o)
		commit(t, q, Commit{Position: Position{Epoch: 1, Next: 51}})
		for _, c := range q.Stats().Cursors {
			sum := c.Delivered[1].Records + c.Buffered[1].Records
			if c.Produced[1].Records != sum {
				t.Errorf("of %v: %s: produced %d, delivered %d, buffered %d", uplinks, c.Uplink, c.Produced[1].Records, c.Delivered[1].Records, c.Buffered[1].Records)
			}
		}
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCoarseCursorsNameTheNewestEpochFirst(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Uplinks = []string{"a", "b"}
	q := open(t, o)
	defer q.Close()
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	putAndCommit(t, q, frame(tidegate.ClassReading, 1, 9, 2))
	if got := q.Coarse(); len(got) != 0 {
		t.Errorf("before anything was delivered: %v, want none", got)
	}
	if err := cursor(t, q, "a").Ack("e1", tidegate.Ranges{{First: 1, Last: 4}, {First: 6, Last: 6}}); err != nil {
		t.Fatal(err)
	}
	if got := q.Coarse(); len(got) != 0 {
		t.Errorf("before the cursor was committed: %v, want none", got)
	}
	q.AddEpoch(2, Epoch{ID: "e1", Start: 50})
	f := frame(tidegate.ClassReading, 50, 59, 1)
	f.Epoch = 2
	commit(t, q, Commit{Frames: []Frame{f}, Position: Position{Epoch: 2, Next: 60}})
	got := fmt.Sprint(q.Coarse())
	if want := "[{a 2 49} {b 2 49} {a 1 4} {b 1 0}]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCommitThatIsTooLargeIsRefused(t *testing.T) {
	q := open(t, testOptions(t.TempDir()))
	defer q.Close()
	c := Commit{Rules: map[string][]byte{"r": bytes.Repeat([]byte("x"), 700<<10)}, Position: Position{Epoch: 1, Next: 1}}
	if err := q.Commit(c); err == nil || !strings.HasPrefix(err.Error(), "commit of 7") {
		t.Errorf("got %v", err)
	}
	if err := q.Commit(Commit{Position: Position{Epoch: 1, Next: 1}}); err != nil {
		t.Errorf("after it: %v", err)
	}
}
