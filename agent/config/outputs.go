package config

import (
	"fmt"
	"slices"

	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/drivers"
)

// Outputs returns the names, "device.channel", of all channels of a loaded configuration that can be set.
func (c *Config) Outputs() (names []string) {
	for i := range c.Devices {
		for _, ch := range c.Devices[i].Channels {
			if ch.Output {
				names = append(names, c.Devices[i].Name+"."+ch.Name)
			}
		}
	}
	return names
}

// Output returns the output called name, "device.channel", of a loaded configuration. The error says which outputs there are.
func (c *Config) Output(name string) (*Device, *drivers.Channel, error) {
	is := ""
	for i := range c.Devices {
		d := &c.Devices[i]
		for j := range d.Channels {
			ch := &d.Channels[j]
			switch {
			case d.Name+"."+ch.Name != name:
			case ch.Output:
				return d, ch, nil
			default:
				is = " is no output"
			}
		}
	}
	outputs := c.Outputs()
	hint := "outputs are " + Enumerate(outputs)
	if len(outputs) == 0 {
		hint = "no device of the configuration has one"
	}
	if is == "" {
		is, hint = ": no device has such an output", strict.DidYouMean(name, outputs, hint)
	}
	return nil, nil, fmt.Errorf("%s%s; %s", strict.Show(name), is, hint)
}

// Keeps returns the rows of interlocks that say something of the output called name.
func (c *Config) Keeps(name string) (rows []Interlock) {
	for _, k := range c.Interlocks {
		if k.Output == name || slices.Contains(k.Exclusive, name) {
			rows = append(rows, k)
		}
	}
	return rows
}

// LoadSound is Load for a program that has to do what it can with a file in which something is wrong. The Config holds state_dir and the
// devices and interlocks without faults only. The error wraps ErrRefused where not even these can be told.
func LoadSound(path string, list []drivers.Driver) (*Config, []Fault, error) {
	text, refusal := strict.ReadFile(path, strict.Public, strict.MaxBytes)
	c := newChecker(path, thisMachine(list))
	if refusal != nil {
		c.Refuse("", refusal)
		return finish(nil, c.Doc)
	}
	c.Parse(text)
	if !c.Decode(c.cfg, c.also) {
		return finish(nil, c.Doc)
	}
	c.check()
	sound := &Config{StateDir: c.cfg.StateDir}
	for i := range c.cfg.Devices {
		if d := &c.cfg.Devices[i]; d.Settings != nil && !c.Faulty(fmt.Sprintf("devices[%d]", i)) {
			sound.Devices = append(sound.Devices, *d)
		}
	}
	for i := range c.cfg.Interlocks {
		if !c.Faulty(fmt.Sprintf("interlocks[%d]", i)) {
			sound.Interlocks = append(sound.Interlocks, c.cfg.Interlocks[i])
		}
	}
	return sound, c.Faults(), nil
}
