package agent

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/agent/line"
)

// TestStopEndsACheck: a check that reads for minutes does not hold up the end of the gateway; after it there is none.
func TestStopEndsACheck(t *testing.T) {
	a := &Agent{opened: &opened{line: new(line.Line)}}
	a.open, a.shut = context.WithCancel(t.Context())
	reads, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- a.whileOpen(t.Context(), func(ctx context.Context, _ *opened) error {
			close(reads)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(5 * time.Second): // in real time: a lock that is waited for holds up a bubble
				return errors.New("nobody ended it")
			}
		})
	}()
	<-reads
	if err := a.close(nil); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the check ended with %v, want %v", err, context.Canceled)
	}
	err := a.whileOpen(t.Context(), func(context.Context, *opened) error { return nil })
	if err == nil || err.Error() != "the store is not open" {
		t.Errorf("a check after the end: %v", err)
	}
}

// A hanging writer hangs until it is ended.
type hanging chan struct{}

func (h hanging) Write([]byte) (int, error) { <-h; return 0, errors.New("ended") }

func (h hanging) End() { close(h) }

// TestStopEndsAWriteThatHangs: nobody who does not read what is exported holds up the end of the gateway.
func TestStopEndsAWriteThatHangs(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := make(hanging)
	stop := endWith(ctx, h)
	cancel()
	if _, err := h.Write(nil); err == nil || stop() {
		t.Error("it was not ended")
	}
	endWith(ctx, io.Discard)()
}
