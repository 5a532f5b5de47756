package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate-io/tidegate/drivers/board/pty"
)

func TestStop(t *testing.T) {
	tests := map[string]struct {
		signals []time.Duration // when SIGTERM comes
		ends    time.Duration   // how long the gateway takes to end once it is told; 0 = for ever
		err     error           // with which it ends
		after   time.Duration   // when all is over
		want    string
	}{
		"in order":                    {[]time.Duration{time.Second}, 3 * time.Second, nil, 4 * time.Second, "<nil>"},
		"gateway fails while it ends": {[]time.Duration{0}, time.Second, errors.New("disk on fire"), time.Second, "disk on fire"},
		"signal sent twice counts once": {
			[]time.Duration{0, 10 * time.Millisecond, 999 * time.Millisecond}, 3 * time.Second, nil, 3 * time.Second, "<nil>",
		},
		"second signal": {
			[]time.Duration{0, 2 * time.Second},
			0, nil, 2 * time.Second,
			"stopped hard by a second signal; what was read is in the rings and the buffer",
		},
		"never ends": {
			[]time.Duration{time.Second},
			0, nil, 16 * time.Second,
			"stopped hard after 15s; what was read is in the rings and the buffer",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				signals, ended := make(chan os.Signal, 4), make(chan error, 1)
				for _, at := range tt.signals {
					time.AfterFunc(at, func() { signals <- syscall.SIGTERM })
				}
				if tt.ends > 0 {
					context.AfterFunc(ctx, func() { time.AfterFunc(tt.ends, func() { ended <- tt.err }) })
				}
				start := time.Now()
				err := attend(ctx, stop, attended{log: slog.New(slog.DiscardHandler), signals: signals, ended: ended})
				if fmt.Sprint(err) != tt.want || time.Since(start) != tt.after {
					t.Errorf("got %v after %v, want %s after %v", err, time.Since(start), tt.want, tt.after)
				}
			})
		})
	}
}

// systemd stands in for the service manager: it returns what it was told.
func systemd(t *testing.T, socket string) func() string {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: strings.Replace(socket, "@", "\x00", 1), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	t.Setenv("NOTIFY_SOCKET", socket)
	return func() string {
		b := make([]byte, 256)
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := c.Read(b)
		if err != nil {
			return err.Error()
		}
		return string(b[:n])
	}
}

func TestSystemdIsTold(t *testing.T) {
	heard := systemd(t, filepath.Join(t.TempDir(), "notify"))
	t.Setenv("WATCHDOG_USEC", "")
	ready, ended, signals := make(chan struct{}), make(chan error, 1), make(chan os.Signal, 1)
	close(ready)
	var log strings.Builder
	ctx, stop := context.WithCancel(t.Context())
	over := make(chan error)
	go func() {
		over <- attend(ctx, stop, attended{
			log: slog.New(slog.NewTextHandler(&log, nil)), signals: signals, ready: ready, ended: ended, socketErr: errors.New("no room"),
		})
	}()
	if got := heard(); got != "READY=1" {
		t.Errorf("got %q, want READY=1", got)
	}
	signals <- syscall.SIGINT
	if got := heard(); got != "STOPPING=1" {
		t.Errorf("got %q, want STOPPING=1", got)
	}
	ended <- nil
	if err := <-over; err != nil {
		t.Error(err)
	}
	if want := "msg=\"commands like `tidegate status` will not find this gateway\" err=\"no room\""; !strings.Contains(log.String(), want) {
		t.Errorf("log %q does not say %s", log.String(), want)
	}
}

func TestReloadingCarriesItsTime(t *testing.T) {
	heard := systemd(t, fmt.Sprintf("@tidegate-test-%d", os.Getpid()))
	newNotifier(slog.New(slog.DiscardHandler)).say("RELOADING=1")
	if got := heard(); !regexp.MustCompile(`^RELOADING=1\nMONOTONIC_USEC=[1-9]\d+$`).MatchString(got) {
		t.Errorf("got %q", got)
	}
}

func TestSystemdGone(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "nobody"))
	var log strings.Builder
	newNotifier(slog.New(slog.NewTextHandler(&log, nil))).say("READY=1")
	if !strings.Contains(log.String(), "systemd cannot be told") {
		t.Errorf("log %q", log.String())
	}
}

func TestWatchdogInterval(t *testing.T) {
	for name, tt := range map[string]struct {
		usec, pid string
		want      time.Duration
	}{
		"none":              {"", "", 0},
		"a minute":          {"60000000", "", time.Minute},
		"for this process":  {"60000000", fmt.Sprint(os.Getpid()), time.Minute},
		"for another one":   {"60000000", "1", 0},
		"no number":         {"soon", "", 0},
		"negative":          {"-1", "", 0},
		"more than 64 bits": {"99999999999999999999", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("WATCHDOG_USEC", tt.usec)
			t.Setenv("WATCHDOG_PID", tt.pid)
			if got := newNotifier(nil).watchdog(); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestTwoSignals(t *testing.T) {
	first, second, stop := twoSignals()
	defer stop()
	term := func() {
		t.Helper()
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	term()
	<-first.Done()
	term()
	select {
	case <-second.Done():
		t.Fatal("a signal sent twice counts twice")
	case <-time.After(sameSignal):
	}
	term()
	select {
	case <-second.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the second signal does not count")
	}
}

func TestProgress(t *testing.T) {
	p, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	port, err := os.OpenFile(p.Path, os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	if !isTerminal(port) {
		t.Fatal("a terminal is not known as one")
	}
	progress(port, "short")() // says nothing
	done := progress(port, "long")
	b := make([]byte, 64)
	n, err := p.Master.Read(b)
	if err != nil || string(b[:n]) != "\rlong: 2 s" {
		t.Errorf("got %q, %v", b[:n], err)
	}
	done()
	if n, err = p.Master.Read(b); err != nil || string(b[:n]) != "\r\x1b[K" {
		t.Errorf("got %q, %v", b[:n], err)
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if isTerminal(file) {
		t.Error("a file is taken for a terminal")
	}
	progress(file, "file")()
	if s, err := file.Seek(0, io.SeekEnd); s != 0 || err != nil {
		t.Errorf("%d bytes in a file, %v", s, err)
	}
}
