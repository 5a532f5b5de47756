package line

import (
	"bytes"
	"errors"
	"maps"
	"testing"
)

// TestLedgerOfUplinks: an uplink counts from when it was added, over restarts; one that was removed is forgotten.
func TestLedgerOfUplinks(t *testing.T) {
	l, err := newLedger(nil, []string{"a"})
	if err != nil {
		t.Fatal(err)
	}
	l.now = Counts{Derived: 1, Filtered: 200, Thinned: 3}
	if l, err = newLedger(l.state().Body, []string{"a", "b"}); err != nil {
		t.Fatal(err)
	}
	l.now.Derived, l.now.Thinned = 11, 33
	stored := map[string][]byte{ledgerKey: l.state().Body}
	want := map[string]Counts{"a": {11, 200, 33}, "b": {Derived: 10, Thinned: 30}}
	if got := StoredCounts(stored); !maps.Equal(got, want) {
		t.Errorf("stored: %v, want %v", got, want)
	}
	if l, err = newLedger(stored[ledgerKey], []string{"b", "c"}); err != nil {
		t.Fatal(err)
	}
	if got, want := l.since(l.now), (map[string]Counts{"b": {Derived: 10, Thinned: 30}, "c": {}}); !maps.Equal(got, want) {
		t.Errorf("with c instead of a: %v, want %v", got, want)
	}
}

func TestLedgerThatIsDamaged(t *testing.T) {
	l, _ := newLedger(nil, []string{"a"})
	l.now = Counts{5, 6, 7}
	good := l.state().Body
	for name, body := range map[string][]byte{"empty": {}, "version": {9, 1, 1, 1}, "cut short": good[:len(good)-1]} {
		l, err := newLedger(body, []string{"a"})
		if !errors.Is(err, errLedger) || l.now != (Counts{}) || l.from["a"] != (Counts{}) {
			t.Errorf("%s: %v, %v", name, l, err)
		}
		if got := StoredCounts(map[string][]byte{ledgerKey: body}); got != nil {
			t.Errorf("%s: %v is stored", name, got)
		}
	}
	if got := StoredCounts(nil); got != nil {
		t.Errorf("of nothing: %v", got)
	}
}

// FuzzLedger: whatever is stored, what is read of it is stored the same again.
func FuzzLedger(f *testing.F) {
	l, _ := newLedger(nil, []string{"a", "b"})
	l.now = Counts{5, 600, 1 << 60}
	f.Add(l.state().Body)
	f.Fuzz(func(t *testing.T, body []byte) {
		l, err := decodeLedger(body)
		if err != nil {
			return
		}
		stored := l.state().Body
		again, err := decodeLedger(stored)
		if err != nil || !bytes.Equal(again.state().Body, stored) {
			t.Fatalf("%x became %x, %v", body, stored, err)
		}
	})
}
