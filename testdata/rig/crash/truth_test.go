package crash

import (
	"cmp"
	"slices"
	"time"
)

// What rules had to do is found out here a second time, from what the plant answered and rules/README.md says, and without package rules.
//
// Which replies the gateway has read is known by what is stored; what it had not got when it was killed was in flight. Three things a far end
// cannot know, and so what depends on them is open, either way is right:
//
//   - which of the last replies before a kill were judged only after it. A rule that was pending then waits for a reading (`for`), and silence is
//     counted anew (`missing`): so it is open whether they fired when the first value after it ends the episode;
//   - when silence began to be counted after a start, between its beginning and when it was first seen judging;
//   - whether the gauge's only refusal between two values (`fault`) was in flight, where it was the last that it gave before a kill.
//
// Where time alone and a reading are closer together than margin, or a window's beginning decides, it is vague which of two or three readings
// fires; that it does is not. Rules count boot time, and what is stored is wall time: a process that is interrupted between its looks at the two
// clocks says two times. What was due is not dated later than slack.
const (
	margin = 2 * time.Millisecond
	slack  = 10 * time.Millisecond
)

// A reply is one of m1 or m2 that is stored.
type reply struct {
	n    int // m1: running number; m2: number of the request
	life int
	seq  uint64
	at   time.Time                   // of its record
	now  time.Time                   // until when rules have judged then: a Read may overtake another, but their time does not go back
	v    [len(meterChannels)]float64 // m2: v[0] only
}

// truth is what is known of a run.
type truth struct {
	lives []life
	lists [2][]*reply // of m1 and m2
	asked []bool
	sums  map[int][]float64 // by channel of m1: sums of the first n of its list
}

// order finds until when rules have judged with each reply.
func (x *truth) order() {
	all := slices.Concat(x.lists[0], x.lists[1])
	slices.SortFunc(all, func(a, b *reply) int { return cmp.Compare(a.seq, b.seq) })
	var now time.Time
	for _, r := range all {
		if r.at.After(now) {
			now = r.at
		}
		r.now = now
	}
}

// An event is an alarm: raised or cleared, by the value of its channel.
type event struct {
	raised bool
	value  float64
	at     time.Time // zero = not told
	isDue  bool      // by time alone
}

// A state is how a rule stands.
type state struct {
	on, pending bool
	since       time.Time // pending: since when `when` holds; of a value that stays the same, since when it does
	count       int
}

// A way is something that a rule may do between two stored replies, and how it stands then.
type way struct {
	events []event
	then   state
}

// A kind is a rule as the reference knows it.
type kind struct {
	name    string
	of      int // list in truth
	channel int // in a reply
	timed   bool
	// next returns what may happen from behind reply a until b is judged, which is the next that is stored; a is nil for the first. open: it is not
	// decided whether there is an episode.
	next func(x *truth, s state, a, b *reply, k *kind) (ways []way, open bool)
}

const (
	atLevel, atHold, atOne, atLoad2, atLoad10, atJump, atStill = 1, 2, 3, 4, 5, 6, 7

	held = 190 * time.Millisecond // of `for`, stuck and missing: replies come each 20 ms, and so it is over between two
)

// plantRules are the rules that run.
const plantRules = `rules:
  - name: level
    when: m1.level > 200000000
    clear: m1.level < 100000000
    do:
      - alarm: {severity: warning, text: hysteresis}
      - set: {channel: plc.valve, value: true, on_clear: false}
      - set: {channel: plc.pump, value: true, on_clear: false, priority: 10}
  - name: hold
    when: m1.hold > 500000000
    for: 190ms
    do:
      - alarm: {severity: error, text: for}
      - set: {channel: plc.pump, value: false, priority: 20}
  - {name: total, when: total(m1.one) % 40 >= 20, do: [{alarm: {severity: info, text: count}}]}
  - {name: rate, when: rate(m1.jump) > 100000, do: [{alarm: {severity: info, text: rate}}]}
  - {name: stuck, when: "stuck(m1.still, 190ms)", do: [{alarm: {severity: warning, text: stuck}}]}
  - {name: avg2, when: "avg(m1.load2, 2s) > 60000000", clear: "avg(m1.load2, 2s) < 40000000", do: [{alarm: {severity: warning, text: window}}]}
  - {name: avg10, when: "avg(m1.load10, 10s) > 60000000", clear: "avg(m1.load10, 10s) < 40000000", do: [{alarm: {severity: warning, text: window}}]}
  - {name: missing, when: "missing(m2.v, 190ms)", do: [{alarm: {severity: error, text: missing}}]}
  - {name: fault, when: fault(m2.v), do: [{alarm: {severity: error, text: fault}}]}
`

var kinds = []*kind{
	{name: "level", channel: atLevel, next: byValue(func(_, b *reply, _ *state) (bool, bool) { return b.v[atLevel] > 200e6, b.v[atLevel] < 100e6 })},
	{name: "hold", channel: atHold, next: nextHold},
	{name: "total", channel: atOne, next: byValue(func(_, _ *reply, s *state) (bool, bool) {
		s.count++
		return s.count%40 >= 20, s.count%40 < 20
	})},
	{name: "rate", channel: atJump, next: nextRate},
	{name: "stuck", channel: atStill, next: nextStuck},
	{name: "avg2", channel: atLoad2, timed: true, next: nextAverage},
	{name: "avg10", channel: atLoad10, timed: true, next: nextAverage},
	{name: "missing", of: 1, timed: true, next: nextMissing},
	{name: "fault", of: 1, timed: true, next: nextFault},
}

// byValue makes a rule of conditions that only readings change: f says whether `when` and `clear` hold with b.
func byValue(f func(a, b *reply, s *state) (when, clear bool)) func(*truth, state, *reply, *reply, *kind) ([]way, bool) {
	return func(_ *truth, s state, a, b *reply, k *kind) ([]way, bool) {
		when, clear := f(a, b, &s)
		return turn([]way{{then: s}}, sureIf(when), sureIf(clear), event{value: b.v[k.channel], at: b.at}), false
	}
}

// How sure it is that a condition holds.
const (
	no = iota
	maybe
	sure
)

func sureIf(is bool) int { return map[bool]int{true: sure}[is] }

// turn lets each of the ways go on: by e the rule is raised or cleared where it may.
func turn(ways []way, when, clear int, e event) (out []way) {
	for _, w := range ways {
		turns := when
		if w.then.on {
			turns = clear
		}
		if turns > no {
			x := e
			x.raised = !w.then.on
			then := w.then
			then.on = x.raised
			out = append(out, way{append(slices.Clone(w.events), x), then})
		}
		if turns < sure {
			out = append(out, w)
		}
	}
	return out
}

// isJudged reports whether r was surely judged by the process that read it.
func (x *truth) isJudged(r *reply) bool {
	return r.life == len(x.lives)-1 || r.seq < x.lives[r.life].next
}

// judged returns up to when replies of a life were surely judged in it.
func (x *truth) judged(life int) (at time.Time) {
	list := x.lists[0]
	i, _ := slices.BinarySearchFunc(list, x.lives[life].next, func(r *reply, seq uint64) int { return cmp.Compare(r.seq, seq) })
	if i > 0 && list[i-1].life == life {
		at = list[i-1].at
	}
	return at
}

// nextHold: `for`, and no `clear`.
func nextHold(x *truth, s state, a, b *reply, k *kind) ([]way, bool) {
	holds := b.v[k.channel] > 500e6
	byB := event{value: b.v[k.channel], at: b.at}
	switch {
	case s.on:
		return turn([]way{{then: s}}, no, sureIf(!holds), byB), false
	case !s.pending:
		return []way{{then: state{pending: holds, since: b.now}}}, false
	}
	due := s.since.Add(held)
	fired := way{[]event{{raised: true, value: a.v[k.channel], at: due, isDue: true}}, state{on: true}}
	restarted := a.life != b.life || !x.isJudged(b)
	if restarted { // by time alone only where a was judged behind the start, and then it fires behind it too
		fired.events[0].at = time.Time{}
	}
	early, late := due.Before(b.now.Add(margin)), due.After(b.now.Add(-margin))
	var ways []way
	if early {
		ways = turn([]way{fired}, no, sureIf(!holds), byB)
	}
	switch {
	case holds && early && (late || restarted):
		ways = append(ways, turn([]way{{}}, sure, no, byB)...)
	case !holds && (late || restarted):
		ways = append(ways, way{})
	}
	if holds && late {
		ways = append(ways, way{then: s})
	}
	return ways, !holds && len(ways) > 1
}

// nextRate: the jump of half a million makes a rate of more than 100,000 in less than 5 s, a step of 1 only in less than 10 us.
func nextRate(_ *truth, s state, a, b *reply, k *kind) ([]way, bool) {
	if a == nil {
		return []way{{then: s}}, false
	}
	is := maybe
	if rate := (b.v[k.channel] - a.v[k.channel]) / b.now.Sub(a.now).Seconds(); rate < 50_000 || rate > 200_000 {
		is = sureIf(rate > 100_000)
	}
	return turn([]way{{then: s}}, is, sure-is, event{value: b.v[k.channel], at: b.at}), false
}

// nextStuck: the value has been the same for so long.
func nextStuck(_ *truth, s state, a, b *reply, k *kind) ([]way, bool) {
	if a == nil || a.v[k.channel] != b.v[k.channel] {
		s.since = b.now
	}
	is := maybe
	if long := b.now.Sub(s.since) - held; long > margin || long < -margin {
		is = sureIf(long > 0)
	}
	return turn([]way{{then: s}}, is, sure-is, event{value: b.v[k.channel], at: b.at}), false
}

// nextAverage: above 60 and below 40 million, over 2 or 10 s.
func nextAverage(x *truth, s state, a, b *reply, k *kind) ([]way, bool) {
	span := 2 * time.Second
	if k.channel == atLoad10 {
		span = 10 * time.Second
	}
	ways := []way{{then: s}}
	list := x.lists[0]
	i, _ := slices.BinarySearchFunc(list, b.seq, func(r *reply, seq uint64) int { return cmp.Compare(r.seq, seq) })
	if a != nil {
		when, clear := no, no
		until := b.now
		if empty := a.now.Add(span); empty.Before(until) {
			until = empty
		}
		for t := a.now; ; t = t.Add(5 * time.Millisecond) {
			isLast := !t.Before(until)
			if isLast {
				t = until
			}
			w, c := x.average(k.channel, list[:i], t, span)
			when, clear = max(when, min(w, maybe)), max(clear, min(c, maybe))
			if isLast {
				break
			}
		}
		ways = turn(ways, when, clear, event{value: a.v[k.channel]})
	}
	when, clear := x.average(k.channel, list[:i+1], b.now, span)
	return turn(ways, when, clear, event{value: b.v[k.channel], at: b.at}), false
}

// average says whether the average of list at t is above 60 and below 40 million. Its window reaches back by span, and up to 1/60 further.
func (x *truth) average(channel int, list []*reply, t time.Time, span time.Duration) (when, clear int) {
	from := func(at time.Time) int {
		i, _ := slices.BinarySearchFunc(list, at, func(r *reply, at time.Time) int { return r.now.Compare(at) })
		return i
	}
	sums := x.sums[channel]
	most, least := 0.0, 1e12
	first, last := from(t.Add(-span-span/60-margin)), from(t.Add(-span+margin))
	if last == len(list) {
		return maybe, maybe // it may be empty
	}
	for i := first; i <= last; i++ {
		avg := (sums[len(list)] - sums[i]) / float64(len(list)-i)
		most, least = max(most, avg), min(least, avg)
	}
	is := func(all, any bool) int {
		if all {
			return sure
		}
		return map[bool]int{true: maybe}[any]
	}
	return is(least > 60e6, most > 60e6), is(most < 40e6, least < 40e6)
}

// nextMissing: a is the last value before the silence, which b ends.
func nextMissing(x *truth, s state, a, b *reply, _ *kind) ([]way, bool) {
	if a == nil {
		return []way{{then: s}}, false
	}
	is := no
	ended := func(life int) time.Time { // when b, or the end of the life, ended the silence there
		if life == b.life {
			return b.at
		}
		return x.lives[life].ended
	}
	for l := a.life; l <= b.life; l++ {
		least, most := x.lives[l].began, x.lives[l].up // since when silence was counted
		if l == a.life {
			least, most = a.at, a.at
		}
		until := x.judged(l)
		if l == b.life && x.isJudged(b) || until.After(b.at) {
			until = b.at
		}
		if !most.IsZero() && most.Add(held+margin).Before(until) {
			is = sure
		} else if least.Add(held - margin).Before(ended(l)) {
			is = max(is, maybe)
		}
	}
	raised := event{raised: true, value: a.v[0], isDue: true}
	if a.life == b.life {
		raised.at = a.at.Add(held)
	}
	return silence(is, raised, b), is == maybe
}

// nextFault: between a and b the gauge refused some requests.
func nextFault(x *truth, s state, a, b *reply, _ *kind) ([]way, bool) {
	if a == nil {
		return []way{{then: s}}, false
	}
	is := no
	for n := a.n + 1; n < b.n; n++ {
		if l := lifeOf(x.lives, n, func(l *life) int { return l.gauge }); x.asked[n-1] {
			continue // it answered, and that was in flight
		} else if l < b.life && n == x.lives[l].gauge { // what was asked last in a life may have been in flight
			is = max(is, maybe)
		} else {
			is = sure
		}
	}
	return silence(is, event{raised: true, value: a.v[0]}, b), is == maybe
}

// silence returns the ways of an episode that b ends.
func silence(is int, raised event, b *reply) (ways []way) {
	if is > no {
		ways = append(ways, way{events: []event{raised, {value: b.v[0], at: b.at}}})
	}
	if is < sure {
		ways = append(ways, way{})
	}
	return ways
}
