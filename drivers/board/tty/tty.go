// Package tty does with a serial port what its settings do not: it turns an RS-485 transceiver to sending and back, takes out the echo of
// what was sent, and tells what the kernel has made of the settings.
//
// # How exact the turning is
//
// With "kernel" the UART or its driver does it: within microseconds to a few bits. With "rts" and GPIO lines this process does. On is set
// before the first byte is written. Off is set once the UART says that its last bit is out (TIOCSERGETLSR), which is asked every 100 µs;
// where the port's driver cannot say, as with most USB adapters, at the time that the bytes need by their bit rate, plus one character and a
// millisecond. Both are late by whatever the scheduler adds. Of 500 turns on a PC with two cores and twice as much work as they can do, half
// were late by less than 0.1 ms and 5 by more than 0.6 ms (in a second run 4.4 ms), the last by 3 ms (78 ms). A unit may answer 3.5 characters after the request (1.75 ms above 19200 bit/s) and what it says before
// the turn is lost. Most answer after 5 ms and more, but those that do not need "kernel", or an adapter that switches by itself.
//
// # What is left behind
//
// However Write ends (an error, the end of its ctx, a panic, the port's closing), the transceiver is receiving afterwards. A process that is
// killed in mid-frame cannot see to that: with "rts" the kernel lets go of RTS as it closes the port, with "rts-low" and a GPIO line the
// transceiver stays as it was until the gateway starts again.
package tty

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
)

// A Switch turns an RS-485 transceiver to sending and back, and tells when all that was written is on the line.
type Switch interface {
	// Send turns the transceiver to sending (true) or to receiving (false).
	Send(on bool) error
	// Sent reports whether the last bit is out. An error wrapping errors.ErrUnsupported: no byte is left in the kernel, more is not known.
	Sent() (bool, error)
	// Nap blocks for d, at most a millisecond, more exactly than a timer of Go's.
	Nap(d time.Duration)
	// Close gives back what the switch has of its own. It does not turn the transceiver.
	Close() error
}

const (
	// nap is how often a Switch is asked whether all is sent, once it can be.
	nap = 100 * time.Microsecond
	// early is how long before that time the waiting for it is left to Nap: Go's timers are late by a millisecond.
	early = 1500 * time.Microsecond
	// usbFrame is how long an adapter that cannot tell may take before it begins to send: one frame of full-speed USB.
	usbFrame = time.Millisecond
	// hangs is how long the sending may take beyond the time of its bits.
	hangs = time.Second
	// echoLate is how long after the last bit an echo may come: USB adapters hand over what they received every 16 ms, and the machine may
	// be busy.
	echoLate = 100 * time.Millisecond
)

// A Port is a serial port on a line that is turned around for each Write, or that gives back what is sent, or both. Write returns when
// all is out, the transceiver is receiving and the echo has come and was right. Deadlines that stood when a Write began bound how long the
// kernel may take for its bytes, no more; one that is moved into the past meanwhile ends all of it. Read must not run beside Write.
type Port struct {
	terminal drivers.Port
	sw       Switch        // nil = the transceiver switches by itself
	char     time.Duration // one character on the line
	hasEcho  bool
	back     []byte // what came back, reused

	turn     sync.Mutex // guards isClosed, and the use of sw
	isClosed bool

	mu     sync.Mutex    // guards what follows, and the order of settings of the terminal's deadlines
	read   time.Time     // deadline of Read as the user has set it
	write  time.Time     // of Write
	cut    chan struct{} // closed when a Write in progress is to end; nil = there is none
	isCut  bool          // cut is closed
	isHeld bool          // Write waits for the echo: the terminal's read deadline is its own
}

var _ drivers.Port = (*Port)(nil)

// New returns a Port on the terminal p, one character of which takes char. It turns the transceiver by sw, nil where that is nobody's
// business here, and takes out the echo with hasEcho. Closing it closes p and sw.
func New(p drivers.Port, sw Switch, char time.Duration, hasEcho bool) *Port {
	return &Port{terminal: p, sw: sw, char: char, hasEcho: hasEcho}
}

// Read is the terminal's.
func (p *Port) Read(b []byte) (int, error) { return p.terminal.Read(b) }

// LineErrors returns what the terminal has counted, what came of an echo included. It is part of drivers.LineCounter.
func (p *Port) LineErrors() (drivers.LineErrors, error) {
	c, ok := p.terminal.(drivers.LineCounter)
	if !ok {
		return drivers.LineErrors{}, errors.New("count line errors: the terminal does not count them")
	}
	return c.LineErrors()
}

// Write sends b. Its errors are the terminal's; those of the transceiver's turning, which wrap drivers.ErrGone; and those of the echo,
// which wrap drivers.ErrEcho.
func (p *Port) Write(b []byte) (n int, err error) {
	if len(b) == 0 {
		return p.terminal.Write(b)
	}
	cut, isLate := p.begin()
	if isLate {
		return p.terminal.Write(b) // which sends nothing
	}
	defer p.end()
	start := time.Now()
	if p.sw == nil {
		n, err = p.terminal.Write(b)
	} else {
		n, err = p.send(b, cut)
	}
	if err == nil && p.hasEcho {
		err = p.listen(b, start.Add(p.wire(n)))
	}
	return n, err
}

// begin notes that a Write begins, unless its deadline has passed: then it is late.
func (p *Port) begin() (cut <-chan struct{}, isLate bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if isPast(p.write) {
		return nil, true
	}
	p.cut, p.isCut = make(chan struct{}), false
	return p.cut, false
}

func (p *Port) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = nil
}

// wire returns how long n characters take on the line.
func (p *Port) wire(n int) time.Duration { return time.Duration(n) * p.char }

// send writes b with the transceiver sending, and has it receiving again afterwards, whatever happens.
func (p *Port) send(b []byte, cut <-chan struct{}) (n int, err error) {
	defer func() {
		if e := p.direct(false); e != nil {
			err = also(err, fmt.Errorf("turn the transceiver to receiving: %w", e))
		}
	}()
	if err := p.direct(true); err != nil {
		return 0, fmt.Errorf("turn the transceiver to sending: %w", err)
	}
	start := time.Now()
	if n, err = p.terminal.Write(b); err != nil {
		return n, err
	}
	return n, p.drain(start, n, cut)
}

// direct turns the transceiver, but not once the port is closed: then it is receiving for good. The error wraps drivers.ErrGone.
func (p *Port) direct(on bool) error {
	p.turn.Lock()
	defer p.turn.Unlock()
	if p.isClosed {
		return nil
	}
	if err := p.sw.Send(on); err != nil {
		return fmt.Errorf("%w: %w", drivers.ErrGone, err)
	}
	return nil
}

// drain returns when the n bytes that were written since start are on the line to the last bit. No UART says so before they can be; a
// clock that is fast by 3 % is still one that works. The error wraps drivers.ErrGone: part of a frame is out.
func (p *Port) drain(start time.Time, n int, cut <-chan struct{}) error {
	wire := p.wire(n)
	if wait := wire*97/100 - early - time.Since(start); wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		select {
		case <-cut:
		case <-t.C:
		}
	}
	for {
		select {
		case <-cut:
			return fmt.Errorf("%w: part of %d bytes may be out: %w", drivers.ErrGone, n, os.ErrDeadlineExceeded)
		default:
		}
		isSent, err := p.sw.Sent()
		since := time.Since(start)
		switch {
		case errors.Is(err, errors.ErrUnsupported):
			isSent = since >= wire+p.char+usbFrame
		case err != nil:
			return fmt.Errorf("ask whether all is sent: %w: %w", drivers.ErrGone, err)
		}
		switch {
		case isSent && since >= wire*97/100:
			return nil
		case since >= wire+hangs:
			return fmt.Errorf("%w: the port has not sent %d bytes within %v, which take %v at its speed", drivers.ErrGone, n, wire+hangs, wire)
		}
		p.sw.Nap(nap)
	}
}

// SetReadDeadline sets the deadline of Read. One in the past ends a Write in progress as well.
func (p *Port) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.read = t
	switch {
	case isPast(t):
		p.cutLocked()
	case p.isHeld:
		return nil // set when the echo has come
	}
	return p.terminal.SetReadDeadline(t)
}

// SetWriteDeadline sets the deadline of Write. One in the past ends a Write in progress.
func (p *Port) SetWriteDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.write = t
	if isPast(t) {
		p.cutLocked()
		if p.isHeld {
			return errors.Join(p.terminal.SetReadDeadline(t), p.terminal.SetWriteDeadline(t))
		}
	}
	return p.terminal.SetWriteDeadline(t)
}

// isPast reports whether a deadline has passed; the zero time is none.
func isPast(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }

// cutLocked ends a Write in progress.
func (p *Port) cutLocked() {
	if p.cut != nil && !p.isCut {
		p.isCut = true
		close(p.cut)
	}
}

// also returns err with e beside it, on one line.
func also(err, e error) error {
	switch {
	case err == nil:
		return e
	case e == nil:
		return err
	}
	return fmt.Errorf("%w; %w", err, e)
}

// Close leaves the transceiver receiving and closes the port, which ends a Read or Write in progress. Closing twice is no error.
func (p *Port) Close() error {
	p.mu.Lock()
	p.cutLocked()
	p.mu.Unlock()
	var err error
	p.turn.Lock()
	if p.sw != nil && !p.isClosed {
		err = p.sw.Send(false)
	}
	wasClosed := p.isClosed
	p.isClosed = true
	p.turn.Unlock()
	err = errors.Join(err, p.terminal.Close())
	if p.sw != nil && !wasClosed {
		err = errors.Join(err, p.sw.Close())
	}
	return err
}
