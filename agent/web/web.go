// Package web is the gateway's local page: status, live, read-only, without any outside asset; /healthz and /metrics; and the same over
// the unix socket for the commands. It knows nothing but Status.
package web

import (
	"bytes"
	"context"
	_ "embed" // the page
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/tidegate-io/tidegate/agent/status"
)

//go:embed page.html
var page []byte

// Limits of the server: a local page for a few people, on a small machine.
const (
	maxConns    = 64
	maxHeader   = 16 << 10
	maxBody     = 64 << 10
	headerTime  = 10 * time.Second
	writeTime   = 10 * time.Second
	lastAnswers = time.Second // to those who have asked when the gateway ends
	liveEvery   = time.Second
	driveTime   = 25 * time.Second // of setting an output and reading it back
	checkTime   = time.Hour        // of reading all that is stored
	applyTime   = 35 * time.Minute // of fetching a release
	maxLive     = 16               // pages that are shown live at a time
	maxLiveTime = 24 * time.Hour   // after which the browser connects again
)

// A Source is what is shown.
type Source interface {
	// Status returns a snapshot. It is called from several goroutines.
	Status() status.Status
	// Healthy returns nil while the data path moves.
	Healthy() error
	// Segments lists what is stored.
	Segments() []status.Segment
	// Check reads everything that is stored.
	Check(ctx context.Context) (status.Check, error)
}

// Outputs is a Source whose outputs can be set, by those who may use the socket.
type Outputs interface {
	// Drive sets the output called name, "device.channel", to what value says, and reads it back. The error says why it was not set.
	Drive(ctx context.Context, name, value string) (status.Output, error)
}

// Rules is a Source whose rules can be asked about, by those who may use the socket.
type Rules interface {
	// Replay lets rules judge what is stored.
	Replay(ctx context.Context, t status.Trial) (status.Replay, error)
	// Explain says how the rule called name stands, and why.
	Explain(ctx context.Context, name string) (status.RuleState, error)
}

// Updates is a Source that can be told to start a release, by those who may use the socket.
type Updates interface {
	// Apply starts the release that is there, or says why it does not.
	Apply(ctx context.Context) error
}

// A Server shows one Source. Make it with New.
type Server struct {
	source Source
	log    *slog.Logger
	live   chan struct{} // one token per live page
	policy string        // Content-Security-Policy of the page
	name   string        // this machine's
}

// New returns a server for src.
func New(src Source, log *slog.Logger) *Server {
	name, err := os.Hostname()
	if err != nil {
		log.Debug("name of this machine", "err", err) // the page is then reached by address
	}
	return &Server{source: src, log: log, live: make(chan struct{}, maxLive), policy: policyOf(page), name: name}
}

// Serve answers on l until ctx is done, then closes it. It returns nil after such a stop.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	srv := &http.Server{
		Handler: s.Routes(l.Addr().Network() == "unix"), ReadHeaderTimeout: headerTime, ReadTimeout: headerTime, IdleTimeout: time.Minute, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		// Whoever asked for what ends the gateway is to be told.
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastAnswers)
		defer cancel()
		if err := srv.Shutdown(last); err != nil {
			s.log.Debug("close page", "err", errors.Join(err, srv.Close()))
		}
	})
	defer stop()
	if err := srv.Serve(&limited{Listener: l, room: make(chan struct{}, maxConns)}); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve page on %s: %w", l.Addr(), err)
	}
	<-closed
	return nil
}

// Routes returns what is answered where: / (page), /api/status, /api/live (server-sent events), /api/segments, /healthz, /metrics, and for those who
// may use the socket /api/check and POST /api/rules/replay, which cost much, /api/rules/explain, POST /api/queue/export, /api/queue/rejected, and those
// that do not only read: POST /api/set, POST /api/update/apply and POST /api/queue/requeue.
func (s *Server) Routes(socket bool) http.Handler {
	mux := http.NewServeMux()
	if socket {
		mux.HandleFunc("GET /api/check", s.check)
		mux.HandleFunc("POST /api/set", s.set)
		mux.HandleFunc("POST /api/update/apply", s.apply)
		mux.HandleFunc("POST /api/rules/replay", s.replay)
		mux.HandleFunc("GET /api/rules/explain", s.explain)
		mux.HandleFunc("POST /api/queue/export", s.export)
		mux.HandleFunc("GET /api/queue/rejected", s.rejected)
		mux.HandleFunc("POST /api/queue/requeue", s.requeue)
	}
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("GET /api/status", s.status)
	mux.HandleFunc("GET /api/live", s.stream)
	mux.HandleFunc("GET /api/segments", s.segments)
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /metrics", s.metrics)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", s.policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		if status, why := s.refuse(r, socket); why != "" {
			h.Set("Connection", "close")
			http.Error(w, why, status)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		mux.ServeHTTP(w, r)
	})
}

func (s *Server) page(w http.ResponseWriter, _ *http.Request) {
	s.send(w, "text/html; charset=utf-8", page)
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) { s.json(w, s.source.Status()) }

func (s *Server) segments(w http.ResponseWriter, _ *http.Request) { s.json(w, s.source.Segments()) }

func (s *Server) check(w http.ResponseWriter, r *http.Request) {
	s.mayTake(w, checkTime)
	c, err := s.source.Check(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.json(w, c)
}

// set sets one output: {"channel": "fan.relay", "value": "true"}.
func (s *Server) set(w http.ResponseWriter, r *http.Request) {
	outputs, ok := s.source.(Outputs)
	if !ok {
		http.Error(w, "there are no outputs here", http.StatusNotFound)
		return
	}
	var q struct {
		Channel string `json:"channel"`
		Value   string `json:"value"`
	}
	if !s.asked(w, r, &q) {
		return
	}
	s.mayTake(w, driveTime)
	ctx, cancel := context.WithTimeout(r.Context(), driveTime)
	defer cancel()
	out, err := outputs.Drive(ctx, q.Channel, q.Value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	s.json(w, out)
}

// apply starts a release, which may have to be fetched before.
func (s *Server) apply(w http.ResponseWriter, r *http.Request) {
	updates, ok := s.source.(Updates)
	if !ok {
		http.Error(w, "there are no releases here", http.StatusNotFound)
		return
	}
	s.mayTake(w, applyTime)
	ctx, cancel := context.WithTimeout(r.Context(), applyTime)
	defer cancel()
	if err := updates.Apply(ctx); err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	s.json(w, struct{}{})
}

// asked decodes what is asked for into v; else it has answered.
func (s *Server) asked(w http.ResponseWriter, r *http.Request, v any) bool {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		http.Error(w, "decode request: "+err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}

func (s *Server) json(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, "encode: "+err.Error(), http.StatusInternalServerError)
		return
	}
	s.send(w, "application/json", append(b, '\n'))
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	if err := s.source.Healthy(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	s.send(w, "text/plain; charset=utf-8", []byte("ok\n"))
}

func (s *Server) metrics(w http.ResponseWriter, _ *http.Request) {
	var b bytes.Buffer
	st := s.source.Status()
	writeMetrics(&b, &st)
	s.send(w, "text/plain; version=0.0.4; charset=utf-8", b.Bytes())
}

// send writes a whole answer; that the other end hung up meanwhile is its own business.
func (s *Server) send(w http.ResponseWriter, kind string, b []byte) {
	w.Header().Set("Content-Type", kind)
	c := http.NewResponseController(w)
	if err := c.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		s.log.Debug("page", "err", err)
	}
	if _, err := w.Write(b); err != nil {
		s.log.Debug("page", "err", err)
	}
}

// stream sends the status once a second, as server-sent events (HTML Living Standard, section 9.2).
func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	select {
	case s.live <- struct{}{}:
		defer func() { <-s.live }()
	default:
		http.Error(w, "too many live pages", http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), maxLiveTime)
	defer cancel()
	w.Header().Set("Content-Type", "text/event-stream")
	c := http.NewResponseController(w)
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	for {
		b, err := json.Marshal(s.source.Status())
		if err != nil {
			s.log.Error("encode status", "err", err)
			return
		}
		if err := errors.Join(c.SetWriteDeadline(time.Now().Add(writeTime)), c.SetReadDeadline(time.Now().Add(maxLiveTime))); err != nil {
			return
		}
		if _, err := fmt.Fprintf(w, "data: %s\n\n", b); err != nil {
			return
		}
		if err := c.Flush(); err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// limited lets at most cap(room) connections be open; further ones wait in the kernel's queue.
type limited struct {
	net.Listener
	room chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	l.room <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.room
		return nil, err
	}
	return &limitedConn{Conn: c, free: func() { <-l.room }}, nil
}

type limitedConn struct {
	net.Conn
	once sync.Once
	free func()
}

func (c *limitedConn) Close() error {
	c.once.Do(c.free)
	return c.Conn.Close()
}
