package buffer

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/buffer/disk"
	"github.com/tidegate-io/tidegate/buffer/salvage"
	"github.com/tidegate-io/tidegate/buffer/seal"
)

// inProcess reads a damaged store in this process.
func inProcess(dir string) (io.ReadCloser, error) {
	var b bytes.Buffer
	err := salvage.Write(dir, &b)
	return io.NopCloser(&b), err
}

// fillStore makes a store of 40 frames of 10 records, of which all but the last stand in tables, with an alarm in between and 1 to 55 acknowledged.
func fillStore(t *testing.T, o Options) {
	t.Helper()
	q := open(t, o)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	for i := range uint64(40) {
		f := frame(tidegate.ClassReading, i*11+1, i*11+10, 2)
		f.Body = append(f.Body, make([]byte, 20<<10)...)
		r := rand.New(rand.NewPCG(1, i)) // what compresses, or repeats, hides which bytes were read
		for at := 10; at < len(f.Body); at++ {
			f.Body[at] = byte(r.Uint32())
		}
		putAndCommit(t, q, f, frame(tidegate.ClassAlarm, i*11+11, i*11+11, 1))
		if i == 20 {
			if err := cursor(t, q, "a").Ack("e1", tidegate.Ranges{{First: 1, Last: 55}}); err != nil {
				t.Fatal(err)
			}
		}
		if i%13 == 12 { // what is in memory goes to a table
			if err := q.disk.Drop([]byte("z")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}

// wantedOf returns the numbers of fillStore that nobody has.
func wantedOf(class tidegate.Class) (out tidegate.Ranges) {
	for i := range uint64(40) {
		r := tidegate.Range{First: i*11 + 1, Last: i*11 + 10}
		if class == tidegate.ClassAlarm {
			r = tidegate.Range{First: i*11 + 11, Last: i*11 + 11}
		}
		if r.First > 55 {
			out.Add(r)
		}
	}
	return out
}

// TestSalvage damages a store so that it does not open: what verifies is in the new one, under its numbers, where its cursor was.
func TestSalvage(t *testing.T) {
	change := func(pattern string, f func([]byte) []byte) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			list, err := filepath.Glob(filepath.Join(dir, "buffer", pattern))
			if err != nil || len(list) == 0 {
				t.Fatalf("no %s (%v)", pattern, err)
			}
			b, err := os.ReadFile(list[0])
			if err == nil {
				err = os.WriteFile(list[0], f(b), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	flipIndex := func(b []byte) []byte { b[len(b)-60] ^= 8; return b }
	for name, tt := range map[string]struct {
		damage func(t *testing.T, dir string)
		lost   uint64 // records, at most
		again  bool   // the cursor went with them
	}{
		"MANIFEST flipped": {change("MANIFEST", func(b []byte) []byte { b[1] ^= 4; return b }), 0, false},
		"MANIFEST empty":   {change("MANIFEST", func([]byte) []byte { return nil }), 0, false},
		"MANIFEST gone":    {func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "buffer", "MANIFEST")) }, 0, false},
		"index of a table": {change("*.sst", flipIndex), 0, false},
		"table cut":        {change("*.sst", func(b []byte) []byte { return b[:len(b)/2] }), 330, true},
		"MANIFEST and a frame": {func(t *testing.T, dir string) {
			change("MANIFEST", func(b []byte) []byte { b[1] ^= 4; return b })(t, dir)
			change("*.sst", func(b []byte) []byte { b[len(b)/2] ^= 1; return b })(t, dir)
		}, 10, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(t.TempDir())
			fillStore(t, o)
			tt.damage(t, o.Dir)
			if tt.again {
				o.Coarse = []CoarseCursor{{"a", 1, 33}}
			}
			o.SetAside, o.Salvage, o.Epochs = true, inProcess, map[uint32]Epoch{1: {ID: "e1", Start: 1}}
			q := open(t, o)
			if n := len(q.BadStores()); n != 1 || len(disk.Unsalvaged(o.Dir)) != 0 {
				t.Fatalf("%d stores were set aside, not salvaged: %q", n, disk.Unsalvaged(o.Dir))
			}
			judge := func(q *Queue) {
				t.Helper()
				var missing uint64
				for _, class := range []tidegate.Class{tidegate.ClassReading, tidegate.ClassAlarm} {
					got, want := look(t, cursor(t, q, "a"), class, 1), wantedOf(class)
					for _, r := range got {
						if !want.Covers(r) && !(tt.again && r.First > 33) {
							t.Errorf("%s: shows %v, which was acknowledged or never written", class, r)
						}
						want.Remove(r)
					}
					missing += want.Len()
				}
				if missing > tt.lost || tt.lost > 0 && missing == 0 {
					t.Errorf("%d records are missing, want up to %d", missing, tt.lost)
				}
				rep, err := q.Check(t.Context())
				if err != nil || len(rep.Faults) > 0 {
					t.Errorf("check: %v, %v", rep.Faults, err)
				}
				s := q.Stats().Cursors[0]
				if p, b := s.Produced.Device().Records, s.Buffered.Device().Records+s.Delivered.Device().Records; p != b {
					t.Errorf("produced %d, buffered and delivered %d", p, b)
				}
			}
			judge(q)
			// What follows stands behind it, and all of it is there after another start, which salvages nothing.
			putAndCommit(t, q, frame(tidegate.ClassReading, 1000, 1009, 1))
			if err := cursor(t, q, "a").Ack("e1", tidegate.Ranges{{First: 1000, Last: 1009}}); err != nil {
				t.Fatal(err)
			}
			commit(t, q, Commit{Position: Position{Epoch: 1, Next: 1010, Time: 1}})
			if err := q.Close(); err != nil {
				t.Fatal(err)
			}
			o.Salvage = func(dir string) (io.ReadCloser, error) { t.Errorf("salvages %s again", dir); return inProcess(dir) }
			q = open(t, o)
			defer q.Close()
			judge(q)
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// TestSalvageOfSeveral has three damaged stores: the one looked at first has numbers on both sides of all others, and two have the same.
func TestSalvageOfSeveral(t *testing.T) {
	for name, tt := range map[string]struct {
		first, others *seal.Keys
		thin          bool
		all           bool // what lies in between is brought over
	}{
		"in the clear": {nil, nil, false, true},
		"sealed since": {keysFor(t, 1), nil, false, true},
		"another key":  {keysFor(t, 1, 2), keysFor(t, 2), false, false},
		"summaries":    {nil, nil, true, false},
	} {
		t.Run(name, func(t *testing.T) { salvageSeveral(t, tt.first, tt.others, tt.thin, tt.all) })
	}
}

func salvageSeveral(t *testing.T, first, others *seal.Keys, thin, all bool) {
	o := testOptions(t.TempDir())
	o.Keys = first
	q := open(t, o)
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	around := []Frame{frame(tidegate.ClassReading, 1, 3, 1), frame(tidegate.ClassReading, 500, 520, 1)}
	around[0].Thin, around[1].Thin = thin, thin
	putAndCommit(t, q, around...)
	if n := len(q.Stats().Segments); n != 1 {
		t.Fatalf("%d segments, want 1", n)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	aside := func(name string, move bool) {
		t.Helper()
		from, to := filepath.Join(o.Dir, "buffer"), filepath.Join(o.Dir, "buffer.bad-"+name)
		err := os.CopyFS(to, os.DirFS(from))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, "unsalvaged"), nil, 0o600)
		}
		if err == nil && move {
			err = os.RemoveAll(from)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	aside("1", true)
	o.Keys = others
	fillStore(t, o)
	aside("2", false)
	aside("3", true)
	o.SetAside, o.Salvage, o.Keys = true, inProcess, first
	q = open(t, o)
	defer q.Close()
	var want tidegate.Ranges
	records := uint64(24)
	if all {
		want, records = wantedOf(tidegate.ClassReading), 24+390 // all but the first frame, of which the other store has a part
	}
	want.Add(tidegate.Range{First: 500, Last: 520})
	wantRanges(t, "shown", look(t, cursor(t, q, "a"), tidegate.ClassReading, 1), want)
	if n := q.Stats().Produced[tidegate.ClassReading].Records; n != records {
		t.Errorf("%d records are there, want %d", n, records)
	}
	if rep, err := q.Check(t.Context()); err != nil || len(rep.Faults) > 0 {
		t.Errorf("check: %v, %v", rep.Faults, err)
	}
}

// TestAsideIsBounded sets stores aside: the oldest go where all take too much, but never the last.
func TestAsideIsBounded(t *testing.T) {
	dir := t.TempDir()
	for i, want := range []int{1, 2, 2, 1} {
		if err := os.MkdirAll(filepath.Join(dir, "buffer"), 0o700); err != nil {
			t.Fatal(err)
		}
		size := 1 << 20
		if i == 3 {
			size = 4 << 20
		}
		if err := os.WriteFile(filepath.Join(dir, "buffer", "000001.sst"), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
		to, err := disk.SetAside(dir, 5<<19, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		list := disk.BadStores(dir)
		if len(list) != want || list[len(list)-1] != to {
			t.Errorf("after %d there are %q, want %d with %s", i+1, list, want, to)
		}
	}
}

// TestVerify goes through all that is stored, once: what of it is damaged is declared, without anybody reading it.
func TestVerify(t *testing.T) {
	o := testOptions(t.TempDir())
	o.sizes.segment, o.sizes.tail = 1000, 1
	q := open(t, o)
	defer q.Close()
	if _, _, _, ok, err := q.Verify(Mark{}); ok || err != nil {
		t.Errorf("of nothing: %v, %v", ok, err)
	}
	q.AddEpoch(1, Epoch{ID: "e1", Start: 1})
	for i := range uint64(50) {
		putAndCommit(t, q, frame(tidegate.ClassReading, i*11+1, i*11+10, 2), frame(tidegate.ClassAlarm, i*11+11, i*11+11, 1))
	}
	flipFrame(t, q, 1, 60)
	var missing uint64
	steps := 0
	var sum int64
	for m := (Mark{}); ; steps++ {
		next, bytes, lost, ok, err := q.Verify(m)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		m, missing, sum = next, missing+lost, sum+bytes
	}
	var want int64
	for _, s := range q.Stats().Segments {
		want += s.Bytes
	}
	if n := len(q.Stats().Segments); steps != n || n < 5 || missing != 10 || sum != want {
		t.Errorf("%d steps over %d segments, %d of %d bytes, %d records are missing; want 10", steps, n, sum, want, missing)
	}
	asked := q.Requests()
	if len(asked) != 1 || asked[0].Cause != tidegate.CauseDamaged || asked[0].Count != 20 {
		t.Errorf("asked for %+v", asked)
	}
}

// TestSuspect ends processes by their store, as it were: the next start has it verified, and sets it aside where that says so.
func TestSuspect(t *testing.T) {
	for name, tt := range map[string]struct {
		starts  string // as the process before left it
		verdict error
		want    int // verifications
	}{
		"ended while it opened the store":      {"o", ErrDamaged, 1},
		"ended so, and the store is sound":     {"ro", nil, 1},
		"ended once":                           {"r", ErrDamaged, 0},
		"ended three times soon after a start": {"rrr", ErrDamaged, 1},
		"stopped in order":                     {"", ErrDamaged, 0},
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions(t.TempDir())
			fillStore(t, o)
			path := filepath.Join(o.Dir, "starts")
			if tt.starts != "" {
				if err := os.WriteFile(path, []byte(tt.starts), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			asked := 0
			o.Verify = func(string, time.Duration) error { asked++; return tt.verdict }
			o.SetAside, o.Salvage, o.Epochs = true, inProcess, map[uint32]Epoch{1: {ID: "e1", Start: 1}}
			q := open(t, o)
			aside := 0
			if asked > 0 && tt.verdict != nil {
				aside = 1
			}
			if n := len(q.BadStores()); asked != tt.want || n != aside {
				t.Errorf("%d verifications, %d stores set aside; want %d and %d", asked, n, tt.want, aside)
			}
			wantRanges(t, "shown", look(t, cursor(t, q, "a"), tidegate.ClassAlarm, 1), wantedOf(tidegate.ClassAlarm))
			if b, err := os.ReadFile(path); err != nil || b[len(b)-1] != 'r' {
				t.Errorf("in use it is noted as %q (%v)", b, err)
			}
			if err := q.Close(); err != nil {
				t.Fatal(err)
			}
			if disk.IsSuspect(o.Dir) {
				t.Error("after a stop in order the store is suspect")
			}
		})
	}
}

// TestSalvageSealed: what is sealed is brought over as it lies there; as long as its key is missing the store waits, and nothing is given up.
func TestSalvageSealed(t *testing.T) {
	o := testOptions(t.TempDir())
	o.Keys = keysFor(t, 1)
	old := o.Keys.To()
	fillStore(t, o)
	remove(t, filepath.Join(o.Dir, "buffer", "MANIFEST"))
	o.SetAside, o.Salvage, o.Epochs = true, inProcess, map[uint32]Epoch{1: {ID: "e1", Start: 1}}
	o.Keys = keysFor(t, 2)
	for range 2 {
		if _, err := Open(o); !errors.Is(err, ErrKey) {
			t.Fatalf("without the key: got %v, want ErrKey", err)
		}
	}
	o.Keys = keysFor(t, 2, 1)
	q := open(t, o)
	defer q.Close()
	for _, class := range []tidegate.Class{tidegate.ClassReading, tidegate.ClassAlarm} {
		wantRanges(t, class.String(), look(t, cursor(t, q, "a"), class, 1), wantedOf(class))
	}
	if rep, err := q.Check(t.Context()); err != nil || len(rep.Faults) > 0 || rep.Sealed[old] != 80 {
		t.Errorf("check: %v, %v, sealed %v", rep.Faults, err, rep.Sealed)
	}
}
