package publish

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/tidegate-io/tidegate/ota/publish/keyfile"
	"github.com/tidegate-io/tidegate/ota/publish/listed"
	"github.com/tidegate-io/tidegate/ota/publish/program"
	"github.com/tidegate-io/tidegate/ota/publish/program/programtest"
	"github.com/tidegate-io/tidegate/ota/release"
)

// today is when the tests take place.
var today = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// memory is a file system that syncs nothing: what is tested is the order of changes.
const memory = "/dev/shm"

func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(memory, "tidegate-publish-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// A town has a repository, six people with a key each, and the keys of its online machine.
type town struct {
	*testing.T
	dir       string
	now       time.Time
	root      []*keyfile.Private
	targets   []*keyfile.Private
	snapshot  *keyfile.Private
	timestamp *keyfile.Private
	wrote     func()
}

func newKey(t *testing.T, role keyfile.Role) *keyfile.Private {
	t.Helper()
	k, err := keyfile.New(role)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// newTown has a repository whose first root is a draft.
func newTown(t *testing.T) *town {
	t.Helper()
	w := &town{T: t, dir: filepath.Join(tempDir(t), "repo"), now: today, snapshot: newKey(t, keyfile.Snapshot), timestamp: newKey(t, keyfile.Timestamp)}
	for range 3 {
		w.root = append(w.root, newKey(t, keyfile.Root))
		w.targets = append(w.targets, newKey(t, keyfile.Targets))
	}
	w.must(Init(w.dir, Keys{Public: w.public(), Threshold: 2}, today, today.Add(RootLife)))
	return w
}

func (w *town) public() []keyfile.Public {
	out := []keyfile.Public{w.snapshot.Public, w.timestamp.Public}
	for _, k := range slices.Concat(w.root, w.targets) {
		out = append(out, k.Public)
	}
	return out
}

func (w *town) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// open opens the repository as a command does.
func (w *town) open() *Repo {
	w.Helper()
	r, err := Open(w.dir, w.now)
	w.must(err)
	w.must(r.Lock())
	w.Cleanup(func() { _ = r.Close() })
	r.wrote = w.wrote
	return r
}

// look opens the repository as it is, to look at it.
func (w *town) look() *Repo {
	w.Helper()
	r, err := Open(w.dir, w.now)
	w.must(err)
	return r
}

// do runs a command.
func (w *town) do(f func(r *Repo) error) error {
	w.Helper()
	r := w.open()
	return errors.Join(f(r), r.Close())
}

func (w *town) sign(keys ...*keyfile.Private) {
	w.Helper()
	for _, k := range keys {
		w.must(w.do(func(r *Repo) error { return r.Sign(k) }))
	}
}

func (w *town) online() Online {
	return Online{Keys: []*keyfile.Private{w.snapshot, w.timestamp}, Snapshot: SnapshotLife, Timestamp: TimestampLife}
}

func (w *town) publish() {
	w.Helper()
	w.must(w.do(func(r *Repo) error {
		gap, err := r.Publish(w.online())
		if gap {
			w.Error("there was a moment in which nothing fitted")
		}
		return err
	}))
}

// programs returns those of a release for some platforms; programs of neighbouring releases are alike.
func programs(t *testing.T, counter uint64, platforms ...string) []*program.Program {
	t.Helper()
	random := rand.NewChaCha8([32]byte{})
	var out []*program.Program
	for _, name := range platforms {
		p, err := program.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		body := make([]byte, 20000)
		_, _ = random.Read(body) // it never fails
		body = fmt.Appendf(body, "release %d", counter)
		path := filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(path, programtest.Make(p.GOOS, p.GOARCH, p.GOARM, body), 0o700); err != nil {
			t.Fatal(err)
		}
		got, err := program.Read(path, p)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, got)
	}
	return out
}

// release is one for all gateways with some platforms.
func (w *town) release(counter uint64, platforms ...string) Release {
	return Release{
		Fields:   release.File{Counter: counter, Version: fmt.Sprintf("v1.%d.0", counter), Stage: release.All},
		Programs: programs(w.T, counter, platforms...), Deltas: 5, Keep: 4, Expires: w.now.Add(TargetsLife),
	}
}

func (w *town) add(n Release) {
	w.Helper()
	w.must(w.do(func(r *Repo) error { return r.Add(n) }))
}

// settled is a town whose first release is published. It is built once.
func settled(t *testing.T) *town {
	t.Helper()
	if built == nil {
		w := newTown(t)
		w.sign(w.root[0], w.root[1])
		w.add(w.release(7, "linux-arm64"))
		w.sign(w.targets[0], w.targets[1])
		w.publish()
		dir, err := os.MkdirTemp(memory, "tidegate-publish-")
		w.must(errors.Join(err, os.CopyFS(dir, os.DirFS(w.dir))))
		built, w.dir = w, dir
	}
	w := *built
	w.T, w.dir = t, copyFolder(t, built.dir)
	w.root, w.targets = slices.Clone(built.root), slices.Clone(built.targets)
	return &w
}

var built *town

func TestMain(m *testing.M) {
	code := m.Run()
	if built != nil {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

func (w *town) file(name string) []byte {
	w.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, "public", name))
	w.must(err)
	return b
}

// A gateway keeps what it trusts over its cycles; it is another implementation of TUF than ours.
type gateway struct {
	dir    string // of its cache
	pinned []byte
}

func (w *town) gateway() *gateway {
	w.Helper()
	return &gateway{dir: tempDir(w.T), pinned: w.file("1.root.json")}
}

// folder serves files below a folder as a static server does.
type folder string

func (f folder) DownloadFile(where string, limit int64, _ time.Duration) ([]byte, error) {
	u, err := url.Parse(where)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(string(f), filepath.Base(u.Path)))
	if errors.Is(err, os.ErrNotExist) {
		return nil, &metadata.ErrDownloadHTTP{StatusCode: 404}
	}
	if err == nil && int64(len(b)) > limit {
		return nil, &metadata.ErrDownloadLengthMismatch{Msg: "too long"}
	}
	return b, err
}

// ask goes through one cycle, looks at all files, and returns the releases that it is told of.
func (g *gateway) ask(dir string, now time.Time) ([]uint64, error) {
	c, err := config.New("https://example.com", g.pinned)
	if err != nil {
		return nil, err
	}
	c.Fetcher, c.LocalMetadataDir, c.LocalTargetsDir, c.RemoteTargetsURL = folder(filepath.Join(dir, "public")), g.dir, filepath.Join(g.dir, "files"), "https://example.com"
	u, err := updater.New(c)
	if err != nil {
		return nil, err
	}
	u.UnsafeSetRefTime(now)
	if err := u.Refresh(); err != nil {
		return nil, err
	}
	var out []uint64
	for name, x := range u.GetTopLevelTargets() {
		b, err := os.ReadFile(filepath.Join(dir, "public", x.Hashes["sha256"].String()+"."+name))
		if err == nil {
			err = x.VerifyLengthHashes(b)
		}
		if err != nil {
			return nil, err
		}
		f, err := release.Decode(*x.Custom)
		if err != nil {
			return nil, err
		}
		out = append(out, f.Counter)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// sees wants the gateway to be told of these releases.
func (w *town) sees(g *gateway, want ...uint64) {
	w.Helper()
	if got, err := g.ask(w.dir, w.now); err != nil || !slices.Equal(got, want) {
		w.Fatalf("the gateway is told of releases %d (%v), want %d", got, err, want)
	}
}

func (w *town) verifies() {
	w.Helper()
	w.must(w.do(func(r *Repo) error { return r.Verify(w.file("1.root.json")) }))
}

// wants one of the errors.
func (w *town) refuses(err, want error, text string) {
	w.Helper()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), text) {
		w.Errorf("got %v, want %v with %q", err, want, text)
	}
}

// listedFiles are those that gateways are told of.
func (w *town) listedFiles() []listed.File {
	w.Helper()
	all, err := listed.Of(w.look().targets)
	w.must(err)
	return all
}
