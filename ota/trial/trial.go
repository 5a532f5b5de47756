// Package trial judges a new release by what the gateway sees of itself: what was healthy before has to be so again. It is given figures,
// and time only with them; who kills a release that no longer judges itself stands outside of it (package slots).
package trial

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// A Baseline is what was healthy before the new release was started.
type Baseline struct {
	Devices []string `json:"devices"` // could be read
	Uplinks []string `json:"uplinks"` // were up, and delivered
	Rules   bool     `json:"rules"`   // rules judged readings
	Memory  int64    `json:"memory"`  // anonymous memory, bytes; 0 = not known
}

// MaxBaseline is how long an encoded Baseline is read, in bytes.
const MaxBaseline = 32 << 10

// Encode returns b as bytes for Decode. Devices that do not fit are left out: a gateway has a few hundred.
func (b Baseline) Encode() ([]byte, error) {
	out, err := json.Marshal(b)
	for err == nil && len(out) > MaxBaseline && len(b.Devices) > 0 {
		b.Devices = b.Devices[:len(b.Devices)*3/4]
		out, err = json.Marshal(b)
	}
	return out, err
}

// Decode is the inverse of Encode. Nothing is a Baseline of which nothing was healthy.
func Decode(body []byte) (b Baseline, err error) {
	if len(body) == 0 {
		return b, nil
	}
	if len(body) > MaxBaseline {
		return b, fmt.Errorf("baseline of a trial: got %d bytes, want at most %d", len(body), MaxBaseline)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil {
		return Baseline{}, fmt.Errorf("baseline of a trial: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Baseline{}, errors.New("baseline of a trial: got more than one value")
	}
	return b, nil
}

// What a release is given up for, by name.
var (
	ErrDevice    = errors.New("device-lost")
	ErrDelivery  = errors.New("not-delivered")
	ErrRules     = errors.New("rules-silent")
	ErrMemory    = errors.New("leaks")
	ErrUnhealthy = errors.New("unhealthy")
)

// A Sight is what the gateway sees of itself, counted since this process began.
type Sight struct {
	Up      time.Duration     // since then
	Reads   map[string]uint64 // Reads of each device that came back without a fault of the device
	Kept    map[string]uint64 // records that the far side of each uplink has confirmed
	Judged  uint64            // readings that rules have judged
	Memory  int64             // anonymous memory, bytes
	Trouble string            // why the gateway does not think itself healthy; "" = it does
}

// A Verdict is what is to be done with a release.
type Verdict uint8

// The verdicts.
const (
	Wait Verdict = iota
	Keep
	GiveUp
)

// How memory is judged. Collecting garbage makes it go up and down: what counts is how low it comes.
const (
	parts    = 4        // of the time that a release must have run: the first is how it starts
	slack    = 16 << 20 // bytes that it may grow by, and
	growth   = 4        // a share of 1/growth of what it had
	runaway  = 96 << 20 // bytes above the baseline, and
	runTimes = 3        // times what it was: no more waiting then
)

// A Judge judges one trial. It is not safe for concurrent use.
type Judge struct {
	before Baseline
	settle time.Duration // how long a release must have run
	window time.Duration // and when it is given up
	low    []int64       // least memory seen in each part, those behind settle too
	at     int           // part of the newest low
}

// New returns a Judge. A release is kept when it has run for settle and all that was healthy is so again; it is given up at window, which
// is later, and counted from its start.
func New(before Baseline, settle, window time.Duration) *Judge {
	return &Judge{before: before, settle: settle, window: window}
}

// See looks at the gateway once more, about once a second. why says what is still missing, or with GiveUp what was, and wraps one of the
// errors above.
func (j *Judge) See(s Sight) (v Verdict, why error) {
	j.weigh(s)
	if b := j.before.Memory; b > 0 && s.Memory > b+runaway && s.Memory > b*runTimes {
		return GiveUp, fmt.Errorf("%w: got %d bytes after %v, had %d", ErrMemory, s.Memory, s.Up, b)
	}
	why = j.missing(s)
	switch {
	case why == nil && s.Up >= j.settle:
		return Keep, nil
	case s.Up >= j.window:
		return GiveUp, why
	}
	return Wait, why
}

// weigh takes in how much memory there is.
func (j *Judge) weigh(s Sight) {
	part := int(s.Up / max(j.settle/parts, 1))
	if n := len(j.low); n == 0 || part > j.at {
		j.low, j.at = append(j.low, s.Memory), part
		return
	}
	j.low[len(j.low)-1] = min(j.low[len(j.low)-1], s.Memory)
}

// missing says what was healthy and is not yet so again.
func (j *Judge) missing(s Sight) error {
	lost := func(names []string, counts map[string]uint64) []string {
		return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return counts[n] > 0 })
	}
	if d := lost(j.before.Devices, s.Reads); len(d) > 0 {
		return fmt.Errorf("%w: not read: %s", ErrDevice, list(d))
	}
	if j.before.Rules && s.Judged == 0 {
		return fmt.Errorf("%w: rules have judged no reading", ErrRules)
	}
	if u := lost(j.before.Uplinks, s.Kept); len(u) > 0 {
		return fmt.Errorf("%w: nothing was confirmed by %s", ErrDelivery, list(u))
	}
	if s.Trouble != "" {
		return fmt.Errorf("%w: %s", ErrUnhealthy, s.Trouble)
	}
	if n := len(j.low); n > 1 {
		first := j.low[0]
		if n > 2 {
			first = max(first, j.low[1]) // in the first part it starts
		}
		if last := j.low[n-1]; last > first+max(slack, first/growth) {
			return fmt.Errorf("%w: at least %d bytes now, %d at first", ErrMemory, last, first)
		}
	}
	return nil
}

// list names at most five.
func list(names []string) string {
	if len(names) > 5 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:5], ", "), len(names)-5)
	}
	return strings.Join(names, ", ")
}
