package line

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate/buffer"
)

const (
	// busyFor is how long Requeue waits for segments that are about to be dropped, and for a far side that does not know yet what went before.
	busyFor = 30 * time.Second
	// busyLook is how often it looks.
	busyLook = 200 * time.Millisecond
)

// Requeue makes what x asks for go to its uplink again, some of it at a time, between commits; x says what became of it, also beside an error.
func (l *Line) Requeue(ctx context.Context, x *buffer.Requeue) error {
	type answer struct {
		more bool
		err  error
	}
	for until := time.Now().Add(busyFor); ; {
		done := make(chan answer, 1)
		some := func(failed error) {
			if failed != nil {
				done <- answer{err: fmt.Errorf("the store takes nothing at present: %w", failed)}
				return
			}
			more, err := l.o.Queue.Requeue(x)
			done <- answer{more, err}
		}
		select {
		case l.store.wants <- some:
		case <-ctx.Done():
			return ctx.Err()
		}
		a := <-done
		switch {
		case errors.Is(a.err, buffer.ErrBusy) && time.Now().Before(until):
			pause(ctx, busyLook)
		case a.err != nil || !a.more:
			return a.err
		}
	}
}

// pause waits for d, or for the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
