package config

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/rules"
	"github.com/tidegate-io/tidegate/rules/lang"
)

func (c *checker) checkRules() {
	names := map[string]int{}
	c.checkIntake()
	schema := c.cfg.schema(c.channels, c.partly)
	derived := c.cfg.derived(schema)
	list := make([]rules.Rule, len(c.cfg.Rules))
	for i := range c.cfg.Rules {
		r, path := &c.cfg.Rules[i], "rules["+strconv.Itoa(i)+"]"
		if c.name(path+".name", r.Name, badRule) {
			if first, twice := names[r.Name]; twice {
				c.Add(path+".name", ruleTwice, r.Name, "give each rule a name of its own", first)
			} else {
				names[r.Name] = i
			}
		}
		if r.When == "" && (c.Given(path+".when") || r.needsWhen()) && !c.Faulty(path+".when") {
			c.Add(path+".when", noWhen, "", "condition, for instance meter1.temp > 80")
		}
		when, end := c.condition(path+".when", r.When, schema), c.condition(path+".clear", r.Clear, schema)
		if when != nil && end != nil && lang.Overlap(when, end) {
			c.Add(path+".clear", overlap, strict.Show(r.Clear), "leave a distance between the two")
		}
		c.checkDo(path+".do", r.Do, schema)
		list[i] = rules.Rule{Name: r.Name, When: when, Clear: end}
	}
	c.checkRivals()
	c.checkDerived(derived, list)
	c.checkRounds(list)
}

// doPath returns the path of entry j of rule i.
func doPath(i, j int) string { return "rules[" + strconv.Itoa(i) + "].do[" + strconv.Itoa(j) + "]" }

// A setting is a place in the rules where an output is set.
type setting struct{ rule, do int }

func (s setting) path() string { return fmt.Sprintf("rules[%d].do[%d].set", s.rule, s.do) }

// rival is what was seen of one output so far: the first rule that sets it, the first without a priority, and the first of each.
type rival struct {
	first, plain setting
	hasPlain     bool
	by           map[int]setting
}

// checkRivals finds outputs that several rules set without it being clear which of them counts.
func (c *checker) checkRivals() {
	seen := map[string]*rival{}
	for i := range c.cfg.Rules {
		own := map[string]setting{}
		for j, do := range c.cfg.Rules[i].Do {
			if do.Set == nil || do.Set.Channel == "" {
				continue
			}
			now, r := setting{i, j}, seen[do.Set.Channel]
			if first, twice := own[do.Set.Channel]; twice {
				c.Add(now.path()+".channel", setTwice, strict.Show(do.Set.Channel), "leave one of the two out", strict.Show(c.cfg.Rules[i].Name),
					do.Set.Channel, c.Line(first.path()))
				continue
			}
			own[do.Set.Channel] = now
			if r == nil {
				r = &rival{first: now, by: map[int]setting{}}
				seen[do.Set.Channel] = r
			}
			if p := do.Set.Priority; p == nil {
				c.rival(now, r.first, r.hasPlain && r.plain == r.first, do.Set.Channel)
				if !r.hasPlain {
					r.plain, r.hasPlain = now, true
				}
			} else if before, twice := r.by[*p]; twice {
				c.rival(now, before, true, do.Set.Channel)
			} else {
				r.by[*p] = now
				if r.hasPlain {
					c.rival(now, r.plain, false, do.Set.Channel)
				}
			}
		}
	}
}

// rival notes that it is not clear which of two places counts, where now is not the first. areAlike: they say the same of their priority.
func (c *checker) rival(now, before setting, areAlike bool, name string) {
	if now.rule == before.rule || c.Faulty(now.path()+".priority") || c.Faulty(before.path()+".priority") {
		return
	}
	why := "and only one of them has a priority"
	switch {
	case areAlike && c.cfg.Rules[now.rule].Do[now.do].Set.Priority == nil:
		why = "and neither has a priority"
	case areAlike:
		why = "with the same priority"
	}
	c.Add(now.path()+".channel", setRivals, strict.Show(name), "give each of the two a priority of its own, 0 to 100: the highest of those that are active counts",
		strict.Show(c.cfg.Rules[now.rule].Name), name, strict.Show(c.cfg.Rules[before.rule].Name), c.Line(before.path()), why)
}

// condition checks the condition at path; nil when there is none, or a bad one.
func (c *checker) condition(path, text string, schema lang.Schema) *lang.Program {
	if text == "" {
		return nil
	}
	p, faults := lang.Compile(text, lang.Condition, schema)
	c.addLang(path, lang.Condition, faults)
	c.addDoubts(path, p)
	return p
}

// addLang notes what is wrong with the expression at path.
func (c *checker) addLang(path string, want lang.Want, faults []*lang.Fault) {
	for _, f := range faults {
		switch {
		case f.Channel != "":
			c.findWithin(path, f.Col, f.Channel, condDevice, condChannel)
		case want == lang.Condition:
			c.AddWithin(path, f.Col, badCondition, showEnd(f.Got), f.Hint, f.Problem)
		default:
			c.AddWithin(path, f.Col, badValue, showEnd(f.Got), f.Hint, f.Problem)
		}
	}
}

// written says how values of kind k are written.
func written(k tidegate.Kind) string {
	if k == tidegate.KindBool {
		return "true or false"
	}
	return "a " + k.String()
}

// showEnd shows what stands at the place of an error; nothing there is its end.
func showEnd(got string) string {
	if got == "" {
		return "nothing"
	}
	if n := len(got) - 1; n > 1 && got[0] == '"' && got[n] == '"' && !strings.ContainsAny(got[1:n], "\"\\") { // in quotes already
		return strict.Show(got[1:n])
	}
	return strict.Show(got)
}

// find looks for the channel called name, "device.channel", and notes a fault at path when there is none. known is false when there
// is none; ch is nil when the device's channels are not known.
func (c *checker) find(path, name string, noDevice, noChannel strict.Site) (device string, ch *drivers.Channel, known bool) {
	return c.findWithin(path, 1, name, noDevice, noChannel)
}

// findWithin is find for a name that stands at the character col, from 1, of the text at path.
func (c *checker) findWithin(path string, col int, name string, noDevice, noChannel strict.Site) (device string, ch *drivers.Channel, known bool) {
	device, channel := c.cfg.cut(name)
	list, ok := c.channels[device]
	if !ok {
		names, other := c.devices()
		if near, ok := strict.Nearest(device, names); ok {
			other = fmt.Sprintf("did you mean %q?", strings.TrimSuffix(near+"."+channel, "."))
		}
		c.AddWithin(path, col, noDevice, strict.Show(name), other)
		return device, nil, false
	}
	if len(list) == 0 {
		return device, nil, true
	}
	names := make([]string, len(list))
	for i := range list {
		if list[i].Name == channel {
			return device, &list[i], true
		}
		names[i] = list[i].Name
	}
	if c.partly[device] {
		return device, nil, true
	}
	hint := strict.DidYouMean(channel, names, "its channels are "+Enumerate(names))
	c.AddWithin(path, col, noChannel, strict.Show(name), hint, device, strict.Show(channel))
	return device, nil, false
}

// devices returns the names of all devices, and says for people which there are.
func (c *checker) devices() (names []string, are string) {
	for _, d := range c.cfg.Devices {
		names = append(names, d.Name)
	}
	if len(names) == 0 {
		return nil, "no device is configured"
	}
	return names, "devices are " + Enumerate(names)
}

// Enumerate joins names, the first ten of them.
func Enumerate(names []string) string {
	if len(names) > 10 {
		return strings.Join(names[:10], ", ") + fmt.Sprintf(" and %d more", len(names)-10)
	}
	return strings.Join(names, ", ")
}

func (c *checker) checkDo(path string, list []Do, schema lang.Schema) {
	if len(list) == 0 && c.Given(path) && !c.Faulty(path) {
		c.Add(path, noDo, "", "write an alarm or a set below it")
	}
	alarms := 0
	for i, do := range list {
		at := path + "[" + strconv.Itoa(i) + "]"
		if do.Alarm != nil {
			alarms++
		}
		kinds := do.kinds()
		switch {
		case c.Faulty(at):
		case len(kinds) == 0:
			c.Add(at, emptyDo, "", "write alarm: {severity: error, text: ...} or set: {channel: device.channel, value: true}")
		case len(kinds) > 1:
			c.Add(at, twoDo, "", "write two entries, each behind a dash", kinds[0], kinds[1])
		case do.Alarm != nil && alarms > 1:
			c.Add(at, twoAlarms, "", "write one alarm a rule: it carries the rule's name")
		case do.Set != nil:
			c.checkSet(at+".set", do.Set)
		case do.Snapshot != nil:
			c.checkSnapshot(at+".snapshot", do.Snapshot, schema)
		case do.Interval != nil:
			c.checkInterval(at+".interval", list, i)
		case do.Label != nil:
			c.checkLabel(at+".label", do.Label, schema)
		case do.Route != nil:
			c.checkRoute(at+".route", do.Route, schema)
		default:
			if f, ok := do.filter(); ok {
				c.checkFilter(at+"."+kinds[0], &f, schema)
			}
		}
	}
}

func (c *checker) checkSet(path string, s *Set) {
	device, ch, known := c.find(path+".channel", s.Channel, setDevice, setChannel)
	if !known || ch == nil {
		return
	}
	if !ch.Output {
		c.Add(path+".channel", setInput, strict.Show(s.Channel), "name a channel that can be set; tidegate drivers shows them", device+"."+ch.Name)
		return
	}
	for key, v := range map[string]tidegate.Value{"value": s.Value, "on_clear": s.OnClear} {
		k, want := v.Kind(), ch.Kind
		if k != tidegate.KindNone && want != tidegate.KindNone && k.String() != want.String() {
			c.Add(path+"."+key, setKind, strict.Show(v.String()), "write "+written(want), device+"."+ch.Name, want, k)
		} else if k != tidegate.KindNone && ch.Accept(v) != nil {
			c.Add(path+"."+key, setLimits, strict.Show(v.String()), "write "+ch.Wants(), device+"."+ch.Name)
		}
	}
}
