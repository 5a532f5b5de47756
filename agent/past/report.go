package past

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/rules"
	"github.com/tidegate-io/tidegate/rules/filter"
	"github.com/tidegate-io/tidegate/rules/lang"
)

const (
	// maxFirings bounds the firings of all rules that are listed, on either side; the first are.
	maxFirings = 20_000
	// fewFirings are listed of each rule however many there are.
	fewFirings = 10
	// maxOthers bounds the rules that are told of although they are not tried.
	maxOthers = 1000
)

// A report gathers what came of each rule.
type report struct {
	since  time.Time
	order  []*account
	byName map[string]*account
	most   int // firings that are listed of one rule, on one side
	others int // accounts of rules that are not tried
}

// An account is what came of one rule.
type account struct {
	name         string
	would, armed side
	note         string
}

// A side is what either the tried or the armed rule did.
type side struct {
	fired uint64
	sum   uint64 // a hash of all alarms in their order
	list  []spell
	open  bool // the newest spell, listed or not, has not ended
	cut   time.Time
}

// A spell is a time for which a rule was active.
type spell struct {
	from, to         time.Time // zero = before; has not ended
	fromBoot, toBoot time.Duration
	record           uint64
	channel, value   string
}

func newReport(o *Options) *report {
	r := &report{since: o.Since, byName: map[string]*account{}, most: max(maxFirings/max(len(o.Rules), 1), fewFirings)}
	armed := map[string]rules.Rule{}
	for _, rule := range o.Armed {
		armed[rule.Name] = rule
	}
	for _, rule := range o.Rules {
		if rule.When == nil {
			continue // it does not fire
		}
		a := r.account(rule.Name)
		switch own, ok := armed[rule.Name]; {
		case !ok:
			a.note = "no armed rule has this name"
		case own.Fingerprint() != rule.Fingerprint():
			a.note = "the armed rule has another condition"
		case rule.Severity == "":
			a.note = "it raises no alarm: how often the armed rule fired is not stored"
		}
	}
	return r
}

func (r *report) account(name string) *account {
	a := r.byName[name]
	if a == nil {
		a = &account{name: name}
		r.byName[name] = a
		r.order = append(r.order, a)
	}
	return a
}

// would takes over what the tried rules made of a record that ended at boot time boot, or of the time up to it; number is the record's.
func (r *report) would(out *rules.Outcome, wall time.Time, boot time.Duration, number uint64) {
	for i := range out.Alarms {
		x := &out.Alarms[i]
		a := r.byName[x.Rule]
		if a == nil {
			continue // its rule is gone
		}
		at, atBoot := When(x, wall, boot)
		r.note(&a.would, x.Raised, spell{from: at, fromBoot: atBoot, record: number, channel: x.Channel, value: x.Value.String()})
	}
}

// stored takes over a stored record of class alarm.
func (r *report) stored(rec *tidegate.Record) {
	for i := range rec.Readings {
		rd := &rec.Readings[i]
		if rd.Device != rules.RulesDevice {
			continue
		}
		if r.byName[rd.Channel] == nil {
			if r.others == maxOthers {
				continue
			}
			r.others++
			r.account(rd.Channel).note = "it is not among the rules that are tried"
		}
		var x struct {
			State   string `json:"state"`
			Channel string `json:"channel"`
			Value   any    `json:"value"`
		}
		d := json.NewDecoder(strings.NewReader(rd.Value.String()))
		d.UseNumber()
		if d.Decode(&x) != nil {
			continue // no alarm of ours; its record was stored whole, as its CRC says
		}
		s := spell{from: rec.Time, fromBoot: rec.Boot, channel: x.Channel}
		if x.Value != nil {
			s.value = fmt.Sprint(x.Value)
		}
		r.note(&r.account(rd.Channel).armed, x.State == "raised", s)
	}
}

// note takes over that a rule became active, or ended, at x.from.
func (r *report) note(s *side, raised bool, x spell) {
	x.from = time.UnixMicro(x.from.UnixMicro()) // as it is stored
	if x.from.Before(r.since) {
		s.open = false // in the list, it begins before
		return
	}
	x.fromBoot = x.fromBoot.Truncate(time.Microsecond)
	h := fnv.New64a()
	fmt.Fprintln(h, s.sum, raised, x.fromBoot, x.channel, x.value) // a hash takes all bytes
	s.sum = h.Sum64()
	if raised {
		s.fired++
		s.open = len(s.list) < r.most
		if s.open {
			s.list = append(s.list, x)
		} else if s.cut.IsZero() {
			s.cut = x.from
		}
		return
	}
	switch {
	case s.open:
		last := &s.list[len(s.list)-1]
		last.to, last.toBoot = x.from, x.fromBoot
	case s.fired == 0:
		s.list = append(s.list, spell{to: x.from, toBoot: x.fromBoot})
	}
	s.open = false
}

// firings returns what either side lists, in the order of time, and how many are left out.
func (a *account) firings() (out []status.Firing, more uint64) {
	w, m := a.would.list, a.armed.list
	cut := a.would.cut
	if c := a.armed.cut; cut.IsZero() || !c.IsZero() && c.Before(cut) {
		cut = c
	}
	listed := [2]uint64{}
	for len(w)+len(m) > 0 {
		var x spell
		f := status.Firing{}
		switch {
		case len(w) > 0 && len(m) > 0 && w[0].fromBoot == m[0].fromBoot && w[0].toBoot == m[0].toBoot:
			x, w, m, f.Would, f.Armed = w[0], w[1:], m[1:], true, true
		case len(m) == 0 || len(w) > 0 && !m[0].from.Before(w[0].from):
			x, w, f.Would = w[0], w[1:], true
		default:
			x, m, f.Armed = m[0], m[1:], true
		}
		if !cut.IsZero() && !x.from.Before(cut) {
			break
		}
		for i, has := range [...]bool{f.Would, f.Armed} {
			if has && !x.from.IsZero() {
				listed[i]++
			}
		}
		f.From, f.To = status.Time{Time: x.from}, status.Time{Time: x.to}
		f.Record, f.Channel, f.Value = x.record, x.channel, x.value
		out = append(out, f)
	}
	return out, max(a.would.fired-listed[0], a.armed.fired-listed[1])
}

// finish returns what is to be said.
func (r *replay) finish() status.Replay {
	out := status.Replay{
		From: status.Time{Time: r.from}, To: status.Time{Time: r.to}, Since: r.o.Since, Records: r.records, Readings: r.readings, Starts: r.begun,
		Notes: r.notes(), Rules: []status.RuleReplay{},
	}
	prints := map[string]uint32{}
	for _, rule := range r.o.Rules {
		prints[rule.Name] = rule.Fingerprint()
	}
	for _, a := range r.report.order {
		x := status.RuleReplay{Name: a.name, Would: a.would.fired, Armed: a.armed.fired, Note: a.note}
		x.Same = a.would.fired == a.armed.fired && a.would.sum == a.armed.sum
		if since := r.armedSince(prints[a.name]); x.Note == "" && since.After(r.o.Since) {
			x.Note = "armed as it is since " + since.Format(time.DateTime) + ": before, another one was, or none"
		}
		x.Firings, x.More = a.firings()
		if x.Firings == nil {
			x.Firings = []status.Firing{}
		}
		out.Rules = append(out.Rules, x)
	}
	return out
}

// armedSince returns since when the rule with that fingerprint is armed without a break; zero = since before all that is known.
func (r *replay) armedSince(print uint32) (since time.Time) {
	for i, s := range r.lives {
		if len(s.Armed) < maxArmed && !slices.Contains(s.Armed, print) {
			since = s.Wall
			if i+1 < len(r.lives) {
				since = r.lives[i+1].Wall
			}
		}
	}
	return since
}

// notes says why what is said is not exact.
func (r *replay) notes() []string {
	out := []string{}
	add := func(format string, a ...any) { out = append(out, fmt.Sprintf(format, a...)) }
	if r.records == 0 {
		add("no reading is stored")
		return out
	}
	if !r.whole {
		add("what was read before %s is not stored any more: rules begin here without what they knew, and may differ until each has been seen to hold and not to hold "+
			"and its windows are full", r.from.Local().Format(time.DateTime))
	}
	if n, where := r.holes(); n > 0 {
		add("%d record numbers are missing (%s): what was read then was dropped or declared as a gap, or none was given such a number", n, where)
	}
	if held := r.readableCount(); r.seen < held {
		add("%d stored records could not be read; tidegate queue check says which", held-r.seen)
	}
	if r.unknown > 0 {
		add("the gateway was started %d times of which nothing is kept: where a condition was about to hold then, rules may differ", r.unknown)
	}
	if list := r.thinned(); len(list) > 0 {
		add("what is stored of %s is not all that was read: rules saw the rest as well, and may differ", strings.Join(list, ", "))
	}
	if r.steps > 0 && slices.ContainsFunc(r.o.Rules, looksAtClock) {
		add("the clock was set %d times: rules that look at the time of day may differ by that around then", r.steps)
	}
	return out
}

func looksAtClock(r rules.Rule) bool {
	return slices.ContainsFunc(r.Programs(), func(p *lang.Program) bool { return p.Clock })
}

// thinned returns channels that tried rules look at and that are not stored whole, each with the armed rule that sees to it.
func (r *replay) thinned() (out []string) {
	seen := map[string]bool{}
	for _, armed := range r.o.Armed {
		for _, rule := range r.o.Rules {
			for _, p := range rule.Programs() {
				for _, in := range p.Inputs {
					if !seen[in.Channel] && slices.ContainsFunc(armed.Filters, func(f filter.Filter) bool { return f.Concerns(in.Channel) }) {
						seen[in.Channel] = true
						out = append(out, fmt.Sprintf("%s (rule %s)", in.Channel, armed.Name))
					}
				}
			}
		}
	}
	return out
}

// readableCount returns how many records of Reads were to be read.
func (r *replay) readableCount() (n uint64) {
	for _, list := range r.readable {
		n += list.Len()
	}
	return n
}

// holes returns how many numbers between the first reading and the newest record no record has, and where the first of them are.
func (r *replay) holes() (n uint64, where string) {
	var all tidegate.Ranges
	next := r.first.Number
	for epoch := r.first.Epoch; epoch <= r.last.Epoch; epoch++ {
		held := r.held[epoch]
		if len(held) == 0 {
			continue
		}
		to := held[len(held)-1].Last
		if epoch == r.last.Epoch {
			to = r.last.Number
		}
		if held[0].First < next && epoch != r.first.Epoch {
			next = held[0].First // another line of numbers
		}
		all = append(all, r.missing(epoch, tidegate.Range{First: next, Last: to})...)
		next = to + 1
	}
	var words []string
	for i, x := range all {
		n += x.Len()
		switch {
		case i < 3 && x.Len() == 1:
			words = append(words, fmt.Sprint(x.First))
		case i < 3:
			words = append(words, fmt.Sprintf("%d to %d", x.First, x.Last))
		case i == 3:
			words = append(words, "and others")
		}
	}
	return n, strings.Join(words, ", ")
}
