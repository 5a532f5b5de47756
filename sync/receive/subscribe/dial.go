package subscribe

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// tcpUserTimeout is the socket option TCP_USER_TIMEOUT (tcp(7), linux/tcp.h), milliseconds: how long written bytes may stay
// unacknowledged before the connection is given up. Package syscall does not name it.
const (
	tcpUserTimeout   = 18
	tcpUserTimeoutMS = 30_000
)

// brokerURL returns text as paho wants it: scheme tcp or tls, and a port.
func brokerURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	scheme, port := "", ""
	switch u.Scheme {
	case "mqtt":
		scheme, port = "tcp", "1883"
	case "mqtts":
		scheme, port = "tls", "8883"
	default:
		return nil, fmt.Errorf("broker: got %q, want mqtt://host[:port] or mqtts://host[:port]", text)
	}
	if u.User != nil {
		return nil, fmt.Errorf("broker: the address must not hold a user or password; give them as user and password file")
	}
	if u.Hostname() == "" || u.Path != "" && u.Path != "/" {
		return nil, fmt.Errorf("broker: got %q, want mqtt://host[:port] or mqtts://host[:port]", text)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	return &url.URL{Scheme: scheme, Host: net.JoinHostPort(u.Hostname(), port)}, nil
}

// password reads the password file.
func (s *Subscriber) password() (string, error) {
	if s.options.PasswordFile == "" {
		return "", nil
	}
	b, err := os.ReadFile(s.options.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("read password file: %w", err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// tls returns the TLS settings; nil = none. It reads the files each time, so that renewed ones count from the next connect on.
func (s *Subscriber) tls() (*tls.Config, error) {
	o := &s.options
	if s.broker.Scheme != "tls" {
		if o.CA+o.Cert+o.Key != "" {
			return nil, fmt.Errorf("broker: CA, certificate and key need mqtts://, got %q", o.URL)
		}
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.broker.Hostname()}
	if o.CA != "" {
		pem, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("read CA: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read CA %s: no certificate in it, want PEM", o.CA)
		}
	}
	if o.Cert+o.Key != "" {
		pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		if err != nil {
			return nil, fmt.Errorf("read certificate %s and key %s: %w", o.Cert, o.Key, err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// dial returns the function by which paho opens its connection.
func (s *Subscriber) dial(ctx context.Context, ended func()) paho.OpenConnectionFunc {
	return func(u *url.URL, _ paho.ClientOptions) (net.Conn, error) {
		config, err := s.tls()
		if err != nil {
			return nil, err
		}
		d := net.Dialer{Timeout: connectTimeout, Control: func(_, _ string, raw syscall.RawConn) error {
			var inner error
			err := raw.Control(func(fd uintptr) {
				inner = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, tcpUserTimeoutMS)
			})
			return errors.Join(err, inner)
		}}
		raw, err := d.DialContext(ctx, "tcp", u.Host)
		if err != nil {
			return nil, err
		}
		if config != nil {
			raw = tls.Client(raw, config)
		}
		return newGuard(raw, s.options.MaxBody, ended), nil
	}
}

// A guard is a connection that lets in no MQTT packet that is longer than the receiver takes: paho makes room for whatever length
// a header claims, up to 256 MiB. Nor does it let in a SUBACK that answers more than the one filter that a receiver subscribes to: paho
// takes the codes for indexes.
type guard struct {
	net.Conn
	in     *bufio.Reader
	limit  int    // of a packet's remaining length, bytes
	left   int    // of the packet that is being read, bytes
	head   int    // bytes of its header that have been read, while it is being read
	length int    // as far as they say
	kind   byte   // of that packet: the upper four bits of its first byte
	ended  func() // called by Close
	bad    error  // what ended the reading
}

// headerRoom is what a PUBLISH has beside its payload: the topic with its length, and the packet identifier.
const headerRoom = 2 + 65535 + 2

// A SUBACK has this kind, and for one filter a packet identifier and a code (MQTT 3.1.1 section 3.9).
const (
	suback       = 9
	subackLength = 3
)

func newGuard(c net.Conn, maxBody int, ended func()) *guard {
	return &guard{Conn: c, in: bufio.NewReaderSize(c, 64<<10), limit: maxBody + headerRoom, ended: ended}
}

// Read reads what has been looked at; it returns an error in place of a header that is not to be followed.
func (g *guard) Read(b []byte) (int, error) {
	if g.bad != nil {
		return 0, g.bad
	}
	n, err := g.in.Read(b)
	if bad := g.look(b[:n]); bad != nil {
		g.bad = bad
		return 0, errors.Join(bad, g.Conn.Close())
	}
	return n, err
}

// look follows the packets' headers in b (MQTT 3.1.1 section 2.2.3).
func (g *guard) look(b []byte) error {
	for len(b) > 0 {
		if g.left > 0 {
			n := min(g.left, len(b))
			g.left -= n
			b = b[n:]
			continue
		}
		c := b[0]
		b = b[1:]
		if g.head == 0 {
			g.head, g.length, g.kind = 1, 0, c>>4
			continue
		}
		g.length |= int(c&0x7f) << (7 * (g.head - 1))
		g.head++
		if c&0x80 == 0 {
			g.left, g.head = g.length, 0
		}
		if g.head > 4 {
			return fmt.Errorf("read packet: its length takes more than four bytes")
		}
		if g.left > g.limit {
			return fmt.Errorf("read packet: it is %d bytes long, at most %d are taken", g.left, g.limit)
		}
		if g.head == 0 && g.kind == suback && g.left > subackLength {
			return fmt.Errorf("read SUBACK: it is %d bytes long, %d answer one filter", g.left, subackLength)
		}
	}
	return nil
}

// Write writes b within writeTimeout, which paho does not see to for acknowledgements.
func (g *guard) Write(b []byte) (int, error) {
	if err := g.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return g.Conn.Write(b)
}

// Close closes the connection and says so.
func (g *guard) Close() error {
	g.ended()
	return g.Conn.Close()
}

// noStore is a paho.Store that keeps nothing: what was not acknowledged comes again from where it came.
type noStore struct{}

func (noStore) Open()                             {}
func (noStore) Put(string, packets.ControlPacket) {}
func (noStore) Get(string) packets.ControlPacket  { return nil }
func (noStore) All() []string                     { return nil }
func (noStore) Del(string)                        {}
func (noStore) Close()                            {}
func (noStore) Reset()                            {}
