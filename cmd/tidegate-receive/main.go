// Command tidegate-receive is the cloud side of Tidegate: it takes what gateways publish at an MQTT broker, drops duplicates,
// stores the rest as lines of JSON and gives receipts.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/sync/receive/farend"
)

// The linker sets them.
var (
	version = "development"
	commit  = "unknown"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends it hard
	if err := command(os.Stdout, os.Stderr).ExecuteContext(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "tidegate-receive: %v\n", err)
		os.Exit(1)
	}
}

// command returns the program as a command that writes results to out and all else to log.
func command(out, log io.Writer) *cobra.Command {
	var o farend.Options
	var account, verbose bool
	c := &cobra.Command{
		Use:   "tidegate-receive --broker mqtt://HOST[:PORT] --out DIR",
		Short: "Receive what gateways publish, store it as lines of JSON, give receipts",
		Long: `Receive what gateways publish under tg/v1/+/up/# at an MQTT broker, drop duplicates, store the rest as lines of JSON
(DIR/readings-000001.ndjson and following) and give receipts under tg/v1/{gateway}/down/receipt.

The session at the broker is kept under the client identifier: use another one for each receiver. A payload is
acknowledged once it is on disk. With mosquitto set

  persistence true
  max_queued_messages 0        # else it drops what exceeds 1000 while the receiver is away
  max_inflight_messages 1000   # else 20 payloads share a write at most
  set_tcp_nodelay true         # else a receipt takes 40 ms longer

What the broker loses all the same, gateways with confirm: receipt send again.`,
		Example: "  tidegate-receive --broker mqtt://127.0.0.1:1883 --out ./received",
		Args:    cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		Version: fmt.Sprintf("%s (%s)", version, commit),
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Broker.URL == "" || o.Directory == "" {
				return fmt.Errorf("--broker and --out must be given; for instance --broker mqtt://127.0.0.1:1883 --out ./received")
			}
			level := slog.LevelInfo
			if verbose {
				level = slog.LevelDebug
			}
			o.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: level}))
			a, err := farend.Run(c.Context(), o)
			if err != nil || !account {
				return err
			}
			return json.NewEncoder(out).Encode(a)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Broker.URL, "broker", "", "broker, mqtt://host[:1883] or mqtts://host[:8883] (required)")
	f.StringVar(&o.Directory, "out", "", "directory for what is received; made if need be (required)")
	f.StringVar(&o.Broker.ID, "id", "tidegate-receive", "MQTT client identifier, under which the broker keeps the session")
	f.StringVar(&o.Broker.User, "user", "", "user name at the broker")
	f.StringVar(&o.Broker.PasswordFile, "password-file", "", "file with the password")
	f.StringVar(&o.Broker.CA, "ca", "", "file with the certificates (PEM) that sign the broker's; default the system's")
	f.StringVar(&o.Broker.Cert, "cert", "", "file with the certificate (PEM) to show to the broker")
	f.StringVar(&o.Broker.Key, "key", "", "file with its key (PEM)")
	f.StringVar(&o.Listen, "listen", "", "address for /healthz and /metrics, for instance 127.0.0.1:9480; default none")
	f.Int64Var(&o.Files.MaxBytes, "max-bytes", 64<<20, "length at which a file of readings gets a successor, bytes")
	f.DurationVar(&o.Files.MaxAge, "max-age", 0, "age at which it does, at the next write (default 24h)")
	f.DurationVar(&o.Receiver.ReceiptEvery, "receipt-every", 0, "shortest time between two receipts for one gateway (default 250ms)")
	f.BoolVar(&account, "json", false, "at the end, write the account to standard output as JSON")
	f.BoolVarP(&verbose, "verbose", "v", false, "log more")
	c.SetOut(out)
	c.SetErr(log)
	return c
}
