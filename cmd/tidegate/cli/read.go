package cli

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/board"
)

// readPatience is how long `read` waits for a device that talks by itself.
const readPatience = 30 * time.Second

type readFlags struct {
	watch, trace, asJSON, examine bool
}

func readCommand(o *options) *cobra.Command {
	var f readFlags
	c := &cobra.Command{
		Use:   "read DEVICE",
		Short: "Read one device of the configuration, through its real driver",
		Long: "Read one device of the configuration, through its real driver, without the gateway: what the device says, before any rule redacts, hashes or\n" +
			"converts it. A serial port that the running gateway has is refused: stop it first. Exit status: 0 all channels good, 1 a fault.",
		Args: func(_ *cobra.Command, args []string) error { return oneDevice(o, args) },
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			cfg, err := o.load(io.Discard)
			if err != nil {
				return nil, cobra.ShellCompDirectiveError
			}
			return deviceNames(cfg), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := o.load(os.Stderr)
			if err != nil {
				return err
			}
			for i := range cfg.Devices {
				if cfg.Devices[i].Name == args[0] {
					return readDevice(o, &cfg.Devices[i], f)
				}
			}
			return fmt.Errorf("no device %q in %s; it has %s", args[0], o.config, strings.Join(deviceNames(cfg), ", "))
		},
	}
	c.Flags().BoolVar(&f.watch, "watch", false, "again and again, until Ctrl-C")
	c.Flags().BoolVar(&f.trace, "trace", false, "show the bytes on the bus, and what they are")
	c.Flags().BoolVar(&f.examine, "examine", false, "find out why it is silent: ask with other settings and other unit numbers, up to two minutes")
	c.Flags().BoolVar(&f.asJSON, "json", false, "one JSON object a reading")
	return c
}

// oneDevice returns an error that says what to write where args are not one device.
func oneDevice(o *options, args []string) error {
	if len(args) == 1 {
		return nil
	}
	hint := "DEVICE is a name under devices: in " + o.config
	if cfg, err := o.load(io.Discard); err == nil && len(cfg.Devices) > 0 {
		hint = o.config + " has " + strings.Join(deviceNames(cfg), ", ")
	}
	if len(args) == 0 {
		return fmt.Errorf("which device? write tidegate read DEVICE; %s", hint)
	}
	return fmt.Errorf("one device at a time (got %s); write tidegate read DEVICE; %s", strings.Join(args, " "), hint)
}

func deviceNames(cfg *config.Config) (names []string) {
	for _, d := range cfg.Devices {
		names = append(names, d.Name)
	}
	return names
}

func readDevice(o *options, d *config.Device, f readFlags) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	var host drivers.Host = board.New(o.log())
	if f.trace {
		i := slices.IndexFunc(o.drivers, func(x drivers.Driver) bool { return x.Name == d.Driver })
		host = &tracing{Host: host, explain: o.drivers[i].Explain, start: time.Now()}
	}
	open, letGo := context.WithCancel(ctx)
	defer letGo()
	dev, err := d.Settings.Open(open, host)
	if err != nil {
		return fmt.Errorf("open %s: %w", d.Name, err)
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	for {
		bad, err := readOnce(ctx, d, dev, f.asJSON)
		if advisor, ok := dev.(drivers.Advisor); ok && ctx.Err() == nil && !f.watch && (f.trace || f.examine) {
			if bad {
				readAgain(ctx, dev)
			}
			advise(ctx, advisor, f, host, letGo)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if !f.watch || errors.Is(err, drivers.ErrGone) {
				return err
			}
			fmt.Fprintln(os.Stderr, "tidegate:", err)
		}
		if !f.watch {
			if bad {
				return errQuiet
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(d.Every):
		}
	}
}

// readAgain reads dev as often as it takes to tell a fault from chance.
func readAgain(ctx context.Context, dev drivers.Device) {
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	for range 3 {
		if _, err := dev.Read(ctx); errors.Is(err, drivers.ErrGone) {
			return
		}
	}
}

// advise prints what is likely to be wrong. To examine the bus it lets go of the device.
func advise(ctx context.Context, a drivers.Advisor, f readFlags, host drivers.Host, letGo func()) {
	text := a.Advice()
	if f.examine {
		done := progress(os.Stderr, "asking around")
		letGo()
		var err error
		text, err = a.Examine(ctx, host)
		done()
		if err != nil {
			fmt.Fprintln(os.Stderr, "tidegate: examine:", err)
		}
	}
	if text != "" {
		fmt.Fprintln(os.Stderr, "tidegate:", text)
	}
}

// readOnce reads and prints; bad reports whether a channel had a fault.
func readOnce(ctx context.Context, d *config.Device, dev drivers.Device, asJSON bool) (bad bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	done := progress(os.Stderr, "waiting for "+d.Name)
	list, err := dev.Read(ctx)
	done()
	if err != nil {
		return true, fmt.Errorf("read %s: %w", d.Name, err)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	enc := json.NewEncoder(os.Stdout)
	for i := range list {
		r := &list[i]
		bad = bad || r.Fault != ""
		switch {
		case asJSON:
			if err := enc.Encode(jsonReading(d.Name, r)); err != nil {
				return bad, err
			}
		case r.Fault != "":
			fmt.Fprintf(w, "%s.%s\tfault: %s\n", d.Name, r.Channel, r.Fault)
		default:
			fmt.Fprintf(w, "%s.%s\t%s\t%s\n", d.Name, r.Channel, r.Value, r.Unit)
		}
	}
	return bad, w.Flush()
}

// jsonReading returns r with its value as JSON has it: number, true/false or text.
func jsonReading(device string, r *tidegate.Reading) map[string]any {
	m := map[string]any{"device": device, "channel": r.Channel}
	if r.Unit != "" {
		m["unit"] = r.Unit
	}
	if r.Fault != "" {
		m["fault"] = r.Fault
		return m
	}
	switch r.Value.Kind() {
	case tidegate.KindFloat, tidegate.KindInt, tidegate.KindUint:
		m["value"] = json.Number(r.Value.String())
	case tidegate.KindBool:
		m["value"], _ = r.Value.Bool()
	default:
		m["value"] = r.Value.String()
	}
	return m
}

// tracing is a Host that shows the bytes of all buses on standard error, and what they are.
type tracing struct {
	drivers.Host
	explain func(out bool, b []byte) string // nil = nobody knows
	start   time.Time
}

func (t *tracing) Serial(ctx context.Context, c drivers.Serial) (*drivers.Bus, error) {
	return t.traced(t.Host.Serial(ctx, c))
}

func (t *tracing) Dial(ctx context.Context, network, address string) (*drivers.Bus, error) {
	return t.traced(t.Host.Dial(ctx, network, address))
}

func (t *tracing) traced(b *drivers.Bus, err error) (*drivers.Bus, error) {
	if err != nil {
		return nil, err
	}
	var in []byte // what came in and is not explained yet
	b.Trace(func(out bool, p []byte) {
		way, known := ">", p
		if out {
			in = in[:0]
		} else {
			in = append(in, p...)
			way, known = "<", in
		}
		fmt.Fprintf(os.Stderr, "%9.3f ms %s %s %s\n", float64(time.Since(t.start).Microseconds())/1000, b.Name(), way, strings.TrimSpace(hex.Dump(p)))
		if t.explain == nil {
			return
		}
		if text := t.explain(out, known); text != "" {
			fmt.Fprintf(os.Stderr, "%12s %s\n", "", text)
			in = in[:0]
		}
	})
	return b, nil
}
