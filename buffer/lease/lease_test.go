package lease

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func drawLease(t *rapid.T) Lease {
	l := Lease{
		Epoch: rapid.Uint32().Draw(t, "epoch"), EpochID: rapid.StringN(0, 16, 64).Draw(t, "id"), Start: rapid.Uint64().Draw(t, "start"),
		End: rapid.Uint64().Draw(t, "end"), Clean: rapid.Bool().Draw(t, "clean"), Last: rapid.Uint64().Draw(t, "last"),
	}
	l.State[3] = rapid.Byte().Draw(t, "state")
	for range rapid.IntRange(0, 5).Draw(t, "cursors") {
		l.Cursors = append(l.Cursors, Cursor{
			rapid.StringMatching(`[a-z]{1,20}`).Draw(t, "uplink"), rapid.Uint32().Draw(t, "cursor epoch"), rapid.Uint64().Draw(t, "number"),
		})
	}
	for range rapid.IntRange(0, 3).Draw(t, "pending") {
		l.Pending = append(l.Pending, rapid.SliceOfN(rapid.Byte(), 1, 200).Draw(t, "gap"))
	}
	return l
}

// TestTornWriteLeavesTheOtherSlot cuts the power in the middle of writes: what is found is the lease before or the new one, whole.
func TestTornWriteLeavesTheOtherSlot(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		f, _, found, err := Open(dir)
		if err != nil || found {
			rt.Fatalf("first open: found %v, err %v", found, err)
		}
		var good Lease
		has := false
		for range rapid.IntRange(1, 8).Draw(rt, "writes") {
			l := drawLease(rt)
			if rapid.IntRange(0, 3).Draw(rt, "cut") > 0 {
				if err := f.Write(l); err != nil {
					rt.Fatal(err)
				}
				good, has = f.Last(), true
				continue
			}
			// The write stops after any number of bytes.
			l.Generation = f.last.Generation + 1
			b, err := Encode(l)
			if err != nil {
				rt.Fatal(err)
			}
			n := rapid.IntRange(0, slotSize).Draw(rt, "bytes written")
			if _, err := f.slots[l.Generation%2].WriteAt(b[:n], 0); err != nil {
				rt.Fatal(err)
			}
			if err := f.Close(); err != nil {
				rt.Fatal(err)
			}
			var last Lease
			f, last, found, err = Open(dir)
			switch {
			case found && reflect.DeepEqual(last, l):
				good, has = l, true // all of it had arrived
			case has && (!found || err != nil || !reflect.DeepEqual(last, good)):
				rt.Fatalf("found %v %+v, err %v; want %+v or %+v", found, last, err, good, l)
			case !has && found:
				rt.Fatalf("found %+v where there was none", last)
			case !has && err != nil && !errors.Is(err, ErrUnreadable):
				rt.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			rt.Fatal(err)
		}
	})
}

func TestBothSlotsDamagedIsSaid(t *testing.T) {
	dir := t.TempDir()
	f, _, _, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if err := f.Write(Lease{Epoch: 1, EpochID: "e", End: uint64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"numbers.a", "numbers.b"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		b[50] ^= 4
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, _, found, err := Open(dir)
	if found || !errors.Is(err, ErrUnreadable) || f == nil {
		t.Fatalf("found %v, err %v", found, err)
	}
	// It serves all the same.
	if err := f.Write(Lease{Epoch: 2, EpochID: "f", End: 9}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f, last, found, err := Open(dir)
	if err != nil || !found || last.EpochID != "f" {
		t.Fatalf("found %v %+v, err %v", found, last, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWriteThatIsNotSyncedDoesNotCount(t *testing.T) {
	f, _, _, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Write(Lease{EpochID: "e", End: 5}); err != nil {
		t.Fatal(err)
	}
	f.sync = func(*os.File) error { return errors.New("input/output error") }
	if err := f.Write(Lease{EpochID: "e", End: 9}); err == nil || f.Last().End != 5 {
		t.Fatalf("err %v, last %+v", err, f.Last())
	}
}

func FuzzDecode(f *testing.F) {
	good, err := Encode(Lease{Generation: 3, Epoch: 1, EpochID: "0123456789abcdef", Start: 1, End: 65537, Cursors: []Cursor{{"uplink", 1, 17}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(make([]byte, slotSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Encode(l)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := Decode(again); err != nil || !reflect.DeepEqual(back, l) {
			t.Fatalf("%+v became %+v: %v", l, back, err)
		}
	})
}
