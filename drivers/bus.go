package drivers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Bus is a Port that several devices share. One of them has it at a time; the others wait in order of arrival.
// It is safe for concurrent use.
type Bus struct {
	name    string
	open    func(ctx context.Context) (Port, error)
	trace   atomic.Pointer[func(out bool, b []byte)]
	busy    atomic.Int64 // nanoseconds in Do, for Busy
	recent  ring         // has a lock of its own
	explain atomic.Pointer[func(out bool, b []byte) string]
	// isSecret: Dump shows nothing; see Meter.IsSecret.
	isSecret atomic.Bool

	turn     chan struct{} // holds one token: whoever has it may use port, failed and failure
	failed   time.Time     // when the port was last not to be opened; owned by the holder of the token
	failure  error         // why; owned by the holder of the token
	mu       sync.Mutex    // guards port and isClosed against Close
	port     Port          // nil = not open; set by the holder of the token, taken away by Close
	isClosed bool          // Close was called

	keepMu sync.Mutex  // guards what follows
	kept   map[any]any // by key, for Keep
	users  []*user     // as far as hosts say
	count  atomic.Int32
}

// A user is one device that has the bus from its Host, until its ctx is done.
type user struct {
	name   string
	done   <-chan struct{}
	isSole bool // by Claim
}

func (u *user) isGone() bool {
	select {
	case <-u.done:
		return true
	default:
		return false
	}
}

// NewBus returns a bus called name (for messages) whose port is opened by open at the first use and again after it was gone.
// The ctx given to open bounds the opening only: the port must not die with it.
func NewBus(name string, open func(ctx context.Context) (Port, error)) *Bus {
	b := &Bus{name: name, open: open, turn: make(chan struct{}, 1)}
	b.turn <- struct{}{}
	return b
}

// Name returns the port's name.
func (b *Bus) Name() string { return b.name }

// Busy returns for how long the bus was in use so far, waiting not counted.
func (b *Bus) Busy() time.Duration { return time.Duration(b.busy.Load()) }

// Join notes that one more device uses b, until ctx is done. A Host calls it for each device that it gives b to. The error says that another
// device has claimed b for itself.
func (b *Bus) Join(ctx context.Context) error {
	b.keepMu.Lock()
	defer b.keepMu.Unlock()
	b.sweepLocked()
	for _, u := range b.users {
		if u.isSole && u.done != ctx.Done() {
			return b.taken(u)
		}
	}
	u := &user{name: "another device", done: ctx.Done()}
	if m, ok := ctx.Value(meterKey{}).(*Meter); ok && m.Device != "" {
		u.name = "device " + m.Device
		if m.IsSecret {
			b.isSecret.Store(true)
		}
	}
	b.users = append(b.users, u)
	b.count.Store(int32(len(b.users)))
	context.AfterFunc(ctx, func() {
		b.keepMu.Lock()
		defer b.keepMu.Unlock()
		b.sweepLocked()
	})
	return nil
}

// Claim makes the device with ctx, which has joined, the only user of b until ctx is done: one that waits for bytes within Do would keep
// all others from it for ever. The error says which device uses b already.
func (b *Bus) Claim(ctx context.Context) error {
	b.keepMu.Lock()
	defer b.keepMu.Unlock()
	b.sweepLocked()
	for _, u := range b.users {
		if u.done != ctx.Done() {
			return b.taken(u)
		}
	}
	for _, u := range b.users {
		u.isSole = true
	}
	return nil
}

func (b *Bus) taken(u *user) error {
	return fmt.Errorf("%s is used by %s, and one of both needs it for itself; give each a port of its own", b.name, u.name)
}

// sweepLocked forgets the users whose ctx is done: a device that is opened again at once must not meet its own past.
func (b *Bus) sweepLocked() {
	b.users = slices.DeleteFunc(b.users, (*user).isGone)
	b.count.Store(int32(len(b.users)))
}

// Trace makes f see all bytes that go out (written) or come in (read), until Trace(nil). f must not keep p.
func (b *Bus) Trace(f func(out bool, p []byte)) {
	if f == nil {
		b.trace.Store(nil)
		return
	}
	b.trace.Store(&f)
}

// note keeps p for Recent, and shows it to the trace.
func (b *Bus) note(out bool, p []byte) {
	if len(p) == 0 {
		return
	}
	b.recent.add(out, p)
	if f := b.trace.Load(); f != nil {
		(*f)(out, p)
	}
}

// Keep returns what is kept on the bus under key, which make makes the first time: what the devices that share the bus have to know
// of each other. It lives as long as the bus does, over the end of a device and of the port. key is of a type of the caller's own,
// so that no other package has the same. What is kept may be used within Do only, where one device is alone with it.
func (b *Bus) Keep(key any, make func() any) any {
	b.keepMu.Lock()
	defer b.keepMu.Unlock()
	v, ok := b.kept[key]
	if !ok {
		v = make()
		if b.kept == nil {
			b.kept = map[any]any{}
		}
		b.kept[key] = v
	}
	return v
}

// Do waits for the bus, opens its port if need be and calls f with it, which then has it alone.
// Reads and writes of f end with os.ErrDeadlineExceeded when ctx is done; Do then returns an error wrapping ctx.Err().
// When f returns an error wrapping ErrGone, the port is closed and opened anew at the next Do.
// When the port cannot be opened, those that waited meanwhile get the same error: thirty devices on a dead bus do not wait
// for it one after another. Deadlines that f sets do not outlive it; nor does the port that f was given.
func (b *Bus) Do(ctx context.Context, f func(p Port) error) error {
	arrived := time.Now()
	if ctx.Err() != nil {
		return fmt.Errorf("wait for bus %s: %w", b.name, ctxErr(ctx))
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("wait for bus %s: %w", b.name, ctxErr(ctx))
	case <-b.turn:
	}
	defer func() { b.turn <- struct{}{} }()
	start := time.Now()
	defer func() {
		held := time.Since(start)
		b.busy.Add(int64(held))
		if m, ok := ctx.Value(meterKey{}).(*Meter); ok {
			m.add(b, held, b.count.Load() > 1)
		}
	}()
	p, err := b.hold(ctx, arrived)
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("%w (%w)", ctxErr(ctx), err)
	case err != nil:
		return err
	}
	turn := &turn{port: p, bus: b}
	if err := turn.reset(); err != nil {
		b.drop(p)
		return fmt.Errorf("bus %s: %w: %w", b.name, ErrGone, err)
	}
	if err := turn.call(ctx, f); err != nil {
		if errors.Is(err, ErrGone) {
			b.drop(p)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("bus %s: %w (%w)", b.name, ctxErr(ctx), err)
		}
		return fmt.Errorf("bus %s: %w", b.name, err)
	}
	return nil
}

// ctxErr returns why ctx is done: an error wrapping ctx.Err() and, where it is another, the cause.
func ctxErr(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// hold returns the port, opening it if need be, for the holder of the token who has waited for it since arrived.
func (b *Bus) hold(ctx context.Context, arrived time.Time) (Port, error) {
	b.mu.Lock()
	p, isClosed := b.port, b.isClosed
	b.mu.Unlock()
	if isClosed {
		return nil, fmt.Errorf("bus %s: closed: %w", b.name, ErrGone)
	}
	if p != nil {
		return p, nil
	}
	if b.failed.After(arrived) {
		return nil, b.failure
	}
	p, err := b.open(ctx)
	if err != nil {
		err = fmt.Errorf("open %s: %w", b.name, err)
		if ctx.Err() == nil { // else it is this caller's failure, not the port's
			b.failed, b.failure = time.Now(), err
		}
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.isClosed {
		return nil, errors.Join(fmt.Errorf("bus %s: closed: %w", b.name, ErrGone), p.Close())
	}
	b.port = p
	return p, nil
}

// drop closes p, which has failed; its error no longer matters.
func (b *Bus) drop(p Port) {
	b.mu.Lock()
	if b.port == p {
		b.port = nil
	}
	b.mu.Unlock()
	_ = p.Close()
}

// Close closes the port, which ends a Do in progress, and refuses further ones. Closing twice is no error.
func (b *Bus) Close() error {
	b.mu.Lock()
	p := b.port
	b.port, b.isClosed = nil, true
	b.mu.Unlock()
	if p == nil {
		return nil
	}
	return p.Close()
}

// A turn is the Port that f of Do sees: it feeds the trace, lets the end of ctx win over deadlines that f sets, and is of no
// use once f has returned.
type turn struct {
	port   Port
	bus    *Bus
	isOver atomic.Bool // f has returned

	mu    sync.Mutex // guards isCut and the setting of deadlines, so that no deadline set by f undoes the cut
	isCut bool       // ctx is done: deadlines stay in the past
}

var errTurnOver = errors.New("port used after its turn on the bus")

// longAgo is a deadline that has passed.
func longAgo() time.Time { return time.Unix(1, 0) }

// call calls f and returns when neither f nor the end of ctx can touch the port any more.
func (t *turn) call(ctx context.Context, f func(p Port) error) error {
	stop := context.AfterFunc(ctx, t.cut)
	defer func() {
		stop()
		t.mu.Lock() // waits for a cut in progress: it must not hit whoever has the bus next
		defer t.mu.Unlock()
		t.isOver.Store(true)
	}()
	return f(t)
}

func (t *turn) reset() error {
	return errors.Join(t.port.SetReadDeadline(time.Time{}), t.port.SetWriteDeadline(time.Time{}))
}

func (t *turn) cut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.isOver.Load() {
		return
	}
	t.isCut = true
	_ = t.port.SetReadDeadline(longAgo()) // an error means that the port is closed, which ends reads as well
	_ = t.port.SetWriteDeadline(longAgo())
}

func (t *turn) SetReadDeadline(at time.Time) error { return t.setDeadline(t.port.SetReadDeadline, at) }

func (t *turn) SetWriteDeadline(at time.Time) error {
	return t.setDeadline(t.port.SetWriteDeadline, at)
}

func (t *turn) setDeadline(set func(time.Time) error, at time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.isOver.Load() {
		return errTurnOver
	}
	if t.isCut {
		at = longAgo()
	}
	return set(at)
}

func (t *turn) Read(b []byte) (int, error) {
	if t.isOver.Load() {
		return 0, errTurnOver
	}
	n, err := t.port.Read(b)
	t.bus.note(false, b[:n])
	return n, err
}

func (t *turn) Write(b []byte) (int, error) {
	if t.isOver.Load() {
		return 0, errTurnOver
	}
	n, err := t.port.Write(b)
	t.bus.note(true, b[:n])
	return n, err
}

// Close closes the port, which is opened anew at the next Do.
func (t *turn) Close() error {
	if t.isOver.Load() {
		return errTurnOver
	}
	t.bus.drop(t.port)
	return nil
}
