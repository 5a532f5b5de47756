package external

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
)

// example returns the settings for a program of etc/examples.
func example(t *testing.T, mode string, command ...string) *Config {
	t.Helper()
	dir, err := filepath.Abs("../../etc/examples")
	if err != nil {
		t.Fatal(err)
	}
	c := Driver.New().(*Config)
	c.Mode, c.Dir, c.Command = mode, dir, command
	return c
}

func TestExampleThermometer(t *testing.T) {
	probe := filepath.Join(t.TempDir(), "temperature")
	if err := os.WriteFile(probe, []byte("21375\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := example(t, modeTalk, "/usr/bin/python3", "thermometer.py", probe, "0.01")
	c.List = []Channel{{Name: "temp", Type: typeNumber, Unit: "Cel"}}
	d := open(t, c)
	if got := show(readFor(t, d, 10*time.Second)); got != "temp=21.375Cel" {
		t.Fatalf("got %s", got)
	}
	if err := os.Remove(probe); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("temp: [Errno 2] No such file or directory: '%s'", probe)
	got := ""
	for end := time.Now().Add(10 * time.Second); got != want && time.Now().Before(end); {
		got = show(readFor(t, d, 10*time.Second))
	}
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestExampleFolder(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := example(t, modeOnce, "/bin/sh", "folder.sh", dir)
	c.List = []Channel{{Name: "waiting", Type: typeInteger}, {Name: "disk_used", Type: typeNumber, Unit: "/100"}}
	rs, err := readFor(t, open(t, c), 10*time.Second)
	if err != nil || len(rs) != 2 || rs[0].Value != tidegate.Int(3) || rs[1].Fault != "" {
		t.Fatalf("got %s", show(rs, err))
	}
	if f, _ := rs[1].Value.Number(); f < 0 || f > 100 {
		t.Errorf("disk is used to %v %%", f)
	}
	c.Command[2] = filepath.Join(dir, "none")
	if rs, err := readFor(t, open(t, c), 10*time.Second); err == nil || !strings.HasPrefix(err.Error(), "program sh folder.sh has ended: exit status 2; its last words: ") {
		t.Errorf("got %s", show(rs, err))
	}
}

func TestExampleRelay(t *testing.T) {
	c := example(t, modePoll, "/usr/bin/python3", "relay.py")
	c.List = []Channel{{Name: "relay", Type: typeBool, Output: true}, {Name: "changes", Type: typeInteger}}
	d := open(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got := show(readFor(t, d, 10*time.Second))
	for _, on := range []bool{true, true, false} {
		if err := (setter{d}).Set(ctx, "relay", tidegate.Bool(on)); err != nil {
			t.Fatal(err)
		}
		got += "; " + show(readFor(t, d, 10*time.Second))
	}
	if want := "relay=false, changes=0; relay=true, changes=1; relay=true, changes=1; relay=false, changes=2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestExamplesAreShort keeps the promise of "a driver in 15 lines", and the README's text of the examples theirs.
func TestExamplesAreShort(t *testing.T) {
	files, err := filepath.Glob("../../etc/examples/*.[ps][yh]")
	if err != nil || len(files) != 3 {
		t.Fatalf("%v %v", files, err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(b), "\n"); n > 15 {
			t.Errorf("%s has %d lines, want 15 at most", path, n)
		}
		if !strings.Contains(string(readme), "\n"+string(b)+"```\n") {
			t.Errorf("README.md does not have the text of %s", path)
		}
	}
}
