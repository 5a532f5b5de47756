package bed

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// FreePort returns a port of the loopback that nobody listens on.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// A Broker is a mosquitto that can be stopped and started. It keeps nothing over a stop.
type Broker struct {
	Address string
	Before  []string // in front of its command line: nsenter and such

	t      testing.TB
	dir    string
	config string
	p      *Process
}

// NewBroker configures a mosquitto on a free port, with its files in dir. It is not started.
func NewBroker(t testing.TB, dir string) *Broker {
	t.Helper()
	b := &Broker{t: t, dir: dir, Address: fmt.Sprintf("127.0.0.1:%d", FreePort(t)), config: filepath.Join(dir, "mosquitto.conf")}
	_, port, err := net.SplitHostPort(b.Address)
	if err != nil {
		t.Fatal(err)
	}
	text := "listener " + port + " 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n" +
		"max_inflight_messages 0\nmax_queued_messages 0\nmax_queued_bytes 0\nlog_type error\nlog_type warning\n"
	if err := os.WriteFile(b.config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return b
}

// URL returns the broker's address as configurations want it.
func (b *Broker) URL() string { return "mqtt://" + b.Address }

// Launch starts it, without waiting until it listens.
func (b *Broker) Launch() {
	b.t.Helper()
	b.p = Start(b.t, "mosquitto", filepath.Join(b.dir, "mosquitto.log"), false, nil,
		append(b.Before, Need(b.t, "mosquitto", "mosquitto"), "-c", b.config)...)
}

// Start starts it and waits until it listens; a broker that runs is left alone.
func (b *Broker) Start() {
	b.t.Helper()
	if b.p != nil {
		return
	}
	b.Launch()
	Wait(b.t, "mosquitto", 30*time.Second, func() bool {
		c, err := net.Dial("tcp", b.Address)
		if err == nil {
			err = c.Close()
		}
		return err == nil
	})
}

// Stop ends it by SIGKILL: what it had taken and not passed on is gone.
func (b *Broker) Stop() {
	if b.p != nil {
		b.p.Kill()
		b.p = nil
	}
}
