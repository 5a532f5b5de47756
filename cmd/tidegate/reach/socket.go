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

	"github.com/tidegate-io/tidegate/agent"
	"github.com/tidegate-io/tidegate/agent/config"
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
	list := []string{filepath.Join(agent.RingDir(cfg.StateDir), name), filepath.Join("/run/tidegate", name)}
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

func talk(cfg *config.Config, method, path string, body []byte, timeout time.Duration, v any) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
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
	defer t.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, method, "http://gateway"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	res, err := t.RoundTrip(req)
	if absent(err) {
		return fmt.Errorf("socket %s: %w", socket, ErrNotRunning)
	}
	if err != nil {
		return AsOwner(fmt.Errorf("ask the gateway: %w", err), Nearest(socket))
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("ask the gateway: %w", err)
	}
	if res.StatusCode == http.StatusUnprocessableEntity {
		return errors.New(strings.TrimSpace(string(b))) // it says all
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the gateway answered %s: %s", res.Status, strings.TrimSpace(string(b)))
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("decode answer of the gateway: %w", err)
	}
	return nil
}
