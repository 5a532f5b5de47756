// Package reach is how a command gets to the gateway: by its socket while it runs, by its files while it does not, as the user whose they are.
package reach

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/place"
)

// ErrNotRunning is wrapped by errors that mean that no gateway answers on the socket.
var ErrNotRunning = errors.New("the gateway is not running")

// Socket returns where the commands find the running gateway.
func Socket(cfg *config.Config) string { return filepath.Join(cfg.StateDir, "tidegate.sock") }

// Spares returns where else they find it: beside its rings, for a state directory that cannot be written, or was deleted. The gateway listens on the
// first; the others are where one is that systemd or another user has started.
func Spares(cfg *config.Config) []string {
	abs, err := filepath.Abs(cfg.StateDir)
	if err != nil {
		abs = cfg.StateDir
	}
	sum := sha256.Sum256([]byte(abs))
	name := fmt.Sprintf("socket-%x", sum[:8])
	list := []string{filepath.Join(place.RingDir(cfg.StateDir), name), filepath.Join("/run/tidegate", name)}
	if uid, _, err := OwnerOf(Nearest(abs)); err == nil {
		list = append(list, fmt.Sprintf("/dev/shm/tidegate-%d-%x/%s", uid, sum[:8], name))
	}
	return list
}

// Ask gets path from the running gateway's socket and decodes the answer into v. The error wraps ErrNotRunning where no gateway answers.
func Ask(cfg *config.Config, path string, timeout time.Duration, v any) error {
	return talk(cfg, http.MethodGet, path, nil, timeout, v)
}

// Tell posts q, as JSON, to path of the running gateway's socket, and decodes the answer into v. The error is as Ask's.
func Tell(cfg *config.Config, path string, q any, timeout time.Duration, v any) error {
	b, err := json.Marshal(q)
	if err != nil {
		return err
	}
	return talk(cfg, http.MethodPost, path, b, timeout, v)
}

// absent reports whether err says that nobody listens.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOTDIR)
}

// Fetch posts q, as JSON, to path of the running gateway's socket, and copies the answer to w as it comes. It returns the answer's trailers. The
// error is as Ask's, or w's own.
func Fetch(ctx context.Context, cfg *config.Config, path string, q any, w io.Writer) (trailers http.Header, err error) {
	b, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	t, res, err := begin(ctx, cfg, http.MethodPost, path, b)
	if err != nil {
		return nil, err
	}
	defer t.CloseIdleConnections()
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		return nil, errors.Join(refusal(res, b), err)
	}
	to := &marked{w: w}
	if _, err := io.Copy(to, res.Body); err != nil {
		if to.failed != nil {
			return nil, to.failed
		}
		return nil, fmt.Errorf("the gateway ended it: %w", err)
	}
	return res.Trailer, nil
}

// marked keeps the error of w, so that it can be told from one of the other end.
type marked struct {
	w      io.Writer
	failed error
}

func (m *marked) Write(b []byte) (int, error) {
	n, err := m.w.Write(b)
	if err != nil {
		m.failed = err
	}
	return n, err
}

// refusal returns what an answer that is none says.
func refusal(res *http.Response, b []byte) error {
	if res.StatusCode == http.StatusUnprocessableEntity {
		return errors.New(strings.TrimSpace(string(b))) // it says all
	}
	return fmt.Errorf("the gateway answered %s: %s", res.Status, strings.TrimSpace(string(b)))
}

// begin asks for path, and returns the answer as far as it has come.
func begin(ctx context.Context, cfg *config.Config, method, path string, body []byte) (*http.Transport, *http.Response, error) {
	socket := Socket(cfg)
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
		for _, path := range Spares(cfg) {
			if absent(err) {
				if spare, failed := (&net.Dialer{}).DialContext(ctx, "unix", path); failed == nil {
					return spare, nil
				}
			}
		}
		return c, err
	}}
	req, err := http.NewRequestWithContext(ctx, method, "http://gateway"+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	res, err := t.RoundTrip(req)
	if absent(err) {
		return nil, nil, fmt.Errorf("socket %s: %w", socket, ErrNotRunning)
	}
	if err != nil {
		return nil, nil, AsOwner(fmt.Errorf("ask the gateway: %w", err), Nearest(socket))
	}
	return t, res, nil
}

func talk(cfg *config.Config, method, path string, body []byte, timeout time.Duration, v any) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	t, res, err := begin(ctx, cfg, method, path, body)
	if err != nil {
		return err
	}
	defer t.CloseIdleConnections()
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("ask the gateway: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return refusal(res, b)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("decode answer of the gateway: %w", err)
	}
	return nil
}
