package agent

import (
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate/buffer/wear"
)

// cardStatus says what the card must be spared, and whether it is wearing out.
func (a *Agent) cardStatus(c *wear.State) {
	done := fmt.Sprintf("commits are %v apart", c.Pace.Sync)
	switch {
	case c.Pace.Drop:
		done = "readings are dropped and declared, alarms are not"
	case c.Pace.Thin > 0:
		done += fmt.Sprintf(", of each channel one reading in %v is kept", c.Pace.Thin)
	}
	a.board.set("card_wear", "", c.Pace != wear.Pace{}, fmt.Sprintf(
		"%d bytes in the last 24 hours, %d a day at the rate of the last quarter of an hour, limit %d: %s", c.LastDay, c.Projected, c.Limit, done))
	ms := func(d time.Duration) time.Duration { return d.Round(100 * time.Microsecond) }
	t := &c.Trend
	a.board.set("card_slow", "", t.Slow, fmt.Sprintf("a commit takes %v, one in a hundred %v; before it was %v and %v", ms(t.Median), ms(t.P99), ms(t.UsualMedian), ms(t.UsualP99)))
}
