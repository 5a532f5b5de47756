package modbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/modbus/link"
)

const (
	silentMost   = 2                // requests in a row without a reply that end a Read
	silentOnTCP  = 4                // as many and a connection is given up: it may be dead without a word
	silentLong   = 10               // as many and what was learned of the unit is forgotten
	missesMost   = 3                // Reads in a row without a reply to one request, though the unit answered others
	requestsMost = 8                // one request and the probes ahead of it; link.RTU wants fewer
	cutsMost     = 32               // cuts in one Read, so that a map which is all wrong does not hold up the line
	pauseLeast   = 10 * time.Second // how long a refused request is left alone the first time; then twice as long each time
	pauseMost    = 10 * time.Minute
	relearn      = 24 * time.Hour // after which what was learned is tried anew
)

// framing carries one request over a port: link.RTU or link.TCP.
type framing interface {
	Exchange(p drivers.Port, q link.Request) ([]byte, error)
	Probe(q link.Request, spans []link.Request) (p link.Request, ok bool)
}

// device is one unit that is read.
type device struct {
	where string // "unit 3 on /dev/ttyUSB0"
	bus   *drivers.Bus
	link  framing

	patient  *patient           // nil where the doctor is of no use: on TCP
	values   []value            // sorted as they lie
	readings []tidegate.Reading // in the order of the configuration, used again by each Read
	first    []request          // the plan before anything was learned
	spans    []link.Request     // what first reads
	plan     []request
	learned  time.Time // when plan began to differ from first; zero = it does not
	next     int       // index in plan of the request that the next Read begins with
	silent   int       // requests in a row without a reply
	isClosed bool

	// For do and its closure, so that a Read makes none.
	call  func(p drivers.Port) error
	ran   bool // the bus gave us its port
	asked link.Request
	sent  link.Request // asked, or a probe
	body  []byte
	err   error
}

func newDevice(where string, bus *drivers.Bus, l framing, values []value, maxGap, maxQuantity int) *device {
	values = slices.Clone(values)
	sortValues(values)
	d := &device{where: where, bus: bus, link: l, values: values, readings: make([]tidegate.Reading, len(values))}
	d.first = plan(values, maxGap, maxQuantity)
	for i := range d.first {
		d.spans = append(d.spans, d.first[i].Request)
	}
	d.plan = slices.Clone(d.first)
	d.call = d.exchange
	return d
}

// Close ends the device; the bus is the Host's and lives on. It is part of drivers.Device.
func (d *device) Close() error {
	d.isClosed = true
	return nil
}

// Read asks for all registers, with as few requests as it can, and holds the bus for one request at a time. A channel whose
// request failed reports why; only when no request was answered at all there are no readings. It is part of drivers.Device.
func (d *device) Read(ctx context.Context) ([]tidegate.Reading, error) {
	if d.isClosed {
		return nil, fmt.Errorf("%s: device is closed: %w", d.where, drivers.ErrGone)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", d.where, err)
	}
	r := round{d: d, now: time.Now()}
	if !d.learned.IsZero() && (d.silent >= silentLong || r.now.Sub(d.learned) >= relearn) {
		d.plan, d.learned = append(d.plan[:0], d.first...), time.Time{}
	}
	r.left, r.at = len(d.plan), d.next%len(d.plan)
	d.next = 0
	if err := r.run(ctx); err != nil {
		return nil, err
	}
	if !r.heard && r.failure != nil {
		for i := range d.plan {
			d.plan[i].misses = 0 // the unit is silent, not the request unwelcome
		}
	}
	if !r.answered && r.failure != nil {
		if d.patient != nil {
			return nil, d.patient.Ill(r.failure)
		}
		return nil, r.failure
	}
	if d.patient != nil {
		d.patient.Well()
	}
	return d.readings, nil
}

// ask sends q, and probes ahead of it as long as they have to go: an exception settles one debt only. heard reports whether the
// unit answered anything.
func (d *device) ask(ctx context.Context, q link.Request) (body []byte, heard bool, err error) {
	for range requestsMost {
		body, err = d.do(ctx, q)
		isReply := err == nil || isRefusal(err)
		heard = heard || isReply
		if d.sent == q || !isReply {
			return body, heard, err
		}
	}
	return nil, heard, fmt.Errorf("%s: read of %v: not asked: late replies may be under way, and the unit refused %d requests that would settle them",
		d.where, q, requestsMost)
}

// do carries q, or a probe that has to go ahead of it, over the bus and puts errors into words, which speak of q either way. It tries again
// at once where the far end hung up before it could have got the request: many units close a connection that was idle.
func (d *device) do(ctx context.Context, q link.Request) ([]byte, error) {
	d.asked, d.sent = q, q
	var err error
	for range 2 {
		d.ran, d.body, d.err = false, nil, nil
		if err = d.bus.Do(ctx, d.call); !errors.Is(d.err, link.ErrHungUp) || ctx.Err() != nil {
			break
		}
	}
	if err == nil {
		d.silent = 0
		return d.body, nil
	}
	if isRefusal(d.err) {
		d.silent = 0
	} else {
		d.silent++
	}
	var none link.NoReply
	switch {
	case ctx.Err() != nil && !errors.Is(err, ctx.Err()):
		return nil, fmt.Errorf("%s: read of %v: %w (%w)", d.where, q, ctx.Err(), err)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: read of %v: %w", d.where, q, err)
	case !d.ran:
		return nil, fmt.Errorf("%s: %w", d.where, err)
	case errors.As(d.err, &none) && d.sent != q:
		none.To = q
		return nil, fmt.Errorf("%s: %w", d.where, none)
	case isNoReply(d.err):
		return nil, fmt.Errorf("%s: %w", d.where, d.err)
	}
	return nil, fmt.Errorf("%s: read of %v: %w", d.where, q, d.err)
}

// isRefusal reports whether err is an exception of the unit itself, not of a gateway that does not reach it.
func isRefusal(err error) bool {
	if err == nil {
		return false // without the allocation that errors.As needs
	}
	var e link.Exception
	return errors.As(err, &e) && !e.IsAbsent()
}

func isNoReply(err error) bool {
	if err == nil {
		return false // without the allocation that errors.As needs
	}
	var e link.NoReply
	return errors.As(err, &e)
}

// exchange is what do has done on the bus. Whether a probe has to go ahead is seen here only: another device may have left a debt
// while this one waited for the bus.
func (d *device) exchange(p drivers.Port) error {
	d.ran, d.sent = true, d.asked
	if probe, ok := d.link.Probe(d.asked, d.spans); ok {
		d.sent = probe
	}
	if d.patient != nil {
		d.patient.Asked()
	}
	d.body, d.err = d.link.Exchange(p, d.sent)
	if _, onTCP := d.link.(*link.TCP); onTCP && isNoReply(d.err) && (d.silent+1)%silentOnTCP == 0 {
		d.err = fmt.Errorf("%w; connection given up: %w", d.err, drivers.ErrGone)
	}
	return d.err
}
