package agent

import (
	"context"
	"fmt"
	"log/slog"
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

// attach says which opened device takes the values; nil = none for now. A device opened anew is set to what stood last.
func (o *output) attach(s drivers.Setter) {
	o.mu.Lock()
	o.setter = s
	if s != nil {
		for ch, v := range o.stands {
			if _, newer := o.want[ch]; !newer {
				o.want[ch] = v
			}
		}
	}
	o.mu.Unlock()
	o.signal()
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
		for o.one(ctx) {
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
	o.mu.Unlock()
	if err := o.drive(ctx, s, channel, v); err != nil {
		o.log.Error("output not set", "device", o.name, "channel", channel, "value", v.String(), "err", err)
	}
	return ctx.Err() == nil
}

func (o *output) drive(ctx context.Context, s drivers.Setter, channel string, v tidegate.Value) (err error) {
	ctx, cancel := context.WithTimeout(ctx, setDeadline)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("driver panicked: %v", p)
		}
	}()
	return s.Set(ctx, channel, v)
}
