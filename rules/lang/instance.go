package lang

import (
	"fmt"
	"math"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/row"
)

// An Instance is a Program that runs. It is not safe for concurrent use.
type Instance struct {
	// What a Test of channels alone needs stands first, so that it is fetched together: there may be thousands of conditions.
	cells  []*Cell
	slots  []running
	yes    func(*Instance) Verdict // that of prog
	steps  int32
	timed  bool // that of prog
	clock  bool // that of prog
	steady bool // that of prog
	says   Verdict
	until  time.Duration // steady: it says so before then, as long as nothing comes; 0 = ask
	now    time.Duration
	wall   time.Time
	prog   *Program
	start  time.Duration // since when it looks
	stub   []float64     // what calls give, by number, where values are only tried; nil = they are made
}

// never is later than any boot time.
const never = time.Duration(math.MaxInt64)

// A Room is where Instances lie that are looked at one after the other.
type Room struct {
	instances row.Row[Instance]
	slots     row.Row[running]
	cells     row.Row[*Cell]
}

// New returns an Instance in m that looks at cells, one for each of Inputs, since the boot time start.
func (p *Program) New(m *Room, cells []*Cell, start time.Duration) *Instance {
	x := &m.instances.Take(1)[0]
	*x = Instance{
		prog: p, cells: m.cells.Copy(cells), now: start, start: start, slots: m.slots.Take(len(p.slots)), yes: p.top.yes,
		timed: p.Timed(), clock: p.Clock, steady: !p.top.isDirect && len(p.waits) == 0,
	}
	for i := range p.slots {
		x.slots[i] = running{p.slots[i], p.slots[i].make()}
	}
	return x
}

// running is a slot with what it is fed by.
type running struct {
	slotSpec
	slot
}

// Timed is that of the Program.
func (x *Instance) Timed() bool { return x.timed }

// Clock is that of the Program.
func (x *Instance) Clock() bool { return x.clock }

// Took tells x that those of its inputs whose bit is set in inputs have a new value, at boot time now. wall is as with Test.
func (x *Instance) Took(inputs uint64, now time.Duration, wall time.Time) {
	x.now, x.wall = now, wall
	for i := range x.slots {
		s := &x.slots[i]
		if s.inputs&inputs == 0 {
			continue
		}
		var v tidegate.Value
		n := math.NaN()
		switch {
		case s.number == nil:
			v = x.cells[s.input].Value
		case s.isPlain:
			n = x.cells[s.input].number
		default:
			if s.isNested {
				for j := range x.slots[:i] {
					x.slots[j].advance(now)
				}
			}
			n = s.number(x)
		}
		if n-n != 0 && v.Kind() == tidegate.KindNone { // neither a finite number nor another value
			continue
		}
		if s.push(now, n, v) {
			x.until = 0
		}
	}
}

// at has x look at how things are now, and returns when its calls say something else without a value; never = they do not.
func (x *Instance) at(now time.Duration, wall time.Time) (next time.Duration) {
	x.steps = 0
	if !x.timed {
		return never
	}
	x.now, x.wall, x.until = now, wall, 0
	return x.advance(now)
}

// advance lets time pass up to now. It returns what at does.
func (x *Instance) advance(now time.Duration) (next time.Duration) {
	next = never
	for i := range x.slots {
		if t, ok := x.slots[i].advance(now); ok && t > now {
			next = min(next, t)
		}
	}
	return next
}

// Test returns what the condition says at boot time now. wall is the time of day, in the zone that counts; zero = not known.
func (x *Instance) Test(now time.Duration, wall time.Time) Verdict {
	if x.steady && now < x.until {
		return x.says
	}
	next := x.at(now, wall)
	if x.says = x.yes(x); x.steady {
		x.until = next
	}
	return x.says
}

// Value returns what the expression gives at boot time now; KindNone = not known.
func (x *Instance) Value(now time.Duration, wall time.Time) tidegate.Value {
	x.at(now, wall)
	return x.prog.top.value(x)
}

// Over reports whether the last Test or Value was given up, as it looked at more than MaxSteps bytes of text; what it said is unknown.
func (x *Instance) Over() bool { return x.steps > MaxSteps }

// step counts n bytes of text that are looked at, and reports whether that is still within the budget.
func (x *Instance) step(n int) bool {
	x.steps = int32(min(int(x.steps)+n, MaxSteps+1))
	return !x.Over()
}

// Next returns the boot time, later than now, at which x may say something else although nothing was read; ok is false when there is none.
func (x *Instance) Next(now time.Duration) (at time.Duration, ok bool) {
	if at = x.until; at <= now {
		at = x.advance(now)
	}
	if ok = at != never; ok {
		at = (at + time.Microsecond - 1).Truncate(time.Microsecond) // boot times are whole microseconds
	}
	if x.steady {
		return at, ok
	}
	for i := range x.prog.waits {
		if t := x.prog.waits[i].due(x); t > now && (!ok || t < at) {
			at, ok = t, true
		}
	}
	return at, ok
}

// Keeps returns how many calls of x keep something over time, so that Dirty has something to say.
func (x *Instance) Keeps() int { return len(x.slots) }

// Touch makes Dirty tell all parts of what x keeps over time.
func (x *Instance) Touch() {
	for i := range x.slots {
		x.slots[i].touch()
	}
}

// Dirty returns a part of what x keeps over time that changed since it was told last, and takes it for told; ok is false when there is none.
// What is stored for it is to be replaced by body, which is b with the part appended, or where body is nil to be forgotten.
func (x *Instance) Dirty(b []byte) (slot, part int, body []byte, ok bool) {
	for i := range x.slots {
		if part, body, ok = x.slots[i].dirty(b); ok {
			return i, part, body, true
		}
	}
	return 0, 0, nil, false
}

// Restore gives x back a part that Dirty told for the same Text. With sameBoot, its times count; without, boot time has begun anew, and
// only sums go on. kept is false where nothing of the part is used any more. The error says why body cannot be it; what belongs to it begins anew.
func (x *Instance) Restore(slot, part int, body []byte, sameBoot bool) (kept bool, err error) {
	if slot < 0 || slot >= len(x.slots) {
		return false, fmt.Errorf("%w: call %d, the expression has %d that keep something", ErrState, slot, len(x.slots))
	}
	s := x.slots[slot].slot
	if _, isSum := s.(*sumSlot); !isSum && !sameBoot {
		return false, nil
	}
	x.until = 0
	if err := s.restore(part, body); err != nil {
		return false, err
	}
	if sum, isSum := s.(*sumSlot); isSum && !sameBoot && sum.area != nil {
		sum.area.Break()
	}
	return true, nil
}

// A Shown is a part of an expression and what it is now, for people.
type Shown struct {
	Text  string // as it stands in the expression
	Value tidegate.Value
	Unit  string
	Since time.Duration // of a channel: how long ago it was read; -1 = it was not, or it is no channel
	Fault string        // of a channel: what its newest reading said
}

// Show returns the channels and the calls of the expression with what they are at boot time now.
func (x *Instance) Show(now time.Duration, wall time.Time) []Shown {
	x.at(now, wall)
	out := make([]Shown, 0, len(x.prog.shown))
	for i := range x.prog.shown {
		s := &x.prog.shown[i]
		one := Shown{Text: s.text, Value: s.node.value(x), Unit: s.node.unit, Since: -1}
		if s.input >= 0 {
			cell := x.cells[s.input]
			one.Value, one.Fault = cell.Value, cell.Fault
			if cell.Value.Kind() != tidegate.KindNone {
				one.Since = now - cell.At
			}
		}
		out = append(out, one)
	}
	return out
}

// A Cell holds what was last read of one channel.
type Cell struct {
	Value tidegate.Value // the newest that is no fault; KindNone = there was none
	At    time.Duration  // boot time of Value
	Fault string         // of the newest reading; "" = it was none

	number float64 // Value as a number; NaN = it is none
}

// NewCell returns the Cell of a channel that was not read.
func NewCell() *Cell { return &Cell{number: math.NaN()} }

// Put takes over a value.
func (c *Cell) Put(v tidegate.Value, at time.Duration) {
	c.Value, c.At, c.Fault = v, at, ""
	n, ok := v.Number()
	if !ok {
		n = math.NaN()
	}
	c.number = n
}
