package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/drivers"
)

// manyRules watch a meter that is read each second, a tank each 7 s, and a door that speaks when it moves. What these say goes several ways.
const manyRules = `
rules:
  - {name: hot, when: meter.temp > 60, for: 30s, clear: meter.temp < 40, do: [{alarm: {severity: error, text: hot}}]}
  - {name: high, when: meter.temp > 70, do: [{alarm: {severity: info, text: high}}]}
  - {name: long, when: meter.temp > 30, for: 3m, do: [{alarm: {severity: info, text: long}}]}
  - {name: dead, when: "missing(meter.temp, 5x)", do: [{alarm: {severity: warning, text: dead}}]}
  - {name: silent, when: "missing(door.open, 2m) or fault(tank.level)", do: [{alarm: {severity: warning, text: silent}}]}
  - {name: mean, when: "avg(meter.temp, 1m) > 55", clear: "avg(meter.temp, 1m) < 45", do: [{alarm: {severity: warning, text: mean}}]}
  - {name: both, when: meter.temp > 50 and tank.level < 30, for: 10s, do: [{alarm: {severity: warning, text: both}}]}
  - {name: door, when: door.open, for: 45s, do: [{alarm: {severity: warning, text: open}}, {set: {channel: tank.relay, value: true, on_clear: false}}]}
  - {name: gone, when: "fault(tank.level)", for: 5s, do: [{alarm: {severity: warning, text: gone}}]}
  - {name: third, when: "minute() in 3..4 or minute() in 33..34", for: 10s, do: [{alarm: {severity: info, text: third}}]}
  - {name: edge, when: door.open and meter.temp > 45, for: 2s, do: [{alarm: {severity: info, text: edge}}]}
  - {name: drain, when: tank.flow > tank.level, do: [{alarm: {severity: info, text: drain}}]}
  - {name: apart, when: meter.temp > 52, do: [{alarm: {severity: info, text: apart}}, {route: {channels: [tank.level, door.open], class: debug}}, {route: {channels: [meter.temp], uplink: uplink}}, {label: {channels: [tank.f*, meter.*], labels: {state: apart}}}]}
  - {name: flow, do: [{route: {channels: [tank.flow], uplink: uplink}}]}
buffer: {sync: 1s}
uplink: {url: "mqtt://broker.test", confirm: receipt}
`

const theDevices = `
devices:
  - {name: meter, driver: meter}
  - {name: tank, driver: tank}
  - {name: door, driver: door}
`

// wild is a machine whose devices do what its random numbers say; it outlives gateways.
type wild struct {
	mu   sync.Mutex // guards all below
	rnd  *rand.Rand
	temp float64
}

func (w *wild) roll(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rnd.IntN(n)
}

func (w *wild) drivers() []drivers.Driver {
	channel := func(name string, k tidegate.Kind) drivers.Channel { return drivers.Channel{Name: name, Kind: k} }
	meter, tank, door := newPlay(), newPlay(), newPlay()
	meter.read = func(ctx context.Context, _ int) ([]tidegate.Reading, error) {
		switch w.roll(40) {
		case 0:
			return nil, errors.New("no answer")
		case 1:
			return []tidegate.Reading{{Channel: "temp", Fault: "broken wire"}}, nil
		case 2:
			time.Sleep(time.Duration(w.roll(9000)) * time.Millisecond)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.temp += w.rnd.Float64()*8 - 4 + (50-w.temp)/40
		return []tidegate.Reading{{Channel: "temp", Value: tidegate.Float(float64(int(w.temp*10)) / 10)}}, nil
	}
	open, broken := false, 0
	tank.read = func(context.Context, int) ([]tidegate.Reading, error) {
		if broken--; w.roll(8) == 0 {
			broken = w.roll(9)
		}
		if broken >= 0 {
			return []tidegate.Reading{{Channel: "level", Fault: "no float"}}, nil
		}
		flow := tidegate.Reading{Channel: "flow", Value: tidegate.Int(int64(w.roll(60)))}
		return []tidegate.Reading{{Channel: "level", Value: tidegate.Int(int64(w.roll(60)))}, flow}, nil
	}
	door.read = func(ctx context.Context, _ int) ([]tidegate.Reading, error) {
		select {
		case <-time.After(time.Duration(w.roll(150_000)) * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		open = !open
		rd := tidegate.Reading{Channel: "open", Value: tidegate.Bool(open)}
		if w.roll(3) == 0 { // it says itself when it moved
			rd.Time = time.Now().Add(-time.Duration(w.roll(4000)) * time.Millisecond).Truncate(time.Microsecond)
		}
		return []tidegate.Reading{rd}, nil
	}
	m, k, d := meter.driver("meter", time.Second), tank.driver("tank", 7*time.Second), door.driver("door", 0)
	m.Channels = append(m.Channels, channel("temp", tidegate.KindFloat))
	k.Channels = append(k.Channels, channel("level", tidegate.KindInt), channel("flow", tidegate.KindInt))
	d.Channels = append(d.Channels, channel("open", tidegate.KindBool))
	return []drivers.Driver{m, k, d}
}

// copyTree copies what is in from to to, without the holes of its files.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		if !e.Type().IsRegular() {
			return nil
		}
		return copyFile(path, filepath.Join(to, rel))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	for at := int64(0); err == nil && at < st.Size(); {
		begin, e := unix.Seek(int(in.Fd()), at, unix.SEEK_DATA)
		if errors.Is(e, unix.ENXIO) {
			break
		}
		end, e2 := unix.Seek(int(in.Fd()), begin, unix.SEEK_HOLE)
		if err = errors.Join(e, e2); err == nil {
			_, err = io.Copy(io.NewOffsetWriter(out, begin), io.NewSectionReader(in, begin, end-begin))
		}
		at = end
	}
	return errors.Join(err, out.Truncate(st.Size()), out.Close())
}

// kill leaves g as kill -9 would have at this moment: x goes on with a copy of all that outlives a process.
func (x *bed) kill(t *testing.T, g *running, n int) {
	t.Helper()
	synctest.Wait()
	base := filepath.Dir(filepath.Dir(x.dir))
	next := filepath.Join(base, fmt.Sprint("life", n))
	copyTree(t, x.dir, filepath.Join(next, "state"))
	copyTree(t, x.parts.RingDir, filepath.Join(next, "rings"))
	g.end()
	for _, dir := range []string{x.dir, x.parts.RingDir} {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	x.dir, x.parts.RingDir = filepath.Join(next, "state"), filepath.Join(next, "rings")
}

// TestReplayIsWhatHappened lets gateways live through random readings, faults, pauses, kills, stops and reloads, and replays: each rule raises and clears
// the alarms that are stored, at the same boot times and for the same values.
func TestReplayIsWhatHappened(t *testing.T) {
	fired := map[string]uint64{}
	for seed := range uint64(6) {
		bubble(t, func(t *testing.T) {
			w := &wild{rnd: rand.New(rand.NewPCG(seed, 1)), temp: 50}
			x := newBed(t, nil, w.drivers()...)
			x.dir = filepath.Join(filepath.Dir(x.dir), "life", "state")
			x.parts.Dial = (&broker{}).dial // which is away
			g := x.start(theDevices + manyRules)
			for n := range 5 {
				time.Sleep(time.Duration(w.roll(600_000)) * time.Millisecond)
				switch w.roll(4) {
				case 0:
					g.end()
					time.Sleep(time.Duration(w.roll(90)) * time.Second)
				case 1:
					if err := g.Reload(g.ctx, x.loadChanged(theDevices+manyRules, "meter.temp > 70", "meter.temp >  70")); err != nil {
						t.Fatal(err)
					}
					if err := g.Reload(g.ctx, x.load(theDevices+manyRules)); err != nil {
						t.Fatal(err)
					}
					continue
				default:
					x.kill(t, g, n)
					time.Sleep(time.Duration(w.roll(3)*w.roll(60)) * time.Second)
				}
				g = x.start(theDevices + manyRules)
			}
			time.Sleep(5 * time.Minute)
			g.end()
			time.Sleep(10 * time.Second) // the last Read may hang still, and a bubble must not end before it
			r := replayed(t, x, status.Trial{})
			if len(r.Notes) > 0 || r.Starts < 2 || r.Records < 500 {
				t.Errorf("seed %d: %d records, %d starts, not exact: %q", seed, r.Records, r.Starts, r.Notes)
			}
			for _, rule := range r.Rules {
				fired[rule.Name] += rule.Armed
				if !rule.Same || rule.Would != rule.Armed || rule.More > 0 {
					t.Errorf("seed %d: %s would have fired %d times, fired %d times; %s", seed, rule.Name, rule.Would, rule.Armed, differing(rule))
				}
			}
		})
		if t.Failed() {
			return
		}
	}
	t.Log("fired:", fired)
	for _, name := range strings.Fields("hot high long dead silent mean both door gone third edge drain apart") {
		if fired[name] == 0 {
			t.Errorf("rule %s never fired: it shows nothing", name)
		}
	}
}

// replayed asks the stopped gateway of x.
func replayed(t *testing.T, x *bed, trial status.Trial) status.Replay {
	t.Helper()
	o, err := agent.OpenOffline(x.load(theDevices+manyRules), "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r, err := o.Replay(t.Context(), trial)
	if err := errors.Join(err, o.Close()); err != nil {
		t.Fatal(err)
	}
	return r
}

// differing shows the first firings that one side has alone.
func differing(r status.RuleReplay) string {
	var out []string
	for _, f := range r.Firings {
		if f.Would != f.Armed && len(out) < 4 {
			b, err := json.Marshal(f)
			out = append(out, fmt.Sprint(string(b), err))
		}
	}
	return strings.Join(out, "\n\t")
}
