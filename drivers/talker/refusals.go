package talker

import (
	"fmt"
	"time"
)

// Refusals are told one by one as long as there are no more than burst in a row; further ones at most one in each spacing.
const (
	burst   = 10
	spacing = time.Second
)

// refusals keeps the account of what was not used: each refusal is counted once, and stands in exactly one report.
type refusals struct {
	untold int64 // not yet reported
	last   Refusal
	credit int // reports that may be given at once
	filled time.Time
}

// add takes up one refusal.
func (r *refusals) add(bad Refusal) {
	r.untold++
	r.last = bad
}

// due reports whether there is something to report and it may be reported at now.
func (r *refusals) due(now time.Time) bool {
	if r.untold == 0 {
		return false
	}
	if r.filled.IsZero() {
		r.credit, r.filled = burst, now
	}
	if n := now.Sub(r.filled) / spacing; n > 0 {
		r.credit = int(min(int64(r.credit)+int64(n), burst))
		r.filled = r.filled.Add(n * spacing)
	}
	return r.credit > 0
}

// report returns the text for what was not reported yet.
func (r *refusals) report() string {
	text := string(r.last)
	if r.untold > 1 {
		text = fmt.Sprintf("%s (the last of %d refused since the previous report)", text, r.untold)
	}
	r.untold = 0
	r.credit--
	return text
}
