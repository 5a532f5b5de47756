package sink

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A disk is one directory of files that grow at their end. What its methods have done is durable when they return nil; after an
// error, or a crash within, it may be done in part: of Write, any part of b, or zeros in its place.
type disk interface {
	// Names returns the files and their sizes in bytes.
	Names() (map[string]int64, error)
	// Read returns n bytes of a file, from an offset.
	Read(name string, from, n int64) ([]byte, error)
	// Write cuts a file to at bytes and puts b behind. It makes the file when there is none; at is 0 then.
	Write(name string, at int64, b []byte) error
	// Remove removes a file; one that is not there is no error.
	Remove(name string) error
}

// A directory is a disk on a file system. It keeps the files open that are being written: one of each kind, which is the part of
// its name before "-".
type directory struct {
	path string
	lock *os.File
	open map[string]*openFile // by kind
}

// An openFile is a file that is being written.
type openFile struct {
	*os.File
	name string
	size int64 // -1 = not known for sure
}

// openDirectory makes the directory if need be and locks it: two receivers on one directory would store twice.
func openDirectory(path string) (*directory, error) {
	if err := os.MkdirAll(path, 0o750); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o640)
	if err != nil {
		return nil, fmt.Errorf("lock directory: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		err = fmt.Errorf("lock directory %s: %w; another receiver is using it", path, err)
		return nil, errors.Join(err, lock.Close())
	}
	return &directory{path: path, lock: lock, open: map[string]*openFile{}}, nil
}

// Close closes all files and gives the lock up.
func (d *directory) Close() error {
	var errs []error
	for _, f := range d.open {
		errs = append(errs, f.Close())
	}
	return errors.Join(append(errs, d.lock.Close())...)
}

func (d *directory) Names() (map[string]int64, error) {
	list, err := os.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	names := map[string]int64{}
	for _, e := range list {
		stat, err := e.Info()
		if err != nil {
			return nil, err
		}
		if stat.Mode().IsRegular() {
			names[e.Name()] = stat.Size()
		}
	}
	return names, nil
}

func (d *directory) Read(name string, from, n int64) ([]byte, error) {
	f, err := os.Open(filepath.Join(d.path, name))
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(io.NewSectionReader(f, from, n), b); err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", name, err), f.Close())
	}
	return b, f.Close()
}

func (d *directory) Write(name string, at int64, b []byte) error {
	f, err := d.file(name)
	if err != nil {
		return err
	}
	if f.size != at {
		f.size = -1
		if err := f.Truncate(at); err != nil {
			return err
		}
	}
	f.size = -1
	if _, err := f.WriteAt(b, at); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("sync %s: %w", name, err)
	}
	f.size = at + int64(len(b))
	return nil
}

// file returns the file of that name, open for writing. A new one is durable in its directory.
func (d *directory) file(name string) (*openFile, error) {
	kind, _, _ := strings.Cut(name, "-")
	if f := d.open[kind]; f != nil {
		if f.name == name {
			return f, nil
		}
		delete(d.open, kind)
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	f, err := os.OpenFile(filepath.Join(d.path, name), os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	if err := d.sync(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	d.open[kind] = &openFile{File: f, name: name, size: -1}
	return d.open[kind], nil
}

func (d *directory) Remove(name string) error {
	if err := os.Remove(filepath.Join(d.path, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return d.sync()
}

// sync makes the directory's list of names durable.
func (d *directory) sync() error {
	f, err := os.Open(d.path)
	if err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return errors.Join(fmt.Errorf("sync %s: %w", d.path, err), f.Close())
	}
	return f.Close()
}
