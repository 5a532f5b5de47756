package agent

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// setDeadline bounds one Set: a relay that does not answer holds up nothing but itself.
const setDeadline = 5 * time.Second

// A Set that failed is tried again after a pause, which doubles each time.
const (
	firstRetry = time.Second
	mostRetry  = time.Minute
)

// An output drives the outputs of one device. Rules leave what they demand in it, one place a channel, the newest wins; its own
// goroutine brings it to the device, also while Read waits, and again after the device was opened anew.
type output struct {
	name  string
	log   *slog.Logger
	board *board
	wake  chan struct{}

	mu     sync.Mutex // guards all below
	setter drivers.Setter
	want   map[string]demand         // not yet set
	failed map[string]error          // why the last Set of a channel did not go through
	stands map[string]tidegate.Value // set last
	cancel context.CancelFunc        // ends the Set under way; nil = there is none
	idle   chan struct{}             // closed when the Set under way has returned; nil = there is none
}

// A demand is a value for one channel.
type demand struct {
	value tidegate.Value
	pause time.Duration // after the last failed Set of it; 0 = there was none
	due   time.Time     // not before
}

func newOutput(name string, log *slog.Logger, b *board) *output {
	return &output{
		name: name, log: log, board: b, wake: make(chan struct{}, 1),
		want: map[string]demand{}, failed: map[string]error{}, stands: map[string]tidegate.Value{},
	}
}

// set leaves v for the channel. It does not wait.
func (o *output) set(channel string, v tidegate.Value) {
	o.mu.Lock()
	o.want[channel] = demand{value: v}
	o.mu.Unlock()
	o.signal()
}

// demand is set for what may stand already: where it does, or is about to, nothing is done.
func (o *output) demand(channel string, v tidegate.Value) {
	o.mu.Lock()
	now := o.stands[channel]
	if d, ok := o.want[channel]; ok {
		now = d.value
	}
	o.mu.Unlock()
	if now != v {
		o.set(channel, v)
	}
}

// attach says which opened device takes the values. A device opened anew is set to what stood last.
func (o *output) attach(s drivers.Setter) {
	o.mu.Lock()
	o.setter = s
	for ch, v := range o.stands {
		if d, newer := o.want[ch]; newer {
			v = d.value
		}
		o.want[ch] = demand{value: v} // at once, whatever failed before
	}
	o.mu.Unlock()
	o.signal()
}

// inherit makes o demand what was demanded of before, which does not run any more.
func (o *output) inherit(before *output) {
	before.mu.Lock()
	defer before.mu.Unlock()
	maps.Copy(o.stands, before.stands)
	for ch, d := range before.want {
		o.stands[ch] = d.value
	}
}

// detach ends the Set under way, so that the device can be closed, and starts no other. It waits for a driver that does not return,
// but not for ever.
func (o *output) detach() {
	o.mu.Lock()
	o.setter = nil
	cancel, idle := o.cancel, o.idle
	o.mu.Unlock()
	if idle == nil {
		return
	}
	cancel()
	t := time.NewTimer(leaveGrace)
	defer t.Stop()
	select {
	case <-idle:
	case <-t.C:
		o.log.Error("driver does not return from setting an output", "device", o.name)
	}
}

func (o *output) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// run sets until ctx is done.
func (o *output) run(ctx context.Context) {
	again := time.NewTimer(mostRetry)
	defer again.Stop()
	for ctx.Err() == nil {
		pause := time.Duration(0)
		for ctx.Err() == nil && pause == 0 {
			pause = o.one(ctx)
		}
		again.Reset(pause)
		select {
		case <-ctx.Done():
		case <-o.wake:
		case <-again.C:
		}
	}
}

// one sets one channel that is due, and returns how long there is nothing to do unless something new comes; 0 = there may be more.
func (o *output) one(ctx context.Context) (pause time.Duration) {
	o.mu.Lock()
	s, channel, pause := o.setter, "", mostRetry
	var d demand
	for ch, x := range o.want {
		if wait := time.Until(x.due); wait > 0 {
			pause = min(pause, wait)
		} else {
			channel, d = ch, x
		}
	}
	if s == nil || channel == "" {
		o.mu.Unlock()
		return pause
	}
	delete(o.want, channel)
	o.stands[channel] = d.value
	setting, cancel := context.WithTimeout(ctx, setDeadline)
	defer cancel()
	idle := make(chan struct{})
	o.cancel, o.idle = cancel, idle
	o.mu.Unlock()
	err := o.drive(setting, s, channel, d.value)
	o.mu.Lock()
	o.cancel, o.idle = nil, nil
	away := o.setter != s || ctx.Err() != nil // then it is set anew when the device is opened again
	o.mu.Unlock()
	close(idle)
	if err != nil {
		o.log.Error("output not set", "device", o.name, "channel", channel, "value", d.value.String(), "err", err)
	}
	if err == nil || !away {
		o.came(channel, d, err)
	}
	return 0
}

// came notes what became of a Set. A value that was not set is tried again later, unless a newer one came meanwhile.
func (o *output) came(channel string, d demand, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil {
		delete(o.failed, channel)
	} else {
		o.failed[channel] = err
		if _, newer := o.want[channel]; !newer {
			d.pause = min(max(2*d.pause, firstRetry), mostRetry)
			d.due = time.Now().Add(d.pause)
			o.want[channel] = d
		}
	}
	var detail []string
	for _, ch := range slices.Sorted(maps.Keys(o.failed)) {
		detail = append(detail, ch+": "+o.failed[ch].Error())
	}
	o.board.set("output_fault", o.name, len(detail) > 0, strings.Join(detail, "; "))
}

// drive sets one channel; a panic of the driver is an error.
func (o *output) drive(ctx context.Context, s drivers.Setter, channel string, v tidegate.Value) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errPanic, p)
		}
	}()
	return s.Set(ctx, channel, v)
}
