package pace

import (
	"math/rand/v2"
	"time"
)

// Bounds of the pause between two connections.
const (
	minBackoff  = time.Second
	maxBackoff  = 2 * time.Minute
	stableAfter = 60 * time.Second // a connection that was good for this long starts it over
)

// Backoff says how long to wait before the next connection: a random time between a second and a bound that doubles from two
// seconds to two minutes, so that many gateways that lost one broker do not come back at once. A connection that was good for a
// minute starts it over; one that brought something through before it ended sets it back to eight seconds at most.
type Backoff struct {
	tries int
}

// servedTries is what a connection that brought something through leaves of the tries before it.
const servedTries = 2

// Next returns the pause after a connection that was good for so long, since it was open; 0 = not at all: it could not be opened, or
// ended because nothing came back on it. served says that it brought something through.
func (b *Backoff) Next(good time.Duration, served bool) time.Duration {
	if served {
		b.tries = min(b.tries, servedTries)
	}
	if good >= stableAfter {
		b.tries = 0
	}
	bound := maxBackoff
	if b.tries < 6 {
		bound = min(bound, 2*minBackoff<<b.tries)
	}
	b.tries++
	return minBackoff + time.Duration(rand.Int64N(int64(bound-minBackoff)+1))
}
