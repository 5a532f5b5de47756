package trust

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// A cycle is one Refresh under way.
type cycle struct {
	t   *Trust
	ctx context.Context
	src Source
	now time.Time // that expiry is judged by

	cachedRoot *metadata.Metadata[metadata.RootType] // as the cycle found it; nil = none that is whole
	root       *metadata.Metadata[metadata.RootType]
	timestamp  stamp
	snapshot   *metadata.Metadata[metadata.SnapshotType]
	targets    *metadata.Metadata[metadata.TargetsType]

	cached map[string][]byte // by role: what the cache has that is whole
}

// fetch gets a file of at most limit bytes from the source. Whoever reads it holds it against its length.
func (c *cycle) fetch(name string, limit int64) ([]byte, error) {
	raw, err := c.src.Metadata(c.ctx, name, limit)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return raw, nil
}

// versioned is the name of a role's file at a source (TUF 6.2).
func (c *cycle) versioned(role string, version int64) string {
	if c.root.Signed.ConsistentSnapshot {
		return strconv.FormatInt(version, 10) + "." + role + ".json"
	}
	return role + ".json"
}

// roots finds the newest root: from the cached one or the pinned one on, one version after the other. What it has found lasts before it returns,
// with an error too.
func (c *cycle) roots() error {
	t := c.t
	was, raw, err := c.firstRoot()
	if err != nil {
		return err
	}
	raw, walked := c.walk(raw)
	f := t.floors
	f.Root = max(f.Root, c.root.Signed.Version)
	if err := t.raise(f); err != nil {
		return errors.Join(walked, err)
	}
	if err := t.save(metadata.ROOT, raw, was); err != nil {
		return errors.Join(walked, err)
	}
	if walked == nil && c.root.Signed.Version < f.Root {
		return fmt.Errorf("root.json: %w: got version %d, want at least %d", ErrRollback, c.root.Signed.Version, f.Root)
	}
	return walked
}

// cachedRoot returns the root that the cache has, and its bytes; nil = none that is whole.
func (t *Trust) cachedRoot() (*metadata.Metadata[metadata.RootType], []byte, error) {
	raw, err := t.cached(metadata.ROOT, MaxRoot)
	if raw == nil && err == nil {
		return nil, nil, nil
	}
	var m *metadata.Metadata[metadata.RootType]
	if err == nil {
		m, err = readRoot(raw)
	}
	if err == nil {
		err = verify(m, metadata.ROOT, m)
	}
	if err != nil {
		return nil, nil, t.quarantine(metadata.ROOT, err)
	}
	return m, raw, nil
}

// firstRoot chooses the root to begin with, sets the floor of its versions, and returns what the cache has of it, as far as that is whole.
func (c *cycle) firstRoot() (was, raw []byte, err error) {
	t := c.t
	cached, was, err := t.cachedRoot()
	if err != nil {
		return nil, nil, err
	}
	c.cachedRoot = cached
	pinned := hash(t.pinned)
	known := t.floors.Pinned == pinned || t.floors.Pinned == ""
	t.floors.Pinned = pinned
	c.root, raw = t.first, t.pinned
	switch first := t.first.Signed.Version; {
	case cached == nil && !known: // another one is pinned than the one that Root was counted from
		t.floors.Root = first
	case cached == nil, first > cached.Signed.Version:
	case known, verify(t.first, metadata.ROOT, cached) == nil: // another one is pinned, of the same chain
		c.root, raw = cached, was
	default: // what is pinned now is of another owner, or of one who lost the keys
		// The cached one goes first: a cut behind it must not leave it beside floors that know the new one.
		t.floors.Root, was, err = first, nil, t.disk.remove(t.path(metadata.ROOT))
	}
	return was, raw, err
}

// walk takes the roots behind c.root, which raw is, and returns the last one that is good.
func (c *cycle) walk(raw []byte) ([]byte, error) {
	for n := 0; ; n++ {
		version := c.root.Signed.Version + 1
		next, err := c.fetch(strconv.FormatInt(version, 10)+".root.json", MaxRoot)
		if errors.Is(err, ErrMissing) {
			return raw, nil
		} else if err != nil {
			return raw, err
		}
		if n == MaxRoots {
			return raw, fmt.Errorf("root.json: %w: got version %d and more behind it, want at most %d roots", ErrRoots, version-1, MaxRoots)
		}
		m, err := readRoot(next)
		if err == nil && m.Signed.Version != version {
			err = fmt.Errorf("root.json: %w: got %d, want %d", ErrVersion, m.Signed.Version, version)
		}
		if err == nil {
			err = verify(c.root, metadata.ROOT, m) // those who could say so until now
		}
		if err == nil {
			err = verify(m, metadata.ROOT, m) // and those who can from now on
		}
		if err != nil {
			return raw, err
		}
		c.root, raw = m, next
	}
}
