package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/agent"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/agent/web"
	"github.com/tidegate-io/tidegate/cmd/tidegate/reach"
	"github.com/tidegate-io/tidegate/cmd/tidegate/told"
)

func exportCommand(o *options) *cobra.Command {
	var what status.Export
	since, file := "", ""
	c := &cobra.Command{
		Use:   "export",
		Short: "Stored readings as NDJSON or CSV",
		Long: "Writes what is committed, delivered or not, in the order of the numbers: as NDJSON, which holds everything, or as CSV for a spreadsheet (RFC 4180;\n" +
			"texts that begin like a formula have an apostrophe before them). At the end it says on standard error how many readings that were, and which\n" +
			"records could not be read: then the exit status is 1.",
		Example: "tidegate queue export --format csv --since 7d --channel meter1.temp --out temp.csv",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if since != "" {
				var back config.Span
				if err := back.UnmarshalText([]byte(since)); err != nil {
					return fmt.Errorf("--since %s: %w", since, err)
				}
				what.Since = time.Now().Add(-time.Duration(back))
			}
			return queueExport(o, what, file)
		},
	}
	f := c.Flags()
	f.StringVar(&what.Format, "format", "ndjson", "ndjson or csv")
	f.StringVar(&since, "since", "", "only readings of the last, for instance, 12h, 7d or 4w")
	f.Uint64Var(&what.From, "from", 0, "only records with this `NUMBER` and higher ones")
	f.Uint64Var(&what.To, "to", 0, "only records with this `NUMBER` and lower ones")
	f.StringVar(&what.Class, "class", "", "only reading, alarm, audit or debug")
	f.StringVar(&what.Device, "device", "", "only this `DEVICE`")
	f.StringVar(&what.Channel, "channel", "", "only this `DEVICE.CHANNEL`")
	f.StringVar(&what.Uplink, "uplink", "", "state of readings as this `UPLINK` has them, the first one if not given")
	f.StringVar(&file, "out", "", "write to `FILE`, which is there whole or not at all")
	return c
}

// queueExport writes what is stored to file, "" = standard output.
func queueExport(o *options, what status.Export, file string) error {
	signal.Ignore(syscall.SIGPIPE) // a write says so, and the buffer is closed in order
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	done := func() {}
	if file != "" || !isTerminal(os.Stdout) {
		done = progress(os.Stderr, "exporting")
	}
	out, err := openOut(file)
	if err != nil {
		return err
	}
	defer out.discard()
	w := bufio.NewWriterSize(out, 64<<10)
	x, cfg, found, err := fromQueueBy(o, func(cfg *config.Config, x *status.Exported) error { return fetchExport(ctx, cfg, what, w, x) },
		func(q *agent.Offline) (status.Exported, error) { return q.Export(ctx, w, what) })
	if err == nil {
		err = w.Flush()
	}
	done()
	switch {
	case errors.Is(err, syscall.EPIPE) && file == "":
		return nil // whoever reads has enough
	case err != nil:
		return fmt.Errorf("export: %w", err)
	case !found:
		return noBufferTo(os.Stderr, cfg)
	}
	if err := out.keep(); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "%d readings in %d records\n", x.Readings, x.Records)
	if x.Unreadable > 0 {
		return fmt.Errorf("%d records are damaged or gone, and not in it; see: tidegate queue check", x.Unreadable)
	}
	return nil
}

// fetchExport has the running gateway export to w.
func fetchExport(ctx context.Context, cfg *config.Config, what status.Export, w io.Writer, x *status.Exported) error {
	trailers, err := reach.Fetch(ctx, cfg, "/api/queue/export", what, w)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(trailers.Get(web.TrailerExported)), x); err != nil {
		return fmt.Errorf("the gateway ended it early: %w", err)
	}
	if why := trailers.Get(web.TrailerError); why != "" {
		return fmt.Errorf("the gateway ended it early: %s", why)
	}
	return nil
}

// An outFile is a file under a name of its own until it is whole, or standard output.
type outFile struct {
	*os.File
	path string // "" = standard output
}

func openOut(path string) (*outFile, error) {
	if path == "" {
		return &outFile{File: os.Stdout}, nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return &outFile{f, path}, nil
}

// keep gives the file its name, once all of it is on disk.
func (f *outFile) keep() error {
	if f.path == "" {
		return nil
	}
	err := errors.Join(f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), f.path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	f.path = ""
	return nil
}

// discard removes the file where it was not kept.
func (f *outFile) discard() {
	if f.path != "" {
		_ = f.Close()
		_ = os.Remove(f.Name())
	}
}

func requeueCommand(o *options, asJSON *bool) *cobra.Command {
	var what status.Requeue
	c := &cobra.Command{
		Use:   "requeue",
		Short: "Send records again that the far side refused and that are set aside",
		Long: "What is set aside goes to its uplink again, under the numbers it has; `tidegate queue rejected` lists it. The far side is told first, as it\n" +
			"counts these numbers as lost. What it refuses once more is set aside once more. It works on a running and on a stopped gateway.",
		Example: "tidegate queue requeue --uplink cloud --from 48201 --to 48300",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return queueRequeue(o, what, *asJSON) },
	}
	f := c.Flags()
	f.StringVar(&what.Uplink, "uplink", "", "of this `UPLINK`; needed where several have something set aside")
	f.Uint64Var(&what.From, "from", 0, "records with this `NUMBER` and higher ones")
	f.Uint64Var(&what.To, "to", 0, "records with this `NUMBER` and lower ones")
	f.StringVar(&what.Epoch, "epoch", "", "of this `EPOCH`; needed where the numbers are in several")
	f.BoolVar(&what.All, "all", false, "all of them")
	return c
}

func queueRequeue(o *options, what status.Requeue, asJSON bool) error {
	running := false
	r, cfg, found, err := fromQueueBy(o, func(cfg *config.Config, r *status.Requeued) error {
		err := reach.Tell(cfg, "/api/queue/requeue", what, 10*time.Minute, r)
		running = !errors.Is(err, reach.ErrNotRunning)
		return err
	}, func(q *agent.Offline) (status.Requeued, error) { return q.Requeue(what) })
	switch {
	case err != nil:
		return err
	case !found:
		return fmt.Errorf("nothing is set aside: there is no buffer yet in %s", cfg.StateDir)
	case asJSON:
		err = json.NewEncoder(os.Stdout).Encode(r)
	default:
		err = told.Requeued(os.Stdout, &r, running)
	}
	if err == nil && len(r.Stay) > 0 {
		return errQuiet
	}
	return err
}

func queueRejected(o *options, asJSON bool) error {
	list, cfg, found, err := fromQueue(o, "/api/queue/rejected", func(q *agent.Offline) (status.RejectedList, error) { return q.Rejected() })
	if err != nil {
		return err
	}
	if !found {
		list.Rejected = []status.Rejected{}
	}
	if asJSON {
		return json.NewEncoder(os.Stdout).Encode(list)
	}
	if !found {
		return noBuffer(cfg)
	}
	return told.Rejected(os.Stdout, &list)
}
