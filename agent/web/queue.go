package web

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/tidegate-io/tidegate/agent/status"
)

const (
	exportTime  = 24 * time.Hour   // that an export may take
	exportWrite = time.Hour        // that whoever reads it may stand still, in a pager for instance
	requeueTime = 10 * time.Minute // that a requeue may take
)

// Trailers of an export.
const (
	TrailerExported = "Tidegate-Exported" // a status.Exported, as JSON
	TrailerError    = "Tidegate-Error"    // why it ended early; not there where it did not
)

// Queues is a Source whose stored records can be taken out, and those that are set aside sent again, by those who may use the socket.
type Queues interface {
	// Export writes what is stored to w.
	Export(ctx context.Context, w io.Writer, what status.Export) (status.Exported, error)
	// Rejected lists what is set aside.
	Rejected(ctx context.Context) (status.RejectedList, error)
	// Requeue makes records that are set aside go to their uplink again.
	Requeue(ctx context.Context, r status.Requeue) (status.Requeued, error)
}

func (s *Server) queues(w http.ResponseWriter) (Queues, bool) {
	q, ok := s.source.(Queues)
	if !ok {
		http.Error(w, "there is no queue here", http.StatusNotFound)
	}
	return q, ok
}

// export answers a status.Export with what is stored, as it is read; the trailers say how it ended.
func (s *Server) export(w http.ResponseWriter, r *http.Request) {
	q, ok := s.queues(w)
	if !ok {
		return
	}
	var what status.Export
	if !s.asked(w, r, &what) {
		return
	}
	s.mayTake(w, exportTime)
	ctx, cancel := context.WithTimeout(r.Context(), exportTime)
	defer cancel()
	out := &patient{w: w, c: http.NewResponseController(w)}
	defer context.AfterFunc(ctx, out.End)()
	w.Header().Set("Trailer", TrailerExported+", "+TrailerError)
	w.Header().Set("Content-Type", "application/octet-stream")
	done, err := q.Export(ctx, out, what)
	if err != nil && !out.some {
		w.Header().Del("Trailer")
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	b, _ := json.Marshal(done) // three numbers marshal
	w.Header().Set(TrailerExported, string(b))
	if err != nil {
		w.Header().Set(TrailerError, err.Error())
	}
	if err := out.c.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		s.log.Debug("page", "err", err)
	}
}

// A patient writer lets whoever reads stand still for a while, and then gives up.
type patient struct {
	w    io.Writer
	c    *http.ResponseController
	some bool // something was written

	mu    sync.Mutex // guards ended, and that it is not overwritten by a later deadline
	ended bool
}

func (p *patient) Write(b []byte) (int, error) {
	p.some = true
	if err := p.wait(); err != nil {
		return 0, err
	}
	n, err := p.w.Write(b)
	return n, errors.Join(err, p.c.Flush())
}

// wait lets the next Write take its time.
func (p *patient) wait() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return errors.New("the gateway stops")
	}
	return p.c.SetWriteDeadline(time.Now().Add(exportWrite))
}

// End ends a Write that hangs, and all later ones: a gateway that stops does not wait for somebody who does not read.
func (p *patient) End() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	_ = p.c.SetWriteDeadline(time.Now()) // without deadlines there is no connection to wait for
}

// rejected lists what is set aside.
func (s *Server) rejected(w http.ResponseWriter, r *http.Request) {
	q, ok := s.queues(w)
	if !ok {
		return
	}
	s.mayTake(w, requeueTime)
	list, err := q.Rejected(r.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.json(w, list)
}

// requeue answers a status.Requeue with a status.Requeued.
func (s *Server) requeue(w http.ResponseWriter, r *http.Request) {
	q, ok := s.queues(w)
	if !ok {
		return
	}
	var what status.Requeue
	if !s.asked(w, r, &what) {
		return
	}
	s.mayTake(w, requeueTime)
	ctx, cancel := context.WithTimeout(r.Context(), requeueTime)
	defer cancel()
	done, err := q.Requeue(ctx, what)
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	s.json(w, done)
}
