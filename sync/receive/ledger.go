package receive

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/wire"
)

// Limits of one Row, so that its size follows the number of holes and not its age.
const (
	maxSkipped  = 1024     // runs of skipped numbers kept apart; beyond it the lowest half counts as stored
	maxGaps     = 1000     // gaps kept apart; beyond it the two oldest become one
	maxHeld     = 16       // records of which only parts are there
	maxHeldSize = 32 << 20 // bytes in their parts
	causeMerged = "several"
)

// A Key names a Row.
type Key struct {
	Gateway string `json:"gateway"`
	Epoch   string `json:"epoch"`
}

// A Ledger says what is stored, of every gateway and epoch. It is not safe for concurrent use.
type Ledger struct {
	Refused   uint64                     // payloads that were set aside
	Forgotten uint64                     // epochs that were forgotten, since their gateway had too many
	rows      map[string]map[string]*Row // by gateway and epoch
}

// NewLedger returns an empty ledger.
func NewLedger() *Ledger { return &Ledger{rows: map[string]map[string]*Row{}} }

// Row returns the row k, nil when there is none.
func (l *Ledger) Row(k Key) *Row { return l.rows[k.Gateway][k.Epoch] }

// Put puts r in as the row k.
func (l *Ledger) Put(k Key, r *Row) {
	if l.rows[k.Gateway] == nil {
		l.rows[k.Gateway] = map[string]*Row{}
	}
	l.rows[k.Gateway][k.Epoch] = r
}

// A Row says what is stored of one epoch of one gateway. Stored, Skipped and the gaps' Open numbers never overlap.
type Row struct {
	Stored     Ranges `json:"stored,omitzero"`      // numbers of the records that are stored
	Skipped    Ranges `json:"skipped,omitzero"`     // numbers not meant for the uplink that feeds this ledger
	Gaps       []Gap  `json:"gaps,omitempty"`       // in the order in which they were declared
	Records    uint64 `json:"records,omitempty"`    // records stored
	Readings   uint64 `json:"readings,omitempty"`   // readings in them
	Duplicates uint64 `json:"duplicates,omitempty"` // records dropped because their number was stored already
	Discarded  uint64 `json:"discarded,omitempty"`  // records of which parts were held and given up
	Turn       uint64 `json:"turn,omitempty"`       // rises each time that another epoch becomes its gateway's current one
	Held       []Held `json:"held,omitempty"`       // records of which only parts are there, oldest first
}

// A Gap is a gap as its gateway declared it, and what came of it after all.
type Gap struct {
	tidegate.Gap
	Open         Ranges `json:"open"`                    // its numbers for which no record has come
	Again        Ranges `json:"again,omitzero"`          // those of which the gateway has said since that it sends them after all, and that have not come
	LateRecords  uint64 `json:"late_records,omitempty"`  // records that came for its numbers after all
	LateReadings uint64 `json:"late_readings,omitempty"` // readings in them, known to be lost no more
}

// Held is a record in parts, as far as they have come.
type Held struct {
	Number uint64   `json:"number"`
	Total  int      `json:"total"`
	Parts  [][]byte `json:"parts"` // by index - 1; nil = has not come; payloads as received
}

// A Change is what one write changes in one Row. Sinks that keep rows whole apply it to the row with Row.Apply; sinks that keep
// a log store the Change itself.
type Change struct {
	Key
	Stored     Ranges         `json:"stored,omitzero"`
	Skipped    Ranges         `json:"skipped,omitzero"`
	Gaps       []tidegate.Gap `json:"gaps,omitempty"`
	Late       []Late         `json:"late,omitempty"`
	Records    uint64         `json:"records,omitempty"`
	Readings   uint64         `json:"readings,omitempty"`
	Duplicates uint64         `json:"duplicates,omitempty"`
	Turn       uint64         `json:"turn,omitempty"`    // 0 = as it was
	Discard    []uint64       `json:"discard,omitempty"` // numbers of held records that are given up, before Held is added
	Held       []Part         `json:"held,omitempty"`
	Forget     bool           `json:"forget,omitempty"` // the row goes; nothing else is set then
}

// Late is a record that came for a number that had been declared a gap.
type Late struct {
	Number   uint64 `json:"number"`
	Readings uint64 `json:"readings"`
}

// A Part is one part of a record, to be held until the others have come.
type Part struct {
	Number uint64 `json:"number"`
	Index  int    `json:"index"` // 1 to Total
	Total  int    `json:"total"`
	Body   []byte `json:"body"` // the payload as received
}

// Apply makes the changes and counts the payloads refused.
func (l *Ledger) Apply(changes []Change, refused int) {
	for i := range changes {
		k := changes[i].Key
		if changes[i].Forget {
			l.forget(k)
			continue
		}
		if l.Row(k) == nil {
			l.Put(k, &Row{})
		}
		l.Row(k).Apply(&changes[i])
	}
	l.Refused += uint64(refused)
}

// Gateways returns the gateways that have rows, sorted.
func (l *Ledger) Gateways() []string { return slices.Sorted(maps.Keys(l.rows)) }

// Keys returns the keys of gateway's rows by turn: the current epoch last.
func (l *Ledger) Keys(gateway string) []Key {
	var keys []Key
	for epoch := range l.rows[gateway] {
		keys = append(keys, Key{Gateway: gateway, Epoch: epoch})
	}
	slices.SortFunc(keys, func(a, b Key) int {
		return cmp.Or(cmp.Compare(l.Row(a).Turn, l.Row(b).Turn), strings.Compare(a.Epoch, b.Epoch))
	})
	return keys
}

// Apply makes the change c.
func (r *Row) Apply(c *Change) {
	for _, n := range c.Discard {
		r.discard(n)
	}
	for _, g := range c.Gaps {
		r.declare(g)
	}
	for _, late := range c.Late {
		if i := r.gapOf(late.Number); i >= 0 {
			r.Gaps[i].LateRecords++
			r.Gaps[i].LateReadings += late.Readings
		}
	}
	for _, x := range c.Stored.Ranges {
		r.had(x)
		r.Held = slices.DeleteFunc(r.Held, func(h Held) bool { return x.First <= h.Number && h.Number <= x.Last })
	}
	for _, x := range c.Skipped.Ranges {
		r.skip(x)
	}
	for i := range c.Held {
		r.hold(&c.Held[i])
	}
	r.Records += c.Records
	r.Readings += c.Readings
	r.Duplicates += c.Duplicates
	if c.Turn != 0 {
		r.Turn = c.Turn
	}
}

// had notes the numbers of x as stored, and takes them out of what was skipped or declared.
func (r *Row) had(x tidegate.Range) {
	r.Stored.Add(x)
	r.Skipped.Remove(x)
	for i := range r.Gaps {
		r.Gaps[i].Open.Remove(x)
		r.Gaps[i].Again.Remove(x)
	}
}

// reopen takes numbers of x out of the gaps they were declared in: from now on they are holes, until their records come or they are declared once
// more. So a receipt says of them what is true.
func (r *Row) reopen(x tidegate.Range) {
	for i := range r.Gaps {
		g := &r.Gaps[i]
		for _, m := range g.Open.Within(x) {
			g.Again.Add(m)
			g.Open.Remove(m)
		}
	}
}

// skip notes the numbers of x that are not stored as skipped.
func (r *Row) skip(x tidegate.Range) {
	for _, m := range r.Stored.Missing(x) {
		r.Skipped.Add(m)
		for i := range r.Gaps {
			r.Gaps[i].Open.Remove(m)
			r.Gaps[i].Again.Remove(m)
		}
	}
	if len(r.Skipped.Ranges) > maxSkipped {
		low := slices.Clone(r.Skipped.Ranges[:maxSkipped/2])
		for _, m := range low {
			r.had(m)
		}
	}
}

// declare notes g. Numbers that are stored, skipped or in another gap already are not its own; without any of its own it is void.
func (r *Row) declare(g tidegate.Gap) {
	x := tidegate.Range{First: max(g.From, 1), Last: g.To}
	if g.Cause == tidegate.CauseRequeued {
		r.reopen(x)
		return
	}
	for i := range r.Gaps { // what was to come again, and does not
		for _, m := range r.Gaps[i].Again.Within(x) {
			r.Gaps[i].Open.Add(m)
			r.Gaps[i].Again.Remove(m)
		}
	}
	open := r.Stored.Missing(x)
	for _, x := range r.Skipped.Ranges {
		open.Remove(x)
	}
	for i := range r.Gaps {
		for _, x := range r.Gaps[i].Open.Ranges {
			open.Remove(x)
		}
	}
	if len(open) == 0 {
		return
	}
	r.Gaps = append(r.Gaps, Gap{Gap: g, Open: Ranges{open}})
	if len(r.Gaps) > maxGaps {
		r.Gaps[1].merge(&r.Gaps[0])
		r.Gaps = slices.Delete(r.Gaps, 0, 1)
	}
}

// merge takes what o says into g.
func (g *Gap) merge(o *Gap) {
	g.From, g.To = min(g.From, o.From), max(g.To, o.To)
	g.Count, g.AtMost = g.Count+o.Count, g.AtMost+o.AtMost
	g.T0, g.T1 = min(g.T0, o.T0), max(g.T1, o.T1)
	if g.Cause != o.Cause {
		g.Cause = causeMerged
	}
	g.Open.AddAll(o.Open.Ranges)
	g.Again.AddAll(o.Again.Ranges)
	g.LateRecords += o.LateRecords
	g.LateReadings += o.LateReadings
}

// gapOf returns the index of the gap in which number n was declared, -1 = none.
func (r *Row) gapOf(n uint64) int {
	return slices.IndexFunc(r.Gaps, func(g Gap) bool { return g.Open.Contains(n) || g.Again.Contains(n) })
}

// hold adds one part. Parts of the same record with another total are given up, and so are the oldest records beyond the limits.
func (r *Row) hold(p *Part) {
	i := slices.IndexFunc(r.Held, func(h Held) bool { return h.Number == p.Number })
	if i >= 0 && r.Held[i].Total != p.Total {
		r.discard(p.Number)
		i = -1
	}
	if i < 0 {
		r.Held = append(r.Held, Held{Number: p.Number, Total: p.Total, Parts: make([][]byte, p.Total)})
		i = len(r.Held) - 1
	}
	r.Held[i].Parts[p.Index-1] = p.Body
	for len(r.Held) > maxHeld || r.heldSize() > maxHeldSize {
		r.discard(r.Held[0].Number)
	}
}

// heldSize returns how many bytes the held parts have.
func (r *Row) heldSize() (n int) {
	for i := range r.Held {
		n += r.Held[i].size()
	}
	return n
}

// discard gives up the parts held of record n.
func (r *Row) discard(n uint64) {
	if i := slices.IndexFunc(r.Held, func(h Held) bool { return h.Number == n }); i >= 0 {
		r.Held = slices.Delete(r.Held, i, i+1)
		r.Discarded++
	}
}

// Receipt returns what a receipt says of the row: everything up to upto but the holes is stored, skipped or declared a gap.
// There are at most 64 holes; upto stops before the 65th. An empty row gives upto 0.
func (r *Row) Receipt() (upto uint64, holes tidegate.Ranges) {
	top := r.highest()
	for n := uint64(1); n <= top; {
		if last, ok := r.covered(n); ok {
			upto = last
			if last == math.MaxUint64 {
				break
			}
			n = last + 1
			continue
		}
		if len(holes) == wire.MaxHoles {
			break
		}
		next := r.nextCovered(n)
		holes = append(holes, tidegate.Range{First: n, Last: next - 1})
		n = next
	}
	return upto, holes
}

// Holes returns the numbers below the highest one known that are neither stored, skipped nor declared a gap.
func (r *Row) Holes() tidegate.Ranges {
	all := r.Stored.Clone()
	all.AddAll(r.Skipped.Ranges)
	for i := range r.Gaps {
		all.AddAll(r.Gaps[i].Open.Ranges)
	}
	return all.Missing(tidegate.Range{First: 1, Last: r.highest()})
}

// each calls f with every set of numbers that a receipt counts as had, until f returns false.
func (r *Row) each(f func(tidegate.Ranges)) {
	f(r.Stored.Ranges)
	f(r.Skipped.Ranges)
	for i := range r.Gaps {
		f(r.Gaps[i].Open.Ranges)
	}
}

// highest returns the highest number stored, skipped or declared a gap; 0 = none.
func (r *Row) highest() (top uint64) {
	r.each(func(s tidegate.Ranges) {
		if len(s) > 0 {
			top = max(top, s[len(s)-1].Last)
		}
	})
	return top
}

// covered returns the end of the run that holds n; ok is false when none does.
func (r *Row) covered(n uint64) (last uint64, ok bool) {
	r.each(func(s tidegate.Ranges) {
		if i := search(s, n); i < len(s) && s[i].First <= n {
			last, ok = s[i].Last, true
		}
	})
	return last, ok
}

// nextCovered returns the first number above n that is had; there must be one.
func (r *Row) nextCovered(n uint64) uint64 {
	next := uint64(math.MaxUint64)
	r.each(func(s tidegate.Ranges) {
		if i := search(s, n); i < len(s) {
			next = min(next, s[i].First)
		}
	})
	return next
}

// search returns the index of the first run of s that ends at n or later.
func search(s tidegate.Ranges, n uint64) int {
	i, _ := slices.BinarySearchFunc(s, n, func(x tidegate.Range, n uint64) int {
		if x.Last < n {
			return -1
		}
		if x.Last > n {
			return 1
		}
		return 0
	})
	return i
}
