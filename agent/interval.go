package agent

import (
	"context"
	"time"

	"github.com/tidegate-io/tidegate/rules"
)

// pace has a device read as rules ask, or at its own interval again. What they ask holds for a device that is opened anew, too.
func (a *Agent) pace(x rules.Interval) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.paces[x.Device] = x
	if d := a.devices[x.Device]; d != nil {
		d.reader.ask(x.Every)
	}
}

// ask has the device read at another interval from now on; 0 = its own. A Read under way goes on.
func (r *reader) ask(every time.Duration) {
	if r.asked.Swap(int64(every)) == int64(every) {
		return
	}
	select {
	case r.moved <- struct{}{}:
	default:
	}
}

// interval returns how often the device is read now; 0 = Read waits for the device itself, whatever is asked.
func (r *reader) interval() time.Duration {
	if d := time.Duration(r.asked.Load()); d > 0 && r.every > 0 {
		return d
	}
	return r.every
}

// rest waits after a Read that went well, was due at last and brought n readings, and returns when the next was due. Where the interval becomes
// another one meanwhile, it counts from the last Read on, and what it has missed is one Read.
func (r *reader) rest(ctx context.Context, last time.Time, n int) (next time.Time) {
	every := r.interval()
	if every == 0 {
		if n == 0 {
			wait(ctx, firstPause) // a driver that neither waits nor reports must not spin
		}
		return next
	}
	for next = due(last, every); ; {
		t := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
		case <-t.C:
		case <-r.poke:
			next = last // one Read more; the grid stays
		case <-r.moved:
			t.Stop()
			if to := r.interval(); to != every {
				every = to
				if next = last.Add(every); time.Until(next) < 0 {
					next = time.Now()
				}
			}
			continue
		}
		t.Stop()
		return next
	}
}

// due returns the next time on the grid of every and last. Times that were missed are left out, not made up for.
func due(last time.Time, every time.Duration) time.Time {
	next := last.Add(every)
	if late := time.Since(next); late > 0 {
		next = next.Add(late / every * every)
		if late%every > 0 && late > every {
			next = next.Add(every)
		}
	}
	return next
}

// idle waits after the last call of the driver, which failed with err.
func (r *reader) idle(ctx context.Context, err error) {
	began := time.Now()
	for d, follows := r.pause(err); ; {
		t := time.NewTimer(time.Until(began.Add(d)))
		select {
		case <-ctx.Done():
		case <-t.C:
		case <-r.moved:
			t.Stop()
			if follows {
				d = max(firstPause, r.interval())
			}
			continue
		}
		t.Stop()
		return
	}
}
