package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate/agent/status"
)

// source is a gateway to be shown.
type source struct {
	mu      sync.Mutex
	status  status.Status
	healthy error
	check   func(context.Context) (status.Check, error)
}

func (s *source) Status() status.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *source) set(f func(*status.Status)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.status)
}

func (s *source) Healthy() error { return s.healthy }

func (s *source) Segments() []status.Segment {
	return []status.Segment{{Name: "reading/1/1", First: 1, Last: 9, Records: 9, Readings: 36, Bytes: 400}}
}

func (s *source) Check(ctx context.Context) (status.Check, error) {
	if s.check != nil {
		return s.check(ctx)
	}
	return status.Check{Segments: 1, Frames: 2, Records: 9, Readings: 36, Bytes: 400, Faults: []string{}}, nil
}

// sampleStatus is a gateway with a bit of everything, names that are an attack included.
func sampleStatus() status.Status {
	t0 := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	account := status.Account{Produced: 12345, Delivered: 12000, Buffered: 300, Rejected: 5, DroppedDeclared: 40}
	down := status.Link{State: "down", Since: status.Time{Time: t0.Add(-5 * time.Minute)}, Endpoint: "mqtts://broker.example.org:8883", LastError: "connection refused"}
	return status.Status{
		Gateway: "gw-plant-7", Epoch: "00112233aabbccdd", Version: "v1.2.3", UptimeS: 7384.5, Time: t0,
		Clock: status.Clock{Synced: true, Source: "kernel", OffsetS: 0.0012}, Link: down,
		Queue:     status.Queue{Records: 75, Readings: 300, Bytes: 3000, KeptBytes: 70000, DiskBytes: 12603392, OldestAgeS: 301.5, Gaps: 2, LimitBytes: 512000000, WrittenPerDayBytes: 271_000_000, WrittenProjectedBytes: 540_000_000, WrittenLimitBytes: 1_000_000_000, CommitP50S: 0.025, CommitP99S: 0.3},
		Delivered: status.Delivered{Records: 3000, Readings: 12000, Bytes: 99999}, NextRecord: 3088, ConfirmedRecord: 3012, RulesLate: 3,
		Devices: []status.Device{
			{
				Name: "boiler", Driver: "modbus", State: "ok", LastRead: status.Time{Time: t0.Add(-time.Second)}, Reads: 3000, Readings: 12000,
				EveryS: 0.1, EveryRule: "closely",
				Values: []status.Value{
					{Channel: "temp", Value: "71.5", Unit: "Cel", Time: t0},
					{Channel: "power", Value: "1307.0347900390625", Unit: "W", Time: t0},
					{Channel: "energy", Value: "18446744073709551615", Unit: "Wh", Time: t0},
					{Channel: "disk", Value: "270553174016", Unit: "B", Time: t0},
					{Channel: "year", Value: "2026", Time: t0},
					{Channel: "tiny", Value: "-0.00000123456789", Time: t0},
					{Channel: "pump", Fault: "illegal data address", Time: t0},
					{Channel: "door", Value: "true", Time: t0},
				},
			},
			{Name: `<img src=x onerror=alert(1)>"}` + "\n" + `\`, Driver: "serialtext", State: "fault", Faults: 17, LastError: "open /dev/ttyUSB1: no such file or directory"},
		},
		Rules: []status.Rule{{Name: "overheat", Active: true, Fired: 3, Severity: "error", Text: "boiler too hot"}, {Name: "dry", Pending: true, Fired: 1}, {Name: "door"}},
		Conditions: []status.Condition{
			{Code: "store_failed", Severity: "error", Title: "the store does not take records", Remedy: "replace the card", Detail: "input/output error", Since: t0.Add(-time.Hour)},
			{Code: "uplink_down:cloud", Severity: "warning", Title: "the uplink is down; readings are buffered", Remedy: "check network, address and credentials", Since: t0},
		},
		Update: status.Update{Slot: "package", Version: "v1.2.3"}, Account: account,
		Uplinks: []status.Uplink{{Name: "cloud", Link: down, Account: account, Batches: 61, Resends: 4, Bytes: 99999}},
	}
}

func newServer(src Source) *Server { return New(src, slog.New(slog.DiscardHandler)) }

func TestRoutes(t *testing.T) {
	src := &source{status: sampleStatus()}
	asJSON := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b) + "\n"
	}
	check, err := src.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const plain = "text/plain; charset=utf-8"
	none := "404 page not found\n"
	tests := map[string]struct {
		method, target string
		socket         bool
		status         int
		kind, body     string
	}{
		"page":                    {"GET", "/", false, 200, "text/html; charset=utf-8", string(page)},
		"status":                  {"GET", "/api/status", false, 200, "application/json", asJSON(src.status)},
		"status over the socket":  {"GET", "/api/status", true, 200, "application/json", asJSON(src.status)},
		"segments":                {"GET", "/api/segments", false, 200, "application/json", asJSON(src.Segments())},
		"check over the socket":   {"GET", "/api/check", true, 200, "application/json", asJSON(check)},
		"no check over the net":   {"GET", "/api/check", false, 404, plain, none},
		"healthy":                 {"GET", "/healthz", false, 200, plain, "ok\n"},
		"no such page":            {"GET", "/index.html", false, 404, plain, none},
		"reads only":              {"POST", "/api/status", false, 405, plain, "Method Not Allowed\n"},
		"deletes nothing":         {"DELETE", "/api/segments", true, 405, plain, "Method Not Allowed\n"},
		"head":                    {"HEAD", "/healthz", false, 200, plain, "ok\n"}, // the server leaves the body out
		"upwards":                 {"GET", "/../etc/passwd", false, 400, plain, "path is not clean\n"},
		"upwards, escaped":        {"GET", "/api/%2e%2e/%2e%2e/etc/passwd", false, 400, plain, "path is not clean\n"},
		"upwards, escaped twice":  {"GET", "/%252e%252e/etc/passwd", false, 404, plain, none},
		"slashes, escaped":        {"GET", "/..%2f..%2fetc%2fpasswd", false, 400, plain, "path is not clean\n"},
		"backslashes":             {"GET", `/..%5cetc`, false, 400, plain, "path is not clean\n"},
		"NUL":                     {"GET", "/api/status%00.html", false, 400, plain, "path is not clean\n"},
		"line feed":               {"GET", "/api/status%0aX-Evil:1", false, 400, plain, "path is not clean\n"},
		"double slash":            {"GET", "//api/status", false, 400, plain, "path is not clean\n"},
		"name of somebody else":   {"GET", "http://evil.example.org/api/status", false, 421, plain, "ask by address, or by the name of this machine\n"},
		"any name on the socket":  {"GET", "http://gateway.example.org/healthz", true, 200, plain, "ok\n"},
		"address":                 {"GET", "http://192.0.2.7:8480/healthz", false, 200, plain, "ok\n"},
		"address of version six":  {"GET", "http://[2001:db8::1]:8480/healthz", false, 200, plain, "ok\n"},
		"name without domain":     {"GET", "http://localhost:8480/healthz", false, 200, plain, "ok\n"},
		"name in a local network": {"GET", "http://raspberrypi.local./healthz", false, 200, plain, "ok\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(tt.method, "/", nil)
			target := tt.target
			if rest, ok := strings.CutPrefix(target, "http://"); ok {
				i := strings.IndexByte(rest, '/')
				r.Host, target = rest[:i], rest[i:]
			} else {
				r.Host = "127.0.0.1:8480"
			}
			u, err := r.URL.Parse("http://x")
			if err != nil {
				t.Fatal(err)
			}
			r.URL = u
			r.URL.Path, r.URL.RawPath = unescaped(t, target), target
			newServer(src).Routes(tt.socket).ServeHTTP(w, r)
			if w.Code != tt.status || w.Header().Get("Content-Type") != tt.kind || w.Body.String() != tt.body {
				t.Errorf("got %d %s %q\nwant %d %s %q", w.Code, w.Header().Get("Content-Type"), w.Body, tt.status, tt.kind, tt.body)
			}
			for key, want := range map[string]string{
				"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store",
			} {
				if got := w.Header().Get(key); got != want {
					t.Errorf("%s: got %q, want %q", key, got, want)
				}
			}
		})
	}
}

// unescaped returns the path as net/http gives it to the routes.
func unescaped(t *testing.T, raw string) string {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + raw + " HTTP/1.1\r\nHost: x\r\n\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(raw, "//") {
		return raw
	}
	return r.URL.Path
}

func TestOwnName(t *testing.T) {
	s := newServer(&source{})
	s.name = "gw1.plant.example.org"
	for host, want := range map[string]bool{
		"gw1.plant.example.org": true, "gw1.plant.example.org:8480": true, "GW1.other.example.net": true, "gw2.plant.example.org": false,
		"gw1": true, "evil.org": false, "x.lan": true, "x.internal": true, "x.home.arpa": true, "local.evil.org": false, "": true,
	} {
		if got := s.meant(host); got != want {
			t.Errorf("%q: got %v, want %v", host, got, want)
		}
	}
}

func TestUnhealthy(t *testing.T) {
	src := &source{
		healthy: errors.New("the judge has not gone round for 31s, at most 30s"),
		check: func(context.Context) (status.Check, error) {
			return status.Check{}, errors.New("the store is not open yet")
		},
	}
	for target, want := range map[string]string{
		"/healthz":   "503 the judge has not gone round for 31s, at most 30s\n",
		"/api/check": "500 the store is not open yet\n",
	} {
		w := httptest.NewRecorder()
		newServer(src).Routes(true).ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		if got := fmt.Sprint(w.Code, " ", w.Body); got != want {
			t.Errorf("%s: got %q, want %q", target, got, want)
		}
	}
}

// TestMetrics compares every line: names are a contract with those who draw dashboards. A device's name must not break out of its label.
func TestMetrics(t *testing.T) {
	w := httptest.NewRecorder()
	newServer(&source{status: sampleStatus()}).Routes(false).ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1/metrics", nil))
	want, err := os.ReadFile("testdata/metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	if w.Body.String() != string(want) {
		t.Errorf("got\n%s\nwant\n%s", w.Body, want)
	}
	if got := w.Header().Get("Content-Type"); got != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("Content-Type %q", got)
	}
	line := regexp.MustCompile(`^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{([a-z]+="([^"\\\n]|\\["\\n])*",?)+\})? [-+0-9.e]+)$`)
	for l := range strings.Lines(w.Body.String()) {
		if !line.MatchString(strings.TrimSuffix(l, "\n")) {
			t.Errorf("no line of the format: %q", l)
		}
	}
}

// TestPageStandsAlone: a gateway's page is opened where there is no network but the gateway's.
func TestPageStandsAlone(t *testing.T) {
	if len(page) >= 200_000 {
		t.Errorf("the page has %d bytes, want less than 200,000", len(page))
	}
	for _, bad := range []string{`https?://`, `\bsrc\s*=`, `@import`, `url\(`, `//[a-z0-9.-]+\.[a-z]{2,}/`, `innerHTML`, `document\.write`, `\beval\(`, `style="`, ` on[a-z]+="`} {
		if m := regexp.MustCompile(bad).Find(page); m != nil {
			t.Errorf("the page has %q", m)
		}
	}
	for _, tag := range []string{"style", "script"} {
		if n := bytes.Count(page, []byte("<"+tag)); n != 1 {
			t.Errorf("the page has %d elements <%s>, the policy knows one", n, tag)
		}
	}
	w := httptest.NewRecorder()
	newServer(&source{}).Routes(false).ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1/", nil))
	policy := w.Header().Get("Content-Security-Policy")
	if !regexp.MustCompile(`^default-src 'none'; style-src 'sha256-[A-Za-z0-9+/]{43}='; script-src 'sha256-[A-Za-z0-9+/]{43}='; connect-src 'self'; ` +
		`img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'$`).MatchString(policy) {
		t.Errorf("policy %s", policy)
	}
}

// net0 is a network in memory, for fake time.
type net0 chan net.Conn

func (n net0) Accept() (net.Conn, error) {
	c, ok := <-n
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (n net0) Close() error   { close(n); return nil }
func (n net0) Addr() net.Addr { return &net.TCPAddr{} }

func (n net0) dial() net.Conn {
	a, b := net.Pipe()
	n <- b
	return a
}

// serving runs f against a server in fake time.
func serving(t *testing.T, src *source, f func(t *testing.T, n net0, stop func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := make(net0, 1000)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- newServer(src).Serve(ctx, n) }()
		stopped := false
		stop := func() {
			if !stopped {
				stopped = true
				cancel()
				if err := <-ended; err != nil {
					t.Errorf("Serve: %v", err)
				}
			}
		}
		defer time.Sleep(time.Second) // net/http lingers half a second on connections that it refused
		defer stop()
		f(t, n, stop)
	})
}

// get sends a request and returns the reader of its answer.
func get(t *testing.T, c net.Conn, path string) (*bufio.Reader, *http.Response) {
	t.Helper()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r, res
}

// next returns the next status of a live page.
func next(t *testing.T, r *bufio.Reader) status.Status {
	t.Helper()
	var s status.Status
	line, err := r.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	empty, err := r.ReadString('\n')
	if err != nil || empty != "\n" {
		t.Fatalf("behind %q stands %q, %v", line, empty, err)
	}
	body, ok := strings.CutPrefix(line, "data: ")
	if !ok {
		t.Fatalf("got %q", line)
	}
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLivePage(t *testing.T) {
	src := &source{status: status.Status{Gateway: "a"}}
	serving(t, src, func(t *testing.T, n net0, stop func()) {
		c := n.dial()
		_, res := get(t, c, "/api/live")
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%d %s", res.StatusCode, res.Header.Get("Content-Type"))
		}
		body := bufio.NewReader(res.Body)
		if s := next(t, body); s.Gateway != "a" {
			t.Errorf("first status is of %q", s.Gateway)
		}
		src.set(func(s *status.Status) { s.Gateway = "b" })
		start := time.Now()
		if s := next(t, body); s.Gateway != "b" || time.Since(start) != time.Second {
			t.Errorf("next status is of %q after %v, want b after 1s", s.Gateway, time.Since(start))
		}
		for range 3600 { // no deadline of the server ends it
			next(t, body)
		}
		stop()
		if n, err := io.Copy(io.Discard, body); n > 0 { // the end is clean or not, but it is one
			t.Errorf("%d bytes came after the stop, %v", n, err)
		}
	})
}

func TestLivePagesAreBounded(t *testing.T) {
	serving(t, &source{}, func(t *testing.T, n net0, _ func()) {
		var first net.Conn
		for range maxLive {
			c := n.dial()
			if first == nil {
				first = c
			}
			if _, res := get(t, c, "/api/live"); res.StatusCode != 200 {
				t.Fatalf("got %d", res.StatusCode)
			}
		}
		c := n.dial()
		_, res := get(t, c, "/api/live")
		if b, _ := io.ReadAll(res.Body); res.StatusCode != 503 || string(b) != "too many live pages\n" {
			t.Errorf("one too many got %d %q", res.StatusCode, b)
		}
		// None of them reads: after 10 s the server gives them up.
		time.Sleep(12 * time.Second)
		if _, res := get(t, n.dial(), "/api/live"); res.StatusCode != 200 {
			t.Errorf("got %d after the others hung for 12 s", res.StatusCode)
		}
		if _, err := io.Copy(io.Discard, first); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("a page that does not read ended with %v", err)
		}
	})
}

func TestSlowHeaders(t *testing.T) {
	serving(t, &source{}, func(t *testing.T, n net0, _ func()) {
		c, start := n.dial(), time.Now()
		go func() {
			for _, b := range []byte("GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa") {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		_, err := io.Copy(io.Discard, c)
		if d := time.Since(start); d < 9*time.Second || d > 12*time.Second {
			t.Errorf("one byte a second was heard for %v (%v), want 10s", d, err)
		}
	})
}

func TestLongHeaders(t *testing.T) {
	serving(t, &source{}, func(t *testing.T, n net0, _ func()) {
		c := n.dial()
		go func() {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: "+strings.Repeat("a", 1<<20))
		}()
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("got %v, %v", res, err)
		}
	})
}

func TestConnectionsAreBounded(t *testing.T) {
	serving(t, &source{}, func(t *testing.T, n net0, _ func()) {
		var open []net.Conn
		for range maxConns {
			c := n.dial()
			if _, res := get(t, c, "/healthz"); res.StatusCode != 200 {
				t.Fatalf("got %d", res.StatusCode)
			}
			open = append(open, c)
		}
		late := n.dial()
		got := make(chan int, 1)
		go func() { _, res := get(t, late, "/healthz"); got <- res.StatusCode }()
		time.Sleep(5 * time.Second)
		select {
		case s := <-got:
			t.Fatalf("connection %d was answered with %d beside %d others", maxConns+1, s, maxConns)
		default:
		}
		if err := open[0].Close(); err != nil {
			t.Fatal(err)
		}
		if s := <-got; s != 200 {
			t.Errorf("got %d", s)
		}
	})
}

func TestLargeBodies(t *testing.T) {
	serving(t, &source{}, func(t *testing.T, n net0, _ func()) {
		for name, tt := range map[string]struct {
			head string
			want int
		}{
			"ten gigabytes announced": {"Content-Length: 10000000000\r\n\r\n", 413},
			"endless":                 {"Transfer-Encoding: chunked\r\n\r\n100000\r\n", 200},
		} {
			c, written := n.dial(), make(chan int)
			go func() {
				sum, chunk := 0, make([]byte, 4096)
				_, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n"+tt.head)
				for err == nil && sum < 10<<20 {
					var k int
					k, err = c.Write(chunk)
					sum += k
				}
				written <- sum
			}()
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil || res.StatusCode != tt.want {
				t.Errorf("%s: got %v, %v; want %d", name, res, err, tt.want)
			}
			if sum := <-written; sum > 600<<10 {
				t.Errorf("%s: %d bytes of the body were taken", name, sum)
			}
		}
	})
}

// badListener fails.
type badListener struct{ net0 }

func (badListener) Accept() (net.Conn, error) { return nil, errors.New("out of descriptors") }

func TestListenerFails(t *testing.T) {
	err := newServer(&source{}).Serve(t.Context(), badListener{make(net0)})
	if got, want := fmt.Sprint(err), "serve page on :0: out of descriptors"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// unix0 is net0 as a unix socket.
type unix0 struct{ net0 }

func (unix0) Addr() net.Addr { return &net.UnixAddr{Name: "tidegate.sock", Net: "unix"} }

// TestLastAnswers: whoever has asked when the gateway ends is answered, if that does not take long.
func TestLastAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		takes time.Duration
		want  bool
	}{"soon": {lastAnswers / 2, true}, "late": {10 * lastAnswers, false}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := make(net0, 1)
				ctx, cancel := context.WithCancel(t.Context())
				src := &source{check: func(context.Context) (status.Check, error) {
					cancel()
					time.Sleep(c.takes)
					return status.Check{Records: 9}, nil
				}}
				ended := make(chan error, 1)
				go func() { ended <- newServer(src).Serve(ctx, unix0{n}) }()
				conn := n.dial()
				if _, err := fmt.Fprint(conn, "GET /api/check HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				res, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if got := err == nil && res.StatusCode == http.StatusOK; got != c.want {
					t.Errorf("answered: %v, want %v: %v", got, c.want, err)
				}
				if err := <-ended; err != nil {
					t.Error(err)
				}
				time.Sleep(c.takes)
			})
		})
	}
}
