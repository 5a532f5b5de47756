package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/ota/durable"
	"github.com/tidegate-io/tidegate/ota/slots"
	"github.com/tidegate-io/tidegate/ota/slots/stage"
)

// TestMain lets the test's own program be the launcher.
func TestMain(m *testing.M) {
	switch os.Getenv("TIDEGATE_LAUNCH_TEST") {
	case "":
	case "swap": // a launcher beside which somebody puts another program in the place of the one that it has just hashed
		c, _ := choose(options{state: os.Args[1], lib: os.Args[2]}, os.Stderr, nil)
		err := errors.Join(os.Rename(c.Path, c.Path+".x"), os.WriteFile(c.Path, []byte("#!/bin/sh\necho another\n"), 0o755))
		panic(errors.Join(err, c.Start([]string{"-c", "echo hashed"}, nil)))
	default:
		main()
	}
	os.Exit(m.Run())
}

// A gateway is a state directory and the package's program. Its programs are shells, each with something behind its end.
type gateway struct {
	t          *testing.T
	state, lib string
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{t: t, state: t.TempDir(), lib: t.TempDir()}
	g.must(os.WriteFile(filepath.Join(g.lib, "tidegate"), g.shell("0"), 0o755))
	g.must(os.WriteFile(filepath.Join(g.lib, "release.json"), []byte(`{"counter":10,"version":"v10","sha256":"`+strings.Repeat("0", 64)+`","length":1}`), 0o644))
	return g
}

func (g *gateway) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

func (g *gateway) shell(end string) []byte {
	g.t.Helper()
	body, err := os.ReadFile("/bin/sh")
	g.must(err)
	return append(body, end...)
}

func (g *gateway) slots() *slots.Slots {
	g.t.Helper()
	builtin, err := slots.ReadBuiltin(g.lib)
	g.must(err)
	s, err := slots.Open(filepath.Join(g.state, "ota"), builtin)
	g.must(err)
	return s
}

// try puts a release on trial.
func (g *gateway) try(counter uint64) {
	g.t.Helper()
	body := g.shell(fmt.Sprint(counter))
	s256, s512 := sha256.Sum256(body), sha512.Sum512(body)
	g.must(stage.Stage(g.t.Context(), g.slots(), bytes.NewReader(body), slots.Release{
		Counter: counter, Version: fmt.Sprint("v", counter), Length: int64(len(body)), SHA256: hex.EncodeToString(s256[:]), SHA512: hex.EncodeToString(s512[:]),
	}))
	g.must(g.slots().Switch(nil, time.Hour))
}

func (g *gateway) program(slot slots.Slot) string {
	return filepath.Join(g.state, "ota/slots", string(slot), "tidegate")
}

// launcher is the launcher with arguments.
func (g *gateway) launcher(args ...string) *exec.Cmd {
	c := exec.CommandContext(g.t.Context(), os.Args[0], append([]string{args[0], "--state", g.state, "--lib", g.lib}, args[1:]...)...)
	c.Env = append(os.Environ(), "TIDEGATE_LAUNCH_TEST=1", "TIDEGATE_SLOT=wrong")
	return c
}

func (g *gateway) run(args ...string) (out, log string) {
	g.t.Helper()
	var l strings.Builder
	c := g.launcher(args...)
	c.Stderr = &l
	b, err := c.Output()
	if err != nil {
		g.t.Errorf("%q: %v: %s", args, err, l.String())
	}
	return string(b), l.String()
}

// says is a script that says what runs it.
const says = `echo slot=$TIDEGATE_SLOT slots=$(tr '\0' '\n' </proc/$$/environ | grep -c ^TIDEGATE_SLOT=) path=$(readlink /proc/$$/exe) lib=$TIDEGATE_LIB state=$TIDEGATE_STATE args=$0,$* files=$(ls -l /proc/$$/fd | grep -cE '/ota/|event')`

// starts wants a program to be started, with what belongs to it, and one line of why.
func (g *gateway) starts(slot slots.Slot, safe bool, line string, flags ...string) {
	g.t.Helper()
	path, args := g.program(slot), "x,y"
	if slot == slots.Zero {
		path = filepath.Join(g.lib, "tidegate")
	}
	if safe {
		args += " --safe"
	}
	out, log := g.run(append(append([]string{"run"}, flags...), "--", "-c", says, "x", "y")...)
	// No files: what the launcher had open is closed.
	if want := fmt.Sprintf("slot=%s slots=1 path=%s lib=%s state=%s args=%s files=0\n", slot, path, g.lib, g.state, args); out != want {
		g.t.Errorf("got %q, want %q", out, want)
	}
	if last := log[strings.LastIndexByte(strings.TrimSpace(log), '\n')+1:]; !strings.Contains(last, line) || !strings.HasPrefix(last, "tidegate-launch: starting ") {
		g.t.Errorf("says %q, want %q", log, line)
	}
}

func TestRun(t *testing.T) {
	g := newGateway(t)
	g.starts(slots.Zero, false, "tidegate, slot 0, release 10 (v10)\n")
	g.try(11)
	g.starts(slots.Zero, false, "slot 0", "--beside") // it has not been started yet
	g.starts(slots.A, false, "slot a, release 11 (v11), on trial, start 1 of 3\n")
	g.starts(slots.A, false, "slot a", "--beside")
	g.must(g.slots().Confirm())
	g.try(12)
	for n := range slots.Attempts {
		g.starts(slots.B, false, fmt.Sprintf("on trial, start %d of 3\n", n+1))
	}
	g.starts(slots.A, false, "the trial of release 12 has ended: crashed")
	g.starts(slots.A, false, "slot a, release 11 (v11)\n")
	out, _ := g.run("status")
	for _, want := range []string{
		"next: slot a, release 11 v11\n", "current: a\n", "slot 0: release 10 v10\n", "slot a: release 11 v11 confirmed\n", "slot b: release 12 v12 failed\n",
		"trial: release 12 in slot b: failed crashed, 3 starts, window 1h0m0s\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("status: %q, want %q", out, want)
		}
	}
	g.must(os.Chmod(g.program(slots.A), 0o600))
	g.must(os.WriteFile(g.program(slots.A), []byte("#!/bin/sh\n"), 0o755))
	g.starts(slots.Zero, true, "in safe mode: ")
	g.starts(slots.Zero, false, "slot 0", "--beside") // no command beside the gateway has the flag
}

// TestKernelRefuses: a program that cannot be started is no end.
func TestKernelRefuses(t *testing.T) {
	g := newGateway(t)
	g.try(11)
	g.starts(slots.A, false, "slot a")
	g.must(g.slots().Confirm())
	g.try(12)
	g.must(os.Chmod(g.program(slots.B), 0o444)) // as a file system that is mounted noexec
	g.starts(slots.A, false, "slot a, release 11 (v11)\n")
	if st := g.slots().State(); st.Trial.Reason != slots.NoExec || st.Current != slots.A || st.Trial.PID != 0 {
		t.Errorf("got %+v", st)
	}
	g.must(os.Chmod(g.program(slots.A), 0o444))
	g.starts(slots.Zero, true, "in safe mode")
	g.starts(slots.Zero, false, "slot 0", "--beside")
	g.must(os.Remove(filepath.Join(g.lib, "tidegate")))
	var exit *exec.ExitError
	c := g.launcher("run", "--", "x")
	var log strings.Builder
	c.Stderr = &log
	if err := c.Run(); !errors.As(err, &exit) || exit.ExitCode() != 1 || strings.Count(log.String(), ": starting ") != 2 {
		t.Errorf("with nothing at all: %v, want status 1 behind slot a and slot 0:\n%s", err, log.String())
	}
}

// TestPackage: what is wrong with the package's release is said; that it has none is not, as a package of old has none.
func TestPackage(t *testing.T) {
	g := newGateway(t)
	for text, want := range map[string]string{"": "", "{": "tidegate-launch: the package's own program counts as the oldest: "} {
		path := filepath.Join(g.lib, "release.json")
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		if text != "" {
			g.must(os.WriteFile(path, []byte(text), 0o644))
		}
		if _, log := g.run("status"); !strings.HasPrefix(log, want) || want == "" && log != "" {
			t.Errorf("of %q it says %q, want %q", text, log, want)
		}
	}
}

// A trap panics once.
type trap struct {
	strings.Builder
	sprung bool
}

func (p *trap) Write(b []byte) (int, error) {
	if !p.sprung {
		p.sprung = true
		panic("a mistake")
	}
	return p.Builder.Write(b)
}

// TestMistake: a mistake of the launcher's own ends at the package's program, in safe mode.
func TestMistake(t *testing.T) {
	g := newGateway(t)
	g.must(os.WriteFile(filepath.Join(g.lib, "release.json"), []byte("{"), 0o644)) // so that something is said
	log := &trap{}
	c, fail := choose(options{state: g.state, lib: g.lib}, log, nil)
	if c.Slot != slots.Zero || c.Path != filepath.Join(g.lib, "tidegate") || !c.Safe || fail() != nil {
		t.Errorf("starts %+v", c)
	}
	if got := log.String(); got != "tidegate-launch: panic: a mistake\n" {
		t.Errorf("says %q", got)
	}
}

// TestWhatWasHashedIsStarted: there is nothing between the look at a program and its start.
func TestWhatWasHashedIsStarted(t *testing.T) {
	g := newGateway(t)
	g.try(11)
	c := exec.CommandContext(t.Context(), os.Args[0], g.state, g.lib)
	c.Env = append(os.Environ(), "TIDEGATE_LAUNCH_TEST=swap")
	if out, err := c.Output(); string(out) != "hashed\n" || err != nil {
		t.Errorf("got %q, %v", out, err)
	}
}

// TestNoState: without a place for state there is slot 0, in safe mode, as nobody knows what was in use.
func TestNoState(t *testing.T) {
	g := newGateway(t)
	g.state = filepath.Join(g.lib, "release.json") // a file
	g.starts(slots.Zero, true, "slot 0, release 10")
	g.must(os.WriteFile(filepath.Join(g.lib, "release.json"), []byte("{"), 0o644))
	g.starts(slots.Zero, true, "slot 0, release 0")
}

// TestExpire: a program on trial that says nothing is ended from outside, and the one before it starts.
func TestExpire(t *testing.T) {
	g := newGateway(t)
	g.try(11)
	c := g.launcher("run", "--", "-c", "echo there; exec sleep 1000000")
	out, err := c.StdoutPipe()
	g.must(err)
	g.must(c.Start())
	_, err = out.Read(make([]byte, 10)) // it runs
	g.must(err)
	if out, _ := g.run("expire"); out != "" {
		t.Errorf("before its time: %q", out)
	}
	// Its time is over.
	p, body, _, err := durable.OpenPair(filepath.Join(g.state, "ota/trial"))
	g.must(err)
	var trial slots.Trial
	g.must(json.Unmarshal(body, &trial))
	if trial.PID != c.Process.Pid {
		t.Errorf("process %d is noted, want %d", trial.PID, c.Process.Pid)
	}
	trial.Deadline = 1
	body, err = json.Marshal(&trial)
	g.must(errors.Join(err, p.Write(body)))
	said, _ := g.run("expire")
	if want := fmt.Sprintf("tidegate-launch: the trial of release 11 in slot a has ended: expired-trial; process %d ended\n", trial.PID); said != want {
		t.Errorf("got %q, want %q", said, want)
	}
	if err := c.Wait(); err == nil || !strings.Contains(err.Error(), "terminated") {
		t.Errorf("it ended with %v", err)
	}
	g.starts(slots.Zero, false, "slot 0, release 10 (v10)\n")
}

// TestUsage: what cannot be understood is said; run goes on all the same.
func TestUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"start"}, {"expire", "--what"}, {"status", "x"}} {
		var out, log bytes.Buffer
		if code := command(args, &out, &log); code != 2 || !strings.Contains(log.String(), "usage: tidegate-launch") {
			t.Errorf("%q: status %d, %q", args, code, log.String())
		}
	}
	g := newGateway(t)
	run := func(option string) (string, error) {
		c := exec.CommandContext(t.Context(), os.Args[0], "run", "--lib", g.lib, "--state", g.state, option, "--", "-c", "echo runs")
		c.Env = append(os.Environ(), "TIDEGATE_LAUNCH_TEST=1")
		out, err := c.Output()
		return string(out), err
	}
	if out, err := run("--what"); out != "runs\n" || err != nil {
		t.Errorf("an option that is not known: got %q, %v", out, err)
	}
	if out, err := run("--help"); out != "" || err == nil || err.Error() != "exit status 2" {
		t.Errorf("--help: got %q, %v", out, err)
	}
}

// TestExpireFails: where nothing can be written it says so, by its status.
func TestExpireFails(t *testing.T) {
	g := newGateway(t)
	g.state = filepath.Join(g.lib, "release.json") // a file
	var out, log bytes.Buffer
	if code := command([]string{"expire", "--state", g.state, "--lib", g.lib}, &out, &log); code != 1 || log.Len() == 0 {
		t.Errorf("status %d, %q, %q", code, out.String(), log.String())
	}
}
