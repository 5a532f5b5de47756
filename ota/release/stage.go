package release

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"

	"github.com/tidegate-io/tidegate/ota/strict"
)

// Stage is how many of the gateways a release is for, in hundredths of a percent: 0 = none, All = each.
type Stage int

// All is the stage of each gateway.
const All Stage = 10000

var percent = regexp.MustCompile(`^(\d{1,3})(?:\.(\d)(\d)?)?%?$`)

// ParseStage reads a stage as people write it: "12.5" or "12.5%", a percentage from 0 to 100 with at most two digits behind the point.
func ParseStage(text string) (Stage, error) {
	m := percent.FindStringSubmatch(text)
	if m != nil {
		if n, err := strconv.Atoi(m[1] + cmp.Or(m[2], "0") + cmp.Or(m[3], "0")); err == nil && Stage(n) <= All {
			return Stage(n), nil
		}
	}
	return 0, fmt.Errorf("got %q, want a percentage from 0 to 100 with at most two digits behind the point, for instance 12.5", text)
}

// String returns s as people write it: "12.5 %".
func (s Stage) String() string {
	return strconv.FormatFloat(float64(s)/100, 'f', -1, 64) + " %"
}

// HoldField is the field of timestamp.json that holds releases back: {"7": 500} = release 7 for 5 % at most, {"7": 0} = for nobody.
const HoldField = "x-tidegate-hold"

// A Hold is what the key that is online holds back: the widest stage of a release, by its counter. It only narrows what was signed offline,
// so that who steals that key can hold releases back but hand none out.
type Hold map[uint64]Stage

// maxHold is how many releases can be held back at once.
const maxHold = 64

// DecodeHold reads the field HoldField strictly; no bytes = nothing is held back. An error wraps ErrCustom: then nobody knows what is held
// back, and nothing may be started.
func DecodeHold(body []byte) (Hold, error) {
	if len(body) == 0 {
		return nil, nil
	}
	var fields map[string]Stage
	err := strict.Check(body) // "-0" is no stage
	if err == nil {
		err = strict.Decode(body, &fields)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrCustom, HoldField, err)
	}
	if len(fields) > maxHold {
		return nil, fmt.Errorf("%w: %s: got %d releases, want at most %d", ErrCustom, HoldField, len(fields), maxHold)
	}
	h := Hold{}
	for name, stage := range fields {
		counter, err := strconv.ParseUint(name, 10, 64)
		if err != nil || counter < 1 || counter > MaxCounter || strconv.FormatUint(counter, 10) != name {
			return nil, fmt.Errorf("%w: %s: got %q, want the counter of a release", ErrCustom, HoldField, name)
		}
		if stage > All {
			return nil, fmt.Errorf("%w: %s: got %d for release %s, want 0 to %d", ErrCustom, HoldField, stage, name, All)
		}
		h[counter] = stage
	}
	return h, nil
}

// Narrow returns f as it is to be judged while h is in force.
func (h Hold) Narrow(f File) File {
	if s, held := h[f.Counter]; held {
		f.Stage = min(f.Stage, s)
		f.Halt = f.Halt || s == 0
	}
	return f
}
