package forward

import (
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer"
)

// What it takes to set a record aside because connections end when it is sent.
const (
	poisonDrops   = 3  // connections that ended within 5 s of sending the same batch, before it is halved
	poisonStrikes = 3  // the same for the one record that is left, each time with others getting through while it is held back
	poisonPasses  = 10 // other batches that must get through in each round
	poisonKeys    = 64 // batches watched at once

	poisonWait = 10 * time.Minute // a record that is held back is tried again after this long, even if nothing else was sent
)

// poison finds the record after which connections end. A batch after which the connection dropped three times is cut into halves,
// drop by drop, until one record is left. That one is held back; only when ten other batches got through meanwhile is it tried
// again, alone, and after three such rounds it is set aside. A link that drops whatever is sent sets nothing aside: the first drop
// while a record is held back clears it.
type poison struct {
	drops  map[buffer.Place]int // by the first record of batches that were in flight when the connection dropped
	region *suspicion           // what is being halved
	lone   *suspicion           // the one record that is left
	trying bool                 // lone is being sent, alone; else it is held back
	since  time.Time            // lone is held back
	passes int                  // batches that got through since
	rounds int                  // how often lone ended a connection while others got through
}

// suspicion is a run of records with one among them that ends connections.
type suspicion struct {
	lane    Lane
	first   buffer.Place
	last    uint64
	records int
	name    string // of the epoch
	why     string
}

func (s *suspicion) contains(epoch uint32, n uint64) bool {
	return s.first.Epoch == epoch && s.first.Number <= n && n <= s.last
}

// ended takes note of a connection that ended for the reason err with these flights unsettled.
func (p *poison) ended(flights []*flight, err error) {
	now := time.Now()
	var hot []*flight
	for _, fl := range flights {
		if !fl.acked && now.Sub(fl.at) <= poisonWithin {
			hot = append(hot, fl)
		}
	}
	if err == nil || isHalt(err) || len(hot) == 0 {
		return
	}
	if p.lone != nil {
		if p.trying && hot[0].place == p.lone.first {
			p.hold(p.lone, err) // once more; others must get through first
			return
		}
		*p = poison{} // it drops without that record too
	}
	if p.region != nil {
		for _, fl := range hot {
			if p.region.contains(fl.place.Epoch, fl.place.Number) {
				p.narrow(fl, err)
				return
			}
		}
		p.region = nil
	}
	p.count(hot, err)
}

// count adds one drop to each batch that was hot, and forgets the others.
func (p *poison) count(hot []*flight, err error) {
	drops := make(map[buffer.Place]int, len(hot))
	for _, fl := range hot {
		if len(drops) == poisonKeys {
			break
		}
		drops[fl.place] = p.drops[fl.place] + 1
	}
	p.drops = drops
	for _, fl := range hot {
		if drops[fl.place] >= poisonDrops {
			p.narrow(fl, err)
			return
		}
	}
}

// narrow makes the records of fl the ones that are looked into.
func (p *poison) narrow(fl *flight, err error) {
	s := &suspicion{lane: fl.lane, first: fl.place, last: fl.last, records: fl.records, name: fl.epoch}
	p.drops = nil
	if s.records == 1 {
		p.region, p.rounds = nil, 0
		p.hold(s, err)
		return
	}
	p.region = s
}

// hold holds s back.
func (p *poison) hold(s *suspicion, err error) {
	s.why = err.Error()
	p.lone, p.trying, p.since, p.passes = s, false, time.Now(), 0
}

// confirmed takes note of a batch that got through. It returns the record to set aside when that is proved.
func (p *poison) confirmed(fl *flight) *suspicion {
	delete(p.drops, fl.place)
	if r := p.region; r != nil && r.contains(fl.place.Epoch, fl.place.Number) {
		r.records -= fl.records
		r.first.Number = fl.last + 1
		if r.records <= 0 {
			p.region = nil
		}
	}
	switch s := p.lone; {
	case s == nil:
	case p.trying && s.first == fl.place:
		*p = poison{} // it got through: the link was to blame
	case !p.trying:
		if p.passes++; p.passes < poisonPasses {
			break
		}
		if p.rounds++; p.rounds >= poisonStrikes {
			*p = poison{}
			return s
		}
		p.trying = true
	}
	return nil
}

// retryAt returns when a record that is held back is tried again whatever happens; zero when there is none.
func (p *poison) retryAt() time.Time {
	if p.lone == nil || p.trying {
		return time.Time{}
	}
	return p.since.Add(poisonWait)
}

// suspects reports whether the record at this place is among those that are looked into: they go with nothing else in flight.
func (p *poison) suspects(at buffer.Place) bool {
	return p.region != nil && p.region.contains(at.Epoch, at.Number)
}

// held returns the numbers of an epoch that are held back, nil when there are none.
func (p *poison) held(epoch uint32) *tidegate.Range {
	if p.lone == nil || p.trying || p.lone.first.Epoch != epoch {
		return nil
	}
	return &tidegate.Range{First: p.lone.first.Number, Last: p.lone.last}
}

// alone returns the record that is to be sent with nothing else in flight; nil when there is none.
func (p *poison) alone() *suspicion {
	if p.trying {
		return p.lone
	}
	return nil
}

// bound returns how many of n records that begin at a place may go in one batch.
func (p *poison) bound(at buffer.Place, n int) int {
	if s := p.alone(); s != nil && s.first == at {
		return 1
	}
	if r := p.region; r != nil && r.contains(at.Epoch, at.Number) {
		return max(1, min(n, (r.records+1)/2))
	}
	return n
}

// reason says why s is set aside.
func (s *suspicion) reason() string {
	return fmt.Sprintf("the connection ended %d times within %v of sending it alone, while others got through: %s",
		poisonStrikes, poisonWithin, s.why)
}
