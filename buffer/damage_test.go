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
	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
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

// TestDamagedStoreIsSetAside damages what the store cannot be opened without. It is kept, and a new one takes its place.
func TestDamagedStoreIsSetAside(t *testing.T) {
	inFile := func(name string, change func([]byte) []byte) func(*testing.T, *Queue) {
		return func(t *testing.T, q *Queue) {
			closeQueue(t, q)
			list, err := filepath.Glob(filepath.Join(q.o.Dir, "buffer", name))
			if err != nil || len(list) == 0 {
				t.Fatalf("no %s (%v)", name, err)
			}
			path := list[0]
			b, err := os.ReadFile(path)
			if err == nil {
				err = os.WriteFile(path, change(b), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	inValue := func(key func(q *Queue) []byte) func(*testing.T, *Queue) {
		return func(t *testing.T, q *Queue) {
			flipValue(t, q, key(q), 5)
			closeQueue(t, q)
		}
	}
	meta := func(word, name string) func(*Queue) []byte {
		return func(*Queue) []byte { return stored.MetaKey(word, name) }
	}
	for name, damage := range map[string]func(*testing.T, *Queue){
		"MANIFEST cut":     inFile("MANIFEST", func(b []byte) []byte { return b[:4] }),
		"MANIFEST flipped": inFile("MANIFEST", func(b []byte) []byte { b[1] ^= 4; return b }),
		"MANIFEST gone": func(t *testing.T, q *Queue) {
			closeQueue(t, q)
			if err := os.Remove(filepath.Join(q.o.Dir, "buffer", "MANIFEST")); err != nil {
				t.Fatal(err)
			}
		},
		"table cut":         inFile("*.sst", func(b []byte) []byte { return b[:len(b)/2] }),
		"table empty":       inFile("*.sst", func(b []byte) []byte { return nil }),
		"table's end gone":  inFile("*.sst", func(b []byte) []byte { clear(b[len(b)-200:]); return b }),
		"KEYREGISTRY empty": inFile("KEYREGISTRY", func([]byte) []byte { return nil }),
		"cursor flipped":    inValue(meta(stored.MetaCursor, "a")),
		"position flipped":  inValue(meta(stored.MetaPosition, "")),
		"totals flipped":    inValue(meta(stored.MetaTotals, "")),
		"index flipped": inValue(func(q *Queue) []byte {
			return q.segments[tidegate.ClassReading][0].Key(stored.KeyIndex)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(t.TempDir())
			o.SetAside = true
			for round := range 5 {
				q := open(t, o)
				q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
				if p := q.Position(); p != (Position{}) {
					t.Fatalf("position of a new store is %+v", p)
				}
				putAndCommit(t, q, frame(tidegate.ClassReading, 1, 10*uint64(round+1), 2))
				if err := cursor(t, q, "a").Ack("e1", tidegate.Ranges{{First: 1, Last: 5}}); err != nil {
					t.Fatal(err)
				}
				commit(t, q, Commit{Position: Position{Epoch: 1, Next: 11, Time: 1}})
				damage(t, q)
				look := o
				look.SetAside = false
				if q, err := Open(look); !errors.Is(err, ErrDamaged) {
					t.Fatalf("got %v, %v, want ErrDamaged", q, err)
				}
			}
			q := open(t, o)
			defer q.Close()
			list := q.BadStores()
			if len(list) != 3 {
				t.Fatalf("set aside are %q, want 3", list)
			}
			for _, path := range list {
				if some, err := os.ReadDir(path); err != nil || len(some) < 3 {
					t.Errorf("%s holds %v (%v), want the files of a store", path, some, err)
				}
			}
		})
	}
}

func closeQueue(t *testing.T, q *Queue) {
	t.Helper()
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestHalfWrittenTableIsNoDamage has the process end while it writes a table: the file is there, and the MANIFEST does not have it yet.
func TestHalfWrittenTableIsNoDamage(t *testing.T) {
	for name, body := range map[string][]byte{"empty": nil, "zero": make([]byte, 2<<20), "short": make([]byte, 100)} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(t.TempDir())
			o.SetAside = true
			q := open(t, o)
			q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
			putAndCommit(t, q, frame(tidegate.ClassReading, 1, 10, 2))
			closeQueue(t, q)
			if err := os.WriteFile(filepath.Join(o.Dir, "buffer", "000077.sst"), body, 0o600); err != nil {
				t.Fatal(err)
			}
			q = open(t, o)
			defer q.Close()
			if list := q.BadStores(); len(list) > 0 || q.Position().Next != 11 {
				t.Errorf("position is %d, set aside are %q; want 11 and nothing", q.Position().Next, list)
			}
		})
	}
}

// TestOldIndexIsDamage has an index or the position come back as it was a commit before, whole: what was added since would be neither shown
// nor declared.
func TestOldIndexIsDamage(t *testing.T) {
	for name, key := range map[string]func(*Queue) []byte{
		"index":    func(q *Queue) []byte { return q.segments[tidegate.ClassReading][0].Key(stored.KeyIndex) },
		"position": func(*Queue) []byte { return stored.MetaKey(stored.MetaPosition, "") },
	} {
		for _, gone := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, gone %v", name, gone), func(t *testing.T) {
				o := testOptions(t.TempDir())
				q := open(t, o)
				q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
				putAndCommit(t, q, frame(tidegate.ClassReading, 1, 10, 2))
				var old []byte
				err := q.disk.Each(key(q), func(_, v []byte, _ uint64) error { old = slices.Clone(v); return nil })
				putAndCommit(t, q, frame(tidegate.ClassReading, 11, 20, 2))
				if gone {
					err = errors.Join(err, q.disk.Write(nil, [][]byte{key(q)}))
				} else {
					err = errors.Join(err, q.disk.Write([]disk.Pair{{Key: key(q), Value: old}}, nil))
				}
				if err != nil {
					t.Fatal(err)
				}
				closeQueue(t, q)
				if _, err := Open(o); !errors.Is(err, ErrDamaged) {
					t.Errorf("got %v, want ErrDamaged", err)
				}
			})
		}
	}
}

// TestStoreThatAnotherHasIsNotSetAside: what is not the store's fault leaves it where it is.
func TestStoreThatAnotherHasIsNotSetAside(t *testing.T) {
	o := testOptions(t.TempDir())
	o.SetAside = true
	q := open(t, o)
	defer q.Close()
	if _, err := Open(o); err == nil || errors.Is(err, ErrDamaged) {
		t.Errorf("got %v, want an error that is not ErrDamaged", err)
	}
	if list := q.BadStores(); len(list) > 0 {
		t.Errorf("set aside: %q", list)
	}
}

// TestFlippedBitsAreNeverShown changes bits anywhere in the files of a stopped store. Where Badger opens it, nothing is shown but what
// was written, and what is not shown is declared.
func TestFlippedBitsAreNeverShown(t *testing.T) {
	base := tmpfs.Dir(t)
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
