package buffer

import (
	"testing"

	"github.com/tidegate-io/tidegate"
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
