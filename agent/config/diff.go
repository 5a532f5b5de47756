package config

import (
	"maps"
	"slices"

	"github.com/tidegate-io/tidegate/agent/config/strict"
)

// Changes says what differs between two configurations and can be changed while the gateway runs. Names are in the order of the file
// that they stand in, the new one where both have them.
type Changes struct {
	DevicesAdded, DevicesRemoved, DevicesChanged []string
	UplinksAdded, UplinksRemoved, UplinksChanged []string
	Rules                                        bool // to be made anew, with their state
	Buffer                                       bool // anything of it
	Labels                                       bool
	Interlocks                                   bool
}

// None reports whether nothing differs.
func (c Changes) None() bool { return strict.Same(c, Changes{}) }

// Diff says what has to be done to go from the running configuration to another one, both as Load returns them. needRestart names
// the settings that only a restart changes: when it is not empty, nothing at all is to be changed in the running gateway.
func Diff(running, next *Config) (changes Changes, needRestart []string) {
	for _, s := range [...]struct {
		key     string
		differs bool
	}{
		{"gateway.id", running.Gateway.ID != next.Gateway.ID},
		{"state_dir", running.StateDir != next.StateDir},
		{"listen", running.Listen != next.Listen},
		{"update", !strict.Same(running.Update, next.Update)},
	} {
		if s.differs {
			needRestart = append(needRestart, s.key)
		}
	}
	devices := func(c *Config) (names []string, by map[string]any) {
		by = map[string]any{}
		for _, d := range c.Devices {
			names = append(names, d.Name)
			by[d.Name] = struct {
				Device   Device
				Settings any
				Intake   string
			}{d, d.Settings, c.IntakeOf(&d).Mark()}
		}
		return names, by
	}
	uplinks := func(c *Config) (names []string, by map[string]any) {
		by = map[string]any{}
		for _, u := range c.Uplinks {
			names = append(names, u.Name)
			by[u.Name] = u
		}
		return names, by
	}
	changes.DevicesAdded, changes.DevicesRemoved, changes.DevicesChanged = compare(running, next, devices)
	changes.UplinksAdded, changes.UplinksRemoved, changes.UplinksChanged = compare(running, next, uplinks)
	changes.Rules = !strict.Same(running.Rules, next.Rules)
	changes.Buffer = !strict.Same(running.Buffer, next.Buffer)
	changes.Labels = !maps.Equal(running.Gateway.Labels, next.Gateway.Labels)
	changes.Interlocks = !strict.Same(running.Interlocks, next.Interlocks)
	return changes, needRestart
}

// compare sorts what list names in two configurations by what happened to it.
func compare(a, b *Config, list func(*Config) ([]string, map[string]any)) (added, removed, changed []string) {
	names, was := list(a)
	after, is := list(b)
	for _, name := range names {
		if !slices.Contains(after, name) {
			removed = append(removed, name)
		}
	}
	for _, name := range after {
		switch old, ok := was[name]; {
		case !ok:
			added = append(added, name)
		case !strict.Same(old, is[name]):
			changed = append(changed, name)
		}
	}
	return added, removed, changed
}
