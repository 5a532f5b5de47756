package slots

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/ota/release"
)

// A Program is what a slot holds.
type Program struct {
	Counter uint64 `json:"counter,omitempty"` // the only order of releases there is, 1 and up
	Version string `json:"version,omitempty"` // for people
	SHA256  string `json:"sha256,omitempty"`
	Length  int64  `json:"length,omitempty"` // bytes
}

func (p Program) check() error {
	switch {
	case p.Counter < 1 || p.Counter > release.MaxCounter:
		return fmt.Errorf("got counter %d, want 1 to %d", p.Counter, uint64(release.MaxCounter))
	case len(p.Version) > 64:
		return fmt.Errorf("got a version of %d bytes, want at most 64", len(p.Version))
	case p.Length < 1 || p.Length > release.MaxProgram:
		return fmt.Errorf("got a program of %d bytes, want 1 to %d", p.Length, release.MaxProgram)
	case !release.IsHex(p.SHA256, 32):
		return fmt.Errorf("got sha256 %q, want 64 lower-case hex digits", p.SHA256)
	}
	return nil
}

// States of a slot's record.
const (
	empty     = "empty"     // being written to
	staged    = "staged"    // whole, and not yet trusted
	confirmed = "confirmed" // has run well
)

// A record is what a slot's own record says.
type record struct {
	Program
	State string `json:"state"`
}

func (r *record) check() error {
	switch r.State {
	case empty:
		if r.Program != (Program{}) {
			return errors.New("got a program in an empty slot")
		}
		return nil
	case staged, confirmed:
		return r.Program.check()
	}
	return fmt.Errorf("got state %q, want %s, %s or %s", r.State, empty, staged, confirmed)
}

// A Phase is how a trial stands.
type Phase string

// The phases; "" = there never was one.
const (
	Running Phase = "running"
	Kept    Phase = "kept"
	Failed  Phase = "failed"
)

// A Trial is the one under way, or the outcome of the last.
type Trial struct {
	Phase    Phase  `json:"phase,omitempty"`
	Slot     Slot   `json:"slot,omitempty"` // A or B
	Program         // what is on trial
	Attempts int    `json:"attempts"`           // starts, 0 to 1,000
	Boot     string `json:"boot"`               // of Deadline, PID and Started
	Deadline int64  `json:"deadline"`           // boot time (CLOCK_BOOTTIME) in ms
	Window   int64  `json:"window"`             // from a start to the deadline in ms, 1 to 7 days
	PID      int    `json:"pid,omitempty"`      // of the last start
	Started  uint64 `json:"started,omitempty"`  // of that process, in the kernel's ticks (proc(5), field 22 of stat)
	Baseline []byte `json:"baseline,omitempty"` // what was healthy before, at most MaxBaseline bytes; opaque here
	Reason   string `json:"reason,omitempty"`   // of Failed
	Told     bool   `json:"told,omitempty"`     // the outcome has been reported

	// SHA-256 of the programs that have failed here, the newest last, at most MaxFailed.
	FailedPrograms []string `json:"failed,omitempty"`
}

// Bounds of a trial's record.
const (
	MaxBaseline = 32 << 10 // bytes
	MaxFailed   = 32       // programs
	MaxReason   = 200      // bytes
	MaxWindow   = 7 * 24 * time.Hour
)

func (t *Trial) check() error {
	if n := len(t.FailedPrograms); n > MaxFailed {
		return fmt.Errorf("got %d failed programs, want at most %d", n, MaxFailed)
	}
	for _, f := range t.FailedPrograms {
		if !release.IsHex(f, 32) {
			return fmt.Errorf("got failed program %q, want 64 lower-case hex digits", f)
		}
	}
	if t.Phase == "" {
		return nil
	}
	switch {
	case t.Phase != Running && t.Phase != Kept && t.Phase != Failed:
		return fmt.Errorf("got phase %q, want %s, %s or %s", t.Phase, Running, Kept, Failed)
	case t.Slot != A && t.Slot != B:
		return fmt.Errorf("got slot %q, want %s or %s", t.Slot, A, B)
	case t.Attempts < 0 || t.Attempts > 1000:
		return fmt.Errorf("got %d attempts, want 0 to 1000", t.Attempts)
	case t.Window < 1 || t.Window > MaxWindow.Milliseconds():
		return fmt.Errorf("got a window of %d ms, want 1 to %d", t.Window, MaxWindow.Milliseconds())
	case t.PID < 0, len(t.Boot) > 64, len(t.Reason) > MaxReason, len(t.Baseline) > MaxBaseline:
		return fmt.Errorf("got process %d, a boot id of %d, a reason of %d, a baseline of %d bytes, want 0 and up, at most 64, %d, %d",
			t.PID, len(t.Boot), len(t.Reason), len(t.Baseline), MaxReason, MaxBaseline)
	}
	return t.Program.check()
}

func (t *Trial) failed(sha256 string) bool { return slices.Contains(t.FailedPrograms, sha256) }

// Own reports whether the program on trial is this process.
func (t *Trial) Own() bool {
	started, err := startOf(os.Getpid())
	return t.Phase == Running && t.PID == os.Getpid() && err == nil && started == t.Started
}

// decode reads a record: one JSON value, within its bounds. A field of a name that is not known is passed over: the launcher of an old
// package reads what newer programs have written. For the same reason no field ever changes its meaning.
func decode(body []byte, r checked) error {
	if err := json.Unmarshal(body, r); err != nil {
		return err
	}
	return r.check()
}

// A Builtin is the package's own program, slot 0.
type Builtin struct {
	Path    string
	Counter uint64 // 0 = not known: everything that was ever confirmed is newer
	Version string
}

// ReadBuiltin reads what the package says of its own program, lib/tidegate, in lib/release.json. With an error the program counts as the
// oldest there is.
func ReadBuiltin(lib string) (Builtin, error) {
	b := Builtin{Path: filepath.Join(lib, "tidegate")}
	path := filepath.Join(lib, "release.json")
	text, err := os.ReadFile(path)
	var p Program
	if err == nil {
		if err = json.Unmarshal(text, &p); err == nil {
			err = p.check()
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
	}
	if err == nil {
		b.Counter, b.Version = p.Counter, p.Version
	}
	return b, err
}
