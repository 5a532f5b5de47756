package buffer

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/disk"
)

// In these tests a body is one byte a record: how many readings it has; padding may follow a zero byte.
func testCount(body []byte, skip, n int) (int, error) {
	sum := 0
	for i := skip; i < skip+n; i++ {
		if i >= len(body) {
			return 0, errors.New("short body")
		}
		sum += int(body[i] & 15)
	}
	return sum, nil
}

// testUplinks are the uplinks that the upper half of a record's byte names, in frames that are Apart.
var testUplinks = [...]string{"", "a", "b", "gone"}

func testEach(body []byte, f func(uplink string, readings int)) error {
	for _, b := range body {
		if b != 0 { // what a long body is filled up with
			f(testUplinks[b>>4], int(b&15))
		}
	}
	return nil
}

func testCut(body []byte, skip, n int) ([]byte, error) { return slices.Clone(body[skip : skip+n]), nil }

// testOptions spare 32-bit machines the self-test at each Open; TestSelfTest makes it.
func testOptions(dir string) Options {
	if err := os.WriteFile(filepath.Join(dir, "selftest"), []byte("test\n"), 0o600); err != nil {
		panic(err)
	}
	return Options{
		Dir: dir, Limits: Limits{MaxBytes: 256 << 20, Keep: time.Hour}, Uplinks: []string{"a"}, Count: testCount, Each: testEach, Cut: testCut, Compactors: 2, Version: "test",
	}
}

func open(t *testing.T, o Options) *Queue {
	t.Helper()
	q, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func cursor(t *testing.T, q *Queue, name string) *Cursor {
	t.Helper()
	c, err := q.Cursor(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// frame makes a frame of records first to last, each with readings readings.
func frame(class tidegate.Class, first, last uint64, readings int) Frame {
	n := int(last - first + 1)
	f := Frame{Epoch: 1, Class: class, First: first, Last: last, Count: uint32(n * readings), T0: int64(first) * 1000, T1: int64(last) * 1000}
	for range n {
		f.Body = append(f.Body, byte(readings))
	}
	return f
}

func commit(t *testing.T, q *Queue, c Commit) {
	t.Helper()
	if c.Position.Epoch == 0 {
		c.Position.Epoch = 1
	}
	if n := len(c.Frames); n > 0 && c.Position.Next == 0 {
		c.Position.Next = c.Frames[n-1].Last + 1
	}
	if err := q.Commit(c); err != nil {
		t.Fatal(err)
	}
}

// putAndCommit shows frames to the cursors and commits them.
func putAndCommit(t *testing.T, q *Queue, frames ...Frame) {
	t.Helper()
	q.Put(frames...)
	commit(t, q, Commit{Frames: frames})
}

// look returns the ranges that the cursor shows from place p on, class reading.
func look(t *testing.T, c *Cursor, class tidegate.Class, from uint64) tidegate.Ranges {
	t.Helper()
	var out tidegate.Ranges
	at := Place{1, from}
	for range 10_000 {
		looks, err := c.Next(class, at, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(looks) == 0 {
			return out
		}
		for _, l := range looks {
			if l.First > l.Want[0].First || l.Last < l.Want[len(l.Want)-1].Last {
				t.Fatalf("want %v outside frame %d-%d", l.Want, l.First, l.Last)
			}
			for _, r := range l.Want {
				if len(out) > 0 && r.First <= out[len(out)-1].Last {
					t.Fatalf("shown twice or out of order: %v after %v", r, out)
				}
				out.Add(r)
			}
			at = Place{l.Epoch, l.Last + 1}
		}
	}
	t.Fatal("Next does not end")
	return nil
}

func wantRanges(t *testing.T, what string, got, want tidegate.Ranges) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func TestFramesAreVisibleThenDurableThenDone(t *testing.T) {
	dir := t.TempDir()
	q := open(t, testOptions(dir))
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	c := cursor(t, q, "a")
	for i := uint64(1); i <= 10; i++ {
		q.Put(frame(tidegate.ClassReading, i, i, 3))
	}
	wantRanges(t, "before the commit", look(t, c, tidegate.ClassReading, 1), tidegate.Ranges{{First: 1, Last: 10}})
	commit(t, q, Commit{Frames: []Frame{frame(tidegate.ClassReading, 1, 10, 3)}, Rules: map[string][]byte{"r": []byte("state")}})
	if err := c.Ack("e1", tidegate.Ranges{{First: 3, Last: 4}, {First: 9, Last: 100}}); err != nil {
		t.Fatal(err)
	}
	wantRanges(t, "after the ack", look(t, c, tidegate.ClassReading, 1), tidegate.Ranges{{First: 1, Last: 2}, {First: 5, Last: 8}})
	s := q.Stats().Cursors[0]
	if s.Delivered.Device() != (Tally{Records: 4, Readings: 12}) || s.Buffered.Device() != (Tally{Records: 6, Readings: 18}) {
		t.Fatalf("delivered %v, buffered %v", s.Delivered.Device(), s.Buffered.Device())
	}
	if !q.Dirty() {
		t.Fatal("cursor moved, Dirty is false")
	}
	commit(t, q, Commit{Position: Position{Epoch: 1, Next: 11}})
	if q.Dirty() {
		t.Fatal("cursor committed, Dirty is true")
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}

	q = open(t, testOptions(dir))
	defer q.Close()
	c = cursor(t, q, "a")
	wantRanges(t, "after reopening", look(t, c, tidegate.ClassReading, 1), tidegate.Ranges{{First: 1, Last: 2}, {First: 5, Last: 8}})
	if err := c.Ack("e1", tidegate.Ranges{{First: 1, Last: 6}}); err != nil {
		t.Fatal(err)
	}
	s = q.Stats().Cursors[0]
	if s.Delivered.Device() != (Tally{Records: 8, Readings: 24}) || s.Buffered.Device() != (Tally{Records: 2, Readings: 6}) || s.Confirmed != 6 {
		t.Fatalf("delivered %v, buffered %v, confirmed %d", s.Delivered.Device(), s.Buffered.Device(), s.Confirmed)
	}
	if p := q.Position(); p.Next != 11 || string(q.Rules()["r"]) != "state" || q.Epochs()[1] != (Epoch{ID: "e1", Start: 1}) {
		t.Fatalf("position %+v, rules %q, epochs %v", p, q.Rules(), q.Epochs())
	}
}

func TestClassesAreStreamsOfTheirOwn(t *testing.T) {
	q := open(t, testOptions(t.TempDir()))
	defer q.Close()
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	c := cursor(t, q, "a")
	q.Put(frame(tidegate.ClassReading, 1, 4, 1), frame(tidegate.ClassReading, 6, 9, 1))
	commit(t, q, Commit{Frames: []Frame{
		frame(tidegate.ClassReading, 1, 4, 1), frame(tidegate.ClassAlarm, 5, 5, 1), frame(tidegate.ClassReading, 6, 9, 1),
	}})
	q.Put(frame(tidegate.ClassAlarm, 5, 5, 1))
	wantRanges(t, "readings", look(t, c, tidegate.ClassReading, 1), tidegate.Ranges{{First: 1, Last: 4}, {First: 6, Last: 9}})
	wantRanges(t, "alarms", look(t, c, tidegate.ClassAlarm, 1), tidegate.Ranges{{First: 5, Last: 5}})
	if err := c.Ack("e1", tidegate.Ranges{{First: 1, Last: 9}}); err != nil {
		t.Fatal(err)
	}
	if d := q.Stats().Cursors[0].Delivered; d[tidegate.ClassAlarm].Records != 1 || d[tidegate.ClassReading].Records != 8 {
		t.Fatalf("delivered %v", d)
	}
}

// fill commits frames of about 100 KB until n of them are stored, from number first.
func fill(t *testing.T, q *Queue, first uint64, n int) uint64 {
	t.Helper()
	for range n {
		f := frame(tidegate.ClassReading, first, first+9, 2)
		f.Body = append(f.Body, make([]byte, 100<<10)...)
		putAndCommit(t, q, f)
		if err := q.Retain(time.Duration(int64(first)*1000) * time.Millisecond); err != nil {
			t.Fatal(err)
		}
		first += 10
	}
	return first
}

func TestOldestIsDroppedAndDeclared(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(dir)
	o.MaxBytes = MinBytes
	o.Uplinks = []string{"a", "b"}
	q := open(t, o)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	a := cursor(t, q, "a")
	next := fill(t, q, 1, 50)
	if err := a.Ack("e1", tidegate.Ranges{{First: 1, Last: 15}}); err != nil {
		t.Fatal(err)
	}
	var asked []Declaration
	for len(asked) == 0 {
		if next > 10_000 {
			t.Fatal("nothing is dropped")
		}
		next = fill(t, q, next, 10)
		asked = q.Requests()
	}
	if len(asked) != 2 || asked[0].Uplink != "a" || asked[1].Uplink != "b" || asked[0].Cause != tidegate.CauseOverflow {
		t.Fatalf("asked for %+v", asked)
	}
	last := asked[1].Ranges[0].Last
	wantRanges(t, "gap of a", asked[0].Ranges, tidegate.Ranges{{First: 16, Last: last}})
	wantRanges(t, "gap of b", asked[1].Ranges, tidegate.Ranges{{First: 1, Last: last}})
	if asked[0].Count != 2*(last-15) || asked[1].Count != 2*last {
		t.Fatalf("counts %d and %d, want %d and %d", asked[0].Count, asked[1].Count, 2*(last-15), 2*last)
	}
	wantRanges(t, "doomed segment is not shown", look(t, a, tidegate.ClassReading, 1), tidegate.Ranges{{First: last + 1, Last: next - 1}})

	// The gaps go through the rings as bytes and come back with a commit.
	var back []Declaration
	for _, d := range asked {
		x, err := DecodeDeclaration(d.Encode())
		if err != nil {
			t.Fatal(err)
		}
		back = append(back, x)
	}
	commit(t, q, Commit{Frames: []Frame{frame(tidegate.ClassAudit, next, next+1, 1)}, Declared: back})
	if err := q.Close(); err != nil { // killed before DropPrefix: it is made up for at the next start
		t.Fatal(err)
	}
	q = open(t, o)
	defer q.Close()
	commit(t, q, Commit{Position: Position{Epoch: 1, Next: next + 2}}) // takes the index key away
	for _, s := range q.Stats().Segments {
		if s.First <= last && s.Name[:7] == "reading" {
			t.Fatalf("segment %+v is still there", s)
		}
	}
	st := q.Stats()
	for i, want := range []uint64{2 * (last - 15), 2 * last} {
		c := st.Cursors[i]
		if got := c.Declared.Device().Readings; got != want {
			t.Fatalf("%s: declared %d readings, want %d", c.Uplink, got, want)
		}
		p, d, b := st.Produced.Device(), c.Delivered.Device(), c.Buffered.Device()
		if p.Readings != d.Readings+b.Readings+want {
			t.Fatalf("%s: produced %v, delivered %v, buffered %v, declared %d", c.Uplink, p, d, b, want)
		}
		wantRanges(t, "what is left", look(t, cursor(t, q, c.Uplink), tidegate.ClassReading, 1), tidegate.Ranges{{First: last + 1, Last: next - 1}})
	}
}

func TestDeliveredGoesFirstAndOnlyBehindTheCommittedCursor(t *testing.T) {
	o := testOptions(t.TempDir())
	o.MaxBytes = MinBytes
	q := open(t, o)
	defer q.Close()
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	c := cursor(t, q, "a")
	next := fill(t, q, 1, 300)
	if err := c.Ack("e1", tidegate.Ranges{{First: 1, Last: next - 1}}); err != nil {
		t.Fatal(err)
	}
	before := q.Stats().Bytes
	if err := q.Retain(10 * 365 * 24 * time.Hour); err != nil { // Keep is long over for all of it
		t.Fatal(err)
	}
	if got := q.Stats().Bytes; got != before {
		t.Fatalf("dropped before the cursor was on disk: %d bytes, were %d", got, before)
	}
	next = fill(t, q, next, 200)
	if asked := q.Requests(); len(asked) > 0 {
		t.Fatalf("asked to declare %+v although delivered segments were there", asked)
	}
	if got := q.Stats().Bytes; got > MinBytes {
		t.Fatalf("%d bytes kept, limit %d", got, MinBytes)
	}
	wantRanges(t, "not delivered", look(t, c, tidegate.ClassReading, 1), tidegate.Ranges{{First: 3001, Last: next - 1}})
}

func TestKeepDropsDeliveredOnly(t *testing.T) {
	o := testOptions(t.TempDir())
	q := open(t, o)
	defer q.Close()
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	c := cursor(t, q, "a")
	next := fill(t, q, 1, 200)
	if err := c.Ack("e1", tidegate.Ranges{{First: 1, Last: 1000}}); err != nil {
		t.Fatal(err)
	}
	commit(t, q, Commit{Position: Position{Epoch: 1, Next: next}})
	if err := q.Retain(2000*time.Second + 2*time.Hour); err != nil {
		t.Fatal(err)
	}
	first := uint64(0)
	for _, s := range q.Stats().Segments {
		if first == 0 || s.First < first {
			first = s.First
		}
	}
	if first == 1 || first > 1001 {
		t.Fatalf("oldest record kept is %d", first)
	}
	wantRanges(t, "not delivered", look(t, c, tidegate.ClassReading, 1), tidegate.Ranges{{First: 1001, Last: next - 1}})
}

func TestRejectedIsSetAsideAndDeclared(t *testing.T) {
	q := open(t, testOptions(t.TempDir()))
	defer q.Close()
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	c := cursor(t, q, "a")
	putAndCommit(t, q, frame(tidegate.ClassReading, 1, 9, 2))
	if err := c.Reject("e1", tidegate.Range{First: 4, Last: 4}, "too long"); err != nil {
		t.Fatal(err)
	}
	wantRanges(t, "hidden at once", look(t, c, tidegate.ClassReading, 1), tidegate.Ranges{{First: 1, Last: 3}, {First: 5, Last: 9}})
	asked := q.Requests()
	if len(asked) != 1 || asked[0].Cause != tidegate.CauseRejected || asked[0].Count != 2 || asked[0].Why != "too long" {
		t.Fatalf("asked for %+v", asked)
	}
	commit(t, q, Commit{Frames: []Frame{frame(tidegate.ClassAudit, 10, 10, 1)}, Declared: asked})
	wantRanges(t, "left", look(t, c, tidegate.ClassReading, 1), tidegate.Ranges{{First: 1, Last: 3}, {First: 5, Last: 9}})
	s := q.Stats().Cursors[0]
	if s.Rejected.Device() != (Tally{Records: 1, Readings: 2}) || s.Buffered.Device() != (Tally{Records: 8, Readings: 16}) {
		t.Fatalf("rejected %v, buffered %v", s.Rejected.Device(), s.Buffered.Device())
	}
}

func TestFullDiskIsNotWrittenTo(t *testing.T) {
	o := testOptions(t.TempDir())
	free := int64(1 << 30)
	o.Statfs = func(string) (int64, int64, error) { return free, 2 << 30, nil }
	q := open(t, o)
	defer q.Close()
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	free = disk.Reserve
	limit := func() int64 {
		t.Helper()
		if err := q.Retain(time.Second); err != nil {
			t.Fatal(err)
		}
		return q.Limit()
	}
	if n := limit(); n == o.MaxBytes {
		t.Errorf("on a full disk the limit is %d", n)
	}
	c := Commit{Frames: []Frame{frame(tidegate.ClassReading, 1, 9, 2)}, Position: Position{Epoch: 1, Next: 10}}
	if err := q.Commit(c); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("got %v, want ErrNoSpace", err)
	}
	if !errors.Is(q.Stats().Failure, ErrNoSpace) || q.Position().Next != 0 {
		t.Fatalf("failure %v, position %+v", q.Stats().Failure, q.Position())
	}
	free = 1 << 30
	if err := q.Commit(c); err != nil || q.Stats().Failure != nil {
		t.Fatalf("after space returned: %v", err)
	}
	if n := limit(); n != o.MaxBytes {
		t.Errorf("after space returned the limit is %d, want %d", n, o.MaxBytes)
	}
}
