// Package outputs looks from outside at the outputs of a Modbus unit, coil and holding register, while their gateway is stopped, killed and
// started: in the memory of a slave of libmodbus, which is mapped to a file. After the gateway's end what the service file says is run, word for word.
package outputs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

var programs bed.Programs

func TestMain(m *testing.M) { os.Exit(bed.Main(m, &programs)) }

// What the unit holds: the outputs as the test sets them, and their safe states.
const (
	driven = "valve on, setpoint 25"
	safe   = "valve off, setpoint 18"
)

// A unit is the slave, with its two outputs.
type unit struct {
	*bed.Process
	t       *testing.T
	program string
	memory  string // path
	argv    []string
	address string // as in the configuration, without parameters
}

// newUnit builds the slave and starts it behind TCP or on a serial line. It begins with its outputs driven, as a gateway of which nothing is known
// has left them.
func newUnit(t *testing.T, dir string, onTCP bool) *unit {
	t.Helper()
	u := &unit{t: t, program: filepath.Join(dir, "slave"), memory: filepath.Join(dir, "memory")}
	if out, err := exec.Command(bed.Need(t, "gcc", "gcc"), "-O", "-Wall", "-o", u.program, "testdata/slave.c", "-lmodbus").CombinedOutput(); err != nil {
		t.Fatalf("build the slave: %v; it needs: apt-get install gcc libc6-dev libmodbus-dev\n%s", err, out)
	}
	u.write(true, 25)
	if onTCP {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		u.address = "tcp://" + l.Addr().String()
		u.argv = []string{"tcp", strconv.Itoa(l.Addr().(*net.TCPAddr).Port)}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	} else {
		near, far := filepath.Join(dir, "near"), filepath.Join(dir, "far")
		bed.Start(t, "socat", filepath.Join(dir, "socat.log"), false, nil, bed.Need(t, "socat", "socat"), "pty,raw,echo=0,link="+near, "pty,raw,echo=0,link="+far)
		bed.Wait(t, "socat's line", 30*time.Second, func() bool {
			_, errNear := os.Stat(near)
			_, errFar := os.Stat(far)
			return errNear == nil && errFar == nil
		})
		u.address, u.argv = "rtu://"+near+"?baud=115200&parity=none&stop=1", []string{"rtu", far}
	}
	u.start()
	return u
}

func (u *unit) start() {
	u.t.Helper()
	u.Process = bed.Start(u.t, "slave", filepath.Join(filepath.Dir(u.memory), "slave.log"), false, nil, append([]string{u.program, u.memory}, u.argv...)...)
}

// all sends a signal to the slave and its children, which have its process group.
func (u *unit) all(s syscall.Signal) {
	u.t.Helper()
	if err := syscall.Kill(-u.Pid(), s); err != nil {
		u.t.Fatalf("signal %v to the slave: %v", s, err)
	}
}

// gone ends the slave and its children; what it holds stays.
func (u *unit) gone() {
	u.t.Helper()
	u.all(syscall.SIGKILL)
	u.Kill()
}

// Where the outputs lie: coil 5, and holding register 20 behind the 16 coils.
const (
	coilAt     = 5
	registerAt = 16 + 2*20
)

// write sets the outputs by hand, before the slave runs.
func (u *unit) write(valve bool, setpoint uint16) {
	u.t.Helper()
	b := make([]byte, 16+2*32)
	if valve {
		b[coilAt] = 1
	}
	binary.NativeEndian.PutUint16(b[registerAt:], setpoint)
	if err := os.WriteFile(u.memory, b, 0o600); err != nil {
		u.t.Fatal(err)
	}
}

// holds returns what the slave's memory says of the outputs.
func (u *unit) holds() string {
	b, err := os.ReadFile(u.memory)
	if err != nil || len(b) != 16+2*32 {
		return fmt.Sprintf("nothing to be read: %d bytes, %v", len(b), err)
	}
	valve := map[byte]string{0: "off", 1: "on"}[b[coilAt]]
	return fmt.Sprintf("valve %s, setpoint %d", valve, binary.NativeEndian.Uint16(b[registerAt:]))
}

// want fails the test unless the slave holds text now.
func (u *unit) want(when, text string) {
	u.t.Helper()
	if got := u.holds(); got != text {
		u.t.Errorf("%s, the unit holds %s; want %s", when, got, text)
	}
}

// becomes waits until the slave holds its safe states and returns how long that took.
func (u *unit) becomes(when string, patience time.Duration) time.Duration {
	u.t.Helper()
	start := time.Now()
	bed.Wait(u.t, "the safe states "+when, patience, func() bool { return u.holds() == safe })
	return time.Since(start)
}

// A service is what the service file says of the end of the gateway.
type service struct {
	stopPost []string
	patience time.Duration // TimeoutStopSec
}

// readService takes it from etc/tidegate.service, with our program and configuration in the place of the installed ones.
func readService(t *testing.T, config string) (s service) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(bed.Root(), "etc", "tidegate.service"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), "="); key {
		case "ExecStopPost":
			if s.stopPost != nil {
				t.Fatalf("a second ExecStopPost: %s", line)
			}
			s.stopPost = strings.Fields(strings.TrimPrefix(value, "-"))
		case "TimeoutStopSec":
			seconds, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			s.patience = time.Duration(seconds) * time.Second
		}
	}
	// The launcher only says which program it is that the rest of the line is for.
	program, path := slices.Index(s.stopPost, "--"), slices.Index(s.stopPost, "/etc/tidegate/tidegate.yaml")
	if program < 0 || path < program || s.stopPost[0] != "/usr/lib/tidegate/tidegate-launch" || s.patience == 0 {
		t.Fatalf("the service file has ExecStopPost %q, TimeoutStopSec %v", s.stopPost, s.patience)
	}
	s.stopPost[program], s.stopPost[path] = programs.Gateway, config
	s.stopPost = s.stopPost[program:]
	return s
}

// run does what systemd does when the gateway has ended. It returns what was said, the exit status, and how long it took.
func (s service) run(t *testing.T, g *bed.Gateway) (out, errs string, code int, took time.Duration) {
	t.Helper()
	c := exec.Command(s.stopPost[0], s.stopPost[1:]...)
	c.Env = append(os.Environ(), "RUNTIME_DIRECTORY="+g.Rings)
	var o, e bytes.Buffer
	c.Stdout, c.Stderr = &o, &e
	start := time.Now()
	err := c.Run()
	took = time.Since(start)
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if took >= s.patience {
		t.Errorf("ExecStopPost took %v, systemd kills it after %v", took, s.patience)
	}
	for _, bad := range []string{"goroutine ", "panic", ".go:", "%!"} {
		if strings.Contains(e.String(), bad) {
			t.Errorf("%q in what it says:\n%s", bad, e.String())
		}
	}
	return o.String(), e.String(), c.ProcessState.ExitCode(), took
}

// TestDeadMan has the outputs of a unit on TCP, and of one on a serial line, driven, and ends their gateway in all ways.
func TestDeadMan(t *testing.T) {
	for _, onTCP := range []bool{true, false} {
		t.Run(map[bool]string{true: "tcp", false: "rtu"}[onTCP], func(t *testing.T) {
			t.Parallel()
			dir := bed.Dir(t, false)
			x := &watch{T: t, onTCP: onTCP, u: newUnit(t, dir, onTCP), g: bed.NewGateway(t, programs, dir)}
			x.s = readService(t, x.g.Config())
			x.configure("")
			for _, step := range []func(){x.begins, x.refused, x.killed, x.notCalled, x.stopped, x.away, x.oneDead} {
				if step(); t.Failed() {
					return
				}
			}
			fmt.Printf("| outputs | %s | coil and register, seen in the slave: safe %s | passed |\n", filepath.Base(t.Name()), strings.Join(x.said, "; "))
		})
	}
}

// A watch is one pass of TestDeadMan.
type watch struct {
	*testing.T
	onTCP bool
	u     *unit
	g     *bed.Gateway
	s     service
	said  []string // for the summary
}

func (x *watch) say(format string, took time.Duration) {
	x.said = append(x.said, fmt.Sprintf(format, took.Round(time.Millisecond)))
}

// configure writes the configuration: more comes ahead of the unit.
func (x *watch) configure(more string) {
	x.g.Configure(more+`  - name: plc
    driver: modbus
    every: 100ms
    address: `+x.u.address+`
    unit: 1
    timeout: 500ms
    registers:
      - {channel: valve, table: coil, address: 5, write: true, safe: false}
      - {channel: setpoint, table: holding, address: 20, write: true, min: 5, max: 30, safe: 18}
`, "", "mqtt://127.0.0.1:1", "puback", "")
}

// drive starts the gateway, where it does not run, and sets both outputs through it.
func (x *watch) drive() {
	x.Helper()
	if x.g.Process == nil || x.g.Ended() {
		x.g.Run()
		x.u.becomes("after the start", 30*time.Second)
	}
	bed.Wait(x.T, "a Read of the unit", 30*time.Second, func() bool {
		s, ok := x.g.Status()
		return ok && len(s.Devices) == 1 && s.Devices[0].Reads > 0
	})
	for channel, value := range map[string]string{"plc.valve": "true", "plc.setpoint": "25"} {
		if out, errs, code := x.g.Command("set", channel, value); code != 0 || out != channel+" "+value+" (read back "+value+")\n" {
			x.Fatalf("set %s %s: exit status %d: %s%s", channel, value, code, out, errs)
		}
	}
	x.u.want("after set", driven)
}

// kill ends the gateway by SIGKILL with its outputs driven.
func (x *watch) kill() {
	x.Helper()
	x.drive()
	if !x.g.Kill() {
		x.Fatal("the gateway had ended")
	}
	x.u.want("after kill -9", driven)
}

// begins: outputs that something unknown has left driven go to their safe states at the first start.
func (x *watch) begins() {
	x.u.want("before all", driven)
	x.g.Run()
	x.say("%v after a first start", x.u.becomes("after a first start", 30*time.Second))
}

// refused: while the gateway runs, what the service calls changes nothing.
func (x *watch) refused() {
	x.drive()
	out, errs, code, _ := x.s.run(x.T, x.g)
	if want := fmt.Sprintf("process %d has it", x.g.Pid()); code != 1 || out != "" || !strings.Contains(errs, want) || !strings.Contains(errs, "--force") {
		x.Errorf("safe beside the gateway: exit status %d: %s%s; want 1, %q and --force", code, out, errs, want)
	}
	x.u.want("after safe beside the gateway", driven)
}

// killed: nothing but what the service calls brings them there; on the line that the dead process had for itself, too.
func (x *watch) killed() {
	x.kill()
	out, errs, code, took := x.s.run(x.T, x.g)
	if code != 0 || out != "plc.valve false\nplc.setpoint 18\n" || strings.Contains(errs, "tidegate: ") {
		x.Errorf("safe: exit status %d: %s%s", code, out, errs)
	}
	x.u.want("after safe", safe)
	x.say("%v after kill -9", took)
}

// notCalled: the service was not asked, as at a power cut of the gateway alone: its next process brings them there.
func (x *watch) notCalled() {
	x.kill()
	start := time.Now()
	x.g.Run()
	x.u.becomes("after a restart", 30*time.Second)
	x.say("%v after a restart without ExecStopPost", time.Since(start))
}

// stopped: a regular stop brings them there, and then the service has nothing to do.
func (x *watch) stopped() {
	x.drive()
	start := time.Now()
	x.g.Terminate(60 * time.Second)
	x.u.want("after SIGTERM", safe)
	x.say("%v after SIGTERM", time.Since(start))
	if _, errs, code, _ := x.s.run(x.T, x.g); code != 0 {
		x.Errorf("safe after a regular stop: exit status %d: %s", code, errs)
	}
	x.u.want("after both", safe)
}

// away: the unit is silent while the service asks it, and still when the gateway is there again. When it answers, it is told at once.
func (x *watch) away() {
	x.kill()
	x.u.all(syscall.SIGSTOP)
	out, errs, code, took := x.s.run(x.T, x.g)
	x.wantFailed(out, errs, code, "no reply within 500ms")
	if took > 10*time.Second {
		x.Errorf("safe of a silent unit took %v", took)
	}
	if x.onTCP {
		x.u.gone()
		out, errs, code, _ = x.s.run(x.T, x.g)
		x.wantFailed(out, errs, code, "connection refused; nothing listens there")
	}
	x.u.want("after safe of a unit that is away", driven)
	x.g.Run()
	x.fault("device_fault")
	if x.onTCP {
		x.fault("output_fault")
		x.u.start()
	} else {
		x.u.all(syscall.SIGCONT)
	}
	x.say("%v after the unit is back", x.u.becomes("when the unit is back", 20*time.Second))
}

// fault waits until the gateway shows that condition of the unit.
func (x *watch) fault(code string) {
	x.Helper()
	bed.Wait(x.T, code, 20*time.Second, func() bool {
		s, ok := x.g.Status()
		for _, c := range s.Conditions {
			if ok && c.Code == code+":plc" {
				return true
			}
		}
		return false
	})
}

// wantFailed wants exit status 1, and both outputs named with why.
func (x *watch) wantFailed(out, errs string, code int, why string) {
	x.Helper()
	for _, want := range []string{"tidegate: plc.valve not brought to false: ", "tidegate: plc.setpoint not brought to 18: ", why} {
		if code != 1 || out != "" || !strings.Contains(errs, want) {
			x.Errorf("safe: exit status %d: %q, %s; want 1, nothing and %q", code, out, errs, want)
		}
	}
}

// oneDead: a unit that is dead, has three outputs and may take its time does not keep the one beside it from its safe states.
func (x *watch) oneDead() {
	x.kill()
	x.configure(`  - name: dead
    driver: modbus
    address: ` + x.u.address + `
    unit: 2
    timeout: 1m
    registers: [{channel: pump, table: coil, address: 0, count: 3, write: true, safe: false}]
`)
	there := make(chan time.Duration, 1)
	go func() {
		start := time.Now()
		for x.u.holds() != safe && time.Since(start) < 20*time.Second {
			time.Sleep(5 * time.Millisecond)
		}
		there <- time.Since(start)
	}()
	out, errs, code, took := x.s.run(x.T, x.g)
	if code != 1 || out != "plc.valve false\nplc.setpoint 18\n" || strings.Count(errs, "tidegate: dead.pump") != 3 || strings.Contains(errs, "plc.") {
		x.Errorf("safe of two units, one dead: exit status %d: %s%s", code, out, errs)
	}
	x.u.want("beside a dead unit", safe)
	x.say("%v beside a dead unit", <-there)
	x.say("of which it is said after %v", took)
}
