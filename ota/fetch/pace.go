package fetch

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	slowTime  = time.Minute
	slowBytes = 60 << 10 // less in a slowTime is too slow
)

// A watch ends what is too slow: time that the other side was waited for, and bytes that came in it.
type watch struct {
	cancel context.CancelCauseFunc
	mu     sync.Mutex // guards the rest
	timer  *time.Timer
	waits  bool
	since  time.Time
	spent  time.Duration
	got    int
}

// newWatch returns a watch and the context that it ends, with an error wrapping ErrSlow.
func newWatch(ctx context.Context) (*watch, context.Context) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{cancel: cancel}
	w.timer = time.AfterFunc(slowTime, w.judge)
	w.timer.Stop()
	return w, ctx
}

// begin says that the other side is waited for.
func (w *watch) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.since, w.waits = time.Now(), true
	w.timer.Reset(slowTime - w.spent)
}

// end says that n bytes came.
func (w *watch) end(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
	w.waits = false
	w.got += n
	if w.spent += time.Since(w.since); w.spent >= slowTime {
		w.decide()
	}
}

// judge is called when slowTime was spent in the middle of waiting, or just as that ended.
func (w *watch) judge() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.waits || w.spent+time.Since(w.since) < slowTime {
		return
	}
	w.decide()
	w.since = time.Now()
	w.timer.Reset(slowTime)
}

// decide begins anew if enough came. The caller holds mu.
func (w *watch) decide() {
	if w.got < slowBytes {
		w.cancel(fmt.Errorf("%w: got %d bytes in %v, want at least %d", ErrSlow, w.got, slowTime, slowBytes))
	}
	w.spent, w.got = 0, 0
}

// stop ends the watch and its context.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer.Stop()
	w.waits = false
	w.cancel(context.Canceled)
}

// A limiter spreads bytes over time.
type limiter struct {
	rate  int64     // bytes/s; 0 = no limit
	free  time.Time // when all that was let through has had its time
	asked int64     // bytes that were let through before they came
}

// stretch waits until more may be asked for, and returns how much of want: half a second's worth. What a server was asked for is then read as
// fast as it comes. To read slowly instead would leave bytes in buffers of the kernel, and a kill would lose them.
func (l *limiter) stretch(ctx context.Context, want int64) (int64, error) {
	if l.rate == 0 {
		return want, nil
	}
	if err := pause(ctx, time.Until(l.free)); err != nil {
		return 0, err
	}
	l.asked = min(want, max(l.rate/2, 16<<10))
	l.charge(l.asked)
	return l.asked, nil
}

// came is told of n bytes. It waits where more came than was asked for: the server gave the rest of the file.
func (l *limiter) came(ctx context.Context, n int) error {
	if l.rate == 0 {
		return nil
	}
	asked := min(int64(n), l.asked)
	l.asked -= asked
	if asked == int64(n) {
		return nil
	}
	l.charge(int64(n) - asked)
	return pause(ctx, time.Until(l.free))
}

func (l *limiter) charge(n int64) {
	if now := time.Now(); l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(n) / float64(l.rate) * float64(time.Second)))
}

// pause waits for d, or until ctx ends: then it returns why.
func pause(ctx context.Context, d time.Duration) error {
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	return context.Cause(ctx)
}
