package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/cmd/tidegate/tried"
)

func rulesCommand(o *options) *cobra.Command {
	c := &cobra.Command{
		Use:   "rules",
		Short: "Try rules before they are armed, and ask about those that are",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(rulesTestCommand(o), replayCommand(o), explainCommand(o))
	return c
}

func rulesTestCommand(o *options) *cobra.Command {
	t := tried.Teller{
		Configuration: func() (*config.Config, error) {
			cfg, err := o.load(os.Stderr)
			if err != nil {
				err = fmt.Errorf("%w; it is read as the file of cases has no channels, or no rules, of its own", err)
			}
			return cfg, err
		}, Out: os.Stdout, Err: os.Stderr,
		Progress: func(what string) func() { return progress(os.Stderr, what) }, Colours: isTerminal(os.Stdout) && os.Getenv("NO_COLOR") == "",
	}
	c := &cobra.Command{
		Use:   "test FILE...",
		Short: "Try rules on written cases: readings over time in, alarms and outputs out",
		Long: "Try rules on the cases in FILE: readings over time, and the alarms and outputs that are to come of them. The rules are those in FILE, or\n" +
			"where it has none those of the configuration. No device is read or set. Each case runs a second time with everything stored and restored\n" +
			"before each reading, as after a restart of the gateway. Exit status 1 where something is not as wanted.",
		Example: "tidegate rules test over-temperature.yaml",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("test wants a file with cases; rules/cases/README.md says how they are written")
			}
			return nil
		},
		ValidArgsFunction: cobra.FixedCompletions([]string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt),
		RunE: func(_ *cobra.Command, args []string) error {
			good, err := t.Files(args)
			if err == nil && !good {
				err = errQuiet
			}
			return err
		},
	}
	c.Flags().BoolVar(&t.AsJSON, "json", false, "as JSON, one line for each FILE")
	return c
}
