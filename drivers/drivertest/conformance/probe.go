package conformance

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
)

// maxIdle is how many reads and writes of one port may happen without any time passing before that is called spinning.
const maxIdle = 20_000

// A probe is a port under watch: it sees a driver that spins and ends it, and can be unplugged for good.
type probe struct {
	drivers.Port
	spins func()

	mu    sync.Mutex
	at    time.Time // guarded by mu; of the operations counted
	count int       // guarded by mu
	isOff atomic.Bool
}

// Close unplugs the port.
func (p *probe) Close() error {
	p.isOff.Store(true)
	return p.Port.Close()
}

// tick counts one operation. A driver that spins is ended by runtime.Goexit: in a bubble its time never passes.
func (p *probe) tick() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); !now.Equal(p.at) {
		p.at, p.count = now, 0
	}
	if p.count++; p.count > maxIdle {
		p.spins()
		runtime.Goexit()
	}
	if p.isOff.Load() {
		return fmt.Errorf("%w: unplugged", drivers.ErrGone)
	}
	return nil
}

func (p *probe) Read(b []byte) (int, error) {
	if err := p.tick(); err != nil {
		return 0, err
	}
	return p.Port.Read(b)
}

func (p *probe) Write(b []byte) (int, error) {
	if err := p.tick(); err != nil {
		return 0, err
	}
	return p.Port.Write(b)
}
