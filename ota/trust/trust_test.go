package trust

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

// aged is a repository with a second root and newer everything else, a gateway that has it all, and what was served before.
func aged(t testing.TB) (r, old *repo, g *gateway) {
	r = newRepo(t)
	old = r.frozen()
	g = newGateway(t, r)
	r.publish(root, targets, snapshot, timestamp)
	g.wantGood(Versions{2, 2, 2, 2})
	return r, old, g
}

// damages are what happens to a file on a bad card.
var damages = map[string]func(b []byte) []byte{
	"truncated": func(b []byte) []byte { return b[:len(b)/2] },
	"zeroed":    func(b []byte) []byte { return make([]byte, len(b)) },
	"flipped":   func(b []byte) []byte { return flipped(b, len(b)-10) },
	"deleted":   func([]byte) []byte { return nil },
}

func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

// spoil changes a file below the gateway's folder.
func (g *gateway) spoil(name string, how func(b []byte) []byte) {
	g.t.Helper()
	path := filepath.Join(g.dir, name)
	b, err := os.ReadFile(path)
	if err != nil {
		g.t.Fatal(err)
	}
	if b = how(b); b == nil {
		err = os.Remove(path)
	} else {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		g.t.Fatal(err)
	}
}

// TestDamagedCacheIsRepairedWithinOneCycle damages each file of the cache in each way: the next cycle repairs it, or refuses what is older.
func TestDamagedCacheIsRepairedWithinOneCycle(t *testing.T) {
	r, old, g := aged(t)
	for _, role := range []string{root, timestamp, snapshot, targets} {
		for name, how := range damages {
			t.Run(role+" "+name, func(t *testing.T) {
				good := g.clone()
				good.t = t
				good.spoil("tuf/"+role+".json", how)
				bad := good.clone()
				good.wantGood(Versions{2, 2, 2, 2})
				var kept []string
				for n := range good.tree() {
					if strings.Contains(n, "quarantine") {
						kept = append(kept, n)
					}
				}
				want := []string{"tuf/quarantine/" + role + ".json.1"}
				if name == "deleted" {
					want = nil
				}
				if !slices.Equal(kept, want) {
					t.Errorf("got %q in quarantine, want %q", kept, want)
				}
				if len(good.damage) != len(want) || len(want) > 0 && !errors.Is(good.damage[0], ErrCache) {
					t.Errorf("got %v said of it, want %v", good.damage, ErrCache)
				}
				bad.source = old
				if err := bad.refresh(); !errors.Is(err, ErrRollback) {
					t.Fatalf("got %v of an older source, want %v", err, ErrRollback)
				}
				bad.source = r
				bad.wantGood(Versions{2, 2, 2, 2})
			})
		}
	}
}

func TestDamagedFloorsAreRebuilt(t *testing.T) {
	r, old, g := aged(t)
	tr, err := Open(g.dir, g.pinned)
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.RaiseCounter(7); err != nil {
		t.Fatal(err)
	}
	for _, files := range [][]string{{"floors.0"}, {"floors.1"}, {"floors.0", "floors.1"}} {
		for name, how := range damages {
			t.Run(fmt.Sprint(files, name), func(t *testing.T) {
				g := g.clone()
				g.t = t
				for _, f := range files {
					g.spoil(f, how)
				}
				tr, err := Open(g.dir, g.pinned)
				if err != nil {
					t.Fatal(err)
				}
				want := uint64(7)
				if len(files) == 2 {
					want = 0
				}
				if got := tr.Counter(); got != want {
					t.Errorf("got counter %d, want %d", got, want)
				}
				said := tr.Damage()
				if len(said) == 0 || !errors.Is(said[0], ErrFloors) {
					t.Errorf("got %v said of it", said)
				}
				if again := tr.Damage(); again != nil {
					t.Errorf("got %v said twice", again)
				}
				// The caller knows what it ran; the rest is what the cache proves.
				if err := tr.RaiseCounter(7); err != nil {
					t.Fatal(err)
				}
				g.source = old
				if err := g.refresh(); !errors.Is(err, ErrRollback) {
					t.Fatalf("got %v of an older source, want %v", err, ErrRollback)
				}
				g.source = r
				g.wantGood(Versions{2, 2, 2, 2})
				g.wantGood(Versions{2, 2, 2, 2})
				if len(g.damage) != 0 {
					t.Errorf("got %v said of floors that are whole again", g.damage)
				}
				if tr, err = Open(g.dir, g.pinned); err != nil || tr.Counter() != 7 {
					t.Errorf("got counter %d (%v), want 7", tr.Counter(), err)
				}
			})
		}
	}
}

// TestOneFloorFileMayBeOlder has the newer of two files damaged: what the cache proves beyond the other one counts.
func TestOneFloorFileMayBeOlder(t *testing.T) {
	r := newRepo(t)
	g := newGateway(t, r)
	g.wantGood(Versions{1, 1, 1, 1})
	before := g.clone()
	old := r.frozen()
	r.publish(timestamp)
	g.wantGood(Versions{1, 2, 1, 1})
	a, b := before.tree(), g.tree()
	for _, name := range []string{"floors.0", "floors.1"} {
		if !bytes.Equal(a[name], b[name]) {
			g.spoil(name, damages["zeroed"])
		}
	}
	g.source = old
	g.wantRefused(ErrRollback, Versions{1, 2, 1, 1})
}

func TestFloorsOfAnotherFormat(t *testing.T) {
	_, old, g := aged(t)
	tr, err := Open(g.dir, g.pinned)
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{`{"format":2}`, `{"format":2,"counter":9,"timestamp":9}`, `{"format":1`, `[]`} {
		if err := tr.pair.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
		if tr, err := Open(g.dir, g.pinned); err != nil || tr.floors != (floors{Format: floorsFormat}) {
			t.Errorf("%s: got %+v (%v), want none", body, tr.floors, err)
		}
		g := g.clone()
		g.source = old
		g.wantRefused(ErrRollback, Versions{2, 2, 2, 2})
		if len(g.damage) != 1 || !errors.Is(g.damage[0], ErrFloors) {
			t.Errorf("%s: got %v said of it, want %v", body, g.damage, ErrFloors)
		}
	}
	// Fields of a later program are no damage.
	if err := tr.pair.Write([]byte(`{"format":1,"counter":9,"later":{"a":1}}`)); err != nil {
		t.Fatal(err)
	}
	if tr, err = Open(g.dir, g.pinned); err != nil || tr.Counter() != 9 || len(tr.Damage()) != 0 {
		t.Errorf("got counter %d (%v), want 9", tr.Counter(), err)
	}
}

// TestFloorsCut: a cut between the two files of floors is no damage, and the next cycle makes it good, though nothing is new.
func TestFloorsCut(t *testing.T) {
	g := newGateway(t, newRepo(t))
	g.wantGood(Versions{1, 1, 1, 1})
	older, err := os.ReadFile(filepath.Join(g.dir, "floors.0"))
	if err != nil {
		t.Fatal(err)
	}
	tr, err := Open(g.dir, g.pinned)
	if err == nil {
		err = tr.RaiseCounter(9)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(g.dir, "floors.0"), older, 0o600)
	}
	if err == nil {
		tr, err = Open(g.dir, g.pinned)
	}
	if err != nil || tr.Counter() != 9 || tr.Damage() != nil {
		t.Errorf("got counter %d, damage %v, %v, want 9 and none", tr.Counter(), tr.Damage(), err)
	}
	g.wantGood(Versions{1, 1, 1, 1})
	a, err1 := os.ReadFile(filepath.Join(g.dir, "floors.0"))
	b, err2 := os.ReadFile(filepath.Join(g.dir, "floors.1"))
	if err1 != nil || err2 != nil || !bytes.Equal(a, b) || len(g.damage) > 0 {
		t.Errorf("behind a cycle the files of floors differ, damage %v: %v, %v", g.damage, err1, err2)
	}
}

func TestQuarantineIsBounded(t *testing.T) {
	_, _, g := aged(t)
	large := bytes.Repeat([]byte{'x'}, MaxTargets)
	for range 20 {
		g.write("tuf/targets.json", large)
		g.write("tuf/snapshot.json", []byte("{"))
		g.wantGood(Versions{2, 2, 2, 2})
	}
	count, size, newest := 0, 0, false
	for name, b := range g.tree() {
		if strings.HasPrefix(name, "tuf/quarantine/") {
			count++
			size += len(b)
			newest = newest || name == "tuf/quarantine/targets.json.40"
		}
	}
	if count > maxQuarantined || size > maxQuarantineBytes || size < 3*MaxTargets || !newest {
		t.Errorf("got %d files of %d bytes, the newest one: %v; want at most %d of %d", count, size, newest, maxQuarantined, maxQuarantineBytes)
	}
	// What is no file of ours is taken away.
	g.write("tuf/targets.json", append(large, 'x'))
	g.wantGood(Versions{2, 2, 2, 2})
	for _, role := range []string{root, timestamp, snapshot, targets} {
		if err := os.Remove(g.file(role)); err != nil {
			t.Fatal(err)
		}
		g.write("tuf/"+role+".json/below/it", large)
	}
	g.wantGood(Versions{2, 2, 2, 2})
	if len(g.damage) != 4 {
		t.Errorf("got %v, want 4 files said to be damaged", g.damage)
	}
	kept, err := os.ReadDir(filepath.Join(g.dir, "tuf/quarantine"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range kept {
		if i, err := e.Info(); err != nil || !i.Mode().IsRegular() || i.Size() > MaxTargets {
			t.Errorf("got %s of %d bytes (%v) in quarantine, want files of at most %d", e, i.Size(), err, MaxTargets)
		}
	}
}

// TestRootNeverGoesBack: where the cached root is lost, floors know that there was one, whatever else is as it was.
func TestRootNeverGoesBack(t *testing.T) {
	r := newRepo(t)
	g := newGateway(t, r)
	old := r.frozen()
	r.publish(root)
	g.wantGood(Versions{2, 1, 1, 1})
	g.spoil("tuf/root.json", damages["deleted"])
	g.source = old
	if err := g.refresh(); !errors.Is(err, ErrRollback) || !strings.HasPrefix(err.Error(), "root.json: ") {
		t.Errorf("got %v, want %v of root.json", err, ErrRollback)
	}
	g.source = r
	g.wantGood(Versions{2, 1, 1, 1})
}

// TestCachedRootThatReadsWell: of a root that is damaged in a key, and reads well, nothing would be good for ever.
func TestCachedRootThatReadsWell(t *testing.T) {
	_, _, g := aged(t)
	public := newKey("timestamp0").public().Value.PublicKey
	g.spoil("tuf/root.json", func(b []byte) []byte {
		if bytes.Count(b, []byte(public)) != 1 {
			t.Fatalf("want the key %s once in %s", public, b)
		}
		return bytes.Replace(b, []byte(public), []byte(public[1:]+public[:1]), 1)
	})
	g.wantGood(Versions{2, 2, 2, 2})
	if len(g.damage) != 1 || !errors.Is(g.damage[0], ErrCache) {
		t.Errorf("got %v said of it, want %v", g.damage, ErrCache)
	}
}

// TestOlderCacheLowersNothing puts older metadata into the cache, which somebody signed: floors stay where they are.
func TestOlderCacheLowersNothing(t *testing.T) {
	for _, role := range []string{timestamp, snapshot, targets} {
		_, old, g := aged(t)
		g.write("tuf/"+role+".json", old.served[old.name(role, 1)])
		g.source = old
		if err := g.refresh(); !errors.Is(err, ErrRollback) {
			t.Errorf("%s: got %v of an older source, want %v", role, err, ErrRollback)
		}
	}
	// A newer timestamp in the cache names an older snapshot.
	f := floors{Timestamp: 2, Snapshot: 5}
	if got := f.stamped(stamp{version: 3, named: &metadata.MetaFiles{Version: 4}}); got.Timestamp != 3 || got.Snapshot != 5 {
		t.Errorf("got timestamp %d and snapshot %d, want 3 and 5", got.Timestamp, got.Snapshot)
	}
	if got := f.stamped(stamp{version: 1, named: &metadata.MetaFiles{Version: 6}}); got != f {
		t.Errorf("got %+v of an older timestamp, want %+v", got, f)
	}
}

func TestCounter(t *testing.T) {
	r, _, g := aged(t)
	open := func() *Trust {
		t.Helper()
		tr, err := Open(g.dir, g.pinned)
		if err != nil {
			t.Fatal(err)
		}
		return tr
	}
	tr := open()
	for _, n := range []uint64{5, 3, 5} {
		if err := tr.RaiseCounter(n); err != nil || tr.Counter() != 5 || open().Counter() != 5 {
			t.Fatalf("got counter %d, %d on disk (%v), want 5", tr.Counter(), open().Counter(), err)
		}
	}
	// Rotating every key there is changes nothing about it, nor does another owner.
	for _, role := range []string{targets, snapshot, timestamp} {
		r.grant(role, 1, newKey("another "+role))
	}
	r.signers[root] = append(r.signers[root], newKeys("another root", 3)...)
	signers := r.signers[root]
	r.grant(root, 2, newKeys("another root", 3)...)
	r.signers[root] = signers
	r.targets.Version, r.snapshot.Version, r.timestamp.Version = 0, 0, 0
	r.publish(root, targets, snapshot, timestamp)
	g.wantGood(Versions{3, 1, 1, 1})
	if got := open().Counter(); got != 5 {
		t.Errorf("got counter %d after keys were rotated, want 5", got)
	}
	g.source = newRepo(t)
	g.source.root.Version = 0
	g.source.grant(root, 1, newKey("owner"))
	g.source.publish(root)
	g.pinned = g.source.served["1.root.json"]
	g.wantGood(Versions{1, 1, 1, 1})
	if got := open().Counter(); got != 5 {
		t.Errorf("got counter %d with another owner, want 5", got)
	}
}

func TestNewest(t *testing.T) {
	r := newRepo(t)
	g := newGateway(t, r)
	signed := func(text string) {
		r.timestamp.UnrecognizedFields = map[string]any{"x-tidegate-time": text}
		r.publish(timestamp)
	}
	newest := func() time.Time {
		t.Helper()
		tr, err := Open(g.dir, g.pinned)
		if err != nil {
			t.Fatal(err)
		}
		return tr.Newest()
	}
	if got := newest(); !got.IsZero() {
		t.Errorf("got %s of no metadata, want none", got)
	}
	r.snapshot.Expires = day.AddDate(0, 1, 0)
	r.publish(snapshot, timestamp)
	g.wantGood(Versions{1, 2, 2, 1})
	if got := newest(); !got.IsZero() {
		t.Errorf("got %s of a timestamp that says none, want none", got)
	}
	signed("2027-03-20T00:00:00Z")
	g.wantGood(Versions{1, 3, 2, 1})
	signed("2027-03-10T00:00:00Z") // another signer's clock
	g.wantGood(Versions{1, 4, 2, 1})
	if want := time.Date(2027, 3, 20, 0, 0, 0, 0, time.UTC); !newest().Equal(want) {
		t.Errorf("got %s, want %s", newest(), want)
	}
	// The time that was signed counts, however slow the clock is: at once, and from then on.
	g.now = time.Time{}
	r.timestamp.Expires = time.Date(2027, 3, 20, 0, 0, 0, 0, time.UTC)
	r.timestamp.UnrecognizedFields = nil
	r.publish(timestamp)
	g.wantRefused(ErrExpired, Versions{1, 4, 2, 1})
	r.timestamp.Expires = day.AddDate(2, 0, 0)
	// One at which the snapshot is expired, or the root, is a mistake, which the next timestamp undoes.
	signed("2027-04-01T12:00:00Z")
	g.wantRefused(ErrExpired, Versions{1, 6, 2, 1})
	signed("2028-03-01T12:00:00Z")
	g.wantRefused(ErrExpired, Versions{1, 6, 2, 1})
	signed("2027-04-01T11:59:59Z")
	g.wantGood(Versions{1, 8, 2, 1})
	for _, bad := range []string{"", "soon", "2027-04-01T12:00:00", "2027-04-01T12:00:00+01:00", "2027-04-01"} {
		signed(bad)
		g.wantRefused(ErrMalformed, Versions{1, 8, 2, 1})
	}
	// Whoever stole the online key and went ahead, as far as that goes, is undone by rotating it.
	r.grant(timestamp, 1, newKey("another timestamp"))
	r.timestamp.UnrecognizedFields = nil
	r.publish(root, timestamp)
	g.now = day
	g.wantGood(Versions{2, 14, 2, 1})
	if got := newest(); !got.IsZero() {
		t.Errorf("got %s after its keys were rotated, want none", got)
	}
}

func TestHoldAndExpires(t *testing.T) {
	r := newRepo(t)
	g := newGateway(t, r)
	g.wantGood(Versions{1, 1, 1, 1})
	if g.last.Hold != nil || !g.last.Expires.Equal(day.AddDate(1, 0, 0)) {
		t.Errorf("got hold %s, expires %s, want none, a year from %s", g.last.Hold, g.last.Expires, day)
	}
	r.timestamp.UnrecognizedFields = map[string]any{"x-tidegate-hold": map[string]int{"12": 0, "13": 5}}
	for i, e := range []*time.Time{&r.root.Expires, &r.timestamp.Expires, &r.snapshot.Expires, &r.targets.Expires} {
		*e = day.AddDate(0, 0, 10-i)
		r.publish(root, targets, snapshot, timestamp)
		n := int64(i) + 2
		g.wantGood(Versions{n, n, n, n})
		if string(g.last.Hold) != `{"12":0,"13":5}` || !g.last.Expires.Equal(*e) {
			t.Errorf("got hold %s, expires %s, want the map, %s", g.last.Hold, g.last.Expires, *e)
		}
	}
}

func TestLimits(t *testing.T) {
	space := func(n int) []byte { return bytes.Repeat([]byte{' '}, n) }
	t.Run("too long", func(t *testing.T) {
		for name, limit := range map[string]int{"2.root.json": MaxRoot, "timestamp.json": MaxTimestamp} {
			r := newRepo(t)
			g := newGateway(t, r)
			r.publish(root, timestamp)
			pad := limit - len(r.served[name])
			good := r.served[name]
			r.served[name] = append(good, space(pad+1)...)
			if err := g.refresh(); !errors.Is(err, ErrLength) || !strings.Contains(err.Error(), fmt.Sprintf("got %d bytes, want at most %d", limit+1, limit)) {
				t.Fatalf("got %v, want %v", err, ErrLength)
			}
			r.served[name] = append(good, space(pad)...)
			g.wantGood(Versions{2, 2, 1, 1})
		}
		for role, limit := range map[string]int{snapshot: MaxSnapshot, targets: MaxTargets} {
			r := newRepo(t)
			g := newGateway(t, r)
			pad := func(n int) {
				version, signed := r.state(role)
				raw := r.sign(signed, r.signers[role]...)
				r.put(role, *version, append(raw, space(n-len(raw))...))
				if role == targets {
					r.publish(snapshot)
				}
				r.publish(timestamp)
			}
			pad(limit + 1)
			if err := g.refresh(); !errors.Is(err, ErrLength) || !strings.Contains(err.Error(), fmt.Sprintf("got %d for %s.json, want 1 to %d", limit+1, role, limit)) {
				t.Fatalf("got %v, want %v", err, ErrLength)
			}
			pad(limit)
			if err := g.refresh(); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("another length than named", func(t *testing.T) {
		for _, name := range []string{"1.snapshot.json", "1.targets.json"} {
			for _, change := range []func(b []byte) []byte{func(b []byte) []byte { return append(b, ' ') }, func(b []byte) []byte { return b[:len(b)-1] }} {
				r := newRepo(t)
				r.served[name] = change(r.served[name])
				if err := newGateway(t, r).refresh(); !errors.Is(err, ErrLength) {
					t.Errorf("%s: got %v, want %v", name, err, ErrLength)
				}
			}
		}
	})
	t.Run("what a source is asked for", func(t *testing.T) {
		r := newRepo(t)
		limits := map[string]int64{}
		tr, err := Open(tmpfs.Dir(t), r.served["1.root.json"])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tr.Refresh(context.Background(), limited{r, limits}, day); err != nil {
			t.Fatal(err)
		}
		want := map[string]int64{
			"2.root.json": MaxRoot, "timestamp.json": MaxTimestamp,
			"1.snapshot.json": int64(len(r.served["1.snapshot.json"])), "1.targets.json": int64(len(r.served["1.targets.json"])),
		}
		if !maps.Equal(limits, want) {
			t.Errorf("got limits %v, want %v", limits, want)
		}
	})
	t.Run("too many roots", func(t *testing.T) {
		r := newRepo(t)
		g := newGateway(t, r)
		for range MaxRoots + 1 {
			r.publish(root)
		}
		g.wantRefused(ErrRoots, Versions{Root: MaxRoots + 1})
		g.wantGood(Versions{MaxRoots + 2, 1, 1, 1})
	})
}

// limited notes the limits that a source was given.
type limited struct {
	*repo
	limits map[string]int64
}

func (l limited) Metadata(ctx context.Context, name string, limit int64) ([]byte, error) {
	l.limits[name] = limit
	return l.repo.Metadata(ctx, name, limit)
}

// newOwner has a repository of his own, with other keys.
func newOwner(t testing.TB) *repo {
	r := newRepo(t)
	r.root.Version = 0
	for _, role := range []string{root, targets, snapshot, timestamp} {
		r.grant(role, 1, newKey("owner's "+role))
	}
	delete(r.served, "2.root.json")
	r.targets.Version, r.snapshot.Version, r.timestamp.Version = 0, 0, 0
	r.publish(root, targets, snapshot, timestamp)
	return r
}

// TestPinned has another root pinned than before: of the same chain, of another owner, of one who lost the keys.
func TestPinned(t *testing.T) {
	t.Run("newer, of the same chain", func(t *testing.T) {
		r, old, g := aged(t)
		r.publish(root)
		g.pinned = r.served["3.root.json"]
		g.wantGood(Versions{3, 2, 2, 2})
		g.wantAsked("4.root.json", "timestamp.json")
		g.source = old
		g.wantRefused(ErrRollback, Versions{3, 2, 2, 2})
	})
	t.Run("older, of the same chain", func(t *testing.T) {
		r, old, g := aged(t)
		g.pinned = r.served["2.root.json"]
		r.publish(root)
		g.wantGood(Versions{3, 2, 2, 2})
		g.pinned = r.served["1.root.json"]
		g.source = old // which has no second root: going back would be possible
		g.wantRefused(ErrRollback, Versions{3, 2, 2, 2})
		g.wantAsked("4.root.json", "timestamp.json")
		g.source = r
		g.wantGood(Versions{3, 2, 2, 2})
	})
	t.Run("another owner", func(t *testing.T) {
		_, _, g := aged(t)
		g.source = newOwner(t)
		g.wantRefused(ErrSignature, Versions{2, 2, 2, 2})
		g.pinned = g.source.served["1.root.json"]
		g.wantGood(Versions{1, 1, 1, 1})
		g.wantGood(Versions{1, 1, 1, 1})
		if len(g.damage) != 0 {
			t.Errorf("got %v, which is no damage", g.damage)
		}
	})
	t.Run("another owner, cached root damaged", func(t *testing.T) {
		_, _, g := aged(t)
		g.source = newOwner(t)
		g.pinned = g.source.served["1.root.json"]
		g.spoil("tuf/root.json", damages["truncated"])
		g.wantGood(Versions{1, 1, 1, 1})
	})
	t.Run("too long", func(t *testing.T) {
		_, _, g := aged(t)
		g.pinned = append(g.pinned, bytes.Repeat([]byte{' '}, MaxRoot)...)
		if err := g.refresh(); !errors.Is(err, ErrNoTrust) || !errors.Is(err, ErrLength) {
			t.Errorf("got %v, want %v and %v", err, ErrNoTrust, ErrLength)
		}
	})
	t.Run("none", func(t *testing.T) {
		for pinned, want := range map[string]string{"": "", "{}": ": pinned root: root.json: ", " ": ": pinned root: root.json: "} {
			if _, err := Open(tmpfs.Dir(t), []byte(pinned)); !errors.Is(err, ErrNoTrust) || !strings.HasPrefix(err.Error(), ErrNoTrust.Error()+want) || want == "" && err != ErrNoTrust {
				t.Errorf("%q: got %v, want %v%s", pinned, err, ErrNoTrust, want)
			}
		}
	})
}

// TestConsistentSnapshots has root say that files have their version in their names, and then that they have not.
func TestConsistentSnapshots(t *testing.T) {
	r := newRepo(t)
	r.add("path/to/file", []byte("body"))
	r.root.ConsistentSnapshot = false
	r.publish(root, targets, snapshot, timestamp)
	g := newGateway(t, r)
	g.wantGood(Versions{2, 2, 2, 2})
	g.wantAsked("2.root.json", "3.root.json", "timestamp.json", "snapshot.json", "targets.json")
	for _, f := range g.last.Files {
		if f.Stored != f.Name {
			t.Errorf("got %s stored as %s, want the same", f.Name, f.Stored)
		}
	}
	// Another version than is named, under the one name that there is.
	r.publish(targets, snapshot, timestamp)
	r.publish(snapshot)
	g.wantRefused(ErrHash, Versions{2, 3, 2, 2})
	r.root.ConsistentSnapshot = true
	r.publish(root, targets, snapshot, timestamp)
	g.wantGood(Versions{3, 4, 5, 4})
	g.wantAsked("3.root.json", "4.root.json", "timestamp.json", "5.snapshot.json", "4.targets.json")
	g.wantFile("path/to/file", "body", "path/to/")
}

// TestBadSourceIsNoHarm has the source end with an error at each file: nothing is lost, and its error is what is returned.
func TestBadSourceIsNoHarm(t *testing.T) {
	r, _, g := aged(t)
	r.publish(root, targets, snapshot, timestamp)
	down := errors.New("unreachable")
	for i, name := range []string{"3.root.json", "timestamp.json", "3.snapshot.json", "3.targets.json"} {
		r.fault = func(asked string) error {
			if asked == name {
				return down
			}
			return nil
		}
		held := []Versions{{2, 2, 2, 2}, {3, 2, 2, 2}, {3, 3, 2, 2}, {3, 3, 3, 2}}[i]
		g.wantRefused(down, held)
	}
	r.fault = nil
	g.wantGood(Versions{3, 3, 3, 3})
}

// TestSameSignedBytesLaidOutOtherwise: whoever sits between adds white space or a signature that counts for nothing. It is the same timestamp,
// so the next source that has it as it was is not refused.
func TestSameSignedBytesLaidOutOtherwise(t *testing.T) {
	r := newRepo(t)
	g := newGateway(t, r)
	plain := r.served["timestamp.json"]
	r.served["timestamp.json"] = append(bytes.Clone(plain), "\n\n"...)
	g.wantGood(Versions{1, 1, 1, 1})
	r.served["timestamp.json"] = r.sign(&r.timestamp, r.signers[timestamp][0], newKey("junk"))
	g.wantGood(Versions{1, 1, 1, 1})
	r.served["timestamp.json"] = plain
	g.wantGood(Versions{1, 1, 1, 1})
	g.wantBytes("timestamp.json")
}

// TestKeysStayWhileOthersJoin: adding a key to a role is a rotation too, by which its floors begin anew (TUF 5.3.11), although what is cached is
// still verified.
func TestKeysStayWhileOthersJoin(t *testing.T) {
	r := newRepo(t)
	g := newGateway(t, r)
	r.timestamp.Version = 99
	r.publish(timestamp)
	g.wantGood(Versions{1, 100, 1, 1})
	r.grant(timestamp, 1, append(r.signers[timestamp], newKey("joins"))...)
	r.timestamp.Version = 1
	r.publish(root, timestamp)
	g.wantGood(Versions{2, 2, 1, 1})
	// From then on they count again.
	old := r.frozen()
	r.publish(timestamp)
	g.wantGood(Versions{2, 3, 1, 1})
	g.source = old
	g.wantRefused(ErrRollback, Versions{2, 3, 1, 1})
}

// TestFloorsOfOlderKeys: where floors are lost, or older than the keys that the cache was accepted by, the cached root says which these are.
func TestFloorsOfOlderKeys(t *testing.T) {
	t.Run("older than a rotation", func(t *testing.T) {
		r := newRepo(t)
		g := newGateway(t, r)
		g.wantGood(Versions{1, 1, 1, 1})
		before := g.tree()["floors.1"]
		r.grant(timestamp, 1, newKey("another timestamp"))
		r.publish(root, timestamp)
		g.wantGood(Versions{2, 2, 1, 1})
		old := r.frozen()
		r.publish(timestamp)
		g.wantGood(Versions{2, 3, 1, 1})
		g.write("floors.1", before)
		g.spoil("floors.0", damages["zeroed"])
		g.source = old
		g.wantRefused(ErrRollback, Versions{2, 3, 1, 1})
	})
	t.Run("lost, and keys join", func(t *testing.T) {
		r := newRepo(t)
		g := newGateway(t, r)
		r.timestamp.Version = 99
		r.publish(timestamp)
		g.wantGood(Versions{1, 100, 1, 1})
		g.spoil("floors.0", damages["deleted"])
		g.spoil("floors.1", damages["deleted"])
		r.grant(timestamp, 1, append(r.signers[timestamp], newKey("joins"))...)
		r.timestamp.Version = 1
		r.publish(root, timestamp)
		g.wantGood(Versions{2, 2, 1, 1})
	})
}

// TestOtherKeysBeginAnew: what makes keys others, so that floors begin anew, and what does not.
func TestOtherKeysBeginAnew(t *testing.T) {
	two := newKeys("two ", 2)
	for name, c := range map[string]struct {
		change func(r *repo)
		anew   bool
	}{
		"none":                     {func(*repo) {}, false},
		"in another order":         {func(r *repo) { slices.Reverse(r.root.Roles[timestamp].KeyIDs) }, false},
		"another threshold":        {func(r *repo) { r.root.Roles[timestamp].Threshold = 2 }, true},
		"another key, the same id": {func(r *repo) { two[1].private = newKey("other").private; r.grant(timestamp, 1, two...) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepo(t)
			r.grant(timestamp, 1, two...)
			r.timestamp.Version = 99
			r.publish(root, timestamp)
			g := newGateway(t, r)
			g.wantGood(Versions{2, 100, 1, 1})
			c.change(r)
			r.timestamp.Version = 0
			r.publish(root, timestamp)
			if c.anew {
				g.wantGood(Versions{3, 1, 1, 1})
			} else {
				g.wantRefused(ErrRollback, Versions{3, 100, 1, 1})
			}
		})
	}
}

// TestKeysOfOtherKinds: a key that is no Ed25519 key in each way counts for nothing, and is in nobody's way.
func TestKeysOfOtherKinds(t *testing.T) {
	for name, change := range map[string]func(k *metadata.Key){
		"type":   func(k *metadata.Key) { k.Type = "rsa" },
		"scheme": func(k *metadata.Key) { k.Scheme = "rsassa-pss-sha256" },
		"length": func(k *metadata.Key) { k.Value.PublicKey = k.Value.PublicKey[:32] },
		"no hex": func(k *metadata.Key) { k.Value.PublicKey = "x" + k.Value.PublicKey[1:] },
	} {
		r := newRepo(t)
		g := newGateway(t, r)
		good, odd := newKey("good"), newKey("odd")
		r.grant(timestamp, 1, odd)
		change(r.root.Keys[odd.id])
		r.publish(root, timestamp)
		if err := g.refresh(); !errors.Is(err, ErrSignature) || !strings.HasSuffix(err.Error(), ": root has no ed25519 key for it, want 1") {
			t.Errorf("%s: got %v, want %v", name, err, ErrSignature)
		}
		r.grant(timestamp, 1, odd, good)
		change(r.root.Keys[odd.id])
		r.publish(root, timestamp)
		if err := g.refresh(); err != nil {
			t.Errorf("%s, beside a good one: got %v", name, err)
		}
	}
}

// TestRevokedKeysAreRefused: who was dropped by a newer root signs nothing any more, whatever else is right.
func TestRevokedKeysAreRefused(t *testing.T) {
	for _, role := range []string{timestamp, snapshot, targets} {
		r := newRepo(t)
		g := newGateway(t, r)
		g.wantGood(Versions{1, 1, 1, 1})
		stolen := r.signers[role]
		r.grant(role, 1, newKey("another "+role))
		r.signers[role] = stolen
		r.publish(root, targets, snapshot, timestamp)
		if err := g.refresh(); !errors.Is(err, ErrSignature) || !strings.Contains(err.Error(), role+".json") {
			t.Errorf("got %v, want %v of %s", err, ErrSignature, role)
		}
	}
}

// TestErrorsSayBothNumbers takes the texts of what a technician reads.
func TestErrorsSayBothNumbers(t *testing.T) {
	r, old, g := aged(t)
	say := func(want string) {
		t.Helper()
		if err := g.refresh(); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	g.source = old
	say("timestamp.json: metadata are older than what was trusted before: got version 1, want at least 2")
	g.source = r
	g.now = day.AddDate(2, 0, 0)
	say("root.json: metadata are expired (or the clock is wrong): it was good until 2028-03-01T12:00:00Z, now it is 2029-03-01T12:00:00Z")
	g.now = day
	r.targets.Version = 0
	r.publish(targets, snapshot, timestamp)
	say("snapshot.json: metadata are older than what was trusted before: got version 1 of targets.json, want at least 2")
	r.root.Version++
	r.put(root, 3, r.sign(&r.root, newKeys("root", 1)...))
	say("root.json: signatures do not reach the threshold: unsigned metadata error: Verifying root failed, not enough signatures, got 1, want 2")
}

func TestWhatIsSaidOfDamageIsBounded(t *testing.T) {
	var tr Trust
	for i := range 3 * maxNotes {
		tr.note(ErrCache, fmt.Errorf("number %d", i))
	}
	if said := tr.Damage(); len(said) != maxNotes || !strings.HasSuffix(said[maxNotes-1].Error(), "number 47") {
		t.Errorf("got %v, want the last %d", said, maxNotes)
	}
}

func TestReason(t *testing.T) {
	seen := map[string]bool{}
	for _, err := range []error{
		ErrNoTrust, ErrMalformed, ErrSignature, ErrExpired, ErrRollback, ErrChanged, ErrVersion, ErrLength, ErrHash, ErrDelegation, ErrName, ErrRoots, ErrMissing,
		ErrCache, ErrFloors,
	} {
		name := Reason(fmt.Errorf("in a text: %w", err))
		if name == "" || seen[name] {
			t.Errorf("got %q of %v, want a name of its own", name, err)
		}
		seen[name] = true
	}
	if _, err := Open(tmpfs.Dir(t), []byte("{}")); Reason(err) != "no-trust" {
		t.Errorf("got %q of %v, want no-trust", Reason(err), err)
	}
	if Reason(nil) != "" || Reason(errors.New("another's")) != "" {
		t.Error("got a name of what is not ours")
	}
}

func TestVersionsAreReadAsNumbers(t *testing.T) {
	// go-tuf reads fields that it does not know as floating-point numbers.
	r := newRepo(t)
	g := newGateway(t, r)
	body := `{"_type":"timestamp","expires":"2028-03-01T12:00:00Z","meta":{"snapshot.json":` +
		string(canonical(t, mustJSON(t, r.timestamp.Meta["snapshot.json"]))) + `},"spec_version":"1.0.31","version":` + strconv.Itoa(1<<53-1) + `,"x-other":[9007199254740991]}`
	r.served["timestamp.json"] = r.signRaw([]byte(body), []byte(body), r.signers[timestamp]...)
	g.wantGood(Versions{1, 1<<53 - 1, 1, 1})
}

// TestEachPartOfTheCacheProves has floors and all of the cache but one part gone: what is older than that part is refused, though nothing else tells.
func TestEachPartOfTheCacheProves(t *testing.T) {
	for name, c := range map[string]struct {
		kept  string
		newer []string // that were taken
		from  func(r *repo, old moment) *repo
	}{
		"timestamp":                 {timestamp, []string{timestamp}, nil},
		"snapshot by a timestamp":   {timestamp, []string{snapshot, timestamp}, (*repo).stamped},
		"snapshot":                  {snapshot, []string{snapshot, timestamp}, nil},
		"targets by a snapshot":     {snapshot, []string{targets, snapshot, timestamp}, func(r *repo, old moment) *repo { return r.stolen(old).source }},
		"targets":                   {targets, []string{targets, snapshot, timestamp}, func(r *repo, old moment) *repo { return r.stolen(old).source }},
		"targets, by older sources": {targets, []string{targets, snapshot, timestamp}, nil},
	} {
		r := newRepo(t)
		g := newGateway(t, r)
		g.wantGood(Versions{1, 1, 1, 1})
		old := r.moment()
		r.publish(c.newer...)
		if err := g.refresh(); err != nil {
			t.Fatal(err)
		}
		for _, gone := range []string{"floors.0", "floors.1", "tuf/timestamp.json", "tuf/snapshot.json", "tuf/targets.json"} {
			if gone != "tuf/"+c.kept+".json" {
				g.spoil(gone, damages["deleted"])
			}
		}
		g.source = old.source
		if c.from != nil {
			g.source = c.from(r, old)
		}
		if err := g.refresh(); !errors.Is(err, ErrRollback) {
			t.Errorf("%s: got %v, want %v", name, err, ErrRollback)
		}
	}
}

// stamped is what somebody serves who has the timestamp's key: an earlier snapshot, named by the newest timestamp.
func (r *repo) stamped(old moment) *repo {
	thief := old.source.frozen()
	thief.timestamp.Meta = maps.Clone(old.source.timestamp.Meta)
	thief.timestamp.Version = r.timestamp.Version
	thief.put(snapshot, old.versions.Snapshot, old.source.served[old.source.name(snapshot, old.versions.Snapshot)])
	thief.publish(timestamp)
	return thief
}
