package config

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/rules"
	"github.com/tidegate-io/tidegate/rules/filter"
	"github.com/tidegate-io/tidegate/rules/lang"
)

// Snapshot has all readings of some channels go on, around the time at which a rule becomes active.
type Snapshot struct {
	Channels []string      `yaml:"channels" check:"required" doc:"device.channel of each; * stands for any characters"`
	Before   time.Duration `yaml:"before" check:"max=10m" doc:"for how long before, 0s to 10m"`
	After    time.Duration `yaml:"after" check:"max=10m" doc:"for how long from then on, 0s to 10m"`
}

// Concerns reports whether s is of the channel called name.
func (s *Snapshot) Concerns(name string) bool {
	x := s.running()
	return x.Concerns(name)
}

// running returns s as package rules takes it.
func (s *Snapshot) running() rules.Snapshot {
	return rules.Snapshot{Channels: s.Channels, Before: s.Before, After: s.After}
}

// checkSnapshot checks the snapshot at path. known are all channels there are, as far as that is known.
func (c *checker) checkSnapshot(path string, s *Snapshot, known lang.Schema) {
	c.checkPatterns(path, s.Channels, known)
	if s.Before == 0 && s.After == 0 && !c.Faulty(path+".before") && !c.Faulty(path+".after") {
		c.Add(path, snapEmpty, "", "write before: 30s, or after, or both")
	}
	for i, name := range s.Channels {
		if at := path + ".channels[" + strconv.Itoa(i) + "]"; c.isThere(at, name, known) && !c.cfg.filters(name) {
			c.Warn(at, snapIdle, strict.Show(name), "leave it out, or look at the names in drop, thin and deadband")
		}
	}
}

// isThere reports whether the name or pattern of channels at path stands for one, as far as that is known; else something else is said of it.
func (c *checker) isThere(path, name string, known lang.Schema) bool {
	return name != "" && !c.Faulty(path) && (!strings.Contains(name, "*") || c.matches(name, known))
}

// filters reports whether a rule drops, thins out or holds back readings of channels that pattern may stand for.
func (c *Config) filters(pattern string) bool {
	for i := range c.Rules {
		for j := range c.Rules[i].Do {
			f, ok := c.Rules[i].Do[j].filter()
			if ok && slices.ContainsFunc(f.Channels, func(p string) bool { return filter.Meet(p, pattern) }) {
				return true
			}
		}
	}
	return false
}
