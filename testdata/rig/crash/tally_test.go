package crash

import (
	"fmt"
	"strings"
	"testing"
)

// A tally is what became of the episodes of one rule.
type tally struct {
	episodes int // by the truth; of those that are open, those that the rule saw
	raised   int
	cleared  int
	doubled  int // raised or cleared twice in a row
	missing  int
	extra    int
	wrong    int // of another reply, with another value or at another time
	open     int // it is not decided whether there was an episode
	openSeen int // of those, the rule saw one
	vague    int // it is decided, but not by which of two or three readings it began or ended
}

// judge holds the alarms of a rule against the truth, from reply to reply.
func (x *truth) judge(t *testing.T, k *kind, alarms []alarm) (y tally) {
	t.Helper()
	on := false
	for _, a := range alarms {
		if a.raised {
			y.raised++
		} else {
			y.cleared++
		}
		if a.raised == on {
			y.doubled++
			y.say(t, "%s: %v follows another of its kind", k.name, a)
		}
		on = a.raised
	}
	var s state
	var a *reply
	for _, b := range x.lists[k.of] {
		ways, open := k.next(x, s, a, b, k)
		n := 0
		for n < len(alarms) && alarms[n].seq < b.seq {
			n++
		}
		s = y.step(t, k, ways, open, alarms[:n], b)
		a, alarms = b, alarms[n:]
	}
	y.rest(t, k, s, alarms)
	if y.doubled+y.missing+y.extra+y.wrong != 0 {
		t.Errorf("%s: doubled %d, missing %d, extra %d, wrong %d: all must be 0", k.name, y.doubled, y.missing, y.extra, y.wrong)
	}
	if y.episodes == y.openSeen && k.name != "avg10" { // which takes 20 s
		t.Errorf("%s: no episode is decided: nothing was shown", k.name)
	}
	fmt.Printf("| crash/rules | %s | episodes %d, raised %d, cleared %d | doubled %d, missing %d, extra %d, wrong %d | open %d of %d, vague %d |\n",
		k.name, y.episodes, y.raised, y.cleared, y.doubled, y.missing, y.extra, y.wrong, y.open, y.episodes+y.open-y.openSeen, y.vague)
	return y
}

// step finds which of the ways the rule went by the alarms before b, and returns how it stands.
func (y *tally) step(t *testing.T, k *kind, ways []way, open bool, got []alarm, b *reply) state {
	t.Helper()
	if open {
		y.open++
	}
	for _, w := range ways {
		if !w.is(got) {
			continue
		}
		if len(ways) > 1 && !open && len(got) > 0 {
			y.vague++
		}
		raised := w.raised()
		y.episodes += raised
		if open {
			y.openSeen += raised
		}
		return w.then
	}
	w := ways[0]
	y.episodes += w.raised()
	counts := false
	for _, raised := range []bool{true, false} {
		n := 0
		for _, e := range w.events {
			if e.raised == raised {
				n++
			}
		}
		for _, a := range got {
			if a.raised == raised {
				n--
			}
		}
		y.missing += max(n, 0)
		y.extra += max(-n, 0)
		counts = counts || n != 0
	}
	if !counts {
		y.wrong++
	}
	y.say(t, "%s: before reply %d (record %d, %v, life %d) came %v; right were %v", k.name, b.n, b.seq, b.at.Format("15:04:05.000000"), b.life, got, ways)
	return w.then
}

// say tells of the first few things that are wrong.
func (y *tally) say(t *testing.T, format string, args ...any) {
	t.Helper()
	if y.doubled+y.missing+y.extra+y.wrong < 8 {
		t.Errorf(format, args...)
	}
}

// is reports whether the alarms are those of the way.
func (w *way) is(got []alarm) bool {
	if len(got) != len(w.events) {
		return false
	}
	for i, e := range w.events {
		most := margin
		if e.isDue {
			most = slack
		}
		if got[i].raised != e.raised || got[i].value != e.value || !e.at.IsZero() && got[i].at.Sub(e.at).Abs() > most {
			return false
		}
	}
	return true
}

// raised returns how many episodes begin.
func (w *way) raised() (n int) {
	for _, e := range w.events {
		if e.raised {
			n++
		}
	}
	return n
}

func (e event) String() string {
	return fmt.Sprintf("%s by %.0f at %s", map[bool]string{true: "raised", false: "cleared"}[e.raised], e.value, e.at.Format("15:04:05.000000"))
}

func (a alarm) String() string { return fmt.Sprintf("%v (record %d)", a.event, a.seq) }

func (w way) String() string {
	var list []string
	for _, e := range w.events {
		list = append(list, e.String())
	}
	return fmt.Sprintf("[%s, then on=%v pending=%v since %s]", strings.Join(list, ", "), w.then.on, w.then.pending, w.then.since.Format("15:04:05.000000"))
}

// rest looks at what came behind the last reply, when the plant was out of reach: time goes on, and silence begins.
func (y *tally) rest(t *testing.T, k *kind, s state, got []alarm) {
	t.Helper()
	for _, a := range got {
		if !k.timed || a.raised == s.on {
			y.extra++
			y.say(t, "%s: %v came when the plant was out of reach, and the rule was on: %v", k.name, a, s.on)
		}
		s.on = a.raised
		if a.raised {
			y.episodes++
		}
	}
}

// driven sees that no output was written to more often than the rules turned, and once more for each start.
func (p *plant) driven(level, hold tally) {
	p.t.Helper()
	turns := level.raised + level.cleared
	for coil, most := range [...]int{turns, turns + hold.raised + hold.cleared} {
		n := 0
		for _, at := range p.writes {
			if at == coil {
				n++
			}
		}
		if most += len(p.lives); n > most || n == 0 {
			p.t.Errorf("coil %d was written to %d times, at most %d: a start and a turn of a rule each do it once", coil, n, most)
		}
		fmt.Printf("| crash/rules | coil %d | written %d times, at most %d |\n", coil, n, most)
	}
}
