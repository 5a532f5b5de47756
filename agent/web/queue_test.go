package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/agent/status"
)

// stocked is a gateway with a queue.
type stocked struct {
	source
	lines int   // that an export writes
	fails error // behind them
	ended chan error
	asked status.Export
}

func (s *stocked) Export(ctx context.Context, w io.Writer, what status.Export) (done status.Exported, err error) {
	s.asked = what
	for done.Readings < uint64(s.lines) && err == nil {
		if err = ctx.Err(); err == nil {
			_, err = io.WriteString(w, strings.Repeat("x", 1023)+"\n")
			done.Readings++
		}
	}
	if err == nil {
		err = s.fails
	}
	if s.ended != nil {
		s.ended <- err
	}
	return done, err
}

func (s *stocked) Rejected(context.Context) (status.RejectedList, error) {
	return status.RejectedList{Rejected: []status.Rejected{}}, nil
}

func (s *stocked) Requeue(_ context.Context, r status.Requeue) (status.Requeued, error) {
	if !r.All {
		return status.Requeued{}, errors.New("say which")
	}
	return status.Requeued{Uplink: "cloud", Records: 1, Readings: 4, Stay: []string{}}, nil
}

// TestQueueBySocket asks for what is stored through the socket, and never by the page's address.
func TestQueueBySocket(t *testing.T) {
	for name, tt := range map[string]struct {
		socket       bool
		method, path string
		body         string
		want         string
	}{
		"requeue":            {true, "POST", "requeue", `{"all":true}`, `200 {"uplink":"cloud","records":1,"readings":4,"stay":[]}`},
		"requeue by address": {false, "POST", "requeue", `{"all":true}`, "404 404 page not found"},
		"refused":            {true, "POST", "requeue", `{}`, "422 say which"},
		"unknown field":      {true, "POST", "requeue", `{"al":true}`, `400 decode request: json: unknown field "al"`},
		"rejected":           {true, "GET", "rejected", "", `200 {"rejected":[]}`},
		"by address":         {false, "GET", "rejected", "", "404 404 page not found"},
		"export by address":  {false, "POST", "export", "{}", "404 404 page not found"},
		"export fails":       {true, "POST", "export", "{}", "422 no disk"},
		"export of what":     {true, "POST", "export", "", "400 decode request: EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			r := httptest.NewRequestWithContext(t.Context(), tt.method, "http://127.0.0.1/api/queue/"+tt.path, strings.NewReader(tt.body))
			New(&stocked{fails: errors.New("no disk")}, slog.New(slog.DiscardHandler)).Routes(tt.socket).ServeHTTP(w, r)
			if got := fmt.Sprintf("%d %s", w.Code, strings.TrimSpace(w.Body.String())); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	for _, path := range []string{"POST export", "GET rejected", "POST requeue"} {
		method, path, _ := strings.Cut(path, " ")
		w := httptest.NewRecorder()
		New(&source{}, slog.New(slog.DiscardHandler)).Routes(true).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, "http://x/api/queue/"+path, strings.NewReader("{}")))
		if w.Code != http.StatusNotFound {
			t.Errorf("a gateway without a queue answers %s with %d", path, w.Code)
		}
	}
}

// serveSocket serves src on a socket and returns who asks there, and what ends it.
func serveSocket(t *testing.T, src Source) (ask *http.Client, stop func()) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- New(src, slog.New(slog.DiscardHandler)).Serve(ctx, l) }()
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}, stop
}

// TestExportSaysHowItEnded: what was written, how much it is, and why it ended early, in trailers.
func TestExportSaysHowItEnded(t *testing.T) {
	src := &stocked{lines: 3000, fails: errors.New("the disk went away")}
	ask, stop := serveSocket(t, src)
	defer stop()
	res, err := ask.Post("http://gateway/api/queue/export", "application/json", strings.NewReader(`{"format":"csv","from":7}`))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	var done status.Exported
	if err := errors.Join(err, json.Unmarshal([]byte(res.Trailer.Get(TrailerExported)), &done)); err != nil || len(b) != 3000<<10 || done.Readings != 3000 {
		t.Errorf("%d bytes, %+v, %v", len(b), done, err)
	}
	if why := res.Trailer.Get(TrailerError); why != "the disk went away" || src.asked.From != 7 || src.asked.Format != "csv" {
		t.Errorf("ended by %q, asked for %+v", why, src.asked)
	}
}

// TestWhoDoesNotReadHoldsNobodyUp: the end of the gateway ends the export of somebody who does not read on, before connections are closed.
func TestWhoDoesNotReadHoldsNobodyUp(t *testing.T) {
	src := &stocked{lines: 1 << 20, ended: make(chan error, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	srv := httptest.NewUnstartedServer(New(src, slog.New(slog.DiscardHandler)).Routes(true))
	srv.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	srv.Start()
	defer srv.Close()
	res, err := http.Post(srv.URL+"/api/queue/export", "application/json", strings.NewReader(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	time.Sleep(300 * time.Millisecond) // both ends' buffers are full by then
	cancel()
	select {
	case err := <-src.ended:
		if err == nil {
			t.Error("it went through")
		}
	case <-time.After(10 * time.Second):
		t.Error("it goes on")
	}
}
