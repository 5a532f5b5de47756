package agent

import (
	"errors"
	"fmt"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
)

// ErrNotOpen is returned by Say before the rings are open, and after they are closed.
var ErrNotOpen = errors.New("agent: nothing can be said yet, or any more")

// Say puts text, of a channel of tidegate.GatewayDevice, on the way that readings go, as class audit: when it returns nil, text is as safe as what
// a Read has returned. It may be called from any goroutine.
func (a *Agent) Say(channel, text string) error {
	now := a.parts.Clock()
	rec := tidegate.Record{
		Class: tidegate.ClassAudit, Time: now.Wall, Boot: now.Boot, Quality: now.Quality(),
		Readings: []tidegate.Reading{{Device: tidegate.GatewayDevice, Channel: channel, Value: tidegate.Text(text)}},
	}
	err := ErrNotOpen
	a.withRings(func(l *opened) {
		_, err = l.rings.Read.Put(false, frame.AppendRows([]byte{byte(rec.Class)}, []tidegate.Record{rec}))
	})
	if err != nil {
		return fmt.Errorf("say %s: %w", channel, err)
	}
	return nil
}

// withRings calls f while the rings are open and stay so; not at all where they are not.
func (a *Agent) withRings(f func(l *opened)) {
	a.closing.RLock()
	defer a.closing.RUnlock()
	a.mu.Lock()
	l := a.opened
	a.mu.Unlock()
	if l != nil && !a.isClosed {
		f(l)
	}
}
