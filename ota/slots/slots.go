// Package slots keeps the programs that a gateway can start, and knows which one it shall be: two slots that updates write to in turn, a and
// b, and slot 0, the package's own program, which nothing here ever changes.
//
// One record decides, that of the trial. Writing it is the one step by which an update begins, is kept or is given up; where the link
// `current` leads to and what the record of a slot says follow from it, and are made to agree by whoever comes next. So there is no order
// of kills and power cuts that leaves a half state. What is started has just been hashed and is the file that was hashed.
//
// Records and folders are described in README.md beside this file.
package slots

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tidegate-io/tidegate/ota/durable"
)

// A Slot is where a program lies.
type Slot string

// The slots.
const (
	Zero Slot = "0" // the package's own
	A    Slot = "a"
	B    Slot = "b"
)

// written are the slots that updates write to.
var written = [2]Slot{A, B}

// Attempts is how often a new program is started before it has failed.
const Attempts = 3

// What ends a trial without a word from the new program, as its Reason.
const (
	Crashed    = "crashed"       // started Attempts times, and no verdict
	Expired    = "expired-trial" // no verdict by the deadline
	Superseded = "superseded"    // the package brought a release that is not older
	WrongHash  = "wrong-hash"    // the program is not what was staged
	NoExec     = "no-exec"       // the kernel does not start it
)

// Refusals, by name.
var (
	ErrTrial     = errors.New("a trial is under way")
	ErrNoTrial   = errors.New("no trial is under way")
	ErrExpired   = errors.New("the trial's time is over")
	ErrUnstarted = errors.New("the program on trial was not started yet")
	ErrNothing   = errors.New("nothing is staged")
	ErrKnown     = errors.New("this program has failed on this gateway before")
	ErrCounter   = errors.New("release is not newer than the one in use")
	ErrSpace     = errors.New("not enough space on disk")
	ErrLength    = errors.New("program has the wrong length")
	ErrHash      = errors.New("program has the wrong hash")
	ErrELF       = errors.New("not a program for this machine")
	ErrNoExec    = errors.New("no program can be started from this disk")
	ErrBusy      = errors.New("another process changes the slots")
)

// Slots are the slots of a gateway. Any process may look at any time; those that change something take turns by a lock, and look again
// then. It is safe for concurrent use.
type Slots struct {
	dir      string
	builtin  Builtin
	disk     durable.Disk
	clock    func() instant
	space    func(dir string, want int64) error
	patience time.Duration // how long to wait for the lock
	grace    time.Duration // between SIGTERM and SIGKILL
}

// Open opens the slots below dir, <state_dir>/ota, and makes folders that are missing. With an error it serves as well: on a disk that cannot be
// written to programs can still be chosen. What a cut left behind is mended by the launcher, and by whoever changes something.
func Open(dir string, builtin Builtin) (*Slots, error) {
	s := &Slots{dir: dir, builtin: builtin, clock: now, space: space, patience: 10 * time.Second, grace: 10 * time.Second}
	return s, s.open()
}

func (s *Slots) open() error {
	for _, slot := range written {
		if err := s.disk.Mkdir(filepath.Dir(s.program(slot))); err != nil {
			return err
		}
	}
	return nil
}

func (s *Slots) path(name string) string { return filepath.Join(s.dir, "slots", name) }

// program returns the path of a slot's program.
func (s *Slots) program(slot Slot) string {
	if slot == Zero {
		return s.builtin.Path
	}
	return s.path(string(slot) + "/tidegate")
}

// lock waits for its turn to change something, at most so long.
func (s *Slots) lock(patience time.Duration) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the slots: %w", err)
	}
	const pause = 20 * time.Millisecond
	for range patience/pause + 1 {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			return func() { _ = f.Close() }, nil
		}
		err = fmt.Errorf("%w, after %v: %w", ErrBusy, patience, err)
		<-time.After(min(pause, patience)) // patience is all that it takes
	}
	return nil, errors.Join(fmt.Errorf("lock the slots: %w", err), f.Close())
}

// A view is what is on disk.
type view struct {
	slots [2]slotView // as written
	trial Trial
	pair  pair // the trial's
	harm  []error
}

type slotView struct {
	slot Slot
	record
	pair pair
}

// A pair is where a record is kept.
type pair struct {
	*durable.Pair
	half   bool // one of its files is damaged, gone or old
	unread bool // there is a record, and nobody can read it
}

// look reads the records. It never fails: what cannot be read is as if it was not there, and said.
func (s *Slots) look() (v view) {
	v.pair = read(s.disk, filepath.Join(s.dir, "trial"), &v.trial, &v.harm)
	for i, slot := range written {
		o := &v.slots[i]
		o.slot = slot
		o.pair = read(s.disk, s.path(string(slot)+"/release"), &o.record, &v.harm)
	}
	return v
}

// checked is a record.
type checked interface{ check() error }

// read reads a record of a pair. One that cannot be read leaves record as it is and adds to harm, as does one bad file of the two.
func read[T any, P interface {
	*T
	checked
}](disk durable.Disk, path string, record P, harm *[]error,
) pair {
	p, body, whole, err := disk.OpenPair(path)
	out := pair{Pair: p, half: !whole && err == nil}
	if err == nil && body != nil {
		var r T
		if err = decode(body, P(&r)); err == nil {
			*record = r
		}
	}
	if out.unread = err != nil; out.unread {
		*harm = append(*harm, fmt.Errorf("%s: %w", path, err))
	} else if err := p.Damage(); err != nil {
		*harm = append(*harm, fmt.Errorf("one of two files is damaged: %w", err))
	}
	return out
}

// write keeps a record.
func (p *pair) write(record any) error {
	b, err := json.Marshal(record)
	if err != nil {
		return err // no record of ours has what JSON cannot say
	}
	if err := p.Write(b); err != nil {
		return err
	}
	p.half, p.unread = false, false
	return nil
}

// mend makes what follows from the records agree with them, after a cut. It is called by whoever holds the lock, before anything else.
func (s *Slots) mend(v *view) error {
	var errs []error
	for i := range v.slots {
		o := &v.slots[i]
		if r, ok := v.confirmed(o); ok && o.State != confirmed {
			o.record = r
			errs = append(errs, o.pair.write(r))
		} else if o.pair.unread && v.trial.Slot == o.slot { // the last trial was here, and was not kept
			o.record = record{Program: v.trial.Program, State: staged}
			errs = append(errs, o.pair.write(o.record))
		} else if o.pair.half && !o.pair.unread {
			errs = append(errs, o.pair.write(o.record))
		}
		program := s.program(o.slot)
		for _, left := range append(o.pair.Files()[2:], placed(program, "new"), placed(program, "old")) {
			errs = append(errs, s.sweep(left))
		}
	}
	if v.pair.half && !v.pair.unread {
		errs = append(errs, v.pair.write(&v.trial))
	}
	errs = append(errs, s.sweep(v.pair.Files()[2]), s.sweep(v.pair.Files()[3]), s.sweep(durable.Temporary(s.path("current"))))
	leads := s.leads()
	switch {
	case v.trial.Phase == Running && leads != v.trial.Slot:
		errs = append(errs, s.point(v.trial.Slot))
	case v.trial.Phase == Failed && leads == v.trial.Slot, leads == "":
		errs = append(errs, s.point(s.best(v)))
	}
	return errors.Join(errs...)
}

// sweep takes away what a cut left, if it did.
func (s *Slots) sweep(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return s.disk.Remove(path)
}

// leads returns the slot that `current` leads to: Zero where there is no link, "" where it leads to nothing of ours.
func (s *Slots) leads() Slot {
	to, err := os.Readlink(s.path("current"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Zero
	case err == nil && (Slot(to) == A || Slot(to) == B):
		return Slot(to)
	}
	return ""
}

// led returns the counter of the release that `current` leads to.
func (s *Slots) led(v *view) uint64 {
	to := s.leads()
	for i := range v.slots {
		if v.slots[i].slot == to {
			return v.slots[i].Counter
		}
	}
	return s.builtin.Counter
}

// point makes `current` lead to a slot.
func (s *Slots) point(slot Slot) error {
	if s.leads() == slot {
		return nil
	}
	if slot == Zero {
		return s.disk.Remove(s.path("current"))
	}
	return s.disk.Symlink(string(slot), s.path("current"))
}

// best returns the slot that would be started, where there is no trial.
func (s *Slots) best(v *view) Slot {
	slot, _ := s.incumbent(v)
	return slot
}

// incumbent returns the slot that would be started, and its program, were there no trial.
func (s *Slots) incumbent(v *view) (Slot, Program) {
	for _, c := range v.order(s.builtin) {
		if c.trial {
			continue
		}
		f, err := c.open(s)
		if err == nil {
			if f != nil {
				_ = f.Close() // it was read only
			}
			return c.slot, c.Program
		}
	}
	return Zero, Program{Counter: s.builtin.Counter, Version: s.builtin.Version}
}

// InUse returns the program that is started where there is no trial: what is on disk of it was hashed just now.
func (s *Slots) InUse() Program {
	v := s.look()
	_, p := s.incumbent(&v)
	return p
}

// placed is the name by which selfupdate calls a program that it puts in place ("new") or has replaced ("old").
func placed(program, what string) string {
	return filepath.Join(filepath.Dir(program), "."+filepath.Base(program)+"."+what)
}

// State is what there is, for people and for the program itself.
type State struct {
	Current Slot      // what was started last, or will be next; "" = the link is damaged
	Builtin Builtin   // slot 0
	Slots   []Content // a and b
	Trial   Trial     // under way, or the last one's outcome
	Harm    []error   // records that are damaged, wholly or in one of two files
}

// Content is what a slot holds, as its record says.
type Content struct {
	Slot Slot
	Program
	State string // "", "empty", "staged", "trial", "confirmed", "failed", "damaged"
}

// State looks at the records. It changes nothing and waits for nobody.
func (s *Slots) State() State {
	v := s.look()
	out := State{Current: s.leads(), Builtin: s.builtin, Trial: v.trial, Harm: v.harm}
	for i := range v.slots {
		o := &v.slots[i]
		c := Content{Slot: o.slot, Program: o.Program, State: o.State}
		if r, ok := v.confirmed(o); ok {
			c.Program, c.State = r.Program, confirmed
		} else if o.pair.unread {
			c.State = "damaged"
		} else if v.trial.Phase == Running && v.trial.Slot == o.slot {
			c.State = "trial"
		} else if v.trial.failed(o.SHA256) {
			c.State = "failed"
		}
		out.Slots = append(out.Slots, c)
	}
	return out
}

// Failed reports whether a program has failed on this gateway; it is not tried again.
func (s *Slots) Failed(sha256 string) bool {
	v := s.look()
	return v.trial.failed(sha256)
}

// confirmed returns what a slot is confirmed to hold. A trial that was kept confirms its slot before the slot's own record does.
func (v *view) confirmed(o *slotView) (record, bool) {
	kept := v.trial.Phase == Kept && v.trial.Slot == o.slot
	if o.State == confirmed {
		return o.record, true
	}
	if kept && (o.pair.unread || o.SHA256 == v.trial.SHA256) {
		return record{Program: v.trial.Program, State: confirmed}, true
	}
	return record{}, false
}

// newer orders programs by counter, the newest first.
func newer(a, b candidate) int { return cmp.Compare(b.Counter, a.Counter) }
