package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// startBroker starts mosquitto on a free port of the loopback, without limits on what waits for a subscriber, so that a slow
// subscriber never makes a gateway look lossy.
func startBroker(ctx context.Context, dir string) (address string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	address = l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	if err := l.Close(); err != nil {
		return "", nil, err
	}
	conf := filepath.Join(dir, "mosquitto.conf")
	text := "listener " + port + " 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n" +
		"max_inflight_messages 0\nmax_queued_messages 0\nmax_queued_bytes 0\nlog_type error\nlog_type warning\n"
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return "", nil, err
	}
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto"
	}
	cmd := exec.CommandContext(ctx, path, "-c", conf)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("start mosquitto: %w; install it with: apt-get install mosquitto", err)
	}
	stop = func() {
		_ = cmd.Process.Kill() // gone already is as good
		_ = cmd.Wait()
	}
	for range 100 {
		c, err := net.Dial("tcp", address)
		if err == nil {
			return address, stop, c.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	stop()
	return "", nil, errors.New("mosquitto does not listen after 5 s")
}

// A wire joins a gateway to the broker, counts the bytes, and can be cut.
type wire struct {
	to       string
	address  string
	up, down atomic.Int64 // bytes of TCP payload towards the broker and back

	mu     sync.Mutex // guards what follows
	listen net.Listener
	conns  map[net.Conn]bool
}

func newWire(to string) (*wire, error) {
	w := &wire{to: to, address: "127.0.0.1:0", conns: map[net.Conn]bool{}}
	return w, w.join()
}

// join makes the broker reachable.
func (w *wire) join() error {
	l, err := net.Listen("tcp", w.address)
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.listen, w.address = l, l.Addr().String()
	w.mu.Unlock()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // cut
			}
			go w.carry(c)
		}
	}()
	return nil
}

// cut ends all connections and refuses new ones, as a broker that has ended does.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.listen.Close()
	for c := range w.conns {
		c.Close()
	}
	clear(w.conns)
}

func (w *wire) carry(c net.Conn) {
	b, err := net.Dial("tcp", w.to)
	if err != nil {
		c.Close()
		return
	}
	w.mu.Lock()
	w.conns[c], w.conns[b] = true, true
	w.mu.Unlock()
	done := make(chan struct{})
	go func() {
		w.copy(c, b, &w.down)
		close(done)
	}()
	w.copy(b, c, &w.up)
	<-done
	w.mu.Lock()
	delete(w.conns, c)
	delete(w.conns, b)
	w.mu.Unlock()
}

// copy carries bytes from src to dst until either ends, and closes both.
func (w *wire) copy(dst, src net.Conn, n *atomic.Int64) {
	defer dst.Close()
	defer src.Close()
	b := make([]byte, 64<<10)
	for {
		k, err := src.Read(b)
		if k > 0 {
			n.Add(int64(k))
			if _, err := dst.Write(b[:k]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// An arrival is one payload as the subscriber got it.
type arrival struct {
	at      time.Time
	topic   string
	payload []byte
}

// A subscriber keeps all that the broker gives out, to be looked at after the run: so it hardly disturbs it.
type subscriber struct {
	conn  net.Conn
	bytes atomic.Int64

	mu   sync.Mutex // guards what follows
	got  []arrival
	err  error
	stop bool
}

// subscribe connects to the broker and takes topics at QoS 1 (MQTT 3.1.1).
func subscribe(address string, topics []string) (*subscriber, error) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	connect := []byte("\x10\x11\x00\x04MQTT\x04\x02\x00\x00\x00\x05bench") // clean session, no keep-alive
	var body []byte
	body = append(body, 0, 1)
	for _, t := range topics {
		body = binary.BigEndian.AppendUint16(body, uint16(len(t)))
		body = append(append(body, t...), 1)
	}
	r := bufio.NewReaderSize(c, 256<<10)
	ask := func(out []byte, want byte) error {
		if _, err := c.Write(out); err != nil {
			return err
		}
		kind, _, err := readFrame(r)
		if err != nil {
			return err
		}
		if kind&0xf0 != want {
			return fmt.Errorf("broker answers 0x%02x, want 0x%02x", kind, want)
		}
		return nil
	}
	if err := ask(connect, 0x20); err != nil {
		return nil, errors.Join(fmt.Errorf("connect: %w", err), c.Close())
	}
	if err := ask(append([]byte{0x82, byte(len(body))}, body...), 0x90); err != nil {
		return nil, errors.Join(fmt.Errorf("subscribe: %w", err), c.Close())
	}
	s := &subscriber{conn: c}
	go s.run(r)
	return s, nil
}

func (s *subscriber) run(r *bufio.Reader) {
	for {
		kind, body, err := readFrame(r)
		if err == nil && kind&0xf0 == 0x30 {
			err = s.take(kind, body)
		}
		if err != nil {
			s.mu.Lock()
			if !s.stop {
				s.err = err
			}
			s.mu.Unlock()
			return
		}
	}
}

// take keeps one PUBLISH and acknowledges it.
func (s *subscriber) take(kind byte, body []byte) error {
	if len(body) < 2 {
		return errors.New("publish of less than 2 bytes")
	}
	n := int(binary.BigEndian.Uint16(body))
	rest := body[2:]
	if len(rest) < n {
		return fmt.Errorf("topic of %d bytes in %d", n, len(rest))
	}
	a := arrival{at: time.Now(), topic: string(rest[:n])}
	rest = rest[n:]
	if kind&0x06 != 0 {
		if len(rest) < 2 {
			return errors.New("publish without its number")
		}
		if _, err := s.conn.Write([]byte{0x40, 2, rest[0], rest[1]}); err != nil {
			return err
		}
		rest = rest[2:]
	}
	a.payload = rest
	s.bytes.Add(int64(len(rest)))
	s.mu.Lock()
	s.got = append(s.got, a)
	s.mu.Unlock()
	return nil
}

// close ends the subscription and returns all that arrived.
func (s *subscriber) close() ([]arrival, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop = true
	return s.got, errors.Join(s.err, s.conn.Close())
}

// readFrame reads one MQTT control packet: first byte and what follows the length.
func readFrame(r *bufio.Reader) (kind byte, body []byte, err error) {
	if kind, err = r.ReadByte(); err != nil {
		return 0, nil, err
	}
	var n int
	for shift := 0; ; shift += 7 {
		b, err := r.ReadByte()
		if err != nil {
			return 0, nil, err
		}
		n |= int(b&0x7f) << shift
		if b < 0x80 {
			break
		}
		if shift == 21 {
			return 0, nil, errors.New("length of more than 4 bytes")
		}
	}
	body = make([]byte, n)
	_, err = io.ReadFull(r, body)
	return kind, body, err
}
