// Command tidegate-release makes releases of the gateway, signs them, and publishes them into a folder that any static web server hands out.
// It needs no network: what people sign with never has to be on a machine that has one.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/ota/publish"
	"github.com/tidegate-io/tidegate/ota/publish/keyfile"
)

// The linker sets them.
var (
	version = "development"
	commit  = "unknown"
)

func main() { os.Exit(run(tool{out: os.Stdout, log: os.Stderr, now: time.Now, work: keyfile.Work})) }

// run runs the program and returns its exit status.
func run(t tool) int {
	err := t.command().Execute()
	var status exit
	if errors.As(err, &status) {
		return int(status)
	}
	if err != nil {
		fmt.Fprintf(t.log, "tidegate-release: %v\n", err)
		return 1
	}
	return 0
}

// exit ends the program with a status, all being said.
type exit int

func (e exit) Error() string { return "status " + strconv.Itoa(int(e)) }

// A tool is what the commands have in common.
type tool struct {
	out, log io.Writer
	now      func() time.Time
	work     int // of new keys, keyfile.Work but in tests
}

func (t tool) say(format string, a ...any)  { fmt.Fprintf(t.out, format+"\n", a...) }
func (t tool) note(format string, a ...any) { fmt.Fprintf(t.log, format+"\n", a...) }

func (t tool) command() *cobra.Command {
	c := &cobra.Command{
		Use:   "tidegate-release",
		Args:  cobra.ArbitraryArgs,
		Short: "Make releases of the gateway, sign them, publish them",
		Long: `Make releases of the gateway, sign them, and publish them into a folder that any static web server hands out (TUF, The Update Framework).

Root and targets are signed by two of three people, each with a key in an encrypted file, on a machine of their own. Snapshot and timestamp are
signed by keys on the machine that publishes: who steals those can hold releases back, but hand none out.

A repository is a folder: public/ is what a server hands out, draft/ is what waits for signatures. ota/publish/README.md is the guide.`,
		SilenceUsage: true, SilenceErrors: true, Version: fmt.Sprintf("%s (%s)", version, commit), RunE: group,
	}
	c.AddCommand(
		t.keys(), t.init(), t.root(), t.add(), t.stage(), t.renew(), t.sign(), t.attach(), t.discard(),
		t.publish(), t.refresh(), t.hold(), t.pause(), t.status(), t.verify(),
	)
	c.SetOut(t.out)
	c.SetErr(t.log)
	return c
}

// group is what a command does that has others below it only.
func group(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unknown command %q for %q; `%s --help` lists them", args[0], c.CommandPath(), c.CommandPath())
	}
	return c.Help()
}

// change opens a repository, lets f change it, and closes it.
func (t tool) change(dir string, f func(r *publish.Repo) error) error {
	r, err := publish.Open(dir, t.now())
	if err != nil {
		return err
	}
	if err := r.Lock(); err != nil {
		return err
	}
	return errors.Join(f(r), r.Close())
}

// dirFlag adds --dir to c.
func dirFlag(c *cobra.Command) *string {
	dir := c.Flags().String("dir", "", "folder of the repository (required)")
	require(c, "dir")
	return dir
}

// require makes flags of c required.
func require(c *cobra.Command, names ...string) {
	for _, name := range names {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err) // there is no such flag: each test of the command sees it
		}
	}
}

// A days is a duration that people give in days or hours: "14d", "36h".
type days time.Duration

// String returns d as Set reads it.
func (d *days) String() string {
	if x := time.Duration(*d); x%(24*time.Hour) != 0 || x == 0 {
		return x.String()
	}
	return strconv.Itoa(int(time.Duration(*d)/(24*time.Hour))) + "d"
}

// Set reads s.
func (d *days) Set(s string) error {
	x, err := time.ParseDuration(s)
	if n, isDays := strings.CutSuffix(s, "d"); isDays {
		var count uint64
		count, err = strconv.ParseUint(n, 10, 14)
		x = time.Duration(count) * 24 * time.Hour
	}
	if err != nil || x < 0 {
		return fmt.Errorf("got %q, want days or hours, for instance 14d or 36h", s)
	}
	*d = days(x)
	return nil
}

// Type names it in the help.
func (d *days) Type() string { return "time" }

// expiresFlag adds --expires to c.
func expiresFlag(c *cobra.Command, usual time.Duration) *days {
	d := days(usual)
	c.Flags().Var(&d, "expires", "how long it is valid once signed, in days or hours")
	return &d
}
