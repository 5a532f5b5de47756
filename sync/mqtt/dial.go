package mqtt

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// dial opens the byte stream to u: TCP, TLS or a WebSocket.
func (o *Options) dial(ctx context.Context, u *url.URL) (net.Conn, error) {
	switch u.Scheme {
	case "ws", "wss":
		return o.dialWebSocket(ctx, u)
	case "mqtts":
		return o.dialTLS(ctx, u)
	}
	return o.Dial(ctx, "tcp", u.Host)
}

func (o *Options) dialTLS(ctx context.Context, u *url.URL) (net.Conn, error) {
	raw, err := o.Dial(ctx, "tcp", u.Host)
	if err != nil {
		return nil, err
	}
	c := tls.Client(raw, o.tlsFor(u))
	if err := c.HandshakeContext(ctx); err != nil {
		_ = raw.Close() // the handshake's error says more
		return nil, err
	}
	return c, nil
}

// tlsFor returns the TLS settings for u.
func (o *Options) tlsFor(u *url.URL) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.TLS != nil {
		c = o.TLS.Clone()
	}
	if c.ServerName == "" {
		c.ServerName = u.Hostname()
	}
	return c
}

func (o *Options) dialWebSocket(ctx context.Context, u *url.URL) (net.Conn, error) {
	var raw *bounded
	d := websocket.Dialer{
		Proxy: http.ProxyFromEnvironment,
		NetDialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := o.Dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			raw = &bounded{Conn: c, left: maxHandshake}
			return raw, nil
		},
		HandshakeTimeout: connectTimeout,
		Subprotocols:     []string{"mqtt"}, // MQTT 3.1.1 section 6
		TLSClientConfig:  o.tlsFor(u),
	}
	ws, resp, err := d.DialContext(ctx, u.String(), nil)
	if err != nil && resp != nil {
		return nil, fmt.Errorf("open WebSocket: broker answered %.100s: is the path of the address right?", resp.Status)
	}
	if err != nil {
		return nil, fmt.Errorf("open WebSocket: %w", err)
	}
	raw.left = -1
	return &stream{ws: ws}, nil
}

// maxHandshake is how many bytes a broker may send, those of TLS included, before the WebSocket is open: the library takes header lines
// without an end.
const maxHandshake = 256 << 10

// bounded is a connection of which only so many bytes can be read.
type bounded struct {
	net.Conn
	left int // bytes; negative = no bound. Read by one goroutine, that which opens the connection and then that which reads it
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, fmt.Errorf("the answer has more than %d bytes", maxHandshake)
	}
	if b.left > 0 && len(p) > b.left {
		p = p[:b.left]
	}
	n, err := b.Conn.Read(p)
	if b.left > 0 {
		b.left -= n
	}
	return n, err
}

// stream makes a byte stream of the binary frames of a WebSocket (MQTT 3.1.1 section 6: packets need not align with frames).
// Reads are made by one goroutine; writes by any.
type stream struct {
	ws *websocket.Conn
	in io.Reader // the rest of the current frame
	mu sync.Mutex
}

func (s *stream) Read(p []byte) (int, error) {
	for {
		if s.in == nil {
			_, r, err := s.ws.NextReader()
			if err != nil {
				return 0, err
			}
			s.in = r
		}
		n, err := s.in.Read(p)
		if err == io.EOF {
			s.in, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.ws.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *stream) Close() error                       { return s.ws.Close() }
func (s *stream) LocalAddr() net.Addr                { return s.ws.LocalAddr() }
func (s *stream) RemoteAddr() net.Addr               { return s.ws.RemoteAddr() }
func (s *stream) SetReadDeadline(t time.Time) error  { return s.ws.SetReadDeadline(t) }
func (s *stream) SetWriteDeadline(t time.Time) error { return s.ws.SetWriteDeadline(t) }

func (s *stream) SetDeadline(t time.Time) error {
	if err := s.ws.SetReadDeadline(t); err != nil {
		return err
	}
	return s.ws.SetWriteDeadline(t)
}
