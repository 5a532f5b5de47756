package config

import (
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/rules/lang"
)

// Interval has a device read at another interval than its own.
type Interval struct {
	Device string        `yaml:"device" check:"required" doc:"name of the device"`
	Every  time.Duration `yaml:"every" check:"required min=1ms max=168h" doc:"interval between reads, 1ms to 168h; where several rules are active the shortest counts"`
}

// checkInterval checks entry i of what a rule does, an interval at path.
func (c *checker) checkInterval(path string, list []Do, i int) {
	own := list[i].Interval
	if own.Device == "" {
		return
	}
	at := slices.IndexFunc(c.cfg.Devices, func(d Device) bool { return d.Name == own.Device })
	if at < 0 {
		names, other := c.devices()
		c.Add(path+".device", paceDevice, strict.Show(own.Device), strict.DidYouMean(own.Device, names, other))
		return
	}
	// Devices of written cases have no driver, and perhaps no interval; of one with faults it is not sure.
	if d := &c.cfg.Devices[at]; d.Every == 0 && d.Settings != nil && !c.partly[d.Name] {
		c.Add(path+".device", paceTalker, strict.Show(own.Device), "leave the entry out: what it reports is read at once", own.Device)
	}
	if slices.ContainsFunc(list[:i], func(do Do) bool { return do.Interval != nil && do.Interval.Device == own.Device }) {
		c.Add(path+".device", paceTwice, strict.Show(own.Device), "leave one of the two out", own.Device)
	}
}

// Bounds are the shortest and the longest interval of a device: its own, or one of a rule.
type Bounds struct{ Shortest, Longest time.Duration }

// Intervals returns between which intervals devices are read, by their names; 0 = Read waits for the device.
func (c *Config) Intervals() map[string]Bounds {
	out := make(map[string]Bounds, len(c.Devices))
	for _, d := range c.Devices {
		out[d.Name] = Bounds{d.Every, d.Every}
	}
	for i := range c.Rules {
		for _, do := range c.Rules[i].Do {
			if x := do.Interval; x != nil && out[x.Device].Shortest > 0 {
				b := out[x.Device]
				out[x.Device] = Bounds{min(b.Shortest, x.Every), max(b.Longest, x.Every)}
			}
		}
	}
	return out
}

// addDoubts warns of what p, the condition or expression at path, says while nothing is wrong; nil = there is none.
func (c *checker) addDoubts(path string, p *lang.Program) {
	if p == nil {
		return
	}
	for _, f := range p.Doubts {
		c.WarnWithin(path, f.Col, soonMissing, strict.Show(f.Got), f.Hint, f.Problem)
	}
}
