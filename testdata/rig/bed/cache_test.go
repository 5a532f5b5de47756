package bed

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestCacheDisk: a power cut leaves what was flushed, and of the rest some sectors and others not, each whole.
func TestCacheDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	d := NewCacheDisk(t, path, 1)
	full := func(c byte) []byte { return bytes.Repeat([]byte{c}, 100*sector) }
	d.write(full('a'), 0)
	if err := d.flush(); err != nil {
		t.Fatal(err)
	}
	d.write(full('b'), 50*sector)
	got := make([]byte, 200*sector)
	if err := d.read(got, 0); err != nil || !bytes.Equal(got, slices.Concat(full('a')[:50*sector], full('b'), make([]byte, 50*sector))) {
		t.Errorf("before the cut what was written is not what is read: %v", err)
	}
	unflushed, kept := d.Cut()
	if unflushed != 100 || kept < 20 || kept > 80 {
		t.Errorf("of %d sectors %d were kept, want about half of 100", unflushed, kept)
	}
	if err := d.read(got, 0); err != nil {
		t.Fatal(err)
	}
	there := 0
	for i := range 200 {
		one := got[i*sector : (i+1)*sector]
		old := byte('a')
		if i >= 100 {
			old = 0
		}
		switch {
		case i >= 50 && i < 150 && bytes.Equal(one, full('b')[:sector]):
			there++
		case !bytes.Equal(one, bytes.Repeat([]byte{old}, sector)):
			t.Errorf("sector %d is neither what it was nor what was written: %q", i, one[:4])
		}
	}
	if there != kept {
		t.Errorf("%d sectors of what was not flushed are there, want %d", there, kept)
	}
}
