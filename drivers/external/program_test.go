package external

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest/conformance"
)

func testContext() context.Context { return context.Background() }

// settings are those of a program of this test's own. Its memory is not bounded: with -race it reserves all there is.
func settings(command ...string) *Config {
	c := Driver.New().(*Config)
	c.Command, c.Memory, c.Grace = append([]string{os.Args[0], asProgram}, command...), 0, 300*time.Millisecond
	c.List = []Channel{
		{Name: "n", Type: typeInteger}, {Name: "text", Type: typeText}, {Name: "level", Type: typeNumber, Output: true, Unit: "V"},
	}
	return c
}

func open(t *testing.T, c *Config) *device {
	t.Helper()
	d, err := c.Open(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	dev, ok := d.(*device)
	if s, isSetter := d.(setter); isSetter {
		dev, ok = s.device, true
	}
	if !ok {
		t.Fatalf("Open gives a %T", d)
	}
	t.Cleanup(func() { closeAll(t, dev) })
	return dev
}

// closeAll closes dev. On a machine that is busy with other things its program may take a moment more than Close waits.
func closeAll(t *testing.T, dev *device) {
	t.Helper()
	p := dev.proc
	err := dev.Close()
	if err == nil || p == nil {
		return
	}
	select {
	case <-p.ended:
	case <-time.After(10 * time.Second):
		t.Error(err)
	}
}

// readFor reads once, for at most d.
func readFor(t *testing.T, dev *device, d time.Duration) ([]tidegate.Reading, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	r, err := dev.Read(ctx)
	if took := time.Since(deadline(ctx)); took > 100*time.Millisecond {
		t.Errorf("Read ended %v after its ctx", took)
	}
	return slices.Clone(r), err
}

func deadline(ctx context.Context) time.Time {
	at, _ := ctx.Deadline()
	return at
}

// show returns readings as text.
func show(rs []tidegate.Reading, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	var out []string
	for _, r := range rs {
		s := r.Channel + "=" + r.Value.String() + r.Unit
		if r.Fault != "" {
			s = r.Channel + ": " + r.Fault
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

// self is what this test's binary is called in errors when it is a program.
func self(command string) string { return "program " + filepath.Base(os.Args[0]) + " " + command }

// TestNastyPrograms reads until the error that is expected comes, and bounds how much may come before.
func TestNastyPrograms(t *testing.T) {
	for name, tc := range map[string]struct {
		command []string
		set     func(*Config)
		want    string // the error
		before  int    // readings at most
	}{
		"ends at once": {
			command: []string{"exit", "3", "no such device"}, before: 1,
			want: self("exit") + ` has ended: exit status 3; its last words: "no such device"`,
		},
		"ends well, and should not": {
			command: []string{"exit", "0", ""}, before: 1,
			want: self("exit") + ` has ended: exit status 0; its last words: "some words before"; with mode talk it has to run on`,
		},
		"floods with lines": {
			command: []string{"flood"}, before: 10*100 + burstLines + ahead,
			want: self("flood") + " was stopped: it wrote more than 100 lines/s (lines)",
		},
		"floods without an end of line": {
			command: []string{"endless"}, before: 1,
			want: self("endless") + " was stopped: it wrote more than 100 lines/s (lines)",
		},
		"hangs": {
			command: []string{"hang"}, before: 1, set: func(c *Config) { c.Timeout = 300 * time.Millisecond },
			want: self("hang") + " was stopped: it wrote no line for 300ms (timeout)",
		},
		"closes its output but lives": {
			command: []string{"closes"}, before: 1,
			want: self("closes") + " was stopped: it closed its standard output",
		},
		"hangs and ignores SIGTERM": {
			command: []string{"deaf"}, before: 1, set: func(c *Config) { c.Timeout = 300 * time.Millisecond },
			want: self("deaf") + " was stopped: it wrote no line for 300ms (timeout)",
		},
		"does not answer": {
			command: []string{"silent"}, set: func(c *Config) { c.Mode, c.Timeout = modePoll, 300*time.Millisecond },
			want: self("silent") + " was stopped: it did not answer within 300ms (timeout)",
		},
		"does not end": {
			command: []string{"silent"}, set: func(c *Config) { c.Mode, c.Timeout, c.List[2].Output = modeOnce, 300*time.Millisecond, false },
			want: self("silent") + " was stopped: it did not end within 300ms (timeout)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := settings(tc.command...)
			if tc.set != nil {
				tc.set(c)
			}
			d := open(t, c)
			for n := 0; ; n++ {
				rs, err := readFor(t, d, 20*time.Second)
				if err != nil {
					if err.Error() != tc.want {
						t.Errorf("got  %v\nwant %s", err, tc.want)
					}
					break
				}
				if n > tc.before {
					t.Fatalf("Read %d: %s", n, show(rs, err))
				}
			}
			if d.proc != nil {
				t.Error("the program still runs")
			}
		})
	}
}

func TestBinaryLinesAreRefusedAndTheNextIsRead(t *testing.T) {
	d := open(t, settings("binary"))
	var got []string
	for range 6 {
		rs, err := readFor(t, d, 10*time.Second)
		got = append(got, show(rs, err))
		if strings.HasPrefix(got[len(got)-1], "n=") {
			break
		}
	}
	if last := got[len(got)-1]; last != "n=2" || !strings.HasPrefix(got[0], "line_fault: line is ") {
		t.Errorf("got %q", got)
	}
}

// TestProgramThatEatsMemory has Python allocate more than it may.
func TestProgramThatEatsMemory(t *testing.T) {
	c := settings()
	c.Command = []string{"/usr/bin/python3", "-c", "b = bytearray(64 << 20); print('{\"channel\":\"n\",\"value\":1}'); b = bytearray(256 << 20); print('{\"channel\":\"n\",\"value\":2}')"}
	c.Memory = 160
	d := open(t, c)
	if got := show(readFor(t, d, 10*time.Second)); got != "n=1" {
		t.Fatalf("got %s", got)
	}
	want := `error: program python3 has ended: exit status 1; its last words: "MemoryError"`
	if got := show(readFor(t, d, 10*time.Second)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// isAlive reports whether the process runs; one that is dead and was not waited for does not.
func isAlive(pid int64) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// mustDie waits until the process has ended.
func mustDie(t *testing.T, pid int64) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); isAlive(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			_ = syscall.Kill(int(pid), syscall.SIGKILL)
			t.Fatalf("process %d lives on", pid)
		}
	}
}

// number returns the number that one Read brings.
func readNumber(t *testing.T, d *device) int64 {
	t.Helper()
	rs, err := readFor(t, d, 10*time.Second)
	if err != nil || len(rs) != 1 || rs[0].Fault != "" {
		t.Fatalf("got %s", show(rs, err))
	}
	n, _ := rs[0].Value.Number()
	return int64(n)
}

// TestWhatTheProgramStartsEndsWithIt: the child keeps the pipes open, and the program ends by itself or is closed.
func TestWhatTheProgramStartsEndsWithIt(t *testing.T) {
	d := open(t, settings("fork"))
	child := readNumber(t, d)
	if !isAlive(child) {
		t.Fatal("the child does not run")
	}
	_ = d.proc.in.Close() // the program ends
	want := "error: " + self("fork") + " has ended: exit status 0; with mode talk it has to run on"
	if got := show(readFor(t, d, 10*time.Second)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	mustDie(t, child)
	child = readNumber(t, d)
	closeAll(t, d)
	mustDie(t, child)
}

// TestCloseKillsWhatDoesNotEnd: it ignores SIGTERM and the end of its standard input.
func TestCloseKillsWhatDoesNotEnd(t *testing.T) {
	d := open(t, settings("deaf"))
	pid := readNumber(t, d)
	start := time.Now()
	err := d.Close()
	if took := time.Since(start); took < closeGrace || took > 150*time.Millisecond {
		t.Errorf("Close took %v, want %v to 100ms", took, closeGrace)
	}
	if err == nil && isAlive(pid) {
		t.Error("the program lives on after Close")
	}
	mustDie(t, pid)
}

// TestProgramDiesWithTheGateway kills a gateway by SIGKILL, whose program ignores all else.
func TestProgramDiesWithTheGateway(t *testing.T) {
	cmd := exec.Command(os.Args[0], asProgram, "gateway", "deaf")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text, err := bufio.NewReader(out).ReadString('\n')
	pid, err2 := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil || err2 != nil || !isAlive(pid) {
		t.Fatalf("got %q: %v %v", text, err, err2)
	}
	time.Sleep(200 * time.Millisecond) // threads of the Go run-time system come and go
	if !isAlive(pid) {
		t.Error("the program has died before the gateway")
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	mustDie(t, pid)
}

// TestProgramOutlivesTheGoroutineThatStartedIt: the kernel's death signal comes with the end of a thread, not of a process.
func TestProgramOutlivesTheGoroutineThatStartedIt(t *testing.T) {
	d := open(t, settings("deaf"))
	var pid int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		pid = readNumber(t, d)
	}()
	<-done
	for range 50 {
		time.Sleep(4 * time.Millisecond)
		if !isAlive(pid) {
			t.Fatal("the program has died with the thread that called Read")
		}
	}
}

// TestEnvironmentIsTheProgramsOwn: nothing of the gateway's gets through.
func TestEnvironmentIsTheProgramsOwn(t *testing.T) {
	t.Setenv("CREDENTIALS_DIRECTORY", "/run/credentials/tidegate.service")
	c := settings("env")
	c.Env, c.Dir = map[string]string{"PROBE": "7", "LANG": "de_DE.UTF-8"}, t.TempDir()
	c.Command[0], _ = filepath.Abs(c.Command[0])
	want := "text=" + c.Dir + " LANG=de_DE.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin PROBE=7 PYTHONUNBUFFERED=1"
	if got := show(readFor(t, open(t, c), 10*time.Second)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestHundredStarts looks for descriptors, processes, threads' worth of goroutines that are left.
func TestHundredStarts(t *testing.T) {
	count := func(dir string) int {
		list, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	run := func(n int) {
		c := settings()
		c.Command, c.Starts = []string{"/bin/echo", `{"channel":"n","value":1}`}, 1000
		d := open(t, c)
		for range n {
			d.budget.reset()
			if got := readNumber(t, d); got != 1 {
				t.Fatalf("got %d", got)
			}
			if _, err := readFor(t, d, 10*time.Second); err == nil {
				t.Fatal("no error when the program has ended")
			}
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	run(1) // what Go opens once
	files, goroutines := count("/proc/self/fd"), runtime.NumGoroutine()
	run(100)
	if now := count("/proc/self/fd"); now > files {
		t.Errorf("%d descriptors are open, before it were %d", now, files)
	}
	for end := time.Now().Add(time.Second); runtime.NumGoroutine() > goroutines && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if now := runtime.NumGoroutine(); now > goroutines {
		t.Errorf("%d goroutines run, before it were %d", now, goroutines)
	}
	if _, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); !errors.Is(err, syscall.ECHILD) {
		t.Errorf("there are children left: %v", err)
	}
}

// TestChangedFileIsStartedAnew replaces the script of a counter, and counts the readings.
func TestChangedFileIsStartedAnew(t *testing.T) {
	c := settings()
	c.Dir, c.Command = t.TempDir(), []string{"/bin/sh", "./count.sh"}
	script := func(comment string) {
		text := fmt.Sprintf("#!/bin/sh\n# %s\nexec %s %s counter\n", comment, os.Args[0], asProgram)
		if err := os.WriteFile(filepath.Join(c.Dir, "new"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(c.Dir, "new"), filepath.Join(c.Dir, "count.sh")); err != nil {
			t.Fatal(err)
		}
	}
	script("first")
	d := open(t, c)
	last, end := readNumber(t, d), time.Now().Add(20*time.Second)
	script("second, longer")
	for {
		rs, err := readFor(t, d, 10*time.Second)
		got := show(rs, err)
		if got == fmt.Sprintf("text=last %d", last) {
			break
		}
		if last++; got != fmt.Sprintf("n=%d", last) || time.Now().After(end) {
			t.Fatalf("got %s after %d", got, last-1)
		}
	}
	if got := readNumber(t, d); got != 1 {
		t.Errorf("the new program begins with %d", got)
	}
	if len(d.budget.starts) != 1 {
		t.Errorf("%d starts count, want the new program's only", len(d.budget.starts))
	}
}

// TestRefusedFiles has programs that cannot be executed, or should not.
func TestRefusedFiles(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"open": 0o777, "plain": 0o644, "script": 0o755} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/no/such/interpreter\n"), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	for want, command := range map[string][]string{
		"program " + dir + "/open can be written by everybody (mode 0777), and would be executed as the gateway; chmod o-w " + dir + "/open":  {"./open"},
		"program " + dir + "/open can be written by everybody (mode 0777), and would be executed as the gateway; chmod o-w  " + dir + "/open": nil,
		"start program plain: fork/exec " + dir + "/plain: permission denied":                                                                 {"./plain"},
		"start program script: fork/exec " + dir + "/script: no such file or directory":                                                       {"./script"},
		"look at program: stat " + dir + "/none: no such file or directory":                                                                   {"./none"},
	} {
		if command == nil {
			want, command = strings.Replace(want, "o-w  ", "o-w ", 1), []string{"/bin/sh", "-u", "open"}
		}
		c := settings()
		c.Dir, c.Command = dir, command
		if _, err := readFor(t, open(t, c), 10*time.Second); err == nil || err.Error() != want {
			t.Errorf("%v: got %v, want %s", command, err, want)
		}
	}
}

func TestSet(t *testing.T) {
	d := open(t, settings("relay"))
	long := tidegate.Text(strings.Repeat("x", 5000))
	set := func(channel string, v tidegate.Value) string {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		return fmt.Sprint(setter{d}.Set(ctx, channel, v))
	}
	for _, tc := range []struct {
		channel string
		value   tidegate.Value
		want    string
	}{
		{"level", tidegate.Float(1.5), "<nil>"},
		{"level", tidegate.Int(-7), "<nil>"},
		{"level", tidegate.Float(1e21), "<nil>"},
		{"level", tidegate.Float(13), "set level to 13: " + self("relay") + " refuses: 13 is bad luck"},
		{"level", tidegate.Float(14), "set level to 14: " + self("relay") + " does not answer: context deadline exceeded"},
		{"level", tidegate.Text("x"), `set level: value is the text "x", want number`},
		{"level", tidegate.Bool(true), `set level: value is the yes/no "true", want number`},
		{"level", long, `set level: value is the text "` + strings.Repeat("x", 40) + `", want number`},
		{"level", tidegate.Value{}, "set level: value there is no value"},
		{"n", tidegate.Int(1), "set n: it is no output of this device"},
		{"none", tidegate.Int(1), "set none: it is no output of this device"},
	} {
		if got := set(tc.channel, tc.value); got != tc.want {
			t.Errorf("Set %s to %v: got %s, want %s", tc.channel, tc.value, got, tc.want)
		}
	}
	var got []string
	for range 3 {
		got = append(got, show(readFor(t, d, 10*time.Second)))
	}
	if g, want := strings.Join(got, ", "), "level=1.5V, level=-7V, level=1e+21V"; g != want {
		t.Errorf("read back %s, want %s", g, want)
	}
}

// TestSetOfProgramThatDoesNotRead fills the program's standard input: each Set says so in time, and none is sent in part.
func TestSetOfProgramThatDoesNotRead(t *testing.T) {
	c := settings("hang")
	c.List[2].Type = typeText
	d := open(t, c)
	if n := readNumber(t, d); n != 1 {
		t.Fatal(n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	v := tidegate.Text(strings.Repeat("x", 3000))
	want := "set level: write to " + self("hang") + " : it does not read its standard input: write |1: i/o timeout"
	for range 100 {
		err := setter{d}.Set(ctx, "level", v)
		if err == nil {
			t.Fatal("a Set without an answer went well")
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if err.Error() != strings.Replace(want, " :", ":", 1) {
				t.Errorf("got %v, want %s", err, want)
			}
			return
		}
	}
	t.Error("100 lines of 3 KB went into a pipe that nobody reads")
}

// TestConformance has the driver and real programs.
func TestConformanceOfRealPrograms(t *testing.T) {
	t.Run("sample", func(t *testing.T) { conformance.Run(t, Driver, conformance.Options{IsReal: true}) })
	t.Run("output", func(t *testing.T) {
		conformance.Run(t, Driver, conformance.Options{IsReal: true, Config: func() drivers.Config {
			c := settings("relay")
			c.Mode, c.List = modePoll, []Channel{{Name: "level", Type: typeInteger}, {Name: "relay", Type: typeBool, Output: true}}
			return c
		}})
	})
}
