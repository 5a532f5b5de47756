package rules

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/filter"
)

// A Label is what readings of some channels carry besides while its rule is active.
type Label struct {
	Channels []string // "device.channel"; * stands for any characters
	Labels   tidegate.Labels
}

// Concerns reports whether l has to do with the channel called name.
func (l *Label) Concerns(name string) bool { return filter.MatchAny(l.Channels, name) }

// String says what l does, for people.
func (l *Label) String() string {
	return "label " + strings.Join(l.Channels, ", ") + " with " + l.Labels.String()
}

// Check says what is wrong with l.
func (l *Label) Check() error {
	switch {
	case len(l.Channels) == 0:
		return errors.New("label names no channel")
	case len(l.Labels) == 0:
		return errors.New("label has no labels")
	}
	return l.Labels.Check()
}

// checkNames says where all rules together have more names of labels than a record can carry.
func checkNames(list []Rule) error {
	names := tidegate.Labels{}
	for i := range list {
		for j := range list[i].Labels {
			maps.Copy(names, list[i].Labels[j].Labels)
		}
	}
	if len(names) > tidegate.MaxLabels {
		return fmt.Errorf("rules have labels of %d names, at most %d can be told apart", len(names), tidegate.MaxLabels)
	}
	return nil
}

// labeller is a Label of a rule that runs.
type labeller struct {
	Label
	rule *rule
}

// tags are the labellers of a channel, in the order of the file, and what they said last.
type tags struct {
	list []*labeller
	on   []bool // whether their rules were active then
	text string
}

// labels returns what active rules say: of one name what the first says.
func (t *tags) labels() string {
	if len(t.list) == 0 {
		return ""
	}
	same := t.on != nil
	if !same {
		t.on = make([]bool, len(t.list))
	}
	for i, l := range t.list {
		if is := l.rule.isOn(); is != t.on[i] {
			t.on[i], same = is, false
		}
	}
	if same {
		return t.text
	}
	all := tidegate.Labels{}
	for i, l := range slices.Backward(t.list) {
		if t.on[i] {
			maps.Copy(all, l.Labels)
		}
	}
	t.text = all.String()
	return t.text
}
