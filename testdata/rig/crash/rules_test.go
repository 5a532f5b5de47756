package crash

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// TestKilledRules: rules of every kind fire and end at the receiver as what the plant answered demands, each once, with the reply that decided and its
// time; and after a start the outputs become what the rules want, and are not written to more often than the rules turned.
func TestKilledRules(t *testing.T) {
	t.Parallel()
	measure(t, killedWithRules, *kills, killedRules)
}

func killedRules(t *testing.T, draw *rand.Rand, n int) *outcome {
	v, p := newVictim(t, draw), newPlant(t)
	v.begins, v.ended, v.restarts = p.begins, p.ended, func() { p.quiet(v) }
	configure := func(away bool) {
		v.gateway.Configure(p.devices(away), plantRules, v.broker.URL(), "receipt", "")
	}
	configure(false)
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { p.watch(v.gateway, over) })
	v.disturb(n, 0)
	bed.Wait(t, "an episode of each rule", 2*time.Minute, func() bool { return p.course() > 330 })
	p.settles(v, [2]bool{})
	close(over)
	wg.Wait()
	v.gateway.Terminate(60 * time.Second)
	p.ended()
	configure(true)
	v.gateway.Deliver()
	far := v.receiver.Finish()
	for _, g := range far.Gateways {
		for _, e := range g.Epochs {
			if len(e.Gaps) > 0 {
				t.Errorf("gaps are declared: %+v", e.Gaps)
			}
		}
	}
	x, alarms := p.stored(v.receiver.Out)
	o := &outcome{cases: v.killed, unreported: holes(far), lost: p.lost}
	tallies := map[string]tally{}
	for _, k := range kinds {
		y := x.judge(t, k, alarms[k.name])
		tallies[k.name] = y
		o.add(&outcome{lost: int64(y.missing), wrong: int64(y.wrong + y.extra), twice: int64(y.doubled)})
		delete(alarms, k.name)
	}
	for name := range alarms {
		t.Errorf("there are alarms of a rule %q", name)
	}
	p.driven(tallies["level"], tallies["hold"])
	if v.killed < 120 { // 128 starts are kept
		replayed(v, tallies)
	}
	return o
}

// replayed sees that a replay of what is stored says the same as the alarms, whatever starts lie between.
func replayed(v *victim, tallies map[string]tally) {
	v.t.Helper()
	out, errs, code := v.gateway.Command("rules", "replay", "--json")
	var r status.Replay
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 {
		v.t.Fatalf("rules replay: exit status %d, %v: %s", code, err, errs)
	}
	if len(r.Notes) > 0 || len(r.Rules) != len(kinds) {
		v.t.Errorf("rules replay tells of %d rules, and %q", len(r.Rules), r.Notes)
	}
	for _, x := range r.Rules {
		if !x.Same || x.Would != uint64(tallies[x.Name].raised) {
			v.t.Errorf("rules replay: %s would have fired %d times, the armed one fired %d times; %d alarms were raised; the same: %v; %+v",
				x.Name, x.Would, x.Armed, tallies[x.Name].raised, x.Same, x)
		}
	}
}

// quiet is one kill of twelve: the course stands still, which rules see, and soon after the gateway is killed, perhaps between a record and what it has
// done to an output. Then the outputs have to become what the rules want.
func (p *plant) quiet(v *victim) {
	if v.killed%12 != 3 {
		return
	}
	time.Sleep(between(v.draw, 0, time.Second))
	at := [2]bool{v.draw.IntN(2) == 0, v.draw.IntN(3) == 0}
	p.stand(&at)
	time.Sleep(between(v.draw, 0, 300*time.Millisecond))
	if v.again() {
		p.settles(v, at)
	}
	p.stand(nil)
}

// settles waits until the course stands still and the outputs are as the rules want it, and sees that they stay so.
func (p *plant) settles(v *victim, at [2]bool) {
	p.t.Helper()
	p.stand(&at)
	want := [2]bool{at[0], at[0] && !at[1]} // hold comes before level
	_, before, from := p.relays()
	bed.Wait(p.t, fmt.Sprintf("after kill %d, level high %v and hold %v: outputs %v", v.killed, at[0], at[1], want), 60*time.Second, func() bool {
		coils, writes, replies := p.relays()
		if writes != before { // what a start finds may be what is wanted, before what the process before wanted is put back
			before, from = writes, replies
		}
		return coils == want && replies > from+20 // 400 ms: `for` is over
	})
	_, before, from = p.relays()
	bed.Wait(p.t, "replies", 60*time.Second, func() bool { _, _, replies := p.relays(); return replies > from+10 })
	if coils, writes, _ := p.relays(); coils != want || writes > before+2 { // a write may have been under way
		p.t.Errorf("after kill %d outputs were as wanted and then became %v, want %v; they were written to %d times more", v.killed, coils, want, writes-before)
	}
}

// An alarm is one that is stored.
type alarm struct {
	event
	seq uint64
}

// stored reads what the receiver has: m1 and m2 without loss but what was in flight, nothing twice or altered, and each read between its reply and the
// next one; and the alarms of each rule.
func (p *plant) stored(dir string) (*truth, map[string][]alarm) {
	x := &truth{lives: p.lives, asked: p.asked, sums: map[int][]float64{}}
	alarms := map[string][]alarm{}
	epochs := map[string]bool{}
	if err := bed.Stored(dir, func(r *bed.Record) {
		epochs[r.Epoch] = true
		if err := p.take(x, alarms, r); err != nil {
			p.t.Errorf("record %d: %v", r.Seq, err)
		}
	}); err != nil {
		p.t.Fatal(err)
	}
	if len(epochs) != 1 {
		p.t.Errorf("there are %d epochs, want 1", len(epochs))
	}
	for _, list := range alarms {
		slices.SortFunc(list, func(a, b alarm) int { return cmp.Compare(a.seq, b.seq) })
	}
	inFlight := 0
	for of, given := range [2]int{len(p.replies), len(p.asked)} {
		slices.SortFunc(x.lists[of], func(a, b *reply) int { return cmp.Compare(a.seq, b.seq) })
		inFlight += p.account(x, of, given)
	}
	x.order()
	for _, channel := range []int{atLoad2, atLoad10} {
		sums := []float64{0}
		for i, r := range x.lists[0] {
			sums = append(sums, sums[i]+r.v[channel])
		}
		x.sums[channel] = sums
	}
	fmt.Printf("| crash/rules | replies | meter %d, gauge %d of %d requests | stored %d and %d, in flight %d, lives %d |\n",
		len(p.replies), p.good, len(p.asked), len(x.lists[0]), len(x.lists[1]), inFlight, len(p.lives))
	return x, alarms
}

// take takes one record.
func (p *plant) take(x *truth, alarms map[string][]alarm, r *bed.Record) error {
	first := &r.Readings[0]
	switch {
	case first.Device == "_rules" && r.Lane != "alarm":
		return fmt.Errorf("alarm in lane %s", r.Lane)
	case first.Device == "_rules":
		var text struct {
			State, Channel string
			Value          float64
		}
		if err := json.Unmarshal([]byte(first.Value), &text); err != nil || len(r.Readings) != 1 || text.State != "raised" && text.State != "cleared" {
			return fmt.Errorf("alarm %v: %w", r.Readings, err)
		}
		i := slices.IndexFunc(kinds, func(k *kind) bool { return k.name == first.Channel })
		if want := map[int]string{0: "m1.", 1: "m2.v"}; i < 0 || text.Channel != want[kinds[i].of]+map[bool]string{true: meterChannels[kinds[max(i, 0)].channel]}[kinds[i].of == 0] {
			return fmt.Errorf("alarm of %s by %s", first.Channel, text.Channel)
		}
		alarms[first.Channel] = append(alarms[first.Channel], alarm{event{raised: text.State == "raised", value: text.Value, at: r.Time}, r.Seq})
		return nil
	case first.Fault != "" || first.Device != "m1" && first.Device != "m2":
		return nil
	}
	s := &reply{seq: r.Seq, at: r.Time}
	of, want := 0, len(meterChannels)
	if first.Device == "m2" {
		of, want = 1, 1
	}
	for i := range r.Readings {
		if _, err := fmt.Sscan(r.Readings[i].Value, &s.v[i]); err != nil || len(r.Readings) != want {
			return fmt.Errorf("%v: %w", r.Readings, err)
		}
	}
	s.n = int(s.v[0])
	if of == 0 && (s.n < 1 || s.n > len(p.replies) || [len(meterChannels)]uint32{} == p.replies[s.n-1]) {
		return fmt.Errorf("m1 gave no reply %d", s.n)
	}
	if of == 0 {
		for i, v := range p.replies[s.n-1] {
			if s.v[i] != float64(v) {
				return fmt.Errorf("%s was %v in reply %d, stored is %v", meterChannels[i], v, s.n, s.v[i])
			}
		}
	} else if s.n = p.request(s.n); s.n == 0 {
		return fmt.Errorf("m2 gave no reply %v", s.v[0])
	}
	x.lists[of] = append(x.lists[of], s)
	return nil
}

// request returns by which request m2 was asked for its reply n; 0 = there is none.
func (p *plant) request(n int) int {
	for i, answered := range p.asked {
		if answered {
			n--
		}
		if n == 0 && answered {
			return i + 1
		}
	}
	return 0
}

// account sees that each of the given replies is stored once, in order and in its time, or was in flight, and returns how many were.
func (p *plant) account(x *truth, of, given int) (inFlight int) {
	count := func(l *life) int { return map[bool]int{true: l.meter, false: l.gauge}[of == 0] }
	list := x.lists[of]
	for n := 1; n <= given; n++ {
		if of == 1 && !p.asked[n-1] {
			continue
		}
		at := lifeOf(p.lives, n, count)
		switch {
		case at < 0:
			p.t.Fatalf("m%d answered %d in no life", of+1, n)
		case len(list) == 0 || list[0].n != n:
			if inFlight++; n != count(&p.lives[at]) {
				p.t.Errorf("m%d: reply %d is missing or out of order, which was not the last before a kill", of+1, n)
				p.lost++
				return inFlight
			}
		default:
			r := list[0]
			r.life, list = at, list[1:]
			until := p.lives[at].ended
			if n < count(&p.lives[at]) {
				until = p.times[of][n]
			}
			if r.at.Before(p.times[of][n-1].Add(-margin)) || r.at.After(until.Add(margin)) {
				p.t.Errorf("m%d: reply %d was given at %v, the next at %v; stored is %v", of+1, n, p.times[of][n-1], until, r.at)
			}
		}
	}
	if len(list) > 0 {
		p.t.Errorf("m%d: record %d has reply %d, which came twice or was never given", of+1, list[0].seq, list[0].n)
	}
	return inFlight
}
