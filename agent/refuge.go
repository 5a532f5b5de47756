package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/agent/box"
	"github.com/tidegate-io/tidegate/agent/place"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/buffer/lease"
	"github.com/tidegate-io/tidegate/rules"
)

// Where no disk can be written, the gateway keeps what it reads in a directory on tmpfs, the refuge: all is as on the disk, in an epoch of its own.
// It goes back once the disk can be written again and all that the refuge holds was delivered: so nothing is moved, lost or doubled.

const (
	// refugeBytes bounds the refuge. The reserve that the store keeps of it, 32 MB, is never used.
	refugeBytes = 80 << 20
	// refugeAfter is how long commits fail before it is used.
	refugeAfter = 15 * time.Second
	// returnEvery is how often it is tried whether the disk can be written again; the time doubles, up to returnLate, where it then cannot be used.
	returnEvery = 10 * time.Second
	returnLate  = 10 * time.Minute
	// returnLeft is how many records may wait in the refuge for a return to be tried: they are delivered on the way.
	returnLeft = 200
)

// A sitting says where Run keeps what is read, until it moves.
type sitting struct {
	dir    string
	memory bool // dir is the refuge
	bare   bool // its store has no files either: the system refuses to sync even those on tmpfs
	why    error
	state  [16]byte      // id of the state directory; zero = not known
	last   *lease.Lease  // what the lease of the state directory would say, had it been written
	anew   bool          // the state directory was deleted while the gateway ran
	tries  int           // returns that did not do
	rules  []rules.State // how they stood when the gateway moved here; nil = it did not
}

// moved ends a sitting, and says where the next one is.
type moved struct {
	to  sitting
	why error
}

// stay has the next sitting be where this one was, as not all was delivered on the way.
func (m *moved) stay(here sitting) {
	here.rules = m.to.rules
	here.tries++
	m.to = here
}

func (m *moved) Error() string { return fmt.Sprintf("move to %s: %v", m.to.dir, m.why) }
func (m *moved) Unwrap() error { return m.why }

// refuge returns the directory of the refuge.
func (a *Agent) refuge() string { return filepath.Join(a.parts.RingDir, "no-disk") }

// firstSitting is in the refuge where a process before this one was, as that may hold what is nowhere else.
func (a *Agent) firstSitting() sitting {
	if _, err := os.Stat(filepath.Join(a.refuge(), "numbers.a")); err == nil && place.IsMemory(a.parts.RingDir) {
		return sitting{dir: a.refuge(), memory: true, why: errors.New("a process before this one could write no disk")}
	}
	return sitting{dir: a.cfg.StateDir}
}

// unusable reports whether err says that the disk cannot be used as it is now.
func unusable(err error) bool {
	if err == nil || errors.Is(err, place.ErrRunning) || errors.Is(err, buffer.ErrKey) {
		return false
	}
	return buffer.CausedBy(err, unix.EROFS, unix.EIO, unix.EACCES, unix.EPERM, unix.ENOTDIR, unix.EISDIR, unix.ENODEV, unix.ENXIO, unix.ENOTCONN, unix.ESTALE,
		unix.ELOOP, unix.ENOENT, unix.ENAMETOOLONG, unix.EAGAIN)
}

// orRefuge returns err, which ends a start on the disk, or the way into the refuge where that helps. l may be nil.
func (a *Agent) orRefuge(err error, l *opened) error {
	if a.sits.memory && !a.sits.bare && unusable(err) {
		to := a.sits
		to.bare = true
		return &moved{to, err}
	}
	if a.sits.memory || !unusable(err) || !place.IsMemory(a.parts.RingDir) {
		return err
	}
	to := sitting{dir: a.refuge(), memory: true, why: err, last: a.sits.last, state: a.sits.state, tries: a.sits.tries + 1, rules: a.sits.rules}
	if l != nil && l.state != ([16]byte{}) {
		to.state = l.state
	}
	if last, ok := lease.Peek(a.cfg.StateDir); ok && to.state == ([16]byte{}) {
		to.state = last.State
	}
	return &moved{to, err}
}

// watchDisk returns where to move, nil where the gateway stays where it is.
func (a *Agent) watchDisk(l *opened, since time.Time) error {
	if a.sits.memory {
		return a.mayReturn(l, since)
	}
	switch gone, other := l.claim.IsGone(); {
	case other:
		l.foreign = true
		return fmt.Errorf("another directory was put in place of %s while it was used: the next start goes by what lies there", a.cfg.StateDir)
	case gone:
		last := a.leaseOf(l, false)
		return &moved{sitting{dir: a.cfg.StateDir, state: l.state, last: &last, anew: true}, fmt.Errorf("state directory %s was deleted", a.cfg.StateDir)}
	}
	at, err := a.trouble.since()
	canMove := unusable(err) && place.IsMemory(a.parts.RingDir)
	if errors.Is(err, buffer.ErrReopen) && !canMove {
		return err // another process opens it
	}
	if at.IsZero() || time.Since(at) < refugeAfter || !canMove {
		return nil
	}
	last := a.leaseOf(l, true)
	return &moved{sitting{dir: a.refuge(), memory: true, why: err, state: l.state, last: &last}, err}
}

// leaseOf returns what the lease of a running line would say if it were written now; clean = as after an orderly stop.
func (a *Agent) leaseOf(l *opened, clean bool) lease.Lease {
	last := l.lease.Last()
	_, next := l.line.Numbers()
	last.Clean, last.Last = clean, next-1
	last.Cursors = last.Cursors[:0:0]
	for _, c := range l.queue.Coarse() {
		last.Cursors = append(last.Cursors, lease.Cursor(c))
	}
	if len(last.Cursors) == 0 {
		for i := range a.cfg.Uplinks {
			last.Cursors = append(last.Cursors, lease.Cursor{Uplink: a.cfg.Uplinks[i].Name, Epoch: last.Epoch, Number: max(last.Start, 1) - 1})
		}
	}
	return last
}

// leaveDisk notes what the lease of the disk would say, where the gateway is about to leave it: numbers were given and records confirmed until now.
func (a *Agent) leaveDisk(l *opened, m *moved) {
	if m != nil && !a.sits.memory {
		last := a.leaseOf(l, m.to.last.Clean)
		m.to.last = &last
	}
}

// mayReturn returns the way back to the disk, if that can be written and hardly anything waits.
func (a *Agent) mayReturn(l *opened, since time.Time) error {
	if time.Since(since) < min(returnEvery<<min(a.sits.tries, 10), returnLate) || left(l) > returnLeft {
		return nil
	}
	if err := place.Usable(a.cfg.StateDir); err != nil {
		a.board.set("no_disk", "", true, err.Error())
		return nil
	}
	return &moved{sitting{dir: a.cfg.StateDir, last: a.sits.last, tries: a.sits.tries}, errors.New("the disk can be written again")}
}

// left returns how many records wait for an uplink.
func left(l *opened) (n uint64) {
	for _, c := range l.queue.Stats().Cursors {
		for _, t := range c.Buffered {
			n += t.Records
		}
	}
	return n
}

// arrive tidies up before the sitting s begins, which m led to from the sitting before.
func (a *Agent) arrive(before, s sitting) {
	if !before.memory || s.memory {
		return
	}
	if err := errors.Join(os.RemoveAll(before.dir), box.Remove(a.parts.RingDir)); err != nil { // all in them was delivered
		a.log.Error("remove what was kept in memory", "err", err)
	}
}

// refugeSpace returns the free and the total bytes of the refuge.
func refugeSpace(dir string) (free, total int64, err error) { return place.Space(dir, refugeBytes) }
