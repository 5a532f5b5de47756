package lang

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
)

// steadyTexts are conditions that look at channels in every way: through calls, beside them, through calls of calls, and at time.
var steadyTexts = []string{
	"avg(meter1.temp, 1s, tumbling) > 3",
	"count(meter1.temp, 1s, tumbling) >= 2",
	"increase(meter1.n, 1s, tumbling) > 3",
	"p50(meter1.temp, 1s, tumbling) > 3 or stddev(meter1.temp, 300ms, tumbling) > 1",
	"avg(meter1.temp, 1s, tumbling) > 3 and meter1.n > 2",
	"max(avg(meter1.temp, 1s, tumbling), meter1.n) > 3",
	"(avg(meter1.temp, 1s, tumbling) ?? meter1.n) > 3",
	"(hall.door ? avg(meter1.temp, 1s, tumbling) : 3) > 2",
	"avg(meter1.temp, 1s, tumbling) > 3 or prev(meter1.n) > 4",
	"avg(meter1.temp, 1s, tumbling) > 3 or missing(meter1.n, 700ms)",
	"avg(meter1.temp, 1s, tumbling) > 3 or fault(meter1.n)",
	"avg(meter1.temp, 1s, tumbling) > minute()",
	"avg(meter1.temp, 1s, tumbling) > avg(meter1.temp, 3s)",
	"max(avg(meter1.temp, 1s, tumbling), 2s) > 3",
	"avg(meter1.temp, 1s, tumbling) > 3 and not changed(plc.mode)",
	"max(meter1.temp, 3s) > 3",
	"delta(meter1.temp, 300ms, session) > 1",
	"sum(meter1.temp, 3x) > 9",
	"stuck(meter1.n, 500ms)",
	"total(meter1.n) % 2 == 1",
	"hall.door and meter1.n > 2",
}

// TestSaysAsIfAskedAnew: what an Instance remembers of what it said is what it would say, and so is when that changes.
func TestSaysAsIfAskedAnew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, faults := Compile(rapid.SampledFrom(steadyTexts).Draw(t, "text"), Condition, plant())
		if len(faults) > 0 {
			t.Fatal(faults[0])
		}
		var cells []*Cell
		for range p.Inputs {
			cells = append(cells, NewCell())
		}
		now, begun := time.Second, time.Unix(1_800_000_000, 0)
		wall := func() time.Time { return begun.Add(now * 40) }            // minutes go by within seconds
		x, y := p.New(new(Room), cells, now), p.New(new(Room), cells, now) // y is asked anew each time
		ask := func() {
			y.until = 0
			if got, want := x.Test(now, wall()), y.Test(now, wall()); got != want {
				t.Fatalf("at %v it says %v, asked anew %v", now, got, want)
			}
			at, ok := x.Next(now)
			y.until = 0
			if wantAt, wantOK := y.Next(now); at != wantAt || ok != wantOK {
				t.Fatalf("at %v that changes at %v (%v), asked anew at %v (%v)", now, at, ok, wantAt, wantOK)
			}
		}
		actions := map[string]func(*rapid.T){
			"time": func(t *rapid.T) { now += time.Duration(rapid.Int64Range(0, 1200).Draw(t, "ms")) * time.Millisecond },
			"tick": func(t *rapid.T) {
				now = (now + time.Second).Truncate(time.Second) - time.Duration(rapid.IntRange(0, 1).Draw(t, "early"))*time.Microsecond
			},
			"ask":   func(*rapid.T) { ask() },
			"fault": func(t *rapid.T) { rapid.SampledFrom(cells).Draw(t, "cell").Fault = "broken" },
			"value": func(t *rapid.T) {
				i := rapid.IntRange(0, len(cells)-1).Draw(t, "input")
				cells[i].Put(tidegate.Float(float64(rapid.IntRange(0, 6).Draw(t, "value"))), now)
				x.Took(1<<i, now, wall())
				y.Took(1<<i, now, wall())
			},
			"show": func(t *rapid.T) { // at a time that is still to come, which the windows then know of
				later := now + time.Duration(rapid.IntRange(0, 3).Draw(t, "s"))*time.Second
				x.Show(later, wall())
				y.Show(later, wall())
			},
			"restart": func(*rapid.T) {
				oldX, oldY := x, y
				x, y = p.New(new(Room), cells, now), p.New(new(Room), cells, now)
				ask()
				handOver(t, oldX, x)
				handOver(t, oldY, y)
				ask()
			},
		}
		names := []string{"time", "tick", "ask", "ask", "value", "value", "fault", "show", "restart"}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			actions[rapid.SampledFrom(names).Draw(t, "do")](t)
		}
		ask()
	})
}

// handOver restores to what from keeps.
func handOver(t *rapid.T, from, to *Instance) {
	from.Touch()
	for slot, part, body, ok := from.Dirty(nil); ok; slot, part, body, ok = from.Dirty(nil) {
		if body == nil {
			continue
		}
		if _, err := to.Restore(slot, part, body, true); err != nil {
			t.Fatal(err)
		}
	}
}
