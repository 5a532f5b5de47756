package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/cmd/tidegate/nodes"
)

func devicesCommand(o *options) *cobra.Command {
	file := ""
	c := &cobra.Command{
		Use:   "devices",
		Short: "Print which device nodes the service has to be allowed, as a drop-in of systemd",
		Long: "Print which device nodes the configuration needs, as a drop-in of the service that allows these and no other. With --write it is put where systemd\n" +
			"finds it. Do so after each change of what devices hang on, then: systemctl daemon-reload, systemctl restart tidegate. Without a drop-in the\n" +
			"service may use every serial port, I2C bus and GPIO chip. What programs of driver external open is not known here: allow it by\n" +
			"systemctl edit tidegate.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, err := o.load(os.Stderr)
			if err != nil {
				return err
			}
			text := nodes.Text(cfg, filepath.EvalSymlinks)
			if file == "" {
				fmt.Print(text)
				return nil
			}
			return writeDropIn(file, text)
		},
	}
	c.Flags().StringVar(&file, "write", "", "write it to `FILE`")
	c.Flags().Lookup("write").NoOptDefVal = nodes.DropIn
	return c
}

// writeDropIn writes text to file, where systemd finds the old one or the new one, never half of it.
func writeDropIn(file, text string) error {
	old, err := os.ReadFile(file)
	if err == nil && string(old) == text {
		fmt.Printf("%s is up to date\n", file)
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write drop-in: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("write drop-in: %w; it is root's: sudo tidegate devices --write", err)
	}
	fresh := file + ".new"
	if err := os.WriteFile(fresh, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write drop-in: %w; it is root's: sudo tidegate devices --write", err)
	}
	if err := os.Rename(fresh, file); err != nil {
		return fmt.Errorf("write drop-in: %w", err)
	}
	fmt.Printf("wrote %s; it holds after: systemctl daemon-reload, systemctl restart tidegate\n", file)
	return nil
}
