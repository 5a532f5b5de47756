package slots_test

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/ota/slots"
	"github.com/tidegate-io/tidegate/ota/slots/stage"
)

// TestRecords: a record of which one field is not what it can be is none.
func TestRecords(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	program := `"counter":12,"version":"v12","sha256":"` + sum + `","length":100`
	trial := `{"phase":"running","slot":"a",` + program + `,"attempts":1,"boot":"x","deadline":5,"window":5,"pid":7,"failed":["` + sum + `"]}`
	record := `{"state":"staged",` + program + `}`
	if _, err := slots.DecodeTrial([]byte(trial)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := slots.DecodeRecord([]byte(record)); err != nil {
		t.Fatal(err)
	}
	of := map[string][2]string{ // of a program, in both
		"counter 0":                 {`"counter":12`, `"counter":0`},
		"a counter of 2^53":         {`"counter":12`, `"counter":9007199254740992`},
		"a version that is long":    {`"v12"`, `"` + strings.Repeat("v", 65) + `"`},
		"no bytes":                  {`"length":100`, `"length":0`},
		"too many bytes":            {`"length":100`, `"length":268435457`},
		"a hash that is none":       {`"sha256":"a`, `"sha256":"`},
		"a hash in capitals":        {`"sha256":"a`, `"sha256":"A`},
		"what is no JSON":           {`"counter"`, `counter`},
		"something behind":          {`}`, `}}`},
		"another type":              {`"counter":12`, `"counter":"12"`},
		"a counter with a fraction": {`"counter":12`, `"counter":12.5`},
	}
	ofTrial := map[string][2]string{
		"a phase that is none":          {`"running"`, `"walking"`},
		"slot 0":                        {`"slot":"a"`, `"slot":"0"`},
		"no slot":                       {`"slot":"a",`, ``},
		"attempts below 0":              {`"attempts":1`, `"attempts":-1`},
		"more attempts than can be":     {`"attempts":1`, `"attempts":1001`},
		"a window of nothing":           {`"window":5`, `"window":0`},
		"a window of more than 7 days":  {`"window":5`, `"window":604800001`},
		"a process below 0":             {`"pid":7`, `"pid":-7`},
		"a boot that is long":           {`"boot":"x"`, `"boot":"` + strings.Repeat("x", 65) + `"`},
		"a reason that is long":         {`"pid":7`, `"pid":7,"reason":"` + strings.Repeat("x", slots.MaxReason+1) + `"`},
		"a baseline that is long":       {`"pid":7`, `"pid":7,"baseline":"` + strings.Repeat("AAAA", slots.MaxBaseline/3+1) + `"`},
		"a failed program that is none": {`"failed":["a`, `"failed":["`},
		"too many failed programs":      {`"failed":[`, `"failed":[` + strings.Repeat(`"`+sum+`",`, slots.MaxFailed)},
	}
	change := func(text string, by [2]string) []byte {
		t.Helper()
		i := strings.LastIndex(text, by[0])
		if i < 0 {
			t.Fatalf("%s is not in %s", by[0], text)
		}
		return []byte(text[:i] + by[1] + text[i+len(by[0]):])
	}
	for name, by := range of {
		if p, _, err := slots.DecodeRecord(change(record, by)); err == nil {
			t.Errorf("%s: got %+v", name, p)
		}
		ofTrial["its program: "+name] = by
	}
	for name, by := range ofTrial {
		if r, err := slots.DecodeTrial(change(trial, by)); err == nil {
			t.Errorf("trial, %s: got %+v", name, r)
		}
	}
	for name, by := range map[string][2]string{
		"a state that is none":       {`"staged"`, `"full"`},
		"no state":                   {`"state":"staged",`, ``},
		"a program in an empty slot": {`"staged"`, `"empty"`},
	} {
		if p, state, err := slots.DecodeRecord(change(record, by)); err == nil {
			t.Errorf("%s: got %s %+v", name, state, p)
		}
	}
}

// TestReadBuiltin: what the package says of its program is held against the same bounds.
func TestReadBuiltin(t *testing.T) {
	lib := t.TempDir()
	for text, want := range map[string]uint64{
		`{"counter":12,"version":"v12","sha256":"` + strings.Repeat("ab", 32) + `","length":100}`: 12,
		`{"counter":12,"version":"v12","sha256":"` + strings.Repeat("ab", 32) + `","length":0}`:   0,
		`{`: 0,
	} {
		if err := os.WriteFile(filepath.Join(lib, "release.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := slots.ReadBuiltin(lib)
		if b.Counter != want || (err == nil) != (want > 0) || b.Path != filepath.Join(lib, "tidegate") {
			t.Errorf("%s: got %+v, %v", text, b, err)
		}
	}
}

// TestStates: what people are told of slots, as the launcher leaves it.
func TestStates(t *testing.T) {
	damage := func(g *gateway, names ...string) {
		for _, n := range names {
			g.must(os.WriteFile(filepath.Join(g.dir, n), []byte("?"), 0o600))
		}
	}
	link := func(g *gateway, to string) {
		path := filepath.Join(g.dir, "slots/current")
		g.must(errors.Join(os.Remove(path), os.Symlink(to, path)))
	}
	for name, c := range map[string]struct {
		do   func(g *gateway)
		want string // current, states, number of records that are damaged
	}{
		"as it is":                      {func(*gateway) {}, "b confirmed confirmed 0"},
		"a record that nobody can read": {func(g *gateway) { damage(g, "slots/a/release.0", "slots/a/release.1") }, "b damaged confirmed 1"},
		"one that the trial knows":      {func(g *gateway) { damage(g, "slots/b/release.0", "slots/b/release.1") }, "b confirmed confirmed 1"},
		"one of two files":              {func(g *gateway) { damage(g, "slots/a/release.0") }, "b confirmed confirmed 1"},
		"a link that leads elsewhere":   {func(g *gateway) { link(g, "../..") }, " confirmed confirmed 0"},
		"a link that leads elsewhere, mended": {func(g *gateway) {
			link(g, "../..")
			g.must(g.open().Forget(""))
		}, "b confirmed confirmed 0"},
		"a trial": {func(g *gateway) { g.stage(13, "new"); g.must(g.open().Switch(nil, time.Minute)) }, "a trial confirmed 0"},
		"staged":  {func(g *gateway) { g.stage(13, "new") }, "b staged confirmed 0"},
		"the trial's, mended": {func(g *gateway) {
			g.stage(13, "new")
			g.must(g.open().Switch(nil, time.Minute))
			link(g, "b")
			g.must(g.open().Forget(""))
		}, "a trial confirmed 0"},
		"the newest is damaged, and the other one started": {func(g *gateway) {
			g.must(os.Remove(g.program(slots.B)))
			g.starts(slots.A, false, false)
		}, "a confirmed confirmed 0"},
		"failed": {func(g *gateway) {
			g.stage(13, "new")
			g.must(errors.Join(g.open().Switch(nil, time.Minute), g.open().Fail("x")))
		}, "b failed confirmed 0"},
		"failed, and its record damaged": {func(g *gateway) {
			g.stage(13, "new")
			g.must(errors.Join(g.open().Switch(nil, time.Minute), g.open().Fail("x")))
			damage(g, "slots/a/release.0", "slots/a/release.1")
			if c := g.starts(slots.B, false, false); !strings.Contains(c.Why, "slots/a/release: both generations are damaged") {
				g.t.Errorf("says %q", c.Why)
			}
		}, "b failed confirmed 0"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t)
			g.update(11, "before", slots.A)
			g.update(12, "now", slots.B)
			c.do(g)
			st := g.open().State()
			if got := fmt.Sprint(st.Current, " ", st.Slots[0].State, " ", st.Slots[1].State, " ", len(st.Harm)); got != c.want {
				t.Errorf("got %s (%v), want %s", got, st.Harm, c.want)
			}
		})
	}
}

// TestNothingToWrite: what is so already is not written again.
func TestNothingToWrite(t *testing.T) {
	g := newGateway(t)
	same := func(what string, do func(s *slots.Slots) error) {
		t.Helper()
		before := g.files()
		if err := do(g.open()); err != nil || g.files() != before {
			t.Errorf("%s: %v, changed:\n%s\nbefore:\n%s", what, err, g.files(), before)
		}
	}
	told := func(s *slots.Slots) error { return s.Told() }
	g.must(g.open().Told()) // makes the lock
	same("told of no trial", told)
	g.update(11, "before", slots.A)
	g.must(g.open().Told())
	same("told twice", told)
	same("forget what has not failed", func(s *slots.Slots) error { return s.Forget(strings.Repeat("0", 64)) })
	g.stage(12, "now")
	g.must(g.open().Switch(nil, time.Minute))
	same("told of a trial that runs", told)
	left := filepath.Join(g.dir, "slots/current.new")
	g.must(os.WriteFile(left, []byte("x"), 0o600))
	g.must(g.open().Told())
	if _, err := os.Lstat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a cut has left stays: %v", err)
	}
}

// TestSwitchOf: what can be started is staged, newer than what is in use, and nothing else.
func TestSwitchOf(t *testing.T) {
	none := func(g *gateway, what string) {
		if err := g.open().Switch(nil, time.Minute); !errors.Is(err, slots.ErrNothing) {
			g.t.Errorf("%s: got %v, want %v", what, err, slots.ErrNothing)
		}
	}
	g := newGateway(t)
	g.stage(11, "new")
	g.builtin.Counter = 11
	none(g, "the package has brought what is not older")
	g.builtin.Counter = 10
	g.update(12, "one", slots.A)
	g.update(13, "two", slots.B)
	g.must(os.Remove(g.program(slots.B)))
	none(g, "what is newer was confirmed, and is damaged")
	if g.open().InUse().Counter != 12 {
		t.Errorf("in use is %+v, want release 12", g.open().InUse())
	}
	// A trial that is given up in between is not begun once more.
	g.stage(14, "three")
	g.must(errors.Join(g.open().Switch(nil, time.Minute), g.open().Fail("x")))
	none(g, "what is staged has failed")
}

// TestStageRefusals: without room for the program and what is stored meanwhile nothing is begun, and what goes wrong leaves nothing.
func TestStageRefusals(t *testing.T) {
	g := newGateway(t)
	g.update(11, "one", slots.A)
	g.update(12, "two", slots.B)
	body := program(machine(), elf.ET_EXEC, "three")
	before := g.files()
	for name, free := range map[string]int64{"of the program": int64(len(body)) - 1, "beside it": int64(len(body)) + 1<<20 - 1} {
		s := g.open()
		s.Free(free)
		if err := stage.Stage(t.Context(), s, bytes.NewReader(body), signed(13, body)); !errors.Is(err, slots.ErrSpace) || g.files() != before {
			t.Errorf("without the room %s: got %v", name, err)
		}
	}
	if err := g.open().Stage(signed(13, body), liar{body[:len(body)-1]}); !errors.Is(err, slots.ErrLength) || g.files() != before {
		t.Errorf("a program that was written wrong: got %v, and\n%s\nbefore\n%s", err, g.files(), before)
	}
	// The newest is damaged: current does not lead to the slot that is written to.
	g.must(os.Remove(g.program(slots.B)))
	s := g.open()
	s.Free(int64(len(body)) + 1<<20)
	g.must(stage.Stage(t.Context(), s, bytes.NewReader(body), signed(13, body)))
	if st := g.open().State(); st.Current != slots.A || st.Slots[1].State != "staged" {
		t.Errorf("got %+v", st)
	}
}

// TestStartOf: a process is known by its start, whatever it is called, until it has ended, also where nobody has asked how.
func TestStartOf(t *testing.T) {
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "a) Z (b) c")
	body, err := os.ReadFile(sleep)
	if err := errors.Join(err, os.WriteFile(path, body, 0o700)); err != nil {
		t.Fatal(err)
	}
	own, err := slots.StartOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), path, "1000000")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if at, err := slots.StartOf(c.Process.Pid); err != nil || at < own || at > own+100*3600 {
		t.Errorf("started at %d ticks (%v), this process at %d", at, err, own)
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for range 500 {
		if _, err = slots.StartOf(c.Process.Pid); err != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("ended, and nobody asked: got %v, want %v", err, os.ErrProcessDone)
	}
	_ = c.Wait() // it was killed
}

// TestAllTried: where the kernel has refused all that there is, it is slot 0.
func TestAllTried(t *testing.T) {
	g := newGateway(t)
	g.update(11, "one", slots.A)
	if c := g.open().Launch(slots.A, slots.B, slots.Zero); c.Slot != slots.Zero || !c.Safe || c.Path != g.builtin.Path {
		t.Errorf("got %+v", c)
	}
	if c := g.open().Beside(slots.A, slots.B, slots.Zero); c.Slot != slots.Zero || c.Safe || c.Path != g.builtin.Path {
		t.Errorf("beside: got %+v", c)
	}
}

// TestOwn: a program on trial knows itself by its process, and by when that was started.
func TestOwn(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *slots.Trial)
		own    bool
	}{
		"as it was started":             {func(*slots.Trial) {}, true},
		"another process":               {func(t *slots.Trial) { t.PID++ }, false},
		"one of the same number before": {func(t *slots.Trial) { t.Started-- }, false},
		"it was kept":                   {func(t *slots.Trial) { t.Phase = slots.Kept }, false},
	} {
		g := newGateway(t)
		g.stage(11, "new")
		g.must(g.open().Switch(nil, time.Minute))
		g.starts(slots.A, true, false) // by this process
		g.must(g.open().Change(c.change))
		if trial := g.open().State().Trial; trial.Own() != c.own {
			t.Errorf("%s: own is %v, want %v", name, !c.own, c.own)
		}
	}
}

// TestSafe: the package's program is in safe mode where something newer was in use, or may have been.
func TestSafe(t *testing.T) {
	fail := func(g *gateway, counter uint64) {
		g.stage(counter, "bad")
		g.must(errors.Join(g.open().Switch(nil, time.Minute), g.open().Fail("x")))
	}
	noLock := func(g *gateway) {
		path := filepath.Join(g.dir, "lock")
		g.must(errors.Join(os.Remove(path), os.Mkdir(path, 0o700)))
	}
	spoil := func(g *gateway, names ...string) {
		for _, n := range names {
			path := filepath.Join(g.dir, "slots", n)
			g.must(errors.Join(os.Remove(path), os.WriteFile(path, []byte("?"), 0o600)))
		}
	}
	for name, c := range map[string]struct {
		do   func(g *gateway)
		safe bool
	}{
		"nothing ever was": {func(*gateway) {}, false},
		"one that failed, whose record nobody can read or mend": {func(g *gateway) {
			fail(g, 11)
			noLock(g)
			spoil(g, "a/release.0", "a/release.1")
		}, false},
		"one that was kept, behind one that failed": {func(g *gateway) {
			g.update(11, "one", slots.A)
			fail(g, 12)
			spoil(g, "a/tidegate")
		}, true},
		"one that nobody can read or mend": {func(g *gateway) {
			g.update(11, "one", slots.A)
			fail(g, 12)
			noLock(g)
			spoil(g, "a/release.0", "a/release.1")
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t)
			c.do(g)
			g.starts(slots.Zero, false, c.safe)
		})
	}
}

// TestPackageIsNewer: a package that brings what is not older than a trial ends that, for commands beside the gateway too, and of two slots that it
// leaves behind the older one is written to.
func TestPackageIsNewer(t *testing.T) {
	g := newGateway(t)
	g.update(11, "one", slots.A)
	g.update(12, "two", slots.B)
	g.update(13, "three", slots.A)
	g.stage(14, "four")
	g.must(g.open().Switch(nil, time.Minute))
	g.starts(slots.B, true, false)
	if c := g.open().Beside(); c.Slot != slots.B {
		t.Errorf("beside a trial: slot %s", c.Slot)
	}
	g.builtin.Counter = 14
	if c := g.open().Beside(); c.Slot != slots.Zero {
		t.Errorf("beside a trial that the package has overtaken: slot %s", c.Slot)
	}
	g.starts(slots.Zero, false, false)
	g.stage(15, "five")
	if st := g.open().State(); st.Slots[0].State != "confirmed" || st.Slots[1].State != "staged" {
		t.Errorf("got %+v", st.Slots)
	}
}
