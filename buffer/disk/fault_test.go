package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

// TestUnreadableSectorIsDamage cuts a table that is mapped, so that the kernel answers reading behind the cut as it answers for a sector
// that cannot be read: with SIGBUS.
func TestUnreadableSectorIsDamage(t *testing.T) {
	o := testedOptions(t)
	o.Compactors = 0
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	name := stored.Segment{Class: tidegate.ClassReading, Epoch: 1, Counter: 1}
	frame := func(n uint64) stored.Frame {
		return stored.Frame{Class: name.Class, Epoch: 1, First: n, Last: n, Count: 1, Body: make([]byte, 40<<10)}
	}
	for n := uint64(1); n <= 150; n++ {
		f := frame(n)
		set := []Pair{
			{name.FrameKey(n), stored.AppendFrame(nil, &f)},
			{stored.MetaKey(stored.MetaRule, strings.Repeat("x", int(n))), make([]byte, 4<<10)},
		}
		if err := s.Write(set, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Write([]Pair{{Key: []byte("z")}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Drop([]byte("z")); err != nil { // all memtables become tables, as there is something to drop
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(o.Dir, "buffer", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	for _, path := range tables {
		if err := os.Truncate(path, 8<<10); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Each([]byte{stored.KeyMeta}, func(_, _ []byte, _ uint64) error { return nil }); !errors.Is(err, stored.ErrDamaged) {
		t.Errorf("Each: got %v, want ErrDamaged", err)
	}
	read := 0
	err = s.Walk(name, 1, true, func(f stored.Frame) bool {
		read++
		return true
	})
	if err != nil || read >= 150 {
		t.Errorf("Walk: got %d frames (%v), want fewer than 150", read, err)
	}
}

// TestDropThatFailed: after a prefix could not be dropped nothing is written any more, and nothing ends the process; opened anew all is there.
func TestDropThatFailed(t *testing.T) {
	o := testedOptions(t)
	o.Compactors = 0
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	pair := func(n int) []Pair { return []Pair{{stored.MetaKey(stored.MetaRule, fmt.Sprint(n)), []byte("x")}} }
	if err := s.Write(append(pair(1), Pair{Key: []byte("z")}), nil); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(o.Dir, "buffer")
	if err := os.Rename(dir, dir+"-away"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := s.Drop([]byte("z")); !errors.Is(err, ErrReopen) || !CausedBy(err, unix.ENOENT) {
			t.Errorf("Drop: got %v, want ErrReopen for a folder that is gone", err)
		}
	}
	if err := os.Rename(dir+"-away", dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(pair(2), nil); !errors.Is(err, ErrReopen) {
		t.Errorf("Write: got %v, want ErrReopen", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(o); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	n := 0
	if err := s.Each([]byte{stored.KeyMeta}, func(_, _ []byte, _ uint64) error { n++; return nil }); err != nil || n != 1 {
		t.Errorf("%d values are there (%v), want 1", n, err)
	}
}

// TestNoDescriptors: while no file can be opened, what may begin a new log is not written, and neither ends the process nor breaks the store.
func TestNoDescriptors(t *testing.T) {
	o := testedOptions(t)
	o.Compactors = 0
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	limit := func(n uint64) {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: was.Max}); err != nil {
			t.Fatal(err)
		}
	}
	defer limit(was.Cur)
	limit(uint64(len(list)) + 2)
	wrote, refused := 0, 0
	for n := range 300 { // 12 MB, three logs
		if n == 200 {
			limit(was.Cur)
		}
		err := s.Write([]Pair{{stored.MetaKey(stored.MetaRule, fmt.Sprint(n)), make([]byte, 40<<10)}}, nil)
		switch {
		case err == nil:
			wrote++
		case errors.Is(err, unix.EMFILE) && n < 200:
			refused++
		default:
			t.Fatalf("write %d: %v", n, err)
		}
	}
	if refused < 100 || wrote < 120 {
		t.Errorf("%d were written, %d refused; want those refused that may begin a new log while no file can be opened", wrote, refused)
	}
}
