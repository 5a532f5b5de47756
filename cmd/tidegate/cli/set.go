package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/output"
	"github.com/tidegate-io/tidegate/agent/place"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/cmd/tidegate/direct"
	"github.com/tidegate-io/tidegate/cmd/tidegate/reach"
	"github.com/tidegate-io/tidegate/drivers/board"
)

func setCommand(o *options) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "set DEVICE.CHANNEL VALUE",
		Short: "Set an output of a device, and read it back",
		Long: "Set an output of a device, within the limits that its driver declares, and read it back: through the running gateway, or else through\n" +
			"the device itself, which is closed again afterwards. The newest value wins: a rule that demands another one later sets that. VALUE is true\n" +
			"or false, a number, or a text; a negative number stands behind --. Exit status: 0 set, and reported by the device as it was set, or not\n" +
			"reported at all; 1 otherwise.",
		Example: "  tidegate set fan.relay true\n  tidegate set valve.level -- -5",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 2 {
				return nil
			}
			return fmt.Errorf("got %d words behind set, want 2: write tidegate set DEVICE.CHANNEL VALUE, for instance tidegate set fan.relay true", len(args))
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return completeSet(o, args), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error { return set(o, args[0], args[1], asJSON) },
	}
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return fmt.Errorf("%w; a negative number stands behind --: tidegate set valve.level -- -5", err)
	})
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON, one line")
	return c
}

// completeSet returns the outputs, or the values of one.
func completeSet(o *options, args []string) []string {
	cfg, err := o.load(io.Discard)
	if err != nil {
		return nil
	}
	if len(args) == 0 {
		return cfg.Outputs()
	}
	if _, ch, err := cfg.Output(args[0]); err == nil && len(args) == 1 && ch.Wants() == "true or false" {
		return []string{"true", "false"}
	}
	return nil
}

func set(o *options, name, text string, asJSON bool) error {
	cfg, err := o.load(os.Stderr)
	if err != nil {
		return err
	}
	done := progress(os.Stderr, "setting "+name)
	var s status.Output
	err = reach.Tell(cfg, "/api/set", map[string]string{"channel": name, "value": text}, 30*time.Second, &s)
	if errors.Is(err, reach.ErrNotRunning) {
		s, err = setDirect(o, cfg, name, text)
	}
	done()
	if err != nil {
		return err
	}
	if asJSON {
		err = json.NewEncoder(os.Stdout).Encode(s)
	} else if s.Why != "" {
		_, err = fmt.Printf("%s %s (%s)\n", name, plain(s.Value), s.Why)
	} else {
		_, err = fmt.Printf("%s %s (read back %s)\n", name, plain(s.Value), plain(s.ReadBack))
	}
	if err == nil && s.Why == "" && !s.Agrees {
		return fmt.Errorf("%s was set to %s and the device reports %s; another master, a hand or the device itself may have changed it, see `tidegate read`",
			name, plain(s.Value), plain(s.ReadBack))
	}
	return err
}

// setDirect sets an output without the gateway.
func setDirect(o *options, cfg *config.Config, name, text string) (s status.Output, err error) {
	if err := place.Running(cfg.StateDir); err != nil {
		return s, err // it runs, and has no socket
	}
	dev, ch, err := cfg.Output(name)
	if err != nil {
		return s, err
	}
	v, err := output.Parse(ch, text)
	if err == nil {
		err = direct.CheckSet(cfg, name, v)
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		s, err = direct.Set(ctx, board.New(o.log()), dev, ch, v)
	}
	if err != nil {
		return s, fmt.Errorf("set %s: %w", name, err)
	}
	return s, nil
}

// plain returns a JSON value as it is written in a line.
func plain(b json.RawMessage) string {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return string(b) // no text
	}
	return text
}
