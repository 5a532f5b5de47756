package box

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Kinds of rings.
const (
	KindRead   uint32 = 1 // ring 1: what Reads returned
	KindJudged uint32 = 2 // ring 2: what the judge made of it
)

// A Pair is the two rings of one gateway, made together.
type Pair struct {
	Read, Judged *Ring
	Kept         bool  // they were left by an earlier process of this boot and state, whole
	Why          error // why rings that were found are not Kept; nil when there were none
	Volatile     error // why they are plain memory; nil when they are on tmpfs
	Boot         [16]byte
}

// Sizes of the rings in bytes; each is rounded up to whole pages, at least 256 KiB.
type Sizes struct {
	Read, Judged int
}

// OpenPair opens the rings in dir, which is on tmpfs, or makes new ones where they are missing, damaged, of another boot or state.
// Rings of other sizes are taken as they are, so that what they hold is not lost; sizes count for new ones. dir is made if need be, private to this user. Where dir is not on tmpfs or has no room the rings are plain memory, and
// Volatile says why: a kill -9 then loses what stands in them.
func OpenPair(dir string, state [16]byte, sizes Sizes) (*Pair, error) {
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	p := &Pair{Boot: boot}
	if p.Volatile = checkDir(dir); p.Volatile == nil {
		p.Volatile = p.openFiles(dir, state, boot, sizes)
	}
	if p.Volatile == nil {
		return p, nil
	}
	id := Identity{State: state, Boot: boot}
	if _, err := rand.Read(id.Pair[:]); err != nil {
		return nil, fmt.Errorf("draw ring id: %w", err)
	}
	id.Kind = KindRead
	p.Read = newRing(alignedMemory(pages(sizes.Read)), id, "memory", nil)
	id.Kind = KindJudged
	p.Judged = newRing(alignedMemory(pages(sizes.Judged)), id, "memory", nil)
	p.Kept = false
	return p, nil
}

func (p *Pair) openFiles(dir string, state, boot [16]byte, sizes Sizes) error {
	paths := [2]string{dir + "/ring-1", dir + "/ring-2"}
	want := [2]Identity{{Kind: KindRead, State: state, Boot: boot}, {Kind: KindJudged, State: state, Boot: boot}}
	size := [2]int{pages(sizes.Read), pages(sizes.Judged)}
	var rings [2]*Ring
	for i := range rings {
		r, err := openFile(paths[i], want[i])
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			p.Why = err
		}
		rings[i] = r
	}
	if rings[0] != nil && rings[1] != nil && rings[0].id.Pair == rings[1].id.Pair {
		p.Read, p.Judged, p.Kept = rings[0], rings[1], true
		return nil
	}
	for _, r := range rings {
		if r != nil {
			if p.Why == nil {
				p.Why = fmt.Errorf("ring %s: its other half is missing: %w", r.where, ErrInvalid)
			}
			if err := r.Close(); err != nil {
				return err
			}
		}
	}
	var pair [16]byte
	if _, err := rand.Read(pair[:]); err != nil {
		return fmt.Errorf("draw ring id: %w", err)
	}
	for i := range rings {
		want[i].Pair = pair
		r, err := createFile(paths[i], size[i], want[i])
		if err != nil && i > 0 { // no half of a pair is left: tmpfs is memory
			err = errors.Join(err, rings[0].Close(), os.Remove(paths[0]))
		}
		if err != nil {
			return err
		}
		rings[i] = r
	}
	p.Read, p.Judged = rings[0], rings[1]
	return nil
}

// Close unmaps both rings.
func (p *Pair) Close() error { return errors.Join(p.Read.Close(), p.Judged.Close()) }

// Remove deletes the ring files of dir; OpenPair then starts with new ones.
func Remove(dir string) error {
	var errs []error
	for _, name := range []string{"/ring-1", "/ring-2"} {
		if err := os.Remove(dir + name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Unnumbered returns the id of the state directory that the rings in dir belong to, if there are any, and no record of them was given a
// number yet: the process that made them had no room on its disk to lease one. What Reads they hold is to be judged all the same.
func Unnumbered(dir string) (state [16]byte, ok bool) {
	f, err := os.Open(dir + "/ring-2")
	if err != nil {
		return state, false
	}
	defer f.Close()
	h := make([]byte, headerSize)
	if _, err := io.ReadFull(f, h); err != nil {
		return state, false
	}
	u32 := func(off int) uint32 { return binary.LittleEndian.Uint32(h[off:]) }
	if u32(offMagic) != magic || u32(offCRC) != headerCRC(h) || binary.NativeEndian.Uint64(h[offMarkEp:]) != 0 {
		return state, false
	}
	copy(state[:], h[offState:])
	return state, true
}

func pages(n int) int {
	n = max(n, minSize) + headerSize
	page := os.Getpagesize()
	return (n + page - 1) / page * page
}

// alignedMemory returns n zeroed bytes whose start suits atomic 64-bit words (Go aligns large allocations to pages).
func alignedMemory(n int) []byte { return make([]byte, n) }

// checkDir makes dir and reports why it is no place for a ring.
func checkDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make ring directory: %w", err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("ask file system of %s: %w", dir, err)
	}
	if int64(st.Type) != unix.TMPFS_MAGIC && int64(st.Type) != unix.RAMFS_MAGIC {
		return fmt.Errorf("%s is on a file system of type %#x, not on tmpfs (%#x); rings on a card would wear it out", dir, int64(st.Type), unix.TMPFS_MAGIC)
	}
	return nil
}

func openFile(path string, want Identity) (*Ring, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() < headerSize+minSize || st.Size() > 1<<30 {
		return nil, fmt.Errorf("ring %s: %d bytes: %w", path, st.Size(), ErrInvalid)
	}
	// Every page must exist: touching a hole on a full tmpfs is SIGBUS.
	if err := unix.Fallocate(int(f.Fd()), 0, 0, st.Size()); err != nil {
		return nil, fmt.Errorf("allocate %s: %w", path, err)
	}
	mem, free, err := mapFile(f, int(st.Size()))
	if err != nil {
		return nil, err
	}
	r, err := adopt(mem, want, path, free)
	if err != nil {
		return nil, errors.Join(err, free())
	}
	return r, nil
}

func createFile(path string, size int, id Identity) (*Ring, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove old ring: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create ring: %w", err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(size)); err != nil {
		return nil, errors.Join(fmt.Errorf("allocate %d bytes for %s: %w", size, path, err), os.Remove(path))
	}
	mem, free, err := mapFile(f, size)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return newRing(mem, id, path, free), nil
}

func mapFile(f *os.File, size int) ([]byte, func() error, error) {
	mem, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, fmt.Errorf("map %s: %w", f.Name(), err)
	}
	return mem, func() error { return unix.Munmap(mem) }, nil
}

// bootID returns the kernel's random id of this boot (proc(5), /proc/sys/kernel/random/boot_id).
func bootID() (id [16]byte, err error) {
	f, err := os.Open("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return id, fmt.Errorf("read boot id: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 64))
	if err != nil {
		return id, fmt.Errorf("read boot id: %w", err)
	}
	n := 0
	for _, c := range b {
		var v byte
		switch {
		case c >= '0' && c <= '9':
			v = c - '0'
		case c >= 'a' && c <= 'f':
			v = c - 'a' + 10
		default:
			continue
		}
		if n < 32 {
			id[n/2] = id[n/2]<<4 | v
		}
		n++
	}
	if n != 32 {
		return id, fmt.Errorf("read boot id: got %d hexadecimal digits, want 32", n)
	}
	return id, nil
}
