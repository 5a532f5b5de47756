package past

import (
	"fmt"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/rules"
)

// shownBytes bounds a text that is shown.
const shownBytes = 200

// Explained says how a rule stands, for people; wall and boot are what the clock says now.
func Explained(x *rules.Stand, wall time.Time, boot time.Duration) status.RuleState {
	at := func(when time.Duration, known bool) (t status.Time) {
		if known {
			t.Time = wall.Add(when - boot)
		}
		return t
	}
	s := status.RuleState{
		Name: x.Name, State: "idle", Since: at(x.Since, x.SinceKnown), Parked: x.Parked, ForS: x.Rule.For.Seconds(),
		Parts: partsOf(x.Parts, boot-x.Now), ClearParts: partsOf(x.ClearParts, boot-x.Now), Does: []string{}, Fired: x.Fired,
		LookedAt: at(x.Now, x.Looked), Severity: string(x.Rule.Severity), NextLook: at(x.Next, x.Next > 0),
	}
	if x.Rule.When != nil {
		s.When, s.WhenSays = x.Rule.When.Text, x.When.String()
	}
	if x.Rule.Clear != nil {
		s.Clear, s.ClearSays = x.Rule.Clear.Text, x.Clear.String()
	}
	switch {
	case x.Parked != "":
		s.State = "parked"
	case x.Active:
		s.State = "active"
	case x.Pending:
		s.State = "pending"
		s.Due = at(x.Since+x.Rule.For, !x.Blind)
		s.LeftS = max(0, x.Since+x.Rule.For-boot).Seconds()
	}
	switch {
	case x.Blind:
		s.Waits = "a reading of its condition has to come first: the gateway was started anew, or a channel has failed meanwhile"
	case x.Spent:
		s.Waits = "its condition must be seen not to hold first: it has held since the rule was ended"
	}
	s.Does = append(s.Does, does(x, wall, boot)...)
	return s
}

// does says what a rule does, in words.
func does(x *rules.Stand, wall time.Time, boot time.Duration) (out []string) {
	if x.Rule.Severity != "" {
		out = append(out, fmt.Sprintf("alarm %s: %s", x.Rule.Severity, x.Rule.Text))
	}
	for _, o := range x.Rule.Outputs {
		out = append(out, fmt.Sprintf("set %s.%s to %s", o.Device, o.Channel, o.Value))
		if end := o.OnClear.String(); end != "" {
			out[len(out)-1] += ", and to " + end + " when it ends"
		}
	}
	for _, i := range x.Rule.Intervals {
		out = append(out, fmt.Sprintf("read %s every %v", i.Device, i.Every))
	}
	for _, d := range x.Rule.Derives {
		out = append(out, fmt.Sprintf("derive %s as %s", d.Name(), d.Value.Text))
	}
	for i := range x.Rule.Filters {
		out = append(out, x.Rule.Filters[i].String())
	}
	for i := range x.Rule.Routes {
		out = append(out, x.Rule.Routes[i].String())
	}
	for i := range x.Rule.Labels {
		out = append(out, x.Rule.Labels[i].String())
	}
	out = append(out, snapshots(x, wall, boot)...)
	out = append(out, x.Rule.Intake...)
	return out
}

// partsOf says what the parts of a condition are, as they were ago.
func partsOf(list []rules.Part, ago time.Duration) []status.RulePart {
	out := []status.RulePart{}
	for _, p := range list {
		x := status.RulePart{Text: p.Text, Unit: p.Unit, Fault: p.Fault}
		if p.Value.Kind() != tidegate.KindNone {
			text := p.Value.String()
			if len(text) > shownBytes {
				text = strings.ToValidUTF8(text[:shownBytes], "") + "..."
			}
			x.Value = &text
		}
		if p.Since >= 0 {
			age := (p.Since + ago).Seconds()
			x.AgeS = &age
		}
		out = append(out, x)
	}
	return out
}
