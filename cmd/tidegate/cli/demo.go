package cli

import (
	"context"
	"encoding/json"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/cmd/tidegate/demo"
	"github.com/tidegate-io/tidegate/cmd/tidegate/reach"
	"github.com/tidegate-io/tidegate/sync/receive/farend"
)

func demoCommand(o *options) *cobra.Command {
	d := demo.Options{Drivers: o.drivers, Out: os.Stdout, Log: os.Stderr, Status: func(cfg *config.Config) (s status.Status, err error) {
		err = reach.Ask(cfg, "/api/status", time.Second, &s)
		return s, err
	}}
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run the real gateway on a simulated bus, with a broker and a receiver, and account for every reading",
		Long: "Run the real gateway with embedded defaults: a simulated RS-485 bus with a boiler and two meters on a pseudo-terminal, the\n" +
			"machine's own temperatures and load, a rule that runs a fan while the boiler is too hot, an embedded broker and a\n" +
			"receiver. In every 20 s the broker is stopped for 5 s and the gateway's process is killed (SIGKILL) and started again once.\n" +
			"Ctrl-C, or --for, ends it; then the account is printed. A second Ctrl-C ends it at once. Exit status 0 only if nothing is lost or doubled and\n" +
			"something was delivered.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			d.Debug = o.debug
			soft, hard, stop := twoSignals()
			defer stop()
			return demo.Run(soft, hard, d)
		},
	}
	c.Flags().DurationVar(&d.For, "for", 0, "end after this time; 0 = at Ctrl-C")
	c.Flags().BoolVar(&d.JSON, "json", false, "print the account as JSON")
	c.Flags().StringVar(&d.Listen, "listen", demo.Listen, "address of the page; port 0 = any free one")
	c.Flags().StringVar(&d.Keep, "keep", "", "keep configuration, logs, buffer and what was received in this directory")
	return c
}

// twoSignals returns a context that is done with the first SIGINT or SIGTERM, and one that is done with the second, which is one that
// comes sameSignal later at least. stop gives the signals back.
func twoSignals() (first, second context.Context, stop func()) {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	first, one := context.WithCancel(context.Background())
	second, two := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		var at time.Time
		for {
			select {
			case <-signals:
			case <-ended:
				return
			}
			switch {
			case at.IsZero():
				at = time.Now()
				one()
			case time.Since(at) >= sameSignal:
				two()
			}
		}
	}()
	return first, second, func() { signal.Stop(signals); close(ended); one(); two() }
}

// receiveCommand is the receiver that demo starts as a process of its own.
func receiveCommand(o *options) *cobra.Command {
	var r farend.Options
	c := &cobra.Command{
		Use: "demo-receive", Hidden: true, Args: cobra.NoArgs,
		Short: "The receiver of demo",
		RunE: func(*cobra.Command, []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			r.Log, r.Broker.ID = o.log(), "tidegate-receive"
			r.Broker.LongestPause = 2 * time.Second // its broker is stopped again and again
			a, err := farend.Run(ctx, r)
			if err != nil {
				return err
			}
			return json.NewEncoder(os.Stdout).Encode(a)
		},
	}
	c.Flags().StringVar(&r.Broker.URL, "broker", "", "broker")
	c.Flags().StringVar(&r.Directory, "out", "", "directory for what is received")
	return c
}
