// Package status is what a gateway says of itself at one time: one snapshot, shown as page, over the socket, over MQTT and as
// metrics. The JSON names are part of the outside contract.
package status

import (
	"encoding/json"
	"time"
)

// A Status is one snapshot of a gateway.
type Status struct {
	Gateway         string            `json:"gateway"`
	Labels          map[string]string `json:"labels,omitempty"`
	Epoch           string            `json:"epoch"`
	Version         string            `json:"version"`
	UptimeS         float64           `json:"uptime_s"`
	Time            time.Time         `json:"time"`
	Clock           Clock             `json:"clock"`
	Link            Link              `json:"link"`
	Queue           Queue             `json:"queue"`
	Delivered       Delivered         `json:"delivered"`
	NextRecord      uint64            `json:"next_record"`
	ConfirmedRecord uint64            `json:"confirmed_record"`
	Devices         []Device          `json:"devices"`
	Rules           []Rule            `json:"rules"`
	RulesLate       uint64            `json:"rules_late"` // readings of this process that were older than the newest of their channel: rules did not look at them
	Judged          uint64            `json:"judged"`     // readings of this process that went by the rules, whether one looks at them or not
	Conditions      []Condition       `json:"conditions"`
	Update          Update            `json:"update"`
	Account         Account           `json:"account"`
	Uplinks         []Uplink          `json:"uplinks"`
}

// Clock says how far the gateway's time can be trusted.
type Clock struct {
	Synced  bool    `json:"synced"`
	Source  string  `json:"source"`   // "kernel" (adjtimex), "none"
	OffsetS float64 `json:"offset_s"` // the kernel's estimate; 0 when it is not synchronised
}

// Time is a time that is null in JSON where it never was: the key is always there.
type Time struct{ time.Time }

// MarshalJSON is json.Marshaler: RFC 3339, or null.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return t.Time.MarshalJSON()
}

// Link is the state of the first uplink.
type Link struct {
	State     string `json:"state"` // "up" or "down"
	Since     Time   `json:"since"` // null for a gateway that does not run
	Endpoint  string `json:"endpoint"`
	LastError string `json:"last_error"`
}

// Queue is what the first uplink has still to get, what it never will, and what is stored beside.
type Queue struct {
	Records    uint64  `json:"records"`
	Readings   uint64  `json:"readings"`
	Bytes      int64   `json:"bytes"` // of records; estimated from the mean of each segment
	DiskBytes  int64   `json:"disk_bytes"`
	OldestAgeS float64 `json:"oldest_age_s"`
	Rejected   uint64  `json:"rejected"` // readings
	Dropped    uint64  `json:"dropped"`  // readings, declared as gaps
	Thinned    uint64  `json:"thinned"`  // readings for which summaries stand, as there was no room
	Gaps       uint64  `json:"gaps"`
	LimitBytes int64   `json:"limit_bytes"`
	KeptBytes  int64   `json:"kept_bytes"` // of what is stored beside: delivered and kept for a while, or set aside
	Memory     bool    `json:"memory"`     // it is kept in memory, as no disk can be written; disk_bytes are bytes of memory then
	Scrub      Scrub   `json:"scrub"`
	Keys       []Key   `json:"keys,omitempty"` // what is sealed with which key; none where nothing is
	// What the process wrote to disk in the last 24 hours of boot time, what a day at the rate of the last quarter of an hour comes to, and what it may be; 0 =
	// not known yet, no limit.
	WrittenPerDayBytes    int64 `json:"written_per_day_bytes"`
	WrittenProjectedBytes int64 `json:"written_projected_bytes"`
	WrittenLimitBytes     int64 `json:"written_limit_bytes"`
	// Commits of the day under way.
	CommitP50S float64 `json:"commit_p50_s"`
	CommitP99S float64 `json:"commit_p99_s"`
}

// A Key is what the store holds that is sealed with one key.
type Key struct {
	ID       string `json:"id"`       // its name, 8 hexadecimal digits, never the key; "" = what lies there in the clear
	Seals    bool   `json:"seals"`    // what is written is sealed with it; false = it only opens
	Frames   uint64 `json:"frames"`   // 0 for what lies there in the clear
	Records  uint64 `json:"records"`  // of the frames
	Readings uint64 `json:"readings"` // of the frames
	Rules    int    `json:"rules"`    // what so many rules keep
	Rejected int    `json:"rejected"` // runs of records that are set aside
}

// Sealed is how many frames a Check found that are sealed with a key.
type Sealed struct {
	Key    string `json:"key"`
	Frames uint64 `json:"frames"`
}

// Scrub is how the verification of all that is stored gets on, which takes about a day.
type Scrub struct {
	Segments    int        `json:"segments"`     // verified in this pass
	Of          int        `json:"of"`           // segments there are
	Bytes       int64      `json:"bytes"`        // verified in this pass
	Damaged     uint64     `json:"damaged"`      // records found damaged in this pass; they are declared
	Failed      int        `json:"failed"`       // segments that could not be read at all in this pass
	LastEnd     *time.Time `json:"last_end"`     // of the pass before; null = none has ended since the gateway started
	LastDamaged uint64     `json:"last_damaged"` // of the pass before
}

// Delivered is what the first uplink's far side has confirmed since the state directory was made.
type Delivered struct {
	Records  uint64 `json:"records"`
	Readings uint64 `json:"readings"`
	Bytes    uint64 `json:"bytes"` // payload bytes sent by this process
}

// Device is the state of one device.
type Device struct {
	Name      string  `json:"name"`
	Driver    string  `json:"driver"`
	State     string  `json:"state"`     // "ok", "fault" or "off"
	LastRead  Time    `json:"last_read"` // null before the first
	Reads     uint64  `json:"reads"`
	Readings  uint64  `json:"readings"`
	Faults    uint64  `json:"faults"`
	LastError string  `json:"last_error"`
	EveryS    float64 `json:"every_s"`              // interval between its Reads now; 0 = it reports when it has something to say, or is not read
	EveryRule string  `json:"every_rule,omitempty"` // the rule that asks for that interval; "" = it is the device's own
	Hung      int     `json:"hung,omitempty"`       // calls of the driver that do not return, and cannot be ended
	Values    []Value `json:"values,omitempty"`
}

// Output is what became of an output that was set by hand: number, true or false, or text.
type Output struct {
	Channel  string          `json:"channel"` // device.channel
	Value    json.RawMessage `json:"value"`
	ReadBack json.RawMessage `json:"read_back"` // what the device reports of it since; null = nothing, Why says why
	Agrees   bool            `json:"agrees"`    // it reports the same
	Why      string          `json:"why,omitempty"`
}

// Value is the newest reading of one channel.
type Value struct {
	Channel string    `json:"channel"`
	Value   string    `json:"value"`
	Unit    string    `json:"unit,omitempty"`
	Fault   string    `json:"fault,omitempty"`
	Time    time.Time `json:"time"`
}

// Rule is the state of one rule.
type Rule struct {
	Name     string `json:"name"`
	Active   bool   `json:"active"`
	Pending  bool   `json:"pending,omitempty"` // its condition holds, but not yet for long enough
	Fired    uint64 `json:"fired"`
	Severity string `json:"severity,omitempty"` // of its alarm, while it is active: info, warning or error
	Text     string `json:"text,omitempty"`     // of its alarm, while it is active
}

// State returns how r stands, in a word: active, pending or idle.
func (r *Rule) State() string {
	switch {
	case r.Active:
		return "active"
	case r.Pending:
		return "pending"
	}
	return "idle"
}

// Condition is something that somebody should know or mend.
type Condition struct {
	Code     string    `json:"code"`
	Severity string    `json:"severity"` // "info", "warning" or "error"
	Title    string    `json:"title"`
	Remedy   string    `json:"remedy"`
	Detail   string    `json:"detail,omitempty"`
	Since    time.Time `json:"since"`
}

// Update is the state of releases and slots.
type Update struct {
	Slot       string `json:"slot"`
	Version    string `json:"version"`
	Trial      bool   `json:"trial"`
	LastResult string `json:"last_result"`      // "kept v1.4.0", "failed v1.4.0: device-lost"; "" = there was no trial yet
	Staged     string `json:"staged,omitempty"` // version that is there to be started
	LastLook   Time   `json:"last_look"`        // for releases; null before the first
	Reason     string `json:"reason,omitempty"` // why the last look took nothing, where something was wrong
}

// Account is where all readings of devices went, and those that rules derived, for the first uplink: produced + derived = delivered +
// buffered + rejected + dropped_declared + filtered + thinned + routed.
type Account struct {
	Produced        uint64 `json:"produced"`
	Derived         uint64 `json:"derived"`  // worked out by rules, or in the place of what was thinned out, beside what was produced
	Filtered        uint64 `json:"filtered"` // kept from going further by rules
	Thinned         uint64 `json:"thinned"`  // others stand for them: by rules, or as the buffer was full
	Routed          uint64 `json:"routed"`   // sent to another uplink only, or kept on the gateway, by rules
	Delivered       uint64 `json:"delivered"`
	Buffered        uint64 `json:"buffered"`
	Rejected        uint64 `json:"rejected"`
	DroppedDeclared uint64 `json:"dropped_declared"`
	Lost            int64  `json:"lost"` // what is left over; other than 0 is a defect
}

// Uplink is the state and the account of one uplink.
type Uplink struct {
	Name    string  `json:"name"`
	Link    Link    `json:"link"`
	Account Account `json:"account"`
	Batches uint64  `json:"batches"`
	Resends uint64  `json:"resends"`
	Bytes   uint64  `json:"bytes"`
}

// A Segment is one group of stored frames, which is dropped as a whole.
type Segment struct {
	Name     string    `json:"name"` // class/epoch/number
	First    uint64    `json:"first"`
	Last     uint64    `json:"last"`
	Records  uint64    `json:"records"`
	Readings uint64    `json:"readings"`
	Bytes    int64     `json:"bytes"`
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	Dropping bool      `json:"dropping,omitempty"`
}

// A Check is the result of reading everything that is stored.
type Check struct {
	Segments int      `json:"segments"`
	Frames   uint64   `json:"frames"`
	Records  uint64   `json:"records"`
	Readings uint64   `json:"readings"`
	Bytes    int64    `json:"bytes"`
	Sealed   []Sealed `json:"sealed,omitempty"`
	Faults   []string `json:"faults"` // what is damaged or missing; at most 100
	Account  Account  `json:"account"`
}

// Worst returns the highest severity among the conditions: "", "info", "warning" or "error".
func (s *Status) Worst() string {
	worst := ""
	rank := map[string]int{"": 0, "info": 1, "warning": 2, "error": 3}
	for _, c := range s.Conditions {
		if rank[c.Severity] > rank[worst] {
			worst = c.Severity
		}
	}
	return worst
}
