package rules

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/lang"
)

// The model judges as README.md says, in the plainest way: it keeps the whole past of each channel, and looks at every rule every 100 ms.
const tick = 100 * time.Millisecond

// model is a slow gateway.
type model struct {
	list    []modelRule
	watched []string // channels, in the order in which rules name them
	kept    map[string]bool
	past    map[string][]moment
	heard   map[string]time.Duration
	series  map[*amount][]stamp // what calls have taken
	broken  map[*amount]bool    // nothing was taken since a reboot
	start   time.Duration       // since when it looks; a restart sets it anew
	ticked  time.Duration       // up to when, and without, time has passed
	now     time.Duration
	base    time.Time // wall clock at boot time 0
	late    uint64
	out     []string
}

type modelRule struct {
	Rule
	when, clear *term
	on, pending bool
	since       time.Duration
	held, blind bool
	over, seen  bool // what clear said when it was looked at last; it was since the start
}

// clone returns a model that goes on from here, as m itself does.
func (m *model) clone() *model {
	c := *m
	c.list, c.past, c.heard, c.series, c.broken = slices.Clone(m.list), maps.Clone(m.past), maps.Clone(m.heard), maps.Clone(m.series), maps.Clone(m.broken)
	c.out = slices.Clip(m.out)
	for ch, list := range c.past {
		c.past[ch] = slices.Clip(list)
	}
	for n, list := range c.series {
		c.series[n] = slices.Clip(list)
	}
	return &c
}

// apply judges a record: instant by instant, each of which has a channel once.
func (m *model) apply(rec *tidegate.Record) {
	m.tell(rec.Time, rec.Boot, rec.Quality == tidegate.TimeRelative)
	at, now := time.Duration(-1), map[string]moment{}
	for _, rd := range rec.Readings {
		own := rec.Boot
		if early := rec.Time.Sub(rd.Time); !rd.Time.IsZero() && early > 0 && early <= 10*time.Second {
			own -= early
		}
		for _, ch := range m.watched {
			isAll := rd.Channel == DeviceChannel && rd.Fault != "" && strings.HasPrefix(ch, rd.Device+".")
			if !isAll && ch != rd.Device+"."+rd.Channel {
				continue
			}
			if _, twice := now[ch]; twice || own != at {
				m.take(now)
				at, now = own, map[string]moment{}
				m.pass(at, false)
				m.now = max(m.now, at)
			}
			x := moment{at: own, now: m.now, value: rd.Value, fault: rd.Fault != "", number: math.NaN()}
			if f, ok := rd.Value.Number(); ok {
				x.number = f
			}
			switch {
			case own < m.heard[ch]:
				m.late++
			case !x.fault && rd.Value.Kind() == tidegate.KindFloat && x.number != x.number:
			default:
				m.heard[ch], now[ch] = own, x
			}
		}
	}
	m.take(now)
}

// tell says what the wall clock is at a boot time.
func (m *model) tell(wall time.Time, boot time.Duration, isUnknown bool) {
	if m.base = wall.Add(-boot); isUnknown {
		m.base = time.Time{}
	}
}

// take judges the readings of one instant.
func (m *model) take(readings map[string]moment) {
	for ch, x := range readings {
		m.past[ch] = append(m.past[ch], x)
	}
	hears := func(c *term, faults bool) bool {
		return c != nil && slices.ContainsFunc(c.at, func(ch string) bool {
			x, ok := readings[ch]
			return ok && (faults || !x.fault)
		})
	}
	for i := range m.list {
		for _, c := range []*term{m.list[i].when, m.list[i].clear} {
			if hears(c, false) {
				m.feed(c, readings)
			}
		}
	}
	var alarms, actions []string
	for i := range m.list {
		r := &m.list[i]
		heard := func(c *term) bool {
			return c != nil && slices.ContainsFunc(c.at, func(ch string) bool {
				x, ok := readings[ch]
				return ok && (!x.fault || asksFault(r.when, ch) || asksFault(r.clear, ch))
			})
		}
		for _, ch := range r.when.at {
			x, ok := readings[ch]
			if ok && x.fault && r.pending && !r.when.timed && !asksFault(r.when, ch) && !asksFault(r.clear, ch) {
				r.blind = true
			}
		}
		if !heard(r.when) && !heard(r.clear) {
			continue
		}
		a, b := m.look(r, heard(r.when), heard(r.clear))
		alarms, actions = append(alarms, a...), append(actions, b...)
	}
	m.out = append(append(m.out, alarms...), actions...)
}

// feed gives the calls of c the values that have just come.
func (m *model) feed(c *term, readings map[string]moment) {
	for _, n := range c.calls {
		isNew := slices.ContainsFunc(n.at, func(ch string) bool {
			x, ok := readings[ch]
			return ok && !x.fault
		})
		if !isNew {
			continue
		}
		v := n.of.value(m, m.now)
		if v-v != 0 {
			continue
		}
		x := stamp{at: m.now, v: v, isFirst: m.broken[n]}
		delete(m.broken, n)
		if k := len(m.series[n]); k > 0 && !x.isFirst {
			x.at = max(x.at, m.series[n][k-1].at)
		}
		m.series[n] = append(m.series[n], x)
	}
}

func asksFault(c *term, ch string) bool { return c != nil && strings.Contains(c.text, "fault("+ch+")") }

// pass lets time pass up to, and without, at; upTo: and with it.
func (m *model) pass(at time.Duration, upTo bool) {
	for m.ticked < at || upTo && m.ticked == at {
		m.now = max(m.now, m.ticked)
		for i := range m.list {
			r := &m.list[i]
			waits := r.pending && !r.when.timed // a reading is what it goes by, which may have waited while the gateway started
			if waits || m.ticked >= m.start && (r.when.timed || r.pending || r.clear != nil && r.clear.timed) {
				a, b := m.look(r, false, false)
				m.out = append(append(m.out, a...), b...)
			}
		}
		if m.ticked%tick == 0 {
			m.ticked += time.Microsecond // a session ends so long behind its span
		} else {
			m.ticked += tick - time.Microsecond
		}
	}
}

// look lets one rule look at how things are now, because channels of its conditions were heard, or time passed.
func (m *model) look(r *modelRule, when, end bool) (alarms, actions []string) {
	is, known := false, false
	if when || r.when.timed {
		is, known = r.when.verdict(m, m.now)
	}
	if !r.on {
		if !known && !r.when.timed && r.pending && !r.blind && m.now-r.since >= r.For {
			is, known = true, true
		}
		switch {
		case known && !is:
			r.pending, r.held = false, false
		case known && is && !r.held:
			if !r.pending {
				r.pending, r.since, r.blind = true, m.now, false
			}
			if when {
				r.blind = false
			}
			if m.now-r.since >= r.For && !r.blind {
				r.on, r.pending, r.held = true, false, true
				if r.clear != nil {
					is, known := r.clear.verdict(m, m.now)
					r.over, r.seen = is && known, true
				}
				alarms = append(alarms, fmt.Sprintf("%v raised %s", m.now, r.Name))
				for _, o := range r.Outputs {
					if who, _ := m.counts(o); who == r.Name {
						actions = append(actions, fmt.Sprintf("%s sets %s.%s to %v", r.Name, o.Device, o.Channel, o.Value))
					}
				}
			}
		}
		return alarms, actions
	}
	if known {
		r.held = is
	}
	over := r.clear == nil && known && !is
	if r.clear != nil && (end || r.clear.timed) {
		is, known := r.clear.verdict(m, m.now)
		over = is && known && (end || r.seen && !r.over) // by time alone it has to begin to hold
		r.over = is && known
	}
	r.seen = true
	if !over {
		return nil, nil
	}
	r.on, r.held, r.seen = false, r.held && r.clear != nil, false
	alarms = append(alarms, fmt.Sprintf("%v cleared %s", m.now, r.Name))
	for _, o := range r.Outputs {
		who, v := m.counts(o)
		if who == "" {
			if who, v = r.Name, o.OnClear; v.Kind() == tidegate.KindNone {
				continue
			}
		}
		actions = append(actions, fmt.Sprintf("%s sets %s.%s to %v", who, o.Device, o.Channel, v))
	}
	return alarms, actions
}

// counts returns which of the rules that are on says what the output of o is, and what that is: of those of the highest priority the last.
func (m *model) counts(o Output) (who string, v tidegate.Value) {
	for _, priority := range []int{2, 1, 0} {
		for _, r := range slices.Backward(m.list) {
			for _, x := range slices.Backward(r.Outputs) {
				if r.on && x.Device == o.Device && x.Channel == o.Channel && x.Priority == priority {
					return r.Name, x.Value
				}
			}
		}
	}
	return "", v
}

// restart begins anew at a boot time, isReboot: after a reboot; goesOn: other rules took over, and reading went on. Time that passed meanwhile was
// not seen.
func (m *model) restart(start time.Duration, isReboot, goesOn bool) {
	m.start, m.base = start, time.Time{}
	for i := range m.list {
		r := &m.list[i]
		r.pending = r.pending && !isReboot
		r.seen, r.blind = false, r.pending && !r.when.timed && (r.blind || !goesOn)
	}
	for ch := range m.heard {
		if isReboot || !m.kept[ch] && !goesOn {
			delete(m.heard, ch)
		}
	}
	m.now = m.remembered()
	if m.ticked = min(m.now.Truncate(tick), start); !isReboot {
		return
	}
	clear(m.past)
	for n := range m.series {
		if strings.HasPrefix(n.text, "total(") || strings.HasPrefix(n.text, "integral(") {
			m.broken[n] = true
		} else {
			delete(m.series, n)
		}
	}
}

// remembered returns the latest time that is known behind a restart.
func (m *model) remembered() (at time.Duration) {
	for ch, heard := range m.heard {
		if m.kept[ch] {
			at = max(at, heard)
		}
	}
	return at
}

// drawRules draws rules, and leaves out what New would refuse.
func drawRules(t *rapid.T) (list []modelRule) {
	// draw draws a condition that is not refused, as those are that always hold.
	draw := func() (*term, *lang.Program) {
		for range 30 {
			c := drawCondition(t)
			if p, faults := lang.Compile(c.text, lang.Condition, plant); len(faults) == 0 {
				if p.Timed() != c.timed {
					t.Fatalf("%s: timed is %v", c, p.Timed())
				}
				return c, p
			}
		}
		t.Fatal("thirty conditions were refused")
		return nil, nil
	}
	for i := range rapid.IntRange(1, 4).Draw(t, "rules") {
		when, program := draw()
		r := modelRule{when: when}
		r.Rule = Rule{
			Name: fmt.Sprint("r", i), When: program, For: rapid.SampledFrom([]time.Duration{0, 0, tick, 3 * time.Second, 7 * time.Second}).Draw(t, "for"),
			Severity: SeverityInfo, Text: "t",
		}
		if rapid.Bool().Draw(t, "has clear") {
			if c, p := draw(); !lang.Overlap(r.When, p) {
				r.clear, r.Clear = c, p
			}
		}
		for range rapid.IntRange(0, 2).Draw(t, "outputs") {
			o := Output{Device: "fan", Channel: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "output"), Value: tidegate.Int(int64(i + 1))}
			o.Priority = rapid.IntRange(0, 2).Draw(t, "priority")
			if rapid.Bool().Draw(t, "has on_clear") {
				o.OnClear = tidegate.Int(0)
			}
			r.Outputs = append(r.Outputs, o)
		}
		list = append(list, r)
	}
	return list
}

// newModel returns a model of list at boot time 0.
func newModel(list []modelRule) *model {
	m := &model{
		list: list, kept: map[string]bool{}, past: map[string][]moment{}, heard: map[string]time.Duration{},
		series: map[*amount][]stamp{}, broken: map[*amount]bool{},
	}
	for _, r := range list {
		for _, p := range []*lang.Program{r.When, r.Clear} {
			if p == nil {
				continue
			}
			for _, in := range p.Inputs {
				if !slices.Contains(m.watched, in.Channel) {
					m.watched = append(m.watched, in.Channel)
				}
				m.kept[in.Channel] = m.kept[in.Channel] || len(p.Inputs) > 1 || p.Timed() || in.Faults
			}
		}
	}
	return m
}

// A trial runs a Set and the model beside each other.
type trial struct {
	*rapid.T
	list  []Rule
	set   *Set
	model *model
	store map[string]string // what a store has that only ever saw Outcome.Changed
	got   []string
	late  uint64

	boot     time.Duration
	base     time.Time     // wall clock at boot time 0
	relative bool          // nobody knows what the wall clock is
	clock    bool          // a rule looks at it
	lost     time.Duration // up to when time has passed, of which a restart knows nothing: no reading is older
	before   []before
}

// before is how things were before a record was judged.
type before struct {
	model *model
	store map[string]string
	got   int
	late  uint64
	rec   *tidegate.Record
}

func newTrial(t *rapid.T) *trial {
	x := &trial{T: t, store: map[string]string{}, model: newModel(drawRules(t)), relative: rapid.IntRange(0, 7).Draw(t, "clock") == 0}
	for _, r := range x.model.list {
		x.list = append(x.list, r.Rule)
		x.clock = x.clock || r.When.Clock || r.Clear != nil && r.Clear.Clock
	}
	var err error
	if x.set, err = New(x.list, 0); err != nil {
		t.Fatal(err)
	}
	x.base = x.drawWall()
	return x
}

// drawWall draws what a wall clock says: 20 years ahead and a year back, and about hours, days, weeks, months and years.
func (x *trial) drawWall() time.Time {
	text := rapid.SampledFrom([]string{"2026-01-05 21:58", "2026-01-05 05:59", "2046-01-05 21:58", "2025-01-05 21:59", "2026-07-31 23:58", "2027-12-31 23:57", "2024-02-28 23:59"}).Draw(x.T, "wall")
	wall, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		x.Fatal(err)
	}
	return wall
}

func (x *trial) wall(boot time.Duration) time.Time {
	if x.relative {
		return time.Time{}
	}
	return x.base.Add(boot)
}

// follow takes over what the Set says.
func (x *trial) follow(out Outcome) {
	for _, a := range out.Alarms {
		x.got = append(x.got, fmt.Sprintf("%v %s %s", a.Boot, map[bool]string{true: "raised", false: "cleared"}[a.Raised], a.Rule))
	}
	for _, a := range out.Actions {
		x.got = append(x.got, fmt.Sprintf("%s sets %s.%s to %v", a.Rule, a.Device, a.Channel, a.Value))
	}
	for _, c := range out.Changed {
		if c.Body == nil {
			delete(x.store, c.Key)
		} else {
			x.store[c.Key] = string(c.Body)
		}
	}
}

// advance tells both that time has passed.
func (x *trial) advance(to time.Duration) {
	x.follow(x.set.Advance(to, x.wall(to)))
	x.model.tell(x.wall(to), to, x.relative)
	x.model.pass(to, true)
	x.lost = max(x.lost, to)
}

// judge lets both judge a record.
func (x *trial) judge(rec *tidegate.Record) {
	x.before = append(x.before, before{x.model.clone(), maps.Clone(x.store), len(x.got), x.late + x.set.Late(), rec})
	x.model.apply(rec)
	if now := x.model.now; now > x.model.remembered() {
		x.lost = max(x.lost, now)
	}
	out := x.set.Apply(rec)
	if len(out.Readings) != len(rec.Readings) {
		x.Fatalf("%d readings remain of %d", len(out.Readings), len(rec.Readings))
	}
	x.follow(out)
}

// step sets the wall clock. Rules that look at it do so each minute: it is set at one.
func (x *trial) step() {
	if x.clock {
		x.boot = (x.boot + time.Minute).Truncate(time.Minute)
		x.advance(x.boot - time.Microsecond)
	}
	x.base = x.drawWall().Add(-x.boot)
}

// restart throws the Set away, and makes a new one of what is stored. Judged anew are the records whose outcome had not been stored.
func (x *trial) restart() {
	kind := rapid.SampledFrom([]string{"clean", "killed", "reboot", "replaced"}).Draw(x.T, "restart")
	if kind == "replaced" { // without a pause: what was due is done
		x.advance(x.boot)
	}
	was := fmt.Sprint(x.set.Status(), x.set.Demands())
	if kind != "killed" {
		x.compareState()
	}
	x.late += x.set.Late()
	again := x.before[len(x.before):]
	if kind == "killed" {
		again = x.before[len(x.before)-rapid.IntRange(0, min(3, len(x.before))).Draw(x.T, "judged anew"):]
		if len(again) > 0 {
			x.model, x.store, x.got, x.late = again[0].model, again[0].store, x.got[:again[0].got], again[0].late
		}
	}
	if kind != "replaced" {
		x.boot += time.Duration(rapid.SampledFrom([]int{0, 1, 20, 80}).Draw(x.T, "down")) * tick
	}
	if kind == "reboot" {
		x.boot, x.base = time.Minute, x.drawWall().Add(-time.Minute)
	}
	x.model.restart(x.boot, kind == "reboot", kind == "replaced")
	if x.before = nil; kind == "reboot" {
		x.lost = 0
	}
	var states []State
	for _, key := range slices.Sorted(maps.Keys(x.store)) {
		states = append(states, State{Key: key, Body: []byte(x.store[key])})
	}
	old := x.set
	var err error
	if x.set, err = New(x.list, x.boot); err != nil {
		x.Fatal(err)
	}
	out, err := x.set.Restore(states, kind != "reboot")
	if err != nil || tell(out) != "" || kind != "reboot" && len(out.Changed) != 0 {
		x.Fatalf("restore: %v, %q, changed %v", err, tell(out), out.Changed)
	}
	x.follow(out)
	if kind == "replaced" {
		x.set.Continue(old)
	}
	if is := fmt.Sprint(x.set.Status(), x.set.Demands()); (kind == "clean" || kind == "replaced") && is != was {
		x.Fatalf("restored %s, was %s", is, was)
	}
	for _, b := range again {
		x.judge(b.rec)
	}
}

// compareState sees to it that what was told of changes is what the Set would save as a whole.
func (x *trial) compareState() {
	told := map[string]bool{}
	for _, st := range x.set.State() {
		told[st.Key] = true
		if x.set.byName[st.Key] != nil && st.Body[1] == pendingBlind && x.store[st.Key][1] == byte(pending) {
			continue // by a restart only: behind the next one it is so again
		}
		if x.store[st.Key] != string(st.Body) {
			x.Fatalf("%s: stored %x, state %x\n%s", st.Key, x.store[st.Key], st.Body, x.rules())
		}
	}
	for key := range x.store { // what time has taken from a window is forgotten with the next value, and what a rule was that is as it began need not be
		if strings.HasPrefix(key, "/") && !told[key] {
			x.Fatalf("%s: stored %x, no state\n%s", key, x.store[key], x.rules())
		}
	}
}

// compare fails where the Set says anything else than the model.
func (x *trial) compare() {
	var is, want []string
	for i, st := range x.set.Status() {
		is = append(is, fmt.Sprintf("%s %v %v", st.Name, st.Active, st.Pending))
		want = append(want, fmt.Sprintf("%s %v %v", st.Name, x.model.list[i].on, x.model.list[i].pending))
	}
	is, want = append(is, fmt.Sprint(x.late+x.set.Late(), " late")), append(want, fmt.Sprint(x.model.late, " late"))
	// Within one record the Set tells alarms before actions, the model does so for each time: compare each kind by itself.
	for _, kind := range []string{"ed r", " sets "} {
		is, want = append(is, only(x.got, kind)...), append(want, only(x.model.out, kind)...)
	}
	if slices.Equal(is, want) {
		return
	}
	x.Fatalf("at %v\n%s\ngot  %q\nwant %q", x.boot, x.rules(), is, want)
}

// rules tells what the rules are.
func (x *trial) rules() string {
	var text []string
	for _, r := range x.model.list {
		text = append(text, fmt.Sprintf("%s: when %s for %v clear %v", r.Name, r.when.text, r.For, r.clear))
	}
	return strings.Join(text, "\n")
}

func only(lines []string, part string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(s string) bool { return !strings.Contains(s, part) })
}

// drawRecord draws what one Read returns.
func (x *trial) drawRecord() *tidegate.Record {
	rec := &tidegate.Record{Class: tidegate.ClassReading, Boot: x.boot}
	if late := time.Duration(rapid.SampledFrom([]int{0, 0, 0, 0, 7, 40}).Draw(x.T, "late")) * tick; x.boot-late >= x.lost {
		rec.Boot -= late
	}
	if rec.Time = x.base.Add(rec.Boot); x.relative {
		rec.Quality = tidegate.TimeRelative
	}
	for range rapid.IntRange(1, 4).Draw(x.T, "readings") {
		ch := rapid.SampledFrom([]string{"d.a", "d.b", "e.c", "f.d"}).Draw(x.T, "channel")
		rd := tidegate.Reading{Device: ch[:1], Channel: ch[2:], Value: tidegate.Float(float64(rapid.IntRange(-2, 6).Draw(x.T, "value")) / 2)}
		switch rapid.IntRange(0, 19).Draw(x.T, "odd") {
		case 0, 1:
			rd.Fault = "x"
		case 2:
			rd.Channel, rd.Fault = DeviceChannel, "away"
		case 3:
			rd.Value = tidegate.Float(math.NaN())
		case 4:
			rd.Value = tidegate.Float(math.Inf(1))
		case 5:
			rd.Value = tidegate.Text("x")
		case 6:
			rd.Value = tidegate.Int(1)
		case 7:
			rd.Value = tidegate.Bool(true)
		}
		switch own := time.Duration(rapid.SampledFrom([]int{0, 0, 0, 3, 25, 100, 101, -30, -1}).Draw(x.T, "own time")) * tick; {
		case own == -tick:
			rd.Time = rec.Time.AddDate(-20, 0, 0)
		case own > 0 && (own > 10*time.Second || rec.Boot-own >= x.lost):
			rd.Time = rec.Time.Add(-own)
		}
		rec.Readings = append(rec.Readings, rd)
	}
	return rec
}

// TestAgainstModel compares the Set with the model on random rules and readings, pauses, faults, late readings and readings with a time of their
// own, and steps of the wall clock. At random moments the Set is thrown away and a new one is restored from what a store that only ever saw
// Outcome.Changed holds, of then or of a few records before, which are judged anew; and time is told at random: none makes a difference but
// those that README.md names.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := newTrial(t)
		for range rapid.IntRange(1, 40).Draw(t, "records") {
			x.boot += time.Duration(rapid.SampledFrom([]int{0, 1, 2, 5, 10, 10, 30, 70, 150}).Draw(t, "pause")) * tick
			if rapid.IntRange(0, 9).Draw(t, "is set") == 0 {
				x.step()
			}
			if to := x.boot - tick; to >= 0 && rapid.Bool().Draw(t, "time is told") {
				x.advance(to)
			}
			if rapid.IntRange(0, 9).Draw(t, "is asked") == 0 { // which changes nothing
				x.set.Explain(x.list[0].Name)
			}
			x.judge(x.drawRecord())
			x.compare()
			if rapid.IntRange(0, 3).Draw(t, "is restarted") == 0 {
				x.restart()
				x.compare()
			}
		}
		x.advance(x.boot + 20*time.Second)
		x.compare()
	})
}
