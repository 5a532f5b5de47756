package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/cmd/tidegate/reach"
	"github.com/tidegate-io/tidegate/cmd/tidegate/told"
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
		err = told.Status(os.Stdout, &s)
	}
	if err != nil {
		return err
	}
	if s.Worst() == "error" {
		return errQuiet
	}
	return nil
}
