// Package pace says how much may be in flight, whose turn it is on a shared link, and how long to wait before the next connection.
// It is arithmetic: no clock but the times it is given, no I/O.
package pace

import (
	"time"

	"github.com/tidegate-io/tidegate/sync/forward/uplink"
)

// Bounds of what is in flight.
const (
	maxInFlight      = 64               // batches not acknowledged
	maxInFlightBytes = 1 << 20          // their payload bytes
	maxAwaited       = 256              // batches without a receipt
	maxAwaitedBytes  = 4 << 20          // their payload bytes
	horizon          = 5 * time.Second  // of the measured rate
	smallWindow      = 16 << 10         // payload bytes for which it is ...
	smallHorizon     = 15 * time.Second // ... that long: half of what may pass without an acknowledgement
	minBatch         = 1 << 10          // bytes of payload that a batch may have, however slow the link seems
	rateWindow       = 10 * time.Second // how long the best rate counts
)

// A Window bounds what is in flight on one connection. It begins with one batch and opens by one with each acknowledgement, up to 64
// batches and 1 MiB, and never beyond what the link was seen to take in 5 s, or 15 s where that is less than 16 KiB: else a far side that
// answers after 6 s would be taken for a slow link, and what it takes in 5 s be less with each round. The rate is the best of the last 10 to 20 s of
// bytes acknowledged from sending a batch to its acknowledgement, so time in which there was nothing to send does not count much.
type Window struct {
	batches int // how many may be unacknowledged
	awaited int // how many may be without a receipt
	unacked int // how many are unacknowledged
	bytes   int // their payload bytes

	unsettled      int // handed over and not settled; more than unacked only with receipts
	unsettledBytes int

	acked     int64 // bytes acknowledged since the connection began
	best      [2]float64
	bestBegan time.Time
}

// NewWindow returns the window of a connection that begins now. It lets two batches go before there is a receipt, since the first may
// be one that gets none, and so many more. rate is what the link took before, as Rate had it; it counts for 10 s.
func NewWindow(now time.Time, more int, rate float64) Window {
	return Window{batches: 1, awaited: 2 + more, bestBegan: now, best: [2]float64{1: rate}}
}

// Unacked returns how many batches are not acknowledged.
func (w *Window) Unacked() int { return w.unacked }

// Rate returns the payload bytes per second that the link takes; 0 = not known yet.
func (w *Window) Rate() float64 { return max(w.best[0], w.best[1]) }

// Limit returns how many payload bytes may be unacknowledged.
func (w *Window) Limit() int {
	r := w.Rate()
	if r <= 0 {
		return maxInFlightBytes
	}
	limit := max(r*horizon.Seconds(), min(r*smallHorizon.Seconds(), smallWindow), minBatch)
	return int(min(limit, maxInFlightBytes))
}

// Batch returns how many payload bytes a batch may have: no more than the link takes in 5 s.
func (w *Window) Batch() int {
	r := w.Rate()
	if r <= 0 {
		return maxInFlightBytes
	}
	return int(min(max(r*horizon.Seconds(), minBatch), maxInFlightBytes))
}

// Room reports whether a batch of about so many payload bytes may go; extra batches are allowed on top of the bounds.
func (w *Window) Room(bytes, extra int) bool {
	if w.unsettled >= min(w.awaited, maxAwaited)+extra || w.unsettled > 0 && w.unsettledBytes+bytes > maxAwaitedBytes {
		return false
	}
	if w.unacked == 0 {
		return true
	}
	if extra > 0 {
		return w.unacked < w.batches+extra
	}
	return w.unacked < w.batches && w.bytes+bytes <= w.Limit()
}

// Sent notes a batch handed over; it returns the mark that Acknowledged wants back.
func (w *Window) Sent(bytes int) (mark int64) {
	w.unacked++
	w.unsettled++
	w.bytes += bytes
	w.unsettledBytes += bytes
	return w.acked
}

// Acknowledged notes that the next hop has a batch that was sent at time at with this mark.
func (w *Window) Acknowledged(bytes int, mark int64, at, now time.Time) {
	w.unacked--
	w.bytes -= bytes
	w.acked += int64(bytes)
	w.batches = min(w.batches+1, maxInFlight)
	if now.Sub(w.bestBegan) >= rateWindow {
		w.best[1], w.best[0], w.bestBegan = w.best[0], 0, now
	}
	took := max(now.Sub(at), time.Microsecond)
	w.best[0] = max(w.best[0], float64(w.acked-mark)/took.Seconds())
}

// Settled notes that the far side has a batch.
func (w *Window) Settled(bytes int) {
	w.unsettled--
	w.unsettledBytes -= bytes
	w.awaited = min(w.awaited+1, maxAwaited)
}

// A Share divides the link between live readings and the backlog, 70 to 30 by payload bytes, while both have something to send.
type Share struct {
	credit int // bytes that the backlog may send before live readings are next
}

const (
	liveShare   = 7
	backShare   = 3
	creditBound = 256 << 10
)

// Backlog reports whether the backlog is next; called only while both lanes have something to send.
func (s *Share) Backlog() bool { return s.credit > 0 }

// Sent notes what a lane sent while the other one had something to send too; alone forgets the past.
func (s *Share) Sent(l uplink.Lane, bytes int, alone bool) {
	switch {
	case alone:
		s.credit = 0
	case l == uplink.LaneData:
		s.credit = min(s.credit+bytes*backShare, creditBound*liveShare)
	case l == uplink.LaneBackfill:
		s.credit = max(s.credit-bytes*liveShare, -creditBound*backShare)
	}
}
