package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/agent/status"
)

// ruled is a gateway with one rule.
type ruled struct{ source }

func (*ruled) Replay(_ context.Context, t status.Trial) (status.Replay, error) {
	if t.Rules == "bad" {
		return status.Replay{}, errors.New("replay: " + t.Name)
	}
	return status.Replay{Records: 7, Notes: []string{}, Rules: []status.RuleReplay{}}, nil
}

func (*ruled) Explain(_ context.Context, name string) (status.RuleState, error) {
	if name != "a b" {
		return status.RuleState{}, fmt.Errorf("there is no rule %q", name)
	}
	return status.RuleState{Name: name, State: "idle"}, nil
}

// TestRules asks about rules through the socket, and never by the page's address.
func TestRules(t *testing.T) {
	for name, tt := range map[string]struct {
		socket             bool
		method, path, body string
		want               string
	}{
		"replay":        {true, "POST", "replay", `{"since":"2026-01-01T00:00:00Z"}`, `200 {"from":null,"to":null,"since":"0001-01-01T00:00:00Z","records":7,`},
		"refused":       {true, "POST", "replay", `{"rules":"bad","name":"t.yaml"}`, "422 replay: t.yaml"},
		"unknown field": {true, "POST", "replay", `{"sins":1}`, "400 decode request"},
		"by address":    {false, "POST", "replay", `{}`, "404 "},
		"explain":       {true, "GET", "explain?name=a+b", "", `200 {"name":"a b","state":"idle"`},
		"no such":       {true, "GET", "explain?name=x", "", `422 there is no rule "x"`},
		"not by it":     {false, "GET", "explain?name=a+b", "", "404 "},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), tt.method, "http://127.0.0.1/api/rules/"+tt.path, strings.NewReader(tt.body))
		New(&ruled{}, slog.New(slog.DiscardHandler)).Routes(tt.socket).ServeHTTP(w, r)
		if got := fmt.Sprintf("%d %s", w.Code, w.Body); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
}
