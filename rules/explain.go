package rules

import (
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate/rules/hold"
	"github.com/tidegate-io/tidegate/rules/lang"
)

// Fingerprint tells what a rule watches from what others do: its name, `when`, `for` and `clear`.
func (r Rule) Fingerprint() uint32 {
	when, clear := "", ""
	if r.When != nil {
		when = r.When.Identity()
	}
	if r.Clear != nil {
		clear = r.Clear.Identity()
	}
	return textMark(fmt.Sprintf("%s\x00%s\x00%d\x00%s", r.Name, when, r.For, clear))
}

// Fingerprints returns those of the rules, in their order.
func (s *Set) Fingerprints() []uint32 {
	out := make([]uint32, len(s.rules))
	for i, r := range s.rules {
		out[i] = r.Fingerprint()
	}
	return out
}

// Start returns the boot time from which on s looks, as New was given it.
func (s *Set) Start() time.Duration { return s.begun }

// A Part is a channel or a call of a condition, and what it is.
type Part = lang.Shown

// A Stand says how one rule stands and why, for people. Times are boot times.
type Stand struct {
	Status
	Rule Rule
	Now  time.Duration // as of when: s has not looked any later
	// Looked: s has looked since it was made; else nothing is said of the conditions.
	Looked bool
	Since  time.Duration // pending: since when `when` holds; active: since when the rule is, where SinceKnown
	// SinceKnown: Since is known. When an active rule became active is not known any more where the gateway was started since.
	SinceKnown bool
	Blind      bool          // pending, but a reading has to come first: the gateway was started anew, or a channel has failed meanwhile
	Spent      bool          // idle, though `when` holds: `clear` ended it, and `when` must be seen not to hold first
	Next       time.Duration // when time alone has it looked at again; 0 = not at all
	When       lang.Verdict  // what `when` says now; unknown where there is none
	Clear      lang.Verdict  // what `clear` says now; unknown where there is none
	Parts      []Part        // channels and calls of `when`, and what they are now
	ClearParts []Part        // those of `clear`
	Snapshots  []hold.Stand  // in their order
}

// Explain returns how the rule called name stands; ok is false where there is none. It changes nothing of what s will do.
func (s *Set) Explain(name string) (x Stand, ok bool) {
	r := s.byName[name]
	if r == nil {
		return x, false
	}
	x = Stand{Rule: r.Rule, Now: s.now, Looked: s.now >= s.begun, Spent: r.phase == idle && r.isHeld, Blind: r.phase == pending && r.isBlind}
	x.Status = r.status()
	switch r.phase {
	case pending:
		x.Since, x.SinceKnown = r.since, true
	case active:
		x.Since, x.SinceKnown = r.turned, r.turned > 0
	}
	if r.heap >= 0 {
		x.Next = r.due
	}
	if r.parked == "" && x.Looked {
		if r.when != nil {
			x.When = s.test(r.when)
		}
		if r.clear != nil {
			x.Clear = s.test(r.clear)
		}
		x.Parts, x.ClearParts = s.show(r, s.now)
	}
	for _, v := range r.views {
		x.Snapshots = append(x.Snapshots, v.Stand(s.now))
	}
	return x, true
}
