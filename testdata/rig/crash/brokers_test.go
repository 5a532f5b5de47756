package crash

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/sync/receive"
	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// manner is how a broker treats what is published to it.
type manner string

const (
	good    manner = "good"                              // takes it and acknowledges
	silent  manner = "never acknowledges"                // takes nothing
	hanging manner = "never acknowledges and hangs up"   // takes nothing, and ends the connection 1 s later; in the next one it greets as if all were well
	foreign manner = "acknowledges other ids"            // takes nothing
	early   manner = "hangs up before acknowledging"     // takes nothing
	late    manner = "hangs up after acknowledging"      // takes it
	forgets manner = "takes it and never acknowledges"   // takes it, so that it comes again
	doubles manner = "acknowledges twice and beforehand" // acknowledges the next id as well
)

// A falseBroker is an MQTT 3.1.1 broker with bad manners, written by hand from the standard. It keeps what it took on itself: what
// it acknowledged by its id.
type falseBroker struct {
	t      *testing.T
	listen net.Listener

	mu     sync.Mutex // guards all below
	manner manner
	conns  map[net.Conn]bool
	took   []bed.Record // acknowledged
	seen   int          // payloads that came
}

func newFalseBroker(t *testing.T, m manner) *falseBroker {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &falseBroker{t: t, listen: l, manner: m, conns: map[net.Conn]bool{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b.mu.Lock()
			b.conns[c] = true
			m := b.manner // a connection keeps the manners it began with
			b.mu.Unlock()
			wg.Go(func() {
				b.serve(c, m)
				b.mu.Lock()
				delete(b.conns, c)
				b.mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		b.mu.Lock()
		for c := range b.conns {
			_ = c.Close()
		}
		b.mu.Unlock()
		wg.Wait()
	})
	return b
}

// behave changes the manners, for connections made from now on.
func (b *falseBroker) behave(m manner) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.manner = m
}

var errHungUp = errors.New("hung up")

// serve speaks with one gateway until either side hangs up.
func (b *falseBroker) serve(c net.Conn, m manner) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		first, body, err := readPacket(in)
		if err != nil {
			return
		}
		switch first >> 4 {
		case 1: // CONNECT
			err = send(c, 0x20, []byte{0, 0})
		case 8: // SUBSCRIBE: as many grants as filters
			grants := append([]byte{}, body[:2]...)
			for at := 2; at+2 < len(body); at += 3 + int(binary.BigEndian.Uint16(body[at:])) {
				grants = append(grants, 1)
			}
			err = send(c, 0x90, grants)
		case 12: // PINGREQ
			err = send(c, 0xd0, nil)
		case 3:
			err = b.publish(c, m, first, body)
		case 14: // DISCONNECT
			return
		}
		if err != nil {
			return
		}
	}
}

// publish treats one PUBLISH.
func (b *falseBroker) publish(c net.Conn, m manner, first byte, body []byte) error {
	n := int(binary.BigEndian.Uint16(body))
	topic, rest := string(body[2:2+n]), body[2+n:]
	if first>>1&3 == 0 {
		return nil
	}
	id, payload := binary.BigEndian.Uint16(rest), rest[2:]
	if !bed.IsPack(topic) {
		if m == silent || m == hanging || m == foreign {
			return nil
		}
		return puback(c, id)
	}
	b.mu.Lock()
	b.seen++
	b.mu.Unlock()
	switch m {
	case silent:
		return nil
	case hanging:
		time.AfterFunc(time.Second, func() { _ = c.Close() })
		return nil
	case foreign:
		return errors.Join(puback(c, id+1), puback(c, id+1000), puback(c, 0))
	case early:
		return errHungUp
	}
	list, err := bed.Unpack(topic, payload)
	if err != nil {
		b.t.Errorf("payload under %s: %v", topic, err)
		return err
	}
	b.mu.Lock()
	b.took = append(b.took, list...)
	b.mu.Unlock()
	switch m {
	case forgets:
		return nil
	case late:
		if err := puback(c, id); err != nil {
			return err
		}
		return errHungUp
	case doubles:
		return errors.Join(puback(c, id), puback(c, id), puback(c, id+1))
	}
	return puback(c, id)
}

func puback(c net.Conn, id uint16) error { return send(c, 0x40, []byte{byte(id >> 8), byte(id)}) }

func send(c net.Conn, first byte, body []byte) error {
	_, err := c.Write(append([]byte{first, byte(len(body))}, body...))
	return err
}

// readPacket reads one control packet (section 2.2).
func readPacket(in *bufio.Reader) (first byte, body []byte, err error) {
	if first, err = in.ReadByte(); err != nil {
		return 0, nil, err
	}
	size, shift := 0, 0
	for {
		d, err := in.ReadByte()
		if err != nil {
			return 0, nil, err
		}
		size |= int(d&0x7f) << shift
		if shift += 7; d < 0x80 {
			break
		}
	}
	body = make([]byte, size)
	_, err = io.ReadFull(in, body)
	return first, body, err
}

// TestFalseBrokers: nothing counts as delivered that a broker did not acknowledge by its id, and when a good one comes it gets all.
func TestFalseBrokers(t *testing.T) {
	for _, m := range []manner{silent, hanging, foreign, early, late, forgets, doubles} {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			b := newFalseBroker(t, m)
			meters := bed.NewMeters(t, 1, 4)
			g := bed.NewGateway(t, programs, bed.Dir(t, false))
			url := "mqtt://" + b.listen.Addr().String()
			g.Configure(meters.Devices(50*time.Millisecond), bed.Toggle, url, "puback", "")
			g.Run()
			bed.Wait(t, "something published", 60*time.Second, func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.seen > 2 || b.seen > 0 && m != doubles })
			time.Sleep(8 * time.Second)
			s, ok := g.Status()
			b.mu.Lock()
			held, tookSome := len(b.took), m == late || m == doubles
			b.mu.Unlock()
			switch {
			case !ok:
				t.Error("the gateway does not answer")
			case !tookSome && s.Delivered.Records != 0:
				t.Errorf("the broker %s, yet %d records count as delivered", m, s.Delivered.Records)
			case tookSome && s.Delivered.Records > uint64(held)+100: // between the two questions some more came
				t.Errorf("the broker acknowledged %d records, %d count as delivered", held, s.Delivered.Records)
			}
			b.behave(good)
			g.Terminate(60 * time.Second) // with a broker that hangs: the stop must not
			meters.Stopped()
			g.Drain(meters, bed.Toggle, url, "puback", "")
			b.account(meters, string(m))
		})
	}
}

// TestBrokerMends: a broker that never acknowledged gets better while the gateway runs: the gateway finds out by itself, 30 s after the last
// progress, and delivers all.
func TestBrokerMends(t *testing.T) {
	t.Parallel()
	b := newFalseBroker(t, silent)
	meters := bed.NewMeters(t, 1, 4)
	g := bed.NewGateway(t, programs, bed.Dir(t, false))
	g.Configure(meters.Devices(50*time.Millisecond), bed.Toggle, "mqtt://"+b.listen.Addr().String(), "puback", "")
	g.Run()
	bed.Wait(t, "something published", 60*time.Second, func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.seen > 0 })
	start := time.Now()
	b.behave(good)
	bed.Wait(t, "delivery over another connection", 2*time.Minute, func() bool { s, ok := g.Status(); return ok && s.Delivered.Records > 0 })
	found := time.Since(start)
	if found > 45*time.Second {
		t.Errorf("it took %v to find out, want 30 s and a pause", found)
	}
	time.Sleep(2 * time.Second)
	g.Terminate(60 * time.Second)
	meters.Stopped()
	if own := g.QueueStatus().Account; own.Buffered != 0 {
		t.Errorf("%d readings are buffered after a stop with a good broker", own.Buffered)
	}
	b.account(meters, fmt.Sprintf("never acknowledges, mends; found out after %v", found.Round(time.Second)))
}

// account settles what the broker took on itself against what the meters answered; it drops duplicates as a receiver does, and looks at them.
func (b *falseBroker) account(m *bed.Meters, what string) {
	b.t.Helper()
	tally := bed.NewTally(m)
	content := map[string]string{}
	var far receive.Account
	duplicates := uint64(0)
	b.mu.Lock()
	for i := range b.took {
		r := &b.took[i]
		key := fmt.Sprint(r.Epoch, " ", r.Seq)
		if old, ok := content[key]; ok {
			duplicates++
			if old != r.Content() {
				b.t.Errorf("record %s came twice with different content: %s and %s", key, old, r.Content())
			}
			continue
		}
		content[key] = r.Content()
		tally.Add(r)
	}
	b.mu.Unlock()
	a := tally.Settle(&far)
	a.Duplicates = duplicates
	for _, err := range tally.Said {
		b.t.Error(err)
	}
	a.Judge(b.t)
	tally.Once(b.t)
	fmt.Println(a.Line("| crash/brokers | puback | " + what + " |"))
}
