// Package durable changes files so that after a power cut at any moment each holds either what it held or what was written, and says only
// then that it is done. A rename alone does not: without a sync before it the file may be empty afterwards, and without one of the folder
// it may not have happened (rename(2), fsync(2)).
package durable

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// suffix is that of files being written. What a cut leaves of them is written over.
const suffix = ".new"

// WriteFile replaces what path holds, or makes it. The error says which step failed; the file is as it was then, or as asked.
func WriteFile(path string, body []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path+suffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(body)
	if err == nil {
		err = f.Chmod(mode) // it may have been there
	}
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return Rename(path+suffix, path)
}

// Rename gives a synced file another name in the same folder, in the place of what had it.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("rename: %w", err) // it names both
	}
	return SyncDir(filepath.Dir(to))
}

// Symlink makes path lead to target, whatever it did before.
func Symlink(target, path string) error {
	if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("link %s: %w", path, err)
	}
	if err := os.Symlink(target, path+suffix); err != nil {
		return fmt.Errorf("link: %w", err)
	}
	return Rename(path+suffix, path)
}

// Remove takes a file away; there may be none.
func Remove(path string) error {
	if err := os.Remove(path); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	return SyncDir(filepath.Dir(path))
}

// Mkdir makes a folder and those above it where they are missing, for its owner only.
func Mkdir(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := Mkdir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make folder: %w", err)
	}
	return SyncDir(parent)
}

// SyncDir makes what was done to the names in a folder last.
func SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync folder %s: %w", path, err)
	}
	return nil
}
