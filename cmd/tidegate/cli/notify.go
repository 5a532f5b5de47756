package cli

import (
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// A notifier tells systemd how the service does (sd_notify(3)). Without systemd it says nothing.
type notifier struct {
	socket string
	log    *slog.Logger
}

func newNotifier(log *slog.Logger) *notifier {
	s := os.Getenv("NOTIFY_SOCKET")
	if len(s) > 0 && s[0] == '@' {
		s = "\x00" + s[1:]
	}
	return &notifier{socket: s, log: log}
}

// watchdog returns how often systemd wants to hear WATCHDOG=1, 0 = never.
func (n *notifier) watchdog() time.Duration {
	us, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	pid := os.Getenv("WATCHDOG_PID")
	if err != nil || us <= 0 || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	return time.Duration(us) * time.Microsecond
}

// say sends one state. RELOADING=1 goes with the time that Type=notify-reload wants.
func (n *notifier) say(state string) {
	if n.socket == "" {
		return
	}
	if state == "RELOADING=1" {
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err == nil {
			state += "\nMONOTONIC_USEC=" + strconv.FormatInt(ts.Nano()/1000, 10)
		}
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.socket, Net: "unixgram"})
	if err != nil {
		n.log.Warn("systemd cannot be told", "err", err)
		return
	}
	if _, err := c.Write([]byte(state)); err != nil {
		n.log.Warn("systemd cannot be told", "err", err)
	}
	_ = c.Close()
}
