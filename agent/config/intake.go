package config

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/rules/filter"
	"github.com/tidegate-io/tidegate/rules/intake"
	"github.com/tidegate-io/tidegate/rules/lang"
	"github.com/tidegate-io/tidegate/rules/unit"
)

// Redact puts a text in the place of values.
type Redact struct {
	Channels []string `yaml:"channels" check:"required" doc:"device.channel of each; * stands for any characters"`
	Text     string   `yaml:"text" doc:"what stands there instead, at most 256 bytes"`
}

// Preset sets the defaults.
func (r *Redact) Preset() { *r = Redact{Text: "redacted"} }

// Hash puts a keyed hash in the place of values.
type Hash struct {
	Channels []string   `yaml:"channels" check:"required" doc:"device.channel of each; * stands for any characters"`
	KeyFile  string     `yaml:"key_file" check:"required" doc:"file with the key, 16 to 4096 bytes, not readable by others; read at the start and with each reload"`
	key      intake.Key // what it holds
}

// Convert gives numbers in another unit.
type Convert struct {
	Channels []string `yaml:"channels" check:"required" doc:"device.channel of each; * stands for any characters"`
	Unit     string   `yaml:"unit" check:"required" doc:"unit that they get, one of the same kind as theirs"`
}

// maxRedacted is how long the text of Redact may be, in bytes.
const maxRedacted = 256

// intake returns what do says of readings before they are judged; ok is false when it says something else.
func (do *Do) intake() (s intake.Step, ok bool) {
	switch {
	case do.Redact != nil:
		return intake.Step{Do: intake.Redact, Channels: do.Redact.Channels, Text: do.Redact.Text}, true
	case do.Hash != nil:
		return intake.Step{Do: intake.Hash, Channels: do.Hash.Channels, Key: do.Hash.key}, true
	case do.Convert != nil:
		return intake.Step{Do: intake.Convert, Channels: do.Convert.Channels, Unit: do.Convert.Unit}, true
	}
	return s, false
}

// isIntake reports whether r does something with readings before they are judged: then it does nothing else.
func (r *Rule) isIntake() bool {
	return slices.ContainsFunc(r.Do, func(do Do) bool { _, ok := do.intake(); return ok })
}

// Intake returns what becomes of readings before anything sees them, in the order of the file.
func (c *Config) Intake() (list []intake.Step) {
	if c.given != nil {
		return c.given.Intake()
	}
	for i := range c.Rules {
		for j := range c.Rules[i].Do {
			if s, ok := c.Rules[i].Do[j].intake(); ok {
				list = append(list, s)
			}
		}
	}
	return list
}

// IntakeOf returns what becomes of readings of d before anything sees them; nil = nothing.
func (c *Config) IntakeOf(d *Device) *intake.Chain {
	names := make([]string, len(d.Channels))
	for i := range d.Channels {
		names[i] = d.Channels[i].Name
	}
	return intake.For(c.Intake(), d.Name, names)
}

// schema returns what rules know of the channels of devices: as devices report them, and what Intake makes of that.
func (c *Config) schema(channels map[string][]drivers.Channel, partly map[string]bool) lang.Schema {
	s := c.reported(channels, partly)
	for _, step := range c.Intake() {
		c.take(&s, &step)
	}
	return s
}

// take makes s what is known of channels behind step.
func (c *Config) take(s *lang.Schema, step *intake.Step) {
	for _, name := range step.Channels {
		if _, known := s.Channels[name]; !known && !strings.Contains(name, "*") && s.Open(name) {
			ch := lang.Channel{Name: name}
			device, _ := c.cut(name)
			for i := range c.Devices {
				if c.Devices[i].Name == device {
					ch.Every = c.Devices[i].Every
				}
			}
			s.Channels[name] = ch
		}
	}
	mark := step.Mark()
	for name, ch := range s.Channels {
		if !step.Concerns(name) {
			continue
		}
		var err error
		if ch.Kind, ch.Unit, err = step.After(ch.Kind, ch.Unit); err != nil {
			continue
		}
		h := fnv.New32a()
		fmt.Fprintf(h, "%d %s", ch.Mark, mark) // a hash takes all bytes
		ch.Mark = h.Sum32() | 1
		s.Channels[name] = ch
	}
}

// intakeMark tells what becomes of the channels of f before; 0 = nothing does.
func intakeMark(f *filter.Filter, s lang.Schema) (mark uint32) {
	for name, ch := range s.Channels {
		if ch.Mark != 0 && f.Concerns(name) {
			h := fnv.New32a()
			fmt.Fprintf(h, "%s %d", name, ch.Mark) // a hash takes all bytes
			mark += h.Sum32()                      // in whatever order they come
		}
	}
	return mark
}

// checkIntake checks what rules do with readings before they are judged, in the order of the file, and reads their keys.
func (c *checker) checkIntake() {
	known := c.cfg.reported(c.channels, c.partly)
	for i := range c.cfg.Rules {
		r := &c.cfg.Rules[i]
		if !r.isIntake() {
			continue
		}
		c.checkAlone(i, r)
		for j := range r.Do {
			do := &r.Do[j]
			step, ok := do.intake()
			if !ok {
				continue
			}
			path := doPath(i, j) + "." + do.kinds()[0]
			c.checkPatterns(path, step.Channels, known)
			switch {
			case do.Redact != nil && len(do.Redact.Text) > maxRedacted:
				c.Add(path+".text", longText, strict.Show(do.Redact.Text), "write a short one", len(do.Redact.Text), maxRedacted)
			case do.Hash != nil:
				do.Hash.key = c.key(path+".key_file", do.Hash.KeyFile)
			case do.Convert != nil:
				c.checkConvert(path, &step, known)
			}
			c.cfg.take(&known, &step)
		}
	}
}

// checkAlone notes what stands in rule i that has no meaning there.
func (c *checker) checkAlone(i int, r *Rule) {
	own := ""
	for _, do := range r.Do {
		if _, ok := do.intake(); ok && own == "" {
			own = do.kinds()[0]
		}
	}
	path := "rules[" + strconv.Itoa(i) + "]"
	for _, key := range [...]string{"when", "for", "clear"} {
		if c.Given(path + "." + key) {
			c.Add(path+"."+key, intakeAlways, "", "leave it out, or write what depends on it in a rule of its own", own)
		}
	}
	for j := range r.Do {
		if _, ok := r.Do[j].intake(); ok {
			continue
		}
		for _, kind := range r.Do[j].kinds() {
			c.Add(doPath(i, j)+"."+kind, intakeAlone, "", "write it in a rule of its own", kind, own)
		}
	}
}

// key reads the key in the file at path, without the end of its last line; none where the rules are only tried on what is stored.
func (c *checker) key(at, path string) intake.Key {
	if path == "" || c.cfg.given != nil || c.upwards(at, path) {
		return intake.Key{}
	}
	text, refusal := strict.ReadFile(path, strict.Secret, intake.KeyMost)
	if refusal != nil {
		c.Refuse(at, refusal)
		return intake.Key{}
	}
	text = bytes.TrimRight(text, "\r\n")
	if len(text) < intake.KeyLeast {
		c.Add(at, shortKey, strict.Show(path), "write a random one, for instance by: head -c 32 /dev/urandom | base64", len(text), intake.KeyLeast)
		return intake.Key{}
	}
	return intake.NewKey(string(text))
}

// checkConvert checks that what the channels of step report can be converted. known is what they are before.
func (c *checker) checkConvert(path string, step *intake.Step, known lang.Schema) {
	if step.Unit == "" || c.Faulty(path+".unit") {
		return
	}
	if units := unit.All(); !slices.Contains(units, step.Unit) {
		c.Add(path+".unit", noUnit, strict.Show(step.Unit), strict.DidYouMean(step.Unit, units, "units are "+strings.Join(units, ", ")))
		return
	}
	var names []string
	for name := range known.Channels {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, pattern := range step.Channels {
		at := path + ".channels[" + strconv.Itoa(i) + "]"
		for _, name := range names {
			ch := known.Channels[name]
			if device, _ := c.cfg.cut(name); c.partly[device] || !filter.Match(pattern, name) {
				continue // of a device with faults, kinds and units are not known
			}
			if _, _, err := step.After(ch.Kind, ch.Unit); err != nil {
				c.Add(at, noConversion, strict.Show(pattern), "name channels with numbers in a unit of the same kind", name, step.Unit, err)
				break // one is enough to see that it is the wrong pattern
			}
		}
	}
}
