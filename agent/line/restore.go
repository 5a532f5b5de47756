package line

import (
	"slices"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules"
	"github.com/tidegate-io/tidegate/rules/hold"
)

// owed is what snapshots gave out and no entry holds yet. Until one does, it counts as filtered or thinned out: what a kill takes of it stays so.
type owed struct {
	list     []batch
	readings int
	bytes    int
	said     time.Duration // boot time at which the log said last that a snapshot is cut short
}

// A batch is what was given out at one time and goes one way.
type batch struct {
	list []rules.Restored
	rec  tidegate.Record // that led to it, without readings, on the way that they go
}

const (
	// restoredBytes is about what a reading takes in an entry beside its texts.
	restoredBytes = 24
	// restoredShare is the part of ring 2 that one entry takes for what is given out.
	restoredShare = 64
	// roomForRestored is how many numbers have to be left: more than an entry takes.
	roomForRestored = 4096
	// sayCut is how often the log says at most that a snapshot is cut short.
	sayCut = time.Minute
)

// owe notes what snapshots gave out because of rec, or of the time up to it.
func (j *judge) owe(out *rules.Outcome, rec *tidegate.Record) {
	for i := range out.Given {
		if g := &out.Given[i]; g.Cut {
			j.tellCut(rec, "rule", g.Rule, "from", rec.Time.Add(g.Wanted-rec.Boot), "reaches", rec.Time.Add(g.Reach-rec.Boot))
		}
	}
	if len(out.Restored) == 0 {
		return
	}
	o := &j.owed
	begin := len(o.list)
	for i := range out.Restored {
		k := &out.Restored[i]
		way := j.rules.WayOf(k.Device, k.Channel)
		at := begin + slices.IndexFunc(o.list[begin:], func(b batch) bool { return rules.TakenBy(&b.rec) == way })
		if at < begin {
			at = len(o.list)
			b := batch{rec: *rec}
			b.rec.Readings = nil
			way.Send(&b.rec)
			o.list = append(o.list, b)
		}
		o.list[at].list = append(o.list[at].list, *k)
		o.bytes += k.Bytes()
	}
	o.readings += len(out.Restored)
	if o.isTooMuch() {
		j.tellCut(rec, "waiting", o.readings)
	}
	for o.isTooMuch() {
		o.shift()
	}
}

func (o *owed) isTooMuch() bool { return o.readings > hold.MaxReadings || o.bytes > hold.MaxBytes }

// shift takes out the first reading.
func (o *owed) shift() rules.Restored {
	b := &o.list[0]
	k := b.list[0]
	o.readings--
	o.bytes -= k.Bytes()
	if b.list = b.list[1:]; len(b.list) == 0 {
		o.list = o.list[1:]
	}
	return k
}

// tellCut logs, now and then, that a snapshot is cut short.
func (j *judge) tellCut(rec *tidegate.Record, what ...any) {
	if j.owed.said != 0 && rec.Boot-j.owed.said < sayCut {
		return
	}
	j.owed.said = rec.Boot
	j.log.Warn("snapshot is cut short: there is room for 100,000 readings and 16 MiB", what...)
}

// repay adds to recs, of class and for one entry, what is owed, as much as goes into one. While ring 2 is not half empty it adds nothing: what
// is read now has precedence, and an entry that did not fit would be dropped.
func (j *judge) repay(class tidegate.Class, recs []tidegate.Record) []tidegate.Record {
	o := &j.owed
	if len(o.list) == 0 || class != tidegate.ClassReading || j.judged.Used() > j.judged.Size()/2 || j.numbers.room() < roomForRestored {
		return recs
	}
	for left := j.judged.Size() / restoredShare; len(o.list) > 0 && left > 0; {
		rec := o.list[0].rec
		boot := rec.Boot
		rec.Boot = -max(boot, time.Microsecond)
		for n := min(len(o.list[0].list), tidegate.MaxReadings); n > 0 && left > 0; n-- {
			k := o.shift()
			if k.Quality != rec.Quality { // the clock was set meanwhile, or lost
				k.Time = rec.Time.Add(k.At - boot)
			}
			if k.Thinned {
				j.ledger.now.Thinned--
			} else {
				j.ledger.now.Filtered--
			}
			left -= restoredBytes + len(k.Device) + len(k.Channel) + k.Texts()
			rec.Readings = append(rec.Readings, k.Reading)
		}
		recs = append(recs, rec)
	}
	j.noteStates(j.ledger.state())
	if len(o.list) > 0 {
		j.signal() // the rest goes with the next
	}
	return recs
}

// pay puts entries of their own with what is owed, as long as there is room and nothing else to do.
func (j *judge) pay() error {
	for recs := j.repay(tidegate.ClassReading, nil); recs != nil; recs = j.repay(tidegate.ClassReading, nil) {
		if err := j.put(recs, j.cleared, j.input); err != nil {
			return err
		}
		if j.read.Head() > j.input {
			return nil
		}
	}
	return nil
}
