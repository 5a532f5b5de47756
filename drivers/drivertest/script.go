package drivertest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
)

// An Exchange is one step of a Script: the driver has to write Want; then Reply arrives After a pause. Either may be empty.
type Exchange struct {
	Want  []byte
	Reply []byte
	After time.Duration
	Gone  bool // the port is unplugged at the end of this step; the driver has to open it anew for the next
}

// A Script is a far end that knows exactly what will be said, by both sides: a Write of other bytes than it wants fails, and so
// does Close when a part of the script was not used. It does not mind how writes and reads are cut into pieces.
type Script struct {
	name string

	mu      sync.Mutex
	steps   []Exchange // guarded by mu; what is still to come
	partial int        // guarded by mu; bytes of steps[0].Want that were written
	current *Wire      // guarded by mu; the port that is open
	err     error      // guarded by mu; the first deviation
}

// NewScript returns a Script, called name in its errors; its Open method is the Opener to put into a Host.
func NewScript(name string, exchanges ...Exchange) *Script {
	return &Script{name: name, steps: slices.Clone(exchanges)}
}

// Open gives the port; it has to be gone or closed before it is opened again.
func (s *Script) Open(context.Context) (drivers.Port, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &Wire{Answer: s.written}
	s.current = w
	s.playLocked()
	return w, nil
}

// playLocked says all that comes before the next thing that the driver has to write.
func (s *Script) playLocked() {
	for len(s.steps) > 0 && s.partial == len(s.steps[0].Want) {
		x := s.steps[0]
		s.steps, s.partial = s.steps[1:], 0
		if len(x.Reply) > 0 {
			s.current.SayAfter(x.After, x.Reply)
		}
		if x.Gone {
			s.current.HangUp()
			return
		}
	}
}

// written compares what the driver wrote with what it has to write.
func (s *Script) written(w *Wire, b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(b) > 0 && s.err == nil {
		if len(s.steps) == 0 {
			s.err = fmt.Errorf("%s: got %s, want nothing more", s.name, short(b))
			break
		}
		want := s.steps[0].Want[s.partial:]
		n := min(len(want), len(b))
		if !bytes.Equal(want[:n], b[:n]) {
			s.err = fmt.Errorf("%s: got %s, want %s (%d steps before the end)", s.name, short(b), short(want), len(s.steps)-1)
			break
		}
		b = b[n:]
		s.partial += n
		s.playLocked()
	}
	if s.err != nil {
		w.HangUp()
	}
}

// Close returns the first deviation from the script, or what was not used of it.
func (s *Script) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.err != nil:
		return s.err
	case len(s.steps) > 0:
		x := s.steps[0]
		return fmt.Errorf("%s: %d steps were not used, the next wants %s", s.name, len(s.steps), short(x.Want[s.partial:]))
	case s.current != nil && s.current.unread() > 0:
		return fmt.Errorf("%s: %d bytes were not read", s.name, s.current.unread())
	}
	return nil
}

// unread returns how many bytes were said and not read.
func (w *Wire) unread() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, b := range w.bursts {
		n += len(b.bytes)
	}
	return n
}

// short returns b in hexadecimal, at most 32 bytes of it.
func short(b []byte) string {
	if len(b) > 32 {
		return fmt.Sprintf("% x ... (%d bytes)", b[:32], len(b))
	}
	return fmt.Sprintf("% x", b)
}
