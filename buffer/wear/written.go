package wear

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// What ext4 writes beside the pages, as measured on block devices (testdata/rig/card): a transaction of its journal, which is a descriptor, the block
// of the inode, whose times a mapped page that is written changes, and the commit. There is one in each interval of the journal in which anything is
// written, and one for each commit that goes on to blocks of the log which were not written before.
const (
	journalBytes = 3 * blockSize
	journalEvery = 5 * time.Second
	blockSize    = 4 << 10
)

// A Journal is what the file system adds to what a store writes. Its methods are safe for concurrent use, Note beside Written.
type Journal struct {
	bytes atomic.Uint64
	end   time.Duration // of the interval, on the kernel's clock
	in    int           // bytes in the last block of the log
}

// Note counts a commit of size bytes that goes to the log now.
func (j *Journal) Note(size int) { j.note(monotonic(), size) }

// note counts a commit at now. The kernel's journal wakes in whole seconds of its clock.
func (j *Journal) note(now time.Duration, size int) {
	j.in += size
	isNew := j.in >= blockSize
	j.in %= blockSize
	if isNew || now >= j.end {
		j.end = (now + journalEvery + time.Second - 1).Truncate(time.Second)
		j.bytes.Add(journalBytes)
	}
}

// monotonic returns the kernel's time since it was started.
func monotonic() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // every Linux has it
	return time.Duration(t.Nano())
}

// Written returns how many bytes this process has made the kernel write to the disk since it was started, and about what the file system has
// added for the store.
func (j *Journal) Written() uint64 { return written() + j.bytes.Load() }

// written returns what the kernel counts, what was deleted before it came to that taken off (proc_pid_io(5)); 0 where it does not say.
func written() uint64 {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	return writtenOf(string(text))
}

func writtenOf(text string) uint64 {
	var written, cancelled uint64
	for line := range strings.Lines(text) {
		name, number, _ := strings.Cut(strings.TrimSpace(line), ": ")
		n, err := strconv.ParseUint(number, 10, 64)
		switch {
		case err != nil:
		case name == "write_bytes":
			written = n
		case name == "cancelled_write_bytes":
			cancelled = n
		}
	}
	return written - min(cancelled, written)
}
