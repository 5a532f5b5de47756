package cases

import (
	"errors"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/rules"
)

// pace is how often a device is read; 0 = at its own interval.
type pace span

// UnmarshalText reads an interval, or own. Its errors end in a hint.
func (p *pace) UnmarshalText(text []byte) error {
	if *p = 0; string(text) == "own" {
		return nil
	}
	if err := (*span)(p).UnmarshalText(text); err != nil || *p == 0 {
		return errors.New("an interval is wanted; write it like 100ms, or own where the device is read at its own again")
	}
	return nil
}

// String returns p as it is written.
func (p pace) String() string {
	if p == 0 {
		return "own"
	}
	return span(p).String()
}

// newPace is that the device is read at another interval from the time at on. list are the rules.
func newPace(at time.Duration, device string, every pace, list []rules.Rule) event {
	e := event{at: at, what: "interval " + device + " " + every.String()}
	for _, r := range list {
		if slices.ContainsFunc(r.Intervals, func(x rules.Interval) bool { return x.Device == device }) {
			e.rules = append(e.rules, r.Name)
		}
	}
	return e
}

// checkPaces checks the intervals that w wants; tried are the rules.
func (c *checker) checkPaces(w *want, path string, tried []config.Rule) {
	var devices []string
	for i := range tried {
		for _, do := range tried[i].Do {
			if do.Interval != nil {
				devices = append(devices, do.Interval.Device)
			}
		}
	}
	for name := range w.Interval {
		if slices.Contains(devices, name) {
			continue
		}
		other := "none of the rules has one"
		if len(devices) > 0 {
			other = "rules have intervals for " + config.Enumerate(devices)
		}
		c.Add(path+".interval."+name, wantDevice, strict.Show(name), strict.DidYouMean(name, devices, other))
	}
}
