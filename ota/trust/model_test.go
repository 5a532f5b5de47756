package trust

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

// A moment is what was served at some time, with the keys that were good for it.
type moment struct {
	source          *repo
	versions        Versions
	online, offline string
}

func (r *repo) moment() moment {
	return moment{
		r.frozen(),
		Versions{r.root.Version, r.timestamp.Version, r.snapshot.Version, r.targets.Version},
		keySet(&r.root, timestamp, snapshot), keySet(&r.root, timestamp, snapshot, targets),
	}
}

// stolen is what somebody serves who has the online keys: all that is served now, but for the targets, which are those of an earlier moment, named by
// a snapshot and a timestamp that are the newest.
func (r *repo) stolen(from moment) moment {
	thief := r.frozen()
	thief.snapshot.Meta, thief.timestamp.Meta = maps.Clone(r.snapshot.Meta), maps.Clone(r.timestamp.Meta)
	thief.targets.Version = from.versions.Targets
	thief.put(targets, from.versions.Targets, from.source.served[from.source.name(targets, from.versions.Targets)])
	thief.publish(snapshot, timestamp)
	return thief.moment()
}

// TestTrustAgainstModel has an owner who publishes and rotates keys, an attacker who serves whatever was served before, or steals the online keys, a
// card that spoils a file, and power that goes. What the owner serves is always taken; of what is older than anything taken under the same keys, nothing.
func TestTrustAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := newRepo(t)
		g := newGateway(t, r)
		past := []moment{r.moment()}
		var best moment // of what was taken; versions go back only with the keys that they were signed by
		var counter uint64
		spoiled, rotated := false, 0
		take := func(from moment) {
			if from.versions.Root < best.versions.Root {
				rt.Fatalf("took root %d after %d", from.versions.Root, best.versions.Root)
			}
			if from.online == best.online && (from.versions.Timestamp < best.versions.Timestamp || from.versions.Snapshot < best.versions.Snapshot) {
				rt.Fatalf("took %+v after %+v", from.versions, best.versions)
			}
			if from.offline == best.offline && from.versions.Targets < best.versions.Targets {
				rt.Fatalf("took %+v after %+v", from.versions, best.versions)
			}
			best, spoiled = from, false
			if g.last.Versions != from.versions {
				rt.Fatalf("got %+v, want %+v", g.last.Versions, from.versions)
			}
		}
		good := func() {
			if err := g.refresh(); err != nil {
				rt.Fatalf("got %v of the owner's source", err)
			}
			take(r.moment())
		}
		attack := func(from moment) {
			g.source = from.source
			switch err := g.refresh(); {
			case err == nil:
				take(from)
			case !errors.Is(err, ErrRollback) && !errors.Is(err, ErrSignature) && !errors.Is(err, ErrChanged):
				rt.Fatalf("got %v of an older source", err)
			case from.versions == r.moment().versions:
				rt.Fatalf("got %v of what is served now", err)
			}
			g.source = r
		}
		g.source = r
		for range rapid.IntRange(1, 6).Draw(rt, "steps") {
			switch rapid.SampledFrom([]string{"publish", "stamp", "rotate", "good", "attack", "attack", "stolen", "stolen", "spoil", "cut", "count"}).Draw(rt, "step") {
			case "publish":
				r.publish(targets, snapshot, timestamp)
				past = append(past, r.moment())
			case "stamp":
				r.publish(timestamp)
				past = append(past, r.moment())
			case "rotate":
				rotated++
				role := rapid.SampledFrom([]string{targets, snapshot, timestamp}).Draw(rt, "role")
				r.grant(role, 1, newKey(fmt.Sprint("new ", role, rotated))) // none of those that newRepo has: what they signed stays signed
				if rapid.Bool().Draw(rt, "back to 1") {
					switch role { // what is signed by a key that stays may be shown again, and goes on
					case timestamp:
						r.timestamp.Version = 0
					case snapshot:
						r.snapshot.Version, r.targets.Version = 0, 0
					case targets:
						r.targets.Version = 0
					}
				}
				r.publish(root, targets, snapshot, timestamp)
				past = append(past, r.moment())
			case "good":
				good()
			case "attack":
				if rapid.Bool().Draw(rt, "behind a good cycle") {
					good()
				}
				for _, from := range rapid.Permutation(past).Draw(rt, "moments") {
					attack(from)
				}
			case "stolen":
				if rapid.Bool().Draw(rt, "behind a good cycle") {
					good()
				}
				attack(r.stolen(past[rapid.IntRange(0, len(past)-1).Draw(rt, "moment")]))
				rotated++ // from versions that were driven up only other keys lead back
				r.grant(snapshot, 1, newKey(fmt.Sprint("new snapshot", rotated)))
				r.grant(timestamp, 1, newKey(fmt.Sprint("new timestamp", rotated)))
				r.publish(root, snapshot, timestamp)
				past = append(past, r.moment())
			case "spoil": // one file at a time: two of the floors and the cache at once prove nothing any more
				if tree := g.tree(); !spoiled && len(tree) > 0 {
					spoiled = true
					g.spoil(rapid.SampledFrom(slices.Sorted(maps.Keys(tree))).Draw(rt, "file"), damages[rapid.SampledFrom(slices.Sorted(maps.Keys(damages))).Draw(rt, "damage")])
				}
			case "cut":
				c := cut{rapid.IntRange(0, 8).Draw(rt, "at"), rapid.SampledFrom([]string{"within", "behind"}).Draw(rt, "when")}
				if _, err := g.cutting(c, func(tr *Trust) error {
					_, err := tr.Refresh(context.Background(), r, day)
					return err
				}); err != nil && !errors.Is(err, errCut) {
					rt.Fatalf("got %v, want %v", err, errCut)
				}
			case "count":
				tr, err := Open(g.dir, g.pinned)
				if err == nil && tr.Counter() == counter {
					counter++
					err = tr.RaiseCounter(counter)
				}
				if err != nil || tr.Counter() != counter {
					rt.Fatalf("got counter %d (%v), want %d", tr.Counter(), err, counter)
				}
			}
		}
		if err := g.refresh(); err != nil {
			rt.Fatalf("got %v of the owner's source in the end", err)
		}
		take(r.moment())
		if tr, err := Open(g.dir, g.pinned); err != nil || tr.Counter() != counter {
			rt.Fatalf("got counter %d (%v), want %d", tr.Counter(), err, counter)
		}
	})
}

// FuzzFloors reads floors of any bytes.
func FuzzFloors(f *testing.F) {
	r := newRepo(f)
	g := newGateway(f, r)
	g.wantGood(Versions{1, 1, 1, 1})
	for _, s := range []string{`{"format":1,"counter":7,"root":2}`, `{"format":1,"timestamp":9223372036854775807,"newest":"x"}`, `null`, `[`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		dir := tmpfs.Dir(t)
		tr, err := Open(dir, g.pinned)
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.pair.Write(body); err != nil {
			return // too long
		}
		if tr, err = Open(dir, g.pinned); err != nil {
			t.Fatal(err)
		}
		damaged := tr.Damage() != nil
		if damaged && tr.floors != (floors{Format: floorsFormat}) {
			t.Fatalf("got %+v of what is damaged", tr.floors)
		}
		counter := tr.Counter()
		err = tr.RaiseCounter(counter + 1)
		again, err2 := Open(dir, g.pinned)
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		if counter+1 != 0 && again.Counter() != counter+1 {
			t.Fatalf("got counter %d, want %d", again.Counter(), counter+1)
		}
	})
}
