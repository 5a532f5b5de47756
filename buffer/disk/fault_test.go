package disk

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	if err := s.db.Flatten(1); err != nil { // all memtables become tables
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
