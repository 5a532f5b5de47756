package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func manCommand() *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Hidden: true, Args: cobra.ExactArgs(1),
		Short: "Write the man pages into a directory",
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("write man pages: %w", err)
			}
			return writeMan(args[0], c.Root())
		},
	}
}

// writeMan writes the pages of c and all commands below it, but for hidden ones.
func writeMan(dir string, c *cobra.Command) error {
	if c.Hidden || c.Name() == "help" {
		return nil
	}
	if err := os.WriteFile(filepath.Join(dir, manName(c)+".1"), []byte(manPage(c)), 0o644); err != nil {
		return fmt.Errorf("write man pages: %w", err)
	}
	for _, x := range c.Commands() {
		if err := writeMan(dir, x); err != nil {
			return err
		}
	}
	return nil
}

func manName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// manPage returns the page of one command (man(7)).
func manPage(c *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"Tidegate %s\" \"Tidegate manual\"\n", strings.ToUpper(roff(manName(c))), roff(version))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(manName(c)), roff(c.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(c.UseLine()))
	text := c.Long
	if text == "" {
		text = c.Short + "."
	}
	fmt.Fprintf(&b, ".SH DESCRIPTION\n%s\n", roff(text))
	if below := visible(c); len(below) > 0 {
		b.WriteString(".SH COMMANDS\n")
		for _, x := range below {
			fmt.Fprintf(&b, ".TP\n.BR %s (1)\n%s\n", roff(manName(x)), roff(x.Short))
		}
	}
	b.WriteString(".SH OPTIONS\n")
	c.InitDefaultHelpFlag()
	for _, set := range []*pflag.FlagSet{c.NonInheritedFlags(), c.InheritedFlags()} {
		set.VisitAll(func(f *pflag.Flag) { b.WriteString(manFlag(f)) })
	}
	if c.Example != "" {
		fmt.Fprintf(&b, ".SH EXAMPLES\n.nf\n%s\n.fi\n", roff(c.Example))
	}
	if p := c.Parent(); p != nil {
		fmt.Fprintf(&b, ".SH SEE ALSO\n.BR %s (1)\n", roff(manName(p)))
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

func manFlag(f *pflag.Flag) string {
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
