package buffer

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

// What comes back is sealed with the key of now, whichever it was set aside with, and nothing is left of the old one.
func TestRequeuedIsSealedWithTheKeyOfNow(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	o.Keep, o.sizes, o.Keys = time.Nanosecond, sizes{segment: 1, tail: 1}, keysFor(t, 1)
	q := open(t, o)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	putAndCommit(t, q, frame(tidegate.ClassReading, 1, 10, 2))
	refuse(t, q, "a", tidegate.Range{First: 1, Last: 10})
	if err := q.Retain(time.Hour); err != nil || len(q.segments[tidegate.ClassReading]) > 0 {
		t.Fatalf("%d segments are left: %v", len(q.segments[tidegate.ClassReading]), err)
	}
	if err := q.SetKeys(keysFor(t, 2, 1)); err != nil {
		t.Fatal(err)
	}
	requeue(t, q, "a", tidegate.Range{First: 3, Last: 4})
	requeue(t, q, "a", everyNumber)
	if err := q.Retain(time.Hour); err != nil {
		t.Fatal(err)
	}
	uses := q.Stats().Keys
	if len(uses) != 2 || uses[0].Readings != 20 || uses[1].Readings != 0 || uses[0].Aside+uses[1].Aside != 0 {
		t.Errorf("keys: %+v", uses)
	}
	if q.aside != 0 {
		t.Errorf("%d bytes count as set aside", q.aside)
	}
	o.Keys = keysFor(t, 2)
	q = reopen(t, q, o)
	defer q.Close()
	if r, err := q.Check(t.Context()); err != nil || len(r.Faults) > 0 {
		t.Errorf("check: %v, %v", r.Faults, err)
	}
	counts(t, q, 0, 20)
	declareAll(t, q, 11)
	c := cursor(t, q, "a")
	for i, want := range []string{"[{3 4}]", "[{1 2} {5 10}]"} {
		tells := 11 + uint64(i)
		if err := c.Ack("e1", tidegate.Ranges{{First: tells, Last: tells}}); err != nil {
			t.Fatal(err)
		}
		got := look(t, c, tidegate.ClassReading, 1)
		if fmt.Sprint(got) != want {
			t.Errorf("the cursor shows %v, want %s", got, want)
		}
		if err := c.Ack("e1", got); err != nil {
			t.Fatal(err)
		}
		declareAll(t, q, tells+1)
	}
}

// Summaries that were set aside and whose segment is gone come back as such, beside what is none.
func TestRequeuedSummariesStayApart(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	o.Keep, o.sizes = time.Nanosecond, sizes{segment: 1, tail: 1}
	q := open(t, o)
	defer q.Close()
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	for i, thin := range []bool{true, false} {
		f := frame(tidegate.ClassReading, uint64(i)*10+1, uint64(i)*10+10, 2)
		f.Thin = thin
		putAndCommit(t, q, f)
	}
	refuse(t, q, "a", tidegate.Range{First: 1, Last: 20})
	if err := q.Retain(time.Hour); err != nil || len(q.segments[tidegate.ClassReading]) > 0 {
		t.Fatalf("%d segments are left: %v", len(q.segments[tidegate.ClassReading]), err)
	}
	q.o.sizes.segment = 0 // both would find room in one
	requeue(t, q, "a", everyNumber)
	got := map[uint64]bool{}
	for _, s := range q.segments[tidegate.ClassReading] {
		got[s.First()] = s.Thin
	}
	if len(got) != 2 || !got[1] || got[11] {
		t.Errorf("segments by their first number, and whether they hold summaries: %v; want 1 that does and 11 that does not", got)
	}
}

// A store that is salvaged keeps what is set aside, and what goes again: a receipt from before settles none of it.
func TestSalvageOfWhatGoesAgain(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	q := open(t, o)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	putAndCommit(t, q, frame(tidegate.ClassReading, 1, 10, 2))
	refuse(t, q, "a", tidegate.Range{First: 4, Last: 5})
	requeue(t, q, "a", tidegate.Range{First: 4, Last: 4})
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Dir, "buffer", "MANIFEST"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o.SetAside, o.Salvage, o.Epochs = true, inProcess, map[uint32]Epoch{1: {ID: "e1", Start: 1}}
	q = open(t, o)
	if n := len(q.BadStores()); n != 1 {
		t.Fatalf("%d stores were set aside", n)
	}
	for range 2 {
		if got := fmt.Sprint(asideOf(t, q)); got != "[a 5-5]" {
			t.Errorf("set aside: %s", got)
		}
		c := cursor(t, q, "a")
		if err := c.Ack("e1", tidegate.Ranges{{First: 1, Last: 10}}); err != nil {
			t.Fatal(err)
		}
		if n := q.Stats().Cursors[0].Buffered[tidegate.ClassReading].Records; n != 1 {
			t.Errorf("%d records are owed, want 1", n)
		}
		commit(t, q, Commit{Position: Position{Epoch: 1, Next: 11}})
		q = reopen(t, q, o)
	}
	defer q.Close()
	declareAll(t, q, 11)
	c := cursor(t, q, "a")
	if err := c.Ack("e1", tidegate.Ranges{{First: 1, Last: 3}, {First: 6, Last: 11}}); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(look(t, c, tidegate.ClassReading, 1)); got != "[{4 4}]" {
		t.Errorf("the cursor shows %s", got)
	}
}

// A key that seals again, or none, after another one has for a while: what it sealed before takes nothing more, or cursors would pass over what lies between.
func TestKeyOfBeforeKeepsTheOrder(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	o.Keys, o.sizes = keysFor(t, -1), sizes{tail: 1}
	q := open(t, o)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	putAndCommit(t, q, frame(tidegate.ClassReading, 1, 10, 2))
	if err := q.SetKeys(keysFor(t, 1)); err != nil {
		t.Fatal(err)
	}
	putAndCommit(t, q, frame(tidegate.ClassReading, 11, 20, 2))
	o.Keys = keysFor(t, -1, 1)
	q = reopen(t, q, o)
	defer q.Close()
	putAndCommit(t, q, frame(tidegate.ClassReading, 21, 30, 2))
	if got := fmt.Sprint(look(t, cursor(t, q, "a"), tidegate.ClassReading, 1)); got != "[{1 30}]" {
		t.Errorf("the cursor shows %s", got)
	}
}

// What comes back from behind the open segment ends it.
func TestNothingIsPutBeforeWhatCameBack(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	o.Keep, o.sizes = time.Nanosecond, sizes{segment: 1 << 10, tail: 1}
	q := open(t, o)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	putAndCommit(t, q, frame(tidegate.ClassReading, 1, 10, 2))
	large := frame(tidegate.ClassReading, 11, 20, 2)
	large.Body = append(large.Body, make([]byte, 2<<10)...)
	q.segments[tidegate.ClassReading][0].Closed = true
	putAndCommit(t, q, large)
	q.segments[tidegate.ClassReading][0].Closed = false
	refuse(t, q, "a", tidegate.Range{First: 11, Last: 20})
	if err := q.Retain(time.Hour); err != nil {
		t.Fatal(err)
	}
	requeue(t, q, "a", everyNumber)
	declareAll(t, q, 21)
	if err := cursor(t, q, "a").Ack("e1", tidegate.Ranges{{First: 21, Last: 21}}); err != nil {
		t.Fatal(err)
	}
	putAndCommit(t, q, frame(tidegate.ClassReading, 22, 30, 2))
	if got := fmt.Sprint(look(t, cursor(t, q, "a"), tidegate.ClassReading, 1)); got != "[{1 20} {22 30}]" {
		t.Errorf("the cursor shows %s", got)
	}
}

// A receipt settles what came back, also where nothing else of its epoch is left.
func TestReceiptForWhatCameBack(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	o.Keep, o.sizes = time.Nanosecond, sizes{segment: 1, tail: 1}
	q := open(t, o)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	putAndCommit(t, q, frame(tidegate.ClassReading, 1, 10, 2))
	refuse(t, q, "a", tidegate.Range{First: 1, Last: 10})
	if err := q.Retain(time.Hour); err != nil {
		t.Fatal(err)
	}
	q.AddEpoch(2, Epoch{ID: "e2", Start: 11})
	f := frame(tidegate.ClassReading, 11, 11, 2)
	f.Epoch = 2
	commit(t, q, Commit{Frames: []Frame{f}, Position: Position{Epoch: 2, Next: 12}})
	q = reopen(t, q, o)
	defer q.Close()
	requeue(t, q, "a", everyNumber)
	tells := frame(tidegate.ClassAudit, 12, 12, 1)
	tells.Epoch = 2
	commit(t, q, Commit{Frames: []Frame{tells}, Declared: q.Requests(), Position: Position{Epoch: 2, Next: 13}})
	for _, e := range []string{"e2", "e1"} {
		if err := cursor(t, q, "a").Ack(e, tidegate.Ranges{{First: 1, Last: 12}}); err != nil {
			t.Fatal(err)
		}
	}
	counts(t, q, 0, 0)
}
