package update

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A supervisor does for the gateway what systemd does with the package's units: it starts the launcher whenever nothing runs, tells the gateway's
// watchdog where to knock and ends what does not, leaves nothing of it behind, and runs `tidegate-launch expire` now and then.
type supervisor struct {
	t     *testing.T
	x     times
	state string
	lib   string
	args  []string // of the gateway
	dir   string   // of log and socket
	rings string
	ended func() // told when a process has ended, before the next begins

	mu     sync.Mutex // guards all below
	starts []start
	passes []pass
	cmd    *exec.Cmd // that runs; nil = none

	stop context.CancelFunc
	done sync.WaitGroup
}

// A start is one of the launcher's.
type start struct {
	began   time.Time // the launcher said what it starts
	boot    int64     // the same as boot time in ms
	judging time.Time // it began to judge itself; zero = it did not
	ended   time.Time // zero = it runs
	slot    string
	release int
	attempt int    // of a trial, from 1; 0 = none
	safe    bool   // in safe mode
	how     string // it ended
}

// A pass is one run of `tidegate-launch expire`.
type pass struct {
	began, ended int64 // boot time in ms, as trials count
	said         string
}

var starting = regexp.MustCompile(`^tidegate-launch: starting \S+, slot (\w), release (\d+)(?: \([^)]*\))?(?:, on trial, start (\d+) of \d+)?(, in safe mode)?`)

// run begins. end ends it.
func (s *supervisor) run() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.t.Cleanup(s.end)
	socket := filepath.Join(s.dir, "notify.sock")
	_ = os.Remove(socket) // of the run before
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		s.t.Fatal(err)
	}
	knocks := make(chan string, 64)
	s.done.Go(func() {
		b := make([]byte, 4096)
		for {
			n, err := l.Read(b)
			if err != nil {
				return
			}
			select {
			case knocks <- string(b[:n]):
			case <-ctx.Done():
				return
			}
		}
	})
	s.done.Go(func() {
		defer l.Close()
		for ctx.Err() == nil {
			s.once(ctx, socket, knocks)
			sleep(ctx, s.x.restart)
		}
	})
	s.done.Go(func() {
		for sleep(ctx, s.x.expire) {
			s.expire()
		}
	})
}

func sleep(ctx context.Context, d time.Duration) (ok bool) {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// end ends the gateway in order, and the supervisor.
func (s *supervisor) end() {
	if s.stop != nil {
		s.stop()
		s.done.Wait()
	}
}

// command is one of the launcher's.
func (s *supervisor) command(ctx context.Context, what string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, built.launcher, append([]string{what, "--state", s.state, "--lib", s.lib}, args...)...)
	c.Env = slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "TIDEGATE_") })
	c.Env = append(c.Env, "RUNTIME_DIRECTORY="+s.rings)
	return c
}

// once starts the launcher and stays until all that came of it is gone.
func (s *supervisor) once(ctx context.Context, socket string, knocks <-chan string) {
	log, err := os.OpenFile(filepath.Join(s.dir, "gateway.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Error(err)
		return
	}
	defer log.Close()
	c := s.command(context.Background(), "run", append([]string{"--"}, s.args...)...)
	c.Env = append(c.Env, "NOTIFY_SOCKET="+socket, fmt.Sprintf("WATCHDOG_USEC=%d", s.x.watchdog.Microseconds()))
	c.Stderr = &lines{to: log, see: s.said}
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.WaitDelay = 5 * time.Second
	for len(knocks) > 0 {
		<-knocks // the process before's
	}
	s.mu.Lock()
	err = c.Start()
	s.cmd, s.starts = c, append(s.starts, start{})
	s.mu.Unlock()
	if err != nil {
		s.t.Error(err)
		return
	}
	gone := make(chan error, 1)
	go func() { gone <- c.Wait() }()
	why := s.attend(ctx, c, knocks, gone)
	// What it left behind goes as well (KillMode=control-group).
	_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
	s.mu.Lock()
	last := &s.starts[len(s.starts)-1]
	last.ended, last.how, s.cmd = time.Now(), why, nil
	s.mu.Unlock()
	s.ended()
}

// attend watches the process until it has ended, and returns how it did.
func (s *supervisor) attend(ctx context.Context, c *exec.Cmd, knocks <-chan string, gone <-chan error) (why string) {
	limit := time.NewTimer(s.x.start) // until READY=1, then until the next WATCHDOG=1
	defer limit.Stop()
	ready, stopped := false, ctx.Done()
	signals := func(with syscall.Signal, because string) {
		if why == "" {
			why = because + ", "
		}
		_ = c.Process.Signal(with) // gone already is as good
	}
	for {
		select {
		case err := <-gone:
			if err == nil {
				return why + "exit status 0"
			}
			return why + err.Error()
		case k := <-knocks:
			ready = ready || strings.Contains(k, "READY=1")
			if ready && why == "" {
				limit.Reset(s.x.watchdog)
			}
		case <-limit.C:
			switch {
			case why != "":
				signals(syscall.SIGKILL, why)
			case ready:
				signals(syscall.SIGABRT, "watchdog")
			default:
				signals(syscall.SIGTERM, "not ready")
			}
			limit.Reset(25 * time.Second) // TimeoutStopSec
		case <-stopped:
			stopped = nil
			signals(syscall.SIGTERM, "stopped")
			limit.Reset(25 * time.Second)
		}
	}
}

// lines passes text on and shows each line of it.
type lines struct {
	to   io.Writer
	see  func(line string)
	part []byte
}

func (l *lines) Write(b []byte) (int, error) {
	l.part = append(l.part, b...)
	for {
		i := bytes.IndexByte(l.part, '\n')
		if i < 0 {
			break
		}
		l.see(string(l.part[:i]))
		l.part = l.part[i+1:]
	}
	return l.to.Write(b)
}

// said takes in what the launcher says that it starts, and when the program began to judge itself.
func (s *supervisor) said(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := &s.starts[len(s.starts)-1]
	if strings.Contains(line, `msg="release on trial"`) {
		last.judging = time.Now()
	}
	m := starting.FindStringSubmatch(line)
	if m == nil {
		return
	}
	last.began, last.boot, last.slot, last.safe = time.Now(), bootTime(), m[1], m[4] != ""
	last.release, _ = strconv.Atoi(m[2])
	last.attempt, _ = strconv.Atoi(m[3])
}

// expire does what the timer does.
func (s *supervisor) expire() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p := pass{began: bootTime()}
	out, err := s.command(ctx, "expire").CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		s.t.Errorf("expire: %v", err)
	} else if err != nil {
		s.t.Errorf("expire: %v: %s", err, out)
	}
	p.ended, p.said = bootTime(), strings.TrimSpace(string(out))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passes = append(s.passes, p)
}

// bootTime is CLOCK_BOOTTIME in ms.
func bootTime() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(err)
	}
	return ts.Nano() / 1e6
}

// all returns the starts so far of which the launcher has said what they are.
func (s *supervisor) all() []start {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.starts), func(x start) bool { return x.began.IsZero() })
}

// kill ends the gateway and all that it started, as a power cut would, but for what the kernel still has.
func (s *supervisor) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		s.t.Error("there is nothing to kill")
		return
	}
	if err := syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		s.t.Errorf("kill: %v", err)
	}
}
