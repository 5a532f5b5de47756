package buffer

import (
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/quota"
	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

// A feeder puts and commits frames, numbered on, and lets what is asked take effect.
type feeder struct {
	t        *testing.T
	q        *Queue
	next     uint64
	lived    time.Duration
	declared map[string]Tally // by cause
}

func newFeeder(t *testing.T, o Options) *feeder {
	t.Helper()
	f := &feeder{t: t, q: open(t, o), next: 1, lived: time.Hour, declared: map[string]Tally{}}
	f.q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	t.Cleanup(func() { _ = f.q.Close() }) // a second Close where the test has closed it
	return f
}

// frame makes n records of class, of one reading and bytes bytes each.
func (f *feeder) frame(class tidegate.Class, n, bytes int) Frame {
	x := frame(class, f.next, f.next+uint64(n)-1, 1)
	x.Body = append(x.Body, make([]byte, n*(bytes-1))...)
	f.next += uint64(n)
	return x
}

// commit commits frames with what was asked before, and looks what is to go.
func (f *feeder) commit(frames ...Frame) {
	f.t.Helper()
	c := Commit{Frames: frames, Declared: f.q.Requests(), Position: Position{Epoch: 1, Next: f.next, Lived: f.lived, Time: 1}}
	for i := range c.Declared {
		sum := f.declared[c.Declared[i].Cause]
		sum.Add(Tally{Records: c.Declared[i].Ranges.Len(), Readings: c.Declared[i].Count})
		f.declared[c.Declared[i].Cause] = sum
	}
	f.q.Put(frames...)
	commit(f.t, f.q, c)
	if err := f.q.Retain(f.lived); err != nil {
		f.t.Fatal(err)
	}
}

func (f *feeder) of(class tidegate.Class) Tally { return f.q.Stats().Cursors[0].Buffered[class] }

// TestReadingsNeverPushOutAlarms: alarms within their share and beyond it, and what the gateway says of itself, stay whatever comes of readings. Space that
// nobody wants is used by readings.
func TestReadingsNeverPushOutAlarms(t *testing.T) {
	for name, alarms := range map[string]int{"within their share": 100, "beyond it": 400} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(tmpfs.Dir(t))
			o.sizes = sizes{segment: 8000, budget: 300_000, tail: 1}
			f := newFeeder(t, o)
			for range 29 {
				f.commit(f.frame(tidegate.ClassReading, 100, 100))
			}
			if got := f.declared[tidegate.CauseOverflow]; got != (Tally{}) {
				t.Fatalf("%v were dropped while there was room", got)
			}
			for i := range alarms / 20 {
				for range 20 {
					f.commit(f.frame(tidegate.ClassAlarm, 1, 100))
				}
				if i < 5 {
					f.commit(f.frame(tidegate.ClassAudit, 1, 100))
				}
			}
			for range 40 {
				f.commit(f.frame(tidegate.ClassReading, 100, 100))
			}
			if got := f.of(tidegate.ClassAlarm).Records; got != uint64(alarms) {
				t.Errorf("%d alarms are left of %d", got, alarms)
			}
			if got := f.of(tidegate.ClassAudit).Records; got != 5 {
				t.Errorf("%d records of class audit are left of 5", got)
			}
			gone := f.declared[tidegate.CauseOverflow]
			if got := f.of(tidegate.ClassReading).Records + gone.Records; got != 6900 || gone.Readings != gone.Records {
				t.Errorf("of 6900 readings %d are left or declared, declared are %v", got, gone)
			}
			if n := f.q.Stats().Bytes; n > 310_000 || n < 240_000 {
				t.Errorf("%d bytes are kept of 300,000", n)
			}
			for range 1500 { // only more of them push alarms out, once readings are down to half of their share
				f.commit(f.frame(tidegate.ClassAlarm, 1, 100))
			}
			if n := f.of(tidegate.ClassReading).Records; n < 1000 || n > 1400 {
				t.Errorf("%d readings of 100 bytes are left, half of their share is 1200", n)
			}
			if n := f.q.Stats().Bytes; n > 310_000 {
				t.Fatalf("%d bytes are kept of 300,000", n)
			}
		})
	}
}

// TestAgeIsTheTimeMachinesRan: what is not delivered expires, and what is goes, by the time that machines ran; what times of records and clocks say does not
// matter.
func TestAgeIsTheTimeMachinesRan(t *testing.T) {
	const day = 24 * time.Hour
	o := testOptions(tmpfs.Dir(t))
	o.Keep, o.MaxAge = 2*day, 7*day
	o.sizes = sizes{segment: 1000, budget: 1 << 20, tail: 1}
	f := newFeeder(t, o)
	f.commit(f.frame(tidegate.ClassReading, 20, 100)) // closes its segment
	if err := cursor(t, f.q, "a").Ack("e1", tidegate.Ranges{{First: 1, Last: 20}}); err != nil {
		t.Fatal(err)
	}
	old := f.frame(tidegate.ClassReading, 20, 100)
	old.T0, old.T1 = time.Unix(1_792_000_000, 0).AddDate(-1, 0, 0).UnixMilli(), time.Unix(1_792_000_000, 0).AddDate(20, 0, 0).UnixMilli()
	f.commit(old, f.frame(tidegate.ClassAlarm, 5, 100))
	held := func(what string, segments int, expired uint64) {
		t.Helper()
		f.commit()
		f.commit()
		if s := f.q.Stats(); len(s.Segments) != segments || f.declared[tidegate.CauseExpired].Readings != expired || s.Cursors[0].Declared[1].Readings+s.Cursors[0].Declared[2].Readings != expired {
			t.Errorf("%s: segments %+v, want %d; declared %v, want %d expired", what, s.Segments, segments, f.declared, expired)
		}
	}
	held("at once", 3, 0)
	f.lived += 2*day - time.Minute
	held("before the delivered ones are old", 3, 0)
	f.lived += 2 * time.Minute
	held("when they are", 2, 0)
	f.lived += 5*day - 2*time.Minute
	held("before the others are old", 2, 0)
	if err := f.q.Close(); err != nil {
		t.Fatal(err)
	}
	f.q = open(t, o)
	held("after a restart", 2, 0)
	f.lived += 2 * time.Minute // the alarms stand in an open segment
	held("when they are", 0, 25)
	if len(f.declared) != 1 {
		t.Errorf("declared %v", f.declared)
	}
	f.commit(f.frame(tidegate.ClassAlarm, 5, 100))
	held("with new alarms", 1, 25)
}

// TestShareOfTheFileSystem: the limit is the lower one of two.
func TestShareOfTheFileSystem(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	o.Statfs = func(string) (int64, int64, error) { return 1 << 40, 1000 << 20, nil }
	q := open(t, o)
	defer q.Close()
	for share, want := range map[int]int64{0: 256 << 20, 100: 256 << 20, 20: 200 << 20} {
		l := Limits{MaxBytes: 256 << 20, MaxShare: share}
		if err := q.SetLimits(l); err != nil {
			t.Fatal(err)
		}
		if s := q.Stats(); s.Limit-want > 100 || want-s.Limit > 100 || s.Most != s.Limit {
			t.Errorf("with %d %% the limit is %d of %d, want %d", share, s.Limit, s.Most, want)
		}
	}
	if err := q.SetLimits(Limits{MaxBytes: MinBytes - 1}); err == nil {
		t.Error("a limit below the least is taken")
	}
}

// TestDropNewestTakesNoMore: a class that drops its newest has its share, gives room for new ones by what is delivered, and by nothing else.
func TestDropNewestTakesNoMore(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	o.Classes = quota.Default()
	o.Classes[tidegate.ClassReading] = quota.Class{Percent: 50, Overflow: quota.DropNewest}
	o.sizes = sizes{segment: 3000, budget: 100_000, tail: 1}
	f := newFeeder(t, o)
	n := 0
	for ; !f.q.Refuses(tidegate.ClassReading); n++ {
		if n > 60 {
			t.Fatal("readings are taken without an end")
		}
		f.commit(f.frame(tidegate.ClassReading, 10, 100))
	}
	if n < 45 {
		t.Errorf("only %d frames of 1,000 bytes were taken, half of 100,000 is for them", n)
	}
	for range 30 { // others do not push them out
		f.commit(f.frame(tidegate.ClassAlarm, 10, 100))
	}
	if err := f.q.Close(); err != nil {
		t.Fatal(err)
	}
	f.q = open(t, o)
	if !f.q.Refuses(tidegate.ClassReading) || f.q.Refuses(tidegate.ClassAlarm) || f.of(tidegate.ClassReading).Records != uint64(10*n) || len(f.declared) > 0 {
		t.Errorf("after a restart: refuses %v, %v; %v of %d records; declared %v", f.q.Refuses(tidegate.ClassReading), f.q.Refuses(tidegate.ClassAlarm), f.of(tidegate.ClassReading), 10*n, f.declared)
	}
	if err := cursor(t, f.q, "a").Ack("e1", tidegate.Ranges{{First: 1, Last: 40}}); err != nil {
		t.Fatal(err)
	}
	f.commit()
	if f.q.Refuses(tidegate.ClassReading) {
		t.Error("readings are refused although some were delivered")
	}
}

// TestUnstoredIsCounted: Reads of which nothing was stored have numbers and are in the account.
func TestUnstoredIsCounted(t *testing.T) {
	f := newFeeder(t, testOptions(tmpfs.Dir(t)))
	f.commit(f.frame(tidegate.ClassAlarm, 5, 10))
	d := Declaration{Epoch: 1, Ranges: tidegate.Ranges{{First: 6, Last: 8}}, Count: 30, AtMost: 30, Cause: tidegate.CauseOverflow}
	d.Segment.Class = tidegate.ClassAlarm
	f.next = 9
	commit(t, f.q, Commit{Declared: []Declaration{d}, Position: Position{Epoch: 1, Next: f.next, Time: 1}})
	s := f.q.Stats()
	if got := s.Cursors[0].Declared[tidegate.ClassAlarm]; got != (Tally{Records: 3, Readings: 30}) {
		t.Errorf("declared %v", got)
	}
	if s.Produced[tidegate.ClassAlarm] != (Tally{Records: 8, Readings: 35}) {
		t.Errorf("produced %v", s.Produced[tidegate.ClassAlarm])
	}
}

// TestThinnedThenDropped: the oldest is thinned out first, and only when all is, the oldest summaries are dropped; segments hold either, and the next process goes
// on where this one ended.
func TestThinnedThenDropped(t *testing.T) {
	o := testOptions(tmpfs.Dir(t))
	o.Classes = quota.Default()
	o.Classes[tidegate.ClassReading].Overflow = quota.Thin
	o.sizes = sizes{segment: 3000, budget: 40_000, tail: 1}
	f := newFeeder(t, o)
	summaries := tidegate.Ranges{}
	var made, stood, gone uint64
	for round := range 250 {
		frames := []Frame{f.frame(tidegate.ClassReading, 10, 100)}
		asked := f.q.Requests()
		for _, d := range asked {
			held := summaries.Clone()
			for _, r := range d.Ranges {
				held.Remove(r)
			}
			of := summaries.Len() - held.Len()
			switch {
			case d.Cause == tidegate.CauseThinned && of == 0:
				stood += d.Count
				f.next++
				frames = append(frames, Frame{Epoch: 1, Class: tidegate.ClassReading, First: f.next - 1, Last: f.next - 1, Thin: true, Count: 3, Body: append([]byte{3}, make([]byte, 500)...)})
				summaries.Add(tidegate.Range{First: f.next - 1, Last: f.next - 1})
				made++
			case d.Cause == tidegate.CauseOverflow && of == d.Ranges.Len():
				gone += d.Count
			default:
				t.Fatalf("round %d: %s of %v, of which %d are summaries", round, d.Cause, d.Ranges, of)
			}
		}
		f.q.Put(frames...)
		commit(t, f.q, Commit{Frames: frames, Declared: asked, Position: Position{Epoch: 1, Next: f.next, Lived: f.lived, Time: 1}})
		if err := f.q.Retain(f.lived); err != nil {
			t.Fatal(err)
		}
		if n := f.q.Stats().Bytes; n > 44_000 {
			t.Fatalf("round %d: %d bytes are kept of 40,000", round, n)
		}
		if round == 120 {
			if err := f.q.Close(); err != nil {
				t.Fatal(err)
			}
			f.q = open(t, o)
		}
	}
	s := f.q.Stats().Cursors[0]
	if s.Thinned[1].Readings != stood || s.Declared[1].Readings != gone || s.Buffered[1].Readings != 2500+3*made-stood-gone || stood < 1500 || gone == 0 {
		t.Errorf("thinned %v, want %d; declared %v, want %d; buffered %v of %d and %d summaries", s.Thinned[1], stood, s.Declared[1], gone, s.Buffered[1], 2500, made)
	}
}
