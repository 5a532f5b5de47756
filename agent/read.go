package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/box"
	"github.com/tidegate-io/tidegate/agent/clock"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
)

// FaultChannel is the channel under which a device that could not be read as a whole reports its fault.
const FaultChannel = "_device"

const (
	// idleShare is how many times as long as its failed Read took a device that does not answer leaves its bus alone: with the Reads
	// before it is found out, it takes at most 5 % of the time.
	idleShare = 24
	// Bounds of the wait after a failed Read or Open.
	firstPause = 50 * time.Millisecond
	quickPause = time.Second      // where failing costs nothing: a port that is not there
	longPause  = 10 * time.Minute // where it costs the bus much: two requests of 12 s each and no reply
	panicPause = time.Minute      // where the driver panics again and again
	// readMost is how long a Read may take of a device that is read on a schedule; 10 times its interval, if that is more. It is more
	// than what two requests take that wait for the longest timeout there is, a minute.
	readMost = 150 * time.Second
	// leaveGrace is how long a Read and a Set may take to return once they are told to; drivers.Device says 100 ms.
	leaveGrace = 3 * time.Second
	// sayAgain is how often a fault that lasts is reported.
	sayAgain = time.Minute
	// maxBody is the largest record in bytes; a longer one is cut between readings.
	maxBody = 128 << 10
)

// errPanic is wrapped by the error that a driver's panic becomes.
var errPanic = errors.New("driver panicked")

// A reader reads one device for as long as it is configured: opens it, reads it on its schedule, and puts every Read into ring 1
// before it asks again. Errors become fault readings and a pause. It runs in one goroutine, but for watch, leave and status.
type reader struct {
	name   string
	driver string
	config drivers.Config
	every  time.Duration // 0 = Read waits for the device itself
	host   drivers.Host
	ring   *box.Ring
	clock  func() clock.Stamp
	out    *output // outputs of the device
	board  *board
	log    *slog.Logger

	failures int // in a row

	say      sync.Mutex // guards what follows; held while something is put into the ring
	buf      []byte     // reused
	saidText string
	saidAt   time.Duration
	left     bool // nothing more may be put: see leave

	mu     sync.Mutex // guards state, newest and since
	state  status.Device
	newest []tidegate.Reading // of each channel, in the order in which they came first
	since  time.Time          // when the call of the driver began that has not returned; zero = there is none
}

// run reads until ctx is done.
func (r *reader) run(ctx context.Context) {
	for ctx.Err() == nil {
		cost, err := r.session(ctx)
		if ctx.Err() != nil {
			return
		}
		r.fault(err)
		wait(ctx, r.pause(cost, err))
	}
}

// session opens the device and reads it until it must be opened anew; cost is how long the call took that said so.
func (r *reader) session(ctx context.Context) (cost time.Duration, err error) {
	start := r.enter()
	defer func() { cost = time.Since(start); r.exit() }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			r.log.Error("driver panicked", "device", r.name, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("%w: %v: %w", errPanic, p, drivers.ErrGone)
		}
	}()
	dev, err := r.config.Open(ctx, r.host)
	if err != nil {
		return 0, fmt.Errorf("open: %w", err)
	}
	defer func() {
		if e := dev.Close(); e != nil {
			r.log.Debug("close device", "device", r.name, "err", e)
		}
	}()
	if s, ok := dev.(drivers.Setter); ok {
		r.out.attach(s)
		defer r.out.detach()
	}
	next := time.Now()
	for {
		start = r.enter()
		list, err := r.read(ctx, dev)
		r.exit()
		if len(list) > 0 {
			r.put(list)
		}
		switch {
		case ctx.Err() != nil:
			return 0, nil
		case errors.Is(err, drivers.ErrGone):
			return 0, err
		case err != nil:
			r.fault(err)
			wait(ctx, r.pause(time.Since(start), err))
			next = time.Now()
			continue
		}
		r.well()
		if r.every > 0 {
			next = r.due(next)
			wait(ctx, time.Until(next))
		} else if len(list) == 0 {
			wait(ctx, firstPause) // a driver that neither waits nor reports must not spin
		}
		if ctx.Err() != nil {
			return 0, nil
		}
	}
}

// read reads dev once, within the time that a Read may take.
func (r *reader) read(ctx context.Context, dev drivers.Device) ([]tidegate.Reading, error) {
	most := r.most()
	if most == 0 {
		return dev.Read(ctx)
	}
	limited, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	list, err := dev.Read(limited)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("no answer within %v: %w", most, err)
	}
	return list, err
}

// most returns how long a Read may take; 0 = as long as it likes, because it waits for the device.
func (r *reader) most() time.Duration {
	if r.every == 0 {
		return 0
	}
	return max(readMost, 10*r.every)
}

// enter notes that a call of the driver begins, and returns when.
func (r *reader) enter() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.since = time.Now()
	return r.since
}

// exit notes that it has returned.
func (r *reader) exit() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.since = time.Time{}
}

// watch reports the device as faulty while a call of its driver does not return although it was told to: for ever, perhaps.
func (r *reader) watch() {
	most := r.most()
	r.mu.Lock()
	since := r.since
	r.mu.Unlock()
	if most == 0 || since.IsZero() || time.Since(since) < most+leaveGrace {
		return
	}
	r.fault(fmt.Errorf("the driver has not returned for more than %v; only a restart of the gateway frees it", most))
}

// leave makes sure that the reader puts nothing more into the ring, whatever its driver does.
func (r *reader) leave() {
	r.say.Lock()
	defer r.say.Unlock()
	r.left = true
}

// hasLeft reports whether leave was called.
func (r *reader) hasLeft() bool {
	r.say.Lock()
	defer r.say.Unlock()
	return r.left
}

// due returns the next time on the device's grid. Times that were missed are left out, not made up for.
func (r *reader) due(last time.Time) time.Time {
	next := last.Add(r.every)
	if late := time.Since(next); late > 0 {
		next = next.Add(late / r.every * r.every)
		if late%r.every > 0 && late > r.every {
			next = next.Add(r.every)
		}
	}
	return next
}

// pause returns how long to wait after a failure that took cost.
func (r *reader) pause(cost time.Duration, err error) time.Duration {
	r.failures++
	grown := firstPause << min(r.failures-1, 15)
	quick := min(grown, quickPause)
	switch {
	case errors.Is(err, errPanic):
		return min(grown, panicPause)
	case r.failures == 1 && errors.Is(err, drivers.ErrGone):
		return quick // perhaps it is there again at once
	case r.failures == 1:
		return max(quick, r.every)
	case r.every == 0:
		return quick // its Read waits for the device, which costs the bus nothing
	}
	return max(quick, min(idleShare*cost, longPause))
}

func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// put stamps what a Read returned and puts it into ring 1.
func (r *reader) put(list []tidegate.Reading) {
	r.say.Lock()
	defer r.say.Unlock()
	now := r.clock()
	for i := range list {
		list[i].Device = r.name
		if list[i].Time.Equal(now.Wall) {
			list[i].Time = time.Time{}
		}
	}
	r.putLocked(list, now)
	r.note(list, now)
}

// putLocked puts list, cut where it is too long for one record; a value that is too long for any becomes a fault.
func (r *reader) putLocked(list []tidegate.Reading, now clock.Stamp) {
	rec := tidegate.Record{Class: tidegate.ClassReading, Time: now.Wall, Boot: now.Boot, Quality: now.Quality()}
	for len(list) > 0 && !r.left {
		n := min(len(list), tidegate.MaxReadings)
		rec.Readings = list[:n]
		for r.buf = r.encode(rec); len(r.buf) > maxBody && n > 1; r.buf = r.encode(rec) {
			n /= 2
			rec.Readings = list[:n]
		}
		if len(r.buf) > maxBody {
			list[0].Value, list[0].Fault = tidegate.Value{}, fmt.Sprintf("value takes %d bytes, at most %d can be kept", len(r.buf), maxBody)
			r.buf = r.encode(rec)
		}
		if _, err := r.ring.Put(false, r.buf); err != nil {
			r.ring.Drop(1, n, now.Wall.UnixMilli(), 0)
		}
		list = list[n:]
	}
}

// encode returns rec as an entry of ring 1: its class and rows.
func (r *reader) encode(rec tidegate.Record) []byte {
	return frame.AppendRows(append(r.buf[:0], byte(rec.Class)), []tidegate.Record{rec})
}

// fault reports that the device could not be read: when it begins, when it changes, and once a minute.
func (r *reader) fault(err error) {
	if err == nil {
		return
	}
	text := err.Error()
	r.say.Lock()
	defer r.say.Unlock()
	now := r.clock()
	r.mu.Lock()
	r.state.State, r.state.LastError = "fault", text
	r.state.Faults++
	r.mu.Unlock()
	if r.left || text == r.saidText && now.Boot-r.saidAt < sayAgain {
		return
	}
	r.saidText, r.saidAt = text, now.Boot
	r.log.Warn("device cannot be read", "device", r.name, "err", err)
	r.board.set("device_fault", r.name, true, text)
	r.putLocked([]tidegate.Reading{{Device: r.name, Channel: FaultChannel, Fault: text}}, now)
}

// well notes a Read that went well.
func (r *reader) well() {
	r.failures = 0
	r.say.Lock()
	defer r.say.Unlock()
	if r.saidText == "" {
		return
	}
	r.saidText = ""
	r.log.Info("device is read again", "device", r.name)
	r.board.set("device_fault", r.name, false, "")
}

// note keeps counts and newest values for the status.
func (r *reader) note(list []tidegate.Reading, now clock.Stamp) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.state
	s.LastRead = now.Wall
	s.Reads++
	s.State, s.LastError = "ok", ""
	for i := range list {
		x := &list[i]
		if x.Fault != "" {
			s.Faults++
			s.State, s.LastError = "fault", x.Channel+": "+x.Fault
		} else {
			s.Readings++
		}
		r.newestLocked(i, x, now)
	}
}

// Bounds of what the status shows of a device: channels, and bytes of a text.
const (
	shownValues = 64
	shownBytes  = 200
)

// newestLocked keeps x, which came i-th: most devices report the same channels each time.
func (r *reader) newestLocked(i int, x *tidegate.Reading, now clock.Stamp) {
	if i >= len(r.newest) || r.newest[i].Channel != x.Channel {
		i = slices.IndexFunc(r.newest, func(y tidegate.Reading) bool { return y.Channel == x.Channel })
		if i < 0 && len(r.newest) < shownValues {
			i = len(r.newest)
			r.newest = append(r.newest, tidegate.Reading{})
		}
		if i < 0 {
			return
		}
	}
	r.newest[i] = *x
	r.newest[i].Time = now.Wall
}

// status returns the device's state.
func (r *reader) status() status.Device {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.state
	for i := range r.newest {
		x := &r.newest[i]
		v := status.Value{Channel: x.Channel, Unit: x.Unit, Fault: x.Fault, Time: x.Time}
		if x.Fault == "" {
			v.Value = shown(x.Value)
		}
		s.Values = append(s.Values, v)
	}
	return s
}

// shown returns v as text, cut where it is long.
func shown(v tidegate.Value) string {
	text, ok := v.Text()
	if !ok || len(text) <= shownBytes {
		return v.String()
	}
	n := shownBytes
	for v.Kind() == tidegate.KindText && n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return tidegate.RawValue(v.Kind(), 0, text[:n]).String() + "..."
}
