package bed

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/tidegate-io/tidegate/sync/receive"
)

// An Account is where all readings of the meters went: answered = produced + in_flight, produced = delivered + buffered + rejected +
// dropped_declared + lost.
type Account struct {
	Answered        int64  `json:"answered"`
	Produced        int64  `json:"produced"`
	Delivered       int64  `json:"delivered"`
	Duplicates      uint64 `json:"duplicates"` // records that the receiver dropped
	Buffered        int64  `json:"buffered"`
	Rejected        int64  `json:"rejected"`
	DroppedDeclared int64  `json:"dropped_declared"`
	InFlight        int64  `json:"in_flight"`
	Doubled         int64  `json:"doubled"`
	Lost            int64  `json:"lost"`
	Altered         int64  `json:"altered"` // records that do not say what a meter answered
	Extra           int64  `json:"extra"`   // running numbers that no meter gave
	Alarms          int    `json:"alarms"`
}

// Line returns the account as one line of a table.
func (a *Account) Line(what string) string {
	b, err := json.Marshal(a)
	if err != nil {
		return err.Error()
	}
	return what + " " + string(b)
}

// Judge fails the test where the account does not close.
func (a *Account) Judge(t testing.TB) {
	t.Helper()
	if a.Lost != 0 || a.Doubled != 0 || a.Altered != 0 || a.Extra != 0 {
		t.Errorf("lost %d, doubled %d, altered %d, extra %d: all must be 0", a.Lost, a.Doubled, a.Altered, a.Extra)
	}
	if a.Delivered == 0 {
		t.Error("nothing was delivered")
	}
}

// A Tally settles the account of meters from the records that are at the receiver.
type Tally struct {
	Alarms []Alarm
	Said   []error // what is wrong with single records; the first few

	m     *Meters
	times []map[uint32]int // by unit-1: how often each running number is stored
	a     Account
}

// An Alarm is one that was stored, in the order of its number.
type Alarm struct {
	Epoch string
	Seq   uint64
	State string
	Value string
}

// NewTally returns a tally in which nothing is stored.
func NewTally(m *Meters) *Tally {
	y := &Tally{m: m, times: make([]map[uint32]int, m.Units)}
	for i := range y.times {
		y.times[i] = map[uint32]int{}
	}
	return y
}

// Add takes a record that is stored.
func (y *Tally) Add(r *Record) {
	if state, v, ok := r.IsAlarm(); ok {
		y.Alarms = append(y.Alarms, Alarm{r.Epoch, r.Seq, state, v})
		return
	}
	unit, n, err := y.m.Check(r)
	switch {
	case err != nil:
		y.a.Altered++
		if len(y.Said) < 10 {
			y.Said = append(y.Said, err)
		}
	case unit > 0:
		y.times[unit-1][n]++
	}
}

// Missing returns, by unit-1, the running numbers that are not stored and not in flight, rising.
func (y *Tally) Missing() [][]uint32 {
	out := make([][]uint32, y.m.Units)
	for u, last := range y.m.Given() {
		for n := uint32(1); n <= last; n++ {
			if y.times[u][n] == 0 && !y.m.inFlight(u, n) {
				out[u] = append(out[u], n)
			}
		}
	}
	return out
}

// inFlight reports whether n was the unit's last reply at a stop.
func (m *Meters) inFlight(u int, n uint32) bool {
	return slices.ContainsFunc(m.ends, func(e []uint32) bool { return e[u] == n })
}

// Settle settles the account; far is what the receiver says of itself, for gaps and duplicates.
func (y *Tally) Settle(far *receive.Account) *Account {
	a := &y.a
	channels := int64(y.m.Channels())
	missing := y.Missing()
	for u, last := range y.m.Given() {
		a.Answered += int64(last) * channels
		a.Lost += int64(len(missing[u])) * channels
		for n, times := range y.times[u] {
			if n > last {
				a.Extra++
				continue
			}
			a.Delivered += channels
			a.Doubled += int64(times-1) * channels
		}
	}
	for _, g := range far.Gateways {
		for _, e := range g.Epochs {
			a.Duplicates += e.Duplicates
			for _, gap := range e.Gaps {
				if gap.Cause == "rejected" {
					a.Rejected += int64(gap.Count)
				} else {
					a.DroppedDeclared += int64(gap.Count)
				}
			}
		}
	}
	a.InFlight = a.Answered - a.Delivered - a.Lost
	a.Produced = a.Answered - a.InFlight
	a.Lost -= a.Rejected + a.DroppedDeclared
	a.Alarms = len(y.Alarms)
	return a
}

// Once fails the test unless the alarms of rule `toggle` on meter 1 are those that the stored readings demand: each phase's once, raised and
// cleared in turn.
func (y *Tally) Once(t testing.TB) {
	t.Helper()
	var want []Alarm
	raised := false
	last := y.m.Given()[0]
	for n := uint32(1); n <= last; n++ {
		if y.times[0][n] == 0 {
			continue
		}
		switch p := y.m.Phase(n); {
		case p > 0 && !raised:
			want = append(want, Alarm{State: "raised", Value: fmt.Sprint(p)})
			raised = true
		case p < 0 && raised:
			want = append(want, Alarm{State: "cleared", Value: fmt.Sprint(p)})
			raised = false
		}
	}
	got := y.sorted()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("alarm %v is missing, and %d more", want[i], len(want)-i-1)
			return
		case i >= len(want):
			t.Errorf("alarm %v is too many, and %d more", got[i], len(got)-i-1)
			return
		case got[i].State != want[i].State || got[i].Value != want[i].Value:
			t.Errorf("alarm %d: got %v, want %v", i+1, got[i], want[i])
			return
		}
	}
}

// Alternate fails the test where an alarm came twice, or two of a kind one after the other.
func (y *Tally) Alternate(t testing.TB) {
	t.Helper()
	seen := map[string]bool{}
	state := "cleared"
	for _, a := range y.sorted() {
		if seen[a.State+a.Value] {
			t.Errorf("alarm %v came twice", a)
		}
		if a.State == state {
			t.Errorf("alarm %v follows another that is %s", a, state)
		}
		seen[a.State+a.Value], state = true, a.State
	}
}

func (y *Tally) sorted() []Alarm {
	got := slices.Clone(y.Alarms)
	slices.SortStableFunc(got, func(a, b Alarm) int { return int(int64(a.Seq) - int64(b.Seq)) })
	return got
}
