package line

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/rules"
)

// A class that drops its newest takes nothing while it has no room. Rules judge what is read all the same; then it is counted, and now and then it gets
// numbers, one a record, which are declared together as one gap. The counts stand in the entries of ring 2, as a state like those of rules: what an entry
// says was judged, and what became of it, are kept or lost together.

// A refusal is what was not taken of one class, and not declared yet.
type refusal struct {
	buffer.Drops
	t0, t1 int64 // Unix milliseconds
}

// refusals are by class.
type refusals [tidegate.ClassDebug + 1]refusal

const (
	// refusedKey is where refusals are stored, with the state of rules, under a name that no rule and no channel has:
	//
	//	byte     version, 1
	//	...      for each class of which something is refused: class, records, readings as uvarints, earliest and latest time as varints
	refusedKey     = "/refused"
	refusedVersion = 1
	// refusedFor is how long it is counted until it is declared, in boot time.
	refusedFor = time.Minute
	// refusedShare is the part of what the lease has left that the gap of one class takes at most.
	refusedShare = 8
)

var errRefusals = errors.New("stored counts of what was not taken are damaged; they begin anew")

func decodeRefusals(body []byte) (out refusals, err error) {
	if len(body) == 0 {
		return out, nil
	}
	r := &entryReader{b: body}
	if v := r.uint(); v != refusedVersion {
		return out, fmt.Errorf("%w: version is %d, want %d", errRefusals, v, refusedVersion)
	}
	for len(r.b) > 0 {
		class := r.uint()
		x := refusal{Drops: buffer.Drops{Reads: r.uint(), Readings: r.uint()}, t0: r.int(), t1: r.int()}
		if r.bad || class >= uint64(len(out)) {
			return refusals{}, fmt.Errorf("%w: class %d, cut short %v", errRefusals, class, r.bad)
		}
		out[class] = x
	}
	return out, nil
}

// state returns f as it is stored.
func (f *refusals) state() rules.State {
	var b []byte
	for class, x := range f {
		if x.Reads == 0 {
			continue
		}
		if b == nil {
			b = []byte{refusedVersion}
		}
		b = binary.AppendUvarint(b, uint64(class))
		b = binary.AppendUvarint(b, x.Reads)
		b = binary.AppendUvarint(b, x.Readings)
		b = binary.AppendVarint(b, x.t0)
		b = binary.AppendVarint(b, x.t1)
	}
	return rules.State{Key: refusedKey, Body: b}
}

// sieve returns those of recs that are taken, and counts the others. recs stays as it is.
func (j *judge) sieve(recs []tidegate.Record) []tidegate.Record {
	var known, refuses [tidegate.ClassDebug + 1]bool
	for i := range recs {
		if c := recs[i].Class; !known[c] {
			known[c], refuses[c] = true, j.queue.Refuses(c)
		}
	}
	if refuses == ([len(refuses)]bool{}) {
		return recs
	}
	var taken []tidegate.Record
	for i := range recs {
		rec := &recs[i]
		if !refuses[rec.Class] {
			taken = append(taken, *rec)
			continue
		}
		if j.refused == (refusals{}) {
			j.refusedAt = j.clock().Boot
		}
		x, at := &j.refused[rec.Class], rec.Time.UnixMilli()
		if x.Reads == 0 || at < x.t0 {
			x.t0 = at
		}
		if x.Reads == 0 || at > x.t1 {
			x.t1 = at
		}
		x.Reads++
		x.Readings += uint64(len(rec.Readings))
	}
	j.noteStates(j.refused.state())
	return taken
}

// unsieve forgets what was counted and declared for an entry that ring 2 had no room for.
func (j *judge) unsieve(before refusals) {
	if j.refused != before {
		j.refused = before
		j.noteStates(before.state())
	}
}

// isDue reports whether what was refused of class is to be declared now.
func (j *judge) isDue(class tidegate.Class) bool {
	return j.refused[class].Reads > 0 && (j.stopping || j.clock().Boot-j.refusedAt >= refusedFor || !j.queue.Refuses(class))
}

// refusedDue reports whether anything that was refused is to be declared now.
func (j *judge) refusedDue() bool {
	for class := range j.refused {
		if j.isDue(tidegate.Class(class)) {
			return true
		}
	}
	return false
}

// addRefused adds to e the gaps of what was refused, where they are due, numbered from next on; it returns the number behind.
func (j *judge) addRefused(e *entry, next uint64) uint64 {
	before := j.refused
	for class := range j.refused {
		if !j.isDue(tidegate.Class(class)) {
			continue
		}
		x := &j.refused[class]
		n := min(x.Reads, j.numbers.room()/refusedShare)
		if n == 0 {
			continue
		}
		d := buffer.Declaration{
			Epoch: e.epoch, Ranges: tidegate.Ranges{{First: next, Last: next + n - 1}}, Count: x.Readings, AtMost: x.Readings,
			Cause: tidegate.CauseOverflow, T0: x.t0, T1: x.t1,
		}
		d.Segment.Class = tidegate.Class(class)
		e.declared = append(e.declared, d)
		next += n
		*x = refusal{}
	}
	if j.refused != before {
		j.refusedAt = j.clock().Boot
		j.noteStates(j.refused.state())
	}
	return next
}
