// Package demo runs the whole path on one machine: the real gateway on a simulated RS-485 bus, with a broker and a receiver. It makes
// trouble on the way, and at the end says where every reading went.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/sync/receive"
)

// Listen is where the gateway's page is, unless Options say otherwise.
const Listen = "127.0.0.1:8480"

// Options say what to run.
type Options struct {
	Drivers []drivers.Driver // of this program; those in Needed must be among them

	For    time.Duration // ends after it; 0 = when ctx is done
	JSON   bool          // the account as JSON, and nothing else on Out
	Listen string        // address of the gateway's page, host:port; port 0 = any free one
	Keep   string        // work in this directory, which must be empty or missing, and leave it; "" = a temporary one
	Debug  bool          // the gateway and the receiver log more
	Out    io.Writer     // results
	Log    io.Writer     // everything else
	// Status asks the gateway of cfg, which runs. It takes a second at most.
	Status func(cfg *config.Config) (status.Status, error)
}

// Needed returns the names of the drivers that the demo's gateway has devices of.
func Needed() []string { return []string{"modbus", "sim", "system"} }

// ErrAccount means that the account was printed, and that it is not as it must be.
var ErrAccount = errors.New("the demo's account is not as it must be")

// A demonstration is everything that runs.
type demonstration struct {
	o      Options
	dir    string // files of all children
	rings  string // the gateway's runtime directory
	exe    string
	config *config.Config
	bus    *bus
	broker *broker

	receiver *child
	gateway  *child
	disk     uint64 // bytes written by gateways that have ended
	kills    int
	stops    int
	gentle   bool // the gateway is stopped instead of killed
}

// Run runs it all until ctx is done or o.For is over, then stops it in order and prints the account. When hard is done it ends at once,
// without an account. An error wrapping ErrAccount means that something is lost or doubled, or that nothing was delivered.
func Run(ctx, hard context.Context, o Options) (err error) {
	d, err := prepare(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	busCtx, stopBus := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	unplug := func() { stopBus(); wg.Wait() }
	defer unplug()
	wg.Go(func() {
		if err := d.bus.serve(busCtx); err != nil {
			fmt.Fprintln(o.Log, "tidegate: simulated bus:", err)
		}
	})
	start := time.Now()
	runErr := d.run(ctx, hard)
	if runErr == nil {
		runErr = d.catchUp(ctx)
	}
	stopErr := d.stop(hard)
	unplug()
	if err := errors.Join(runErr, stopErr); err != nil {
		return err
	}
	a, err := d.settle()
	if err != nil {
		return err
	}
	a.Seconds = time.Since(start).Seconds()
	a.ReadingsPerS = float64(a.Produced) / a.Seconds
	if err := a.print(o.Out, o.JSON); err != nil {
		return err
	}
	return a.judge()
}

// prepare makes everything that needs no process.
func prepare(o Options) (d *demonstration, err error) {
	if o.For < 0 {
		return nil, fmt.Errorf("run for %v: a time that is over; give --for 20s, or none", o.For)
	}
	if err := checkDrivers(o.Drivers); err != nil {
		return nil, err
	}
	d = &demonstration{o: o, bus: &bus{}, broker: &broker{}}
	if d.exe, err = os.Executable(); err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	if d.o.Listen, err = freeAddress(o.Listen); err != nil {
		return nil, err
	}
	if d.dir, err = workDir(o.Keep); err != nil {
		return nil, err
	}
	if err := errors.Join(d.makeRings(), d.bus.open(), d.broker.open()); err != nil {
		return nil, errors.Join(err, d.close())
	}
	if err := d.writeConfig(); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// checkDrivers returns an error that names the drivers that the program lacks.
func checkDrivers(list []drivers.Driver) error {
	lacks := slices.DeleteFunc(Needed(), func(name string) bool {
		return slices.ContainsFunc(list, func(d drivers.Driver) bool { return d.Name == name })
	})
	if len(lacks) == 0 {
		return nil
	}
	return fmt.Errorf("run the demo: this program was built without the drivers %s, of which the demo has devices (it needs %s); put them on its list of "+
		"drivers, or run the demo of a program that has them", strings.Join(lacks, ", "), strings.Join(Needed(), ", "))
}

// close ends broker and bus and removes what the demo has made.
func (d *demonstration) close() error {
	err := errors.Join(d.broker.close(), d.bus.close(), os.RemoveAll(d.rings))
	if d.o.Keep == "" {
		err = errors.Join(err, os.RemoveAll(d.dir))
	}
	return err
}

// freeAddress returns address with a port that can be listened on.
func freeAddress(address string) (string, error) {
	l, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "", fmt.Errorf("open page on %s: another program, perhaps a gateway or another demo, has this address; choose one with --listen, "+
			"for instance --listen 127.0.0.1:0 for any free port", address)
	case err != nil:
		return "", fmt.Errorf("open page: %w; give --listen host:port, for instance --listen %s", err, Listen)
	}
	return l.Addr().String(), l.Close()
}

// workDir returns the directory for all files: keep, or a temporary one.
func workDir(keep string) (string, error) {
	if keep == "" {
		dir, err := os.MkdirTemp("", "tidegate-demo-")
		if err != nil {
			return "", fmt.Errorf("make directory of the demo: %w; set TMPDIR to a directory that can be written to", err)
		}
		return dir, nil
	}
	if err := os.MkdirAll(keep, 0o700); err != nil {
		return "", fmt.Errorf("make directory to keep: %w", err)
	}
	list, err := os.ReadDir(keep)
	if err != nil {
		return "", fmt.Errorf("look into directory to keep: %w", err)
	}
	if len(list) > 0 {
		return "", fmt.Errorf("keep files in %s: it is not empty; name another one with --keep", keep)
	}
	return filepath.Abs(keep)
}

// makeRings makes the gateway's runtime directory, in the first place that is usually on tmpfs and can be written to. Whether it is on
// tmpfs the gateway finds out by itself: see volatile.
func (d *demonstration) makeRings() (err error) {
	for _, place := range []string{"/dev/shm", os.Getenv("XDG_RUNTIME_DIR"), "/run", d.dir} {
		if place == "" {
			continue
		}
		if d.rings, err = os.MkdirTemp(place, "tidegate-demo-"); err == nil {
			return nil
		}
	}
	return err
}

// writeConfig writes the gateway's configuration and reads it as the gateway will.
func (d *demonstration) writeConfig() error {
	var b strings.Builder
	fmt.Fprintf(&b, "gateway: {id: demo}\nstate_dir: %q\nlisten: %q\ndevices:", filepath.Join(d.dir, "state"), d.o.Listen)
	for u := 1; u <= units; u++ {
		fmt.Fprintf(&b, deviceConfig, u, d.bus.pair.Path, meters[u])
	}
	fmt.Fprintf(&b, otherConfig, "mqtt://"+d.broker.gateway.address)
	path := filepath.Join(d.dir, "tidegate.yaml")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		return fmt.Errorf("write configuration of the demo: %w", err)
	}
	cfg, faults, err := config.Load(path, d.o.Drivers)
	for _, f := range faults {
		fmt.Fprintln(d.o.Log, f)
	}
	if err != nil {
		return fmt.Errorf("configure the demo: %w", err)
	}
	d.config = cfg
	return nil
}

// otherConfig is the configuration but for the bus; %q is the broker.
const otherConfig = `
  - {name: machine, driver: system, every: 5s}
  - {name: fan, driver: sim, every: 1s}
rules:
  - name: overheat
    when: boiler.temp > 80
    for: 1s
    clear: boiler.temp < 75
    do:
      - alarm: {severity: warning, text: "boiler too hot"}
      - set: {channel: fan.relay, value: true, on_clear: false}
buffer: {max_bytes: 64MB, sync: 1s}
uplink: {url: %q, confirm: receipt, batch: {readings: 200, every: 500ms}}
`

// settle makes the account after everything has stopped.
func (d *demonstration) settle() (a account, err error) {
	received, err := countReceived(filepath.Join(d.dir, "received"))
	if err != nil {
		return a, err
	}
	buffered, err := countBuffered(d.config)
	if err != nil {
		return a, err
	}
	var far receive.Account
	if d.receiver.out.Len() > 0 { // else it was stopped before it had begun
		if err := json.Unmarshal(d.receiver.out.Bytes(), &far); err != nil {
			return a, fmt.Errorf("decode account of the receiver: %w", err)
		}
	}
	a = settle(d.bus, received, buffered, &far)
	a.WireBytes, a.DiskBytes, a.Kills, a.BrokerStops = d.broker.gateway.bytes.Load(), d.disk, d.kills, d.stops
	return a, nil
}
