package place

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// dead returns the number of a process that has ended.
func dead(t *testing.T) int {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^$")
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	return c.Process.Pid
}

// TestTake: a directory has one owner; what a process holds that a dead one has forked is waited for, for a while.
func TestTake(t *testing.T) {
	for name, tt := range map[string]struct {
		pid  int // that the lock names
		held time.Duration
		ok   bool
	}{
		"nobody":                             {0, 0, true},
		"a process that is alive":            {os.Getpid(), 300 * time.Millisecond, false},
		"one forked by a dead one":           {dead(t), 300 * time.Millisecond, true},
		"one forked by a dead one, for ever": {dead(t), time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if tt.held > 0 {
				f, err := os.Create(filepath.Join(dir, "lock"))
				if err != nil {
					t.Fatal(err)
				}
				if _, err = fmt.Fprintln(f, tt.pid); err == nil {
					err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
				}
				if err != nil {
					t.Fatal(err)
				}
				end := time.AfterFunc(tt.held, func() { _ = f.Close() })
				defer func() {
					if end.Stop() {
						_ = f.Close()
					}
				}()
			}
			c, err := Take(dir)
			if tt.ok {
				if err != nil {
					t.Fatal(err)
				}
				if err := c.Release(); err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), fmt.Sprintf("process %d has it", tt.pid)) {
				t.Errorf("got %v, want ErrRunning of process %d", err, tt.pid)
			}
		})
	}
}

// TestUsable: a directory can be used where files in it can be made, written and synced.
func TestUsable(t *testing.T) {
	dir := t.TempDir()
	if err := Usable(filepath.Join(dir, "new")); err != nil {
		t.Errorf("of a new one: %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Usable(file); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("of a file: got %v, want ENOTDIR", err)
	}
	if list, err := os.ReadDir(filepath.Join(dir, "new")); err != nil || len(list) != 1 {
		t.Errorf("left are %v (%v), want the lock", list, err)
	}
}

// TestSpace counts what a directory takes off what it may take.
func TestSpace(t *testing.T) {
	dir := t.TempDir()
	const most = 1 << 20
	if free, total, err := Space(dir, most); err != nil || total != most || free > most || free < most-64<<10 {
		t.Errorf("of an empty one %d of %d bytes are free (%v)", free, total, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "x"), make([]byte, 512<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Syncfs(syncfs(t, dir)); err != nil { // its blocks are given when it is written
		t.Fatal(err)
	}
	if free, _, err := Space(dir, most); err != nil || free > 512<<10 {
		t.Errorf("%d bytes are free beside 512 KB (%v)", free, err)
	}
}

func syncfs(t *testing.T, dir string) int {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return int(f.Fd())
}

// TestIsGone: a claim knows when its directory was deleted, or another one put there.
func TestIsGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	c, err := Take(dir)
	if err == nil {
		err = os.Mkdir(filepath.Join(dir, "buffer"), 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	want := func(what string, gone, other bool) {
		t.Helper()
		if g, o := c.IsGone(); g != gone || o != other {
			t.Errorf("%s: gone %v, another %v; want %v, %v", what, g, o, gone, other)
		}
	}
	want("as it was", false, false)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	want("deleted", true, false)
	o, err := Take(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer o.Release()
	want("another one", false, true)
}
