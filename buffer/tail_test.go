package buffer

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/disk"
)

// logOf returns the log of the store in dir that takes transactions.
func logOf(t *testing.T, dir string) string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "buffer", "*.mem"))
	for _, path := range list {
		if st, e := os.Stat(path); e == nil && st.Size() > 0 {
			return path
		}
	}
	t.Fatalf("no log in %s (%v)", dir, err)
	return ""
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestTailLost: of a log that is zeroed from some place on only its time tells that there was more; what is no commit leaves the time as it was, and so does a start.
func TestTailLost(t *testing.T) {
	const within = 10 * time.Second
	began := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	at := func(n uint64) time.Time { return began.Add(time.Duration(n) * time.Minute) }
	var before []byte // the log as it was before the last commit
	fill := func(t *testing.T, o Options) *Queue {
		q := open(t, o)
		q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
		for n := range uint64(3) {
			commit(t, q, Commit{Frames: []Frame{frame(tidegate.ClassReading, n*10+1, n*10+10, 1)}, Position: Position{Time: at(n).UnixMilli()}})
			q.dateLog() // these are not the times of the machine
			if n == 1 {
				before = read(t, logOf(t, o.Dir))
			}
		}
		return q
	}
	// begun returns a queue in a copy of the state directory, as a power cut leaves it.
	begun := func(t *testing.T, o Options, change func(log []byte)) *Queue {
		t.Helper()
		from := o.Dir
		o.Dir = t.TempDir()
		if err := os.CopyFS(o.Dir, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(logOf(t, from))
		if err != nil {
			t.Fatal(err)
		}
		to := logOf(t, o.Dir)
		b := read(t, to)
		change(b)
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(to, st.ModTime(), st.ModTime()); err != nil {
			t.Fatal(err)
		}
		q := open(t, o)
		t.Cleanup(func() { _ = q.Close() })
		return q
	}
	nothing := func([]byte) {}
	for name, tt := range map[string]struct {
		change  func(log []byte)
		numbers uint64 // that are left
		lost    bool
	}{
		"whole":                     {nothing, 30, false},
		"the last commit is zeroed": {func(log []byte) { copy(log, before) }, 20, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(t.TempDir())
			defer fill(t, o).Close()
			q := begun(t, o, tt.change)
			if next := q.Position().Next; next != tt.numbers+1 || q.TailLost(within) != tt.lost {
				t.Errorf("goes on at %d, lost: %v; want %d, %v", next, !tt.lost, tt.numbers+1, tt.lost)
			}
			if st, err := os.Stat(logOf(t, q.o.Dir)); err != nil || !st.ModTime().Equal(at(2)) { // should it end before its first commit
				t.Errorf("the log is of %v (%v), want %v", st.ModTime(), err, at(2))
			}
		})
	}
	t.Run("verified beforehand", func(t *testing.T) {
		o := testOptions(t.TempDir())
		defer fill(t, o).Close()
		if err := os.WriteFile(filepath.Join(o.Dir, "starts"), []byte("o"), 0o600); err != nil {
			t.Fatal(err)
		}
		o.SetAside, o.Verify = true, func(dir string, _ time.Duration) error { // which leaves no log
			s, err := disk.Open(disk.Options{Dir: dir, Compactors: 2, Version: o.Version, Log: slog.New(slog.DiscardHandler)})
			if err != nil {
				return err
			}
			return s.Close()
		}
		if begun(t, o, nothing).TailLost(within) {
			t.Error("a log that was whole counts as lost")
		}
	})
	t.Run("no commit was last", func(t *testing.T) {
		o := testOptions(t.TempDir())
		q := fill(t, o)
		defer q.Close()
		if err := q.beside(nil, [][]byte{[]byte("mnothing")}); err != nil {
			t.Fatal(err)
		}
		if begun(t, o, nothing).TailLost(within) {
			t.Error("after a key was deleted: lost")
		}
		if err := q.drop(q.segments[tidegate.ClassReading][0]); err != nil {
			t.Fatal(err)
		}
		if begun(t, o, nothing).TailLost(within) {
			t.Error("after a segment was dropped: lost")
		}
	})
}
