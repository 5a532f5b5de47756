package slots

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// An instant is a time that no clock setting changes.
type instant struct {
	boot string // the kernel's random id of this boot; "" = it does not say
	ms   int64  // CLOCK_BOOTTIME in ms
}

func now() instant {
	var ts unix.Timespec
	// CLOCK_BOOTTIME is there since Linux 2.6.39: it cannot fail with a valid pointer.
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return instant{boot: strings.TrimSpace(string(id)), ms: ts.Nano() / 1e6}
}

// startOf returns when a process was started, in the kernel's ticks since boot. With its number that is one process and never another in the
// life of a boot. An error also for one that has ended and waits for its parent to look.
func startOf(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name stands in parentheses and may have some itself; state is the first field behind them, the start the twentieth (proc(5)).
	fields := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(fields) < 20 {
		return 0, fmt.Errorf("/proc/%d/stat: got %d fields behind the name, want 20", pid, len(fields))
	}
	if s := fields[0][0]; s == 'Z' || s == 'X' {
		return 0, fmt.Errorf("process %d: %w", pid, os.ErrProcessDone)
	}
	return strconv.ParseUint(string(fields[19]), 10, 64)
}
