package disk

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

// TestTailLost has a store's log lose something: as a power cut does it, which takes of the last transaction what it likes, and otherwise.
func TestTailLost(t *testing.T) {
	base := tmpfs.Dir(t)
	o := Options{Dir: base, Compactors: 0, Version: "test", Log: slog.New(slog.DiscardHandler)}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	path, ends := "", []int{logHead}
	for i := range 6 {
		var set []Pair
		for j := range 3 {
			set = append(set, Pair{[]byte(fmt.Sprintf("f%d-%d", i, j)), make([]byte, 3000)})
		}
		if err := s.Write(set, nil); err != nil {
			t.Fatal(err)
		}
		list, err := filepath.Glob(filepath.Join(base, "buffer", "*.mem"))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list {
			if b, err := os.ReadFile(p); err == nil && len(b) > 0 {
				path = p
				end, version := logEnd(b)
				if version == 0 {
					t.Fatalf("log of %d bytes has no transaction", len(b))
				}
				ends = append(ends, end)
			}
		}
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	n := len(ends) - 1
	if n != 6 || len(whole) != 2*memTable {
		t.Fatalf("ends are %v, log has %d bytes", ends, len(whole))
	}
	flip := func(at int) func([]byte) []byte { return func(b []byte) []byte { b[at] ^= 4; return b } }
	for name, tt := range map[string]struct {
		change func([]byte) []byte
		lost   bool
	}{
		"whole":                        {func(b []byte) []byte { return b }, false},
		"last one torn":                {func(b []byte) []byte { clear(b[ends[n-1]+2000 : ends[n]]); return b }, false},
		"last one's first page gone":   {func(b []byte) []byte { clear(b[ends[n-1] : ends[n-1]+3100]); return b }, false},
		"last one gone":                {func(b []byte) []byte { clear(b[ends[n-1]:ends[n]]); return b }, false},
		"read and not written since":   {func(b []byte) []byte { return b[:ends[n]] }, false},
		"a bit of the one before":      {flip(ends[n-2] + 100), true},
		"a bit of the first":           {flip(ends[0] + 100), true},
		"the length of the one before": {flip(ends[n-2] + 2), true},
		"a page of the second":         {func(b []byte) []byte { clear(b[ends[1] : ends[1]+4096]); return b }, true},
		"cut in the third":             {func(b []byte) []byte { return b[:ends[2]+50] }, true},
		"cut in the last":              {func(b []byte) []byte { return b[:ends[n]-50] }, true},
		"garbage behind":               {func(b []byte) []byte { copy(b[ends[n]:], "garbage that is no entry at all"); return b }, false},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "00001.mem"), tt.change(slices.Clone(whole)), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := tailLost(dir); got != tt.lost || err != nil {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, tt.lost)
		}
	}
	for name, size := range map[string]int{"no log": -1, "a spare only": 0} {
		dir := t.TempDir()
		if size == 0 {
			if err := os.WriteFile(filepath.Join(dir, "00002.mem"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := tailLost(dir); !got || err != nil {
			t.Errorf("%s: got %v, %v, want true", name, got, err)
		}
	}
}
