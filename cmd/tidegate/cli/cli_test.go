package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/all"
	"github.com/tidegate-io/tidegate/drivers/board/pty"
	"github.com/tidegate-io/tidegate/drivers/modbus/slave"
	"github.com/tidegate-io/tidegate/drivers/serialtext"
	"github.com/tidegate-io/tidegate/drivers/sim"
	"github.com/tidegate-io/tidegate/drivers/system"
)

func TestMain(m *testing.M) {
	build := Build{Version: "dev", Commit: "unknown"}
	testscript.Main(m, map[string]func(){
		"tidegate": func() { os.Exit(Main(all.Drivers(), build)) },
		// programs with other lists
		"small":  func() { os.Exit(Main([]drivers.Driver{sim.Driver, serialtext.Driver}, build)) },
		"twice":  func() { os.Exit(Main([]drivers.Driver{sim.Driver, system.Driver, sim.Driver}, build)) },
		"broken": func() { os.Exit(Main([]drivers.Driver{sim.Driver, {Name: "half"}}, build)) },
		"empty":  func() { os.Exit(Main(nil, build)) },
	})
}

// TestScript runs the whole program: each file in testdata/script is a story.
func TestScript(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			dir, err := os.MkdirTemp("/dev/shm", "tidegate-script-")
			e.Setenv("RUNTIME_DIRECTORY", dir)
			e.Defer(func() { _ = os.RemoveAll(dir) })
			sample, e2 := os.ReadFile("../../../etc/tidegate.yaml")
			return errors.Join(err, e2, readmeBlocks(e.WorkDir), os.WriteFile(filepath.Join(e.WorkDir, "SAMPLE.yaml"), sample, 0o600))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "until": until, "signal": send, "port": port, "slave": modbusSlave, "line": modbusLine, "account": checkAccount, "releases": makeReleases,
		},
	})
}

// readmeBlocks writes README's first configuration, that of its first rule, and its cases, to README.yaml, README-rule.yaml and README-cases.yaml in dir.
func readmeBlocks(dir string) error {
	b, err := os.ReadFile("../../../README.md")
	if err != nil {
		return err
	}
	for name, begin := range map[string]string{"README.yaml": "gateway:\n", "README-rule.yaml": "rules:\n", "README-cases.yaml": "cases:\n"} {
		_, rest, _ := strings.Cut(string(b), "```yaml\n"+begin)
		text, _, ok := strings.Cut(rest, "```\n")
		if !ok {
			return fmt.Errorf("README.md has no block of YAML that begins with %s", begin)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(begin+text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// exits N PROGRAM [ARG...]: the program ends with that status, and without a stack trace.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits N PROGRAM [ARG...]")
	}
	got, err := 0, ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("%s ended with status %d, want %s", strings.Join(args[1:], " "), got, args[0])
	}
	for _, stream := range []string{"stdout", "stderr"} {
		if s := ts.ReadFile(stream); regexp.MustCompile(`(?m)^(panic|goroutine \d|fatal error)`).MatchString(s) {
			ts.Fatalf("stack trace:\n%s", s)
		}
	}
}

// until PROGRAM [ARG...]: runs the program until it ends well, for at most 30 s.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: until PROGRAM [ARG...]")
	}
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = ts.Exec(args[0], args[1:]...); err == nil {
			return
		}
	}
	ts.Fatalf("%s: %v", strings.Join(args, " "), err)
}

// port NAME: sets the variable to a free TCP port.
func port(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: port NAME")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	ts.Check(l.Close())
}

// slave NAME: serves Modbus TCP unit 1, whose holding register n holds n, and sets the variable to its port.
func modbusSlave(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: slave NAME")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	ctx, cancel := context.WithCancel(context.Background())
	ts.Defer(func() { cancel(); _ = l.Close() })
	s := numbered()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = s.ServeTCP(ctx, c) }()
		}
	}()
}

// numbered is unit 1, whose holding register n holds n.
func numbered() *slave.Slave {
	return &slave.Slave{Units: []byte{1}, Values: func(q slave.Request, out []uint16) slave.Exception {
		if q.Table != slave.Holdings || q.Address >= 100 {
			return slave.IllegalAddress
		}
		for i := range out {
			out[i] = q.Address + uint16(i)
		}
		return slave.NoException
	}}
}

// line NAME: serves the same on a serial line, whose bytes come in pieces, and sets the variable to its port.
func modbusLine(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: line NAME")
	}
	p, err := pty.Open()
	ts.Check(err)
	ts.Setenv(args[0], p.Path)
	ctx, cancel := context.WithCancel(context.Background())
	ts.Defer(func() { cancel(); _ = p.Close() })
	go func() { _ = numbered().ServeRTU(ctx, pieces{p.Master}) }()
}

// pieces writes 3 bytes at a time.
type pieces struct{ *os.File }

func (w pieces) Write(b []byte) (n int, err error) {
	for piece := range slices.Chunk(b, 3) {
		m, err := w.File.Write(piece)
		if n += m; err != nil {
			return n, err
		}
		time.Sleep(5 * time.Millisecond)
	}
	return n, nil
}

// signal NAME: sends SIGTERM, SIGHUP or SIGKILL to everything in the background.
func send(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL}
	if neg || len(args) != 1 || signals[args[0]] == 0 {
		ts.Fatalf("usage: signal TERM|HUP|KILL")
	}
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(signals[args[0]]))
	}
}

// account FILE: the account in the file closes, and nothing is lost or doubled.
func checkAccount(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: account FILE")
	}
	var a map[string]float64
	if err := json.Unmarshal([]byte(ts.ReadFile(args[0])), &a); err != nil {
		ts.Fatalf("account: %v", err)
	}
	for _, field := range []string{
		"produced", "delivered", "duplicates", "buffered", "rejected", "dropped_declared", "in_flight", "doubled", "lost", "seconds",
		"readings_per_s", "wire_bytes", "disk_bytes",
	} {
		if _, ok := a[field]; !ok {
			ts.Fatalf("account: no field %s", field)
		}
	}
	for what, ok := range map[string]bool{
		"answered = produced + in_flight": a["answered"] == a["produced"]+a["in_flight"],
		"produced = delivered + buffered + rejected + dropped_declared + lost": a["produced"] ==
			a["delivered"]+a["buffered"]+a["rejected"]+a["dropped_declared"]+a["lost"],
		"produced >= 98 % of answered":  a["produced"] >= 0.98*a["answered"],
		"lost = 0":                      a["lost"] == 0,
		"doubled = 0":                   a["doubled"] == 0,
		"rejected = 0":                  a["rejected"] == 0,
		"dropped_declared = 0":          a["dropped_declared"] == 0,
		"delivered > 0":                 a["delivered"] > 0,
		"delivered >= 90 % of produced": a["delivered"] >= 0.9*a["produced"], // it waits 15 s for the gateway to catch up
		"answered > 1000":               a["answered"] > 1000,                // 120 a second are asked for
		"the gateway was killed":        a["kills"] >= 1,
		"the broker was stopped":        a["broker_stops"] >= 1,
		"bytes on the wire and disk":    a["wire_bytes"] > 0 && a["disk_bytes"] > 0,
	} {
		if !ok {
			ts.Fatalf("account: not true: %s: %v", what, a)
		}
	}
}

// each calls f with c and all commands below it.
func each(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, x := range c.Commands() {
		each(x, f)
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	seen := map[string]bool{}
	each(root(&options{drivers: all.Drivers()}), func(c *cobra.Command) {
		if seen[c.CommandPath()] {
			t.Errorf("%s: twice", c.CommandPath())
		}
		seen[c.CommandPath()] = true
		if c.Short == "" {
			t.Errorf("%s: no short description", c.CommandPath())
		}
		if c.Runnable() && c.Args == nil {
			t.Errorf("%s: takes any arguments", c.CommandPath())
		}
		if strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short description ends with a full stop", c.CommandPath())
		}
	})
	for _, name := range []string{"run", "demo", "check", "drivers", "read", "set", "safe", "status", "queue", "queue status", "queue list", "queue check", "version"} {
		if !seen["tidegate "+name] {
			t.Errorf("no command %q", name)
		}
	}
}

func TestIndented(t *testing.T) {
	for text, want := range map[string]string{
		"open x: no such file":                       "open x: no such file",
		"During open err: a\n\nunable to open: b\n":  "During open err: a\n    unable to open: b",
		"unknown command\n\nDid you mean?\n\tstatus": "unknown command\n    Did you mean?\n    status",
	} {
		if got := indented(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestHelpEverywhere(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	each(root(&options{drivers: all.Drivers()}), func(c *cobra.Command) {
		args := append(strings.Fields(c.CommandPath())[1:], "--help")
		cmd := exec.Command(exe, args...)
		cmd.Args[0] = "tidegate"
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("%s --help: %v", c.CommandPath(), err)
		}
		for _, want := range []string{c.Short, "Usage:", "  " + c.CommandPath(), "--config", "--help"} {
			if c.Long != "" && want == c.Short {
				want = c.Long
			}
			if !strings.Contains(string(out), want) {
				t.Errorf("%s --help does not say %q but\n%s", c.CommandPath(), want, out)
			}
		}
	})
}
