package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/box"
	"github.com/tidegate-io/tidegate/agent/clock"
	"github.com/tidegate-io/tidegate/agent/output"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/rules"
	"github.com/tidegate-io/tidegate/rules/intake"
	"github.com/tidegate-io/tidegate/sync/wire/frame"
)

// FaultChannel is the channel under which a device that could not be read as a whole reports its fault.
const FaultChannel = rules.DeviceChannel

const (
	// idleShare is how many times as long as its failed Read had it a device that does not answer leaves a bus to the others there: with
	// the Reads before it is found out, it takes at most 5 % of the time.
	idleShare = 24
	// Bounds of the wait after a failed Read or Open.
	firstPause = 50 * time.Millisecond
	quickPause = time.Second      // where failing costs nothing: a port that is not there
	solePause  = 5 * time.Second  // where it costs nobody but the device itself: a bus that no other uses
	longPause  = 10 * time.Minute // where it costs the bus much: two requests of 12 s each and no reply
	panicFirst = time.Second      // where the driver panicked; four times as long each time that it does so again
	panicPause = time.Minute      // at most
	// readMost is how long a Read may take of a device that is read on a schedule; 10 times its interval, if that is more. It is more
	// than what two requests take that wait for the longest timeout there is, a minute.
	readMost = 150 * time.Second
	// readEnds is how long a Read on a schedule may go on when it is to end: the device may have answered, and may have forgotten what it told.
	readEnds = 500 * time.Millisecond
	// leaveGrace is how long a Read and a Set may take to return once they are told to; drivers.Device says 100 ms.
	leaveGrace = 3 * time.Second
	// sayAgain is how often a fault that lasts is reported.
	sayAgain = time.Minute
	// maxBody is the largest record in bytes; a longer one is cut between readings.
	maxBody = 128 << 10
	// maxTold is how many channels' faults are remembered as told.
	maxTold = 4 * tidegate.MaxReadings
)

// errPanic is wrapped by the error that a driver's panic becomes.
var errPanic = errors.New("driver panicked")

// A reader reads one device for as long as it is configured: opens it, reads it on its schedule, and puts every Read into ring 1
// before it asks again. Errors become fault readings and a pause. It runs in one goroutine at a time, but for watch, leave and status.
type reader struct {
	name   string
	driver string
	config drivers.Config
	every  time.Duration // its own interval; 0 = Read waits for the device itself
	host   drivers.Host
	ring   *box.Ring
	clock  func() clock.Stamp
	out    *output.Output // outputs of the device
	intake *intake.Chain  // what becomes of its readings before anything else sees them; guarded by say
	board  *board
	log    *slog.Logger

	failures int           // in a row
	hangs    budget        // calls of the driver that were given up
	panics   budget        // and that panicked
	hung     *atomic.Int64 // calls that were given up and have not returned yet; shared with whoever reads the device after a reload
	meter    drivers.Meter // what the device takes of its buses
	poke     chan struct{} // has room for one: read at once, whatever the schedule says
	asked    atomic.Int64  // interval that rules ask for, nanoseconds; 0 = none
	moved    chan struct{} // has room for one: asked is another one

	say      sync.Mutex // guards what follows; held while something is put into the ring
	buf      []byte     // reused
	saidText string
	saidAt   time.Duration
	told     map[string]told    // faults of channels, while they last
	news     []tidegate.Reading // reused
	taken    []tidegate.Reading // reused
	left     bool               // nothing more may be put: see leave
	sluice   sluice             // bounds what is put

	mu     sync.Mutex // guards all below
	state  status.Device
	newest []tidegate.Reading // of each channel, in the order in which they came first
	took   time.Duration      // by the last call of the driver that returned
	now    *session           // the one that is not given up
	since  time.Time          // when the call of the driver began that has not returned; zero = there is none
	limit  time.Duration      // how long that may take; 0 = as long as it likes
	begun  uint64             // Reads that were begun
	outs   []lookout          // who waits for what a Read says of an output
}

// run reads until ctx is done.
func (r *reader) run(ctx context.Context) {
	r.meter.Device, r.meter.IsSecret = r.name, r.intake.Hides()
	for ctx.Err() == nil {
		err := r.try(drivers.WithMeter(ctx, &r.meter))
		if ctx.Err() != nil {
			return
		}
		err, off := r.blame(err)
		if !off {
			r.fault(err)
			r.idle(ctx, err)
		}
		for ; off && ctx.Err() == nil; off = r.isOff() {
			r.report("off", "device_off", err)
			wait(ctx, sayAgain)
		}
	}
}

// session opens the device and reads it until it must be opened anew, which the error says. What it opens dies with life, which outlives ctx
// as long as outputs take to get to their safe states. Once it was given up it touches nothing more than its device.
func (r *reader) session(ctx, life context.Context, own *session) (err error) {
	defer r.exit(own)
	defer func() {
		if p := recover(); p != nil {
			p = r.intake.Said(p)
			r.log.Error("driver panicked", "device", r.name, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("%w: %v: %w", errPanic, p, drivers.ErrGone)
		}
	}()
	r.enter(own, readMost)
	opening := context.AfterFunc(ctx, own.end) // nothing is driven yet: it need not end well
	dev, err := r.config.Open(life, r.host)
	if err != nil {
		return fmt.Errorf("open: %w", r.intake.Error(err))
	}
	defer r.shut(own, dev)
	if !r.exit(own) || !opening() {
		return nil
	}
	if s, ok := dev.(drivers.Setter); ok {
		r.out.Attach(r.quiet(s))
		defer func() {
			if r.exit(own) {
				r.out.Detach()
			}
		}()
	}
	next := time.Now()
	for ctx.Err() == nil {
		most := r.most()
		r.enter(own, most)
		list, err := r.read(ctx, dev, most)
		if !r.exit(own) {
			return nil
		}
		if len(list) > 0 {
			r.put(list)
			r.ease(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, drivers.ErrGone):
			return err
		case err != nil:
			r.fault(err)
			r.idle(ctx, err)
			next = time.Now()
			continue
		}
		r.well()
		next = r.rest(ctx, next, len(list))
	}
	return nil
}

// pause returns how long to wait after the last call of the driver, which failed with err. What counts is how long it had a bus that
// others wait for; waiting for their turns costs them nothing. follows: it is the interval, and follows it.
func (r *reader) pause(err error) (d time.Duration, follows bool) {
	use := r.meter.Take()
	r.failures++
	grown := firstPause << min(r.failures-1, 15)
	quick := min(grown, quickPause)
	switch {
	case errors.Is(err, errPanic):
		return min(panicFirst<<min(2*(r.failures-1), 6), panicPause), false
	case errors.Is(err, errHung):
		return quickPause, false
	case r.failures == 1 && errors.Is(err, drivers.ErrGone):
		return quick, false // perhaps it is there again at once
	case r.failures == 1:
		return max(quick, r.interval()), true
	case r.every == 0:
		return quick, false // its Read waits for the device, which costs the bus nothing
	case use.IsShared:
		return max(quick, min(idleShare*use.Held, longPause)), false
	case use.Turns == 0: // no bus of ours, or it did not get it
		r.mu.Lock()
		defer r.mu.Unlock()
		use.Held = r.took
	}
	return max(quick, min(idleShare*use.Held, solePause)), false
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
	sound(list)
	taken := r.takeIn(list)
	r.putLocked(r.newsLocked(taken, now), now)
	r.note(taken, list, now)
}

// sound makes faults of readings whose channels have no names: they would become parts of topics, and of payloads.
func sound(list []tidegate.Reading) {
	for i := range list {
		if err := tidegate.CheckName(list[i].Channel); err != nil {
			name := list[i].Channel
			list[i] = tidegate.Reading{Device: list[i].Device, Channel: FaultChannel, Time: list[i].Time, Fault: fmt.Sprintf(
				"the driver reports a channel %q: %v", name[:min(len(name), 40)], err)}
		}
	}
}

// told is a fault of a channel that was put into the ring.
type told struct {
	text string
	at   time.Duration // boot time
}

// newsLocked returns list without the faults that were reported within sayAgain by the same words: what is refused for months must not fill
// the buffer at the rate of the polls. It leaves alone what a talker says, whose faults are of one line each.
func (r *reader) newsLocked(list []tidegate.Reading, now clock.Stamp) []tidegate.Reading {
	hasFault := func(x tidegate.Reading) bool { return x.Fault != "" }
	if r.every == 0 || len(r.told) == 0 && !slices.ContainsFunc(list, hasFault) {
		return list
	}
	if r.told == nil || len(r.told) > maxTold { // new names of channels for ever must not fill memory
		r.told = map[string]told{}
	}
	r.news = r.news[:0]
	for i := range list {
		x := &list[i]
		before, ok := r.told[x.Channel]
		switch {
		case x.Fault == "":
			delete(r.told, x.Channel)
		case ok && before.text == x.Fault && now.Boot-before.at < sayAgain:
			continue
		default:
			r.told[x.Channel] = told{strings.Clone(x.Fault), now.Boot}
		}
		r.news = append(r.news, *x)
	}
	if len(r.news) == len(list) {
		return list
	}
	return r.news
}

// putLocked puts list, cut where it is too long for one record; a value that is too long for any becomes a fault. What the device may not
// put, as the others need the room, is dropped as what a full ring drops: counted, and declared by the judge.
func (r *reader) putLocked(list []tidegate.Reading, now clock.Stamp) {
	rec := tidegate.Record{Class: tidegate.ClassReading, Time: now.Wall, Boot: now.Boot, Quality: now.Quality()}
	for len(list) > 0 && !r.left {
		n := min(len(list), tidegate.MaxReadings)
		rec.Readings = list[:n]
		for r.buf = r.encode(rec); len(r.buf) > maxBody && n > 1; r.buf = r.encode(rec) {
			n /= 2
			rec.Readings = list[:n]
		}
		size := len(r.buf)
		if size > maxBody {
			list[0].Value, list[0].Fault = tidegate.Value{}, fmt.Sprintf("value takes %d bytes, at most %d can be kept", size, maxBody)
			r.buf = r.encode(rec)
		}
		if !r.sluice.take(time.Now(), n, min(size, floodBytes)) {
			r.ring.Drop((len(list)+tidegate.MaxReadings-1)/tidegate.MaxReadings, len(list), now.Wall.UnixMilli(), 0)
			r.sluice.dropped += len(list)
			return
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
func (r *reader) fault(err error) { r.report("fault", "device_fault", err) }

// report is fault with what the device is then, and the condition that says so.
func (r *reader) report(state, code string, err error) {
	if err == nil {
		return
	}
	text := err.Error()
	r.answer(err)
	r.say.Lock()
	defer r.say.Unlock()
	now := r.clock()
	r.mu.Lock()
	r.state.State, r.state.LastError = state, text
	r.state.Faults++
	r.mu.Unlock()
	if r.left || text == r.saidText && now.Boot-r.saidAt < sayAgain {
		return
	}
	r.saidText, r.saidAt = text, now.Boot
	args := []any{"device", r.name, "err", err}
	if bus := r.meter.Bus(); bus != nil {
		args = append(args, "bus", bus.Name(), "last", bus.Dump())
	}
	r.log.Warn("device cannot be read", args...)
	for _, c := range deviceConditions {
		if c != "device_flood" {
			r.board.set(c, r.name, c == code, text)
		}
	}
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
	r.out.Again()
	r.board.set("device_fault", r.name, false, "")
	r.board.set("device_off", r.name, false, "")
}
