// Package durable changes files so that after a power cut at any moment each holds either what it held or what was written, and says only
// then that it is done. A rename alone does not: without a sync before it the file may be empty afterwards, and without one of the folder
// it may not have happened (rename(2), fsync(2)).
package durable

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// suffix is that of files being written. What a cut leaves of them is in nobody's way.
const suffix = ".new"

// Temporary returns the name that WriteFile and Symlink write to before they rename it to path: what a cut may leave behind.
func Temporary(path string) string { return path + suffix }

// A Disk is the way to the files. The zero Disk is the real one; tests look at the steps and stop between two of them.
type Disk struct {
	// Step is asked before each step that changes what is on disk; an error ends the work there, as a kill would. what is "write", "sync",
	// "rename", "symlink", "remove", "mkdir" or "syncdir". nil = go on.
	Step func(what, path string) error
}

func (d Disk) step(what, path string) error {
	if d.Step == nil {
		return nil
	}
	return d.Step(what, path)
}

// The functions are the methods of the zero Disk.

// WriteFile is Disk.WriteFile.
func WriteFile(path string, body []byte, mode os.FileMode) error {
	return Disk{}.WriteFile(path, body, mode)
}

// Rename is Disk.Rename.
func Rename(from, to string) error { return Disk{}.Rename(from, to) }

// Remove is Disk.Remove.
func Remove(path string) error { return Disk{}.Remove(path) }

// Mkdir is Disk.Mkdir.
func Mkdir(path string) error { return Disk{}.Mkdir(path) }

// SyncDir is Disk.SyncDir.
func SyncDir(path string) error { return Disk{}.SyncDir(path) }

// ReadFile reads a file of at most limit bytes. It never waits for somebody to write to what is there in the place of a file.
func ReadFile(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s: got more than %d bytes", path, limit)
	}
	return b, errors.Join(err, f.Close())
}

// WriteFile replaces what path holds, or makes it. With an error the file is as it was, unless the last step failed, the sync of the folder:
// then it may be either.
func (d Disk) WriteFile(path string, body []byte, mode os.FileMode) error {
	if err := d.replace(path, body, mode); err != nil {
		return err
	}
	return d.SyncDir(filepath.Dir(path))
}

// replace is WriteFile without the sync of the folder: after a cut the file holds what it held, or body.
func (d Disk) replace(path string, body []byte, mode os.FileMode) error {
	if err := d.write(path+suffix, body, mode); err != nil {
		// A full disk must not keep half of it. After a stop nothing is changed any more.
		if d.step("remove", path+suffix) == nil {
			_ = os.Remove(path + suffix)
		}
		return fmt.Errorf("write %s: %w", path, err)
	}
	return d.rename(path+suffix, path)
}

// write makes a file of its own, whatever a cut or somebody else left under the name.
func (d Disk) write(path string, body []byte, mode os.FileMode) error {
	if err := d.step("write", path); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(body)
	if err == nil {
		err = f.Chmod(mode) // whatever the umask says
	}
	if err == nil {
		err = d.sync(f)
	}
	return errors.Join(err, f.Close())
}

// Sync makes the content of a file last that is there already.
func (d Disk) Sync(path string) error {
	f, err := os.Open(path)
	if err == nil {
		err = errors.Join(d.sync(f), f.Close())
	}
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return nil
}

func (d Disk) sync(f *os.File) error {
	if err := d.step("sync", f.Name()); err != nil {
		return err
	}
	return f.Sync()
}

// Rename gives a synced file another name in the same folder, in the place of what had it.
func (d Disk) Rename(from, to string) error {
	if err := d.rename(from, to); err != nil {
		return err
	}
	return d.SyncDir(filepath.Dir(to))
}

func (d Disk) rename(from, to string) error {
	if err := d.step("rename", to); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("rename: %w", err) // it names both
	}
	return nil
}

// Symlink makes path lead to target, whatever it did before.
func (d Disk) Symlink(target, path string) error {
	if err := d.step("symlink", path+suffix); err != nil {
		return err
	}
	if err := os.Remove(path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("link %s: %w", path, err)
	}
	if err := os.Symlink(target, path+suffix); err != nil {
		return fmt.Errorf("link: %w", err)
	}
	return d.Rename(path+suffix, path)
}

// Remove takes a file away; there may be none.
func (d Disk) Remove(path string) error {
	if err := d.step("remove", path); err != nil {
		return err
	}
	if err := os.Remove(path); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	return d.SyncDir(filepath.Dir(path))
}

// Mkdir makes a folder and those above it where they are missing, for its owner only. A folder that is there is synced all the same: who
// made it may have been killed before that.
func (d Disk) Mkdir(path string) error {
	path = filepath.Clean(path)
	parent := filepath.Dir(path)
	if st, err := os.Stat(path); err == nil {
		if !st.IsDir() {
			return fmt.Errorf("make folder %s: %w", path, syscall.ENOTDIR)
		}
		return d.SyncDir(parent)
	}
	if parent != path {
		if err := d.Mkdir(parent); err != nil {
			return err
		}
	}
	if err := d.step("mkdir", path); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make folder: %w", err)
	}
	return d.SyncDir(parent)
}

// SyncDir makes what was done to the names in a folder last.
func (d Disk) SyncDir(path string) error {
	if err := d.step("syncdir", path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("sync folder %s: %w", path, err)
	}
	return nil
}
