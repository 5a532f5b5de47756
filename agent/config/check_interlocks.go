package config

import (
	"fmt"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/drivers"
)

// safePause is the longest pause of outputs of which one is on in its safe state: a stop takes 2 s.
const safePause = time.Second

func (c *checker) checkInterlocks() {
	first := map[string]int{} // of an output and key: the row that has it
	for i := range c.cfg.Interlocks {
		k, path := &c.cfg.Interlocks[i], fmt.Sprintf("interlocks[%d]", i)
		if c.Faulty(path) {
			continue
		}
		hasOutput, hasExclusive := k.Output != "", len(k.Exclusive) > 0
		switch {
		case hasOutput && hasExclusive:
			c.Add(path+".exclusive", lockBoth, "", "write two rows: {output: ..., min_on: 30s} and {exclusive: [..., ...]}")
			continue
		case !hasOutput && !hasExclusive:
			c.Add(path, lockEmpty, "", "write output: device.channel and what it keeps to, or exclusive: [device.channel, device.channel]")
			continue
		}
		asked := false
		for key, isSet := range map[string]bool{
			"min_on": k.MinOn > 0, "min_off": k.MinOff > 0, "max_rise": k.MaxRise != 0, "max_fall": k.MaxFall != 0, "pause": k.Pause > 0,
		} {
			owner := "output"
			if key == "pause" {
				owner = "exclusive"
			}
			if isSet && hasOutput == (key == "pause") {
				c.Add(path+"."+key, lockStray, "", "leave it out, or write it in a row of its own", owner)
			}
			asked = asked || isSet && key != "pause"
		}
		switch {
		case hasExclusive:
			c.checkExclusive(path, k)
		case !asked && !c.Faulty(path):
			c.Add(path, lockIdle, "", "write min_on, min_off, max_rise or max_fall")
		default:
			c.checkKept(path, i, k, first)
		}
	}
}

// checkKept checks a row of one output.
func (c *checker) checkKept(path string, row int, k *Interlock, first map[string]int) {
	ch := c.lockOutput(path+".output", k.Output)
	if ch == nil {
		return
	}
	for key, isSet := range map[string]bool{"min_on": k.MinOn > 0, "min_off": k.MinOff > 0, "max_rise": k.MaxRise != 0, "max_fall": k.MaxFall != 0} {
		if !isSet {
			continue
		}
		isTime := key[:3] == "min"
		switch before, twice := first[k.Output+" "+key]; {
		case isTime && ch.Kind != tidegate.KindBool:
			c.Add(path+"."+key, lockSwitch, "", "min_on and min_off are for outputs that are true or false", k.Output, kindOf(ch))
		case !isTime && ch.Kind.String() != tidegate.KindFloat.String():
			c.Add(path+"."+key, lockNumber, "", "max_rise and max_fall are for outputs that are numbers", k.Output, kindOf(ch))
		case !isTime && min(k.MaxRise, k.MaxFall) < 0:
			if rate := map[bool]float64{true: k.MaxRise, false: k.MaxFall}[key == "max_rise"]; rate < 0 {
				c.Add(path+"."+key, lockRate, fmt.Sprint(rate), "both rates are written without a sign")
			}
		case twice:
			c.Add(path+"."+key, lockAgain, "", "leave one of the two out", k.Output, before)
		default:
			first[k.Output+" "+key] = row
		}
	}
}

// checkExclusive checks a row of outputs of which one may be on.
func (c *checker) checkExclusive(path string, k *Interlock) {
	seen, isOn := map[string]bool{}, ""
	for j, name := range k.Exclusive {
		at := fmt.Sprintf("%s.exclusive[%d]", path, j)
		if seen[name] {
			c.Add(at, lockTwice, strict.Show(name), "name each output once")
			continue
		}
		seen[name] = true
		ch := c.lockOutput(at, name)
		if ch == nil {
			continue
		}
		if ch.Kind != tidegate.KindBool {
			c.Add(at, lockNever, "", "only outputs that are true or false exclude each other", name, kindOf(ch))
			continue
		}
		if on := ch.Limits.Safe == tidegate.Bool(true); on && isOn != "" {
			c.Add(at, lockSafe, "", "have at most one of them on when the gateway stops: change safe in the device's block", isOn, name)
		} else if on && k.Pause > safePause {
			c.Add(path+".pause", lockLong, k.Pause.String(), "write at most 1s, or change its safe state", name)
			isOn = name
		} else if on {
			isOn = name
		}
	}
	if len(k.Exclusive) == 1 && !c.Faulty(path) {
		c.Add(path+".exclusive", lockAlone, strict.Show(k.Exclusive[0]), "name two outputs or more")
	}
}

// lockOutput returns the output called name, "device.channel", or notes why there is none; nil where a fault of its device hides it.
func (c *checker) lockOutput(path, name string) *drivers.Channel {
	device, ch, known := c.find(path, name, lockDevice, lockChannel)
	switch {
	case !known:
	case ch == nil && len(c.channels[device]) == 0 && !c.partly[device] && c.isSound(device):
		c.Add(path, lockUnknown, strict.Show(name), "interlocks are for outputs that a driver declares; tidegate drivers shows them", device)
	case ch == nil:
	case c.partly[device] && ch.Kind == tidegate.KindNone: // which a fault may hide
	case !ch.Output:
		c.Add(path, lockInput, strict.Show(name), "name a channel that can be set; tidegate drivers shows them", name)
	default:
		return ch
	}
	return nil
}

// isSound reports whether nothing is wrong with the block of a device.
func (c *checker) isSound(name string) bool {
	i := slices.IndexFunc(c.cfg.Devices, func(d Device) bool { return d.Name == name })
	return i >= 0 && !c.Faulty(fmt.Sprintf("devices[%d]", i))
}

// kindOf says what an output takes.
func kindOf(ch *drivers.Channel) string {
	if ch.Kind == tidegate.KindNone {
		return "value of any kind"
	}
	return ch.Kind.String()
}
