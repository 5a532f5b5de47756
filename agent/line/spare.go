package line

import (
	"slices"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/box"
	"github.com/tidegate-io/tidegate/buffer/wear"
)

// SpareGap is for how long readings that were dropped to spare the card wait to be declared together: a gap costs a commit, too.
const SpareGap = time.Minute

// maxSpared bounds the channels that are known to be thinned.
const maxSpared = 1 << 16

// sparing is what the judge does so that less goes to the card. Rules have seen all by then, and alarms pass.
type sparing struct {
	pace  func() wear.Pace
	last  map[spared]time.Duration // boot time of the last reading that was kept
	drops bool                     // of what is dropped and not declared some was dropped for this
	since time.Duration            // boot time of the first of them
	ends  bool                     // the gateway stops: they wait no longer
}

// spared is a channel, and its faults apart.
type spared struct {
	device, channel string
	isFault         bool
}

// spare returns what is kept of recs so that the card lasts: all, or one reading of each channel in a time, or what is neither reading nor debug.
func (j *judge) spare(recs []tidegate.Record, input box.Place) []tidegate.Record {
	p := j.sparing.pace()
	switch {
	case p.Drop:
		return j.dropLive(recs, input)
	case p.Thin > 0:
		return j.thin(recs, p.Thin)
	}
	j.sparing.last = nil
	return recs
}

// dropLive drops readings as those that find no room in ring 2 are dropped: counted in its header, so that a kill forgets none, and declared.
func (j *judge) dropLive(recs []tidegate.Record, input box.Place) []tidegate.Record {
	var gone []tidegate.Record
	recs = slices.DeleteFunc(recs, func(rec tidegate.Record) bool {
		if isLive(rec.Class) {
			gone = append(gone, rec)
		}
		return isLive(rec.Class)
	})
	if len(gone) > 0 {
		if !j.sparing.drops {
			j.sparing.drops, j.sparing.since = true, j.clock().Boot
		}
		j.drop(gone, nil, input)
	}
	return recs
}

// thin keeps of each channel the first reading, and the first fault, of each time every, and counts the others as thinned out.
func (j *judge) thin(recs []tidegate.Record, every time.Duration) []tidegate.Record {
	s := &j.sparing
	if s.last == nil || len(s.last) > maxSpared {
		s.last = map[spared]time.Duration{}
	}
	before := j.ledger.now.Thinned
	for i := range recs {
		rec := &recs[i]
		if !isLive(rec.Class) {
			continue
		}
		gone := func(x tidegate.Reading) bool {
			key := spared{x.Device, x.Channel, x.Fault != ""}
			last, ok := s.last[key]
			if ok && rec.Boot >= last && rec.Boot-last < every {
				return true
			}
			s.last[key] = rec.Boot
			return false
		}
		n := len(rec.Readings)
		rec.Readings = slices.DeleteFunc(slices.Clone(rec.Readings), gone)
		j.ledger.now.Thinned += uint64(n - len(rec.Readings))
	}
	if j.ledger.now.Thinned != before {
		j.noteStates(j.ledger.state())
	}
	return slices.DeleteFunc(recs, func(rec tidegate.Record) bool { return isLive(rec.Class) && len(rec.Readings) == 0 })
}
