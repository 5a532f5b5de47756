package forward

import (
	"github.com/tidegate-io/tidegate/sync/forward/uplink"
)

// The words shared with the uplinks; see package uplink, which an uplink imports instead of this one.
type (
	// Lane is one of the streams in which batches go up; order is kept within each.
	Lane = uplink.Lane
	// Batch is a run of records, encoded, on its way to the far side.
	Batch = uplink.Batch
	// Confirmation says what the far side has.
	Confirmation = uplink.Confirmation
	// Uplink is one connection to one far side.
	Uplink = uplink.Uplink
)

// The lanes.
const (
	LaneData     = uplink.LaneData     // live readings
	LaneBackfill = uplink.LaneBackfill // readings older than 60 s when sent
	LaneAlarm    = uplink.LaneAlarm    // alarms
	LaneAudit    = uplink.LaneAudit    // gaps, conditions
)

// ErrRefused is wrapped by errors that mean "never again"; see uplink.ErrRefused.
var ErrRefused = uplink.ErrRefused
