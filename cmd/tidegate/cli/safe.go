package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/place"
	"github.com/tidegate-io/tidegate/cmd/tidegate/direct"
	"github.com/tidegate-io/tidegate/drivers/board"
)

func safeCommand(o *options) *cobra.Command {
	force := false
	c := &cobra.Command{
		Use:   "safe",
		Short: "Bring every output to its safe state, without the gateway",
		Long: "Bring every output that has a safe state there, within a quarter of a minute, also beside devices that do not answer. systemd calls it when the gateway has\n" +
			"ended, however it did (ExecStopPost). Devices whose blocks in the configuration have faults are left out, and said. While a gateway runs\n" +
			"on the same state directory it does nothing. Exit status: 0 all are there, 1 not.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return safe(o, force) },
	}
	c.Flags().BoolVar(&force, "force", false, "even while the gateway runs, which knows nothing of it")
	return c
}

func safe(o *options, force bool) error {
	cfg, faults, err := config.LoadSound(o.config, o.drivers)
	bad := err
	for _, f := range faults {
		fmt.Fprintln(os.Stderr, f)
		if !f.Warning && strings.HasPrefix(f.Key, "devices") {
			bad = errQuiet
		}
	}
	if err != nil {
		return fmt.Errorf("%w, see above", config.ErrRefused)
	}
	if err := place.Running(cfg.StateDir); err != nil && !force {
		return fmt.Errorf("%w; stop it, which brings the outputs to their safe states, or give --force", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	for _, r := range direct.Safe(ctx, board.New(o.log()), cfg) {
		if r.Err != nil {
			fmt.Fprintf(os.Stderr, "tidegate: %s not brought to %s: %s\n", r.Output, r.Value, indented(r.Err.Error()))
			bad = errQuiet
			continue
		}
		fmt.Printf("%s %s\n", r.Output, r.Value)
	}
	return bad
}
