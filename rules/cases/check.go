package cases

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/drivers"
)

// What can be wrong with a file of cases beyond its form.
const (
	strayChannels strict.Site = "channels without rules"
	noRules       strict.Site = "no rules, neither here nor in the configuration"
	noDevice      strict.Site = "no device before the dot: %v"
	noChannel     strict.Site = "no channel behind the dot: %v"
	unitUnknown   strict.Site = "unit is not registered for SenML"
	twoPaces      strict.Site = "device %s is read every %v already, and a device has one interval"
	noCases       strict.Site = "no cases"
	nameTwice     strict.Site = "name stands twice"
	onlyUnknown   strict.Site = "no rule of this name"
	noSteps       strict.Site = "no steps: nothing happens"
	wrongOrder    strict.Site = "before the step above, at %v"
	untilBefore   strict.Site = "not after at, %v"
	untilAlone    strict.Site = "nothing to repeat"
	everyAlone    strict.Site = "has no effect without until"
	everyZero     strict.Site = "repeats without a pause"
	everyMissing  strict.Site = "what is read here has no interval, or more than one"
	tooLong       strict.Site = "case is longer than %v"
	tooMany       strict.Site = "more than %d readings in one file"
	lateAlone     strict.Site = "nothing that could be late"
	lateBefore    strict.Site = "before the case began"
	restartReads  strict.Site = "reads something at the moment of a restart"
	strayKey      strict.Site = "neither a key nor a channel"
	unknown       strict.Site = "no device has this channel"
	readTwice     strict.Site = "value and fault of one channel at one time"
	emptyFault    strict.Site = "reason of the fault is empty"
	toAlone       strict.Site = "has no number to begin with"
	toNoNumber    strict.Site = "is no number"
	toOnce        strict.Site = "has no effect without until"
	nothingWanted strict.Site = "nothing is wanted"
	wantBefore    strict.Site = "before at, %v"
	wantLate      strict.Site = "after the last step, at %v"
	wantRule      strict.Site = "no rule of this name"
	wantSilent    strict.Site = "rule %s has no alarm"
	wantOutput    strict.Site = "no rule sets this channel"
	wantGiven     strict.Site = "no rule has a snapshot of this channel"
	wantNumber    strict.Site = "no number of readings"
	wantDevice    strict.Site = "no rule has an interval for this device"
)

// A checker holds a file of cases and checks it.
type checker struct {
	*strict.Doc
	most    int           // readings in the file
	longest time.Duration // length of a case
	file    file
	cfg     *config.Config // devices and rules that are tried
	known   []string       // the channels of its devices
}

func (c *checker) path(i int) string { return fmt.Sprintf("cases[%d]", i) }

// check notes all that is wrong. The error is that of configured.
func (c *checker) check(configured func() (*config.Config, error)) error {
	base := &config.Config{}
	switch {
	case c.Given("channels") && !c.Given("rules"):
		c.Add("channels", strayChannels, "", "write rules too, or leave both out to take them from the configuration")
		return nil
	case c.Given("channels"):
		base.Devices = c.devices()
	default:
		got, err := configured()
		if err != nil {
			return err
		}
		base = got
	}
	c.cfg = base
	if c.Given("rules") {
		c.cfg = base.Apart(c.Doc, c.file.Rules)
	}
	if len(c.cfg.Rules) == 0 && !c.Faulty("rules") {
		c.Add("rules", noRules, "", "write them here as in the configuration, or name another one by --config")
	}
	for i := range c.cfg.Devices {
		for _, ch := range c.cfg.Devices[i].Channels {
			c.known = append(c.known, c.cfg.Devices[i].Name+"."+ch.Name)
		}
	}
	if len(c.file.Cases) == 0 && !c.Faulty("cases") {
		c.Add("cases", noCases, "", "write - name, steps and want for each case")
	}
	total, seen := 0, map[string]bool{}
	for i := range c.file.Cases {
		w, path := &c.file.Cases[i], c.path(i)
		if seen[w.Name] && w.Name != "" {
			c.Add(path+".name", nameTwice, strict.Show(w.Name), "give each case a name of its own")
		}
		seen[w.Name] = true
		c.checkCase(w, path)
		if total <= c.most {
			if total += w.readings(); total > c.most {
				c.Add(path+".steps", tooMany, "", "repeat less often, or write several files", c.most)
			}
		}
	}
	return nil
}

// kinds are the kinds that channels are given in a file of cases.
var kinds = map[string]tidegate.Kind{"number": tidegate.KindFloat, "bool": tidegate.KindBool, "text": tidegate.KindText}

// devices makes devices of the channels that the file lists: what stands before the first dot is the device.
func (c *checker) devices() (out []config.Device) {
	names := make([]string, 0, len(c.file.Channels))
	for name := range c.file.Channels {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		ch, path := c.file.Channels[name], "channels."+name
		device, own, _ := strings.Cut(name, ".")
		if err := tidegate.CheckName(device); err != nil {
			c.Add(path, noDevice, strict.Show(name), "write device.channel", err)
			continue
		}
		if err := tidegate.CheckName(own); err != nil {
			c.Add(path, noChannel, strict.Show(name), "write device.channel", err)
			continue
		}
		if _, ok := tidegate.UnitMeaning(ch.Unit); ch.Unit != "" && !ok {
			c.Warn(path+".unit", unitUnknown, strict.Show(ch.Unit), config.UnitHint(ch.Unit, "it counts as it stands"))
		}
		i := slices.IndexFunc(out, func(d config.Device) bool { return d.Name == device })
		if i < 0 {
			i = len(out)
			out = append(out, config.Device{Name: device})
		}
		d := &out[i]
		switch {
		case d.Every == 0:
			d.Every = ch.Every
		case ch.Every != 0 && ch.Every != d.Every:
			c.Add(path+".every", twoPaces, ch.Every.String(), "write the same", device, span(d.Every))
		}
		d.Channels = append(d.Channels, drivers.Channel{Name: own, Kind: kinds[ch.Kind], Unit: ch.Unit, Output: ch.Output})
	}
	return out
}

func (c *checker) checkCase(w *written, path string) {
	names := make([]string, len(c.cfg.Rules))
	for i := range c.cfg.Rules {
		names[i] = c.cfg.Rules[i].Name
	}
	for i, name := range w.Only {
		if !slices.Contains(names, name) {
			c.Add(fmt.Sprintf("%s.only[%d]", path, i), onlyUnknown, strict.Show(name), strict.DidYouMean(name, names, "rules are "+strings.Join(names, ", ")))
		}
	}
	if len(w.Steps) == 0 && !c.Faulty(path+".steps") {
		c.Add(path+".steps", noSteps, "", "write what is read, for instance - {at: 0s, meter1.temp: 70}")
	}
	for i := range w.Steps {
		at := fmt.Sprintf("%s.steps[%d]", path, i)
		if i > 0 && w.Steps[i].At < w.Steps[i-1].At {
			c.Add(at+".at", wrongOrder, w.Steps[i].At.String(), "write the steps in the order of time; one that is repeated goes on beside the next", w.Steps[i-1].At)
		}
		c.checkStep(&w.Steps[i], at)
	}
	if end := w.end(); end > c.longest {
		c.Add(path+".steps", tooLong, span(end).String(), "write a shorter one", span(c.longest))
	}
	tried := chosen(c.cfg.Rules, w.Only, func(r config.Rule) string { return r.Name })
	for i := range w.Want {
		c.checkWant(&w.Want[i], fmt.Sprintf("%s.want[%d]", path, i), span(w.end()), tried)
	}
}

// own are the keys of a step that are no channels.
var own = []string{"at", "until", "every", "to", "late", "fault", "restart"}

func (c *checker) checkStep(s *step, path string) {
	for name := range s.Read {
		c.channel(path+"."+name, name)
	}
	for name, reason := range s.Fault {
		at := path + ".fault." + name
		if !c.channel(at, name) {
			continue
		}
		if reason == "" {
			c.Add(at, emptyFault, "", "write why, for instance no answer")
		}
		if _, twice := s.Read[name]; twice {
			c.Add(at, readTwice, "", "leave one of them out, or write two steps")
		}
	}
	for name, to := range s.To {
		at := path + ".to." + name
		from, ok := s.Read[name]
		if _, isNumber := from.Number(); !ok || !isNumber || from.Kind() == tidegate.KindBool {
			c.Add(at, toAlone, "", "write what it begins with in the same step, for instance "+name+": 20")
		} else if _, isNumber := to.Number(); !isNumber || to.Kind() == tidegate.KindBool {
			c.Add(at, toNoNumber, strict.Show(to.String()), "write a number")
		}
	}
	if len(s.To) > 0 && s.Until == nil {
		c.Add(path+".to", toOnce, "", "write until when")
	}
	reads := len(s.Read)+len(s.Fault) > 0
	if s.Late > 0 && !reads {
		c.Add(path+".late", lateAlone, "", "write what is read")
	} else if s.Late > s.At {
		c.Add(path+".late", lateBefore, s.Late.String(), "write at most "+s.At.String())
	}
	if s.Restart != "" && (reads || s.Until != nil) {
		c.Add(path+".restart", restartReads, "", "write two steps")
	}
	c.checkRepeat(s, path, reads)
}

// checkRepeat checks what repeats s, and fills in the interval of the device where none is written.
func (c *checker) checkRepeat(s *step, path string, reads bool) {
	switch {
	case s.Until == nil:
		if s.Every != nil {
			c.Add(path+".every", everyAlone, "", "write until when")
		}
	case *s.Until <= s.At:
		c.Add(path+".until", untilBefore, s.Until.String(), "write a later time", s.At)
	case !reads:
		c.Add(path+".until", untilAlone, "", "write what is read; a step with nothing but at lets time pass")
	case s.Every != nil:
		if *s.Every == 0 {
			c.Add(path+".every", everyZero, "0s", "write an interval, for instance 1s")
		}
	default:
		every, isOne := c.interval(s)
		if !isOne && !slices.ContainsFunc(s.channels(), func(name string) bool { return c.Faulty(path+"."+name) || c.Faulty(path+".fault."+name) }) {
			c.Add(path+".until", everyMissing, "", "write every, for instance every: 1s")
		}
		s.Every = &every
	}
}

// interval returns that of the devices that s reads; ok is false when they have none, or not the same.
func (c *checker) interval(s *step) (every span, ok bool) {
	found := map[span]bool{}
	for _, name := range s.channels() {
		if d, _, _, known := c.cfg.Find(name); known {
			every = span(d.Every)
			found[every] = true
		}
	}
	return every, len(found) == 1 && every > 0
}

// channels returns what s reads, values and faults.
func (s *step) channels() []string {
	return slices.Concat(slices.Collect(maps.Keys(s.Read)), slices.Collect(maps.Keys(s.Fault)))
}

// channel notes where there is no channel called name.
func (c *checker) channel(path, name string) bool {
	if _, _, _, ok := c.cfg.Find(name); ok {
		return true
	}
	if !strings.Contains(name, ".") {
		c.Add(path, strayKey, strict.Show(name), strict.DidYouMean(name, own, "keys here are "+strings.Join(own, ", ")+", and channels as device.channel"))
		return false
	}
	other := "there are none: list them under channels, or name a configuration by --config"
	if len(c.known) > 0 {
		other = "channels are " + config.Enumerate(c.known)
	}
	c.Add(path, unknown, strict.Show(name), strict.DidYouMean(name, c.known, other))
	return false
}

func (c *checker) checkWant(w *want, path string, end span, tried []config.Rule) {
	if w.Raised == "" && w.Cleared == "" && len(w.Set)+len(w.Interval)+len(w.Snapshot) == 0 && !c.Faulty(path) {
		c.Add(path, nothingWanted, "", "write raised, cleared, set, interval or snapshot; a time at which nothing happens needs no line")
	}
	if w.Until != nil && *w.Until < w.At {
		c.Add(path+".until", wantBefore, w.Until.String(), "write a later time", w.At)
	}
	if w.At > end && !c.Faulty(path+".at") {
		c.Add(path+".at", wantLate, w.At.String(), "let time pass: add the step {at: "+w.At.String()+"}", end)
	}
	var names, outputs []string
	alarms := map[string]bool{}
	for i := range tried {
		names = append(names, tried[i].Name)
		for _, do := range tried[i].Do {
			alarms[tried[i].Name] = alarms[tried[i].Name] || do.Alarm != nil
			if do.Set != nil {
				outputs = append(outputs, do.Set.Channel)
			}
		}
	}
	for key, name := range map[string]string{"raised": w.Raised, "cleared": w.Cleared} {
		switch {
		case name == "":
		case !slices.Contains(names, name):
			c.Add(path+"."+key, wantRule, strict.Show(name), strict.DidYouMean(name, names, "rules are "+strings.Join(names, ", ")))
		case !alarms[name]:
			c.Add(path+"."+key, wantSilent, "", "write what it sets, for instance set: {fan.relay: true}", name)
		}
	}
	c.checkGiven(w, path, tried)
	for name := range w.Set {
		if !slices.Contains(outputs, name) {
			c.Add(path+".set."+name, wantOutput, strict.Show(name), strict.DidYouMean(name, outputs, setHint(outputs)))
		}
	}
	c.checkPaces(w, path, tried)
}

// setHint says what rules set.
func setHint(outputs []string) string {
	if len(outputs) == 0 {
		return "the rules set no output"
	}
	return "rules set " + strings.Join(outputs, ", ")
}

// end returns when the last step is over.
func (w *written) end() time.Duration {
	end := span(0)
	for i := range w.Steps {
		end = max(end, w.Steps[i].At)
		if w.Steps[i].Until != nil {
			end = max(end, *w.Steps[i].Until)
		}
	}
	return time.Duration(end)
}

// times returns how often s happens.
func (s *step) times() int {
	if s.Until == nil || s.Every == nil || *s.Every <= 0 || *s.Until <= s.At {
		return 1
	}
	return int(min((*s.Until-s.At) / *s.Every, maxReadings)) + 1
}

// readings returns how many readings w has, at most a little more than maxReadings.
func (w *written) readings() (n int) {
	for i := range w.Steps {
		s := &w.Steps[i]
		n = min(n+s.times()*(len(s.Read)+len(s.Fault)), maxReadings+1)
	}
	return n
}
