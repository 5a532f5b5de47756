// Package wear keeps what a store costs its card: bytes written in the last 24 hours, how long commits take from day to day, and what is to be done
// about either. Bytes and times are handed to it; its days are of boot time, which no step of the clock moves. While the machine is off they stand still.
package wear

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

const version = 1

// A Wear is the account of one store's card. It is for one goroutine; a Card is for many.
type Wear struct {
	now   time.Duration // boot time when something was last told
	total uint64        // bytes written since the state directory was made, as of then
	day   day
	trend trend
	step  int   // of steps, at which the brake stands
	limit int64 // bytes a day; 0 = none
}

// New returns an account that begins at boot time now. limit is how many bytes a day may be written; 0 = as many as there are.
func New(now time.Duration, limit int64) *Wear { return &Wear{now: now, limit: limit} }

// SetLimit sets how many bytes a day may be written; 0 = as many as there are.
func (w *Wear) SetLimit(bytes int64) {
	w.limit = bytes
	w.step = min(w.step, len(steps)-2) // readings are kept again at once, where it is not reached
	w.brake(false)
}

// Total returns the bytes written since the state directory was made.
func (w *Wear) Total() uint64 { return w.total }

// Written notes, at boot time now, that total bytes were written since the state directory was made. It reports whether a quarter of an hour has
// begun meanwhile: then the account should be stored.
func (w *Wear) Written(now time.Duration, total uint64) (quarter bool) {
	quarters, days := w.elapse(now)
	if total > w.total {
		w.day.add(total - w.total)
		w.total = total
	}
	w.brake(quarters > 0)
	if days {
		w.trend.next()
	}
	return quarters > 0
}

// elapse lets boot time pass up to now. Where it is less than before the machine was started meanwhile, and it is as long as that.
func (w *Wear) elapse(now time.Duration) (quarters int, days bool) {
	passed := now - w.now
	if passed < 0 {
		passed = now
	}
	w.now = now
	quarters = w.day.elapse(passed)
	return quarters, w.trend.elapse(passed)
}

// Took notes how long a commit took.
func (w *Wear) Took(d time.Duration) { w.trend.add(d) }

// LastDay returns the bytes written in the last 24 hours.
func (w *Wear) LastDay() int64 { return int64(w.day.sum()) }

// Projected returns the bytes that a day comes to at the rate of the last quarter of an hour that is over; 0 = none is yet.
func (w *Wear) Projected() int64 { return int64(w.day.projected()) }

// Encode returns the stored form of w.
func (w *Wear) Encode() []byte {
	b := binary.AppendUvarint([]byte{version}, uint64(w.now))
	b = binary.AppendUvarint(b, w.total)
	b = binary.AppendUvarint(b, uint64(w.step))
	return w.trend.encode(w.day.encode(b))
}

// errDamaged means that what was stored is no account.
var errDamaged = errors.New("stored account of the card's wear is damaged")

// Restore returns the account that b holds, as it stands at boot time now: total bytes were written since the state directory was made, of which b may not
// know the last. After an error the account begins anew.
func Restore(b []byte, now time.Duration, total uint64, limit int64) (*Wear, error) {
	if len(b) == 0 {
		w := New(now, limit)
		w.total = total
		return w, nil
	}
	r := &reader{b: b[1:], bad: b[0] != version}
	w := &Wear{limit: limit, now: time.Duration(r.uint()), total: r.uint(), step: int(min(r.uint(), uint64(len(steps)-1)))}
	w.day.decode(r)
	w.trend.decode(r)
	if r.bad || len(r.b) > 0 || w.now < 0 {
		w = New(now, limit)
		w.total = total
		return w, fmt.Errorf("%w: %d bytes of version %d, want version %d", errDamaged, len(b), b[0], version)
	}
	w.Written(now, total)
	return w, nil
}

// A reader takes numbers from bytes; bad = they are no numbers.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uint() uint64 {
	n, size := binary.Uvarint(r.b)
	if r.bad || size <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[size:]
	return n
}

// count returns a number that is at most most.
func (r *reader) count(most int) int {
	n := r.uint()
	r.bad = r.bad || n > uint64(most)
	return int(min(n, uint64(most)))
}
