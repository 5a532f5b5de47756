package publish

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/tidegate-io/tidegate/ota/publish/keyfile"
	"github.com/tidegate-io/tidegate/ota/publish/meta"
)

// Keys are those of a new repository.
type Keys struct {
	Public    []keyfile.Public // of all roles
	Threshold int              // signatures that root and targets need; one key more than that at least, so that one may be lost
}

// Init makes a repository in dir and the draft of its first root, which expires then.
func Init(dir string, k Keys, now, expires time.Time) error {
	r := &Repo{dir: dir, now: now}
	if _, err := os.Stat(r.public()); err == nil {
		return fmt.Errorf("%s holds a repository already; `root new` changes its keys", dir)
	}
	m := metadata.Root(expires.UTC().Truncate(time.Second))
	for _, role := range keyfile.Roles() {
		if role.Offline() {
			m.Signed.Roles[string(role)].Threshold = k.Threshold
		}
	}
	for _, p := range k.Public {
		if err := meta.AddKey(m, p); err != nil {
			return err
		}
	}
	if err := meta.CheckKeys(m, now); err != nil {
		return err
	}
	for _, folder := range []string{dir, r.draft("files"), r.public()} {
		if err := makeFolder(folder); err != nil {
			return err
		}
	}
	return writeDraft(r, metadata.ROOT, m, maxRoot)
}

// NewRoot drafts the next root: without the keys of those ids, with those keys beside the others. It needs the signatures of the root before
// and those that it asks for itself. With neither it is the same root for longer. A draft that there was is changed, without its signatures.
func (r *Repo) NewRoot(remove []string, add []keyfile.Public, expires time.Time) error {
	m, err := readDraft[metadata.RootType](r, metadata.ROOT, maxRoot)
	if err != nil {
		return err
	}
	if m == nil {
		if r.newest() == nil {
			return fmt.Errorf("%w in %s: it has no root", ErrNoRepository, r.dir)
		}
		if m, err = meta.Copy(r.newest()); err != nil {
			return err
		}
		m.Signed.Version++
	}
	m.ClearSignatures()
	m.Signed.Expires = expires.UTC().Truncate(time.Second)
	for _, id := range remove {
		if err := meta.RemoveKey(m, id); err != nil {
			return err
		}
	}
	for _, p := range add {
		if err := meta.AddKey(m, p); err != nil {
			return err
		}
	}
	if err := meta.CheckKeys(m, r.now); err != nil {
		return err
	}
	return writeDraft(r, metadata.ROOT, m, maxRoot)
}

// Discard removes a draft, with the files that nothing else needs.
func (r *Repo) Discard(role keyfile.Role) error {
	if _, err := r.Draft(role); err != nil {
		return err
	}
	if err := r.removeDraft(string(role)); err != nil || role != keyfile.Targets {
		return err
	}
	files, err := filepath.Glob(r.draft("files", "*"))
	for _, path := range files {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// removeDraft takes away what was published, and files that a cut left half written.
func (r *Repo) removeDraft(kind string) error {
	if err := os.Remove(r.draft(kind + ".json")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove draft: %w", err)
	}
	return nil
}

// sweep removes what a cut left half written in public.
func (r *Repo) sweep() error {
	left, err := filepath.Glob(r.public("*.new"))
	if err != nil {
		return err
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove what was left half written: %w", err)
		}
	}
	return nil
}
