package main

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

// A demoBroker is an embedded broker that can be stopped and started again on the same two ports: one for the gateway, whose bytes are
// counted, and one for the receiver. It keeps no session and no retained payload over a stop.
type demoBroker struct {
	gateway  string // host:port
	receiver string
	bytes    atomic.Uint64 // to and from the gateway

	mu     sync.Mutex // guards server
	server *mqtt.Server
}

// start opens the ports; the first time any free ones.
func (b *demoBroker) start() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.server != nil {
		return nil
	}
	if b.gateway == "" {
		b.gateway, b.receiver = "127.0.0.1:0", "127.0.0.1:0"
	}
	forGateway, err := net.Listen("tcp", b.gateway)
	if err != nil {
		return fmt.Errorf("broker of the demo: %w", err)
	}
	forReceiver, err := net.Listen("tcp", b.receiver)
	if err != nil {
		return errors.Join(fmt.Errorf("broker of the demo: %w", err), forGateway.Close())
	}
	b.gateway, b.receiver = forGateway.Addr().String(), forReceiver.Addr().String()
	s := mqtt.New(&mqtt.Options{InlineClient: false, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	err = errors.Join(
		s.AddHook(new(auth.AllowHook), nil),
		s.AddListener(listeners.NewNet("gateway", &countedListener{forGateway, &b.bytes})),
		s.AddListener(listeners.NewNet("receiver", forReceiver)),
	)
	if err == nil {
		err = s.Serve()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("broker of the demo: %w", err), s.Close())
	}
	b.server = s
	return nil
}

// stop cuts all connections and closes the ports.
func (b *demoBroker) stop() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.server == nil {
		return nil
	}
	s := b.server
	b.server = nil
	return s.Close()
}

// countedListener counts the bytes of its connections.
type countedListener struct {
	net.Listener
	n *atomic.Uint64
}

func (l *countedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countedConn{c, l.n}, nil
}

type countedConn struct {
	net.Conn
	n *atomic.Uint64
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.n.Add(uint64(n))
	return n, err
}

func (c *countedConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.n.Add(uint64(n))
	return n, err
}
