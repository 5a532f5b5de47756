package place

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Usable returns nil where a file in dir can be made, written and synced.
func Usable(dir string) error {
	c, err := Take(dir)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "probe-")
	if err == nil {
		err = errors.Join(probe(f), f.Close(), os.Remove(f.Name()))
	}
	return errors.Join(err, c.Release())
}

// probe writes f as the lease is written, and then as the store is.
func probe(f *os.File) error {
	const size = 4096
	if _, err := f.Write(make([]byte, size)); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	b, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map %s: %w", f.Name(), err)
	}
	b[0] = 1 // its block is there: this is no place for SIGBUS
	err = unix.Msync(b, unix.MS_SYNC)
	if err != nil {
		err = fmt.Errorf("sync %s: %w", f.Name(), err)
	}
	return errors.Join(err, unix.Munmap(b))
}

// IsMemory reports whether dir, which is made if need be, lies in memory.
func IsMemory(dir string) bool {
	var st unix.Statfs_t
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = unix.Statfs(dir, &st)
	}
	return err == nil && (int64(st.Type) == unix.TMPFS_MAGIC || int64(st.Type) == unix.RAMFS_MAGIC)
}

// Space returns the free and the total bytes of a directory that may take so many.
func Space(dir string, most int64) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("ask file system of %s: %w", dir, err)
	}
	used := int64(0)
	err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		var st unix.Stat_t
		if err == nil && unix.Lstat(path, &st) == nil { // what is gone meanwhile takes nothing
			used += st.Blocks * 512
		}
		return nil
	})
	return min(int64(st.Bavail)*int64(st.Bsize), most-used), most, err
}
