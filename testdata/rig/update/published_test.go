package update

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/ota/publish"
	"github.com/tidegate-io/tidegate/ota/publish/keyfile"
	"github.com/tidegate-io/tidegate/ota/publish/program"
	"github.com/tidegate-io/tidegate/ota/release"
	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// A publisher publishes as `tidegate-release` does.
type publisher struct {
	t    *testing.T
	dir  string
	keys []*keyfile.Private
}

func newPublisher(t *testing.T, dir string) *publisher {
	w := &publisher{t: t, dir: dir}
	all := publish.Keys{Threshold: 2}
	for _, role := range keyfile.Roles() {
		n := 1
		if role.Offline() {
			n = 3
		}
		for range n {
			k, err := keyfile.New(role)
			if err != nil {
				t.Fatal(err)
			}
			w.keys = append(w.keys, k)
			all.Public = append(all.Public, k.Public)
		}
	}
	if err := publish.Init(dir, all, time.Now(), later()); err != nil {
		t.Fatal(err)
	}
	w.do(func(r *publish.Repo) error { return w.sign(r, keyfile.Root) })
	return w
}

func (w *publisher) do(f func(r *publish.Repo) error) {
	w.t.Helper()
	r, err := publish.Open(w.dir, time.Now())
	if err == nil {
		err = r.Lock()
	}
	if err == nil {
		err = f(r)
	}
	if err == nil {
		err = r.Close()
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// sign has two of three people sign.
func (w *publisher) sign(r *publish.Repo, role keyfile.Role) error {
	for i, n := 0, 0; i < len(w.keys) && n < 2; i++ {
		if w.keys[i].Role != role {
			continue
		}
		n++
		if err := r.Sign(w.keys[i]); err != nil {
			return err
		}
	}
	return nil
}

// release publishes a release, with a delta from the one before.
func (w *publisher) release(counter uint64, of image) {
	w.t.Helper()
	platform, err := program.Find("linux-" + runtime.GOARCH)
	if err != nil {
		w.t.Fatal(err)
	}
	body, err := program.Read(of.path, platform)
	if err != nil {
		w.t.Fatal(err)
	}
	w.do(func(r *publish.Repo) error {
		err := r.Add(publish.Release{
			Fields: release.File{Counter: counter, Version: of.version, Stage: release.All}, Programs: []*program.Program{body}, Deltas: 1, Keep: 5, Expires: later(),
		})
		if err == nil {
			err = w.sign(r, keyfile.Targets)
		}
		if err == nil {
			_, err = r.Publish(publish.Online{Keys: w.keys, Snapshot: publish.SnapshotLife, Timestamp: publish.TimestampLife})
		}
		return err
	})
}

// TestPublished takes two releases that were published as is usual, over HTTPS: the first whole, the second as a delta.
func TestPublished(t *testing.T) {
	t.Parallel()
	p := newPlant(t)
	w := newPublisher(t, filepath.Join(p.dir, "published"))
	w.release(2, built.good[0])
	public := filepath.Join(w.dir, "public")
	p.server = bed.NewServer(t, public, p.dir)
	p.settings = settings{root: filepath.Join(public, "1.root.json"), from: p.server.URL, automatic: true, trial: p.x.trial + time.Minute}
	p.configure()
	p.super.run()
	if o := p.outcome(2); o.Result != "kept" {
		t.Errorf("the receiver was told %+v, want that release 2 is kept", o)
	}
	w.release(3, built.good[1])
	p.must("update", "apply")
	if o := p.outcome(3); o.Result != "kept" {
		t.Errorf("the receiver was told %+v, want that release 3 is kept", o)
	}
	var got []string
	for _, a := range p.server.All() {
		if _, name, ok := strings.Cut(a.Name, ".tidegate-"); ok {
			got = append(got, name)
		}
	}
	platform := "linux-" + runtime.GOARCH
	want := "2-" + platform + ".zst 3-" + platform + "-from-2.delta"
	if strings.Join(got, " ") != want {
		t.Errorf("the server was asked for %s, want %s", strings.Join(got, " "), want)
	}
	said(t, "published as usual, whole and as a delta, over HTTPS: kept", p.settle())
	if t.Failed() {
		t.Log(p.story())
	}
}
