package board

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/board/pty"
)

// portEnv makes this test binary hold the port that it names open until its stdin ends, instead of running tests.
const portEnv = "BOARD_TEST_HOLD_PORT"

func TestMain(m *testing.M) {
	if path := os.Getenv(portEnv); path != "" {
		holdPort(path)
		return
	}
	os.Exit(m.Run())
}

func holdPort(path string) {
	bus, err := New(nil).Serial(context.Background(), settings(path))
	if err == nil {
		err = bus.Do(context.Background(), func(drivers.Port) error { return nil })
	}
	fmt.Println(err)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// holder starts a process that opens the port at path, and returns what came of it.
func holder(t *testing.T, path string, attr *syscall.SysProcAttr) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), portEnv+"="+path)
	cmd.SysProcAttr = attr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		_ = cmd.Wait() // an error says that the test has killed it
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return cmd, strings.TrimSpace(line)
}

func settings(path string) drivers.Serial {
	return drivers.Serial{Port: path, Baud: 9600, DataBits: 8, Parity: "none", StopBits: "1"}
}

func newPTY(t *testing.T) *pty.Pair {
	t.Helper()
	p, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func openPort(t *testing.T, path string) *serialPort {
	t.Helper()
	mode, err := serialMode(settings(path))
	if err != nil {
		t.Fatal(err)
	}
	p, err := openSerial(path, mode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func descriptors(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

func TestReadReturnsWhatCame(t *testing.T) {
	far := newPTY(t)
	p := openPort(t, far.Path)
	if _, err := far.Master.Write([]byte{0, 3, 17, 19, 26, 127, 255}); err != nil { // NUL, ^C, XON, XOFF, ^Z, DEL
		t.Fatal(err)
	}
	got := make([]byte, 7)
	_ = p.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadFull(p, got); err != nil || string(got) != "\x00\x03\x11\x13\x1a\x7f\xff" {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestReadEndsAtItsDeadline(t *testing.T) {
	p := openPort(t, newPTY(t).Path)
	for range 3 {
		start := time.Now()
		_ = p.SetReadDeadline(start.Add(50 * time.Millisecond))
		n, err := p.Read(make([]byte, 8))
		if d := time.Since(start); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, drivers.ErrGone) ||
			d < 50*time.Millisecond || d > time.Second {
			t.Fatalf("got %d, %v after %v", n, err, d)
		}
	}
}

// TestReadInProgressEndsWhenItsDeadlineIsMovedToThePast is what the end of a ctx does. The median of 21 counts: the machine may be
// busy with other things.
func TestReadInProgressEndsWhenItsDeadlineIsMovedToThePast(t *testing.T) {
	p := openPort(t, newPTY(t).Path)
	var slow int
	for range 21 {
		_ = p.SetReadDeadline(time.Time{})
		ended := make(chan time.Time, 1)
		go func() {
			_, err := p.Read(make([]byte, 8))
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			ended <- time.Now()
		}()
		time.Sleep(2 * time.Millisecond)
		cut := time.Now()
		_ = p.SetReadDeadline(time.Unix(1, 0))
		if (<-ended).Sub(cut) > 20*time.Millisecond {
			slow++
		}
	}
	if slow > 10 {
		t.Fatalf("%d of 21 Reads went on for more than 20 ms", slow)
	}
}

func TestPendingReadUsesNoProcessor(t *testing.T) {
	p := openPort(t, newPTY(t).Path)
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
		t.Fatal(err)
	}
	_ = p.SetReadDeadline(time.Now().Add(time.Second))
	if _, err := p.Read(make([]byte, 8)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(err)
	}
	if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
		t.Fatal(err)
	}
	used := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	t.Logf("one second of waiting used %v", used)
	if used > 20*time.Millisecond {
		t.Fatalf("one second of waiting used %v of the processor, want at most 20ms", used)
	}
}

func TestUnplugEndsReadAndWriteWithErrGone(t *testing.T) {
	far := newPTY(t)
	p := openPort(t, far.Path)
	ended := make(chan error, 1)
	go func() {
		_, err := p.Read(make([]byte, 8))
		ended <- err
	}()
	time.Sleep(10 * time.Millisecond)
	if err := far.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, drivers.ErrGone) {
			t.Errorf("Read in progress: %v, want ErrGone", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Read goes on after the unplug")
	}
	if _, err := p.Read(make([]byte, 8)); !errors.Is(err, drivers.ErrGone) {
		t.Errorf("Read: %v, want ErrGone", err)
	}
	_, err := p.Write([]byte{1})
	if want := "gone: unplugged or hung up: write " + far.Path + ": input/output error"; err == nil || err.Error() != want {
		t.Errorf("Write: %v, want %s", err, want)
	}
	if err := p.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// TestUnplugAndReplug100Times plugs an adapter in and out under one bus: each time it comes back as another port, is found again under its
// lasting name, and not one descriptor stays behind.
func TestUnplugAndReplug100Times(t *testing.T) {
	name := filepath.Join(t.TempDir(), "adapter")
	ctx, cancel := context.WithCancel(t.Context())
	bus, err := New(nil).Serial(ctx, settings(name))
	if err != nil {
		t.Fatal(err)
	}
	exchange := func(p drivers.Port) error {
		if _, err := p.Write([]byte("?")); err != nil {
			return err
		}
		_ = p.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, err := io.ReadFull(p, make([]byte, 1))
		return err
	}
	far := newPTY(t)
	var before int
	for i := range 101 {
		if err := os.Symlink(far.Path, name); err != nil {
			t.Fatal(err)
		}
		if _, err := far.Master.Write([]byte("!")); err != nil {
			t.Fatal(err)
		}
		if err := bus.Do(ctx, exchange); err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		next, err := pty.Open() // while the one before is there, so that it gets another number
		if err != nil {
			t.Fatal(err)
		}
		if next.Path == far.Path {
			t.Fatalf("round %d: it comes back as %s, as before", i, next.Path)
		}
		if err := errors.Join(os.Remove(name), far.Close()); err != nil {
			t.Fatal(err)
		}
		if err := bus.Do(ctx, exchange); !errors.Is(err, drivers.ErrGone) {
			t.Fatalf("round %d: unplugged: %v, want ErrGone", i, err)
		}
		if err := bus.Do(ctx, exchange); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("round %d: still unplugged: %v, want not exist", i, err)
		}
		far = next
		if i == 0 {
			before = descriptors(t)
		}
	}
	if err := far.Close(); err != nil {
		t.Fatal(err)
	}
	cancel()
	if after := descriptors(t); after != before-2 { // before has both ends of the next port
		t.Fatalf("%d descriptors, want the %d of before the 100 rounds", after, before-2)
	}
}

func TestWriteThatBlocksEndsAtItsDeadlineAndDropsThePort(t *testing.T) {
	p := openPort(t, newPTY(t).Path)
	much := make([]byte, 1<<20)
	start := time.Now()
	_ = p.SetWriteDeadline(start.Add(100 * time.Millisecond))
	n, err := p.Write(much) // nobody reads: the kernel takes a few KiB
	if d := time.Since(start); !errors.Is(err, os.ErrDeadlineExceeded) || !errors.Is(err, drivers.ErrGone) || n == 1<<20 || d > 5*time.Second {
		t.Fatalf("got %d, %v after %v", n, err, d)
	}
	// A deadline that had passed before anything was tried breaks nothing.
	_, err = p.Write([]byte{1})
	if !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, drivers.ErrGone) {
		t.Fatalf("late from the start: %v", err)
	}
}

func TestCloseEndsReadAndWriteInProgress(t *testing.T) {
	p := openPort(t, newPTY(t).Path)
	ended := make(chan error, 2)
	go func() { _, err := p.Write(make([]byte, 1<<20)); ended <- err }()
	go func() { _, err := p.Read(make([]byte, 1)); ended <- err }()
	time.Sleep(20 * time.Millisecond)
	start := time.Now()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		select {
		case err := <-ended:
			if !errors.Is(err, drivers.ErrGone) {
				t.Errorf("got %v, want ErrGone", err)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("Read or Write goes on after Close")
		}
	}
	if d := time.Since(start); d > time.Second {
		t.Errorf("Close took %v", d)
	}
	if err := p.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// TestDescriptorBeyond1023 has more files open than select(2) can count, as Badger may: there go.bug.st/serial's Read panics.
func TestDescriptorBeyond1023(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Cur < 1200 {
		t.Fatalf("this test needs 1200 descriptors, ulimit -n is %d; raise it", limit.Cur)
	}
	for range 1030 {
		f, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	far := newPTY(t)
	p := openPort(t, far.Path)
	_ = control(p.file, func(fd int) error {
		if fd < 1024 {
			t.Errorf("descriptor is %d, the test wants one beyond 1023", fd)
		}
		return nil
	})
	if _, err := far.Master.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := p.Read(make([]byte, 8)); n != 1 || err != nil {
		t.Fatalf("got %d, %v", n, err)
	}
	_ = p.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, err := p.Read(make([]byte, 8)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
}

func TestSecondProcessIsToldWhoHasThePort(t *testing.T) {
	far := newPTY(t)
	cmd, got := holder(t, far.Path, nil)
	if got != "<nil>" {
		t.Fatal(got)
	}
	mode, err := serialMode(settings(far.Path))
	if err != nil {
		t.Fatal(err)
	}
	_, err = openSerial(far.Path, mode)
	if want := fmt.Sprintf("port is in use by process %d (exe)", cmd.Process.Pid); err == nil || err.Error() != want {
		t.Fatalf("got %v, want %s", err, want)
	}
	// Killed, it leaves nothing behind that would keep its successor out, an unprivileged one neither.
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if os.Getuid() == 0 {
		if err := os.Chmod(far.Path, 0o666); err != nil {
			t.Fatal(err)
		}
		cmd, got := holder(t, far.Path, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}})
		if got != "<nil>" {
			t.Fatal(got)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	openPort(t, far.Path)
}

func TestSameProcessUnderAnotherNameIsTold(t *testing.T) {
	far := newPTY(t)
	openPort(t, far.Path)
	link := filepath.Join(t.TempDir(), "meter")
	if err := os.Symlink(far.Path, link); err != nil {
		t.Fatal(err)
	}
	bus, err := New(nil).Serial(t.Context(), settings(link))
	if err != nil {
		t.Fatal(err)
	}
	err = bus.Do(t.Context(), func(drivers.Port) error { return nil })
	want := "open " + link + ": port is in use by this gateway under another name; give it the same name in all devices"
	if err == nil || err.Error() != want {
		t.Fatalf("got %v, want %s", err, want)
	}
}

func TestPortWithoutPermissionNamesItsGroup(t *testing.T) {
	far := newPTY(t)
	if err := os.Chmod(far.Path, 0); err != nil {
		t.Fatal(err)
	}
	var got string
	if os.Getuid() == 0 { // root is refused nothing: let nobody try
		_, got = holder(t, far.Path, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}})
	} else {
		mode, err := serialMode(settings(far.Path))
		if err != nil {
			t.Fatal(err)
		}
		_, err = openSerial(far.Path, mode)
		got = fmt.Sprintf("open %s: %v", far.Path, err)
	}
	want := fmt.Sprintf("open %s: %s", far.Path, refusedOf(groupOf(far.Path)))
	if got != want {
		t.Fatalf("got %s, want %s", got, want)
	}
}

// refusedOf is what is said of a port that belongs to that group.
func refusedOf(group string) string {
	if group == "root" {
		return "permission denied; the port is root's alone: give it a group by a udev rule (GROUP=\"dialout\", MODE=\"0660\"), and put the gateway's " +
			"user into that: sudo usermod -aG dialout USER"
	}
	return "permission denied; put the gateway's user into the port's group: sudo usermod -aG " + group + " USER, then log in again"
}

// Nobody is told to become a member of group root.
func TestPortOfRootAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "port")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := explainOpen(path, &fs.PathError{Op: "open", Path: path, Err: syscall.EACCES})
	want := refusedOf(groupOf(path))
	if err == nil || err.Error() != want || !errors.Is(err, fs.ErrPermission) {
		t.Fatalf("got %v, want %s", err, want)
	}
}

// A sandbox refuses with another error than a mode does: there no group helps.
func TestPortOutsideTheSandbox(t *testing.T) {
	err := explainOpen("/dev/ttyS0", &fs.PathError{Op: "open", Path: "/dev/ttyS0", Err: syscall.EPERM})
	if want := "operation not permitted; " + drivers.HintSandbox; err == nil || err.Error() != want || !errors.Is(err, fs.ErrPermission) {
		t.Fatalf("got %v, want %s", err, want)
	}
}

func TestSettingsReachTheTerminal(t *testing.T) {
	far := newPTY(t)
	mode, err := serialMode(drivers.Serial{Port: far.Path, Baud: 19200, DataBits: 8, Parity: "none", StopBits: "2"})
	if err != nil {
		t.Fatal(err)
	}
	p, err := openSerial(far.Path, mode)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	_ = control(p.file, func(fd int) error {
		tio, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		if got := tio.Cflag & (unix.CBAUD | unix.CSTOPB | unix.CLOCAL | unix.CRTSCTS); got != unix.B19200|unix.CSTOPB|unix.CLOCAL {
			t.Errorf("control flags are %#o", got)
		}
		if tio.Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) != 0 || tio.Iflag&(unix.IXON|unix.ICRNL) != 0 || tio.Oflag&unix.OPOST != 0 {
			t.Errorf("not raw: %#o %#o %#o", tio.Lflag, tio.Iflag, tio.Oflag)
		}
		return nil
	})
}

func TestSerialSettings(t *testing.T) {
	good := settings("/dev/ttyUSB0")
	for want, change := range map[string]func(*drivers.Serial){
		"serial port : no path given; see ls /dev/serial/by-id":                                                            func(c *drivers.Serial) { c.Port = "" },
		"serial port /dev/ttyUSB0: baud is 0, want 50 to 4000000":                                                          func(c *drivers.Serial) { c.Baud = 0 },
		"serial port /dev/ttyUSB0: baud is 4000001, want 50 to 4000000":                                                    func(c *drivers.Serial) { c.Baud = 4000001 },
		"serial port /dev/ttyUSB0: data bits are 9, want 5 to 8":                                                           func(c *drivers.Serial) { c.DataBits = 9 },
		`serial port /dev/ttyUSB0: parity is "E", want none, even, odd, mark or space`:                                     func(c *drivers.Serial) { c.Parity = "E" },
		`serial port /dev/ttyUSB0: stop bits are "3", want 1 or 2`:                                                         func(c *drivers.Serial) { c.StopBits = "3" },
		"serial port /dev/ttyUSB0: stop bits are 1.5, which Linux does not have; want 1 or 2":                              func(c *drivers.Serial) { c.StopBits = "1.5" },
		"/dev/ttyUSB0 is in use at 9600 8N1, asked for at 19200 8E1: devices on one port need the same settings":           func(c *drivers.Serial) { c.Baud, c.Parity = 19200, "even" },
		"/dev/ttyUSB0 is in use at 9600 8N1, asked for at 9600 8N1, rs485 rts: devices on one port need the same settings": func(c *drivers.Serial) { c.Direction = "rts" },
		"/dev/ttyUSB0 is in use at 9600 8N1, asked for at 9600 8N1, echo: devices on one port need the same settings":      func(c *drivers.Serial) { c.Echo = true },
		"<nil>": func(*drivers.Serial) {},
	} {
		t.Run(want, func(t *testing.T) {
			h := New(nil)
			if _, err := h.Serial(t.Context(), good); err != nil {
				t.Fatal(err)
			}
			c := good
			change(&c)
			if _, err := h.Serial(t.Context(), c); fmt.Sprint(err) != want {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestPortsThatAreNone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/dev/ttyUSB97":  "no such file or directory; plug the adapter in, or see ls /dev/serial/by-id for the ports that are there",
		"/dev/serial0.9": "no such file or directory; on a Raspberry Pi put enable_uart=1 into /boot/firmware/config.txt and reboot",
		"/dev/null":      "not a serial port: inappropriate ioctl for device",
		file:             "not a serial port: inappropriate ioctl for device",
		"/dev":           "is a directory",
	} {
		t.Run(path, func(t *testing.T) {
			before := descriptors(t)
			mode, err := serialMode(settings(path))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := openSerial(path, mode); err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
			if after := descriptors(t); after != before {
				t.Errorf("%d descriptors left over", after-before)
			}
		})
	}
}

func TestExplainOpen(t *testing.T) {
	for want, err := range map[string]error{
		"device or resource busy: another program has the port for itself; see fuser -v /dev/x": unix.EBUSY,
		"no such device or address: the adapter behind this port is not there":                  unix.ENXIO,
		"no such device: the adapter behind this port is not there":                             unix.ENODEV,
		"too many open files": unix.EMFILE,
	} {
		if got := explainOpen("/dev/x", &os.PathError{Op: "open", Path: "/dev/x", Err: err}); got.Error() != want || !errors.Is(got, err) {
			t.Errorf("got %v, want %s", got, want)
		}
	}
	if got := explainNoTerminal(unix.EIO).Error(); got != "no UART behind this port: input/output error" {
		t.Errorf("got %s", got)
	}
}

func TestDevicesOnOnePortShareItUntilTheLastIsDone(t *testing.T) {
	far := newPTY(t)
	h := New(nil)
	ctx1, cancel1 := context.WithCancel(t.Context())
	ctx2, cancel2 := context.WithCancel(t.Context())
	bus1, err1 := h.Serial(ctx1, settings(far.Path))
	bus2, err2 := h.Serial(ctx2, settings(far.Path))
	if err1 != nil || err2 != nil || bus1 != bus2 {
		t.Fatalf("%v, %v, same bus: %v", err1, err2, bus1 == bus2)
	}
	use := func(drivers.Port) error { return nil }
	if err := bus1.Do(t.Context(), use); err != nil {
		t.Fatal(err)
	}
	cancel1()
	time.Sleep(10 * time.Millisecond)
	if err := bus2.Do(t.Context(), use); err != nil {
		t.Fatalf("after the first is done: %v", err)
	}
	cancel2()
	// The port is free at once for one who comes with other settings.
	c := settings(far.Path)
	c.Baud = 19200
	bus3, err := h.Serial(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := bus3.Do(t.Context(), use); err != nil {
		t.Fatal(err)
	}
	if err := bus2.Do(t.Context(), use); !errors.Is(err, drivers.ErrGone) {
		t.Fatalf("bus of devices that are done: %v, want ErrGone", err)
	}
}

func TestSerialWithCtxDone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := New(nil).Serial(ctx, settings("/dev/ttyUSB97")); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestLockFileHolder(t *testing.T) {
	dir := t.TempDir()
	parent := os.Getppid()
	for name, text := range map[string]string{
		"living": fmt.Sprintf("%10d\n", parent), "ours": fmt.Sprintf("%10d\n", os.Getpid()),
		"dead": "   4194303\n", "rubbish": "x\n", "negative": "-1\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, "LCK..tty_"+name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]int{"living": parent, "ours": 0, "dead": 0, "rubbish": 0, "negative": 0, "absent": 0} {
		if got := lockFileHolder(dir, "/dev/tty_"+name); got != want {
			t.Errorf("%s: got %d, want %d", name, got, want)
		}
	}
	if got := lockFileHolder(dir, "/dev/pts/tty_living"); got != 0 {
		t.Errorf("elsewhere: got %d", got)
	}
}

func TestParseLocks(t *testing.T) {
	const locks = `1: POSIX  ADVISORY  WRITE 1 00:05:1073 0 EOF
2: FLOCK  ADVISORY  WRITE 0 00:05:1073 0 EOF
3: FLOCK  ADVISORY  WRITE 1234 00:05:1073 0 EOF
3: -> FLOCK  ADVISORY  WRITE 99 00:05:1074 0 EOF
rubbish
`
	for file, want := range map[string]int{"00:05:1073": 1234, "00:05:1074": 0, "": 0} {
		if got := parseLocks([]byte(locks), file); got != want {
			t.Errorf("%q: got %d, want %d", file, got, want)
		}
	}
}
