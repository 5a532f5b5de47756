package cases

import (
	"fmt"
	"io"
	"strings"
)

// Colours of a terminal.
const (
	red   = "\x1b[31m"
	green = "\x1b[32m"
	faint = "\x1b[2m"
	plain = "\x1b[0m"
)

// A printer writes text, in colour or not; the first error stays.
type printer struct {
	w       io.Writer
	colours bool
	err     error
}

func (p *printer) line(colour, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if p.colours && colour != "" {
		text = colour + text + plain
	}
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, text)
	}
}

// Write writes r for people: a line for each case, and below it, where it is not as wanted, what was wanted (-), what happened (+), and what the
// rules looked at then.
func (r *Result) Write(w io.Writer, colours bool) error {
	p := printer{w: w, colours: colours}
	good := 0
	for i := range r.Cases {
		c := &r.Cases[i]
		if c.Good {
			good++
			p.line(green, "ok    %s", c.Name)
			continue
		}
		p.line(red, "FAIL  %s (%s:%d)", c.Name, r.File, c.Line)
		p.caseLines(c)
	}
	p.line("", "%s: %d of %d cases as wanted", r.File, good, len(r.Cases))
	return p.err
}

func (p *printer) caseLines(c *Case) {
	if c.Broken != "" {
		p.line(red, "      given up: %s", c.Broken)
	}
	if differ(c.Lines) > 0 {
		p.line(faint, "      - wanted, + happened")
		p.lines(c.Lines)
	}
	if c.Restarted != nil {
		p.line(faint, "      - without a restart, + with everything stored and restored before each reading")
		p.lines(c.Restarted)
		p.line("", "      a rule that waits by time alone needs a reading after a restart: where that is what differs, write restart: false")
	}
}

func (p *printer) lines(list []Line) {
	seen := map[string]bool{} // what was looked at, by rule and time
	for i := range list {
		l := &list[i]
		at := show(l.At)
		if l.Until != l.At {
			at += " to " + show(l.Until)
		}
		colour, sign := faint, " "
		switch l.Sign {
		case "-":
			colour, sign = red, l.Sign
		case "+":
			colour, sign = green, l.Sign
		}
		p.line(colour, "      %s %-8s %s", sign, at, l.What)
		for j := range l.Rules {
			look := &l.Rules[j]
			key := look.Rule + " " + show(l.At)
			if look.When != "" && !seen[key] {
				p.look(look, show(l.At))
			}
			seen[key] = true
		}
	}
}

func (p *printer) look(l *Look, at string) {
	text := "when: " + l.When
	if l.For != "" {
		text += ", for: " + l.For
	}
	if l.Clear != "" {
		text += ", clear: " + l.Clear
	}
	p.line("", "          %s is %s at %s; %s", l.Rule, l.State, at, text)
	for i := range l.Parts {
		part := &l.Parts[i]
		more := ""
		if part.Unit != "" {
			more += " " + part.Unit
		}
		if part.Age != nil {
			more += ", read " + show(*part.Age) + " before"
			more = strings.Replace(more, "read 0s before", "just read", 1)
		}
		if part.Fault != "" {
			more += ", fault: " + part.Fault
		}
		p.line("", "            %s = %s%s", part.Text, part.Value, more)
	}
}

// show returns seconds as a length of time.
func show(s float64) string { return span(seconds(s)).String() }
