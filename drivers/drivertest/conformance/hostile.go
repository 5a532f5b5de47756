package conformance

import (
	"runtime"
	"sync/atomic"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate/drivers/drivertest"
)

// checkFlood sends 2 MB without an end, and looks at how much of it is kept.
func (x *exam) checkFlood() {
	const most = 384 << 10 // some 200 KiB of it are the fake port's, 15 the ring's of the bus
	x.bubble(drivertest.Noise(1024, 0, time.Millisecond, drivertest.Always('A')), func(r *run) {
		before := heap()
		for end := time.Now().Add(2*time.Second + 300*time.Microsecond); time.Now().Before(end) && r.dev != nil; {
			o := r.read(time.Until(end), nothing)
			if !o.ok || !r.again(o.err) {
				return
			}
			wait(time.Millisecond)
		}
		if kept := heap() - before; kept > most {
			x.report("%d KiB are kept of 2 MB of a frame without end, want at most %d", kept>>10, most>>10)
		}
		runtime.KeepAlive(r.dev)
	})
}

// heap returns how many bytes are in use in a bubble when all in it wait: what just ends, a far end that was hung up for instance, keeps nothing.
func heap() int64 {
	synctest.Wait()
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// checkFlipped flips one bit of every burst, another each time. It does not apply where a frame has no checksum.
func (x *exam) checkFlipped() {
	if x.o.IsUnchecked {
		return
	}
	disturbed(false, 10, 0, func(n int, b []byte) []drivertest.Piece {
		bit := n * 13 % (8 * len(b))
		b[bit/8] ^= 1 << (bit % 8)
		return []drivertest.Piece{{Bytes: b}}
	})(x)
}

// checkSilence lets nobody answer. A device that is read at an interval must find that out by itself, because others wait for its bus.
func (x *exam) checkSilence() {
	x.bubble(drivertest.Silence, func(r *run) {
		for range 6 {
			start := time.Now()
			o := r.read(patience, nothing)
			if o.ok && x.d.Every > 0 && r.h.Requests() > 0 && time.Since(start) >= patience {
				x.report("Read waits for an answer until its ctx is done, after %v: %s", patience, o.describe())
			}
			if !o.ok || !r.again(o.err) {
				return
			}
			r.pause()
		}
	})
}

// checkLate holds answers up, and then leaves those of one Read in the line while the device answers the next one no more.
func (x *exam) checkLate() {
	disturbed(false, 12, 0, drivertest.Lately)(x)
	var late drivertest.Late
	x.bubble(func(h *drivertest.Host) { h.Wrap = late.Wrap }, func(r *run) {
		r.valuesAs = "silence" // for the driver nothing else happens in the first Read
		o := r.read(patience, known)
		if !o.ok || o.values > 0 || !late.IsAsked() || !r.again(o.err) {
			return // it asks nobody, or not at a port
		}
		late.Answer()
		r.pause()
		if o = r.read(patience, known); o.values > 0 {
			x.report("a Read that the device does not answer has %d values: those that it sent too late for the Read before", o.values)
		}
	})
}

// checkUnplug pulls the cable in the middle of a frame, and plugs it in again.
func (x *exam) checkUnplug() {
	var isOut, wasOut atomic.Bool // a driver may read the port in a goroutine
	cut := drivertest.Disturb(func(n int, b []byte) []drivertest.Piece {
		if n == 1 && !wasOut.Swap(true) {
			isOut.Store(true)
		}
		if isOut.Load() {
			return []drivertest.Piece{{Bytes: b[:len(b)/2]}, {Unplug: true}}
		}
		return []drivertest.Piece{{Bytes: b}}
	})
	x.bubble(cut, func(r *run) {
		for i := range 3 * x.o.Reads {
			start := time.Now()
			o := r.read(patience, known)
			if o.ok && isOut.Load() && time.Since(start) >= patience {
				x.report("Read waits on although the port is gone: %s", o.describe())
			}
			if !o.ok || !r.again(o.err) {
				return
			}
			if i > x.o.Reads {
				isOut.Store(false) // plugged in again
			}
			r.pause()
		}
		if !wasOut.Load() || isOut.Load() || len(x.sent) == 0 || r.dev == nil {
			return
		}
		if r.reads(3+x.o.Reads, known) == 0 {
			x.reportAs("replug", "no value comes in %d Reads", 3+x.o.Reads)
		}
	})
}
