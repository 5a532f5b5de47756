package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/past"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/buffer"
)

// Replay lets rules judge what is stored; see past.Replay. It works half of the time, so that others have theirs. A stop of the gateway ends it
// early, with an error.
func (a *Agent) Replay(ctx context.Context, t status.Trial) (r status.Replay, err error) {
	a.mu.Lock()
	cfg := a.cfg
	a.mu.Unlock()
	err = a.whileOpen(ctx, func(ctx context.Context, l *opened) error {
		r, err = replay(ctx, cfg, l.queue, t, func(ctx context.Context, worked time.Duration) { wait(ctx, min(worked, time.Second)) })
		return err
	})
	return r, err
}

// Replay lets rules judge what is stored; see past.Replay.
func (o *Offline) Replay(ctx context.Context, t status.Trial) (status.Replay, error) {
	return replay(ctx, o.agent.cfg, o.line.queue, t, nil)
}

func replay(ctx context.Context, cfg *config.Config, q *buffer.Queue, t status.Trial, pause func(context.Context, time.Duration)) (status.Replay, error) {
	armed, err := cfg.RuleList()
	if err != nil {
		return status.Replay{}, err
	}
	tried := armed
	if t.Rules != "" {
		with, faults, err := cfg.WithRules(t.Name, []byte(t.Rules))
		if err != nil {
			var b strings.Builder
			for _, f := range faults {
				fmt.Fprintln(&b, f)
			}
			return status.Replay{}, fmt.Errorf("%s%w", &b, err)
		}
		if tried, err = with.RuleList(); err != nil {
			return status.Replay{}, err
		}
	}
	return past.Replay(ctx, past.Options{Queue: q, Rules: tried, Armed: armed, Since: t.Since, Pause: pause})
}

// Explain returns how the rule called name stands, and why.
func (a *Agent) Explain(ctx context.Context, name string) (status.RuleState, error) {
	l := a.running()
	if l == nil {
		return status.RuleState{}, fmt.Errorf("rule %q: rules are not judged yet: the store is not open", name)
	}
	x, now, ok, err := l.line.Explain(ctx, name)
	if err != nil {
		return status.RuleState{}, fmt.Errorf("rule %q: the judge does not answer: %w", name, err)
	}
	if !ok {
		var names []string
		for _, r := range l.line.RuleStatus() {
			names = append(names, r.Name)
		}
		return status.RuleState{}, fmt.Errorf("there is no rule %q; %s", name, armed(names))
	}
	return past.Explained(&x, now.Wall, now.Boot), nil
}

// armed says which rules there are, the first ten of them.
func armed(names []string) string {
	if len(names) == 0 {
		return "no rule is armed"
	}
	return "rules are " + config.Enumerate(names)
}
