package config

import (
	"fmt"
	"strings"

	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/rules"
	"github.com/tidegate-io/tidegate/rules/rounds"
)

// checkRounds notes rules that trigger themselves, or each other; list has their conditions.
func (c *checker) checkRounds(list []rules.Rule) {
	in := make([]rounds.Rule, len(list))
	var places [][]setting
	for i := range list {
		in[i].When = list[i].When
		places = append(places, nil)
		for j, do := range c.cfg.Rules[i].Do {
			if at := (setting{i, j}); do.Set != nil && !c.Faulty(at.path()+".channel") {
				in[i].Sets = append(in[i].Sets, rounds.Set{Channel: do.Set.Channel, Value: do.Set.Value, OnClear: do.Set.OnClear})
				places[i] = append(places[i], at)
			}
		}
	}
	own, round := rounds.Find(in)
	const hint = "look at what a device measures instead of an output"
	for _, o := range own {
		s, value, when := in[o.Rule].Sets[o.Set], "", ""
		if value = s.Value.String(); o.OnClear {
			value, when = s.OnClear.String(), " on clear"
		}
		c.Add(places[o.Rule][o.Set].path()+".channel", setsItself, strict.Show(s.Channel), hint, s.Channel, value, when)
	}
	if round == nil {
		return
	}
	names := make([]string, 0, len(round)+1)
	for _, i := range append(round, round[0]) {
		names = append(names, c.cfg.Rules[i].Name)
	}
	c.Add(fmt.Sprintf("rules[%d].when", round[0]), setsRound, "", hint, strings.Join(names, ", "))
}
