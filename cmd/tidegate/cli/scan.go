package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/cmd/tidegate/find"
)

func scanCommand(o *options) *cobra.Command {
	f := find.Finder{Drivers: o.drivers, Out: os.Stdout}
	c := &cobra.Command{
		Use:   "scan [serial|modbus|i2c|onewire|gpio]",
		Short: "Find buses and devices; never writes to a device",
		Long: "Find what hangs on the buses of this machine, and print blocks for the configuration. It listens to serial ports, reads one byte from\n" +
			"each I2C address, and lists what the kernel knows of 1-Wire and GPIO. Only `scan modbus` sends: requests that read, one unit after\n" +
			"another, where no other master is heard. Ports that the running gateway has are left alone: stop it first.",
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: find.Kinds(),
		RunE: func(_ *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			if len(args) == 1 && args[0] == "modbus" {
				return f.Modbus(ctx)
			}
			return f.Scan(ctx, args...)
		},
	}
	c.Flags().BoolVar(&f.AsJSON, "json", false, "one JSON object")
	c.Flags().BoolVar(&f.Identify, "identify", false, "i2c: ask parts who they are; this sends a register's number, which a few parts take for a command")
	c.Flags().StringSliceVar(&f.Ports, "port", nil, "modbus: only these serial ports")
	c.Flags().UintSliceVar(&f.Units, "unit", nil, "modbus: only these units")
	c.Flags().IntSliceVar(&f.Baud, "baud", nil, "modbus: only these speeds")
	c.Flags().StringSliceVar(&f.Parity, "parity", nil, "modbus: only these parities (none, even, odd)")
	c.Flags().BoolVar(&f.Whole, "whole", false, "modbus: go on at all settings though a unit was found")
	return c
}
