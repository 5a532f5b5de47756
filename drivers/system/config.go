package system

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// Config is what the user sets for the machine.
type Config struct {
	Disks        []string `yaml:"disks" doc:"paths whose file systems are reported: size, room, share in use, share of inodes in use"`
	Disk         string   `yaml:"disk" doc:"path on the disk whose written bytes are counted; empty = none"`
	Temperatures []string `yaml:"temperatures" doc:"further temperatures by name: type of a thermal zone, or chip and label, as nvme_composite"`
	Networks     []string `yaml:"networks" doc:"network interfaces whose traffic is counted, for instance eth0"`

	kernel kernel // what tests replace; the zero value is the real one
}

// Channels returns those of the paths, temperatures and networks that c names.
func (c *Config) Channels() []drivers.Channel {
	var out []drivers.Channel
	for _, p := range c.Disks {
		out = append(out, diskChannels(p)...)
	}
	for _, t := range c.Temperatures {
		out = append(out, temperatureChannel(t))
	}
	for _, n := range c.Networks {
		out = append(out, networkChannels(n)...)
	}
	return out
}

// Validate returns what is wrong with c.
func (c *Config) Validate() []drivers.FieldError {
	var errs []drivers.FieldError
	names := map[string]string{} // channel -> field
	take := func(field, got string, channels []drivers.Channel) {
		for _, ch := range channels {
			if err := tidegate.CheckName(ch.Name); err != nil {
				errs = append(errs, drivers.FieldError{Field: field, Got: got, Problem: fmt.Sprintf("gives channel %s, whose %v", ch.Name, err)})
				return
			}
			if other, ok := names[ch.Name]; ok {
				errs = append(errs, drivers.FieldError{Field: field, Got: got, Problem: "gives the same channels as " + other})
				return
			}
			names[ch.Name] = field
		}
	}
	for i, p := range c.Disks {
		field := fmt.Sprintf("disks[%d]", i)
		if bad := checkPath(field, p); len(bad) > 0 {
			errs = append(errs, bad...)
			continue
		}
		take(field, p, diskChannels(p))
	}
	if c.Disk != "" {
		errs = append(errs, checkPath("disk", c.Disk)...)
	}
	for i, t := range c.Temperatures {
		field := fmt.Sprintf("temperatures[%d]", i)
		if t == "" || t != plain(t) {
			errs = append(errs, drivers.FieldError{
				Field: field, Got: fmt.Sprintf("%q", t), Problem: "is no name of a temperature",
				Hint: "small letters, digits and single underscores, as in nvme_composite",
			})
			continue
		}
		take(field, t, []drivers.Channel{temperatureChannel(t)})
	}
	for i, n := range c.Networks {
		field := fmt.Sprintf("networks[%d]", i)
		if n == "" || len(n) > 15 || strings.ContainsAny(n, "/ \t\n\x00") { // dev_valid_name() of the kernel
			errs = append(errs, drivers.FieldError{Field: field, Got: fmt.Sprintf("%q", n), Problem: "is no name of a network interface"})
			continue
		}
		take(field, n, networkChannels(n))
	}
	return errs
}

func checkPath(field, p string) []drivers.FieldError {
	if !path.IsAbs(p) || path.Clean(p) != p || strings.ContainsRune(p, 0) {
		return []drivers.FieldError{{Field: field, Got: fmt.Sprintf("%q", p), Problem: "is no plain absolute path", Hint: "write it as in /var/lib"}}
	}
	return nil
}

// Open finds out what the machine has.
func (c *Config) Open(ctx context.Context, h drivers.Host) (drivers.Device, error) {
	if bad := c.Validate(); len(bad) > 0 {
		return nil, fmt.Errorf("open machine: %w", bad[0])
	}
	m := machine{FS: h.Files(), kernel: c.kernel.orReal()}
	parts := m.parts()
	if c.Disk != "" {
		parts = append(parts, m.written(c.Disk))
	}
	parts = append(parts, m.pi()...)
	for _, p := range c.Disks {
		parts = append(parts, m.usage(p))
	}
	for _, t := range c.Temperatures {
		parts = append(parts, m.temperature(t))
	}
	for _, n := range c.Networks {
		parts = append(parts, m.network(n))
	}
	d := &device{}
	for i := range parts {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("open machine: %w", err)
		}
		p := &parts[i]
		p.seen = make([]bool, len(p.channels))
		d.parts, d.out = append(d.parts, p), p.report(d.out)
	}
	if len(d.out) == 0 {
		return nil, errors.New("open machine: nothing to report is found: are /proc and /sys mounted?")
	}
	return d, nil
}

// plain returns s in small letters, with everything but letters and digits as single underscores between them.
func plain(s string) string {
	words := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	return strings.Join(words, "_")
}

// fixed returns the channels of Driver called names, in that order.
func fixed(names ...string) []drivers.Channel {
	out := make([]drivers.Channel, len(names))
	for i, name := range names {
		at := slices.IndexFunc(Driver.Channels, func(ch drivers.Channel) bool { return ch.Name == name })
		out[i] = Driver.Channels[at]
	}
	return out
}
