package agent

import (
	"context"
	"fmt"
	"time"
)

// Bounds of Healthy: the judge waits for nothing; a worn card may hold up the store for a while, and a restart would not mend it.
const (
	pulseEvery  = 5 * time.Second
	lookEvery   = 6  // pulses
	soundAfter  = 12 // pulses: who lives so long did not die of the store
	judgeSilent = 30 * time.Second
	storeSilent = 3 * time.Minute
)

// pulse makes judge and store go round now and then, and looks at how things stand, so that conditions are known since they hold.
// It returns where to move, if the gateway is to.
func (a *Agent) pulse(ctx context.Context, l *opened) error {
	began := time.Now()
	t := time.NewTicker(pulseEvery)
	defer t.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			l.line.Pulse()
			if err := a.watchDisk(l, began); err != nil {
				return err
			}
			for _, d := range a.readers() {
				d.reader.watch()
			}
			if n%lookEvery == 0 {
				a.Status()
			}
			if n == soundAfter {
				if err := l.queue.NoteSound(); err != nil {
					a.log.Warn("starts are counted wrongly", "err", err)
				}
			}
		}
	}
}

// Healthy returns nil while judge and store go round; it feeds systemd's watchdog and /healthz. A gateway that waits for room on its
// disk, or whose devices or link are down, is healthy: a restart would mend nothing.
func (a *Agent) Healthy() error {
	l := a.running()
	if l == nil {
		return nil
	}
	judged, stored := l.line.Beats()
	if d := time.Since(judged); d > judgeSilent {
		return fmt.Errorf("the judge has not gone round for %v, at most %v", d.Round(time.Second), judgeSilent)
	}
	if d := time.Since(stored); d > storeSilent {
		return fmt.Errorf("the store has not gone round for %v, at most %v", d.Round(time.Second), storeSilent)
	}
	return nil
}
