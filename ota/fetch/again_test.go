package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestWrongBytesNotAskedAgain: who gave wrong bytes is asked no more for this file, though others have to begin anew.
func TestWrongBytesNotAskedAgain(t *testing.T) {
	b := content(6, 300<<10)
	bad, cuts := serve(t, good(content(7, 300<<10))), 1
	fine := serve(t, func(w http.ResponseWriter, r *http.Request) { // it has no ranges, and the first time it is cut
		r.Header.Del("Range")
		if cuts--; cuts >= 0 {
			cut(b, 100<<10)(w, r)
		}
		good(b)(w, r)
	})
	wants(t, b).must(source(t, Options{}, bad, fine))
	if n, m := len(bad.asked), len(fine.asked); n != 1 || m != 3 {
		t.Errorf("asked the bad one %d times, the other one %d times, want 1 and 3", n, m)
	}
}

// TestNoOtherHelpsFromTheBeginning: where the disk fails, no other place is asked to begin anew.
func TestNoOtherHelpsFromTheBeginning(t *testing.T) {
	b := content(11, 5<<19)
	noRanges := func(w http.ResponseWriter, r *http.Request) { r.Header.Del("Range"); good(b)(w, r) }
	one, two := serve(t, noRanges), serve(t, noRanges)
	s := source(t, Options{}, one, two)
	g := wants(t, b)
	g.has(b[:1<<19], origin{})
	s.sync = func(*os.File) error { return syscall.EIO }
	if err := g.get(s); Reason(err) != "disk" || len(one.asked) != 2 || len(two.asked) != 1 {
		t.Errorf("got %v, asked %d and %d times, want 2 and 1", err, len(one.asked), len(two.asked))
	}
}

// TestPauseBetweenTries: a server that ends the connection is asked once more, a second later.
func TestPauseBetweenTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		s, end := bubble(t, Options{}, func(http.ResponseWriter, *http.Request) { asked++; panic(http.ErrAbortHandler) })
		defer end()
		begin := time.Now()
		if err := wants(t, content(1, 100)).get(s); !errors.Is(err, ErrUnreachable) || time.Since(begin) != time.Second || asked != tries {
			t.Errorf("got %v after %v, asked %d times, want %d in 1s", err, time.Since(begin), asked, tries)
		}
	})
}

// TestDisks has disks that are full, and those that cannot reserve.
func TestDisks(t *testing.T) {
	open := func(path string) *download {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return &download{s: &Source{}, f: f, length: 1 << 20}
	}
	if err := open("/dev/null").reserve(); err != nil { // ENODEV
		t.Errorf("what cannot reserve: got %v", err)
	}
	if err := open("/dev/full").write([]byte("x")); !errors.Is(err, ErrSpace) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk: got %v, want %v", err, ErrSpace)
	}
	if err := open("/proc/self/mem").write([]byte("x")); !errors.Is(err, ErrDisk) || errors.Is(err, ErrSpace) { // address 0
		t.Errorf("a disk that fails: got %v, want %v", err, ErrDisk)
	}
}

// TestThrownAwayIsOfNobody: bytes that were thrown away are no reason to doubt who gave the others.
func TestThrownAwayIsOfNobody(t *testing.T) {
	b := content(6, 300<<10)
	asked := 0
	web := serve(t, func(w http.ResponseWriter, r *http.Request) { // the first time it has ranges and is cut, then it has none, and other bytes
		if asked++; asked == 1 {
			cut(b, 50<<10)(w, r)
		}
		r.Header.Del("Range")
		good(content(7, 300<<10))(w, r)
	})
	g := wants(t, b)
	g.has(b[:100<<10], origin{})
	if err := g.get(source(t, Options{}, web)); Reason(err) != "wrong-hash" || len(web.asked) != 2 || len(g.part()) != 0 {
		t.Errorf("got %v, asked %d times, want a wrong hash after 2", err, len(web.asked))
	}
}

// TestKeepsWhatItIsOf: a later File asks by the tag that an earlier one was given.
func TestKeepsWhatItIsOf(t *testing.T) {
	b := content(6, 300<<10)
	isUp := true
	web := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if !isUp {
			panic(http.ErrAbortHandler)
		}
		if r.Header.Get("Range") == "" {
			isUp = false
			cut(b, 100<<10)(w, r)
		}
		good(b)(w, r)
	})
	g := wants(t, b)
	if err := g.get(source(t, Options{}, web)); !errors.Is(err, ErrUnreachable) {
		t.Fatalf("got %v", err)
	}
	isUp = true
	g.must(source(t, Options{}, web))
	last := web.asked[len(web.asked)-1]
	if want := `"` + sumOf(b)[:8] + `"`; last.Header.Get("If-Range") != want || last.Header.Get("Range") == "" {
		t.Errorf("asked with %v, want If-Range %s", last.Header, want)
	}
}

// TestEndsBeforeItsEnd: a server that says no length and ends its answer early is not waited for.
func TestEndsBeforeItsEnd(t *testing.T) {
	b := content(6, 100<<10)
	web := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		_, _ = w.Write(b[:1000]) // whoever asked may have enough
	})
	g := wants(t, b)
	if err := g.get(source(t, Options{}, web)); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "cut after 1000 of 102400 bytes") {
		t.Errorf("got %v", err)
	}
}

// TestSlowDisk: a server is not too slow because the disk is.
func TestSlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := content(12, 50_000)
		s, end := bubble(t, Options{}, func(w http.ResponseWriter, r *http.Request) { slowly(w, r, time.Second, b, 2000) })
		defer end()
		s.sync = func(f *os.File) error {
			time.Sleep(2 * slowTime)
			return f.Sync()
		}
		wants(t, b).must(s)
	})
}

// TestLongOrigin: of a file that is longer than what we write beside a .part, the beginning does not count.
func TestLongOrigin(t *testing.T) {
	o := origin{place: "https://updates.example/"}
	o.place += strings.Repeat("x", maxOrigin-len(o.encode()))
	path := filepath.Join(t.TempDir(), "from")
	for more, want := range map[string]origin{"": o, "x": {}} {
		if err := os.WriteFile(path, append(o.encode(), more...), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := readOrigin(path); got != want {
			t.Errorf("with %d bytes more: got %+.60v, want %+.60v", len(more), got, want)
		}
	}
}

// TestNoTagAtTheBeginning: with nothing there, nothing is asked to be the same.
func TestNoTagAtTheBeginning(t *testing.T) {
	b := content(6, 100<<10)
	web := serve(t, good(b))
	g := wants(t, b)
	g.has(nil, origin{place: web.URL + "/updates/", tag: `"old"`})
	g.must(source(t, Options{Rate: 64 << 10}, web))
	if first := web.asked[0].Header; first.Get("Range") == "" || first.Get("If-Range") != "" {
		t.Errorf("asked with %v at first, want a range and no If-Range", first)
	}
}

// TestOldTLS: a server that only knows an old TLS is not talked to, whatever the caller allows.
func TestOldTLS(t *testing.T) {
	web := httptest.NewUnstartedServer(good(content(1, 10)))
	web.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}
	web.Config.ErrorLog = log.New(io.Discard, "", 0)
	web.StartTLS()
	defer web.Close()
	pool := x509.NewCertPool()
	pool.AddCert(web.Certificate())
	s, err := New([]string{web.URL}, Options{TLS: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS10}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Metadata(t.Context(), "x", 10); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("got %v, want another protocol version", err)
	}
}

// TestSilentTLS: who takes the connection and says nothing is waited for as long as for each step.
func TestSilentTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, theirs) }() // until the other side closes
		s, err := New([]string{"https://updates.example"}, Options{Dial: func(context.Context, string, string) (net.Conn, error) { return ours, nil }})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		begin := time.Now()
		if _, err := s.Metadata(t.Context(), "x", 10); !errors.Is(err, ErrUnreachable) || time.Since(begin) != stepTime {
			t.Errorf("got %v after %v, want %v", err, time.Since(begin), stepTime)
		}
	})
}

// bufferedConn knows how much it was told to hold.
type bufferedConn struct {
	net.Conn
	size *int
}

func (c bufferedConn) SetReadBuffer(n int) error {
	*c.size = n
	return nil
}

// TestReadBuffer: of what a server has sent, the kernel holds little.
func TestReadBuffer(t *testing.T) {
	b := content(6, 100<<10)
	web := serve(t, good(b))
	size := 0
	wants(t, b).must(source(t, Options{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		return bufferedConn{c, &size}, err
	}}, web))
	if size != 64<<10 {
		t.Errorf("the kernel was told to hold %d bytes, want %d", size, 64<<10)
	}
}
