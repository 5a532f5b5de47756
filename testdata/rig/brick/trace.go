// Package brick updates a gateway's program and ends it, by kill and by power cut, before each system call that changes something on disk. It
// traces by ptrace(2) and not through strace, whose counters are one a thread: a Go program's calls come from any of its threads, and from the
// processes that it starts. While one call is held, so are all others of the program that change something.
//
// It runs on amd64, as root.
package brick

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A point is a system call that is about to change something below a folder.
type point struct {
	call, file string // SHA-256 in names are written SHA
	n          int    // which of the same call on the same file, from 1; of writes, which run of them
	partWay    bool   // it is the second write of a run: the first has been made
	path, from string // of the file, and what a rename makes it of, below the folder
}

func (p point) String() string {
	text := fmt.Sprintf("%s %s #%d", p.call, p.file, p.n)
	if p.partWay {
		text += ", part way"
	}
	return text
}

// isSync tells calls after which something holds over a power cut.
func (p point) isSync() bool { return strings.HasSuffix(p.call, "sync") }

var sha = regexp.MustCompile(`[0-9a-f]{64}`)

// What becomes of a call.
type verdict int

const (
	pass    verdict = iota
	kill            // the program is killed, and the call never made
	skipped         // the call is not made, and the program told that it went well
)

// calls are the calls that change something: which argument is the path or, with fd, the file; -1 = none. dir is the argument with the folder
// that a path is relative to.
var calls = map[uint64]struct {
	name     string
	fd       bool
	dir, arg int
}{
	unix.SYS_OPEN: {"open", false, -1, 0}, unix.SYS_OPENAT: {"openat", false, 0, 1}, unix.SYS_CREAT: {"creat", false, -1, 0},
	unix.SYS_WRITE: {"write", true, -1, 0}, unix.SYS_PWRITE64: {"pwrite", true, -1, 0}, unix.SYS_WRITEV: {"writev", true, -1, 0},
	unix.SYS_COPY_FILE_RANGE: {"copy_file_range", true, -1, 2}, unix.SYS_SENDFILE: {"sendfile", true, -1, 0}, unix.SYS_SPLICE: {"splice", true, -1, 2},
	unix.SYS_FSYNC: {"fsync", true, -1, 0}, unix.SYS_FDATASYNC: {"fdatasync", true, -1, 0}, unix.SYS_MSYNC: {"msync", true, -1, -1},
	unix.SYS_TRUNCATE: {"truncate", false, -1, 0}, unix.SYS_FTRUNCATE: {"ftruncate", true, -1, 0}, unix.SYS_FALLOCATE: {"fallocate", true, -1, 0},
	unix.SYS_RENAME: {"rename", false, -1, 1}, unix.SYS_RENAMEAT: {"rename", false, 2, 3}, unix.SYS_RENAMEAT2: {"rename", false, 2, 3},
	unix.SYS_LINK: {"link", false, -1, 1}, unix.SYS_LINKAT: {"link", false, 2, 3},
	unix.SYS_SYMLINK: {"symlink", false, -1, 1}, unix.SYS_SYMLINKAT: {"symlink", false, 1, 2},
	unix.SYS_UNLINK: {"unlink", false, -1, 0}, unix.SYS_UNLINKAT: {"unlink", false, 0, 1}, unix.SYS_RMDIR: {"rmdir", false, -1, 0},
	unix.SYS_MKDIR: {"mkdir", false, -1, 0}, unix.SYS_MKDIRAT: {"mkdir", false, 0, 1},
	unix.SYS_CHMOD: {"chmod", false, -1, 0}, unix.SYS_FCHMOD: {"fchmod", true, -1, 0}, unix.SYS_FCHMODAT: {"chmod", false, 0, 1}, unix.SYS_FCHMODAT2: {"chmod", false, 0, 1},
	unix.SYS_CHOWN: {"chown", false, -1, 0}, unix.SYS_FCHOWN: {"fchown", true, -1, 0}, unix.SYS_FCHOWNAT: {"chown", false, 0, 1},
	unix.SYS_EXECVE: {"execve", false, -1, 0}, unix.SYS_EXECVEAT: {"execve", false, 0, 1},
}

// syscallInfo is struct ptrace_syscall_info of ptrace(2), at an entry.
type syscallInfo struct {
	op   uint8
	_    [3]uint8
	arch uint32
	ip   uint64
	sp   uint64
	nr   uint64
	args [6]uint64
	_    [2]uint64
}

// A tracer runs programs, and looks at their calls.
type tracer struct {
	dir string // below it is what counts
	// at is asked before each call that changes something there. Nothing of the program moves that could change anything until it returns.
	at func(p point) verdict

	seen    map[string]int
	last    string
	row     int // writes in a row to the same file
	threads map[int]bool
	skipped map[int]bool
}

// run runs a program until it and all that it has started have ended; out takes what it writes. killed: it was, by a verdict.
func (t *tracer) run(argv []string, out *os.File) (status int, killed bool, err error) {
	runtime.LockOSThread() // ptrace(2) answers one thread only
	defer runtime.UnlockOSThread()
	t.seen, t.threads, t.skipped, t.last = map[string]int{}, map[int]bool{}, map[int]bool{}, ""
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, false, err
	}
	defer null.Close()
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{null.Fd(), out.Fd(), out.Fd()}, Sys: &syscall.SysProcAttr{Ptrace: true, Setpgid: true},
	})
	if err != nil {
		return 0, false, fmt.Errorf("start %s: %w", argv[0], err)
	}
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &ws, syscall.WALL, nil); err != nil || !ws.Stopped() {
		return 0, false, fmt.Errorf("%s has not stopped: %v, %w", argv[0], ws, err)
	}
	const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_EXITKILL
	if err := syscall.PtraceSetOptions(pid, options); err != nil {
		return 0, false, err
	}
	t.threads[pid] = true
	err = syscall.PtraceSyscall(pid, 0)
	for err == nil {
		var tid int
		tid, err = syscall.Wait4(-pid, &ws, syscall.WALL, nil) // its group: others have children too
		switch {
		case errors.Is(err, syscall.EINTR):
			err = nil
		case errors.Is(err, syscall.ECHILD):
			return status, killed, nil
		case err != nil:
		case ws.Exited() || ws.Signaled():
			if tid == pid {
				status = ws.ExitStatus()
			}
		case ws.Stopped():
			var end bool
			end, err = t.stopped(tid, ws)
			killed = killed || end
		}
	}
	t.end()
	return status, killed, err
}

// end kills all.
func (t *tracer) end() {
	for tid := range t.threads {
		_ = syscall.Kill(tid, syscall.SIGKILL) // many are gone
	}
}

// stopped lets a thread go on that has stopped.
func (t *tracer) stopped(tid int, ws syscall.WaitStatus) (killed bool, err error) {
	signal := ws.StopSignal()
	switch {
	case signal == syscall.SIGTRAP|0x80:
		v, err := t.call(tid)
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			return false, err
		}
		if v == kill {
			t.end()
			return true, nil
		}
		signal = 0
	case signal == syscall.SIGTRAP, signal == syscall.SIGSTOP && !t.threads[tid]:
		signal = 0
	}
	t.threads[tid] = true
	if err := syscall.PtraceSyscall(tid, int(signal)); err != nil && !errors.Is(err, syscall.ESRCH) {
		return false, err
	}
	return false, nil
}

// call looks at a call that a thread begins or ends.
func (t *tracer) call(tid int) (verdict, error) {
	var info syscallInfo
	if _, _, e := syscall.Syscall6(syscall.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0); e != 0 {
		return pass, e
	}
	if info.op == 2 && t.skipped[tid] { // its end
		delete(t.skipped, tid)
		return pass, t.set(tid, func(r *syscall.PtraceRegs) { r.Rax = 0 })
	}
	if info.op != 1 {
		return pass, nil
	}
	p, ok := t.change(tid, &info)
	if !ok {
		return pass, nil
	}
	p.file = sha.ReplaceAllString(p.path, "SHA")
	key := p.call + " " + p.file
	if strings.Contains(p.call, "write") && t.last == key { // the next piece of the same: all behind the second are as that
		if t.row++; t.row > 2 {
			return pass, nil
		}
	} else {
		t.last, t.row = key, 1
		t.seen[key]++
	}
	p.n, p.partWay = t.seen[key], t.row == 2
	v := t.at(p)
	if v == skipped {
		t.skipped[tid] = true
		return v, t.set(tid, func(r *syscall.PtraceRegs) { r.Orig_rax = ^uint64(0) })
	}
	return v, nil
}

func (t *tracer) set(tid int, change func(r *syscall.PtraceRegs)) error {
	var r syscall.PtraceRegs
	if err := syscall.PtraceGetRegs(tid, &r); err != nil {
		return err
	}
	change(&r)
	return syscall.PtraceSetRegs(tid, &r)
}

// change says what a call changes below the folder, if it does.
func (t *tracer) change(tid int, info *syscallInfo) (p point, ok bool) {
	c, known := calls[info.nr]
	if !known || c.arg < 0 {
		return p, false
	}
	p.call = c.name
	if c.fd {
		path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tid, int32(info.args[c.arg])))
		p.path, ok = t.below(path)
		return p, ok && err == nil
	}
	if c.name == "rename" { // where it comes from stands before
		before := 1
		if c.dir >= 0 {
			before = 2
		}
		p.from, _ = t.argument(tid, info, c.dir-before, c.arg-before)
	}
	p.path, ok = t.argument(tid, info, c.dir, c.arg)
	return p, ok && !t.changesNothing(&p, info)
}

// changesNothing reports whether a call leaves all as it is: it opens what is there, or takes away what is not.
func (t *tracer) changesNothing(p *point, info *syscallInfo) bool {
	_, err := os.Lstat(filepath.Join(t.dir, p.path))
	absent := errors.Is(err, os.ErrNotExist)
	switch p.call {
	case "unlink", "rmdir":
		return absent
	case "mkdir":
		return !absent
	case "open", "openat":
		flags := info.args[1]
		if p.call == "openat" {
			flags = info.args[2]
		}
		return flags&unix.O_TRUNC == 0 && (!absent || flags&unix.O_CREAT == 0)
	}
	return false
}

// below returns a path as it is below the folder, if it is.
func (t *tracer) below(path string) (string, bool) {
	if path == t.dir {
		return ".", true
	}
	return strings.CutPrefix(filepath.Clean(path), t.dir+"/")
}

// argument returns the path that a call has in an argument, beside that of a folder which it is relative to, if it is below ours.
func (t *tracer) argument(tid int, info *syscallInfo, dir, arg int) (string, bool) {
	path, err := text(tid, info.args[arg])
	// The launcher starts programs by file descriptor.
	if of, link := os.Readlink(strings.Replace(path, "/self/", fmt.Sprintf("/%d/", tid), 1)); calls[info.nr].name == "execve" && link == nil {
		path = of
	}
	if err == nil && !filepath.IsAbs(path) {
		base := fmt.Sprintf("/proc/%d/cwd", tid)
		if dir >= 0 && int32(info.args[dir]) != unix.AT_FDCWD {
			base = fmt.Sprintf("/proc/%d/fd/%d", tid, int32(info.args[dir]))
		}
		if base, err = os.Readlink(base); err == nil {
			path = filepath.Join(base, path)
		}
	}
	rel, ok := t.below(path)
	return rel, ok && err == nil
}

// text reads a string of a thread's memory.
func text(tid int, address uint64) (string, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/mem", tid))
	if err != nil {
		return "", err
	}
	defer f.Close()
	b := make([]byte, unix.PathMax)
	n, err := f.ReadAt(b, int64(address))
	if end := bytes.IndexByte(b[:n], 0); end >= 0 {
		return string(b[:end]), nil
	}
	return "", fmt.Errorf("no text at %#x: %w", address, err)
}
