package agent

import (
	"context"
	"time"

	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/buffer"
)

const (
	// scrubPass is how long all that is stored takes to be verified once, segment by segment, of 8 MB at most.
	scrubPass = 24 * time.Hour
	// scrubLeast is the least time between two segments.
	scrubLeast = 10 * time.Second
	// scrubIdle is how often it is looked whether anything is stored, where nothing is.
	scrubIdle = time.Hour
)

// scrub verifies what is stored, over and over, until ctx is done. What it finds damaged is declared at once, while the link may still be up, and not when
// somebody needs it.
func (a *Agent) scrub(ctx context.Context, l *opened) {
	var mark buffer.Mark
	var now status.Scrub
	for {
		segments := len(l.queue.Stats().Segments)
		pause := scrubIdle
		if segments > 0 {
			pause = max(scrubPass/time.Duration(segments+1), scrubLeast) // one more: to see that there are no others
		}
		if wait(ctx, pause); ctx.Err() != nil {
			return
		}
		next, bytes, missing, ok, err := l.queue.Verify(mark)
		switch {
		case err != nil:
			a.log.Error("verify what is stored", "err", err)
			now.Failed++
		case missing > 0:
			a.log.Error("what is stored is damaged", "records", missing)
		}
		now.Of, now.Damaged, now.Bytes = segments, now.Damaged+missing, now.Bytes+bytes
		if mark = next; ok {
			now.Segments++
		} else if now.Segments > 0 {
			end := a.parts.Clock().Wall
			now = status.Scrub{Of: segments, LastEnd: &end, LastDamaged: now.Damaged}
		}
		if !ok {
			mark = buffer.Mark{}
		}
		a.mu.Lock()
		a.scrubbed = now
		a.mu.Unlock()
	}
}
