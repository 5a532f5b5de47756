package fetch

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestPlaces(t *testing.T) {
	for _, c := range []struct{ place, text string }{
		{"https://updates.example/tidegate", ""},
		{"https://updates.example:8443", ""},
		{"http://127.0.0.1:8080/x", ""},
		{"http://[::1]/x", ""},
		{"http://localhost/x", ""},
		{"/media/stick", ""},
		{"file:///media/stick", ""},
		{"http://updates.example/tidegate", "got http:// for updates.example, which is for 127.0.0.1 and ::1 only: use https://"},
		{"http://10.0.0.1/x", "got http:// for 10.0.0.1, which is for 127.0.0.1 and ::1 only: use https://"},
		{"http://127.0.0.1.evil.example/x", "got http:// for 127.0.0.1.evil.example, which is for 127.0.0.1 and ::1 only: use https://"},
		{"ftp://updates.example/x", `got scheme "ftp", want https://host/path, file:///path or an absolute path`},
		{"media/stick", `got scheme "", want https://host/path, file:///path or an absolute path`},
		{"file://server/share", `got scheme "file", want https://host/path, file:///path or an absolute path`},
		{"file://", `got scheme "file", want https://host/path, file:///path or an absolute path`},
		{"file://localhost", `got scheme "file", want https://host/path, file:///path or an absolute path`},
		{"https:///x", "got no host"},
		{"https://a:b@updates.example/x", "a name or password in it would end up in logs"},
		{"https://updates.example/x?key=1", "got more than scheme, host and path"},
		{"https://updates.example/x?", "got more than scheme, host and path"},
		{"https:updates.example", "got more than scheme, host and path"},
		{"https://updates.example/x#y", "got more than scheme, host and path"},
		{"https://updates.example/%zz", "no URL and no absolute path"},
	} {
		_, err := New([]string{c.place}, Options{})
		switch {
		case c.text == "" && err != nil:
			t.Errorf("%s: %v", c.place, err)
		case c.text != "" && (!errors.Is(err, ErrPlace) || err.Error() != `place refused: "`+c.place+`": `+c.text):
			t.Errorf("%s: got %v, want %s", c.place, err, c.text)
		}
	}
	for _, c := range []struct {
		places []string
		o      Options
		text   string
	}{
		{nil, Options{}, "place refused: got none; name a server (https://...) or a folder"},
		{[]string{"/a", "/a"}, Options{}, `place refused: "/a": it is there twice`},
		{[]string{"/a"}, Options{Rate: 1000}, "place refused: got a rate of 1000 bytes/s, want at least 4096, or 0 for no limit"},
		{[]string{"/a"}, Options{TLS: &tls.Config{InsecureSkipVerify: true}}, "place refused: TLS without verification"},
		{[]string{"a", "b:"}, Options{}, `place refused: "a": got scheme "", want https://host/path, file:///path or an absolute path; place refused: "b:": got scheme "b", want https://host/path, file:///path or an absolute path`},
	} {
		if _, err := New(c.places, c.o); !errors.Is(err, ErrPlace) || err.Error() != c.text || Reason(err) != "bad-place" {
			t.Errorf("got %v, want %s", err, c.text)
		}
	}
}

func TestNames(t *testing.T) {
	asked := serve(t, good([]byte("x")))
	s := source(t, Options{}, asked, t.TempDir())
	for _, name := range []string{"", ".", "..", ".x", "../x", "a/b", "/etc/passwd", "a\x00", "a b", "ä", "a?b", "a#b", "a%2fb", `a\b`, strings.Repeat("a", 201)} {
		_, err := s.Metadata(t.Context(), name, 10)
		if !errors.Is(err, ErrName) || Reason(err) != "bad-name" {
			t.Errorf("%q: %v", name, err)
		}
		if err := s.File(t.Context(), name, 1, sumOf([]byte("x")), filepath.Join(t.TempDir(), "x")); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if len(asked.asked) > 0 {
		t.Errorf("the server was asked for %s", asked.asked[0].URL)
	}
	if b, err := s.Metadata(t.Context(), "2.root.json", 10); string(b) != "x" || err != nil || asked.asked[0].URL.Path != "/updates/2.root.json" {
		t.Errorf("got %q, %v", b, err)
	}
}

// TestLiesOfServers is row B-33 of the catalogue of bad input, and R-08: whatever a server does, what is read is bounded, nothing is unpacked, no
// redirect leads to another scheme or host, and each has its name.
func TestLiesOfServers(t *testing.T) {
	b := content(1, 100<<10)
	elsewhere := serve(t, good(b))
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := z.Write(make([]byte, 10<<20)); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	to := func(url string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", url)
			w.WriteHeader(http.StatusFound)
		}
	}
	status := func(code int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
			w.Write(b)
		}
	}
	raw := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				io.WriteString(c, text)
				c.Close()
			}
		}
	}
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		reason string
		text   string // of both errors, some of it
	}{
		{"redirect to a file", to("file:///etc/passwd"), "redirected", "to file:///etc/passwd, want the same scheme and host"},
		{"redirect to the cloud's own address", to("http://169.254.169.254/latest/meta-data"), "redirected", "to http://169.254.169.254/latest/meta-data, want the same scheme and host"},
		{"redirect without TLS", func(w http.ResponseWriter, r *http.Request) { to("http://"+r.Host+"/x")(w, r) }, "redirected", "want the same scheme and host"},
		{"redirect to another server", to(elsewhere.URL + "/x"), "redirected", "want the same scheme and host"},
		{"redirect with a password", func(w http.ResponseWriter, r *http.Request) { to("https://a:secret@"+r.Host+"/x")(w, r) }, "redirected", "want the same scheme and host"},
		{"redirects for ever", to("/again"), "redirected", "got 4, want at most 3"},
		{"redirect to nowhere", status(302), "bad-status", "answer refused: 302 Found"},
		{"not modified", status(304), "bad-status", "answer refused: 304 Not Modified"},
		{"nothing to say", status(204), "bad-status", "answer refused: 204 No Content"},
		{"forbidden", status(403), "bad-status", "answer refused: 403 Forbidden"},
		{"broken", status(500), "bad-status", "answer refused: 500 Internal Server Error"},
		{"busy for seconds", status(503, "Retry-After", "120"), "bad-status", "answer refused: 503 Service Unavailable, asks to wait 2m0s"},
		{"no such file", status(404), "missing", "404 Not Found: file does not exist"},
		{"no more", status(410), "missing", "410 Gone: file does not exist"},
		{"compressed", status(200, "Content-Encoding", "gzip"), "encoded", `encoding refused: got Content-Encoding "gzip", want none`},
		{"compressed twice", status(200, "Content-Encoding", "identity, br"), "encoded", `got Content-Encoding "identity, br", want none`},
		{"a part that nobody asked for", status(206, "Content-Range", rangeOf(0, len(b)-1, len(b))), "wrong-range", "got a part, asked for the whole"},
		{"no HTTP", raw("SSH-2.0-x\r\n"), "unreachable", "malformed HTTP"},
		{"cut in the header", raw("HTTP/1.1 200"), "unreachable", "unreachable"},
		{"negative length", raw("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"), "unreachable", "bad Content-Length"},
		{"two lengths", raw("HTTP/1.1 200 OK\r\nContent-Length: 102400\r\nContent-Length: 3\r\n\r\nabc"), "unreachable", "Content-Length"},
		{"shorter than it says", raw("HTTP/1.1 200 OK\r\nContent-Length: 102400\r\n\r\nabc"), "unreachable", "unreachable"},
	} {
		t.Run("B-33 "+c.name, func(t *testing.T) {
			t.Parallel() // a second attempt waits a second
			web := serve(t, c.answer)
			s := source(t, Options{}, web)
			got, err := s.Metadata(t.Context(), "x", 200<<10)
			if Reason(err) != c.reason || !strings.Contains(err.Error(), c.text) || got != nil {
				t.Errorf("Metadata: %d bytes, %v (%s), want %s: %s", len(got), err, Reason(err), c.reason, c.text)
			}
			if n := len(web.asked); n > 4 {
				t.Errorf("asked %d times", n)
			}
			if enc := web.asked[0].Header.Values("Accept-Encoding"); len(enc) != 1 || enc[0] != "identity" {
				t.Errorf("asked with Accept-Encoding %q", enc)
			}
			g := wants(t, b)
			err = g.get(source(t, Options{}, web))
			if Reason(err) != c.reason || !strings.Contains(err.Error(), c.text) {
				t.Errorf("File: %v (%s), want %s: %s", err, Reason(err), c.reason, c.text)
			}
			if n := len(g.part()); n > 3 {
				t.Errorf("wrote %d bytes", n)
			}
		})
	}
	t.Cleanup(func() {
		if len(elsewhere.asked) > 0 {
			t.Error("the other server was asked")
		}
	})
	endless := func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	}
	t.Run("B-33 a body that never ends", func(t *testing.T) {
		s := source(t, Options{}, serve(t, endless))
		if got, err := s.Metadata(t.Context(), "x", 4096); Reason(err) != "wrong-length" || !strings.Contains(err.Error(), "wrong length: got more than 4096 bytes") || got != nil {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
		g := wants(t, append(b[:0:0], append(content(2, 300), b...)...))
		if err := g.get(s); Reason(err) != "wrong-hash" {
			t.Errorf("got %v", err)
		}
		if n := len(g.part()); n > 0 {
			t.Errorf("kept %d wrong bytes", n)
		}
		// What is behind the signed length is neither looked at nor written.
		wants(t, b[:99_999]).must(s)
	})
	t.Run("B-33 a header that never ends", func(t *testing.T) {
		sent := make(chan int, 1)
		web := serve(t, func(w http.ResponseWriter, r *http.Request) {
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			n, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n")
			for line := []byte("X: " + strings.Repeat("x", 1000) + "\r\n"); err == nil && n < 64<<20; {
				var more int
				more, err = c.Write(line)
				n += more
			}
			sent <- n
		})
		if _, err := source(t, Options{}, web).Metadata(t.Context(), "x", 10); Reason(err) != "unreachable" || !strings.Contains(err.Error(), "header") {
			t.Errorf("got %v", err)
		}
		if n := <-sent; n > 8<<20 {
			t.Errorf("read %d bytes of a header", n)
		}
	})
	t.Run("B-33 longer than it should be", func(t *testing.T) {
		g := wants(t, b[:1000])
		if err := g.get(source(t, Options{}, serve(t, good(b)))); Reason(err) != "wrong-length" || !strings.Contains(err.Error(), "the server has 102400 bytes, want 1000") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("B-33 bomb", func(t *testing.T) {
		// Without a Content-Encoding it is a file like others: it stays packed.
		s := source(t, Options{}, serve(t, good(bomb.Bytes())))
		if got, err := s.Metadata(t.Context(), "x", 1<<20); err != nil || !bytes.Equal(got, bomb.Bytes()) {
			t.Errorf("got %d bytes of %d, %v", len(got), bomb.Len(), err)
		}
	})
	t.Run("redirects on the server", func(t *testing.T) {
		s := source(t, Options{}, serve(t, func(w http.ResponseWriter, r *http.Request) {
			if n := strings.Count(r.URL.Path, "+"); n < 3 {
				to(r.URL.Path+"+")(w, r)
				return
			}
			good(b)(w, r)
		}))
		if got, err := s.Metadata(t.Context(), "x", 1<<20); err != nil || !bytes.Equal(got, b) {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
	})
	t.Run("certificate of somebody else", func(t *testing.T) {
		web := serve(t, good(b))
		s, err := New([]string{web.URL}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Metadata(t.Context(), "x", 10); Reason(err) != "unreachable" || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("got %v", err)
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin, asked := time.Now(), 0
		s, end := bubble(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
			if asked++; time.Since(begin) < time.Hour {
				w.Header().Set("Retry-After", begin.Add(time.Hour).UTC().Format(http.TimeFormat))
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			good([]byte("x"))(w, r)
		})
		defer end()
		for {
			b, err := s.Metadata(t.Context(), "x", 10)
			if err == nil {
				if string(b) != "x" || time.Since(begin) != time.Hour || asked != 2 {
					t.Errorf("got %q after %v, asked %d times", b, time.Since(begin), asked)
				}
				return
			}
			var status *Status
			if !errors.As(err, &status) || status.Code != 503 || status.After != time.Hour {
				t.Fatalf("got %v", err)
			}
			time.Sleep(10 * time.Minute)
		}
	})
}

// TestRetryAfterIsOfAll: a server that asked to be left alone is, whichever of its files was asked for before and is wanted now.
func TestRetryAfterIsOfAll(t *testing.T) {
	b := content(3, 1000)
	for name, first := range map[string]func(s *Source, g *target) error{
		"small files": func(s *Source, _ *target) error { _, err := s.Metadata(t.Context(), "x", 10); return err },
		"files":       func(s *Source, g *target) error { return g.get(s) },
	} {
		web := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		s, g := source(t, Options{}, web), wants(t, b)
		if err := first(s, g); Reason(err) != "bad-status" {
			t.Errorf("%s: got %v", name, err)
		}
		_, err := s.Metadata(t.Context(), "x", 10)
		for _, err := range []error{err, g.get(s)} {
			if Reason(err) != "bad-status" || !strings.Contains(err.Error(), "of that are left") {
				t.Errorf("behind %s: got %v", name, err)
			}
		}
		if len(web.asked) != 1 {
			t.Errorf("behind %s: asked %d times, want once", name, len(web.asked))
		}
	}
}

// TestSlowServers is R-08: less than 1 KiB/s for a minute ends it, whatever is fetched; more goes on as long as it takes.
func TestSlowServers(t *testing.T) {
	b := content(3, 300<<10)
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		limit  time.Duration
	}{
		{"1 B/s", func(w http.ResponseWriter, r *http.Request) { slowly(w, r, time.Second, b, 1) }, time.Minute},
		{"1,000 B/s", func(w http.ResponseWriter, r *http.Request) { slowly(w, r, time.Second, b, 1000) }, time.Minute},
		{"fast, then nothing", func(w http.ResponseWriter, r *http.Request) {
			w.Write(b[:50<<10])
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, time.Minute},
		{"fast for a while, then nothing", func(w http.ResponseWriter, r *http.Request) {
			w.Write(b[:100<<10])
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, 2 * time.Minute},
	} {
		t.Run("R-08 "+c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, end := bubble(t, Options{}, c.answer)
				defer end()
				begin := time.Now()
				_, err := s.Metadata(t.Context(), "x", 1<<20)
				if took := time.Since(begin); Reason(err) != "too-slow" || took != c.limit {
					t.Errorf("Metadata: %v after %v, want %v", err, took, c.limit)
				}
				g := wants(t, b)
				begin = time.Now()
				err = g.get(s)
				if took := time.Since(begin); Reason(err) != "too-slow" || took != c.limit {
					t.Errorf("File: %v after %v, want %v", err, took, c.limit)
				}
				if n := len(g.part()); n == 0 || !bytes.Equal(g.part(), b[:n]) {
					t.Errorf("kept %d other bytes", n)
				}
			})
		})
	}
	t.Run("no answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, end := bubble(t, Options{}, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
			defer end()
			begin := time.Now()
			if _, err := s.Metadata(t.Context(), "x", 1<<20); Reason(err) != "unreachable" || time.Since(begin) != stepTime {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
		})
	})
	t.Run("1,100 B/s", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, end := bubble(t, Options{}, func(w http.ResponseWriter, r *http.Request) { slowly(w, r, time.Second, b, 1100) })
			defer end()
			wants(t, b).must(s)
			// A whole file, but no more than its time.
			begin := time.Now()
			if _, err := s.Metadata(t.Context(), "x", 1<<20); err != nil || time.Since(begin) != 280*time.Second {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
		})
	})
	t.Run("small files have five minutes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			long := content(3, 500<<10)
			s, end := bubble(t, Options{}, func(w http.ResponseWriter, r *http.Request) { slowly(w, r, time.Second, long, 1100) })
			defer end()
			begin := time.Now()
			if _, err := s.Metadata(t.Context(), "x", 1<<20); Reason(err) != "out-of-time" || time.Since(begin) != metadataTime {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
		})
	})
	t.Run("the caller has enough", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, end := bubble(t, Options{}, func(w http.ResponseWriter, r *http.Request) { slowly(w, r, time.Second, b, 2000) })
			defer end()
			ctx, done := context.WithTimeout(t.Context(), 30*time.Second)
			defer done()
			g := wants(t, b)
			if err := s.File(ctx, "x", int64(len(b)), sumOf(b), g.into); Reason(err) != "out-of-time" {
				t.Errorf("got %v", err)
			}
			if n := len(g.part()); n < 50000 || n > 60000 {
				t.Errorf("kept %d bytes", n)
			}
		})
	})
}

// TestRate: a limit holds over the whole download, and what was asked for is read at once.
func TestRate(t *testing.T) {
	b := content(4, 1<<20)
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
	}{
		{"by ranges", good(b)},
		{"from a server without them", func(w http.ResponseWriter, r *http.Request) { w.Write(b) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, end := bubble(t, Options{Rate: 64 << 10}, c.answer)
				defer end()
				begin := time.Now()
				wants(t, b).must(s)
				if took := time.Since(begin); took < 15*time.Second || took > 17*time.Second {
					t.Errorf("1 MiB took %v at 64 KiB/s", took)
				}
				begin = time.Now()
				if _, err := s.Metadata(t.Context(), "x", 1<<20); err != nil || time.Since(begin) < 15*time.Second || time.Since(begin) > 17*time.Second {
					t.Errorf("%v after %v", err, time.Since(begin))
				}
			})
		})
	}
}

// TestFolder: a stick has what a server has, and can lie as well.
func TestFolder(t *testing.T) {
	b := content(5, 100<<10)
	dir := t.TempDir()
	write := func(name string, b []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("tidegate.zst", b)
	write("root.json", []byte("{}"))
	for _, place := range []string{dir, "file://" + dir} {
		s := source(t, Options{Rate: MinRate}, place)
		if got, err := s.Metadata(t.Context(), "root.json", 2); err != nil || string(got) != "{}" {
			t.Errorf("got %q, %v", got, err)
		}
		if _, err := s.Metadata(t.Context(), "root.json", 1); Reason(err) != "wrong-length" {
			t.Errorf("got %v", err)
		}
		if _, err := s.Metadata(t.Context(), "none.json", 1); !errors.Is(err, fs.ErrNotExist) || Reason(err) != "missing" {
			t.Errorf("got %v", err)
		}
		wants(t, b).must(s)
		g := wants(t, b)
		g.has(b[:70000], origin{})
		g.must(s)
	}
	s := source(t, Options{}, dir)
	if err := wants(t, b[:500]).get(s); Reason(err) != "wrong-length" || !strings.Contains(err.Error(), "the file has 102400 bytes, want 500") {
		t.Errorf("got %v", err)
	}
	if err := wants(t, content(6, len(b))).get(s); Reason(err) != "wrong-hash" {
		t.Errorf("got %v", err)
	}
	if err := errors.Join(os.Symlink(filepath.Join(dir, "..", "elsewhere"), filepath.Join(dir, "link")), os.Symlink("root.json", filepath.Join(dir, "inner")),
		syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600), os.Mkdir(filepath.Join(dir, "folder"), 0o700), os.Symlink("/dev/zero", filepath.Join(dir, "zero"))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"link", "inner", "pipe", "folder", "zero"} {
		if _, err := s.Metadata(t.Context(), name, 1<<20); Reason(err) != "no-regular-file" {
			t.Errorf("%s: %v", name, err)
		}
	}
	devices := source(t, Options{}, "/dev")
	if _, err := devices.Metadata(t.Context(), "zero", 1<<20); Reason(err) != "no-regular-file" {
		t.Errorf("/dev/zero: %v", err)
	}
	// Files that say they are empty and are not, as the kernel has them.
	kernel := source(t, Options{}, "/proc/self")
	if got, err := kernel.Metadata(t.Context(), "mountinfo", 10); Reason(err) != "wrong-length" {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	// A stick that is not there is no stick without the file.
	away := source(t, Options{}, filepath.Join(dir, "away"))
	if _, err := away.Metadata(t.Context(), "2.root.json", 10); Reason(err) != "unreachable" || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
