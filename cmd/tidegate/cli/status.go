package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/cmd/tidegate/reach"
)

func statusCommand(o *options) *cobra.Command {
	asJSON, watch := false, false
	c := &cobra.Command{
		Use:   "status",
		Short: "Ask the running gateway how it is",
		Long:  "Ask the running gateway how it is. Exit status: 0 healthy, 1 a condition of severity error, 3 not running.",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := o.load(os.Stderr)
			if err != nil {
				return err
			}
			if !watch {
				return showStatus(cfg, asJSON)
			}
			stop := make(chan os.Signal, 1)
			signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
			t := time.NewTicker(time.Second)
			defer t.Stop()
			for {
				if !asJSON && isTerminal(os.Stdout) {
					fmt.Print("\x1b[H\x1b[2J")
				}
				err := showStatus(cfg, asJSON)
				if err != nil && !errors.Is(err, errQuiet) {
					return err
				}
				select {
				case <-stop:
					return nil
				case <-t.C:
				}
			}
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON, one line")
	c.Flags().BoolVar(&watch, "watch", false, "again every second")
	return c
}

func showStatus(cfg *config.Config, asJSON bool) error {
	var s status.Status
	err := reach.Ask(cfg, "/api/status", 10*time.Second, &s)
	if errors.Is(err, reach.ErrNotRunning) {
		fmt.Fprintln(os.Stderr, "tidegate:", err)
		return exitCode(3)
	}
	if err != nil {
		return err
	}
	if asJSON {
		err = json.NewEncoder(os.Stdout).Encode(s)
	} else {
		err = writeStatus(os.Stdout, &s)
	}
	if err != nil {
		return err
	}
	if s.Worst() == "error" {
		return errQuiet
	}
	return nil
}

// writeStatus writes s for people.
func writeStatus(out io.Writer, s *status.Status) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "gateway\t%s\tversion %s, up %s\n", s.Gateway, s.Version, time.Duration(s.UptimeS*1e9).Round(time.Second))
	fmt.Fprintf(w, "link\t%s\t%s since %s\n", s.Link.State, s.Link.Endpoint, s.Link.Since.Format(time.DateTime))
	if s.Link.LastError != "" {
		fmt.Fprintf(w, "\t\tlast error: %s\n", s.Link.LastError)
	}
	fmt.Fprintf(w, "queue\t%d readings\t%d bytes on disk, oldest %s\n", s.Queue.Readings, s.Queue.DiskBytes, time.Duration(s.Queue.OldestAgeS*1e9).Round(time.Second))
	writeAccounts(w, s)
	for _, d := range s.Devices {
		fmt.Fprintf(w, "device\t%s\t%s: %d reads, %d readings, %d faults", d.Name, d.State, d.Reads, d.Readings, d.Faults)
		if d.LastError != "" {
			fmt.Fprintf(w, "; %s", d.LastError)
		}
		if d.Hung > 0 {
			fmt.Fprintf(w, "; calls of its driver that hang: %d", d.Hung)
		}
		fmt.Fprintln(w)
	}
	for _, r := range s.Rules {
		state := "quiet"
		if r.Active {
			state = "active"
		}
		fmt.Fprintf(w, "rule\t%s\t%s, fired %d times\n", r.Name, state, r.Fired)
	}
	for _, c := range s.Conditions {
		fmt.Fprintf(w, "%s\t%s\t%s; %s\n", c.Severity, c.Code, c.Title, c.Remedy)
		if c.Detail != "" {
			fmt.Fprintf(w, "\t\t%s\n", c.Detail)
		}
	}
	return w.Flush()
}

// plus returns a part of an account that only some rules make.
func plus(name string, n uint64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" + %s %d", name, n)
}

func writeAccounts(w io.Writer, s *status.Status) {
	for _, u := range s.Uplinks {
		a := u.Account
		fmt.Fprintf(w, "account\t%s\tproduced %d%s = delivered %d + buffered %d + rejected %d + declared %d%s%s", u.Name, a.Produced, plus("derived", a.Derived),
			a.Delivered, a.Buffered, a.Rejected, a.DroppedDeclared, plus("filtered", a.Filtered), plus("thinned", a.Thinned))
		if a.Lost != 0 {
			fmt.Fprintf(w, " + LOST %d", a.Lost)
		}
		fmt.Fprintln(w)
	}
}
