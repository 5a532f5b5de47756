package receive

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/wire"
)

// A stage sorts arrivals into one Batch. It reads the ledger and changes nothing in it.
type stage struct {
	ledger   *Ledger
	turns    map[string]turn // by gateway
	batch    Batch
	at       map[Key]int // index of the row's change in batch.Changes
	partials []*partial
	touched  map[Key]bool // rows that are owed a receipt
	given    []givenUp    // what the bounds cost
	most     bounds
	unzip    *unzipper
}

// A turn says which epoch is a gateway's current one.
type turn struct {
	key Key
	n   uint64 // of its row
}

// A partial is a record in parts, as the ledger and the arrivals before have it.
type partial struct {
	key     Key
	held    Held   // all parts that have come
	added   []Part // those of them that the ledger does not hold
	ledger  bool   // the ledger holds parts of it
	discard bool   // and those are given up
	whole   bool   // it is complete
}

func newStage(r *Receiver) *stage {
	return &stage{ledger: r.ledger, turns: r.turns, at: map[Key]int{}, touched: map[Key]bool{}, most: r.most, unzip: &r.unzip}
}

// add sorts a in.
func (s *stage) add(a *arrival) {
	switch {
	case a.refused != nil:
		s.batch.Refused = append(s.batch.Refused, *a.refused)
	case a.pack == nil:
		return
	case a.pack.Part != (wire.Part{}):
		s.addPart(a)
	default:
		for i := range a.pack.Records {
			s.addRecord(a, &a.pack.Records[i])
		}
	}
	if a.pack != nil {
		if len(a.pack.Skip) > 0 {
			s.change(a.key).Skipped.AddAll(a.pack.Skip)
		}
		s.touched[a.key] = true
	}
}

// finish returns the batch. Duplicates carried from groups before are counted with it; where it holds nothing but duplicates and
// they need not be counted now, they are carried on and the batch is empty: what is stored already need not be stored again.
func (s *stage) finish(carried map[Key]uint64, count bool) Batch {
	for _, p := range s.partials {
		c := s.change(p.key)
		if p.discard {
			c.Discard = append(c.Discard, p.held.Number)
		}
		if !p.whole {
			c.Held = append(c.Held, p.added...)
		}
	}
	s.boundHeld()
	s.boundRows()
	news := func(c Change) bool {
		return len(c.Stored.Ranges)+len(c.Skipped.Ranges)+len(c.Gaps)+len(c.Discard)+len(c.Held) > 0 || c.Turn != 0
	}
	if !count && len(s.batch.Refused) == 0 && !slices.ContainsFunc(s.batch.Changes, news) {
		for i := range s.batch.Changes {
			carried[s.batch.Changes[i].Key] += s.batch.Changes[i].Duplicates
		}
		return Batch{}
	}
	for k, n := range carried {
		s.change(k).Duplicates += n
	}
	return s.batch
}

// change returns the change of the row k; it is valid until the next call.
func (s *stage) change(k Key) *Change {
	i, ok := s.at[k]
	if !ok {
		i = len(s.batch.Changes)
		s.at[k] = i
		s.batch.Changes = append(s.batch.Changes, Change{Key: k})
	}
	return &s.batch.Changes[i]
}

// row returns the row k as the ledger has it, an empty one when it has none.
func (s *stage) row(k Key) *Row {
	if row := s.ledger.Row(k); row != nil {
		return row
	}
	return &Row{}
}

// had reports whether the record n is stored or about to be.
func (s *stage) had(k Key, n uint64) bool {
	return s.change(k).Stored.Contains(n) || s.row(k).Stored.Contains(n)
}

// addRecord sorts one whole record of a in.
func (s *stage) addRecord(a *arrival, rec *tidegate.Record) {
	c := s.change(a.key)
	if s.had(a.key, rec.Number) {
		c.Duplicates++
		return
	}
	s.batch.Records = append(s.batch.Records, Stored{Key: a.key, Lane: a.lane, Record: *rec})
	readings := uint64(len(rec.Readings))
	c.Stored.Add(tidegate.Range{First: rec.Number, Last: rec.Number})
	c.Records++
	c.Readings += readings
	declared := slices.ContainsFunc(c.Gaps, func(g tidegate.Gap) bool { return g.From <= rec.Number && rec.Number <= g.To })
	if declared || s.row(a.key).gapOf(rec.Number) >= 0 {
		c.Late = append(c.Late, Late{Number: rec.Number, Readings: readings})
	}
	s.takeTurn(a)
	for i := range rec.Readings {
		s.addGap(a, &rec.Readings[i])
	}
}

// takeTurn makes a's epoch its gateway's current one when a is live or the gateway has none yet.
func (s *stage) takeTurn(a *arrival) {
	t, known := s.turns[a.key.Gateway]
	if t.key == a.key || known && a.lane != "data" {
		return
	}
	t = turn{key: a.key, n: t.n + 1}
	s.turns[a.key.Gateway] = t
	s.change(a.key).Turn = t.n
}

// addGap notes the gap that rd declares, if it does. One that cannot be understood is set aside with its payload, which is stored
// all the same: its numbers stay holes.
func (s *stage) addGap(a *arrival, rd *tidegate.Reading) {
	gap, ok, err := wire.ParseGap(*rd)
	if err != nil {
		s.batch.Refused = append(s.batch.Refused, a.refusal(err))
		return
	}
	if !ok {
		return
	}
	k := a.key
	if gap.Epoch != "" {
		k.Epoch = strings.Clone(gap.Epoch)
	}
	s.change(k).Gaps = append(s.change(k).Gaps, gap)
	s.touched[k] = true
}

// addPart sorts in a payload that holds a part of one record, and the record when it is complete with it.
func (s *stage) addPart(a *arrival) {
	rec, part := &a.pack.Records[0], a.pack.Part
	if s.had(a.key, rec.Number) {
		s.change(a.key).Duplicates++
		return
	}
	p := s.partial(a.key, rec.Number)
	if p.held.Total != part.Total || !s.sameContent(p.held.Parts[part.Index-1], rec) {
		p.discard = p.ledger
		p.added = nil
		p.held = Held{Number: rec.Number, Total: part.Total, Parts: make([][]byte, part.Total)}
	}
	p.held.Parts[part.Index-1] = a.Body
	p.added = append(p.added, Part{Number: rec.Number, Index: part.Index, Total: part.Total, Body: a.Body})
	if slices.ContainsFunc(p.held.Parts, func(b []byte) bool { return b == nil }) {
		return
	}
	p.whole = true
	whole, err := s.join(p.held.Parts)
	if err != nil {
		p.discard = p.ledger
		s.batch.Refused = append(s.batch.Refused, a.refusal(err))
		return
	}
	s.addRecord(a, whole)
}

// partial returns what is held of the record n.
func (s *stage) partial(k Key, n uint64) *partial {
	i := slices.IndexFunc(s.partials, func(p *partial) bool { return p.key == k && p.held.Number == n && !p.whole })
	if i >= 0 {
		return s.partials[i]
	}
	p := &partial{key: k, held: Held{Number: n}}
	row := s.row(k)
	if i := slices.IndexFunc(row.Held, func(h Held) bool { return h.Number == n }); i >= 0 {
		p.held, p.ledger = row.Held[i], true
		p.held.Parts = slices.Clone(p.held.Parts)
	}
	s.partials = append(s.partials, p)
	return p
}

// sameContent reports whether the held part is of the same cut as rec: the same readings, but for their times, which may have
// been corrected since. A part that has not come yet (nil) is no contradiction.
func (s *stage) sameContent(held []byte, rec *tidegate.Record) bool {
	if held == nil {
		return true
	}
	held, err := s.unzip.plain(held)
	if err != nil {
		return false
	}
	old, err := wire.DecodeSenML(held)
	if err != nil {
		return false
	}
	return slices.EqualFunc(old.Records[0].Readings, rec.Readings, func(a, b tidegate.Reading) bool {
		a.Time = b.Time
		return a == b
	})
}

// join makes one record of its parts' payloads, each of which has one record; time and quality are the first part's.
func (s *stage) join(parts [][]byte) (*tidegate.Record, error) {
	var whole tidegate.Record
	length := 0
	for i, body := range parts {
		body, err := s.unzip.plain(body)
		if err != nil {
			return nil, fmt.Errorf("read held part %d of %d: %w", i+1, len(parts), err)
		}
		if length += len(body); length > maxRecordLength {
			return nil, fmt.Errorf("record in %d parts has more than %d bytes, decompressed", len(parts), maxRecordLength)
		}
		pack, err := wire.DecodeSenML(body)
		if err != nil {
			return nil, fmt.Errorf("read held part %d of %d: %w", i+1, len(parts), err)
		}
		if i == 0 {
			whole = pack.Records[0]
			continue
		}
		for _, rd := range pack.Records[0].Readings {
			if rd.Time.IsZero() {
				rd.Time = pack.Records[0].Time
			}
			whole.Readings = append(whole.Readings, rd)
		}
	}
	return &whole, nil
}
