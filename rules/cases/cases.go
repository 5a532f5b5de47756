// Package cases tries rules on written cases: readings over time in, alarms and outputs out. It reads no file and touches no device; rules are
// judged by the same code as in the gateway. README.md beside this file says how a file of cases is written.
package cases

import (
	"fmt"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/rules"
	"github.com/tidegate-io/tidegate/rules/intake"
)

// Limits of one file.
const (
	maxReadings = 1_000_000            // in all of its cases together
	maxLength   = 400 * 24 * time.Hour // of one case
)

// file is a file of cases. The tags are those of package strict.
type file struct {
	Channels map[string]channel `yaml:"channels" doc:"the channels that the rules look at, where they are not to be those of the configuration"`
	Rules    []config.Rule      `yaml:"rules" doc:"as in the configuration; not set = the rules of the configuration"`
	Cases    []written          `yaml:"cases" check:"required" doc:"write - name, steps and want for each case"`
}

// channel is a channel that no configuration has.
type channel struct {
	Kind   string        `yaml:"kind" check:"enum=number|bool|text" doc:"number, bool or text"`
	Unit   string        `yaml:"unit" doc:"of a number, for instance Cel"`
	Every  time.Duration `yaml:"every" check:"min=1ms max=168h" doc:"interval of its device"`
	Output bool          `yaml:"output" doc:"it can be set"`
}

// Preset sets the defaults.
func (c *channel) Preset() { c.Kind = "number" }

// written is one case as it stands in the file.
type written struct {
	Name    string   `yaml:"name" check:"required" doc:"what the case is about"`
	Start   dayTime  `yaml:"start" doc:"what the wall clock says at 0s"`
	Zone    zone     `yaml:"zone" doc:"time zone of the gateway, for instance Europe/Berlin"`
	Only    []string `yaml:"only" doc:"the rules that it tries; not set = all"`
	Restart bool     `yaml:"restart" doc:"whether all is stored and restored before each reading in a second run"`
	Steps   []step   `yaml:"steps" check:"required" doc:"write what is read, for instance - {at: 0s, meter1.temp: 70}"`
	Want    []want   `yaml:"want" check:"required" doc:"write what is to come of it, for instance - {at: 31s, raised: overheat}, or [] for nothing"`
}

// Preset sets the defaults.
func (c *written) Preset() { c.Restart = true }

// step is what is read at one time, or again and again from then on.
type step struct {
	At      span                      `yaml:"at" check:"required" doc:"time since the case began, for instance 90s"`
	Until   *span                     `yaml:"until" doc:"the readings are repeated up to then"`
	Every   *span                     `yaml:"every" doc:"interval of the repetition; not set = that of the device"`
	To      map[string]tidegate.Value `yaml:"to" doc:"what numbers become evenly until then"`
	Late    span                      `yaml:"late" doc:"the readings are so old"`
	Fault   map[string]string         `yaml:"fault" doc:"channels that failed, with the reason"`
	Restart string                    `yaml:"restart" check:"enum=gateway|machine" doc:"what is started anew"`
	Read    map[string]tidegate.Value `yaml:",rest"`
}

// want is what is to happen at one time.
type want struct {
	At      span                      `yaml:"at" check:"required" doc:"time since the case began"`
	Until   *span                     `yaml:"until" doc:"any time from at to then is right"`
	Raised  string                    `yaml:"raised" doc:"the rule that raises its alarm"`
	Cleared string                    `yaml:"cleared" doc:"the rule that clears its alarm"`
	Set     map[string]tidegate.Value `yaml:"set" doc:"outputs that are set, with their values"`
	// Snapshot is looked at only in cases that have it.
	Snapshot map[string]tidegate.Value `yaml:"snapshot" doc:"channels of which snapshots give readings out, with how many"`
	// Interval is by device.
	Interval map[string]pace `yaml:"interval" doc:"devices that are read at another interval from then on, for instance {meter1: 100ms}; own = at their own again"`
}

// A Result says what became of the cases of one file.
type Result struct {
	File  string `json:"file"`
	Good  bool   `json:"good"`
	Cases []Case `json:"cases"`
}

// A Case says what became of one case.
type Case struct {
	Name      string `json:"name"`
	Line      int    `json:"line"` // of the file
	Good      bool   `json:"good"`
	Readings  int    `json:"readings"`
	Lines     []Line `json:"lines"`               // what was wanted and what happened, in the order of time
	Restarted []Line `json:"restarted,omitempty"` // where it is not the same with restarts: "-" happened without them, "+" with them
	Broken    string `json:"broken,omitempty"`    // why the case was given up; "" = it was not
}

// A Line is something that was wanted, or happened.
type Line struct {
	At    float64 `json:"at_s"`             // seconds since the case began
	Until float64 `json:"until_s"`          // the latest time at which it was wanted; At where it is one time
	Sign  string  `json:"sign"`             // "" as wanted, "-" wanted and did not happen, "+" happened and was not wanted
	What  string  `json:"what"`             // "raised overheat", "cleared overheat", "set fan.relay true", "interval meter1 100ms"
	Rules []Look  `json:"looked,omitempty"` // what the rules that it concerns looked at then; only with a Sign
}

// A Look is what a rule looked at, at one time.
type Look struct {
	Rule  string `json:"rule"`
	State string `json:"state"` // "idle", "waiting" (for is not over) or "active"
	When  string `json:"when"`
	For   string `json:"for,omitempty"`
	Clear string `json:"clear,omitempty"`
	Parts []Part `json:"parts"`
}

// A Part is a channel or a call in a condition.
type Part struct {
	Text  string   `json:"text"`
	Value string   `json:"value"` // "not known" where it is none
	Unit  string   `json:"unit,omitempty"`
	Age   *float64 `json:"age_s,omitempty"` // of a channel that was read
	Fault string   `json:"fault,omitempty"`
}

// Run tries the cases in text; name stands for the file in faults. configured returns the gateway's configuration; it is called only when
// the file has no rules, or no channels, of its own. Where the file cannot be used the faults say why, and there is no Result; else they are warnings.
// The error is that of configured.
func Run(name string, text []byte, configured func() (*config.Config, error)) (*Result, []config.Fault, error) {
	c := checker{Doc: strict.New(name), most: maxReadings, longest: maxLength}
	r, err := c.run(name, text, configured)
	return r, c.Faults(), err
}

func (c *checker) run(name string, text []byte, configured func() (*config.Config, error)) (*Result, error) {
	c.Parse(text)
	if c.Decode(&c.file, nil) {
		if err := c.check(configured); err != nil {
			return nil, err
		}
	}
	if !c.Sound() {
		return nil, nil
	}
	list, err := c.cfg.RuleList()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	out := &Result{File: name, Good: true}
	for i := range c.file.Cases {
		one, err := c.try(i, list)
		if err != nil {
			return nil, fmt.Errorf("%s: case %q: %w", name, c.file.Cases[i].Name, err)
		}
		out.Good = out.Good && one.Good
		out.Cases = append(out.Cases, one)
	}
	return out, nil
}

// try runs one case.
func (c *checker) try(i int, list []rules.Rule) (Case, error) {
	w := &c.file.Cases[i]
	p := plan{
		list: chosen(list, w.Only, func(r rules.Rule) string { return r.Name }), arrivals: c.arrivals(i), start: w.began(), end: w.end(), counts: w.counts(),
		intake: map[string]*intake.Chain{},
	}
	for i := range c.cfg.Devices {
		p.intake[c.cfg.Devices[i].Name] = c.cfg.IntakeOf(&c.cfg.Devices[i])
	}
	line, _ := c.Position(c.path(i))
	out := Case{Name: w.Name, Line: line, Readings: p.readings()}
	plain, err := p.run(false, nil)
	if err != nil {
		return out, err
	}
	out.Broken = plain.broken
	out.Lines = match(w.expected(p.list), plain.events)
	differs := differ(out.Lines) > 0
	if w.Restart {
		again, err := p.run(true, nil)
		if err != nil {
			return out, err
		}
		var same []expected
		for _, e := range plain.events {
			if e.given { // a restart forgets what is kept
				continue
			}
			same = append(same, expected{event: e, until: e.at})
		}
		if out.Restarted = match(same, again.events); differ(out.Restarted) == 0 {
			out.Restarted = nil
		}
		if out.Broken == "" {
			out.Broken = again.broken
		}
	}
	out.Good = out.Broken == "" && !differs && out.Restarted == nil
	if differs {
		if _, err := p.run(false, out.Lines); err != nil {
			return out, err
		}
	}
	return out, nil
}

// chosen returns the rules of list that only names, or all where it names none.
func chosen[T any](list []T, only []string, name func(T) string) (out []T) {
	for _, r := range list {
		if len(only) == 0 || slices.Contains(only, name(r)) {
			out = append(out, r)
		}
	}
	return out
}
