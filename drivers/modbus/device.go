package modbus

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/modbus/link"
	"github.com/tidegate-io/tidegate/drivers/modbus/registers"
)

const (
	silentMost   = 2                // requests in a row without a reply that end a Read
	silentLong   = 10               // as many and what was learned of the unit is forgotten
	missesMost   = 3                // Reads in a row without a reply to one request, though the unit answered others
	missesWorked = 12               // the same for one that was answered before: noise must not look like a register that is not there
	cutsMost     = 32               // cuts in one Read, so that a map which is all wrong does not hold up the line
	pauseLeast   = 10 * time.Second // how long a refused request is left alone the first time; then twice as long each time
	pauseMost    = 10 * time.Minute
	relearn      = 24 * time.Hour // after which what was learned is tried anew
)

// device is one unit that is read.
type device struct {
	asker
	values   []registers.Value  // sorted as they lie; they do not change
	readings []tidegate.Reading // in the order of the configuration, used again by each Read
	first    []request          // the plan before anything was learned
	plan     []request
	learned  time.Time // when plan began to differ from first; zero = it does not
	next     int       // index in plan of the request that the next Read begins with
	isClosed atomic.Bool
}

func newDevice(where string, bus *drivers.Bus, l framing, values []registers.Value, maxGap, maxQuantity int) *device {
	values = slices.Clone(values)
	registers.Sort(values)
	d := &device{values: values, readings: make([]tidegate.Reading, len(values))}
	d.first = plan(values, maxGap, maxQuantity)
	spans := make([]link.Request, len(d.first))
	for i := range d.first {
		spans[i] = d.first[i].Request
	}
	d.plan = slices.Clone(d.first)
	d.asker = asker{where: where, bus: bus, link: l, spans: spans}
	d.call = d.exchange
	return d
}

// Close ends the device; the bus is the Host's and lives on. It is part of drivers.Device.
func (d *device) Close() error {
	d.isClosed.Store(true)
	return nil
}

// refuse returns why nothing is to be asked any more; nil = it is.
func (d *device) refuse(ctx context.Context) error {
	if d.isClosed.Load() {
		return fmt.Errorf("%s: device is closed: %w", d.where, drivers.ErrGone)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", d.where, err)
	}
	return nil
}

// Read asks for all registers, with as few requests as it can, and holds the bus for one request at a time. A channel whose
// request failed reports why; only when no request was answered at all there are no readings. It is part of drivers.Device.
func (d *device) Read(ctx context.Context) ([]tidegate.Reading, error) {
	if err := d.refuse(ctx); err != nil {
		return nil, err
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
