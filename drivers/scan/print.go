package scan

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Print writes r for people: what was found as YAML comments, and the blocks for the configuration under `devices:`, so that the whole
// can be a file.
func (r *Report) Print(w io.Writer) error {
	p := &printer{tab: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	for i := range r.Serial {
		p.port(&r.Serial[i])
	}
	for i := range r.I2C {
		p.bus(&r.I2C[i])
	}
	for _, o := range r.OneWire {
		p.line("1-Wire %s\t%s", o.ID, known(o.Part))
		p.keep(o.Block)
	}
	for _, c := range r.GPIO {
		p.chip(c)
	}
	for _, h := range r.Hints {
		p.line("%s: %s", h.What, h.Remedy)
	}
	if p.err == nil {
		p.err = p.tab.Flush()
	}
	if p.err == nil && len(p.blocks) > 0 {
		_, p.err = fmt.Fprintf(w, "devices:\n%s", indent(strings.Join(unique(p.blocks), "")))
	}
	return p.err
}

// A printer collects lines, and blocks for after them.
type printer struct {
	tab    *tabwriter.Writer
	blocks []string
	err    error // the first
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.tab, "# "+format+"\n", args...)
	}
}

func (p *printer) keep(block string) {
	if block != "" {
		p.blocks = append(p.blocks, block)
	}
}

func (p *printer) port(s *Port) {
	state := s.Heard
	switch {
	case s.Problem != "":
		state = s.Problem
	case s.Heard == "":
		state = "silent: nothing is there, or a device that waits to be asked (tidegate scan modbus asks)"
	case s.Settings != "":
		state += " at " + s.Settings
	}
	p.line("%s\t%s\t%s", s.Path, known(s.Adapter), state)
	if s.Lasting != "" {
		p.line("\t%s\tits lasting name", s.Lasting)
	}
	p.keep(s.Block)
}

func (p *printer) bus(b *I2CBus) {
	p.line("I2C bus %s\t%s\t%s", b.Bus, known(b.Adapter), b.Problem)
	for _, x := range b.Parts {
		what := strings.Join(x.Likely, " or ")
		switch {
		case x.Kernel != "":
			what = "the kernel's driver " + x.Kernel + " has it; left alone"
		case what == "":
			what = "something without a driver here"
		case !x.IsSure:
			what += "?"
		}
		p.line("  %s\t%s\t", x.Address, what)
		if x.IsSure || len(x.Likely) == 1 {
			p.keep(x.Block)
		}
	}
	for _, s := range b.Skipped {
		p.line("  %s\tleft alone: %s\t", s.Address, s.Why)
	}
}

func (p *printer) chip(c Chip) {
	p.line("%s\t%s\t%d lines", c.Name, known(c.Label), len(c.Lines))
	for _, l := range c.Lines {
		if l.Name == "" && (l.User == "" || l.User == kernel) {
			continue // it goes by its number, and there is nothing to say
		}
		state := "free"
		if l.User != "" {
			state = "used by " + l.User
		}
		if l.IsOutput {
			state += ", output"
		}
		p.line("  %s:%d\t%s\t%s", c.Name, l.Offset, known(l.Name), state)
	}
}

// kernel is the user of a line that the board uses for something else.
const kernel = "the kernel"

func known(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// unique gives the devices of blocks names of their own: the second "bme280" is "bme280_2".
func unique(blocks []string) []string {
	seen := map[string]int{}
	out := make([]string, len(blocks))
	for i, b := range blocks {
		head, rest, _ := strings.Cut(b, "\n")
		if seen[head]++; seen[head] > 1 {
			head = fmt.Sprintf("%s_%d", head, seen[head])
		}
		out[i] = head + "\n" + rest
	}
	return out
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n  ") + "\n"
}
