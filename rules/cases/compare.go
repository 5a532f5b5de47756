package cases

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules"
)

// expected is an event that is wanted at any time from its own to until.
type expected struct {
	event
	until time.Duration
}

// expected returns what w wants, one by one. list are the rules.
func (w *written) expected(list []rules.Rule) (out []expected) {
	for i := range w.Want {
		one := &w.Want[i]
		e := expected{event: event{at: time.Duration(one.At)}, until: time.Duration(one.At)}
		if one.Until != nil {
			e.until = time.Duration(*one.Until)
		}
		if one.Raised != "" {
			e.what, e.rules = "raised "+one.Raised, []string{one.Raised}
			out = append(out, e)
		}
		if one.Cleared != "" {
			e.what, e.rules = "cleared "+one.Cleared, []string{one.Cleared}
			out = append(out, e)
		}
		for _, name := range slices.Sorted(maps.Keys(one.Set)) {
			e.what, e.value, e.rules = "set "+name, one.Set[name], nil
			for _, r := range list {
				for _, o := range r.Outputs {
					if o.Device+"."+o.Channel == name && !slices.Contains(e.rules, r.Name) {
						e.rules = append(e.rules, r.Name)
					}
				}
			}
			out = append(out, e)
		}
		for _, device := range slices.Sorted(maps.Keys(one.Interval)) {
			out = append(out, expected{event: newPace(e.at, device, one.Interval[device], list), until: e.until})
		}
		out = append(out, one.given(e, list)...)
	}
	return out
}

// match puts what is wanted beside what happened. An event is taken for the first that it can be of those that are wanted and end earliest.
func match(wanted []expected, happened []event) []Line {
	slices.SortStableFunc(wanted, func(a, b expected) int { return cmp.Or(cmp.Compare(a.until, b.until), cmp.Compare(a.at, b.at)) })
	met := make([]bool, len(wanted))
	var out []Line
	for i := range happened {
		e := &happened[i]
		line := newLine(e, e.at, "+")
		for j := range wanted {
			w := &wanted[j]
			if !met[j] && w.what == e.what && equal(w.value, e.value) && e.at >= w.at && e.at <= w.until {
				met[j], line.Sign, line.Rules = true, "", nil
				break
			}
		}
		out = append(out, line)
	}
	for j := range wanted {
		if !met[j] {
			out = append(out, newLine(&wanted[j].event, wanted[j].until, "-"))
		}
	}
	rank := func(l *Line) int {
		if l.Sign == "-" {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(out, func(a, b Line) int { return cmp.Or(cmp.Compare(a.At, b.At), rank(&a)-rank(&b)) })
	return out
}

func newLine(e *event, until time.Duration, sign string) Line {
	l := Line{At: e.at.Seconds(), Until: until.Seconds(), Sign: sign, What: e.text()}
	for _, name := range e.rules {
		l.Rules = append(l.Rules, Look{Rule: name})
	}
	return l
}

// equal reports whether a and b are the same value, whatever the kind of a number.
func equal(a, b tidegate.Value) bool {
	x, isX := a.Number()
	y, isY := b.Number()
	if isX && isY && (a.Kind() == tidegate.KindBool) == (b.Kind() == tidegate.KindBool) {
		return x == y
	}
	return a.Equal(b)
}

// differ returns how many of lines are not as wanted.
func differ(lines []Line) (n int) {
	for i := range lines {
		if lines[i].Sign != "" {
			n++
		}
	}
	return n
}
