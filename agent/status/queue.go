package status

import "time"

// An Export says which stored readings are handed out, and how.
type Export struct {
	Format  string    `json:"format"`            // "ndjson" or "csv"
	Uplink  string    `json:"uplink,omitempty"`  // whose state readings are given; "" = the first
	Class   string    `json:"class,omitempty"`   // reading, alarm, audit or debug; "" = all
	Device  string    `json:"device,omitempty"`  // "" = all
	Channel string    `json:"channel,omitempty"` // device.channel; "" = all
	From    uint64    `json:"from,omitempty"`    // lowest number of a record; 0 = 1
	To      uint64    `json:"to,omitempty"`      // highest; 0 = none
	Since   time.Time `json:"since,omitzero"`    // readings before are left out; zero = none
}

// Exported says what was handed out.
type Exported struct {
	Records    uint64 `json:"records"`
	Readings   uint64 `json:"readings"`
	Unreadable uint64 `json:"unreadable"` // records in frames that are damaged or gone
}

// Rejected is a run of records that the far side of an uplink refused for good, and that are set aside.
type Rejected struct {
	Uplink   string `json:"uplink"`
	Epoch    string `json:"epoch"`
	First    uint64 `json:"first"`
	Last     uint64 `json:"last"`
	Class    string `json:"class"`
	Records  uint64 `json:"records"`
	Readings uint64 `json:"readings"`
	From     Time   `json:"from"` // time of the first record; null where it cannot be decoded
	To       Time   `json:"to"`
	Why      string `json:"why"`
}

// RejectedList is what is set aside, by uplink and number; runs that follow each other and have the same reason are one.
type RejectedList struct {
	Rejected []Rejected `json:"rejected"`
	More     uint64     `json:"more,omitempty"` // runs beyond the 10,000 that are listed
}

// A Requeue says what of the records that are set aside goes to its uplink again.
type Requeue struct {
	Uplink string `json:"uplink,omitempty"` // "" = the only one that has something set aside
	Epoch  string `json:"epoch,omitempty"`  // "" = the only one that has
	From   uint64 `json:"from,omitempty"`   // lowest number; 0 = 1
	To     uint64 `json:"to,omitempty"`     // highest; 0 = none
	All    bool   `json:"all,omitempty"`    // of all epochs, whatever their numbers
}

// Requeued says what goes again.
type Requeued struct {
	Uplink   string   `json:"uplink"`
	Records  uint64   `json:"records"`
	Readings uint64   `json:"readings"`
	Stay     []string `json:"stay"` // what stays set aside, and why; at most 20
}
