package board

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// claim takes the terminal behind fd for this process, or says who has it. Three marks are honoured:
//
//   - flock(2) on the device: what we set ourselves. It binds root too, ends with the process however that ends, needs no file
//     and is the same for every name of the device.
//   - the lock file /run/lock/LCK..NAME that older programs (minicom, pppd) leave, while its process lives.
//   - TIOCEXCL of ioctl_tty(2), which the kernel enforces against all but root.
func claim(fd int, st *unix.Stat_t, path string) error {
	err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return inUse(flockHolder(st))
	}
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	if pid := lockFileHolder("/run/lock", path); pid != 0 {
		return inUse(pid)
	}
	if isPTY(st) {
		return nil
	}
	if taken, err := unix.IoctlGetInt(fd, unix.TIOCGEXCL); err == nil && taken != 0 {
		return inUse(0)
	}
	return nil
}

// shutOthersOut keeps programs that know nothing of flock from opening the terminal behind fd. Not so on pseudo-terminals: there
// the mark would outlive a killed gateway for as long as the other end lives, and lock its successor out.
func shutOthersOut(fd int, st *unix.Stat_t) error {
	if isPTY(st) {
		return nil
	}
	if err := unix.IoctlSetInt(fd, unix.TIOCEXCL, 0); err != nil {
		return fmt.Errorf("make exclusive: %w", err)
	}
	return nil
}

// release undoes claim and shutOthersOut at once; the closing of fd may take its time.
func release(fd int) error {
	return errors.Join(unix.IoctlSetInt(fd, unix.TIOCNXCL, 0), unix.Flock(fd, unix.LOCK_UN))
}

// isPTY reports whether st is the port end of a pseudo-terminal: major numbers 136 to 143 (Linux devices.txt).
func isPTY(st *unix.Stat_t) bool {
	major := unix.Major(st.Rdev)
	return major >= 136 && major <= 143
}

// inUse returns the error for a port that the process pid has; 0 = not known who.
func inUse(pid int) error {
	switch {
	case pid == 0:
		return errors.New("port is in use by another program; see fuser -v on its path")
	case pid == os.Getpid():
		return errors.New("port is in use by this gateway under another name; give it the same name in all devices")
	}
	return fmt.Errorf("port is in use by process %d%s", pid, programOf(pid))
}

// programOf returns the name of the program that process pid runs, " (name)", or "" where that cannot be found out.
func programOf(pid int) string {
	comm, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/comm")
	if err != nil {
		return ""
	}
	return " (" + strings.TrimSpace(string(comm)) + ")"
}

// flockHolder returns the process that holds a flock on the file st; 0 = not known, as in another container.
func flockHolder(st *unix.Stat_t) int {
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return 0
	}
	return parseLocks(locks, fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino))
}

// parseLocks returns the process that holds a flock on file (MAJOR:MINOR:INODE) according to the text of /proc/locks (proc(5));
// 0 = none of this container's.
func parseLocks(locks []byte, file string) int {
	lines := bufio.NewScanner(bytes.NewReader(locks))
	for lines.Scan() {
		// 1: FLOCK  ADVISORY  WRITE 1234 00:05:1073 0 EOF
		f := strings.Fields(lines.Text())
		if len(f) < 6 || f[1] != "FLOCK" || f[5] != file {
			continue
		}
		if pid, err := strconv.Atoi(f[4]); err == nil && pid > 0 {
			return pid
		}
	}
	return 0
}

// lockFileHolder returns the living process that the lock file in dir of the port at path names; 0 = none, or this one.
func lockFileHolder(dir, path string) int {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if filepath.Dir(path) != "/dev" {
		return 0
	}
	text, err := os.ReadFile(filepath.Join(dir, "LCK.."+filepath.Base(path)))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text))) // ten digits of text, FHS 3.0 section 5.9
	if err != nil || pid <= 0 || pid == os.Getpid() {
		return 0
	}
	if err := unix.Kill(pid, 0); errors.Is(err, unix.ESRCH) {
		return 0
	}
	return pid
}
