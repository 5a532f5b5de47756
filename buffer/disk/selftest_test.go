package disk

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// testedOptions are those of a store that version "test" has tested.
func testedOptions(t *testing.T) Options {
	t.Helper()
	o := Options{Dir: t.TempDir(), Statfs: statfs, Compactors: 2, Version: "test", Log: slog.New(slog.DiscardHandler)}
	if err := os.WriteFile(filepath.Join(o.Dir, "selftest"), []byte("test\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestSelfTestFindsNothingAndIsMadeOnceForAVersion(t *testing.T) {
	o := testedOptions(t)
	mark := filepath.Join(o.Dir, "selftest")
	for _, x := range []struct {
		version string
		made    bool
	}{{"test", false}, {"1.0", true}, {"1.0", false}, {"", true}, {"", true}} {
		before, err := os.Stat(mark)
		if err != nil {
			t.Fatal(err)
		}
		o.Version = x.version
		if err := testOnce(&o); err != nil {
			t.Fatal(err)
		}
		after, err := os.Stat(mark)
		if err != nil {
			t.Fatal(err)
		}
		if made := !after.ModTime().Equal(before.ModTime()); made != x.made {
			t.Errorf("version %q: self-test made %v, want %v", x.version, made, x.made)
		}
	}
	list, err := os.ReadDir(o.Dir)
	if err != nil || len(list) != 1 {
		t.Errorf("left behind: %v (%v), want only the mark", list, err)
	}
}

func TestSelfTestWaitsForRoom(t *testing.T) {
	o := testedOptions(t)
	o.Version = "other"
	o.Statfs = func(string) (int64, int64, error) { return Reserve, 1 << 30, nil }
	if err := testOnce(&o); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(o.Dir, "selftest")); err != nil || strings.Contains(string(b), "other") {
		t.Errorf("mark is %q (%v), want that of the test before", b, err)
	}
}
