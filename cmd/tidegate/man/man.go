// Package man writes the manual pages of a program's commands.
package man

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Write writes the pages of c and all commands below it, but for hidden ones, into dir. version is the program's.
func Write(dir string, c *cobra.Command, version string) error {
	if c.Hidden || c.Name() == "help" {
		return nil
	}
	if err := os.WriteFile(filepath.Join(dir, fileName(c)+".1"), []byte(page(c, version)), 0o644); err != nil {
		return fmt.Errorf("write man pages: %w", err)
	}
	for _, x := range c.Commands() {
		if err := Write(dir, x, version); err != nil {
			return err
		}
	}
	return nil
}

func fileName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// page returns the page of one command (man(7)).
func page(c *cobra.Command, version string) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"Tidegate %s\" \"Tidegate manual\"\n", strings.ToUpper(roff(fileName(c))), roff(version))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(fileName(c)), roff(c.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(c.UseLine()))
	text := c.Long
	if text == "" {
		text = c.Short + "."
	}
	fmt.Fprintf(&b, ".SH DESCRIPTION\n%s\n", roff(text))
	if below := visible(c); len(below) > 0 {
		b.WriteString(".SH COMMANDS\n")
		for _, x := range below {
			fmt.Fprintf(&b, ".TP\n.BR %s (1)\n%s\n", roff(fileName(x)), roff(x.Short))
		}
	}
	b.WriteString(".SH OPTIONS\n")
	c.InitDefaultHelpFlag()
	for _, set := range []*pflag.FlagSet{c.NonInheritedFlags(), c.InheritedFlags()} {
		set.VisitAll(func(f *pflag.Flag) { b.WriteString(flag(f)) })
	}
	if c.Example != "" {
		fmt.Fprintf(&b, ".SH EXAMPLES\n.nf\n%s\n.fi\n", roff(c.Example))
	}
	if p := c.Parent(); p != nil {
		fmt.Fprintf(&b, ".SH SEE ALSO\n.BR %s (1)\n", roff(fileName(p)))
	}
	return b.String()
}

// visible returns the commands below c that people use.
func visible(c *cobra.Command) (list []*cobra.Command) {
	for _, x := range c.Commands() {
		if x.IsAvailableCommand() && !x.Hidden {
			list = append(list, x)
		}
	}
	return list
}

func flag(f *pflag.Flag) string {
	if f.Hidden {
		return ""
	}
	kind, usage := pflag.UnquoteUsage(f)
	name := "--" + f.Name
	if f.Shorthand != "" {
		name = "-" + f.Shorthand + ", " + name
	}
	s := ".TP\n\\fB" + roff(name) + "\\fR"
	if kind != "" {
		s += " \\fI" + roff(kind) + "\\fR"
	}
	s += "\n" + roff(usage)
	if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0s" {
		s += " (default " + roff(f.DefValue) + ")"
	}
	return s + "\n"
}

// roff escapes text for a man page; empty lines part paragraphs.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		switch {
		case l == "":
			lines[i] = ".PP"
		case l[0] == '.' || l[0] == '\'':
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}
