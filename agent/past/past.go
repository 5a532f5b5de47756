// Package past says what rules would have done with the readings that a gateway has stored, and what the armed ones did. The judge and a
// replay go the same way through a record (Judge), and where rules began anew is kept with their state (Start).
package past

import (
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules"
)

// Grace is how far rules lag behind the clock where nothing is read: a Read that ended before something was due, and is on its way to the
// judge by then, is judged before it.
const Grace = 250 * time.Millisecond

// Judge lets set judge rec, calls f with what came of it, first of the time that passed before, then of rec, and returns the readings that
// remain. What an Outcome holds belongs to f until it returns. What was due more than Grace before the end of a Read has happened before the Read, whatever
// times its readings have of their own, and however late the judge comes to it: so the records alone, in their order, say what rules do.
func Judge(set *rules.Set, rec *tidegate.Record, f func(out rules.Outcome)) []tidegate.Reading {
	if rec.Class == tidegate.ClassReading {
		if out, ok := Elapse(set, rec); ok {
			f(out)
		}
	}
	out := set.Apply(rec)
	f(out)
	return out.Readings
}

// Elapse lets time pass for set up to Grace before the time of at, where something was due by then; else ok is false.
func Elapse(set *rules.Set, at *tidegate.Record) (out rules.Outcome, ok bool) {
	due, ok := set.Next()
	if !ok || due+Grace > at.Boot {
		return out, false
	}
	wall := at.Time.Add(-Grace)
	if at.Quality == tidegate.TimeRelative {
		wall = time.Time{}
	}
	return set.Advance(at.Boot-Grace, wall), true
}

// When returns what an alarm of rules that judged a record which ended at boot time boot has for its time: wall is the record's.
func When(a *rules.Alarm, wall time.Time, boot time.Duration) (time.Time, time.Duration) {
	early := max(boot-a.Boot, 0)
	return wall.Add(-early), boot - early
}
