package buffer

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/disk"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

// flipFrame changes one bit of the stored frame whose first record is first, behind the queue's back.
func flipFrame(t *testing.T, q *Queue, first uint64, at int) {
	t.Helper()
	flipValue(t, q, q.segments[tidegate.ClassReading][0].FrameKey(first), at)
}

func flipValue(t *testing.T, q *Queue, key []byte, at int) {
	t.Helper()
	var value []byte
	err := q.disk.Each(key, func(_, v []byte, _ uint64) error {
		value = slices.Clone(v)
		return nil
	})
	if err != nil || value == nil {
		t.Fatalf("no value under %q: %v", key, err)
	}
	value[at%len(value)] ^= 1 << (at % 8)
	if err := q.disk.Write([]disk.Pair{{Key: key, Value: value}}, nil); err != nil {
		t.Fatal(err)
	}
}

func TestDamagedFrameIsNotShownAndDeclared(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart %v", restart), func(t *testing.T) {
			o := testOptions(t.TempDir())
			o.Uplinks = []string{"a", "b"}
			o.sizes.tail = 1
			q := open(t, o)
			q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
			for i := uint64(0); i < 5; i++ {
				putAndCommit(t, q, frame(tidegate.ClassReading, i*10+1, i*10+10, 2))
			}
			if err := cursor(t, q, "a").Ack("e1", tidegate.Ranges{{First: 1, Last: 10}}); err != nil {
				t.Fatal(err)
			}
			commit(t, q, Commit{Position: Position{Epoch: 1, Next: 51}})
			for i, first := range []uint64{1, 21} {
				flipFrame(t, q, first, 60+i)
			}
			if restart {
				if err := q.Close(); err != nil {
					t.Fatal(err)
				}
				q = open(t, o)
			}
			defer q.Close()
			a, b := cursor(t, q, "a"), cursor(t, q, "b")
			wantRanges(t, "a shows", look(t, a, tidegate.ClassReading, 1), tidegate.Ranges{{First: 11, Last: 20}, {First: 31, Last: 50}})
			wantRanges(t, "b shows", look(t, b, tidegate.ClassReading, 1), tidegate.Ranges{{First: 11, Last: 20}, {First: 31, Last: 50}})
			if !q.Dirty() {
				t.Error("damage was found, Dirty is false")
			}
			asked := q.Requests()
			if len(asked) != 2 {
				t.Fatalf("asked for %+v, want one declaration for each uplink", asked)
			}
			wantRanges(t, "declared to a", asked[0].Ranges, tidegate.Ranges{{First: 21, Last: 30}})
			wantRanges(t, "declared to b", asked[1].Ranges, tidegate.Ranges{{First: 1, Last: 10}, {First: 21, Last: 30}})
			if asked[0].Count != 0 || asked[0].AtMost != 40 || asked[1].Count != 40 || asked[1].Cause != tidegate.CauseDamaged {
				t.Errorf("asked for %+v", asked)
			}
			if again := q.Requests(); len(again) > 0 {
				t.Errorf("asked again for %+v", again)
			}
			commit(t, q, Commit{Position: Position{Epoch: 1, Next: 51}, Declared: asked})
			for _, c := range q.Stats().Cursors {
				want := uint64(map[string]int{"a": 20, "b": 40}[c.Uplink])
				if c.Declared.Device().Readings != want || c.Buffered.Device().Readings != 60 {
					t.Errorf("%s: declared %v, buffered %v, want %d and 60 readings", c.Uplink, c.Declared.Device(), c.Buffered.Device(), want)
				}
				if got := c.Delivered.Device().Readings + c.Declared.Device().Readings + c.Buffered.Device().Readings; got != c.Produced.Device().Readings {
					t.Errorf("%s: %d readings accounted for, want %d", c.Uplink, got, c.Produced.Device().Readings)
				}
			}
		})
	}
}

func TestDamagedIndexIsRefused(t *testing.T) {
	o := testOptions(t.TempDir())
	q := open(t, o)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	putAndCommit(t, q, frame(tidegate.ClassReading, 1, 10, 2))
	key := stored.MetaKey(stored.MetaCursor, "a")
	if err := cursor(t, q, "a").Ack("e1", tidegate.Ranges{{First: 1, Last: 5}}); err != nil {
		t.Fatal(err)
	}
	commit(t, q, Commit{Position: Position{Epoch: 1, Next: 11}})
	flipValue(t, q, key, 5)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	if q, err := Open(o); !errors.Is(err, ErrDamaged) {
		t.Fatalf("got %v, %v, want ErrDamaged", q, err)
	}
}

// TestFlippedBitsAreNeverShown changes bits anywhere in the files of a stopped store. Where Badger opens it, nothing is shown but what
// was written, and what is not shown is declared.
func TestFlippedBitsAreNeverShown(t *testing.T) {
	base := fastDir(t)
	whole := filepath.Join(base, "whole")
	if err := os.Mkdir(whole, 0o700); err != nil {
		t.Fatal(err)
	}
	const frames = 60
	o := testOptions(whole)
	q := open(t, o)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	for i := uint64(0); i < frames; i++ {
		putAndCommit(t, q, bigFrame(i))
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	rounds, seed := 60, uint64(os.Getpid())
	r := rand.New(rand.NewPCG(7, seed))
	opened, lost := 0, 0
	for range rounds {
		dir := filepath.Join(base, "copy")
		if err := os.CopyFS(dir, os.DirFS(whole)); err != nil {
			t.Fatal(err)
		}
		flipOnDisk(t, r, filepath.Join(dir, "buffer"))
		o := testOptions(dir)
		o.sizes.tail = 1
		if q, err := Open(o); err == nil {
			opened++
			lost += judgeFlipped(t, q, frames)
			if err := q.Close(); err != nil {
				t.Logf("close: %v", err)
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	if opened < rounds/2 {
		t.Errorf("seed %d: opened %d of %d damaged stores, want most", seed, opened, rounds)
	}
	if lost == 0 {
		t.Errorf("seed %d: no frame was found damaged", seed)
	}
}

// bigFrame returns the frame number i of the store whose bits are flipped.
func bigFrame(i uint64) Frame {
	f := frame(tidegate.ClassReading, i*10+1, i*10+10, int(i%7)+1)
	r := rand.New(rand.NewPCG(i, i))
	f.Body = append(f.Body, make([]byte, 20<<10)...)
	for j := 10; j < len(f.Body); j++ {
		f.Body[j] = byte(r.Uint32())
	}
	return f
}

// flipOnDisk flips one bit of a table. What Badger reads into its own structures (the index at a table's end) can end the process:
// that is for the agent, which starts the store in a process of its own after such an end.
func flipOnDisk(t *testing.T, r *rand.Rand, dir string) {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(list) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	name := list[r.IntN(len(list))]
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	at := r.IntN(max(len(b)-(8<<10), 1))
	b[at] ^= 1 << r.IntN(8)
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// judgeFlipped returns how many frames were declared.
func judgeFlipped(t *testing.T, q *Queue, frames uint64) int {
	t.Helper()
	shown := tidegate.Ranges{}
	c := cursor(t, q, "a")
	for at := (Place{}); ; {
		looks, err := c.Next(tidegate.ClassReading, at, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if len(looks) == 0 {
			break
		}
		for _, l := range looks {
			if want := bigFrame((l.First - 1) / 10); l.Last != want.Last || l.Count != want.Count || !slices.Equal(l.Body, want.Body) {
				t.Fatalf("frame %d to %d is not what was written", l.First, l.Last)
			}
			shown.Add(l.Want[0])
			at = Place{l.Epoch, l.Last + 1}
		}
	}
	var declared tidegate.Ranges
	for _, d := range q.Requests() {
		declared.AddAll(d.Ranges)
	}
	all := shown.Clone()
	all.AddAll(declared)
	wantRanges(t, "shown and declared", all, tidegate.Ranges{{First: 1, Last: frames * 10}})
	if shown.Len()+declared.Len() != frames*10 {
		t.Fatalf("shown %v, declared %v: they overlap", shown, declared)
	}
	return int(declared.Len() / 10)
}
