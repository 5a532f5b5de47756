package update

import (
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/ota"
	"github.com/tidegate-io/tidegate/ota/slots"
)

// A Disk is the Slots of a gateway that package ota keeps.
type Disk struct {
	ota    *ota.Updater
	slot   slots.Slot    // that this program lies in
	window time.Duration // of trials
}

// NewDisk returns the slots of u for the program at path, os.Executable's, whose trials last at most so long.
func NewDisk(u *ota.Updater, path string, window time.Duration) *Disk {
	return &Disk{ota: u, slot: u.Own(path), window: window}
}

// name is how people and the cloud are told of a slot.
func name(s slots.Slot) string {
	if s == slots.Zero {
		return "package"
	}
	return string(s)
}

// State is Slots.State.
func (d *Disk) State() (State, error) {
	st := d.ota.Slots().State()
	out := State{Slot: name(d.slot), Current: name(st.Current)}
	for _, c := range st.Slots {
		if c.State == "staged" { // one at most: a release goes to the slot that is worth less
			out.Staged = &Release{c.Counter, c.Version}
		}
	}
	t := &st.Trial
	of := Release{t.Counter, t.Version}
	switch t.Phase {
	case slots.Running:
		if t.Own() {
			out.Trial = &Trial{of, t.Baseline, time.Duration(t.Window) * time.Millisecond}
		}
	case slots.Kept, slots.Failed:
		out.Last, out.IsTold = &Outcome{Release: of, Result: string(t.Phase), Slot: name(t.Slot)}, t.Told
		out.Last.Reason, out.Last.Detail, _ = strings.Cut(t.Reason, ": ")
	}
	return out, nil
}

// Switch is Slots.Switch.
func (d *Disk) Switch(baseline []byte) error { return d.ota.Slots().Switch(baseline, d.window) }

// Finish is Slots.Finish.
func (d *Disk) Finish(reason string) error {
	if reason != "" {
		return d.ota.Slots().Fail(reason)
	}
	return d.ota.Confirm()
}

// Told is Slots.Told.
func (d *Disk) Told() error { return d.ota.Slots().Told() }
