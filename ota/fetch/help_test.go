package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// content returns n bytes that are nobody else's.
func content(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func sumOf(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// A server is a web server with a certificate of an authority of its own, that remembers what it was asked.
type server struct {
	*httptest.Server
	mu    sync.Mutex // guards asked
	asked []*http.Request
}

func serve(t *testing.T, answer http.HandlerFunc) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r)
		s.mu.Unlock()
		answer(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// ranges returns what was asked for, in order.
func (s *server) ranges() (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.asked {
		out = append(out, r.Header.Get("Range"))
	}
	return out
}

// good serves b as any static server does.
func good(b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"`+sumOf(b)[:8]+`"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
	}
}

// cut serves b like good, but ends the connection after n bytes of each answer.
func cut(b []byte, n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		good(b)(&cutter{w, n}, r)
	}
}

type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b[:min(len(b), c.left)])
	if c.left -= n; c.left == 0 {
		http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// source returns a Source of servers, which it trusts, and folders.
func source(t *testing.T, o Options, places ...any) *Source {
	t.Helper()
	pool := x509.NewCertPool()
	var texts []string
	for _, p := range places {
		switch p := p.(type) {
		case *server:
			pool.AddCert(p.Certificate())
			texts = append(texts, p.URL+"/updates")
		case string:
			texts = append(texts, p)
		}
	}
	o.TLS = &tls.Config{RootCAs: pool}
	s, err := New(texts, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// A target is a file to get, and where to.
type target struct {
	t    testing.TB
	body []byte
	into string
}

func wants(t testing.TB, body []byte) *target {
	return &target{t, body, filepath.Join(t.TempDir(), sumOf(body))}
}

func (g *target) get(s *Source) error {
	return s.File(g.t.Context(), "tidegate.zst", int64(len(g.body)), sumOf(g.body), g.into)
}

// must gets it and looks at what is there then.
func (g *target) must(s *Source) {
	g.t.Helper()
	if err := g.get(s); err != nil {
		g.t.Fatal(err)
	}
	b, err := os.ReadFile(g.into + doneSuffix)
	if err != nil || !bytes.Equal(b, g.body) {
		g.t.Fatalf("got %d other bytes of %d, %v", len(b), len(g.body), err)
	}
	if names := g.names(); len(names) != 1 {
		g.t.Fatalf("left %q", names)
	}
}

// has puts b there as an earlier File would have left it.
func (g *target) has(b []byte, from origin) {
	g.t.Helper()
	if err := os.WriteFile(g.into+partSuffix, b, 0o600); err != nil {
		g.t.Fatal(err)
	}
	if from != (origin{}) {
		if err := from.write(g.into + fromSuffix); err != nil {
			g.t.Fatal(err)
		}
	}
}

// part returns what is there of it, and no more than may be.
func (g *target) part() []byte {
	g.t.Helper()
	b, err := os.ReadFile(g.into + partSuffix)
	if err != nil {
		g.t.Fatal(err)
	}
	if len(b) > len(g.body) {
		g.t.Fatalf("got %d bytes, want at most %d", len(b), len(g.body))
	}
	return b
}

func (g *target) names() (names []string) {
	entries, err := os.ReadDir(filepath.Dir(g.into))
	if err != nil {
		g.t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// A pipe is a network for a bubble of fake time: what is dialled is answered by an http.Server.
type pipe struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (p *pipe) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	a, b := net.Pipe()
	select {
	case p.conns <- b:
		return a, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipe) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipe) Addr() net.Addr { return &net.TCPAddr{} }

// bubble returns a Source of one server in a bubble, and what ends it.
func bubble(t *testing.T, o Options, answer http.HandlerFunc) (s *Source, end func()) {
	t.Helper()
	p := &pipe{conns: make(chan net.Conn), done: make(chan struct{})}
	web := &http.Server{Handler: answer}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		web.Serve(p)
	}()
	o.Dial = p.dial
	s, err := New([]string{"http://127.0.0.1/updates"}, o)
	if err != nil {
		t.Fatal(err)
	}
	return s, func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := web.Close(); err != nil {
			t.Error(err)
		}
		<-ended
	}
}

// slowly writes one byte, or what each writes, every so often until the other side has enough.
func slowly(w http.ResponseWriter, r *http.Request, every time.Duration, b []byte, each int) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	out := http.NewResponseController(w)
	for len(b) > 0 {
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
		n := min(each, len(b))
		if _, err := w.Write(b[:n]); err != nil || out.Flush() != nil {
			return
		}
		b = b[n:]
	}
}

func lengthOf(b []byte) string { return strconv.Itoa(len(b)) }

func rangeOf(first, last, total int) string { return fmt.Sprintf("bytes %d-%d/%d", first, last, total) }
