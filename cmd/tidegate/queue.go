package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/agent"
	"github.com/tidegate-io/tidegate/agent/status"
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
	)
	return c
}

// fromQueue asks the running gateway for path, or the stopped one's buffer by offline.
func fromQueue[T any](o *options, path string, offline func(*agent.Offline) (T, error)) (v T, err error) {
	cfg, err := o.load(os.Stderr)
	if err != nil {
		return v, err
	}
	err = ask(cfg, path, 10*time.Minute, &v)
	if !errors.Is(err, errNotRunning) {
		return v, err
	}
	if _, err := os.Stat(cfg.StateDir); err != nil {
		return v, fmt.Errorf("no buffer yet: %w", err)
	}
	q, err := agent.OpenOffline(cfg, o.log())
	if err != nil {
		return v, err
	}
	v, err = offline(q)
	return v, errors.Join(err, q.Close())
}

func queueStatus(o *options, asJSON bool) error {
	s, err := fromQueue(o, "/api/status", func(q *agent.Offline) (status.Status, error) { return q.Status(), nil })
	if err != nil {
		return err
	}
	if asJSON {
		err = json.NewEncoder(os.Stdout).Encode(s)
	} else {
		w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintf(w, "gateway\t%s\tepoch %s, next record %d\n", s.Gateway, s.Epoch, s.NextRecord)
		fmt.Fprintf(w, "queue\t%d readings in %d records\t%d bytes on disk, limit %d, oldest %s, %d gaps\n", s.Queue.Readings, s.Queue.Records,
			s.Queue.DiskBytes, s.Queue.LimitBytes, time.Duration(s.Queue.OldestAgeS*1e9).Round(time.Second), s.Queue.Gaps)
		writeAccounts(w, &s)
		err = w.Flush()
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
	list, err := fromQueue(o, "/api/segments", func(q *agent.Offline) ([]status.Segment, error) { return q.Segments(), nil })
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(os.Stdout).Encode(list)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SEGMENT\tFIRST\tLAST\tRECORDS\tREADINGS\tBYTES\tFROM\tTO")
	for _, s := range list {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", s.Name, s.First, s.Last, s.Records, s.Readings, s.Bytes,
			s.From.Format(time.RFC3339), s.To.Format(time.RFC3339))
	}
	return w.Flush()
}

func queueCheck(o *options, asJSON bool) error {
	done := progress(os.Stderr, "reading what is stored")
	c, err := fromQueue(o, "/api/check", func(q *agent.Offline) (status.Check, error) { return q.Check(context.Background()) })
	done()
	if err != nil {
		return err
	}
	if asJSON {
		err = json.NewEncoder(os.Stdout).Encode(c)
	} else {
		for _, f := range c.Faults {
			fmt.Println(f)
		}
		fmt.Printf("%d segments, %d frames, %d records, %d readings, %d bytes: %d faults\n", c.Segments, c.Frames, c.Records, c.Readings, c.Bytes, len(c.Faults))
	}
	if err == nil && (len(c.Faults) > 0 || c.Account.Lost != 0) {
		return errQuiet
	}
	return err
}
