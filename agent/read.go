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
	// busShare is what a device that does not answer may take of its bus: it waits 19 times as long as its failed Read took.
	busShare = 20
	// Bounds of the wait after a failed Read or Open.
	firstPause = 50 * time.Millisecond
	quickPause = time.Second      // where failing costs nothing: a port that is not there
	longPause  = 60 * time.Second // where it costs the bus much
	// sayAgain is how often a fault that lasts is reported.
	sayAgain = time.Minute
	// maxBody is the largest record in bytes; a longer one is cut between readings.
	maxBody = 128 << 10
)

// A reader reads one device for as long as it is configured: opens it, reads it on its schedule, and puts every Read into ring 1
// before it asks again. Errors become fault readings and a pause. It runs in one goroutine.
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

	buf      []byte // reused
	saidText string
	saidAt   time.Duration
	failures int

	mu     sync.Mutex // guards state and newest
	state  status.Device
	newest []tidegate.Reading // of each channel, in the order in which they came first
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
	start := time.Now()
	defer func() { cost = time.Since(start) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			r.log.Error("driver panicked", "device", r.name, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("driver panicked: %v: %w", p, drivers.ErrGone)
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
		defer r.out.attach(nil)
	}
	next := time.Now()
	for {
		start = time.Now()
		list, err := dev.Read(ctx)
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
	quick := min(firstPause<<min(r.failures-1, 10), quickPause)
	if r.failures == 1 && !errors.Is(err, drivers.ErrGone) {
		return max(quick, r.every)
	}
	return max(quick, min((busShare-1)*cost, longPause))
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
	now := r.clock()
	for i := range list {
		list[i].Device = r.name
		if list[i].Time.Equal(now.Wall) {
			list[i].Time = time.Time{}
		}
	}
	r.note(list, now)
	rec := tidegate.Record{Class: tidegate.ClassReading, Time: now.Wall, Boot: now.Boot, Quality: now.Quality()}
	for len(list) > 0 {
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
	now := r.clock()
	r.mu.Lock()
	r.state.State, r.state.LastError = "fault", text
	r.state.Faults++
	r.mu.Unlock()
	if text == r.saidText && now.Boot-r.saidAt < sayAgain {
		return
	}
	r.saidText, r.saidAt = text, now.Boot
	r.log.Warn("device cannot be read", "device", r.name, "err", err)
	r.board.set("device_fault", r.name, true, text)
	r.put([]tidegate.Reading{{Channel: FaultChannel, Fault: text}})
}

// well notes a Read that went well.
func (r *reader) well() {
	if r.failures == 0 && r.saidText == "" {
		return
	}
	if r.saidText != "" {
		r.log.Info("device is read again", "device", r.name)
		r.board.set("device_fault", r.name, false, "")
	}
	r.failures, r.saidText = 0, ""
}

// note keeps counts and newest values for the status.
func (r *reader) note(list []tidegate.Reading, now clock.Stamp) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.state
	s.LastRead = now.Wall
	if len(list) == 1 && list[0].Channel == FaultChannel {
		return
	}
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

// shownValues bounds the channels whose newest value the status shows, per device.
const shownValues = 64

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
			v.Value = x.Value.String()
		}
		s.Values = append(s.Values, v)
	}
	return s
}
