package mqtt

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/sync/forward/uplink"
	"github.com/tidegate-io/tidegate/sync/profile"
)

// packet is a control packet as it stood on the wire.
type packet struct {
	head byte
	body []byte
}

func (p packet) kind() byte { return p.head >> 4 }

// id returns the packet identifier of a PUBLISH with QoS 1, or of a SUBSCRIBE.
func (p packet) id() []byte {
	if p.kind() == typePublish {
		n := binary.BigEndian.Uint16(p.body)
		return p.body[2+n : 4+n]
	}
	return p.body[:2]
}

func (p packet) payload() string {
	n := binary.BigEndian.Uint16(p.body)
	return string(p.body[4+n:])
}

func readPacket(r *bufio.Reader) (packet, error) {
	head, err := r.ReadByte()
	if err != nil {
		return packet{}, err
	}
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return packet{}, err
	}
	p := packet{head: head, body: make([]byte, n)}
	_, err = io.ReadFull(r, p.body)
	return p, err
}

// script is a broker written by hand: it accepts, grants one subscription, and lets each publish be answered by answer.
type script struct {
	connack []byte
	suback  byte
	answer  func(c net.Conn, p packet, n int) // n counts publishes that are no status, from 1
	mu      sync.Mutex
	conns   int
	pubs    []packet
	status  []string
}

func (b *script) dial(context.Context, string, string) (net.Conn, error) {
	near, away := net.Pipe()
	b.mu.Lock()
	b.conns++
	b.mu.Unlock()
	go b.serve(away)
	return near, nil
}

func (b *script) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	n := 0
	for {
		p, err := readPacket(r)
		if err != nil {
			return
		}
		switch p.kind() {
		case 1:
			ack := b.connack
			if ack == nil {
				ack = []byte{0x20, 2, 0, 0}
			}
			c.Write(ack)
		case 8:
			c.Write([]byte{0x90, 3, p.body[0], p.body[1], b.suback})
		case typePublish:
			if p.head&1 == 1 { // retained: a status
				b.mu.Lock()
				b.status = append(b.status, p.payload()[2:])
				b.mu.Unlock()
				c.Write(append([]byte{0x40, 2}, p.id()...))
				continue
			}
			n++
			b.mu.Lock()
			b.pubs = append(b.pubs, p)
			b.mu.Unlock()
			if b.answer != nil {
				b.answer(c, p, n)
			}
		case 12:
			c.Write([]byte{0xd0, 0})
		case 14:
			return
		}
	}
}

func ack(c net.Conn, p packet) { c.Write(append([]byte{0x40, 2}, p.id()...)) }

// options are those of a gateway that dials by dial.
func options(t testing.TB, dial func(context.Context, string, string) (net.Conn, error)) Options {
	t.Helper()
	p, ok := profile.ByName("generic")
	if !ok {
		t.Fatal("no generic profile")
	}
	return Options{
		URLs: []string{"mqtt://broker.example"}, ClientID: "gw-1", Profile: p, Gateway: "gw-1", Dial: dial,
		Will: []byte(`{"online":false}`),
	}
}

// mustOpen connects or fails the test.
func mustOpen(t testing.TB, o Options) *Uplink {
	t.Helper()
	u, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Status([]byte(`{"online":true}`)); err != nil {
		t.Fatal(err)
	}
	return u
}

// send hands over n batches of consecutive IDs from first on.
func send(t testing.TB, u *Uplink, first, n int) {
	t.Helper()
	for i := range n {
		b := uplink.Batch{ID: uint64(first + i), Lane: uplink.LaneData, Payload: fmt.Appendf(nil, "batch %d", first+i)}
		if err := u.Send(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
}

// confirmed collects IDs until so many came, d passed, or the connection ended.
func confirmed(u *Uplink, want int, d time.Duration) (ids []uint64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	for len(ids) < want && ctx.Err() == nil {
		cs, err := u.Confirmed(ctx, nil)
		if err != nil {
			return ids, err
		}
		for _, c := range cs {
			ids = append(ids, c.Batch)
		}
	}
	return ids, nil
}
