package window

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// ErrLimit is wrapped by errors about an Integral's limit.
var ErrLimit = errors.New("integral")

// An Integral sums up a channel over time, without an end: kilowatts become kilowatt seconds. Between two readings the channel is taken to go
// straight from the one to the other; a pair further apart than a limit adds nothing, as nobody knows what was between. The sum is
// compensated: years of small additions do not drift. It is not safe for concurrent use, and works without allocation.
type Integral struct {
	total Total
	limit time.Duration
	last  Stamp
	holds bool // last is a reading
}

// NewIntegral returns an Integral of nothing. limit is the longest time between two readings that still adds something, 1 ns to MaxSpan; an
// error wraps ErrLimit.
func NewIntegral(limit time.Duration) (*Integral, error) {
	if limit <= 0 || limit > MaxSpan {
		return nil, fmt.Errorf("%w: got a limit of %v between two readings, want more than 0s and at most %v", ErrLimit, limit, MaxSpan)
	}
	return &Integral{limit: limit}, nil
}

// Push takes in the reading v of boot time at. A time before the latest reading's counts as that one, one beyond 146 years as 146 years. A
// value that is no finite number is passed over, as if it had not been read.
func (t *Integral) Push(at time.Duration, v float64) {
	if v-v != 0 {
		return
	}
	at = min(max(at, 0), maxTime)
	if t.holds {
		at = max(at, t.last.At)
	}
	area := 0.0
	if gap := at - t.last.At; t.holds && gap <= t.limit {
		area = (v/2 + t.last.Value/2) * gap.Seconds()
	}
	t.total.push(area)
	t.last, t.holds = Stamp{at, v}, true
}

// Break makes the next reading pair with none before it: after a reboot, when boot time begins anew, or where what was measured changed.
func (t *Integral) Break() {
	if t.holds {
		t.last, t.holds, t.total.dirty = Stamp{}, false, true
	}
}

// Value returns the integral, in the channel's unit times seconds. ok is false before the first reading, and where it is beyond the range of
// a double.
func (t *Integral) Value() (v float64, ok bool) { return t.total.Value() }

// Touch makes the next Dirty tell the state.
func (t *Integral) Touch() { t.total.Touch() }

// Dirty is Window.Dirty: there is part 0 only.
func (t *Integral) Dirty(b []byte) (part int, body []byte, ok bool) {
	part, body, ok = t.total.Dirty(b)
	if body != nil && t.holds {
		body = appendStamp(body, t.last, 0)
	}
	return part, body, ok
}

// Restore puts a new Integral where body says. The error, which wraps ErrState, says why it does not: the Integral remains new, and its
// next Dirty tells it. As limits are no part of the state, another limit counts from the next reading on.
func (t *Integral) Restore(part int, body []byte) error {
	u := Integral{limit: t.limit}
	r := u.total.decode(part, body)
	if len(r.b) > 0 {
		u.holds = true
		u.last = r.stamp(0)
	}
	if err := r.end(); err != nil {
		t.total.dirty = true
		return err
	}
	*t = u
	return nil
}

// A Total sums up readings without an end: each is an amount. The sum is compensated: years of small additions do not drift. The zero
// Total is one of nothing. It is not safe for concurrent use, and works without allocation.
type Total struct {
	sum   sum
	n     uint64
	dirty bool
}

// Push adds the reading v. A value that is no finite number is passed over.
func (t *Total) Push(v float64) {
	if v-v == 0 {
		t.push(v)
	}
}

func (t *Total) push(v float64) {
	t.sum.add(v)
	t.n++
	t.dirty = true
}

// Value returns the total. ok is false before the first reading, and where it is beyond the range of a double.
func (t *Total) Value() (v float64, ok bool) { return finite(t.sum.value(), t.n > 0) }

// Count returns how many readings there were.
func (t *Total) Count() uint64 { return t.n }

// Touch makes the next Dirty tell the state.
func (t *Total) Touch() { t.dirty = t.n > 0 }

// Dirty is Window.Dirty: there is part 0 only.
func (t *Total) Dirty(b []byte) (part int, body []byte, ok bool) {
	if !t.dirty {
		return 0, nil, false
	}
	t.dirty = false
	if t.n == 0 {
		return 0, nil, true
	}
	b = appendCount(append(b, version), t.n)
	return 0, appendFloat(appendFloat(b, t.sum.hi), t.sum.lo), true
}

// Restore puts a new Total where body says. The error, which wraps ErrState, says why it does not: the Total remains new, and its
// next Dirty tells it.
func (t *Total) Restore(part int, body []byte) error {
	var u Total
	if err := u.decode(part, body).end(); err != nil {
		t.dirty = true
		return err
	}
	*t = u
	return nil
}

func (t *Total) decode(part int, body []byte) *reader {
	r := &reader{b: body, part: part}
	if part != 0 {
		r.fault("got part %d, want 0", part)
	}
	r.version()
	t.n = r.count(1, math.MaxInt64)
	t.sum = sum{r.float(), r.float()}
	return r
}
