package forward

import (
	"cmp"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer"
)

// What it takes to set a record aside because connections end when it is sent.
const (
	poisonDrops   = 3  // connections that ended within 5 s of sending the same batch, before it is halved
	poisonStrikes = 3  // the same for the one record that is left, each time with others getting through while it is held back
	silentStrikes = 5  // likewise for one that gets no receipt: a next hop that loses payloads at random must not look like that
	poisonPasses  = 10 // other batches that must get through in each round
	poisonKeys    = 64 // batches watched at once

	poisonWait = 10 * time.Minute // a record that is held back is tried again after this long, even if nothing else was sent
)

// poison finds the record after which connections end. A batch after which the connection dropped three times is cut into halves,
// drop by drop, until one record is left. That one is held back; only when ten other batches got through meanwhile is it tried
// again, alone, and after three such rounds it is set aside. A link that drops whatever is sent sets nothing aside: the first drop
// while a record is held back clears it.
//
// Under receipts it finds as well what the next hop acknowledges and the far side refuses: a batch that got no receipt in a minute,
// although one that was sent after it on the same connection did, is halved at once. Getting through is a receipt then. While no
// receipt comes at all, nothing is halved, held back or set aside: it is the far side that is away.
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
	silent  bool // it gets no receipt; else connections end after it
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
	if p.silent() { // which a drop says nothing about
		p.count(hot, err)
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
				p.narrow(suspect(fl), err)
				return
			}
		}
		p.region = nil
	}
	p.count(hot, err)
}

// silent reports whether what is looked into gets no receipt.
func (p *poison) silent() bool {
	s := cmp.Or(p.lone, p.region)
	return s != nil && s.silent
}

// settled takes note of a receipt for the numbers has of the epoch with this name.
func (p *poison) settled(epoch string, has tidegate.Ranges) {
	if s := cmp.Or(p.lone, p.region); p.silent() && s.name == epoch && len(has.Missing(tidegate.Range{First: s.first.Number, Last: s.last})) == 0 {
		*p = poison{drops: p.drops}
	}
}

// unanswered takes note of the connection c that ended for the reason err.
func (p *poison) unanswered(c *conn, err error) {
	if err == nil || isHalt(err) {
		return
	}
	var oldest *suspicion
	for _, fl := range c.flights {
		mute := fl.acked && !fl.beyond && c.spoken[fl.epoch] && fl.id < c.answered && time.Since(fl.ackedAt) >= receiptTimeout/2
		if l := p.lone; l != nil && p.trying && l.silent && l.first.Epoch == fl.place.Epoch && fl.rest.Contains(l.first.Number) {
			if mute {
				p.hold(l, err) // once more; others must get through first
			}
			return
		}
		if mute && (oldest == nil || p.region != nil && p.region.contains(fl.place.Epoch, fl.rest[0].First)) {
			oldest = suspect(fl)
			oldest.silent, oldest.records = true, int(fl.rest.Len())
			oldest.first.Number, oldest.last = fl.rest[0].First, fl.rest[len(fl.rest)-1].Last
		}
	}
	if oldest == nil || p.lone != nil && !p.trying || cmp.Or(p.lone, p.region) != nil && !p.silent() {
		return // one record at a time
	}
	p.lone, p.trying = nil, false
	p.narrow(oldest, err)
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
			*p = poison{}
			p.narrow(suspect(fl), err)
			return
		}
	}
}

// suspect returns the records of fl.
func suspect(fl *flight) *suspicion {
	return &suspicion{lane: fl.lane, first: fl.place, last: fl.last, records: fl.records, name: fl.epoch}
}

// narrow makes s what is looked into.
func (p *poison) narrow(s *suspicion, err error) {
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

// confirmed takes note of a batch that got through: the next hop has it, or the far side has when it is by receipt. It returns the
// record to set aside when that is proved.
func (p *poison) confirmed(fl *flight, receipt bool) *suspicion {
	if !receipt {
		delete(p.drops, fl.place)
	}
	if p.silent() != receipt {
		return nil
	}
	if r := p.region; r != nil && r.contains(fl.place.Epoch, fl.place.Number) {
		r.records -= fl.records
		if fl.place.Number <= r.first.Number {
			r.first.Number = fl.last + 1
		} else if fl.last >= r.last { // a receipt may come for the second half only
			r.last = fl.place.Number - 1
		}
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
		if p.rounds++; p.rounds >= poisonStrikes && !s.silent || p.rounds >= silentStrikes {
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
	return p.region != nil && !p.region.silent && p.region.contains(at.Epoch, at.Number)
}

// held returns the numbers of an epoch that are held back, nil when there are none.
func (p *poison) held(epoch uint32) *tidegate.Range {
	if p.lone == nil || p.trying || p.lone.first.Epoch != epoch {
		return nil
	}
	return &tidegate.Range{First: p.lone.first.Number, Last: p.lone.last}
}

// alone returns the record that is to be sent with nothing else in flight; nil when there is none. One that gets no receipt goes in
// a batch of its own, but with others: only their receipts tell that the far side is there.
func (p *poison) alone() *suspicion {
	if p.trying && !p.lone.silent {
		return p.lone
	}
	return nil
}

// bound returns how many of n records that begin at a place may go in one batch.
func (p *poison) bound(at buffer.Place, n int) int {
	s := p.region
	if s == nil && p.trying {
		s = p.lone
	}
	switch {
	case s == nil || s.first.Epoch != at.Epoch:
	case at.Number < s.first.Number: // they end before it
		if before := s.first.Number - at.Number; before < uint64(n) {
			n = int(before)
		}
	case s.contains(at.Epoch, at.Number):
		n = max(1, min(n, (s.records+1)/2))
	}
	return n
}

// reason says why s is set aside.
func (s *suspicion) reason() string {
	if s.silent {
		return fmt.Sprintf("the far side gave no receipt for it %d times within %v, though it did for what was sent after it: "+
			"it refuses the record; what it says of that is in its log", silentStrikes, receiptTimeout)
	}
	return fmt.Sprintf("the connection ended %d times within %v of sending it alone, while others got through: %s",
		poisonStrikes, poisonWithin, s.why)
}
