package buffer

import (
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
)

// apart makes a frame of class reading that begins with record first, of one reading each, one for each letter of to: "." is meant for all, a for
// uplink a, b for b, g for one that is gone.
func apart(first uint64, to string) Frame {
	f := Frame{Epoch: 1, Class: tidegate.ClassReading, First: first, Last: first + uint64(len(to)) - 1, Count: uint32(len(to)), T0: int64(first) * 1000, T1: int64(first) * 1000}
	for _, c := range to {
		n := map[rune]byte{'.': 0, 'a': 1, 'b': 2, 'g': 3}[c]
		f.Apart = f.Apart || n > 0
		f.Body = append(f.Body, n<<4|1)
	}
	return f
}

// wantAccount compares the account of what devices reported, in readings.
func wantAccount(t *testing.T, q *Queue, uplink string, delivered, buffered, declared, routed uint64) {
	t.Helper()
	for _, c := range q.Stats().Cursors {
		if c.Uplink != uplink {
			continue
		}
		got := [...]uint64{c.Delivered.Device().Readings, c.Buffered.Device().Readings, c.Declared.Device().Readings, c.Routed.Device().Readings}
		if want := [...]uint64{delivered, buffered, declared, routed}; got != want {
			t.Errorf("%s: delivered, buffered, declared and routed are %v, want %v", uplink, got, want)
		}
		if sum := delivered + buffered + declared + routed; sum != c.Produced.Device().Readings {
			t.Errorf("%s: produced %d, accounted for %d", uplink, c.Produced.Device().Readings, sum)
		}
		return
	}
	t.Errorf("no uplink %q", uplink)
}

func twoUplinks(t *testing.T, s sizes) (Options, *Queue) {
	t.Helper()
	o := testOptions(t.TempDir())
	o.Uplinks, o.sizes = []string{"a", "b"}, s
	q := open(t, o)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	return o, q
}

// TestAccountsOfRoutedRecords: before a commit, behind it, after a restart, acknowledged in parts; an uplink that is new sees what is stored as its own.
func TestAccountsOfRoutedRecords(t *testing.T) {
	o, q := twoUplinks(t, sizes{tail: 1})
	f := apart(1, ".ab.bbg.")
	q.Put(f)
	wantAccount(t, q, "a", 0, 4, 0, 4)
	wantAccount(t, q, "b", 0, 6, 0, 2)
	commit(t, q, Commit{Frames: []Frame{f}})
	commit(t, q, Commit{Position: Position{Epoch: 1, Next: 9}})
	for range 2 {
		wantAccount(t, q, "a", 0, 4, 0, 4)
		wantAccount(t, q, "b", 0, 6, 0, 2)
		q.Put(apart(9, "ba")) // is taken by a power cut
		wantAccount(t, q, "a", 0, 5, 0, 5)
		closeQueue(t, q)
		q = open(t, o)
	}
	if err := cursor(t, q, "a").Ack("e1", tidegate.Ranges{{First: 2, Last: 5}}); err != nil {
		t.Fatal(err)
	}
	commit(t, q, Commit{Position: Position{Epoch: 1, Next: 9}})
	closeQueue(t, q)
	q = open(t, o)
	wantAccount(t, q, "a", 2, 2, 0, 4)
	wantRanges(t, "a shows", look(t, cursor(t, q, "a"), tidegate.ClassReading, 1), tidegate.Ranges{{First: 1, Last: 1}, {First: 6, Last: 8}})
	closeQueue(t, q)
	o.Uplinks = []string{"a", "gone"}
	q = open(t, o)
	wantAccount(t, q, "gone", 0, 4, 0, 0) // what it was not to get was never its
	putAndCommit(t, q, apart(9, "ga."))
	wantAccount(t, q, "gone", 0, 6, 0, 1)
	wantAccount(t, q, "a", 2, 4, 0, 5)
	closeQueue(t, q)
}

// TestOverflowDeclaresWhatWasMeant: what is dropped counts for an uplink as far as it was meant for it; the gap is not cut where records of class debug lie
// between, or those of another uplink, and what is delivered to the one uplink is not declared to it.
func TestOverflowDeclaresWhatWasMeant(t *testing.T) {
	o, q := twoUplinks(t, sizes{segment: 100, budget: 1 << 20, tail: 1}) // two frames
	for i := range uint64(4) {
		putAndCommit(t, q, apart(10*i+1, "ab.ab"), frame(tidegate.ClassDebug, 10*i+6, 10*i+10, 1))
	}
	if err := cursor(t, q, "a").Ack("e1", tidegate.Ranges{{First: 1, Last: 40}}); err != nil {
		t.Fatal(err)
	}
	commit(t, q, Commit{Position: Position{Epoch: 1, Next: 41}})
	wantAccount(t, q, "a", 12, 0, 0, 28)
	wantAccount(t, q, "b", 0, 12, 0, 28)
	q.o.sizes.budget = 1
	for range 30 {
		if err := q.Retain(time.Duration(100_000) * time.Millisecond); err != nil {
			t.Fatal(err)
		}
		for _, d := range q.Requests() {
			if d.Uplink != "b" || len(d.Ranges) != 1 || d.Count != 6 {
				t.Errorf("asked to declare %d readings in %v to %q, want 6 in one range to b", d.Count, d.Ranges, d.Uplink)
			}
			commit(t, q, Commit{Position: Position{Epoch: 1, Next: 41}, Declared: []Declaration{d}})
		}
	}
	for range 2 {
		wantAccount(t, q, "a", 12, 0, 0, 28)
		wantAccount(t, q, "b", 0, 0, 12, 28)
		closeQueue(t, q)
		q = open(t, o)
	}
	closeQueue(t, q)
}

// TestDamageOfRoutedRecords: of what cannot be read any more, an uplink is told how much was meant for it.
func TestDamageOfRoutedRecords(t *testing.T) {
	_, q := twoUplinks(t, sizes{tail: 1})
	for i := range uint64(3) {
		putAndCommit(t, q, apart(10*i+1, "aaab......"))
	}
	flipFrame(t, q, 11, 60)
	for _, name := range []string{"a", "b"} {
		look(t, cursor(t, q, name), tidegate.ClassReading, 1)
	}
	asked := q.Requests()
	if len(asked) != 2 || asked[0].Count != 9 || asked[1].Count != 7 {
		t.Fatalf("asked for %+v, want 9 readings for a, 7 for b", asked)
	}
	commit(t, q, Commit{Position: Position{Epoch: 1, Next: 31}, Declared: asked})
	wantAccount(t, q, "a", 0, 18, 9, 3)
	wantAccount(t, q, "b", 0, 14, 7, 9)
	closeQueue(t, q)
}

// TestNumbersOfDebugOutliveTheirFrames: the frames go like what is delivered, also where an uplink is away; which numbers they had is told it when it comes
// back, in this process or the next, and forgotten then.
func TestNumbersOfDebugOutliveTheirFrames(t *testing.T) {
	o, q := twoUplinks(t, sizes{segment: 1, budget: 1 << 20, tail: 1})
	for i := range uint64(5) {
		putAndCommit(t, q, frame(tidegate.ClassDebug, 10*i+1, 10*i+5, 1), frame(tidegate.ClassReading, 10*i+6, 10*i+10, 1))
	}
	if err := cursor(t, q, "a").Ack("e1", tidegate.Ranges{{First: 1, Last: 50}}); err != nil {
		t.Fatal(err)
	}
	commit(t, q, Commit{Position: Position{Epoch: 1, Next: 51, Time: 1}})
	held := q.Stats().Bytes
	if err := q.Retain(time.Duration(10*3_600_000) * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s := q.Stats()
		if len(s.Segments) != 5 || s.Bytes >= held*2/3 {
			t.Errorf("%d segments with %d of %d bytes are left, want the 5 of class reading", len(s.Segments), s.Bytes, held)
		}
		if r, err := q.Check(t.Context()); err != nil || len(r.Faults) > 0 || r.Segments != 5 {
			t.Errorf("check says %+v, %v", r, err)
		}
		wantSkips(t, q, "a", nil)
		wantSkips(t, q, "b", tidegate.Ranges{{First: 1, Last: 5}, {First: 11, Last: 15}, {First: 21, Last: 25}, {First: 31, Last: 35}, {First: 41, Last: 45}})
		closeQueue(t, q)
		q = open(t, o)
	}
	if err := cursor(t, q, "b").Ack("e1", tidegate.Ranges{{First: 1, Last: 38}}); err != nil {
		t.Fatal(err)
	}
	if n := len(q.segments[tidegate.ClassDebug]); n != 5 {
		t.Errorf("%d segments of class debug are known before the commit, want 5", n)
	}
	commit(t, q, Commit{Position: Position{Epoch: 1, Next: 51, Time: 1}})
	if err := q.Retain(time.Duration(10*3_600_000) * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	commit(t, q, Commit{Position: Position{Epoch: 1, Next: 51, Time: 1}})
	for range 2 {
		if n := len(q.segments[tidegate.ClassDebug]); n != 1 {
			t.Errorf("%d segments of class debug are known, want the one that is not told", n)
		}
		wantSkips(t, q, "b", tidegate.Ranges{{First: 41, Last: 45}})
		closeQueue(t, q)
		q = open(t, o)
	}
	closeQueue(t, q)
}

// wantSkips compares what an uplink is to be told to skip with all that it is shown of class reading.
func wantSkips(t *testing.T, q *Queue, uplink string, want tidegate.Ranges) {
	t.Helper()
	looks, err := cursor(t, q, uplink).Next(tidegate.ClassReading, Place{}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var got tidegate.Ranges
	for _, l := range looks {
		got.AddAll(l.Skip)
	}
	wantRanges(t, uplink+" is to skip", got, want)
}

// TestRemovedUplinkHoldsNothing: what only an uplink was to get that is no more waits for nobody and goes without a word when its turn comes; the others
// were told to skip it, and count it as routed.
func TestRemovedUplinkHoldsNothing(t *testing.T) {
	o, q := twoUplinks(t, sizes{segment: 1, budget: 1 << 20, tail: 1})
	for i := range uint64(5) {
		putAndCommit(t, q, apart(10*i+1, "bbbbbbbbba"))
	}
	closeQueue(t, q)
	o.Uplinks = []string{"a"}
	q = open(t, o)
	if n, err := q.orphaned("b", nil); err != nil || n != (Tally{Records: 45, Readings: 45}) {
		t.Errorf("orphaned are %v, %v; want 45", n, err)
	}
	a := cursor(t, q, "a")
	wantRanges(t, "a shows", look(t, a, tidegate.ClassReading, 1), tidegate.Ranges{{First: 1, Last: 50}})
	if err := a.Ack("e1", tidegate.Ranges{{First: 1, Last: 50}}); err != nil {
		t.Fatal(err)
	}
	commit(t, q, Commit{Position: Position{Epoch: 1, Next: 51, Time: 1}})
	if err := q.Retain(time.Duration(10*3_600_000) * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if s := q.Stats(); len(s.Segments) > 0 || len(q.Requests()) > 0 {
		t.Errorf("%d segments are left, want none, and nothing to declare", len(s.Segments))
	}
	wantAccount(t, q, "a", 5, 0, 0, 45)
	closeQueue(t, q)
	o.Uplinks = nil // and with none at all
	q = open(t, o)
	putAndCommit(t, q, apart(51, "ab"))
	if err := q.Retain(time.Duration(20*3_600_000) * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	closeQueue(t, q)
}

// TestRunsCount: numbers that alternate between classes take room in memory, and so of the limit.
func TestRunsCount(t *testing.T) {
	_, q := twoUplinks(t, sizes{budget: 100 << 10, tail: 1})
	for i := range uint64(300) {
		putAndCommit(t, q, frame(tidegate.ClassReading, 2*i+1, 2*i+1, 1), frame(tidegate.ClassDebug, 2*i+2, 2*i+2, 1))
	}
	s := q.Stats()
	if s.Bytes > 60<<10 {
		t.Fatalf("%d bytes are stored: the test shows nothing", s.Bytes)
	}
	q.segments[tidegate.ClassDebug][0].Closed = true // as it is behind maxRuns
	if err := q.Retain(time.Duration(700_000) * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if n := len(q.Stats().Segments); n != 1 {
		t.Errorf("%d segments are left, want 1", n)
	}
	closeQueue(t, q)
}
