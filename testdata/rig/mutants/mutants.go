// Package mutants takes the checks out of the source, one at a time, and wants a test to see each: what no test sees might as well not be there.
// The tree is never touched. Go builds with an overlay (go help build) in which one file is another, and so does whatever a test builds.
//
// Areas names the checks, by tables in files of their own. mutants_test.go runs one of them, or all.
package mutants

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// An Area is a table of mutants.
type Area struct {
	Name    string
	Mutants []Mutant
}

// A Mutant is the source without one check.
type Mutant struct {
	Name     string // what is no longer refused or done: all that a person has to know
	File     string // below the root, with slashes
	Old, New string // Old stands in File just once
	Test     string // that sees it, as `go test -run` takes it
	Package  string // of Test, "" = that of File
	IsHang   bool   // Test is to stand still
}

// in sets the file of mutants.
func in(file string, list ...Mutant) []Mutant {
	for i := range list {
		list[i].File = file
	}
	return list
}

// never makes a condition false.
func never(name, condition, test string) Mutant {
	return Mutant{Name: name, Old: condition, New: "false && (" + condition + ")", Test: test}
}

// without takes code out.
func without(name, code, test string) Mutant { return instead(name, code, "", test) }

// instead puts other code there.
func instead(name, code, other, test string) Mutant {
	return Mutant{Name: name, Old: code, New: other, Test: test}
}

// of says that the test is one of another package than the check.
func (m Mutant) of(pkg string) Mutant {
	m.Package = pkg
	return m
}

// hang says that without the check the test stands still.
func (m Mutant) hang() Mutant {
	m.IsHang = true
	return m
}

func (m *Mutant) pkg() string { return cmp.Or(m.Package, path.Dir(m.File)) }

// source returns the mutant's file.
func (m *Mutant) source(root string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m.File)))
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(b, []byte(m.Old)); n != 1 {
		return nil, fmt.Errorf("%w: %s: got %q %d times, want once", ErrTable, m.File, m.Old, n)
	}
	return bytes.Replace(b, []byte(m.Old), []byte(m.New), 1), nil
}

// What a mutant is when no test has seen it.
var (
	ErrTable    = errors.New("the table is not of this source")
	ErrSurvived = errors.New("no test saw it")
	ErrBuild    = errors.New("does not build")
	ErrNoTest   = errors.New("no test ran")
	ErrHang     = errors.New("a test stood still, which is not said of it")
	ErrNoHang   = errors.New("no test stood still, which is said of it")
	ErrDied     = errors.New("the test program failed beside its tests")
	ErrBaseline = errors.New("the unchanged source has to pass")
)

// A Bench runs tests of one module, changed or not.
type Bench struct {
	Root     string        // of the module
	Patience time.Duration // for one test program; building one may take buildTime
}

const buildTime = 5 * time.Minute

// Try runs the mutant's test and returns the test that failed.
func (b *Bench) Try(ctx context.Context, m *Mutant) (test string, err error) {
	source, err := m.source(b.Root)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "tidegate-mutant-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	changed, overlay := filepath.Join(dir, path.Base(m.File)), filepath.Join(dir, "overlay.json")
	list, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(b.Root, filepath.FromSlash(m.File)): changed}})
	if err := errors.Join(err, os.WriteFile(changed, source, 0o600), os.WriteFile(overlay, list, 0o600)); err != nil {
		return "", err
	}
	r, err := b.run(ctx, m, "-overlay="+overlay)
	if err != nil {
		return "", err
	}
	test, err = r.judge()
	switch {
	case r.hung && m.IsHang:
		return test, nil
	case m.IsHang && err == nil:
		return "", fmt.Errorf("%w: %s failed", ErrNoHang, test)
	case err == nil && test == "":
		err = ErrSurvived
	}
	if err != nil {
		return "", fmt.Errorf("%w: -run '%s' ./%s\n%s", err, m.Test, m.pkg(), r.tail())
	}
	return test, nil
}

// Baseline wants tests of a package, as -run takes them, to run and pass on the source as it is.
func (b *Bench) Baseline(ctx context.Context, pkg string, tests ...string) error {
	var outer []string
	for _, t := range tests {
		if name, _, _ := strings.Cut(t, "/"); !slices.Contains(outer, name) {
			outer = append(outer, name)
		}
	}
	all := Mutant{Test: "^(" + strings.Join(outer, "|") + ")$", Package: pkg}
	r, err := b.run(ctx, &all)
	if err != nil {
		return err
	}
	test, err := r.judge()
	for _, name := range outer {
		if err == nil && test == "" && !slices.Contains(r.ran, name) {
			test, err = name, ErrNoTest
		}
	}
	if err == nil && test != "" {
		err = errors.New("it failed")
	}
	if err != nil {
		err = fmt.Errorf("%w: %s: %w: ./%s\n%s", ErrBaseline, test, err, pkg, r.tail())
	}
	return err
}

// A run is what came of one `go test`.
type run struct {
	ran, failed []string // tests, in order
	open        []string // of those that ran: what has not ended
	hung        bool
	unbuilt     bool
	passed      bool // all of it
	text        []string
}

// run runs the mutant's test. With an error nothing is known.
func (b *Bench) run(ctx context.Context, m *Mutant, flags ...string) (*run, error) {
	patience := b.Patience
	if m.IsHang {
		patience /= 4
	}
	ctx, cancel := context.WithTimeout(ctx, patience+buildTime)
	defer cancel()
	args := []string{"test", "-json", "-count=1", "-vet=off", "-ldflags=-s -w", "-failfast", "-run", m.Test, "-timeout", patience.String(), "./" + m.pkg()}
	if b.usesRapid(m.pkg()) { // the same histories each time, and no file left in the tree
		args = append(args, "-rapid.seed=1", "-rapid.nofailfile", "-rapid.shrinktime=1ms")
	}
	out, err := b.command(ctx, flags, args...)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("go %s: %w", strings.Join(args, " "), ctx.Err())
	}
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) {
		return nil, fmt.Errorf("go test: %w", err)
	}
	return read(out, err == nil), nil
}

// usesRapid says whether a package's tests know the flags of rapid.
func (b *Bench) usesRapid(pkg string) bool {
	files, _ := filepath.Glob(filepath.Join(b.Root, filepath.FromSlash(pkg), "*_test.go")) // the pattern is a good one
	return slices.ContainsFunc(files, func(f string) bool {
		text, err := os.ReadFile(f)
		return err == nil && bytes.Contains(text, []byte(`"pgregory.net/rapid"`))
	})
}

// command runs go, and ends what it has started where that takes too long.
func (b *Bench) command(ctx context.Context, flags []string, args ...string) ([]byte, error) {
	c := exec.CommandContext(ctx, "go", args...)
	c.Dir = b.Root
	c.Env = append(os.Environ(), "GOFLAGS="+strings.Join(append(strings.Fields(os.Getenv("GOFLAGS")), flags...), " "))
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = 10 * time.Second
	return c.CombinedOutput()
}

// read reads what `go test -json` says (cmd/test2json).
func read(out []byte, passed bool) *run {
	r := &run{passed: passed}
	for line := range strings.Lines(string(out)) {
		var e struct{ Action, Test, Output string }
		if json.Unmarshal([]byte(line), &e) != nil {
			e.Output = line // go itself, not the test
		}
		switch e.Action {
		case "build-fail":
			r.unbuilt = true
		case "run":
			r.ran, r.open = append(r.ran, e.Test), append(r.open, e.Test)
		case "fail":
			if e.Test != "" {
				r.failed = append(r.failed, e.Test)
			}
			fallthrough
		case "pass", "skip":
			r.open = slices.DeleteFunc(r.open, func(t string) bool { return t == e.Test })
		}
		if text := strings.TrimRight(e.Output, "\n"); text != "" {
			r.text = append(r.text, text)
		}
		r.hung = r.hung || strings.HasPrefix(e.Output, "panic: test timed out after")
	}
	return r
}

// judge returns the test that failed, or in which the program ended; "" = none, and some ran. Of a test and those within it, it is the innermost.
func (r *run) judge() (test string, err error) {
	failed := r.failed
	if len(failed) == 0 && !r.passed {
		failed = r.open
	}
	if len(failed) > 0 {
		test = failed[0]
		for _, f := range failed {
			if strings.HasPrefix(f, test+"/") {
				test = f
			}
		}
	}
	switch {
	case r.unbuilt:
		return "", ErrBuild
	case r.hung:
		return test, ErrHang
	case test == "" && !r.passed:
		return "", ErrDied
	case len(r.ran) == 0:
		return "", ErrNoTest
	}
	return test, nil
}

// tail is the end of what was said.
func (r *run) tail() string {
	const most = 30 // lines
	return strings.Join(r.text[max(0, len(r.text)-most):], "\n")
}
