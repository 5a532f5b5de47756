package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/rules"
)

func (c *checker) checkRules() {
	names := map[string]int{}
	for i := range c.cfg.Rules {
		r, path := &c.cfg.Rules[i], "rules["+strconv.Itoa(i)+"]"
		if c.name(path+".name", r.Name, badRule) {
			if first, twice := names[r.Name]; twice {
				c.Add(path+".name", ruleTwice, r.Name, "give each rule a name of its own", first)
			} else {
				names[r.Name] = i
			}
		}
		when, _ := c.condition(path+".when", r.When)
		end, ok := c.condition(path+".clear", r.Clear)
		if ok && rules.Overlap(when, end) {
			c.Add(path+".clear", overlap, strict.Show(r.Clear), "leave a distance between the two")
		}
		c.checkDo(path+".do", r.Do)
	}
}

// condition checks the condition at path; ok is false when there is none, or a bad one.
func (c *checker) condition(path, text string) (cond rules.Condition, ok bool) {
	if text == "" {
		return rules.Condition{}, false
	}
	cond, err := rules.Parse(text)
	if err != nil {
		var se *rules.SyntaxError
		if errors.As(err, &se) {
			c.AddWithin(path, se.Col, badCondition, showEnd(se.Got), se.Hint, se.Problem)
		}
		return rules.Condition{}, false
	}
	dev, ch, known := c.find(path, cond.Channel, condDevice, condChannel)
	if known && ch != nil && !cond.Suits(ch.Kind) {
		c.Add(path, condKind, strict.Show(text), "compare with "+written(ch.Kind), dev+"."+ch.Name, ch.Kind, cond.Value.Kind())
	}
	return cond, true
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
	return strict.Show(got)
}

// find looks for the channel called name, "device.channel", and notes a fault at path when there is none. known is false when there
// is none; ch is nil when the device's channels are not known.
func (c *checker) find(path, name string, noDevice, noChannel strict.Site) (device string, ch *drivers.Channel, known bool) {
	device, channel := c.cfg.cut(name)
	list, ok := c.channels[device]
	if !ok {
		var names []string
		for _, d := range c.cfg.Devices {
			names = append(names, d.Name)
		}
		other := "no device is configured"
		if len(names) > 0 {
			other = "devices are " + enumerate(names)
		}
		c.Add(path, noDevice, strict.Show(name), strict.DidYouMean(device, names, other))
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
	hint := strict.DidYouMean(channel, names, "its channels are "+enumerate(names))
	c.Add(path, noChannel, strict.Show(name), hint, device, strict.Show(channel))
	return device, nil, false
}

// enumerate joins names, the first ten of them.
func enumerate(names []string) string {
	if len(names) > 10 {
		return strings.Join(names[:10], ", ") + fmt.Sprintf(" and %d more", len(names)-10)
	}
	return strings.Join(names, ", ")
}

func (c *checker) checkDo(path string, list []Do) {
	if len(list) == 0 && c.Given(path) && !c.Faulty(path) {
		c.Add(path, noDo, "", "write an alarm or a set below it")
	}
	alarms := 0
	for i, do := range list {
		at := path + "[" + strconv.Itoa(i) + "]"
		if do.Alarm != nil {
			alarms++
		}
		switch {
		case c.Faulty(at):
		case do.Alarm == nil && do.Set == nil:
			c.Add(at, emptyDo, "", "write alarm: {severity: error, text: ...} or set: {channel: device.channel, value: true}")
		case do.Alarm != nil && do.Set != nil:
			c.Add(at, twoDo, "", "write two entries, each behind a dash")
		case do.Alarm != nil && alarms > 1:
			c.Add(at, twoAlarms, "", "write one alarm a rule: it carries the rule's name")
		case do.Set != nil:
			c.checkSet(at+".set", do.Set)
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
