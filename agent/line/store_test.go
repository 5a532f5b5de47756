package line

import (
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/box"
	"github.com/tidegate-io/tidegate/agent/clock"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
)

// busyDisk is a disk during whose every commit one more entry comes in.
type busyDisk struct {
	disk
	commits []buffer.Commit
	during  func()
}

func (d *busyDisk) Commit(c buffer.Commit) error {
	d.commits = append(d.commits, c)
	d.during()
	return nil
}

func (d *busyDisk) Retain(time.Duration) error     { return nil }
func (d *busyDisk) Requests() []buffer.Declaration { return nil }
func (d *busyDisk) Frames(buffer.Segment, uint64, func(buffer.Frame) bool) (none tidegate.Ranges, err error) {
	return none, nil
}
func (d *busyDisk) Dirty() bool                          { return true }
func (d *busyDisk) AddEpoch(uint32, buffer.Epoch)        {}
func (d *busyDisk) Epochs() map[uint32]buffer.Epoch      { return nil }
func (d *busyDisk) Put(...buffer.Frame)                  {}
func (d *busyDisk) Refuses(tidegate.Class) bool          { return false }
func (d *busyDisk) Coarse() (none []buffer.CoarseCursor) { return none }

// TestCommitTakesWhatStandsThere: what waits goes in one transaction, however fast more comes in; each costs the card two syncs. It says how far numbers are
// leased, and goes from the ring.
func TestCommitTakesWhatStandsThere(t *testing.T) {
	rings, err := box.OpenPair(t.TempDir(), [16]byte{1}, box.Sizes{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rings.Close(); err != nil {
			t.Error(err)
		}
	})
	n := uint64(0)
	put := func() {
		n++
		rec := tidegate.Record{Time: time.UnixMilli(1), Readings: []tidegate.Reading{{Device: "d", Channel: "c", Value: tidegate.Int(int64(n))}}}
		e := entry{epoch: 1, epochID: "0011223344556677", start: 1, runs: []run{newRun(tidegate.ClassReading, n, []tidegate.Record{rec})}}
		if _, err := rings.Judged.Put(false, appendEntry(nil, &e)); err != nil {
			t.Fatal(err)
		}
	}
	dec, err := frame.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	enc, err := frame.NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	d := &busyDisk{during: func() {
		if n < 1000 { // without an end the commit would chase it
			put()
		}
	}}
	s := &store{
		judged: rings.Judged, disk: d, numbers: &numbers{next: 1, end: 1 << 30}, declare: func([]buffer.Declaration) {}, room: func() {},
		sync: new(atomic.Int64), nominal: new(atomic.Int64), clock: func() clock.Stamp { return clock.Stamp{} }, log: slog.New(slog.DiscardHandler), trouble: func(error) {},
		enc: enc, dec: dec, beat: new(atomic.Int64),
	}
	s.nominal.Store(99)
	for range 100 {
		put()
	}
	if err := s.commitAll(); err != nil {
		t.Fatal(err)
	}
	s.nominal.Store(700)
	if err := s.commitAll(); err != nil {
		t.Fatal(err)
	}
	var next []uint64
	for _, c := range d.commits {
		next = append(next, c.Position.Next)
	}
	if len(next) != 2 || next[0] != 101 || next[1] != 102 {
		t.Errorf("commits reach up to numbers %v, want two: 101, and 102 for what came during the first", next)
	}
	if end := d.commits[0].Position.LeaseEnd; end != 1<<30 {
		t.Errorf("the lease ends at %d, want %d", end, 1<<30)
	}
	if a, b := d.commits[0].Position.Rate, d.commits[1].Position.Rate; a != 100 || b != 700 {
		t.Errorf("at most %d readings a second, then %d, want 100 as measured and 700 as configured since", a, b)
	}
	if tail := rings.Judged.Tail(); tail != s.pos.Ring || tail == 0 {
		t.Errorf("the ring begins at %d, committed is up to %d", tail, s.pos.Ring)
	}
}

// TestCommitCutsByReadings: what waits is cut where it has more readings than a frame holds, however few bytes they take.
func TestCommitCutsByReadings(t *testing.T) {
	rings, err := box.OpenPair(t.TempDir(), [16]byte{1}, box.Sizes{Read: 2 << 20, Judged: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rings.Close(); err != nil {
			t.Error(err)
		}
	})
	rec := tidegate.Record{Time: time.UnixMilli(1)}
	for range tidegate.MaxReadings {
		rec.Readings = append(rec.Readings, tidegate.Reading{Device: "d", Channel: "c", Value: tidegate.Bool(true)})
	}
	const entries = frame.MaxReadings/tidegate.MaxReadings + 10
	for n := range uint64(entries) {
		e := entry{epoch: 1, epochID: "0011223344556677", start: 1, runs: []run{newRun(tidegate.ClassReading, n+1, []tidegate.Record{rec})}}
		if _, err := rings.Judged.Put(false, appendEntry(nil, &e)); err != nil {
			t.Fatal(err)
		}
	}
	dec, err := frame.NewDecoder()
	if err != nil {
		t.Fatal(err)
	}
	enc, err := frame.NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	d := &busyDisk{during: func() {}}
	s := &store{
		judged: rings.Judged, disk: d, numbers: &numbers{next: 1, end: 1 << 30}, declare: func([]buffer.Declaration) {}, room: func() {},
		sync: new(atomic.Int64), nominal: new(atomic.Int64), clock: func() clock.Stamp { return clock.Stamp{} }, log: slog.New(slog.DiscardHandler), trouble: func(error) {},
		enc: enc, dec: dec, beat: new(atomic.Int64),
	}
	if err := s.commitAll(); err != nil {
		t.Fatal(err)
	}
	count := uint32(0)
	for _, c := range d.commits {
		for _, f := range c.Frames {
			count += f.Count
		}
	}
	if count != entries*tidegate.MaxReadings || len(d.commits) < 2 {
		t.Errorf("%d readings in %d commits, want %d in two or more", count, len(d.commits), entries*tidegate.MaxReadings)
	}
}
