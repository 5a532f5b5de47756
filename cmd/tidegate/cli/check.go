package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/agent/config"
)

func checkCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Validate the configuration without touching hardware",
		Long:  "Validate the configuration without touching hardware or network. Every fault is said, as file:line:col: key: what is wrong (got X); hint.",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, faults, err := config.Load(o.config, o.drivers)
			for _, f := range faults {
				fmt.Println(f)
			}
			if err != nil {
				if len(faults) == 0 {
					return err
				}
				return errQuiet
			}
			fmt.Fprintf(os.Stderr, "%s is good: gateway %s, %s, %s, %s\n", o.config, cfg.Gateway.ID,
				many(len(cfg.Devices), "device"), many(len(cfg.Rules), "rule"), many(len(cfg.Uplinks), "uplink"))
			return nil
		},
	}
}

// many returns how many of what there are.
func many(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
