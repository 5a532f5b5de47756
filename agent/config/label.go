package config

import (
	"maps"
	"slices"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/rules/lang"
)

// Label has readings carry labels.
type Label struct {
	Channels []string        `yaml:"channels" check:"required" doc:"device.channel of each; * stands for any characters"`
	Labels   tidegate.Labels `yaml:"labels" check:"required" doc:"texts by name, for instance {batch: 4711}, each at most 256 bytes"`
}

// checkLabel checks entry do, at path, of a rule.
func (c *checker) checkLabel(path string, l *Label, known lang.Schema) {
	c.checkPatterns(path, l.Channels, known)
	if len(l.Labels) == 0 && !c.Faulty(path+".labels") {
		c.Add(path+".labels", noLabels, "", "write labels: {batch: 4711}")
	}
	c.checkLabels(path+".labels", l.Labels)
	for _, name := range slices.Sorted(maps.Keys(l.Labels)) {
		at := path + ".labels." + name
		if l.Labels[name] == "" && !c.Faulty(at) {
			c.Add(at, emptyLabel, "", "write a text, or leave the label out")
		}
		if name == tidegate.SummaryLabel {
			c.Add(at, gatewaysLabel, name, "choose another name")
		}
		if known := c.labels[name]; !known {
			if c.labels[name] = true; len(c.labels) == tidegate.MaxLabels+1 {
				c.Add(at, manyLabels, name, "have rules share names", tidegate.MaxLabels)
			}
		}
	}
}

// checkLabels checks names and texts of labels.
func (c *checker) checkLabels(path string, labels map[string]string) {
	for name, text := range labels {
		at := path + "." + name
		if err := tidegate.CheckName(name); err != nil {
			c.Add(at, badLabel, "", "use letters, digits, dot, dash and underscore", err)
		}
		if len(text) > tidegate.MaxLabel {
			c.Add(at, longLabel, strict.Show(text), "labels are short; put the rest where the gateways are listed", tidegate.MaxLabel)
		}
	}
}
