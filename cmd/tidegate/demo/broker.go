package demo

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
)

// A broker is an embedded broker that can be stopped and started again on the same two ports: one for the gateway, whose bytes are counted,
// and one for the receiver. As one with a disk does, it keeps sessions and retained payloads over a stop.
type broker struct {
	gateway, receiver gate
	server            *mqtt.Server
}

// open makes the broker; it is stopped.
func (b *broker) open() error {
	for _, g := range []*gate{&b.gateway, &b.receiver} {
		g.address, g.conns, g.turn = "127.0.0.1:0", map[net.Conn]bool{}, make(chan struct{})
	}
	b.server = mqtt.New(&mqtt.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	err := errors.Join(
		b.start(), // listeners are asked for their addresses
		b.server.AddHook(new(auth.AllowHook), nil),
		b.server.AddListener(listeners.NewNet("gateway", &b.gateway)),
		b.server.AddListener(listeners.NewNet("receiver", &b.receiver)),
	)
	if err == nil {
		err = b.server.Serve()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("broker of the demo: %w", err), b.close())
	}
	return nil
}

// start opens the ports, the first time any free ones.
func (b *broker) start() error {
	if err := errors.Join(b.gateway.open(), b.receiver.open()); err != nil {
		return fmt.Errorf("broker of the demo: %w", err)
	}
	return nil
}

// stop closes the ports and cuts all connections.
func (b *broker) stop() error { return errors.Join(b.gateway.shut(), b.receiver.shut()) }

// close ends the broker.
func (b *broker) close() error {
	if b.server == nil {
		return nil
	}
	return errors.Join(b.stop(), b.server.Close())
}

// A gate is a listener that can be shut, with all its connections, and opened again on the same address.
type gate struct {
	bytes atomic.Uint64 // to and from those who came in

	mu      sync.Mutex // guards all below
	address string     // host:port
	inner   net.Listener
	conns   map[net.Conn]bool
	turn    chan struct{} // closed when the gate opens or is closed for good
	closed  bool
}

func (g *gate) open() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inner != nil || g.closed {
		return nil
	}
	l, err := net.Listen("tcp", g.address)
	if err != nil {
		return err
	}
	g.inner, g.address = l, l.Addr().String()
	close(g.turn)
	return nil
}

func (g *gate) shut() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inner == nil {
		return nil
	}
	err := g.inner.Close()
	for c := range g.conns {
		_ = c.Close() // it may have ended by itself
	}
	clear(g.conns)
	g.inner, g.turn = nil, make(chan struct{})
	return err
}

// Accept waits while the gate is shut.
func (g *gate) Accept() (net.Conn, error) {
	for {
		g.mu.Lock()
		l, turn, closed := g.inner, g.turn, g.closed
		g.mu.Unlock()
		switch {
		case closed:
			return nil, net.ErrClosed
		case l == nil:
			<-turn
			continue
		}
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			continue // shut: the next turn says for how long
		}
		if err != nil {
			return nil, err
		}
		return g.enter(c, l), nil
	}
}

// enter counts and remembers a connection that came in by l; where that was shut meanwhile it is cut.
func (g *gate) enter(c net.Conn, l net.Listener) net.Conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inner == l {
		g.conns[c] = true
	} else {
		_ = c.Close() // whoever reads it will see
	}
	return &passed{Conn: c, gate: g}
}

// Close ends Accept for good.
func (g *gate) Close() error {
	err := g.shut()
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.closed = true
		close(g.turn)
	}
	return err
}

// Addr returns the address, which stays while the gate is shut.
func (g *gate) Addr() net.Addr {
	g.mu.Lock()
	defer g.mu.Unlock()
	a, err := net.ResolveTCPAddr("tcp", g.address)
	if err != nil {
		return &net.TCPAddr{}
	}
	return a
}

// passed is a connection that came in by a gate.
type passed struct {
	net.Conn
	gate *gate
}

func (c *passed) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.gate.bytes.Add(uint64(n))
	return n, err
}

func (c *passed) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.gate.bytes.Add(uint64(n))
	return n, err
}

func (c *passed) Close() error {
	c.gate.mu.Lock()
	delete(c.gate.conns, c.Conn)
	c.gate.mu.Unlock()
	return c.Conn.Close()
}
