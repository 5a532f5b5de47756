package config

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/rules"
	"github.com/tidegate-io/tidegate/rules/filter"
	"github.com/tidegate-io/tidegate/rules/lang"
)

// Derive works out a channel from others.
type Derive struct {
	Channel string `yaml:"channel" check:"required" doc:"device.channel of what is derived; no device of the configuration has that name"`
	Value   string `yaml:"value" check:"required" doc:"expression, for instance to(integral(meter1.power), \"kWh\"); worked out when one of its channels is read"`
	Unit    string `yaml:"unit" doc:"unit of the value; not set = what the expression has"`
}

// Drop keeps readings from going further.
type Drop struct {
	Channels []string `yaml:"channels" check:"required" doc:"device.channel of each; * stands for any characters"`
}

// Thin lets one reading stand for many.
type Thin struct {
	Channels []string      `yaml:"channels" check:"required" doc:"device.channel of each; * stands for any characters"`
	Every    time.Duration `yaml:"every" check:"required min=1ms max=168h" doc:"at most one reading in that time, 1ms to 168h"`
	As       string        `yaml:"as" check:"enum=last|avg|min|max" doc:"which of the numbers: last, avg, min or max of that time; of all else the last"`
}

// Preset sets the defaults.
func (t *Thin) Preset() { *t = Thin{As: "last"} }

// Deadband keeps readings back that are not new.
type Deadband struct {
	Channels  []string      `yaml:"channels" check:"required" doc:"device.channel of each; * stands for any characters"`
	By        float64       `yaml:"by" check:"required" doc:"how far a number has to be from the last that went on; 0 = it is another one"`
	Heartbeat time.Duration `yaml:"heartbeat" check:"max=168h" doc:"after that time one goes on all the same, 0s (never) to 168h"`
}

// Preset sets the defaults.
func (d *Deadband) Preset() { *d = Deadband{Heartbeat: 10 * time.Minute} }

// summaries are the words for what becomes of readings that one stands for.
var summaries = map[string]filter.Summary{"last": filter.Last, "avg": filter.Average, "min": filter.Least, "max": filter.Most}

// filter returns what do says of readings that go on; ok is false when it says something else.
func (do *Do) filter() (f filter.Filter, ok bool) {
	switch {
	case do.Drop != nil:
		return filter.Filter{Do: filter.Drop, Channels: do.Drop.Channels}, true
	case do.Thin != nil:
		return filter.Filter{Do: filter.Thin, Channels: do.Thin.Channels, Every: do.Thin.Every, As: summaries[do.Thin.As]}, true
	case do.Deadband != nil:
		return filter.Filter{Do: filter.Deadband, Channels: do.Deadband.Channels, By: do.Deadband.By, Heartbeat: do.Deadband.Heartbeat}, true
	}
	return f, false
}

// checkFilter checks the channels that a filter at path names, and its numbers. known are all channels there are, as far as that is known.
func (c *checker) checkFilter(path string, f *filter.Filter, known lang.Schema) {
	c.checkPatterns(path, f.Channels, known)
	if f.Do == filter.Deadband && !(f.By >= 0 && f.By <= math.MaxFloat64) && !c.Faulty(path+".by") {
		c.Add(path+".by", badBy, strict.Show(strconv.FormatFloat(f.By, 'g', -1, 64)), "write 0 or more, in the unit of the channels")
	}
}

// checkPatterns checks the names and patterns of channels that stand below path.
func (c *checker) checkPatterns(path string, patterns []string, known lang.Schema) {
	if len(patterns) == 0 && !c.Faulty(path+".channels") {
		c.Add(path+".channels", noPattern, "", "write channels: [meter1.temp], or with * for any characters, [meter1.*]")
	}
	for i, name := range patterns {
		at := path + ".channels[" + strconv.Itoa(i) + "]"
		if bad := strings.Trim(name, patternBytes); bad != "" || name == "" {
			c.Add(at, badPattern, strict.Show(name), "write device.channel, or with * for any characters, meter1.*")
			continue
		}
		if _, ok := known.Channels[name]; ok {
			continue
		}
		if !strings.Contains(name, "*") {
			c.findWithin(at, 1, name, filterDevice, filterChannel)
		} else if !c.matches(name, known) {
			c.Warn(at, emptyPattern, strict.Show(name), "look at the names of devices and channels")
		}
	}
}

// patternBytes are the characters of patterns.
const patternBytes = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-*"

// matches reports whether a pattern stands for a channel, or may do so, as channels of a device are not known.
func (c *checker) matches(pattern string, known lang.Schema) bool {
	for name := range known.Channels {
		if filter.Match(pattern, name) {
			return true
		}
	}
	first, _, _ := strings.Cut(pattern, "*")
	for device, list := range c.channels {
		if (len(list) == 0 || c.partly[device]) && (strings.HasPrefix(device+".", first) || strings.HasPrefix(first, device+".")) {
			return true
		}
	}
	return false
}

// needsWhen reports whether r does something that begins with a condition.
func (r *Rule) needsWhen() bool {
	if r.isIntake() {
		return false
	}
	if len(r.Do) == 0 || r.For != 0 || r.Clear != "" {
		return true
	}
	for _, do := range r.Do {
		if _, filters := do.filter(); do.Derive == nil && do.Route == nil && do.Label == nil && !filters {
			return true
		}
	}
	return false
}

// kinds returns the names of what do says.
func (do *Do) kinds() (names []string) {
	for _, k := range [...]struct {
		name string
		is   bool
	}{
		{"alarm", do.Alarm != nil},
		{"set", do.Set != nil},
		{"interval", do.Interval != nil},
		{"derive", do.Derive != nil},
		{"drop", do.Drop != nil},
		{"thin", do.Thin != nil},
		{"deadband", do.Deadband != nil},
		{"snapshot", do.Snapshot != nil},
		{"route", do.Route != nil},
		{"label", do.Label != nil},
		{"redact", do.Redact != nil},
		{"hash", do.Hash != nil},
		{"convert", do.Convert != nil},
	} {
		if k.is {
			names = append(names, k.name)
		}
	}
	return names
}

// An expression is what a channel is derived with.
type expression struct {
	of     *Derive
	rule   int // place of its rule
	path   string
	prog   *lang.Program // nil = it has faults
	faults []*lang.Fault
}

// derived compiles what rules derive and adds it to s, with kinds and units as far as they can be told.
func (c *Config) derived(s lang.Schema) []*expression {
	var out []*expression
	byName := map[string]*expression{}
	for i := range c.Rules {
		for j := range c.Rules[i].Do {
			d := c.Rules[i].Do[j].Derive
			if d == nil {
				continue
			}
			e := &expression{of: d, rule: i, path: doPath(i, j) + ".derive"}
			out = append(out, e)
			if _, known := s.Channels[d.Channel]; !known && strings.Contains(d.Channel, ".") {
				s.Channels[d.Channel] = lang.Channel{Name: d.Channel}
				byName[d.Channel] = e
			}
		}
	}
	seen := map[*expression]bool{}
	var compile func(e *expression)
	compile = func(e *expression) { // what it looks at first
		if seen[e] || e.of.Value == "" {
			return
		}
		seen[e] = true
		draft, _ := lang.Compile(e.of.Value, lang.Value, s)
		if draft == nil {
			e.faults = e.compile(s)
			return
		}
		for _, in := range draft.Inputs {
			if other := byName[in.Channel]; other != nil {
				compile(other)
			}
		}
		if e.faults = e.compile(s); e.prog == nil || byName[e.of.Channel] != e {
			return
		}
		ch := lang.Channel{Name: e.of.Channel, Kind: e.prog.Kind, Unit: e.unit(), Mark: e.prog.Mark()}
		for _, in := range e.prog.Inputs {
			ch.Every = max(ch.Every, s.Channels[in.Channel].Every)
			ch.Slowest = max(ch.Slowest, s.Channels[in.Channel].Slowest)
		}
		s.Channels[e.of.Channel] = ch
	}
	for _, e := range out {
		compile(e)
	}
	return out
}

func (e *expression) compile(s lang.Schema) (faults []*lang.Fault) {
	e.prog, faults = lang.Compile(e.of.Value, lang.Value, s)
	return faults
}

// unit returns the unit of what e gives.
func (e *expression) unit() string {
	if e.of.Unit != "" {
		return e.of.Unit
	}
	return e.prog.Unit
}

// derive returns e as package rules takes it.
func (e *expression) derive() rules.Derive {
	d := rules.Derive{Value: e.prog}
	d.Device, d.Channel, _ = strings.Cut(e.of.Channel, ".")
	if e.prog != nil {
		d.Unit = e.unit()
	}
	return d
}

// checkDerived says what is wrong with the channels that rules derive, and with rules that look at what they derive themselves. list are the
// rules, with the conditions that could be read.
func (c *checker) checkDerived(derived []*expression, list []rules.Rule) {
	first := map[string]string{}
	for _, e := range derived {
		c.checkDerive(e, first)
		if e.prog != nil {
			list[e.rule].Derives = append(list[e.rule].Derives, e.derive())
		}
	}
	cycle := rules.Cycle(list)
	if cycle == nil {
		return
	}
	way := make([]string, 0, len(cycle)+1)
	for _, i := range append(cycle, cycle[0]) {
		way = append(way, list[i].Name)
	}
	for _, e := range derived {
		if e.rule == cycle[0] {
			c.Add(e.path+".channel", deriveCycle, e.of.Channel, "take one of these channels out of a condition or an expression", strings.Join(way, " -> "))
			return
		}
	}
}

func (c *checker) checkDerive(e *expression, first map[string]string) {
	name := e.of.Channel
	c.addLang(e.path+".value", lang.Value, e.faults)
	c.addDoubts(e.path+".value", e.prog)
	if e.prog != nil && len(e.prog.Inputs) == 0 {
		c.Add(e.path+".value", deriveConst, strict.Show(e.of.Value), "name a channel: it is worked out whenever that is read")
	}
	if name == "" {
		return
	}
	device, channel, _ := strings.Cut(name, ".")
	if device == "" || channel == "" {
		c.Add(e.path+".channel", deriveDot, strict.Show(name), "write it as device.channel, for instance boiler.energy")
		return
	}
	for _, part := range [...]string{device, channel} {
		if !c.name(e.path+".channel", part, deriveName) {
			return
		}
	}
	if owner, _ := c.cfg.cut(name); c.has(owner) {
		c.Add(e.path+".channel", deriveDevice, name, "derive it under a name that no device has", owner)
	}
	if where, twice := first[name]; twice {
		c.Add(e.path+".channel", deriveTwice, name, "give each derived channel a name of its own", where)
		return
	}
	first[name] = e.path
}

// has reports whether a device of that name is configured.
func (c *checker) has(device string) bool {
	_, ok := c.channels[device]
	return ok
}
