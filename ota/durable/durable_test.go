package durable_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/tidegate-io/tidegate/ota/durable"
)

var errStop = errors.New("stopped")

// recorder is a Disk that writes down its steps, and stops before the one numbered stop, from 0; -1 = never.
func recorder(dir string, stop int) (durable.Disk, *[]string) {
	steps := &[]string{}
	return durable.Disk{Step: func(what, path string) error {
		if stop >= 0 && len(*steps) >= stop {
			return errStop
		}
		*steps = append(*steps, what+" "+strings.TrimPrefix(strings.TrimPrefix(path, dir), "/"))
		return nil
	}}, steps
}

// TestOrder: nothing is renamed before it is synced, and nothing is said to be done before the folder is.
func TestOrder(t *testing.T) {
	tests := map[string]struct {
		do   func(d durable.Disk, dir string) error
		want []string
	}{
		"write": {
			func(d durable.Disk, dir string) error { return d.WriteFile(dir+"/x", []byte("new"), 0o640) },
			[]string{"write x.new", "sync x.new", "rename x", "syncdir "},
		},
		"link": {
			func(d durable.Disk, dir string) error { return d.Symlink("a", dir+"/x") },
			[]string{"symlink x.new", "rename x", "syncdir "},
		},
		"remove": {
			func(d durable.Disk, dir string) error {
				return errors.Join(os.WriteFile(dir+"/x", nil, 0o600), d.Remove(dir+"/x"), d.SyncDir(dir))
			},
			[]string{"remove x", "syncdir ", "syncdir "},
		},
		"remove nothing": {func(d durable.Disk, dir string) error { return d.Remove(dir + "/x") }, []string{"remove x"}},
		"sync": {
			func(d durable.Disk, dir string) error {
				return errors.Join(os.WriteFile(dir+"/x", nil, 0o600), d.Sync(dir+"/x"))
			},
			[]string{"sync x"},
		},
		"folders": {
			func(d durable.Disk, dir string) error { return d.Mkdir(dir + "/x/y") },
			[]string{"syncdir " + "UP", "mkdir x", "syncdir ", "mkdir x/y", "syncdir x"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			d, steps := recorder(dir, -1)
			if err := tt.do(d, dir); err != nil {
				t.Fatal(err)
			}
			for i, s := range *steps {
				if s == "syncdir "+strings.TrimPrefix(filepath.Dir(dir), "/") || s == "syncdir "+filepath.Dir(dir) {
					(*steps)[i] = "syncdir UP"
				}
			}
			if !slices.Equal(*steps, tt.want) {
				t.Errorf("steps %q, want %q", *steps, tt.want)
			}
		})
	}
}

// TestWriteFileStops: wherever it ends, the file holds what it held or what was written, and an error says that it ended.
func TestWriteFileStops(t *testing.T) {
	for stop := range 4 {
		path := filepath.Join(t.TempDir(), "x")
		if err := durable.WriteFile(path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		d, _ := recorder("", stop)
		if err := d.WriteFile(path, []byte("new"), 0o600); !errors.Is(err, errStop) {
			t.Errorf("stopped before step %d: %v", stop, err)
		}
		want := "old"
		if stop == 3 {
			want = "new"
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != want {
			t.Errorf("stopped before step %d: got %q, %v, want %q", stop, b, err, want)
		}
	}
}

func TestWriteFileOverWhatIsLeft(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	dir := t.TempDir()
	path, other := filepath.Join(dir, "x"), filepath.Join(dir, "other")
	left := durable.Temporary(path)
	plant := map[string]func() error{
		"nothing":   func() error { return nil },
		"half":      func() error { return os.WriteFile(left, []byte("much longer than what is written"), 0o600) },
		"read-only": func() error { return os.WriteFile(left, []byte("x"), 0o400) },
		"link":      func() error { return errors.Join(os.WriteFile(other, []byte("mine"), 0o600), os.Symlink(other, left)) },
		"pipe":      func() error { return syscall.Mkfifo(left, 0o600) },
	}
	for name, put := range plant {
		if err := errors.Join(put(), durable.WriteFile(path, []byte(name), 0o640)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		b, err := os.ReadFile(path)
		if st, statErr := os.Lstat(path); err != nil || statErr != nil || string(b) != name || st.Mode() != 0o640 {
			t.Errorf("%s: got %q, %v, %v", name, b, st, errors.Join(err, statErr))
		}
		if _, err := os.Lstat(left); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %s is still there", name, left)
		}
	}
	if b, _ := os.ReadFile(other); string(b) != "mine" {
		t.Errorf("the link was followed: %q", b)
	}
}

// TestErrors: what cannot be done is said, changes nothing, and leaves nothing behind.
func TestErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	full := durable.Disk{Step: func(what, _ string) error {
		if what == "sync" {
			return syscall.ENOSPC
		}
		return nil
	}}
	for name, err := range map[string]error{
		"write below a file":   durable.WriteFile(file+"/x", nil, 0o600),
		"link below a file":    durable.Disk{}.Symlink("a", file+"/x"),
		"folder below a file":  durable.Mkdir(file + "/x"),
		"folder over a file":   durable.Mkdir(file),
		"remove below a file":  durable.Remove(file + "/x"),
		"rename of nothing":    durable.Rename(dir+"/none", dir+"/x"),
		"sync of no folder":    durable.SyncDir(dir + "/none"),
		"sync of nothing":      durable.Disk{}.Sync(dir + "/none"),
		"write to a full disk": full.WriteFile(file, []byte("new"), 0o600),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	left, err := os.ReadDir(dir)
	if b, _ := os.ReadFile(file); err != nil || string(b) != "x" || len(left) != 1 {
		t.Errorf("got %q and %v, want the file as it was and nothing beside it", b, left)
	}
}

func TestSymlink(t *testing.T) {
	path := filepath.Join(t.TempDir(), "current")
	for _, to := range []string{"a", "b"} {
		if err := os.WriteFile(durable.Temporary(path), nil, 0o600); err != nil { // what a cut left
			t.Fatal(err)
		}
		if err := (durable.Disk{}).Symlink(to, path); err != nil {
			t.Fatal(err)
		}
		if got, err := os.Readlink(path); got != to || err != nil {
			t.Errorf("leads to %q, %v, want %q", got, err, to)
		}
	}
	for stop := range 3 {
		d, _ := recorder("", stop)
		_ = d.Symlink("a", path)
		want := "b"
		if stop == 2 {
			want = "a"
		}
		if got, _ := os.Readlink(path); got != want {
			t.Errorf("stopped before step %d: leads to %q, want %q", stop, got, want)
		}
	}
}

func TestMkdirIsForTheOwnerOnly(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		if err := durable.Mkdir(dir + "/x/y/"); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"/x", "/x/y"} {
		if st, err := os.Stat(dir + path); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", path, st, err)
		}
	}
}
