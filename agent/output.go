package agent

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// setDeadline bounds one Set: a relay that does not answer holds up nothing but itself.
const setDeadline = 5 * time.Second

// An output drives the outputs of one device. Rules leave what they demand in it, one place a channel, the newest wins; its own
// goroutine brings it to the device, also while Read waits, and again after the device was opened anew.
type output struct {
	name string
	log  *slog.Logger
	wake chan struct{}

	mu     sync.Mutex // guards all below
	setter drivers.Setter
	want   map[string]tidegate.Value // not yet set
	stands map[string]tidegate.Value // set last
	cancel context.CancelFunc        // ends the Set under way; nil = there is none
	idle   chan struct{}             // closed when the Set under way has returned; nil = there is none
}

func newOutput(name string, log *slog.Logger) *output {
	return &output{
		name: name, log: log, wake: make(chan struct{}, 1), want: map[string]tidegate.Value{}, stands: map[string]tidegate.Value{},
	}
}

// set leaves v for the channel. It does not wait.
func (o *output) set(channel string, v tidegate.Value) {
	o.mu.Lock()
	o.want[channel] = v
	o.mu.Unlock()
	o.signal()
}

// demand is set for what may stand already: where it does, or is about to, nothing is done.
func (o *output) demand(channel string, v tidegate.Value) {
	o.mu.Lock()
	now, ok := o.want[channel]
	if !ok {
		now = o.stands[channel]
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
		if _, newer := o.want[ch]; !newer {
			o.want[ch] = v
		}
	}
	o.mu.Unlock()
	o.signal()
}

// inherit makes o demand what was demanded of before, which does not run any more.
func (o *output) inherit(before *output) {
	before.mu.Lock()
	defer before.mu.Unlock()
	maps.Copy(o.stands, before.stands)
	maps.Copy(o.stands, before.want)
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
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.wake:
		}
		for ctx.Err() == nil && o.one(ctx) {
		}
	}
}

// one sets one channel and reports whether there may be more.
func (o *output) one(ctx context.Context) bool {
	o.mu.Lock()
	s := o.setter
	var channel string
	var v tidegate.Value
	for channel, v = range o.want {
		break
	}
	if s == nil || channel == "" {
		o.mu.Unlock()
		return false
	}
	delete(o.want, channel)
	o.stands[channel] = v
	ctx, cancel := context.WithTimeout(ctx, setDeadline)
	defer cancel()
	idle := make(chan struct{})
	o.cancel, o.idle = cancel, idle
	o.mu.Unlock()
	err := o.drive(ctx, s, channel, v)
	o.mu.Lock()
	o.cancel, o.idle = nil, nil
	o.mu.Unlock()
	close(idle)
	if err != nil {
		o.log.Error("output not set", "device", o.name, "channel", channel, "value", v.String(), "err", err)
	}
	return true
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
