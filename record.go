package tidegate

import (
	"fmt"
	"time"
)

// Class says what kind of thing a record is; it decides what is sent first and what retention drops first.
// The numbers are part of the stored format and never change.
type Class uint8

// The classes.
const (
	ClassReading Class = 1 // what devices report
	ClassAlarm   Class = 2 // raised or cleared by a rule: committed at once, sent first
	ClassAudit   Class = 3 // what the gateway says of itself: gaps, changes of condition
	ClassDebug   Class = 4 // kept only while there is room to spare
)

// String returns the class's word: "reading", "alarm", "audit" or "debug".
func (c Class) String() string {
	switch c {
	case ClassReading:
		return "reading"
	case ClassAlarm:
		return "alarm"
	case ClassAudit:
		return "audit"
	case ClassDebug:
		return "debug"
	}
	return fmt.Sprintf("class(%d)", uint8(c))
}

// TimeQuality says how far a record's time can be trusted. The numbers are part of the stored format.
type TimeQuality uint8

// The time qualities.
const (
	TimeSynced    TimeQuality = 0 // the clock was synchronised when the record was taken
	TimeCorrected TimeQuality = 1 // it was not, and the time was corrected afterwards
	TimeEstimated TimeQuality = 2 // it was not, and the time is the best guess
	TimeRelative  TimeQuality = 3 // only the distance to other records of the same boot is known
)

// String returns the quality as it goes on the wire: "" for synchronised, else "corrected", "estimated" or "relative".
func (q TimeQuality) String() string {
	switch q {
	case TimeCorrected:
		return "corrected"
	case TimeEstimated:
		return "estimated"
	case TimeRelative:
		return "relative"
	}
	return ""
}

// MaxReadings is how many readings one record holds at most; a longer Read is cut into several records.
const MaxReadings = 1000

// A Record is what one Read of one device returned, of one class. (gateway, epoch, Number) is its identity for ever.
type Record struct {
	Number   uint64        // 1 and up; 0 = not numbered yet
	Class    Class         //
	Time     time.Time     // when the Read returned, to the microsecond
	Quality  TimeQuality   // of Time
	Boot     time.Duration // CLOCK_BOOTTIME at Time, to the microsecond; what a later correction of Time starts from; see IsRestored
	For      string        // name of the only uplink it is meant for; "" = all
	Labels   string        // what rules add to its readings: as Labels.String writes them; "" = none
	Readings []Reading     // 1 to MaxReadings; a Reading's Time is zero where it equals the record's
}

// IsRestored reports whether r holds readings that filters took and a snapshot gave out afterwards, which rules have judged before. Its Boot is minus
// that of the record that led to it.
func (r *Record) IsRestored() bool { return r.Boot < 0 }

// Gap declares records of one epoch that no one will deliver: the numbers From to To, both inclusive.
// Count is how many readings are known to be lost in them; where that is not known exactly it is 0 and AtMost bounds it.
type Gap struct {
	From   uint64 `json:"from"`
	To     uint64 `json:"to"`
	Count  int64  `json:"count"`
	AtMost int64  `json:"at_most"`
	Cause  string `json:"cause"`        // one of the Cause constants
	T0     int64  `json:"t0"`           // earliest time the gap can have begun, Unix milliseconds; 0 = unknown
	T1     int64  `json:"t1"`           // latest time it can have ended, Unix milliseconds; 0 = unknown
	Epoch  string `json:"ep,omitempty"` // the epoch it speaks of, when it is not the epoch of the record that carries it
}

// Causes of gaps.
const (
	CausePowerCut = "power_cut" // numbers leased but perhaps never used before the gateway stopped without warning
	CauseOverflow = "overflow"  // the buffer was full; the oldest was dropped, or where the class says so, the newest
	CauseThinned  = "thinned"   // the buffer was full; records that bear SummaryLabel stand for them
	CauseExpired  = "expired"   // older than the buffer is to keep
	CauseRingFull = "ring_full" // the disk did not take records in time, or was to be spared; the newest were dropped
	CauseRejected = "rejected"  // refused by the far side for good, and set aside with the reason
	CauseDamaged  = "damaged"   // found unreadable on disk
	CauseRestored = "restored"  // the state directory is older than the numbers already given
)

// CauseRequeued is the cause of what is no gap: the numbers were declared with CauseRejected, and are sent again.
const CauseRequeued = "requeued"

// GapChannel is the channel of device GatewayDevice whose readings carry a Gap as JSON text.
const GapChannel = "gap"

// RequeuedChannel is the channel of device GatewayDevice whose readings take back a Gap, as JSON text: its Cause is CauseRequeued.
const RequeuedChannel = "requeued"

// GatewayDevice is the device name under which the gateway speaks of itself. No configured device can have it.
const GatewayDevice = "_gateway"
