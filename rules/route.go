package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/filter"
)

// A Route says where readings of some channels go while its rule is active, instead of to all uplinks.
type Route struct {
	Channels []string // "device.channel"; * stands for any characters
	Uplink   string   // name of the only uplink that gets them; "" = none does, see Debug
	Debug    bool     // they stay on the gateway, in records of class debug
}

// Check says what is wrong with r.
func (r *Route) Check() error {
	switch {
	case len(r.Channels) == 0:
		return errors.New("route names no channel")
	case r.Debug == (r.Uplink != ""):
		return fmt.Errorf("route leads to an uplink or to class debug, one of them (got uplink %q, debug %v)", r.Uplink, r.Debug)
	}
	return nil
}

// Concerns reports whether r has to do with the channel called name.
func (r *Route) Concerns(name string) bool {
	return slices.ContainsFunc(r.Channels, func(p string) bool { return filter.Match(p, name) })
}

// String says what r does, for people.
func (r *Route) String() string {
	names := strings.Join(r.Channels, ", ")
	if r.Debug {
		return "keep " + names + " on the gateway, as class debug"
	}
	return "send " + names + " to uplink " + r.Uplink + " only"
}

// Apart are readings of one record, or derived from it, that go another way than the rest of it.
type Apart struct {
	Uplink   string         // name of the only uplink that gets them; "" = all that get the class
	Class    tidegate.Class // reading or debug
	Derived  bool           // they are derived
	Readings []tidegate.Reading
}

// router is a Route of a rule that runs. Its way is the place in Set.ways of those that lead to the same.
type router struct {
	Route
	rule *rule
	way  int
}

// way is where routes lead, and what of the record that is judged goes there.
type way struct {
	uplink  string
	class   tidegate.Class
	read    []tidegate.Reading
	derived []tidegate.Reading
}

func (r *Rule) checkRoutes() error {
	for i := range r.Routes {
		if err := r.Routes[i].Check(); err != nil {
			return err
		}
	}
	return nil
}

// startRoutes makes the routes of r run, behind those that run already.
func (s *Set) startRoutes(r *rule) {
	for _, x := range r.Routes {
		to := way{uplink: x.Uplink, class: tidegate.ClassReading}
		if x.Debug {
			to.class = tidegate.ClassDebug
		}
		i := slices.IndexFunc(s.ways, func(w way) bool { return w.uplink == to.uplink && w.class == to.class })
		if i < 0 {
			i = len(s.ways)
			s.ways = append(s.ways, to)
		}
		s.routers = append(s.routers, &router{Route: x, rule: r, way: i})
	}
}

// routersOf returns the routes that have to do with a channel, in the order of the file. What the gateway says of itself has channels that begin
// with _ and goes to all.
func (s *Set) routersOf(device, channel string) []*router {
	if strings.HasPrefix(channel, "_") {
		return nil
	}
	byChannel := s.routes[device]
	if list, known := byChannel[channel]; known {
		return list
	}
	var list []*router
	name := device + "." + channel
	for _, r := range s.routers {
		if r.Concerns(name) {
			list = append(list, r)
		}
	}
	if s.routeCount >= maxLanes {
		return list // it is looked for each time
	}
	s.routeCount++
	if byChannel == nil {
		byChannel = map[string][]*router{}
		if s.routes == nil {
			s.routes = map[string]map[string][]*router{}
		}
		s.routes[strings.Clone(device)] = byChannel
	}
	byChannel[strings.Clone(channel)] = list
	return list
}

// route takes from list what an active rule sends another way: of several rules the first counts. It returns the rest, in the memory of list; what
// it took is in ways, in the order of list.
func (s *Set) route(list []tidegate.Reading, derived bool) []tidegate.Reading {
	out := list[:0]
	for i := range list {
		rd := &list[i]
		routers := s.routersOf(rd.Device, rd.Channel)
		at := slices.IndexFunc(routers, func(r *router) bool { return r.rule.isOn() })
		if at < 0 {
			out = append(out, *rd)
			continue
		}
		w := &s.ways[routers[at].way]
		if derived {
			w.derived = append(w.derived, *rd)
		} else {
			w.read = append(w.read, *rd)
		}
	}
	return out
}

// routed returns what route took: of the record, then of what was derived from it.
func (s *Set) routed() []Apart {
	s.apart = s.apart[:0]
	for i := range s.ways {
		if w := &s.ways[i]; len(w.read) > 0 {
			s.apart = append(s.apart, Apart{Uplink: w.uplink, Class: w.class, Readings: w.read})
		}
	}
	for i := range s.ways {
		if w := &s.ways[i]; len(w.derived) > 0 {
			s.apart = append(s.apart, Apart{Uplink: w.uplink, Class: w.class, Derived: true, Readings: w.derived})
		}
	}
	return s.apart
}

// clearWays forgets what was routed of the record before.
func (s *Set) clearWays() {
	for i := range s.ways {
		w := &s.ways[i]
		clear(w.read)
		clear(w.derived)
		w.read, w.derived = w.read[:0], w.derived[:0]
	}
}
