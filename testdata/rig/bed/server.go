package bed

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Server is a static server of files over HTTPS whose certificate comes from an authority of its own. It remembers what it was asked for.
type Server struct {
	CA  string // file
	URL string

	web *httptest.Server
	dir string

	mu    sync.Mutex // guards all below
	asked []Asked
	hold  *Hold
	lie   http.HandlerFunc // answers in its place; nil = nobody does
}

// Asked is one request for a file.
type Asked struct {
	Name, Stretch string // Stretch: of Range
	At            time.Time
}

// A Hold stops the next request for a file in its middle.
type Hold struct {
	Reached chan struct{} // closed when it stands there
	GoOn    chan struct{}

	name  string
	after int64 // bytes
}

// NewServer serves the files of dir on the loopback, with the authority's certificate in scratch. others are further addresses that it is
// reached by.
func NewServer(t testing.TB, dir, scratch string, others ...net.IP) *Server {
	t.Helper()
	s := &Server{CA: filepath.Join(scratch, "ca.pem"), dir: dir}
	cert, authority, err := certificates(append(others, net.IPv4(127, 0, 0, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.CA, authority, 0o644); err != nil {
		t.Fatal(err)
	}
	s.web = httptest.NewUnstartedServer(s)
	s.web.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	s.web.Config.ErrorLog = log.New(io.Discard, "", 0) // who is killed breaks connections
	s.web.StartTLS()
	s.URL = s.web.URL
	t.Cleanup(func() { s.Let(); s.web.CloseClientConnections(); s.web.Close() })
	return s
}

// certificates makes an authority, and a certificate of it for addresses.
func certificates(addresses []net.IP) (cert tls.Certificate, authority []byte, err error) {
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "rig"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(48 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "releases"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		IPAddresses: addresses, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return cert, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return cert, nil, err
	}
	signed, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return cert, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return cert, nil, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed}), nil
}

// ServeHTTP hands out a file.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	s.mu.Lock()
	s.asked = append(s.asked, Asked{name, r.Header.Get("Range"), time.Now()})
	var h *Hold
	if s.hold != nil && s.hold.name == name {
		h, s.hold = s.hold, nil
	}
	lie := s.lie
	s.mu.Unlock()
	if lie != nil {
		lie(w, r)
		return
	}
	f, err := os.Open(filepath.Join(s.dir, filepath.Base(name)))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	http.ServeContent(w, r, "", st.ModTime(), &held{ReadSeeker: f, hold: h, gone: r.Context().Done()})
}

// held reads a file up to where a hold wants it.
type held struct {
	io.ReadSeeker
	hold *Hold
	at   int64
	gone <-chan struct{}
}

func (h *held) Read(b []byte) (int, error) {
	if h.hold != nil && h.at >= h.hold.after {
		close(h.hold.Reached)
		select {
		case <-h.hold.GoOn:
		case <-h.gone:
		}
		h.hold = nil
	}
	n, err := h.ReadSeeker.Read(b)
	h.at += int64(n)
	return n, err
}

// Stand has the next request for a file stop after so many bytes.
func (s *Server) Stand(name string, after int64) *Hold {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = &Hold{name: name, after: after, Reached: make(chan struct{}), GoOn: make(chan struct{})}
	return s.hold
}

// Lie has another answer from now on; nil = none.
func (s *Server) Lie(answer http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lie = answer
}

// Let forgets a hold that nobody has come to.
func (s *Server) Let() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = nil
}

// All returns the requests so far.
func (s *Server) All() []Asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// Of returns the requests for a file.
func (s *Server) Of(name string) (list []Asked) {
	for _, a := range s.All() {
		if a.Name == name {
			list = append(list, a)
		}
	}
	return list
}
