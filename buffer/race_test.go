package buffer

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

// TestCursorsReadWhileSegmentsGo has two uplinks take everything, in order and once, while another goroutine puts, commits and drops.
func TestCursorsReadWhileSegmentsGo(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	o.Uplinks = []string{"a", "b"}
	o.Keep = time.Nanosecond
	o.sizes = sizes{segment: 100 << 10, tail: 20 << 10}
	q := open(t, o)
	defer q.Close()
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	const last = 30_000
	var all sync.WaitGroup
	for _, name := range o.Uplinks {
		c := cursor(t, q, name)
		all.Go(func() { takeAll(t, q, c, last) })
	}
	for next := uint64(1); next <= last; {
		var list []Frame
		for range 10 {
			f := childFrame(next, 10, 500)
			q.Put(f)
			list = append(list, f)
			next = f.Last + 1
		}
		if err := q.Commit(Commit{Frames: list, Position: Position{Epoch: 1, Next: next}}); err != nil {
			t.Fatal(err)
		}
		if err := q.Retain(time.Hour); err != nil {
			t.Fatal(err)
		}
		if asked := q.Requests(); len(asked) > 0 {
			t.Fatalf("asked for %+v", asked)
		}
		if r, err := q.Check(t.Context()); next%1000 == 1 && (err != nil || len(r.Faults) > 0) {
			t.Fatalf("check: %v, %v", r.Faults, err)
		}
	}
	all.Wait()
	for _, c := range q.Stats().Cursors {
		if c.Delivered.Device().Records != last || c.Buffered != (Tallies{}) {
			t.Errorf("%s: delivered %v, buffered %v", c.Uplink, c.Delivered, c.Buffered)
		}
	}
	commit(t, q, Commit{Position: Position{Epoch: 1, Next: last + 1}})
	if err := q.Retain(time.Hour); err != nil {
		t.Fatal(err)
	}
	if n := len(q.Stats().Segments); n > 1 {
		t.Errorf("%d segments are left, want the open one at most", n)
	}
}

// takeAll acknowledges records 1 to last in parts of frames, as they come.
func takeAll(t *testing.T, q *Queue, c *Cursor, last uint64) {
	next := uint64(1)
	for next <= last {
		looks, err := c.Next(tidegate.ClassReading, Place{1, next}, 3000)
		if err != nil {
			t.Error(err)
			return
		}
		if len(looks) == 0 {
			<-c.Changed()
		}
		for _, l := range looks {
			for _, r := range l.Want {
				if err := errors.Join(wantNext(r.First, next), c.Ack("e1", tidegate.Ranges{{First: r.First, Last: r.First + (r.Last-r.First)/2}}),
					c.Ack("e1", tidegate.Ranges{r})); err != nil {
					t.Error(err)
					return
				}
				next = r.Last + 1
			}
		}
		q.Stats()
	}
}

func wantNext(got, want uint64) error {
	if got != want {
		return errors.New("a record was left out or shown twice")
	}
	return nil
}

// TestPutDoesNotWaitForReaders holds a reader in the disk, and puts.
func TestPutDoesNotWaitForReaders(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	o.sizes.tail = 1
	reading, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	o.Count = func(body []byte, skip, n int) (int, error) {
		once.Do(func() {
			close(reading)
			<-goOn
		})
		return testCount(body, skip, n)
	}
	q := open(t, o)
	defer q.Close()
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	for i := uint64(0); i < 3; i++ {
		putAndCommit(t, q, frame(tidegate.ClassReading, i*10+1, i*10+10, 1))
	}
	c, acked := cursor(t, q, "a"), make(chan error)
	go func() { acked <- c.Ack("e1", tidegate.Ranges{{First: 1, Last: 5}}) }()
	<-reading
	putAndCommit(t, q, frame(tidegate.ClassReading, 31, 40, 1))
	close(goOn)
	if err := <-acked; err != nil {
		t.Fatal(err)
	}
	if d := q.Stats().Cursors[0].Delivered.Device(); d.Records != 5 {
		t.Errorf("delivered %v, want 5 records", d)
	}
}
