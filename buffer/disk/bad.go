package disk

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/buffer/stored"
)

const (
	// badPrefix begins the names of damaged stores that were set aside, beside the store in use.
	badPrefix = "buffer.bad-"
	// maxBad is how many of them stay: more would fill a disk that damages one after the other.
	maxBad = 3
)

// openDamaged is the error of a store that does not open. It wraps stored.ErrDamaged unless the cause lies outside: no room, no right,
// no answer from the disk, another process.
func openDamaged(dir string, err error) error {
	if CausedBy(err, unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EACCES, unix.EPERM, unix.EIO, unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.ENFILE) {
		return fmt.Errorf("open store %s: %w", dir, err)
	}
	return fmt.Errorf("open store %s: %w: %w", dir, err, stored.ErrDamaged)
}

// CausedBy reports whether one of the causes is behind err. Badger's own errors hide theirs from errors.Is, so the text is looked at, too.
func CausedBy(err error, causes ...unix.Errno) bool {
	return slices.ContainsFunc(causes, func(e unix.Errno) bool { return errors.Is(err, e) || strings.Contains(err.Error(), e.Error()) })
}

// judgeTables returns an error wrapping stored.ErrDamaged where Badger must not be let near: it would delete tables that no MANIFEST lists,
// and it opens each table in a goroutine of its own, where nobody can catch its panic on a damaged one.
func judgeTables(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list store: %w", err)
	}
	tables := slices.DeleteFunc(list, func(e fs.DirEntry) bool { return !strings.HasSuffix(e.Name(), ".sst") })
	if _, err := os.Stat(filepath.Join(dir, "MANIFEST")); errors.Is(err, fs.ErrNotExist) && len(tables) > 0 {
		return fmt.Errorf("open store %s: %d tables and no MANIFEST: %w", dir, len(tables), stored.ErrDamaged)
	}
	listed, err := listedTables(dir)
	if err != nil {
		return err
	}
	for _, id := range listed {
		path := table.NewFilename(id, dir)
		if err := judgeTable(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // Badger refuses where one is missing
			return fmt.Errorf("open store: table %s: %w", path, err)
		}
	}
	return nil
}

// listedTables returns the tables in the MANIFEST. Others are those that the process was writing when it ended; Badger deletes them
// unread.
func listedTables(dir string) (list []uint64, err error) {
	f, err := os.Open(filepath.Join(dir, "MANIFEST"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", dir, err)
	}
	defer f.Close()
	err = guarded(func() {
		if m, _, err := badger.ReplayManifestFile(f, 0, badgerOptions(dir, 0, 0, slog.New(slog.DiscardHandler))); err == nil { // else Badger refuses it
			list = slices.Sorted(maps.Keys(m.Tables))
		}
	})
	return list, err
}

// judgeTable does with the table what Badger does when it opens it: reads its index, its first and its last key.
func judgeTable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return err // Badger refuses an empty one without a panic
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map: %w", err)
	}
	var refused error
	err = guarded(func() { _, refused = table.OpenInMemoryTable(b, 1, &table.Options{}) })
	if refused != nil { // Badger would refuse it too, and leave goroutines behind
		err = fmt.Errorf("%w: %w", refused, stored.ErrDamaged)
	}
	return errors.Join(err, unix.Munmap(b))
}

// unsalvaged is an empty file in a store that was set aside, as long as nobody has looked what of it can be read.
const unsalvaged = "unsalvaged"

// SetAside renames the store of the state directory, which is damaged and not open, and returns what it is called now. The smallest
// of too many is deleted, and the oldest as long as they take more than most bytes together, but never this one; the log says so.
func SetAside(stateDir string, most int64, log *slog.Logger) (to string, err error) {
	if err := os.WriteFile(filepath.Join(stateDir, "buffer", unsalvaged), nil, 0o600); err != nil {
		log.Error("nothing of the damaged store will be salvaged", "err", err)
	}
	base := filepath.Join(stateDir, badPrefix+time.Now().UTC().Format("20060102T150405Z"))
	to = base
	for n := 2; ; n++ {
		if _, err := os.Lstat(to); errors.Is(err, fs.ErrNotExist) {
			break
		}
		to = fmt.Sprintf("%s-%d", base, n)
	}
	if err := os.Rename(filepath.Join(stateDir, "buffer"), to); err != nil {
		return "", fmt.Errorf("set damaged store aside: %w", err)
	}
	d, err := os.Open(stateDir)
	if err == nil {
		err = errors.Join(d.Sync(), d.Close())
	}
	if err != nil {
		return "", fmt.Errorf("set damaged store aside: %w", err)
	}
	dropBad(stateDir, to, most, log)
	return to, nil
}

// dropBad deletes damaged stores where there are too many, or more than most bytes of them: all but keep.
func dropBad(stateDir, keep string, most int64, log *slog.Logger) {
	for {
		list := slices.DeleteFunc(BadStores(stateDir), func(path string) bool { return path == keep })
		sum := dirBytes(keep)
		for _, path := range list {
			sum += dirBytes(path)
		}
		var drop string
		switch {
		case len(list) >= maxBad:
			drop = slices.MinFunc(list, func(a, b string) int { return cmp.Compare(dirBytes(a), dirBytes(b)) })
		case len(list) > 0 && sum > most:
			drop = list[0]
		default:
			return
		}
		log.Error("damaged stores that were set aside take too much: one is deleted", "path", drop, "bytes", dirBytes(drop), "all", sum, "limit", most)
		if err := os.RemoveAll(drop); err != nil {
			log.Error("delete damaged store", "err", err)
			return
		}
	}
}

// Unsalvaged returns the paths of the damaged stores of which nobody has looked yet what can be read, by age.
func Unsalvaged(stateDir string) []string {
	return slices.DeleteFunc(BadStores(stateDir), func(path string) bool {
		_, err := os.Lstat(filepath.Join(path, unsalvaged))
		return err != nil
	})
}

// Salvaged notes that somebody has looked what can be read of the damaged store.
func Salvaged(path string) error {
	if err := os.Remove(filepath.Join(path, unsalvaged)); err != nil {
		return fmt.Errorf("note that a damaged store was salvaged: %w", err)
	}
	return nil
}

// BadStores returns the paths of the damaged stores that were set aside, by age.
func BadStores(stateDir string) []string {
	list, err := os.ReadDir(stateDir)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range list {
		if strings.HasPrefix(e.Name(), badPrefix) {
			out = append(out, filepath.Join(stateDir, e.Name()))
		}
	}
	return out
}
