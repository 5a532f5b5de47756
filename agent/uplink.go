package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/line"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/sync/forward"
	"github.com/tidegate-io/tidegate/sync/mqtt"
	"github.com/tidegate-io/tidegate/sync/profile"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
)

// An uplink is one running forwarder.
type uplink struct {
	cfg    config.Uplink
	fwd    *forward.Forwarder
	cancel context.CancelFunc
	done   sync.WaitGroup
}

func (u *uplink) up() bool { return u.fwd.Stats().Up }

// link returns the state of the connection.
func (u *uplink) link() status.Link {
	s := u.fwd.Stats()
	l := status.Link{State: "down", Since: status.Time{Time: s.Since}, Endpoint: strings.Join(u.cfg.All(), " "), LastError: s.LastError}
	if s.Up {
		l.State = "up"
	}
	return l
}

// startUplinks starts a forwarder for each uplink. The returned function stops them and waits.
func (a *Agent) startUplinks(base context.Context, l *opened) (stop func()) {
	for i := range a.cfg.Uplinks {
		a.startUplink(base, l, a.cfg.Uplinks[i])
	}
	return func() {
		a.mu.Lock()
		list := append([]*uplink(nil), a.uplinks...)
		a.mu.Unlock()
		endAll(list)
	}
}

// endAll tells the forwarders to stop, and waits up to 5 s for what is in flight on any of them.
func endAll(list []*uplink) {
	for _, u := range list {
		u.cancel()
	}
	for _, u := range list {
		u.done.Wait()
	}
}

// startUplink starts the forwarder of one uplink. Where that cannot be, which a valid configuration does not lead to, the others go on.
func (a *Agent) startUplink(base context.Context, l *opened, c config.Uplink) {
	if a.parts.Safe {
		return
	}
	u, err := a.newUplink(c, l)
	if err != nil {
		a.board.set("uplink_down", c.Name, true, err.Error())
		a.log.Error("uplink", "name", c.Name, "err", err)
		return
	}
	ctx, cancel := context.WithCancel(base)
	u.cancel = cancel
	a.mu.Lock()
	a.uplinks = append(a.uplinks, u)
	a.mu.Unlock()
	u.done.Go(func() { a.runUplink(ctx, l, u) })
}

// stopUplinks stops the forwarders of the named uplinks, together. Their cursors stay.
func (a *Agent) stopUplinks(names []string) {
	var list []*uplink
	for _, name := range names {
		if u := a.uplink(name); u != nil {
			list = append(list, u)
		}
	}
	endAll(list)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.uplinks = slices.DeleteFunc(a.uplinks, func(u *uplink) bool { return slices.Contains(list, u) })
}

// runUplink forwards until ctx is done.
func (a *Agent) runUplink(ctx context.Context, l *opened, u *uplink) {
	for ctx.Err() == nil {
		err := u.fwd.Run(ctx)
		switch {
		case err == nil:
			return
		case errors.Is(err, forward.ErrBeyond):
			if err := l.line.Renumber(ctx); err != nil && ctx.Err() == nil {
				a.log.Error("begin new epoch", "err", err)
			}
		default:
			a.log.Error("uplink stopped", "name", u.cfg.Name, "err", err)
		}
		wait(ctx, time.Second)
	}
}

// newUplink makes the forwarder that the configuration asks for: the one place where transports are chosen.
func (a *Agent) newUplink(c config.Uplink, l *opened) (*uplink, error) {
	cur, err := l.queue.Cursor(c.Name)
	if err != nil {
		return nil, err
	}
	prof, ok := profile.ByName(c.Profile)
	if !ok {
		return nil, fmt.Errorf("no profile %q", c.Profile)
	}
	dec, err := frame.NewDecoder()
	if err != nil {
		return nil, err
	}
	u := &uplink{cfg: c}
	gateway := a.cfg.Gateway.ID
	o := forward.Options{
		Name: c.Name, Gateway: gateway, Source: cur, Readings: c.Batch.Readings, Every: c.Batch.Every, Gzip: c.Compress == "gzip",
		Receipts: c.Confirm == "receipt", MaxPayload: prof.MaxPayload, Log: a.log,
		Decode: dec.Decode, Encode: prof.Encode, Returned: cur.Returned,
		Given: func(epoch string) (uint64, bool) { return l.line.Given(epoch, c.Name) },
		Open: func(ctx context.Context) (forward.Uplink, error) {
			up, err := a.openMQTT(ctx, gateway, c, prof)
			if err != nil {
				return nil, err
			}
			return &reporting{Uplink: up, status: a.statusPayload, line: l.line, name: c.Name}, nil
		},
	}
	u.fwd, err = forward.New(o)
	return u, err
}

func (a *Agent) openMQTT(ctx context.Context, gateway string, c config.Uplink, prof profile.Profile) (*mqtt.Uplink, error) {
	o := mqtt.Options{
		URLs: c.All(), ClientID: gateway, Username: c.Username, Gateway: gateway, Profile: prof,
		Log: a.log, Dial: a.parts.Dial,
		Will: []byte(`{"online":false}`),
	}
	if c.PasswordFile != "" {
		b, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("read password: %w", err)
		}
		o.Password = strings.TrimRight(string(b), "\r\n")
	}
	if c.CA != "" || c.Cert != "" || c.Key != "" {
		t, err := mqtt.LoadTLS(c.CA, c.Cert, c.Key, "", a.parts.Clock().Wall)
		if err != nil {
			return nil, err
		}
		o.TLS = t
	}
	return mqtt.Open(ctx, o)
}

// statusEvery is how often the status goes up while a connection stands.
const statusEvery = time.Minute

// reporting is an Uplink that publishes the gateway's status now and then, and notes when something of the current ordinal goes out. It
// is used by one goroutine, the forwarder's.
type reporting struct {
	*mqtt.Uplink
	status func() []byte
	said   time.Time
	line   *line.Line
	name   string // of the uplink
}

// Send is Uplink.Send; what it notes before is what Line.Given goes by.
func (r *reporting) Send(ctx context.Context, b forward.Batch) error {
	if n := len(b.Records); n > 0 {
		r.line.Sending(r.name, b.Epoch, b.Records[n-1].Last)
	}
	return r.Uplink.Send(ctx, b)
}

// Confirmed is Uplink.Confirmed, which the forwarder calls at least once in each of its rounds, and first of all: then the status says that
// the link is up, which it does not before Open has returned.
func (r *reporting) Confirmed(ctx context.Context, wake <-chan struct{}) ([]forward.Confirmation, error) {
	if now := time.Now(); now.Sub(r.said) >= statusEvery {
		r.said = now
		if err := r.Status(r.status()); err != nil {
			return nil, fmt.Errorf("publish status: %w", err)
		}
	}
	return r.Uplink.Confirmed(ctx, wake)
}

// statusPayload is what goes to up/status, retained: the snapshot without the newest values.
func (a *Agent) statusPayload() []byte {
	s := a.Status()
	for i := range s.Devices {
		s.Devices[i].Values = nil
	}
	b, err := json.Marshal(struct {
		Online bool `json:"online"`
		status.Status
	}{true, s})
	if err != nil { // the types marshal; a NaN would be the only way
		a.log.Error("encode status", "err", err)
		return []byte(`{"online":true}`)
	}
	return b
}
