package status

import "time"

// A Trial asks what rules would have done with what is stored.
type Trial struct {
	Since time.Time `json:"since"`           // of what happened before nothing is said
	Rules string    `json:"rules,omitempty"` // YAML: the rules to try, as in the configuration; "" = those of the configuration
	Name  string    `json:"name,omitempty"`  // of the file that they come from, for faults
}

// A Replay is what rules would have done with what is stored, beside what the armed ones did.
type Replay struct {
	From     Time         `json:"from"` // of the oldest reading that is stored; null = there is none
	To       Time         `json:"to"`   // of the newest
	Since    time.Time    `json:"since"`
	Records  uint64       `json:"records"`
	Readings uint64       `json:"readings"`
	Starts   uint64       `json:"starts"` // of the gateway, and changes of its rules, between From and To
	Notes    []string     `json:"notes"`  // why it is not exact; empty = it is
	Rules    []RuleReplay `json:"rules"`
}

// RuleReplay is what came of one rule.
type RuleReplay struct {
	Name    string   `json:"name"`
	Would   uint64   `json:"would"` // how often it would have fired
	Armed   uint64   `json:"armed"` // how often the armed rule of that name raised its alarm
	Same    bool     `json:"same"`  // both raised and cleared the same alarms at the same times
	Note    string   `json:"note,omitempty"`
	Firings []Firing `json:"firings"`        // in the order of From
	More    uint64   `json:"more,omitempty"` // firings beyond those in the list
}

// A Firing is one time for which a rule was active.
type Firing struct {
	From    Time   `json:"from"` // null = it was active before
	To      Time   `json:"to"`   // null = it has not ended
	Would   bool   `json:"would"`
	Armed   bool   `json:"armed"`
	Record  uint64 `json:"record,omitempty"`  // number of the record that made it active; 0 = time did, or it is not known
	Channel string `json:"channel,omitempty"` // whose value decided
	Value   string `json:"value,omitempty"`
}

// A RuleState says how a rule of the running gateway stands, and why.
type RuleState struct {
	Name       string     `json:"name"`
	State      string     `json:"state"`               // "idle", "pending", "active" or "parked"
	Since      Time       `json:"since"`               // pending: since when its condition holds; active: since when it is; null = not known
	Due        Time       `json:"due"`                 // pending: when it becomes active, unless its condition ceases to hold; null = not by time alone
	LeftS      float64    `json:"left_s"`              // pending: how long it has still to hold
	Waits      string     `json:"waits,omitempty"`     // what has to come first
	Parked     string     `json:"parked,omitempty"`    // why it is not judged any more
	When       string     `json:"when"`                // the condition
	WhenSays   string     `json:"when_says"`           // "yes", "no" or "unknown"
	ForS       float64    `json:"for_s"`               //
	Clear      string     `json:"clear"`               // "" = it ends when the condition no longer holds
	ClearSays  string     `json:"clear_says"`          // "" where there is none
	Parts      []RulePart `json:"parts"`               // of the condition
	ClearParts []RulePart `json:"clear_parts"`         //
	Does       []string   `json:"does"`                // what follows
	Fired      uint64     `json:"fired"`               // how often it became active
	LookedAt   Time       `json:"looked_at"`           // as of when the conditions are said; null = nothing was read since the start
	Severity   string     `json:"severity,omitempty"`  // of its alarm
	NextLook   Time       `json:"next_look,omitempty"` // when time alone has it looked at again; null = not
}

// A RulePart is a channel or a call in a condition, and what it is.
type RulePart struct {
	Text  string   `json:"text"`
	Value *string  `json:"value"` // null = not known
	Unit  string   `json:"unit,omitempty"`
	AgeS  *float64 `json:"age_s,omitempty"` // of a channel: how long ago the value came
	Fault string   `json:"fault,omitempty"` // of a channel: what its newest reading said
}
