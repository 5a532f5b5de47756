// Package output drives the outputs of one device: to what rules demand and people ask for, within the limits that its driver declares;
// again after a Set that failed or when the device was opened anew; and to the safe state when the gateway stops.
//
// There is one place a channel, and the newest value wins, whoever it is from: a rule, a command, a person. A person's value stands until a rule
// demands another one, which it does when its state changes, and again when the gateway is started.
package output

import (
	"context"
	"errors"
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

const (
	// setDeadline bounds one Set: a relay that does not answer holds up nothing but itself.
	setDeadline = 5 * time.Second
	// grace is how long a Set may take to return once it is told to; drivers.Device says 100 ms.
	grace = 3 * time.Second
	// safeDeadline bounds all Sets of one device on the way out: less than what the gateway waits for a device that stops.
	safeDeadline = 2 * time.Second
	// hungMost is how many Sets of a device may hang before no other is begun: each holds memory and a goroutine.
	hungMost = 5
)

// A Set that failed is tried again after a pause, which doubles each time.
const (
	firstRetry = time.Second
	mostRetry  = time.Minute
)

var (
	errHung   = errors.New("the driver has not returned from setting an output")
	errNewer  = errors.New("not set: a newer value came")
	errStops  = errors.New("not set: the device is being stopped")
	errAway   = errors.New("its device was closed meanwhile")
	errLate   = errors.New("the call returned long after it was given up")
	errClosed = errors.New("not set: the device is not open now; `tidegate status` says why")
)

// Options say what outputs there are, and who is told.
type Options struct {
	Device   string
	Channels []drivers.Channel // of the device, as far as they are known
	Lock     *Interlock        // of the whole gateway; nil = nothing holds anything back
	Stop     <-chan struct{}   // closed when ctx of Run is done
	Log      *slog.Logger
	// Fault says whether an output is not what was demanded of it, and why.
	Fault func(holds bool, detail string)
}

// An Output drives the outputs of one device. Its own goroutine, which is in Run, brings values to the device, also while Read waits.
type Output struct {
	o     Options
	wake  chan struct{}
	ended chan struct{}   // closed when Run has returned
	outs  map[string]bool // channels that are outputs

	mu     sync.Mutex // guards all below; taken before that of an Interlock
	setter drivers.Setter
	number uint64 // of the session of setter
	places map[string]*place
	keep   bool               // nothing goes to its safe state at the end
	stuck  bool               // a Set of setter hangs: no other may be begun
	hung   int                // Sets that hang now
	cancel context.CancelFunc // ends the Set under way; nil = there is none
	idle   chan struct{}      // closed when the Set under way has returned; nil = there is none
}

// A place is what is to be known of one channel.
type place struct {
	want    *demand        // not yet set
	stands  tidegate.Value // set last; KindNone = nothing was
	changed time.Time      // when the last Set ended that was of another value than the one before
	failed  error          // why the last Set did not go through
	refused error          // why the newest value was not even tried
	isBusy  bool           // a Set of it is under way
	// isSpoiled: a call that hung has returned since the last Set was begun, and may have changed what stands.
	isSpoiled bool
}

// A demand is a value for one channel.
type demand struct {
	value   tidegate.Value
	pause   time.Duration  // after the last failed Set of it; 0 = there was none
	due     time.Time      // not before
	asked   chan error     // takes what became of it, once; nil = a rule demands it, and it is tried until it is set
	over    *demand        // asked: what a rule demanded before, which comes back when this one is not set
	isBegun bool           // a Set of it, or of a step towards it, was begun
	before  tidegate.Value // isBegun: what stood then
	isMany  bool           // it goes in steps
	isLeft  bool           // nobody waits for it any more
}

func (d *demand) answer(err error) {
	if d != nil && d.asked != nil {
		d.asked <- err // it has room for one, and there is one
		d.asked = nil
	}
}

// New returns the outputs of a device that is not open yet.
func New(o Options) *Output {
	if o.Lock == nil {
		o.Lock = NewInterlock()
	}
	outs := map[string]bool{}
	for i := range o.Channels {
		if o.Channels[i].Output {
			outs[o.Channels[i].Name] = true
		}
	}
	return &Output{o: o, wake: make(chan struct{}, 1), ended: make(chan struct{}), outs: outs, places: map[string]*place{}}
}

// Hung returns how many Sets hang.
func (o *Output) Hung() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.hung
}

// channel returns what is declared of a channel; nothing of one that is not known.
func (o *Output) channel(name string) (c drivers.Channel) {
	for i := range o.o.Channels {
		if o.o.Channels[i].Name == name {
			return o.o.Channels[i]
		}
	}
	return c
}

func (o *Output) name(channel string) Name { return Name{o.o.Device, channel} }

// isWhole reports whether the channel takes whole numbers only.
func (o *Output) isWhole(channel string) bool {
	k := o.channel(channel).Kind
	return k == tidegate.KindInt || k == tidegate.KindUint
}

// check returns why channel must not be set to v.
func (o *Output) check(channel string, v tidegate.Value) error {
	i := slices.IndexFunc(o.o.Channels, func(c drivers.Channel) bool { return c.Name == channel })
	switch {
	case i >= 0:
		return o.o.Channels[i].Accept(v)
	case len(o.o.Channels) == 0: // the driver does not say what it has: it refuses itself what it has not
		return (&drivers.Channel{Output: true}).Accept(v)
	}
	return errors.New("the device has no such channel")
}

func (o *Output) placeLocked(channel string) *place {
	p := o.places[channel]
	if p == nil {
		p = &place{}
		o.places[channel] = p
	}
	return p
}

// Set leaves v for the channel, as a rule demands it. It does not wait. A value that the output must not have is shown as a fault.
func (o *Output) Set(channel string, v tidegate.Value) {
	err := o.check(channel, v)
	o.mu.Lock()
	if err != nil {
		o.o.Log.Error("value refused for an output", "device", o.o.Device, "channel", channel, "err", err)
		o.placeLocked(channel).refused = fmt.Errorf("refused: %w", err)
		o.showLocked()
	} else {
		o.leaveLocked(channel, &demand{value: v})
	}
	o.mu.Unlock()
	o.signal()
}

// leaveLocked puts d in the place of what was not yet set.
func (o *Output) leaveLocked(channel string, d *demand) {
	p := o.placeLocked(channel)
	if old := p.want; old != nil && d.asked != nil {
		if d.over = old; old.asked != nil {
			d.over = old.over
		}
	}
	p.want.answer(errNewer)
	p.want = d
	if p.refused != nil {
		p.refused = nil
		o.showLocked()
	}
}

// Demand is Set for what may stand already: where it does, or is about to, nothing is done.
func (o *Output) Demand(channel string, v tidegate.Value) {
	o.mu.Lock()
	p := o.placeLocked(channel)
	now := p.stands
	if p.want != nil {
		now = p.want.value
	}
	o.mu.Unlock()
	if now != v {
		o.Set(channel, v)
	}
}

// Attach says which opened device takes the values. A device opened anew is set to what stood last; one of which nothing stands yet to its
// safe states, because what an earlier process left there is not known: it may have been killed, and the device away when `tidegate safe` ran.
func (o *Output) Attach(s drivers.Setter) {
	o.mu.Lock()
	o.setter = s
	o.number = o.o.Lock.attach(o.o.Device)
	o.stuck = o.hung >= hungMost
	for i := range o.o.Channels {
		c := &o.o.Channels[i]
		if !c.Output || !c.Limits.HasSafe() {
			continue
		}
		if p := o.placeLocked(c.Name); p.want == nil && p.stands.Kind() == tidegate.KindNone {
			p.want = &demand{value: c.Limits.Safe}
		}
	}
	for _, p := range o.places {
		switch {
		case p.want != nil:
			p.want.due = time.Time{} // at once, whatever failed before
		case p.stands.Kind() != tidegate.KindNone:
			p.want = &demand{value: p.stands}
		}
	}
	o.showLocked()
	o.mu.Unlock()
	o.signal()
}

// Again tries at once what failed and would be tried later: the device answers again.
func (o *Output) Again() {
	o.mu.Lock()
	for _, p := range o.places {
		if p.want != nil && p.want.pause > 0 {
			p.want.due = time.Time{}
		}
	}
	o.mu.Unlock()
	o.signal()
}

// Inherit makes o demand what was demanded of before, whose Run has ended, or hangs.
func (o *Output) Inherit(before *Output) {
	before.mu.Lock()
	defer before.mu.Unlock()
	for ch, p := range before.places {
		x := &place{stands: p.stands, changed: p.changed}
		if p.want != nil {
			x.stands = p.want.value
		}
		o.places[ch] = x
	}
}

// Keep says that the outputs stay as they are when Run ends: the device goes on under other settings.
func (o *Output) Keep() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.keep = true
}

// Detach ends the Set under way, so that the device can be closed, and starts no other. It waits for a driver that does not return, but
// not for ever; and when all is stopped, until the outputs are in their safe states.
func (o *Output) Detach() {
	select {
	case <-o.o.Stop:
		o.await(o.ended)
	default:
	}
	o.mu.Lock()
	o.setter = nil
	cancel, idle, number := o.cancel, o.idle, o.number
	o.dropLocked(errClosed)
	o.mu.Unlock()
	if idle != nil {
		cancel()
		o.await(idle)
	}
	o.o.Lock.detach(o.o.Device, number)
}

// dropLocked answers all who wait for what they asked for.
func (o *Output) dropLocked(err error) {
	for _, p := range o.places {
		if d := p.want; d != nil && d.asked != nil {
			p.want = nil
			p.drop(d, err)
		}
	}
}

// await waits for done, at most as long as a driver may take that is told to return.
func (o *Output) await(done <-chan struct{}) {
	t := time.NewTimer(grace + 100*time.Millisecond)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}

func (o *Output) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// showLocked says what is not as it was demanded.
func (o *Output) showLocked() {
	var detail []string
	if o.stuck {
		detail = append(detail, o.stuckLocked().Error())
	}
	for _, ch := range slices.Sorted(maps.Keys(o.places)) {
		for _, err := range []error{o.places[ch].refused, o.places[ch].failed} {
			if err != nil {
				detail = append(detail, ch+": "+err.Error())
			}
		}
	}
	o.o.Fault(len(detail) > 0, strings.Join(detail, "; "))
}

func (o *Output) stuckLocked() error {
	if o.hung >= hungMost {
		return fmt.Errorf("%w, %d calls hang; no output of the device is set until they return or the gateway is restarted", errHung, o.hung)
	}
	return fmt.Errorf("%w, %d calls hang; no output of the device is set until it is opened anew", errHung, o.hung)
}
