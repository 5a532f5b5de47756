package gpio

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

const (
	maxLines   = 32   // what is kept of them fits into drivers.MemoryMost
	maxChanges = 1000 // readings a second of one line
	maxEdges   = 100_000
	maxTotal   = 1e15 // beyond it a double no longer holds every tenth
)

// Validate returns what is wrong with c.
func (c *Config) Validate() []drivers.FieldError {
	var errs []drivers.FieldError
	if c.Report < 10*time.Millisecond || c.Report > 24*time.Hour {
		errs = append(errs, drivers.FieldError{Field: "report", Got: c.Report.String(), Problem: "is out of range", Hint: "10ms to 24h"})
	}
	if n := len(c.Lines); n < 1 || n > maxLines {
		errs = append(errs, drivers.FieldError{
			Field: "lines", Got: strconv.Itoa(n) + " lines", Problem: "is not 1 to " + strconv.Itoa(maxLines),
			Hint: "make further devices of the same driver for more lines",
		})
	}
	channels, lines := map[string]int{}, map[string]int{}
	for i := range c.Lines[:min(len(c.Lines), maxLines)] {
		l, field := &c.Lines[i], fmt.Sprintf("lines[%d]", i)
		errs = append(errs, l.checkNames(field)...)
		for _, n := range []struct {
			key, name string
			seen      map[string]int
		}{{"channel", l.Channel, channels}, {"line", l.Line, lines}} {
			if first, ok := n.seen[n.name]; ok && n.name != "" {
				errs = append(errs, drivers.FieldError{
					Field: field + "." + n.key, Got: strconv.Quote(n.name), Problem: fmt.Sprintf("is that of lines[%d] already", first),
				})
			} else {
				n.seen[n.name] = i
			}
		}
		bad := drivers.OneOf(field+".mode", l.Mode, modeInput, modeEdge, modeCounter, modeFrequency, modeOutput)
		if errs = append(errs, bad...); len(bad) == 0 {
			errs = append(errs, l.checkUse(field)...)
		}
		errs = append(errs, l.checkWords(field)...)
		errs = append(errs, l.checkNumbers(field)...)
	}
	return errs
}

func (l *Line) checkNames(field string) []drivers.FieldError {
	var errs []drivers.FieldError
	if err := tidegate.CheckName(l.Channel); err != nil {
		errs = append(errs, drivers.FieldError{Field: field + ".channel", Got: shown(l.Channel), Problem: err.Error()})
	}
	chip, number, hasChip := l.Line, "", false
	if i := strings.LastIndexByte(l.Line, ':'); i >= 0 {
		chip, number, hasChip = l.Line[:i], l.Line[i+1:], true
	}
	n, err := strconv.Atoi(number)
	switch hint := "a name as gpioinfo shows it, for instance GPIO17, or chip:line, for instance gpiochip2:5"; {
	case l.Line == "":
		errs = append(errs, drivers.FieldError{Field: field + ".line", Problem: "is missing", Hint: hint})
	case len(l.Line) > 100 || strings.ContainsFunc(l.Line, func(r rune) bool { return r <= ' ' || r > '~' }),
		hasChip && (chip == "" || err != nil || n < 0):
		errs = append(errs, drivers.FieldError{Field: field + ".line", Got: shown(l.Line), Problem: "is no line", Hint: hint})
	}
	if strings.ContainsAny(l.Meaning, "\r\n") {
		errs = append(errs, drivers.FieldError{Field: field + ".meaning", Got: shown(l.Meaning), Problem: "is more than one line"})
	}
	return errs
}

// checkUse looks for settings that the line's mode does not have: who sets them expects something of them.
func (l *Line) checkUse(field string) []drivers.FieldError {
	var errs []drivers.FieldError
	counted := []string{modeCounter, modeFrequency}
	edged := append([]string{modeEdge}, counted...)
	for _, s := range []struct {
		key   string
		isSet bool
		modes []string
	}{
		{"pull", l.Pull != "", append([]string{modeInput}, edged...)},
		{"edge", l.Edge != "", edged},
		{"debounce", l.Debounce != 0, edged},
		{"most", l.Most != 0, edged},
		{"per_unit", l.PerUnit != 0, counted},
		{"unit", l.Unit != "", counted},
		{"start", l.Start != 0, []string{modeCounter}},
		{"stop", l.Stop != 0, []string{modeFrequency}},
		{"safe", l.Safe != "", []string{modeOutput}},
		{"pause", l.Pause != 0, []string{modeOutput}},
	} {
		if s.isSet && !slices.Contains(s.modes, l.Mode) {
			errs = append(errs, drivers.FieldError{
				Field: field + "." + s.key, Problem: "is of no use with mode " + l.Mode,
				Hint: "leave it out; it is for " + strings.Join(s.modes, ", "),
			})
		}
	}
	if l.Mode == modeFrequency && l.Edge == both {
		errs = append(errs, drivers.FieldError{Field: field + ".edge", Got: both, Problem: "counts each pulse of a frequency twice", Hint: "rising or falling"})
	}
	return errs
}

func (l *Line) checkWords(field string) []drivers.FieldError {
	return slices.Concat(
		drivers.OneOf(field+".pull", short(l.Pull), "", "up", "down", "none"),
		drivers.OneOf(field+".edge", short(l.Edge), "", rising, falling, both),
		drivers.OneOf(field+".safe", short(l.Safe), "", "on", "off"),
	)
}

func (l *Line) checkNumbers(field string) []drivers.FieldError {
	var errs []drivers.FieldError
	bad := func(key, got, want string) {
		errs = append(errs, drivers.FieldError{Field: field + "." + key, Got: got, Problem: "is out of range", Hint: want})
	}
	if l.Debounce != 0 && (l.Debounce < time.Microsecond || l.Debounce > 10*time.Second) {
		bad("debounce", l.Debounce.String(), "1us to 10s, or 0 for none")
	}
	if l.Stop != 0 && (l.Stop < 10*time.Millisecond || l.Stop > time.Hour) {
		bad("stop", l.Stop.String(), "10ms to 1h, or 0 for 10s")
	}
	if l.Pause < 0 || l.Pause > time.Hour {
		bad("pause", l.Pause.String(), "0 to 1h")
	}
	most := maxEdges
	if l.Mode == modeEdge {
		most = maxChanges
	}
	if l.Most < 0 || l.Most > most {
		bad("most", strconv.Itoa(l.Most), fmt.Sprintf("1 to %d with mode %s, or 0 for %d", most, l.Mode, (&Line{Mode: l.Mode}).most()))
	}
	if l.PerUnit != 0 && !(l.PerUnit >= 1e-9 && l.PerUnit <= 1e9) {
		bad("per_unit", strconv.FormatFloat(l.PerUnit, 'g', -1, 64), "1e-9 to 1e9, or 0 to count pulses")
	}
	switch got := strconv.FormatFloat(l.Start, 'g', -1, 64); {
	case !(l.Start >= 0 && l.Start <= maxTotal):
		bad("start", got, "0 to 1e15")
	case l.PerUnit == 0 && l.Start != math.Trunc(l.Start):
		errs = append(errs, drivers.FieldError{Field: field + ".start", Got: got, Problem: "is no whole number of pulses", Hint: "set per_unit, or leave the fraction out"})
	}
	return errs
}

// shown returns s as it is shown in a fault.
func shown(s string) string { return strconv.Quote(short(s)) }

// short returns s, cut where it is longer than anything that can be meant.
func short(s string) string {
	if len(s) > 100 {
		return s[:100] + "..."
	}
	return s
}
