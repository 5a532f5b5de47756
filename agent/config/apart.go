package config

import (
	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/drivers"
)

// Apart returns a configuration of the devices of c with other rules: list, which was decoded under the key `rules` of doc. What is wrong with
// them is noted in doc, as Load does. c is a loaded configuration, or one of devices with their names, intervals and channels only.
func (c *Config) Apart(doc *strict.Doc, list []Rule) *Config {
	return c.apart(doc, &Config{Devices: c.Devices, Rules: list})
}

func (c *Config) apart(doc *strict.Doc, out *Config) *Config {
	check := checker{Doc: doc, cfg: out, channels: c.channels()}
	check.checkRules()
	return out
}

// WithRules returns the devices of c, a loaded configuration, with the rules of text: YAML with `rules` as in the configuration. Other keys are
// not looked at, so that a file of cases or another configuration will do. The rules are for what is stored: that has been through the Intake of c,
// which stays, and not through what they say of it. name stands for the file in faults. Faults and error are as Load's.
func (c *Config) WithRules(name string, text []byte) (out *Config, faults []Fault, err error) {
	doc := strict.New(name)
	var block struct {
		Rules []Rule `yaml:"rules" check:"required" doc:"rules to try, written as in the configuration"`
	}
	doc.Parse(text)
	if doc.Decode(&block, func(_ any, path string, _ func(string) string) (any, bool) { return nil, path == "" }) {
		out = c.apart(doc, &Config{Devices: c.Devices, Rules: block.Rules, given: c})
	}
	return finish(out, doc)
}

// channels returns the channels of each device, as far as they are known beforehand.
func (c *Config) channels() map[string][]drivers.Channel {
	out := map[string][]drivers.Channel{}
	for i := range c.Devices {
		out[c.Devices[i].Name] = c.Devices[i].Channels
	}
	return out
}

// Find returns the device of the channel called name, "device.channel", the channel's own name, and what is known of the channel: nil where the
// device does not say beforehand which it has. known is false when there is no such channel.
func (c *Config) Find(name string) (device *Device, channel string, ch *drivers.Channel, known bool) {
	own, channel := c.cut(name)
	for i := range c.Devices {
		d := &c.Devices[i]
		if d.Name != own {
			continue
		}
		for j := range d.Channels {
			if d.Channels[j].Name == channel {
				return d, channel, &d.Channels[j], true
			}
		}
		return d, channel, nil, len(d.Channels) == 0 && channel != ""
	}
	return nil, "", nil, false
}
