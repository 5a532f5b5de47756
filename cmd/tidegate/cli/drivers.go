package cli

import (
	"fmt"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/agent/config/describe"
	"github.com/tidegate-io/tidegate/drivers"
)

func driversCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "drivers [NAME]",
		Short: "List the drivers, or show one's settings, channels and sample block",
		Args:  cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, d := range o.drivers {
				names = append(names, d.Name)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return listDrivers(o.drivers)
			}
			for _, d := range o.drivers {
				if d.Name == args[0] {
					return showDriver(d)
				}
			}
			return fmt.Errorf("no driver %q; `tidegate drivers` lists them", args[0])
		},
	}
}

func listDrivers(list []drivers.Driver) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, d := range list {
		fmt.Fprintf(w, "%s\t%s\n", d.Name, describe.FirstSentence(d.Doc))
	}
	return w.Flush()
}

func showDriver(d drivers.Driver) error {
	fmt.Printf("%s\n\n%s\n\nSettings, with their defaults:\n\n%s\n", d.Name, strings.TrimSpace(d.Doc), describe.Settings(d))
	if len(d.Channels) > 0 {
		fmt.Println("Channels:")
		fmt.Println()
		w := tabwriter.NewWriter(os.Stdout, 2, 0, 2, ' ', 0)
		for _, c := range d.Channels {
			kind := c.Kind.String()
			if c.Output {
				kind += ", output"
			}
			fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", c.Name, kind, c.Unit, c.Meaning)
		}
		if err := w.Flush(); err != nil {
			return err
		}
		fmt.Println()
	}
	fmt.Printf("Sample block, to be put under `devices:`:\n\n  %s\n", strings.ReplaceAll(describe.Entry(d.Sample), "\n", "\n  "))
	return nil
}
