package tmpfs

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// mounted names the folder to the process that Mounted starts.
const mounted = "TIDEGATE_TEST_MOUNTED"

// Mounted runs the test that calls it once more, in a process that has mounts of its own. There it returns a tmpfs that Remount changes, and
// true; in the process that was there before it returns when that test has ended.
func Mounted(t *testing.T) (dir string, isInside bool) {
	t.Helper()
	if dir = os.Getenv(mounted); dir != "" {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
			t.Fatalf("mount a tmpfs: %v", err)
		}
		return dir, true
	}
	c := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run", "^"+t.Name()+"$", "-test.v")
	c.Env = append(os.Environ(), mounted+"="+Dir(t))
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER, Unshareflags: syscall.CLONE_NEWNS, // the latter has Go make all mounts private
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("with mounts of its own: %v\n%s", err, out)
	}
	return "", false
}

// Remount gives the tmpfs of Mounted other flags, MS_NOEXEC for instance.
func Remount(t *testing.T, dir string, flags uintptr) {
	t.Helper()
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|flags, ""); err != nil {
		t.Fatalf("remount: %v", err)
	}
}
