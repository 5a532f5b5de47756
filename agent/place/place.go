// Package place is the directories that a gateway keeps things in: whether they are its own, can be written, are still there, and have room. It knows nothing
// of what is kept.
package place

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// ErrRunning means that another process has the state directory.
var ErrRunning = errors.New("another gateway runs on this state directory")

// A Claim is a state directory that this process alone has.
type Claim struct {
	Dir  string
	file *os.File
}

// Take makes dir if need be and claims it. The claim dies with the process; a file left behind by a dead one does not matter.
func Take(dir string) (*Claim, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EPERM) {
			return nil, fmt.Errorf("make state directory: %w; this file system takes no directory, as /proc and /sys do: set state_dir to one on a disk", err)
		}
		return nil, fmt.Errorf("make state directory: %w%s", err, Remedy(err))
	}
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("claim state directory: %w%s", err, Remedy(err))
	}
	if err := lock(f, unix.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("claim state directory %s%w", dir, err)
	}
	if err := f.Truncate(0); err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
		if err != nil && !errors.Is(err, unix.ENOSPC) { // on a full disk the claim holds without the number
			return nil, errors.Join(fmt.Errorf("claim state directory: %w", err), f.Close())
		}
	}
	return &Claim{Dir: dir, file: f}, nil
}

// orphanFor is how long a process may take to become another program: until then it has the files of that which forked it, and which may be dead.
const orphanFor = 2 * time.Second

// lock locks f, and waits only for what a dead process has left. The error says, behind the name of what is locked, who has it.
func lock(f *os.File, how int) error {
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for end := time.Now().Add(orphanFor); ; <-again.C {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return fmt.Errorf(": %w", err)
		}
		b := make([]byte, 32)
		n, _ := f.ReadAt(b, 0) // else it is not known who has it
		who := strings.TrimSpace(string(b[:n]))
		if pid, err := strconv.Atoi(who); err != nil || IsAlive(pid) || time.Now().After(end) {
			return fmt.Errorf(" (process %s has it): %w", who, ErrRunning)
		}
	}
}

// IsAlive reports whether there is such a process.
func IsAlive(pid int) bool { return !errors.Is(unix.Kill(pid, 0), unix.ESRCH) }

// Running returns an error wrapping ErrRunning where a gateway has the state directory, nil where none has.
func Running(dir string) error {
	f, err := os.Open(filepath.Join(dir, "lock"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for a running gateway: %w%s", err, Remedy(err))
	}
	defer f.Close()
	if err := lock(f, unix.LOCK_SH); err != nil {
		return fmt.Errorf("state directory %s%w", dir, err)
	}
	return nil
}

// Release gives the claim up.
func (c *Claim) Release() error { return c.file.Close() }

// IsGone reports whether the directory was deleted, wholly or its store, or another one put in its place.
func (c *Claim) IsGone() (gone, other bool) {
	own, err := c.file.Stat()
	if err != nil {
		return false, false
	}
	if st, err := os.Stat(filepath.Join(c.Dir, "lock")); err != nil || !os.SameFile(own, st) {
		return errors.Is(err, fs.ErrNotExist), err == nil
	}
	_, err = os.Stat(filepath.Join(c.Dir, "buffer"))
	return errors.Is(err, fs.ErrNotExist), false
}

// Remedy says what helps where the state directory cannot be used; "" where the error says it all.
func Remedy(err error) string {
	switch {
	case errors.Is(err, unix.EROFS):
		return "; the disk is mounted read-only: see why (dmesg), mount it for writing, or set state_dir to a directory on another one"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return "; give the directory and all that is in it to the user that runs the gateway (chown -R USER DIRECTORY), or set state_dir to one of its own"
	case errors.Is(err, unix.ENOTDIR):
		return "; state_dir must name a directory: remove the file or choose another"
	case errors.Is(err, unix.ENOSPC):
		return "; free space or inodes on the disk, or set state_dir to a directory on another one"
	}
	return ""
}

// RingDir returns where the rings of the state directory belong: systemd's runtime directory, else a private one in /dev/shm.
func RingDir(stateDir string) string {
	if d := os.Getenv("RUNTIME_DIRECTORY"); d != "" {
		first, _, _ := strings.Cut(d, ":")
		return first
	}
	abs, err := filepath.Abs(stateDir)
	if err != nil {
		abs = stateDir
	}
	sum := sha256.Sum256([]byte(abs))
	return filepath.Join("/dev/shm", fmt.Sprintf("tidegate-%d-%s", os.Getuid(), hex.EncodeToString(sum[:8])))
}
