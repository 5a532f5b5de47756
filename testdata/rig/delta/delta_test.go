// Package delta measures what deltas between real programs cost: bytes on the way, time, and memory of the gateway that applies them.
package delta

import (
	"bytes"
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/ota/delta"
)

var pairs = flag.Int("pairs", 0, "measure the deltas of so many commits of this repository, built for linux/arm64")

// TestMain is the gateway's part too: a process that applies one frame and says how much memory it took.
func TestMain(m *testing.M) {
	if frame := os.Getenv("TIDEGATE_RIG_FRAME"); frame != "" {
		if err := apply(frame, os.Getenv("TIDEGATE_RIG_OLD"), os.Getenv("TIDEGATE_RIG_OUT"), os.Getenv("TIDEGATE_RIG_LENGTH")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	os.Exit(m.Run())
}

func apply(frame, old, out, length string) error {
	n, err := strconv.ParseInt(length, 10, 64)
	if err != nil {
		return err
	}
	var dictionary []byte
	if old != "" {
		if dictionary, err = os.ReadFile(old); err != nil {
			return err
		}
	}
	src, err := os.Open(frame)
	if err != nil {
		return err
	}
	dst, err := os.Create(out)
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := delta.Apply(dst, src, dictionary, n); err != nil {
		return err
	}
	fmt.Println(time.Since(begin).Milliseconds())
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); fields[0] == "VmHWM:" {
			fmt.Println(fields[1])
		}
	}
	return nil
}

// A cost is what one frame takes.
type cost struct {
	bytes       int
	made, apply time.Duration
	peak        int // resident memory of the process that applied it, in bytes
}

// measure makes the frame of program with old, applies it in a process of its own and compares what comes out.
func measure(t *testing.T, old, program []byte) cost {
	t.Helper()
	dir := t.TempDir()
	begin := time.Now()
	frame, err := delta.Make(old, program)
	if err != nil {
		t.Fatal(err)
	}
	c := cost{bytes: len(frame), made: time.Since(begin)}
	paths := map[string]string{"FRAME": filepath.Join(dir, "frame"), "OUT": filepath.Join(dir, "out"), "OLD": ""}
	if len(old) > 0 {
		paths["OLD"] = filepath.Join(dir, "old")
		if err := os.WriteFile(paths["OLD"], old, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(paths["FRAME"], frame, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0])
	child.Env = append(os.Environ(), fmt.Sprintf("TIDEGATE_RIG_LENGTH=%d", len(program)))
	for name, path := range paths {
		child.Env = append(child.Env, "TIDEGATE_RIG_"+name+"="+path)
	}
	said, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	var ms, kib int
	if _, err := fmt.Sscan(string(said), &ms, &kib); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	c.apply, c.peak = time.Duration(ms)*time.Millisecond, kib<<10
	out, err := os.ReadFile(paths["OUT"])
	if err != nil || sha256.Sum256(out) != sha256.Sum256(program) {
		t.Fatalf("got %d other bytes, want %d, %v", len(out), len(program), err)
	}
	if c.peak > 3*len(program) {
		t.Errorf("applied with %d bytes of memory, want at most three times the program's %d", c.peak, len(program))
	}
	return c
}

func (c cost) String() string {
	return fmt.Sprintf("%8d bytes, made in %5.1f s, applied in %4d ms with %4.1f MiB", c.bytes, c.made.Seconds(), c.apply.Milliseconds(), float64(c.peak)/(1<<20))
}

// TestMemoryOfApply holds a whole program of this build, and one with a function put in, to three times the program's size.
func TestMemoryOfApply(t *testing.T) {
	bin := os.Getenv("TIDEGATE_BIN")
	if bin == "" {
		t.Fatal("TIDEGATE_BIN is not set: run make build, and this with TIDEGATE_BIN=bin")
	}
	program, err := os.ReadFile(filepath.Join(bin, "tidegate"))
	if err != nil {
		t.Fatal(err)
	}
	next := slices.Concat(program[:len(program)/3], bytes.Repeat([]byte("new code"), 200), program[len(program)/3:])
	fmt.Printf("delta: program %d bytes\n", len(next))
	full, changed := measure(t, nil, next), measure(t, program, next)
	fmt.Printf("delta: full  %v\ndelta: delta %v\n", full, changed)
	if changed.bytes > full.bytes/100 {
		t.Errorf("got %d bytes for 1,600 put in, full program %d", changed.bytes, full.bytes)
	}
}

// TestDeltaOfRealCommits: a delta is at most a tenth of the compressed program, median over commits that changed the program.
func TestDeltaOfRealCommits(t *testing.T) {
	if *pairs == 0 {
		return // make delta
	}
	tree := filepath.Join(t.TempDir(), "tree")
	run(t, "../../..", nil, "git", "worktree", "add", "--detach", tree)
	defer run(t, "../../..", nil, "git", "worktree", "remove", "--force", tree)
	list := run(t, tree, nil, "git", "log", "--first-parent", "--format=%H", "-n", strconv.Itoa(*pairs), "--",
		"agent", "buffer", "cmd/tidegate", "drivers", "rules", "sync/forward", "sync/mqtt", "sync/wire", ":!*_test.go", ":!*.md", ":!**/testdata")
	commits := strings.Fields(list)
	if len(commits) != *pairs {
		t.Fatalf("got %d commits, want %d", len(commits), *pairs)
	}
	built := map[string][]byte{}
	build := func(commit string) []byte {
		if built[commit] == nil {
			run(t, tree, nil, "git", "checkout", "-q", commit)
			out := filepath.Join(t.TempDir(), "tidegate")
			version := strings.TrimSpace(run(t, tree, nil, "git", "describe", "--tags", "--always"))
			run(t, tree, []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=arm64"}, "go", "build", "-trimpath", "-buildvcs=false",
				"-ldflags", "-s -w -X main.version="+version+" -X main.commit="+commit, "-o", out, "./cmd/tidegate")
			b, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			built[commit] = b
		}
		return built[commit]
	}
	var shares []float64
	for _, commit := range commits {
		parent := strings.TrimSpace(run(t, tree, nil, "git", "rev-parse", commit+"^"))
		old, program := build(parent), build(commit)
		full, changed := measure(t, nil, program), measure(t, old, program)
		share := float64(changed.bytes) / float64(full.bytes) * 100
		shares = append(shares, share)
		fmt.Printf("delta: %.12s program %d bytes\ndelta:   full  %v\ndelta:   delta %v, %.2f %% of full\n", commit, len(program), full, changed, share)
	}
	slices.Sort(shares)
	median := shares[len(shares)/2]
	fmt.Printf("delta: median %.2f %% of the full program, over %d commits\n", median, len(shares))
	if median > 10 {
		t.Errorf("got a median of %.2f %%, want at most 10 %%", median)
	}
}

func run(t *testing.T, dir string, env []string, argv ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, argv[0], argv[1:]...)
	c.Dir, c.Env = dir, append(os.Environ(), env...)
	var errs bytes.Buffer
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", argv, err, errs.String())
	}
	return string(out)
}
