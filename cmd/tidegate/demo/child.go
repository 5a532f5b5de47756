package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// tailLines is how much of a child's log is shown when something went wrong.
const tailLines = 12

// A child is a process of this program. One goroutine waits for it.
type child struct {
	name string // as people call it
	log  string // file
	cmd  *exec.Cmd
	out  bytes.Buffer  // its standard output; whole once done is closed
	done chan struct{} // closed once it has ended
	told bool          // that it ended was reported
}

// start starts a child: this program again, with its log in a file of that name. Ctrl-C does not reach it (it is ended in order), and it
// does not outlive the demo.
func (d *demonstration) start(name string, args ...string) (c *child, err error) {
	c = &child{name: name, log: filepath.Join(d.dir, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start the %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, log.Close()) }() // the child has its own descriptor
	if d.o.Debug {
		args = append(args, "--debug")
	}
	c.cmd = exec.Command(d.exe, args...)
	c.cmd.Args[0] = "tidegate"
	c.cmd.Env = d.environment()
	c.cmd.Stdout, c.cmd.Stderr = &c.out, log
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the %s: %w", name, err)
	}
	go func() {
		_ = c.cmd.Wait() // ProcessState says how it ended
		close(c.done)
	}()
	return c, nil
}

// environment returns this process's environment, without what systemd says to it alone, and with the gateway's runtime directory.
func (d *demonstration) environment() []string {
	var list []string
	for _, v := range os.Environ() {
		switch key, _, _ := strings.Cut(v, "="); key {
		case "RUNTIME_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM":
		default:
			list = append(list, v)
		}
	}
	return append(list, "RUNTIME_DIRECTORY="+d.rings)
}

// how returns how the child ended, once it has.
func (c *child) how() syscall.WaitStatus {
	s, _ := c.cmd.ProcessState.Sys().(syscall.WaitStatus) // always one on Linux
	return s
}

// ended returns the error that the child ended by itself, with the end of its log.
func (c *child) ended() error {
	c.told = true
	return fmt.Errorf("the %s ended by itself: %s; the end of its log:\n%s", c.name, c.cmd.ProcessState, c.tail())
}

// tail returns the last lines of the child's log.
func (c *child) tail() string {
	b, err := os.ReadFile(c.log)
	if err != nil {
		return "  " + err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return "  " + strings.Join(lines[max(0, len(lines)-tailLines):], "\n  ")
}

// kill ends the child by SIGKILL.
func (c *child) kill() error {
	err := c.cmd.Process.Kill()
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill the %s: %w", c.name, err)
	}
	<-c.done
	if !signalled(c.how(), syscall.SIGKILL) {
		return c.ended()
	}
	return nil
}

// stop ends the child by SIGTERM, and by SIGKILL when hard or the patience is over first.
func (c *child) stop(hard context.Context, patience time.Duration) error {
	if c.told {
		return nil
	}
	select {
	case <-c.done:
		return c.ended()
	default:
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop the %s: %w", c.name, err)
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-c.done:
	case <-hard.Done():
		return errors.Join(fmt.Errorf("the %s was killed by a second signal", c.name), c.kill())
	case <-t.C:
		return errors.Join(fmt.Errorf("the %s did not end within %v; the end of its log:\n%s", c.name, patience, c.tail()), c.kill())
	}
	// A child that had not got so far as to catch SIGTERM ends by it.
	if s := c.how(); s.ExitStatus() == 0 || signalled(s, syscall.SIGTERM) {
		return nil
	}
	return c.ended()
}

// written returns the bytes that the child, which has ended, caused to be written to disk (getrusage(2), ru_oublock: blocks of 512 bytes).
func (c *child) written() uint64 {
	u, ok := c.cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	return uint64(u.Oublock) * 512
}
