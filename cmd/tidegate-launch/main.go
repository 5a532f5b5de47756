// Command tidegate-launch starts the gateway's program: the newest that has proved itself, or a new one on trial, and the package's own when
// there is nothing better. It belongs to the package and is never updated from afar.
//
//	tidegate-launch run [--state DIR] [--lib DIR] [--beside] -- ARGUMENTS...
//	tidegate-launch expire [--state DIR] [--lib DIR]
//	tidegate-launch status [--state DIR] [--lib DIR]
//
// The program is told by TIDEGATE_LIB and TIDEGATE_STATE in its environment what --lib and --state are: it looks after releases only where it was
// started by the launcher, from the state directory that it keeps its own in.
//
// run becomes the program and so returns only where nothing can be started, with status 1. It says in one line what it starts and why. expire
// ends a trial whose time is over, and its program; a systemd timer runs it. Its status is 1 where it could not.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/ota/slots"
)

const usage = `usage: tidegate-launch run [--state DIR] [--lib DIR] [--beside] -- ARGUMENTS...
       tidegate-launch expire [--state DIR] [--lib DIR]
       tidegate-launch status [--state DIR] [--lib DIR]`

func main() { os.Exit(command(os.Args[1:], os.Stdout, os.Stderr)) }

// options are what the command line says.
type options struct {
	state, lib string
	beside     bool
	args       []string // of the program
}

// command runs one command and returns the exit status.
func command(argv []string, out, log io.Writer) int {
	if len(argv) == 0 {
		fmt.Fprintln(log, usage)
		return 2
	}
	var o options
	f := flag.NewFlagSet("tidegate-launch "+argv[0], flag.ContinueOnError)
	f.SetOutput(log)
	f.StringVar(&o.state, "state", "/var/lib/tidegate", "state directory of the gateway")
	f.StringVar(&o.lib, "lib", "/usr/lib/tidegate", "directory of the package's own program")
	f.BoolVar(&o.beside, "beside", false, "for a command beside the gateway: count and change nothing")
	err := f.Parse(argv[1:])
	o.args = f.Args()
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 2
	case argv[0] == "run":
		if err != nil { // no reason to start nothing
			fmt.Fprintf(log, "tidegate-launch: %v; going on\n", err)
			o.args = o.args[slices.Index(o.args, "--")+1:]
		}
		return run(o, log)
	case err != nil || f.NArg() > 0:
	case argv[0] == "expire":
		return expire(o, out, log)
	case argv[0] == "status":
		return status(o, out, log)
	}
	fmt.Fprintln(log, usage)
	return 2
}

// open opens the slots; what is wrong with them is said and holds up nothing.
func open(o options, log io.Writer) *slots.Slots {
	builtin, err := slots.ReadBuiltin(o.lib)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		fmt.Fprintf(log, "tidegate-launch: the package's own program counts as the oldest: %v\n", err)
	}
	s, err := slots.Open(filepath.Join(o.state, "ota"), builtin)
	if err != nil {
		fmt.Fprintf(log, "tidegate-launch: %v\n", err)
	}
	return s
}

// run starts the best program that there is.
func run(o options, log io.Writer) int {
	// Three slots, each of which the kernel may refuse.
	var tried []slots.Slot
	for range 3 {
		c, fail := choose(o, log, tried)
		fmt.Fprintf(log, "tidegate-launch: starting %s\n", describe(c))
		err := c.Start(o.args, append(os.Environ(), "TIDEGATE_LIB="+o.lib, "TIDEGATE_STATE="+o.state))
		fmt.Fprintf(log, "tidegate-launch: %v\n", err)
		if err := fail(); err != nil {
			fmt.Fprintf(log, "tidegate-launch: %v\n", err)
		}
		if c.Slot == slots.Zero {
			break
		}
		tried = append(tried, c.Slot)
	}
	return 1
}

// choose chooses the program, and says what to do where the kernel refuses it. A mistake of ours ends at slot 0.
func choose(o options, log io.Writer, tried []slots.Slot) (c slots.Choice, fail func() error) {
	fail = func() error { return nil }
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(log, "tidegate-launch: panic: %v\n", p)
			c = slots.Choice{Slot: slots.Zero, Path: filepath.Join(o.lib, "tidegate"), Safe: true}
		}
	}()
	s := open(o, log)
	if o.beside {
		return s.Beside(tried...), fail
	}
	if c = s.Launch(tried...); c.Trial {
		fail = func() error { return s.Fail(slots.NoExec) }
	}
	return c, fail
}

// describe says in one line what is started, and why.
func describe(c slots.Choice) string {
	text := fmt.Sprintf("%s, slot %s, release %d", c.Path, c.Slot, c.Counter)
	if c.Version != "" {
		text += " (" + c.Version + ")"
	}
	if c.Trial {
		text += fmt.Sprintf(", on trial, start %d of %d", c.Attempt, slots.Attempts)
	}
	if c.Safe {
		text += ", in safe mode"
	}
	if c.Why != "" {
		text += ": " + c.Why
	}
	return text
}

// expire ends a trial whose time is over.
func expire(o options, out, log io.Writer) int {
	done, err := open(o, log).Expire(context.Background())
	if done != "" {
		fmt.Fprintf(out, "tidegate-launch: %s\n", done)
	}
	if err != nil {
		fmt.Fprintf(log, "tidegate-launch: expire: %v\n", err)
		return 1
	}
	return 0
}

// status prints what there is.
func status(o options, out, log io.Writer) int {
	s := open(o, log)
	st, next := s.State(), s.Beside()
	fmt.Fprintf(out, "next: slot %s, release %d %s\n", next.Slot, next.Counter, next.Version)
	fmt.Fprintf(out, "current: %s\nslot 0: release %d %s\n", st.Current, st.Builtin.Counter, st.Builtin.Version)
	for _, c := range st.Slots {
		fmt.Fprintf(out, "slot %s: release %d %s %s\n", c.Slot, c.Counter, c.Version, c.State)
	}
	if t := st.Trial; t.Phase != "" {
		fmt.Fprintf(out, "trial: release %d in slot %s: %s %s, %d starts, window %v\n", t.Counter, t.Slot, t.Phase, t.Reason, t.Attempts,
			time.Duration(t.Window)*time.Millisecond)
	}
	for _, h := range st.Harm {
		fmt.Fprintf(out, "damaged: %v\n", h)
	}
	return 0
}
