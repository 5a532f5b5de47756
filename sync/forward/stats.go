package forward

import (
	"sync"
	"time"
)

// Counts are what went by.
type Counts struct {
	Batches  uint64
	Records  uint64
	Readings uint64
	Bytes    uint64 // of payloads
}

func (c *Counts) add(d Counts) {
	c.Batches += d.Batches
	c.Records += d.Records
	c.Readings += d.Readings
	c.Bytes += d.Bytes
}

// Stats are a Forwarder's figures since it was made.
type Stats struct {
	Up        bool      // a connection is open
	Since     time.Time // when Up last changed
	Connects  uint64    // connections opened; all but the first are reconnects
	LastError string    // why the last connection ended or could not be opened; "" = none did
	LastFault time.Time // when that was

	Sent      Counts // handed to the uplink, what was sent again included
	Confirmed Counts // settled by the far side
	Resent    uint64 // records that were handed over again after they had been before
	Refused   uint64 // records set aside because they were refused, could not be encoded, or ended connections
	HeldBack  uint64 // times a record was held back because connections ended after it; it may come after its successors
	Skipped   uint64 // records not meant for this uplink

	InFlight      int       // batches handed over and not settled
	OldestUnacked time.Time // when the oldest of them was handed over; zero = none
	BytesPerS     float64   // what the link took lately, payload bytes per second; 0 = not known yet
}

// stats guards Stats.
type stats struct {
	mu sync.Mutex
	s  Stats
}

// Stats returns a copy of the figures. It may be called at any time from any goroutine.
func (f *Forwarder) Stats() Stats {
	f.stats.mu.Lock()
	defer f.stats.mu.Unlock()
	return f.stats.s
}

func (s *stats) update(change func(s *Stats)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.s)
}

func (s *stats) up() {
	s.update(func(s *Stats) {
		s.Up, s.Since = true, time.Now()
		s.Connects++
	})
}

// down notes the end of a connection, or that none could be opened; err nil means that it was meant to end.
func (s *stats) down(err error) {
	s.update(func(s *Stats) {
		if s.Up {
			s.Up, s.Since = false, time.Now()
		}
		s.InFlight, s.OldestUnacked = 0, time.Time{}
		if err != nil {
			s.LastError, s.LastFault = err.Error(), time.Now()
		}
	})
}
