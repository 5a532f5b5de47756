package subscribe

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// TestNewRefuses wants each mistake named.
func TestNewRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	empty := file("empty", "")
	missing := filepath.Join(dir, "missing")
	tests := map[string]struct {
		change func(*Options)
		want   string
	}{
		"another scheme":         {func(o *Options) { o.URL = "http://h" }, `broker: got "http://h", want mqtt://host[:port] or mqtts://host[:port]`},
		"no scheme":              {func(o *Options) { o.URL = "localhost:1883" }, `broker: got "localhost:1883", want mqtt://host[:port] or mqtts://host[:port]`},
		"no host":                {func(o *Options) { o.URL = "mqtt://:1883" }, `broker: got "mqtt://:1883", want mqtt://host[:port] or mqtts://host[:port]`},
		"a path":                 {func(o *Options) { o.URL = "mqtt://h/x" }, `broker: got "mqtt://h/x", want mqtt://host[:port] or mqtts://host[:port]`},
		"a bad port":             {func(o *Options) { o.URL = "mqtt://h:x" }, `broker: parse "mqtt://h:x": invalid port ":x" after host`},
		"a password in it":       {func(o *Options) { o.URL = "mqtt://u:p@h" }, `broker: the address must not hold a user or password; give them as user and password file`},
		"no identifier":          {func(o *Options) { o.ID = "" }, `subscribe: client identifier and topic filter must be set (got "" and "a/#")`},
		"password file missing":  {func(o *Options) { o.PasswordFile = missing }, "read password file: open " + missing + ": no such file or directory"},
		"CA without TLS":         {func(o *Options) { o.CA = empty }, `broker: CA, certificate and key need mqtts://, got "mqtt://h"`},
		"CA missing":             {func(o *Options) { o.URL, o.CA = "mqtts://h", missing }, "read CA: open " + missing + ": no such file or directory"},
		"CA empty":               {func(o *Options) { o.URL, o.CA = "mqtts://h", empty }, "read CA " + empty + ": no certificate in it, want PEM"},
		"certificate, but a key": {func(o *Options) { o.URL, o.Cert = "mqtts://h", empty }, "read certificate " + empty + " and key : open : no such file or directory"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			o := Options{URL: "mqtt://h", ID: "i", Filter: "a/#"}
			tt.change(&o)
			if _, err := New(o); err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestBrokerURL(t *testing.T) {
	for in, want := range map[string]string{
		"mqtt://h": "tcp://h:1883", "mqtts://h": "tls://h:8883", "mqtt://127.0.0.1:9": "tcp://127.0.0.1:9", "mqtts://[::1]/": "tls://[::1]:8883",
	} {
		if u, err := brokerURL(in); err != nil || u.String() != want {
			t.Errorf("%s: got %v %v, want %s", in, u, err, want)
		}
	}
}

// freePort returns a port on loopback that is free now.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// mosquitto starts a broker with that configuration and returns what ends it.
func mosquitto(t *testing.T, port int, config string) (stop func()) {
	t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		if path = "/usr/sbin/mosquitto"; !exists(path) {
			t.Fatal("mosquitto is not installed; on Debian: apt-get install mosquitto")
		}
	}
	file := filepath.Join(t.TempDir(), "mosquitto.conf")
	config += "user root\nlog_type error\n" // started by root it would give that up, and with it the test's files
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-c", file)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("mosquitto does not answer: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	stop = func() {
		if err := cmd.Process.Kill(); err == nil {
			_ = cmd.Wait()
		}
	}
	t.Cleanup(stop)
	return stop
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// run runs s until the test ends. Deliveries go to the channel, and each time it is up so does a value.
func run(t *testing.T, s *Subscriber) (deliveries chan Delivery, up chan struct{}, stop func()) {
	t.Helper()
	deliveries, up = make(chan Delivery, 1000), make(chan struct{}, 100)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- s.Run(ctx, func(ctx context.Context, d Delivery) error {
			select {
			case deliveries <- d:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}, func() { up <- struct{}{} })
	}()
	stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
		ended <- nil
	}
	t.Cleanup(stop)
	return deliveries, up, stop
}

// next returns what comes next, within ten seconds.
func next[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("no %s within 10 s", what)
		panic("unreachable")
	}
}

// publisher returns a client that publishes.
func publisher(t *testing.T, port int) paho.Client {
	t.Helper()
	c := paho.NewClient(paho.NewClientOptions().AddBroker(fmt.Sprintf("tcp://127.0.0.1:%d", port)).SetClientID("p").SetAutoReconnect(false))
	if token := c.Connect(); !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		t.Fatal(token.Error())
	}
	return c
}

func send(t *testing.T, c paho.Client, topic, body string) {
	t.Helper()
	if token := c.Publish(topic, 1, false, body); !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		t.Fatal(token.Error())
	}
}

// TestAcknowledged wants what was not acknowledged to come again, after a disconnect and after the broker's death, and what was
// not to.
func TestAcknowledged(t *testing.T) {
	port := freePort(t)
	config := fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location %s/\nautosave_on_changes true\n"+
		"autosave_interval 1\n", port, t.TempDir())
	kill := mosquitto(t, port, config)
	s, err := New(Options{URL: fmt.Sprintf("mqtt://127.0.0.1:%d", port), ID: "r", Filter: "a/#"})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Publish(t.Context(), "x", nil, false); !errors.Is(err, ErrNotConnected) || s.Failing() == nil {
		t.Errorf("publish before: %v", err)
	}
	deliveries, up, stop := run(t, s)
	next(t, "subscription", up)
	p := publisher(t, port)
	for i := range 4 {
		send(t, p, "a/b", fmt.Sprint(i))
	}
	for i := range 4 {
		d := next(t, "delivery", deliveries)
		if d.Topic != "a/b" || string(d.Body) != fmt.Sprint(i) {
			t.Fatalf("got %s %s, want a/b %d", d.Topic, d.Body, i)
		}
		if i%2 == 0 {
			d.Ack()
		}
	}
	stop()
	deliveries, up, _ = run(t, s)
	next(t, "subscription", up)
	old := next(t, "delivery", deliveries)
	next(t, "delivery", deliveries).Ack() // 3
	if string(old.Body) != "1" {
		t.Fatalf("got %s again, want 1", old.Body)
	}
	p.Disconnect(100)
	time.Sleep(1500 * time.Millisecond) // until the broker has saved
	kill()
	for deadline := time.Now().Add(10 * time.Second); s.Failing() == nil; {
		if time.Now().After(deadline) {
			t.Fatal("the broker's death was not noticed")
		}
		time.Sleep(10 * time.Millisecond)
	}
	old.Ack() // of a connection that is gone: nothing happens
	mosquitto(t, port, config)
	next(t, "subscription", up)
	d := next(t, "delivery", deliveries)
	if string(d.Body) != "1" {
		t.Fatalf("got %s, want 1", d.Body)
	}
	d.Ack()
	if err := s.Publish(t.Context(), "a/c", []byte("own"), false); err != nil || s.Failing() != nil {
		t.Errorf("publish: %v", err)
	}
	if d := next(t, "delivery", deliveries); string(d.Body) != "own" {
		t.Errorf("got %s, want own", d.Body)
	}
}

// TestRefusedByBroker wants refusals to be told with what to do. (mosquitto 2.0 itself grants a subscription that its ACL denies,
// and then delivers nothing.)
func TestRefusedByBroker(t *testing.T) {
	for name, tt := range map[string]struct {
		connect, subscribe byte
		want               string
	}{
		"the user is not authorised":      {5, 0, "connect: not Authorized"},
		"the identifier is refused":       {2, 0, "connect: identifier rejected"},
		"only QoS 0 is granted":           {0, 0, `subscribe to a/#: the broker grants QoS 0, want 1; let it grant "reader" QoS 1`},
		"the subscription is not granted": {0, 0x80, `subscribe to a/#: the broker refuses it; allow "reader" to read there`},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := New(Options{URL: "mqtt://" + stub(t, tt.connect, tt.subscribe), ID: "r", Filter: "a/#", User: "reader"})
			if err != nil {
				t.Fatal(err)
			}
			run(t, s)
			wantFailing(t, s, tt.want)
		})
	}
}

// stub is a broker that answers CONNECT and SUBSCRIBE with those return codes. It returns its address.
func stub(t *testing.T, connect, subscribe byte) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	serve := func(c net.Conn) {
		defer c.Close()
		for {
			p, err := packets.ReadPacket(c)
			if err != nil {
				return
			}
			var answer packets.ControlPacket
			switch p := p.(type) {
			case *packets.ConnectPacket:
				ack, _ := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
				ack.ReturnCode = connect
				answer = ack
			case *packets.SubscribePacket:
				ack, _ := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
				ack.MessageID, ack.ReturnCodes = p.MessageID, []byte{subscribe}
				answer = ack
			default:
				continue
			}
			if answer.Write(c) != nil {
				return
			}
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return l.Addr().String()
}

// wantFailing waits until s.Failing begins with want.
func wantFailing(t *testing.T, s *Subscriber, want string) {
	t.Helper()
	var err error
	for range 1000 {
		if err = s.Failing(); err != nil && strings.HasPrefix(err.Error(), want) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("got  %v\nwant %s", err, want)
}

// TestTLS connects with certificates on both sides, and is told what is wrong where they do not fit.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	ca, caKey := certificate(t, dir, "ca", nil, nil)
	certificate(t, dir, "broker", ca, caKey)
	certificate(t, dir, "receiver", ca, caKey)
	certificate(t, dir, "stranger", nil, nil)
	port := freePort(t)
	mosquitto(t, port, fmt.Sprintf("listener %d 127.0.0.1\nallow_anonymous true\ncafile %[2]s/ca.crt\ncertfile %[2]s/broker.crt\nkeyfile %[2]s/broker.key\n"+
		"require_certificate true\n", port, dir))
	o := Options{URL: fmt.Sprintf("mqtts://127.0.0.1:%d", port), ID: "r", Filter: "a/#", CA: dir + "/ca.crt", Cert: dir + "/receiver.crt", Key: dir + "/receiver.key"}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	deliveries, up, stop := run(t, s)
	next(t, "subscription", up)
	if err := s.Publish(t.Context(), "a/b", []byte("x"), false); err != nil {
		t.Fatal(err)
	}
	next(t, "delivery", deliveries).Ack()
	stop()
	for name, tt := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"the broker's certificate is of another CA": {
			func(o *Options) { o.CA = dir + "/stranger.crt" },
			"connect: network Error : tls: failed to verify certificate: x509: certificate signed by unknown authority",
		},
		"the broker has another name": {
			func(o *Options) { o.URL = fmt.Sprintf("mqtts://localhost:%d", port) },
			"connect: network Error : tls: failed to verify certificate: x509: certificate is not valid for any names, but wanted to match localhost",
		},
		"no certificate to show": {
			func(o *Options) { o.Cert, o.Key = "", "" },
			"connect: network Error : ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := o
			tt.change(&o)
			s, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			run(t, s)
			wantFailing(t, s, tt.want)
		})
	}
}

// certificate writes name.crt and name.key, signed by parent or, without one, by itself.
func certificate(t *testing.T, dir, name string, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if parent == nil {
		c.IsCA, c.BasicConstraintsValid, parent, parentKey = true, true, c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, b := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, name+file), pem.EncodeToMemory(b), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return out, key
}

// TestPauses checks the bounds of the pauses between connections: from 1 s, so that a broker that comes up is not met by all at once.
func TestPauses(t *testing.T) {
	for failures, bound := range []time.Duration{2, 4, 8, 16, 32, 64, 120, 120} {
		low, high := time.Hour, time.Duration(0)
		for range 2000 {
			d := pauseAfter(failures, 120*time.Second)
			low, high = min(low, d), max(high, d)
		}
		bound *= time.Second
		if spread := (bound - time.Second) / 20; low < time.Second || low > time.Second+spread || high > bound || high < bound-spread {
			t.Errorf("after %d failures: pauses from %v to %v, want 1s to %v", failures, low, high, bound)
		}
	}
	if d := pauseAfter(9, 50*time.Millisecond); d != 50*time.Millisecond {
		t.Errorf("got %v, want no more than the longest", d)
	}
}
