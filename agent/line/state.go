package line

import (
	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer"
	"github.com/tidegate-io/tidegate/rules"
)

// renumber goes on under another name, because the far side has other records under the numbers of this one (a restored backup):
// what was never acknowledged gets the name id, under which its numbers are fresh; where something was, a new ordinal begins.
func (j *judge) renumber(q epochs, id string) error {
	epoch, name, _ := j.numbers.peek()
	coarse := q.Coarse()
	renamed := q.Rename(name.ID, id)
	j.log.Warn("the far side has numbers that this state never gave: going on under another epoch", "old", name.ID, "new", id)
	if len(renamed) == 0 || renamed[len(renamed)-1] != epoch {
		name = buffer.Epoch{ID: id, Start: 1}
		if err := j.numbers.begin(epoch+1, name, coarse); err != nil {
			return err
		}
		q.AddEpoch(epoch+1, name)
	} else if err := j.numbers.rename(id, coarse); err != nil {
		return err
	}
	j.epochs = q.Epochs()
	if len(renamed) > 0 {
		if first := j.epochs[renamed[0]].Start; first > 1 {
			j.declared = append(j.declared, buffer.Declaration{
				Epoch: renamed[0], Ranges: tidegate.Ranges{{First: 1, Last: first - 1}}, Cause: tidegate.CauseRestored,
			})
		}
	}
	return nil
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

// adopt takes over what restoring the rules led to: alarms of rules that are gone are cleared, their states forgotten.
func (j *judge) adopt(out rules.Outcome) {
	for _, s := range out.Changed {
		j.noteState(s)
	}
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

// noteState keeps the newest state of each rule until an entry carries it.
func (j *judge) noteState(s rules.State) {
	s = rules.State{Rule: s.Rule, Body: append([]byte(nil), s.Body...)}
	for i := range j.changed {
		if j.changed[i].Rule == s.Rule {
			j.changed[i] = s
			return
		}
	}
	j.changed = append(j.changed, s)
}
