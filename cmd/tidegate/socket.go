package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/tidegate-io/tidegate/agent/config"
)

// errNotRunning means that no gateway answers on the socket.
var errNotRunning = errors.New("the gateway is not running")

// ask gets path from the running gateway's socket and decodes the answer into v.
func ask(cfg *config.Config, path string, timeout time.Duration, v any) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	socket := socketPath(cfg)
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	defer t.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://gateway"+path, nil)
	if err != nil {
		return err
	}
	res, err := t.RoundTrip(req)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("socket %s: %w", socket, errNotRunning)
	}
	if err != nil {
		return asOwner(fmt.Errorf("ask the gateway: %w", err), nearest(socket))
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("ask the gateway: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the gateway answered %s: %s", res.Status, strings.TrimSpace(string(b)))
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("decode answer of the gateway: %w", err)
	}
	return nil
}
