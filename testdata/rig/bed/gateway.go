package bed

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/sync/receive"
)

// Toggle is the rule that raises an alarm in every other phase of meter 1.
const Toggle = `rules:
  - name: toggle
    when: m1.phase > 0
    clear: m1.phase < 0
    do:
      - alarm: {severity: warning, text: "meter 1 is in an odd phase"}
`

// A Gateway is the gateway under test: a directory with its state and configuration, and at most one process.
type Gateway struct {
	*Process
	Dir   string // of configuration and log
	State string
	Rings string // its RUNTIME_DIRECTORY, on tmpfs

	t testing.TB
	p Programs
}

// NewGateway prepares a gateway in dir, with its state there too.
func NewGateway(t testing.TB, p Programs, dir string) *Gateway {
	t.Helper()
	return &Gateway{Dir: dir, State: filepath.Join(dir, "state"), Rings: Dir(t, true), t: t, p: p}
}

// Config returns the path of the configuration.
func (g *Gateway) Config() string { return filepath.Join(g.Dir, "tidegate.yaml") }

// Configure writes a configuration: devices and rules as they stand, and an uplink.
func (g *Gateway) Configure(devices, rules, url, confirm, more string) {
	g.t.Helper()
	text := fmt.Sprintf("gateway: {id: rig}\nstate_dir: %s\ndevices:\n%s%sbuffer: {max_bytes: 128MB, sync: 1s}\n"+
		"uplink: {url: %q, confirm: %s, batch: {readings: 500, every: 200ms}%s}\n", g.State, devices, rules, url, confirm, more)
	if err := os.WriteFile(g.Config(), []byte(text), 0o600); err != nil {
		g.t.Fatal(err)
	}
}

// Run starts the gateway; before stands in front of its command line.
func (g *Gateway) Run(before ...string) {
	g.t.Helper()
	argv := append(before, g.p.Gateway, "run", "--config", g.Config())
	g.Process = Start(g.t, "gateway", filepath.Join(g.Dir, "gateway.log"), false, []string{"RUNTIME_DIRECTORY=" + g.Rings}, argv...)
}

// FreshRings gives the gateway another, empty runtime directory, as after a reboot.
func (g *Gateway) FreshRings() { g.Rings = Dir(g.t, true) }

// Ask gets what the running gateway says under path of its socket.
func (g *Gateway) Ask(path string, v any) error {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(g.State, "tidegate.sock"))
		if spare, _ := filepath.Glob(filepath.Join(g.Rings, "socket-*")); err != nil && len(spare) > 0 {
			return (&net.Dialer{}).DialContext(ctx, "unix", spare[0])
		}
		return c, err
	}}
	defer tr.CloseIdleConnections()
	c := http.Client{Transport: tr, Timeout: 20 * time.Second}
	res, err := c.Get("http://gateway" + path)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", res.Status, b)
	}
	return json.Unmarshal(b, v)
}

// Status asks for the status; ok is false while the gateway does not answer.
func (g *Gateway) Status() (s status.Status, ok bool) {
	err := g.Ask("/api/status", &s)
	return s, err == nil
}

// Committed returns the highest record number of class reading that is on disk, by the gateway's own word; 0 = none yet.
func (g *Gateway) Committed() uint64 {
	var list []status.Segment
	if err := g.Ask("/api/segments", &list); err != nil {
		return 0
	}
	high := uint64(0)
	for _, s := range list {
		high = max(high, s.Last)
	}
	return high
}

// Command runs a command of the program on the gateway's configuration and returns what it printed to standard output and to standard
// error, and its exit status.
func (g *Gateway) Command(args ...string) (stdout, stderr string, code int) {
	g.t.Helper()
	c := exec.Command(g.p.Gateway, append(args, "--config", g.Config())...)
	c.Env = append(os.Environ(), "RUNTIME_DIRECTORY="+g.Rings)
	var out, errs strings.Builder
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil && c.ProcessState == nil {
		g.t.Fatal(err)
	}
	return out.String(), errs.String(), c.ProcessState.ExitCode()
}

// QueueStatus returns what `queue status --json` says.
func (g *Gateway) QueueStatus() (s status.Status) {
	g.t.Helper()
	out, errs, code := g.Command("queue", "status", "--json")
	if code != 0 {
		g.t.Errorf("queue status: exit status %d: %s", code, errs)
	}
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		g.t.Fatalf("queue status: %v: %q %q", err, out, errs)
	}
	return s
}

// Drain stops the gateway by SIGTERM, where it runs, and starts it again without its meters until nothing is buffered any more; the meters
// are told. rules and uplink stay as given.
func (g *Gateway) Drain(m *Meters, rules, url, confirm, more string) {
	g.t.Helper()
	if g.Process != nil && !g.Ended() {
		g.Terminate(60 * time.Second)
		m.Stopped()
	}
	g.Configure(m.Gone(), rules, url, confirm, more)
	g.Deliver()
}

// Deliver starts the gateway, which does not run, and stops it when nothing is buffered any more. Its devices should be out of reach.
func (g *Gateway) Deliver() {
	g.t.Helper()
	g.Run()
	Wait(g.t, "delivery of all that is buffered", 5*time.Minute, func() bool {
		if g.Ended() {
			g.t.Fatalf("the gateway ended while delivering:\n%s", g.Tail())
		}
		s, ok := g.Status()
		return ok && s.Link.State == "up" && s.Queue.Records == 0 && s.Delivered.Records > 0
	})
	g.Terminate(60 * time.Second)
}

// A Receiver is a tidegate-receive under test.
type Receiver struct {
	*Process
	Out   string // directory of what it stores
	again func() *Process
}

// NewReceiver starts a receiver at the broker, with its files in dir.
func NewReceiver(t testing.TB, p Programs, dir, url string, before ...string) *Receiver {
	t.Helper()
	r := &Receiver{Out: filepath.Join(dir, "received")}
	argv := append(before, p.Receiver, "--broker", url, "--out", r.Out, "--json")
	r.again = func() *Process { return Start(t, "receiver", filepath.Join(dir, "receiver.log"), true, nil, argv...) }
	r.Process = r.again()
	return r
}

// Restart stops the receiver and starts it anew on what it has: after many broker stops it would wait for up to two minutes before it
// tries the next one.
func (r *Receiver) Restart() {
	r.t.Helper()
	r.Terminate(60 * time.Second)
	r.Process = r.again()
}

// Finish stops the receiver and returns its account.
func (r *Receiver) Finish() *receive.Account {
	r.t.Helper()
	r.Terminate(60 * time.Second)
	var a receive.Account
	if err := json.Unmarshal(r.Process.Out.Bytes(), &a); err != nil {
		r.t.Fatalf("account of the receiver: %v: %q", err, r.Process.Out.String())
	}
	if a.Refused != 0 {
		r.t.Errorf("the receiver refused %d payloads, want 0", a.Refused)
	}
	return &a
}
