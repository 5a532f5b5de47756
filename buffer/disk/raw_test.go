package disk

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// scraps returns the values under each key in dir that are not frames.
func scraps(t testing.TB, dir string) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	err := Scraps(dir, false, func(s Scrap) error {
		if !s.Deleted {
			out[string(s.Key)] = append(out[string(s.Key)], string(s.Value))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// store makes a store of 300 values, which stand in its log, or in a table where tables is set, and returns its folder.
func store(t testing.TB, tables bool) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "selftest"), []byte("test\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Dir: dir, Version: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		if err := s.Write([]Pair{{fmt.Appendf(nil, "m%03d", i), bytes.Repeat([]byte{byte(i)}, 4000)}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if !tables { // as a kill leaves it
		to := t.TempDir()
		if err := os.CopyFS(to, os.DirFS(filepath.Join(dir, "buffer"))); err != nil {
			t.Fatal(err)
		}
		dir = to
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if tables {
		return filepath.Join(dir, "buffer")
	}
	return dir
}

// TestScraps damages a table and a log at one place each: all but what stood there is found, and nothing else.
func TestScraps(t *testing.T) {
	whole := map[bool]string{false: store(t, false), true: store(t, true)}
	for name, tt := range map[string]struct {
		tables bool
		change func([]byte) []byte
		lost   int
	}{
		"log":                  {false, func(b []byte) []byte { return b }, 0},
		"log, length flipped":  {false, func(b []byte) []byte { b[logHead+4] ^= 64; return b }, 1},
		"log, values zeroed":   {false, func(b []byte) []byte { clear(b[100_000:112_000]); return b }, 4},
		"log, cut":             {false, func(b []byte) []byte { return b[:600_000] }, 153},
		"table":                {true, func(b []byte) []byte { return b }, 0},
		"table, footer zeroed": {true, func(b []byte) []byte { clear(b[len(b)-4:]); return b }, 0},
		"table, index zeroed":  {true, func(b []byte) []byte { clear(b[len(b)-500:]); return b }, 0},
		"table, cut":           {true, func(b []byte) []byte { return b[:len(b)-300_000] }, 108},
		"table, block's end":   {true, func(b []byte) []byte { return flipLast(b) }, 54},
		"table, empty":         {true, func([]byte) []byte { return nil }, 300},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(whole[tt.tables])); err != nil {
				t.Fatal(err)
			}
			pattern := "*.mem"
			if tt.tables {
				pattern = "*.sst"
			}
			list, err := filepath.Glob(filepath.Join(dir, pattern))
			list = slices.DeleteFunc(list, func(path string) bool { st, err := os.Stat(path); return err != nil || st.Size() == 0 })
			if err != nil || len(list) != 1 {
				t.Fatalf("files are %q (%v)", list, err)
			}
			b, err := os.ReadFile(list[0])
			if err == nil {
				err = os.WriteFile(list[0], tt.change(b), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			got := scraps(t, dir)
			for i := range 300 {
				key := fmt.Sprintf("m%03d", i)
				for _, v := range got[key] {
					if len(v) != 4004 && tt.lost == 0 {
						t.Errorf("value of %s has %d bytes, want 4004", key, len(v))
					}
				}
			}
			if n := 300 - len(got); n < min(tt.lost, 1) || n > tt.lost {
				t.Errorf("%d of 300 are lost, want up to %d", n, tt.lost)
			}
		})
	}
}

// flipLast damages how many entries the first block says that it has.
func flipLast(b []byte) []byte {
	list := carved(b)
	b[list[0].to-9] ^= 255
	b[list[0].to-12] ^= 255
	b[list[0].to-14] ^= 255
	return b
}

// FuzzScraps gives any bytes as a table and as a log: nothing may panic, and what is found lies in them.
func FuzzScraps(f *testing.F) {
	for _, tables := range []bool{false, true} {
		dir := store(f, tables)
		list, err := filepath.Glob(filepath.Join(dir, "0*"))
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range list {
			if b, err := os.ReadFile(path); err == nil && len(b) > 0 {
				f.Add(b[max(0, len(b)-5000):])
				f.Add(b[:min(9000, len(b))])
			}
		}
	}
	f.Add(append(make([]byte, 16), 0x87, 0x7f, 0, 0)) // a length beyond 31 bits, which is below 0 where int has 32
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, look := range []func([]byte, func(Scrap) error) error{tableScraps, logScraps, blockScraps} {
			err := look(b, func(s Scrap) error {
				if len(s.Key)+len(s.Value) > 2*len(b) {
					t.Errorf("key of %d and value of %d bytes in %d", len(s.Key), len(s.Value), len(b))
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
}
