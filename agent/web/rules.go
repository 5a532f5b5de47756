package web

import (
	"context"
	"net/http"
	"time"

	"github.com/tidegate-io/tidegate/agent/status"
)

const (
	replayTime  = time.Hour       // that a replay may take
	explainTime = 5 * time.Second // that the judge may take to answer
)

// rules returns the rules of the source, and whether there are any; else it has answered.
func (s *Server) rules(w http.ResponseWriter) (Rules, bool) {
	r, ok := s.source.(Rules)
	if !ok {
		http.Error(w, "there are no rules here", http.StatusNotFound)
	}
	return r, ok
}

// replay answers a status.Trial with a status.Replay. It ends when who asked has gone.
func (s *Server) replay(w http.ResponseWriter, r *http.Request) {
	rules, ok := s.rules(w)
	if !ok {
		return
	}
	var t status.Trial
	if !s.asked(w, r, &t) {
		return
	}
	s.mayTake(w, replayTime)
	ctx, cancel := context.WithTimeout(r.Context(), replayTime)
	defer cancel()
	out, err := rules.Replay(ctx, t)
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	s.json(w, out)
}

// explain answers ?name=overheat with a status.RuleState.
func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	rules, ok := s.rules(w)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), explainTime)
	defer cancel()
	out, err := rules.Explain(ctx, r.URL.Query().Get("name"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	s.json(w, out)
}

// mayTake lets the request go on for d: it would end with the time that reading it may take.
func (s *Server) mayTake(w http.ResponseWriter, d time.Duration) {
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(d)); err != nil {
		s.log.Debug("page", "err", err)
	}
}
