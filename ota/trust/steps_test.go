package trust

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/ota/durable"
	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

// errCut is the power that goes, or the kill.
var errCut = errors.New("cut")

// A cut is where a program ends: at a step that changes the disk, in the middle of it, which only leaves a file that nobody looks at, or right
// behind it.
type cut struct {
	at   int    // counted from 0; -1 = it does not
	when string // "within", "behind"
}

// steps has a Trust go through its steps and end at one of them. All that comes behind fails too: the program is dead.
type steps struct {
	cut  cut
	seen []string
	dead bool
}

func (s *steps) step(name string, do func() error, within func()) error {
	if s.dead {
		return errCut
	}
	s.seen = append(s.seen, name)
	if len(s.seen)-1 != s.cut.at {
		return do()
	}
	s.dead = true
	switch s.cut.when {
	case "within":
		within()
	case "behind":
		if err := do(); err != nil {
			return err
		}
	}
	return errCut
}

// half leaves what a write that was cut off leaves: the new file under its name to be, partly.
func half(path string, body []byte) {
	if err := os.WriteFile(path+".new", body[:len(body)/2], 0o600); err != nil {
		panic(err)
	}
}

func (s *steps) watch(t *Trust, dir string) {
	short := func(path string) string { return strings.TrimPrefix(path, dir+"/") }
	t.disk = disk{
		write: func(path string, body []byte, mode os.FileMode) error {
			return s.step("write "+short(path), func() error { return durable.WriteFile(path, body, mode) }, func() { half(path, body) })
		},
		rename: func(from, to string) error {
			return s.step("rename "+short(from)+" "+short(to), func() error { return durable.Rename(from, to) }, func() {})
		},
		remove: func(path string) error {
			return s.step("remove "+short(path), func() error { return durable.Remove(path) }, func() {})
		},
		mkdir: func(path string) error {
			return s.step("mkdir "+short(path), func() error { return durable.Mkdir(path) }, func() {})
		},
		keep: func(p *durable.Pair, body []byte) error {
			return s.step("floors", func() error { return p.Write(body) }, func() {
				half(filepath.Join(dir, "floors.0"), body)
				half(filepath.Join(dir, "floors.1"), body)
			})
		},
	}
}

// cutting goes through what a gateway does, up to a cut.
func (g *gateway) cutting(c cut, do func(tr *Trust) error) (seen []string, err error) {
	g.t.Helper()
	tr, err := Open(g.dir, g.pinned)
	if err != nil {
		g.t.Fatal(err)
	}
	s := steps{cut: c}
	s.watch(tr, g.dir)
	err = do(tr)
	return s.seen, err
}

// TestEveryStepMayBeTheLast enumerates all steps at which a cycle changes the disk, and ends it at each, in each way. The next cycle then goes on
// from there and gets where the first would have got; what is older than what the gateway had is refused, and once floors are raised, they stay.
func TestEveryStepMayBeTheLast(t *testing.T) {
	tests := map[string]struct {
		spoil func(g *gateway)
		also  func(tr *Trust) error
		want  []string
	}{
		"all is new": {want: []string{
			"floors", "write tuf/root.json", "floors", "write tuf/timestamp.json", "floors", "write tuf/snapshot.json", "write tuf/targets.json",
		}},
		"cache is damaged": {
			spoil: func(g *gateway) {
				for _, role := range []string{root, timestamp, snapshot, targets} {
					g.spoil("tuf/"+role+".json", damages["flipped"])
				}
			},
			want: []string{
				"mkdir tuf/quarantine", "rename tuf/root.json tuf/quarantine/root.json.1", "floors", "write tuf/root.json",
				"mkdir tuf/quarantine", "rename tuf/timestamp.json tuf/quarantine/timestamp.json.2",
				"mkdir tuf/quarantine", "rename tuf/snapshot.json tuf/quarantine/snapshot.json.3",
				"mkdir tuf/quarantine", "rename tuf/targets.json tuf/quarantine/targets.json.4",
				"floors", "write tuf/timestamp.json", "floors", "write tuf/snapshot.json", "write tuf/targets.json",
			},
		},
		"quarantine is full": {
			spoil: func(g *gateway) {
				for i := range maxQuarantined {
					g.write(fmt.Sprintf("tuf/quarantine/root.json.%d", i), []byte("x"))
				}
				g.spoil("tuf/targets.json", damages["zeroed"])
			},
			want: []string{
				"floors", "write tuf/root.json", "mkdir tuf/quarantine", "remove tuf/quarantine/root.json.0", "rename tuf/targets.json tuf/quarantine/targets.json.8",
				"floors", "write tuf/timestamp.json", "floors", "write tuf/snapshot.json", "write tuf/targets.json",
			},
		},
		"floors are damaged": {
			spoil: func(g *gateway) {
				g.spoil("floors.0", damages["zeroed"])
				g.spoil("floors.1", damages["truncated"])
			},
			want: []string{
				"floors", "write tuf/root.json", "floors", "write tuf/timestamp.json", "floors", "write tuf/snapshot.json", "write tuf/targets.json",
			},
		},
		"counter is raised as well": {
			also: func(tr *Trust) error { return tr.RaiseCounter(9) },
			want: []string{
				"floors", "floors", "floors", "write tuf/root.json", "floors", "write tuf/timestamp.json", "floors", "write tuf/snapshot.json",
				"write tuf/targets.json",
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, older, g := aged(t)
			before := r.frozen() // what the gateway has
			r.publish(root, targets, snapshot, timestamp)
			if tt.spoil != nil {
				tt.spoil(g)
			}
			do := func(tr *Trust) error {
				if tt.also != nil {
					if err := tt.also(tr); err != nil {
						return err
					}
				}
				_, err := tr.Refresh(context.Background(), r, day)
				return err
			}
			whole := g.clone()
			seen, err := whole.cutting(cut{at: -1}, do)
			if err != nil || !slices.Equal(seen, tt.want) {
				t.Fatalf("got steps %q (%v), want %q", seen, err, tt.want)
			}
			whole.wantHeld(Versions{3, 3, 3, 3})
			moved := false
			for at := range seen {
				for _, when := range []string{"within", "behind"} {
					if when == "within" && seen[at] != "floors" && !strings.HasPrefix(seen[at], "write") {
						continue // there is nothing in between
					}
					g := g.clone()
					if _, err := g.cutting(cut{at, when}, do); !errors.Is(err, errCut) {
						t.Fatalf("%s %s: got %v, want %v", when, seen[at], err, errCut)
					}
					if tt.also != nil { // the counter is what it was, or what it was to be
						if tr, err := Open(g.dir, g.pinned); err != nil || tr.Counter() != 0 && tr.Counter() != 9 || at > 1 && tr.Counter() != 9 {
							t.Errorf("%s %s: got counter %d (%v)", when, seen[at], tr.Counter(), err)
						}
					}
					tr, err := Open(g.dir, g.pinned)
					if err != nil {
						t.Fatal(err)
					}
					raised := tr.floors.Timestamp == 3
					moved = moved || raised
					bad, same := g.clone(), g.clone()
					bad.source, same.source = older, before
					if err := bad.refresh(); !errors.Is(err, ErrRollback) {
						t.Errorf("%s %s: got %v of an older source, want %v", when, seen[at], err, ErrRollback)
					}
					// What the gateway had is as good as before, until floors are raised above it. It may lack a root that the gateway has.
					switch err := same.refresh(); {
					case err != nil && !errors.Is(err, ErrRollback):
						t.Errorf("%s %s: got %v of the source before, want it to be good or %v", when, seen[at], err, ErrRollback)
					case err == nil && moved:
						t.Errorf("%s %s: the source before is good again", when, seen[at])
					}
					g.wantGood(Versions{3, 3, 3, 3})
				}
			}
			if !moved {
				t.Error("floors were never raised")
			}
		})
	}
}

// TestFirstCycleMayEndAnywhere does the same where there is nothing yet.
func TestFirstCycleMayEndAnywhere(t *testing.T) {
	r := newRepo(t)
	g := newGateway(t, r)
	do := func(tr *Trust) error {
		_, err := tr.Refresh(context.Background(), r, day)
		return err
	}
	seen, err := g.clone().cutting(cut{at: -1}, do)
	if err != nil || len(seen) != 7 {
		t.Fatalf("got steps %q (%v), want 7", seen, err)
	}
	for at := range seen {
		for _, when := range []string{"within", "behind"} {
			g := g.clone()
			if _, err := g.cutting(cut{at, when}, do); !errors.Is(err, errCut) {
				t.Fatal(err)
			}
			g.wantGood(Versions{1, 1, 1, 1})
			if len(g.damage) != 0 {
				t.Errorf("%s %s: got %v, which is no damage", when, seen[at], g.damage)
			}
		}
	}
}

// TestAnotherOwnersFirstCycleMayEndAnywhere does the same where another root was pinned.
func TestAnotherOwnersFirstCycleMayEndAnywhere(t *testing.T) {
	_, _, g := aged(t)
	g.source = newOwner(t)
	g.pinned = g.source.served["1.root.json"]
	do := func(tr *Trust) error {
		_, err := tr.Refresh(context.Background(), g.source, day)
		return err
	}
	seen, err := g.clone().cutting(cut{at: -1}, do)
	want := []string{
		"remove tuf/root.json", "floors", "write tuf/root.json", "remove tuf/timestamp.json", "remove tuf/snapshot.json", "remove tuf/targets.json",
		"floors", "write tuf/timestamp.json", "floors", "write tuf/snapshot.json", "write tuf/targets.json",
	}
	if err != nil || !slices.Equal(seen, want) {
		t.Fatalf("got steps %q (%v), want %q", seen, err, want)
	}
	for at := range seen {
		for _, when := range []string{"within", "behind"} {
			g := g.clone()
			if _, err := g.cutting(cut{at, when}, do); !errors.Is(err, errCut) {
				t.Fatal(err)
			}
			g.wantGood(Versions{1, 1, 1, 1})
			if len(g.damage) != 0 {
				t.Errorf("%s %s: got %v, which is no damage", when, seen[at], g.damage)
			}
		}
	}
}

// TestNothingNewWritesNothing: cards wear out by writing.
func TestNothingNewWritesNothing(t *testing.T) {
	r, _, g := aged(t)
	do := func(tr *Trust) error {
		_, err := tr.Refresh(context.Background(), r, day)
		return err
	}
	seen, err := g.cutting(cut{at: -1}, do)
	if err != nil || len(seen) != 0 {
		t.Errorf("got steps %q (%v), want none", seen, err)
	}
	r.publish(timestamp) // as it happens every day
	seen, err = g.cutting(cut{at: -1}, do)
	if want := []string{"floors", "write tuf/timestamp.json"}; err != nil || !slices.Equal(seen, want) {
		t.Errorf("got steps %q (%v), want %q", seen, err, want)
	}
}

// TestDiskIsDurable says by what files are changed: the steps above stand for these.
func TestDiskIsDurable(t *testing.T) {
	tr, err := Open(tmpfs.Dir(t), newRepo(t).served["1.root.json"])
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%p %p %p %p %p", tr.disk.write, tr.disk.rename, tr.disk.remove, tr.disk.mkdir, tr.disk.keep)
	if want := fmt.Sprintf("%p %p %p %p %p", durable.WriteFile, durable.Rename, durable.Remove, durable.Mkdir, (*durable.Pair).Write); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
