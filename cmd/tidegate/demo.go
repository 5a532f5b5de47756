package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/agent"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/drivers/all"
	"github.com/tidegate-io/tidegate/sync/receive"
	"github.com/tidegate-io/tidegate/sync/receive/farend"
)

type demoFlags struct {
	seconds time.Duration
	asJSON  bool
	listen  string
}

func demoCommand(o *options) *cobra.Command {
	var f demoFlags
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run the real gateway on a simulated bus, with a broker and a receiver, and account for every reading",
		Long: "Run the real gateway with embedded defaults: a simulated RS-485 bus with three meters on a pseudo-terminal, the machine's own\n" +
			"temperatures and load, an embedded broker and a receiver. In every 20 s the broker is stopped for 5 s and the gateway's process\n" +
			"is killed (SIGKILL) and started again once. Ctrl-C, or --for, ends it; then the account is printed. Exit status 0 only if nothing\n" +
			"is lost and something was delivered.",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return demo(o, f) },
	}
	c.Flags().DurationVar(&f.seconds, "for", 0, "end after this time; 0 = at Ctrl-C")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print the account as JSON")
	c.Flags().StringVar(&f.listen, "listen", "127.0.0.1:8480", "address of the page")
	return c
}

// hiddenCommands are those by which demo starts itself again.
func hiddenCommands(o *options) []*cobra.Command {
	var broker, dir string
	c := &cobra.Command{
		Use: "demo-receive", Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			opt := farend.Options{Directory: dir, Log: o.log()}
			opt.Broker.URL, opt.Broker.ID = broker, "tidegate-receive"
			a, err := farend.Run(ctx, opt)
			if err != nil {
				return err
			}
			return json.NewEncoder(os.Stdout).Encode(a)
		},
	}
	c.Flags().StringVar(&broker, "broker", "", "broker")
	c.Flags().StringVar(&dir, "out", "", "directory")
	return []*cobra.Command{c}
}

// A demonstration is everything that demo runs.
type demonstration struct {
	o      *options
	flags  demoFlags
	dir    string
	rings  string
	exe    string
	bus    *demoBus
	broker *demoBroker

	receiver *exec.Cmd
	account  bytes.Buffer // what the receiver prints at its end
	gateway  *exec.Cmd
	disk     uint64 // bytes written by gateways that have ended
	kills    int
	stops    int
}

// demo runs it all and prints the account.
func demo(o *options, f demoFlags) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	d, err := newDemonstration(o, f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.dir), os.RemoveAll(d.rings)) }()
	busCtx, stopBus := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stopBus()
	wg.Go(func() {
		if err := d.bus.serve(busCtx); err != nil {
			fmt.Fprintln(os.Stderr, "tidegate: simulated bus:", err)
		}
	})
	start := time.Now()
	runErr := d.run(ctx)
	a, err := d.finish()
	if err := errors.Join(runErr, err); err != nil {
		return err
	}
	a.Seconds = time.Since(start).Seconds()
	a.ReadingsPerS = float64(a.Produced) / a.Seconds
	if err := printAccount(&a, f.asJSON); err != nil {
		return err
	}
	if a.Lost != 0 || a.Doubled != 0 || a.Delivered == 0 {
		return errQuiet
	}
	return nil
}

// printAccount writes the account to standard output.
func printAccount(a *account, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(os.Stdout).Encode(a)
	}
	fmt.Printf("\nThe bus answered %d readings in %.0f s; %d of them were in flight when the gateway was stopped or killed (%d kills).\n",
		a.Answered, a.Seconds, a.InFlight, a.Kills)
	fmt.Printf("produced %d = delivered %d + buffered %d + rejected %d + declared %d + lost %d\n",
		a.Produced, a.Delivered, a.Buffered, a.Rejected, a.DroppedDeclared, a.Lost)
	fmt.Printf("%d records came twice and were dropped by the receiver; %d readings are stored twice.\n", a.Duplicates, a.Doubled)
	fmt.Printf("%d bytes on the wire, %d bytes to the disk; the broker was stopped %d times.\n", a.WireBytes, a.DiskBytes, a.BrokerStops)
	return nil
}

func newDemonstration(o *options, f demoFlags) (*demonstration, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	dir, err := os.MkdirTemp("", "tidegate-demo-")
	if err != nil {
		return nil, err
	}
	d := &demonstration{o: o, flags: f, dir: dir, exe: exe, broker: &demoBroker{}, rings: agent.RingDir(filepath.Join(dir, "state"))}
	if d.bus, err = newDemoBus(); err == nil {
		err = d.broker.start()
	}
	if err == nil {
		err = d.writeConfig()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return d, nil
}

func (d *demonstration) configPath() string { return filepath.Join(d.dir, "tidegate.yaml") }

// writeConfig writes the gateway's configuration.
func (d *demonstration) writeConfig() error {
	var b strings.Builder
	fmt.Fprintf(&b, "gateway: {id: demo}\nstate_dir: %s\nlisten: %q\ndevices:", filepath.Join(d.dir, "state"), d.flags.listen)
	for u := 1; u <= demoUnits; u++ {
		fmt.Fprintf(&b, demoDevices, u, d.bus.pair.Path)
	}
	for _, x := range all.Drivers() {
		if x.Name == "system" {
			b.WriteString("  - {name: machine, driver: system, every: 5s}\n")
		}
	}
	b.WriteString("  - {name: fan, driver: sim, every: 1s}\n")
	b.WriteString("rules:\n  - name: hot\n    when: meter1.temp > 40\n    for: 1s\n    clear: meter1.temp < 35\n    do:\n" +
		"      - alarm: {severity: warning, text: \"meter 1 is hot\"}\n      - set: {channel: fan.relay, value: true, on_clear: false}\n")
	b.WriteString("buffer: {max_bytes: 64MB, sync: 1s}\n")
	fmt.Fprintf(&b, "uplink: {url: %q, confirm: receipt, batch: {readings: 200, every: 500ms}}\n", "mqtt://"+d.broker.gateway)
	return os.WriteFile(d.configPath(), []byte(b.String()), 0o600)
}

// command prepares a child: this program again, with its log in a file, and not reached by Ctrl-C (which ends them in order).
func (d *demonstration) command(logName string, args ...string) (*exec.Cmd, error) {
	log, err := os.OpenFile(filepath.Join(d.dir, logName), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the child has its own descriptor once it is started
	c := exec.Command(d.exe, args...)
	c.Stderr, c.Stdout = log, log
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if logName == "receiver.log" {
		c.Stdout = &d.account
	}
	return c, c.Start()
}

func (d *demonstration) startGateway() (err error) {
	d.gateway, err = d.command("gateway.log", "run", "--config", d.configPath())
	return err
}

// run runs until ctx is done, the time is over or a child ends by itself.
func (d *demonstration) run(ctx context.Context) (err error) {
	d.receiver, err = d.command("receiver.log", "demo-receive", "--broker", "mqtt://"+d.broker.receiver, "--out", filepath.Join(d.dir, "received"))
	if err != nil {
		return err
	}
	if err := d.startGateway(); err != nil {
		return err
	}
	if !d.flags.asJSON {
		fmt.Printf("The gateway's page: http://%s   (Ctrl-C ends the demo and prints the account)\n", d.flags.listen)
	}
	var end <-chan time.Time
	if d.flags.seconds > 0 {
		end = time.After(d.flags.seconds)
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for second := 1; ; second++ {
		select {
		case <-ctx.Done():
			return nil
		case <-end:
			return nil
		case <-tick.C:
		}
		if err := d.trouble(second/20, second%20); err != nil {
			return err
		}
		if second%5 == 0 && !d.flags.asJSON {
			d.say(second)
		}
	}
}

// trouble makes what goes wrong in each 20 s: the broker is away from second 4 to 9, and the gateway is killed once: with its broker
// away (second 6) in one round, with it there (second 13) in the next.
func (d *demonstration) trouble(round, second int) error {
	switch {
	case second == 4:
		d.stops++
		return d.broker.stop()
	case second == 9:
		return d.broker.start()
	case second == 6 && round%2 == 0, second == 13 && round%2 == 1:
		return d.kill()
	}
	return nil
}

// kill ends the gateway by SIGKILL and starts it again.
func (d *demonstration) kill() error {
	d.disk += written(d.gateway.Process.Pid)
	if err := d.gateway.Process.Kill(); err != nil {
		return fmt.Errorf("kill the gateway: %w", err)
	}
	if err := d.gateway.Wait(); err != nil && d.gateway.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		return fmt.Errorf("the gateway had ended before it was killed: %w\n%s", err, d.tail("gateway.log"))
	}
	d.bus.stopped()
	d.kills++
	return d.startGateway()
}

// written returns the bytes that the process has caused to be written to disk (proc(5), /proc/PID/io write_bytes).
func written(pid int) uint64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "write_bytes: "); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 64)
			if err == nil {
				return n
			}
		}
	}
	return 0
}

// say prints one line on how it goes.
func (d *demonstration) say(second int) {
	cfg := &config.Config{StateDir: filepath.Join(d.dir, "state")}
	var s status.Status
	if err := ask(cfg, "/api/status", time.Second, &s); err != nil || len(s.Uplinks) == 0 {
		fmt.Printf("%4d s  the gateway is starting\n", second)
		return
	}
	a := s.Uplinks[0].Account
	fmt.Printf("%4d s  link %-4s  produced %d, delivered %d, buffered %d; kills %d, broker stops %d\n",
		second, s.Link.State, a.Produced, a.Delivered, a.Buffered, d.kills, d.stops)
}

// tail returns the last lines of a child's log.
func (d *demonstration) tail(name string) string {
	b, err := os.ReadFile(filepath.Join(d.dir, name))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-4096):])
}

// finish stops everything in order and settles the account.
func (d *demonstration) finish() (a account, err error) {
	err = d.broker.start() // it may be in the middle of a stop
	if d.gateway != nil {
		d.disk += written(d.gateway.Process.Pid)
		err = errors.Join(err, terminate(d.gateway, "gateway", 30*time.Second))
		d.bus.stopped()
	}
	if d.receiver != nil {
		err = errors.Join(err, terminate(d.receiver, "receiver", 30*time.Second))
	}
	err = errors.Join(err, d.broker.stop(), d.bus.pair.Close())
	if err != nil {
		return a, fmt.Errorf("%w\n%s\n%s", err, d.tail("gateway.log"), d.tail("receiver.log"))
	}
	cfg, _, err := config.Load(d.configPath(), all.Drivers())
	if err != nil {
		return a, err
	}
	received, err := countReceived(filepath.Join(d.dir, "received"))
	if err != nil {
		return a, err
	}
	buffered, err := countBuffered(d.o, cfg)
	if err != nil {
		return a, err
	}
	var far receive.Account
	if err := json.Unmarshal(d.account.Bytes(), &far); err != nil {
		return a, fmt.Errorf("account of the receiver: %w", err)
	}
	a = settle(d.bus, received, buffered, far)
	a.WireBytes, a.DiskBytes, a.Kills, a.BrokerStops = d.broker.bytes.Load(), d.disk, d.kills, d.stops
	if dir := os.Getenv("TIDEGATE_DEMO_KEEP"); dir != "" {
		err = os.CopyFS(dir, os.DirFS(d.dir))
	}
	return a, err
}

// terminate ends a child by SIGTERM and waits.
func terminate(c *exec.Cmd, name string, patience time.Duration) error {
	if err := c.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop the %s: %w", name, err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("the %s ended: %w", name, err)
		}
		return nil
	case <-time.After(patience):
		return errors.Join(fmt.Errorf("the %s did not end within %v", name, patience), c.Process.Kill())
	}
}
