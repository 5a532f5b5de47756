package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/agent/status"
)

// driven is a gateway with one output, which says what it was set to.
type driven struct {
	source
	said []string
}

func (d *driven) Drive(ctx context.Context, name, value string) (status.Output, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		return status.Output{}, errors.New("for how long?")
	}
	if name != "fan.relay" {
		return status.Output{}, errors.New("no device has an output " + name)
	}
	d.said = append(d.said, value)
	return status.Output{Channel: name, Value: json.RawMessage(value), ReadBack: json.RawMessage(value), Agrees: true}, nil
}

// TestSet sets an output through the socket, and never by the page's address.
func TestSet(t *testing.T) {
	const good = `{"channel":"fan.relay","value":"true"}`
	for name, tt := range map[string]struct {
		socket bool
		method string
		body   string
		want   string
	}{
		"through the socket": {true, "POST", good, `200 {"channel":"fan.relay","value":true,"read_back":true,"agrees":true}`},
		"by its address":     {false, "POST", good, "404 404 page not found"},
		"refused":            {true, "POST", `{"channel":"fan.rely","value":"true"}`, "422 no device has an output fan.rely"},
		"no POST":            {true, "GET", "", "405 Method Not Allowed"},
		"no JSON":            {true, "POST", "relay=true", "400 decode request: invalid character 'r' looking for beginning of value"},
		"no text":            {true, "POST", `{"channel":"fan.relay","value":true}`, "400 decode request: json: cannot unmarshal bool into Go struct field .value of type string"},
		"unknown field":      {true, "POST", `{"channel":"fan.relay","value":"true","force":true}`, `400 decode request: json: unknown field "force"`},
		"nothing":            {true, "POST", "", "400 decode request: EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			d := &driven{}
			s := New(d, slog.New(slog.DiscardHandler))
			w := httptest.NewRecorder()
			r := httptest.NewRequestWithContext(t.Context(), tt.method, "http://127.0.0.1/api/set", strings.NewReader(tt.body))
			s.Routes(tt.socket).ServeHTTP(w, r)
			if got := fmt.Sprintf("%d %s", w.Code, strings.TrimSpace(w.Body.String())); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if isSet := len(d.said) > 0; isSet != (w.Code == http.StatusOK) {
				t.Errorf("set: %v, status %d", d.said, w.Code)
			}
		})
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), "POST", "http://127.0.0.1/api/set", strings.NewReader(good))
	New(&source{}, slog.New(slog.DiscardHandler)).Routes(true).ServeHTTP(w, r)
	if w.Code != http.StatusNotFound {
		t.Errorf("a gateway without outputs answers %d", w.Code)
	}
}
