package line

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/box"
	"github.com/tidegate-io/tidegate/agent/clock"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/buffer/lease"
	"github.com/tidegate-io/tidegate/buffer/quota"
	"github.com/tidegate-io/tidegate/rules"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

// An outage is a gateway whose far side is gone: real rings, lease, judge, store and queue, in time that is counted by rounds of a minute.
type outage struct {
	t        *testing.T
	dir      string
	minutes  int
	channels int
	round    func(v float64) float64 // to what devices resolve
	now      time.Duration
	line     *Line
	rings    *box.Pair
	lease    *lease.File
	queue    *buffer.Queue
	truth    []extremes // by minute and channel
}

// extremes are what a channel read in a minute.
type extremes struct {
	low, high float64
	n         uint32
}

// monthStart is the wall time at which the outage begins, at the start of a minute.
var monthStart = time.Unix(1_792_000_020, 0)

func (o *outage) clock() clock.Stamp {
	return clock.Stamp{Wall: monthStart.Add(o.now), Boot: time.Hour + o.now, Synced: true}
}

func (o *outage) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

// start begins a process.
func (o *outage) start() {
	var last lease.Lease
	var leased bool
	var err error
	o.lease, last, leased, err = lease.Open(o.dir)
	o.must(err)
	state := [16]byte{7}
	o.rings, err = box.OpenPair(o.dir+"/rings", state, box.Sizes{Read: 4 << 20, Judged: 8 << 20})
	o.must(err)
	l := buffer.Limits{MaxBytes: buffer.MinBytes, Keep: time.Hour, Classes: quota.Default()}
	l.Classes[tidegate.ClassReading].Overflow = quota.Thin
	dec, err := frame.NewDecoder()
	o.must(err)
	o.queue, err = buffer.Open(buffer.Options{
		Dir: o.dir, Limits: l, Uplinks: []string{"far"}, Compactors: 2, Version: "test", Count: frame.Count, Each: dec.Each,
		Cut: func([]byte, int, int) ([]byte, error) { return nil, errors.New("nothing is rejected here") },
	})
	o.must(err)
	none, err := rules.New(nil, 0)
	o.must(err)
	sync, window := &atomic.Int64{}, &atomic.Int64{}
	window.Store(int64(time.Minute))
	o.line, err = New(Options{
		Rings: o.rings, Queue: o.queue, Lease: o.lease, Last: last, Leased: leased, State: state, Rules: none, Act: func(rules.Action) {}, Pace: func(rules.Interval) {},
		Clock: o.clock, Log: slog.New(slog.DiscardHandler), Sync: sync, Window: window, Nominal: new(atomic.Int64), Trouble: o.must,
		AtMost: func(*buffer.Position) uint64 { return 0 }, Waits: func(*buffer.Position) time.Duration { return time.Minute }, PerRecord: uint64(o.channels), Uplinks: []string{"far"},
	})
	o.must(err)
}

// kill ends the process.
func (o *outage) kill() {
	o.must(errors.Join(o.queue.Close(), o.rings.Close(), o.lease.Close()))
}

// minute reads all channels once a second, judges and commits.
func (o *outage) minute(m int, r *rand.Rand, names []string) {
	row := o.truth[m*o.channels : (m+1)*o.channels]
	recs := make([]tidegate.Record, 60)
	for s := range recs {
		now := o.clock()
		list := make([]tidegate.Reading, o.channels)
		for c := range list {
			x := o.round(20 + 10*math.Sin(float64(m+c*100)/700) + r.Float64())
			list[c] = tidegate.Reading{Device: "plant", Channel: names[c], Value: tidegate.Float(x), Unit: "Cel"}
			if e := &row[c]; e.n == 0 {
				*e = extremes{x, x, 1}
			} else {
				*e = extremes{min(e.low, x), max(e.high, x), e.n + 1}
			}
		}
		recs[s] = tidegate.Record{Class: tidegate.ClassReading, Time: now.Wall, Boot: now.Boot, Readings: list}
		o.now += time.Second
	}
	for _, part := range [][]tidegate.Record{recs[:30], recs[30:]} {
		_, err := o.rings.Read.Put(false, frame.AppendRows([]byte{byte(tidegate.ClassReading)}, part))
		o.must(err)
	}
	if m%60 == 0 {
		alarm := tidegate.Record{Class: tidegate.ClassAlarm, Time: o.clock().Wall, Readings: []tidegate.Reading{{Device: "_gateway", Channel: "alarm", Value: tidegate.Text(fmt.Sprint("alarm of minute ", m))}}}
		_, err := o.rings.Read.Put(true, frame.AppendRows([]byte{byte(tidegate.ClassAlarm)}, []tidegate.Record{alarm}))
		o.must(err)
	}
	o.must(o.line.judge.step())
	o.must(o.line.store.commitAll())
}

// each calls f with all records of class that the uplink has still to get.
func (o *outage) each(class tidegate.Class, f func(*tidegate.Record)) {
	c, err := o.queue.Cursor("far")
	o.must(err)
	dec, err := frame.NewDecoder()
	o.must(err)
	var recs []tidegate.Record
	for at := (buffer.Place{}); ; {
		looks, err := c.Next(class, at, 1<<20)
		o.must(err)
		if len(looks) == 0 {
			return
		}
		for i := range looks {
			l := &looks[i]
			recs, err = dec.Decode(recs[:0], l.Class, l.First, l.Body)
			o.must(err)
			for k := range recs {
				for _, w := range l.Want {
					if recs[k].Number >= w.First && recs[k].Number <= w.Last {
						f(&recs[k])
					}
				}
			}
			at = buffer.Place{Epoch: l.Epoch, Number: l.Last + 1}
		}
	}
}

// judge compares what is left with what was read, minute by minute.
func (o *outage) judge(names []string) (whole, summed int) {
	got := make([]extremes, len(o.truth))
	place := map[string]int{}
	for i, n := range names {
		place[n] = i
	}
	o.each(tidegate.ClassReading, func(rec *tidegate.Record) {
		m := int(rec.Time.Sub(monthStart) / time.Minute)
		isSummary := strings.Contains(rec.Labels, tidegate.SummaryLabel)
		for _, rd := range rec.Readings {
			name, what, _ := strings.Cut(rd.Channel, ".")
			e := &got[m*o.channels+place[name]]
			x, _ := rd.Value.Number()
			switch {
			case what == "count":
				e.n += uint32(x)
				continue
			case what == "":
				e.n++
				whole++
			case !isSummary:
				o.t.Fatalf("reading %q bears no mark", rd.Channel)
			default:
				summed++
			}
			if e.low == 0 || x < e.low {
				e.low = x
			}
			e.high = max(e.high, x)
		}
	})
	for i, want := range o.truth {
		if got[i] != want {
			o.t.Fatalf("minute %d of %d, channel %d: got %+v, want %+v", i/o.channels, o.minutes, i%o.channels, got[i], want)
		}
	}
	alarms := 0
	o.each(tidegate.ClassAlarm, func(rec *tidegate.Record) {
		if text, _ := rec.Readings[0].Value.Text(); text != fmt.Sprint("alarm of minute ", 60*alarms) {
			o.t.Fatalf("alarm %d is %q", alarms, text)
		}
		alarms++
	})
	if want := (o.minutes + 59) / 60; alarms != want {
		o.t.Errorf("%d alarms are left of %d", alarms, want)
	}
	return whole, summed
}

// TestMonthOfOutage: a month without a far side in the smallest buffer there is. Each minute of each channel keeps its minimum and its maximum and says how many
// readings it had, and all alarms are there; the process is killed twice. By default two days of readings that do not compress; TIDEGATE_LONG makes
// it thirty of readings with two digits behind the point.
func TestMonthOfOutage(t *testing.T) {
	o := &outage{t: t, dir: tmpfs.Dir(t), minutes: 2 * 24 * 60, channels: 40, round: func(v float64) float64 { return v }}
	if os.Getenv("TIDEGATE_LONG") != "" {
		o.minutes, o.round = 30*24*60, func(v float64) float64 { return math.Round(v*100) / 100 }
	}
	o.truth = make([]extremes, o.minutes*o.channels)
	var names []string
	for c := range o.channels {
		names = append(names, fmt.Sprintf("channel%02d", c))
	}
	r := rand.New(rand.NewPCG(1, 2))
	o.must(os.MkdirAll(o.dir+"/rings", 0o700))
	o.must(os.WriteFile(o.dir+"/selftest", []byte("test\n"), 0o600))
	o.start()
	disk := int64(0)
	for m := range o.minutes {
		o.minute(m, r, names)
		if m == o.minutes/2 || m == o.minutes*3/4 {
			o.kill()
			o.start()
		}
		if m%10 == 0 {
			disk = max(disk, o.queue.Stats().DiskBytes)
		}
	}
	o.must(o.line.judge.step())
	o.must(o.line.store.commitAll())
	whole, summed := o.judge(names)
	s := o.queue.Stats()
	x, derived := s.Cursors[0], o.line.Counts()["far"].Derived
	read := uint64(o.minutes) * 60 * uint64(o.channels)
	if got := x.Produced.Device().Readings; got != read+derived || x.Thinned.Device().Readings == 0 || x.Declared.Device().Readings != 0 {
		t.Errorf("produced %d, of which %d are summaries, want %d read; thinned %v, declared %v", got, derived, read, x.Thinned, x.Declared)
	}
	if sum := x.Buffered.Device().Readings + x.Thinned.Device().Readings; sum != read+derived || uint64(whole) != read-x.Thinned.Device().Readings {
		t.Errorf("%d buffered and thinned of %d; %d whole of %d", sum, read+derived, whole, read-x.Thinned.Device().Readings)
	}
	if most := int64(buffer.MinBytes + buffer.MinBytes/10); disk > most {
		t.Errorf("%d bytes were on disk, at most %d", disk, most)
	}
	t.Logf("%d readings in %d minutes of %d channels: %d as they were read, %d thinned out to %d; %d alarms; at most %.1f MB on disk", read, o.minutes, o.channels, whole,
		x.Thinned.Device().Readings, summed, (o.minutes+59)/60, float64(disk)/1e6)
	o.kill()
}
