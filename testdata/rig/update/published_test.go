package update

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/ota/publish"
	"github.com/tidegate-io/tidegate/ota/publish/program"
	"github.com/tidegate-io/tidegate/ota/publish/publishtest"
	"github.com/tidegate-io/tidegate/ota/release"
	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// add publishes a release as `tidegate-release` does, with a delta from the one before.
func add(t *testing.T, o *publishtest.Owner, counter uint64, of image) {
	t.Helper()
	platform, err := program.Find("linux-" + runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	body, err := program.Read(of.path, platform)
	if err != nil {
		t.Fatal(err)
	}
	fields := release.File{Counter: counter, Version: of.version, Stage: release.All}
	if err := o.Release(publish.Release{Fields: fields, Programs: []*program.Program{body}, Deltas: 1}); err != nil {
		t.Fatal(err)
	}
}

// newPublished returns a gateway that takes releases from a repository as is usual, which has its first.
func newPublished(t *testing.T, first image) (*plant, *publishtest.Owner) {
	t.Helper()
	p := newPlant(t)
	o, err := publishtest.New(filepath.Join(p.dir, "published"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	add(t, o, 2, first)
	p.server = bed.NewServer(t, o.Public(), p.dir)
	p.settings = settings{root: filepath.Join(o.Public(), "1.root.json"), from: p.server.URL, automatic: true, trial: p.x.trial + time.Minute}
	p.configure()
	return p, o
}

// TestPublished takes two releases that were published as is usual, over HTTPS: the first whole, the second as a delta.
func TestPublished(t *testing.T) {
	t.Parallel()
	p, o := newPublished(t, built.good[0])
	p.super.run()
	if o := p.outcome(2); o.Result != "kept" {
		t.Errorf("the receiver was told %+v, want that release 2 is kept", o)
	}
	add(t, o, 3, built.good[1])
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
