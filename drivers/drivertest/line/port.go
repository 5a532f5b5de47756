package line

import (
	"fmt"
	"os"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
)

// kernelBuffer is how many bytes wait for a reader at most: N_TTY_BUF_SIZE.
const kernelBuffer = 4096

// wake is how long after a character's last look a program can read it: interrupt, kernel and scheduler take that at least.
const wake = int64(100 * time.Microsecond)

// received is a byte that waits for the gateway's program.
type received struct {
	c  byte
	at int64 // when it can be read
}

// counts are those of the gateway's UART.
type counts = drivers.LineErrors

// A Port is the gateway's end of the line, as an open serial port is. It is a drivers.Port and a drivers.LineCounter.
type Port struct {
	l        *Line
	changed  chan struct{} // guarded by l.mu; closed at the next change
	readBy   time.Time     // guarded by l.mu
	writeBy  time.Time     // guarded by l.mu
	isClosed bool          // guarded by l.mu
}

var (
	_ drivers.Port        = (*Port)(nil)
	_ drivers.LineCounter = (*Port)(nil)
)

// Open opens the gateway's port with the settings of u. One that was open is of no use any more.
func (l *Line) Open(u UART) *Port {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advance(l.clock())
	if l.port != nil {
		l.port.closeLocked()
	}
	n := l.nodes[0]
	n.uart, n.rx = u, receiver{UART: u, at: never, waits: !n.seen}
	l.inbox = nil
	l.port = &Port{l: l, changed: make(chan struct{})}
	return l.port
}

// clock returns the time.
func (l *Line) clock() int64 { return int64(time.Since(l.start)) }

// receive gives a character to the gateway as the kernel does.
func (l *Line) receive(c char) {
	b, checks := c.c, l.nodes[0].uart.Parity != "none"
	switch {
	case c.isBreak:
		l.count.Break++
		b = 0
	case c.isParity:
		l.count.Parity++
	case c.isFraming:
		l.count.Framing++
	}
	if checks && (c.isParity || c.isFraming) {
		b = 0
	}
	if len(l.inbox) >= kernelBuffer {
		l.count.Overrun++
		return
	}
	at := l.now + wake
	if every := int64(l.config.Latency); every > 0 {
		at = (at + every - 1) / every * every
	}
	l.inbox = append(l.inbox, received{b, at})
}

// Read returns what the gateway received.
func (p *Port) Read(b []byte) (int, error) {
	for {
		n, changed, pause, err := p.take(b)
		if n > 0 || err != nil || len(b) == 0 {
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
func (p *Port) take(b []byte) (n int, changed <-chan struct{}, pause time.Duration, err error) {
	l := p.l
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advance(l.clock())
	switch {
	case p.isClosed:
		return 0, nil, 0, fmt.Errorf("%w: closed", drivers.ErrGone)
	case !p.readBy.IsZero() && !time.Now().Before(p.readBy):
		return 0, nil, 0, os.ErrDeadlineExceeded
	}
	for n < len(b) && n < len(l.inbox) && l.inbox[n].at <= l.now {
		b[n] = l.inbox[n].c
		n++
	}
	if l.inbox = l.inbox[n:]; n > 0 {
		return n, nil, 0, nil
	}
	at := l.next()
	if at != never { // the line is looked at once a character, not once a bit
		u := l.nodes[0].uart
		at = max(at, l.now+int64(float64(u.length())*u.bit()))
	}
	if len(l.inbox) > 0 {
		at = l.inbox[0].at
	}
	if !p.readBy.IsZero() {
		at = min(at, int64(p.readBy.Sub(l.start)))
	}
	if at == never {
		return 0, p.changed, -1, nil
	}
	return 0, p.changed, time.Duration(at - l.now), nil
}

// Write sends b, behind what is being sent, and does not wait for it to be out.
func (p *Port) Write(b []byte) (int, error) {
	l := p.l
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advance(l.clock())
	switch {
	case p.isClosed:
		return 0, fmt.Errorf("%w: closed", drivers.ErrGone)
	case !p.writeBy.IsZero() && !time.Now().Before(p.writeBy):
		return 0, os.ErrDeadlineExceeded
	}
	l.nodes[0].send(l.now, b, 0)
	p.wakeLocked() // a Read in progress: there is something to wait for now
	return len(b), nil
}

// LineErrors returns what the gateway's UART has counted.
func (p *Port) LineErrors() (drivers.LineErrors, error) {
	l := p.l
	l.mu.Lock()
	defer l.mu.Unlock()
	l.advance(l.clock())
	return l.count, nil
}

// SetReadDeadline sets the deadline of Reads, the one in progress included; see net.Conn.
func (p *Port) SetReadDeadline(t time.Time) error {
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	p.readBy = t
	p.wakeLocked()
	return nil
}

// SetWriteDeadline sets the deadline of Writes; see net.Conn.
func (p *Port) SetWriteDeadline(t time.Time) error {
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	p.writeBy = t
	return nil
}

// Close closes the port, which ends a Read in progress.
func (p *Port) Close() error {
	p.l.mu.Lock()
	defer p.l.mu.Unlock()
	p.closeLocked()
	return nil
}

func (p *Port) closeLocked() {
	p.isClosed = true
	p.wakeLocked()
}

func (p *Port) wakeLocked() {
	close(p.changed)
	p.changed = make(chan struct{})
}
