package external

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
)

const (
	// lookEvery is how often the program's files and its silence are looked at.
	lookEvery = time.Second
	// startWait is how long a Read waits for the next start before it says once more why the last one came to nothing.
	startWait = time.Minute
	// endWait is how long a program that has closed its standard output may take to end.
	endWait = time.Second
	// closeGrace is grace where nobody waits, and closeWait how long the end is waited for: Close, and a Read whose ctx is done, take less
	// than 100 ms (drivers.Device).
	closeGrace = 50 * time.Millisecond
	closeWait  = 80 * time.Millisecond
)

// device is one program.
type device struct {
	c        *Config
	name     string       // what the program is called in errors
	host     drivers.Host // for the starters of tests
	dir      string       // absolute
	channels map[string]*Channel
	ids      atomic.Uint64 // of questions and Sets

	mu       sync.Mutex // guards all below
	proc     *process   // nil = it does not run
	last     error      // why it does not run; nil = it was never started
	budget   budget
	watch    watch
	isClosed bool

	refused tally     // Read's own, as all below
	asked   time.Time // since when an answer is owed; zero = none is
	looked  time.Time // when the program's files were last looked at
	left    *process  // of an earlier Read, killed and not yet ended
	out     []tidegate.Reading
}

func newDevice(c *Config, h drivers.Host, dir string) *device {
	d := &device{c: c, name: title(c.Command), host: h, dir: dir, channels: map[string]*Channel{}, budget: budget{most: c.Starts}}
	for i := range c.List {
		d.channels[c.List[i].Name] = &c.List[i]
	}
	return d
}

// title returns what a program is called in errors: its own name, and that of its script if it seems to have one.
func title(command []string) string {
	t := filepath.Base(command[0])
	for _, arg := range command[1:] {
		if strings.HasPrefix(arg, "-") {
			continue
		}
		if len(arg) <= 200 && !strings.ContainsAny(arg, " \t{") {
			t += " " + filepath.Base(arg)
		}
		break
	}
	if !printable(t) {
		return strconv.QuoteToASCII(t)
	}
	return t
}

// Close ends the program; nothing of it runs when it returns, but what has left its process group.
func (d *device) Close() error {
	d.mu.Lock()
	p := cmp.Or(d.proc, d.left)
	d.proc, d.left, d.isClosed = nil, nil, true
	d.mu.Unlock()
	if p != nil && !p.finish() {
		return fmt.Errorf("close program %s: it does not end although it was killed: it may hang in the kernel", d.name)
	}
	return nil
}

// start returns the running program, and starts it if that is due. Without one, the error says why it does not run, and due when it is
// to be started; zero = it was just tried.
func (d *device) start() (p *process, due time.Time, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.isClosed:
		return nil, time.Time{}, fmt.Errorf("use program %s: device is closed: %w", d.name, drivers.ErrGone)
	case d.proc != nil:
		return d.proc, time.Time{}, nil
	case d.last != nil && d.watch.changed():
		d.budget.reset()
	}
	now := time.Now()
	if due, isSpent := d.budget.next(); now.Before(due) {
		if isSpent {
			return nil, due, fmt.Errorf("%w; it was started %d times within an hour (starts) and is again when that is over, or when its file has changed",
				d.last, d.budget.most)
		}
		return nil, due, d.last
	}
	if d.c.Mode != modeOnce {
		d.budget.started(now)
	}
	if err = d.watch.begin(d.dir, d.c.Command); err == nil {
		start := d.c.start
		if start == nil {
			start = execute
		}
		d.proc, err = start(d)
	}
	if err != nil {
		d.failLocked(err, false)
	}
	return d.proc, time.Time{}, err
}

// failLocked notes why the program does not run.
func (d *device) failLocked(err error, spoke bool) {
	d.last = err
	if d.c.Mode != modeOnce {
		d.budget.ended(time.Now(), spoke)
	}
}

// program returns the running program, and waits for its start if need be, but not for ever.
func (d *device) program(ctx context.Context) (*process, error) {
	for end := time.Now().Add(startWait); ; {
		p, due, err := d.start()
		if err == nil || due.IsZero() {
			return p, err
		}
		wait := min(time.Until(due), time.Until(end), lookEvery)
		if wait <= 0 && time.Now().Before(due) {
			return nil, err
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-t.C:
		}
	}
}

// next waits for the program's next line, for a while: the zero line says that there was none. since returns for how long it has owed one.
// isOver says that the program has ended as it should; the error that it did otherwise.
func (d *device) next(ctx context.Context, p *process, since func() time.Duration) (l line, isOver bool, err error) {
	now := time.Now()
	if now.Sub(d.looked) >= lookEvery {
		d.looked = now
		d.look(p)
	}
	wait := lookEvery - now.Sub(d.looked)
	if d.c.Timeout > 0 {
		wait = min(wait, d.c.Timeout-since())
	}
	if wait <= 0 && d.c.Mode != modeTalk { // a talker's lines may have waited for this Read
		d.hang(p, since())
	}
	t := time.NewTimer(max(wait, time.Millisecond))
	defer t.Stop()
	select {
	case l, ok := <-p.lines:
		if !ok {
			isOver, err = d.after(ctx, p)
		}
		return l, isOver, err
	case <-ctx.Done():
		return l, false, fmt.Errorf("read program %s: %w", d.name, ctx.Err())
	case <-t.C:
		d.hang(p, since())
		return l, false, nil
	}
}

// hang stops a program that has owed a line for too long.
func (d *device) hang(p *process, owed time.Duration) {
	if d.c.Timeout > 0 && owed >= d.c.Timeout {
		did := map[string]string{modeTalk: "wrote no line for", modePoll: "did not answer within", modeOnce: "did not end within"}
		p.fail(fmt.Sprintf("it %s %v (timeout)", did[d.c.Mode], d.c.Timeout), false)
	}
}

// look stops a program whose file has changed.
func (d *device) look(p *process) {
	d.mu.Lock()
	isChanged := d.c.Mode != modeOnce && d.watch.changed()
	d.mu.Unlock()
	if isChanged {
		p.fail("its file has changed", true)
	}
}

// after waits for the end of a program that has closed its standard output. isOver says that it did so as it should.
func (d *device) after(ctx context.Context, p *process) (isOver bool, err error) {
	t := time.NewTimer(endWait)
	defer t.Stop()
	for waits := true; waits; {
		select {
		case <-p.ended:
			waits = false
		case <-ctx.Done():
			return false, fmt.Errorf("read program %s: %w", d.name, ctx.Err())
		case <-t.C:
			p.fail("it closed its standard output", false)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	p.release()
	d.asked = time.Time{}
	if d.proc = nil; d.isClosed {
		return false, fmt.Errorf("read program %s: device is closed: %w", d.name, drivers.ErrGone)
	}
	text, how, spoke := p.end()
	switch {
	case how == byReload:
		d.last = nil
		d.budget.reset()
		return true, nil
	case how == byItself && d.c.Mode == modeOnce:
		return true, nil
	case how == byItself:
		text += "; with mode " + d.c.Mode + " it has to run on"
	}
	d.failLocked(errors.New(text), spoke)
	return false, d.last
}

// A setter is a device with outputs.
type setter struct{ *device }

// Set asks the program to drive an output, and waits for its answer.
func (d setter) Set(ctx context.Context, channel string, v tidegate.Value) error {
	ch := d.channels[channel]
	if ch == nil || !ch.Output {
		return fmt.Errorf("set %s: it is no output of this device", channel)
	}
	v, err := ch.fit(v)
	if err == nil && v.Kind() == tidegate.KindNone {
		err = errors.New("there is no value")
	}
	if err != nil {
		return fmt.Errorf("set %s: value %w", channel, err)
	}
	p, _, err := d.start()
	if err != nil {
		return fmt.Errorf("set %s: %w", channel, err)
	}
	id := d.ids.Add(1)
	question, err := ch.encode(v, id)
	if err != nil {
		return fmt.Errorf("set %s: %w", channel, err)
	}
	answer := p.expect(id)
	defer p.forget(id)
	if err := p.send(question); err != nil {
		return fmt.Errorf("set %s: %w", channel, err)
	}
	select {
	case l := <-answer:
		if l.refusal != "" {
			return fmt.Errorf("set %s to %v: program %s refuses: %s", channel, v, d.name, l.refusal)
		}
		return nil
	case <-p.ended:
		return fmt.Errorf("set %s to %v: program %s has ended without an answer", channel, v, d.name)
	case <-ctx.Done():
		return fmt.Errorf("set %s to %v: program %s does not answer: %w", channel, v, d.name, ctx.Err())
	}
}
