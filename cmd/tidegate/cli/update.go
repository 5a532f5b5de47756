package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/update"
	"github.com/tidegate-io/tidegate/cmd/tidegate/reach"
	"github.com/tidegate-io/tidegate/cmd/tidegate/releases"
	"github.com/tidegate-io/tidegate/cmd/tidegate/told"
	"github.com/tidegate-io/tidegate/ota"
)

// fetchTime is how long looking for a release and fetching it may take.
const fetchTime = 35 * time.Minute

func updateCommand(o *options) *cobra.Command {
	c := &cobra.Command{
		Use:   "update",
		Short: "Releases of the gateway itself: look for one, start it, keep it or go back",
		Long: "A release is taken only if the owner of this gateway has signed it and it is meant for this machine. It lies in one of two slots and is\n" +
			"started on trial: where it does not do what the one before did, that one runs again, with no help from the new one.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	asJSON := false
	sub := func(use, short string, args cobra.PositionalArgs, run func(cfg *config.Config, u *ota.Updater, args []string) error) *cobra.Command {
		return &cobra.Command{Use: use, Short: short, Args: args, RunE: func(_ *cobra.Command, args []string) error {
			cfg, u, err := o.releases(args)
			if err != nil {
				return err
			}
			return run(cfg, u, args)
		}}
	}
	status := sub("status", "What runs, what lies in the slots, and what became of the last trial", cobra.NoArgs,
		func(_ *config.Config, u *ota.Updater, _ []string) error { return told.Slots(os.Stdout, u, asJSON) })
	status.Flags().BoolVar(&asJSON, "json", false, "as JSON, one line")
	fetch := sub("fetch", "Look for a release and leave it in the free slot, said as JSON", cobra.NoArgs, fetchRelease)
	fetch.Hidden = true
	c.AddCommand(status, fetch,
		sub("check", "Look for a release, and take nothing", cobra.NoArgs, lookForRelease),
		sub("apply", "Start the release that is staged, or the newest there is, now", cobra.NoArgs, applyRelease),
		sub("import DIR", "Take a release from a directory, for instance on a USB stick; it is as strict as with a server", cobra.ExactArgs(1), importRelease),
		sub("confirm", "Keep the release on trial, whatever it does", cobra.NoArgs,
			func(_ *config.Config, u *ota.Updater, _ []string) error {
				return told.Ended(os.Stdout, u, refusal(u.Confirm()))
			}),
		sub("rollback", "Give up the release on trial: the one before runs again, and this one never", cobra.NoArgs,
			func(_ *config.Config, u *ota.Updater, _ []string) error {
				return told.Ended(os.Stdout, u, refusal(u.Slots().Fail("by-hand")))
			}),
	)
	return c
}

// releases opens the releases of the configured gateway, as the user whose they are. A directory among args is where they come from.
func (o *options) releases(args []string) (*config.Config, *ota.Updater, error) {
	cfg, err := o.load(os.Stderr)
	if err != nil {
		return nil, nil, err
	}
	places := cfg.Update.From
	if len(args) > 0 {
		dir, err := filepath.Abs(args[0])
		if err != nil {
			return nil, nil, err
		}
		places = []string{dir}
	}
	if _, err := os.Stat(cfg.StateDir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("there is no %s yet; the gateway makes it when it first starts", cfg.StateDir)
	}
	if err := errors.Join(reach.MayUse(cfg.StateDir), reach.BecomeOwner(cfg.StateDir)); err != nil {
		return nil, nil, err
	}
	u, err := releases.Open(cfg, places, o.build.time(), o.log())
	return cfg, u, err
}

// untilSignal returns a context that a signal ends: a download goes on later where it stopped.
func untilSignal() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
}

// fetchRelease is what the gateway calls, see releases.Fetch.
func fetchRelease(_ *config.Config, u *ota.Updater, _ []string) error {
	ctx, stop := untilSignal()
	defer stop()
	r, err := u.Fetch(ctx)
	f := releases.Fetched{Release: (*update.Release)(r)}
	if err != nil {
		f.Reason, f.Error = ota.Reason(err), err.Error()
	}
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		return err
	}
	if err != nil {
		return errQuiet
	}
	return nil
}

func lookForRelease(_ *config.Config, u *ota.Updater, _ []string) error {
	ctx, stop := untilSignal()
	defer stop()
	l, err := u.Look(ctx)
	if err != nil {
		return refusal(err)
	}
	return told.Look(os.Stdout, l)
}

func importRelease(cfg *config.Config, u *ota.Updater, args []string) error {
	ctx, stop := untilSignal()
	defer stop()
	r, err := u.Fetch(ctx)
	if err != nil {
		return refusal(err)
	}
	if r == nil {
		runs := u.Running() // it hashes a whole program
		fmt.Printf("nothing in %s is newer than release %d, %s\n", args[0], runs.Counter, runs.Version)
		return nil
	}
	fmt.Printf("release %d, %s, is staged; start it with: tidegate update apply\n", r.Counter, r.Version)
	return nil
}

// refusal adds the name of why a release was not taken.
func refusal(err error) error {
	if err == nil {
		return nil
	}
	name, hint := ota.Reason(err), ""
	switch name {
	case "no-trust":
		hint = "; name the root.json of whoever makes the releases at update.root"
	case "known-bad":
		hint = "; a release with a higher counter is taken"
	case "not-started":
		hint = "; start the gateway, and see how it does: tidegate update status"
	case "nothing-staged":
		hint = "; bring one by tidegate update import DIR, or name a place of releases at update.from"
	}
	return fmt.Errorf("%s: %w%s", name, err, hint)
}

// applyRelease has the running gateway start a release, or prepares the next start of one that does not run.
func applyRelease(cfg *config.Config, u *ota.Updater, _ []string) error {
	var done struct{}
	err := reach.Tell(cfg, "/api/update/apply", struct{}{}, fetchTime, &done)
	if err == nil {
		fmt.Println("the gateway ends, and the release is started on trial; see how it does: tidegate update status")
		return nil
	}
	if !errors.Is(err, reach.ErrNotRunning) {
		return err
	}
	err = u.Slots().Switch(nil, cfg.Update.Trial)
	if ota.Reason(err) == "nothing-staged" && len(cfg.Update.From) > 0 {
		ctx, stop := untilSignal()
		defer stop()
		if _, err = u.Fetch(ctx); err == nil {
			err = u.Slots().Switch(nil, cfg.Update.Trial)
		}
	}
	if err != nil {
		return refusal(err)
	}
	fmt.Println("the gateway does not run: its next start is that of the release, on trial, without a look at what was healthy before")
	return nil
}
