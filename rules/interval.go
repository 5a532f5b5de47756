package rules

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// An Interval is how often a device is read while a rule is active, in the place of its own interval.
type Interval struct {
	Rule   string // of a Set: the active rule that asks for it; "" = none does. It says nothing in a Rule
	Device string
	Every  time.Duration // above 0; of a Set also 0 = the device's own
}

// paced is a device that rules have read at other intervals than its own.
type paced struct {
	asks  []ask // in the order of the rules
	force Interval
}

// ask is what one rule wants of it.
type ask struct {
	rule  *rule
	every time.Duration
}

func (r Rule) checkIntervals() error {
	for _, x := range r.Intervals {
		switch {
		case x.Device == "":
			return errors.New("interval of no device")
		case x.Every <= 0:
			return fmt.Errorf("interval of device %s is not positive (got %v)", x.Device, x.Every)
		}
	}
	return nil
}

// startIntervals enters what r wants of devices.
func (s *Set) startIntervals(r *rule) {
	for _, x := range r.Intervals {
		p := s.byDevice[x.Device]
		if p == nil {
			p = &paced{force: Interval{Device: x.Device}}
			s.byDevice[x.Device] = p
			s.paced = append(s.paced, p)
		}
		p.asks = append(p.asks, ask{r, x.Every})
		r.paces = append(r.paces, p)
	}
}

// look returns the shortest interval that active rules ask for, of the first of them that does. A rule that is not judged any more asks for none:
// it would never end.
func (p *paced) look() Interval {
	out := Interval{Device: p.force.Device}
	for _, a := range p.asks {
		if a.rule.phase == active && a.rule.parked == "" && (out.Every == 0 || a.every < out.Every) {
			out.Rule, out.Every = a.rule.Name, a.every
		}
	}
	return out
}

// pace notes which devices are to be read at another interval, or for another rule, now that r stands otherwise.
func (s *Set) pace(r *rule) {
	for _, p := range r.paces {
		now := p.look()
		if now == p.force {
			continue
		}
		p.force = now
		s.intervals = append(slices.DeleteFunc(s.intervals, func(x Interval) bool { return x.Device == now.Device }), now)
	}
}

// Intervals returns how often each device is to be read for which rules have intervals, as their state stands. It is meant for a start, as
// Demands is.
func (s *Set) Intervals() []Interval {
	out := make([]Interval, 0, len(s.paced))
	for _, p := range s.paced {
		out = append(out, p.force)
	}
	return out
}
