package rules

import (
	"fmt"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/rules/lang"
)

// ownTime is how far before the end of its Read a reading's own time counts: what a driver says of edges is heard, a satellite's date of
// 1980 is not.
const ownTime = 10 * time.Second

// Apply judges rec. Only records of class reading are judged; others go through. A reading with a Fault, a number that is not a
// number (NaN) and a value of another kind than the condition's neither start nor end anything.
//
// Readings of one time are judged together, as long as no channel comes twice. What was due before them has happened before.
func (s *Set) Apply(rec *tidegate.Record) Outcome {
	s.reset()
	if rec.Class == tidegate.ClassReading && len(s.rules) > 0 {
		s.setWall(rec.Time, rec.Boot, rec.Quality)
		boot := time.Duration(-1)
		for i := range rec.Readings {
			rd := &rec.Readings[i]
			at := bootOf(rec, rd)
			if rd.Fault != "" && rd.Channel == DeviceChannel { // as if each channel had said so
				for _, c := range s.listed[rd.Device] {
					boot = s.hear(rec, c, rd, at, boot)
				}
			} else if c := s.heard(rd); c != nil && !c.isMade {
				boot = s.hear(rec, c, rd, at, boot)
			}
		}
		s.judge(rec)
	}
	list, made := rec.Readings, len(s.derived)
	if rec.Class == tidegate.ClassReading && s.filters != nil {
		list = s.shape(rec, list)
		s.derived = s.shape(rec, s.derived)
	}
	if rec.Class == tidegate.ClassReading && (s.routers != nil || s.labellers != nil) {
		list = s.route(list, false)
		s.derived = s.route(s.derived, true)
	}
	out := s.outcome()
	out.Readings, out.Made, out.Apart = list, made, s.routed()
	return out
}

// bootOf returns the boot time that counts for a reading of rec.
func bootOf(rec *tidegate.Record, rd *tidegate.Reading) time.Duration {
	if !rd.Time.IsZero() {
		if early := rec.Time.Sub(rd.Time); early > 0 && early <= ownTime {
			return rec.Boot - early
		}
	}
	return rec.Boot
}

// heard returns the cell of the channel of rd; nil = no rule looks at it. Mostly readings come one behind the other as they did before.
func (s *Set) heard(rd *tidegate.Reading) *cell {
	if c := s.last.then; c != nil && c.is(rd.Device, rd.Channel) {
		s.last = c
		return c
	}
	c := s.cells[rd.Device][rd.Channel]
	if c != nil {
		s.last.then, s.last = c, c
	}
	return c
}

// is reports whether c is the cell of a channel of a device.
func (c *cell) is(device, channel string) bool {
	n := len(device)
	return len(c.name) == n+1+len(channel) && c.name[n+1:] == channel && c.name[:n] == device && c.name[n] == '.'
}

// hear takes over one reading of rec, in the instant under way, of boot time before, or in a new one. It returns the instant's boot time.
func (s *Set) hear(rec *tidegate.Record, c *cell, rd *tidegate.Reading, at, before time.Duration) time.Duration {
	if at != before || c.turn == s.turn {
		s.judge(rec)
		s.pass(at, false)
		s.now, s.at = max(s.now, at), at
	}
	s.take(c, rd, at)
	return at
}

// setWall notes what the wall clock says.
func (s *Set) setWall(wall time.Time, boot time.Duration, q tidegate.TimeQuality) {
	if q == tidegate.TimeRelative {
		s.base = time.Time{}
		return
	}
	s.base = wall.Add(-boot)
}

// In has conditions look at the time of day in zone, whatever the zone of the times of records and of Advance. It returns s.
func (s *Set) In(zone *time.Location) *Set {
	s.zone = zone
	return s
}

// wall returns what the wall clock says at the boot time boot, in the zone that counts; zero = not known.
func (s *Set) wall(boot time.Duration) time.Time {
	if s.base.IsZero() {
		return time.Time{}
	}
	if s.zone == nil {
		return s.base.Add(boot)
	}
	return s.base.Add(boot).In(s.zone)
}

// test returns what x says now.
func (s *Set) test(x *lang.Instance) lang.Verdict { return x.Test(s.now, s.clock(x)) }

// clock returns what the wall clock says now to x; zero where x does not look at it.
func (s *Set) clock(x *lang.Instance) time.Time {
	if !x.Clock() {
		return time.Time{}
	}
	return s.wall(s.now)
}

// take takes over one reading of the instant under way.
func (s *Set) take(c *cell, rd *tidegate.Reading, at time.Duration) {
	if at < c.heard {
		s.late++
		return
	}
	if f, ok := rd.Value.Number(); rd.Fault == "" && ok && f != f {
		return
	}
	c.heard, c.turn = at, s.turn
	if rd.Fault != "" {
		c.Fault = rd.Fault
	} else {
		c.Put(rd.Value, at)
	}
	if c.isKept && !c.dirty {
		c.dirty = true
		s.dirt = append(s.dirt, c)
	}
	for i := range c.watches {
		w := &c.watches[i]
		r := w.rule
		if rd.Fault != "" {
			if w.when != 0 && !w.faults && r.phase == pending && !r.isBlind && !r.when.Timed() {
				r.isBlind = true
				s.touch(r)
			}
			if !w.faults {
				continue
			}
		}
		s.move(r)
		r.lookW, r.lookC = r.lookW || w.when != 0, r.lookC || w.clear != 0
		if rd.Fault == "" {
			r.tookW |= w.when
			r.tookC |= w.clear
		}
	}
	if c.feeds != nil {
		s.feed(c, rd.Fault != "")
	}
}

// move notes that the instant concerns r.
func (s *Set) move(r *rule) {
	if r.turn != s.turn {
		r.turn, r.tookW, r.tookC, r.lookW, r.lookC = s.turn, 0, 0, false, false
		s.mixed = s.mixed || len(s.moved) > 0 && s.moved[len(s.moved)-1].rank > r.rank
		s.moved = append(s.moved, r)
	}
}

// sort puts the rules of moved in their order, from the place from on. Each channel has its rules in order, all of them together need not be.
func (s *Set) sort(from int) {
	if s.mixed {
		slices.SortFunc(s.moved[from:], func(a, b *rule) int { return a.rank - b.rank })
		s.mixed = false
	}
}

// judge lets the rules that the instant concerns look at it, in their order, and ends it. It is an instant of rec.
func (s *Set) judge(rec *tidegate.Record) {
	s.sort(0)
	for i := 0; i < len(s.moved); i++ { // what is derived concerns further rules
		r := s.moved[i]
		if r.keeps && r.tookW|r.tookC != 0 {
			if r.tookW != 0 {
				r.when.Took(r.tookW, s.now, s.clock(r.when))
			}
			if r.tookC != 0 {
				r.clear.Took(r.tookC, s.now, s.clock(r.clear))
			}
			s.fed = append(s.fed, r)
		}
		if r.lookW || r.lookC {
			s.step(r, false)
		}
		if r.derives != nil {
			s.derive(r, rec)
			s.sort(i + 1)
		}
	}
	s.moved = s.moved[:0]
	s.turn++
}

// pass does what is due before boot, or up to it, each at its time.
func (s *Set) pass(boot time.Duration, upTo bool) {
	for len(s.due) > 0 && (s.due[0].due < boot || upTo && s.due[0].due == boot) {
		r := s.due[0]
		s.now = max(s.now, r.due)
		s.step(r, true)
	}
}

// Advance lets time pass up to the boot time boot without a reading: conditions that wait for it hold, each at its own time. wall is the time
// of day at boot; zero = not known. It may lag behind the clock: readings of before that come later are judged as well.
func (s *Set) Advance(boot time.Duration, wall time.Time) Outcome {
	s.reset()
	s.base = time.Time{}
	if !wall.IsZero() {
		s.base = wall.Add(-boot)
	}
	s.pass(boot, true)
	return s.outcome()
}

// Next returns the boot time at which Advance has something to do; ok is false when it has not.
func (s *Set) Next() (boot time.Duration, ok bool) {
	if len(s.due) == 0 {
		return 0, false
	}
	return s.due[0].due, true
}

// Late returns how many readings were older than the newest of their channel, and were not judged.
func (s *Set) Late() uint64 { return s.late }

// step lets r look at how things are now. alone: no reading is the reason, but time.
func (s *Set) step(r *rule, alone bool) {
	if r.parked != "" || r.when == nil {
		return
	}
	w, heard := lang.Unknown, !alone && r.lookW
	if heard || r.when.Timed() {
		w = s.test(r.when)
	}
	if w == lang.Unknown && !r.when.Timed() && r.phase == pending && !r.isBlind && s.now-r.since >= r.For {
		w = lang.Yes // nothing has contradicted since
	}
	switch r.phase {
	case idle, pending:
		s.begin(r, w, heard)
	case active:
		if w != lang.Unknown && r.isHeld != (w == lang.Yes) {
			r.isHeld = w == lang.Yes
			s.touch(r)
		}
		if s.isOver(r, w, alone) {
			s.end(r)
		}
	}
	r.looked = true
	if r.when.Over() || r.clear != nil && r.clear.Over() {
		s.park(r)
	}
	if r.timed || r.phase == pending || r.heap >= 0 {
		s.plan(r)
	}
}

// park has r not judged any more, as it has looked at too much.
func (s *Set) park(r *rule) {
	r.parked = fmt.Sprintf("looked at more than %d bytes of text for one reading", lang.MaxSteps)
	s.touch(r)
	s.plan(r)
	s.pace(r)
}

// isOver reports whether an active rule ends. w is what When says now. Clear counts when a channel of it was heard; by time alone, it has to
// begin to hold.
func (s *Set) isOver(r *rule, w lang.Verdict, alone bool) bool {
	if r.clear == nil {
		return w == lang.No
	}
	heard := !alone && r.lookC
	if !heard && !r.clear.Timed() {
		return false
	}
	before := r.isOver
	r.isOver = s.test(r.clear) == lang.Yes
	return r.isOver && (heard || !before && r.looked)
}

// begin is step for a rule that is not active. heard: it is a channel of When that was heard.
func (s *Set) begin(r *rule, w lang.Verdict, heard bool) {
	switch w {
	case lang.No:
		if r.phase == pending || r.isHeld {
			r.phase, r.isHeld = idle, false
			s.touch(r)
		}
	case lang.Yes:
		if r.isHeld {
			return
		}
		if r.phase == idle {
			r.phase, r.since, r.isBlind = pending, s.now, false
			s.touch(r)
		} else if heard && r.isBlind {
			r.isBlind = false
			s.touch(r)
		}
		if s.now-r.since >= r.For && !r.isBlind {
			s.fire(r)
		}
	}
}
