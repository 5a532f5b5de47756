package bed

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/drivers/modbus/slave"
)

// A Port is a free TCP port of the loopback behind which a slave answers, until the test ends.
type Port struct {
	t      testing.TB
	listen net.Listener

	mu    sync.Mutex // guards all below
	conns int        // connections that are served
	gone  func()     // called behind the end of each; nil = nobody wants to know
}

// NewPort puts s behind a port.
func NewPort(t testing.TB, s *slave.Slave) *Port {
	t.Helper()
	p := &Port{t: t}
	var err error
	if p.listen, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := p.listen.Accept()
			if err != nil {
				return
			}
			p.count(1)
			wg.Go(func() {
				defer p.over()
				// A killed gateway resets its connections.
				if err := s.ServeTCP(ctx, c); err != nil && !strings.Contains(err.Error(), "reset by peer") && !strings.Contains(err.Error(), "broken pipe") {
					t.Errorf("slave: %v", err)
				}
			})
		}
	})
	t.Cleanup(func() { cancel(); _ = p.listen.Close(); wg.Wait() })
	return p
}

// Address returns the port as configurations want it.
func (p *Port) Address() string { return "tcp://" + p.listen.Addr().String() }

func (p *Port) count(d int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns += d
}

// over notes the end of a connection.
func (p *Port) over() {
	p.mu.Lock()
	gone := p.gone
	p.mu.Unlock()
	if gone != nil {
		gone()
	}
	p.count(-1)
}

// Stopped waits until the requests that a gateway had sent, whose process has ended, are answered.
func (p *Port) Stopped() {
	p.t.Helper()
	Wait(p.t, "the end of the killed gateway's connections", 30*time.Second, func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.conns == 0
	})
}
