package direct

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/drivers"
)

// CheckSet returns why the output called name must not be set to v without the gateway, which alone knows since when it stands as it does
// and how the others do. Switching off excludes nothing.
func CheckSet(cfg *config.Config, name string, v tidegate.Value) error {
	rows := cfg.Keeps(name)
	if len(rows) == 0 || v == tidegate.Bool(false) {
		return nil
	}
	hint := "start the gateway, which keeps to them"
	if v.Kind() == tidegate.KindBool {
		hint += "; without it the output can be set to false"
	}
	return fmt.Errorf("the configuration has interlocks for it; %s", hint)
}

// Safe brings all outputs of cfg that have a safe state there, within a quarter of a minute. Those that go off go first; one that is on then
// follows when all are off that exclude it.
func Safe(ctx context.Context, host drivers.Host, cfg *config.Config) []Result {
	late, cancel := context.WithTimeout(ctx, safeMost+grace)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, safeMost)
	defer cancel()
	devices, rest := slices.Clone(cfg.Devices), []config.Device{}
	for i := range devices {
		d := &devices[i]
		waits := func(ch drivers.Channel) bool {
			return ch.Output && ch.Limits.Safe == tidegate.Bool(true) && len(others(cfg, d.Name+"."+ch.Name)) > 0
		}
		last := *d
		last.Channels = slices.DeleteFunc(slices.Clone(d.Channels), func(ch drivers.Channel) bool { return !waits(ch) })
		d.Channels = slices.DeleteFunc(slices.Clone(d.Channels), waits)
		if len(last.Channels) > 0 {
			rest = append(rest, last)
		}
	}
	results := round(ctx, late, host, devices)
	pause := time.Duration(0)
	for i := range rest {
		d := &rest[i]
		d.Channels = slices.DeleteFunc(d.Channels, func(ch drivers.Channel) bool {
			name := d.Name + "." + ch.Name
			for other, least := range others(cfg, name) {
				pause = max(pause, least)
				if !slices.ContainsFunc(results, func(r Result) bool { return r.Output == other && r.Err == nil && r.Value == tidegate.Bool(false) }) {
					results = append(results, Result{name, ch.Limits.Safe, fmt.Errorf("cannot be sure that %s is off, which excludes it", other)})
					return true
				}
			}
			return false
		})
	}
	if pause > 0 {
		t := time.NewTimer(pause)
		defer t.Stop()
		select {
		case <-ctx.Done():
		case <-t.C:
		}
	}
	return append(results, round(ctx, late, host, rest)...)
}

// others returns the outputs that must be off while the one called name is on, and for how long before.
func others(cfg *config.Config, name string) map[string]time.Duration {
	out := map[string]time.Duration{}
	for _, k := range cfg.Keeps(name) {
		for _, other := range k.Exclusive {
			if other != name {
				out[other] = max(out[other], k.Pause)
			}
		}
	}
	return out
}
