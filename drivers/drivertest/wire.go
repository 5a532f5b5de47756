package drivertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
)

// An Opener opens a fake port, each time that the bus on it is used for the first time or again after it was gone.
type Opener func(ctx context.Context) (drivers.Port, error)

// A Wire is a fake port whose far end is driven by calls instead of by a goroutine. What the far end says is read burst by burst:
// a Read never returns bytes of two of them. In a synctest bubble its pauses cost nothing. It is safe for concurrent use.
type Wire struct {
	// Answer is called with what each Write wrote, and says what there is to say with Say, SayAfter or HangUp. nil = nothing.
	Answer func(w *Wire, written []byte)
	// Next is called when a Read finds nothing to read: what the far end says by itself, and after which pause. nil, and no
	// bytes from it, = nothing more.
	Next func() (burst []byte, pause time.Duration)

	mu        sync.Mutex
	bursts    []burst       // guarded by mu; what waits to be read
	changed   chan struct{} // guarded by mu; closed at the next change; nil = no Read waits
	readBy    time.Time     // guarded by mu; zero = no deadline
	writeBy   time.Time     // guarded by mu; zero = no deadline
	isHungUp  bool          // guarded by mu; the far end is gone once bursts are read
	isClosed  bool          // guarded by mu; Close was called
	isDrained bool          // guarded by mu; Next has nothing more
}

type burst struct {
	at    time.Time // when it arrives
	bytes []byte
}

var _ drivers.Port = (*Wire)(nil)

// Say makes b arrive now, as one burst behind those on their way.
func (w *Wire) Say(b []byte) { w.SayAfter(0, b) }

// SayAfter makes b arrive as one burst, pause after the one before it has, or after now if that has.
func (w *Wire) SayAfter(pause time.Duration, b []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sayLocked(pause, b)
}

func (w *Wire) sayLocked(pause time.Duration, b []byte) {
	at := time.Now()
	if n := len(w.bursts); n > 0 && w.bursts[n-1].at.After(at) {
		at = w.bursts[n-1].at
	}
	w.bursts = append(w.bursts, burst{at.Add(pause), append([]byte(nil), b...)})
	w.changedLocked()
}

// HangUp unplugs the port: once what was said is read, reads and writes return errors wrapping drivers.ErrGone.
func (w *Wire) HangUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isHungUp = true
	w.changedLocked()
}

func (w *Wire) changedLocked() {
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
}

// Read waits for the next burst.
func (w *Wire) Read(p []byte) (int, error) {
	for {
		n, changed, pause, err := w.take(p)
		if n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
		if pause < 0 {
			<-changed
			continue
		}
		t := time.NewTimer(pause)
		select {
		case <-changed:
		case <-t.C:
		}
		t.Stop()
	}
}

// take reads what there is. If there is nothing, it returns when to look again: after a change, or after pause (-1 = never).
func (w *Wire) take(p []byte) (n int, changed <-chan struct{}, pause time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	switch {
	case w.isClosed:
		return 0, nil, 0, fmt.Errorf("%w: closed", drivers.ErrGone)
	case !w.readBy.IsZero() && !now.Before(w.readBy):
		return 0, nil, 0, os.ErrDeadlineExceeded
	}
	if len(w.bursts) == 0 && w.Next != nil && !w.isHungUp && !w.isDrained {
		b, pause := w.Next()
		if len(b) == 0 {
			w.isDrained = true
		} else {
			w.sayLocked(pause, b)
		}
	}
	pause = -1
	if len(w.bursts) > 0 {
		first := &w.bursts[0]
		if !first.at.After(now) {
			n = copy(p, first.bytes)
			if first.bytes = first.bytes[n:]; len(first.bytes) == 0 {
				w.bursts = w.bursts[1:]
			}
			return n, nil, 0, nil
		}
		pause = first.at.Sub(now)
	} else if w.isHungUp {
		return 0, nil, 0, fmt.Errorf("%w: unplugged", drivers.ErrGone)
	}
	if !w.readBy.IsZero() && (pause < 0 || w.readBy.Sub(now) < pause) {
		pause = w.readBy.Sub(now)
	}
	if w.changed == nil {
		w.changed = make(chan struct{})
	}
	return 0, w.changed, pause, nil
}

// Write hands p to Answer.
func (w *Wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	switch {
	case w.isClosed:
		w.mu.Unlock()
		return 0, fmt.Errorf("%w: closed", drivers.ErrGone)
	case w.isHungUp:
		w.mu.Unlock()
		return 0, fmt.Errorf("%w: unplugged", drivers.ErrGone)
	case !w.writeBy.IsZero() && !time.Now().Before(w.writeBy):
		w.mu.Unlock()
		return 0, os.ErrDeadlineExceeded
	}
	w.mu.Unlock()
	if w.Answer != nil {
		w.Answer(w, append([]byte(nil), p...))
	}
	return len(p), nil
}

// SetReadDeadline sets the deadline of Reads, the one in progress included; see net.Conn.
func (w *Wire) SetReadDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.readBy = t
	w.changedLocked()
	return nil
}

// SetWriteDeadline sets the deadline of Writes; see net.Conn.
func (w *Wire) SetWriteDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writeBy = t
	return nil
}

// Close closes the port, which ends a Read in progress.
func (w *Wire) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isClosed = true
	w.changedLocked()
	return nil
}

// Answers returns an Opener of Wires on which every Write is answered by what answer returns, at once and as one burst. It is the
// far end of drivers that ask, and write a request with one Write.
func Answers(answer func(request []byte) (reply []byte)) Opener {
	return func(context.Context) (drivers.Port, error) {
		return &Wire{Answer: func(w *Wire, written []byte) {
			if reply := answer(written); len(reply) > 0 {
				w.Say(reply)
			}
		}}, nil
	}
}

// Says returns an Opener of Wires on which the bursts arrive one every pause, over and over. It is the far end of drivers that
// listen.
func Says(pause time.Duration, bursts ...string) Opener {
	return func(context.Context) (drivers.Port, error) {
		n := 0
		return &Wire{Next: func() ([]byte, time.Duration) {
			if len(bursts) == 0 {
				return nil, 0
			}
			b := bursts[n%len(bursts)]
			n++
			return []byte(b), pause
		}}, nil
	}
}

// Pipes returns an Opener of net.Pipes, and the far ends in the order in which they were opened: for far ends that a test runs in
// a goroutine of its own. At most eight may wait to be taken.
func Pipes() (Opener, <-chan net.Conn) {
	far := make(chan net.Conn, 8)
	return func(ctx context.Context) (drivers.Port, error) {
		a, b := net.Pipe()
		select {
		case far <- b:
			return a, nil
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), a.Close(), b.Close())
		}
	}, far
}
