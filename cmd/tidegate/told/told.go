// Package told says in words what a gateway answers about itself and its rules.
package told

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/agent/status"
)

// few is how many firings of a rule are shown.
const few = 20

// Replay writes what rules would have done beside what the armed ones did.
func Replay(w io.Writer, r *status.Replay) error {
	p := &printer{w: w}
	if r.Records == 0 {
		p.line("no reading is stored yet: there is nothing to replay")
		return p.err
	}
	p.line("replayed %d readings in %d records, %s to %s, %d starts of the gateway or its rules between; firings since %s", r.Readings, r.Records,
		clock(r.From.Time), clock(r.To.Time), r.Starts, clock(r.Since))
	for _, n := range r.Notes {
		p.line("not exact: %s", n)
	}
	for i := range r.Rules {
		rule := &r.Rules[i]
		p.line("%s would have fired %s, the armed rule fired %s%s", rule.Name, times(rule.Would), times(rule.Armed), sameness(rule))
		if rule.Note != "" {
			p.line("  %s", rule.Note)
		}
		for i := range rule.Firings {
			if i == few {
				break
			}
			p.line("  %s", firing(&rule.Firings[i]))
		}
		rest := len(rule.Firings) - min(few, len(rule.Firings))
		if n := uint64(rest) + rule.More; n > 0 {
			p.line("  and %d more (--json has %d of them)", n, rest)
		}
	}
	return p.err
}

func sameness(r *status.RuleReplay) string {
	switch {
	case r.Would == 0 && r.Armed == 0:
		return ""
	case r.Same:
		return ": the same alarms at the same times"
	}
	return ""
}

// firing says when a rule was active, and which.
func firing(f *status.Firing) string {
	var b strings.Builder
	switch {
	case f.Would && f.Armed:
		b.WriteString("both   ")
	case f.Would:
		b.WriteString("would  ")
	default:
		b.WriteString("armed  ")
	}
	switch {
	case f.From.IsZero():
		fmt.Fprintf(&b, "before, until %s", clock(f.To.Time))
	case f.To.IsZero():
		fmt.Fprintf(&b, "%s, not ended", clock(f.From.Time))
	default:
		fmt.Fprintf(&b, "%s for %s", clock(f.From.Time), span(f.To.Sub(f.From.Time)))
	}
	if f.Channel != "" && f.Value != "" {
		fmt.Fprintf(&b, ", %s was %s", f.Channel, short(f.Value))
	}
	if f.Record != 0 {
		fmt.Fprintf(&b, " (record %d)", f.Record)
	}
	return b.String()
}

// Rule writes how a rule stands, and why; now is when that was asked.
func Rule(w io.Writer, r *status.RuleState, now time.Time) error {
	p := &printer{w: w}
	p.line("%s is %s", r.Name, stands(r, now))
	if r.When == "" { // there is nothing to explain
		p.does(r)
		return p.err
	}
	if r.Waits != "" {
		p.line("  but %s", r.Waits)
	}
	p.line("  it becomes active when %s%s", r.When, length(r.ForS))
	p.line("    now: %s", r.WhenSays)
	p.parts(r.Parts)
	if r.Clear == "" {
		p.line("  it ends when that no longer holds")
	} else {
		p.line("  it ends when %s", r.Clear)
		p.line("    now: %s", r.ClearSays)
		p.parts(r.ClearParts)
	}
	p.does(r)
	p.line("  it became active %s so far", times(r.Fired))
	if r.LookedAt.IsZero() {
		p.line("  nothing that it watches was read since the gateway started")
	}
	return p.err
}

func (p *printer) does(r *status.RuleState) {
	for _, d := range r.Does {
		p.line("  then: %s", d)
	}
}

// stands says how r stands and for how long.
func stands(r *status.RuleState, now time.Time) string {
	since := ""
	if !r.Since.IsZero() {
		since = fmt.Sprintf(" since %s (%s)", clock(r.Since.Time), span(now.Sub(r.Since.Time)))
	}
	switch r.State {
	case "parked":
		return "parked, and not judged any more until the gateway is started again: it " + r.Parked
	case "active":
		if r.When == "" {
			return "always active"
		}
		if since == "" {
			since = " since before the gateway was started"
		}
		return "active" + since
	case "pending":
		left := ""
		if !r.Due.IsZero() {
			left = fmt.Sprintf("; it becomes active in %s unless that ends", span(time.Duration(r.LeftS*float64(time.Second))))
		}
		return "pending: its condition holds" + since + left
	}
	return "idle"
}

func length(s float64) string {
	if s == 0 {
		return ""
	}
	return " for " + span(time.Duration(s*float64(time.Second)))
}

func (p *printer) parts(list []status.RulePart) {
	for i := range list {
		x := &list[i]
		value := "not known"
		if x.Value != nil {
			value = strings.TrimSpace(short(*x.Value) + " " + x.Unit)
		}
		if x.AgeS != nil {
			value += ", read " + span(time.Duration(*x.AgeS*float64(time.Second))) + " ago"
		}
		if x.Fault != "" {
			value += "; its newest reading is a fault: " + strconv.Quote(x.Fault)
		}
		p.line("    %s is %s", x.Text, value)
	}
}

// printer writes lines until the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, a ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", a...)
	}
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// short returns value with seven digits where it is a number with more behind the point; whole numbers and texts as they are.
func short(value string) string {
	f, err := strconv.ParseFloat(value, 64)
	abs := math.Abs(f)
	switch {
	case err != nil || !strings.ContainsAny(value, ".eE") || len(value) < 9 && !strings.Contains(value, "e"):
		return value
	case abs >= 1e6 && abs < 1e15:
		return strconv.FormatFloat(f, 'f', 0, 64)
	}
	return strconv.FormatFloat(f, 'g', 7, 64)
}

func clock(t time.Time) string { return t.Local().Format(time.DateTime) }

// span says d to a tenth of a second where it is short, else to the second.
func span(d time.Duration) string {
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
