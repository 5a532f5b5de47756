package slots_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/tidegate-io/tidegate/ota/durable"
	"github.com/tidegate-io/tidegate/ota/slots"
	"github.com/tidegate-io/tidegate/ota/slots/stage"
	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

// machine returns the machine of this architecture's programs.
func machine() elf.Machine {
	return map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "arm": elf.EM_ARM, "386": elf.EM_386}[runtime.GOARCH]
}

// program returns the smallest file that is a program by its header, and says text behind it.
func program(m elf.Machine, typ elf.Type, text string) []byte {
	return programOf(math.MaxInt == math.MaxInt32, m, typ, text)
}

func programOf(is32 bool, m elf.Machine, typ elf.Type, text string) []byte {
	var b bytes.Buffer
	if is32 {
		h := elf.Header32{Type: uint16(typ), Machine: uint16(m), Version: 1, Ehsize: 52}
		copy(h.Ident[:], "\x7fELF\x01\x01\x01")
		_ = binary.Write(&b, binary.LittleEndian, h)
	} else {
		h := elf.Header64{Type: uint16(typ), Machine: uint16(m), Version: 1, Ehsize: 64}
		copy(h.Ident[:], "\x7fELF\x02\x01\x01")
		_ = binary.Write(&b, binary.LittleEndian, h)
	}
	b.WriteString(text)
	return b.Bytes()
}

// signed returns what is signed of a program.
func signed(counter uint64, body []byte) slots.Release {
	s256, s512 := sha256.Sum256(body), sha512.Sum512(body)
	return slots.Release{
		Counter: counter, Version: fmt.Sprint("v", counter), Length: int64(len(body)), SHA256: hex.EncodeToString(s256[:]), SHA512: hex.EncodeToString(s512[:]),
	}
}

// A gateway is what the tests do updates on.
type gateway struct {
	t       testing.TB
	dir     string
	builtin slots.Builtin
	boot    string
	ms      int64
	step    func(what, path string) error
}

func newGateway(t testing.TB) *gateway {
	return &gateway{t: t, dir: tmpfs.Dir(t), builtin: slots.Builtin{Path: "/usr/lib/tidegate/tidegate", Counter: 10, Version: "v10"}, boot: "first", ms: 1000}
}

// open opens the slots as a new process does.
func (g *gateway) open() *slots.Slots {
	g.t.Helper()
	s, err := slots.OpenWith(g.dir, g.builtin, func(what, path string) error {
		if g.step == nil {
			return nil
		}
		return g.step(what, path)
	}, func() (string, int64) { return g.boot, g.ms })
	if err != nil {
		g.t.Fatal(err)
	}
	return s
}

func (g *gateway) stage(counter uint64, text string) []byte {
	g.t.Helper()
	body := program(machine(), elf.ET_EXEC, text)
	if err := stage.Stage(g.t.Context(), g.open(), bytes.NewReader(body), signed(counter, body)); err != nil {
		g.t.Fatal(err)
	}
	return body
}

// must ends the test with an error of some step.
func (g *gateway) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

// starts wants the launcher to start a slot, and that alone.
func (g *gateway) starts(slot slots.Slot, trial, safe bool) slots.Choice {
	g.t.Helper()
	c := g.open().Launch()
	if c.Slot != slot || c.Trial != trial || c.Safe != safe {
		g.t.Fatalf("starts slot %s, trial %v, safe %v (%s), want slot %s, %v, %v", c.Slot, c.Trial, c.Safe, c.Why, slot, trial, safe)
	}
	if _, err := c.Read(); err != nil {
		g.t.Fatal(err)
	}
	return c
}

// update stages, tries and keeps a release.
func (g *gateway) update(counter uint64, text string, slot slots.Slot) {
	g.t.Helper()
	g.stage(counter, text)
	g.must(g.open().Switch(nil, time.Minute))
	g.starts(slot, true, false)
	g.must(g.open().Confirm())
}

func (g *gateway) program(slot slots.Slot) string {
	return filepath.Join(g.dir, "slots", string(slot), "tidegate")
}

func TestUpdates(t *testing.T) {
	g := newGateway(t)
	g.starts(slots.Zero, false, false)
	for i, slot := range []slots.Slot{slots.A, slots.B, slots.A} {
		counter := uint64(11 + i)
		g.update(counter, fmt.Sprint("release ", counter), slot)
		c := g.starts(slot, false, false)
		if c.Counter != counter || c.Path != g.program(slot) || c.Why != "" {
			t.Errorf("got release %d at %s: %s", c.Counter, c.Path, c.Why)
		}
		if to, err := os.Readlink(filepath.Join(g.dir, "slots/current")); to != string(slot) || err != nil {
			t.Errorf("current leads to %q, %v", to, err)
		}
	}
	st := g.open().State()
	if st.Current != slots.A || st.Trial.Phase != slots.Kept || st.Trial.Told || len(st.Harm) > 0 || st.Slots[0].State != "confirmed" || st.Slots[1].Counter != 12 {
		t.Errorf("got %+v", st)
	}
	g.must(g.open().Told())
	if !g.open().State().Trial.Told {
		t.Error("it forgets that it was told")
	}
	if st, err := os.Stat(g.program(slots.A)); err != nil || st.Mode() != 0o555 {
		t.Errorf("got mode %v, %v", st.Mode(), err)
	}
}

// TestRefused: each release that must not be staged is refused by its name, and nothing is different afterwards.
func TestRefused(t *testing.T) {
	good := program(machine(), elf.ET_EXEC, "good")
	other := elf.EM_AARCH64
	if machine() == other {
		other = elf.EM_X86_64
	}
	script := []byte("#!/bin/sh\nsleep 1000000\n")
	otherClass := programOf(math.MaxInt != math.MaxInt32, machine(), elf.ET_EXEC, "") // as x32's are
	broken := errors.New("line broke")
	cut, cancel := context.WithCancel(t.Context())
	cancel()
	of := func(counter uint64, body []byte, change func(r *slots.Release)) slots.Release {
		r := signed(counter, body)
		if change != nil {
			change(&r)
		}
		return r
	}
	type rel = slots.Release
	tests := map[string]struct {
		body io.Reader
		rel  slots.Release
		ctx  context.Context
		want error
	}{
		"one byte short":   {body: bytes.NewReader(good[:len(good)-1]), rel: signed(20, good), want: slots.ErrLength},
		"one byte long":    {body: bytes.NewReader(append(bytes.Clone(good), 0)), rel: signed(20, good), want: slots.ErrLength},
		"endless":          {body: endless{}, rel: signed(20, good), want: slots.ErrLength},
		"nothing":          {body: strings.NewReader(""), rel: signed(20, good), want: slots.ErrLength},
		"sha256":           {body: bytes.NewReader(good), rel: of(20, good, func(r *rel) { r.SHA256 = strings.Repeat("0", 64) }), want: slots.ErrHash},
		"sha512":           {body: bytes.NewReader(good), rel: of(20, good, func(r *rel) { r.SHA512 = strings.Repeat("0", 128) }), want: slots.ErrHash},
		"no sha512":        {body: bytes.NewReader(good), rel: of(20, good, func(r *rel) { r.SHA512 = "" }), want: slots.ErrHash},
		"bit":              {body: bytes.NewReader(append(bytes.Clone(good[:len(good)-1]), 'D')), rel: signed(20, good), want: slots.ErrHash},
		"script":           {body: bytes.NewReader(script), rel: signed(20, script), want: slots.ErrELF},
		"other machine":    {body: bytes.NewReader(program(other, elf.ET_EXEC, "")), rel: signed(20, program(other, elf.ET_EXEC, "")), want: slots.ErrELF},
		"other class":      {body: bytes.NewReader(otherClass), rel: signed(20, otherClass), want: slots.ErrELF},
		"library object":   {body: bytes.NewReader(program(machine(), elf.ET_REL, "")), rel: signed(20, program(machine(), elf.ET_REL, "")), want: slots.ErrELF},
		"cut short signed": {body: bytes.NewReader(good[:40]), rel: signed(20, good[:40]), want: slots.ErrELF},
		"old":              {body: bytes.NewReader(good), rel: signed(9, good), want: slots.ErrCounter},
		"same counter":     {body: bytes.NewReader(good), rel: signed(12, good), want: slots.ErrCounter},
		"failed before":    {body: bytes.NewReader(program(machine(), elf.ET_EXEC, "bad")), rel: signed(20, program(machine(), elf.ET_EXEC, "bad")), want: slots.ErrKnown},
		"line":             {body: iotest.ErrReader(broken), rel: signed(20, good), want: broken},
		"ctx":              {body: bytes.NewReader(good), rel: signed(20, good), ctx: cut, want: context.Canceled},
		"no length":        {body: bytes.NewReader(good), rel: of(20, good, func(r *rel) { r.Length = 0 })},
		"10 GiB":           {body: bytes.NewReader(good), rel: of(20, good, func(r *rel) { r.Length = 10 << 30 })},
		"no sha256":        {body: bytes.NewReader(good), rel: of(20, good, func(r *rel) { r.SHA256 = "" })},
		"upper case":       {body: bytes.NewReader(good), rel: of(20, good, func(r *rel) { r.SHA256 = strings.ToUpper(r.SHA256) })},
		"long version":     {body: bytes.NewReader(good), rel: of(20, good, func(r *rel) { r.Version = strings.Repeat("v", 65) })},
		"counter 0":        {body: bytes.NewReader(good), rel: signed(0, good)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t)
			g.update(11, "before", slots.A)
			g.update(12, "now", slots.B)
			g.stage(13, "bad")
			g.must(g.open().Switch(nil, time.Minute))
			g.must(g.open().Fail("crashed"))
			before := g.files()
			ctx := tt.ctx
			if ctx == nil {
				ctx = t.Context()
			}
			err := stage.Stage(ctx, g.open(), tt.body, tt.rel)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if after := g.files(); after != before {
				t.Errorf("changed:\n%s\nbefore:\n%s", after, before)
			}
			if err := g.open().Switch(nil, time.Minute); !errors.Is(err, slots.ErrNothing) {
				t.Errorf("Switch: %v", err)
			}
			g.starts(slots.B, false, false)
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// files lists all files with what they hold.
func (g *gateway) files() string {
	g.t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(g.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if to, err := os.Readlink(path); err == nil {
			fmt.Fprintf(&b, "%s -> %s\n", path, to)
			return nil
		}
		body, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%s %d %x\n", path, len(body), sha256.Sum256(body))
		return err
	})
	g.must(err)
	return b.String()
}

func TestSpace(t *testing.T) {
	if err := slots.Space(t.TempDir(), 1); err != nil {
		t.Error(err)
	}
	err := slots.Space(t.TempDir(), math.MaxInt64)
	if !errors.Is(err, slots.ErrSpace) || !strings.Contains(err.Error(), fmt.Sprint(int64(math.MaxInt64))) {
		t.Errorf("got %v, want what there is and what is needed", err)
	}
}

// TestGivenUp: what fails is not started again, by whatever it failed, and the one before is.
func TestGivenUp(t *testing.T) {
	tests := map[string]struct {
		do     func(g *gateway)
		reason string
	}{
		"said so": {func(g *gateway) {
			g.starts(slots.B, true, false)
			g.must(g.open().Fail("device-lost"))
		}, "device-lost"},
		"crashed": {func(g *gateway) {
			for n := range slots.Attempts {
				if c := g.starts(slots.B, true, false); c.Attempt != n+1 {
					g.t.Errorf("attempt %d, want %d", c.Attempt, n+1)
				}
			}
		}, slots.Crashed},
		"each start takes the power with it": {func(g *gateway) {
			for n := range slots.Attempts {
				g.boot, g.ms = fmt.Sprint("boot", n), 500
				g.starts(slots.B, true, false)
			}
		}, slots.Crashed},
		"expired, by the timer": {func(g *gateway) {
			g.starts(slots.B, true, false)
			g.ms += 59_999
			if done, err := g.open().Expire(g.t.Context()); done != "" || err != nil {
				g.t.Errorf("before its time: %q, %v", done, err)
			}
			g.ms++
			if done, err := g.open().Expire(g.t.Context()); done == "" || err != nil {
				g.t.Errorf("got %q, %v", done, err)
			}
			if done, err := g.open().Expire(g.t.Context()); done != "" || err != nil {
				g.t.Errorf("a second time: %q, %v", done, err)
			}
		}, slots.Expired},
		"expired, by the launcher": {func(g *gateway) {
			g.starts(slots.B, true, false)
			g.ms += 60_000
			if err := g.open().Confirm(); !errors.Is(err, slots.ErrExpired) {
				g.t.Errorf("Confirm: %v", err)
			}
		}, slots.Expired},
		"never started": {func(g *gateway) {
			g.ms += 60_000
			if _, err := g.open().Expire(g.t.Context()); err != nil {
				g.t.Error(err)
			}
		}, slots.Expired},
		"other file": {func(g *gateway) {
			g.must(os.Chmod(g.program(slots.B), 0o755))
			f, err := os.OpenFile(g.program(slots.B), os.O_WRONLY, 0)
			g.must(err)
			_, err = f.WriteAt([]byte("?"), 70)
			g.must(errors.Join(err, f.Close()))
		}, slots.WrongHash},
		"file gone": {func(g *gateway) { g.must(os.Remove(g.program(slots.B))) }, slots.WrongHash},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t)
			g.update(11, "before", slots.A)
			bad := g.stage(12, "now, and wrong")
			g.must(g.open().Switch([]byte("baseline"), time.Minute))
			if b := g.open().State().Trial.Baseline; string(b) != "baseline" {
				t.Errorf("baseline %q", b)
			}
			tt.do(g)
			for range 5 {
				g.starts(slots.A, false, false)
			}
			st := g.open().State()
			if st.Trial.Phase != slots.Failed || st.Trial.Reason != tt.reason || st.Current != slots.A || st.Slots[1].State != "failed" || st.Trial.Told {
				t.Errorf("got %+v, want failed: %s", st, tt.reason)
			}
			rel := signed(13, bad)
			if !g.open().Failed(rel.SHA256) {
				t.Error("it is not known as failed")
			}
			if err := stage.Stage(t.Context(), g.open(), bytes.NewReader(bad), rel); !errors.Is(err, slots.ErrKnown) {
				t.Errorf("staged again: %v", err)
			}
			g.must(g.open().Forget(rel.SHA256))
			if g.open().Failed(rel.SHA256) {
				t.Error("it is not forgotten")
			}
		})
	}
}

// TestRebootGivesTheWindowAnew: time is counted in one boot, and a boot time that is lower than before is none that has passed.
func TestRebootGivesTheWindowAnew(t *testing.T) {
	g := newGateway(t)
	g.stage(11, "new")
	g.must(g.open().Switch(nil, time.Minute))
	g.ms += 40_000
	g.starts(slots.A, true, false) // the first start: the window begins now
	g.ms += 59_000
	g.starts(slots.A, true, false) // a second in the same boot: it does not begin anew
	if g.ms += 1000; g.open().Confirm() == nil {
		t.Error("kept after the deadline")
	}
	g.boot, g.ms = "second", 1_000_000_000
	if done, err := g.open().Expire(g.t.Context()); done != "" || err != nil {
		t.Errorf("before the first start of a boot: %q, %v", done, err)
	}
	g.starts(slots.A, true, false)
	g.ms += 59_000
	g.must(g.open().Confirm())
	g.starts(slots.A, false, false)
	// Of each boot the first start begins a window, which ends.
	g.stage(12, "newer")
	g.must(g.open().Switch(nil, time.Minute))
	g.starts(slots.B, true, false)
	g.boot, g.ms = "third", 500
	g.starts(slots.B, true, false)
	g.ms += 60_000
	if done, err := g.open().Expire(g.t.Context()); done == "" || err != nil {
		t.Errorf("behind the window of the last boot: %q, %v", done, err)
	}
}

// TestPackageBringsNewer: slot 0 takes part by its counter.
func TestPackageBringsNewer(t *testing.T) {
	g := newGateway(t)
	g.update(11, "one", slots.A)
	g.builtin.Counter = 11
	g.starts(slots.Zero, false, false)
	g.update(12, "two", slots.B)
	g.stage(13, "three")
	g.must(g.open().Switch(nil, time.Minute))
	g.starts(slots.A, true, false)
	g.builtin.Counter = 13 // in the middle of a trial
	g.starts(slots.Zero, false, false)
	if st := g.open().State(); st.Trial.Reason != slots.Superseded || st.Current != slots.Zero {
		t.Errorf("got %+v", st)
	}
	g.builtin.Counter = 10 // somebody puts the old package back
	g.starts(slots.B, false, false)
}

// TestDamage: what is damaged is passed over, and there is always something to start.
func TestDamage(t *testing.T) {
	damage := func(names ...string) func(g *gateway) {
		return func(g *gateway) {
			for _, n := range names {
				path := filepath.Join(g.dir, n)
				g.must(errors.Join(os.Remove(path), os.WriteFile(path, []byte("?"), 0o600)))
			}
		}
	}
	remove := func(name string) func(g *gateway) {
		return func(g *gateway) { g.must(os.RemoveAll(filepath.Join(g.dir, name))) }
	}
	a, b, t0 := []string{"slots/a/release.0", "slots/a/release.1"}, []string{"slots/b/release.0", "slots/b/release.1"}, []string{"trial.0", "trial.1"}
	tests := map[string]struct {
		do   func(g *gateway)
		slot slots.Slot
		safe bool
	}{
		"newest program":           {damage("slots/b/tidegate"), slots.A, false},
		"newest program is gone":   {remove("slots/b/tidegate"), slots.A, false},
		"older program":            {damage("slots/a/tidegate"), slots.B, false},
		"both programs":            {damage("slots/a/tidegate", "slots/b/tidegate"), slots.Zero, true},
		"one record of the newest": {damage(b[0]), slots.B, false},
		"other record of the same": {damage(b[1]), slots.B, false},
		"record, the trial knows":  {damage(b...), slots.B, false},
		"trial's":                  {damage(t0...), slots.B, false},
		"record and trial's":       {damage(append(b, t0...)...), slots.A, false},
		"all records":              {damage(append(append(a, b...), t0...)...), slots.Zero, true},
		"link leads to nothing":    {damage("slots/current"), slots.B, false},
		"link is gone":             {remove("slots/current"), slots.B, false},
		"newest slot is gone":      {remove("slots/b"), slots.A, false},
		"all slots are gone":       {remove("slots"), slots.Zero, true},
		"program is a folder":      {func(g *gateway) { remove("slots/b/tidegate")(g); g.must(os.Mkdir(g.program("b"), 0o700)) }, slots.A, false},
		"program is a link": {func(g *gateway) {
			g.must(os.Rename(g.program("b"), g.dir+"/x"))
			g.must(os.Symlink(g.dir+"/x", g.program("b")))
		}, slots.A, false},
		"program is a pipe":         {func(g *gateway) { remove("slots/b/tidegate")(g); g.must(syscall.Mkfifo(g.program("b"), 0o700)) }, slots.A, false},
		"nobody may write the lock": {func(g *gateway) { remove("lock")(g); g.must(os.Mkdir(filepath.Join(g.dir, "lock"), 0o700)) }, slots.B, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t)
			g.update(11, "before", slots.A)
			g.update(12, "now", slots.B)
			tt.do(g)
			for range 2 {
				s, _ := slots.OpenWith(g.dir, g.builtin, nil, nil)
				if c := s.Beside(); c.Slot != tt.slot || c.Safe {
					t.Errorf("beside, before: slot %s, safe %v, want %s, and never safe", c.Slot, c.Safe, tt.slot)
				}
				if c := s.Launch(); c.Slot != tt.slot || c.Safe != tt.safe || c.Trial {
					t.Errorf("starts slot %s, safe %v: %s, want %s, %v", c.Slot, c.Safe, c.Why, tt.slot, tt.safe)
				}
				if c := s.Beside(); c.Slot != tt.slot || c.Safe {
					t.Errorf("beside: slot %s, safe %v, want %s, and never safe", c.Slot, c.Safe, tt.slot)
				}
			}
			if name == "nobody may write the lock" {
				return
			}
			g.update(13, "repaired", map[slots.Slot]slots.Slot{slots.A: slots.B, slots.B: slots.A, slots.Zero: slots.A}[tt.slot])
		})
	}
}

// TestFullDisk: a start that cannot be counted is none of the new program, and the trial goes on when there is space.
func TestFullDisk(t *testing.T) {
	g := newGateway(t)
	g.update(11, "before", slots.A)
	g.stage(12, "now")
	g.must(g.open().Switch(nil, time.Minute))
	g.step = func(what, path string) error {
		if what == "write" {
			return syscall.ENOSPC
		}
		return nil
	}
	for range slots.Attempts + 1 {
		if c := g.starts(slots.A, false, false); !strings.Contains(c.Why, "no space left") {
			t.Errorf("says %q", c.Why)
		}
	}
	g.step = nil
	g.starts(slots.B, true, false)
	g.must(g.open().Confirm())
	g.starts(slots.B, false, false)
}

// TestBusy: while another holds the lock nothing is changed and no trial is started, but something is.
func TestBusy(t *testing.T) {
	g := newGateway(t)
	g.update(11, "before", slots.A)
	g.stage(12, "now")
	g.must(g.open().Switch(nil, time.Minute))
	f, err := os.OpenFile(filepath.Join(g.dir, "lock"), os.O_RDWR, 0)
	g.must(err)
	g.must(syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
	g.must(os.WriteFile(filepath.Join(g.dir, "slots/current.new"), []byte("x"), 0o600)) // what a cut has left waits
	before := g.files()
	g.starts(slots.A, false, false)
	if c := g.open().Beside(); c.Slot != slots.A {
		t.Errorf("a command beside gets slot %s, want what runs", c.Slot)
	}
	for name, err := range map[string]error{
		"Confirm": g.open().Confirm(), "Fail": g.open().Fail("x"), "Switch": g.open().Switch(nil, time.Minute), "Told": g.open().Told(),
		"Stage": stage.Stage(t.Context(), g.open(), endless{}, signed(20, []byte("x"))),
	} {
		if !errors.Is(err, slots.ErrBusy) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if g.files() != before {
		t.Error("something was changed")
	}
	g.must(f.Close())
	g.starts(slots.B, true, false)
	if c := g.open().Beside(); c.Slot != slots.B || !c.Trial {
		t.Errorf("a command beside gets slot %s, want what runs", c.Slot)
	}
}

// TestOutOfTurn: what does not follow is refused by name.
func TestOutOfTurn(t *testing.T) {
	g := newGateway(t)
	none := map[string]error{"Confirm": g.open().Confirm(), "Fail": g.open().Fail("x")}
	for name, err := range none {
		if !errors.Is(err, slots.ErrNoTrial) {
			t.Errorf("%s: %v", name, err)
		}
	}
	g.stage(11, "new")
	for name, err := range map[string]error{
		"long baseline": g.open().Switch(make([]byte, slots.MaxBaseline+1), time.Minute),
		"no window":     g.open().Switch(nil, 0), "long window": g.open().Switch(nil, slots.MaxWindow+1),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	g.must(g.open().Switch(make([]byte, slots.MaxBaseline), slots.MaxWindow))
	if err := g.open().Confirm(); !errors.Is(err, slots.ErrUnstarted) {
		t.Errorf("Confirm before the first start: %v", err)
	}
	body := program(machine(), elf.ET_EXEC, "another")
	for name, err := range map[string]error{
		"Switch": g.open().Switch(nil, time.Minute), "Stage": stage.Stage(t.Context(), g.open(), bytes.NewReader(body), signed(12, body)),
	} {
		if !errors.Is(err, slots.ErrTrial) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSwappedAfterStage: what was staged is hashed again before anything leads to it.
func TestSwappedAfterStage(t *testing.T) {
	g := newGateway(t)
	g.stage(11, "new")
	g.must(os.Rename(g.program("a"), g.program("a")+".x"))
	g.must(os.WriteFile(g.program("a"), program(machine(), elf.ET_EXEC, "neW"), 0o755))
	if err := g.open().Switch(nil, time.Minute); !errors.Is(err, slots.ErrHash) {
		t.Errorf("got %v", err)
	}
	g.starts(slots.Zero, false, false)
}

// TestWhatWasHashedIsStarted swaps the program between its choice and its start.
func TestWhatWasHashedIsStarted(t *testing.T) {
	g := newGateway(t)
	g.update(11, "new", slots.A)
	c := g.open().Launch()
	g.must(os.Rename(g.program("a"), g.program("a")+".x"))
	g.must(os.WriteFile(g.program("a"), program(machine(), elf.ET_EXEC, "neW"), 0o755))
	if b, err := c.Read(); err != nil || !bytes.HasSuffix(b, []byte("new")) {
		t.Errorf("starts %q, %v", b, err)
	}
}

// TestFailedAreBounded: the newest are known.
func TestFailedAreBounded(t *testing.T) {
	g := newGateway(t)
	var all []string
	for n := range slots.MaxFailed + 2 {
		body := g.stage(uint64(11+n), fmt.Sprint("bad ", n))
		g.must(g.open().Switch(make([]byte, slots.MaxBaseline), time.Minute))
		g.must(g.open().Fail(strings.Repeat("x", 300)))
		all = append(all, signed(1, body).SHA256)
	}
	for n, sum := range all {
		if got, want := g.open().Failed(sum), n >= 2; got != want {
			t.Errorf("program %d: known %v, want %v", n, got, want)
		}
	}
}

// TestSteps: an update has these steps in this order: the program is synced before its slot is emptied, the record of the trial is there before
// current leads to it, and each is synced before the next. Both files of a record are one: their folder is synced behind the second.
func TestSteps(t *testing.T) {
	g := newGateway(t)
	g.update(11, "before", slots.A)
	var steps []string
	g.step = func(what, path string) error {
		steps = append(steps, what+" "+strings.TrimPrefix(strings.TrimPrefix(path, g.dir), "/"))
		return nil
	}
	pair := func(path string) (out []string) {
		for _, n := range []string{".0", ".1"} {
			out = append(out, "write "+path+n+".new", "sync "+path+n+".new", "rename "+path+n)
		}
		return append(out, "syncdir "+strings.Trim(filepath.Dir("/"+path), "/"))
	}
	body := program(machine(), elf.ET_EXEC, "now")
	tests := []struct {
		name string
		do   func(s *slots.Slots) error
		want []string
	}{
		{
			"Stage", func(s *slots.Slots) error {
				return stage.Stage(t.Context(), s, bytes.NewReader(body), signed(12, body))
			},
			slices.Concat(
				[]string{"write slots/b/.tidegate.new", "sync slots/b/.tidegate.new"}, pair("slots/b/release"),
				[]string{"rename slots/b/tidegate", "syncdir slots/b"}, pair("slots/b/release"),
			),
		},
		{
			"Switch", func(s *slots.Slots) error { return s.Switch(nil, time.Minute) },
			slices.Concat(pair("trial"), []string{"symlink slots/current.new", "rename slots/current", "syncdir slots"}),
		},
		{"Launch", func(s *slots.Slots) error { c := s.Launch(); _, err := c.Read(); return err }, pair("trial")},
		{"Confirm", func(s *slots.Slots) error { return s.Confirm() }, slices.Concat(pair("trial"), pair("slots/b/release"))},
		{"Launch again", func(s *slots.Slots) error { c := s.Launch(); _, err := c.Read(); return err }, nil},
	}
	for _, tt := range tests {
		s := g.open()
		steps = nil
		if err := tt.do(s); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		// Which of the two files of a record comes first is as it comes.
		got, want := unordered(steps), unordered(tt.want)
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// unordered takes from steps which of the two files of a record they are of.
func unordered(steps []string) (out []string) {
	for _, s := range steps {
		out = append(out, strings.NewReplacer(".0.new", ".?.new", ".1.new", ".?.new", "release.0", "release.?", "release.1", "release.?", "trial.0", "trial.?", "trial.1", "trial.?").Replace(s))
	}
	return out
}

// FuzzRecords reads anything as a record: what is taken is within its bounds, and is written and read again as the same.
func FuzzRecords(f *testing.F) {
	sum := strings.Repeat("ab", 32)
	for _, s := range []string{
		`{"state":"empty"}`, `{"state":"staged","counter":12,"version":"v12","sha256":"` + sum + `","length":100}`, `{"state":"confirmed"}`,
		`{"state":"empty","counter":12}`, `{"state":"staged","counter":12,"sha256":"` + sum + `","length":100,"later":{"x":[1]}}`, `{} {}`, `null`, `[]`,
		`{"phase":"running","slot":"a","counter":12,"sha256":"` + sum + `","length":1,"attempts":1,"boot":"x","deadline":5,"window":5,"failed":["` + sum + `"]}`,
		`{"phase":"kept","slot":"0"}`, `{"phase":"running","slot":"b","counter":1e300}`, `{"failed":["x"]}`, `{"phase":"failed","slot":"a","attempts":-1}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if trial, err := slots.DecodeTrial(b); err == nil {
			if trial.Phase != "" && (trial.Counter == 0 || len(trial.SHA256) != 64 || trial.Slot != slots.A && trial.Slot != slots.B || trial.Attempts < 0) ||
				len(trial.Baseline) > slots.MaxBaseline || len(trial.FailedPrograms) > slots.MaxFailed {
				t.Fatalf("%q was read as %+v", b, trial)
			}
			text, err := json.Marshal(&trial)
			again, decodeErr := slots.DecodeTrial(text)
			if err != nil || decodeErr != nil || len(text) > durable.MaxPair || fmt.Sprint(again) != fmt.Sprint(trial) {
				t.Fatalf("%+v is written as %d bytes and read as %+v, %v", trial, len(text), again, errors.Join(err, decodeErr))
			}
		}
		if p, state, err := slots.DecodeRecord(b); err == nil && (state == "empty") != (p == slots.Program{}) {
			t.Fatalf("%q was read as %s %+v", b, state, p)
		}
	})
}

// TestExpireEnds: the program on trial is ended, whether it listens or not; no other is, that has its number by chance.
func TestExpireEnds(t *testing.T) {
	const refused = 1 // ms, a window by which the test knows that trial again
	tests := map[string]struct {
		script string
		change func(t *slots.Trial)
		want   string // how it ended; "" = it goes on
	}{
		"listens":               {"echo there; exec sleep 1000000", nil, "terminated"},
		"does not":              {"trap '' TERM; echo there; while :; do sleep 0.1; done", nil, "killed"},
		"other process":         {"echo there; exec sleep 1000000", func(t *slots.Trial) { t.Started++ }, ""},
		"other boot":            {"echo there; exec sleep 1000000", func(t *slots.Trial) { t.Boot = "other" }, ""},
		"kept":                  {"echo there; exec sleep 1000000", func(t *slots.Trial) { t.Phase = slots.Kept }, ""},
		"not started":           {"echo there; exec sleep 1000000", func(t *slots.Trial) { t.PID = 0 }, ""},
		"the kernel refused it": {"echo there; exec sleep 1000000", func(t *slots.Trial) { t.Window = refused }, ""},
		"gave up and hangs": {"echo there; exec sleep 1000000", func(t *slots.Trial) {
			t.Phase, t.Reason = slots.Failed, "hung"
		}, "terminated"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := newGateway(t)
			g.stage(11, "new")
			g.must(g.open().Switch(nil, time.Minute))
			c := exec.CommandContext(t.Context(), "/bin/sh", "-c", tt.script)
			c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			out, err := c.StdoutPipe()
			g.must(err)
			g.must(c.Start())
			defer func() { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }()
			_, err = out.Read(make([]byte, 6))
			g.must(err)
			started, err := slots.StartOf(c.Process.Pid)
			g.must(err)
			g.must(g.open().Change(func(t *slots.Trial) {
				t.PID, t.Started = c.Process.Pid, started
				if tt.change != nil {
					tt.change(t)
				}
			}))
			if g.open().State().Trial.Window == refused { // who tried to start it goes on as another program
				g.must(g.open().Fail(slots.NoExec))
			}
			g.ms += 60_000
			done, err := g.open().Expire(t.Context())
			if ended := strings.Contains(done, "ended;") || strings.HasSuffix(done, fmt.Sprintf("process %d ended", c.Process.Pid)); err != nil || ended != (tt.want != "") {
				t.Fatalf("got %q, %v", done, err)
			}
			if tt.want == "" {
				if now, err := slots.StartOf(c.Process.Pid); now != started || err != nil {
					t.Errorf("it is gone: %v", err)
				}
				return
			}
			if err := c.Wait(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("it ended with %v, want %s", err, tt.want)
			}
		})
	}
}

// TestLaunchMends: what a cut has left is away behind the next start, and both files of each record say the same again.
func TestLaunchMends(t *testing.T) {
	g := newGateway(t)
	g.update(11, "before", slots.A)
	g.update(12, "now", slots.B)
	clean := g.files()
	for _, name := range []string{
		"slots/a/.tidegate.new", "slots/b/.tidegate.old", "slots/current.new", "trial.0.new", "trial.1.new", "slots/a/release.0.new", "slots/b/release.1.new",
	} {
		g.must(os.WriteFile(filepath.Join(g.dir, name), []byte("x"), 0o400))
	}
	if c := g.starts(slots.B, false, false); c.Why != "" || g.files() != clean {
		t.Errorf("says %q, has\n%s\nwant\n%s", c.Why, g.files(), clean)
	}
	for _, name := range []string{"trial", "slots/a/release", "slots/b/release"} {
		g.must(os.Remove(filepath.Join(g.dir, name+".0")))
	}
	c := g.starts(slots.B, false, false)
	if n := strings.Count(c.Why, "one of two files is damaged"); n != 3 {
		t.Errorf("says %q, want three damaged records", c.Why)
	}
	if st := g.open().State(); len(st.Harm) > 0 {
		t.Errorf("still damaged: %v", st.Harm)
	}
	list := func(files string) (names []string) {
		for line := range strings.Lines(files) {
			names = append(names, strings.Fields(line)[0])
		}
		return names
	}
	if got, want := list(g.files()), list(clean); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if c := g.starts(slots.B, false, false); c.Why != "" {
		t.Errorf("a second start says %q", c.Why)
	}
}

// TestMemory: staging takes memory of one program, whatever selfupdate does with a reader.
func TestMemory(t *testing.T) {
	g := newGateway(t)
	body := append(program(machine(), elf.ET_EXEC, ""), make([]byte, 16<<20)...)
	rel, s := signed(11, body), g.open()
	allocated := func(do func()) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		do()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	// With the race detector a buffer of one program allocates two.
	one := allocated(func() { new(bytes.Buffer).Grow(len(body)) })
	n := allocated(func() { g.must(stage.Stage(t.Context(), s, bytes.NewReader(body), rel)) })
	if n > one*5/4 {
		t.Errorf("%d bytes were allocated, want at most a quarter more than for one program, %d", n, one)
	}
}

// A liar writes something else than it was told to.
type liar struct{ body []byte }

func (l liar) Prepare(target string) error { return os.WriteFile(slots.New(target), l.body, 0o755) }
func (l liar) Commit(target string) error  { return os.Rename(slots.New(target), target) }

// TestReadAgain: what counts is what is on disk, whoever says that it was written.
func TestReadAgain(t *testing.T) {
	g := newGateway(t)
	body := program(machine(), elf.ET_EXEC, "good")
	for name, want := range map[string]error{"gooD": slots.ErrHash, "goo": slots.ErrLength} {
		if err := g.open().Stage(signed(11, body), liar{program(machine(), elf.ET_EXEC, name)}); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		if err := g.open().Switch(nil, time.Minute); !errors.Is(err, slots.ErrNothing) {
			t.Errorf("%s: Switch: %v", name, err)
		}
	}
	g.must(g.open().Stage(signed(11, body), liar{body}))
}

// TestNoExec: where the kernel would start nothing no release is staged or begun, and so none is given up; it is taken when that is mended.
func TestNoExec(t *testing.T) {
	dir, isInside := tmpfs.Mounted(t)
	if !isInside {
		return
	}
	g := newGateway(t)
	g.dir = dir
	body := g.stage(11, "release 11")
	tmpfs.Remount(t, dir, syscall.MS_NOEXEC)
	if err := g.open().Switch(nil, time.Minute); !errors.Is(err, slots.ErrNoExec) || !strings.Contains(err.Error(), dir+" is mounted noexec") {
		t.Errorf("switch: got %v", err)
	}
	if err := stage.Stage(t.Context(), g.open(), bytes.NewReader(body), signed(12, body)); !errors.Is(err, slots.ErrNoExec) {
		t.Errorf("stage: got %v", err)
	}
	if st := g.open().State(); st.Trial.Phase != "" || st.Slots[0].Counter != 11 {
		t.Errorf("got %+v, want release 11 staged, and no trial", st)
	}
	tmpfs.Remount(t, dir, 0)
	g.must(g.open().Switch(nil, time.Minute))
	g.starts(slots.A, true, false)
}
