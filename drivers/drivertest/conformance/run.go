package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
)

const (
	// grace is how much longer than its ctx a Read may take; see drivers.Device.
	grace = 100 * time.Millisecond
	// patience is the time-out of a Read, as odd as no driver's own.
	patience = 30*time.Second + 7*time.Millisecond
	// maxOpen is how long Open may take ("a few seconds", drivers.Config).
	maxOpen = 10 * time.Second
	// label marks the goroutines that a driver starts.
	label = "drivertest"
)

// A run is one device opened in one bubble. It is used by one goroutine.
type run struct {
	t        *testing.T
	x        *exam
	h        *drivertest.Host
	cfg      drivers.Config
	channels []drivers.Channel
	ctx      context.Context // of the device
	cancel   context.CancelFunc
	dev      drivers.Device // nil = not open
	isDead   bool           // something did not end, and everything was taken away from the device
	id       string         // value of label
	valuesAs string         // the check that values which no one sent are reported as

	mu    sync.Mutex
	ports []*probe // guarded by mu; the ports that are open
	isOff bool     // guarded by mu; all ports are gone for good
}

func newRun(t *testing.T, x *exam, h *drivertest.Host) *run {
	r := &run{t: t, x: x, h: h, cfg: x.config(), valuesAs: x.now}
	r.id = fmt.Sprintf("%s.%p", x.now, r)
	r.channels = x.channels(r.cfg)
	r.ctx, r.cancel = context.WithCancel(t.Context())
	for name, open := range h.Ports {
		h.Ports[name] = r.unlabelled(open)
	}
	wrap := h.Wrap
	h.Wrap = func(p drivers.Port) drivers.Port {
		if wrap != nil {
			p = wrap(p)
		}
		return r.probe(p)
	}
	return r
}

// unlabelled returns an Opener like open whose goroutines, those of a far end, do not count as the driver's.
func (r *run) unlabelled(open drivertest.Opener) drivertest.Opener {
	return func(ctx context.Context) (drivers.Port, error) {
		pprof.SetGoroutineLabels(context.Background())
		defer pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels(label, r.id)))
		return open(ctx)
	}
}

// probe puts a probe around p.
func (r *run) probe(p drivers.Port) *probe {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := &probe{Port: p, spins: func() { r.x.reportAs("spin", "%d reads and writes without any time passing", maxIdle) }}
	b.isOff.Store(r.isOff)
	r.ports = append(slices.DeleteFunc(r.ports, func(p *probe) bool { return p.isOff.Load() }), b)
	return b
}

// unplugAll makes all ports gone for good, which ends whatever waits for them.
func (r *run) unplugAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.isOff = true
	for _, p := range r.ports {
		_ = p.Close()
	}
}

// call runs f in a goroutine that carries the label, and reports panics and f going on for longer than limit; ok is false then.
func (r *run) call(what string, limit time.Duration, tooLong string, f func()) (ok bool) {
	done := make(chan bool, 1)
	go pprof.Do(context.Background(), pprof.Labels(label, r.id), func(context.Context) {
		ended := false
		defer func() {
			if p := recover(); p != nil {
				r.x.report("%s panics: %v", what, p)
			}
			done <- ended
		}()
		f()
		ended = true
	})
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case ok = <-done:
		return ok
	case <-t.C:
	}
	r.x.reportAs(tooLong, "%s goes on for more than %v", what, limit)
	r.isDead = true
	r.cancel()
	r.unplugAll()
	select {
	case <-done:
	case <-time.After(time.Minute):
		r.t.Errorf("driver %s, check %s: %s does not end, not even with its ctx done and its ports gone", r.x.d.Name, r.x.now, what)
	}
	return false
}

// open opens the device. It is no finding that it cannot be opened.
func (r *run) open() bool {
	if r.isDead {
		return false
	}
	var err error
	ok := r.call("Open", maxOpen, "open-in-time", func() {
		var dev drivers.Device
		if dev, err = r.cfg.Open(r.ctx, r.h); err == nil {
			r.dev = dev
		}
	})
	if !ok {
		return false
	}
	r.judgeErr("Open", err)
	if err == nil && r.dev == nil {
		r.x.reportAs("outcome", "Open returns no device and no error")
	}
	return r.dev != nil
}

// close closes the device.
func (r *run) close() {
	dev := r.dev
	if dev == nil {
		return
	}
	r.dev = nil
	var err error
	if r.call("Close", r.grace(), "close-in-time", func() { err = dev.Close() }) {
		r.judgeErr("Close", err)
	}
}

// end closes everything and reports goroutines that are left over.
func (r *run) end() {
	r.close()
	r.settle()
	if n := r.goroutines(); n > 0 {
		r.x.reportAs("goroutines", "%d are left after Close", n)
	}
	r.cancel()
	r.unplugAll()
	r.settle()
}

// grace returns how much longer than its ctx a call may take; in real time, on a machine that is busy with other tests, that is more.
func (r *run) grace() time.Duration {
	if r.x.o.IsReal {
		return 10 * grace
	}
	return grace
}

// settle waits until all goroutines wait or have ended; in real time, which cannot tell, until the driver has none left, for 3 s at most, on a
// machine that is busy, or for 300 ms where some were left before.
func (r *run) settle() {
	if !r.x.o.IsReal {
		synctest.Wait()
		return
	}
	patience := 3 * time.Second
	r.x.mu.Lock()
	if len(r.x.found["goroutines"]) > 0 {
		patience = r.grace()
	}
	r.x.mu.Unlock()
	for end := time.Now().Add(patience); r.goroutines() > 0 && time.Now().Before(end); {
		wait(time.Millisecond)
	}
}

// goroutines returns how many of those that carry the label run.
func (r *run) goroutines() int {
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		r.t.Fatal(err)
	}
	n, count := 0, 0
	for line := range strings.Lines(b.String()) {
		switch before, _, isCount := strings.Cut(line, " @ "); { // "3 @ 0x46e6 0x4069", and below it "# labels: {...}"
		case isCount:
			var err error
			if count, err = strconv.Atoi(before); err != nil {
				r.t.Fatalf("goroutine profile: %v", err)
			}
		case strings.HasPrefix(line, "# labels:") && strings.Contains(line, strconv.Quote(r.id)):
			n += count
		}
	}
	return n
}

// An outcome is what one Read came to.
type outcome struct {
	values, faults int // readings without and with a fault
	err            error
	ok             bool // Read returned, in time and without panic
}

// A belief says which values a device may report.
type belief int

// The beliefs.
const (
	learn   belief = iota // the device is good: whatever it reports, it was sent
	known                 // the device is disturbed: it may report what the good one has sent, and faults
	nothing               // there is no device: it may report faults only
)

// read reads once, for at most timeout, and judges what comes.
func (r *run) read(timeout time.Duration, b belief) outcome {
	ctx, cancel := context.WithTimeout(r.ctx, timeout)
	defer cancel()
	return r.readCtx(ctx, timeout, b)
}

func (r *run) readCtx(ctx context.Context, timeout time.Duration, b belief) outcome {
	var got []tidegate.Reading
	var o outcome
	o.ok = r.call("Read", timeout+r.grace(), "read-ends", func() {
		readings, err := r.dev.Read(ctx)
		got, o.err = slices.Clone(readings), err
	})
	if !o.ok {
		return o
	}
	r.judgeErr("Read", o.err)
	switch {
	case o.err != nil && len(got) > 0:
		r.x.reportAs("outcome", "Read returns %d readings and an error: %v", len(got), o.err)
	case o.err == nil && len(got) == 0:
		r.x.reportAs("outcome", "Read returns no readings and no error")
	case ctx.Err() != nil && o.err != nil && !errors.Is(o.err, ctx.Err()):
		r.x.reportAs("read-ends", "its ctx is done and the error does not wrap ctx.Err(): %v", o.err)
	}
	for i := range got {
		r.judge(&got[i], b)
		if got[i].Fault == "" {
			o.values++
		} else {
			o.faults++
		}
	}
	return o
}

// judge reports what is wrong with one reading.
func (r *run) judge(g *tidegate.Reading, b belief) {
	x := r.x
	if g.Device != "" {
		x.reportAs("device-blank", "reading of %s says device %q", g.Channel, g.Device)
	}
	i := slices.IndexFunc(r.channels, func(c drivers.Channel) bool { return c.Name == g.Channel })
	if i < 0 {
		x.reportAs("declared", "reading of channel %q, which is not declared", g.Channel)
		return
	}
	if g.Fault != "" {
		if !oneLine(g.Fault) {
			x.reportAs("errors", "fault of %s is not one line: %q", g.Channel, g.Fault)
		}
		return
	}
	c := r.channels[i]
	if g.Unit != c.Unit {
		x.reportAs("declared", "reading of %s in %q, declared in %q", g.Channel, g.Unit, c.Unit)
	}
	switch k := g.Value.Kind(); {
	case k == tidegate.KindNone:
		x.reportAs("kinds", "reading of %s has neither a Value nor a Fault", g.Channel)
	case c.Kind != tidegate.KindNone && k != c.Kind:
		x.reportAs("kinds", "value of %s is a tidegate.%s, declared is Kind%s", g.Channel, kindName(k), kindName(c.Kind))
	}
	if f, isNumber := g.Value.Number(); isNumber && (math.IsNaN(f) || math.IsInf(f, 0)) {
		x.reportAs("finite", "value of %s is %v", g.Channel, f)
		return
	}
	switch {
	case b == learn && !x.isKnown(g.Channel, g.Value):
		x.sent[g.Channel] = append(x.sent[g.Channel], g.Value)
	case b == known && r.h.Requests() > 0 && !x.isKnown(g.Channel, g.Value):
		x.reportAs(r.valuesAs, "%s is %v, which the device has never sent", g.Channel, g.Value)
	case b == nothing && r.h.Requests() > 0:
		x.reportAs(r.valuesAs, "%s is %v, and there is no device", g.Channel, g.Value)
	}
}

// kindName returns what k is called in package tidegate, without "Kind": its String is for technicians, who know one kind of number.
func kindName(k tidegate.Kind) string {
	if names := []string{"None", "Float", "Int", "Uint", "Bool", "Text", "Bytes"}; int(k) < len(names) {
		return names[k]
	}
	return k.String()
}

// judgeErr reports what is wrong with the text of err.
func (r *run) judgeErr(what string, err error) {
	if err == nil {
		return
	}
	s := err.Error()
	switch {
	case !oneLine(s):
		r.x.reportAs("errors", "%s: not one line: %q", what, s)
	case strings.Contains(s, "failed to"), strings.Contains(s, "%!"), strings.HasSuffix(s, "."):
		r.x.reportAs("errors", `%s: has "failed to", "%%!" or a full stop: %q`, what, s)
	}
}

// pause lets the driver's usual interval pass.
func (r *run) pause() { time.Sleep(max(r.x.d.Every, time.Millisecond)) }

// again opens the device anew when err says that it has to be.
func (r *run) again(err error) bool {
	if !errors.Is(err, drivers.ErrGone) {
		return true
	}
	r.close()
	return r.open()
}

// reads reads n times and judges by b. It returns how many values came.
func (r *run) reads(n int, b belief) int {
	values := 0
	for range n {
		o := r.read(patience, b)
		values += o.values
		if !o.ok || !r.again(o.err) {
			break
		}
		r.pause()
	}
	return values
}

// describe returns what a Read came to, for findings.
func (o outcome) describe() string {
	return fmt.Sprintf("%d values, %d faults, error %v", o.values, o.faults, o.err)
}

// wait lets d pass.
func wait(d time.Duration) { <-time.After(d) }
