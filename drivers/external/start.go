package external

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// execute starts the program of d as a process of its own.
func execute(d *device) (*process, error) {
	cmd := &exec.Cmd{
		Path: inDir(d.dir, d.c.Command[0]), Args: d.c.Command, Dir: d.dir, Env: environment(d.c.Env),
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}
	var ends [6]*os.File // of its standard input, output and error: the end that is read, the one that is written
	closeAll := func(files ...*os.File) {
		for _, f := range files {
			if f != nil {
				_ = f.Close() // nothing was written to it
			}
		}
	}
	for i := 0; i < len(ends); i += 2 {
		var err error
		if ends[i], ends[i+1], err = os.Pipe(); err != nil {
			closeAll(ends[:]...)
			return nil, fmt.Errorf("start program %s: %w", d.name, err)
		}
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = ends[0], ends[3], ends[5]
	p := &process{
		device: d, in: ends[1], out: ends[2], errs: ends[4],
		kill: func(sig syscall.Signal) { _ = unix.Kill(-cmd.Process.Pid, sig) }, // all of the group have ended, if that fails
	}
	p.begin()
	started := make(chan error, 1)
	p.all.Go(func() { p.run(cmd, started) })
	err := <-started
	closeAll(ends[0], ends[3], ends[5])
	if err != nil {
		p.release()
		return nil, fmt.Errorf("start program %s: %w", d.name, err)
	}
	return p, nil
}

// run starts cmd, says so, and waits for its end, all of it on one thread: the kernel takes the end of the thread that has started a program
// for the gateway's own.
func (p *process) run(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	err := limit(cmd.Process.Pid, p.device.c.Memory)
	if err != nil {
		p.kill(syscall.SIGKILL)
	}
	started <- err
	for errors.Is(unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
		continue
	}
	p.over(func() string {
		p.kill(syscall.SIGKILL) // what it has started; as long as it is not waited for, no other group has its number
		_ = cmd.Wait()          // says what ProcessState says
		return cmd.ProcessState.String()
	})
}

// limit bounds what the process may allocate, in MiB; 0 = not.
func limit(pid, mebibytes int) error {
	if mebibytes == 0 {
		return nil
	}
	most := uint64(mebibytes) << 20
	if err := unix.Prlimit(pid, unix.RLIMIT_DATA, &unix.Rlimit{Cur: most, Max: most}, nil); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("limit its memory to %d MiB: %w", mebibytes, err)
	}
	return nil
}

// environment returns what the program gets to see: nothing of the gateway's own.
func environment(more map[string]string) []string {
	env := map[string]string{
		"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8",
		"PYTHONUNBUFFERED": "1", // else Python keeps lines back until it has 8 KiB of them
	}
	maps.Copy(env, more)
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out
}
