package slots

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// A Choice is the program to start.
type Choice struct {
	Program
	Slot    Slot
	Path    string // where it lies
	Trial   bool
	Attempt int    // which start in the trial, 1 to Attempts
	Safe    bool   // reading and buffering only: this program is older than what was in use
	Why     string // what stood in the way of others, for the log; "" = nothing

	file *os.File // hashed; nil = slot 0
}

// Launch decides what is started now. In a trial it counts the start on disk before; where it cannot, the trial waits, and what was in use
// before is started. slots that were tried already and could not be started are passed over. It always finds something: at last slot 0.
func (s *Slots) Launch(tried ...Slot) (c Choice) {
	var why []string
	note := func(err error) {
		if err != nil {
			why = append(why, strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
	defer func() { c.Why = strings.Join(why, "; ") }()
	unlock, err := s.lock(s.patience)
	note(err)
	locked := err == nil
	if locked {
		defer unlock()
	}
	v := s.look()
	for _, err := range v.harm {
		note(err)
	}
	if locked {
		note(s.mend(&v))
	}
	note(s.settle(&v, locked))
	for _, cand := range v.order(s.builtin) {
		if slices.Contains(tried, cand.slot) {
			continue
		}
		f, err := cand.open(s)
		note(err)
		switch {
		case err != nil && cand.trial && locked:
			note(s.giveUp(&v, WrongHash))
			continue
		case err != nil:
			continue
		case cand.trial:
			if !locked {
				err = ErrBusy
			} else {
				err = s.count(&v.trial, &v)
			}
			if err != nil {
				note(fmt.Errorf("the trial of release %d waits: %w", cand.Counter, err))
				_ = f.Close() // it was read only
				continue
			}
		}
		if locked {
			note(s.point(cand.slot))
		}
		c = Choice{Program: cand.Program, Slot: cand.slot, Path: s.program(cand.slot), Trial: cand.trial, Safe: cand.safe, file: f}
		if c.Trial {
			c.Attempt = v.trial.Attempts
		}
		return c
	}
	return s.last() // it was tried, too
}

// last is what there is when all else fails.
func (s *Slots) last() Choice {
	return Choice{Slot: Zero, Path: s.builtin.Path, Program: Program{Counter: s.builtin.Counter, Version: s.builtin.Version}, Safe: true}
}

// Beside returns the program that runs, or would, for a command beside the gateway: it counts nothing and changes nothing, and is never in safe
// mode, which only the gateway knows. slots that could not be started are passed over.
func (s *Slots) Beside(tried ...Slot) Choice {
	v := s.look()
	for _, cand := range v.order(s.builtin) {
		if cand.trial && v.trial.Attempts == 0 || slices.Contains(tried, cand.slot) {
			continue
		}
		if f, err := cand.open(s); err == nil {
			return Choice{Program: cand.Program, Slot: cand.slot, Path: s.program(cand.slot), Trial: cand.trial, file: f}
		}
	}
	c := s.last()
	c.Safe = false
	return c
}

// settle ends a trial that needs no further start. What cannot be written holds for this start all the same.
func (s *Slots) settle(v *view, locked bool) error {
	t := &v.trial
	reason := ""
	switch {
	case t.Phase != Running:
		return nil
	case s.builtin.Counter >= t.Counter:
		reason = Superseded
	case s.over(t):
		reason = Expired
	case t.Attempts >= Attempts:
		reason = Crashed
	default:
		return nil
	}
	err := fmt.Errorf("the trial of release %d has ended: %s", t.Counter, reason)
	if !locked {
		return err // without the lock no trial is started
	}
	return errors.Join(err, s.giveUp(v, reason))
}

// count writes down that the program on trial is started now, by this process. It has the whole window from its first start in a boot.
func (s *Slots) count(t *Trial, v *view) error {
	at := s.clock()
	if t.Attempts == 0 || t.Boot != at.boot {
		t.Boot, t.Deadline = at.boot, at.ms+t.Window
	}
	started, err := startOf(os.Getpid())
	if err != nil {
		return err
	}
	t.Attempts, t.PID, t.Started = t.Attempts+1, os.Getpid(), started
	return v.pair.write(t)
}

// Start becomes the program. It returns only when the kernel refuses. The program has args behind its path, with "--safe" at their end in
// safe mode, and TIDEGATE_SLOT in its environment.
//
// It is started by its file descriptor, so that it is what was hashed. The program finds its path as ever (os.Executable), but its name in
// the kernel (comm) is the number of the descriptor until it gives itself another.
func (c *Choice) Start(args, env []string) error {
	path := c.Path
	if c.file != nil {
		path = fmt.Sprintf("/proc/self/fd/%d", c.file.Fd())
	}
	argv := append([]string{c.Path}, args...)
	if c.Safe {
		argv = append(argv, "--safe")
	}
	env = slices.DeleteFunc(slices.Clone(env), func(e string) bool { return strings.HasPrefix(e, "TIDEGATE_SLOT=") })
	err := syscall.Exec(path, argv, append(env, "TIDEGATE_SLOT="+string(c.Slot)))
	if c.file != nil {
		_ = c.file.Close() // it was read only
	}
	return fmt.Errorf("start %s: %w", c.Path, err)
}

// Expire gives up a trial whose time is over, and ends its program if it still runs: SIGTERM, then SIGKILL after ten seconds. It needs
// nothing from that program. done says what it did; "" = there was nothing to do.
func (s *Slots) Expire(ctx context.Context) (done string, err error) {
	unlock, err := s.lock(s.patience)
	if err != nil {
		return "", err
	}
	v := s.look()
	t := v.trial
	over := t.Phase != "" && t.Phase != Kept && s.over(&t)
	if over && t.Phase == Running {
		done = fmt.Sprintf("the trial of release %d in slot %s has ended: %s", t.Counter, t.Slot, Expired)
		// A full disk is no reason to let it run: the launcher knows the time as well.
		err = errors.Join(s.mend(&v), s.giveUp(&v, Expired))
	}
	unlock()
	if !over {
		return "", nil
	}
	ended, stopErr := s.end(ctx, &t)
	if ended {
		done = strings.TrimPrefix(done+fmt.Sprintf("; process %d ended", t.PID), "; ")
	}
	return done, errors.Join(err, stopErr)
}

// end ends the program on trial, if it is still that process.
func (s *Slots) end(ctx context.Context, t *Trial) (ended bool, err error) {
	if t.PID == os.Getpid() {
		return false, nil // who asks about itself knows by the outcome
	}
	p, err := os.FindProcess(t.PID) // holds the process itself, not its number, where the kernel can (pidfd_open(2))
	if err != nil {
		return false, err
	}
	defer func() { _ = p.Release() }()
	there := func() bool {
		started, err := startOf(t.PID)
		return err == nil && started == t.Started
	}
	if !there() {
		return false, nil
	}
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if err := p.Signal(signal); errors.Is(err, os.ErrProcessDone) {
			return true, nil
		} else if err != nil {
			return false, fmt.Errorf("%v to process %d: %w", signal, t.PID, err)
		}
		const pause = 50 * time.Millisecond
		for range s.grace/pause + 1 {
			if !there() {
				return true, nil
			}
			select {
			case <-ctx.Done():
				return false, ctx.Err()
			case <-time.After(pause):
			}
		}
	}
	return false, fmt.Errorf("process %d is still there after SIGKILL: it waits for a device in the kernel", t.PID)
}
