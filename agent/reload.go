package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/config/keys"
	"github.com/tidegate-io/tidegate/rules"
)

// Reload takes over another configuration while the gateway runs: all of it, or nothing where the error says why. ctx is that
// of Run, with which all ends that is started here. Devices and uplinks that did not change go on undisturbed; a device that did is
// stopped behind its last Read and opened anew.
func (a *Agent) Reload(ctx context.Context, next *config.Config) error {
	a.reload.Lock()
	defer a.reload.Unlock()
	if !a.steady || ctx.Err() != nil {
		return errors.New("the gateway is starting or stopping; try again")
	}
	a.mu.Lock()
	cfg, l, reading := a.cfg, a.opened, a.reading
	a.mu.Unlock()
	ch, restart := config.Diff(cfg, next)
	if len(restart) > 0 {
		return fmt.Errorf("only a restart changes %s", strings.Join(restart, ", "))
	}
	if len(ch.UplinksAdded)+len(ch.UplinksRemoved) > 0 {
		return fmt.Errorf("only a restart adds or removes an uplink (%s)", strings.Join(slices.Concat(ch.UplinksAdded, ch.UplinksRemoved), ", "))
	}
	set, err := a.ruleSet(next, a.parts.Clock().Boot)
	if err != nil {
		return fmt.Errorf("rules: %w", err)
	}
	if err := a.changeBuffer(l, next, ch.Buffer); err != nil {
		return err
	}
	a.keepOutputs(cfg, next, ch.DevicesChanged)
	before := a.stopSome(slices.Concat(ch.DevicesRemoved, ch.DevicesChanged))
	began := map[string]*device{}
	a.mu.Lock()
	a.cfg = next
	a.mu.Unlock()
	a.lock.Replace(locksOf(next))
	for i := range next.Devices {
		if d := &next.Devices[i]; slices.Contains(ch.DevicesAdded, d.Name) || slices.Contains(ch.DevicesChanged, d.Name) {
			began[d.Name] = a.startReader(reading, l, d, before[d.Name])
		}
	}
	if ch.Rules {
		l.line.ReplaceRules(set)
	}
	// Rules went on while no device was there to take what they demanded.
	l.line.Demand(func(x rules.Action) {
		if d := began[x.Device]; d != nil {
			d.out.Demand(x.Channel, x.Value)
		}
	})
	a.stopUplinks(ch.UplinksChanged)
	for i := range next.Uplinks {
		if u := next.Uplinks[i]; slices.Contains(ch.UplinksChanged, u.Name) {
			a.startUplink(context.WithoutCancel(ctx), l, u)
		}
	}
	return nil
}

// changeBuffer takes over what next says of the buffer: its keys in any case, as their files may be others.
func (a *Agent) changeBuffer(l *opened, next *config.Config, all bool) error {
	sealed, err := keys.Load(next.Buffer.Key, next.Buffer.OldKeys)
	if err == nil {
		err = l.queue.SetKeys(sealed)
	}
	if err != nil {
		return fmt.Errorf("key of the buffer: %w%s", err, remedy(err))
	}
	if !all {
		return nil
	}
	a.sync.Store(int64(next.Buffer.Sync))
	l.queue.SetWrittenPerDay(int64(next.Buffer.WrittenPerDay))
	a.window.Store(int64(next.Buffer.Classes.Reading.Window))
	a.nominal.Store(nominalRate(next))
	return l.queue.SetLimits(limits(&next.Buffer))
}
