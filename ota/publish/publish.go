// Package publish makes the repository of releases that gateways update from: TUF metadata (specification 1.0) with consistent snapshots, and
// the files of releases. Root and targets are signed by several people, each on a machine of their own; snapshot and timestamp by keys on
// the machine that publishes. A repository is a folder:
//
//	public/     what a server hands out: N.root.json, N.targets.json, N.snapshot.json, timestamp.json and SHA256.NAME for each file
//	draft/      root.json and targets.json while signatures are gathered, files/ of releases not published yet
//	lock        held by the command that changes something
//
// In public nothing is ever changed but timestamp.json, by one rename, after all that it leads to is on disk. So whoever asks at any moment
// gets what fits together, and so it does after a power cut.
package publish

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/tidegate-io/tidegate/ota/durable"
	"github.com/tidegate-io/tidegate/ota/publish/listed"
	"github.com/tidegate-io/tidegate/ota/publish/meta"
)

// How long what is signed is valid, unless said otherwise. Signatures of people are renewed at leisure; the online machine refreshes the
// timestamp a few times a day, and may be away over a weekend before gateways say that nothing new reaches them.
const (
	RootLife      = 365 * 24 * time.Hour
	TargetsLife   = 90 * 24 * time.Hour
	SnapshotLife  = 7 * 24 * time.Hour
	TimestampLife = 3 * 24 * time.Hour
)

// Longest pieces of metadata, in bytes: gateways refuse longer ones.
const (
	maxRoot      = 64 << 10
	maxTimestamp = 4 << 10
	maxSnapshot  = 64 << 10
	maxTargets   = 256 << 10
)

// What is refused, by name.
var (
	ErrNoRepository = errors.New("no repository")
	ErrSignatures   = meta.ErrSignatures
	ErrKey          = meta.ErrKey
	ErrDamaged      = listed.ErrDamaged
	ErrCounter      = errors.New("counter does not rise")
	ErrSame         = errors.New("program was released before")
	ErrUnknown      = errors.New("no such release")
	ErrDraft        = meta.ErrDraft
	ErrTooLong      = errors.New("too long for gateways")
	ErrExpired      = meta.ErrExpired
)

// A Repo is a repository, opened to be looked at or changed.
type Repo struct {
	dir   string
	now   time.Time
	lock  *os.File
	wrote func() // tests: after each change in public

	roots     []*meta.Root // published, 1 to the newest
	timestamp *meta.Timestamp
	snapshot  *meta.Snapshot
	targets   *meta.Targets // what gateways see; nil = nothing is published
}

// Open opens the repository in dir, which Init made. now is what expiry is judged and counted by. What is published must be signed as its
// roots ask for, else the error wraps ErrDamaged; that it has expired is no error.
func Open(dir string, now time.Time) (*Repo, error) {
	r := &Repo{dir: dir, now: now.UTC()}
	if _, err := os.Stat(r.public()); errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w in %s; make one with `tidegate-release init`", ErrNoRepository, dir)
	}
	if err := r.load(); err != nil {
		return nil, err
	}
	return r, nil
}

// Lock keeps other commands from changing the repository until Close.
func (r *Repo) Lock() error {
	f, err := os.OpenFile(filepath.Join(r.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("lock repository: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return errors.Join(fmt.Errorf("lock repository: another command changes %s: %w", r.dir, err), f.Close())
	}
	r.lock = f
	return r.load() // it may have changed before
}

// Close ends the lock.
func (r *Repo) Close() error {
	if r.lock == nil {
		return nil
	}
	return r.lock.Close()
}

func (r *Repo) public(name ...string) string {
	return filepath.Join(append([]string{r.dir, "public"}, name...)...)
}

func (r *Repo) draft(name ...string) string {
	return filepath.Join(append([]string{r.dir, "draft"}, name...)...)
}

// load reads what is published.
func (r *Repo) load() error {
	r.roots, r.timestamp, r.snapshot, r.targets = nil, nil, nil, nil
	for n := 1; ; n++ {
		next, err := readFile[metadata.RootType](r.public(fmt.Sprintf("%d.root.json", n)), maxRoot)
		if errors.Is(err, os.ErrNotExist) {
			break
		}
		if err != nil {
			return err
		}
		if err := meta.CheckRoot(next, r.newest(), int64(n)); err != nil {
			return fmt.Errorf("%w: %d.root.json: %w", ErrDamaged, n, err)
		}
		r.roots = append(r.roots, next)
	}
	if r.newest() == nil {
		return nil
	}
	var err error
	if r.timestamp, err = readFile[metadata.TimestampType](r.public("timestamp.json"), maxTimestamp); errors.Is(err, os.ErrNotExist) {
		r.timestamp = nil
		return nil
	} else if err != nil {
		return err
	}
	link, ok := r.timestamp.Signed.Meta["snapshot.json"]
	if !ok {
		return fmt.Errorf("%w: timestamp.json names no snapshot", ErrDamaged)
	}
	if r.snapshot, err = readFile[metadata.SnapshotType](r.public(fmt.Sprintf("%d.snapshot.json", link.Version)), maxSnapshot); err != nil {
		return err
	}
	if link, ok = r.snapshot.Signed.Meta["targets.json"]; !ok {
		return fmt.Errorf("%w: %d.snapshot.json names no targets", ErrDamaged, r.snapshot.Signed.Version)
	}
	if r.targets, err = readFile[metadata.TargetsType](r.public(fmt.Sprintf("%d.targets.json", link.Version)), maxTargets); err != nil {
		return err
	}
	return r.checkPublished()
}

// checkPublished wants what was read to be signed as the newest root asks for, or the one before: a cut may have come between the two.
func (r *Repo) checkPublished() error {
	var err error
	for i := len(r.roots) - 1; i >= max(0, len(r.roots)-2); i-- {
		if err = meta.Chain(r.roots[i], r.timestamp, r.snapshot, r.targets); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: what is published: %w", ErrDamaged, err)
}

// newest returns the newest published root, nil where there is none.
func (r *Repo) newest() *meta.Root {
	if len(r.roots) == 0 {
		return nil
	}
	return r.roots[len(r.roots)-1]
}

// inForce returns the root that what is drafted has to satisfy: its draft, else the newest.
func (r *Repo) inForce() (*meta.Root, error) {
	d, err := readDraft[metadata.RootType](r, "root", maxRoot)
	if err != nil {
		return nil, err
	}
	if d != nil {
		return d, nil
	}
	if r.newest() == nil {
		return nil, fmt.Errorf("%w in %s: it has no root; make one with `tidegate-release init`", ErrNoRepository, r.dir)
	}
	return r.newest(), nil
}

// versions returns the versions of a kind of metadata that lie in public, published or left there by a cut.
func (r *Repo) versions(kind string) ([]int64, error) {
	names, err := filepath.Glob(r.public("*." + kind + ".json"))
	if err != nil {
		return nil, err
	}
	var out []int64
	for _, name := range names {
		n, err := strconv.ParseInt(strings.TrimSuffix(filepath.Base(name), "."+kind+".json"), 10, 64)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%w: %s is none of ours", ErrDamaged, name)
		}
		out = append(out, n)
	}
	return out, nil
}

// next returns a version that no file of that kind has had.
func (r *Repo) next(kind string) (int64, error) {
	all, err := r.versions(kind)
	n := int64(1)
	for _, v := range all {
		n = max(n, v+1)
	}
	return n, err
}

// writePublic writes a file that servers hand out.
func (r *Repo) writePublic(name string, body []byte) error {
	if err := durable.WriteFile(r.public(name), body, 0o644); err != nil {
		return err
	}
	r.changed()
	return nil
}

func (r *Repo) changed() {
	if r.wrote != nil {
		r.wrote()
	}
}

// makeFolder makes a folder that a server can read, and those above it.
func makeFolder(path string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	return durable.SyncDir(filepath.Dir(path))
}
