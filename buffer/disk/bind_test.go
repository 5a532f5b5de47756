package disk

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/dgraph-io/badger/v4"

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
