package box

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

// openTest opens a pair of small rings on tmpfs.
func openTest(t testing.TB, dir string, state byte) *Pair {
	t.Helper()
	p, err := OpenPair(dir, [16]byte{state}, Sizes{})
	if err != nil {
		t.Fatal(err)
	}
	if p.Volatile != nil {
		t.Fatalf("rings are volatile: %v", p.Volatile)
	}
	return p
}

// TestRingAgainstSlice compares a ring with a plain list under random puts, reads, releases and restarts of the process.
func TestRingAgainstSlice(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir := tmpfs.Dir(t)
		p := openTest(t, dir, 1)
		defer func() { p.Close() }()
		var want [][]byte // put and not released
		at := p.Judged.Tail()
		seq := 0
		var drops Drops
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.SampledFrom([]string{"put", "put", "put", "read", "drop", "restart"}).Draw(rt, "step") {
			case "put":
				seq++
				b := bytes.Repeat([]byte{byte(seq)}, rapid.IntRange(0, 60_000).Draw(rt, "bytes"))
				_, err := p.Judged.Put(rapid.Bool().Draw(rt, "urgent"), b, []byte{byte(seq)})
				if errors.Is(err, ErrFull) {
					if p.Judged.Used() < p.Judged.Size()/4 {
						rt.Fatalf("full with %d of %d bytes used", p.Judged.Used(), p.Judged.Size())
					}
					continue
				}
				if err != nil {
					rt.Fatal(err)
				}
				want = append(want, append(b, byte(seq)))
			case "read":
				b, next, ok, err := p.Judged.Next(at)
				if err != nil {
					rt.Fatal(err)
				}
				if ok != (len(want) > 0) {
					rt.Fatalf("Next ok = %v with %d entries", ok, len(want))
				}
				if ok {
					if !bytes.Equal(b, want[0]) {
						rt.Fatalf("entry differs: %d bytes, want %d", len(b), len(want[0]))
					}
					want = want[1:]
				}
				at = next
				p.Judged.Release(next)
			case "drop":
				drops.Reads++
				drops.Readings += 3
				p.Judged.Drop(1, 3, int64(seq), uint64(seq))
			case "restart":
				p.Judged.Mark(7, uint64(seq))
				if err := p.Close(); err != nil {
					rt.Fatal(err)
				}
				p = openTest(t, dir, 1)
				if !p.Kept || p.Why != nil {
					rt.Fatalf("kept %v, why %v", p.Kept, p.Why)
				}
				if e, n := p.Judged.Marked(); e != 7 || n != uint64(seq) {
					rt.Fatalf("mark is %d/%d, want 7/%d", e, n, seq)
				}
			}
			if d := p.Judged.Dropped(); d.Reads != drops.Reads || d.Readings != drops.Readings {
				rt.Fatalf("drops %+v, want %+v", d, drops)
			}
		}
	})
}

func TestReserveIsForUrgentEntries(t *testing.T) {
	p := openTest(t, tmpfs.Dir(t), 1)
	defer p.Close()
	b := make([]byte, 8000)
	for {
		if _, err := p.Judged.Put(false, b); errors.Is(err, ErrFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 7 {
		if _, err := p.Judged.Put(true, b); err != nil {
			t.Fatalf("urgent entry %d: %v", i, err)
		}
	}
}

// TestRingsThatDoNotCount damages or replaces what an earlier process left: new rings must be made, and why must be said.
func TestRingsThatDoNotCount(t *testing.T) {
	flip := func(off int64) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			f, err := os.OpenFile(filepath.Join(dir, "ring-2"), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			b := make([]byte, 1)
			if _, err := f.ReadAt(b, off); err != nil {
				t.Fatal(err)
			}
			b[0] ^= 0x10
			if _, err := f.WriteAt(b, off); err != nil {
				t.Fatal(err)
			}
		}
	}
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	round := func(t *testing.T, dir string) { // what stands there is of the round before
		path := filepath.Join(dir, "ring-2")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		size := binary.LittleEndian.Uint64(b[offSize:])
		for _, off := range []int{offHead, offTail} {
			binary.LittleEndian.PutUint64(b[off:], binary.LittleEndian.Uint64(b[off:])+size)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, hurt := range map[string]func(*testing.T, string){
		"another round":   round,
		"magic":           flip(offMagic),
		"version":         flip(offVersion),
		"header":          flip(offSize),
		"boot id":         flip(offBoot),
		"state id":        flip(offState),
		"head":            flip(offHead + 6),
		"tail":            flip(offTail + 6),
		"entry length":    flip(headerSize),
		"entry CRC":       flip(headerSize + 4),
		"entry":           flip(headerSize + entryHead + 2),
		"first missing":   remove("ring-1"),
		"second missing":  remove("ring-2"),
		"truncated":       func(t *testing.T, dir string) { mustTruncate(t, filepath.Join(dir, "ring-2"), 5000) },
		"both drop slots": func(t *testing.T, dir string) { flip(offDrops+8)(t, dir); flip(offDrops+slotSize+8)(t, dir) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := tmpfs.Dir(t)
			p := openTest(t, dir, 1)
			for i := range 3 {
				if _, err := p.Judged.Put(false, fmt.Appendf(nil, "entry %d", i)); err != nil {
					t.Fatal(err)
				}
				p.Judged.Drop(1, 1, 1, 1)
			}
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			hurt(t, dir)
			p = openTest(t, dir, 1)
			defer p.Close()
			if p.Kept || p.Why == nil || !errors.Is(p.Why, ErrInvalid) {
				t.Fatalf("kept %v, why %v", p.Kept, p.Why)
			}
			if p.Judged.Used() != 0 || p.Judged.Dropped() != (Drops{}) {
				t.Fatalf("new ring has %d bytes, drops %+v", p.Judged.Used(), p.Judged.Dropped())
			}
		})
	}
}

func mustTruncate(t *testing.T, path string, n int64) {
	t.Helper()
	if err := os.Truncate(path, n); err != nil {
		t.Fatal(err)
	}
}

func TestOneDropSlotTornMeansTheOther(t *testing.T) {
	dir := tmpfs.Dir(t)
	p := openTest(t, dir, 1)
	p.Judged.Drop(1, 10, 1, 1)
	p.Judged.Drop(1, 10, 2, 2)
	p.Judged.mem[offDrops+int(p.Judged.gen%2)*slotSize+9] ^= 1 // killed while the second was being written
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	p = openTest(t, dir, 1)
	defer p.Close()
	if d := p.Judged.Dropped(); !p.Kept || d.Reads != 1 || d.Readings != 10 {
		t.Fatalf("kept %v, drops %+v", p.Kept, d)
	}
}

func TestRingsNotOnTmpfsAreMemory(t *testing.T) {
	dir := t.TempDir()
	if checkDir(dir) == nil {
		dir = "/proc/self" // the test's own directory is on tmpfs here
	}
	p, err := OpenPair(dir, [16]byte{1}, Sizes{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p.Volatile == nil || p.Kept {
		t.Fatalf("volatile %v, kept %v", p.Volatile, p.Kept)
	}
	if _, err := p.Read.Put(false, []byte("x")); err != nil {
		t.Fatal(err)
	}
}

func TestUnnumbered(t *testing.T) {
	dir := tmpfs.Dir(t)
	want := func(state byte, ok bool) {
		t.Helper()
		if got, is := Unnumbered(dir); got != ([16]byte{state}) || is != ok {
			t.Errorf("got %x, %v, want %x, %v", got, is, state, ok)
		}
	}
	want(0, false)
	p := openTest(t, dir, 7)
	want(7, true)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	want(7, true)
	p = openTest(t, dir, 7)
	defer p.Close()
	p.Judged.Mark(1, 0)
	want(0, false)
	mustTruncate(t, filepath.Join(dir, "ring-2"), 100)
	want(0, false)
}

func BenchmarkPut(b *testing.B) {
	p := openTest(b, tmpfs.Dir(b), 1)
	defer p.Close()
	payload := make([]byte, 400)
	b.SetBytes(400)
	for b.Loop() {
		at, err := p.Judged.Put(false, payload)
		if err != nil {
			b.Fatal(err)
		}
		p.Judged.Release(at)
	}
}

// TestUnsent: what was begun and not sent is known by uplink, to the next process too, and to none that has other rings.
func TestUnsent(t *testing.T) {
	dir := tmpfs.Dir(t)
	p := openTest(t, dir, 1)
	if p.Judged.Unsent(0, "a") || p.Judged.Unsent(1, "a") {
		t.Error("new rings know of something unsent")
	}
	names := make([]string, 70)
	for i := range names {
		names[i] = fmt.Sprint("uplink", i)
	}
	p.Judged.Begin(1, names)
	p.Judged.Begin(2, []string{"a", "b"})
	p.Judged.Sent(1, "a") // an ordinal that is over
	p.Judged.Sent(2, "b")
	p.Judged.Mark(2, 0)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	p = openTest(t, dir, 1)
	defer p.Close()
	for _, tt := range []struct {
		epoch  uint32
		uplink string
		want   bool
	}{{2, "a", true}, {2, "b", false}, {2, "later", false}, {1, "a", false}, {2, "uplink3", false}} {
		if got := p.Judged.Unsent(tt.epoch, tt.uplink); got != tt.want {
			t.Errorf("ordinal %d, uplink %s: unsent is %v, want %v", tt.epoch, tt.uplink, got, tt.want)
		}
	}
	p.Judged.Begin(3, names)
	if !p.Judged.Unsent(3, "uplink63") || p.Judged.Unsent(3, "uplink64") {
		t.Error("of 70 uplinks, the first 64 are to be known as unsent")
	}
}

// TestHalfAPairIsNotLeft: where ring 2 cannot be made, nothing of ring 1 stays: neither its file nor its mapping.
func TestHalfAPairIsNotLeft(t *testing.T) {
	dir := tmpfs.Dir(t)
	if err := os.MkdirAll(filepath.Join(dir, "ring-2", "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	p, err := OpenPair(dir, [16]byte{1}, Sizes{})
	if err != nil || p.Volatile == nil || p.Kept {
		t.Fatalf("got %v, volatile %v, kept %v; want rings in memory", err, p.Volatile, p.Kept)
	}
	if _, err := os.Stat(filepath.Join(dir, "ring-1")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("ring-1: %v, want it gone", err)
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(maps, []byte(dir)) {
		t.Error("ring-1 is still mapped")
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

// TestRingsOfOtherSizesAreTaken: a program that wants other sizes takes over what the one before left.
func TestRingsOfOtherSizesAreTaken(t *testing.T) {
	dir := tmpfs.Dir(t)
	p := openTest(t, dir, 1)
	if _, err := p.Read.Put(false, []byte("a Read")); err != nil {
		t.Fatal(err)
	}
	size := p.Read.Size()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	p, err := OpenPair(dir, [16]byte{1}, Sizes{Read: 1 << 20, Judged: 1 << 20})
	if err != nil || !p.Kept {
		t.Fatalf("got %v, kept %v (%v)", err, p.Kept, p.Why)
	}
	defer p.Close()
	if b, _, ok, err := p.Read.Next(p.Read.Tail()); string(b) != "a Read" || !ok || err != nil || p.Read.Size() != size {
		t.Errorf("got %q, %v, %v, size %d; want what was put, size %d", b, ok, err, p.Read.Size(), size)
	}
}
