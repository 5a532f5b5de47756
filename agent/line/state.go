package line

import (
	"slices"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/past"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/rules"
)

// renumber goes on under another name, because the far side has other records under the numbers of this one (a restored backup):
// what was never acknowledged gets the name id, under which its numbers are fresh; where something was, a new ordinal begins. The lease
// has it before anything shows the new name; on an error all is as it was, and it can be tried again.
func (j *judge) renumber(q epochs, id string) error {
	epoch, name, _ := j.numbers.peek()
	coarse := q.Coarse()
	unacked := q.Rename(name.ID, name.ID) // none gets another name by this
	j.log.Warn("the far side has numbers that this state never gave: going on under another epoch", "old", name.ID, "new", id)
	next := buffer.Epoch{ID: id, Start: name.Start}
	if slices.Contains(unacked, epoch) {
		if err := j.numbers.rename(id, coarse); err != nil {
			return err
		}
	} else {
		epoch, next.Start = epoch+1, 1
		if err := j.numbers.begin(epoch, next, coarse); err != nil {
			return err
		}
	}
	q.Rename(name.ID, id)
	q.AddEpoch(epoch, next) // also if it was acknowledged meanwhile: the lease has it so
	j.epochs = q.Epochs()
	j.declared = append(j.declared, freshFrom(j.epochs, unacked)...)
	return nil
}

// freshFrom declares the numbers below the ordinals that got a name of their own together; they rise.
func freshFrom(names map[uint32]buffer.Epoch, renamed []uint32) []buffer.Declaration {
	if len(renamed) == 0 || names[renamed[0]].Start <= 1 {
		return nil
	}
	return []buffer.Declaration{{
		Epoch: renamed[0], Ranges: tidegate.Ranges{{First: 1, Last: names[renamed[0]].Start - 1}}, Cause: tidegate.CauseRestored,
	}}
}

// name tells q the names of ordinals that the plan knows. Where the lease has another name than the store, a process ended in renumber,
// before a commit held what it had renamed: that is done again.
func (p *plan) name(q epochs) {
	stored := q.Epochs()
	for e, name := range p.epochs {
		if old, ok := stored[e]; ok && old.ID != name.ID {
			renamed := q.Rename(old.ID, name.ID)
			p.declared = append(p.declared, freshFrom(q.Epochs(), renamed)...)
		}
		q.AddEpoch(e, name)
	}
}

// ruleStatus returns how the rules stand; any goroutine may call it.
func (j *judge) ruleStatus() []rules.Status {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]rules.Status(nil), j.stands...)
}

// noteStatus keeps how the rules stand for ruleStatus.
func (j *judge) noteStatus() {
	now := j.rules.Status()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stands = now
}

// noteStart notes that rules began anew at the next number. The next entry carries it: before a record that is judged after it, or with it.
func (j *judge) noteStart(s past.Start) {
	epoch, _, next := j.numbers.peek()
	s.Count, s.Place, s.Boot = j.starts, buffer.Place{Epoch: epoch, Number: next}, j.rules.Start()
	s.Wall, s.Armed = j.clock().Wall, j.rules.Fingerprints()
	j.starts++
	j.noteStates(s.State())
}

// adopt takes over what restoring the rules led to: alarms of rules that are gone are cleared, their states forgotten.
func (j *judge) adopt(out rules.Outcome) {
	j.noteStates(out.Changed...)
	j.noteStatus()
	now := j.clock()
	for _, a := range out.Alarms {
		r, err := a.Reading()
		if err != nil {
			j.log.Error("alarm cannot be encoded", "rule", a.Rule, "err", err)
			continue
		}
		j.cleared = append(j.cleared, tidegate.Record{
			Class: tidegate.ClassAlarm, Time: now.Wall, Boot: now.Boot, Quality: now.Quality(), Readings: []tidegate.Reading{r},
		})
	}
}

// noteStates keeps the newest state under each key until an entry carries it. A key stands once in list.
func (j *judge) noteStates(list ...rules.State) {
	before := len(j.changed)
	if j.places == nil && before > 0 && len(list) > 4 { // fewer are looked up one by one
		j.places = make(map[string]int, before+len(list))
		for i := range j.changed {
			j.places[j.changed[i].Key] = i
		}
	}
	for _, s := range list {
		at, ok := j.places[s.Key]
		if j.places == nil && before > 0 {
			at = slices.IndexFunc(j.changed[:before], func(x rules.State) bool { return x.Key == s.Key })
			ok = at >= 0
		}
		switch {
		case ok && s.Body == nil:
			j.changed[at].Body = nil
		case ok:
			j.changed[at].Body = append(j.changed[at].Body[:0], s.Body...)
		default:
			if s.Body != nil {
				start := len(j.bodies)
				j.bodies = append(j.bodies, s.Body...)
				s.Body = j.bodies[start:len(j.bodies):len(j.bodies)]
			}
			if j.places != nil {
				j.places[s.Key] = len(j.changed)
			}
			j.changed = append(j.changed, s)
		}
	}
}

// carried says that an entry carries the changed state.
func (j *judge) carried() {
	clear(j.changed)
	j.changed, j.bodies, j.places = j.changed[:0], j.bodies[:0], nil
}
