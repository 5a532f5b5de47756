package gpio

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

// gap is the least time between two looks at the lines: at 100 kHz the kernel's queue of 1,024 edges takes as long to fill.
const gap = 10 * time.Millisecond

// device is lines that are open.
type device struct {
	report time.Duration
	lines  []*line
	book   *book
	wake   chan struct{} // has a token when edges wait, a line is gone, or an output was set
	closed chan struct{} // closed by Close
	once   sync.Once

	mu     sync.Mutex // guards all below, and lines and book, between Read and a Close that does not wait for it
	next   time.Time  // of the next report
	looked time.Time  // last
	gone   error      // what was opened must be opened anew
	edges  []drivers.Edge
	out    []tidegate.Reading
}

// outputs is a device that has some.
type outputs struct{ *device }

var errClosed = fmt.Errorf("device is closed: %w", drivers.ErrGone)

// line is one line that is open.
type line struct {
	Line
	pin  drivers.Pin
	mode mode
	seq  uint32 // number of the last edge
	err  error  // why its edges could not be taken at the last look

	wasSet    atomic.Bool // the output was set since it was opened
	isNews    atomic.Bool // the output was set, and that is not reported
	wasUnsaid bool        // that the output was not set was said
}

// A mode is what is made of a line's edges.
type mode interface {
	// take looks at edges that came, and at how many the kernel dropped between them, and appends what is to be reported at once.
	take(now time.Time, edges []drivers.Edge, lost uint32, out []tidegate.Reading) []tidegate.Reading
	// settle appends what has waited for its time; due says when that is, zero = nothing waits.
	settle(now time.Time, out []tidegate.Reading) []tidegate.Reading
	due() time.Time
	// tell appends what is reported each interval. An error means that the line is gone.
	tell(now time.Time, out []tidegate.Reading) ([]tidegate.Reading, error)
}

func newDevice(report time.Duration, m drivers.Memory) *device {
	return &device{report: report, book: newBook(m), wake: make(chan struct{}, 1), closed: make(chan struct{})}
}

// add adds a line that was requested.
func (d *device) add(c Line, pin drivers.Pin) {
	l := &line{Line: c, pin: pin}
	switch c.Mode {
	case modeEdge:
		l.mode = &changes{line: l}
	case modeCounter:
		l.mode = &counter{line: l, book: d.book, account: d.book.open(c.Channel, c.Start)}
	case modeFrequency:
		l.mode = &frequency{line: l, heard: time.Now()}
	default:
		l.mode = level{l}
	}
	d.lines = append(d.lines, l)
}

// Read returns changes of lines of mode edge as they come, and all channels each report, the first time at once.
func (d *device) Read(ctx context.Context) ([]tidegate.Reading, error) {
	for {
		err := d.rest(ctx)
		if err == nil {
			var out []tidegate.Reading
			if out, err = d.look(time.Now()); len(out) > 0 {
				return out, nil
			}
		}
		if err != nil {
			return nil, fmt.Errorf("read gpio lines: %w", err)
		}
	}
}

// rest waits until something is to be done.
func (d *device) rest(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-d.closed:
		return errClosed
	default:
	}
	due, soon := d.due()
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-d.closed:
		return errClosed
	case <-timer.C:
		return nil
	case <-d.wake:
	}
	timer.Reset(time.Until(soon))
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-d.closed:
		return errClosed
	case <-timer.C:
		return nil
	}
}

// due returns when something is to be done although no edge comes, and when the lines may be looked at again if one comes.
func (d *device) due() (first, soon time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone != nil {
		return time.Time{}, time.Time{}
	}
	first = d.next
	soonest := func(t time.Time) {
		if !t.IsZero() && t.Before(first) {
			first = t
		}
	}
	soonest(d.book.due())
	for _, l := range d.lines {
		soonest(l.mode.due())
	}
	return first, d.looked.Add(gap)
}

// look takes the edges that wait and returns what there is to report; nothing, and an error, when the lines are gone.
func (d *device) look(now time.Time) ([]tidegate.Reading, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.out = d.out[:0]
	if d.gone != nil {
		return nil, d.gone
	}
	d.looked = now
	d.take(now)
	isDue := !now.Before(d.next) && d.gone == nil
	if isDue {
		if d.next = d.next.Add(d.report); !d.next.After(now) {
			d.next = now.Add(d.report) // the first time, or late
		}
		d.book.read()
	}
	d.book.keep(now, isDue) // before its totals are reported
	for _, l := range d.lines {
		d.out = l.mode.settle(now, d.out)
		if isNews := l.isNews.Swap(false); !isDue && !isNews || d.gone != nil {
			continue
		}
		if l.err != nil {
			d.out = append(d.out, l.fault("%v", l.err))
			continue
		}
		d.out, d.gone = l.mode.tell(now, d.out)
	}
	if len(d.out) > 0 {
		return d.out, nil // that the lines are gone can wait for the next Read
	}
	return nil, d.gone
}

// take takes the edges that wait.
func (d *device) take(now time.Time) {
	for _, l := range d.lines {
		if l.edge() == "" {
			continue
		}
		if d.edges, l.err = l.pin.Edges(d.edges[:0]); errors.Is(l.err, drivers.ErrGone) {
			d.gone = l.err
		}
		var lost uint32
		for i := range d.edges {
			lost += l.follow(d.edges[i].Seq)
		}
		if len(d.edges) > 0 {
			d.out = l.mode.take(now, d.edges, lost, d.out)
		}
	}
}

// follow returns how many edges were dropped before the one numbered seq. Numbers go round at 1<<32.
func (l *line) follow(seq uint32) uint32 {
	lost := seq - l.seq - 1
	l.seq = seq
	return lost
}

// fault returns a fault of the line's channel.
func (l *line) fault(format string, args ...any) tidegate.Reading {
	return tidegate.Reading{Channel: l.Channel, Fault: fmt.Sprintf(format, args...)}
}

// Close takes a last look, keeps the totals and gives the lines back, outputs at their safe level.
func (d *device) Close() error {
	var err error
	d.once.Do(func() {
		close(d.closed)
		d.mu.Lock()
		defer d.mu.Unlock()
		now := time.Now()
		d.take(now)
		d.book.read()
		d.book.keep(now, true)
		for _, l := range d.lines {
			if e := l.pin.Close(); err == nil && e != nil {
				err = fmt.Errorf("close gpio line of channel %s: %w", l.Channel, e)
			}
		}
	})
	return err
}

// Set sets an output to yes or no (or 1 or 0), and has it reported at once.
func (o outputs) Set(ctx context.Context, channel string, v tidegate.Value) error {
	if err := o.set(ctx, channel, v); err != nil {
		return fmt.Errorf("set %s: %w", channel, err)
	}
	return nil
}

func (o outputs) set(ctx context.Context, channel string, v tidegate.Value) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, l := range o.lines {
		if l.Channel != channel || l.Mode != modeOutput {
			continue
		}
		n, isNumber := v.Number()
		if !isNumber || n != 0 && n != 1 {
			return fmt.Errorf("got %s %q, want yes or no", v.Kind(), v)
		}
		if err := l.pin.Set(n == 1); err != nil {
			return err
		}
		l.wasSet.Store(true)
		l.isNews.Store(true)
		select {
		case o.wake <- struct{}{}:
		default:
		}
		return nil
	}
	return errors.New("no such output")
}
