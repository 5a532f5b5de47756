package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/agent"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/buffer/salvage"
	"github.com/tidegate-io/tidegate/cmd/tidegate/reach"
	"github.com/tidegate-io/tidegate/cmd/tidegate/told"
)

func queueCommand(o *options) *cobra.Command {
	c := &cobra.Command{
		Use:   "queue",
		Short: "Look into the buffer, of a running gateway or of one that is stopped",
		Args:  cobra.NoArgs,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	asJSON := false
	c.PersistentFlags().BoolVar(&asJSON, "json", false, "as JSON, one line")
	c.AddCommand(
		&cobra.Command{
			Use: "status", Short: "The account: where all readings are", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { return queueStatus(o, asJSON) },
		},
		&cobra.Command{
			Use: "list", Short: "The stored segments", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { return queueList(o, asJSON) },
		},
		&cobra.Command{
			Use: "check", Short: "Read everything that is stored and verify it; exit status 1 where something is damaged or missing", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { return queueCheck(o, asJSON) },
		},
		&cobra.Command{
			Use: salvage.Worker + " DIRECTORY", Short: "Write what can be read of a damaged store to standard output, for the gateway", Hidden: true, Args: cobra.ExactArgs(1),
			RunE: func(_ *cobra.Command, dir []string) error { return salvage.Write(dir[0], os.Stdout) },
		},
		&cobra.Command{
			Use: salvage.Verifier + " STATE-DIRECTORY", Short: "Open a store and read all of it, for the gateway", Hidden: true, Args: cobra.ExactArgs(1),
			Run: func(_ *cobra.Command, dir []string) { os.Exit(salvage.ReadAll(dir[0])) },
		},
		&cobra.Command{
			Use: "rejected", Short: "What the far side refused for good and is set aside, with the reason", Args: cobra.NoArgs,
			RunE: func(*cobra.Command, []string) error { return queueRejected(o, asJSON) },
		},
		requeueCommand(o, &asJSON), exportCommand(o),
	)
	return c
}

// fromQueue asks the running gateway for path, or the stopped one's buffer by offline. found is false when there is no buffer yet.
func fromQueue[T any](o *options, path string, offline func(*agent.Offline) (T, error)) (v T, cfg *config.Config, found bool, err error) {
	return fromQueueBy(o, func(cfg *config.Config, v *T) error { return reach.Ask(cfg, path, 10*time.Minute, v) }, offline)
}

// fromQueueBy is fromQueue with another way to ask.
func fromQueueBy[T any](o *options, ask func(*config.Config, *T) error, offline func(*agent.Offline) (T, error)) (v T, cfg *config.Config, found bool, err error) {
	if cfg, err = o.load(os.Stderr); err != nil {
		return v, cfg, false, err
	}
	err = ask(cfg, &v)
	if !errors.Is(err, reach.ErrNotRunning) {
		return v, cfg, true, err
	}
	dir := filepath.Join(cfg.StateDir, "buffer")
	if list, err := os.ReadDir(dir); errors.Is(err, fs.ErrNotExist) || err == nil && len(list) == 0 {
		return v, cfg, false, nil
	} else if err != nil {
		return v, cfg, false, reach.AsOwner(fmt.Errorf("look for a buffer: %w", err), reach.Nearest(dir))
	}
	if err := errors.Join(reach.MayUse(dir), reach.BecomeOwner(dir)); err != nil {
		return v, cfg, true, err
	}
	q, err := agent.OpenOffline(cfg, o.build.Version, o.log())
	if err != nil {
		return v, cfg, true, err
	}
	v, err = offline(q)
	return v, cfg, true, errors.Join(err, q.Close())
}

// noBuffer says that there is none.
func noBuffer(cfg *config.Config) error { return noBufferTo(os.Stdout, cfg) }

func noBufferTo(w io.Writer, cfg *config.Config) error {
	_, err := fmt.Fprintf(w, "no buffer yet in %s; the gateway makes it when it first starts\n", cfg.StateDir)
	return err
}

func queueStatus(o *options, asJSON bool) error {
	s, cfg, found, err := fromQueue(o, "/api/status", func(q *agent.Offline) (status.Status, error) { return q.Status(), nil })
	if err != nil {
		return err
	}
	if !found {
		s = agent.Stopped(cfg, o.build.Version)
	}
	if asJSON {
		err = json.NewEncoder(os.Stdout).Encode(s)
	} else if !found {
		err = noBuffer(cfg)
	} else {
		err = told.Queue(os.Stdout, &s)
	}
	if err != nil {
		return err
	}
	for _, u := range s.Uplinks {
		if u.Account.Lost != 0 {
			return fmt.Errorf("the account of uplink %s misses %d readings", u.Name, u.Account.Lost)
		}
	}
	return nil
}

func queueList(o *options, asJSON bool) error {
	list, cfg, found, err := fromQueue(o, "/api/segments", func(q *agent.Offline) ([]status.Segment, error) { return q.Segments(), nil })
	if err != nil {
		return err
	}
	if asJSON {
		if !found {
			list = []status.Segment{}
		}
		return json.NewEncoder(os.Stdout).Encode(list)
	}
	if !found {
		return noBuffer(cfg)
	}
	return told.Segments(os.Stdout, list)
}

func queueCheck(o *options, asJSON bool) error {
	done := progress(os.Stderr, "reading what is stored")
	c, cfg, found, err := fromQueue(o, "/api/check", func(q *agent.Offline) (status.Check, error) { return q.Check(context.Background()) })
	done()
	if err != nil {
		return err
	}
	if !found {
		c.Faults = []string{}
	}
	if asJSON {
		err = json.NewEncoder(os.Stdout).Encode(c)
	} else if !found {
		err = noBuffer(cfg)
	} else {
		for _, f := range c.Faults {
			fmt.Println(f)
		}
		for _, x := range c.Sealed {
			fmt.Printf("%d frames are sealed with key %s\n", x.Frames, x.Key)
		}
		fmt.Printf("%d segments, %d frames, %d records, %d readings, %d bytes: %d faults\n", c.Segments, c.Frames, c.Records, c.Readings, c.Bytes, len(c.Faults))
	}
	if err == nil && (len(c.Faults) > 0 || c.Account.Lost != 0) {
		return errQuiet
	}
	return err
}
