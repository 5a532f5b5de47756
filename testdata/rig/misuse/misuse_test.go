// Package misuse does to the gateway what people do: a wrong line at a reload, a second start, a directory that cannot be written to, an
// address that is taken. Each must end in one clear sentence with its remedy; the process keeps what it has, and nothing is ever a
// stack trace.
package misuse

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

var programs bed.Programs

func TestMain(m *testing.M) { os.Exit(bed.Main(m, &programs)) }

// nobody is an uplink at which nobody listens.
const nobody = "mqtt://127.0.0.1:1"

// running starts a gateway with two meters and no broker, and waits until it has read them.
func running(t *testing.T) (*bed.Gateway, *bed.Meters) {
	t.Helper()
	meters := bed.NewMeters(t, 2, 2)
	g := bed.NewGateway(t, programs, bed.Dir(t, false))
	g.Configure(meters.Devices(100*time.Millisecond), bed.Toggle, nobody, "puback", "")
	g.Run()
	bed.Wait(t, "readings", 60*time.Second, func() bool {
		s, ok := g.Status()
		return ok && len(s.Devices) == 2 && s.Devices[0].Reads > 0 && s.Devices[1].Reads > 0
	})
	return g, meters
}

// clean fails the test where text looks like a crash of the program.
func clean(t *testing.T, text string) {
	t.Helper()
	for _, bad := range []string{"goroutine ", "panic", "runtime error", ".go:", "SIGSEGV", "%!"} {
		if strings.Contains(text, bad) {
			t.Errorf("%q in what the program says:\n%s", bad, text)
		}
	}
}

// says waits until the gateway's log has all of want.
func says(t *testing.T, g *bed.Gateway, want ...string) {
	t.Helper()
	for _, w := range want {
		bed.Wait(t, fmt.Sprintf("%q in the log:\n%s", w, g.Text()), 30*time.Second, func() bool { return strings.Contains(g.Text(), w) })
	}
	clean(t, g.Text())
}

func rewrite(t *testing.T, g *bed.Gateway, old, with string) {
	t.Helper()
	b, err := os.ReadFile(g.Config())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), old) {
		t.Fatalf("no %q in the configuration", old)
	}
	if err := os.WriteFile(g.Config(), []byte(strings.Replace(string(b), old, with, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func names(s status.Status) string {
	var list []string
	for _, d := range s.Devices {
		list = append(list, d.Name)
	}
	return strings.Join(list, " ")
}

// TestReload: SIGHUP takes over all of a configuration or nothing of it; devices that did not change are not disturbed.
func TestReload(t *testing.T) {
	g, meters := running(t)
	b, err := os.ReadFile(g.Config())
	if err != nil {
		t.Fatal(err)
	}
	goes := func(what string, devices string) {
		t.Helper()
		s, ok := g.Status()
		if !ok || names(s) != devices {
			t.Errorf("%s: devices are %q, want %q", what, names(s), devices)
		}
		given := meters.Given()[0]
		bed.Wait(t, what+": meter 1 is read on", 30*time.Second, func() bool { return meters.Given()[0] > given+5 })
	}

	// A new device and a mistake elsewhere: nothing of it.
	rewrite(t, g, "rules:", "  - {name: fan, driver: sim, every: 1s}\nrules:")
	rewrite(t, g, "every: 200ms", "every: 200 parsecs")
	g.Signal(syscall.SIGHUP)
	says(t, g, "parsecs", "configuration not taken over; the old one goes on")
	goes("after a mistake", "m1 m2")

	// What only a restart changes, beside what a reload could: nothing of it.
	if err := os.WriteFile(g.Config(), b, 0o600); err != nil {
		t.Fatal(err)
	}
	rewrite(t, g, "rules:", "  - {name: fan, driver: sim, every: 1s}\nrules:")
	rewrite(t, g, "id: rig", "id: other")
	g.Signal(syscall.SIGHUP)
	says(t, g, "only a restart changes")
	goes("after a change that needs a restart", "m1 m2")

	// A missing file: nothing.
	if err := os.Rename(g.Config(), g.Config()+".gone"); err != nil {
		t.Fatal(err)
	}
	g.Signal(syscall.SIGHUP)
	says(t, g, "no such file")
	goes("without a file", "m1 m2")

	// All well: a device more, one less.
	if err := os.WriteFile(g.Config(), b, 0o600); err != nil {
		t.Fatal(err)
	}
	rewrite(t, g, "  - name: m2", "  - {name: fan, driver: sim, every: 1s}\n  - name: m3")
	g.Signal(syscall.SIGHUP)
	says(t, g, "configuration taken over")
	bed.Wait(t, "the new devices", 30*time.Second, func() bool {
		s, ok := g.Status()
		return ok && names(s) == "m1 fan m3" && s.Devices[1].Reads > 0 && s.Devices[2].Reads > 0
	})
	goes("after a good reload", "m1 fan m3")
	if n := strings.Count(g.Text(), "address="); n > 4 {
		t.Errorf("%d connections were opened, want 4 at most: m1 must not be disturbed", n)
	}
	g.Terminate(60 * time.Second)
	meters.Stopped()
	a := g.QueueStatus().Account
	answered := uint64(0)
	for _, n := range meters.Given() {
		answered += uint64(n) * uint64(meters.Channels())
	}
	// The fan's readings come on top; in flight is one reply per meter and stop, and m2 was stopped as well.
	if a.Lost != 0 || a.Produced+3*uint64(meters.Channels()) < answered {
		t.Errorf("account %+v; the meters answered %d readings", a, answered)
	}
	fmt.Println("| misuse | reload | all or nothing: a mistake, a restart needed, no file; then a good one | passed |")
}

// TestSecondInstance: a second gateway on the same state directory ends at once with the number of the first, which goes on.
func TestSecondInstance(t *testing.T) {
	g, meters := running(t)
	start := time.Now()
	out, errs, code := g.Command("run")
	if want := fmt.Sprintf("process %d has it", g.Pid()); code != 1 || !strings.Contains(errs, want) || !strings.Contains(errs, "another gateway runs") {
		t.Errorf("exit status %d: %s%s; want 1 and %q", code, out, errs, want)
	}
	clean(t, errs)
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("it took %v", d)
	}
	given := meters.Given()[0]
	bed.Wait(t, "the first one reads on", 30*time.Second, func() bool { return meters.Given()[0] > given+5 })
	if _, ok := g.Status(); !ok {
		t.Error("the first one's socket is gone")
	}

	// A file that a dead one left is no claim.
	if !g.Kill() {
		t.Fatal("the first one had ended")
	}
	meters.Stopped()
	g.Run()
	bed.Wait(t, "the next one", 30*time.Second, func() bool { _, ok := g.Status(); return ok })
	g.Terminate(60 * time.Second)
	fmt.Println("| misuse | second instance | refused with the number of the first; a dead one's lock does not matter | passed |")
}

// TestUnusable: where starting makes no sense the program says why and what to do, and ends with status 1.
func TestUnusable(t *testing.T) {
	tests := map[string]struct {
		prepare func(t *testing.T, g *bed.Gateway)
		want    []string
		runs    bool // it reads all the same, keeps that in memory, and says so
	}{
		"state directory is on a read-only disk": {
			runs: true,
			prepare: func(t *testing.T, g *bed.Gateway) {
				disk := bed.NewDisk(t, g.Dir, 64<<20)
				disk.ReadOnly()
				rewrite(t, g, "state_dir: "+g.State, "state_dir: "+filepath.Join(disk.Mount, "state"))
			},
			want: []string{"state", "read-only file system", "set state_dir to"},
		},
		"state directory is a file": {
			runs:    true,
			prepare: func(t *testing.T, g *bed.Gateway) { write(t, g.State, "x") },
			want:    []string{"state", "not a directory", "state_dir must name a directory"},
		},
		"lease is a directory": {
			runs:    true,
			prepare: func(t *testing.T, g *bed.Gateway) { mkdir(t, filepath.Join(g.State, "numbers.a")) },
			want:    []string{"numbers.a"},
		},
		"configuration has faults": {
			prepare: func(t *testing.T, g *bed.Gateway) { rewrite(t, g, "driver: sim", "driver: simm") },
			want:    []string{"tidegate.yaml:4:", "simm", "did you mean"},
		},
		"configuration is missing": {
			prepare: func(t *testing.T, g *bed.Gateway) {
				if err := os.Remove(g.Config()); err != nil {
					t.Fatal(err)
				}
			},
			want: []string{"tidegate.yaml", "no such file"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g := bed.NewGateway(t, programs, bed.Dir(t, false))
			g.Configure("  - {name: fan, driver: sim, every: 1s}\n", "", nobody, "puback", "")
			tt.prepare(t, g)
			g.Run()
			if tt.runs {
				bed.Wait(t, "readings in memory", 30*time.Second, func() bool {
					s, ok := g.Status()
					return ok && condition(s, "no_disk") != "" && s.Queue.Readings > 5
				})
				g.Terminate(30 * time.Second)
			} else if code := g.WaitExit(30 * time.Second); code != 1 {
				t.Errorf("exit status %d, want 1", code)
			}
			text := g.Text()
			for _, w := range tt.want {
				if !strings.Contains(text, w) {
					t.Errorf("no %q in:\n%s", w, text)
				}
			}
			clean(t, text)
		})
	}
}

// TestUnreachable: a port, a broker or the page's address that cannot be had never keeps the gateway from starting; it says what is wrong and goes on.
func TestUnreachable(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	g := bed.NewGateway(t, programs, bed.Dir(t, false))
	g.Configure("  - {name: fan, driver: sim, every: 200ms}\n"+
		"  - {name: gone, driver: serialtext, port: "+filepath.Join(g.Dir, "no-such-port")+", line: '^(?<x>[0-9]+)$'}\n",
		"", "mqtt://no-such-host.invalid:1883", "puback", "")
	rewrite(t, g, "devices:", "listen: "+taken.Addr().String()+"\ndevices:")
	g.Run()
	var s status.Status
	bed.Wait(t, "the conditions", 60*time.Second, func() bool {
		var ok bool
		s, ok = g.Status()
		return ok && condition(s, "device_fault:gone") != "" && s.Queue.Readings > 5 && s.Link.LastError != "" && !strings.HasPrefix(s.Link.LastError, "not tried yet")
	})
	if c := condition(s, "device_fault:gone"); !strings.Contains(c, "no-such-port") {
		t.Errorf("condition of the device: %q", c)
	}
	if !strings.Contains(s.Link.LastError, "no-such-host.invalid") {
		t.Errorf("last error of the link: %q", s.Link.LastError)
	}
	for _, c := range s.Conditions {
		if c.Remedy == "" || c.Title == "" {
			t.Errorf("condition without remedy: %+v", c)
		}
	}
	says(t, g, "address already in use", "choose another address")
	g.Terminate(60 * time.Second)
}

// condition returns the detail of a condition, "" where it does not hold.
func condition(s status.Status, code string) string {
	for _, c := range s.Conditions {
		if c.Code == code {
			return c.Detail
		}
	}
	return ""
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
}
