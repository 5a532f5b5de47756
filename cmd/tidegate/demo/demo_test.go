package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/all"
	"github.com/tidegate-io/tidegate/drivers/modbus"
	"github.com/tidegate-io/tidegate/drivers/sim"
	"github.com/tidegate-io/tidegate/drivers/system"
)

// TestMain lets the test binary be a child of a demonstration: TIDEGATE_CHILD says how it behaves.
func TestMain(m *testing.M) {
	switch os.Getenv("TIDEGATE_CHILD") {
	case "":
		os.Exit(m.Run())
	case "fails":
		fmt.Println("result")
		for i := range 20 {
			fmt.Fprintf(os.Stderr, "line %d of %s\n", i+1, strings.Join(os.Args, " "))
		}
		os.Exit(7)
	case "waits": // until SIGTERM, which is not caught
		fmt.Fprintln(os.Stderr, os.Getenv("RUNTIME_DIRECTORY"), os.Getenv("NOTIFY_SOCKET"))
		time.Sleep(time.Minute)
	}
}

// aChild starts a child that behaves so.
func aChild(t *testing.T, behaviour string) *child {
	t.Helper()
	t.Setenv("TIDEGATE_CHILD", behaviour)
	t.Setenv("NOTIFY_SOCKET", "/run/of/somebody")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d := &demonstration{dir: t.TempDir(), rings: "/rings", exe: exe, o: Options{Debug: true}}
	c, err := d.start("gateway", "run")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.kill() })
	return c
}

func TestChild(t *testing.T) {
	const failed = `the gateway ended by itself: exit status 7; the end of its log:
  line 9 of tidegate run --debug
  line 10 of tidegate run --debug
  line 11 of tidegate run --debug
  line 12 of tidegate run --debug
  line 13 of tidegate run --debug
  line 14 of tidegate run --debug
  line 15 of tidegate run --debug
  line 16 of tidegate run --debug
  line 17 of tidegate run --debug
  line 18 of tidegate run --debug
  line 19 of tidegate run --debug
  line 20 of tidegate run --debug`
	same := func(t *testing.T, err error, want string) {
		t.Helper()
		if got := fmt.Sprint(err); got != want {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
	ctx := context.Background()
	t.Run("ended by itself is said once", func(t *testing.T) {
		c := aChild(t, "fails")
		<-c.done
		if c.out.String() != "result\n" {
			t.Errorf("standard output is %q", c.out.String())
		}
		same(t, c.stop(ctx, time.Minute), failed)
		same(t, c.stop(ctx, time.Minute), "<nil>")
	})
	t.Run("ended before it was killed", func(t *testing.T) {
		c := aChild(t, "fails")
		<-c.done
		same(t, c.kill(), failed)
	})
	t.Run("killed", func(t *testing.T) {
		c := aChild(t, "waits")
		same(t, c.kill(), "<nil>")
		if !signalled(c.how(), syscall.SIGKILL) {
			t.Errorf("ended by %v", c.cmd.ProcessState)
		}
	})
	t.Run("stopped before it catches signals", func(t *testing.T) {
		c := aChild(t, "waits")
		logged(t, c)
		same(t, c.stop(ctx, time.Minute), "<nil>")
	})
	t.Run("second signal", func(t *testing.T) {
		c := aChild(t, "waits")
		logged(t, c)
		if err := c.cmd.Process.Signal(syscall.SIGSTOP); err != nil { // deaf to SIGTERM
			t.Fatal(err)
		}
		hard, cancel := context.WithCancel(ctx)
		cancel()
		same(t, c.stop(hard, time.Minute), "the gateway was killed by a second signal")
	})
	t.Run("patience is over", func(t *testing.T) {
		c := aChild(t, "waits")
		logged(t, c)
		if err := c.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		same(t, c.stop(ctx, time.Millisecond), "the gateway did not end within 1ms; the end of its log:\n  /rings ")
	})
}

// logged waits until the child has written its log: by then it is past its start.
func logged(t *testing.T, c *child) {
	t.Helper()
	for range 1000 {
		if b, err := os.ReadFile(c.log); err == nil && len(b) > 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("child wrote nothing")
}

func TestGateShutsAndOpensAgain(t *testing.T) {
	g := &gate{address: "127.0.0.1:0", conns: map[net.Conn]bool{}, turn: make(chan struct{})}
	if err := g.open(); err != nil {
		t.Fatal(err)
	}
	address := g.Addr().String()
	ended := make(chan error)
	go func() {
		for {
			c, err := g.Accept()
			if err != nil {
				ended <- err
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	for round := range 3 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write([]byte("echo")); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 4)
		if _, err := io.ReadFull(c, b); err != nil || string(b) != "echo" {
			t.Fatalf("round %d: got %q, %v", round, b, err)
		}
		if err := g.shut(); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(b); err == nil {
			t.Fatalf("round %d: connection goes on behind the shut gate with %q", round, b[:n])
		}
		_ = c.Close()
		if _, err := net.Dial("tcp", address); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("round %d: shut gate lets in: %v", round, err)
		}
		if err := g.open(); err != nil {
			t.Fatal(err)
		}
	}
	for range 1000 { // the last bytes are counted behind their arrival
		if g.bytes.Load() == 3*8 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if g.bytes.Load() != 3*8 {
		t.Errorf("counted %d bytes, want 24", g.bytes.Load())
	}
	if err := errors.Join(g.Close(), g.Close()); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept ended with %v", err)
	}
	if err := g.open(); err != nil || g.inner != nil {
		t.Errorf("a closed gate opened, %v", err)
	}
}

// TestNeeded: the drivers that the demo says it needs are those that its configuration names, neither fewer nor more.
func TestNeeded(t *testing.T) {
	d, err := prepare(Options{Drivers: all.Drivers(), Listen: "127.0.0.1:0", Out: io.Discard, Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.close(); err != nil {
			t.Error(err)
		}
	}()
	used := map[string]bool{}
	for _, x := range d.config.Devices {
		used[x.Driver] = true
	}
	if got := slices.Sorted(maps.Keys(used)); !slices.Equal(got, Needed()) {
		t.Errorf("its devices have drivers %q, want %q", got, Needed())
	}
}

func TestCannotStart(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", "/does/not/exist")
	needed := []drivers.Driver{modbus.Driver, sim.Driver, system.Driver}
	for name, tt := range map[string]struct {
		o    Options
		want string
	}{
		"address in use": {
			Options{Listen: l.Addr().String()},
			"open page on " + l.Addr().String() + ": another program, perhaps a gateway or another demo, has this address; choose one with --listen, for instance --listen 127.0.0.1:0 for any free port",
		},
		"address without port": {
			Options{Listen: "localhost"},
			"open page: listen tcp: address localhost: missing port in address; give --listen host:port, for instance --listen 127.0.0.1:8480",
		},
		"time that is over": {Options{For: -time.Second}, "run for -1s: a time that is over; give --for 20s, or none"},
		"directory in use":  {Options{Listen: "127.0.0.1:0", Keep: full}, "keep files in " + full + ": it is not empty; name another one with --keep"},
		"two drivers missing": {
			Options{Drivers: needed[1:2], Listen: "127.0.0.1:0"},
			"run the demo: this program was built without the drivers modbus, system, of which the demo has devices (it needs modbus, sim, system); put them on its list of drivers, or run the demo of a program that has them",
		},
		"no temporary directory": {
			Options{Listen: "127.0.0.1:0"},
			"make directory of the demo: stat /does/not/exist: no such file or directory; set TMPDIR to a directory that can be written to",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			tt.o.Out, tt.o.Log = &out, &out
			if tt.o.Drivers == nil {
				tt.o.Drivers = needed
			}
			err := Run(t.Context(), t.Context(), tt.o)
			if got := fmt.Sprint(err); got != tt.want {
				t.Errorf("got %s\nwant %s", got, tt.want)
			}
			if out.Len() > 0 {
				t.Errorf("also said %s", &out)
			}
		})
	}
}
