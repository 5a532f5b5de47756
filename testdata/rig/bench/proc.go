package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A disk is an ext4 file system in an image of its own, so that what the device is made to write is one program's alone.
type disk struct {
	dir  string // where it is mounted
	loop string // name of the block device, for instance loop0
}

// newDisk makes the image in dir and mounts it.
func newDisk(dir string) (*disk, error) {
	img, at := filepath.Join(dir, "state.img"), filepath.Join(dir, "state")
	if err := os.Mkdir(at, 0o755); err != nil {
		return nil, err
	}
	for _, c := range [][]string{
		{"truncate", "-s", "2G", img},
		{"mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", img},
		{"mount", "-o", "loop", img, at},
	} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w: %s; the state lies on a loop-mounted ext4 image, which needs root", strings.Join(c, " "), err, bytes.TrimSpace(out))
		}
	}
	d := &disk{dir: at}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 1 && f[1] == at {
			d.loop = filepath.Base(f[0])
		}
	}
	if d.loop == "" {
		return nil, errors.Join(fmt.Errorf("%s is not among the mounts", at), d.close())
	}
	return d, nil
}

// close unmounts; it waits up to 10 s for a program that was killed to let go.
func (d *disk) close() error {
	var err error
	for range 100 {
		var out []byte
		if out, err = exec.Command("umount", d.dir).CombinedOutput(); err == nil {
			return nil
		}
		err = fmt.Errorf("umount %s: %w: %s", d.dir, err, bytes.TrimSpace(out))
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

// written returns the bytes written to the device and its flushes so far (kernel: Documentation/block/stat.rst; a sector is 512 bytes).
func (d *disk) written() (sectorBytes, flushes int64, err error) {
	b, err := os.ReadFile("/sys/block/" + d.loop + "/stat")
	if err != nil {
		return 0, 0, err
	}
	f := strings.Fields(string(b))
	if len(f) < 16 {
		return 0, 0, fmt.Errorf("stat of %s: %d fields, want 16 or more", d.loop, len(f))
	}
	sectors, err1 := strconv.ParseInt(f[6], 10, 64)
	flushes, err2 := strconv.ParseInt(f[15], 10, 64)
	return sectors * 512, flushes, errors.Join(err1, err2)
}

// A program is a side that runs.
type program struct {
	cmd  *exec.Cmd
	done chan struct{}

	mu   sync.Mutex // guards what follows
	mem  int64      // most bytes of RssAnon + RssShmem since the last reset
	anon int64      // and of RssAnon
	hwm  int64      // VmHWM, bytes
	quit chan struct{}
}

// start runs argv with its state and its run-time folder, logging into file log.
func start(ctx context.Context, argv []string, dir, runtime, log string) (*program, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.Env = append(os.Environ(), "RUNTIME_DIRECTORY="+runtime)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &program{cmd: cmd, done: make(chan struct{}), quit: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ends is for the caller to judge
		close(p.done)
	}()
	go p.watch()
	return p, nil
}

// watch looks at the memory four times a second.
func (p *program) watch() {
	t := time.NewTicker(250 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-t.C:
		}
		var anon, shm, hwm int64
		for _, pid := range tree(p.cmd.Process.Pid) {
			a, s, h := memory(pid)
			anon, shm, hwm = anon+a, shm+s, hwm+h
		}
		p.mu.Lock()
		p.mem, p.anon, p.hwm = max(p.mem, anon+shm), max(p.anon, anon), max(p.hwm, hwm)
		p.mu.Unlock()
	}
}

// memoryPeak returns the most memory since it was called last, and the high water of the resident set since the start.
func (p *program) memoryPeak() (mem, hwm int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	mem, p.mem, p.anon = p.mem, 0, 0
	return mem, p.hwm
}

// anonPeak returns the most RssAnon since memoryPeak was called last, in bytes.
func (p *program) anonPeak() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.anon
}

// alive returns an error when the program has ended.
func (p *program) alive() error {
	select {
	case <-p.done:
		return fmt.Errorf("ended: %s", p.cmd.ProcessState)
	default:
		return nil
	}
}

// end sends sig and waits at most for d before it sends SIGKILL.
func (p *program) end(sig syscall.Signal, d time.Duration) error {
	if sig == syscall.SIGKILL {
		_ = syscall.Kill(-p.cmd.Process.Pid, sig)
		<-p.done
		return nil
	}
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("%w: %s", err, p.cmd.ProcessState)
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(d):
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
		return fmt.Errorf("still runs %v after %v", d, sig)
	}
}

// tree returns pid and the processes below it.
func tree(pid int) []int {
	all := []int{pid}
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid)) // gone: no children
	for _, f := range strings.Fields(string(b)) {
		if c, err := strconv.Atoi(f); err == nil {
			all = append(all, tree(c)...)
		}
	}
	return all
}

// memory returns RssAnon, RssShmem and VmHWM of pid in bytes, zero when it is gone.
func memory(pid int) (anon, shm, hwm int64) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		name, rest, _ := strings.Cut(s.Text(), ":")
		kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		if err != nil {
			continue
		}
		switch name {
		case "RssAnon":
			anon = kb << 10
		case "RssShmem":
			shm = kb << 10
		case "VmHWM":
			hwm = kb << 10
		}
	}
	return anon, shm, hwm
}

// usage returns the processor time of pid and its children, ended ones included, and the bytes it made the kernel write to disks.
func usage(pid int) (cpu time.Duration, written int64, err error) {
	for _, p := range tree(pid) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
		if err != nil {
			return 0, 0, err
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		f := strings.Fields(rest)
		if len(f) < 15 {
			return 0, 0, fmt.Errorf("stat of process %d: %d fields", p, len(f))
		}
		for _, ticks := range f[11:15] { // utime, stime, cutime, cstime in 1/100 s: proc(5)
			n, err := strconv.ParseInt(ticks, 10, 64)
			if err != nil {
				return 0, 0, err
			}
			cpu += time.Duration(n) * 10 * time.Millisecond
		}
		io, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", p))
		if err != nil {
			return 0, 0, err
		}
		for line := range strings.Lines(string(io)) {
			if v, ok := strings.CutPrefix(line, "write_bytes: "); ok {
				n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
				if err != nil {
					return 0, 0, err
				}
				written += n
			}
		}
	}
	return cpu, written, nil
}
