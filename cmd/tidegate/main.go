// Command tidegate is the gateway: it reads devices, buffers every reading durably, judges rules and forwards to a far side.
package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/drivers/all"
)

// version is set by the build: git describe.
var version = "dev"

// memoryLimit is the soft limit of Go's own memory. What the store maps and the rings come on top; see README.
const memoryLimit = 40 << 20

// errQuiet ends the program with status 1 without a line of its own: everything was said.
var errQuiet = errors.New("")

// exitCode is an error that ends the program with another status than 1.
type exitCode int

func (e exitCode) Error() string { return "" }

func main() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	err := root().Execute()
	var code exitCode
	switch {
	case err == nil:
	case errors.As(err, &code):
		os.Exit(int(code))
	case errors.Is(err, errQuiet) && err.Error() == "":
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, "tidegate:", indented(err.Error()))
		os.Exit(1)
	}
}

// indented returns text with all lines but the first set in, so that it is seen to be one message.
func indented(text string) string {
	return regexp.MustCompile(`\s*\n\s*`).ReplaceAllString(strings.TrimSpace(text), "\n    ")
}

// options are the flags that every command has.
type options struct {
	config string
	debug  bool
}

// root returns the command line.
func root() *cobra.Command {
	o := &options{}
	c := &cobra.Command{
		Use:           "tidegate",
		Short:         "Edge gateway that accounts for every reading",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
	}
	c.SetVersionTemplate(thisBuild().String() + "\n")
	file := os.Getenv("TIDEGATE_CONFIG")
	if file == "" {
		file = "/etc/tidegate/tidegate.yaml"
	}
	c.PersistentFlags().StringVar(&o.config, "config", file, "configuration file")
	c.PersistentFlags().BoolVar(&o.debug, "debug", false, "log more")
	c.AddCommand(runCommand(o), checkCommand(o), driversCommand(o), scanCommand(o), readCommand(o), setCommand(o), safeCommand(o), statusCommand(o),
		queueCommand(o), versionCommand(o), demoCommand(o), receiveCommand(o), manCommand())
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
	cfg, faults, err := config.Load(o.config, all.Drivers())
	for _, f := range faults {
		fmt.Fprintln(w, f)
	}
	if err != nil {
		return nil, fmt.Errorf("%w, see above", config.ErrRefused)
	}
	return cfg, nil
}
