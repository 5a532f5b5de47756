package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	memTable = 4 << 20
	// Reserve is the free space below which nothing is to be written, in bytes: Badger ends the process when it meets a full disk.
	Reserve = max(32<<20, 4*memTable)
	// ballastBytes is what is freed so that the store can be opened on a full disk.
	ballastBytes = 32 << 20
	// ballastRoom is the free space in which the ballast is made.
	ballastRoom = Reserve + 2*ballastBytes
	// openRoom is the free space that Badger needs to open: two memtable files and a table.
	openRoom = 24 << 20
	// dropRoom is the free space that dropping a segment needs: what is in memory is written, and tables that hold more than it.
	dropRoom = 16 << 20
	// spareBytes is what a memtable's log can grow to: a full memtable and one more transaction, with what Badger adds.
	spareBytes = 6 << 20
)

// ErrNoSpace means that the file system has less free space than the store needs to work safely. Nothing was written.
var ErrNoSpace = errors.New("no space")

// A guard keeps Badger from meeting a full disk, where its writes to mapped files end the process. Only the goroutine that writes uses it.
//
// What it cannot rule out is that another process takes all of the reserve while Badger writes a table, some milliseconds after every
// 4 MB. The log, written with every commit, is safe: its blocks are taken before Badger makes the file.
type guard struct {
	ask   func() (free, total int64, err error)
	now   func() time.Time
	free  int64 // at the last look
	at    time.Time
	spare string // the file that Badger's next log will take
	bare  bool   // the ballast is not there
}

// look asks for the free space, and says how much others will have taken in half a second, at the rate at which they took it since the
// last look.
func (g *guard) look() (free, ahead int64, err error) {
	free, _, err = g.ask()
	if err != nil {
		return 0, 0, err
	}
	now := g.now()
	taken, since := g.free-free, max(now.Sub(g.at), 100*time.Millisecond)
	g.free, g.at = free, now
	if taken > 0 && since < 5*time.Second {
		ahead = int64(float64(taken) * (500 * time.Millisecond).Seconds() / since.Seconds())
	}
	return free, ahead, nil
}

// tight reports whether the disk is so full that delivered segments go before their time, and yet not too full to drop them. While there
// is no ballast they make room for it, too.
func (g *guard) tight() bool {
	free, _, err := g.ask()
	enough := int64(Reserve + dropRoom)
	if g.bare {
		enough = ballastRoom
	}
	return err == nil && free < enough && free >= dropRoom
}

// keepSpare makes the file that Badger's next log will be, of no length but with its blocks: Badger extends it, and they are its.
func (g *guard) keepSpare(dir string) error {
	if st, err := os.Stat(g.spare); g.spare != "" && err == nil && st.Size() == 0 {
		return nil
	}
	list, err := os.ReadDir(filepath.Join(dir, "buffer"))
	if err != nil {
		return err
	}
	last := 0
	for _, e := range list {
		if name, ok := strings.CutSuffix(e.Name(), ".mem"); ok {
			if n, err := strconv.Atoi(name); err == nil {
				last = max(last, n)
			}
		}
	}
	name := func(n int) string { return filepath.Join(dir, "buffer", fmt.Sprintf("%05d.mem", n)) }
	if last > 0 { // a log that Badger made without a spare: when it was opened, or twice in a row
		if err := allocate(name(last), os.O_WRONLY); err != nil {
			return err
		}
	}
	g.spare = name(last + 1)
	return allocate(g.spare, os.O_WRONLY|os.O_CREATE)
}

// allocate takes blocks for a memtable's log, without changing the size of the file.
func allocate(path string, flag int) error {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return fmt.Errorf("take blocks: %w", err)
	}
	err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, spareBytes)
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = nil // the reserve must do
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("take blocks for %s: %w", path, err)
	}
	return nil
}

func statfs(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("ask file system of %s: %w", dir, err)
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Blocks) * int64(st.Bsize), nil
}

func ballastPath(o *Options) string { return filepath.Join(o.Dir, "ballast") }

// makeRoom deletes the ballast where the store could not be opened otherwise, and makes it again where there is room.
func makeRoom(o *Options) error {
	free, _, err := o.Statfs(o.Dir)
	if err != nil {
		return err
	}
	if free >= openRoom {
		return makeBallast(o, free)
	}
	if err := dropBallast(o); err != nil {
		return err
	}
	if free, _, err = o.Statfs(o.Dir); err != nil {
		return err
	}
	if free < openRoom {
		return fmt.Errorf("%d bytes are free on the disk of %s, opening the store takes %d: %w", free, o.Dir, int64(openRoom), ErrNoSpace)
	}
	return nil
}

func dropBallast(o *Options) error {
	if err := os.Remove(ballastPath(o)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("free the ballast: %w", err)
	}
	return nil
}

func hasBallast(o *Options) bool {
	_, err := os.Stat(ballastPath(o))
	return err == nil
}

// makeBallast makes the ballast where so much free space has room for it.
func makeBallast(o *Options, free int64) error {
	if free < ballastRoom {
		return nil
	}
	path := ballastPath(o)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("make the ballast: %w", err)
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, ballastBytes)
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = nil // a file system that cannot reserve space cannot hold a ballast either; the reserve still holds
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("make the ballast: %w", errors.Join(err, os.Remove(path)))
	}
	return nil
}

// Bytes returns how much the store's files take on disk.
func (s *Store) Bytes() int64 { return dirBytes(filepath.Join(s.o.Dir, "buffer")) }

// dirBytes returns how much the files of dir take on disk (blocks, so that holes do not count).
func dirBytes(dir string) int64 {
	list, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	var n int64
	for _, e := range list {
		if st, err := e.Info(); err == nil { // a table may be gone meanwhile
			if sys, ok := st.Sys().(*syscall.Stat_t); ok {
				n += sys.Blocks * 512
			}
		}
	}
	return n
}
