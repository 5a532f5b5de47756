package agent_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/clock"
	"github.com/tidegate-io/tidegate/drivers"
)

// plant is the configuration of a device whose channels follow the time since the test began.
type plant struct {
	read func(ctx context.Context) ([]tidegate.Reading, error)
}

func (c *plant) Validate() []drivers.FieldError                             { return nil }
func (c *plant) Open(context.Context, drivers.Host) (drivers.Device, error) { return c, nil }
func (c *plant) Close() error                                               { return nil }
func (c *plant) Read(ctx context.Context) ([]tidegate.Reading, error)       { return c.read(ctx) }

// long is a gateway with rules that look at the time, over a plant which has the same day three times, from a Friday on:
//
//	02:00 to 02:20  beat fails
//	09:00 to 09:50  it is hot
//	12:00 to 12:30  the door is open
//	14:00 to 15:30  it is hot
//	23:00 to 01:00  the door is open
//
// The load is 10 on the first day and then 20; the power is always 3,600 W.
const long = `
buffer: {sync: 5s}
uplink: {url: "mqtt://broker.test", confirm: receipt, batch: {readings: 20000, every: 10s}}
devices:
  - {name: plant, driver: plant, every: 2m}
  - {name: beat, driver: beat, every: 2m}
rules:
  - {name: hot, when: plant.temp > 80, for: 1h, do: [{alarm: {severity: error, text: x}}]}
  - {name: night, when: plant.door and (hour() >= 22 or hour() < 6), do: [{alarm: {severity: error, text: x}}]}
  - {name: weekend, when: plant.door and weekday() >= 6, do: [{alarm: {severity: error, text: x}}]}
  - {name: three, when: hour() == 3, do: [{alarm: {severity: info, text: x}}]}
  - {name: trend, when: "avg(plant.load, 1d) > 15", do: [{alarm: {severity: info, text: x}}]}
  - {name: energy, when: 'to(integral(plant.power), "kWh") > 100', do: [{alarm: {severity: info, text: x}}]}
  - {name: lost, when: "missing(beat.n, 3x)", do: [{alarm: {severity: error, text: x}}]}
`

// TestALongWeekend runs a gateway for three days, started anew each day while a rule waits for its hour to pass. On the first day the clock is 20
// years ahead for an hour, on the second a year behind, which changes nothing; on the third it says 03:10 for 20 minutes at 10:15, which
// only one rule is to see. The broker is there for a minute a day. Each alarm comes as often, and when, as can be worked out by hand.
func TestALongWeekend(t *testing.T) {
	const day = 24 * time.Hour
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		f := newFar(t, b)
		b.leave()
		began := time.Now()
		friday := time.Date(2026, 1, 9, 0, 0, 0, 0, time.Local)
		var reads atomic.Int64
		within := func(from, to time.Duration) bool { // of the day
			at := time.Since(began) % day
			return at >= from && at < to
		}
		value := func(is bool, yes, no float64) tidegate.Value {
			if is {
				return tidegate.Float(yes)
			}
			return tidegate.Float(no)
		}
		devices := []drivers.Driver{{
			Name: "plant", Every: 10 * time.Second, Channels: []drivers.Channel{
				{Name: "temp", Kind: tidegate.KindFloat},
				{Name: "door", Kind: tidegate.KindBool},
				{Name: "load", Kind: tidegate.KindFloat},
				{Name: "power", Kind: tidegate.KindFloat, Unit: "W"},
			},
			New: following(func(context.Context) ([]tidegate.Reading, error) {
				reads.Add(1)
				isHot := within(9*time.Hour, 9*time.Hour+50*time.Minute) || within(14*time.Hour, 15*time.Hour+30*time.Minute)
				isOpen := within(0, time.Hour) || within(12*time.Hour, 12*time.Hour+30*time.Minute) || within(23*time.Hour, day)
				return []tidegate.Reading{
					{Channel: "temp", Value: value(isHot, 90, 20)},
					{Channel: "door", Value: tidegate.Bool(isOpen)},
					{Channel: "load", Value: value(time.Since(began) < day, 10, 20)},
					{Channel: "power", Value: tidegate.Float(3600), Unit: "W"},
				}, nil
			}),
		}, {
			Name: "beat", Every: 10 * time.Second, Channels: []drivers.Channel{{Name: "n", Kind: tidegate.KindInt}},
			New: following(func(context.Context) ([]tidegate.Reading, error) {
				if within(2*time.Hour, 2*time.Hour+20*time.Minute) {
					return nil, errors.New("no answer")
				}
				return []tidegate.Reading{{Channel: "n", Value: tidegate.Int(1)}}, nil
			}),
		}}
		x := newBed(t, b, devices...)
		x.parts.Clock = func() clock.Stamp {
			since := time.Since(began).Truncate(time.Microsecond)
			wall := friday.Add(since)
			switch {
			case since/day == 0 && within(10*time.Hour, 11*time.Hour):
				wall = wall.AddDate(20, 0, 0)
			case since/day == 1 && within(10*time.Hour, 11*time.Hour):
				wall = wall.AddDate(-1, 0, 0)
			case since/day == 2 && within(10*time.Hour+15*time.Minute, 10*time.Hour+35*time.Minute):
				wall = wall.Add(-7*time.Hour - 5*time.Minute)
			}
			return clock.Stamp{Wall: wall, Boot: since + time.Hour, Synced: true}
		}
		g := x.start(long)
		for n := range 3 {
			time.Sleep(time.Until(began.Add(time.Duration(n)*day + 14*time.Hour + 30*time.Minute)))
			g.end()
			time.Sleep(10 * time.Second)
			b.come()
			g = x.start(long)
			time.Sleep(time.Minute)
			if n < 2 {
				b.leave()
			}
		}
		time.Sleep(time.Until(began.Add(3*day + 30*time.Second)))
		g.end()
		f.check(t, 0)
		account := g.Status().Account
		wantAccount(t, g.Status(), account.Produced)
		if n := tally(f.texts("plant", "power"))["3600"]; int64(n) != reads.Load() || n < 3*720 {
			t.Errorf("%d readings arrived of %d Reads", n, reads.Load())
		}
		for rule, want := range map[string]string{
			"hot":     strings.Repeat("raised cleared ", 3),
			"night":   strings.Repeat("raised cleared ", 3) + "raised ",
			"weekend": strings.Repeat("raised cleared ", 5),
			"three":   strings.Repeat("raised cleared ", 4),
			"trend":   "raised ",
			"energy":  "raised ",
			"lost":    strings.Repeat("raised cleared ", 3),
		} {
			if a := strings.Join(f.alarms(t, rule), " ") + " "; a != want {
				t.Errorf("%s: %s, want %s", rule, a, want)
			}
		}
		const hour = time.Hour
		for rule, due := range map[string][]time.Duration{ // of the first alarms, 2 min until a device is read and some until the window turns
			"hot": {15 * hour, 15*hour + 30*time.Minute, 39 * hour}, "night": {0, hour, 23 * hour}, "weekend": {day, 25 * hour, 36 * hour},
			"trend": {36 * hour}, "energy": {100 * hour * 10 / 36}, "lost": {2*hour + 4*time.Minute, 2*hour + 20*time.Minute, 26*hour + 4*time.Minute},
		} {
			n := 0
			for _, r := range f.records() {
				if rd := r.Record.Readings[0]; rd.Device != "_rules" || rd.Channel != rule || n == len(due) {
					continue
				}
				if late := r.Record.Time.Sub(friday.Add(due[n])); late < 0 || late > 25*time.Minute || rule != "trend" && late > 130*time.Second {
					t.Errorf("%s: alarm %d is %v late", rule, n, late)
				}
				n++
			}
		}
	})
}

// following makes configurations of devices that read does the work of.
func following(read func(context.Context) ([]tidegate.Reading, error)) func() drivers.Config {
	return func() drivers.Config { return &plant{read: read} }
}
