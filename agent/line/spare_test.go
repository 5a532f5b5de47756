package line

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/box"
	"github.com/tidegate-io/tidegate/agent/clock"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/buffer/wear"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
)

// sparedRings are rings for a test.
func sparedRings(t *testing.T, dir string) *box.Pair {
	t.Helper()
	rings, err := box.OpenPair(dir, [16]byte{1}, box.Sizes{})
	if err != nil {
		t.Fatal(err)
	}
	return rings
}

// TestSpare has records of all classes: only readings, and those that stay on the gateway, are thinned or dropped.
func TestSpare(t *testing.T) {
	rings := sparedRings(t, t.TempDir())
	defer rings.Close()
	now, pace := time.Duration(0), wear.Pace{}
	j := &judge{
		judged: rings.Judged, clock: func() clock.Stamp { return clock.Stamp{Boot: now, Wall: time.UnixMilli(int64(now / time.Millisecond))} },
		sparing: sparing{pace: func() wear.Pace { return pace }},
	}
	// Two channels and a fault, and one record of each other class.
	records := func() []tidegate.Record {
		one := func(class tidegate.Class, list ...tidegate.Reading) tidegate.Record {
			return tidegate.Record{Class: class, Boot: now, Readings: list}
		}
		return []tidegate.Record{
			one(tidegate.ClassReading, tidegate.Reading{Device: "d", Channel: "a"}, tidegate.Reading{Device: "d", Channel: "b"}),
			one(tidegate.ClassReading, tidegate.Reading{Device: "d", Channel: "a", Fault: "torn off"}),
			one(tidegate.ClassDebug, tidegate.Reading{Device: "e", Channel: "a"}),
			one(tidegate.ClassAudit, tidegate.Reading{Device: "_gateway", Channel: "set"}),
			one(tidegate.ClassAlarm, tidegate.Reading{Device: "_rules", Channel: "hot"}),
		}
	}
	kept := func() string {
		s := ""
		for _, r := range j.spare(records(), 7) {
			s += fmt.Sprint(r.Class, len(r.Readings), " ")
		}
		return s
	}
	const all, others = "reading 2 reading 1 debug 1 audit 1 alarm 1 ", "audit 1 alarm 1 "
	for _, x := range []struct {
		at   time.Duration
		pace wear.Pace
		want string
	}{
		{0, wear.Pace{}, all},
		{time.Second, wear.Pace{Thin: 10 * time.Second}, all},
		{2 * time.Second, wear.Pace{Thin: 10 * time.Second}, others},
		{10 * time.Second, wear.Pace{Thin: 10 * time.Second}, others},
		{11 * time.Second, wear.Pace{Thin: 10 * time.Second}, all},
		{12 * time.Second, wear.Pace{}, all},
		{13 * time.Second, wear.Pace{Thin: 10 * time.Second}, all},
		{14 * time.Second, wear.Pace{Drop: true}, others},
	} {
		now, pace = x.at, x.pace
		if got := kept(); got != x.want {
			t.Errorf("%+v at %v: got %q, want %q", x.pace, x.at, got, x.want)
		}
	}
	if n := j.ledger.now.Thinned; n != 8 {
		t.Errorf("%d readings were counted as thinned out, want 8", n)
	}
	if d := rings.Judged.Dropped(); d.Reads != 3 || d.Readings != 4 || d.Input != 7 {
		t.Errorf("dropped: %+v, want 3 Reads of 4 readings up to 7", d)
	}
}

// slowDisk counts commits, and takes what the judge gives it.
type slowDisk struct{ busyDisk }

func (d *slowDisk) Dirty() bool { return false }

// TestCommitsAreApart: readings each tenth of a second are committed as the pace says, however short `sync` is; an urgent one is at once.
func TestCommitsAreApart(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		rings := sparedRings(t, dir)
		defer rings.Close()
		dec, err1 := frame.NewDecoder()
		enc, err2 := frame.NewEncoder()
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		d := &slowDisk{busyDisk{during: func() {}}}
		urgent, pause := make(chan struct{}, 1), new(atomic.Int64)
		pause.Store(int64(time.Second))
		s := &store{
			judged: rings.Judged, disk: d, numbers: &numbers{next: 1, end: 1 << 30}, declare: func([]buffer.Declaration) {}, room: func() {}, sync: pause, nominal: new(atomic.Int64),
			pace: func() wear.Pace { return wear.Pace{Sync: wear.MaxSync} }, clock: func() clock.Stamp { return clock.Stamp{} },
			log: slog.New(slog.DiscardHandler), trouble: func(error) {}, enc: enc, dec: dec, beat: new(atomic.Int64), urgent: urgent,
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.run(ctx) }()
		put := func(n uint64) {
			rec := tidegate.Record{Time: time.UnixMilli(1), Readings: []tidegate.Reading{{Device: "d", Channel: "c", Value: tidegate.Int(1)}}}
			e := entry{epoch: 1, epochID: "0011223344556677", start: 1, runs: []run{newRun(tidegate.ClassReading, n+1, []tidegate.Record{rec})}}
			if _, err := rings.Judged.Put(false, appendEntry(nil, &e)); err != nil {
				t.Fatal(err)
			}
		}
		for n := range uint64(220) {
			put(n)
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		apart := len(d.commits)
		put(220)
		signal(urgent)
		synctest.Wait()
		atOnce := len(d.commits) - apart
		stop()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if apart != 4 || atOnce != 1 {
			t.Errorf("%d commits in 22 s, and %d at once, want one each 5 s, and one", apart, atOnce)
		}
	})
}
