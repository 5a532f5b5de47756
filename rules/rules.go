// Package rules judges readings: it says which alarms they raise or clear and which outputs are to be set.
//
// It knows no clock, device, network or disk. Time comes from the records: `for` is counted in Record.Boot, which neither a
// wrong nor a corrected wall clock touches. The same records in the same order give the same outcome, with or without a
// save and restore of the state between any two of them; Advance says that time has passed without a record. README.md beside this file says what rules mean.
package rules

import (
	"errors"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/filter"
	"github.com/tidegate-io/tidegate/rules/hold"
	"github.com/tidegate-io/tidegate/rules/lang"
	"github.com/tidegate-io/tidegate/rules/row"
)

// RulesDevice is the device name under which rules speak: an alarm is a reading of this device whose channel is the rule's name.
// No configured device can have it.
const RulesDevice = "_rules"

// DeviceChannel is the channel under which a device speaks that fails as a whole: its fault is one of all its channels.
const DeviceChannel = "_device"

// A Rule is a condition with what follows from it.
type Rule struct {
	Name      string          // as tidegate.CheckName has it; unique within a Set
	When      *lang.Program   // what makes it active; nil = it always is, and derives, filters, routes, labels
	For       time.Duration   // for how long When must hold without a break before it does; 0 = at once
	Clear     *lang.Program   // what ends it; nil = When no longer holds
	Severity  Severity        // of the alarm that it raises; "" = it raises none
	Text      string          // of the alarm, for people
	Outputs   []Output        // what it sets
	Derives   []Derive        // channels that it works out while it is active
	Filters   []filter.Filter // what of the readings goes on while it is active
	Snapshots []Snapshot      // what of that is wanted after all, around the instant at which it becomes active
	Routes    []Route         // where it goes then
	Labels    []Label         // what it carries then
	Intervals []Interval      // how often devices are read while it is active; of several active rules the shortest of a device counts
	Intake    []string        // what is done to readings before they are judged, in words: by others
}

// An Output is a channel that a rule sets.
type Output struct {
	Device  string
	Channel string
	Value   tidegate.Value // when the rule becomes active
	OnClear tidegate.Value // when it ends, unless another active rule sets the channel; no value = the channel stays as it is
	// Priority: of the active rules that set a channel the one with the highest counts; of those with equal ones, the last.
	Priority int
}

// Severity says how bad an alarm is.
type Severity string

// The severities. Their order and number in the stored state never change.
const (
	SeverityInfo    Severity = "info"
	SeverityWarning Severity = "warning"
	SeverityError   Severity = "error"
)

// severities are the severities by their number in the stored state; 0 = no alarm.
var severities = [...]Severity{"", SeverityInfo, SeverityWarning, SeverityError}

func (s Severity) number() (n byte, ok bool) {
	for i, t := range severities {
		if s == t {
			return byte(i), true
		}
	}
	return 0, false
}

// An Action is an output to set, now and once; nobody repeats it.
type Action struct {
	Rule    string // whose doing it is
	Device  string
	Channel string
	Value   tidegate.Value
}

// An Outcome is what one record led to. It belongs to the caller until the Set is used again.
type Outcome struct {
	Readings []tidegate.Reading // those that go on, in the memory of the record's: all, where no rule filters
	Derived  []tidegate.Reading // worked out from them, at most tidegate.MaxReadings; zero Time = that of the record
	Apart    []Apart            // those of both that go another way
	Made     int                // how many were derived, those that do not go on included
	Filtered int                // readings, derived ones too, that were dropped or are not new
	Thinned  int                // readings for which others stand
	Restored []Restored         // taken by filters before, and counted as that; wanted after all, in the order of time. They are the caller's
	Given    []Given            // the snapshots that they are of
	Alarms   []Alarm            // raised or cleared, in order
	Actions  []Action           // outputs to set, in order
	// Intervals are how often devices are to be read from now on, each device once.
	Intervals []Interval
	Changed   []State // what is stored is no longer what it was, each key once
	Turned    bool    // what Status says is no longer what it was
}

// A Set judges records by its rules, one record after the other. It is not safe for concurrent use.
type Set struct {
	rules  []*rule
	byName map[string]*rule
	// cells are the channels that rules look at, by device and channel. As both names may contain dots, every way to cut "device.channel"
	// counts: a reading matches when its device, a dot and its channel give the same text.
	cells map[string]map[string]*cell
	// listed are the cells of each device, in the order in which rules name them.
	listed map[string][]*cell
	last   *cell         // whose reading came last; at first one that none has
	kept   []*cell       // those of cells that are part of the state
	begun  time.Duration // boot time from which on it looks
	now    time.Duration
	base   time.Time      // wall clock when boot time was 0; zero = not known
	zone   *time.Location // of the time of day; nil = that of the times that are told
	late   uint64
	turn   uint64  // number of the instant that is judged
	moved  []*rule // rules that the instant concerns
	mixed  bool    // moved is not in the order of the rules
	due    deadlines
	dirt   []*cell
	fed    []*rule       // those whose conditions keep something, and took values
	at     time.Duration // boot time of the readings that are judged, which may be late
	// alarms, actions, derived, changed and dirty are the last Outcome's memory, used again.
	alarms  []Alarm
	actions []Action
	derived []tidegate.Reading
	changed []State
	dirty   []*rule
	bodies  []byte

	filters           []*shaper // in the order of the rules
	lanes             memo[[]*lane]
	laneDirt          []*lane
	filtered, thinned int // of the record

	paced     []*paced // in the order in which rules name them
	byDevice  map[string]*paced
	intervals []Interval // the last Outcome's memory

	hold      *hold.Hold // nil = there are no snapshots
	opened    []*view    // snapshots whose rules became active
	restored  []Restored
	given     []Given
	room      room
	routers   []*router // in the order of the rules
	labellers []*labeller
	signs     memo[*signs]
	ways      []load // those of the record, used of them; the rest is memory
	used      int
	apart     []Apart // memory of the last Outcome
}

// A room is where what readings need of rules and channels lies.
type room struct {
	rules     row.Row[rule]
	instances lang.Room
	cells     row.Row[cell]
	watches   row.Row[watch]
	keepers   row.Row[keeper]
}

// A cell is a channel that rules look at.
type cell struct {
	lang.Cell
	name    string // "device.channel"
	stored  string // key of its state
	heard   time.Duration
	watches []watch
	feeds   []feed
	then    *cell  // whose reading came behind one of it
	turn    uint64 // instant in which it was read last
	isKept  bool   // it is part of the state
	isMade  bool   // rules derive it: what was stored of it is not judged again
	dirty   bool   // listed in Set.dirt
}

// watch says that a rule looks at a channel, as which of the inputs of its conditions.
type watch struct {
	rule        *rule
	when, clear uint64 // bit of the input
	faults      bool   // faults count too
}

// phase is where a rule stands. The numbers are part of the stored state.
type phase byte

const (
	idle    phase = 0
	pending phase = 1 // When holds, For is not over
	active  phase = 2
)

type rule struct {
	// What each reading needs stands first, so that it is fetched together: there may be thousands of rules.
	turn         uint64 // instant that concerns it
	tookW, tookC uint64 // inputs that have a new value in that instant
	when         *lang.Instance
	clear        *lang.Instance // nil = there is none; when nil = it is always active
	rank         int            // its turn in an instant: behind all rules that derive what it looks at
	lookW, lookC bool           // When, Clear is to be looked at: one of its inputs was heard
	phase        phase
	timed        bool // When or Clear may say something else without a reading
	keeps        bool // When or Clear keeps something over time
	looked       bool // it was looked at: what looks at time is, at the start
	isOver       bool // active, and looked: Clear held when it was looked at last
	// isHeld: active: When was last seen to hold. Idle: Clear ended it while When held, which must be seen not to hold before the rule
	// starts again.
	isHeld bool
	// isBlind: pending, and When does not look at time or faults: a channel of it failed, or the gateway was started anew. For alone does not
	// make it active, a reading has to come.
	isBlind bool
	dirty   bool          // listed in Set.dirty
	raised  byte          // active: number of the severity of the alarm that stands, 0 = none does
	parked  string        // why it is not judged any more; "" = it is
	heap    int           // place in Set.due; -1 = it is not there
	due     time.Duration // when time alone has it looked at
	keepers []keeper
	derives []*derive
	views   []*view
	paces   []*paced      // what its Intervals are of
	since   time.Duration // pending: boot time at which When began to hold

	Rule
	index    int
	severity byte          // number of Rule.Severity
	mark     uint32        // fingerprint of When and For: a timer is not carried over to another condition
	turned   time.Duration // active: boot time at which it became so; 0 = the gateway was started since
	fired    uint64        // how often it became active
}

// New returns a Set of rules in their initial state, or says everything that is wrong with them. start is the boot time from which on it
// looks: what was silent before is not missing.
func New(list []Rule, start time.Duration) (*Set, error) {
	s := &Set{
		byName: make(map[string]*rule, len(list)), cells: map[string]map[string]*cell{}, listed: map[string][]*cell{}, last: &cell{},
		byDevice: map[string]*paced{}, begun: start, turn: 1,
	}
	byChannel := map[string]*cell{}
	var errs []error
	for _, r := range list {
		if err := s.check(r); err != nil {
			errs = append(errs, fmt.Errorf("rule %q: %w", r.Name, err))
			continue
		}
		severity, _ := r.Severity.number()
		own := &s.room.rules.Take(1)[0]
		*own = rule{Rule: r, index: len(s.rules), severity: severity, mark: fingerprint(r), heap: -1}
		s.rules = append(s.rules, own)
		s.byName[r.Name] = own
		if r.When != nil {
			own.when = s.start(own, r.When, byChannel)
			own.keep(own.when, 'w', textMark(r.When.Identity()))
		}
		if r.Clear != nil {
			own.clear = s.start(own, r.Clear, byChannel)
			own.keep(own.clear, 'c', textMark(r.Clear.Identity()))
		}
		own.timed = r.When != nil && r.When.Timed() || r.Clear != nil && r.Clear.Timed()
		own.keeps = len(own.keepers) > 0
		s.startDerives(own, byChannel)
		own.keepers = s.room.keepers.Copy(own.keepers)
		s.startFilters(own)
		s.startSnapshots(own)
		s.startIntervals(own)
		s.startRoutes(own)
		s.plan(own)
	}
	if err := checkNames(list); err != nil {
		errs = append(errs, err)
	}
	if err := s.rank(list, byChannel); err != nil {
		errs = append(errs, err)
	}
	if errs != nil {
		return nil, errors.Join(errs...)
	}
	for _, list := range s.listed { // now that all are known
		for _, c := range list {
			c.watches = s.room.watches.Copy(c.watches)
		}
	}
	return s, nil
}

// start makes p run on the cells of the channels that it looks at.
func (s *Set) start(r *rule, p *lang.Program, byChannel map[string]*cell) *lang.Instance {
	var cells []*lang.Cell
	for i, in := range p.Inputs {
		c := s.cell(p, in, byChannel)
		if n := len(c.watches); n == 0 || c.watches[n-1].rule != r {
			c.watches = append(c.watches, watch{rule: r})
		}
		w := &c.watches[len(c.watches)-1]
		if p == r.When {
			w.when |= 1 << i
		} else {
			w.clear |= 1 << i
		}
		w.faults = w.faults || in.Faults
		cells = append(cells, &c.Cell)
	}
	return p.New(&s.room.instances, cells, s.begun)
}

// cell returns the cell of in, an input of p.
func (s *Set) cell(p *lang.Program, in lang.Input, byChannel map[string]*cell) *cell {
	c := byChannel[in.Channel]
	if c == nil {
		c = &s.room.cells.Take(1)[0]
		*c = cell{Cell: *lang.NewCell(), name: in.Channel, stored: cellKey(in)}
		byChannel[in.Channel] = c
		s.enter(c)
	}
	if !c.isKept && (len(p.Inputs) > 1 || p.Timed() || in.Faults) {
		c.isKept = true
		s.kept = append(s.kept, c)
	}
	return c
}

// enter makes c found by every way to cut its name.
func (s *Set) enter(c *cell) {
	for i := range len(c.name) {
		if c.name[i] != '.' || i == 0 || i == len(c.name)-1 {
			continue
		}
		device, name := c.name[:i], c.name[i+1:]
		if s.cells[device] == nil {
			s.cells[device] = map[string]*cell{}
		}
		s.cells[device][name] = c
		s.listed[device] = append(s.listed[device], c)
	}
}

// A Status says how one rule stands, for people.
type Status struct {
	Name    string
	Active  bool
	Pending bool   // its condition holds, but not yet for long enough
	Parked  string // why it is not judged any more; "" = it is
	Fired   uint64 // how often it became active, restarts included
}

// Status returns how the rules stand, in their order.
func (s *Set) Status() []Status {
	out := make([]Status, len(s.rules))
	for i, r := range s.rules {
		out[i] = r.status()
	}
	return out
}

func (r *rule) status() Status {
	return Status{Name: r.Name, Active: r.isOn(), Pending: r.phase == pending, Fired: r.fired, Parked: r.parked}
}

// GoOn says that a restored Set takes over at the boot time at, without a pause since the one whose state it has: what looks at time is looked at
// from then on, while silence counts from the start that New was given.
func (s *Set) GoOn(at time.Duration) {
	s.begun = max(s.begun, at)
	for _, r := range s.rules {
		s.plan(r)
	}
}

// Show returns what the conditions of the rule called name look at, `when` and then `clear`, as it is at the boot time now, for people; ok is
// false when there is no such rule. now must not be before what the Set has judged.
func (s *Set) Show(name string, now time.Duration) (when, clear []lang.Shown, ok bool) {
	r := s.byName[name]
	if r == nil {
		return nil, nil, false
	}
	when, clear = s.show(r, now)
	return when, clear, true
}

func (s *Set) show(r *rule, now time.Duration) (when, clear []lang.Shown) {
	if r.when != nil {
		when = r.when.Show(now, s.wall(now))
	}
	if r.clear != nil {
		clear = r.clear.Show(now, s.wall(now))
	}
	return when, clear
}
