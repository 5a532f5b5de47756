package slots

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
)

// A candidate is a program that may be started.
type candidate struct {
	Program
	slot  Slot
	trial bool
	safe  bool
}

// order returns what may be started, the first choice first: the program on trial, then what is confirmed and newer than slot 0 by counter,
// then slot 0. It knows the records only: those whose files are not what they were are passed over by who opens them. Slot 0 is in safe mode
// where something newer was in use, or may have been: it may not understand what that has left.
func (v *view) order(builtin Builtin) []candidate {
	var list []candidate
	last := candidate{slot: Zero, Program: Program{Counter: builtin.Counter, Version: builtin.Version}}
	for i := range v.slots {
		r, ok := v.confirmed(&v.slots[i])
		if ok && r.Counter > builtin.Counter {
			list = append(list, candidate{Program: r.Program, slot: v.slots[i].slot})
		}
		if !ok && v.slots[i].pair.unread && v.trial.Slot != v.slots[i].slot {
			last.safe = true
		}
	}
	slices.SortStableFunc(list, newer)
	last.safe = last.safe || len(list) > 0 || v.trial.Phase == Kept && v.trial.Counter > builtin.Counter
	if t := &v.trial; t.Phase == Running && t.Counter > builtin.Counter {
		list = slices.Insert(list, 0, candidate{Program: t.Program, slot: t.Slot, trial: true})
	}
	return append(list, last)
}

// open opens a candidate's program and hashes it: what the file descriptor leads to is what was hashed, whatever becomes of the name. Slot 0
// is not opened: it is root's, and there is nothing behind it.
func (c *candidate) open(s *Slots) (*os.File, error) {
	if c.slot == Zero {
		return nil, nil
	}
	// A link or a pipe in the place of the program must neither be followed nor waited for.
	f, err := os.OpenFile(s.program(c.slot), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if err := c.matches(f); err != nil {
		_ = f.Close() // it was read only
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return f, nil
}

// matches says how a file differs from what p says of it.
func (p *Program) matches(f *os.File) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Size() != p.Length {
		return fmt.Errorf("%w: got %v of %d bytes, want %d", ErrLength, st.Mode(), st.Size(), p.Length)
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, p.Length)); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != p.SHA256 {
		return fmt.Errorf("%w: got %s, want %s", ErrHash, got, p.SHA256)
	}
	return nil
}

// spare returns the slot that an update may write to: never the one that would be started now; of two others the one that is worth less.
func (v *view) spare(best Slot) *slotView {
	worth := func(o *slotView) uint64 {
		r, _ := v.confirmed(o)
		return r.Counter
	}
	a, b := &v.slots[0], &v.slots[1]
	if best == a.slot || best != b.slot && worth(b) < worth(a) {
		return b
	}
	return a
}
