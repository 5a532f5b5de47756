package mqtt

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// bytesConn is a connection that gives what it holds, in pieces.
type bytesConn struct {
	net.Conn
	in    []byte
	piece int
}

func (c *bytesConn) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.piece)], c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *bytesConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *bytesConn) Close() error                     { return nil }
func (c *bytesConn) SetWriteDeadline(time.Time) error { return nil }

// FuzzGuard feeds any bytes in pieces of any size through the guard to the library's reader. Whatever comes, the reader must not
// be asked to make room for more than MaxFrame, must not panic, must see what the guard let through as whole packets of the kinds
// that are allowed, and the pieces must make no difference.
func FuzzGuard(f *testing.F) {
	hello := []byte{0x20, 2, 0, 0}
	for _, b := range [][]byte{
		hello,
		append(bytes.Clone(hello), 0x90, 3, 0, 1, 1, 0x40, 2, 0, 2, 0x40, 2, 1, 0, 0xd0, 0),
		append(bytes.Clone(hello), 0x31, 6, 0, 1, 'a', 'x', 'y', 'z', 0x32, 5, 0, 1, 'a', 0, 9),
		append(bytes.Clone(hello), 0x30, 0xff, 0xff, 0xff, 0x7f),
		append(bytes.Clone(hello), 0x30, 0xff, 0xff, 0xff, 0xff, 1),
		append(bytes.Clone(hello), 0x36, 5, 0, 1, 'a', 0, 1),
		append(bytes.Clone(hello), 0x90, 4, 0, 1, 1, 1),
		append(bytes.Clone(hello), 0x40, 0x82, 0, 0, 1),
		{0x20, 2, 0, 9},
		{0x40, 2, 0, 1},
		{},
	} {
		f.Add(b, 1)
		f.Add(b, 7)
	}
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		type result struct {
			packets int
			acks    []uint16
			cause   string
		}
		run := func(piece int) result {
			g := newGuard(&bytesConn{in: in, piece: piece})
			var r result
			for {
				p, err := packets.ReadPacket(g)
				if err != nil {
					break
				}
				switch p := p.(type) {
				case *packets.ConnackPacket, *packets.PubackPacket, *packets.SubackPacket, *packets.PingrespPacket:
				case *packets.PublishPacket:
					if p.Qos > 1 || len(p.Payload) > MaxFrame {
						t.Fatalf("a publish of QoS %d and %d bytes passed", p.Qos, len(p.Payload))
					}
				default:
					t.Fatalf("a %T passed", p)
				}
				if s, ok := p.(*packets.SubackPacket); ok && len(s.ReturnCodes) != 1 {
					t.Fatalf("a SUBACK with %d codes passed", len(s.ReturnCodes))
				}
				r.packets++ // the kinds are checked above
			}
			if g.ended() == nil { // the library gave up on a publish that does not add up
				g.end(errors.New("library"))
			}
			r.acks, r.cause = g.taken(nil), g.ended().Error()
			return r
		}
		a, b := run(1), run(max(1, piece&0xfff))
		if a.packets != b.packets || a.packets > 0 && a.cause != b.cause {
			t.Fatalf("in pieces of 1: %d packets, %s; in pieces of %d: %d packets, %s", a.packets, a.cause, piece, b.packets, b.cause)
		}
	})
}

func TestGuardPassesLargestPacket(t *testing.T) {
	body := bytes.Repeat([]byte{0}, MaxFrame-4)
	in := append([]byte{0x20, 2, 0, 0, 0x30, byte(len(body)&0x7f | 0x80), byte(len(body)>>7&0x7f | 0x80), byte(len(body) >> 14)}, body...)
	g := newGuard(&bytesConn{in: in, piece: 1000})
	got, err := io.ReadAll(g)
	if err != nil || !bytes.Equal(got, in) {
		t.Errorf("%d bytes passed of %d: %v", len(got), len(in), err)
	}
	in = append([]byte{0x20, 2, 0, 0, 0x30, byte((len(body)+1)&0x7f | 0x80), byte((len(body)+1)>>7&0x7f | 0x80), byte((len(body) + 1) >> 14)}, body...)
	if got, err = io.ReadAll(newGuard(&bytesConn{in: in, piece: 1000})); err == nil ||
		err.Error() != "broker sent a packet of 262145 bytes, at most 262144 are taken" {
		t.Errorf("%d bytes passed: %v", len(got), err)
	}
}

func BenchmarkGuard(b *testing.B) {
	body := make([]byte, 1000)
	one := append([]byte{0x30, 0xe8, 0x07}, body...)
	g := newGuard(nil)
	g.pass([]byte{0x20, 2, 0, 0})
	b.SetBytes(int64(len(one)))
	for b.Loop() {
		if _, err := g.pass(one); err != nil {
			b.Fatal(err)
		}
	}
}
