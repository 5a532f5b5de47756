package disk

import (
	"bytes"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/buffer/stored"
)

// TestWritesGoOnAlone: nobody runs Compact, and nothing is dropped, which would merge tables too.
func TestWritesGoOnAlone(t *testing.T) {
	if testing.Short() {
		return // under an emulator it takes too long
	}
	writeMuch(t, false)
}

// TestCompactKeepsWritesGoing: it is run beside the writer.
func TestCompactKeepsWritesGoing(t *testing.T) { writeMuch(t, true) }

// writeMuch writes three times what level 0 takes before writes wait for good, drops one in sixteen segments meanwhile, and
// finds all of the others as they were written, also when opened again.
func writeMuch(t *testing.T, beside bool) {
	o := Options{Dir: t.TempDir(), Version: "test", Log: slog.New(slog.DiscardHandler)}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	const segments, frames = 64, 20
	const other = 't' // what is no frame, and has no form
	value := func(segment, frame int) []byte {
		_, v := testPair(uint64(1000*segment + frame))
		return append(v, make([]byte, stored.MaxFrame-len(v))...)
	}
	name := func(segment int) stored.Segment { return stored.Segment{Counter: uint64(segment)} }
	quit, done := make(chan struct{}), make(chan struct{})
	var merged atomic.Int32
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			case <-time.After(5 * time.Millisecond):
			}
			before := s.db.Levels()[0].NumTables
			if !beside {
				continue
			}
			if err := s.compact(compactFrom); err != nil {
				t.Error(err)
				return
			}
			if before >= compactFrom {
				merged.Add(1)
			}
		}
	}()
	late := time.AfterFunc(5*time.Minute, func() { panic("writes wait for a compaction that does not come") })
	defer late.Stop()
	bytesWritten := 0
	for i := range segments {
		for f := range frames {
			v := value(i, f)
			bytesWritten += len(v)
			if err := s.Write([]Pair{{Key: append(name(i).Key(other), byte(f)), Value: v}}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if beside && i%16 == 15 {
			if err := s.Drop(name(i).Key(other)); err != nil {
				t.Fatal(err)
			}
		}
	}
	close(quit)
	<-done
	if beside && merged.Load() == 0 || bytesWritten < 3*16*memTable/2 {
		t.Errorf("%d compactions, %d bytes: that shows nothing", merged.Load(), bytesWritten)
	}
	for range 2 {
		for i := range segments {
			n := 0
			err := s.Each(name(i).Key(other), func(_, v []byte, _ uint64) error {
				if !bytes.Equal(v, value(i, n)) {
					t.Errorf("frame %d of segment %d is not what was written", n, i)
				}
				n++
				return nil
			})
			want := frames
			if beside && i%16 == 15 {
				want = 0
			}
			if n != want || err != nil {
				t.Errorf("segment %d: %d frames, %v, want %d", i, n, err, want)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = Open(o); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.compact(compactFrom); err != nil {
		t.Errorf("compact what is closed: %v", err)
	}
}
