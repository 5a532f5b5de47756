// Package releases joins a gateway and package ota: what the configuration says of releases, what this machine is, and the process of its own in
// which a release is fetched.
package releases

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/update"
	"github.com/tidegate-io/tidegate/ota"
	"github.com/tidegate-io/tidegate/ota/release"
)

// Environment variables by which tidegate-launch tells the program that it starts where the package's folder is, and which state directory it looks
// into. Where they are not set, nobody would start another release.
const (
	lib   = "TIDEGATE_LIB"
	state = "TIDEGATE_STATE"
)

// Why nobody would start another release.
var (
	ErrNoLauncher = errors.New("this gateway was not started by tidegate-launch, which is what starts releases; install the package, or run install.sh")
	errElsewhere  = errors.New("tidegate-launch looks into another state directory than the configuration's; give it --state in the unit")
)

// Launched returns nil where this program was started by the launcher, which looks where the gateway of cfg keeps its releases.
func Launched(cfg *config.Config) error {
	at := os.Getenv(state)
	if at == "" || os.Getenv(lib) == "" {
		return ErrNoLauncher
	}
	a, err1 := os.Stat(at)
	b, err2 := os.Stat(cfg.StateDir)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if !os.SameFile(a, b) {
		return fmt.Errorf("%w: got %s, state_dir is %s", errElsewhere, at, cfg.StateDir)
	}
	return nil
}

// folder returns the package's folder: what the launcher says, or the one that this program lies in.
func folder() string {
	if at := os.Getenv(lib); at != "" {
		return at
	}
	if path, err := os.Executable(); err == nil {
		if _, err := os.Stat(filepath.Join(filepath.Dir(path), "release.json")); err == nil {
			return filepath.Dir(path)
		}
	}
	return defaultLib
}

// defaultLib is the folder of Debian's package.
const defaultLib = "/usr/lib/tidegate"

// Open opens the releases of the gateway of cfg. places are where to look for them: those of cfg, or a directory that somebody has brought. built
// is when this program was.
func Open(cfg *config.Config, places []string, built time.Time, log *slog.Logger) (*ota.Updater, error) {
	o := ota.Options{
		Dir: filepath.Join(cfg.StateDir, "ota"), Lib: folder(), Places: places, Rate: int64(cfg.Update.Rate), Built: built, Log: log,
		Machine: Machine(cfg),
	}
	if cfg.Update.Root != "" {
		root, err := os.ReadFile(cfg.Update.Root)
		if err != nil {
			log.Warn("there are no updates", "err", fmt.Errorf("update.root: %w", err))
		}
		o.Root = root
	}
	if cfg.Update.CA != "" {
		text, err := os.ReadFile(cfg.Update.CA)
		if err != nil {
			return nil, fmt.Errorf("update.ca: %w", err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(text)
		o.TLS = &tls.Config{RootCAs: pool}
	}
	u, err := ota.Open(o)
	if errors.Is(err, fs.ErrNotExist) { // the package's own program is not known: not installed as a package
		log.Debug("releases", "err", err)
	} else if err != nil {
		log.Warn("releases", "err", err) // they serve as far as they can
	}
	return u, nil
}

// Machine says what this machine is to releases.
func Machine(cfg *config.Config) release.Machine {
	m := release.Machine{Gateway: cfg.Gateway.ID, GOOS: runtime.GOOS, GOARCH: runtime.GOARCH, Hardware: cfg.Update.Hardware, Tenant: cfg.Update.Tenant}
	if m.GOARCH == "arm" {
		m.GOARM = "7"
		var u unix.Utsname
		if err := unix.Uname(&u); err == nil && strings.HasPrefix(unix.ByteSliceToString(u.Machine[:]), "armv6") {
			m.GOARM = "6"
		}
	}
	if len(m.Hardware) == 0 {
		tree, err := os.ReadFile("/proc/device-tree/compatible")
		if err == nil { // a machine without a device tree has no such names
			m.Hardware = strings.FieldsFunc(string(tree), func(r rune) bool { return r == 0 })
		}
	}
	return m
}

// A Fetched is what `update fetch` says on standard output.
type Fetched struct {
	*update.Release        // nil = nothing newer, or Reason says why not
	Reason          string `json:"reason,omitempty"`
	Error           string `json:"error,omitempty"`
}

// A Refused is why a release was not taken.
type Refused struct{ Reason, Text string }

// Error says it in words.
func (r *Refused) Error() string { return r.Text }

// Reason returns the name of why a release was not taken.
func Reason(err error) string {
	var r *Refused
	if errors.As(err, &r) {
		return r.Reason
	}
	return ota.Reason(err)
}

// Fetch looks for a release and leaves it in the free slot, in a process of its own, which ends: it takes memory that a gateway must not.
func Fetch(ctx context.Context, file string) (*update.Release, error) {
	// This very program, whatever lies at its path by now.
	c := exec.CommandContext(ctx, "/proc/self/exe", "update", "fetch", "--config", file)
	c.Args[0] = "tidegate"
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, os.Stderr // what it logs is of this gateway
	c.WaitDelay = time.Second
	err := c.Run()
	var f Fetched
	if bad := json.Unmarshal(out.Bytes(), &f); bad != nil {
		return nil, fmt.Errorf("fetch a release: %w", errors.Join(err, bad))
	}
	if f.Reason != "" {
		return f.Release, &Refused{f.Reason, f.Error}
	}
	return f.Release, err
}

// Memory returns the anonymous memory of this process, in bytes; 0 = not known.
func Memory() int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, ok := strings.Cut(string(text), "RssAnon:")
	var kb int64
	if _, err := fmt.Sscan(rest, &kb); !ok || err != nil {
		return 0
	}
	return kb << 10
}
