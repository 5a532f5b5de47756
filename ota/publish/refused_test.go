package publish

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/tidegate-io/tidegate/ota/publish/keyfile"
	"github.com/tidegate-io/tidegate/ota/publish/listed"
	"github.com/tidegate-io/tidegate/ota/publish/meta"
	"github.com/tidegate-io/tidegate/ota/publish/program"
	"github.com/tidegate-io/tidegate/ota/release"
)

// TestForeignRoot has a second root in public that is good in itself, and signed by nobody of the first.
func TestForeignRoot(t *testing.T) {
	w, other := settled(t), newTown(t)
	body, err := other.look().Draft(keyfile.Root)
	w.must(err)
	m, err := meta.Parse[metadata.RootType](body)
	w.must(err)
	m.Signed.Version = 2
	w.must(errors.Join(meta.Sign(m, other.root[0]), meta.Sign(m, other.root[1]), write(w.look(), metadata.ROOT, m)))
	_, err = Open(w.dir, w.now)
	w.refuses(err, ErrDamaged, "2.root.json: by the keys before: ")
}

// TestCutBehindRoot ends a publication between a root and the timestamp that only this root takes: the repository opens, what is public is not
// called good, and the next publication finishes it.
func TestCutBehindRoot(t *testing.T) {
	w := settled(t)
	w.rotate(&w.timestamp)
	w.wrote = func() {
		if _, err := os.Stat(filepath.Join(w.dir, "public", "2.root.json")); err == nil {
			panic("cut")
		}
	}
	func() {
		defer func() { _ = recover() }()
		w.publish()
		t.Fatal("it was not cut")
	}()
	w.wrote = nil
	w.must(releaseLock(w.dir))
	w.refuses(w.do(func(r *Repo) error { return r.Verify(nil) }), ErrDamaged, "timestamp 1: not enough signatures")
	w.publish()
	w.sees(w.gateway(), 7)
	w.verifies()
}

// TestStrangeVersions has files in public that are named like metadata, of versions that are none.
func TestStrangeVersions(t *testing.T) {
	w := settled(t)
	for _, name := range []string{"0.snapshot.json", "-1.snapshot.json", "x.snapshot.json", "9223372036854775808.snapshot.json"} {
		path := filepath.Join(w.dir, "public", name)
		w.must(os.WriteFile(path, w.file("1.snapshot.json"), 0o644))
		w.refuses(w.do(func(r *Repo) error { _, err := r.Publish(w.online()); return err }), ErrDamaged, name+" is none of ours")
		w.must(os.Remove(path))
	}
}

// TestKeysOfNextRoot wants of each root what is wanted of the first.
func TestKeysOfNextRoot(t *testing.T) {
	w := settled(t)
	for text, remove := range map[string]string{"root: got 2 keys for a threshold of 2": w.root[1].ID, "timestamp: got 0 keys": w.timestamp.ID} {
		if err := w.do(func(r *Repo) error { return r.NewRoot([]string{remove}, nil, w.now.Add(RootLife)) }); err == nil || !strings.HasPrefix(err.Error(), text) {
			t.Errorf("got %v, want %q", err, text)
		}
	}
	w.refuses(w.do(func(r *Repo) error { return r.NewRoot(nil, nil, w.now) }), ErrExpired, "root")
	w.refuses(w.do(func(r *Repo) error { _, err := r.Draft(keyfile.Root); return err }), ErrDraft, "none of root")
}

func TestDiscard(t *testing.T) {
	w := settled(t)
	for _, role := range []keyfile.Role{keyfile.Root, keyfile.Targets} {
		w.refuses(w.do(func(r *Repo) error { return r.Discard(role) }), ErrDraft, "none of "+string(role))
	}
	for _, role := range []keyfile.Role{keyfile.Snapshot, keyfile.Timestamp} {
		_, err := w.look().Draft(role)
		w.refuses(err, ErrDraft, "is signed by `publish`")
	}
	// The files of a release stay when a root is discarded, and go with it.
	w.add(w.release(8, "linux-arm64"))
	w.must(w.do(func(r *Repo) error { return r.NewRoot(nil, nil, w.now.Add(RootLife)) }))
	files := func() int {
		list, err := os.ReadDir(filepath.Join(w.dir, "draft", "files"))
		w.must(err)
		return len(list)
	}
	before := files()
	w.must(w.do(func(r *Repo) error { return r.Discard(keyfile.Root) }))
	if n := files(); n != before || n == 0 {
		t.Errorf("a root was discarded, and %d of %d files of a release are there", n, before)
	}
	w.must(w.do(func(r *Repo) error { return r.Discard(keyfile.Targets) }))
	if n := files(); n != 0 {
		t.Errorf("a release was discarded, and %d of its files are there", n)
	}
}

// TestNothingPublished asks for what can only be said of something that is public.
func TestNothingPublished(t *testing.T) {
	w := newTown(t)
	w.refuses(w.do(func(r *Repo) error { return r.Refresh(w.online()) }), ErrNoRepository, "nothing is published yet")
	w.refuses(w.do(func(r *Repo) error { return r.Verify(nil) }), ErrNoRepository, "nothing is published yet")
	w.refuses(w.do(func(r *Repo) error { return r.Hold(w.online(), 7, 0) }), ErrUnknown, "7")
}

// TestHoldOfGone wants a timestamp to say nothing of releases that gateways do not see any more.
func TestHoldOfGone(t *testing.T) {
	w := settled(t)
	w.must(w.do(func(r *Repo) error { return r.Hold(w.online(), 7, 500) }))
	n := w.release(8, "linux-arm64")
	n.Keep = 1
	w.add(n)
	w.sign(w.targets[0], w.targets[1])
	w.publish()
	if hold, err := w.look().hold(); err != nil || len(hold) != 0 {
		t.Errorf("got %v (%v), want nothing held back", hold, err)
	}
}

func TestTooLongTimestamp(t *testing.T) {
	w := settled(t)
	r := w.look()
	r.timestamp.Signed.UnrecognizedFields["more"] = strings.Repeat("x", maxTimestamp)
	w.refuses(r.writeTimestamp(r.timestamp), ErrTooLong, "timestamp")
}

// TestFewDeltas has one delta, from the newest release, where one is asked for; and none where it is no shorter than the whole.
func TestFewDeltas(t *testing.T) {
	w := settled(t)
	publish := func(n Release) (deltas []string) {
		n.Deltas, n.Keep = 1, 1
		w.add(n)
		w.sign(w.targets[0], w.targets[1])
		w.publish()
		for _, f := range w.listedFiles() {
			if f.Signed.Encoding == release.Delta {
				deltas = append(deltas, f.Name)
			}
		}
		return deltas
	}
	for _, counter := range []uint64{8, 9} {
		want := fmt.Sprintf("tidegate-%d-linux-arm64-from-%d.delta", counter, counter-1)
		if got := publish(w.release(counter, "linux-arm64")); !slices.Equal(got, []string{want}) {
			t.Errorf("release %d has %q, want %s", counter, got, want)
		}
	}
	other := w.release(10, "linux-arm64")
	p := other.Programs[0]
	_, _ = rand.NewChaCha8([32]byte{1}).Read(p.Body) // it never fails; not even the header is like that of others
	p.Digest = program.Digest(p.Body)
	if got := publish(other); got != nil {
		t.Errorf("a release that is like none before has %q", got)
	}
}

// TestPinnedRoot begins with a root that the repository has not got.
func TestPinnedRoot(t *testing.T) {
	w := settled(t)
	m, err := meta.Copy(w.look().newest())
	w.must(err)
	for _, n := range []int64{-1, 0, 2, 3} {
		m.Signed.Version = n
		body, err := meta.Render(m)
		w.must(err)
		w.refuses(w.do(func(r *Repo) error { return r.Verify(body) }), ErrDamaged, fmt.Sprintf("the root to begin with is version %d, the repository has 1 to 1", n))
	}
}

// TestVerifyRefuses has what is signed by all who must, and still not what this program would publish.
func TestVerifyRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		text   string
		change func(w *town, r *Repo)
	}{
		"delegations": {"targets are delegated", func(w *town, r *Repo) {
			w.forge(r, func(m *meta.Targets) {
				m.Signed.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}, Roles: []metadata.DelegatedRole{}}
			})
		}},
		"what is held back is no list": {"", func(w *town, r *Repo) {
			r.timestamp.Signed.UnrecognizedFields[release.HoldField] = "all"
			w.must(errors.Join(meta.Sign(r.timestamp, w.timestamp), r.writeTimestamp(r.timestamp)))
		}},
		"a signature of a root that counts for nothing": {"counts for nothing", func(w *town, r *Repo) {
			m := r.newest()
			w.must(errors.Join(meta.Sign(m, newKey(w.T, keyfile.Root)), write(r, metadata.ROOT, m)))
		}},
		"a key that may sign, of other bytes": {"counts for nothing", func(w *town, r *Repo) {
			w.forge(r, func(*meta.Targets) {}, metadata.Signature{KeyID: w.targets[2].ID, Signature: make([]byte, 64)})
		}},
		"an older snapshot with a signature that counts for nothing": {"snapshot 1: the signature of key", func(w *town, r *Repo) {
			old := r.snapshot
			w.publish()
			w.must(errors.Join(meta.Sign(old, newKey(w.T, keyfile.Snapshot)), write(r, metadata.SNAPSHOT, old)))
		}},
		"older targets that nobody has signed": {"no root takes 1.targets.json", func(w *town, r *Repo) {
			old := r.targets
			w.forge(r, func(*meta.Targets) {})
			old.ClearSignatures()
			w.must(write(r, metadata.TARGETS, old))
		}},
		"targets by the name of others": {"2.targets.json is version 1", func(w *town, _ *Repo) {
			w.must(os.WriteFile(filepath.Join(w.dir, "public", "2.targets.json"), w.file("1.targets.json"), 0o644))
		}},
		"a list of contents that another hash is signed for": {"it is not what is signed", func(w *town, r *Repo) {
			w.relist(r, func(f *listed.File) bool {
				if f.Signed.Encoding == release.SBOM {
					f.Signed.SBOM = strings.Repeat("0", 64)
				}
				return true
			})
		}},
		"a list of contents of another program": {"nothing says what is in the program", func(w *town, r *Repo) {
			w.relist(r, func(f *listed.File) bool {
				if f.Signed.Encoding == release.SBOM {
					f.Signed.Program.SHA256 = strings.Repeat("0", 64)
				}
				return true
			})
		}},
		"no list of contents": {"nothing says what is in the program", func(w *town, r *Repo) {
			w.relist(r, func(f *listed.File) bool { return f.Signed.Encoding != release.SBOM })
		}},
		"a program of another platform": {"for another platform", func(w *town, r *Repo) {
			w.relist(r, func(f *listed.File) bool { f.Signed.GOARCH = "amd64"; return true })
		}},
		"a file that is missing": {"the file is missing", func(w *town, _ *Repo) {
			w.must(os.Remove(filepath.Join(w.dir, "public", w.listedFiles()[0].Stored())))
		}},
		"a file of a release that gateways see no more": {"does not hold what its name says", func(w *town, r *Repo) {
			n := w.release(8, "linux-arm64")
			n.Keep = 1
			all := w.listedFiles()
			w.add(n)
			w.sign(w.targets[0], w.targets[1])
			w.publish()
			i := slices.IndexFunc(all, func(f listed.File) bool { return f.Signed.Encoding == release.SBOM })
			w.must(os.WriteFile(r.public(all[i].Stored()), []byte("{}"), 0o644))
		}},
		"a link": {"timestamp.json is no file", func(w *town, r *Repo) {
			w.must(os.Rename(r.public("timestamp.json"), filepath.Join(w.dir, "elsewhere")))
			w.must(os.Symlink("../elsewhere", r.public("timestamp.json")))
		}},
		"a root behind a hole": {"there are 2 roots, of which 1 follow each other", func(w *town, r *Repo) {
			w.must(os.WriteFile(r.public("3.root.json"), w.file("1.root.json"), 0o644))
		}},
		"a name that gateways refuse": {"gateways refuse the name", func(w *town, r *Repo) {
			w.relist(r, func(f *listed.File) bool { f.Name = ".." + f.Name; return true })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := settled(t)
			r := w.look()
			tt.change(w, r)
			err := w.do(func(r *Repo) error { return r.Verify(nil) })
			if err == nil || !strings.HasPrefix(err.Error(), "verify: ") || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want verify: %s", err, tt.text)
			}
		})
	}
}

// TestOldKeySignsNextRoot has a root signed by a key that it takes away: that signature is one of the root before.
func TestOldKeySignsNextRoot(t *testing.T) {
	w := settled(t)
	old := w.root[0]
	w.rotate(&w.root[0])
	w.sign(old)
	w.publish()
	w.sees(w.gateway(), 7)
	w.verifies()
}

// relist publishes targets whose files say something else, or of which some are missing.
func (w *town) relist(r *Repo, change func(f *listed.File) (stays bool)) {
	w.Helper()
	w.forge(r, func(m *meta.Targets) {
		all, err := listed.Of(m)
		w.must(err)
		clear(m.Signed.Targets)
		for i := range all {
			if change(&all[i]) {
				w.must(listed.Put(m, all[i:i+1]))
			}
		}
	})
}

// forge publishes targets of a change that no command makes, signed by all who must, with those signatures beside.
func (w *town) forge(r *Repo, change func(m *meta.Targets), more ...metadata.Signature) {
	w.Helper()
	m, err := meta.Copy(r.targets)
	w.must(err)
	m.ClearSignatures()
	m.Signed.Version++
	change(m)
	w.must(errors.Join(meta.Sign(m, w.targets[0]), meta.Sign(m, w.targets[1])))
	m.Signatures = append(m.Signatures, more...)
	snap, stamp, err := r.seal(w.online(), r.newest(), m)
	w.must(errors.Join(err, write(r, metadata.TARGETS, m), write(r, metadata.SNAPSHOT, snap), r.writeTimestamp(stamp)))
}
