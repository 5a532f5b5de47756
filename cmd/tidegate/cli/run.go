package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidegate-io/tidegate/agent"
	"github.com/tidegate-io/tidegate/agent/config"
	"github.com/tidegate-io/tidegate/agent/place"
	"github.com/tidegate-io/tidegate/agent/status"
	"github.com/tidegate-io/tidegate/agent/web"
	"github.com/tidegate-io/tidegate/buffer/salvage"
	"github.com/tidegate-io/tidegate/cmd/tidegate/reach"
	"github.com/tidegate-io/tidegate/drivers/board"
)

// Times of start and stop.
const (
	hardStop   = 15 * time.Second // how long an orderly stop may take
	sameSignal = time.Second      // a second signal within this time is the first one again: timeout(1) sends each twice
	lateReady  = 30 * time.Second // how long systemd waits for a gateway that reads, but has no room for its store yet
	pageAgain  = 10 * time.Second // between two tries to open the page
)

func runCommand(o *options) *cobra.Command {
	safe := false
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the gateway in the foreground",
		Long: "Run the gateway in the foreground until SIGTERM or SIGINT. SIGHUP reads the configuration again: all of it, or nothing\n" +
			"where it has faults or needs a restart. A second SIGTERM, or 15 s, ends it hard; nothing that was read is lost by that.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := o.load(os.Stderr)
			if err != nil {
				return err
			}
			return run(cmd.Context(), o, cfg, safe)
		},
	}
	c.Flags().BoolVar(&safe, "safe", false, "read and buffer, and nothing else: no rules, no uplinks; the launcher's last resort")
	return c
}

// run runs the gateway of cfg until a signal.
func run(ctx context.Context, o *options, cfg *config.Config, safe bool) error {
	if ctx == nil {
		ctx = context.Background()
	}
	log := o.log()
	if os.Getenv("TIDEGATE_SLOT") != "" { // the launcher executed a file descriptor, whose number is the name that the kernel has
		if err := os.WriteFile("/proc/self/comm", []byte("tidegate"), 0); err != nil {
			log.Debug("name of this process", "err", err)
		}
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	ctx, stop := context.WithCancel(ctx)
	defer stop()

	ready := make(chan struct{})
	g := &gateway{}
	a, err := agent.New(cfg, agent.Parts{
		Host: board.New(log), Log: log, Version: o.build.Version, Ready: func() { close(ready) }, Update: func() status.Update { return g.update(o.build.Version) }, Safe: safe,
		Salvage: salvage.Child, Verify: salvage.Verify,
	})
	if err != nil {
		return err
	}
	g.Agent = a
	var beside sync.WaitGroup
	defer func() { stop(); beside.Wait() }()
	restart := make(chan struct{})
	if err := g.startUpdates(ctx, &beside, o, cfg, restart); err != nil {
		return err
	}
	socketErr := serve(ctx, &beside, cfg, g, log)
	if errors.Is(socketErr, place.ErrRunning) {
		return socketErr
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	return attend(ctx, stop, attended{o: o, agent: a, log: log, signals: signals, ready: ready, ended: ended, restart: restart, socketErr: socketErr})
}

// attended is a running gateway with what it is told from outside.
type attended struct {
	o       *options
	agent   *agent.Agent
	log     *slog.Logger
	signals <-chan os.Signal
	ready   <-chan struct{}
	ended   <-chan error
	restart <-chan struct{} // closed when another release is to run

	socketErr error // why there is no socket; said once the gateway runs, as a state directory without use ends it anyway
}

// attend handles signals and systemd until the gateway has ended.
func attend(ctx context.Context, stop context.CancelFunc, x attended) error {
	notify := newNotifier(x.log)
	var watchdog <-chan time.Time
	if d := notify.watchdog(); d > 0 {
		t := time.NewTicker(d / 2)
		defer t.Stop()
		watchdog = t.C
	}
	late := time.NewTimer(lateReady)
	defer late.Stop()
	var hard <-chan time.Time
	var first time.Time
	for {
		select {
		case <-x.ready:
			x.ready = nil
			late.Stop()
			notify.say("READY=1")
			if x.socketErr != nil {
				x.log.Error("commands like `tidegate status` will not find this gateway", "err", x.socketErr)
			}
		case <-late.C:
			notify.say("READY=1\nSTATUS=reading; waits for its store")
		case <-watchdog:
			if err := x.agent.Healthy(); err != nil {
				x.log.Error("watchdog not fed", "err", err)
				continue
			}
			notify.say("WATCHDOG=1")
		case s := <-x.signals:
			switch {
			case s == syscall.SIGHUP:
				notify.say("RELOADING=1")
				reload(ctx, x)
				notify.say("READY=1")
			case hard != nil && time.Since(first) < sameSignal:
			case hard != nil:
				return errors.New("stopped hard by a second signal; what was read is in the rings and the buffer")
			default:
				x.log.Info("stopping", "signal", s.String())
				notify.say("STOPPING=1")
				stop()
				hard, first = time.After(hardStop), time.Now()
			}
		case <-x.restart:
			x.restart = nil
			if hard == nil {
				x.log.Info("stopping for another release")
				notify.say("STOPPING=1")
				stop()
				hard, first = time.After(hardStop), time.Now()
			}
		case <-hard:
			return fmt.Errorf("stopped hard after %v; what was read is in the rings and the buffer", hardStop)
		case err := <-x.ended:
			return err
		}
	}
}

// reload reads the configuration again and takes it over, all or nothing.
func reload(ctx context.Context, x attended) {
	cfg, err := x.o.load(os.Stderr)
	if err == nil {
		err = x.agent.Reload(ctx, cfg)
	}
	if err != nil {
		x.log.Error("configuration not taken over; the old one goes on", "err", err)
		return
	}
	x.log.Info("configuration taken over")
}

// serve opens socket and page. Without them the gateway runs all the same; the error is the socket's.
func serve(ctx context.Context, wg *sync.WaitGroup, cfg *config.Config, g *gateway, log *slog.Logger) error {
	srv := web.New(g, log)
	l, err := listenSocket(reach.Socket(cfg))
	if errors.Is(err, place.ErrRunning) {
		return err
	}
	spare, failed := listenSocket(reach.Spares(cfg)[0])
	if failed != nil {
		log.Debug("socket beside the rings", "err", failed)
	} else if err != nil {
		log.Error("no socket in the state directory; commands find the one beside the rings", "err", err)
		err = nil
	}
	for _, one := range []net.Listener{l, spare} {
		if one != nil {
			wg.Go(func() {
				if err := srv.Serve(ctx, one); err != nil {
					log.Error("socket", "err", err)
				}
			})
		}
	}
	if cfg.Listen != "" {
		wg.Go(func() { servePage(ctx, cfg.Listen, srv, log) })
	}
	return err
}

// servePage serves the page until ctx is done. Its address may not be there yet (at boot), or another program may have it: it is tried
// again.
func servePage(ctx context.Context, address string, srv *web.Server, log *slog.Logger) {
	for ctx.Err() == nil {
		l, err := net.Listen("tcp", address)
		if err == nil {
			log.Info("page", "address", "http://"+l.Addr().String())
			err = srv.Serve(ctx, l)
		}
		if err == nil {
			return
		}
		log.Error("no page; choose another address for listen, or none", "err", err, "next try in", pageAgain)
		select {
		case <-ctx.Done():
		case <-time.After(pageAgain):
		}
	}
}

// peer returns the process that has made the other end of a unix socket (unix(7), SO_PEERCRED); 0 where the kernel does not tell.
func peer(c net.Conn) (pid int) {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { // else it is not known
		if cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	return pid
}

// listenSocket opens the unix socket; one that a dead process left is replaced.
func listenSocket(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make directory of the socket: %w", err)
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		pid := peer(c)
		_ = c.Close()
		who := ""
		if pid != 0 {
			who = fmt.Sprintf(" (process %d has it)", pid)
		}
		if pid == 0 || place.IsAlive(pid) { // else one that it has forked has not become another program yet
			return nil, fmt.Errorf("socket %s%s: %w; stop it first, or choose another state_dir", path, who, place.ErrRunning)
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if errors.Is(err, syscall.EINVAL) {
		return nil, fmt.Errorf("listen: %w; the path has %d bytes, at most 107 are possible: choose a shorter state_dir", err, len(path))
	}
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, errors.Join(fmt.Errorf("socket: %w", err), l.Close())
	}
	return l, nil
}
