package pace

import (
	"math/rand/v2"
	"time"
)

// Bounds of the pause between two connections.
const (
	minBackoff  = time.Second
	maxBackoff  = 2 * time.Minute
	stableAfter = 60 * time.Second // a connection that lasted this long starts it over
)

// Backoff says how long to wait before the next connection: a random time between a second and a bound that doubles from two
// seconds to two minutes, so that many gateways that lost one broker do not come back at once. A connection that lasted a minute
// starts it over.
type Backoff struct {
	tries int
}

// Next returns the pause after a connection that lasted so long (opening it included).
func (b *Backoff) Next(lasted time.Duration) time.Duration {
	if lasted >= stableAfter {
		b.tries = 0
	}
	bound := maxBackoff
	if b.tries < 6 {
		bound = min(bound, 2*minBackoff<<b.tries)
	}
	b.tries++
	return minBackoff + time.Duration(rand.Int64N(int64(bound-minBackoff)+1))
}
