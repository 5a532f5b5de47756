package config

import (
	"slices"
	"strconv"
	"strings"

	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/rules"
	"github.com/tidegate-io/tidegate/rules/filter"
	"github.com/tidegate-io/tidegate/rules/lang"
)

// Route sends readings another way than to all uplinks.
type Route struct {
	Channels []string `yaml:"channels" check:"required" doc:"device.channel of each; * stands for any characters"`
	Uplink   string   `yaml:"uplink" doc:"name of the only uplink that gets them"`
	Class    string   `yaml:"class" check:"enum=debug" doc:"instead of uplink: debug, they stay on the gateway"`
}

// route returns r as package rules takes it.
func (r *Route) route() rules.Route {
	return rules.Route{Channels: r.Channels, Uplink: r.Uplink, Debug: r.Class != ""}
}

// routes adds what do says of where readings go to list.
func (do *Do) routes(list []rules.Route) []rules.Route {
	if do.Route == nil {
		return list
	}
	return append(list, do.Route.route())
}

// checkRoute checks entry do, at path, of a rule.
func (c *checker) checkRoute(path string, r *Route, known lang.Schema) {
	c.checkPatterns(path, r.Channels, known)
	switch {
	case c.Faulty(path+".uplink") || c.Faulty(path+".class"):
	case r.Uplink == "" && r.Class == "":
		c.Add(path, routeNowhere, "", "write uplink: and the name of one, or class: debug")
	case r.Uplink != "" && r.Class != "":
		c.Add(path+".class", routeBoth, strict.Show(r.Class), "write one of them: what is of class debug goes to no uplink")
	case r.Uplink != "":
		c.checkWay(path+".uplink", r.Uplink)
	}
	for i, name := range r.Channels {
		if where := c.alwaysDropped(name, known); where != "" {
			c.Add(path+".channels["+strconv.Itoa(i)+"]", routeDropped, strict.Show(name), "take one of the two out", where)
		}
	}
}

// checkWay says where no uplink has that name.
func (c *checker) checkWay(path, name string) {
	names := make([]string, 0, len(c.cfg.Uplinks))
	for i := range c.cfg.Uplinks {
		names = append(names, c.cfg.Uplinks[i].Name)
	}
	other := "no uplink is configured"
	if len(names) > 0 {
		other = "uplinks are " + Enumerate(names)
	}
	if !slices.Contains(names, name) {
		c.Add(path, routeUplink, strict.Show(name), strict.DidYouMean(name, names, other))
	}
}

// alwaysDropped returns the path of what drops all channels that pattern stands for, whatever happens; "" = nothing does.
func (c *checker) alwaysDropped(pattern string, known lang.Schema) (where string) {
	names := []string{pattern}
	if strings.Contains(pattern, "*") {
		names = names[:0]
		for name := range known.Channels {
			if filter.Match(pattern, name) {
				names = append(names, name)
			}
		}
	}
	for i := range c.cfg.Rules {
		if r := &c.cfg.Rules[i]; r.When == "" {
			for j := range r.Do {
				f, _ := r.Do[j].filter()
				left := func(name string) bool { return !f.Concerns(name) }
				if f.Do == filter.Drop && len(names) > 0 && (slices.Contains(f.Channels, pattern) || !slices.ContainsFunc(names, left)) {
					return doPath(i, j)
				}
			}
		}
	}
	return ""
}
