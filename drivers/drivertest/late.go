package drivertest

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
)

// A Late makes the far ends of a machine answer too late: nothing comes until Answer, and then all that they have said, at once, and
// nothing more. Its method Wrap is a Host's. It is safe for concurrent use.
type Late struct{ isAsked, isOver atomic.Bool }

// Wrap returns p with its answers held back.
func (l *Late) Wrap(p drivers.Port) drivers.Port { return &latePort{Port: p, late: l} }

// IsAsked reports whether something was written to a port.
func (l *Late) IsAsked() bool { return l.isAsked.Load() }

// Answer lets come what was held back. What is written from now on does not arrive.
func (l *Late) Answer() { l.isOver.Store(true) }

// A latePort is a port of a Late.
type latePort struct {
	drivers.Port
	late *Late
	out  Wire // what comes after Answer

	mu   sync.Mutex
	kept [][]byte // guarded by mu; said, and not on out yet
}

func (p *latePort) Write(b []byte) (int, error) {
	if p.late.isOver.Load() {
		return p.out.Write(b)
	}
	p.late.isAsked.Store(true)
	return p.Port.Write(b)
}

// Read keeps what comes until its deadline, and after Answer gives it.
func (p *latePort) Read(b []byte) (int, error) {
	for buf := make([]byte, 4096); !p.late.isOver.Load(); {
		n, err := p.Port.Read(buf)
		if n > 0 {
			p.mu.Lock()
			p.kept = append(p.kept, append([]byte(nil), buf[:n]...))
			p.mu.Unlock()
		}
		if err != nil {
			return 0, err
		}
	}
	p.mu.Lock()
	for _, burst := range p.kept {
		p.out.Say(burst)
	}
	p.kept = nil
	p.mu.Unlock()
	return p.out.Read(b)
}

func (p *latePort) SetReadDeadline(t time.Time) error {
	return errors.Join(p.Port.SetReadDeadline(t), p.out.SetReadDeadline(t))
}

func (p *latePort) Close() error { return errors.Join(p.Port.Close(), p.out.Close()) }
