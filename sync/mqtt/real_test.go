package mqtt

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority makes certificates.
type authority struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t testing.TB, dir, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: dir}
	a.cert, a.key, a.file, _ = a.make(name, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), true)
	return a
}

// make writes a certificate and its key for name to name.crt and name.key.
func (a *authority) make(name string, from, to time.Time, isCA bool) (*x509.Certificate, *ecdsa.PrivateKey, string, string) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: to,
		DNSNames: []string{name}, BasicConstraintsValid: true, IsCA: isCA,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := a.cert, a.key
	if isCA {
		c.KeyUsage, parent, signer = x509.KeyUsageCertSign, c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	certFile, keyFile := filepath.Join(a.dir, name+".crt"), filepath.Join(a.dir, name+".key")
	writePEM(a.t, certFile, "CERTIFICATE", der)
	writePEM(a.t, keyFile, "EC PRIVATE KEY", keyDER)
	return made, key, certFile, keyFile
}

func writePEM(t testing.TB, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// good makes a certificate for name that is good now.
func (a *authority) good(name string) (cert, key string) {
	_, _, cert, key = a.make(name, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), false)
	return cert, key
}

// mosquitto starts the broker with this configuration; %s in it are replaced by free ports, which it returns.
func mosquitto(t testing.TB, config string) []string {
	t.Helper()
	bin, err := exec.LookPath("mosquitto")
	if err != nil {
		if bin, err = exec.LookPath("/usr/sbin/mosquitto"); err != nil {
			t.Fatal("this test needs mosquitto: apt-get install mosquitto")
		}
	}
	var ports []string
	for strings.Contains(config, "%s") {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		l.Close()
		ports = append(ports, port)
		config = strings.Replace(config, "%s", port, 1)
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "mosquitto.conf")
	if os.Getuid() == 0 {
		config = "user root\n" + config
	}
	if err := os.WriteFile(conf, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "-c", conf)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		log.Close()
		if t.Failed() {
			b, _ := os.ReadFile(log.Name())
			t.Logf("broker's log:\n%s", b)
		}
	})
	for _, port := range ports {
		for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
			c, err := net.Dial("tcp", "127.0.0.1:"+port)
			if err == nil {
				c.Close()
				break
			}
			if time.Since(began) > 10*time.Second {
				b, _ := os.ReadFile(log.Name())
				t.Fatalf("mosquitto does not listen: %v\n%s", err, b)
			}
		}
	}
	return ports
}

// TestMosquitto drives a real broker with client certificates, passwords, and over a WebSocket.
func TestMosquitto(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir, "ca")
	other := newAuthority(t, t.TempDir(), "other")
	srvCert, srvKey := ca.good("localhost")
	gwCert, gwKey := ca.good("gw-1")
	strangerCert, strangerKey := other.good("stranger")
	_, _, oldCert, oldKey := ca.make("old", time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour), false)
	pw := filepath.Join(dir, "passwd")
	if out, err := exec.Command("mosquitto_passwd", "-b", "-c", pw, "me", "right").CombinedOutput(); err != nil {
		t.Fatalf("this test needs mosquitto_passwd: apt-get install mosquitto: %v %s", err, out)
	}
	p := mosquitto(t, fmt.Sprintf(`per_listener_settings true
listener %%s 127.0.0.1
cafile %[1]s
certfile %[2]s
keyfile %[3]s
require_certificate true
use_identity_as_username true
listener %%s 127.0.0.1
allow_anonymous false
password_file %[4]s
listener %%s 127.0.0.1
protocol websockets
allow_anonymous true
`, ca.file, srvCert, srvKey, pw))
	withTLS := func(ca, cert, key string) func(o *Options) {
		return func(o *Options) {
			c, err := LoadTLS(ca, cert, key, "", time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			o.TLS = c
		}
	}
	table := []struct {
		name string
		url  string
		set  func(o *Options)
		want string // part of the error; "" = it works
	}{
		{"client certificate", "mqtts://localhost:" + p[0], withTLS(ca.file, gwCert, gwKey), ""},
		{"no client certificate", "mqtts://localhost:" + p[0], withTLS(ca.file, "", ""), "the broker wants a client certificate: set cert and key"},
		{
			"client certificate of another authority", "mqtts://localhost:" + p[0], withTLS(ca.file, strangerCert, strangerKey),
			"the broker does not accept the client certificate: has it expired, and did the broker's authority sign it?",
		},
		{
			"client certificate that expired", "mqtts://localhost:" + p[0], withTLS(ca.file, oldCert, oldKey),
			"the broker does not accept the client certificate: has it expired, and did the broker's authority sign it?",
		},
		{
			"broker's certificate of another authority", "mqtts://localhost:" + p[0], withTLS(other.file, gwCert, gwKey),
			"set ca to the file of the authority that signed the broker's certificate",
		},
		{
			"broker's certificate for another name", "mqtts://127.0.0.1:" + p[0], withTLS(ca.file, gwCert, gwKey),
			"the broker's certificate is for another name than 127.0.0.1: use that name in the address",
		},
		{
			"TLS where the broker speaks none", "mqtts://localhost:" + p[1], withTLS(ca.file, gwCert, gwKey),
			"; does the broker speak TLS on this port? Use mqtt:// or ws://, or the port for TLS (often 8883)",
		},
		{
			"no TLS where the broker wants it", "mqtt://localhost:" + p[0], nil,
			"the broker hung up: does this port want TLS (mqtts:// or wss://)?",
		},
		{"right password", "mqtt://127.0.0.1:" + p[1], func(o *Options) { o.Username, o.Password = "me", "right" }, ""},
		{
			"wrong password", "mqtt://127.0.0.1:" + p[1], func(o *Options) { o.Username, o.Password = "me", "wrong" },
			`broker does not allow client id "gw-wrong-password" (user name "me") to connect: check username and password_file, `,
		},
		{"WebSocket", "ws://127.0.0.1:" + p[2] + "/mqtt", nil, ""},
		{"port where nothing listens", "mqtt://127.0.0.1:1", nil, "nothing listens there: is the broker running, and the port right?"},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := options(t, nil)
			o.URLs = []string{c.url}
			o.ClientID = "gw-" + strings.ReplaceAll(c.name, " ", "-")
			if c.set != nil {
				c.set(&o)
			}
			u, err := Open(context.Background(), o)
			if c.want != "" {
				if err == nil {
					u.Close()
					t.Fatalf("no error, want %q", c.want)
				}
				if !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "connect to "+strings.TrimSuffix(c.url, "/mqtt")+": ") {
					t.Errorf("got %q, want %q in it", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			send(t, u, 1, 200)
			ids, err := confirmed(u, 200, 10*time.Second)
			if err != nil || len(ids) != 200 {
				t.Errorf("confirmed %d batches, want 200: %v", len(ids), err)
			}
			if err := u.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestTakenOver: a second connection with the same client id ends the first, and what it had in flight is not confirmed by that.
func TestTakenOver(t *testing.T) {
	p := mosquitto(t, "listener %s 127.0.0.1\nallow_anonymous true\n")
	o := options(t, nil)
	o.URLs = []string{"mqtt://127.0.0.1:" + p[0]}
	first := mustOpen(t, o)
	second := mustOpen(t, o)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if cs, err := first.Confirmed(ctx, nil); err == nil || len(cs) != 0 {
		t.Errorf("Confirmed = %v, %v; want the connection lost", cs, err)
	}
	for _, u := range []*Uplink{first, second} {
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestLoadTLS(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, dir, "ca")
	cert, key := ca.good("gw")
	_, otherKey := ca.good("other")
	_, _, old, oldKey := ca.make("old", time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC), false)
	later := ca.file
	empty, text, locked := filepath.Join(dir, "empty"), filepath.Join(dir, "text"), filepath.Join(dir, "locked")
	big := filepath.Join(dir, "big")
	for name, body := range map[string]string{
		empty: "", text: "hello", big: strings.Repeat("-----BEGIN x", 1<<17),
		locked: "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
	} {
		if err := os.WriteFile(name, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	table := []struct {
		name, ca, cert, key string
		now                 time.Time
		want                string
	}{
		{"nothing is good", "", "", "", now, ""},
		{"all is good", ca.file, cert, key, time.Now(), ""},
		{"expired but the clock cannot be trusted", ca.file, old, oldKey, time.Time{}, ""},
		{"no such file", dir + "/none", "", "", now, "load ca " + dir + "/none: no such file or directory; is the path right?"},
		{"ca is a directory", dir, "", "", now, "load ca " + dir + ": it is a directory; name one file in PEM format"},
		{"ca is empty", empty, "", "", now, "load ca " + empty + ": it is not in PEM format; convert it with openssl x509 -inform der, or openssl pkcs12"},
		{"ca is a key", key, "", "", now, "load ca " + key + ": it holds no certificate; name the file of the authority that signed the broker's"},
		{"ca is huge", big, "", "", now, "load ca " + big + ": it has more than 1048576 bytes; certificates and keys are smaller"},
		{"ca has expired", old, "", "", now, "load ca " + old + ": it expired on 2021-01-01 and it is 2026-11-23 now; renew it, or set this machine's clock"},
		{"cert without key", "", cert, "", now, "load cert " + cert + ": it has no key; set key to the file of its private key"},
		{"key without cert", "", "", key, now, "load key " + key + ": it has no certificate; set cert to the file of its certificate"},
		{"key of another", "", cert, otherKey, now, "load cert " + cert + " with key " + otherKey +
			": they do not belong together; key must be the one that the certificate was requested with"},
		{"cert is text", "", text, key, now, "load cert " + text + ": it is not in PEM format; convert it with openssl x509 -inform der, or openssl pkcs12"},
		{"key with passphrase", "", cert, locked, now, "load key " + locked +
			": it is encrypted; store it without a passphrase and readable by the gateway's user only"},
		{"cert has expired", "", old, oldKey, now, "load cert " + old + ": it expired on 2021-01-01 and it is 2026-11-23 now; renew it, or set this machine's clock"},
		{"clock is in the past", later, "", "", time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC), "load ca " + later + ": it is good from " +
			ca.cert.NotBefore.UTC().Format(time.DateOnly) + " on and it is 1970-01-01 now; set this machine's clock"},
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			got, err := LoadTLS(c.ca, c.cert, c.key, "broker", c.now)
			if c.want == "" {
				if err != nil || got.ServerName != "broker" || got.MinVersion != 0x0303 || (len(got.Certificates) > 0) != (c.cert != "") {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			if err == nil || err.Error() != c.want {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
	if os.Getuid() == 0 {
		return // root reads everything
	}
	if err := os.Chmod(cert, 0); err != nil {
		t.Fatal(err)
	}
	want := "load ca " + cert + ": permission denied; let the gateway's user read it"
	if _, err := LoadTLS(cert, "", "", "", now); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
