package buffer

import (
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

// TestRenamedWhileACommitIsWritten names epochs after a commit was planned and before it is applied, as the judge does in its own goroutine
// while the disk is waited for.
func TestRenamedWhileACommitIsWritten(t *testing.T) {
	o := testOptions(t.TempDir())
	q := open(t, o)
	q.AddEpoch(1, Epoch{ID: "old", Start: 1})
	c := &Commit{Frames: []Frame{frame(tidegate.ClassReading, 1, 10, 1)}, Position: Position{Epoch: 1, Next: 11, Time: 1}}
	q.mu.Lock()
	w := q.planLocked(c)
	q.mu.Unlock()
	q.Rename("old", "new")
	q.AddEpoch(2, Epoch{ID: "new", Start: 11})
	if err := q.disk.Write(w.set, w.del); err != nil {
		t.Fatal(err)
	}
	q.mu.Lock()
	q.applyLocked(c, w)
	q.mu.Unlock()
	commit(t, q, Commit{Position: q.Position()})
	if len(q.dirty) > 0 {
		t.Errorf("all names are stored, %v wait", q.dirty)
	}
	closeQueue(t, q)
	q = open(t, o)
	defer q.Close()
	got := q.Epochs()
	if got[1] != (Epoch{ID: "new", Start: 1}) || got[2] != (Epoch{ID: "new", Start: 11}) {
		t.Errorf("epochs after a start are %v", got)
	}
}

// TestAcknowledgedWhileItsDropIsAsked has the uplink acknowledge the last of a segment just before it is asked to be declared.
func TestAcknowledgedWhileItsDropIsAsked(t *testing.T) {
	o := testOptions(t.TempDir())
	o.sizes = sizes{segment: 1, budget: 1, tail: 1}
	q := open(t, o)
	defer q.Close()
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	putAndCommit(t, q, frame(tidegate.ClassReading, 1, 10, 1))
	putAndCommit(t, q, frame(tidegate.ClassReading, 11, 20, 1))
	q.mu.Lock()
	_, ask := q.dropLocked(0, false)
	victim := ask.victim
	q.mu.Unlock()
	if victim == nil || victim.First() != 1 {
		t.Fatalf("victim is %+v, want the segment of record 1", victim)
	}
	if err := cursor(t, q, "a").Ack("e1", tidegate.Ranges{{First: 1, Last: 10}}); err != nil {
		t.Fatal(err)
	}
	if err := q.askDrop(victim, ask.cause); err != nil {
		t.Fatal(err)
	}
	if list := q.Requests(); len(list) > 0 {
		t.Fatalf("asked for %+v, although all is done", list)
	}
	if err := q.Retain(0); err != nil { // not delivered on disk yet: the other segment is the victim
		t.Fatal(err)
	}
	if list := q.Requests(); len(list) != 1 || list[0].Ranges[0].First != 11 {
		t.Fatalf("asked for %+v, want records 11 to 20", list)
	}
	commit(t, q, Commit{Position: q.Position()})
	if err := q.Retain(0); err != nil {
		t.Fatal(err)
	}
	if list := q.Stats().Segments; len(list) != 1 || list[0].First != 11 {
		t.Errorf("segments are %+v, want that of record 1 dropped", list)
	}
}

// TestDropAfterAMarkThatFailed: frames go only after the mark that says so is durable.
func TestDropAfterAMarkThatFailed(t *testing.T) {
	q := open(t, testOptions(t.TempDir()))
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	putAndCommit(t, q, frame(tidegate.ClassReading, 1, 10, 1))
	closeQueue(t, q) // every write fails from now on
	s := q.segments[tidegate.ClassReading][0]
	for range 2 {
		if err := q.drop(s); err == nil || !strings.HasPrefix(err.Error(), "mark segment ") {
			t.Fatalf("got %v, want the failure of the mark", err)
		}
		if s.Dropping {
			t.Error("the segment counts as marked, although the mark failed")
		}
	}
}

// TestSlowestIsForgotten: one commit that hung does not widen the gap of every later power cut, whatever the caller's Position says.
func TestSlowestIsForgotten(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	q := open(t, o)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	q.position.Slowest = time.Minute
	p := Position{Epoch: 1, Next: 1, Time: 1, Slowest: time.Minute} // as a caller goes on with that of the last process
	for i, want := range []time.Duration{time.Minute, 40 * time.Second, 22 * time.Second, 2 * time.Second} {
		for range []int{1, 10, 10, 100}[i] {
			commit(t, q, Commit{Position: p})
		}
		closeQueue(t, q)
		q = open(t, o)
		if got := q.Position().Slowest; got > want || got < want/2 && i < 3 {
			t.Errorf("slowest is %v after %d rounds, want %v or a little less", got, i, want)
		}
	}
	closeQueue(t, q)
}
