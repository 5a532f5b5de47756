package update

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/tidegate-io/tidegate/ota/publish/keyfile"
	"github.com/tidegate-io/tidegate/ota/publish/listed"
	"github.com/tidegate-io/tidegate/ota/publish/meta"
	"github.com/tidegate-io/tidegate/ota/publish/program"
	"github.com/tidegate-io/tidegate/ota/release"
)

// A repo is a repository of releases, signed two of three. It is made by hand: who publishes as told does not get a script past
// `tidegate-release`.
type repo struct {
	dir     string
	keys    map[keyfile.Role][]*keyfile.Private
	root    *meta.Root
	targets *meta.Targets
}

// newRepo makes keys, and a repository of no release in dir.
func newRepo(t testing.TB, dir string) *repo {
	t.Helper()
	r := &repo{dir: dir, keys: map[keyfile.Role][]*keyfile.Private{}, root: metadata.Root(later()), targets: metadata.Targets(later())}
	r.targets.Signed.Version = 0
	for _, role := range keyfile.Roles() {
		n := 1
		if role.Offline() {
			n = 3
			r.root.Signed.Roles[string(role)].Threshold = 2
		}
		for range n {
			k, err := keyfile.New(role)
			if err == nil {
				err = meta.AddKey(r.root, k.Public)
			}
			if err != nil {
				t.Fatal(err)
			}
			r.keys[role] = append(r.keys[role], k)
		}
	}
	err := errors.Join(os.MkdirAll(dir, 0o755), sign(r.root, r.keys[keyfile.Root][:2]))
	if err == nil {
		_, err = r.write("1.root.json", func() ([]byte, error) { return meta.Render(r.root) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func later() time.Time { return time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second) }

func sign[T metadata.Roles](m *metadata.Metadata[T], keys []*keyfile.Private) error {
	m.ClearSignatures()
	for _, k := range keys {
		if err := meta.Sign(m, k); err != nil {
			return err
		}
	}
	return nil
}

// trusted is the file of what gateways trust.
func (r *repo) trusted() string { return filepath.Join(r.dir, "1.root.json") }

// write puts a file into its place by a rename: a gateway may ask at any time.
func (r *repo) write(name string, render func() ([]byte, error)) ([]byte, error) {
	b, err := render()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(r.dir, name)
	return b, errors.Join(os.WriteFile(path+".new", b, 0o644), os.Rename(path+".new", path))
}

// publish adds a release, with changes to what is signed of it. It returns the name by which its file is asked for.
func (r *repo) publish(t testing.TB, counter int, of image, change ...func(*release.File)) (stored string) {
	t.Helper()
	name := fmt.Sprintf("tidegate-%d-linux-%s", counter, runtime.GOARCH)
	f := listed.File{Name: name, Length: of.digest.Length, SHA256: of.digest.SHA256, SHA512: of.digest.SHA512, Signed: release.File{
		Counter: uint64(counter), Version: of.version, GOOS: "linux", GOARCH: runtime.GOARCH, Stage: release.All, Encoding: release.Plain, Program: of.digest,
	}}
	for _, c := range change {
		c(&f.Signed)
	}
	if err := os.Link(of.path, filepath.Join(r.dir, f.Stored())); err != nil {
		t.Fatal(err)
	}
	if err := listed.Put(r.targets, []listed.File{f}); err != nil {
		t.Fatal(err)
	}
	if err := r.seal(); err != nil {
		t.Fatal(err)
	}
	return f.Stored()
}

// seal signs the targets, a snapshot of them and its timestamp.
func (r *repo) seal() error {
	r.targets.Signed.Version++
	v := r.targets.Signed.Version
	if err := sign(r.targets, r.keys[keyfile.Targets][1:]); err != nil {
		return err
	}
	body, err := r.write(fmt.Sprintf("%d.targets.json", v), func() ([]byte, error) { return meta.Render(r.targets) })
	if err != nil {
		return err
	}
	snap := metadata.Snapshot(later())
	snap.Signed.Version = v
	snap.Signed.Meta["targets.json"] = meta.Link(v, body)
	if err := sign(snap, r.keys[keyfile.Snapshot]); err != nil {
		return err
	}
	if body, err = r.write(fmt.Sprintf("%d.snapshot.json", v), func() ([]byte, error) { return meta.Render(snap) }); err != nil {
		return err
	}
	return r.stamp(v, body, later())
}

// stamp signs a timestamp of a snapshot.
func (r *repo) stamp(version int64, snapshot []byte, expires time.Time) error {
	stamp := metadata.Timestamp(expires)
	stamp.Signed.Version = version
	stamp.Signed.Meta["snapshot.json"] = meta.Link(version, snapshot)
	if err := sign(stamp, r.keys[keyfile.Timestamp]); err != nil {
		return err
	}
	_, err := r.write("timestamp.json", func() ([]byte, error) { return meta.Render(stamp) })
	return err
}

// An image is a program that can be released.
type image struct {
	path    string
	version string
	digest  release.Digest
}

func newImage(path, version string) (image, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return image{}, err
	}
	return image{path: path, version: version, digest: program.Digest(b)}, nil
}
