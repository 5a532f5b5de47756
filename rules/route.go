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
func (r *Route) Concerns(name string) bool { return filter.MatchAny(r.Channels, name) }

// String says what r does, for people.
func (r *Route) String() string {
	names := strings.Join(r.Channels, ", ")
	if r.Debug {
		return "keep " + names + " on the gateway, as class debug"
	}
	return "send " + names + " to uplink " + r.Uplink + " only"
}

// A Way is where readings go, and what they carry on it.
type Way struct {
	Uplink string         // name of the only uplink that gets them; "" = all that get the class
	Class  tidegate.Class // reading or debug
	Labels string         // as in tidegate.Record
}

// TakenBy returns the way of rec.
func TakenBy(rec *tidegate.Record) Way {
	return Way{Uplink: rec.For, Class: rec.Class, Labels: rec.Labels}
}

// Send sends rec this way.
func (w Way) Send(rec *tidegate.Record) { rec.For, rec.Class, rec.Labels = w.Uplink, w.Class, w.Labels }

// common is the way of readings of which no rule says otherwise.
var common = Way{Class: tidegate.ClassReading}

// Apart are readings of one record, or derived from it, that go another way than the rest of it.
type Apart struct {
	Way
	Derived  bool // they are derived
	Readings []tidegate.Reading
}

// router is a Route of a rule that runs.
type router struct {
	Route
	rule *rule
}

// signs are what rules say of the way of a channel, in the order of the file.
type signs struct {
	routers []*router
	tags    tags
}

// load is what of the record that is judged goes a way.
type load struct {
	way     Way
	read    []tidegate.Reading
	derived []tidegate.Reading
}

// startRoutes makes the routes and labels of r run, behind those that run already.
func (s *Set) startRoutes(r *rule) {
	for _, x := range r.Routes {
		s.routers = append(s.routers, &router{x, r})
	}
	for _, x := range r.Labels {
		s.labellers = append(s.labellers, &labeller{x, r})
	}
}

// signsOf returns what rules say of a channel; nil = nothing. What the gateway says of itself has channels that begin with _ and goes to all.
func (s *Set) signsOf(device, channel string) *signs {
	if strings.HasPrefix(channel, "_") {
		return nil
	}
	if g, known := s.signs.get(device, channel); known {
		return g
	}
	g := &signs{}
	name := device + "." + channel
	for _, r := range s.routers {
		if r.Concerns(name) {
			g.routers = append(g.routers, r)
		}
	}
	for _, l := range s.labellers {
		if l.Concerns(name) {
			g.tags.list = append(g.tags.list, l)
		}
	}
	if len(g.routers)+len(g.tags.list) == 0 {
		g = nil
	}
	s.signs.put(device, channel, g)
	return g
}

// WayOf returns which way readings of a channel go now: where several active rules route it the first counts.
func (s *Set) WayOf(device, channel string) Way {
	w := common
	if s.routers == nil && s.labellers == nil {
		return w
	}
	g := s.signsOf(device, channel)
	if g == nil {
		return w
	}
	if at := slices.IndexFunc(g.routers, func(r *router) bool { return r.rule.isOn() }); at >= 0 {
		r := g.routers[at]
		if w.Uplink = r.Uplink; r.Debug {
			w.Class = tidegate.ClassDebug
		}
	}
	w.Labels = g.tags.labels()
	return w
}

// on returns what of the record goes the way w. Ways are in the order in which readings go them.
func (s *Set) on(w Way) *load {
	i := slices.IndexFunc(s.ways[:s.used], func(l load) bool { return l.way == w })
	if i >= 0 {
		return &s.ways[i]
	}
	if s.used == len(s.ways) {
		s.ways = append(s.ways, load{})
	}
	l := &s.ways[s.used]
	s.used++
	l.way = w
	return l
}

// route takes from list what active rules send another way, or label. It returns the rest, in the memory of list; what it took is in ways, in the order
// of list.
func (s *Set) route(list []tidegate.Reading, derived bool) []tidegate.Reading {
	out := list[:0]
	for i := range list {
		rd := &list[i]
		w := s.WayOf(rd.Device, rd.Channel)
		switch {
		case w == common:
			out = append(out, *rd)
		case derived:
			l := s.on(w)
			l.derived = append(l.derived, *rd)
		default:
			l := s.on(w)
			l.read = append(l.read, *rd)
		}
	}
	return out
}

// routed returns what route took: of the record, then of what was derived from it.
func (s *Set) routed() []Apart {
	s.apart = s.apart[:0]
	for i := range s.ways[:s.used] {
		if w := &s.ways[i]; len(w.read) > 0 {
			s.apart = append(s.apart, Apart{Way: w.way, Readings: w.read})
		}
	}
	for i := range s.ways[:s.used] {
		if w := &s.ways[i]; len(w.derived) > 0 {
			s.apart = append(s.apart, Apart{Way: w.way, Derived: true, Readings: w.derived})
		}
	}
	return s.apart
}

// clearWays forgets what was routed of the record before.
func (s *Set) clearWays() {
	for i := range s.ways[:s.used] {
		w := &s.ways[i]
		clear(w.read)
		clear(w.derived)
		w.read, w.derived = w.read[:0], w.derived[:0]
	}
	s.used = 0
}
