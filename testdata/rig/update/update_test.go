// Package update shows that a release that is no good does not cost a gateway more than the time of its trial. Whole gateways are updated by
// themselves: programs in slots, a supervisor in systemd's place (supervisor_test.go), releases that are signed two of three on a server of HTTPS
// (repo_test.go, server_test.go), a bus, a broker and a receiver. The bad releases are programs as well (bad/main.go).
//
// What a gateway did is known from outside: by the slave, which counts what it has answered; by what the receiver has stored; by what the launcher
// says that it starts; by what the server was asked for. The new program is never asked.
package update

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/testdata/rig/bed"
)

var isLong = flag.Bool("real", false, "with the times of a gateway in the field, 20 minutes, not with the shortest that there are")

// times are those of one run.
type times struct {
	trial, settle, every time.Duration // of the configuration
	expire               time.Duration // of the timer
	restart              time.Duration // RestartSec
	start, watchdog      time.Duration // TimeoutStartSec, WatchdogSec
	crash                time.Duration // what the release that crashes runs for
}

// Times of gateways in the field (etc/*.service, etc/*.timer, agent/config), and the shortest. Looks for releases come often in both: they are
// not what is shown. In the short form systemd's own times are not scaled as the trial is: a busy machine would make good programs miss them.
var (
	field = times{trial: 8 * time.Minute, settle: 2 * time.Minute, every: time.Minute, expire: time.Minute, restart: 2 * time.Second, start: 90 * time.Second, watchdog: time.Minute, crash: 90 * time.Second}
	short = times{trial: 10 * time.Second, settle: 5 * time.Second, every: 10 * time.Second, expire: time.Second, restart: 200 * time.Millisecond, start: 30 * time.Second, watchdog: 20 * time.Second, crash: 1900 * time.Millisecond}
)

// now are the times of this run.
func now() times {
	if *isLong {
		return field
	}
	return short
}

// grace is how long a program has between SIGTERM and SIGKILL: when it is given up from outside (ota/slots), and when it ends by itself, as long as it
// is not held up (cmd/tidegate/cli, hardStop).
const (
	grace    = 10 * time.Second
	hardStop = 15 * time.Second
)

// bound is how long after its first start a bad release has the gateway at most: the trial; the next pass of the timer, and SIGTERM to SIGKILL behind
// it, or its own way out; and the supervisor's pause. Before each of its three starts that pause comes as well, but the trial goes on then.
func (x times) bound() time.Duration {
	return x.trial + max(x.expire+grace, hardStop) + x.restart
}

// patience is for what must come: it is there so that a test ends, and says nothing about time.
func (x times) patience() time.Duration { return 2*x.bound() + 2*x.every + 2*time.Minute }

// What the tests have built.
var (
	programs bed.Programs
	built    struct {
		launcher string
		lib      string // the package's folder, with release 1
		dir      string
		good     [2]image // releases 2 and 3, or 3 and 4
		bad      map[string]image
	}
)

// kinds are the releases that are no good.
var kinds = []string{"exit", "crash", "deadlock", "topic", "driver", "leak", "sleep", "watchdog", "script"}

func TestMain(m *testing.M) {
	flag.Parse()
	// Tests that are parallel here wait most of the time.
	if err := flag.Set("test.parallel", "32"); err != nil {
		panic(err)
	}
	os.Exit(bed.Main(preparing{m}, &programs))
}

// preparing builds what is needed before the tests run.
type preparing struct{ m *testing.M }

// Run is that of testing.M.
func (p preparing) Run() int {
	dir, err := os.MkdirTemp("", "tgrig-releases-")
	if err == nil {
		err = prepare(dir)
	}
	code := 1
	if err == nil {
		code = p.m.Run()
	}
	if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// prepare builds the programs, two at a time.
func prepare(dir string) error {
	built.dir, built.launcher, built.lib, built.bad = dir, filepath.Join(dir, "tidegate-launch"), filepath.Join(dir, "lib"), map[string]image{}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	turns := make(chan struct{}, 2)
	build := func(pkg, to, version string, into func(image), set ...string) {
		wg.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			path := filepath.Join(dir, to)
			err := bed.Compile(pkg, path, set...)
			var i image
			if err == nil {
				i, err = newImage(path, version)
			}
			mu.Lock()
			defer mu.Unlock()
			into(i)
			errs = append(errs, err)
		})
	}
	build("./cmd/tidegate-launch", "tidegate-launch", "", func(image) {})
	for n := range built.good {
		version := fmt.Sprintf("good-%d", n)
		build("./cmd/tidegate", version, version, func(i image) { built.good[n] = i }, "version="+version)
	}
	for _, kind := range kinds {
		if kind != "script" {
			build("./testdata/rig/update/bad", "bad-"+kind, "bad-"+kind, func(i image) { built.bad[kind] = i }, "kind="+kind, "after="+now().crash.String())
		}
	}
	wg.Wait()
	path := filepath.Join(dir, "bad-script")
	errs = append(errs, os.WriteFile(path, []byte("#!/bin/sh\nexec sleep 1000000\n"), 0o755))
	script, err := newImage(path, "bad-script")
	built.bad["script"] = script
	return errors.Join(append(errs, err, pack())...)
}

// pack lays out the package's folder: slot 0 is the program under test.
func pack() error {
	b, err := os.ReadFile(programs.Gateway)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	said, err := json.Marshal(map[string]any{"counter": 1, "version": "package", "sha256": hex.EncodeToString(sum[:]), "length": len(b)})
	return errors.Join(err, os.Mkdir(built.lib, 0o755), os.WriteFile(filepath.Join(built.lib, "tidegate"), b, 0o555),
		os.WriteFile(filepath.Join(built.lib, "release.json"), said, 0o444))
}
