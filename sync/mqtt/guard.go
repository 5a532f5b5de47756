package mqtt

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// MaxFrame is the longest MQTT control packet that is taken from a broker, in bytes, its header included.
const MaxFrame = 256 << 10

// Types of MQTT control packets that a broker may send to us (MQTT 3.1.1 section 2.2.1).
const (
	typeConnack  = 2
	typePublish  = 3
	typePuback   = 4
	typeSuback   = 9
	typePingresp = 13
)

// guard stands between the library and the connection. It reads along with what the broker sends and
//   - ends the connection before a control packet gets through that is longer than MaxFrame, malformed, or nothing that a broker
//     may send to a client like ours: the library would make room for 256 MB, take QoS 3, index beyond a slice on a SUBACK with
//     two codes, and complete a publish by a SUBACK or PUBCOMP that bears its number;
//   - notes the PUBACKs, which are the only proof that a batch arrived;
//   - notes when the connection ends, and why.
//
// Read is called by one goroutine, the rest by any.
type guard struct {
	net.Conn
	left int    // bytes of the current packet that are still to come, its header read
	head []byte // header and first bytes of the current packet, as far as they are read
	want int    // bytes of it that are looked at, once the length is known; 0 = not known yet
	seen int    // packets that came
	subs int    // SUBACKs that came

	mu     sync.Mutex
	acks   []uint16      // packet identifiers of PUBACKs, not taken yet
	cause  error         // why the connection ended
	up     bool          // CONNACK came
	queued int           // publishes handed to the library and not written yet
	news   chan struct{} // signalled (capacity 1) when acks grew
	wrote  chan struct{} // signalled (capacity 1) when a publish was written
	over   chan struct{} // closed when the connection ended
}

func newGuard(c net.Conn) *guard {
	return &guard{Conn: c, news: make(chan struct{}, 1), wrote: make(chan struct{}, 1), over: make(chan struct{})}
}

// Read returns bytes that passed: never the last byte of a bad packet's header, nor anything behind it.
func (g *guard) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	ok, bad := g.pass(p[:n])
	if bad != nil {
		g.end(bad)
		_ = g.Conn.Close() // it ends because of bad, whatever Close says
		return ok, bad
	}
	if err != nil {
		g.end(err)
	}
	return n, err
}

// Write passes p on, which is one whole packet.
func (g *guard) Write(p []byte) (int, error) {
	n, err := g.Conn.Write(p)
	if err != nil {
		g.end(g.said(err))
	} else if len(p) > 0 && p[0]>>4 == typePublish {
		g.queue(-1)
		signal(g.wrote)
	}
	return n, err
}

// said returns what the broker said before it hung up on CONNECT, where it did. In TLS 1.3 it refuses a client certificate after
// our side of the handshake is done, so that a write meets the closed connection before its alert is read.
func (g *guard) said(err error) error {
	g.mu.Lock()
	up := g.up
	g.mu.Unlock()
	if up || g.SetReadDeadline(time.Now().Add(alertWait)) != nil {
		return err
	}
	if _, alert := g.Conn.Read(make([]byte, 1)); isAlert(alert) {
		return alert
	}
	return err
}

// queue notes that a publish is about to be handed to the library (1) or was written (-1).
func (g *guard) queue(n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.queued += n
}

// idle reports whether everything that was handed to the library is written.
func (g *guard) idle() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.queued <= 0
}

// signal wakes whoever waits for c, which has capacity 1.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Close ends the connection.
func (g *guard) Close() error {
	g.end(net.ErrClosed)
	return g.Conn.Close()
}

// end notes the first cause for which the connection ended.
func (g *guard) end(cause error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cause == nil {
		g.cause = cause
		close(g.over)
	}
}

// ended returns why the connection ended; nil while it has not.
func (g *guard) ended() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.cause
}

// taken returns the identifiers of the PUBACKs that came since the last call.
func (g *guard) taken(dst []uint16) []uint16 {
	g.mu.Lock()
	defer g.mu.Unlock()
	dst = append(dst, g.acks...)
	g.acks = g.acks[:0]
	return dst
}

// pass looks at b, which came next. It returns how many bytes of it may pass, and an error when the rest must not.
func (g *guard) pass(b []byte) (int, error) {
	for i := 0; i < len(b); {
		if g.want > 0 && len(g.head) >= g.want { // in the part that is not looked at
			n := min(g.left, len(b)-i)
			i, g.left = i+n, g.left-n
			if g.left == 0 {
				g.head, g.want = g.head[:0], 0
			}
			continue
		}
		g.head = append(g.head, b[i])
		i++
		if err := g.header(); err != nil {
			return i - 1, err
		}
		if g.want > 0 && len(g.head) == g.want {
			if err := g.packet(); err != nil {
				return i - 1, err
			}
			if g.left == 0 {
				g.head, g.want = g.head[:0], 0
			}
		}
	}
	return len(b), nil
}

// looked is how many bytes behind the header are looked at, by type. All packets but PUBLISH are of that very length.
var looked = [16]int{typeConnack: 2, typePuback: 2, typeSuback: 3}

// header decodes the fixed header (MQTT 3.1.1 section 2.2) once it is whole, and checks it.
func (g *guard) header() error {
	if g.want > 0 {
		return nil
	}
	kind, flags := g.head[0]>>4, g.head[0]&15
	if len(g.head) == 1 {
		return g.allowed(kind, flags)
	}
	last := g.head[len(g.head)-1]
	if last&0x80 != 0 {
		if len(g.head) == 5 {
			return fmt.Errorf("broker sent a packet whose length has more than 4 bytes: %x", g.head)
		}
		return nil
	}
	length := 0
	for i, c := range g.head[1:] {
		length |= int(c&0x7f) << (7 * i)
	}
	if total := len(g.head) + length; total > MaxFrame {
		return fmt.Errorf("broker sent a packet of %d bytes, at most %d are taken", total, MaxFrame)
	}
	if kind != typePublish && length != looked[kind] {
		return fmt.Errorf("broker sent a packet of type %d with %d bytes, want %d", kind, length, looked[kind])
	}
	g.want, g.left = len(g.head)+looked[kind], length-looked[kind]
	if kind == typePublish {
		g.left = length
	}
	return nil
}

// allowed checks the first byte of a packet.
func (g *guard) allowed(kind, flags byte) error {
	switch kind {
	case typePublish:
		if qos := flags >> 1 & 3; qos > 1 {
			return fmt.Errorf("broker sent a packet of QoS %d, at most 1 was asked for", qos)
		}
	case typeConnack, typePuback, typeSuback, typePingresp:
		if flags != 0 {
			return fmt.Errorf("broker sent a packet of type %d with flags %d, want 0", kind, flags)
		}
	default:
		return fmt.Errorf("broker sent a packet of type %d, which is not for clients like this", kind)
	}
	if (kind == typeConnack) != (g.seen == 0) {
		return fmt.Errorf("broker sent a packet of type %d as number %d, want CONNACK first and only first", kind, g.seen+1)
	}
	return nil
}

// packet takes note of a packet whose first bytes are known.
func (g *guard) packet() error {
	g.seen++
	body := g.head[g.want-looked[g.head[0]>>4]:]
	switch g.head[0] >> 4 {
	case typeConnack:
		if body[1] > 5 {
			return fmt.Errorf("broker answered CONNECT with code %d, which MQTT 3.1.1 does not have", body[1])
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.up = true
	case typeSuback:
		g.subs++
		if g.subs > 1 {
			return fmt.Errorf("broker sent a second SUBACK, want one")
		}
	case typePuback:
		g.mu.Lock()
		defer g.mu.Unlock()
		if len(g.acks) == maxAcks {
			return fmt.Errorf("broker sent %d PUBACKs at once, at most %d batches can be in flight", maxAcks+1, maxAcks)
		}
		g.acks = append(g.acks, uint16(body[0])<<8|uint16(body[1]))
		signal(g.news)
	}
	return nil
}

// maxAcks bounds the PUBACKs that wait to be taken: more than identifiers that can be in use is a broker gone mad.
const maxAcks = 1 << 16
