package fetch

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/ota/durable"
)

// isDone says whether an earlier File did it all. What else bears that name is removed.
func (d *download) isDone() (bool, error) {
	f, size, err := openRegular(filepath.Dir(d.path), filepath.Base(d.path)+doneSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		if size == d.length {
			_, err = io.Copy(d.hash, f)
		}
		f.Close()
		good := err == nil && d.check() == nil
		d.hash.Reset()
		if good {
			return true, nil
		}
	}
	if err := durable.Remove(d.path + doneSuffix); err != nil {
		return false, fmt.Errorf("%w: %w", ErrDisk, err)
	}
	return false, nil
}

// open opens .part and hashes what is in it. What cannot be gone on with is begun anew: what is no regular file, longer than the file can be, or
// cannot be read.
func (d *download) open() error {
	path := d.path + partSuffix
	f, size, err := openPart(path)
	if err == nil && size <= d.length {
		var n int64
		n, err = io.Copy(d.hash, io.LimitReader(f, d.length))
		d.have, d.synced = n, n
	}
	if err == nil && size <= d.length {
		d.f, d.from = f, readOrigin(d.path+fromSuffix)
		return nil
	}
	if f != nil {
		f.Close()
	}
	d.hash.Reset()
	d.have, d.synced = 0, 0
	err = durable.Remove(path)
	if err == nil {
		d.f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err == nil {
		err = durable.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	return nil
}

// openPart opens a regular file to go on with.
func openPart(path string) (*os.File, int64, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = ErrKind
	}
	if err != nil {
		return f, 0, err
	}
	return f, st.Size(), nil
}

// openRegular opens a regular file of a folder to read it, whatever else bears its name: no link, no pipe, no device.
func openRegular(dir, name string) (*os.File, int64, error) {
	path := filepath.Join(dir, name)
	st, err := os.Lstat(path) // to open a device may do something
	if errors.Is(err, fs.ErrNotExist) {
		if at, err := os.Stat(dir); err != nil || !at.IsDir() {
			return nil, 0, fmt.Errorf("%w: no such folder", ErrUnreachable)
		}
	}
	if err != nil {
		return nil, 0, err
	}
	if !st.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%w: %s is %v", ErrKind, path, st.Mode())
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if st, err = f.Stat(); err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s is %v", ErrKind, path, st.Mode())
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, st.Size(), nil
}

// readSmall reads a regular file of at most limit bytes.
func readSmall(path string, limit int64) ([]byte, error) {
	f, size, err := openRegular(filepath.Dir(path), filepath.Base(path))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > limit {
		return nil, fmt.Errorf("%w: got %d bytes, want at most %d", ErrLength, size, limit)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// freeSpace returns how many bytes of a file system a user may still take.
func freeSpace(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(min(st.Bavail*uint64(st.Bsize), 1<<62)), nil
}

// space sees to it that what is missing will have its place, and reserves it.
func (d *download) space() error {
	var st unix.Stat_t
	err := unix.Fstat(int(d.f.Fd()), &st)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	missing := d.length - int64(st.Blocks)*512
	if missing <= 0 {
		return nil // reserved already
	}
	free, err := d.s.free(filepath.Dir(d.path))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	if need := missing + reserve; free < need {
		return fmt.Errorf("%w: %d bytes are free, want %d for what is missing and %d to spare", ErrSpace, free, missing, int64(reserve))
	}
	return d.reserve()
}

// reserve allocates the blocks behind the end, where the file system can.
func (d *download) reserve() error {
	err := unix.Fallocate(int(d.f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, d.length)
	if err == nil || !full(err) {
		return nil
	}
	return fmt.Errorf("%w: reserve %d bytes: %w", ErrSpace, d.length, err)
}

func full(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// restart throws away what is there.
func (d *download) restart() error {
	if err := d.f.Truncate(0); err != nil {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	d.hash.Reset()
	d.have, d.synced, d.at = 0, 0, time.Now()
	d.first, d.mixed, d.from = nil, false, origin{}
	return d.reserve()
}

// write appends b. A kill from here on loses none of it, and a power cut loses what came since the last sync.
func (d *download) write(b []byte) error {
	if _, err := d.f.WriteAt(b, d.have); full(err) {
		return fmt.Errorf("%w: %w", ErrSpace, err)
	} else if err != nil {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	d.hash.Write(b)
	d.have += int64(len(b))
	d.received += int64(len(b))
	if d.have-d.synced >= syncBytes || d.have > d.synced && time.Since(d.at) >= syncTime {
		return d.sync()
	}
	return nil
}

func (d *download) sync() error {
	if err := d.s.sync(d.f); err != nil {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	d.synced, d.at = d.have, time.Now()
	return nil
}

// check holds what came against the hash.
func (d *download) check() error {
	if got := hex.EncodeToString(d.hash.Sum(nil)); got != d.sum {
		return fmt.Errorf("%w: got %s, want %s", ErrHash, got, d.sum)
	}
	return nil
}

// keep ends a download whose hash is right: it goes to disk, is read again from there, and gets its last name.
func (d *download) keep() error {
	if err := d.sync(); err != nil {
		return err
	}
	// What the disk has, not what memory has. It is advice: where it is not taken, the launcher's check at each start finds the same.
	_ = unix.Fadvise(int(d.f.Fd()), 0, 0, unix.FADV_DONTNEED)
	d.hash.Reset()
	_, err := io.Copy(d.hash, io.NewSectionReader(d.f, 0, d.length+1)) // a byte more than there should be would show
	if err == nil {
		err = d.check()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%w: read again: %w", ErrDisk, err), d.restart())
	}
	if err := os.Remove(d.path + fromSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	if err := durable.Rename(d.path+partSuffix, d.path+doneSuffix); err != nil {
		return fmt.Errorf("%w: %w", ErrDisk, err)
	}
	return nil
}

// Tidy removes from a folder of downloads what no File will go on with: everything of other files than those in keep, which are what was given
// as the last element of into. Folders, and files with other endings, stay.
func Tidy(dir string, keep ...string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("tidy up: %w", err)
	}
	var wrong []error
	removed := false
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".new") // of durable
		base, ours := name, false
		for _, suffix := range []string{fromSuffix, partSuffix, doneSuffix} {
			if cut, ok := strings.CutSuffix(name, suffix); ok {
				base, ours = cut, true
				break
			}
		}
		if !ours || e.IsDir() || slices.Contains(keep, base) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			wrong = append(wrong, err)
		}
		removed = true
	}
	if removed {
		wrong = append(wrong, durable.SyncDir(dir))
	}
	if err := errors.Join(wrong...); err != nil {
		return fmt.Errorf("tidy up: %w", err)
	}
	return nil
}
