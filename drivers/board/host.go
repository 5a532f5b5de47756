// Package board is the machine itself as drivers see it: serial ports, TCP connections, I2C, SPI, 1-Wire and GPIO lines.
//
// It hides what the libraries beneath leave to their callers, once for all:
//
//   - Serial ports get their settings from go.bug.st/serial, but are read and written through Go's own poller: real deadlines
//     instead of (0, nil), no select(2) and so no panic on descriptors beyond 1023, a blocked Write that ends, no spinning.
//   - A port is used by one process only, as root too (flock on the device).
//   - A transceiver of RS-485 is turned around and an echo taken out by package tty.
//   - Whatever goes away says so with an error wrapping drivers.ErrGone, and is opened anew by the bus at the next use.
//   - Calls into the kernel that know no deadline (I2C, SPI, 1-Wire) end within a second or with their device, reads of files with their ctx.
//
// Everything handed out dies with the ctx it was asked for with.
package board

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/tidegate-io/tidegate/drivers"
)

// Host is the real drivers.Host. It is safe for concurrent use.
type Host struct {
	log   *slog.Logger
	files *files

	mu    sync.Mutex
	buses map[string]*shared // guarded by mu; by path or network://address

	periphOnce sync.Once
	periphErr  error // set by periphOnce
}

var _ drivers.Host = (*Host)(nil)

// New returns the Host of this machine. It touches no hardware. A nil log discards.
func New(log *slog.Logger) *Host {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Host{log: log, files: newFiles("/"), buses: map[string]*shared{}}
}

// Serial returns the bus on the serial port that c names; see drivers.Host. The port need not be there yet. It is refused when c
// has values that no port can have, or when another device uses the port with other settings.
func (h *Host) Serial(ctx context.Context, c drivers.Serial) (*drivers.Bus, error) {
	mode, err := serialMode(c)
	if err != nil {
		return nil, fmt.Errorf("serial port %s: %w", c.Port, err)
	}
	path, err := filepath.Abs(c.Port)
	if err != nil {
		return nil, fmt.Errorf("serial port %s: %w", c.Port, err)
	}
	bus := drivers.NewBus(c.Port, func(context.Context) (drivers.Port, error) {
		p, err := openSerial(path, mode)
		if err != nil {
			return nil, err
		}
		port, err := arrange(p, c, h.Pin)
		if err != nil {
			return nil, err
		}
		h.tell(p, c, path, "/sys", "/dev/serial")
		return port, nil
	})
	return h.join(ctx, path, c.Settings(), bus)
}

// Dial returns the bus on a connection; see drivers.Host.
func (h *Host) Dial(ctx context.Context, network, address string) (*drivers.Bus, error) {
	bus := drivers.NewBus(address, func(ctx context.Context) (drivers.Port, error) {
		p, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		h.log.Info("connected", "network", network, "address", address)
		return p, nil
	})
	return h.join(ctx, network+"://"+address, "", bus)
}

// Memory forgets: a Host knows no place for it. The agent's has one.
func (h *Host) Memory(context.Context) drivers.Memory { return forgetful{} }

// forgetful is the Memory of a device that is read once, by hand.
type forgetful struct{}

func (forgetful) Load() ([]byte, error) { return nil, nil }
func (forgetful) Store([]byte) error    { return nil }

// Files is the file system from its root. It is a drivers.ContextFS.
func (h *Host) Files() fs.FS { return h.files }

// A shared is a bus and its uses.
type shared struct {
	bus      *drivers.Bus
	settings string
	uses     map[*use]struct{}
}

// A use is one call of Serial or Dial whose ctx lives, as far as we were told.
type use struct {
	done <-chan struct{} // of its ctx; nil = lives for ever
}

func (u *use) isGone() bool {
	select {
	case <-u.done:
		return true
	default:
		return false
	}
}

// join makes ctx a use of the bus called key: the one that there is, or else bus.
func (h *Host) join(ctx context.Context, key, settings string, bus *drivers.Bus) (*drivers.Bus, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open %s: %w", bus.Name(), err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sweepLocked(key)
	s := h.buses[key]
	switch {
	case s == nil:
		s = &shared{bus: bus, settings: settings, uses: map[*use]struct{}{}}
		h.buses[key] = s
	case s.settings != settings:
		return nil, fmt.Errorf("%s is in use at %s, asked for at %s: devices on one port need the same settings",
			bus.Name(), s.settings, settings)
	}
	if err := s.bus.Join(ctx); err != nil {
		return nil, err
	}
	u := &use{done: ctx.Done()}
	s.uses[u] = struct{}{}
	context.AfterFunc(ctx, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.sweepLocked(key)
	})
	return s.bus, nil
}

// sweepLocked forgets the uses of the bus called key whose ctx is done, and closes the bus behind the last of them. It looks at
// all of them rather than at the one whose end was reported: a device that is opened again at once, perhaps with other settings,
// must not meet its own past.
func (h *Host) sweepLocked(key string) {
	s := h.buses[key]
	if s == nil {
		return
	}
	for u := range s.uses {
		if u.isGone() {
			delete(s.uses, u)
		}
	}
	if len(s.uses) > 0 {
		return
	}
	delete(h.buses, key)
	if err := s.bus.Close(); err != nil {
		h.log.Warn("port not closed cleanly", "port", s.bus.Name(), "error", err)
	}
}
