package cases

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/config/strict"
	"github.com/tidegate-io/tidegate/drivers"
)

// alone is given for the configuration where a file needs none.
func alone() (*config.Config, error) { return nil, errors.New("the configuration was asked for") }

// frame is a file of cases; %s is where cases stand.
const frame = `channels: {m.t: {unit: Cel, every: 1s}, d.o: {kind: bool}, s.x: {kind: text}, fan.relay: {kind: bool, output: true}}
rules:
  - name: hot
    when: m.t > 80
    for: 30s
    clear: m.t < 75
    do: [{alarm: {severity: error, text: hot}}, {set: {channel: fan.relay, value: true, on_clear: false, priority: 2}}]
  - {name: quiet, when: d.o, for: 5m, do: [{set: {channel: fan.relay, value: true, priority: 1}}, {drop: {channels: [s.x]}}, {snapshot: {channels: [s.x], before: 1m}}]}
cases:
%s`

func try(t *testing.T, text string) *Result {
	t.Helper()
	r, faults, err := Run("t", []byte(text), alone)
	if err != nil || len(faults) > 0 {
		t.Fatal(err, faults)
	}
	return r
}

// TestPage: the example of this package's README is good, and every key that a file can have stands there.
func TestPage(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	_, block, _ := strings.Cut(page, "```yaml\n")
	block, _, _ = strings.Cut(block, "```")
	if r := try(t, block); !r.Good {
		var out strings.Builder
		t.Errorf("%v\n%s", r.Write(&out, false), &out)
	}
	for _, key := range append(own, "name", "start", "zone", "only", "steps", "want", "raised", "cleared", "set", "interval", "snapshot", "channels", "rules", "cases", "kind", "unit", "output") {
		if !regexp.MustCompile("`" + key + "`|(?m)^ *[-{]* *" + key + ":|[{ ]" + key + ":").MatchString(page) {
			t.Errorf("the page does not have the key %s", key)
		}
	}
}

// TestSnapshots: what snapshots give out is counted by channel, in cases that say how much, and not behind restarts.
func TestSnapshots(t *testing.T) {
	const text = `channels: {m.t: {every: 1s}, m.p: {every: 1s}, d.o: {kind: bool}}
rules:
  - {name: less, do: [{thin: {channels: [m.*], every: 1h}}]}
  - name: trip
    when: d.o
    do: [{alarm: {severity: info, text: tripped}}, {snapshot: {channels: [m.*], before: 10s, after: 5s}}]
cases:
  - name: counted
    steps:
      - {at: 0s, m.t: 1, m.p: 2, until: 100s}
      - {at: 60500ms, d.o: true}
    want:
      - {at: 60500ms, raised: trip, snapshot: {m.t: %s, m.p: 10}}
  - name: not counted
    steps:
      - {at: 0s, m.t: 1, until: 100s}
      - {at: 60500ms, d.o: true}
    want: [{at: 60500ms, raised: trip}]
`
	if r := try(t, fmt.Sprintf(text, "10")); !r.Good {
		var out strings.Builder
		t.Errorf("%v\n%s", r.Write(&out, false), &out)
	}
	r := try(t, fmt.Sprintf(text, "11"))
	var out strings.Builder
	if err := r.Write(&out, false); err != nil || r.Good || r.Cases[0].Restarted != nil || !strings.Contains(out.String(), "- 1m0.5s   snapshot of m.t 11\n          trip is active") || !strings.Contains(out.String(), "+ 1m0.5s   snapshot of m.t 10") {
		t.Errorf("%v\n%s", err, &out)
	}
}

// TestDifferences: what was wanted and what happened stand beside each other, with what the rule looked at.
func TestDifferences(t *testing.T) {
	r := try(t, fmt.Sprintf(frame, `
  - name: too early, a wrong value, and too much
    steps:
      - {at: 0s, m.t: 81.5, until: 40s}
      - {at: 41s, fault: {m.t: no answer}}
      - {at: 50s, m.t: 70, d.o: false}
    want:
      - {at: 29s, until: 29500ms, raised: hot}
      - {at: 30s, set: {fan.relay: false}}
      - {at: 50s, cleared: hot}
  - name: good
    steps: [{at: 0s, m.t: 70}]
    want: []
`))
	var out strings.Builder
	if err := r.Write(&out, false); err != nil {
		t.Fatal(err)
	}
	const want = `FAIL  too early, a wrong value, and too much (t:11)
      - wanted, + happened
      - 29s to 29.5s raised hot
          hot is waiting at 29s; when: m.t > 80, for: 30s, clear: m.t < 75
            m.t = 81.5 Cel, just read
      - 30s      set fan.relay false
          hot is active at 30s; when: m.t > 80, for: 30s, clear: m.t < 75
            m.t = 81.5 Cel, just read
          quiet is idle at 30s; when: d.o, for: 5m
            d.o = not known
      + 30s      raised hot
      + 30s      set fan.relay true
        50s      cleared hot
      + 50s      set fan.relay false
          hot is idle at 50s; when: m.t > 80, for: 30s, clear: m.t < 75
            m.t = 70 Cel, just read
ok    good
t: 1 of 2 cases as wanted
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	out.Reset()
	if err := r.Write(&out, true); err != nil || !strings.Contains(out.String(), "\x1b[32mok    good\x1b[0m\n") || strings.Count(out.String(), "\x1b[0m") < 8 {
		t.Errorf("in colour: %q, %v", out.String(), err)
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`{"file":"t","good":false,"cases":[{"name":"too early, a wrong value, and too much","line":11,"good":false,"readings":44,`,
		`{"at_s":29,"until_s":29.5,"sign":"-","what":"raised hot","looked":[{"rule":"hot","state":"waiting","when":"m.t \u003e 80","for":"30s","clear":"m.t \u003c 75",` +
			`"parts":[{"text":"m.t","value":"81.5","unit":"Cel","age_s":0}]}]}`,
		`{"name":"good","line":20,"good":true,"readings":1,"lines":null}`,
	} {
		if !strings.Contains(string(b), part) {
			t.Errorf("%s\nis not in\n%s", part, b)
		}
	}
}

// TestIntervals: what becomes of the intervals of devices is wanted and told like the rest.
func TestIntervals(t *testing.T) {
	const text = `channels: {m.t: {every: 10s}, n.t: {every: 1h}}
rules:
  - {name: hot, when: m.t > 80, do: [{interval: {device: m, every: 5s}}]}
  - {name: warm, when: m.t > 60, do: [{interval: {device: m, every: 5s}}, {interval: {device: n, every: 1m}}]}
  - {name: hotter, when: m.t > 90, do: [{interval: {device: m, every: 500ms}}]}
cases:
  - name: good
    steps:
      - {at: 0s, m.t: 70}
      - {at: 10s, m.t: 85}
      - {at: 15s, m.t: 95, until: 20s, every: 500ms}
      - {at: 21s, m.t: 82}
      - {at: 22s, restart: machine}
      - {at: 30s, m.t: 20}
    want:
      - {at: 0s, interval: {m: 5s, n: 1m}}
      - {at: 15s, interval: {m: 500ms}}
      - {at: 21s, interval: {m: 5s}}
      - {at: 30s, interval: {m: own, n: own}}
  - name: bad
    only: [warm, hot]
    steps:
      - {at: 0s, m.t: 70}
      - {at: 30s, m.t: 20}
    want:
      - {at: 0s, interval: {m: 6s, n: 1m}}
`
	var out strings.Builder
	if err := try(t, text).Write(&out, false); err != nil {
		t.Fatal(err)
	}
	const want = `ok    good
FAIL  bad (t:20)
      - wanted, + happened
      - 0s       interval m 6s
          hot is idle at 0s; when: m.t > 80
            m.t = 70, just read
          warm is active at 0s; when: m.t > 60
            m.t = 70, just read
      + 0s       interval m 5s
        0s       interval n 1m
      + 30s      interval m own
          hot is idle at 30s; when: m.t > 80
            m.t = 20, just read
          warm is idle at 30s; when: m.t > 60
            m.t = 20, just read
      + 30s      interval n own
t: 1 of 2 cases as wanted
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestRestartsDiffer: what is not the same with restarts is said, and it is only there where it is asked for.
func TestRestartsDiffer(t *testing.T) {
	const text = `
  - name: the door waits by time alone, and another device reports
    steps:
      - {at: 0s, d.o: true}
      - {at: 1m, m.t: 20}
      - {at: 6m}
    want:
      - {at: 5m, set: {fan.relay: true}}
`
	r := try(t, fmt.Sprintf(frame, text))
	c := &r.Cases[0]
	if r.Good || c.Good || differ(c.Lines) != 0 || len(c.Restarted) != 1 || c.Restarted[0].Sign != "-" || c.Restarted[0].What != "set fan.relay true" {
		t.Errorf("got %+v", c)
	}
	var out strings.Builder
	if err := r.Write(&out, false); err != nil || !strings.Contains(out.String(), "      - 5m       set fan.relay true\n      a rule that waits by time alone") {
		t.Errorf("%s%v", &out, err)
	}
	if r := try(t, fmt.Sprintf(frame, strings.Replace(text, "steps:", "restart: false\n    steps:", 1))); !r.Good {
		t.Errorf("got %+v", r)
	}
}

func TestFromTheConfiguration(t *testing.T) {
	cfg := &config.Config{
		Devices: []config.Device{
			{Name: "a.b", Every: time.Second, Channels: []drivers.Channel{{Name: "t.u", Kind: tidegate.KindFloat, Unit: "Cel"}}},
			{Name: "console"}, // which does not say what it reports
		},
		Rules: []config.Rule{{Name: "warm", When: "a.b.t.u > 20 and console.n > 0", Do: []config.Do{{Alarm: &config.Alarm{Severity: "info", Text: "x"}}}}},
	}
	given := func() (*config.Config, error) { return cfg, nil }
	const text = `cases: [{name: a, steps: [{at: 0s, a.b.t.u: 21, console.n: 1}], want: [{at: 0s, raised: warm}]}]`
	r, faults, err := Run("t", []byte(text), given)
	if err != nil || len(faults) > 0 || !r.Good {
		t.Errorf("%+v %v %v", r, faults, err)
	}
	const other = "rules: [{name: cold, when: a.b.t.u < 5 and console.n > 0, do: [{alarm: {severity: info, text: x}}]}]\n" +
		`cases: [{name: a, steps: [{at: 0s, a.b.t.u: 1, console.n: 1}], want: [{at: 0s, raised: cold}]}]`
	r, faults, err = Run("t", []byte(other), given)
	if err != nil || len(faults) > 0 || !r.Good {
		t.Errorf("%+v %v %v", r, faults, err)
	}
	if len(cfg.Rules) != 1 || cfg.Rules[0].Name != "warm" {
		t.Errorf("the configuration was changed: %+v", cfg.Rules)
	}
	if _, _, err := Run("t", []byte(text), alone); err == nil {
		t.Error("the configuration's error was lost")
	}
}

// TestClock: conditions look at the wall clock that the case names, in its zone; without one it is Monday, 00:00.
func TestClock(t *testing.T) {
	const text = `channels: {m.t: {every: 10m}}
rules: [{name: night, when: m.t > 0 and hour() == 22 and weekday() == %d, do: [{alarm: {severity: info, text: x}}]}]
cases: [{name: a, %ssteps: [{at: 0s, m.t: 1, until: 26h}], want: [{at: %s, raised: night}, {at: %s, cleared: night}]}]`
	for name, c := range map[string]struct {
		weekday         int
		clock, from, to string
	}{
		"not told":                {1, "", "22h", "23h"},
		"an instant":              {1, "start: 2026-01-05T21:30:00Z, ", "30m", "90m"},
		"an offset":               {1, "start: 2026-01-05T21:30:00+03:00, ", "30m", "90m"},
		"an instant in a zone":    {1, "start: 2026-01-05T20:30:00Z, zone: Europe/Berlin, ", "30m", "90m"},
		"local time":              {1, "start: 2026-01-05T21:30, zone: Europe/Berlin, ", "30m", "90m"},
		"summer time begins":      {7, "start: 2026-03-29, zone: Europe/Berlin, ", "21h", "22h"},
		"the machine starts anew": {1, "start: 2026-01-05T00:00:00, zone: UTC, ", "22h", "23h"},
	} {
		t.Run(name, func(t *testing.T) {
			text := fmt.Sprintf(text, c.weekday, c.clock, c.from, c.to)
			if name == "the machine starts anew" {
				text = strings.Replace(text, "{at: 0s, m.t: 1, until: 26h}", "{at: 0s, m.t: 1, until: 12h}, {at: 12h1s, restart: machine}, {at: 12h2s, m.t: 1, until: 26h}", 1)
			}
			if r := try(t, text); !r.Good {
				t.Errorf("%+v", r.Cases[0])
			}
		})
	}
}

// TestOrder: the devices of one step are read one after the other, in the order of the file, as the gateway reads them.
func TestOrder(t *testing.T) {
	const text = `channels: {a.x: {}, a.z: {}, b.y: {}}
rules: [{name: above, when: a.x > b.y, do: [{alarm: {severity: info, text: x}}]}]
cases: [{name: a, steps: [{at: 0s, a.x: 1, b.y: 2}, {at: 1s, %s}], want: [%s]}]`
	for step, want := range map[string]string{
		"a.x: 5, b.y: 6, a.z: 0": "{at: 1s, raised: above, cleared: above}", "b.y: 6, a.x: 5": "", "a.z: 0, b.y: 6, a.x: 5": "{at: 1s, raised: above, cleared: above}",
	} {
		if r := try(t, fmt.Sprintf(text, step, want)); !r.Good {
			t.Errorf("%s: %+v", step, r.Cases[0])
		}
	}
}

// TestMachine: boot time begins at 0 where the machine is started anew, and the hours of windows with it; where only the gateway is, it goes on.
func TestMachine(t *testing.T) {
	const text = `channels: {m.t: {every: 10m}}
rules: [{name: many, when: "count(m.t, 1h, tumbling) >= 6", do: [{alarm: {severity: info, text: x}}]}]
cases: [{name: a, steps: [{at: 0s, m.t: 1, until: 30m}, {at: 35m, restart: %s}, {at: 35m, m.t: 1, until: 3h}], want: [{at: %s, raised: many}]}]`
	for what, at := range map[string]string{"machine": "95m", "gateway": "1h"} {
		if r := try(t, fmt.Sprintf(text, what, at)); !r.Good {
			t.Errorf("%s: %+v", what, r.Cases[0])
		}
	}
}

func TestOnly(t *testing.T) {
	const text = "  - {name: a, only: [quiet], restart: false, steps: [{at: 0s, d.o: true, m.t: 90}, {at: 10m}], want: [{at: 5m, set: {fan.relay: true}}]}\n"
	if r := try(t, fmt.Sprintf(frame, text)); !r.Good {
		t.Errorf("%+v", r.Cases[0])
	}
}

// TestGivenUp: a case that would go on and on ends, and so does one with a rule that is over its budget.
func TestGivenUp(t *testing.T) {
	r := try(t, `channels: {m.t: {every: 1s}, s.x: {kind: text}}
rules: [{name: odd, when: "m.t % 2 == 1", do: [{alarm: {severity: info, text: x}}]}]
cases: [{name: a, steps: [{at: 0s, until: 6h, m.t: 0, to: {m.t: 21600}}], want: []}]`)
	if c := r.Cases[0]; c.Good || c.Broken != "more than 10000 alarms and outputs, the last at 2h46m41s" {
		t.Errorf("%v %q", c.Good, c.Broken)
	}
	long := strings.Repeat("a", 200_000)
	r = try(t, `channels: {s.x: {kind: text}}
rules: [{name: greedy, when: `+strings.TrimSuffix(strings.Repeat("s.x contains \"b\" or ", 8), " or ")+`, do: [{alarm: {severity: info, text: x}}]}]
cases: [{name: a, steps: [{at: 0s, s.x: '`+long+`'}], want: []}]`)
	var out strings.Builder
	if err := r.Write(&out, false); err != nil || !strings.Contains(out.String(), "given up: rule greedy is not judged any more: looked at more than 1048576 bytes") {
		t.Errorf("%s%v", &out, err)
	}
}

func TestSpan(t *testing.T) {
	for text, want := range map[string]string{
		"0": "0s", "0s": "0s", "500ms": "500ms", "90s": "1m30s", "1h30m": "1h30m", "7d": "7d", "1d12h": "1d12h", "1.5d": "1d12h", "60m": "1h", "36h1s": "1d12h0m1s", "20ms": "20ms",
		"10": "unit of time is missing; write \"10s\"", "-5s": "a length of time is wanted", "5 s": "a length of time is wanted", "xd": "a length of time is wanted", "1dx": "a length of time is wanted",
		"99999d": "a length of time is wanted", "": "a length of time is wanted", "10ns": "shorter than a microsecond",
	} {
		var s span
		got := ""
		if err := s.UnmarshalText([]byte(text)); err != nil {
			got = err.Error()
		} else {
			got = s.String()
		}
		if got != want && !(strings.HasPrefix(got, want) && len(want) > 10) {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

// TestMatch: what happened is as wanted exactly where each event is wanted once; one more or one less of either is one difference.
func TestMatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var happened []event
		var wanted []expected
		for range rapid.IntRange(1, 20).Draw(t, "events") {
			at := time.Duration(rapid.IntRange(0, 10).Draw(t, "at")) * time.Second
			e := event{at: at, what: rapid.SampledFrom([]string{"raised a", "cleared a", "set b.c"}).Draw(t, "what")}
			if e.what == "set b.c" {
				e.value = tidegate.Int(int64(rapid.IntRange(0, 1).Draw(t, "value")))
			}
			happened = append(happened, e)
			w := expected{event: e, until: at}
			if f, ok := e.value.Number(); ok {
				w.value = tidegate.Float(f)
			}
			wanted = append(wanted, w)
		}
		if n := differ(match(slices.Clone(wanted), happened)); n != 0 {
			t.Fatalf("%d differences between the same", n)
		}
		i := rapid.IntRange(0, len(happened)-1).Draw(t, "without")
		if n := differ(match(slices.Delete(slices.Clone(wanted), i, i+1), happened)); n != 1 {
			t.Errorf("one wanted less: %d differences", n)
		}
		if n := differ(match(wanted, slices.Delete(slices.Clone(happened), i, i+1))); n != 1 {
			t.Errorf("one happened less: %d differences", n)
		}
	})
}

// TestFaults: what is wrong with a file is said with its place, and every Site is reached.
func TestFaults(t *testing.T) {
	seen := map[strict.Site]bool{}
	for _, c := range faulty {
		text := c.text
		if !strings.Contains(text, "cases:") {
			text = fmt.Sprintf(frame, "  - "+text)
		}
		_, faults, err := Run("t", []byte(text), func() (*config.Config, error) { return &config.Config{}, nil })
		var got []string
		for _, f := range faults {
			got = append(got, f.String())
			seen[f.Site] = true
		}
		if err != nil || len(got) == 0 || strings.Join(got, "\n") != c.want {
			t.Errorf("%s\ngot  %s\nwant %s (%v)", c.text, strings.Join(got, "\n"), c.want, err)
		}
	}
	b, err := os.ReadFile("check.go")
	if err != nil {
		t.Fatal(err)
	}
	sites := regexp.MustCompile(`strict\.Site = "(.*)"\n`).FindAllStringSubmatch(string(b), -1)
	if len(sites) < 30 {
		t.Errorf("found %d Sites", len(sites))
	}
	for _, m := range sites {
		if !seen[strict.Site(m[1])] {
			t.Errorf("no file reaches %q", m[1])
		}
	}
}

// FuzzRun: whatever the text, there is a Result or there are faults, and both runs end.
func FuzzRun(f *testing.F) {
	files, err := filepath.Glob("../ready/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	for _, c := range faulty {
		f.Add(c.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c := checker{Doc: strict.New("t"), most: 2_000, longest: 2 * 24 * time.Hour}
		r, err := c.run("t", []byte(text), func() (*config.Config, error) { return &config.Config{}, nil })
		if err != nil {
			t.Fatal(err)
		}
		if (r == nil) == c.Sound() {
			t.Errorf("result %v with faults %v", r, c.Faults())
		}
	})
}
