package modbus

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers/modbus/link"
)

// round is one Read under way.
type round struct {
	d        *device
	now      time.Time // when it began
	at, left int       // index in the plan of the next request, and how many are still to be dealt with
	cuts     int
	heard    bool  // the unit said something
	answered bool  // a request was answered, with values or a refusal
	failure  error // why the first that was not, was not
}

// run deals with all requests of the plan. Its error is that ctx is done.
func (r *round) run(ctx context.Context) error {
	d := r.d
	for r.left > 0 {
		q := &d.plan[r.at]
		if r.now.Before(q.until) {
			d.fault(q, q.cause)
			r.step(1)
			continue
		}
		body, heard, err := d.ask(ctx, q.Request)
		r.heard = r.heard || heard
		switch {
		case err == nil:
			r.answered, q.worked, q.misses, q.pause = true, true, 0, 0
			d.fill(q, body)
			r.step(1)
		case ctx.Err() != nil:
			return err
		case isRefusal(err):
			r.answered, q.misses = true, 0
			r.refused(q, err)
		default:
			if r.failure == nil {
				r.failure = err
			}
			r.missed(q, err)
			if d.silent >= silentMost || !d.ran {
				r.giveUp()
				return nil
			}
		}
	}
	return nil
}

// step goes on by n requests of the plan, one of which was dealt with: the others are its parts.
func (r *round) step(n int) {
	r.at = (r.at + n) % len(r.d.plan)
	r.left--
}

// refused deals with q, which was answered with the exception in err: it is cut, left alone, or only failed this time.
func (r *round) refused(q *request, err error) {
	var e link.Exception
	errors.As(err, &e) // true, as the caller has seen
	if e != link.IllegalFunction && e.IsLasting() && r.cuts < cutsMost && r.cut(q) {
		r.cuts++
		r.left++ // both parts are asked in this Read
		return
	}
	if _, _, ok := cut(r.d.values, q); e.IsLasting() && (!ok || e == link.IllegalFunction) {
		r.leaveAlone(q, err)
	}
	r.d.fault(q, err.Error())
	r.step(1)
}

// missed deals with q, which was not answered, err says why. When that happens again and again though the unit answers
// others, it is cut or left alone.
func (r *round) missed(q *request, err error) {
	r.d.fault(q, err.Error())
	q.misses++
	most := missesMost
	if q.worked {
		most = missesWorked
	}
	switch {
	case q.misses < most:
		r.step(1)
	case r.cut(q):
		r.step(2)
	default:
		r.leaveAlone(q, err)
		r.step(1)
	}
}

// giveUp reports the requests that are still to be dealt with as failed, and lets the next Read begin with them.
func (r *round) giveUp() {
	r.d.next = r.at
	for r.left > 0 {
		r.d.fault(&r.d.plan[r.at], r.failure.Error())
		r.step(1)
	}
}

// cut puts the two parts of q, which stands at r.at, in its place, if it has parts.
func (r *round) cut(q *request) bool {
	a, b, ok := cut(r.d.values, q)
	if !ok {
		return false
	}
	*q = a
	r.d.plan = slices.Insert(r.d.plan, r.at+1, b)
	r.learn()
	return true
}

// leaveAlone lets q rest for a while, with err as its channels' fault.
func (r *round) leaveAlone(q *request, err error) {
	q.pause = min(max(2*q.pause, pauseLeast), pauseMost)
	q.until = r.now.Add(q.pause)
	q.cause = err.Error()
	r.learn()
}

func (r *round) learn() {
	if r.d.learned.IsZero() {
		r.d.learned = r.now
	}
}

// fault makes text the fault of all channels of q.
func (d *device) fault(q *request, text string) {
	for i := q.from; i < q.to; i++ {
		v := &d.values[i]
		d.readings[v.At] = tidegate.Reading{Channel: v.Channel, Unit: v.Unit, Fault: text}
	}
}

// fill makes readings of body, the bytes that answered q.
func (d *device) fill(q *request, body []byte) {
	if d.patient != nil {
		d.patient.note(d.values, q, body)
	}
	for i := q.from; i < q.to; i++ {
		v := &d.values[i]
		r := &d.readings[v.At]
		n := v.Address - q.Address
		prev := r.Value
		*r = tidegate.Reading{Channel: v.Channel, Unit: v.Unit}
		if v.Table.IsBits() {
			r.Value, r.Fault = v.Flag(body[n/8]>>(n%8)&1 == 1)
			continue
		}
		r.Value, r.Fault = v.Decode(body[2*n:2*(n+v.Size)], prev)
	}
}
