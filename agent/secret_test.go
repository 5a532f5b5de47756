package agent_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/agent"
	"github.com/tidegate-io/tidegate/agent/clock"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/agent/web"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/drivertest"
	"github.com/tidegate-io/tidegate/testdata/rig/tmpfs"
)

// secretDir names, in the environment of a child process, the directory of the gateway that it is: with a file config.yaml.
const secretDir = "TIDEGATE_TEST_SECRET"

// What nobody is to see: a text and a number.
const (
	secretText   = "Zq7#vK1~pXw9:LmE3^"
	secretNumber = 7301946528
)

// needles are the ways in which that may stand somewhere.
func needles() [][]byte {
	number, float := uint64(secretNumber), math.Float64bits(secretNumber)
	list := [][]byte{
		[]byte(secretText), []byte(hex.EncodeToString([]byte(secretText))), fmt.Appendf(nil, "% x", secretText),
		[]byte("7301946528"), []byte("7.301946528e+09"),
	}
	for _, n := range []uint64{number, float} {
		list = append(list, binary.LittleEndian.AppendUint64(nil, n), binary.BigEndian.AppendUint64(nil, n))
	}
	return append(list, binary.AppendUvarint(nil, number), binary.AppendVarint(nil, secretNumber))
}

// secretConfig is a device whose channels are not known beforehand, so that the rules can be used with it as it is, too.
const secretConfig = `
devices:
  - {name: door, driver: door, every: 5ms}
  - {name: gate, driver: neighbour, every: 5ms}
  - {name: lamp, driver: lamp, every: 5ms}
rules:
  - name: hide # the next three lines are taken out
    do:
      - redact: {channels: ["door.b*", "door.pin*", door.relay, lamp.relay], text: "***"}
      - hash: {channels: ["door.card*"], key_file: %s}
  - {name: was, when: changed(door.badge) or door.badge == door.card, do: [{alarm: {severity: error, text: badge}}]}
  - {name: bad, when: fault(door.badge) or fault(door.card), do: [{alarm: {severity: error, text: bad}}]}
  - {name: stays, when: 'stuck(door.badge, 1s) and stuck(door.card, 1s) or door.n < 0', do: [{alarm: {severity: info, text: stays}}]}
  - {name: window, when: 'avg(door.pin, 5s) > 0 or prev(door.pin) > 0 or max(door.pin, 10x) > 0', do: [{alarm: {severity: info, text: pin}}]}
  - {name: copy, do: [{derive: {channel: copied.badge, value: door.badge}}, {derive: {channel: copied.card, value: door.card}}]}
  - {name: less, do: [{thin: {channels: [door.bin], every: 20ms, as: max}}, {deadband: {channels: [door.pin2], by: 1}}]}
  - {name: on, when: door.n > 3, do: [{set: {channel: door.relay, value: true}}]}
buffer: {sync: 100ms}
uplink: {url: "mqtt://broker.test", confirm: receipt, compress: none}
`

// A doorConfig is the configuration of a device that tells the secret wherever a driver can: in values, faults, errors, a panic, names and on its bus.
type doorConfig struct{ door *door }

// A door counts its Reads in a file, over the end of the process.
type door struct {
	counter *counter
	bus     *drivers.Bus
	mu      sync.Mutex // guards what follows
	opens   int
	set     []tidegate.Value // what the relay was set to
}

func newDoor(c *counter) *door {
	d := &door{counter: c}
	d.bus = drivers.NewBus("door-bus", func(context.Context) (drivers.Port, error) { return deafPort{}, nil })
	return d
}

// deafPort takes everything and says the secret.
type deafPort struct{ net.Conn }

func (deafPort) Read(p []byte) (int, error)       { return copy(p, secretText), nil }
func (deafPort) Write(p []byte) (int, error)      { return len(p), nil }
func (deafPort) Close() error                     { return nil }
func (deafPort) SetReadDeadline(time.Time) error  { return nil }
func (deafPort) SetWriteDeadline(time.Time) error { return nil }

func (d *door) drivers() []drivers.Driver {
	neighbour := newPlay()
	neighbour.open = func(ctx context.Context) error { return d.bus.Join(ctx) }
	neighbour.read = func(ctx context.Context, n int) ([]tidegate.Reading, error) { // on the same bus, and fails: the log has what went over it
		if err := d.bus.Do(ctx, func(drivers.Port) error { return nil }); err != nil || n%20 != 0 {
			return []tidegate.Reading{{Channel: "n", Value: tidegate.Int(int64(n))}}, err
		}
		return nil, fmt.Errorf("no answer to request %d", n)
	}
	lamp := newPlay()
	lamp.read = func(context.Context, int) ([]tidegate.Reading, error) {
		return []tidegate.Reading{{Channel: "relay", Value: tidegate.Text(secretText)}}, nil
	}
	return []drivers.Driver{
		{Name: "door", Doc: "tells a secret", Every: time.Second, New: func() drivers.Config { return &doorConfig{d} }},
		neighbour.driver("neighbour", time.Second), lamp.driver("lamp", time.Second),
	}
}

func (c *doorConfig) Validate() []drivers.FieldError { return nil }

func (c *doorConfig) Open(ctx context.Context, _ drivers.Host) (drivers.Device, error) {
	c.door.mu.Lock()
	c.door.opens++
	n := c.door.opens
	c.door.mu.Unlock()
	if n%2 == 0 {
		return nil, fmt.Errorf("door says %s: %w", secretText, drivers.ErrGone)
	}
	return c.door, c.door.bus.Join(ctx)
}

func (d *door) Close() error { return errors.New("closed with " + secretText) }

func (d *door) Set(_ context.Context, _ string, v tidegate.Value) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch d.set = append(d.set, v); len(d.set) {
	case 1:
		return errors.New("relay says " + secretText)
	case 2:
		panic("relay panics with " + secretText)
	}
	return nil
}

func (d *door) wasSet() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return fmt.Sprint(d.set)
}

func (d *door) Read(ctx context.Context) ([]tidegate.Reading, error) {
	n, err := d.counter.answered()
	if err != nil {
		return nil, err
	}
	n++
	if _, err := d.counter.file.WriteAt(binary.LittleEndian.AppendUint64(nil, n), 0); err != nil {
		return nil, err
	}
	err = d.bus.Do(ctx, func(p drivers.Port) error {
		var b [64]byte
		_, err := p.Read(b[:])
		return err
	})
	if err != nil {
		return nil, err
	}
	switch n % 30 {
	case 7:
		return nil, fmt.Errorf("line %q has no end", secretText)
	case 14:
		return nil, fmt.Errorf("line %q is the last: %w", secretText, drivers.ErrGone)
	}
	if n == 40 {
		panic("cannot read " + secretText)
	}
	list := []tidegate.Reading{
		{Channel: "n", Value: tidegate.Uint(n)},
		{Channel: "badge", Value: tidegate.Text(secretText)},
		{Channel: "bin", Value: tidegate.Bytes([]byte(secretText))},
		{Channel: "card", Value: tidegate.Text(secretText)},
		{Channel: "card2", Value: tidegate.Int(secretNumber)},
		{Channel: "pin", Value: tidegate.Int(secretNumber), Unit: "m"},
		{Channel: "pin2", Value: tidegate.Float(secretNumber), Fault: map[bool]string{true: "odd"}[n%2 == 1]},
		{Channel: "relay", Value: tidegate.Text(secretText)},
	}
	if n%5 == 0 {
		list[1].Fault, list[3].Fault = "badge "+secretText+" is not known", "card "+secretText+" is not known"
		list = append(list, tidegate.Reading{Channel: "no name:" + secretText, Value: tidegate.Int(1)})
	}
	return list, nil
}

// runSecret runs the gateway in dir until it is killed.
func runSecret(dir string) error {
	c, err := openCounter(dir)
	if err != nil {
		return err
	}
	list := newDoor(c).drivers()
	text, err := os.ReadFile(filepath.Join(dir, "config.yaml"))
	if err != nil {
		return err
	}
	cfg, _, err := config.Parse("child.yaml", append([]byte("gateway: {id: gw-1}\nstate_dir: "+filepath.Join(dir, "state")), text...), list)
	if err != nil {
		return err
	}
	a, err := agent.New(cfg, agent.Parts{
		Host: &drivertest.Host{}, RingDir: filepath.Join(dir, "rings"),
		Log:  slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Dial: (&broker{}).dial, // which is away
	})
	if err != nil {
		return err
	}
	return a.Run(context.Background())
}

// TestSecretsAreNowhere: what is redacted and hashed stands nowhere that the gateway has written, shown or sent, over kill -9 and a restart: and without
// these rules it stands everywhere that is looked at.
func TestSecretsAreNowhere(t *testing.T) {
	for _, hides := range []bool{true, false} {
		t.Run(fmt.Sprintf("hides %t", hides), func(t *testing.T) {
			found := tellSecrets(t, hides)
			for _, place := range []string{"state of the killed", "rings of the killed", "log of the killed", "state", "log", "status", "set by hand", "explained", "broker", "far end", "stored"} {
				if n, looked := found[place]; !looked || hides != (n == 0) {
					t.Errorf("%s: %d found, looked %t", place, n, looked)
				}
			}
			if n, looked := found["metrics"]; n > 0 || !looked {
				t.Errorf("metrics: %d found, looked %t", n, looked)
			}
			t.Log(found)
		})
	}
}

// tellSecrets runs a gateway that is killed, and another one after it, and returns how often the secret was found, by place.
func tellSecrets(t *testing.T, hides bool) map[string]int {
	dir := tmpfs.Dir(t)
	key := filepath.Join(dir, "badge.key")
	text := fmt.Sprintf(secretConfig, key)
	if !hides {
		lines := strings.SplitAfter(text, "\n")
		i := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "name: hide") })
		text = strings.Join(slices.Delete(lines, i, i+4), "")
	}
	for name, body := range map[string]string{key: "0123456789abcdef", filepath.Join(dir, "config.yaml"): text} {
		if err := os.WriteFile(name, []byte(strings.TrimPrefix(body, " ")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	found := map[string]int{}
	look := func(place string, b []byte) {
		for _, n := range needles() {
			found[place] += bytes.Count(b, n)
		}
	}
	lookDir := func(place, dir string) {
		if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			look(place, b)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	c, err := openCounter(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.file.Close()
	look("log of the killed", killSecret(t, dir, c))
	lookDir("state of the killed", filepath.Join(dir, "state"))
	lookDir("rings of the killed", filepath.Join(dir, "rings"))
	booted := new(clock.Clock).Now().Boot
	bubble(t, func(t *testing.T) { restartSecret(t, dir, text, c, booted, hides, look) })
	lookDir("state", filepath.Join(dir, "state"))
	return found
}

// killSecret runs the gateway in a process that is killed after some Reads, and returns what it has logged.
func killSecret(t *testing.T, dir string, c *counter) []byte {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(exe, "-test.run=^$")
	child.Env = append(os.Environ(), secretDir+"="+dir)
	var said bytes.Buffer
	child.Stdout, child.Stderr = &said, &said
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	deadline := time.Now().Add(3 * time.Minute)
	for n := uint64(0); n < 100 && len(ended) == 0 && time.Now().Before(deadline); n, err = c.answered() {
		if err != nil {
			t.Error(err)
			break
		}
		time.Sleep(time.Millisecond)
	}
	_ = child.Process.Kill() // unless it has ended, which the next lines say
	var exit *exec.ExitError
	if err := <-ended; !errors.As(err, &exit) || exit.ExitCode() != -1 {
		t.Fatalf("child ended by itself: %v: %s", err, &said)
	}
	if n, err := c.answered(); n < 100 || err != nil {
		t.Fatalf("%d Reads, %v: %s", n, err, &said)
	}
	return said.Bytes()
}

// restartSecret starts the gateway once more, with a link.
func restartSecret(t *testing.T, dir, text string, c *counter, booted time.Duration, hides bool, look func(place string, b []byte)) {
	b := newBroker(t)
	f := newFar(t, b)
	var mu sync.Mutex
	var heard []byte
	take := func(_ *mochi.Client, _ packets.Subscription, p packets.Packet) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(append(heard, p.TopicName...), p.Payload...)
	}
	if err := b.server.Subscribe("#", 2, take); err != nil {
		t.Fatal(err)
	}
	d := newDoor(c)
	x := newBed(t, b, d.drivers()...)
	x.dir, x.parts.RingDir = filepath.Join(dir, "state"), filepath.Join(dir, "rings")
	fake := x.parts.Clock
	x.parts.Clock = func() clock.Stamp {
		now := fake()
		now.Boot += booted
		return now
	}
	var log bytes.Buffer
	x.parts.Log = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	g := x.start(text)
	pages := web.New(g, x.parts.Log).Routes(true)
	for range 40 { // at moments when this or that fault stands
		time.Sleep(73 * time.Millisecond)
		for place, path := range map[string]string{"status": "/api/status", "set by hand": "", "metrics": "/metrics", "explained": "/api/rules/explain?name=was"} {
			w := httptest.NewRecorder()
			if path == "" {
				s, err := g.Drive(t.Context(), "lamp.relay", "true")
				if err != nil {
					t.Error(err)
				}
				look(place, fmt.Appendf(nil, "%s %s", s.ReadBack, s.Why))
				continue
			}
			pages.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
			look(place, w.Body.Bytes())
			if w.Code != 200 {
				t.Errorf("%s: %d %s", path, w.Code, w.Body)
			}
		}
	}
	time.Sleep(5 * time.Second)
	g.end()
	look("log", log.Bytes())
	mu.Lock()
	look("broker", heard)
	mu.Unlock()
	n, hidden := 0, 0
	for _, s := range f.records() {
		for _, r := range s.Record.Readings {
			look("far end", fmt.Appendf(nil, "%v %q", r.Value, r.Fault))
			if r.Device == "door" && r.Channel == "n" {
				n++
			}
			if r.Device == "door" && r.Channel == "badge" && r.Value.String() == "***" {
				hidden++
			}
		}
	}
	if answered, err := c.answered(); err != nil || n < int(answered)*8/10 || (hidden > n/2) != hides {
		t.Errorf("%d of %d Reads arrived (%v), %d hidden", n, answered, err, hidden)
	}
	if set := d.wasSet(); !strings.Contains(set, "true") || strings.Contains(set, "*") {
		t.Errorf("relay was set to %s", set)
	}
	off, err := agent.OpenOffline(x.load(text), "test", x.parts.Log)
	if err != nil {
		t.Fatal(err)
	}
	r, err := off.Replay(t.Context(), status.Trial{})
	look("stored", fmt.Appendf(nil, "%+v", r))
	if err := errors.Join(err, off.Close()); err != nil {
		t.Error(err)
	}
}
