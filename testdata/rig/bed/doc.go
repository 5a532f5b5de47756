// Package bed is what the rigs share: the programs under test as processes of their own, a far end that keeps the truth (meters
// whose replies carry running numbers), mosquitto, disks in images, and the account by running number.
//
// The process that is killed is never asked what it had: what was answered is known by the meters, what arrived by the receiver's
// files or by a tap on the wire.
package bed

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Root returns the top of the tree.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..")
}

// Results returns where rigs leave what they have measured, for RELIABILITY.md.
func Results() string { return filepath.Join(Root(), "work", "reliability") }

// Programs are the programs under test, built from this tree.
type Programs struct{ Gateway, Receiver string }

// Build builds them into dir, without cgo as they ship. Where TIDEGATE_BIN names a directory those in it are taken as they are, to try a
// release that is built already.
func Build(dir string) (Programs, error) {
	if bin := os.Getenv("TIDEGATE_BIN"); bin != "" {
		return Programs{filepath.Join(bin, "tidegate"), filepath.Join(bin, "tidegate-receive")}, nil
	}
	c := exec.Command("go", "build", "-o", dir+"/", "./cmd/tidegate", "./cmd/tidegate-receive")
	c.Dir = Root()
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return Programs{}, fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return Programs{filepath.Join(dir, "tidegate"), filepath.Join(dir, "tidegate-receive")}, nil
}

// Compile builds the program of a package of this tree as releases are built, into the file to; set are variables of its main, NAME=VALUE.
func Compile(pkg, to string, set ...string) error { return CompileFor(runtime.GOARCH, pkg, to, set...) }

// CompileFor is Compile for another architecture. For arm it is v6, which runs on every 32-bit board.
func CompileFor(arch, pkg, to string, set ...string) error {
	flags := []string{"-s", "-w"}
	for _, s := range set {
		flags = append(flags, "-X main."+s)
	}
	c := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", strings.Join(flags, " "), "-o", to, pkg)
	c.Dir = Root()
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch, "GOARM=6")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s for %s: %w\n%s", pkg, arch, err, out)
	}
	return nil
}

// Main builds the programs, runs the tests of m and returns the exit status; into is where the tests find the programs.
func Main(m interface{ Run() int }, into *Programs) int {
	dir, err := os.MkdirTemp("", "tidegate-rig-")
	if err == nil {
		*into, err = Build(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// Need fails the test with what to install where a program is missing, and returns its path.
func Need(t testing.TB, program, pkg string) string {
	t.Helper()
	for _, name := range []string{program, "/usr/sbin/" + program, "/sbin/" + program} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatalf("%s is missing; install it: apt-get install %s", program, pkg)
	return ""
}

// Dir makes a directory with a short path (a unix socket's has at most 108 bytes), on the disk or, with tmpfs, in memory. It is
// removed when the test went well, and named when it did not.
func Dir(t testing.TB, tmpfs bool) string {
	t.Helper()
	parent := ""
	if tmpfs {
		parent = "/dev/shm"
	}
	dir, err := os.MkdirTemp(parent, "tgrig-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() && !tmpfs {
			t.Logf("what is left of it: %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Wait waits until there reports true, at most for patience.
func Wait(t testing.TB, what string, patience time.Duration, there func() bool) {
	t.Helper()
	for start := time.Now(); !there(); time.Sleep(20 * time.Millisecond) {
		if time.Since(start) > patience {
			t.Fatalf("%s: not after %v", what, patience)
		}
	}
}

// A Process is a program under test or a part from another project.
type Process struct {
	Name string
	Cmd  *exec.Cmd
	Log  string // file with what it writes to standard error (and output, where that is not taken)
	Out  bytes.Buffer

	t    testing.TB
	done chan struct{}
	err  error
}

// Start starts a program with its log in file log. What it writes to standard output is kept in Out with takeOut, else goes to the log.
// It is killed with the test.
func Start(t testing.TB, name, log string, takeOut bool, env []string, argv ...string) *Process {
	t.Helper()
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() // the child has its own descriptor
	p := &Process{Name: name, Log: log, t: t, done: make(chan struct{})}
	p.Cmd = exec.Command(argv[0], argv[1:]...)
	p.Cmd.Env = append(os.Environ(), env...)
	p.Cmd.Stdout, p.Cmd.Stderr = f, f
	if takeOut {
		p.Cmd.Stdout = &p.Out
	}
	p.Cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.Cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() { p.err = p.Cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		if p.Kill() && t.Failed() {
			t.Logf("%s said at last:\n%s", name, p.Tail())
		}
	})
	return p
}

// Pid returns the process's number.
func (p *Process) Pid() int { return p.Cmd.Process.Pid }

// Ended reports whether the process has ended by itself or by us.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Signal sends a signal.
func (p *Process) Signal(s syscall.Signal) {
	if err := p.Cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("signal %v to %s: %v", s, p.Name, err)
	}
}

// Kill ends the process by SIGKILL and waits; it reports whether the process was still there.
func (p *Process) Kill() (was bool) {
	was = !p.Ended()
	_ = p.Cmd.Process.Kill() // gone already is as good
	<-p.done
	return was
}

// Terminate ends the process by SIGTERM; another end than with exit status 0 fails the test.
func (p *Process) Terminate(patience time.Duration) {
	p.t.Helper()
	p.Signal(syscall.SIGTERM)
	if code := p.WaitExit(patience); code != 0 {
		p.t.Errorf("%s ended with status %d after SIGTERM: %v\n%s", p.Name, code, p.err, p.Tail())
	}
}

// WaitExit waits for the end and returns the exit status, -1 for an end by a signal.
func (p *Process) WaitExit(patience time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("%s has not ended after %v\n%s", p.Name, patience, p.Tail())
	}
	return p.Cmd.ProcessState.ExitCode()
}

// Text returns all of the log.
func (p *Process) Text() string {
	b, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Tail returns the last lines of the log.
func (p *Process) Tail() string {
	s := p.Text()
	return s[max(0, len(s)-6000):]
}
