package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/cmd/tidegate/man"
)

func manCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Hidden: true, Args: cobra.ExactArgs(1),
		Short: "Write the man pages into a directory",
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("write man pages: %w", err)
			}
			return man.Write(args[0], c.Root(), o.build.Version)
		},
	}
}
