// Package cli is the gateway's command line: all of the program but its list of drivers. Command tidegate is this package with the list in
// drivers/all; a program with a list of its own is another main of a few lines (drivers/README.md, "Your own program, out of tree").
package cli

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/drivers"
)

// memoryLimit is the soft limit of Go's own memory. What the store maps and the rings come on top: BENCHMARKS.md has both.
const memoryLimit = 36 << 20

// errQuiet ends the program with status 1 without a line of its own: everything was said.
var errQuiet = errors.New("")

// exitCode is an error that ends the program with another status than 1.
type exitCode int

func (e exitCode) Error() string { return "" }

// Main runs the command line in os.Args and returns the exit status of the program, with which main should call os.Exit. list is what the
// program can read: the driver of each device in the configuration is one of these, and `drivers` lists them in this order. Unless
// GOMEMLIMIT is set, Go's own memory is limited to 36 MiB, softly.
//
// The program calls itself tidegate, whatever its file is called: so do unit, manual and hints. Exit status: 0 all is well, 1 an error, which is
// said on standard error; a few commands have more, see their help.
func Main(list []drivers.Driver, b Build) int {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	err := checkList(list)
	if err == nil {
		err = root(&options{drivers: list, build: b}).Execute()
	}
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, errQuiet) && err.Error() == "":
	default:
		fmt.Fprintln(os.Stderr, "tidegate:", indented(err.Error()))
	}
	return 1
}

// checkList returns what is wrong with a program's list of drivers, for whoever has built it.
func checkList(list []drivers.Driver) error {
	if len(list) == 0 {
		return errors.New("this program was built without drivers, so it can read nothing; give cli.Main a list of them")
	}
	for i, d := range list {
		switch {
		case d.Name == "" || d.New == nil:
			return fmt.Errorf("driver %d of the list that this program was built with has no name or no New (got %q); give cli.Main drivers that are "+
				"complete, see drivers/README.md", i+1, d.Name)
		case slices.ContainsFunc(list[:i], func(x drivers.Driver) bool { return x.Name == d.Name }):
			return fmt.Errorf("driver %q stands twice in the list that this program was built with; leave one out, or give yours another name", d.Name)
		}
	}
	return nil
}

// indented returns text with all lines but the first set in, so that it is seen to be one message.
func indented(text string) string {
	return regexp.MustCompile(`\s*\n\s*`).ReplaceAllString(strings.TrimSpace(text), "\n    ")
}

// options are what every command has: what the program was built with, and flags.
type options struct {
	drivers []drivers.Driver
	build   Build
	config  string
	debug   bool
}

// root returns the command line.
func root(o *options) *cobra.Command {
	c := &cobra.Command{
		Use:           "tidegate",
		Short:         "Edge gateway that accounts for every reading",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       o.build.Version,
	}
	c.SetVersionTemplate(o.thisBuild().String() + "\n")
	file := os.Getenv("TIDEGATE_CONFIG")
	if file == "" {
		file = "/etc/tidegate/tidegate.yaml"
	}
	c.PersistentFlags().StringVar(&o.config, "config", file, "configuration file")
	c.PersistentFlags().BoolVar(&o.debug, "debug", false, "log more")
	c.AddCommand(runCommand(o), checkCommand(o), devicesCommand(o), driversCommand(o), scanCommand(o), readCommand(o), setCommand(o), safeCommand(o), statusCommand(o),
		queueCommand(o), rulesCommand(o), updateCommand(o), versionCommand(o), demoCommand(o), receiveCommand(o), manCommand(o))
	return c
}

// log returns the log of a command: text on standard error, for journald without a time (it has its own).
func (o *options) log() *slog.Logger { return logTo(os.Stderr, o.debug) }

func logTo(w io.Writer, more bool) *slog.Logger {
	level := slog.LevelInfo
	if more {
		level = slog.LevelDebug
	}
	h := &slog.HandlerOptions{Level: level}
	if os.Getenv("JOURNAL_STREAM") != "" {
		h.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
	}
	return slog.New(slog.NewTextHandler(w, h))
}

// load reads the configuration and says all that is wrong with it on w.
func (o *options) load(w io.Writer) (*config.Config, error) {
	cfg, faults, err := config.Load(o.config, o.drivers)
	for _, f := range faults {
		fmt.Fprintln(w, f)
	}
	if err != nil {
		return nil, fmt.Errorf("%w, see above", config.ErrRefused)
	}
	return cfg, nil
}
