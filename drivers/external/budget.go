package external

import (
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate"
)

const (
	// perTime is what `starts` are counted in.
	perTime = time.Hour
	// Bounds of the pause before the next start; it doubles with each start that brought nothing.
	firstPause = time.Second
	mostPause  = 5 * time.Minute
)

// A budget says when the program may be started.
type budget struct {
	most   int         // starts within perTime
	starts []time.Time // those within perTime
	idle   int         // starts in a row that brought no reading
	due    time.Time   // not before
}

// started notes a start at now.
func (b *budget) started(now time.Time) {
	if len(b.starts) == b.most {
		b.starts = b.starts[:copy(b.starts, b.starts[1:])]
	}
	b.starts = append(b.starts, now)
}

// ended notes the end at now of a program that has brought readings or not.
func (b *budget) ended(now time.Time, spoke bool) {
	if spoke {
		b.idle = 0
	}
	b.due = now.Add(min(firstPause<<min(b.idle, 20), mostPause))
	b.idle++
}

// next returns when the next start is due; isSpent = it is late because there were too many.
func (b *budget) next() (due time.Time, isSpent bool) {
	if len(b.starts) == b.most {
		if t := b.starts[0].Add(perTime); t.After(b.due) {
			return t, true
		}
	}
	return b.due, false
}

// reset forgets all: the program is another.
func (b *budget) reset() { b.starts, b.idle, b.due = b.starts[:0], 0, time.Time{} }

// spacing is the least time between two reports of lines that were refused.
const spacing = time.Second

// A tally keeps the account of lines that were refused: each is counted once, and stands in exactly one report.
type tally struct {
	untold int64  // not yet reported
	last   string // why, of the last one
	told   time.Time
}

func (t *tally) add(bad string) {
	t.untold++
	t.last = bad
}

// due reports whether there is something to report and it may be reported at now.
func (t *tally) due(now time.Time) bool { return t.untold > 0 && now.Sub(t.told) >= spacing }

// report returns what was not reported yet.
func (t *tally) report(now time.Time) tidegate.Reading {
	text := "line " + t.last
	if t.untold > 1 {
		text = fmt.Sprintf("%s (the last of %d refused since the previous report)", text, t.untold)
	}
	t.untold, t.told = 0, now
	return tidegate.Reading{Channel: chanFault, Fault: text}
}
