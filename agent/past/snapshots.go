package past

import (
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate/rules"
)

// snapshots says what the snapshots of a rule have and gave out, for people; wall and boot are what the clock says now.
func snapshots(x *rules.Stand, wall time.Time, boot time.Duration) (out []string) {
	at := func(t time.Duration) string { return wall.Add(t - boot).Local().Format(time.TimeOnly) }
	for i := range x.Snapshots {
		s := &x.Snapshots[i]
		text := fmt.Sprintf("%s; it has %d readings that filters took since %s", s.String(), s.Readings, at(s.Reach))
		if s.Cut {
			text += ", and no room for older ones"
		}
		if s.Until >= boot {
			text += "; all go on until " + at(s.Until)
		}
		if g := s.Last; g.At > 0 {
			text += fmt.Sprintf("; at %s it gave out %d", at(g.At), g.Readings)
			if short := g.Reach - (g.At - s.Before); short > 0 {
				text += " since " + at(g.Reach)
			}
			if g.Cut {
				text += ", as there was no room for older ones"
			}
		}
		out = append(out, text)
	}
	return out
}
