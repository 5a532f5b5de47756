package salvage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tidegate-io/tidegate/buffer/disk"
	"github.com/tidegate-io/tidegate/buffer/seal"
	"github.com/tidegate-io/tidegate/buffer/stored"
)

// Worker is the command below `tidegate queue` by which a process of this program writes what it finds in a store to its output (Write).
const Worker = "salvage-worker"

// A child is a process that reads a store, and its output.
type child struct {
	*os.File
	process *exec.Cmd
}

// Child starts a process that reads the store in dir. It has 48 MB of memory, and ends with this process at the latest. Close ends it.
func Child(dir string) (io.ReadCloser, error) {
	out, in, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("read damaged store: %w", err)
	}
	c := exec.Command("/proc/self/exe", "queue", Worker, dir)
	c.Stdout = in
	c.Env = append(os.Environ(), "GOMEMLIMIT=48MiB")
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = errors.Join(c.Start(), in.Close())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start a process that reads the damaged store: %w", err), out.Close())
	}
	return &child{out, c}, nil
}

// Close ends the process. What became of it does not matter: what it wrote says whether that is whole.
func (c *child) Close() error {
	_ = c.process.Process.Kill()
	_ = c.process.Wait()
	return c.File.Close()
}

// Verifier is the command below `tidegate queue` by which a process of this program opens a store and reads all of it.
const Verifier = "verify-worker"

// Verify has a process of its own open the store of the state directory and read all of it. The error wraps stored.ErrDamaged where that process
// ended by it, or says so; nil also means that it was not done in time, or could not be started.
func Verify(stateDir string, within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	c := exec.CommandContext(ctx, "/proc/self/exe", "queue", Verifier, stateDir)
	c.Env = append(os.Environ(), "GOMEMLIMIT=48MiB")
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err := c.Run()
	var exit *exec.ExitError
	if ctx.Err() != nil || !errors.As(err, &exit) || exit.ExitCode() == 1 { // 1 = it could not be opened, for another reason
		return nil
	}
	return fmt.Errorf("a process that read all of it ended: %w: %w", err, stored.ErrDamaged)
}

// damagedStatus is the exit status of the process of Verify where the store is damaged; a panic ends it with 2, SIGBUS by a signal.
const damagedStatus = 3

// ReadAll is the work of that process; it returns the exit status.
func ReadAll(stateDir string) int {
	tested, _ := os.ReadFile(filepath.Join(stateDir, "selftest")) // the program whose self-test a 32-bit machine has passed
	s, err := disk.Open(disk.Options{Dir: stateDir, Log: slog.New(slog.DiscardHandler), Version: strings.TrimSpace(string(tested))})
	for _, prefix := range []byte{stored.KeyIndex, stored.KeyMeta, stored.KeyRejected, stored.KeyFrame} {
		if err == nil { // as it lies there: the key is not this process's, and a frame that fails its CRC is declared when it is read
			err = s.Locked([]byte{prefix}, func([]byte, []byte, seal.ID) error { return nil })
		}
	}
	if err == nil {
		err = s.Close()
	}
	switch {
	case errors.Is(err, stored.ErrDamaged):
		return damagedStatus
	case err != nil:
		return 1
	}
	return 0
}
