package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/ota/publish"
	"github.com/tidegate-io/tidegate/ota/publish/outcome"
	"github.com/tidegate-io/tidegate/ota/release"
)

// onlineKeys are the flags of commands that sign with the keys of the online machine.
type onlineKeys struct {
	snapshot, timestamp []string
	phrase              *passphrase
	lives               [2]days
}

// onlineFlags adds them to c; the snapshot's key is required where all is.
func onlineFlags(c *cobra.Command, all bool) *onlineKeys {
	o := &onlineKeys{lives: [2]days{days(publish.SnapshotLife), days(publish.TimestampLife)}}
	f := c.Flags()
	f.StringArrayVar(&o.timestamp, "timestamp-key", nil, "file of the timestamp key; both while one follows the other (required)")
	f.StringArrayVar(&o.snapshot, "snapshot-key", nil, "file of the snapshot key")
	f.Var(&o.lives[0], "snapshot-expires", "how long a snapshot is valid, in days or hours")
	f.Var(&o.lives[1], "timestamp-expires", "how long a timestamp is valid, in days or hours")
	require(c, "timestamp-key")
	if all {
		require(c, "snapshot-key")
	}
	o.phrase = passphraseFlag(c)
	return o
}

// get reads the keys.
func (o *onlineKeys) get() (publish.Online, error) {
	keys, err := o.phrase.keys(slices.Concat(o.snapshot, o.timestamp))
	return publish.Online{Keys: keys, Snapshot: time.Duration(o.lives[0]), Timestamp: time.Duration(o.lives[1])}, err
}

func (t tool) publish() *cobra.Command {
	c := &cobra.Command{
		Use:   "publish --dir REPO --snapshot-key FILE --timestamp-key FILE",
		Short: "Make what was drafted and signed public",
		Long: `Make what was drafted and signed public, with a new snapshot and a new timestamp. Without a draft it renews these two.

At each moment public/ holds what fits together, also when the power fails: files are never changed, and timestamp.json is replaced last, at
once. rsync copies it to a server in that order too, as long as nothing is published meanwhile.

While a root brings another snapshot or timestamp key, give the old one and the new one: gateways that know the root before take it as well.`,
		Example: "  tidegate-release publish --dir repo --snapshot-key snapshot.key --timestamp-key timestamp.key",
		Args:    cobra.NoArgs,
	}
	dir := dirFlag(c)
	keys := onlineFlags(c, true)
	c.RunE = func(*cobra.Command, []string) error {
		o, err := keys.get()
		if err != nil {
			return err
		}
		return t.change(*dir, func(r *publish.Repo) error {
			gap, err := r.Publish(o)
			if err != nil {
				return err
			}
			if gap {
				t.note("the new root came before what it signs for: gateways that asked in that moment ask again")
			}
			return t.published(r)
		})
	}
	return c
}

func (t tool) refresh() *cobra.Command {
	c := &cobra.Command{
		Use:   "refresh --dir REPO --timestamp-key FILE [--snapshot-key FILE]",
		Short: "Renew the timestamp; the snapshot too when its key is given and half of its life is over",
		Long: `Renew the timestamp, so that gateways know that nothing newer is kept from them. For cron on the online machine, every six hours:

  17 */6 * * * tidegate-release refresh --dir /srv/repo --snapshot-key /etc/tidegate-release/snapshot.key --timestamp-key /etc/tidegate-release/timestamp.key`,
		Example: "  tidegate-release refresh --dir repo --snapshot-key snapshot.key --timestamp-key timestamp.key",
		Args:    cobra.NoArgs,
	}
	dir := dirFlag(c)
	keys := onlineFlags(c, false)
	c.RunE = func(*cobra.Command, []string) error {
		o, err := keys.get()
		if err != nil {
			return err
		}
		return t.change(*dir, func(r *publish.Repo) error {
			if err := r.Refresh(o); err != nil {
				return err
			}
			return t.published(r)
		})
	}
	return c
}

func (t tool) hold() *cobra.Command {
	c := &cobra.Command{
		Use:   "hold --dir REPO --counter N --percent P|--halt --timestamp-key FILE",
		Short: "Hold a release back at once, with the timestamp key alone",
		Long: `Hold a release back: gateways beyond the stage do not start it, however wide it was signed. It can narrow only. --percent 100 lets it go again.
What runs already stays; to bring gateways back, release the old code again with a higher counter.`,
		Example: `  tidegate-release hold --dir repo --counter 8 --halt --timestamp-key timestamp.key
  tidegate-release hold --dir repo --counter 8 --percent 5 --timestamp-key timestamp.key`,
		Args: cobra.NoArgs,
	}
	dir := dirFlag(c)
	to := stageFlags(c)
	keys := onlineFlags(c, false)
	c.RunE = func(*cobra.Command, []string) error {
		stage, err := to.get()
		if err != nil {
			return err
		}
		o, err := keys.get()
		if err != nil {
			return err
		}
		return t.change(*dir, func(r *publish.Repo) error {
			if err := r.Hold(o, to.counter, stage); err != nil {
				return err
			}
			return t.published(r)
		})
	}
	return c
}

func (t tool) pause() *cobra.Command {
	c := &cobra.Command{
		Use:   "pause --dir REPO --counter N --outcomes FILE --max-failed P --timestamp-key FILE",
		Short: "Halt a release when too large a share of the gateways that tried it failed",
		Long: `Read what became of a release on the gateways: the files that tidegate-receive writes, in their order, or lines of JSON, oldest first,
{"gateway":"gw-1","counter":8,"result":"kept"|"failed"|"refused","reason":"..."}. The last one of each gateway counts. Print the counts as JSON. When more than --max-failed of those that tried it (kept and failed) failed, of
--min at least, halt the release as hold does. For cron on the online machine.

Exit status: 0 it may go on, 2 it is halted, 1 something else is wrong.`,
		Example: "  tidegate-release pause --dir repo --counter 8 --outcomes outcomes.ndjson --max-failed 2% --min 20 --timestamp-key timestamp.key",
		Args:    cobra.NoArgs,
	}
	dir := dirFlag(c)
	keys := onlineFlags(c, false)
	counter := c.Flags().Uint64("counter", 0, "counter of the release (required)")
	files := c.Flags().StringArray("outcomes", nil, "file of outcomes; - = standard input (required)")
	share := c.Flags().String("max-failed", "", "share that may fail, in percent (required)")
	least := c.Flags().Int("min", 20, "how many gateways must have tried it before it is judged")
	require(c, "counter", "outcomes", "max-failed")
	c.RunE = func(c *cobra.Command, _ []string) error {
		most, err := release.ParseStage(*share)
		if err != nil {
			return fmt.Errorf("--max-failed: %w", err)
		}
		count, err := readOutcomes(*files, *counter, c.InOrStdin())
		if err != nil {
			return err
		}
		if err := json.NewEncoder(t.out).Encode(count); err != nil {
			return err
		}
		if count.Unreadable > 0 {
			t.note("%d lines of %s are no outcomes", count.Unreadable, strings.Join(*files, " "))
		}
		if !count.Over(most, *least) {
			return nil
		}
		o, err := keys.get()
		if err != nil {
			return err
		}
		if err := t.change(*dir, func(r *publish.Repo) error { return r.Hold(o, *counter, 0) }); err != nil {
			return err
		}
		t.note("release %d is halted: %d of %d gateways that tried it failed, more than %v; why: %v", *counter, count.Failed, count.Tried(), most, reasons(count))
		return exit(2)
	}
	return c
}

// readOutcomes reads files, one after the other.
func readOutcomes(paths []string, counter uint64, stdin io.Reader) (outcome.Count, error) {
	var all []io.Reader
	for _, path := range paths {
		if path == "-" {
			all = append(all, stdin)
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			return outcome.Count{}, fmt.Errorf("read outcomes: %w", err)
		}
		defer f.Close()
		all = append(all, f, strings.NewReader("\n")) // its last line may be half written
	}
	return outcome.Read(io.MultiReader(all...), counter)
}

// reasons returns those of a count, each with its number.
func reasons(c outcome.Count) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(c.Reasons)) {
		out = append(out, fmt.Sprintf("%s %d", name, c.Reasons[name]))
	}
	return out
}
