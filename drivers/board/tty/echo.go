package tty

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
)

// listen reads back what was sent, the last bit of which is out at sent or now, whichever is later. Its errors wrap drivers.ErrEcho,
// os.ErrDeadlineExceeded where Write was cut, or are the terminal's. What comes after the first wrong byte stays unread.
func (p *Port) listen(sent []byte, out time.Time) (err error) {
	if now := time.Now(); out.Before(now) {
		out = now
	}
	if err := p.hold(out.Add(echoLate)); err != nil {
		return fmt.Errorf("wait for the echo: %w", err)
	}
	defer func() { err = also(err, p.release()) }()
	return p.compare(sent)
}

// hold sets the terminal's read deadline for the echo.
func (p *Port) hold(end time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isCut {
		return os.ErrDeadlineExceeded
	}
	p.isHeld = true
	return p.terminal.SetReadDeadline(end)
}

// release sets it back to what the user wants.
func (p *Port) release() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.isHeld = false
	return p.terminal.SetReadDeadline(p.read)
}

// compare reads as many bytes as were sent and no more: the reply may be behind them.
func (p *Port) compare(sent []byte) error {
	if cap(p.back) < len(sent) {
		p.back = make([]byte, len(sent))
	}
	back := p.back[:len(sent)]
	for n := 0; n < len(sent); {
		m, err := p.terminal.Read(back[n:])
		for i := n; i < n+m; i++ {
			if back[i] != sent[i] {
				return fmt.Errorf("%w: byte %d of %d came back as 0x%02x, want 0x%02x; a second master or a late reply on the line, or noise",
					drivers.ErrEcho, i+1, len(sent), back[i], sent[i])
			}
		}
		n += m
		switch {
		case n == len(sent) || err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded) && p.wasCut():
			return fmt.Errorf("wait for the echo: %w", err)
		case errors.Is(err, os.ErrDeadlineExceeded) && n == 0:
			return fmt.Errorf("%w: echo is set, but none of %d bytes came back within %v of the last bit; leave echo out if the adapter keeps it "+
				"back, else see whether the transceiver gets to sending", drivers.ErrEcho, len(sent), echoLate)
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("%w: only %d of %d bytes came back within %v of the last bit; a second master on the line, or noise",
				drivers.ErrEcho, n, len(sent), echoLate)
		default:
			return err
		}
	}
	return nil
}

func (p *Port) wasCut() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.isCut
}
