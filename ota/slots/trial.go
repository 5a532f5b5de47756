package slots

import (
	"fmt"
	"slices"
	"time"
)

// Switch begins the trial of what was staged: the next start is of it. baseline is what the new program is to judge itself by, opaque here;
// window is how long it has for that from its first start.
//
// The record of the trial is written first, then `current` is flipped. A cut before the first leaves the old program in use; behind it the
// new one is on trial, whether or not the link says so yet. A release that was kept, whose program was lost and staged again, is only pointed to.
func (s *Slots) Switch(baseline []byte, window time.Duration) error {
	if len(baseline) > MaxBaseline || window < time.Millisecond || window > MaxWindow {
		return fmt.Errorf("switch: got a baseline of %d bytes and a window of %v, want at most %d, and 1 ms to %v", len(baseline), window, MaxBaseline, MaxWindow)
	}
	return s.change("switch", func(v *view) error {
		if v.trial.Phase == Running {
			return fmt.Errorf("%w, of release %d", ErrTrial, v.trial.Counter)
		}
		if err := s.Startable(); err != nil {
			return err
		}
		best, inUse := s.incumbent(v)
		var next *slotView
		for i := range v.slots { // one at most: what is staged goes to the slot that is worth less
			if o := &v.slots[i]; o.State == staged && o.Counter > inUse.Counter && !v.trial.failed(o.SHA256) {
				next = o
			}
		}
		if next == nil && inUse.Counter > s.led(v) {
			return s.point(best) // it was kept before, and its program is there again
		}
		if next == nil {
			return fmt.Errorf("%w that is newer than release %d", ErrNothing, inUse.Counter)
		}
		// Hashed once more, it is what Stage found to be a program for this machine.
		c := candidate{Program: next.Program, slot: next.slot}
		f, err := c.open(s)
		if err != nil {
			return err
		}
		_ = f.Close() // it was read only
		at := s.clock()
		v.trial = Trial{
			Phase: Running, Slot: next.slot, Program: next.Program, Boot: at.boot, Deadline: at.ms + window.Milliseconds(),
			Window: window.Milliseconds(), Baseline: baseline, FailedPrograms: v.trial.FailedPrograms,
		}
		if err := v.pair.write(&v.trial); err != nil {
			return err
		}
		return s.point(next.slot)
	})
}

// Confirm keeps the program on trial: it is what is started from now on. It is for that program, when it has found itself healthy. With an
// error it may have been kept all the same: State says.
func (s *Slots) Confirm() error {
	return s.change("confirm", func(v *view) error {
		t := &v.trial
		if t.Phase != Running {
			return ErrNoTrial
		}
		if s.over(t) {
			return fmt.Errorf("%w: %w", ErrNoTrial, ErrExpired)
		}
		if t.Attempts == 0 { // nobody knows whether it so much as starts
			return fmt.Errorf("%w: release %d", ErrUnstarted, t.Counter)
		}
		t.Phase, t.Reason, t.Told, t.Baseline = Kept, "", false, nil
		if err := v.pair.write(t); err != nil {
			return err
		}
		// The slot's record follows, by the same way as after a cut.
		return s.mend(v)
	})
}

// Fail gives up the program on trial: what was in use before is started again, and this program never. reason is one of the short names
// that status and records show.
func (s *Slots) Fail(reason string) error {
	return s.change("fail", func(v *view) error {
		if v.trial.Phase != Running {
			return ErrNoTrial
		}
		return s.giveUp(v, reason)
	})
}

// giveUp is Fail under the lock.
func (s *Slots) giveUp(v *view, reason string) error {
	t := &v.trial
	t.Phase, t.Reason, t.Told, t.Baseline = Failed, reason[:min(len(reason), MaxReason)], false, nil
	if reason == NoExec {
		t.PID = 0 // the process that tried goes on as another program
	}
	t.FailedPrograms = append(t.FailedPrograms, t.SHA256) // once: none of them is tried again
	t.FailedPrograms = t.FailedPrograms[max(0, len(t.FailedPrograms)-MaxFailed):]
	if err := v.pair.write(t); err != nil {
		return err
	}
	return s.mend(v)
}

// Told notes that the outcome of the last trial has been reported.
func (s *Slots) Told() error {
	return s.change("told", func(v *view) error {
		if v.trial.Phase == Running || v.trial.Phase == "" || v.trial.Told {
			return nil
		}
		v.trial.Told = true
		return v.pair.write(&v.trial)
	})
}

// Forget forgets that a program has failed: it may be tried again.
func (s *Slots) Forget(sha256 string) error {
	return s.change("forget", func(v *view) error {
		if !v.trial.failed(sha256) {
			return nil
		}
		v.trial.FailedPrograms = slices.DeleteFunc(v.trial.FailedPrograms, func(f string) bool { return f == sha256 })
		return v.pair.write(&v.trial)
	})
}

// change does something under the lock, on what is on disk then, mended.
func (s *Slots) change(what string, do func(v *view) error) error {
	unlock, err := s.lock(s.patience)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer unlock()
	v := s.look()
	if err = s.mend(&v); err == nil {
		err = do(&v)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// over reports whether a trial's time is over. In another boot than that of its last start it is not: the next start has its window anew.
func (s *Slots) over(t *Trial) bool {
	at := s.clock()
	return t.Boot == at.boot && at.ms >= t.Deadline
}
