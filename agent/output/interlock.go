package output

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tidegate-io/tidegate"
)

// A Name says which output is meant.
type Name struct{ Device, Channel string }

// String returns "device.channel".
func (n Name) String() string { return n.Device + "." + n.Channel }

// A Lock is one thing that outputs must keep to, whoever asks: what one output does by itself, or that of several at most one is on.
type Lock struct {
	Output           Name          // whose the next two lines are
	MinOn, MinOff    time.Duration // once on it stays on for so long, once off, off; 0 = any
	MaxRise, MaxFall float64       // largest change within a second, in the channel's unit; 0 = any
	Exclusive        []Name        // of these at most one is on; none = the Lock is of Output
	Pause            time.Duration // for how long the others must have been off before one goes on
}

// An Interlock is what all outputs of a gateway keep to, and what is known of how they stand. All Outputs share one. It is safe for
// concurrent use. Its mutex is taken while that of an Output is held, never the other way round: it calls nothing of an Output, but wakes
// its goroutine through a channel.
type Interlock struct {
	mu     sync.Mutex // guards all below
	locks  map[Name]Lock
	groups map[Name][]Lock // that an output stands in
	states map[Name]*state
	opened map[string]session // by device
	count  uint64             // of sessions so far
	wakes  map[chan struct{}]bool
}

// A session is one opening of a device.
type session struct {
	number uint64
	began  time.Time
}

// A state is what is known of one output.
type state struct {
	stands tidegate.Value // yes/no: what it is, as its device has taken it or reports it; KindNone = not known
	// mayOn and mayOff are when it may have been switched on, and off, last.
	mayOn, mayOff time.Time
	off           time.Time // while it stands off: since when that was seen
	isParked      bool      // it was set off before its device was closed in order

	hasRange bool      // number: low and high are known
	low      float64   // it is not below
	high     float64   // it is not above
	moved    time.Time // when it may have changed last

	busy, busyOn int       // Sets under way; those of them that switch on
	lateOn       int       // Sets that switch on and hang
	failed       error     // why it is not known how it stands; nil = nobody has said
	ended        time.Time // when the last Set did
}

// NewInterlock returns an Interlock that keeps nothing back.
func NewInterlock() *Interlock {
	return &Interlock{states: map[Name]*state{}, opened: map[string]session{}, wakes: map[chan struct{}]bool{}}
}

// Replace takes over what holds from now on. It switches nothing: where two outputs are on of which only one may be, they stay so until they
// are set. What waits is looked at anew.
func (l *Interlock) Replace(list []Lock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.locks, l.groups = map[Name]Lock{}, map[Name][]Lock{}
	for _, k := range list {
		if len(k.Exclusive) == 0 {
			o := l.locks[k.Output] // what several Locks say of one output all holds
			o.MinOn, o.MinOff = max(o.MinOn, k.MinOn), max(o.MinOff, k.MinOff)
			o.MaxRise, o.MaxFall = lower(o.MaxRise, k.MaxRise), lower(o.MaxFall, k.MaxFall)
			l.locks[k.Output] = o
		}
		for _, n := range k.Exclusive {
			l.groups[n] = append(l.groups[n], k)
		}
	}
	l.wakeLocked()
}

// lower returns the lower of two rates, of which 0 is none.
func lower(a, b float64) float64 {
	if a == 0 || b == 0 {
		return a + b
	}
	return min(a, b)
}

// join has wake signalled when an output may no longer be held back, until leave is called.
func (l *Interlock) join(wake chan struct{}) (leave func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wakes[wake] = true
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.wakes, wake)
	}
}

func (l *Interlock) wakeLocked() {
	for w := range l.wakes {
		select {
		case w <- struct{}{}:
		default: // it is woken already
		}
	}
}

// stateLocked returns what is known of n; of an output that was never set, nothing but since when its device is open.
func (l *Interlock) stateLocked(n Name) *state {
	s := l.states[n]
	if s == nil {
		began := l.opened[n.Device].began
		s = &state{mayOn: began, mayOff: began}
		l.states[n] = s
	}
	return s
}

// forgetLocked notes that nobody knows how n stands, as it may have changed until now.
func (s *state) forgetLocked(why error) {
	now := time.Now()
	s.stands, s.hasRange, s.failed = tidegate.Value{}, false, why
	s.mayOn, s.mayOff, s.moved = now, now, now
}

// attach notes that the device was opened, and returns the number of that session. How its outputs stand is not known then: it may have
// been off meanwhile, or another master may have set them. So all times count from here.
func (l *Interlock) attach(device string) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	l.opened[device] = session{number: l.count, began: time.Now()}
	for n, s := range l.states {
		if n.Device == device {
			s.forgetLocked(nil)
			s.isParked = false
		}
	}
	l.wakeLocked()
	return l.count
}

// detach notes that a session of the device has ended; one that is followed by another already does not count.
func (l *Interlock) detach(device string, number uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.opened[device].number != number {
		return
	}
	delete(l.opened, device)
	for n, s := range l.states {
		if n.Device == device {
			s.forgetLocked(nil)
		}
	}
	l.wakeLocked()
}

// see notes what a Read that began at that time says of an output. What a Set may have changed since does not count.
func (l *Interlock) see(n Name, v tidegate.Value, began time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at, isOpen := l.opened[n.Device]
	s := l.stateLocked(n)
	if !isOpen || s.busy > 0 || began.Before(at.began) || !began.After(s.ended) {
		return
	}
	f, isNumber := v.Number()
	on, isSwitch := v.Bool()
	switch {
	case isSwitch && s.stands != v:
		if s.stands.Kind() != tidegate.KindNone { // somebody else has switched it
			s.mayChange(on)
		}
		s.isParked = s.isParked && !on
		s.standLocked(v)
	case isNumber && !isSwitch && !s.hasRange:
		s.low, s.high, s.hasRange = f, f, true
	default:
		return
	}
	l.wakeLocked()
}

// mayChange notes that the output may be on, or off, since now only.
func (s *state) mayChange(on bool) {
	s.moved = time.Now()
	if on {
		s.mayOn = s.moved
	} else {
		s.mayOff = s.moved
	}
}

// standLocked notes that it is known how a yes/no output stands.
func (s *state) standLocked(v tidegate.Value) {
	if v == tidegate.Bool(false) && s.stands != v {
		s.off = time.Now()
	}
	s.stands, s.failed = v, nil
}

// A pass lets one value out to one output.
type pass struct {
	name    Name
	value   tidegate.Value
	session uint64
}

// begin returns a pass for what the output can be set to now on its way to goal, or what holds it back. Each pass is given back with end.
func (l *Interlock) begin(n Name, goal tidegate.Value, isWhole bool) (pass, hold) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v, h := l.lookLocked(n, goal, isWhole)
	if h.kind != free {
		return pass{}, h
	}
	return l.passLocked(n, v), h
}

// beginSafe is begin for the safe state: no time and no rate keeps it back, only that others may be on.
func (l *Interlock) beginSafe(n Name, v tidegate.Value) (pass, hold) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if v == tidegate.Bool(true) {
		if h := l.excludedLocked(n, l.stateLocked(n)); h.kind != free {
			return pass{}, h
		}
	}
	return l.passLocked(n, v), hold{}
}

func (l *Interlock) passLocked(n Name, v tidegate.Value) pass {
	s := l.stateLocked(n)
	s.busy++
	s.isParked = false
	if v == tidegate.Bool(true) {
		s.busyOn++
	}
	return pass{n, v, l.opened[n.Device].number}
}

// end notes what became of a Set: err is its error, hangs that its call has not returned; see returned.
func (l *Interlock) end(p pass, err error, hangs bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stateLocked(p.name)
	on, isSwitch := p.value.Bool()
	f, isNumber := p.value.Number()
	s.busy--
	if on && isSwitch {
		s.busyOn--
		if hangs {
			s.lateOn++
		}
	}
	s.ended = time.Now()
	if p.session != l.opened[p.name.Device].number { // the device has been closed since
		err = errAway
	}
	switch {
	case isSwitch && s.stands == p.value: // it is no change, whatever became of it
	case isSwitch && err == nil:
		s.mayChange(on)
		s.standLocked(p.value)
	case isSwitch:
		s.mayChange(on)
		s.stands, s.failed = tidegate.Value{}, err
	case isNumber && err == nil:
		if !s.hasRange || s.low != f || s.high != f {
			s.moved = s.ended
		}
		s.low, s.high, s.hasRange = f, f, true
	case isNumber && s.hasRange:
		s.low, s.high, s.moved = min(s.low, f), max(s.high, f), s.ended
	}
	l.wakeLocked()
}

// returned notes that the call has returned which end said hangs: whatever it was to do, it may have done now.
func (l *Interlock) returned(p pass) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stateLocked(p.name)
	if p.value == tidegate.Bool(true) {
		s.lateOn--
	}
	s.forgetLocked(errLate)
	s.ended = time.Now()
	l.wakeLocked()
}

// park notes that the output was left off for good: nobody switches it on while its device is closed.
func (l *Interlock) park(p pass) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stateLocked(p.name).isParked = p.session == l.opened[p.name.Device].number
}

// excludedLocked returns what keeps n, of which s is the state, from going on because of other outputs.
func (l *Interlock) excludedLocked(n Name, s *state) (most hold) {
	if s.stands == tidegate.Bool(true) {
		return hold{} // it is on already
	}
	for _, g := range l.groups[n] {
		for _, other := range g.Exclusive {
			if other == n {
				continue
			}
			h := l.offLocked(other, g.Pause)
			if h.kind == excluded {
				h.why += ", and " + among(g.Exclusive) + " at most one may be on"
			}
			if h.kind > most.kind || h.kind == most.kind && h.rest > most.rest {
				most = h
			}
		}
	}
	return most
}

func among(names []Name) string {
	text := make([]string, len(names))
	for i, n := range names {
		text[i] = n.String()
	}
	return "of " + strings.Join(text[:len(text)-1], ", ") + " and " + text[len(text)-1]
}

// offLocked returns a hold unless it is sure that n is off, and has been for so long.
func (l *Interlock) offLocked(n Name, pause time.Duration) hold {
	s := l.stateLocked(n)
	_, isOpen := l.opened[n.Device]
	unsureBecause := func(why string) hold {
		return hold{kind: unsure, why: fmt.Sprintf("cannot be sure that %v is off: %s", n, why)}
	}
	switch {
	case s.busyOn > 0 || s.stands == tidegate.Bool(true):
		return hold{kind: excluded, why: n.String() + " is on"}
	case s.lateOn > 0:
		return unsureBecause("a call of its driver that switches it on has not returned")
	case s.isParked && s.busy == 0:
	case !isOpen:
		return unsureBecause("its device is not open")
	case s.stands.Kind() == tidegate.KindNone && s.failed != nil:
		return unsureBecause("when it was set last: " + s.failed.Error())
	case s.stands.Kind() == tidegate.KindNone:
		return unsureBecause("it was neither set nor reported since its device was opened; set it to false")
	}
	since := time.Since(s.off)
	if rest := pause - since; rest > 0 {
		why := fmt.Sprintf("%v has been off for %v only, and has to be for %v (pause)", n, shown(since), pause)
		return hold{kind: timed, rest: rest, total: rest, why: why}
	}
	return hold{}
}
