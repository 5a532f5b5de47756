package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tidegate-io/tidegate/drivers/board/pty"
	"github.com/tidegate-io/tidegate/ota/publish/program"
	"github.com/tidegate-io/tidegate/ota/publish/program/programtest"
)

// TestMain lets the test's own binary be the program, whose keys take little work.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"tidegate-release": func() { os.Exit(run(tool{out: os.Stdout, log: os.Stderr, now: now, work: 4})) },
	})
}

// now is the time, or what the script says.
func now() time.Time {
	at, err := time.Parse(time.RFC3339, os.Getenv("NOW"))
	if err != nil {
		return time.Now()
	}
	return at
}

// TestScript runs the whole program: each file in testdata/script is a story.
func TestScript(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			phrase := os.WriteFile(filepath.Join(e.WorkDir, "phrase"), []byte("correct horse battery\nsecond line\n"), 0o600)
			return errors.Join(phrase, build(filepath.Join(e.WorkDir, "1"), 1), build(filepath.Join(e.WorkDir, "2"), 2), build(filepath.Join(e.WorkDir, "3"), 3))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// exits N PROGRAM [ARG...]: the program ends with that status, and without a stack trace.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N PROGRAM [ARG...]")
	}
	got, err := 0, ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("%s ended with status %d, want %s", strings.Join(args[1:], " "), got, args[0])
	}
	for _, stream := range []string{"stdout", "stderr"} {
		if s := ts.ReadFile(stream); regexp.MustCompile(`(?m)^(panic|goroutine \d|fatal error)`).MatchString(s) {
			ts.Fatalf("stack trace:\n%s", s)
		}
	}
}

// build makes the programs of a version in dir, as make cross does in dist.
func build(dir string, version uint64) error {
	random := rand.NewChaCha8([32]byte{})
	var err error
	for _, name := range []string{"linux-amd64", "linux-arm64", "linux-armv7", "linux-armv6"} {
		p, e := program.Find(name)
		body := make([]byte, 10000)
		_, _ = random.Read(body) // it never fails
		folder := filepath.Join(dir, name)
		err = errors.Join(err, e, os.MkdirAll(folder, 0o755),
			os.WriteFile(filepath.Join(folder, "tidegate"), programtest.Make(p.GOOS, p.GOARCH, p.GOARM, fmt.Appendf(body, "version %d", version)), 0o755))
	}
	return err
}

// TestGuide runs each command of the operator's guide in its order, in one folder, by a shell, with somebody at the terminal who knows
// the passphrases.
func TestGuide(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../../ota/publish/README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```\n").FindAllStringSubmatch(string(guide), -1)
	if len(blocks) < 15 {
		t.Fatalf("got %d blocks of commands, want 15", len(blocks))
	}
	dir := t.TempDir()
	run := map[string]bool{}
	for i, b := range blocks {
		if err := build(filepath.Join(dir, "dist"), uint64(i)); err != nil {
			t.Fatal(err)
		}
		out, screen := shell(t, dir, b[1])
		if strings.Contains(out+screen, phrase) {
			t.Errorf("a passphrase was shown by:\n%s\n%s\n%s", b[1], out, screen)
		}
		for _, m := range regexp.MustCompile(`tidegate-release ((?:keys |root )?[a-z]+)`).FindAllStringSubmatch(b[1], -1) {
			run[m[1]] = true
		}
	}
	for _, c := range (tool{}).command().Commands() {
		sub := c.Commands()
		if len(sub) == 0 && c.Name() != "discard" && !run[c.Name()] {
			t.Errorf("the guide does without %s", c.Name())
		}
	}
}

// phrase is how all passphrases begin.
const phrase = "correct horse of "

// phraseOf is the passphrase of a key.
func phraseOf(key string) string { return phrase + filepath.Base(key) }

// shell runs commands and returns what they print, and what is shown on the terminal where passphrases are asked for.
func shell(t *testing.T, dir, commands string) (out, screen string) {
	t.Helper()
	p, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	terminal, err := os.OpenFile(p.Path, os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	var shown bytes.Buffer
	var wait sync.WaitGroup
	wait.Go(func() { answer(p, &shown) })
	c := exec.CommandContext(t.Context(), "/bin/sh", "-euc", "stty sane\n"+commands) // a terminal that shows what is typed, as people have it
	c.Dir, c.Stdin = dir, terminal
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	b, err := c.CombinedOutput()
	if e := p.Master.Close(); e != nil {
		t.Error(e)
	}
	wait.Wait()
	if err != nil {
		t.Fatalf("%s\n%s\n%s\n%v", commands, b, &shown, err)
	}
	return string(b), shown.String()
}

// answer types passphrases where they are asked for, until the terminal is closed.
func answer(p *pty.Pair, shown *bytes.Buffer) {
	prompt := regexp.MustCompile(`(?:assphrase of ([^\s:,]+)[^:]*|(Once more)): $`)
	typed := ""
	for b := make([]byte, 4096); ; {
		n, err := p.Master.Read(b)
		shown.Write(b[:n])
		if m := prompt.FindSubmatch(shown.Bytes()); m != nil {
			if len(m[2]) == 0 {
				typed = phraseOf(string(m[1]))
			}
			shown.WriteByte('\n')
			if _, err := p.Master.WriteString(typed + "\n"); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
