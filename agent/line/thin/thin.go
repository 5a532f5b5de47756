// Package thin takes a stored segment apart into pieces, each small enough for one entry of ring 2: a gap of what goes, and the records that stand for it.
package thin

import (
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/rules/summary"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
)

// A Piece is what goes, and what stands for it. They are stored together or not at all.
type Piece struct {
	Declared buffer.Declaration
	Records  []tidegate.Record // without numbers; none where what goes could not be read
}

// Readings returns how many readings stand for what goes.
func (p *Piece) Readings() (n int) {
	for i := range p.Records {
		n += len(p.Records[i].Readings)
	}
	return n
}

// Frames is what a Job needs of buffer.Queue.
type Frames interface {
	// Frames calls f with the frames of the segment that hold a record at or behind from, in order, until it returns false. It returns the numbers that could
	// not be read among those that it passed.
	Frames(s buffer.Segment, from uint64, f func(buffer.Frame) bool) (missing tidegate.Ranges, err error)
}

// A Job is a segment that is thinned out for the uplink of a Declaration with cause thinned.
type Job struct {
	whole   buffer.Declaration
	window  time.Duration
	next    uint64          // first number that no Piece has
	counted uint64          // readings in all of them
	missing tidegate.Ranges // what could not be read so far
	read    bool            // all of it was looked at
	done    bool
	recs    []tidegate.Record // reused
}

// PieceBytes is about how large a Piece's records get, as rows: an entry of ring 2 is committed whole, in frames of at most buffer.MaxFrame.
const PieceBytes = 96 << 10

// NewJob begins to thin out what d, with cause thinned, is of.
func NewJob(d buffer.Declaration, window time.Duration) *Job {
	return &Job{whole: d, window: window}
}

// Done reports whether Next has nothing left.
func (j *Job) Done() bool { return j.done }

// Next returns the next Piece; ok is false where there is none. A Piece ends between two windows, unless one window alone is more than twice PieceBytes. After
// an error it is as if it had not been called.
func (j *Job) Next(q Frames, dec *frame.Decoder) (p Piece, ok bool, err error) {
	if j.read {
		return j.rest()
	}
	set := summary.New(j.window)
	var taken, unreadable tidegate.Ranges
	count, more := uint64(0), false
	var last time.Time // window of the last record taken
	missing, err := q.Frames(j.whole.Segment, j.next, func(f buffer.Frame) bool {
		part := j.whole.Ranges.Within(tidegate.Range{First: max(f.First, j.next), Last: f.Last})
		if len(part) == 0 {
			return true
		}
		var failed error
		if j.recs, failed = dec.Decode(j.recs[:0], f.Class, f.First, f.Body); failed != nil || len(j.recs) == 0 {
			unreadable.AddAll(part)
			return true
		}
		if size := set.Size(); size >= 2*PieceBytes || size >= PieceBytes && set.Window(j.recs[0].Time).After(last) {
			more = true
			return false
		}
		last = set.Window(j.recs[len(j.recs)-1].Time)
		count += j.add(set, part)
		taken.AddAll(part)
		return true
	})
	if err != nil {
		return p, false, fmt.Errorf("thin out segment %s: %w", j.whole.Segment, err)
	}
	for _, r := range missing {
		unreadable.AddAll(j.whole.Ranges.Within(r))
	}
	clear(j.recs)
	end := uint64(1<<64 - 1)
	if more {
		end = taken[len(taken)-1].Last
	}
	p.Declared = j.whole
	p.Declared.Ranges = j.whole.Ranges.Within(tidegate.Range{First: j.next, Last: end}) // with what lies between and belongs to nobody
	for _, r := range unreadable {
		p.Declared.Ranges.Remove(r)
		j.missing.Add(r)
	}
	p.Declared.Count, p.Declared.AtMost = count, count
	p.Records = set.Records()
	j.next, j.counted, j.read, j.done = end+1, j.counted+count, !more, !more && len(j.missing) == 0
	if len(p.Declared.Ranges) > 0 {
		return p, true, nil
	}
	return j.rest()
}

// add adds those of the records at hand to set that are in part and meant for the uplink, and returns how many readings they have. The others are in nobody's
// account here, but their numbers go too.
func (j *Job) add(set *summary.Set, part tidegate.Ranges) (readings uint64) {
	for i := range j.recs {
		rec := &j.recs[i]
		if !part.Contains(rec.Number) || rec.For != "" && rec.For != j.whole.Uplink {
			continue
		}
		rec.For = j.whole.Uplink
		readings += uint64(len(rec.Readings))
		set.Add(rec)
	}
	return readings
}

// rest returns the last Piece, of what could not be read.
func (j *Job) rest() (p Piece, ok bool, err error) {
	j.done = true
	if len(j.missing) == 0 {
		return p, false, nil
	}
	p.Declared = j.whole
	p.Declared.Cause, p.Declared.Ranges = tidegate.CauseDamaged, j.missing
	p.Declared.Count = j.whole.Count - min(j.counted, j.whole.Count)
	p.Declared.AtMost = p.Declared.Count
	return p, true, nil
}
