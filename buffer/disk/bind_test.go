package disk

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

// TestValueOfAnotherKey: Badger keeps old versions of a value. A bit flipped in the key of one makes it the value of another key, whole as it
// is: it must not be taken for that.
func TestValueOfAnotherKey(t *testing.T) {
	s, err := Open(Options{Dir: t.TempDir(), Compactors: 2, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	one, other := stored.Segment{Counter: 1}.Key(stored.KeyIndex), stored.Segment{Counter: 17}.Key(stored.KeyIndex)
	if err := s.Write([]Pair{{Key: one, Value: []byte("old index")}}, nil); err != nil {
		t.Fatal(err)
	}
	each := func() (n int, err error) {
		err = s.Each([]byte{stored.KeyIndex}, func(_, v []byte, _ uint64) error {
			if n++; string(v) != "old index" {
				t.Errorf("value %q", v)
			}
			return nil
		})
		return n, err
	}
	if n, err := each(); n != 1 || err != nil {
		t.Fatalf("%d values, %v; want the one", n, err)
	}
	err = s.db.Update(func(txn *badger.Txn) error { return txn.Set(other, stored.Bind(one, []byte("old index"))) })
	if err != nil {
		t.Fatal(err)
	}
	if n, err := each(); n != 1 || !errors.Is(err, stored.ErrDamaged) {
		t.Errorf("%d values, %v; want one, and ErrDamaged for the other", n, err)
	}
	err = s.db.Update(func(txn *badger.Txn) error { return txn.Set(other, []byte{1, 2, 3}) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := each(); !errors.Is(err, stored.ErrDamaged) {
		t.Errorf("three bytes: %v, want ErrDamaged", err)
	}
}

// TestFrameOfAnotherSegment: a frame's key is not bound to its value, so the frame says itself what it is of.
func TestFrameOfAnotherSegment(t *testing.T) {
	s, err := Open(Options{Dir: t.TempDir(), Compactors: 2, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f := stored.Frame{Epoch: 1, Class: tidegate.ClassReading, First: 7, Last: 7, Count: 1, Body: []byte("x")}
	own, other, class := stored.Segment{Class: f.Class, Epoch: 1, Counter: 1}, stored.Segment{Class: f.Class, Epoch: 2, Counter: 1}, stored.Segment{Class: tidegate.ClassAlarm, Epoch: 1, Counter: 1}
	for _, name := range []stored.Segment{own, other, class} {
		if err := s.Write([]Pair{{Key: name.FrameKey(7), Value: stored.AppendFrame(nil, &f)}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[stored.Segment]int{own: 1, other: 0, class: 0} {
		n := 0
		if err := s.Walk(name, 7, true, func(stored.Frame) bool { n++; return true }); err != nil || n != want {
			t.Errorf("segment %s has %d frames (%v), want %d", name, n, err, want)
		}
	}
}
