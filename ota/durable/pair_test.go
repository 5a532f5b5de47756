package durable_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/ota/durable"
	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

// written returns a path at which body was written, after "before".
func written(t testing.TB, body string) string {
	t.Helper()
	path := filepath.Join(tmpfs.Dir(t), "pair")
	p, got, whole, err := durable.OpenPair(path)
	if got != nil || !whole || err != nil {
		t.Fatalf("an empty folder has %q, %v, %v", got, whole, err)
	}
	for _, b := range []string{"before", body} {
		if err := p.Write([]byte(b)); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestPair(t *testing.T) {
	path := written(t, "now")
	p, body, whole, err := durable.OpenPair(path)
	if string(body) != "now" || !whole || err != nil {
		t.Fatalf("got %q, %v, %v", body, whole, err)
	}
	for _, f := range p.Files()[:2] {
		if b, err := os.ReadFile(f); err != nil || !bytes.HasSuffix(b, []byte("now")) {
			t.Errorf("%s: %q, %v", f, b, err)
		}
	}
	if err := p.Write(make([]byte, durable.MaxPair+1)); err == nil {
		t.Error("a body that is too long was written")
	}
	long := bytes.Repeat([]byte("x"), durable.MaxPair)
	if err := p.Write(long); err != nil {
		t.Fatal(err)
	}
	if _, body, whole, err = durable.OpenPair(path); !bytes.Equal(body, long) || !whole || err != nil {
		t.Errorf("got %d bytes, %v, %v", len(body), whole, err)
	}
}

// TestPairEachBit flips each bit of one file in turn, and cuts it at each length: what was written is found all the same, it is said, and the
// next Write makes it good.
func TestPairEachBit(t *testing.T) {
	path := written(t, "now")
	for i, file := range []string{path + ".0", path + ".1"} {
		good, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var bad [][]byte
		for bit := range len(good) * 8 {
			b := bytes.Clone(good)
			b[bit/8] ^= 1 << (bit % 8)
			bad = append(bad, b)
		}
		for n := range good {
			bad = append(bad, good[:n])
		}
		bad = append(bad, append(bytes.Clone(good), 0), bytes.Repeat([]byte("x"), durable.MaxPair+100))
		for _, b := range bad {
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if p, body, whole, err := durable.OpenPair(path); string(body) != "now" || whole || err != nil || p.Damage() == nil {
				t.Fatalf("file %d is %q: got %q, %v, %v, %v", i, b, body, whole, err, p.Damage())
			}
		}
		p, _, _, _ := durable.OpenPair(path)
		if err := p.Write([]byte("now")); err != nil {
			t.Fatal(err)
		}
		if _, body, whole, err := durable.OpenPair(path); string(body) != "now" || !whole || err != nil {
			t.Fatalf("after the next Write: got %q, %v, %v", body, whole, err)
		}
	}
}

func TestPairDamaged(t *testing.T) {
	put := map[string]func(path string) error{
		"gone":   os.Remove,
		"empty":  func(path string) error { return os.Truncate(path, 0) },
		"folder": func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"pipe":   func(path string) error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)) },
		"loop":   func(path string) error { return errors.Join(os.Remove(path), os.Symlink(path, path)) },
	}
	for name, do := range put {
		t.Run(name, func(t *testing.T) {
			path := written(t, "now")
			if err := do(path + ".1"); err != nil {
				t.Fatal(err)
			}
			if p, body, whole, err := durable.OpenPair(path); string(body) != "now" || whole || err != nil || p.Damage() == nil {
				t.Errorf("one file: got %q, %v, %v, %v", body, whole, err, p.Damage())
			}
			if err := do(path + ".0"); err != nil {
				t.Fatal(err)
			}
			p, body, whole, err := durable.OpenPair(path)
			gone := name == "gone" // it cannot be told from what never was
			if body != nil || whole != gone || errors.Is(err, durable.ErrDamaged) == gone {
				t.Errorf("both files: got %q, %v, %v", body, whole, err)
			}
			if name == "folder" {
				if p.Write([]byte("again")) == nil {
					t.Error("a folder was written over")
				}
				return
			}
			if err := p.Write([]byte("again")); err != nil {
				t.Fatal(err)
			}
			if _, body, whole, err := durable.OpenPair(path); string(body) != "again" || !whole || err != nil {
				t.Errorf("written again: got %q, %v, %v", body, whole, err)
			}
		})
	}
}

// TestPairStops: stopped anywhere, a Write leaves the body before it or its own; a file that was damaged before changes nothing in that.
func TestPairStops(t *testing.T) {
	parent := tmpfs.Dir(t)
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(parent, "")
		if err != nil {
			rt.Fatal(err)
		}
		path := filepath.Join(dir, "pair")
		kept := ""
		for n := range rapid.IntRange(1, 8).Draw(rt, "writes") {
			d, _ := recorder("", rapid.IntRange(-1, 9).Draw(rt, "stop"))
			p, body, _, err := d.OpenPair(path)
			if err != nil || string(body) != kept {
				rt.Fatalf("got %q, %v, want %q", body, err, kept)
			}
			next := string(rune('a' + n))
			err = p.Write([]byte(next))
			if rapid.Bool().Draw(rt, "again") && err == nil {
				next += next
				err = p.Write([]byte(next))
			}
			p, body, whole, openErr := durable.OpenPair(path)
			switch got := string(body); {
			case openErr != nil, p.Damage() != nil, err == nil && (got != next || !whole), got != kept && got != next && got != next[:1]:
				rt.Fatalf("Write of %q after %q: %v; got %q, %v, %v", next, kept, err, got, whole, openErr)
			default:
				kept = got
			}
			// A bad block, where both files say the same.
			if i := rapid.IntRange(0, 3).Draw(rt, "damage"); i < 2 && whole && kept != "" {
				if err := os.Truncate([]string{path + ".0", path + ".1"}[i], 5); err != nil {
					rt.Fatal(err)
				}
				p, body, whole, err := durable.OpenPair(path)
				if string(body) != kept || whole || err != nil {
					rt.Fatalf("one file damaged: got %q, %v, %v, want %q", body, whole, err, kept)
				}
				if err := p.Write(body); err != nil {
					rt.Fatal(err)
				}
			}
		}
	})
}

// TestPairGenerations: of two bodies that are whole the newer one counts, wherever it lies; a generation that none could follow is damage.
func TestPairGenerations(t *testing.T) {
	for i := range 2 {
		path := filepath.Join(tmpfs.Dir(t), "pair")
		files := []string{path + ".0", path + ".1"}
		if err := errors.Join(os.WriteFile(files[i], sealed(8, "newer"), 0o600), os.WriteFile(files[1-i], sealed(7, "older"), 0o600)); err != nil {
			t.Fatal(err)
		}
		if p, body, whole, err := durable.OpenPair(path); string(body) != "newer" || whole || err != nil || p.Damage() != nil {
			t.Errorf("newer in file %d: got %q, %v, %v", i, body, whole, err)
		} else if err := errors.Join(p.Write([]byte("a")), p.Write([]byte("b"))); err != nil {
			t.Error(err)
		}
		for _, file := range files {
			if b, err := os.ReadFile(file); err != nil || !bytes.Equal(b, sealed(10, "b")) {
				t.Errorf("two Writes later: got %q, %v, want generation 10", b, err)
			}
		}
	}
	for _, generation := range []uint64{0, 1<<64 - 1} {
		path := filepath.Join(tmpfs.Dir(t), "pair")
		if err := os.WriteFile(path+".0", sealed(generation, "x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, body, _, err := durable.OpenPair(path); body != nil || !errors.Is(err, durable.ErrDamaged) {
			t.Errorf("generation %d: got %q, %v", generation, body, err)
		}
	}
}

// FuzzPair reads anything in the place of one file: it is never taken for what was written, unless its checksum says so.
func FuzzPair(f *testing.F) {
	path := written(f, "now")
	whole, err := os.ReadFile(path + ".0")
	if err != nil {
		f.Fatal(err)
	}
	for _, b := range [][]byte{nil, []byte("tgpair01"), whole, whole[:len(whole)-1], append(bytes.Clone(whole), 0), sealed(0, "x"), sealed(1<<64-1, "x"), sealed(9, "")} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(tmpfs.Dir(t), "pair")
		if err := os.WriteFile(path+".1", b, 0o600); err != nil {
			t.Fatal(err)
		}
		p, body, _, err := durable.OpenPair(path)
		if err != nil {
			if body != nil || !errors.Is(err, durable.ErrDamaged) {
				t.Fatalf("got %q, %v", body, err)
			}
		} else if again := sealed(binary.BigEndian.Uint64(b[8:]), string(body)); !bytes.Equal(b, again) {
			t.Fatalf("%q was read as %q, which is written as %q", b, body, again)
		}
		if err := p.Write([]byte("new")); err != nil {
			t.Fatal(err)
		}
		if _, body, whole, err := durable.OpenPair(path); string(body) != "new" || !whole || err != nil {
			t.Fatalf("written over it: got %q, %v, %v", body, whole, err)
		}
	})
}

// sealed is a file of a Pair, built from its description.
func sealed(generation uint64, body string) []byte {
	b := binary.BigEndian.AppendUint64(nil, generation)
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	sum := crc32.Checksum(append(bytes.Clone(b), body...), crc32.MakeTable(crc32.Castagnoli))
	b = binary.BigEndian.AppendUint32(b, sum)
	return append(append([]byte("tgpair01"), b...), body...)
}

// TestReadFile: not a byte more than what is asked for at most.
func TestReadFile(t *testing.T) {
	path := filepath.Join(tmpfs.Dir(t), "file")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := durable.ReadFile(path, 5); err != nil || string(b) != "12345" {
		t.Errorf("got %q, %v", b, err)
	}
	if b, err := durable.ReadFile(path, 4); err == nil {
		t.Errorf("of at most 4 bytes: got %q, want an error", b)
	}
	if _, err := durable.ReadFile(path+"-not", 5); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of no file: got %v", err)
	}
}
