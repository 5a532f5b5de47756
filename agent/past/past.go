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
// remain. An Outcome belongs to f until it returns. What was due more than Grace before the end of a Read has happened before the Read, whatever times its readings have of their
// own, and however late the judge comes to it: so the records alone, in their order, say what rules do.
func Judge(set *rules.Set, rec *tidegate.Record, f func(out *rules.Outcome)) []tidegate.Reading {
	if due, ok := set.Next(); ok && rec.Class == tidegate.ClassReading && due+Grace <= rec.Boot {
		wall := rec.Time.Add(-Grace)
		if rec.Quality == tidegate.TimeRelative {
			wall = time.Time{}
		}
		out := set.Advance(rec.Boot-Grace, wall)
		f(&out)
	}
	out := set.Apply(rec)
	f(&out)
	return out.Readings
}

// When returns what an alarm of rules that judged a record which ended at boot time boot has for its time: wall is the record's.
func When(a *rules.Alarm, wall time.Time, boot time.Duration) (time.Time, time.Duration) {
	early := max(boot-a.Boot, 0)
	return wall.Add(-early), boot - early
}
