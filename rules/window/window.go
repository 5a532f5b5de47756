// Package window keeps what rules ask of the past of a channel: how many readings there were, their sum, average, extremes, spread
// and percentiles, and the first and last of them, over a window of time or of readings; and integrals and totals without an end.
//
// A Window knows no clock: time comes with each call, as boot time (since the machine started), which no step of the wall clock
// reaches. Its memory is bounded whatever is asked of it: a sliding window of ten years takes as much as one of five minutes. Its
// state is cut into small parts, so that one reading changes one part. README.md beside this file says what each answer means, how
// wrong it may be, and what the bytes of the state are.
package window

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Shape says which readings a Window looks at. The numbers are part of the stored state and never change.
type Shape uint8

// The shapes.
const (
	Sliding  Shape = 0 // the last Span, as whole buckets of Span/60 (at least 10 ms) that reach into it
	Tumbling Shape = 1 // the last complete span: spans begin at multiples of Span in boot time
	Session  Shape = 2 // all since the session began; a pause longer than Span ends it
	Last     Shape = 3 // the last N readings, however old
)

// Needs is the set of what will be asked of a Window; it keeps nothing else. The number of readings is always kept. The bits are part
// of the stored state and never change.
type Needs uint8

// What can be asked.
const (
	Sums      Needs = 1 << iota // Sum and Avg
	Extremes                    // Min and Max
	Spread                      // Stddev; Sum and Avg come with it
	Quantiles                   // Quantile
	Ends                        // Window.Ends
	allNeeds  Needs = 1<<iota - 1
)

// The limits of a Spec, and the latest time that a Window tells from others.
const (
	MinSpan = 10 * time.Millisecond
	MaxSpan = 100 * 365 * 24 * time.Hour
	MaxN    = 1000
	maxTime = time.Duration(1) << 62 // 146 years: with MaxSpan added it is still a time.Duration
	never   = time.Duration(math.MaxInt64)
)

const (
	spanBuckets = 60 // buckets in a sliding window's span; one more may reach into it
	chunk       = 16 // readings in a part of Last
)

// A Spec says what a Window is.
type Spec struct {
	Shape Shape
	Span  time.Duration // MinSpan to MaxSpan; 0 for Last
	N     int           // Last: 1 to MaxN readings; 0 for the other shapes
	Needs Needs
}

// ErrSpec is wrapped by errors about a Spec that no Window can be.
var ErrSpec = errors.New("window")

func (s Spec) check() error {
	switch {
	case s.Shape > Last:
		return fmt.Errorf("%w: got shape %d, want 0 to %d", ErrSpec, s.Shape, Last)
	case s.Needs&^allNeeds != 0:
		return fmt.Errorf("%w: got needs %#x, want a set within %#x", ErrSpec, uint8(s.Needs), allNeeds)
	case s.Shape == Last && (s.N < 1 || s.N > MaxN):
		return fmt.Errorf("%w: got the last %d readings, want 1 to %d; use a span of time for more", ErrSpec, s.N, MaxN)
	case s.Shape == Last && s.Span != 0:
		return fmt.Errorf("%w: got the last %d readings and a span of %v, want one of them", ErrSpec, s.N, s.Span)
	case s.Shape == Last:
		return nil
	case s.N != 0:
		return fmt.Errorf("%w: got a span of %v and the last %d readings, want one of them", ErrSpec, s.Span, s.N)
	case s.Span < MinSpan:
		return fmt.Errorf("%w: got a span of %v, want at least %v", ErrSpec, s.Span, MinSpan)
	case s.Span > MaxSpan:
		return fmt.Errorf("%w: got a span of %v, want at most %v", ErrSpec, s.Span, MaxSpan)
	}
	return nil
}

// A Window is the past of one channel as a Spec sees it. It is not safe for concurrent use. Push, Advance and all questions work
// without allocation once the window has seen as many buckets and percentile bins as it will see at a time.
type Window struct {
	// What each reading needs stands first, so that it is fetched together: there may be thousands of windows.
	spec  Spec
	now   time.Duration // the latest time seen
	gone  time.Duration // when what is told changes without a reading; never = it does not
	end   time.Duration // a reading from here on is not one of the newest bucket's; 0 where there is none
	dirty uint64        // parts that changed, a bit each
	sign  uint32        // Spec.mark
	keeps Needs         // Spec.Needs and what the shape needs itself
	known bool          // Tumbling: a span was completed
	ring

	refused bool          // Restore refused a part
	width   time.Duration // of a bucket; 0 for Last and Session
	*tape                 // Last; nil = another shape
	all     sketch        // Sliding and Last: the bins of all readings
}

// New returns an empty Window. The error, which wraps ErrSpec, says what was got and what is wanted.
func New(s Spec) (*Window, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	w := &Window{spec: s, keeps: s.Needs, gone: never, sign: s.mark()}
	w.shown, w.what, w.limit, w.lo = -1, s.Needs, 1, 2 // only a window of several buckets needs a sum of them
	switch s.Shape {
	case Sliding:
		w.width = max((s.Span+spanBuckets-1)/spanBuckets, MinSpan)
		w.limit, w.lo = int((s.Span+w.width-1)/w.width)+1, 0
	case Tumbling:
		w.width, w.limit = s.Span, 2
	case Session:
		w.keeps |= Ends // a pause is counted from the last reading
	case Last:
		w.limit, w.lo = (s.N+chunk-2)/chunk+1, 1
		w.tape = &tape{values: make([]float64, w.limit*chunk), rests: make([]agg, chunk)}
		if s.Needs&Ends != 0 {
			w.times = make([]time.Duration, w.limit*chunk)
		}
	}
	return w, nil
}

// Push takes in the reading v of boot time at, and lets time pass until then. A time before the latest one seen counts as that one,
// one beyond 146 years as 146 years. A value that is no finite number is not taken in: time passes, nothing else. It reports whether the
// answers may be others than before: those of a tumbling window are the same until its span ends.
func (w *Window) Push(at time.Duration, v float64) (isNew bool) {
	if v-v != 0 {
		w.Advance(at)
		return true
	}
	at = min(max(at, w.now), maxTime)
	w.now = at
	if w.spec.Shape == Last {
		w.record(at, v)
		return true
	}
	isNew = w.spec.Shape != Tumbling || at >= w.end // of a tumbling window what ends its span begins a bucket
	if at >= w.gone {
		w.expire(at)
	}
	if at >= w.end {
		w.turn(at)
	}
	b := w.push(v)
	w.dirty |= 1 << b.part
	if b.ends != nil {
		b.ends.push(at, v, b.n == 1)
		if w.spec.Shape == Session {
			w.gone = at + w.spec.Span + 1
		}
	}
	if b.bins != nil {
		if w.spec.Shape == Sliding {
			b.bins.take(number(v), &w.all)
		} else {
			b.bins.take(number(v), nil)
		}
	}
	return isNew
}

// Advance lets time pass until at without a reading: what is too old by then falls out. A time before the latest one seen changes nothing.
func (w *Window) Advance(at time.Duration) {
	if at <= w.now {
		return
	}
	w.now = min(at, maxTime)
	if w.now >= w.gone {
		w.expire(w.now)
	}
}

// Next returns when the answers change next if no reading comes; ok is false if they never do. It is later than the last Push or Advance.
func (w *Window) Next() (at time.Duration, ok bool) { return w.gone, w.gone != never }

// expire does what is due by at, which is not before gone.
func (w *Window) expire(at time.Duration) {
	switch w.spec.Shape {
	case Tumbling:
		w.show(at)
		return
	case Session:
		w.drop()
	case Sliding:
		for w.n > 0 && w.over(w.slots[w.head].k) <= at {
			b := &w.slots[w.head]
			if b.bins != nil {
				w.all.remove(b.bins)
			}
			w.drop()
		}
	}
	w.gone = never
	if w.n > 0 {
		w.gone = w.over(w.slots[w.head].k)
	} else {
		w.end = 0
	}
}

// over returns when the sliding window's bucket k no longer reaches into the span.
func (w *Window) over(k uint64) time.Duration { return w.from(k+1) + w.spec.Span }

// from returns when bucket k begins.
func (w *Window) from(k uint64) time.Duration { return time.Duration(k) * w.width }

// turn begins the bucket for a reading at at.
func (w *Window) turn(at time.Duration) {
	switch w.spec.Shape {
	case Sliding:
		k := uint64(at / w.width)
		w.open(k, uint8(k%uint64(w.limit)))
		w.end, w.gone = w.from(k+1), w.over(w.slots[w.head].k)
	case Tumbling:
		part := uint8(0)
		if w.n > 0 {
			part = 1 - w.slots[w.tail].part
		}
		if w.n == 2 {
			w.drop()
		}
		k := uint64(at / w.width)
		w.open(k, part)
		w.end = w.from(k + 1)
		w.show(at)
	case Session:
		w.open(0, 0)
		w.end = never
	}
}

// drop forgets the oldest bucket.
func (w *Window) drop() { w.dirty |= 1 << w.leave() }

// open adds a bucket behind all others, with what the window needs in it.
func (w *Window) open(k uint64, part uint8) *bucket {
	b := w.enter()
	b.k, b.part = k, part
	if w.spec.Shape == Last {
		return b
	}
	if w.keeps&Ends != 0 && b.ends == nil {
		b.ends = new(ends)
	}
	if w.keeps&Quantiles != 0 {
		if b.bins == nil {
			b.bins = new(sketch)
		}
		b.bins.clear()
	}
	return b
}

// show finds the bucket of the span before the one that at is in.
func (w *Window) show(at time.Duration) {
	k := uint64(at / w.width)
	w.shown, w.gone = -1, never
	for i := range w.n {
		j := w.place(i)
		b := &w.slots[j]
		w.known = w.known || b.k < k
		if b.k+1 == k {
			w.shown = j
		}
		if b.k+1 >= k {
			w.gone = w.from(k + 1)
		}
	}
}
