package buffer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/disk"
	"github.com/tidegate-io/tidegate/buffer/seal"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

// newKeys returns keys that seal with the one of number to, -1 = none, and open with all of from.
func newKeys(to int, from ...int) (*seal.Keys, error) {
	var first *seal.Key
	var old []seal.Key
	for _, n := range slices.Concat([]int{to}, from) {
		if n < 0 || first != nil && n == to {
			continue
		}
		b := bytes.Repeat([]byte{byte(n), 0xff}, 16)
		k, err := seal.ParseKey(b)
		if err != nil {
			return nil, err
		}
		if n == to {
			first = &k
		} else {
			old = append(old, k)
		}
	}
	return seal.New(first, old...)
}

func keysFor(t testing.TB, to int, from ...int) *seal.Keys {
	t.Helper()
	keys, err := newKeys(to, from...)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// marker is a reading that is to be found nowhere, a text that is not compressed.
const marker = "tank 7 holds 4711 litres of it"

// fillWithMarker commits frames of 10 records each from first on, what a rule keeps, and what is set aside, which all hold the marker.
func fillWithMarker(t *testing.T, q *Queue, first uint64, frames int) {
	t.Helper()
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	c := cursor(t, q, "a")
	for range frames {
		f := frame(tidegate.ClassReading, first, first+9, 2)
		f.Body = append(f.Body, marker...)
		f.Body = append(f.Body, make([]byte, 30<<10)...)
		q.Put(f)
		commit(t, q, Commit{Frames: []Frame{f}, Rules: map[string][]byte{fmt.Sprint("rule", first/10): []byte(marker), "ledger": []byte(marker)}})
		if err := c.Reject("e1", tidegate.Range{First: first, Last: first}, "no "+marker); err != nil {
			t.Fatal(err)
		}
		commit(t, q, Commit{Position: q.Position(), Declared: q.Requests()})
		first += 10
	}
}

// holdsMarker checks that all of fillWithMarker is there: the frames of 10 records, less the first one of each.
func holdsMarker(t *testing.T, q *Queue, frames int) {
	t.Helper()
	var want tidegate.Ranges
	for i := range uint64(frames) {
		want.Add(tidegate.Range{First: 10*i + 2, Last: 10*i + 10})
	}
	wantRanges(t, "shown", look(t, cursor(t, q, "a"), tidegate.ClassReading, 1), want)
	aside := 0
	if err := q.Aside(func(a stored.Aside) error {
		aside++
		if a.First != uint64(aside-1)*10+1 || a.Why != "no "+marker || len(a.Body) != 1 {
			return fmt.Errorf("got %+v", a)
		}
		return nil
	}); err != nil || aside != frames {
		t.Errorf("set aside are %d, %v, want %d", aside, err, frames)
	}
	rules := q.Rules()
	for i := range frames {
		if got := string(rules[fmt.Sprint("rule", i)]); got != marker {
			t.Errorf("rule %d keeps %q", i, got)
		}
	}
	if r, err := q.Check(context.Background()); err != nil || len(r.Faults) > 0 {
		t.Errorf("check: %v, %v", r.Faults, err)
	}
}

// markersIn counts the marker in all files below dir.
func markersIn(t *testing.T, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		n += bytes.Count(b, []byte("4711 litres"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestNothingLiesThereInTheClear: of what is sealed no file of the store holds a word, neither while it is open nor after.
func TestNothingLiesThereInTheClear(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		o := testOptions(t.TempDir())
		if sealed {
			o.Keys = keysFor(t, 0)
		}
		o.sizes.tail = 1
		q := open(t, o)
		fillWithMarker(t, q, 1, 200) // more than a memtable
		while := markersIn(t, o.Dir)
		holdsMarker(t, q, 200)
		closeQueue(t, q)
		if after := markersIn(t, o.Dir); (while == 0) != sealed || (after == 0) != sealed {
			t.Errorf("sealed %v: the marker is there %d times, %d after the end", sealed, while, after)
		}
		q = open(t, o)
		holdsMarker(t, q, 200)
		closeQueue(t, q)
	}
}

// settle commits until nothing is to be sealed anew.
func settle(t *testing.T, q *Queue, each func()) {
	t.Helper()
	for n := 0; q.Dirty(); n++ {
		if n > 1000 {
			t.Fatal("it does not end")
		}
		commit(t, q, Commit{Position: q.Position()})
		if err := q.Retain(time.Millisecond); err != nil {
			t.Fatal(err)
		}
		each()
	}
}

// TestKeyRotates on a running store, with a kill after each step: at each moment all that was there is there, with the keys of that moment; and an old
// key is needed for as long as something is sealed with it.
func TestKeyRotates(t *testing.T) {
	const none = -1
	for _, c := range []struct{ from, to int }{{0, 1}, {none, 1}, {0, none}} {
		t.Run(fmt.Sprint(c.from, " to ", c.to), func(t *testing.T) {
			o := testOptions(t.TempDir())
			o.sizes.tail = 1
			o.Keys = keysFor(t, c.from)
			was := o.Keys.To()
			q := open(t, o)
			fillWithMarker(t, q, 1, 40)
			both, after := keysFor(t, c.to, c.from), keysFor(t, c.to)
			frames, killed := 40, 0
			kill := func() { // what lies in the files is what a process that is killed leaves
				killed++
				o := o
				o.Dir, o.Keys = t.TempDir(), both
				copyStore(t, q.o.Dir, o.Dir)
				q := open(t, o)
				holdsMarker(t, q, frames)
				closeQueue(t, q)
			}
			if was != 0 {
				if err := q.SetKeys(after); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), was.String()) {
					t.Errorf("without the old key: got %v, want ErrKey with the name of it", err)
				}
			}
			if err := q.SetKeys(both); err != nil {
				t.Fatal(err)
			}
			kill()
			fillWithMarker(t, q, 401, 3)
			frames = 43
			kill()
			settle(t, q, func() {
				if killed < 8 {
					kill()
				}
			})
			kill()
			st := q.Stats().Keys
			i := slices.IndexFunc(st, func(u KeyUse) bool { return u.Key == was })
			if u := st[0]; u.Key != both.To() || u.Rules != 44 || u.Aside != 43 || u.Records != 30 || u.Readings != 60 {
				t.Errorf("sealed with the new key is %+v", u)
			}
			if i < 0 || st[i].Rules != 0 || st[i].Aside != 0 || st[i].Readings != 800 || was != 0 && st[i].Frames == 0 {
				t.Errorf("of the old key there is %+v, want 800 readings and nothing else", st)
			}
			if err := cursor(t, q, "a").Ack("e1", tidegate.Ranges{{First: 1, Last: 400}}); err != nil {
				t.Fatal(err)
			}
			commit(t, q, Commit{Position: q.Position()})
			if err := q.Retain(10 * o.Keep); err != nil {
				t.Fatal(err)
			}
			if err := q.SetKeys(after); err != nil {
				t.Errorf("nothing is sealed with the old key any more: %v", err)
			}
			closeQueue(t, q)
			o.Keys = after
			closeQueue(t, open(t, o))
		})
	}
}

// TestKeyIsReplacedByARestart: what is sealed with the key of before is known after a start, too, and sealed anew.
func TestKeyIsReplacedByARestart(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Keys = keysFor(t, 0)
	was := o.Keys.To()
	q := open(t, o)
	fillWithMarker(t, q, 1, 5)
	closeQueue(t, q)
	o.Keys = keysFor(t, 1, 0)
	q = open(t, o)
	if st := q.Stats().Keys; len(st) != 2 || st[0].Key != o.Keys.To() || st[0].Rules != 0 || st[1].Rules != 6 || st[1].Aside != 5 {
		t.Errorf("sealed is %+v, want all with the old key", st)
	}
	settle(t, q, func() {})
	if st := q.Stats().Keys; st[0].Rules != 6 || st[0].Aside != 5 || st[1].Rules != 0 || st[1].Aside != 0 || st[1].Readings != 100 {
		t.Errorf("sealed is %+v, want with the old key frames alone", st)
	}
	holdsMarker(t, q, 5)
	closeQueue(t, q)
	o.Keys = keysFor(t, 1)
	if _, err := Open(o); !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), was.String()) {
		t.Errorf("without the old key: got %v, want ErrKey", err)
	}
}

func copyStore(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// TestMissingKey: a store does not open without its key, and nothing of it changes by that, whatever it is that is sealed.
func TestMissingKey(t *testing.T) {
	for name, fill := range map[string]func(*testing.T, *Queue){
		"frames": func(t *testing.T, q *Queue) { putAndCommit(t, q, frame(tidegate.ClassReading, 1, 10, 2)) },
		"rules":  func(t *testing.T, q *Queue) { commit(t, q, Commit{Rules: map[string][]byte{"r": []byte("x")}}) },
		"aside": func(t *testing.T, q *Queue) {
			a := stored.Aside{Uplink: "a", Epoch: 1, First: 1, Last: 1, Class: tidegate.ClassReading, Body: []byte{1}}
			if err := q.disk.Write([]disk.Pair{{Key: stored.RejectedKey("a", 1, 1), Value: a.Encode()}}, nil); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(t.TempDir())
			o.Keys, o.SetAside = keysFor(t, 0), true
			q := open(t, o)
			q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
			fill(t, q)
			closeQueue(t, q)
			was := o.Keys.To()
			for _, keys := range []*seal.Keys{nil, keysFor(t, -1), keysFor(t, 1), keysFor(t, 1, 2)} {
				o.Keys = keys
				q, err := Open(o)
				if !errors.Is(err, ErrKey) || errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), was.String()) {
					t.Fatalf("with %s: got %v, want ErrKey with the name of the key", keys, err)
				}
				if q != nil || len(disk.BadStores(o.Dir)) > 0 {
					t.Fatalf("with %s: a store was opened, or set aside", keys)
				}
			}
			o.Keys = keysFor(t, 0)
			q = open(t, o)
			defer closeQueue(t, q)
			if st := q.Stats().Keys; len(st) != 1 || st[0].none() {
				t.Errorf("sealed is %+v, want something", st)
			}
			if r, err := q.Check(context.Background()); err != nil || len(r.Faults) > 0 {
				t.Errorf("check: %v, %v", r.Faults, err)
			}
		})
	}
}

// TestForeignFramesAreDamage: a frame that somebody has put in the place of another one, by its bytes, or in the clear, is not shown. One that is sealed
// with another key of ours is, but is a fault.
func TestForeignFramesAreDamage(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Keys = keysFor(t, 0)
	o.sizes.tail = 1
	q := open(t, o)
	defer closeQueue(t, q)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	for i := range uint64(6) {
		putAndCommit(t, q, frame(tidegate.ClassReading, i*10+1, i*10+10, 2))
	}
	s := q.segments[tidegate.ClassReading][0]
	raw := func(first uint64) (v []byte) {
		err := q.disk.Each(s.FrameKey(first), func(_, b []byte, _ uint64) error {
			v = slices.Clone(b)
			return nil
		})
		if err != nil || v == nil {
			t.Fatal(err)
		}
		return v
	}
	put := func(first uint64, v []byte) {
		if err := q.disk.Write([]disk.Pair{{Key: s.FrameKey(first), Value: v}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	a, b := raw(11), raw(21)
	put(11, b)
	put(21, a)
	f := frame(tidegate.ClassReading, 41, 50, 9)
	q.disk.SetKeys(nil)
	put(41, stored.AppendFrame(nil, &f))
	q.disk.SetKeys(keysFor(t, 1))
	g := frame(tidegate.ClassReading, 51, 60, 9)
	put(51, stored.AppendFrame(nil, &g))
	q.disk.SetKeys(keysFor(t, 0, 1))
	// The two that changed places say themselves which they are: one of them is in its order.
	wantRanges(t, "shown", look(t, cursor(t, q, "a"), tidegate.ClassReading, 1), tidegate.Ranges{{First: 1, Last: 10}, {First: 21, Last: 40}, {First: 51, Last: 60}})
	r, err := q.Check(context.Background())
	if want := "frame 51 to 60 is sealed with key"; err != nil || !strings.Contains(fmt.Sprint(r.Faults), want) {
		t.Errorf("check: %v, %v, want that %s ...", r.Faults, err, want)
	}
	if !q.Dirty() {
		t.Error("damage was found, Dirty is false")
	}
}

// TestKeyMissesWhileRunning: what cannot be opened for want of a key is an error, and never declared as damaged.
func TestKeyMissesWhileRunning(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Keys = keysFor(t, 0)
	o.sizes.tail = 1
	q := open(t, o)
	defer closeQueue(t, q)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	putAndCommit(t, q, frame(tidegate.ClassReading, 1, 10, 2), frame(tidegate.ClassReading, 11, 20, 2))
	q.tails[tidegate.ClassReading] = tail{done: q.tails[tidegate.ClassReading].done, top: q.tails[tidegate.ClassReading].top}
	q.disk.SetKeys(nil)
	if _, err := cursor(t, q, "a").Next(tidegate.ClassReading, Place{1, 1}, 1000); !errors.Is(err, ErrKey) {
		t.Errorf("got %v, want ErrKey", err)
	}
	if asked := q.Requests(); len(asked) > 0 {
		t.Errorf("asked for %+v", asked)
	}
	q.disk.SetKeys(o.Keys)
	wantRanges(t, "with the key", look(t, cursor(t, q, "a"), tidegate.ClassReading, 1), tidegate.Ranges{{First: 1, Last: 20}})
}

// TestKeyWaitsForACommit: while it is not known what of a commit is on disk, the key does not change.
func TestKeyWaitsForACommit(t *testing.T) {
	o := testOptions(t.TempDir())
	full := false
	o.Statfs = func(string) (free, total int64, err error) {
		if full {
			return 0, 1 << 40, nil
		}
		return 1 << 39, 1 << 40, nil
	}
	q := open(t, o)
	defer closeQueue(t, q)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	putAndCommit(t, q, frame(tidegate.ClassReading, 1, 10, 2))
	full = true
	if err := q.Commit(Commit{Position: q.Position()}); !errors.Is(err, ErrNoSpace) {
		t.Fatalf("got %v, want ErrNoSpace", err)
	}
	if err := q.SetKeys(keysFor(t, 0)); !errors.Is(err, ErrNoSpace) || q.Stats().Keys[0].Key != 0 {
		t.Errorf("got %v, want ErrNoSpace and nothing changed", err)
	}
	full = false
	commit(t, q, Commit{Position: q.Position()})
	if err := q.SetKeys(keysFor(t, 0)); err != nil {
		t.Error(err)
	}
}
