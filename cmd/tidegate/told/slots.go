package told

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"

	"github.com/tidegate-io/tidegate/ota"
	"github.com/tidegate-io/tidegate/ota/slots"
)

// slotsJSON is what `update status --json` prints.
type slotsJSON struct {
	Counter uint64     `json:"counter"` // of the release in use
	Version string     `json:"version"`
	Package content    `json:"package"`
	Slots   []content  `json:"slots"`
	Trial   *trialJSON `json:"trial"`  // under way, or the last one's outcome; null = there was none
	Failed  int        `json:"failed"` // programs that are not tried again
	Harm    []string   `json:"harm"`
}

type content struct {
	Slot    string `json:"slot"`
	Counter uint64 `json:"counter"`
	Version string `json:"version"`
	State   string `json:"state,omitempty"`
}

type trialJSON struct {
	Phase    slots.Phase `json:"phase"` // running, kept or failed
	Slot     string      `json:"slot"`
	Counter  uint64      `json:"counter"`
	Version  string      `json:"version"`
	Attempts int         `json:"attempts"`
	Reason   string      `json:"reason,omitempty"`
}

// asJSON is Slots for programs.
func asJSON(w io.Writer, runs ota.Release, st *slots.State) error {
	out := slotsJSON{
		Counter: runs.Counter, Version: runs.Version, Slots: []content{}, Failed: len(st.Trial.FailedPrograms), Harm: []string{},
		Package: content{Slot: "package", Counter: st.Builtin.Counter, Version: st.Builtin.Version},
	}
	for _, c := range st.Slots {
		out.Slots = append(out.Slots, content{string(c.Slot), c.Counter, c.Version, cmp.Or(c.State, "empty")})
	}
	if t := &st.Trial; t.Phase != "" {
		out.Trial = &trialJSON{t.Phase, string(t.Slot), t.Counter, t.Version, t.Attempts, t.Reason}
	}
	for _, err := range st.Harm {
		out.Harm = append(out.Harm, err.Error())
	}
	return json.NewEncoder(w).Encode(out)
}

// Slots says what lies in the slots, and how the last trial stands or ended.
func Slots(w io.Writer, u *ota.Updater, forPrograms bool) error {
	st, runs := u.Slots().State(), u.Running()
	if forPrograms {
		return asJSON(w, runs, &st)
	}
	if runs.Counter > 0 {
		fmt.Fprintf(w, "in use   release %d, %s\n", runs.Counter, runs.Version)
	}
	if st.Builtin.Counter > 0 {
		fmt.Fprintf(w, "package  release %d, %s\n", st.Builtin.Counter, st.Builtin.Version)
	} else {
		fmt.Fprintf(w, "package  not known: %s is not there\n", filepath.Join(filepath.Dir(st.Builtin.Path), "release.json"))
	}
	for _, c := range st.Slots {
		switch c.State {
		case "", "empty":
			fmt.Fprintf(w, "slot %s   empty\n", c.Slot)
		default:
			fmt.Fprintf(w, "slot %s   release %d, %s: %s\n", c.Slot, c.Counter, c.Version, c.State)
		}
	}
	switch t := &st.Trial; t.Phase {
	case "":
		fmt.Fprintln(w, "trial    none yet")
	case slots.Running:
		fmt.Fprintf(w, "trial    of release %d, %s: under way, started %d of %d times\n", t.Counter, t.Version, t.Attempts, slots.Attempts)
	case slots.Kept:
		fmt.Fprintf(w, "trial    of release %d, %s: kept\n", t.Counter, t.Version)
	case slots.Failed:
		fmt.Fprintf(w, "trial    of release %d, %s: failed: %s\n", t.Counter, t.Version, t.Reason)
	}
	if n := len(st.Trial.FailedPrograms); n > 0 {
		fmt.Fprintf(w, "         %d programs have failed here and are not tried again\n", n)
	}
	for _, err := range st.Harm {
		fmt.Fprintf(w, "harm     %v\n", err)
	}
	return nil
}

// Ended says what became of a trial that somebody has ended, unless that failed.
func Ended(w io.Writer, u *ota.Updater, failed error) error {
	if failed != nil {
		return failed
	}
	t := u.Slots().State().Trial
	text := "given up: the one before runs as soon as this one has ended, by itself or by the timer"
	if t.Phase == slots.Kept {
		text = "kept: there is no way back but to a newer one"
	}
	_, err := fmt.Fprintf(w, "release %d, %s, is %s\n", t.Counter, t.Version, text)
	return err
}

// Look says what a look for releases has found.
func Look(w io.Writer, l *ota.Look) error {
	fmt.Fprintf(w, "in use  release %d, %s\n", l.Running.Counter, l.Running.Version)
	if l.Best != nil {
		fmt.Fprintf(w, "newest  release %d, %s; start it with: tidegate update apply\n", l.Best.Counter, l.Best.Version)
	} else {
		fmt.Fprintln(w, "newest  nothing newer for this gateway")
	}
	for _, err := range l.Held {
		fmt.Fprintf(w, "beside  %s: %v\n", ota.Reason(err), err)
	}
	_, err := fmt.Fprintf(w, "trust   metadata expire %s\n", l.Trusted.Expires.UTC().Format("2006-01-02 15:04 UTC"))
	return err
}
