package agent_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
)

// A pacer is a gateway whose device `in` reports what level says every second, and whose device `slow` is read at its own interval or as rules ask.
type pacer struct {
	*bed
	slow  *play
	level atomic.Int64
}

// pacing has own for the interval of slow.
const pacing = `
devices:
  - {name: in, driver: input}
  - {name: slow, driver: slow, every: %v}
rules:
  - {name: fast, when: in.n == 1 or in.n == 3, do: [{interval: {device: slow, every: 400ms}}]}
  - {name: calm, when: in.n == 2 or in.n == 3, do: [{interval: {device: slow, every: 2500ms}}]}
`

func newPacer(t *testing.T) *pacer {
	t.Helper()
	p := &pacer{slow: newPlay()}
	in := newPlay()
	in.read = func(context.Context, int) ([]tidegate.Reading, error) {
		return []tidegate.Reading{{Channel: "n", Value: tidegate.Int(p.level.Load())}}, nil
	}
	p.bed = newBed(t, nil, in.driver("input", time.Second), p.slow.driver("slow", time.Second))
	return p
}

// set lets in report another level from its next Read on, which is a second after the one before: to is a time between two of them.
func (p *pacer) set(to time.Duration, level int64) {
	time.Sleep(to - time.Since(p.slow.began))
	p.level.Store(level)
}

// wantReads ends the gateway at the time end and says when slow was read.
func (p *pacer) wantReads(t *testing.T, g *running, end time.Duration, want string) {
	t.Helper()
	time.Sleep(end - time.Since(p.slow.began))
	g.end()
	if got := fmt.Sprint(p.slow.times()); got != "["+want+"]" {
		t.Errorf("Reads began at\n%s, want\n[%s]", got, want)
	}
}

func TestInterval(t *testing.T) {
	type change struct {
		at    time.Duration
		level int64
	}
	const ms, s = time.Millisecond, time.Second
	for name, tt := range map[string]struct {
		own     time.Duration
		changes []change
		end     time.Duration
		want    string
	}{
		"an hour becomes 400ms, and an hour again": {
			time.Hour,
			[]change{{4500 * ms, 1}, {7500 * ms, 0}},
			time.Hour + 8*s,
			"0s 5s 5.4s 5.8s 6.2s 6.6s 7s 7.4s 7.8s 1h0m7.8s",
		},
		"longer than its own, and back": {
			700 * ms,
			[]change{{1500 * ms, 2}, {9500 * ms, 0}},
			11 * s,
			"0s 700ms 1.4s 3.9s 6.4s 8.9s 10s 10.7s",
		},
		"the shortest counts, and then the other one": {
			time.Hour,
			[]change{{1500 * ms, 2}, {3500 * ms, 3}, {4500 * ms, 2}, {8500 * ms, 0}},
			20 * s,
			"0s 2.5s 4s 4.4s 4.8s 7.3s",
		},
		"both begin and end at one time": {
			time.Hour,
			[]change{{1500 * ms, 3}, {2500 * ms, 0}},
			20 * s,
			"0s 2s 2.4s 2.8s",
		},
		"its own is the shorter one, but does not count": {
			1500 * ms,
			[]change{{500 * ms, 2}},
			9 * s,
			"0s 2.5s 5s 7.5s",
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := newPacer(t)
				g := p.start(fmt.Sprintf(pacing, tt.own))
				for _, c := range tt.changes {
					p.set(c.at, c.level)
				}
				p.wantReads(t, g, tt.end, tt.want)
			})
		})
	}
}

// wantEvery says at which interval slow is read now, and by which rule.
func wantEvery(t *testing.T, g *running, every time.Duration, rule string) {
	t.Helper()
	if d := g.device("slow"); d.EveryS != every.Seconds() || d.EveryRule != rule {
		t.Errorf("read every %v s by rule %q, want every %v by %q", d.EveryS, d.EveryRule, every, rule)
	}
}

// TestIntervalOverRestarts: with the rule active, the first Read is followed by one at the rule's interval, although nothing is read by then that
// the rule looks at.
func TestIntervalOverRestarts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPacer(t)
		silent := errors.New("no answer")
		in := newPlay()
		var isSilent atomic.Bool
		in.read = func(context.Context, int) ([]tidegate.Reading, error) {
			if isSilent.Load() {
				return nil, silent
			}
			return []tidegate.Reading{{Channel: "n", Value: tidegate.Int(p.level.Load())}}, nil
		}
		p.list = append(p.list, in.driver("mute", time.Second))
		text := strings.Replace(fmt.Sprintf(pacing, time.Hour), "driver: input", "driver: mute", 1)
		g := p.start(text)
		p.set(1500*time.Millisecond, 1)
		time.Sleep(time.Second)
		wantEvery(t, g, 400*time.Millisecond, "fast")
		isSilent.Store(true)
		g.end()
		g = p.start(text)
		time.Sleep(1200 * time.Millisecond)
		wantEvery(t, g, 400*time.Millisecond, "fast")
		isSilent.Store(false)
		p.set(5*time.Second, 0)
		time.Sleep(2 * time.Second)
		wantEvery(t, g, time.Hour, "")
		p.wantReads(t, g, 20*time.Second, "0s 2s 2.4s 2.5s 2.9s 3.3s 3.7s 4.1s 4.5s 4.9s 5.3s 5.7s")
	})
}

// TestIntervalOverReloads changes the rule, the device, or both while the rule is active.
func TestIntervalOverReloads(t *testing.T) {
	const rest = "  - {name: calm, when: in.n == 2 or in.n == 3, do: [{interval: {device: slow, every: 2500ms}}]}\n"
	armed := fmt.Sprintf(pacing, time.Hour)
	for name, tt := range map[string]struct {
		level int64
		next  string
		every time.Duration
		rule  string
		want  string // Reads up to 6 s; the reload is at 3 s
	}{
		"another interval":     {1, strings.Replace(armed, "400ms", "700ms", 1), 700 * time.Millisecond, "fast", "0s 2s 2.4s 2.8s 3.5s 4.2s 4.9s 5.6s"},
		"the rule is removed":  {1, armed[:strings.Index(armed, "rules:")], time.Hour, "", "0s 2s 2.4s 2.8s"},
		"another one is left":  {3, armed[:strings.Index(armed, "  - {name: fast")] + rest, 2500 * time.Millisecond, "calm", "0s 2s 2.4s 2.8s 5.3s"},
		"another condition":    {1, strings.NewReplacer("in.n == 1", "in.n == 5", "400ms", "700ms").Replace(armed), time.Hour, "", "0s 2s 2.4s 2.8s 3.5s"},
		"of another device":    {1, strings.Replace(armed, "{device: slow", "{device: in", 1), time.Hour, "", "0s 2s 2.4s 2.8s"},
		"the device's own":     {1, strings.Replace(armed, "1h0m0s", "10s", 1), 400 * time.Millisecond, "fast", "0s 2s 2.4s 2.8s 3.1s 3.5s 3.9s 4.3s 4.7s 5.1s 5.5s 5.9s"},
		"the device's setting": {1, strings.Replace(armed, "driver: slow", "driver: slow, part: b", 1), 400 * time.Millisecond, "fast", "0s 2s 2.4s 2.8s 3.1s 3.5s 3.9s 4.3s 4.7s 5.1s 5.5s 5.9s"},
		"not armed, and of another setting": {
			1, strings.Replace(armed[:strings.Index(armed, "rules:")], "driver: slow", "driver: slow, part: b", 1), time.Hour, "", "0s 2s 2.4s 2.8s 3.1s",
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := newPacer(t)
				g := p.start(armed)
				p.set(1500*time.Millisecond, tt.level)
				time.Sleep(1600 * time.Millisecond)
				if err := g.Reload(g.ctx, p.load(tt.next)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2500 * time.Millisecond)
				wantEvery(t, g, tt.every, tt.rule)
				p.wantReads(t, g, 6*time.Second, tt.want)
			})
		})
	}
}

// TestIntervalOfADeviceThatLeaves: the device goes with its rule and comes back without it, at its own interval.
func TestIntervalOfADeviceThatLeaves(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPacer(t)
		armed := fmt.Sprintf(pacing, time.Hour)
		g := p.start(armed)
		p.set(1500*time.Millisecond, 1)
		for i, text := range []string{"devices: [{name: in, driver: input}]\n", armed[:strings.Index(armed, "rules:")], armed} {
			time.Sleep(time.Duration(3+i)*time.Second + 100*time.Millisecond - time.Since(p.slow.began))
			if err := g.Reload(g.ctx, p.load(text)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Millisecond)
		wantEvery(t, g, time.Hour, "") // nothing was read yet that the new rule looks at
		time.Sleep(time.Second)
		wantEvery(t, g, 400*time.Millisecond, "fast")
		p.wantReads(t, g, 7*time.Second, "0s 2s 2.4s 2.8s 4.1s 6s 6.4s 6.8s")
	})
}

// TestIntervalAndReadsUnderWay: a Read under way goes on, and what it took counts as ever; rules that begin and end again and again make no burst.
func TestIntervalAndReadsUnderWay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPacer(t)
		p.slow.read = func(ctx context.Context, n int) ([]tidegate.Reading, error) {
			if n == 1 {
				time.Sleep(3500 * time.Millisecond)
			}
			return one(n), ctx.Err()
		}
		g := p.start(fmt.Sprintf(pacing, time.Hour))
		p.set(1500*time.Millisecond, 1) // for the Read at 2 s
		for i := range 20 {
			p.set(time.Duration(4500+1000*i)*time.Millisecond, int64(i%2))
		}
		time.Sleep(time.Second)
		g.end()
		if d := g.device("slow"); d.Faults > 0 || d.Reads != uint64(len(p.slow.times())) {
			t.Errorf("the Read under way was disturbed: %+v", d)
		}
		times := p.slow.times()
		if got := fmt.Sprint(times[:4]); got != "[0s 3.6s 4s 4.4s]" { // on the grid of 400 ms
			t.Errorf("Reads began at %s", got)
		}
		for i := 2; i < len(times); i++ {
			if times[i]-times[i-1] < 400*time.Millisecond {
				t.Errorf("Reads began at %v and %v", times[i-1], times[i])
			}
		}
	})
}

// TestIntervalAfterAFailure: a device that failed once is asked again at its interval, which may become another one meanwhile.
func TestIntervalAfterAFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPacer(t)
		p.slow.read = func(_ context.Context, n int) ([]tidegate.Reading, error) {
			if n == 1 {
				return nil, errors.New("no answer")
			}
			return one(n), nil
		}
		g := p.start(fmt.Sprintf(pacing, time.Hour))
		p.set(1500*time.Millisecond, 2)
		p.set(7500*time.Millisecond, 0)
		p.wantReads(t, g, 20*time.Second, "0s 2.5s 5s 7.5s")
	})
}

// TestIntervalAndLongReads: how long a Read may take goes by the interval at which it is read.
func TestIntervalAndLongReads(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPacer(t)
		p.slow.read = func(ctx context.Context, n int) ([]tidegate.Reading, error) {
			if n == 3 || n == 5 {
				select {
				case <-ctx.Done():
					return nil, ctx.Err()
				case <-time.After(5 * time.Minute):
				}
			}
			return one(n), nil
		}
		g := p.start(strings.Replace(fmt.Sprintf(pacing, 1700*time.Millisecond), "2500ms", "1m", 1))
		p.set(2500*time.Millisecond, 2)
		p.set(350*time.Second+500*time.Millisecond, 0) // while the third is under way
		time.Sleep(20 * time.Minute)
		if d := g.device("slow"); d.LastError != "" || d.Faults != 1 {
			t.Errorf("%+v", d)
		}
		times := p.slow.times()
		g.end()
		if got := fmt.Sprint(times[:7]); got != "[0s 1.7s 1m1.7s 6m2.6s 6m4.3s 8m36s 8m37.7s]" {
			t.Errorf("Reads began at %s", got)
		}
	})
}

// TestIntervalByTimeAlone: a rule that becomes active by time alone wakes a device that is read once a day.
func TestIntervalByTimeAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPacer(t)
		p.level.Store(1)
		text := strings.NewReplacer("driver: input", "driver: input, every: 1h", "3, do", "3, for: 10m, do").Replace(fmt.Sprintf(pacing, 24*time.Hour))
		g := p.start(text)
		p.wantReads(t, g, 10*time.Minute+time.Second, "0s 10m0.25s 10m0.65s")
	})
}

// TestIntervalAndPowerCuts: what a power cut may have cost is bounded by the shortest interval that a rule may ask for.
func TestIntervalAndPowerCuts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := newBroker(t)
		f := newFar(t, b)
		p := newPacer(t)
		p.parts.Dial = b.dial
		text := strings.Replace(fmt.Sprintf(pacing, time.Hour), "400ms", "10ms", 1) + oneUplink
		b.leave()
		g := p.start(text)
		p.set(1500*time.Millisecond, 1)
		time.Sleep(time.Second)
		saved := filepath.Join(filepath.Dir(p.dir), "saved")
		copyDir(t, saved, p.dir) // the disk as the power goes
		lost := len(p.slow.times()) - 1
		g.end()
		copyDir(t, p.dir, saved)
		if err := os.RemoveAll(p.rings); err != nil {
			t.Fatal(err)
		}
		b.come()
		g = p.start(text)
		time.Sleep(10 * time.Second)
		g.end()
		gaps := f.receiver.Account().Gateways[0].Epochs[0].Gaps
		if len(gaps) != 1 || gaps[0].Cause != tidegate.CausePowerCut || gaps[0].AtMost < int64(lost) || lost < 50 {
			t.Errorf("%d Reads are lost, gaps are %+v", lost, gaps)
		}
	})
}

// TestIntervalModel compares, over random turns of the rules, when a device is read with the plainest account of it.
func TestIntervalModel(t *testing.T) {
	for seed := range uint64(6) {
		bubble(t, func(t *testing.T) {
			draw := rand.New(rand.NewPCG(seed, 1))
			own := []time.Duration{307 * time.Millisecond, 1009 * time.Millisecond, time.Hour}[seed%3]
			const short, long = 411 * time.Millisecond, 2503 * time.Millisecond
			p := newPacer(t)
			g := p.start(strings.NewReplacer("400ms", "411ms", "2500ms", "2503ms").Replace(fmt.Sprintf(pacing, own)))
			want, every, next := []time.Duration{}, own, time.Duration(0)
			last := next
			for i := range 200 {
				turn := time.Duration(i+1) * time.Second // in is read
				for ; next < turn; next += every {
					want, last = append(want, next), next
				}
				if next == turn {
					t.Fatalf("seed %d is of no use: both are read at %v", seed, turn)
				}
				level := int64(draw.IntN(4))
				p.set(turn-500*time.Millisecond, level)
				if now := [...]time.Duration{own, short, long, short}[level]; now != every {
					every = now
					next = max(last+every, turn)
				}
			}
			time.Sleep(400 * time.Millisecond)
			g.end()
			for i, at := range p.slow.times() {
				if i >= len(want) || at != want[i] {
					t.Fatalf("seed %d: Read %d began at %v, want %v", seed, i, at, want[i:min(i+1, len(want))])
				}
			}
			if n := len(p.slow.times()); n != len(want) || n < 200 {
				t.Errorf("seed %d: %d Reads, want %d", seed, n, len(want))
			}
		})
	}
}
