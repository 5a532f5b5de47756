package cli

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/tidegate-io/tidegate/agent"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/agent/update"
	"github.com/tidegate-io/tidegate/cmd/tidegate/releases"
)

// A gateway is what the page shows and the commands ask: the agent, and who looks after its releases.
type gateway struct {
	*agent.Agent
	updates *update.Worker // nil = nobody would start another release
	alone   error          // why
}

// Apply starts the newest release; see update.Worker.Apply.
func (g *gateway) Apply(ctx context.Context) error {
	if g.updates == nil {
		return g.alone
	}
	return g.updates.Apply(ctx)
}

// update says how releases stand, for the status.
func (g *gateway) update(version string) status.Update {
	s := status.Update{Slot: "package"}
	if g.updates != nil {
		s = g.updates.Status()
	}
	s.Version = version
	return s
}

// startUpdates starts who looks after releases, where the launcher has started this program; restart is closed when another one is to run.
func (g *gateway) startUpdates(ctx context.Context, wg *sync.WaitGroup, o *options, cfg *config.Config, restart chan<- struct{}) error {
	log := o.log()
	if g.alone = releases.Launched(cfg); g.alone != nil {
		if !errors.Is(g.alone, releases.ErrNoLauncher) {
			log.Error("no updates", "err", g.alone)
		}
		return nil
	}
	path, err := os.Executable()
	if err != nil {
		return err
	}
	u, err := releases.Open(cfg, cfg.Update.From, o.build.time(), log)
	if err != nil { // a state directory that cannot be used: reading goes on
		g.alone = err
		log.Error("no updates", "err", err)
		return nil
	}
	g.updates = update.New(update.Options{
		Settings: cfg.Update, Slots: update.NewDisk(u, path, cfg.Update.Trial), Gateway: g.Agent, Memory: releases.Memory, Reason: releases.Reason, Log: log,
		Fetch: func(ctx context.Context) (*update.Release, error) { return releases.Fetch(ctx, o.config) },
	})
	wg.Go(func() {
		if errors.Is(g.updates.Run(ctx), update.ErrRestart) {
			close(restart)
		}
	})
	return nil
}
