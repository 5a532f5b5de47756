package receive

import (
	"cmp"
	"slices"
)

// Limits beyond those of one Row, so that no gateway can fill a receiver's memory and ledger, whatever it sends.
const (
	maxRows         = 1024     // epochs of one gateway; beyond it the one that was current longest ago is forgotten
	maxHeldGateway  = 32 << 20 // bytes in parts that are held of one gateway; beyond it the oldest record is given up
	maxHeldTotal    = 64 << 20 // of all; beyond it the oldest of the gateway that has most
	maxRecordLength = 32 << 20 // bytes of a record's parts, decompressed
)

// boundRows forgets the oldest epochs of gateways that get new ones in this batch. Rows that the batch changes stay.
func (s *stage) boundRows() {
	fresh := map[string]int{}
	for i := range s.batch.Changes {
		if k := s.batch.Changes[i].Key; s.ledger.Row(k) == nil {
			fresh[k.Gateway]++
		}
	}
	for gateway, n := range fresh {
		over := len(s.ledger.rows[gateway]) + n - s.most.rows
		if over <= 0 {
			continue
		}
		for _, k := range s.ledger.Keys(gateway) {
			if _, changed := s.at[k]; !changed && over > 0 {
				s.change(k).Forget = true
				s.given = append(s.given, givenUp{Key: k})
				over--
			}
		}
	}
}

// givenUp is what a bound cost: parts of a record, or an epoch when number is 0.
type givenUp struct {
	Key
	number uint64
}

// A heldRecord is a record in parts, as it will be once the batch is applied.
type heldRecord struct {
	key    Key
	number uint64
	turn   uint64
	size   int
}

// boundHeld gives up records of which parts are held, until what is held is within its bounds.
func (s *stage) boundHeld() {
	if !slices.ContainsFunc(s.batch.Changes, func(c Change) bool { return len(c.Held) > 0 }) {
		return
	}
	held := s.heldAfter()
	total := 0
	for _, list := range held {
		for i := range list {
			total += list[i].size
		}
	}
	for gateway, list := range held {
		for sum(list) > s.most.gateway {
			total -= list[0].size
			s.giveUp(list[0])
			list = list[1:]
		}
		held[gateway] = list
	}
	for total > s.most.total {
		most := ""
		for gateway, list := range held {
			if most == "" || cmp.Or(cmp.Compare(sum(held[most]), sum(list)), cmp.Compare(gateway, most)) < 0 {
				most = gateway
			}
		}
		total -= held[most][0].size
		s.giveUp(held[most][0])
		held[most] = held[most][1:]
	}
}

func sum(list []heldRecord) (n int) {
	for i := range list {
		n += list[i].size
	}
	return n
}

// heldAfter returns what is held of each gateway once the batch is applied, the oldest first.
func (s *stage) heldAfter() map[string][]heldRecord {
	held := map[string][]heldRecord{}
	touched := map[Key]map[uint64]bool{}
	for _, p := range s.partials {
		if touched[p.key] == nil {
			touched[p.key] = map[uint64]bool{}
		}
		touched[p.key][p.held.Number] = true
	}
	for gateway, rows := range s.ledger.rows {
		for epoch, row := range rows {
			k := Key{Gateway: gateway, Epoch: epoch}
			for i := range row.Held {
				if h := &row.Held[i]; !touched[k][h.Number] && !s.had(k, h.Number) {
					held[gateway] = append(held[gateway], heldRecord{key: k, number: h.Number, turn: row.Turn, size: h.size()})
				}
			}
		}
		slices.SortStableFunc(held[gateway], func(a, b heldRecord) int {
			return cmp.Or(cmp.Compare(a.turn, b.turn), cmp.Compare(a.key.Epoch, b.key.Epoch))
		})
	}
	for _, p := range s.partials { // these are the newest
		if !p.whole {
			held[p.key.Gateway] = append(held[p.key.Gateway], heldRecord{key: p.key, number: p.held.Number, size: p.held.size()})
		}
	}
	return held
}

// giveUp takes what is held of a record out of the batch, and out of the ledger.
func (s *stage) giveUp(h heldRecord) {
	c := s.change(h.key)
	c.Held = slices.DeleteFunc(c.Held, func(p Part) bool { return p.Number == h.number })
	if !slices.Contains(c.Discard, h.number) {
		c.Discard = append(c.Discard, h.number)
	}
	s.given = append(s.given, givenUp{Key: h.key, number: h.number})
}

// size returns how many bytes the parts of h have.
func (h *Held) size() (n int) {
	for _, p := range h.Parts {
		n += len(p)
	}
	return n
}

// bounds are the limits that a stage keeps to; tests have smaller ones.
type bounds struct{ rows, gateway, total int }

// usualBounds are those of a Receiver.
func usualBounds() bounds {
	return bounds{rows: maxRows, gateway: maxHeldGateway, total: maxHeldTotal}
}

// forget takes the row k out of l.
func (l *Ledger) forget(k Key) {
	delete(l.rows[k.Gateway], k.Epoch)
	if len(l.rows[k.Gateway]) == 0 {
		delete(l.rows, k.Gateway)
	}
	l.Forgotten++
}
