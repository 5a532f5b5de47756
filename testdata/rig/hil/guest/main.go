// Command guest is process 1 inside an emulated board. It mounts the kernel's file systems, loads modules, brings the network up, and then
// does what the host asks on the console: starts the gateway, runs its commands, reads and writes files. It judges nothing; the host does.
//
// One line a request and one an answer:
//
//	host   @@DO {"do":"run","args":["/tidegate","version"]}
//	guest  @@RET {"out":"...","code":0}
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A request is what the host asks for.
type request struct {
	Do      string   `json:"do"` // run, start, signal, read, write, glob, get, mount, clock or off
	Args    []string `json:"args"`
	Text    string   `json:"text"`
	Seconds int      `json:"seconds"` // that it may take
}

// An answer is what came of it.
type answer struct {
	Out  string `json:"out"`
	Code int    `json:"code"`
	Err  string `json:"err,omitempty"`
}

func main() {
	if err := boot(); err != nil {
		fmt.Println("@@BOOT", err)
		off()
	}
	fmt.Println("@@BOOT")
	g := &guest{}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		_, text, ok := strings.Cut(in.Text(), "@@DO ")
		if !ok {
			continue
		}
		var q request
		a := answer{}
		if err := json.Unmarshal([]byte(text), &q); err != nil {
			a.Err = err.Error()
		} else {
			a = g.do(&q)
		}
		b, err := json.Marshal(a)
		if err != nil {
			b = []byte(`{"err":"answer cannot be written"}`)
		}
		fmt.Printf("@@RET %s\n", b)
	}
	off()
}

// boot makes the machine usable.
func boot() error {
	for _, m := range []struct{ kind, at string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}, {"tmpfs", "/run"}} {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	if err := os.MkdirAll("/dev/shm", 0o1777); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", "/dev/shm", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount /dev/shm: %w", err)
	}
	if t, err := unix.IoctlGetTermios(0, unix.TCGETS); err == nil { // no echo: it would mangle requests
		t.Lflag &^= unix.ECHO | unix.ICANON | unix.ISIG
		t.Iflag &^= unix.ICRNL | unix.INLCR
		if err := unix.IoctlSetTermios(0, unix.TCSETS, t); err != nil {
			return fmt.Errorf("set console: %w", err)
		}
	}
	list, err := os.ReadFile("/modules.list")
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(list)) {
		if err := load("/modules/" + name); err != nil {
			return fmt.Errorf("load %s: %w", name, err)
		}
	}
	return network()
}

func load(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

// network gives lo and the first Ethernet card the addresses that qemu's user network expects (10.0.2.15, host 10.0.2.2).
func network() error {
	if err := address("lo", net.IPv4(127, 0, 0, 1)); err != nil {
		return err
	}
	for range 100 {
		cards, _ := filepath.Glob("/sys/class/net/e*") // its one error is of the pattern
		if len(cards) > 0 {
			return address(filepath.Base(cards[0]), net.IPv4(10, 0, 2, 15))
		}
		time.Sleep(50 * time.Millisecond)
	}
	return errors.New("no Ethernet card after 5 s")
}

func address(card string, ip net.IP) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	for _, step := range []struct {
		call uint
		set  func(*unix.Ifreq) error
	}{
		{unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(ip.To4()) }},
		{unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) }},
		{unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }},
	} {
		r, err := unix.NewIfreq(card)
		if err != nil {
			return err
		}
		if err := step.set(r); err != nil {
			return err
		}
		if err := unix.IoctlIfreq(s, step.call, r); err != nil {
			return fmt.Errorf("set up %s: %w", card, err)
		}
	}
	return nil
}

// A guest has at most one gateway running.
type guest struct {
	gateway *exec.Cmd
	log     *os.File
	ended   chan struct{} // closed when gateway has ended
}

func (g *guest) do(q *request) (a answer) {
	var err error
	switch {
	case q.Do == "run" && len(q.Args) > 0:
		return g.run(q)
	case q.Do == "start" && len(q.Args) > 0:
		err = g.start(q.Args)
	case q.Do == "signal" && g.gateway != nil:
		a, err = g.signal(q)
	case q.Do == "read" && len(q.Args) == 1:
		var b []byte
		b, err = os.ReadFile(q.Args[0])
		a.Out = string(b)
	case q.Do == "write" && len(q.Args) == 1:
		if err = os.MkdirAll(filepath.Dir(q.Args[0]), 0o755); err == nil || strings.HasPrefix(q.Args[0], "/sys") {
			err = os.WriteFile(q.Args[0], []byte(q.Text), 0o600)
		}
	case q.Do == "glob" && len(q.Args) == 1:
		var list []string
		list, err = filepath.Glob(q.Args[0])
		a.Out = strings.Join(list, "\n")
	case q.Do == "get" && len(q.Args) == 2:
		a.Out, err = get(q.Args[0], q.Args[1], time.Duration(max(q.Seconds, 1))*time.Second)
	case q.Do == "mount" && len(q.Args) == 2:
		if err = os.MkdirAll(q.Args[1], 0o755); err == nil {
			err = unix.Mount(q.Args[0], q.Args[1], "ext4", 0, "")
		}
	case q.Do == "clock" && len(q.Args) == 1:
		err = step(q.Args[0])
	case q.Do == "off":
		off()
	default:
		err = fmt.Errorf("cannot do %q with %d arguments", q.Do, len(q.Args))
	}
	if err != nil {
		a.Err = err.Error()
	}
	return a
}

// get asks whoever listens on a unix socket.
func get(socket, path string, patience time.Duration) (string, error) {
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	c := http.Client{Transport: tr, Timeout: patience}
	res, err := c.Get("http://gateway" + path)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(res.Status)
	}
	return string(b), err
}

// step sets the clock so many seconds on, or back.
func step(seconds string) error {
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return err
	}
	var now unix.Timeval
	if err := unix.Gettimeofday(&now); err != nil {
		return err
	}
	now.Sec += unix.NsecToTimeval(n * 1e9).Sec
	return unix.Settimeofday(&now)
}

// run runs a program to its end.
func (g *guest) run(q *request) (a answer) {
	c := exec.Command(q.Args[0], q.Args[1:]...)
	var out strings.Builder
	c.Stdout, c.Stderr = &out, &out
	c.WaitDelay = time.Second
	if err := c.Start(); err != nil {
		return answer{Err: err.Error()}
	}
	late := time.AfterFunc(time.Duration(max(q.Seconds, 1))*time.Second, func() { _ = c.Process.Kill() }) // Wait tells
	defer late.Stop()
	err := c.Wait()
	if c.ProcessState == nil {
		return answer{Out: out.String(), Err: err.Error()}
	}
	return answer{Out: out.String(), Code: c.ProcessState.ExitCode()}
}

// start starts the gateway; its log is /tmp/gateway.log.
func (g *guest) start(argv []string) (err error) {
	if g.log == nil {
		if g.log, err = os.Create("/tmp/gateway.log"); err != nil {
			return err
		}
	}
	g.gateway = exec.Command(argv[0], argv[1:]...)
	g.gateway.Stdout, g.gateway.Stderr = g.log, g.log
	if err := g.gateway.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	g.ended = ended
	c := g.gateway
	go func() {
		_ = c.Wait() // signal tells the status
		close(ended)
	}()
	return nil
}

// signal sends the gateway TERM or KILL and waits for its end.
func (g *guest) signal(q *request) (answer, error) {
	s := syscall.SIGTERM
	if len(q.Args) > 0 && q.Args[0] == "KILL" {
		s = syscall.SIGKILL
	}
	if err := g.gateway.Process.Signal(s); err != nil {
		return answer{}, err
	}
	select {
	case <-g.ended:
		return answer{Code: g.gateway.ProcessState.ExitCode()}, nil
	case <-time.After(time.Duration(max(q.Seconds, 1)) * time.Second):
		return answer{}, errors.New("the gateway has not ended")
	}
}

// off ends the machine. Some boards can only restart, which -no-reboot makes an end.
func off() {
	unix.Sync()
	how := unix.LINUX_REBOOT_CMD_POWER_OFF
	if b, err := os.ReadFile("/proc/cmdline"); err == nil && strings.Contains(string(b), "hil.off=reboot") {
		how = unix.LINUX_REBOOT_CMD_RESTART
	}
	_ = unix.Reboot(how) // nothing is left to tell anybody
	select {}
}
