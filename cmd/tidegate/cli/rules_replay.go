package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/agent"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/cmd/tidegate/reach"
	"github.com/tidegate-io/tidegate/cmd/tidegate/told"
)

const (
	replayTime   = time.Hour        // that a replay may take
	explainTime  = 10 * time.Second // that the gateway may take to answer
	maxRulesFile = 48 << 10         // bytes; the gateway's socket takes 64 KiB, encoded
)

func replayCommand(o *options) *cobra.Command {
	since, file, asJSON := "", "", false
	c := &cobra.Command{
		Use:   "replay",
		Short: "When rules would have fired on what the gateway has stored, beside when they did",
		Long: "Lets rules judge what the gateway has stored (buffer.keep says how long that is), and says when each would have fired, beside when the armed\n" +
			"rule did. Without --rule these are the rules of the configuration; the running gateway is asked, or the buffer of a stopped one is read.\n" +
			"It says where it is not exact, and why. Nothing is raised, set or sent.",
		Example: "tidegate rules replay --since 24h --rule lower.yaml",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%q: replay takes no name: it tries all rules of the configuration, or with --rule FILE those of FILE", args[0])
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			var back config.Span
			if err := back.UnmarshalText([]byte(since)); err != nil {
				return fmt.Errorf("--since %s: %w", since, err)
			}
			return replay(o, time.Duration(back), file, asJSON)
		},
	}
	c.Flags().StringVar(&since, "since", "7d", "how far back firings are told, for instance 12h, 7d or 4w")
	c.Flags().StringVar(&file, "rule", "", "`FILE` with rules: as in the configuration, to be tried in the place of those; what else stands there is not looked at")
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON, one line, with all firings")
	return c
}

func replay(o *options, since time.Duration, file string, asJSON bool) error {
	t := status.Trial{Since: time.Now().Add(-since)}
	if file != "" {
		text, err := rulesToTry(o, file)
		if err != nil {
			return err
		}
		t.Rules, t.Name = text, file
	}
	done := progress(os.Stderr, "replaying what is stored")
	r, cfg, found, err := fromQueueBy(o,
		func(cfg *config.Config, r *status.Replay) error {
			return reach.Tell(cfg, "/api/rules/replay", t, replayTime, r)
		},
		func(q *agent.Offline) (status.Replay, error) {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM) // the buffer is closed in order
			defer stop()
			return q.Replay(ctx, t)
		})
	done()
	switch {
	case err != nil:
		return err
	case asJSON:
		if !found {
			r.Notes, r.Rules, r.Since = []string{"no reading is stored"}, []status.RuleReplay{}, t.Since
		}
		return json.NewEncoder(os.Stdout).Encode(r)
	case !found:
		return noBuffer(cfg)
	}
	return told.Replay(os.Stdout, &r)
}

// rulesToTry returns the text of file, which has rules for the channels of the configuration; it says all that is wrong with them.
func rulesToTry(o *options, file string) (string, error) {
	unusable := errors.New("rules to try cannot be used, see above")
	tell := func(faults []config.Fault) {
		for _, f := range faults {
			fmt.Fprintln(os.Stderr, f)
		}
	}
	text, refusal := strict.ReadFile(file, strict.Public, maxRulesFile)
	if refusal != nil {
		doc := strict.New(file)
		doc.Refuse("", refusal)
		tell(doc.Faults())
		return "", unusable
	}
	cfg, err := o.load(os.Stderr)
	if err != nil {
		return "", err
	}
	_, faults, err := cfg.WithRules(file, text)
	tell(faults)
	if err != nil {
		return "", unusable
	}
	return string(text), nil
}

func explainCommand(o *options) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "explain NAME",
		Short: "How a rule of the running gateway stands, and why",
		Long:  "How a rule of the running gateway stands, and why, in words. Exit status: 0 it is told, 1 there is no such rule, 3 the gateway is not running.",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("explain wants the name of one rule, got %d; `tidegate status` lists the rules", len(args))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return explain(o, args[0], asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "as JSON, one line")
	return c
}

func explain(o *options, name string, asJSON bool) error {
	cfg, err := o.load(os.Stderr)
	if err != nil {
		return err
	}
	var r status.RuleState
	err = reach.Ask(cfg, "/api/rules/explain?name="+url.QueryEscape(name), explainTime, &r)
	switch {
	case errors.Is(err, reach.ErrNotRunning):
		fmt.Fprintf(os.Stderr, "tidegate: %v: how rules stand only a running one knows; what they did is told by `tidegate rules replay`, without it too\n", err)
		return exitCode(3)
	case err != nil:
		return err
	case asJSON:
		return json.NewEncoder(os.Stdout).Encode(r)
	}
	return told.Rule(os.Stdout, &r, time.Now())
}
