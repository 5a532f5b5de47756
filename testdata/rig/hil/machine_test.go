package hil

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

// longest is how long anything may take that takes seconds: an emulated board beside other work is twenty times slower. Nothing is measured by it.
const longest = 4 * time.Minute

// A machine is an emulated board that has booted into the guest program.
type machine struct {
	t     *testing.T
	dir   string
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // of the console
	qmp   *control
	qtest *control
}

// boot starts qemu and waits for the guest. The console's log stays in dir.
func boot(t *testing.T, dir, qemu string, args ...string) *machine {
	t.Helper()
	m := &machine{t: t, dir: dir, lines: make(chan string, 1024)}
	args = append([]string{"-serial", "stdio"}, args...) // the first one is the console
	args = append(args, "-display", "none", "-monitor", "none", "-no-reboot",
		"-qmp", "unix:"+filepath.Join(dir, "qmp.sock")+",server=on,wait=off",
		"-qtest", "unix:"+filepath.Join(dir, "qtest.sock")+",server=on,wait=off", "-qtest-log", "none")
	m.cmd = exec.Command(bed.Need(t, qemu, "qemu-system-arm"), args...)
	log, err := os.Create(filepath.Join(dir, "console.log"))
	if err != nil {
		t.Fatal(err)
	}
	m.cmd.Stderr = log
	if m.in, err = m.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(m.lines)
		s := bufio.NewScanner(out)
		s.Buffer(nil, 4<<20)
		for s.Scan() {
			fmt.Fprintln(log, s.Text())
			m.lines <- strings.TrimRight(s.Text(), "\r")
		}
	}()
	t.Cleanup(func() { m.end(log) })
	m.qmp, m.qtest = connect(t, filepath.Join(dir, "qmp.sock")), connect(t, filepath.Join(dir, "qtest.sock"))
	m.qmp.greet(t)
	if said := m.line("@@BOOT", longest); said != "" {
		t.Fatalf("guest does not boot: %s", said)
	}
	t.Logf("%s booted in %v", qemu, time.Since(start).Round(100*time.Millisecond))
	return m
}

// end ends qemu, and shows the console's end where the test failed.
func (m *machine) end(log *os.File) {
	_ = m.cmd.Process.Kill() // it may have ended by itself
	for range m.lines {
	}
	_ = m.cmd.Wait() // killed
	_ = log.Close()
	m.qmp.close()
	m.qtest.close()
	if !m.t.Failed() {
		return
	}
	if b, err := os.ReadFile(log.Name()); err == nil {
		m.t.Logf("console ends with: %s", b[max(0, len(b)-4000):])
	}
}

// line waits for a line of the guest that begins with mark and returns the rest of it.
func (m *machine) line(mark string, patience time.Duration) string {
	m.t.Helper()
	late := time.After(patience)
	for {
		select {
		case l, ok := <-m.lines:
			if !ok {
				m.t.Fatal("the machine ended")
			}
			if i := strings.Index(l, mark); i >= 0 {
				return strings.TrimSpace(l[i+len(mark):])
			}
		case <-late:
			m.t.Fatalf("guest says no %s within %v", mark, patience)
		}
	}
}

// An answer is what the guest says of a request.
type answer struct {
	Out  string
	Code int
	Err  string
}

// do asks the guest.
func (m *machine) do(what, text string, args ...string) answer {
	m.t.Helper()
	b, err := json.Marshal(map[string]any{"do": what, "args": args, "text": text, "seconds": longest / time.Second})
	if err != nil {
		m.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(m.in, "@@DO %s\n", b); err != nil {
		m.t.Fatal(err)
	}
	var a answer
	if err := json.Unmarshal([]byte(m.line("@@RET ", longest+time.Minute)), &a); err != nil {
		m.t.Fatal(err)
	}
	return a
}

// must is do, where it has to go well.
func (m *machine) must(what, text string, args ...string) string {
	m.t.Helper()
	a := m.do(what, text, args...)
	if a.Err != "" || a.Code != 0 {
		m.t.Fatalf("%s %v: status %d, %s\n%s", what, args, a.Code, a.Err, a.Out)
	}
	return a.Out
}

// tidegate runs a command of the gateway's program in the guest.
func (m *machine) tidegate(args ...string) answer {
	m.t.Helper()
	return m.do("run", "", append([]string{"/tidegate"}, append(args, "--config", "/tmp/tidegate.yaml")...)...)
}

// start configures the gateway and starts it.
func (m *machine) start(config string) {
	m.t.Helper()
	m.must("write", config, "/tmp/tidegate.yaml")
	if a := m.tidegate("check"); a.Code != 0 {
		m.t.Fatalf("configuration: %s", a.Out)
	}
	m.must("start", "", "/tidegate", "run", "--config", "/tmp/tidegate.yaml")
	m.t.Cleanup(func() {
		if m.t.Failed() {
			a := m.do("read", "", "/tmp/gateway.log")
			m.t.Logf("gateway's log ends with: %s", a.Out[max(0, len(a.Out)-6000):])
		}
	})
}

// A control is a socket on which qemu takes one command a line.
type control struct {
	c net.Conn
	r *bufio.Reader
}

func connect(t *testing.T, path string) *control {
	t.Helper()
	var c net.Conn
	bed.Wait(t, path, longest, func() (ok bool) {
		var err error
		c, err = net.Dial("unix", path)
		return err == nil
	})
	return &control{c, bufio.NewReader(c)}
}

func (c *control) close() { _ = c.c.Close() } // qemu has ended

// ask sends a line and returns the first one that is said to it, not by the way.
func (c *control) ask(t *testing.T, line string, isAside func(string) bool) string {
	t.Helper()
	if err := c.c.SetDeadline(time.Now().Add(longest)); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(c.c, line); err != nil {
		t.Fatal(err)
	}
	for {
		said, err := c.r.ReadString('\n')
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if !isAside(said) {
			return strings.TrimSpace(said)
		}
	}
}

// greet ends the negotiation that QMP begins with.
func (c *control) greet(t *testing.T) {
	t.Helper()
	if _, err := c.r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	c.ask(t, `{"execute":"qmp_capabilities"}`, isEvent)
}

func isEvent(line string) bool { return strings.Contains(line, `"event":`) }

// try gives a QMP command and returns its result as JSON.
func (m *machine) try(command string, args map[string]any) (json.RawMessage, error) {
	m.t.Helper()
	b, err := json.Marshal(map[string]any{"execute": command, "arguments": args})
	if err != nil {
		m.t.Fatal(err)
	}
	var r struct {
		Return json.RawMessage
		Error  *struct{ Desc string }
	}
	if err := json.Unmarshal([]byte(m.qmp.ask(m.t, string(b), isEvent)), &r); err != nil {
		m.t.Fatal(err)
	}
	if r.Error != nil {
		return nil, fmt.Errorf("%s: %s", command, r.Error.Desc)
	}
	return r.Return, nil
}

// set sets a property of a part of the machine.
func (m *machine) set(path, property string, value any) {
	m.t.Helper()
	if _, err := m.try("qom-set", map[string]any{"path": path, "property": property, "value": value}); err != nil {
		m.t.Fatal(err)
	}
}

// get returns one.
func (m *machine) get(path, property string) string {
	m.t.Helper()
	v, err := m.try("qom-get", map[string]any{"path": path, "property": property})
	if err != nil {
		m.t.Fatal(err)
	}
	return string(v)
}

// pulse makes n pulses, each level kept until the guest's kernel has taken the edge: an interrupt that comes before is one with it, and
// qemu's model of the ast2600 then holds its interrupt for ever. All programs of the guest have one processor (TestBoard leaves the other
// one idle), on which the kernel deals with a line's interrupt before any of them runs: when one has answered, it is done.
func (m *machine) pulse(n int, drive func(level bool)) {
	m.t.Helper()
	for range n {
		for _, level := range []bool{true, false} {
			drive(level)
			m.must("glob", "", "/init")
		}
	}
}

// raise drives line of the virt machine's PL061, which has no property for it.
func (m *machine) raise(line int, level bool) {
	m.t.Helper()
	list, err := m.try("qom-list", map[string]any{"path": "/machine/unattached"})
	if err != nil {
		m.t.Fatal(err)
	}
	var parts []struct{ Name, Type string }
	if err := json.Unmarshal(list, &parts); err != nil {
		m.t.Fatal(err)
	}
	for _, p := range parts {
		if p.Type != "child<pl061>" {
			continue
		}
		n := 0
		if level {
			n = 1
		}
		said := m.qtest.ask(m.t, fmt.Sprintf("set_irq_in /machine/unattached/%s unnamed-gpio-in %d %d", p.Name, line, n), func(l string) bool { return strings.HasPrefix(l, "IRQ ") })
		if !strings.HasPrefix(said, "OK") {
			m.t.Fatalf("drive line %d: %s", line, said)
		}
		return
	}
	m.t.Fatal("the machine has no PL061")
}
