// Package uplink holds the words that the forwarder and its uplinks share. It stands alone so that a transport (sync/mqtt), and with
// it the far end, needs nothing of the queue.
package uplink

import (
	"context"
	"errors"

	"github.com/tidegate-io/tidegate"
)

// ErrRefused is wrapped by errors that mean "never again": the far side refuses this batch for what it is. The forwarder isolates
// the record and sets it aside. Any other error means "later".
var ErrRefused = errors.New("refused")

// A Lane is one of the streams in which batches go up; order is kept within each. The profile maps it to a topic.
type Lane uint8

// The lanes.
const (
	LaneData     Lane = iota // live readings
	LaneBackfill             // readings older than 60 s when sent
	LaneAlarm                // alarms
	LaneAudit                // gaps, conditions
)

// Lanes is how many lanes there are.
const Lanes = 4

// String returns the lane's word: "data", "backfill", "alarm" or "audit".
func (l Lane) String() string {
	switch l {
	case LaneData:
		return "data"
	case LaneBackfill:
		return "backfill"
	case LaneAlarm:
		return "alarm"
	case LaneAudit:
		return "audit"
	}
	return "unknown lane"
}

// A Batch is a run of records, encoded, on its way to the far side.
type Batch struct {
	ID      uint64          // names the batch to Confirmed; 1 and up, unique within one Uplink
	Lane    Lane            //
	Epoch   string          // of its records
	Records tidegate.Ranges // what is confirmed when it is confirmed, records that are skipped for this uplink included
	Count   int             // readings in it
	Payload []byte          // encoded and compressed; belongs to the Uplink from Send on
}

// A Confirmation says what the far side has.
type Confirmation struct {
	Batch   uint64          // ID of a batch that was acknowledged by the next hop; 0 = this is a receipt
	Epoch   string          // receipt: of which epoch
	Upto    uint64          // receipt: the far side has everything up to here ...
	Holes   tidegate.Ranges // ... but these
	Missing bool            // receipt: the far side knows nothing of the epoch
}

// An Uplink is one connection to one far side. The first error of any method but ErrRefused ends it: Close it and open another.
// It is used by one goroutine.
type Uplink interface {
	// Send hands b over and returns once it is on its way; it may wait for room in the transport, until ctx is done. An error
	// wrapping ErrRefused means that b as such will never be taken and the connection still serves.
	Send(ctx context.Context, b Batch) error
	// Confirmed waits until there is something confirmed, wake is signalled or ctx is done, whichever is first; in the latter two
	// cases it returns nothing and no error. What is confirmed already comes before wake, ctx and any error. An error means that
	// the connection is gone: nothing in flight is confirmed by it.
	Confirmed(ctx context.Context, wake <-chan struct{}) ([]Confirmation, error)
	// Close ends the connection, in an orderly way where it can within a second.
	Close() error
}
