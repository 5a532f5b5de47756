package trust

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tidegate-io/tidegate/ota/durable"
)

// Bounds of the quarantine.
const (
	maxQuarantined     = 8
	maxQuarantineBytes = 1 << 20
)

func (t *Trust) path(role string) string { return filepath.Join(t.cache, role+".json") }

// cached returns what the cache has of a role, at most limit bytes; nil = nothing.
func (t *Trust) cached(role string, limit int64) ([]byte, error) {
	b, err := durable.ReadFile(t.path(role), limit)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// save makes raw what the cache has of a role; was is what it has of it now, as far as it is whole.
func (t *Trust) save(role string, raw, was []byte) error {
	if was != nil && bytes.Equal(raw, was) {
		return nil
	}
	if err := t.disk.write(t.path(role), raw, 0o600); err != nil {
		return fmt.Errorf("keep %s.json: %w", role, err)
	}
	return nil
}

// quarantine takes a damaged file out of the cache and keeps it for whoever wants to know, as the newest of a few. What is too long to be
// metadata is not kept.
func (t *Trust) quarantine(role string, cause error) error {
	from, dir := t.path(role), filepath.Join(t.cache, "quarantine")
	st, err := os.Lstat(from)
	if err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	switch {
	case !st.Mode().IsRegular(): // none that we made
		t.note(ErrCache, fmt.Errorf("%w; %s is deleted", cause, from))
		if err := os.RemoveAll(from); err != nil {
			return fmt.Errorf("quarantine: %w", err)
		}
		return durable.SyncDir(t.cache)
	case st.Size() > MaxTargets:
		t.note(ErrCache, fmt.Errorf("%w; %s of %d bytes is deleted", cause, from, st.Size()))
		return t.disk.remove(from)
	}
	if err := t.disk.mkdir(dir); err != nil {
		return err
	}
	next, err := t.prune(dir, st.Size())
	if err != nil {
		return err
	}
	to := filepath.Join(dir, filepath.Base(from)+"."+strconv.FormatUint(next, 10))
	t.note(ErrCache, fmt.Errorf("%w; it is kept as %s", cause, to))
	if err := t.disk.rename(from, to); err != nil {
		return err
	}
	return durable.SyncDir(t.cache)
}

// prune makes room for a file of so many bytes in the quarantine, the oldest ones first, and returns the number of the next one.
func (t *Trust) prune(dir string, size int64) (next uint64, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, fmt.Errorf("quarantine: %w", err)
	}
	type kept struct {
		name   string
		number uint64
		size   int64
	}
	var all []kept
	for _, e := range entries {
		st, err := e.Info()
		if err != nil {
			return 0, fmt.Errorf("quarantine: %w", err)
		}
		k := kept{name: e.Name(), size: st.Size()}
		if n, err := strconv.ParseUint(k.name[strings.LastIndexByte(k.name, '.')+1:], 10, 32); err == nil {
			k.number = n // what has none is not ours, and the oldest
		}
		next = max(next, k.number+1)
		size += k.size
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b kept) int { return int(int64(a.number) - int64(b.number)) })
	for i := 0; i < len(all) && (len(all)-i >= maxQuarantined || size > maxQuarantineBytes); i++ {
		if err := t.disk.remove(filepath.Join(dir, all[i].name)); err != nil {
			return 0, err
		}
		size -= all[i].size
	}
	return max(next, 1), nil
}
