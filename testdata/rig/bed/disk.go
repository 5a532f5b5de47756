package bed

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A Disk is an ext4 file system in an image of its own: it can be filled, and cut off from power.
type Disk struct {
	Mount string

	t     testing.TB
	dir   string
	image string
	cuts  int
}

// NewDisk makes and mounts a disk of so many bytes in dir, with more arguments for mkfs.ext4. It needs root.
func NewDisk(t testing.TB, dir string, size int64, mkfs ...string) *Disk {
	t.Helper()
	Need(t, "mkfs.ext4", "e2fsprogs")
	if os.Getuid() != 0 {
		t.Fatal("this rig mounts a disk image: run it as root")
	}
	d := &Disk{Mount: filepath.Join(dir, "disk"), t: t, dir: dir, image: filepath.Join(dir, "disk-0.img")}
	if err := errors.Join(os.Mkdir(d.Mount, 0o755), os.WriteFile(d.image, nil, 0o600), os.Truncate(d.image, size)); err != nil {
		t.Fatal(err)
	}
	d.run(append(append([]string{"mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"}, mkfs...), d.image)...)
	d.mount()
	t.Cleanup(func() { _ = d.unmount() })
	return d
}

func (d *Disk) run(argv ...string) {
	d.t.Helper()
	argv[0] = Need(d.t, argv[0], "mount e2fsprogs")
	mended := &exec.ExitError{} // fsck(8): 1 = errors were corrected
	out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput()
	if strings.Contains(argv[0], "fsck") && errors.As(err, &mended) && mended.ExitCode() == 1 {
		err = nil
	}
	if err != nil {
		d.t.Fatalf("%s: %v: %s", strings.Join(argv, " "), err, bytes.TrimSpace(out))
	}
}

// mount mounts the image with a journal that commits by itself only every five minutes: only what was synced counts.
func (d *Disk) mount() {
	d.t.Helper()
	d.run("mount", "-o", "loop,commit=300", d.image, d.Mount)
}

// ReadOnly mounts the disk read-only, as a worn card becomes.
func (d *Disk) ReadOnly() {
	d.t.Helper()
	d.run("mount", "-o", "remount,ro", d.Mount)
}

// Abort makes the disk read-only under whoever writes to it, as ext4 becomes when its journal cannot be written.
func (d *Disk) Abort() {
	d.t.Helper()
	d.run("mount", "-o", "remount,abort", d.Mount)
}

// Again mounts the disk once more, as a machine does when it starts; nobody uses it.
func (d *Disk) Again() {
	d.t.Helper()
	if err := d.unmount(); err != nil {
		d.t.Fatal(err)
	}
	d.run("fsck.ext4", "-p", d.image)
	d.mount()
}

// Off takes the disk out of this machine, and returns its image, for another one to use until Again.
func (d *Disk) Off() (image string) {
	d.t.Helper()
	if err := d.unmount(); err != nil {
		d.t.Fatal(err)
	}
	return d.image
}

func (d *Disk) unmount() error {
	err := syscall.EBUSY
	for start := time.Now(); time.Since(start) < 20*time.Second; time.Sleep(50 * time.Millisecond) {
		e := syscall.Unmount(d.Mount, 0)
		if e == nil || errors.Is(e, syscall.EINVAL) { // not mounted
			return nil
		}
		if errno, ok := e.(syscall.Errno); ok {
			err = errno
		}
	}
	return fmt.Errorf("unmount %s: %w", d.Mount, err)
}

// Cut cuts the power while p runs on the disk: p is stopped, the image is copied as it is (what p had written and not synced is not in
// it), p is killed, and the copy takes the disk's place.
func (d *Disk) Cut(p *Process) {
	d.t.Helper()
	p.Signal(syscall.SIGSTOP)
	d.waitStopped(p)
	d.cuts++
	next := filepath.Join(d.dir, fmt.Sprintf("disk-%d.img", d.cuts))
	d.run("cp", "--sparse=always", d.image, next)
	p.Kill()
	if err := errors.Join(d.unmount(), os.Remove(d.image)); err != nil {
		d.t.Fatal(err)
	}
	d.image = next
	d.mount()
}

// waitStopped waits until no thread of p runs any more.
func (d *Disk) waitStopped(p *Process) {
	d.t.Helper()
	Wait(d.t, "the stop of all threads", 30*time.Second, func() bool {
		stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.Pid()))
		if err != nil || len(stats) == 0 {
			return p.Ended()
		}
		for _, path := range stats {
			b, err := os.ReadFile(path)
			if err != nil {
				return false
			}
			// The state stands behind the name, which is in parentheses.
			rest := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
			if s := rest[0][0]; s != 'T' && s != 't' {
				return false
			}
		}
		return true
	})
}

// Free returns the free bytes of the disk.
func (d *Disk) Free() int64 {
	d.t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(d.Mount, &st); err != nil {
		d.t.Fatal(err)
	}
	return int64(st.Bavail) * int64(st.Bsize)
}

// Fill has another process write to the disk until nothing is free, and returns how to free it again.
func (d *Disk) Fill() (free func()) {
	d.t.Helper()
	path := filepath.Join(d.Mount, "filler")
	for _, size := range []string{"1M", "4k"} {
		// dd ends with status 1 when the disk is full, which is what it is for.
		out, err := exec.Command("dd", "if=/dev/zero", "of="+path, "bs="+size, "oflag=append", "conv=notrunc").CombinedOutput()
		if err == nil || !strings.Contains(string(out), "No space left") {
			d.t.Fatalf("dd did not fill the disk: %v: %s", err, out)
		}
	}
	return func() {
		d.t.Helper()
		if err := os.Remove(path); err != nil {
			d.t.Fatal(err)
		}
	}
}

// Written returns how many bytes the block device was made to write so far, journal included.
func (d *Disk) Written() int64 {
	d.t.Helper()
	st, err := os.Stat(d.Mount)
	if err != nil {
		d.t.Fatal(err)
	}
	dev := st.Sys().(*syscall.Stat_t).Dev
	path := fmt.Sprintf("/sys/dev/block/%d:%d/stat", dev>>8&0xfff, dev&0xff|dev>>12&0xfff00)
	text, err := os.ReadFile(path)
	if err != nil {
		d.t.Fatal(err)
	}
	f := strings.Fields(string(text)) // kernel: Documentation/block/stat.rst
	if len(f) < 7 {
		d.t.Fatalf("%s: %d fields, want 7 or more", path, len(f))
	}
	sectors, err := strconv.ParseInt(f[6], 10, 64)
	if err != nil {
		d.t.Fatal(err)
	}
	return sectors * 512
}
