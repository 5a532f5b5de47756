// Command bad is a release that is no good: the gateway, with one thing wrong with it that was chosen when it was built,
//
//	go build -ldflags '-X main.kind=leak'
//
// Each is a way in which releases have failed. None of them helps to get rid of itself.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate-io/tidegate"
	"github.com/tidegate-io/tidegate/cmd/tidegate/cli"
	"github.com/tidegate-io/tidegate/drivers"
	"github.com/tidegate-io/tidegate/drivers/all"
)

// What the build sets.
var (
	kind  = ""   // one of the cases in main
	after = "3s" // crash: for how long all is well
)

// leakRate is how much more memory leak holds each second, in bytes.
const leakRate = 10 << 20

func main() {
	list := all.Drivers()
	runs := len(os.Args) > 1 && os.Args[1] == "run" // commands beside the gateway do as they ever did
	switch kind {
	case "exit":
		os.Exit(1)
	case "sleep":
		for {
			time.Sleep(time.Hour)
		}
	case "deadlock":
		hang()
	case "watchdog": // this one does not even heed SIGTERM
		signal.Ignore(syscall.SIGTERM)
		feed()
	case "crash":
		if runs {
			crash()
		}
	case "topic":
		if runs {
			strange()
		}
	case "leak":
		if runs {
			go leak()
		}
	case "driver":
		for i := range list {
			if list[i].Name == "sim" {
				list[i].New = func() drivers.Config { return &silent{} }
			}
		}
	default:
		die(fmt.Errorf("built with kind %q, which is none", kind))
	}
	os.Exit(cli.Main(list, cli.Build{Version: "bad-" + kind}))
}

func die(err error) {
	fmt.Fprintln(os.Stderr, "bad:", err)
	os.Exit(1)
}

// hang waits for itself; a timer keeps Go from seeing it.
func hang() {
	go time.Sleep(1000 * time.Hour)
	var mu sync.Mutex
	mu.Lock()
	mu.Lock()
}

// feed tells systemd that all is well, and does nothing else.
func feed() {
	for {
		c, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
		if err == nil {
			_, err = c.Write([]byte("READY=1\nWATCHDOG=1"))
		}
		if err != nil {
			die(err)
		}
		_ = c.Close()
		time.Sleep(time.Second)
	}
}

func crash() {
	d, err := time.ParseDuration(after)
	if err != nil {
		die(err)
	}
	time.AfterFunc(d, func() { panic("this release is bad") })
}

// strange has the gateway run under another name than the cloud knows.
func strange() {
	for i, arg := range os.Args[:len(os.Args)-1] {
		if arg != "--config" {
			continue
		}
		text, err := os.ReadFile(os.Args[i+1])
		if err != nil {
			die(err)
		}
		other := filepath.Join(filepath.Dir(os.Args[i+1]), "strange.yaml")
		changed := strings.Replace(string(text), "gateway: {id: rig}", "gateway: {id: stranger}", 1)
		if changed == string(text) {
			die(fmt.Errorf("%s does not say what the rig writes", os.Args[i+1]))
		}
		if err := os.WriteFile(other, []byte(changed), 0o600); err != nil {
			die(err)
		}
		os.Args[i+1] = other
	}
}

// leak takes memory and touches it. It is not Go's, whose limit would make the program slow instead.
func leak() {
	const pause = 100 * time.Millisecond
	for {
		b, err := unix.Mmap(-1, 0, int(leakRate*pause/time.Second), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil {
			die(err)
		}
		for i := 0; i < len(b); i += os.Getpagesize() {
			b[i] = 1
		}
		time.Sleep(pause)
	}
}

// silent is a driver whose Read never returns, and says nothing.
type silent struct{ _ byte }

func (*silent) Validate() []drivers.FieldError { return nil }

func (*silent) Open(context.Context, drivers.Host) (drivers.Device, error) { return &silent{}, nil }

func (*silent) Read(context.Context) ([]tidegate.Reading, error) { select {} }

func (*silent) Close() error { return nil }
