package buffer

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/stored"
	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

var everyNumber = tidegate.Range{First: 1, Last: math.MaxUint64}

// refuse rejects records 1.. of the uplink and commits what is declared of it.
func refuse(t *testing.T, q *Queue, uplink string, r tidegate.Range) {
	t.Helper()
	if err := cursor(t, q, uplink).Reject("e1", r, "refused"); err != nil {
		t.Fatal(err)
	}
	declareAll(t, q, 0)
}

// declareAll commits what is to be declared, in a record of class audit with the number next, which it shows; 0 = in none.
func declareAll(t *testing.T, q *Queue, next uint64) []Declaration {
	t.Helper()
	c := Commit{Position: q.Position(), Declared: q.Requests()}
	if next > 0 && len(c.Declared) > 0 {
		c.Frames = []Frame{frame(tidegate.ClassAudit, next, next, 1)}
		c.Position.Next = next + 1
	}
	commit(t, q, c)
	q.Put(c.Frames...)
	return c.Declared
}

// requeue makes what is set aside go again.
func requeue(t *testing.T, q *Queue, uplink string, r tidegate.Range) *Requeue {
	t.Helper()
	x := &Requeue{Uplink: uplink, Range: r}
	for range 1000 {
		more, err := q.Requeue(x)
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			return x
		}
	}
	t.Fatal("it does not end")
	return nil
}

func asideOf(t *testing.T, q *Queue) (out []string) {
	t.Helper()
	if err := q.Aside(func(a stored.Aside) error {
		out = append(out, fmt.Sprintf("%s %d-%d", a.Uplink, a.First, a.Last))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// exact fails where an account does not come out even.
func exact(t *testing.T, q *Queue) {
	t.Helper()
	for _, c := range q.Stats().Cursors {
		for class, p := range c.Produced {
			var sum Tally
			for _, x := range []*Tallies{&c.Delivered, &c.Buffered, &c.Rejected, &c.Declared, &c.Routed} {
				sum.Add(x[class])
			}
			if sum != p {
				t.Errorf("%s, class %d: produced %v, of which %v are known: %+v", c.Uplink, class, p, sum, c)
			}
		}
	}
}

// again checks what is rejected and buffered for the first uplink, in readings.
func counts(t *testing.T, q *Queue, rejected, buffered uint64) {
	t.Helper()
	c := q.Stats().Cursors[0]
	if c.Rejected[1].Readings != rejected || c.Buffered[1].Readings != buffered {
		t.Errorf("rejected %d, buffered %d, want %d and %d", c.Rejected[1].Readings, c.Buffered[1].Readings, rejected, buffered)
	}
	exact(t, q)
}

// reopen ends q as a kill does, as far as what is committed goes, and opens it again.
func reopen(t *testing.T, q *Queue, o Options) *Queue {
	t.Helper()
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, o)
}

// What was set aside goes again under its numbers: not before the far side knows, and no receipt from before settles it.
func TestRequeuedGoesAgainOnceTheFarSideKnows(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	o.Uplinks = []string{"a", "b"}
	q := open(t, o)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	putAndCommit(t, q, frame(tidegate.ClassReading, 1, 10, 2))
	for _, name := range o.Uplinks {
		if err := cursor(t, q, name).Ack("e1", tidegate.Ranges{{First: 1, Last: 3}, {First: 6, Last: 10}}); err != nil {
			t.Fatal(err)
		}
		refuse(t, q, name, tidegate.Range{First: 4, Last: 5})
	}
	counts(t, q, 4, 0)
	if x := requeue(t, q, "a", tidegate.Range{First: 5, Last: 9}); x.Done != (Tally{Records: 1, Readings: 2}) || len(x.Stay) > 0 {
		t.Errorf("requeued %+v, want record 5", x)
	}
	if got := fmt.Sprint(asideOf(t, q)); got != "[a 4-4 b 4-5]" {
		t.Errorf("set aside: %s", got)
	}
	counts(t, q, 2, 2)
	q = reopen(t, q, o)
	counts(t, q, 2, 2)
	c := cursor(t, q, "a")
	for _, at := range []string{"before it is told", "before the far side has it"} {
		if got := look(t, c, tidegate.ClassReading, 1); len(got) > 0 {
			t.Errorf("%s the cursor shows %v", at, got)
		}
		if err := c.Ack("e1", tidegate.Ranges{{First: 1, Last: 10}}); err != nil {
			t.Fatal(err)
		}
		counts(t, q, 2, 2)
		d := declareAll(t, q, 11)
		if at == "before it is told" && (len(d) != 1 || d[0].Cause != tidegate.CauseRequeued || d[0].Uplink != "a" || d[0].Count != 2 || fmt.Sprint(d[0].Ranges) != "[{5 5}]") {
			t.Fatalf("to be told: %+v", d)
		}
		q = reopen(t, q, o)
		c = cursor(t, q, "a")
	}
	if err := c.Ack("e1", tidegate.Ranges{{First: 1, Last: 11}}); err != nil { // a receipt that was given with the record that tells
		t.Fatal(err)
	}
	counts(t, q, 2, 2)
	if p, ok := c.Returned(); !ok || p != (Place{1, 5}) {
		t.Errorf("returned from %v, %v", p, ok)
	}
	if got := look(t, c, tidegate.ClassReading, 1); fmt.Sprint(got) != "[{5 5}]" {
		t.Errorf("the cursor shows %v, want 5", got)
	}
	if got := look(t, cursor(t, q, "b"), tidegate.ClassReading, 1); len(got) > 0 {
		t.Errorf("the other uplink is shown %v", got)
	}
	commit(t, q, Commit{Position: q.Position()})
	q = reopen(t, q, o)
	if got := look(t, cursor(t, q, "a"), tidegate.ClassReading, 1); fmt.Sprint(got) != "[{5 5}]" {
		t.Errorf("after a restart the cursor shows %v, want 5", got)
	}
	if err := cursor(t, q, "a").Ack("e1", tidegate.Ranges{{First: 5, Last: 5}}); err != nil {
		t.Fatal(err)
	}
	counts(t, q, 2, 0)
	commit(t, q, Commit{Position: q.Position()})
	q = reopen(t, q, o)
	defer q.Close()
	counts(t, q, 2, 0)
	if n := len(cursor(t, q, "a").again); n > 0 || len(q.Requests()) > 0 {
		t.Errorf("%d parts are still to go again", n)
	}
}

// What goes again is not shown before the far side knows, in this process either.
func TestRequeuedIsHiddenAtOnce(t *testing.T) {
	q := open(t, testOptions(tmpfs.Dir(t)))
	defer q.Close()
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	putAndCommit(t, q, frame(tidegate.ClassReading, 1, 10, 2))
	refuse(t, q, "a", tidegate.Range{First: 4, Last: 5})
	requeue(t, q, "a", everyNumber)
	if got := fmt.Sprint(look(t, cursor(t, q, "a"), tidegate.ClassReading, 1)); got != "[{1 3} {6 10}]" {
		t.Errorf("the cursor shows %s", got)
	}
}

// An uplink that was added after the segment had gone is not owed what comes back for another.
func TestUplinkThatWasAddedIsNotShownWhatComesBack(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	o.Keep, o.sizes = time.Nanosecond, sizes{segment: 1, tail: 1}
	q := open(t, o)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	putAndCommit(t, q, frame(tidegate.ClassReading, 1, 10, 2))
	refuse(t, q, "a", tidegate.Range{First: 1, Last: 10})
	if err := q.Retain(time.Hour); err != nil {
		t.Fatal(err)
	}
	o.Uplinks = []string{"a", "c"}
	q = reopen(t, q, o)
	commit(t, q, Commit{Position: q.Position()})
	requeue(t, q, "a", tidegate.Range{First: 3, Last: 4})
	for range 2 {
		counts(t, q, 16, 4)
		if got := look(t, cursor(t, q, "c"), tidegate.ClassReading, 1); len(got) > 0 {
			t.Errorf("the new uplink is shown %v", got)
		}
		q = reopen(t, q, o)
	}
	defer q.Close()
	if got := fmt.Sprint(asideOf(t, q)); got != "[a 1-2 a 5-10]" {
		t.Errorf("set aside: %s", got)
	}
}

// What was refused twice is set aside twice, and may go a third time.
func TestRequeuedAndRefusedAgain(t *testing.T) {
	q := open(t, testOptions(tmpfs.Dir(t)))
	defer q.Close()
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	putAndCommit(t, q, frame(tidegate.ClassReading, 1, 10, 2))
	refuse(t, q, "a", tidegate.Range{First: 4, Last: 5})
	for n := uint64(20); n < 23; n++ {
		requeue(t, q, "a", everyNumber)
		counts(t, q, 0, 20)
		declareAll(t, q, n)
		if err := cursor(t, q, "a").Ack("e1", tidegate.Ranges{{First: n, Last: n}}); err != nil {
			t.Fatal(err)
		}
		refuse(t, q, "a", tidegate.Range{First: 4, Last: 5})
		counts(t, q, 4, 16)
		if got := fmt.Sprint(asideOf(t, q)); got != "[a 4-5]" {
			t.Errorf("set aside: %s", got)
		}
	}
}

// Segments may be gone by the time: their records come back into segments between those that are there.
func TestRequeuedAfterItsSegmentIsGone(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	o.Uplinks, o.Keep, o.sizes = []string{"a", "b"}, time.Nanosecond, sizes{segment: 1, tail: 1}
	q := open(t, o)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	for n := uint64(1); n < 60; n += 10 {
		f := frame(tidegate.ClassReading, n, n+9, 2)
		if n == 21 {
			f.Apart, f.Body[2] = true, 1<<4|2 // 23 is for a only
		}
		putAndCommit(t, q, f)
	}
	b := cursor(t, q, "b")
	if err := b.Ack("e1", tidegate.Ranges{{First: 1, Last: 30}, {First: 41, Last: 60}}); err != nil {
		t.Fatal(err)
	}
	for _, n := range []uint64{5, 23, 47} {
		refuse(t, q, "a", tidegate.Range{First: n, Last: n + 1})
	}
	if err := cursor(t, q, "a").Ack("e1", tidegate.Ranges{{First: 1, Last: 30}, {First: 41, Last: 60}}); err != nil {
		t.Fatal(err)
	}
	commit(t, q, Commit{Position: q.Position()})
	if err := q.Retain(time.Hour); err != nil {
		t.Fatal(err)
	}
	commit(t, q, Commit{Position: q.Position()})
	if held := fmt.Sprint(q.Held(tidegate.ClassReading)[1]); held != "[{31 40}]" {
		t.Fatalf("held: %v", held)
	}
	counts(t, q, 12, 20)
	q.o.sizes.segment = 1 << 20 // but no segment reaches beyond another
	requeue(t, q, "a", everyNumber)
	if n := len(q.segments[tidegate.ClassReading]); n != 3 {
		t.Errorf("%d segments, want 3", n)
	}
	counts(t, q, 0, 32)
	if held := fmt.Sprint(q.Held(tidegate.ClassReading)[1]); held != "[{5 6} {23 24} {31 40} {47 48}]" {
		t.Fatalf("held: %v", held)
	}
	declareAll(t, q, 61)
	q = reopen(t, q, o)
	defer q.Close()
	counts(t, q, 0, 32)
	a := cursor(t, q, "a")
	if err := a.Ack("e1", tidegate.Ranges{{First: 61, Last: 61}}); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(look(t, a, tidegate.ClassReading, 1)); got != "[{5 6} {23 24} {31 40} {47 48}]" {
		t.Errorf("the cursor shows %s", got)
	}
	if got := fmt.Sprint(look(t, cursor(t, q, "b"), tidegate.ClassReading, 1)); got != "[{31 40}]" {
		t.Errorf("the other shows %s", got)
	}
	if r, err := q.Check(t.Context()); err != nil || len(r.Faults) > 0 {
		t.Errorf("check: %v %v", r.Faults, err)
	}
	if err := a.Ack("e1", tidegate.Ranges{{First: 1, Last: 60}}); err != nil {
		t.Fatal(err)
	}
	counts(t, q, 0, 0)
}

// A process that ends between setting aside and the commit of the declaration has not set aside anything.
func TestWhatWasNotDeclaredIsNotSetAside(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	q := open(t, o)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	putAndCommit(t, q, frame(tidegate.ClassReading, 1, 10, 2))
	q.Put(frame(tidegate.ClassReading, 11, 12, 2)) // not committed
	for _, r := range []tidegate.Range{{First: 4, Last: 5}, {First: 11, Last: 11}} {
		if err := q.setAside(&Declaration{Uplink: "a", Epoch: 1, Ranges: tidegate.Ranges{r}, Cause: tidegate.CauseRejected}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(asideOf(t, q)); n != 2 {
		t.Fatalf("%d are set aside", n)
	}
	q = reopen(t, q, o)
	defer q.Close()
	if got := asideOf(t, q); len(got) > 0 {
		t.Errorf("set aside: %v", got)
	}
	counts(t, q, 0, 20)
}

// The far side is told of so many runs at a time that a receipt can name those that it has not.
func TestRequeuedIsToldInPortions(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	q := open(t, o)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	putAndCommit(t, q, frame(tidegate.ClassReading, 1, 200, 1))
	c := cursor(t, q, "a")
	for n := uint64(2); n <= 200; n += 2 {
		if err := c.Reject("e1", tidegate.Range{First: n, Last: n}, "odd"); err != nil {
			t.Fatal(err)
		}
	}
	declareAll(t, q, 0)
	requeue(t, q, "a", everyNumber)
	counts(t, q, 0, 200)
	sum := 0
	for next := uint64(201); ; next++ {
		d := declareAll(t, q, next)
		if len(d) == 0 {
			break
		}
		if len(d) != 1 || len(d[0].Ranges) > 32 {
			t.Fatalf("told at a time: %+v", d)
		}
		sum += len(d[0].Ranges)
		if next == 202 {
			q = reopen(t, q, o)
			c = cursor(t, q, "a")
			if d := declareAll(t, q, 0); len(d) > 0 {
				t.Fatalf("told twice: %+v", d)
			}
		}
		for _, rs := range []tidegate.Ranges{{{First: next, Last: next}}, d[0].Ranges} {
			if err := c.Ack("e1", rs); err != nil {
				t.Fatal(err)
			}
		}
	}
	defer q.Close()
	if sum != 100 {
		t.Errorf("%d runs were told, want 100", sum)
	}
	counts(t, q, 0, 100)
}

// Where the record that tells is refused itself, another one tells.
func TestRequeuedIsToldAgain(t *testing.T) {
	q := open(t, testOptions(tmpfs.Dir(t)))
	defer q.Close()
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	putAndCommit(t, q, frame(tidegate.ClassReading, 1, 10, 2))
	refuse(t, q, "a", tidegate.Range{First: 4, Last: 5})
	requeue(t, q, "a", everyNumber)
	declareAll(t, q, 11)
	refuse(t, q, "a", tidegate.Range{First: 11, Last: 11})
	d := declareAll(t, q, 12)
	if len(d) != 1 || d[0].Cause != tidegate.CauseRequeued {
		t.Fatalf("declared %+v", d)
	}
	c := cursor(t, q, "a")
	if err := c.Ack("e1", tidegate.Ranges{{First: 1, Last: 11}}); err != nil {
		t.Fatal(err)
	}
	if got := look(t, c, tidegate.ClassReading, 1); len(got) > 0 {
		t.Errorf("shown: %v", got)
	}
	if err := c.Ack("e1", tidegate.Ranges{{First: 12, Last: 12}}); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(look(t, c, tidegate.ClassReading, 1)); got != "[{4 5}]" {
		t.Errorf("shown: %v", got)
	}
}

// What cannot go stays, with the reason, and nothing of it is counted.
func TestWhatCannotBeRequeuedStays(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	o.Keep, o.sizes = time.Nanosecond, sizes{segment: 1, tail: 1}
	q := open(t, o)
	defer q.Close()
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	putAndCommit(t, q, frame(tidegate.ClassReading, 1, 10, 2))
	q.o.Cut = func([]byte, int, int) ([]byte, error) { return nil, errors.New("no frame") }
	refuse(t, q, "a", tidegate.Range{First: 1, Last: 10})
	if err := q.Retain(time.Hour); err != nil {
		t.Fatal(err)
	}
	x := requeue(t, q, "a", everyNumber)
	if want := "[records 1 to 10: they cannot be decoded: no frame]"; fmt.Sprint(x.Stay) != want || x.Done != (Tally{}) {
		t.Errorf("got %v %v, want %s", x.Done, x.Stay, want)
	}
	counts(t, q, 20, 0)
	if got := fmt.Sprint(asideOf(t, q)); got != "[a 1-10]" {
		t.Errorf("set aside: %s", got)
	}
	if _, err := q.Requeue(&Requeue{Uplink: "x", Range: everyNumber}); err == nil {
		t.Error("an uplink that is not there")
	}
}

// The oldest record that is owed is known to the millisecond, and its frame is not read at each look.
func TestOldestIsExact(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	reads := 0
	o.Span = func(body []byte, skip, n int) (int64, int64, error) {
		reads++
		return int64(body[skip]) * 1000, int64(body[skip+n-1]) * 1000, nil
	}
	o.sizes.tail = 1
	q := open(t, o)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	f := frame(tidegate.ClassReading, 1, 200, 1)
	for i := range f.Body {
		f.Body[i] = byte(min(i+1, 200)) // its time in seconds
	}
	f.T0, f.T1 = 1000, 200_000
	putAndCommit(t, q, f)
	q.tails[tidegate.ClassReading].frames = nil // read from disk
	for _, n := range []uint64{1, 2, 150} {
		if err := cursor(t, q, "a").Ack("e1", tidegate.Ranges{{First: 1, Last: n - 1}}); n > 1 && err != nil {
			t.Fatal(err)
		}
		reads = 0
		for range 3 {
			if got := q.Stats().Cursors[0].Oldest; got != int64(n)*1000 {
				t.Errorf("the oldest is of %d ms, want %d", got, n*1000)
			}
		}
		if reads != 1 {
			t.Errorf("looked into a frame %d times, want once", reads)
		}
	}
	if err := cursor(t, q, "a").Ack("e1", tidegate.Ranges{{First: 1, Last: 200}}); err != nil {
		t.Fatal(err)
	}
	if got := q.Stats().Cursors[0].Oldest; got != 0 {
		t.Errorf("with nothing owed the oldest is of %d ms", got)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// A frame that is gone is missed where it stood, once.
func TestSweepSaysWhatItLacks(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	q := open(t, o)
	defer q.Close()
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	for n := uint64(1); n < 60; n += 10 {
		putAndCommit(t, q, frame(tidegate.ClassReading, n, n+9, 2))
	}
	s := q.segments[tidegate.ClassReading][0]
	if err := q.disk.Write(nil, [][]byte{s.FrameKey(21), s.FrameKey(51)}); err != nil {
		t.Fatal(err)
	}
	var got, lacks tidegate.Ranges
	for at := (Place{}); ; {
		looks, err := q.Sweep(tidegate.ClassReading, at, 1, func(epoch string, missing tidegate.Ranges) {
			for _, r := range missing {
				if epoch != "e1" || len(lacks.Within(r)) > 0 {
					t.Errorf("missing of %s, or twice: %v", epoch, r)
				}
				lacks.Add(r)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(looks) == 0 {
			break
		}
		for i := range looks {
			got.AddAll(looks[i].Want)
			at = Place{looks[i].Epoch, looks[i].Last + 1}
		}
	}
	if fmt.Sprint(got, lacks) != "[{1 20} {31 50}] [{21 30} {51 60}]" {
		t.Errorf("got %v, lacks %v", got, lacks)
	}
}

// What the far side confirms between the refusal and its declaration is delivered, and not set aside: it cannot be made to go again.
func TestConfirmedMeanwhileIsNotSetAside(t *testing.T) {
	q := open(t, testOptions(tmpfs.Dir(t)))
	defer q.Close()
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	putAndCommit(t, q, frame(tidegate.ClassReading, 1, 10, 2))
	c := cursor(t, q, "a")
	if err := c.Reject("e1", tidegate.Range{First: 4, Last: 6}, "no receipt"); err != nil {
		t.Fatal(err)
	}
	if err := c.Ack("e1", tidegate.Ranges{{First: 4, Last: 5}}); err != nil {
		t.Fatal(err)
	}
	declareAll(t, q, 0)
	if got := fmt.Sprint(asideOf(t, q)); got != "[a 6-6]" {
		t.Errorf("set aside: %s", got)
	}
	counts(t, q, 2, 14)
	requeue(t, q, "a", everyNumber)
	counts(t, q, 0, 16)
}

// Of what goes again together some may be refused once more, and go a second time before the others are done.
func TestSomeOfItIsRefusedAgain(t *testing.T) {
	q := open(t, testOptions(tmpfs.Dir(t)))
	defer q.Close()
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	putAndCommit(t, q, frame(tidegate.ClassReading, 1, 10, 2))
	refuse(t, q, "a", tidegate.Range{First: 4, Last: 6})
	c := cursor(t, q, "a")
	ack := func(list ...uint64) {
		t.Helper()
		for _, n := range list {
			if err := c.Ack("e1", tidegate.Ranges{{First: n, Last: n}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	requeue(t, q, "a", everyNumber)
	declareAll(t, q, 20)
	ack(20)
	refuse(t, q, "a", tidegate.Range{First: 5, Last: 5})
	requeue(t, q, "a", everyNumber)
	if d := declareAll(t, q, 21); len(d) > 0 {
		t.Fatalf("told before the others are done: %+v", d)
	}
	ack(4, 6)
	if d := declareAll(t, q, 21); len(d) != 1 || fmt.Sprint(d[0].Ranges) != "[{5 5}]" {
		t.Fatalf("to be told: %+v", d)
	}
	ack(21)
	if got := fmt.Sprint(look(t, c, tidegate.ClassReading, 1)); got != "[{1 3} {5 5} {7 10}]" {
		t.Errorf("shown: %v", got)
	}
	counts(t, q, 0, 16)
}

// Whoever is told by one of several records of class audit knows once it has all of them, in whichever order receipts name them.
func TestOneReceiptCoversAllThatTells(t *testing.T) {
	q := open(t, testOptions(tmpfs.Dir(t)))
	defer q.Close()
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	putAndCommit(t, q, frame(tidegate.ClassReading, 1, 10, 2))
	refuse(t, q, "a", tidegate.Range{First: 4, Last: 5})
	requeue(t, q, "a", everyNumber)
	c := Commit{Position: q.Position(), Declared: q.Requests(), Frames: []Frame{
		frame(tidegate.ClassAudit, 11, 12, 1), frame(tidegate.ClassReading, 13, 13, 1), frame(tidegate.ClassAudit, 14, 14, 1),
		frame(tidegate.ClassReading, 15, 15, 1), frame(tidegate.ClassAudit, 16, 16, 1),
	}}
	c.Position.Next = 17
	commit(t, q, c)
	if err := cursor(t, q, "a").Ack("e1", tidegate.Ranges{{First: 11, Last: 16}}); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(look(t, cursor(t, q, "a"), tidegate.ClassReading, 1)); got != "[{1 10}]" {
		t.Errorf("the cursor shows %s", got)
	}
}

// A receipt that was not stored when the process ended is given again: until then the far side counts as one that does not know, and nothing is lost.
func TestWhoKnowsIsAskedAgainAfterAKill(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	q := open(t, o)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	putAndCommit(t, q, frame(tidegate.ClassReading, 1, 10, 2))
	refuse(t, q, "a", tidegate.Range{First: 4, Last: 5})
	requeue(t, q, "a", everyNumber)
	declareAll(t, q, 11)
	for range 2 {
		c := cursor(t, q, "a")
		if got := fmt.Sprint(look(t, c, tidegate.ClassReading, 1), look(t, c, tidegate.ClassAudit, 1)); got != "[{1 3} {6 10}] [{11 11}]" {
			t.Errorf("the cursor shows %s", got)
		}
		if err := c.Ack("e1", tidegate.Ranges{{First: 11, Last: 11}}); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(look(t, c, tidegate.ClassReading, 1), look(t, c, tidegate.ClassAudit, 1)); got != "[{1 10}] []" {
			t.Errorf("once the far side knows the cursor shows %s", got)
		}
		q = reopen(t, q, o)
	}
	defer q.Close()
	counts(t, q, 0, 20)
}

// What is requeued after a segment was dropped and before the next commit leaves a store that opens.
func TestRequeuedAfterADrop(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	o.Keep, o.sizes = time.Nanosecond, sizes{segment: 1, tail: 1}
	q := open(t, o)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	for n := uint64(1); n <= 3; n++ {
		putAndCommit(t, q, frame(tidegate.ClassReading, n, n, 2))
	}
	if err := cursor(t, q, "a").Ack("e1", tidegate.Ranges{{First: 1, Last: 1}}); err != nil {
		t.Fatal(err)
	}
	refuse(t, q, "a", tidegate.Range{First: 2, Last: 2})
	if err := q.Retain(time.Hour); err != nil {
		t.Fatal(err)
	}
	if n := len(q.segments[tidegate.ClassReading]); n != 1 {
		t.Fatalf("%d segments are left, want 1", n)
	}
	requeue(t, q, "a", everyNumber)
	q = reopen(t, q, o)
	defer q.Close()
	counts(t, q, 0, 4)
}

// What goes again to an uplink that cannot be reached holds its segments, and those only: others make room.
func TestOverflowGoesRoundWhatGoesAgain(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	o.sizes = sizes{segment: 1, budget: 20_000, tail: 1}
	q := open(t, o)
	defer q.Close()
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	putAndCommit(t, q, frame(tidegate.ClassReading, 1, 10, 2))
	refuse(t, q, "a", tidegate.Range{First: 4, Last: 5})
	requeue(t, q, "a", everyNumber)
	next := uint64(11)
	produce := func() {
		t.Helper()
		for range 100 {
			f := frame(tidegate.ClassReading, next, next+9, 2)
			f.Body = append(f.Body, make([]byte, 1000)...)
			putAndCommit(t, q, f)
			next += 10
			for range 2 {
				if err := q.Retain(time.Hour); err != nil {
					t.Fatal(err)
				}
				declareAll(t, q, next)
				next++
			}
		}
	}
	bytes := func() (sum int64) {
		for class := range q.segments {
			for _, s := range q.segments[class] {
				sum += s.Bytes
			}
		}
		return sum
	}
	produce()
	if n := bytes(); n > 22_000 {
		t.Errorf("%d bytes are held while the uplink is away, at most 20000 and what is being declared", n)
	}
	c := cursor(t, q, "a")
	if err := c.Ack("e1", tidegate.Ranges{{First: 11, Last: next}}); err != nil {
		t.Fatal(err)
	}
	if got := look(t, c, tidegate.ClassReading, 1); fmt.Sprint(got) != "[{1 10}]" {
		t.Errorf("once the far side knows the cursor shows %v", got)
	}
	produce()
	if n := bytes(); n > 22_000 || q.segments[tidegate.ClassReading][0].First() == 1 {
		t.Errorf("then %d bytes are held, from %d on", n, q.segments[tidegate.ClassReading][0].First())
	}
	exact(t, q)
}

// What goes again to an uplink that cannot be reached does not fill the buffer.
func TestSoMuchWaitsUntilTheFarSideKnows(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	o.sizes = sizes{segment: 1, budget: 4000, tail: 1} // a segment takes 1,068
	q := open(t, o)
	defer q.Close()
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	for n := uint64(1); n <= 3; n++ {
		f := frame(tidegate.ClassReading, n, n, 2)
		f.Body = append(f.Body, make([]byte, 1000)...)
		putAndCommit(t, q, f)
		refuse(t, q, "a", tidegate.Range{First: n, Last: n})
	}
	x := &Requeue{Uplink: "a", Range: everyNumber}
	for _, want := range []error{nil, ErrBusy} {
		if more, err := q.Requeue(x); !errors.Is(err, want) || x.Done.Records != 1 || !more {
			t.Fatalf("requeued %+v: %v", x, err)
		}
	}
	for n := uint64(1); n <= 2; n++ {
		declareAll(t, q, 10+n)
		if err := cursor(t, q, "a").Ack("e1", tidegate.Ranges{{First: n, Last: n}, {First: 10 + n, Last: 10 + n}}); err != nil {
			t.Fatal(err)
		}
		if err := cursor(t, q, "a").Ack("e1", tidegate.Ranges{{First: n, Last: n}}); err != nil { // what was not shown at that time
			t.Fatal(err)
		}
		if _, err := q.Requeue(x); err != nil || x.Done.Records != 1+n {
			t.Fatalf("requeued %+v: %v", x, err)
		}
	}
	counts(t, q, 0, 2)
}

// What turns out not to go when space is made for it holds up no commit.
func TestWhatCannotGoHoldsUpNothing(t *testing.T) {
	q := open(t, testOptions(tmpfs.Dir(t)))
	defer q.Close()
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	one := tidegate.Range{First: 1, Last: 1}
	gone := shelf{Aside: stored.Aside{Uplink: "a", Epoch: 1, First: 1, Last: 1, Class: tidegate.ClassReading}, part: one}
	q.comeback = &comeback{c: cursor(t, q, "a"), list: []shelf{gone}}
	if err := q.bringBack(); err == nil {
		t.Error("a record that nothing holds came back")
	}
	putAndCommit(t, q, frame(tidegate.ClassReading, 2, 10, 2))
	counts(t, q, 0, 18)
}
