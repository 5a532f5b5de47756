package publish

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/tidegate-io/tidegate/ota/publish/keyfile"
	"github.com/tidegate-io/tidegate/ota/publish/listed"
	"github.com/tidegate-io/tidegate/ota/publish/meta"
	"github.com/tidegate-io/tidegate/ota/release"
)

// TestLife goes from nothing to a second release, a new root and a release that is held back.
func TestLife(t *testing.T) {
	w := newTown(t)
	s, err := w.look().Status()
	w.must(err)
	if d := s.Drafts; len(s.Roles) != 0 || len(d) != 1 || d[0].Role != keyfile.Root || d[0].Missing != 2 || len(d[0].Open) != 3 {
		t.Fatalf("a new repository: got %+v", s)
	}
	w.refuses(w.do(func(r *Repo) error { _, err := r.Publish(w.online()); return err }), ErrDraft, "there are no targets yet")
	w.sign(w.root[0])
	w.add(w.release(7, "linux-arm64", "linux-armv6"))
	w.sign(w.targets[0], w.targets[2])
	w.refuses(w.do(func(r *Repo) error { _, err := r.Publish(w.online()); return err }), ErrSignatures, "publish root 1")
	if names, err := os.ReadDir(filepath.Join(w.dir, "public")); err != nil || len(names) > 0 {
		t.Fatalf("what was refused is public: %v (%v)", names, err)
	}
	w.sign(w.root[2])
	w.publish()
	g := w.gateway()
	w.sees(g, 7)
	w.verifies()

	w.now = w.now.Add(24 * time.Hour)
	w.must(w.do(func(r *Repo) error { return r.Refresh(w.online()) }))
	w.sees(g, 7)

	n := w.release(8, "linux-arm64", "linux-armv6", "linux-amd64")
	n.Plain = true
	w.add(n)
	w.sign(w.targets[1], w.targets[2])
	w.sees(g, 7)
	w.publish()
	w.sees(g, 7, 8)
	w.verifies()
	checkDeltas(w)

	w.must(w.do(func(r *Repo) error { return r.Hold(w.online(), 8, 500) }))
	w.sees(g, 7, 8)
	w.verifies()
	s, err = w.look().Status()
	w.must(err)
	if x := s.Releases; len(x) != 2 || x[1].Counter != 8 || x[1].Held == nil || *x[1].Held != 500 || x[1].Stage != release.All || x[0].Held != nil {
		t.Fatalf("a release that is held back: got %+v", x)
	}
	w.now = w.now.Add(time.Hour)
	w.must(w.do(func(r *Repo) error { return r.Refresh(w.online()) }))
	if hold, err := w.look().hold(); err != nil || hold[8] != 500 {
		t.Errorf("after a refresh: got %v (%v), want release 8 held back", hold, err)
	}
	w.publish()
	if hold, err := w.look().hold(); err != nil || hold[8] != 500 {
		t.Errorf("after a publication: got %v (%v), want release 8 held back", hold, err)
	}
	w.must(w.do(func(r *Repo) error { return r.Hold(w.online(), 8, release.All) }))
	if hold, err := w.look().hold(); err != nil || len(hold) != 0 {
		t.Errorf("when it is let go: got %v (%v)", hold, err)
	}
	w.must(w.do(func(r *Repo) error { return r.Stage(8, 1250, true, w.now.Add(TargetsLife)) }))
	w.sign(w.targets[0], w.targets[1])
	w.publish()
	for _, f := range w.listedFiles() {
		if f.Signed.Counter == 8 && (f.Signed.Stage != 1250 || !f.Signed.Halt) || f.Signed.Counter == 7 && (f.Signed.Stage != release.All || f.Signed.Halt) {
			t.Errorf("%s: got stage %v, halt %t", f.Name, f.Signed.Stage, f.Signed.Halt)
		}
	}
	w.sees(g, 7, 8)
	w.verifies()
}

// checkDeltas wants release 8 to have a delta for those who run 7, and it to be small.
func checkDeltas(w *town) {
	w.Helper()
	length := map[string]int64{}
	for _, f := range w.listedFiles() {
		length[f.Name] = f.Length
	}
	for _, platform := range []string{"linux-arm64", "linux-armv6"} {
		whole, d := length["tidegate-8-"+platform+".zst"], length["tidegate-8-"+platform+"-from-7.delta"]
		if d == 0 || d*10 > whole {
			w.Errorf("%s: got a delta of %d bytes, want at most a tenth of %d", platform, d, whole)
		}
		if length["tidegate-8-"+platform] < 20000 || length["tidegate-8-"+platform+".cdx.json"] == 0 {
			w.Errorf("%s: got %v, want the program as it is and the list of what is in it", platform, length)
		}
	}
	if _, ok := length["tidegate-8-linux-amd64-from-7.delta"]; ok || length["tidegate-8-linux-amd64.zst"] == 0 {
		w.Errorf("a platform that is new: got %v", length)
	}
}

// TestAnyMoment asks after each change in public, by a gateway that is new, by one that knows what was there before, and by one that asks each
// time: all get what fits together, the old or the new.
func TestAnyMoment(t *testing.T) {
	for name, change := range map[string]func(w *town) *keyfile.Private{
		"root key": func(w *town) *keyfile.Private {
			w.rotate(&w.root[2])
			return nil
		},
		"targets key, with a release": func(w *town) *keyfile.Private {
			w.rotate(&w.targets[2])
			w.add(w.release(8, "linux-arm64", "linux-armv6"))
			w.sign(w.targets[0], w.targets[1])
			return nil
		},
		"timestamp key, by both": func(w *town) *keyfile.Private { old := w.timestamp; w.rotate(&w.timestamp); return old },
		"snapshot key, by both":  func(w *town) *keyfile.Private { old := w.snapshot; w.rotate(&w.snapshot); return old },
	} {
		t.Run(name, func(t *testing.T) {
			w := settled(t)
			before, always := w.gateway(), w.gateway()
			w.sees(before, 7)
			before.dir, always.dir = copyFolder(t, before.dir), before.dir
			also := change(w)
			n := 0
			w.wrote = func() {
				n++
				for who, g := range map[string]*gateway{"new": w.gateway(), "before": {copyFolder(t, before.dir), before.pinned}, "always": always} {
					if got, err := g.ask(w.dir, w.now); err != nil || !slices.Equal(got, []uint64{7}) && !slices.Equal(got, []uint64{7, 8}) {
						t.Fatalf("after change %d the gateway %s gets %d: %v", n, who, got, err)
					}
				}
			}
			o := w.online()
			if also != nil {
				o.Keys = append(o.Keys, also)
			}
			r := w.open()
			if gap, err := r.Publish(o); err != nil || gap {
				t.Fatalf("got gap %t, %v", gap, err)
			}
			w.must(r.Close())
			if n < 3 {
				t.Errorf("got %d changes, want a snapshot, a timestamp and more", n)
			}
			w.verifies()
		})
	}
}

// rotate has a new key in the place of *k, signed by the first two of root.
func (w *town) rotate(k **keyfile.Private) {
	w.Helper()
	old := *k
	*k = newKey(w.T, old.Role)
	w.must(w.do(func(r *Repo) error {
		return r.NewRoot([]string{old.ID[:12]}, []keyfile.Public{(*k).Public}, w.now.Add(RootLife))
	}))
	w.sign(w.root[0], w.root[1])
}

func copyFolder(t *testing.T, from string) string {
	t.Helper()
	to := tempDir(t)
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// TestCut ends a publication after each change in public, as a power cut would, and wants the next one to finish it.
func TestCut(t *testing.T) {
	ready := settled(t)
	ready.rotate(&ready.root[2])
	ready.add(ready.release(8, "linux-arm64"))
	ready.sign(ready.targets[0], ready.targets[1])
	for at, done := 1, false; !done; at++ {
		w := *ready
		w.dir = copyFolder(t, ready.dir)
		g, n := w.gateway(), 0
		w.wrote = func() {
			if n++; n == at {
				panic("cut")
			}
		}
		func() {
			defer func() { done = recover() == nil }()
			w.publish()
		}()
		w.wrote = nil
		if got, err := g.ask(w.dir, w.now); err != nil {
			t.Fatalf("cut after change %d: the gateway gets %d: %v", at, got, err)
		}
		w.must(errors.Join(releaseLock(w.dir), os.WriteFile(filepath.Join(w.dir, "public", "timestamp.json.new"), []byte("half"), 0o600)))
		w.publish()
		w.sees(g, 7, 8)
		w.verifies()
		if s, err := w.look().Status(); err != nil || len(s.Drafts) != 0 || s.Roles[0].Version != 2 {
			t.Errorf("cut after change %d: got %+v (%v)", at, s, err)
		}
		if at > 30 {
			t.Fatal("it never ends")
		}
	}
}

// releaseLock gives a lock a new file, as the process that had it would have ended.
func releaseLock(dir string) error { return os.Remove(filepath.Join(dir, "lock")) }

// TestTampering flips bits of each file in public, cuts it, empties it, removes it and swaps it with another: Verify refuses each. With
// TIDEGATE_LONG it does all of that to each.
func TestTampering(t *testing.T) {
	w := settled(t)
	w.rotate(&w.targets[2])
	n := w.release(8, "linux-arm64")
	n.Plain = true
	w.add(n)
	w.sign(w.targets[0], w.targets[2])
	w.publish()
	w.verifies()
	entries, err := os.ReadDir(filepath.Join(w.dir, "public"))
	w.must(err)
	long := os.Getenv("TIDEGATE_LONG") != ""
	pinned := w.file("1.root.json")
	check := func() error {
		r, err := Open(w.dir, w.now)
		if err != nil {
			return err
		}
		return r.Verify(pinned)
	}
	changes := 0
	for i, e := range entries {
		path := filepath.Join(w.dir, "public", e.Name())
		good := w.file(e.Name())
		try := func(how string, body []byte) {
			w.must(os.WriteFile(path, body, 0o644))
			if err := check(); err == nil {
				t.Errorf("%s: %s, and it verifies", e.Name(), how)
			}
			changes++
		}
		step := len(good)
		if e.Name() == "timestamp.json" { // nothing binds its bytes but its own signatures
			step = 40
		}
		if long {
			step = max(1, step/60)
		}
		for at := step / 2; at < len(good); at += step {
			bad := bytes.Clone(good)
			bad[at] ^= 1 << (at % 8)
			try(fmt.Sprintf("bit %d of byte %d flipped", at%8, at), bad)
		}
		try("another file", w.file(entries[(i+1)%len(entries)].Name()))
		if long || i%4 == 0 {
			try("cut in half", good[:len(good)/2])
			try("without its last byte", good[:len(good)-1])
			try("with a byte more", append(bytes.Clone(good), '\n'))
			try("empty", nil)
		}
		w.must(os.Remove(path))
		whole := strings.HasSuffix(e.Name(), "targets.json") || strings.HasSuffix(e.Name(), ".snapshot.json")
		if err := check(); err == nil && !(whole && e.Name()[0] == '1') { // what was published before need not be there
			t.Errorf("%s: removed, and it verifies", e.Name())
		}
		w.must(os.WriteFile(path, good, 0o644))
	}
	w.must(os.WriteFile(filepath.Join(w.dir, "public", "more"), nil, 0o644))
	w.refuses(check(), ErrDamaged, "nothing names more")
	w.must(os.Remove(filepath.Join(w.dir, "public", "more")))
	w.verifies()
	if least := map[bool]int{false: 50, true: 800}[long]; changes < least {
		t.Errorf("got %d changes, want %d", changes, least)
	}
}

// TestEachCaseOfHex looks at what a bit of a signature can be flipped to without changing the signature.
func TestEachCaseOfHex(t *testing.T) {
	w := settled(t)
	good := w.file("timestamp.json")
	at := bytes.Index(good, []byte(`"sig":"`)) + 7 + bytes.IndexAny(good[bytes.Index(good, []byte(`"sig":"`))+7:], "abcdef")
	good[at] ^= 0x20
	w.must(os.WriteFile(filepath.Join(w.dir, "public", "timestamp.json"), good, 0o644))
	if _, err := Open(w.dir, w.now); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
}

// TestIdleSignature has a signature beside the good ones that counts for nothing: gateways must take that, and Verify must not.
func TestIdleSignature(t *testing.T) {
	w := settled(t)
	r := w.look()
	w.must(meta.Sign(r.timestamp, newKey(t, keyfile.Timestamp)))
	w.must(r.writeTimestamp(r.timestamp))
	w.sees(w.gateway(), 7)
	w.refuses(w.do(func(r *Repo) error { return r.Verify(nil) }), ErrDamaged, "counts for nothing")
}

// TestOtherRoot has a repository that is good in itself, of an owner that gateways do not know.
func TestOtherRoot(t *testing.T) {
	w, other := settled(t), newTown(t)
	pinned, err := other.look().Draft(keyfile.Root)
	w.must(err)
	w.refuses(w.do(func(r *Repo) error { return r.Verify(pinned) }), ErrDamaged, "1.root.json is not the root to begin with")
}

// TestStolenOnlineKeys lets a thief of both online keys publish what he likes: he can hold back, and hand nothing out.
func TestStolenOnlineKeys(t *testing.T) {
	w := settled(t)
	w.must(w.do(func(r *Repo) error { return r.Stage(7, 1000, false, w.now.Add(TargetsLife)) }))
	w.sign(w.targets[0], w.targets[1])
	w.publish()
	g := w.gateway()
	w.sees(g, 7)
	narrowed := func() release.File {
		r := w.look()
		hold, err := r.hold()
		w.must(err)
		all, err := listed.Of(r.targets)
		w.must(err)
		return hold.Narrow(all[0].Signed)
	}
	for held, want := range map[release.Stage]release.Stage{0: 0, 500: 500, 1000: 1000, 5000: 1000, release.All: 1000} {
		w.must(w.do(func(r *Repo) error { return r.Hold(w.online(), 7, held) }))
		if got := narrowed(); got.Stage != want || got.Halt != (held == 0) {
			t.Errorf("held at %v: got %v, halt %t, want %v", held, got.Stage, got.Halt, want)
		}
		w.sees(g, 7)
	}

	r := w.look()
	forged, err := meta.Copy(r.targets)
	w.must(err)
	all, err := listed.Of(forged)
	w.must(err)
	for i := range all {
		all[i].Signed.Stage = release.All
	}
	w.must(listed.Put(forged, all))
	forged.Signed.Version++
	w.must(meta.Sign(forged, w.snapshot)) // the only keys that he has
	w.must(meta.Sign(forged, w.timestamp))
	snap, stamp, err := r.seal(w.online(), r.newest(), forged)
	w.must(err)
	w.must(errors.Join(write(r, metadata.TARGETS, forged), write(r, metadata.SNAPSHOT, snap), r.writeTimestamp(stamp)))
	if got, err := g.ask(w.dir, w.now); err == nil {
		t.Errorf("the gateway takes targets that nobody signed: %d", got)
	}
	if _, err := Open(w.dir, w.now); !errors.Is(err, ErrDamaged) {
		t.Errorf("open: got %v, want ErrDamaged", err)
	}
}

func TestAddRefuses(t *testing.T) {
	w := settled(t)
	same := w.release(8, "linux-arm64")
	same.Programs = programs(t, 7, "linux-arm64")
	twice := w.release(8, "linux-arm64")
	twice.Programs = append(twice.Programs, programs(t, 9, "linux-arm64")...)
	version := w.release(8, "linux-arm64")
	version.Fields.Version = "v1 beta"
	past := w.release(8, "linux-arm64")
	past.Expires = w.now
	for name, tt := range map[string]struct {
		n    Release
		want error
		text string
	}{
		"the counter of the newest": {w.release(7, "linux-amd64"), ErrCounter, "got 7, 7 has been there"},
		"a lower counter":           {w.release(6, "linux-amd64"), ErrCounter, "got 6, 7 has been there"},
		"a program that was there":  {same, ErrSame, "that for linux-arm64 is the one of release 7"},
		"two for one platform":      {twice, nil, "got two programs for linux-arm64"},
		"no program":                {w.release(8), nil, "got no program"},
		"fields that are refused":   {version, release.ErrCustom, "got version"},
		"expired already":           {past, ErrExpired, "targets"},
	} {
		t.Run(name, func(t *testing.T) {
			err := w.do(func(r *Repo) error { return r.Add(tt.n) })
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %v with %q", err, tt.want, tt.text)
			}
			if _, err := os.Stat(filepath.Join(w.dir, "draft", "targets.json")); !os.IsNotExist(err) {
				t.Errorf("there is a draft (%v)", err)
			}
		})
	}
}

// TestCounterOfDropped wants counters to rise above those of releases that gateways do not see any more, and deltas to start from them.
func TestCounterOfDropped(t *testing.T) {
	w := settled(t)
	for counter := uint64(8); counter <= 9; counter++ {
		n := w.release(counter, "linux-arm64")
		n.Keep = 1
		w.add(n)
		w.sign(w.targets[0], w.targets[1])
		w.publish()
	}
	w.sees(w.gateway(), 9)
	var from []string
	for _, f := range w.listedFiles() {
		if f.Signed.Encoding == release.Delta {
			from = append(from, f.Name)
		}
	}
	if want := []string{"tidegate-9-linux-arm64-from-7.delta", "tidegate-9-linux-arm64-from-8.delta"}; !slices.Equal(from, want) {
		t.Errorf("got deltas %v, want %v", from, want)
	}
	w.refuses(w.do(func(r *Repo) error { return r.Add(w.release(8, "linux-amd64")) }), ErrCounter, "9 has been there")
	w.verifies()
}

func TestTooManyReleases(t *testing.T) {
	w := settled(t)
	err := w.do(func(r *Repo) error {
		return r.draftTargets(w.now.Add(TargetsLife), func(m *meta.Targets) error {
			all, err := listed.Of(m)
			for i := range 400 {
				all[0].Name = fmt.Sprintf("more-%d", i)
				err = errors.Join(err, listed.Put(m, all[:1]))
			}
			return err
		})
	})
	w.refuses(err, ErrTooLong, "--keep fewer releases")
}

func TestSignatures(t *testing.T) {
	w := settled(t)
	w.add(w.release(8, "linux-arm64"))
	draft, err := w.look().Draft(keyfile.Targets)
	w.must(err)
	s, err := meta.SignDetached(draft, w.targets[0])
	w.must(err)
	old := s
	old.Version = 1
	bad := s
	bad.Sig = strings.Repeat("0", 128)
	noHex := s
	noHex.Sig = "x"
	strange, err := meta.SignDetached(draft, newKey(t, keyfile.Targets))
	w.must(err)
	for name, tt := range map[string]struct {
		s    meta.Signature
		want error
		text string
	}{
		"another version": {old, ErrDraft, "is of version 1 of targets"}, "other bytes": {bad, ErrSignatures, "made of other bytes"},
		"no hex": {noHex, ErrSignatures, "no hex"}, "an unknown key": {strange, ErrKey, "may not sign targets"},
		"another role": {meta.Signature{Role: "snapshot", Version: 2, KeyID: s.KeyID, Sig: s.Sig}, ErrKey, "want root or targets"},
		"no draft":     {meta.Signature{Role: "root", Version: 2, KeyID: w.root[0].ID, Sig: s.Sig}, ErrDraft, "none of root"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := w.do(func(r *Repo) error { return r.Attach(tt.s) }); !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %v with %q", err, tt.want, tt.text)
			}
		})
	}
	if _, err := meta.SignDetached(draft, w.root[0]); !errors.Is(err, ErrDraft) {
		t.Errorf("a root key for targets: got %v, want ErrDraft", err)
	}
	if _, err := meta.SignDetached(draft, w.timestamp); !errors.Is(err, ErrKey) {
		t.Errorf("a timestamp key for targets: got %v, want ErrKey", err)
	}
	for range 2 { // the same one twice counts once
		w.must(w.do(func(r *Repo) error { return r.Attach(s) }))
	}
	st, err := w.look().Status()
	w.must(err)
	if d := st.Drafts; len(d) != 1 || d[0].Missing != 1 || !slices.Equal(d[0].Signed, []string{w.targets[0].ID}) || len(d[0].Open) != 2 {
		t.Errorf("one signature: got %+v", d)
	}
	w.refuses(w.do(func(r *Repo) error { _, err := r.Publish(w.online()); return err }), ErrSignatures, "publish targets 2")
	w.must(w.do(func(r *Repo) error { return r.Stage(8, 100, false, w.now.Add(TargetsLife)) }))
	if st, err = w.look().Status(); err != nil || st.Drafts[0].Missing != 2 {
		t.Errorf("a draft that was changed: got %+v (%v), want no signature", st.Drafts, err)
	}
	w.must(w.do(func(r *Repo) error { return r.Discard(keyfile.Targets) }))
	w.add(w.release(8, "linux-arm64"))
}

func TestOnlineKeys(t *testing.T) {
	w := settled(t)
	refuse := func(want error, text string, keys ...*keyfile.Private) {
		t.Helper()
		o := w.online()
		o.Keys = keys
		w.refuses(w.do(func(r *Repo) error { _, err := r.Publish(o); return err }), want, text)
	}
	refuse(ErrSignatures, "sign snapshot", w.timestamp)
	refuse(ErrSignatures, "sign timestamp", w.snapshot)
	refuse(ErrKey, "the root does not name the timestamp key", w.snapshot, newKey(t, keyfile.Timestamp))
	refuse(ErrKey, "the root does not name the snapshot key", newKey(t, keyfile.Snapshot), w.timestamp)
	refuse(ErrSignatures, "sign snapshot", w.root...)
	w.must(w.do(func(r *Repo) error {
		return r.Refresh(Online{Keys: []*keyfile.Private{w.timestamp}, Timestamp: time.Hour})
	}))
	w.verifies()
}

// TestStolenTimestampKey has another one signed for while the thief has the old one: there is a moment in which nothing fits, and it is told.
func TestStolenTimestampKey(t *testing.T) {
	w := settled(t)
	g := w.gateway()
	w.sees(g, 7)
	stolen := w.timestamp
	w.rotate(&w.timestamp)
	r := w.open()
	if gap, err := r.Publish(w.online()); err != nil || !gap {
		t.Fatalf("got gap %t, %v, want one", gap, err)
	}
	w.must(r.Close())
	w.sees(g, 7)
	w.verifies()
	o := w.online()
	o.Keys[1] = stolen
	w.refuses(w.do(func(r *Repo) error { return r.Refresh(o) }), ErrKey, stolen.ID)
}

func TestLostRootKeys(t *testing.T) {
	w := settled(t)
	lost := w.root[0]
	w.root[0] = newKey(t, keyfile.Root)
	w.must(w.do(func(r *Repo) error {
		return r.NewRoot([]string{lost.ID}, []keyfile.Public{w.root[0].Public}, w.now.Add(RootLife))
	}))
	w.sign(w.root[0], w.root[1]) // enough for the new root, not for the one before
	s, err := w.look().Status()
	w.must(err)
	if d := s.Drafts[0]; d.Missing != 0 || d.Before != 1 || !slices.Contains(d.Open, lost.ID) {
		t.Errorf("got %+v, want one signature of the root before missing", d)
	}
	w.refuses(w.do(func(r *Repo) error { _, err := r.Publish(w.online()); return err }), ErrSignatures, "by the keys before")
	w.sign(w.root[2])
	w.publish()
	w.sees(w.gateway(), 7)
	w.verifies()
	w.refuses(w.do(func(r *Repo) error { _, err := r.Draft(keyfile.Root); return err }), ErrDraft, "none of root")
}

func TestKeysOfRoot(t *testing.T) {
	w := newTown(t)
	k := w.public()
	fresh := func() string { return filepath.Join(t.TempDir(), "r") }
	for name, tt := range map[string]struct {
		keys Keys
		text string
	}{
		"one signature":      {Keys{k, 1}, "got threshold 1, want at least 2"},
		"all must sign":      {Keys{k, 3}, "got 3 keys for a threshold of 3, want one more"},
		"two root keys":      {Keys{append(slices.Clone(k[:2]), k[3:]...), 2}, "got 2 keys for a threshold of 2"},
		"no timestamp key":   {Keys{append(slices.Clone(k[:1]), k[2:]...), 2}, "timestamp: got 0 keys"},
		"a key twice":        {Keys{append(slices.Clone(k), k[3]), 2}, "one key, one role"},
		"an id of another":   {Keys{[]keyfile.Public{{Role: "root", ID: k[0].ID, Key: k[1].Key}}, 2}, "got key id"},
		"a key in two roles": {Keys{append(slices.Clone(k), keyfile.Public{Role: "root", ID: k[0].ID, Key: k[0].Key}), 2}, "stands for snapshot already"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := fresh()
			if err := Init(dir, tt.keys, today, today.Add(RootLife)); err == nil || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %q", err, tt.text)
			}
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Errorf("the folder was made (%v)", err)
			}
		})
	}
	if err := Init(fresh(), Keys{k, 2}, today, today); !errors.Is(err, ErrExpired) {
		t.Errorf("expired: got %v, want ErrExpired", err)
	}
	if err := Init(w.dir, Keys{k, 2}, today, today.Add(RootLife)); err == nil {
		t.Error("a repository was made over another one")
	}
	if _, err := Open(fresh(), today); !errors.Is(err, ErrNoRepository) {
		t.Errorf("open nothing: got %v, want ErrNoRepository", err)
	}
	for _, id := range []string{"", w.root[0].ID[:7], "00000000000"} {
		w.refuses(w.do(func(r *Repo) error { return r.NewRoot([]string{id}, nil, today.Add(RootLife)) }), ErrKey, "`status` lists them")
	}
}

func TestExpiry(t *testing.T) {
	w := settled(t)
	s, err := w.look().Status()
	w.must(err)
	const day = 24 * time.Hour
	for _, x := range []struct {
		after, within time.Duration
		want          int
	}{
		{0, 14 * day, 0},
		{0, TargetsLife, 0},
		{0, TargetsLife + 1, 1},
		{0, RootLife + 1, 2},
		{TimestampLife, 0, 0},
		{TimestampLife + 1, 0, 1},
		{TimestampLife - day, 14 * day, 0},
		{TimestampLife - day + 1, 14 * day, 1},
		{SnapshotLife + 1, 0, 2},
		{TargetsLife + 1, 0, 3},
		{RootLife + 1, 0, 4},
	} {
		if got := s.Expiring(today.Add(x.after), x.within); len(got) != x.want || x.after > 0 && x.want > 0 && got[0] != "timestamp 1: 2026-12-01T12:00:00Z" {
			t.Errorf("after %v within %v: got %q, want %d", x.after, x.within, got, x.want)
		}
	}
	for _, life := range []time.Duration{TimestampLife, SnapshotLife, TargetsLife, RootLife} {
		w.now = today.Add(life + time.Second)
		w.refuses(w.do(func(r *Repo) error { return r.Verify(nil) }), ErrExpired, "")
	}
	w.refuses(w.do(func(r *Repo) error { _, err := r.Publish(w.online()); return err }), ErrExpired, "publish root 1")
	w.must(w.do(func(r *Repo) error { return r.NewRoot(nil, nil, w.now.Add(RootLife)) }))
	w.sign(w.root[0], w.root[1])
	w.refuses(w.do(func(r *Repo) error { _, err := r.Publish(w.online()); return err }), ErrExpired, "publish targets 1")
	w.must(w.do(func(r *Repo) error { return r.Renew(w.now.Add(TargetsLife)) }))
	w.sign(w.targets[0], w.targets[1])
	w.publish()
	w.verifies()
	w.sees(w.gateway(), 7)
}

// TestRefresh wants a new snapshot when half of its life is over, and not before.
func TestRefresh(t *testing.T) {
	w := settled(t)
	for _, x := range []struct {
		after           time.Duration
		stamp, snapshot int64
	}{{time.Hour, 2, 1}, {SnapshotLife / 2, 3, 1}, {SnapshotLife/2 + time.Hour, 4, 2}, {SnapshotLife, 5, 2}} {
		w.now = today.Add(x.after)
		w.must(w.do(func(r *Repo) error { return r.Refresh(w.online()) }))
		r := w.look()
		if a, b := r.timestamp.Signed.Version, r.snapshot.Signed.Version; a != x.stamp || b != x.snapshot {
			t.Errorf("after %v: got timestamp %d of snapshot %d, want %d of %d", x.after, a, b, x.stamp, x.snapshot)
		}
		if got := r.timestamp.Signed.UnrecognizedFields[timeField]; got != w.now.Format(time.RFC3339) {
			t.Errorf("after %v: got time %v", x.after, got)
		}
		w.verifies()
	}
}

func TestLock(t *testing.T) {
	w := settled(t)
	r := w.open()
	other, err := Open(w.dir, w.now)
	w.must(err)
	if err := other.Lock(); err == nil || !strings.Contains(err.Error(), "another command changes") {
		t.Errorf("got %v, want another command named", err)
	}
	w.must(r.Close())
	// What changed before counts.
	w.must(w.do(func(r *Repo) error { return r.Refresh(w.online()) }))
	before := other.timestamp.Signed.Version
	w.must(other.Lock())
	if now := other.timestamp.Signed.Version; now != before+1 {
		t.Errorf("got timestamp %d behind %d, want what another command has published meanwhile", now, before)
	}
	w.must(other.Close())
}

func TestUnknownRelease(t *testing.T) {
	w := settled(t)
	w.refuses(w.do(func(r *Repo) error { return r.Hold(w.online(), 8, 0) }), ErrUnknown, "8")
	w.refuses(w.do(func(r *Repo) error { return r.Stage(8, 0, false, w.now.Add(TargetsLife)) }), ErrUnknown, "8")
}

// TestVerifyLinks has the online machine name something else than lies there, with its own good signature.
func TestVerifyLinks(t *testing.T) {
	w := settled(t)
	for name, change := range map[string]func(named map[string]*metadata.MetaFiles){
		"another version": func(n map[string]*metadata.MetaFiles) { n["snapshot.json"].Version++ },
		"another length":  func(n map[string]*metadata.MetaFiles) { n["snapshot.json"].Length++ },
		"another hash":    func(n map[string]*metadata.MetaFiles) { n["snapshot.json"].Hashes["sha512"][0] ^= 1 },
		"a hash less":     func(n map[string]*metadata.MetaFiles) { delete(n["snapshot.json"].Hashes, "sha512") },
		"something more":  func(n map[string]*metadata.MetaFiles) { n["other.json"] = n["snapshot.json"] },
		"something else": func(n map[string]*metadata.MetaFiles) {
			n["other.json"] = n["snapshot.json"]
			delete(n, "snapshot.json")
		},
	} {
		r := w.look()
		change(r.timestamp.Signed.Meta)
		w.must(meta.Sign(r.timestamp, w.timestamp))
		if err := r.verifyLinks(); !errors.Is(err, ErrDamaged) || !strings.HasSuffix(err.Error(), "snapshot.json is not the one that is named") {
			t.Errorf("%s: got %v, want %v", name, err, ErrDamaged)
		}
	}
}
