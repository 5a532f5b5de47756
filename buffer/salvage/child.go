package salvage

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
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
